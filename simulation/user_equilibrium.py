"""Dynamic user equilibrium: routes by which nobody would arrive earlier on another one, found by averaging.

Run after run every vehicle keeps its route or takes the one that would have been the fastest by the times met in the
run before. Of those who would gain a share 1 / s changes, more of those who would gain much; s grows from run to run,
by more after one with a larger gap, so that routes settle. How far they are from the equilibrium is the **relative
gap**: what all could gain, over the time they spend.

Notes
-----
Source: averages: Robbins and Monro (1951), A stochastic approximation method, Annals of Mathematical Statistics 22(3);
how s grows: Liu, He and He (2009), Method of successive weighted averages and self-regulated averaging schemes for
solving stochastic user equilibrium problem, Networks and Spatial Economics 9(4); by gain: Lu, Mahmassani and Zhou
(2009), Equivalent gap function-based reformulation and solution algorithm for the dynamic user equilibrium problem,
Transportation Research B 43(3).
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import simpy

from simulation.fixed_routes import FixedRoutes
from simulation.link_times import LinkTimes, Recorder
from simulation.result import Result
from simulation.street import Long
from twin.compiled import Float

if TYPE_CHECKING:
    from simulation.simulation import Process, Simulation

SLOWER, FASTER = 1.5, 0.1  # what the slowness of changes grows by after a run with a larger, or smaller, gap
GOLDEN = 0.618034  # spreads those who change evenly over those who leave one after the other
PLASTIC = 0.7548776662466927  # and from run to run


@dataclass(frozen=True)
class Equilibrium:
    """Runs that approach a dynamic user equilibrium.

    Parameters
    ----------
    result
        Of the last run.
    gap
        Of every run: the sum over vehicles of what they would have gained on the fastest way, over the time that they
        spent, waiting included; both by the times that vehicles met on the links.
    times
        On the links in the last run.
    routes
        Of every trip in the last run.
    """

    result: Result
    gap: tuple[float, ...]
    times: LinkTimes = field(repr=False)
    routes: FixedRoutes = field(repr=False)


class Commuters:
    """Drivers who remember: a process that gives every trip of a run its route and records the times on the links."""

    def __init__(self, *, step_s: float) -> None:
        self.recorder = Recorder(step_s=step_s)
        self.routes: FixedRoutes | None = None
        self.run = 0
        self._slowness, self._gap = 1.0, math.inf

    def __call__(self, env: simpy.Environment, simulation: "Simulation") -> Generator[simpy.Event, object, None]:
        """Let the trips of a run set off on their routes: in the first those that are shortest at free flow."""
        if self.routes is None:
            free = simulation.roads.link["free_time"][None, :].copy()
            times = LinkTimes(simulation.time_s, self.recorder.step_s, free, np.zeros_like(free))
            self.routes = simulation.trips.routes
            self.routes = self.routes.replaced(self._choosing(simulation), self._fastest(simulation, times))
        simulation.guidance.assign(self.routes)
        return self.recorder(env, simulation)

    def _choosing(self, simulation: "Simulation") -> Long:
        """Return the trips that choose: not those under way at the start, nor those with a route of their own."""
        rows: Long = np.flatnonzero(~simulation.trips.routes.given)
        return rows[rows >= simulation.filled]

    def _fastest(self, simulation: "Simulation", times: LinkTimes) -> FixedRoutes:
        rows = self._choosing(simulation)
        return times.fastest(simulation.city, simulation.chart, simulation.trips, rows, threads=simulation.threads)

    def learn(self) -> tuple[float, LinkTimes]:
        """Return gap and link times of the run that is over, and choose the routes of the next."""
        simulation, routes = self.recorder.simulation, self.routes
        assert simulation is not None
        assert routes is not None
        times, rows = self.recorder.times(), self._choosing(simulation)
        depart = simulation.trips.depart[rows]
        fastest = self._fastest(simulation, times)
        spent = times.arrivals(routes.take(rows), depart) - depart
        gain = np.maximum(0.0, spent - (times.arrivals(fastest, depart) - depart))
        total = float(spent.sum())
        gap = float(gain.sum()) / total if total > 0 else 0.0
        self.run += 1
        self._slowness += SLOWER if gap >= self._gap else FASTER
        self._gap = gap
        changes = self._changes(simulation, rows, gain / np.maximum(spent, 1e-9))
        self.routes = routes.replaced(rows[changes], fastest.take(np.flatnonzero(changes)))
        return gap, times

    def _changes(self, simulation: "Simulation", rows: Long, gain: Float) -> npt.NDArray[np.bool_]:
        """Return which trips change their route, spread evenly over the departures of each pair."""
        trips = simulation.trips
        order = np.lexsort((rows, trips.destination[rows], trips.origin[rows]))
        place = np.empty(len(rows), np.int64)
        place[order] = np.arange(len(rows))
        point = (0.5 + GOLDEN * place + PLASTIC * self.run) % 1.0
        mean = float(gain[gain > 0].mean()) if np.any(gain > 0) else 1.0
        share: Float = np.minimum(1.0, gain / mean) / self._slowness
        changes: npt.NDArray[np.bool_] = point < share
        return changes


def settle(
    run: "Callable[[Process], Result]",
    *,
    iterations: int,
    gap: float,
    step_s: float,
    on_iteration: Callable[[int, float], object] | None = None,
) -> Equilibrium:
    """Return the equilibrium that runs approach: at most ``iterations``, fewer once the relative gap is ``gap``.

    Parameters
    ----------
    run
        Makes a run with one more process.
    on_iteration
        Called after every run with its number, from 1, and its gap.
    """
    commuters, gaps = Commuters(step_s=step_s), list[float]()
    while True:
        result, routes = run(commuters), commuters.routes
        assert routes is not None, "the run did not start its processes"
        found, times = commuters.learn()
        gaps.append(found)
        if on_iteration is not None:
            on_iteration(len(gaps), found)
        if len(gaps) == iterations or found <= gap:
            totals = {**result.totals, "equilibrium": {"gap": gaps}}
            return Equilibrium(replace(result, totals=totals), tuple(gaps), times, routes)
