"""A street that lives: vehicles, their routes and what happens to them, on SimPy's clock.

SimPy sees the few events of a scenario, the kernel the millions of moves between them: before each event the kernel is
run up to the event's time.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import simpy

from sensors import InputError
from simulation import engine, engine_blocks, events, gridlock, routing
from simulation.conflicts import Junctions
from simulation.control import Control
from simulation.demand import Demand
from simulation.emergency import with_emergencies
from simulation.engine_cache import forget_stale_kernels
from simulation.guidance import Guidance
from simulation.lights import Lights
from simulation.measure import Cumulative, LinkMeasure
from simulation.paving import lay_roads
from simulation.reach import reachable
from simulation.recut import recut
from simulation.roster import Roster
from simulation.scenario import Incident, Scenario
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
    threads
        That serve the street and look for routes; by default as many as processors. The result does not depend on it.
    window_s
        Upper bound of the window for which threads work without waiting for each other. Nor on this.

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
        threads: int | None = None,
        window_s: float | None = None,
    ) -> None:
        forget_stale_kernels(engine.run_block)
        self.threads = usable_processors() if threads is None else threads
        self.network, self.scenario, self.seed = network, scenario or Scenario(), seed
        self._demand = demand
        self.city = network.compile()
        faults = events.faults_of(self.scenario, network, demand)
        if faults:
            raise InputError(faults)
        junctions = Junctions(network)
        plans, plan_notes = sound_plans(junctions, network.signals, self.scenario.signal)
        self._greens: GreenTable = green_table(junctions, plans)
        never = never_green(self.city, self._greens)
        self.notes = (*demand.notes, *plan_notes, *events.never_green_notes(self.city, never))
        self.chart = routing.draw_map(self.city, never)
        self._cuts = events.cuts_of(self.scenario, self.city)
        self._window_s = window_s
        self.roads, self.window_s = self._lay_roads(self._cuts)
        self.repeat_s = repeat_s
        horizon = until_s if repeat_s is None else math.nextafter(repeat_s, 0.0)
        trips = demand.trips(self.scenario.demand, until_s=horizon)
        trips = with_emergencies(trips, self.scenario.emergency, self.city, until_s=horizon)
        self.inlink = junctions.inlink
        allowed = allow_unreachable or demand.assumed
        self.trips, self.unreachable = reachable(
            self.city, self.chart, demand, trips, allowed=allowed, threads=self.threads
        )
        if self.unreachable:
            self.notes += (f"{self.unreachable} trips without any path are left out",)
        self._start = start_s - (WARM_UP_S if repeat_s is not None else 0.0)
        self.env = environment or simpy.Environment(initial_time=self._start)
        self.roster = Roster(self.trips, repeat_s, seed)
        self.traffic: Traffic = empty_traffic(self.roads, len(self.roster.trip))
        self.control = Control(self.city, self.roads, self.traffic)
        self.lights = Lights(junctions, plans, self._greens, self.control.stop)
        self.use(self.traffic)
        self._time = self._start
        self.guidance = Guidance(self)
        self.rings: dict[tuple[int, ...], None] = {}
        events.start(self)
        self.env.process(self.guidance.dispatching())
        for process in processes:
            self.env.process(process(self.env, self))
        if self._start < start_s:
            self.advance(start_s)

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

    def _lay_roads(self, cuts: Mapping[int, Sequence[float]]) -> tuple[Roads, float]:
        roads = lay_roads(self.city, self._greens, cuts)
        n_blocks = engine_blocks.BLOCKS_PER_THREAD * self.threads
        longest = engine_blocks.LONGEST_WINDOW_S if self._window_s is None else self._window_s
        least = max(2, self.threads)
        return engine_blocks.divide(roads, self.city.node_xy, n_blocks, least_blocks=least, longest_s=longest)

    def _run(self, until: float) -> None:
        engine_blocks.run(self.roads, self.traffic, self._time, until, window_s=self.window_s, threads=self.threads)
        self._time = until

    # --- vehicles -------------------------------------------------------------------------------------------------

    def admit(self, interval_s: float, share: float) -> Int:
        """Return the places of the vehicles due in the next ``interval_s``, in order of departure."""
        rows, times = self.roster.due(self._time, self._time + interval_s)
        places, vehicles = self.roster.admit(self.traffic, rows, times, share)
        if vehicles is not self.traffic.vehicle:
            self.use(self.traffic._replace(vehicle=vehicles))
        return places

    def use(self, traffic: Traffic) -> None:
        """Go on with these arrays."""
        self.traffic = traffic
        self.control.bind(self.roads, traffic)
        self.lights.bind(self.roads, traffic)

    # --- what can be seen -------------------------------------------------------------------------------------------

    def cumulative(self) -> Cumulative:
        """Return what has entered and left every link so far, and the time spent there."""
        roads, traffic = self.roads, self.traffic
        first = np.flatnonzero(roads.part["first"])
        last = np.concatenate([first[1:], [len(roads.part)]]) - 1
        entered, left = traffic.entry["entered"][first], traffic.exit["left"][last]
        spent = traffic.exit["left_sum"][last] - traffic.entry["entered_sum"][first] + (entered - left) * self._time
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
        self.control.move(done.part, done.queue)
        self.use(done.traffic)
        self.guidance.roads_changed()
        return position_m

    def note_gridlock(self) -> None:
        """Remember the rings of links that wait for each other now."""
        for ring in gridlock.rings(self.roads, self.traffic):
            self.rings.setdefault(ring)
