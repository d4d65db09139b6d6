"""What another solver did with a workload, in the terms of our own result, and our own run in the same terms."""

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.workload import Workload
from simulation import Scenario, Simulation, compile_kernels


@dataclass(frozen=True)
class Run:
    """One run of a solver.

    Parameters
    ----------
    solver
        Name and version.
    spent_s, wall_s
        CPU, and time on the clock, of loading and routing alone: reading, building and analysing are left out.
    arrive : (n,) s
        By vehicle, NaN for those that have not arrived.
    entered, left : (n_links,)
        Vehicles until the horizon.
    vehicle_seconds
        On links until the horizon.
    waiting_s
        Vehicle-seconds at origins before the first link.
    distance_m
        Over the links that were left.
    """

    solver: str
    spent_s: float
    wall_s: float
    arrive: npt.NDArray[np.float64] = field(repr=False)
    entered: npt.NDArray[np.int64] = field(repr=False)
    left: npt.NDArray[np.int64] = field(repr=False)
    vehicle_seconds: float
    waiting_s: float
    distance_m: float

    @property
    def arrived(self) -> int:
        """Vehicles that have arrived."""
        return int(np.isfinite(self.arrive).sum())

    @property
    def crossings(self) -> int:
        """Entries to a link."""
        return int(self.entered.sum())

    @property
    def total_s(self) -> float:
        """Total time spent, waiting at origins included, vehicle-seconds."""
        return self.vehicle_seconds + self.waiting_s


def same_work(one: Run, other: Run, *, within: float) -> None:
    """Assert that two runs brought as many vehicles home over as many links and kilometres, up to a share.

    Raises
    ------
    AssertionError
        When one of them did less.
    """
    for name in ("arrived", "crossings", "distance_m"):
        a, b = getattr(one, name), getattr(other, name)
        assert abs(a - b) <= within * a, f"{name}: {one.solver} {a:,.0f}, {other.solver} {b:,.0f}"


def geh(one: npt.ArrayLike, other: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the GEH statistic of hourly volumes, sqrt(2 (a - b)^2 / (a + b)); below 5 is called a good match.

    Source: Highways Agency, Design Manual for Roads and Bridges, vol. 12, sec. 2 (1996).

    Examples
    --------
    >>> geh([1000, 0], [1200, 0]).round(2).tolist()
    [6.03, 0.0]
    """
    a, b = np.asarray(one, float), np.asarray(other, float)
    return np.sqrt(2.0 * (a - b) ** 2 / np.maximum(a + b, 1e-9))


def ours(workload: Workload, scenario: Scenario | None = None, **options: object) -> Run:
    """Return our own run of a workload; ``options`` go to `Simulation`."""
    compile_kernels()
    simulation = Simulation(workload.network, workload.demand, scenario=scenario, **options)  # type: ignore[arg-type]
    begin, clock = time.process_time(), time.perf_counter()
    simulation.advance(workload.horizon_s)
    spent, wall = time.process_time() - begin, time.perf_counter() - clock
    seen, vehicle = simulation.cumulative(), simulation.traffic.vehicle[: len(simulation.trips)]
    enter = np.where(np.isfinite(vehicle["enter"]), vehicle["enter"], workload.horizon_s)
    due = vehicle["depart"] <= workload.horizon_s
    # Trips are in order of departure; other solvers hold them in the order of the workload.
    arrive = np.empty(len(workload))
    arrive[np.argsort(workload.depart, kind="stable")] = vehicle["arrive"]
    return Run(
        solver="citytwin",
        spent_s=spent,
        wall_s=wall,
        arrive=arrive,
        entered=seen.entered,
        left=seen.left,
        vehicle_seconds=float(seen.vehicle_seconds.sum()),
        waiting_s=float((enter - vehicle["depart"])[due].sum()),
        distance_m=float((seen.left * workload.network.links.length).sum()),
    )
