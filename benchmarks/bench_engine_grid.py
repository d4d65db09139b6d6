"""Single vehicles on an 11 x 11 grid: ours on one core and on two, beside UXsim's C++ engine and SUMO meso."""

import argparse

import numpy as np

from benchmarks import workload
from benchmarks.peer import Run, ours, same_work
from simulation import Scenario

FIXED = Scenario.parse('[routing]\nupdate = "fixed"\n')
# Drivers weigh old and new routes half and half in UXsim; here half of the drivers under way look again.
CHOOSING = Scenario.parse('[routing]\nupdate = "periodic"\ninterval_s = 600\nshare = 0.5\n')
# Where drivers choose, two solvers that differ by an instant send some another way: as many vehicles, nearly as far.
CHOICE = 0.03


def best(load: workload.Workload, scenario: Scenario, threads: int, repeats: int) -> Run:
    """Return the middle one of several runs by its time on the clock."""
    runs = sorted((ours(load, scenario, threads=threads) for _ in range(repeats)), key=lambda run: run.wall_s)
    return runs[len(runs) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=11, help="nodes along a side of the grid")
    parser.add_argument("--vehicles", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=5, help="of ours, the middle one counts")
    args = parser.parse_args()
    load = workload.grid(args.size, vehicles=args.vehicles)
    one, two = (best(load, CHOOSING, threads, args.repeats) for threads in (1, 2))
    assert np.array_equal(one.arrive, two.arrive), "another number of threads gives another result"
    routed = workload.with_routes(load)
    fixed_one, fixed_two = (best(routed, FIXED, threads, args.repeats) for threads in (1, 2))
    print(f"engine_grid: {len(load):,} vehicles, {one.crossings:,} crossings, {one.spent_s:.3f} s CPU on one core")
    try:
        from benchmarks import peer_uxsim
    except ImportError:
        print("engine_grid: NO SECOND SOLVER: UXsim is not installed (extra 'peers')")
    else:
        for log in (True, False):
            other = peer_uxsim.run(load, log=log)
            same_work(one, other, within=CHOICE)
            _show(one, two, other)
    try:
        from benchmarks import peer_sumo
    except ImportError:
        print("engine_grid: NO SECOND SOLVER: SUMO is not installed (extra 'peers')")
    else:
        other = peer_sumo.run(routed)
        same_work(fixed_one, other, within=0.0)
        _show(fixed_one, fixed_two, other)


def _show(one: Run, two: Run, other: Run) -> None:
    print(
        f"engine_grid: {other.spent_s / one.spent_s:.0f} x as fast as {other.solver} on one core "
        f"(CPU {one.spent_s:.3f} and {other.spent_s:.2f} s), {other.spent_s / two.wall_s:.0f} x on two "
        f"(clock {two.wall_s:.3f} s)"
    )


if __name__ == "__main__":
    main()
