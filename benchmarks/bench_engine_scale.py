"""Nanchang, and a city of 130,000 links with 500,000 vehicles, beside real time; memory of the engine's arrays."""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import workload
from simulation import Demand, Scenario, Simulation, compile_kernels
from twin import Network
from twin.gmns import write_tables
from twin.importers import import_tables

HOUR_S = 3600.0
NETWORK, VEHICLES = "nanchang_roadnet.cbengine.txt.gz", "nanchang_demand.cbengine.txt.gz"
VEHICLE_BYTES, STORAGE_BYTES = 64, 32  # what the engine may take for a vehicle, and for the room of one


def measure(name: str, network: Network, demand: Demand, threads: int) -> None:
    """Run an hour and print how much faster than the clock it was."""
    begin = time.perf_counter()
    simulation = Simulation(network, demand, scenario=Scenario(), threads=threads, until_s=HOUR_S)
    ready = time.perf_counter()
    used = time.process_time()
    simulation.advance(HOUR_S)
    wall, spent = time.perf_counter() - ready, time.process_time() - used
    counts, crossings = simulation.counts(), int(simulation.cumulative().entered.sum())
    assert counts.demanded == int((simulation.trips.depart < HOUR_S).sum()), "not everyone was demanded"
    assert crossings >= counts.entered > 0.9 * counts.demanded, "vehicles did not get onto the street"
    print(
        f"engine_scale: {name}: {HOUR_S / wall:.0f} x real time on {threads} threads (clock {wall:.2f} s, CPU "
        f"{spent:.2f} s, routing included; prepared in {ready - begin:.1f} s): {len(network.links):,} links, "
        f"{counts.demanded:,} vehicles, {counts.arrived:,} arrived, {crossings:,} crossings"
    )
    traffic = simulation.traffic
    storage = traffic.slot.nbytes + traffic.part_slot_time.nbytes
    print(
        f"engine_scale: {name}: {traffic.vehicle.itemsize} bytes a vehicle (owed {VEHICLE_BYTES}) and "
        f"{storage / len(traffic.slot):.0f} a unit of storage (owed {STORAGE_BYTES})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    given = os.environ.get("CITYTWIN_TEST_DATA")
    parser.add_argument("--data", type=Path, default=given and Path(given), help="the shared data folder")
    parser.add_argument("--vehicles", type=int, default=500_000, help="of the city of 130,000 links")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    compile_kernels()
    folder = args.data / "nanchang" if args.data else None
    if folder is None or not folder.is_dir():
        print("engine_scale: NO REAL INPUT DATA: set CITYTWIN_TEST_DATA to the shared data folder, or give --data")
    else:
        tables = import_tables(folder / NETWORK, demand=[folder / VEHICLES])
        with tempfile.TemporaryDirectory() as made:
            write_tables(Path(made) / "nanchang", tables)
            network = Network.read(Path(made) / "nanchang")
            measure("Nanchang", network, Demand.read(network), args.threads)
    load = workload.metropolis(vehicles=args.vehicles)
    with tempfile.TemporaryDirectory() as made:
        load.write(Path(made) / "city")
        del load
        begin = time.perf_counter()
        network = Network.read(Path(made) / "city")
        print(f"engine_scale: metropolis: read in {time.perf_counter() - begin:.1f} s")
        measure("metropolis", network, Demand.read(network), args.threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"engine_scale: {peak / 1e9:.2f} GB at most, both networks and their files included")


if __name__ == "__main__":
    main()
