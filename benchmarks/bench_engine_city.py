"""A generated city, 1.08 million vehicles in 10,000 s: beside UXsim in platoons of ten, and with signals.

Routes are looked up anew every 600 s. Asserts that threads and windows change not a byte.
"""

import argparse
import hashlib
import time
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import workload
from benchmarks.workload import Workload
from simulation import Scenario, Simulation, compile_kernels

CHOOSING = '[routing]\nupdate = "periodic"\ninterval_s = 600\nshare = 0.5\n'
# UXsim's platoons round the vehicles of each pair of nodes, and its drivers choose on other instants.
CHOICE = 0.05
FEW = 0.3


@dataclass(frozen=True)
class Done:
    """One run of ours: what it took, what it did, and the hash of every arrival and count."""

    spent_s: float
    wall_s: float
    crossings: int
    arrived: int
    distance_m: float
    digest: str
    window_s: float
    solver: str = "citytwin"


def run(load: Workload, text: str, *, threads: int = 1, window_s: float | None = None) -> Done:
    """Return what one run took and did."""
    simulation = Simulation(
        load.network, load.demand, scenario=Scenario.parse(text), threads=threads, window_s=window_s
    )
    begin, clock = time.process_time(), time.perf_counter()
    simulation.advance(load.horizon_s)
    spent, wall = time.process_time() - begin, time.perf_counter() - clock
    seen, vehicle = simulation.cumulative(), simulation.traffic.vehicle
    parts = (vehicle["enter"], vehicle["arrive"], vehicle["distance"], seen.entered, seen.left, seen.vehicle_seconds)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
    distance = float((seen.left * load.network.links.length).sum())
    crossings = int(seen.entered.sum())
    return Done(spent, wall, crossings, simulation.counts().arrived, distance, digest, simulation.window_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vehicles", type=int, default=1_080_000)
    parser.add_argument("--no-peer", action="store_true", help="leave UXsim out, which takes a minute to be given them")
    args = parser.parse_args()
    compile_kernels()
    load = workload.city(vehicles=args.vehicles)
    run(workload.city(vehicles=1000), CHOOSING)  # what is needed once
    one, two = run(load, CHOOSING), run(load, CHOOSING, threads=2)
    print(
        f"engine_city: {len(load):,} vehicles, {one.crossings:,} crossings, routing included: "
        f"{one.crossings / one.spent_s / 1e6:.1f} M/s of CPU on one core, {two.crossings / two.wall_s / 1e6:.1f} M/s "
        "of the clock on two"
    )
    for window in (one.window_s / 2, one.window_s * 2):
        other = run(load, CHOOSING, threads=2, window_s=window)
        assert other.digest == two.digest == one.digest, f"a window of {window:g} s or two threads change the result"
    print(f"engine_city: the same bytes on 1 and 2 threads, windows of {one.window_s / 2:g} to {one.window_s * 2:g} s")
    # Red lights take half of a street's capacity: so few vehicles that nearly all arrive with lights as well.
    few = workload.city(vehicles=int(args.vehicles * FEW))
    lit = replace(few, network=workload.with_turn_lanes(few.network))
    plain, signals = run(few, CHOOSING), run(lit, CHOOSING + workload.signals(lit.network))
    assert abs(signals.arrived - plain.arrived) <= CHOICE * plain.arrived, "not as many arrive with signals"
    assert abs(signals.crossings - plain.crossings) <= CHOICE * plain.crossings, "not as many crossings with signals"
    print(
        f"engine_city: {len(few):,} vehicles with signals and lane groups take {signals.spent_s / plain.spent_s:.2f} x "
        f"the CPU of without ({signals.crossings:,} and {plain.crossings:,} crossings)"
    )
    if args.no_peer:
        return
    try:
        from benchmarks import peer_uxsim
    except ImportError:
        print("engine_city: NO SECOND SOLVER: UXsim is not installed (extra 'peers')")
        return
    for log in (True, False):
        peer = peer_uxsim.run(load, platoon=10, log=log)
        assert abs(peer.crossings - one.crossings) <= CHOICE * one.crossings, "not as many crossings"
        assert abs(peer.distance_m - one.distance_m) <= CHOICE * one.distance_m, "not as far"
        print(
            f"engine_city: {peer.spent_s / one.spent_s:.1f} x as fast as {peer.solver} on one core (CPU "
            f"{one.spent_s:.2f} and {peer.spent_s:.2f} s), {peer.spent_s / two.wall_s:.1f} x on two"
        )


if __name__ == "__main__":
    main()
