"""Two other solvers of the kinematic wave model, UXsim and SUMO meso, on the same networks, vehicles and routes.

All three hold the same triangle (free speed 20 m/s, wave speed 5 m/s, 0.2 veh/m per lane; 0.8 veh/s): UXsim by a driver
who reacts in 1 s, SUMO by time gaps of 1 s and vehicles of 5 m. UXsim moves in steps of 1 s, SUMO reports in them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import workload as streets
from benchmarks.peer import Run, ours
from benchmarks.workload import Workload, street

SOLVERS = ("uxsim", "sumo")
ROUNDING_S = 1.0  # of a departure, an arrival, or a time in UXsim's steps


def beside(solver: str) -> Callable[[Workload], Run]:
    """Return another solver, or skip the test where it has no wheels."""
    pytest.importorskip(solver, reason=f"NO SECOND SOLVER: {solver} is not installed (extra 'peers')")
    if solver == "uxsim":
        from benchmarks import peer_uxsim

        return peer_uxsim.run
    from benchmarks import peer_sumo

    return peer_sumo.run


def on_routes(
    links: Sequence[dict[str, object]], platoons: Sequence[tuple[Sequence[float], Sequence[str]]], horizon_s: float
) -> Workload:
    """Return vehicles, in platoons of (departures, link ids), on a network of links whose nodes lie apart."""
    names = dict.fromkeys(str(row[key]) for row in links for key in ("from_node_id", "to_node_id"))
    network = streets.lay([(name, 1000.0 * k, 300.0 * (k % 3)) for k, name in enumerate(names)], links)
    place, roads = network.links.position, network.compile()
    rows = sorted((float(time), [place[name] for name in route]) for times, route in platoons for time in times)
    return Workload(
        "street",
        network,
        np.array([time for time, _ in rows]),
        np.array([roads.from_node[route[0]] for _, route in rows]),
        np.array([roads.to_node[route[-1]] for _, route in rows]),
        horizon_s,
        [route for _, route in rows],
    )


def one_lane(*ends: str, length: float = 1000.0, lanes: int = 1) -> list[dict[str, object]]:
    return [street(*pair.split(">"), length=length, lanes=lanes, free_speed_m_s=20.0) for pair in ends]


def late(one: Run, other: Run) -> np.ndarray:
    """Return how much later than in ``one`` every vehicle arrives in ``other``, s; nobody is missing in either."""
    assert np.isfinite(one.arrive).all()
    assert np.isfinite(other.arrive).all()
    return other.arrive - one.arrive


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_vehicle_of_a_bottleneck_arrives_when_it_does_in_another_solver(solver: str) -> None:
    links = [*one_lane("A>B", length=2000.0, lanes=2), *one_lane("B>C")]
    load = on_routes(links, [(np.arange(0, 900, 1.0), ["A>B", "B>C"])], 3600.0)
    run, other = ours(load), beside(solver)(load)
    assert np.abs(late(run, other)).max() <= ROUNDING_S
    # 900 vehicles wait 112 s on average: a second of rounding each is within 1 % of their time.
    assert other.total_s == pytest.approx(run.total_s, rel=0.01)
    assert other.distance_m == pytest.approx(run.distance_m)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_merge_of_equal_streets_passes_as_many_of_each_as_in_another_solver(solver: str) -> None:
    times = np.arange(0, 900, 2.0)
    load = on_routes(one_lane("A>M", "B>M", "M>C"), [(times, ["A>M", "M>C"]), (times, ["B>M", "M>C"])], 3600.0)
    run, other = ours(load), beside(solver)(load)
    assert other.total_s == pytest.approx(run.total_s, rel=0.01)
    # UXsim draws by lot who goes first: single vehicles differ, the n-th arrival does not.
    assert np.abs(np.sort(other.arrive) - np.sort(run.arrive)).max() <= ROUNDING_S


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_free_grid_takes_the_same_time_as_in_another_solver(solver: str) -> None:
    load = streets.with_routes(streets.grid(5, vehicles=6000))
    run, other = ours(load), beside(solver)(load)
    assert np.array_equal(other.entered, run.entered)
    # Hardly anyone waits: a vehicle differs by the rounding of its departure and a second at each of some three nodes.
    assert np.abs(late(run, other)).mean() <= ROUNDING_S
    assert other.total_s == pytest.approx(run.total_s, rel=0.005)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_grid_with_queues_takes_nearly_the_same_time_as_in_another_solver(solver: str) -> None:
    # 12 % more than at free flow. The solvers differ in who goes first where several want one street, and in how much
    # a street catches up after it had to wait there (docs/engine.md); the two others differ by 0.3 % of each other.
    load = streets.with_routes(streets.grid(11, vehicles=40_000))
    run, other = ours(load), beside(solver)(load)
    assert np.array_equal(other.entered, run.entered)
    assert other.total_s == pytest.approx(run.total_s, rel=0.03)
    assert curve_gap(run, other, load) < 0.01


def curve_gap(run: Run, other: Run, load: Workload) -> float:
    """Return the largest gap between the arrival curves, sampled each minute, as a share of all vehicles."""
    minutes = np.arange(0.0, load.horizon_s + 1.0, 60.0)
    curves = [np.searchsorted(np.sort(r.arrive[np.isfinite(r.arrive)]), minutes, side="right") for r in (run, other)]
    return float(np.abs(curves[0] - curves[1]).max() / len(load))


@pytest.mark.parametrize("solver", SOLVERS)
def test_sioux_falls_takes_nearly_the_same_time_as_in_another_solver(solver: str) -> None:
    load = streets.sioux_falls(0.08)
    run, other = ours(load), beside(solver)(load)
    assert len(load) > 28_000
    assert np.array_equal(other.entered, run.entered)
    # A few queues, and one of 8 vehicles in a hundred waits: differences as on the grid with queues.
    assert other.total_s == pytest.approx(run.total_s, rel=0.03)
    assert curve_gap(run, other, load) < 0.01


@pytest.mark.data
def test_bologna_loads_without_gridlock_and_much_as_in_sumo(shared_data: Path) -> None:
    from benchmarks import bench_bologna

    beside("sumo")
    hour = bench_bologna.run(shared_data / "bologna")
    assert hour.sumo is not None
    assert hour.sumo_hour is not None
    assert hour.gridlock == ()
    assert hour.ours.arrived == hour.sumo.arrived == len(hour.workload) == 11_176
    assert np.array_equal(hour.ours.entered, hour.sumo.entered)
    # SUMO reads the same files by rules of its own: time gaps of 1.13 to 1.73 s, yellow as green, penalties at
    # junctions, queues by lane. Two kinematic wave engines at fixed routes differ by 2 to 6 %; these rules may
    # double that.
    assert hour.sumo.total_s == pytest.approx(hour.ours.total_s, rel=0.12)
    alike = bench_bologna.geh(hour.ours_hour, hour.sumo_hour)
    assert (alike < 5).mean() > 0.75


def test_routes_that_drivers_choose_are_refused_for_sumo() -> None:
    pytest.importorskip("sumo", reason="NO SECOND SOLVER: sumo is not installed (extra 'peers')")
    from benchmarks import peer_sumo

    with pytest.raises(ValueError, match="fixed routes"):
        peer_sumo.run(replace(streets.grid(3, vehicles=10), routes=None))
