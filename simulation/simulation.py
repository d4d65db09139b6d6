"""A street that lives: vehicles, their routes and what happens to them, on SimPy's clock.

SimPy sees the few events of a scenario, the kernel the millions of moves between them: before each event the kernel is
run up to the event's time.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simpy

from sensors import InputError
from simulation import engine, engine_blocks, events, fill, gridlock, saved_run
from simulation.agenda import Agenda
from simulation.conflicts import Junctions
from simulation.control import Control
from simulation.demand import Demand
from simulation.departures import Trips
from simulation.emergency import with_emergencies
from simulation.engine_cache import forget_stale_kernels
from simulation.guidance import Guidance
from simulation.happening import Incident
from simulation.lights import Lights
from simulation.measure import Cumulative, LinkMeasure
from simulation.paving import lay_roads
from simulation.places import density_faults
from simulation.reach import reachable
from simulation.recut import recut
from simulation.roster import Roster
from simulation.route_map import draw_map
from simulation.saved import Arrays, SavedState, check, pack, read_state, unpack, write_state
from simulation.scenario import Scenario
from simulation.signals import GreenTable, green_table, never_green, sound_plans
from simulation.street import Roads, Traffic, empty_traffic
from simulation.threads import usable_processors
from twin import Network
from twin.compiled import Int

DAY_S = 86400.0
WARM_UP_S = 3600.0  # a city's trips are shorter: after an hour the street is as loaded as if it had always run
NEAR_M = 5.0  # an incident this near to a former one stands at its place: cuts then do not multiply over the days

Process = Callable[[simpy.Environment, "Simulation"], Generator[simpy.Event, object, None]]


@dataclass(frozen=True, slots=True)
class Counts:
    """Vehicles of a run at one instant: ``demanded = arrived + on_links + waiting``."""

    demanded: int
    entered: int
    arrived: int
    on_links: int
    waiting: int


class Simulation:
    """One run of the traffic engine that can be advanced, looked at and changed.

    Parameters
    ----------
    network, demand
        The street and what wants to travel on it.
    scenario
        What happens; nothing by default.
    seed
        Of all that is left to chance.
    start_s
        Time of the run at which it begins; with a repeating demand the hour before is run unobserved, so that the
        street is loaded.
    repeat_s
        Period after which the demand repeats, 86400 for a street that lives for days; memory then does not grow.
    until_s
        Vehicles due later are not demanded.
    environment
        SimPy's clock; a `simpy.rt.RealtimeEnvironment` runs the street in real time.
    processes
        Called as ``process(env, simulation)``; each returns a generator, an ordinary SimPy process.
    allow_unreachable
        Leave out trips without any path instead of refusing them.
    densities : veh/m
        By link id, over all lanes: the street is that full at the start, see `simulation.fill`. With a repeating demand
        the unobserved hour is left out then.
    state
        What `load` has read.
    threads
        That serve the street and look for routes; by default as many as processors. The result does not depend on it.
    window_s
        Upper bound of the window for which threads work without waiting for each other. Nor on this.

    Raises
    ------
    InputError
        With every fault of scenario, trips and densities.

    Examples
    --------
    >>> network = Network.from_tables({
    ...     "node": [{"node_id": n, "x_coord": 120 + k / 1000, "y_coord": 30.0} for k, n in enumerate("ABC")],
    ...     "link": [
    ...         {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": 500}
    ...         for a, b in ("AB", "BC")
    ...     ],
    ...     "zone_node": [{"zone_id": n, "node_id": n, "share": 1} for n in "AC"],
    ... })
    >>> from simulation.demand import Flow
    >>> simulation = Simulation(network, Demand.of_flows(network, [Flow("A", "C", 10, 0, 100)]))
    >>> simulation.advance(60)
    >>> simulation.counts().on_links, simulation.cumulative().entered.tolist()
    (6, [6, 1])
    """

    def __init__(
        self,
        network: Network,
        demand: Demand,
        *,
        scenario: Scenario | None = None,
        seed: int = 0,
        start_s: float = 0.0,
        repeat_s: float | None = None,
        until_s: float = math.inf,
        environment: simpy.Environment | None = None,
        processes: Sequence[Process] = (),
        allow_unreachable: bool = False,
        densities: Mapping[str, float] | None = None,
        state: SavedState | None = None,
        threads: int | None = None,
        window_s: float | None = None,
    ) -> None:
        forget_stale_kernels(engine.run_block)
        self.threads = usable_processors() if threads is None else threads
        self.network, self.scenario, self.seed = network, scenario or Scenario(), seed
        self._demand = demand
        self.city = network.compile()
        faults = events.faults_of(self.scenario, network, demand)
        faults += density_faults(self.city, densities or {}, "densities")
        sound = Scenario() if faults else self.scenario  # the trips are checked all the same
        self._junctions = Junctions(network)
        self._plans, plan_notes = sound_plans(self._junctions, network.signals, sound.signal)
        self._greens: GreenTable = green_table(self._junctions, self._plans)
        never = never_green(self.city, self._greens)
        self.notes = (*demand.notes, *plan_notes, *events.never_green_notes(self.city, never))
        self.chart = draw_map(self.city, np.union1d(never, network.movements.reserved))
        self.repeat_s = repeat_s
        horizon = until_s if repeat_s is None else math.nextafter(repeat_s, 0.0)
        trips = demand.trips(sound.demand, until_s=horizon)
        trips = with_emergencies(trips, sound.emergency, self.city, until_s=horizon)
        self.inlink = self._junctions.inlink
        allowed = allow_unreachable or demand.assumed
        trips, self.unreachable = reachable(
            self.city, self.chart, demand, trips, allowed=allowed, threads=self.threads, faults=faults
        )
        if self.unreachable:
            self.notes += (f"{self.unreachable} trips without any path are left out",)
        self._cuts = events.cuts_of(self.scenario, self.city) if state is None else state.value("_cuts")
        self._window_s = window_s
        self.roads, self.window_s = self._lay_roads(self._cuts)
        self._note_ends()
        self._until, self._own_processes = until_s, bool(processes)
        self._start = start_s
        if repeat_s is not None and densities is None and state is None:
            self._start -= WARM_UP_S
        self.env = environment or simpy.Environment(initial_time=self._start)
        self._time = self._start
        self._last_event = self._settled = -math.inf
        self.rings: dict[tuple[int, ...], None] = {}
        self.filled = 0
        self.kept: dict[str, npt.NDArray[np.float64]] = {}  # what is saved for others: a detector's last look
        if densities is not None:
            self._begin_full(trips, densities)
        elif state is not None:
            self._take_up(trips, state)
        else:
            self._begin(trips)
        self.agenda = Agenda(self, events.tasks(self))
        if state is None:
            self.agenda.begin()
        else:
            self.agenda.restore(state.value("agenda"))
        self.env.process(self.guidance.dispatching())
        for process in processes:
            self.env.process(process(self.env, self))
        if self._time < start_s:
            self.advance(start_s)

    def _begin(self, trips: Trips, *, ahead: int = 0) -> None:
        """Lay out the traffic of an empty street; the first ``ahead`` trips are about to be put on it."""
        self.trips = trips
        self.roster = Roster(trips, self.repeat_s, self.seed, ahead=ahead)
        self.traffic: Traffic = empty_traffic(self.roads, len(self.roster.trip))
        self.control = Control(self.city, self.roads, self.traffic)
        self.lights = Lights(self._junctions, self._plans, self._greens, self.control.stop)
        self.use(self.traffic)
        self.guidance = Guidance(self)
        self.filled = ahead

    def _begin_full(self, trips: Trips, densities: Mapping[str, float]) -> None:
        """Begin with vehicles on the street; those for whom their lane has no room are left out, and that is said."""
        made = fill.filling(self.city, self.chart, trips, densities, start_s=self._start, repeat_s=self.repeat_s)
        wanted = len(made)
        while True:
            origin = self.city.from_node[made.link]
            self._begin(trips.behind(origin, made.destination, self._start), ahead=len(made))
            placed = fill.place(self, made)
            if placed.all():
                break
            made = made.subset(placed)
        if len(made) < wanted:
            self.notes += (f"{wanted - len(made)} vehicles of the densities have no room in the lanes of their link",)

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        """Time of the run before which every move is made."""
        return self._time

    def advance(self, until_s: float) -> None:
        """Make all that happens before ``until_s``; what is changed then takes effect at that very instant."""
        while self.env.peek() < until_s:
            self.advance_to_event()
        self._run(until_s)

    def advance_to_event(self) -> None:
        """Make all that happens before SimPy's next event, and the event."""
        self._run(self.env.peek())
        self.env.step()
        self._last_event = self._time

    def _lay_roads(self, cuts: Mapping[int, Sequence[float]]) -> tuple[Roads, float]:
        roads = lay_roads(self.city, self._greens, cuts)
        n_blocks = engine_blocks.BLOCKS_PER_THREAD * self.threads
        longest = engine_blocks.LONGEST_WINDOW_S if self._window_s is None else self._window_s
        least = max(2, self.threads)
        return engine_blocks.divide(roads, self.city.node_xy, n_blocks, least_blocks=least, longest_s=longest)

    def _note_ends(self) -> None:
        """Look up the first and the last part of every link: one was cut."""
        self._first = np.flatnonzero(self.roads.part["first"])
        self._last = np.append(self._first[1:], len(self.roads.part)) - 1

    def _run(self, until: float) -> None:
        if until > self._time:
            engine_blocks.run(self.roads, self.traffic, self._time, until, window_s=self.window_s, threads=self.threads)
            self._time = until

    def use(self, traffic: Traffic) -> None:
        """Go on with these arrays."""
        self.traffic = traffic
        self.control.bind(self.roads, traffic)
        self.lights.bind(self.roads, traffic)

    def admit(self, begin_s: float, end_s: float, share: float) -> Int:
        """Return the places of the vehicles due in ``[begin_s, end_s)``, in order of departure."""
        rows, times = self.roster.due(begin_s, end_s)
        places, vehicles = self.roster.admit(self.traffic, rows, times, share)
        if vehicles is not self.traffic.vehicle:
            self.use(self.traffic._replace(vehicle=vehicles))
        return places

    # --- what can be seen -------------------------------------------------------------------------------------------

    def cumulative(self) -> Cumulative:
        """Return what has entered and left every link so far, and the time spent there."""
        entry, leaving = self.traffic.entry, self.traffic.exit
        entered, left = entry["entered"][self._first], leaving["left"][self._last]
        spent = leaving["left_sum"][self._last] - entry["entered_sum"][self._first] + (entered - left) * self._time
        return Cumulative(self._time, entered, left, spent)

    def measure(self, since: Cumulative) -> LinkMeasure:
        """Return flow, density and speed of every link since an earlier `cumulative`, by Edie's definitions."""
        return LinkMeasure.between(since, self.cumulative(), self.city.length, self.city.free_speed)

    def counts(self) -> Counts:
        """Return how many vehicles are where now.

        Raises
        ------
        AssertionError
            When a vehicle was lost or made up: the engine is wrong.
        """
        traffic, used = self.traffic, self.roster.trip >= 0
        due = used & (traffic.vehicle["depart"] <= self._time)
        entered = used & np.isfinite(traffic.vehicle["enter"])
        arrived = used & np.isfinite(traffic.vehicle["arrive"])
        on_links = int((traffic.slot["vehicle"] >= 0).sum())
        assert on_links == int((traffic.entry["entered"] - traffic.exit["left"]).sum())
        assert int(entered.sum()) == on_links + int(arrived.sum()), "a vehicle was lost or made up"
        demanded, inside, gone = int(due.sum()), int(entered.sum()), int(arrived.sum())
        return Counts(
            demanded + self.roster.gone, inside + self.roster.gone, gone + self.roster.gone, on_links, demanded - inside
        )

    # --- what can be done to it -------------------------------------------------------------------------------------

    def add_incident(self, link_id: str, position_m: float, lanes_blocked: float) -> Incident:
        """Block lanes at a point of a link from now on; the queue stands behind it.

        Raises
        ------
        InputError
            When the link is unknown, the point beyond its end, or more lanes are blocked than it has.
        """
        incident = Incident(link_id, position_m, lanes_blocked, from_s=self._time)
        faults = events.faults_of(Scenario(name="incident", incident=(incident,)), self.network, self._demand)
        if faults:
            raise InputError(faults)
        link = self.city.link_ids.index(link_id)
        incident = replace(incident, position_m=self._cut(link, position_m))
        self.control.block(link, incident.position_m, lanes_blocked, self._time)
        return incident

    def remove_incident(self, incident: Incident) -> None:
        """Clear an incident that `add_incident` gave."""
        link = self.city.link_ids.index(incident.link)
        self.control.block(link, incident.position_m, -incident.lanes_blocked, self._time)

    def close_links(self, link_ids: Sequence[str], *, reroute: bool = False) -> None:
        """Let nothing enter these links from now on."""
        events.close(self, [self.city.link_ids.index(name) for name in link_ids], reroute, self._time)

    def reopen_links(self, link_ids: Sequence[str]) -> None:
        """End one closure of these links."""
        events.reopen(self, [self.city.link_ids.index(name) for name in link_ids], self._time)

    def _cut(self, link: int, position_m: float) -> float:
        """Cut a link at a point, or near it where it is cut already, and return the point."""
        position_m = self.control.snap(link, position_m)
        length = float(self.city.length[link])
        near = [point for point in self._cuts.get(link, ()) if abs(point - position_m) <= NEAR_M]
        if position_m in (0.0, length) or near:
            return near[0] if near and position_m not in (0.0, length) else position_m
        points = self._cuts.get(link, [])
        part = int(np.flatnonzero(self.roads.part["link"] == link)[0]) + sum(point < position_m for point in points)
        start = max((point for point in points if point < position_m), default=0.0)
        cuts = {**self._cuts, link: sorted([*points, position_m])}
        roads, window = self._lay_roads(cuts)
        done = recut(self.city, roads, self.roads, self.traffic, (part, position_m - start), self._time)
        if done is None:
            return length
        self.window_s = window
        self._cuts, self.roads = cuts, done.roads
        self._note_ends()
        self.control.move(done.part, done.queue)
        self.use(done.traffic)
        self.guidance.roads_changed()
        return position_m

    def settle(self) -> None:
        """Note that everything the scenario does at this instant is done; called by what comes last in it."""
        self._settled = self._time

    def note_gridlock(self) -> None:
        """Remember the rings of links that wait for each other now."""
        for ring in gridlock.rings(self.roads, self.traffic):
            self.rings.setdefault(ring)

    # --- saved ------------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Write the state to a file, from which `load` goes on exactly.

        Raises
        ------
        InputError
            When the run has processes of the user's own: what they are about to do is known to themselves alone.
        WorkError
            When the disk refuses.
        """
        if self._own_processes:
            raise InputError("a run with processes of its own cannot be saved: no file can hold what they will do")
        if self.guidance.routes is not self.trips.routes:
            raise InputError("a run whose trips were given other routes than their demand's cannot be saved")
        if self._last_event == self._time != self._settled:
            raise InputError(f"the run stands between two events of {self._time:g} s, advance it a little to save it")
        arrays: Arrays = {}
        kernel = (("roads", self.roads), ("traffic", self.traffic))
        for name, group in kernel:
            arrays |= {f"{name}.{field}": array for field, array in group._asdict().items()}
        parts = {
            **{name: value for name, value in vars(self).items() if name not in saved_run.MADE_ANEW},
            "control": self.control.state(),
            "lights": self.lights.state(),
            "agenda": self.agenda.state(),
            "guidance": self.guidance.state(),
            "roster": self.roster.state(),
            "ahead": (self.trips.origin[: self.filled], self.trips.destination[: self.filled]),
        }
        wanted = saved_run.identity(self.network, self._demand, self.scenario, self.seed)
        header = {key: value for key, (value, _) in wanted.items()} | {"time_s": self._time, "repeat_s": self.repeat_s}
        header["values"] = {name: pack(value, name, arrays) for name, value in parts.items()}
        header["until_s"] = pack(self._until, "until_s", arrays)
        write_state(Path(path), header, arrays)

    @classmethod
    def load(
        cls,
        path: Path | str,
        network: Network,
        demand: Demand,
        *,
        scenario: Scenario | None = None,
        seed: int = 0,
        until_s: float = math.inf,
        environment: simpy.Environment | None = None,
        processes: Sequence[Process] = (),
        allow_unreachable: bool = False,
        threads: int | None = None,
        window_s: float | None = None,
    ) -> "Simulation":
        """Return the simulation of a file that `save` wrote, as if it had never been interrupted.

        Parameters
        ----------
        network, demand, scenario, seed
            Those of the saved run; others are refused.
        until_s
            Vehicles due later are not demanded; those that the saved run had let in stay.
        environment
            A clock that stands at the time of the state.
        processes
            Start now.
        threads, window_s
            Need not be those of the saved run.

        Raises
        ------
        InputError
            When the file is torn, or was saved with other inputs or by another version.
        """
        state = read_state(path)
        wanted = saved_run.identity(network, demand, scenario or Scenario(), seed)
        check(state, wanted)
        return cls(
            network,
            demand,
            scenario=scenario,
            seed=seed,
            start_s=state.header["time_s"],
            repeat_s=state.header["repeat_s"],
            until_s=max(until_s, unpack(state.header["until_s"], {})),
            environment=environment,
            processes=processes,
            allow_unreachable=allow_unreachable,
            threads=threads,
            window_s=window_s,
            state=state,
        )

    def _take_up(self, trips: Trips, state: SavedState) -> None:
        """Go on from a saved state."""
        origin, destination = state.value("ahead")
        began = state.value("_start")
        self._begin(trips.behind(origin, destination, began) if len(origin) else trips, ahead=len(origin))
        anew = state.header["values"].keys() - {"agenda", "control", "guidance", "lights", "roster", "ahead"}
        for name in sorted(anew):
            setattr(self, name, state.value(name))
        self.roads = saved_run.roads(state, self.roads)
        traffic = saved_run.traffic(state, self.roads, self.traffic)
        self.roster.restore(state.value("roster"))
        self.control.restore(state.value("control"))
        self.lights.restore(state.value("lights"))
        self.use(traffic)
        self.guidance.restore(state.value("guidance"))
        # Vehicles of the interval that is under way which the saved run did not look for: its horizon came first.
        known = unpack(state.header["until_s"], {})
        if self.repeat_s is None and known < self.guidance.next_dispatch:
            self.guidance.dispatch(math.nextafter(known, math.inf), self.guidance.next_dispatch)
