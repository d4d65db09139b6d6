"""Recorded link times: what vehicles met on their way in one run, for the routes of the next."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import simpy

from simulation import engine_times
from simulation.departures import Trips
from simulation.engine_paths import Alternatives
from simulation.engine_tree import Map
from simulation.fixed_routes import FixedRoutes
from simulation.instants import Late, until
from simulation.routing import shares
from simulation.street import Long
from simulation.threads import in_order
from twin.compiled import CompiledNetwork, Float, Int

if TYPE_CHECKING:
    from simulation.simulation import Simulation


@dataclass(frozen=True)
class LinkTimes:
    """The time on every link by the instant of entry.

    Parameters
    ----------
    start_s, step_s
        Row k holds for ``start_s + (k + 1/2) step_s``; between rows times run straight, outside they stay as they are.
    time : (n_steps, n_links) s
        On the link.
    wait : (n_steps, n_links) s
        Before that, for those who begin their trip on the link, by the instant at which they want to.
    """

    start_s: float
    step_s: float
    time: Float
    wait: Float

    def at(self, time_s: float) -> Float:
        """Return the times of those who enter at an instant, (n_links,) s."""
        place = np.clip((time_s - self.start_s) / self.step_s - 0.5, 0.0, len(self.time) - 1.0)
        before = min(int(place), max(0, len(self.time) - 2))
        after = min(before + 1, len(self.time) - 1)
        at: Float = self.time[before] + (place - before) * (self.time[after] - self.time[before])
        return at

    def arrivals(self, routes: FixedRoutes, depart: Float) -> Float:
        """Return when those who leave at ``depart`` would arrive on their routes, (n,) s."""
        arrive = np.empty(len(depart))
        depart = np.ascontiguousarray(depart, np.float64)
        engine_times.arrivals(
            self.time, self.wait, self.start_s, self.step_s, routes.start, routes.link, depart, arrive
        )
        return arrive

    def along(self, found: Alternatives, movement_to: Int, depart_s: float) -> Float:
        """Return the times of the paths of each request for those who leave at ``depart_s``, (n, k) s."""
        total = np.full(found.first.shape, np.inf)
        engine_times.along(
            self.time,
            self.wait,
            self.start_s,
            self.step_s,
            movement_to,
            found.path,
            found.first.ravel(),
            found.step.ravel(),
            float(depart_s),
            total.ravel(),
        )
        return total

    def fastest(self, city: CompiledNetwork, chart: Map, trips: Trips, rows: Long, *, threads: int = 1) -> FixedRoutes:
        """Return the routes by which the trips ``rows`` arrive first.

        Trips from one node that leave within one step share a search, which is made for the first of them. The same
        bytes on any number of threads.
        """
        n = len(rows)
        if not n:
            return FixedRoutes.of(0, {})
        slot = np.floor((trips.depart[rows] - self.start_s) / self.step_s).astype(np.int64)
        order = np.lexsort((trips.destination[rows], trips.depart[rows], slot, trips.origin[rows]))
        origin, slot = trips.origin[rows[order]], slot[order]
        destination, depart = trips.destination[rows[order]], trips.depart[rows[order]]
        new = np.flatnonzero((np.diff(origin) != 0) | (np.diff(slot) != 0)) + 1
        groups = np.concatenate([[0], new, [n]]).astype(np.int64)
        cuts = shares(groups, threads)
        length = np.zeros(n, np.int64)
        allowed = allowed_movements(chart)

        def work(task: int) -> Int:
            s = engine_times.search(city.n_links, city.n_nodes)
            done, end, filled = int(cuts[task]), int(cuts[task + 1]), 0
            chunk = np.empty(1024 + 16 * int(groups[end] - groups[done]), np.int32)
            while True:
                done, filled = engine_times.fastest(
                    self.time,
                    self.wait,
                    self.start_s,
                    self.step_s,
                    city.out_start,
                    city.out_link,
                    city.to_node,
                    city.movement_start,
                    city.movement_out,
                    allowed,
                    origin,
                    depart,
                    destination,
                    groups,
                    done,
                    end,
                    length,
                    chunk,
                    filled,
                    s,
                )
                if done == end:
                    return chunk[:filled]
                s.seen.fill(-1)  # the group at which it stopped is searched again
                s.wanted.fill(-1)
                chunk = np.concatenate([chunk, np.empty(len(chunk) + city.n_links, np.int32)])

        chunks = in_order(work, len(cuts) - 1, threads)
        start = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        back = np.empty(n, np.int64)
        back[order] = np.arange(n)
        return FixedRoutes(start, np.concatenate(chunks)).take(back)


def allowed_movements(chart: Map) -> npt.NDArray[np.bool_]:
    """Return which movements of the network a route may take."""
    allowed = np.zeros(len(chart.movement_to), np.bool_)
    allowed[chart.allowed] = True
    return allowed


class Experienced:
    """Lets the drivers of a run choose by the link times of another: a process that does nothing later."""

    def __init__(self, times: LinkTimes) -> None:
        self.times = times

    def __call__(self, env: simpy.Environment, simulation: "Simulation") -> Generator[simpy.Event, object, None]:
        """Hand them over."""
        simulation.guidance.use_times(self.times)
        yield env.timeout(0.0)


class Recorder:
    """Records the link times of a run; a process that `simulation.simulate` starts: ``processes=[recorder]``.

    Examples
    --------
    >>> recorder = Recorder(step_s=60.0)  # simulate(network, demand, processes=[recorder]); times = recorder.times()
    """

    def __init__(self, *, step_s: float = 60.0) -> None:
        self.step_s = step_s
        self.simulation: Simulation | None = None
        self._rows: list[tuple[Long, Float, Long, Float]] = []
        self._closed: list[npt.NDArray[np.bool_]] = []

    def __call__(self, env: simpy.Environment, simulation: "Simulation") -> Generator[simpy.Event, object, None]:
        """Begin to record."""
        self.simulation, self.start_s = simulation, env.now
        self._rows.clear()
        self._closed.clear()
        simulation.guidance.note_first_links()
        return self._recording(env)

    def _recording(self, env: simpy.Environment) -> Generator[simpy.Event, object, None]:
        self._record()
        while True:
            yield Late(env, until(env, self.start_s + len(self._rows) * self.step_s))
            self._record()

    def _record(self) -> None:
        assert self.simulation is not None
        simulation = self.simulation
        first = np.flatnonzero(simulation.roads.part["first"])
        last = np.concatenate([first[1:], [len(simulation.roads.part)]]) - 1
        entry, leaving = simulation.traffic.entry, simulation.traffic.exit
        self._rows.append(
            (entry["entered"][first], entry["entered_sum"][first], leaving["left"][last], leaving["left_sum"][last])
        )
        self._closed.append(simulation.control.closed > 0)

    def times(self) -> LinkTimes:
        """Return the times of the run so far."""
        simulation = self.simulation
        assert simulation is not None, "nothing was recorded: give the recorder to simulate() as a process"
        if len(self._rows) < 2 or simulation.time_s > self.start_s + (len(self._rows) - 1) * self.step_s:
            self._record()  # the last step is not over
        entered, left = (np.stack([row[k] for row in self._rows]).astype(np.int64) for k in (0, 2))
        entered_sum, left_sum = (np.stack([row[k] for row in self._rows]).astype(np.float64) for k in (1, 3))
        city, free = simulation.city, simulation.roads.link["free_time"].copy()
        step = self.step_s
        time = engine_times.measured_times(
            entered,
            entered_sum,
            left,
            left_sum,
            np.stack(self._closed),
            free,
            1.0 / city.capacity,
            self.start_s,
            step,
        )
        wait = self._waits(len(time), city.n_links)
        for table in (time, wait):
            engine_times.keep_order(table, step)
        return LinkTimes(self.start_s, step, time, wait)

    def _waits(self, n_steps: int, n_links: int) -> Float:
        """Return how long those who wanted to begin on a link in a step waited; nobody is before who came earlier."""
        simulation = self.simulation
        assert simulation is not None
        end = self.start_s + n_steps * self.step_s
        first = simulation.guidance.first_links
        assert first is not None
        sent = np.flatnonzero(first >= 0)
        depart, enter = (simulation.traffic.vehicle[name][sent] for name in ("depart", "enter"))
        waited = np.where(np.isfinite(enter), enter, np.maximum(end, depart)) - depart
        row = np.floor((depart - self.start_s) / self.step_s).astype(np.int64)
        row = np.clip(row, 0, n_steps - 1)
        cell = row * n_links + first[sent]
        total = np.bincount(cell, waited, n_steps * n_links)
        count = np.bincount(cell, minlength=n_steps * n_links)
        wait: Float = (total / np.maximum(count, 1)).reshape(n_steps, n_links)
        return wait
