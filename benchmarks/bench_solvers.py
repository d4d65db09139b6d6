"""Total time of the same vehicles on the same routes in ours, UXsim and SUMO meso, from free streets to full ones."""

import importlib.util

import numpy as np

from benchmarks import workload
from benchmarks.peer import Run, ours

PEERS = ("uxsim", "sumo")


def main() -> None:
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if missing:
        print(f"solvers: NO SECOND SOLVER: {' and '.join(missing)} not installed (extra 'peers')")
        return
    from benchmarks import peer_sumo, peer_uxsim

    loads = [
        (f"grid 5 x 5, {n:,} vehicles", workload.with_routes(workload.grid(5, vehicles=n))) for n in (6000, 12_000)
    ]
    loads += [
        (f"grid 11 x 11, {n:,} vehicles", workload.with_routes(workload.grid(11, vehicles=n))) for n in (30_000, 40_000)
    ]
    loads += [(f"Sioux Falls, {share:.0%} of a day", workload.sioux_falls(share)) for share in (0.06, 0.08)]
    for name, load in loads:
        run = ours(load)
        others = [peer_uxsim.run(load), peer_sumo.run(load)]
        for other in others:
            assert np.array_equal(run.entered, other.entered), f"{name}: {other.solver} has not done the same"
        free = float(np.sum(run.left * load.network.links.length / load.network.links.free_speed))
        ratios = ", ".join(f"{other.solver.split()[0]} {_hours(other)} ({_ratio(run, other)})" for other in others)
        print(f"solvers: {name}: free flow {free / 3600:,.0f} veh h, ours {_hours(run)}, {ratios}")


def _hours(run: Run) -> str:
    return f"{run.total_s / 3600:,.1f}"


def _ratio(run: Run, other: Run) -> str:
    return f"{other.total_s / run.total_s - 1.0:+.1%}"


if __name__ == "__main__":
    main()
