"""Bologna's peak hour, every vehicle on its own route: ours beside SUMO's mesoscopic model and loops of 2024."""

import argparse
import csv
import gzip
import importlib.util
import os
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peer import Run, geh
from benchmarks.workload import Long, Workload
from simulation import Demand, Simulation, compile_kernels
from twin import Network
from twin.importers import import_tables
from twin.matching import Streets

HORIZON_S = 7200.0
HOUR_S = 3600.0
NETWORK, SIGNALS = "bologna_joined.net.xml.gz", "bologna_joined_tls.add.xml"
ROUTES = ("bologna_joined_demand_0800_0900.rou.xml.gz", "bologna_joined_busses.rou.xml.gz")
LOOPS = "loop_counts_hourly_2024-01_2024-03.csv.gz"
# A loop belongs to the nearest link that runs its way: its own edge id is wrong for a third of them.
NO_DATA = "NO REAL INPUT DATA: set CITYTWIN_TEST_DATA to the shared data folder, or give --data"


@dataclass(frozen=True)
class PeakHour:
    """What both solvers were given, and what came out: whole runs, and the vehicles that entered in the first hour."""

    workload: Workload
    gridlock: tuple[tuple[int, ...], ...]
    ours: Run
    ours_hour: Long
    sumo: Run | None = None
    sumo_hour: Long | None = None


def load(folder: Path) -> tuple[Network, Demand, Workload]:
    """Return Bologna's network with its signal programs, and its vehicles."""
    tables = import_tables(folder / NETWORK, additional=[folder / SIGNALS], demand=[folder / name for name in ROUTES])
    network, trips = Network.from_tables(tables), tables["trips"]
    routes = [str(row["link_ids"]).split(";") for row in trips]
    columns = ([row[name] for row in trips] for name in ("depart_s", "from_node_id", "to_node_id"))
    depart, start, end = columns
    demand = Demand.of_trips(network, depart, start, end, link_ids=routes)  # type: ignore[arg-type]
    place, nodes = network.links.position, network.nodes.position
    workload = Workload(
        "Bologna",
        network,
        np.array(depart, float),
        np.array([nodes[str(name)] for name in start]),
        np.array([nodes[str(name)] for name in end]),
        HORIZON_S,
        [[place[name] for name in route] for route in routes],
    )
    return network, demand, workload


def run(folder: Path, *, beside: bool = True) -> PeakHour:
    """Load the hour, with ``beside`` in SUMO as well, and let two hours pass so that everyone can arrive."""
    network, demand, workload = load(folder)
    compile_kernels()
    simulation = Simulation(network, demand)
    begin, clock = time.process_time(), time.perf_counter()
    simulation.advance(HOUR_S)
    hour = simulation.cumulative()
    simulation.note_gridlock()
    simulation.advance(HORIZON_S)
    spent, wall = time.process_time() - begin, time.perf_counter() - clock
    simulation.note_gridlock()
    seen, vehicle = simulation.cumulative(), simulation.traffic.vehicle[: len(workload)]
    enter = np.where(np.isfinite(vehicle["enter"]), vehicle["enter"], HORIZON_S)
    ours = Run(
        solver="citytwin",
        spent_s=spent,
        wall_s=wall,
        arrive=vehicle["arrive"].copy(),
        entered=seen.entered,
        left=seen.left,
        vehicle_seconds=float(seen.vehicle_seconds.sum()),
        waiting_s=float((enter - vehicle["depart"]).sum()),
        distance_m=float((seen.left * network.links.length).sum()),
    )
    rings = tuple(simulation.rings)
    if not beside:
        return PeakHour(workload, rings, ours, hour.entered)
    sumo, sumo_hour = _sumo(folder, workload)
    return PeakHour(workload, rings, ours, hour.entered, sumo, sumo_hour)


def _sumo(folder: Path, workload: Workload) -> tuple[Run, Long]:
    """Return the same hour in SUMO, from its own files: signals and right of way hold (``--meso-junction-control``)."""
    from benchmarks import peer_sumo

    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        kinds = [("private", "passenger"), ("ignoring", "ignoring"), ("bus", "bus")]
        types = "".join(f'<vType id="{name}" vClass="{which}"/>' for name, which in kinds)
        (work / "types.add.xml").write_text(f"<additional>{types}</additional>", "utf-8")
        stops = folder / "bologna_joined_bus_stops.add.xml"
        words = (
            f"--net-file={folder / NETWORK}",
            f"--route-files={','.join(str(folder / name) for name in ROUTES)}",
            f"--additional-files=types.add.xml,{folder / SIGNALS},{stops}",
            "--meso-junction-control",
        )
        spent = peer_sumo.simulate(work, words, horizon_s=HORIZON_S)
        links = workload.network.links.position
        trips = {str(row["trip_id"]): k for k, row in enumerate(_trips(folder))}
        done = peer_sumo.result(work, links, trips, workload, spent)
        return done, peer_sumo.counts(work / "hour.xml", links)[0]


def _trips(folder: Path) -> list[dict[str, object]]:
    tables = import_tables(folder / NETWORK, demand=[folder / name for name in ROUTES])
    return [dict(row) for row in tables["trips"]]


def loops(folder: Path, network: Network) -> dict[int, tuple[str, float]]:
    """Return street and mean count from 8 to 9 on working days (veh) of every link with a loop."""
    counts: dict[tuple[str, str], list[float]] = defaultdict(list)
    where: dict[tuple[str, str], dict[str, str]] = {}
    with gzip.open(folder / LOOPS, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = row["loop_code"], row["station_id"]
            where[key] = row
            day = np.datetime64(row["date"])
            if np.is_busday(day) and day > np.datetime64("2024-01-07"):  # after the holidays
                counts[key].append(float(row["h08"]))
    found: dict[int, list[tuple[str, float]]] = defaultdict(list)
    streets = Streets(network)
    for key, hours in counts.items():
        row = where[key]
        heading = -float(row["angle_deg"])  # given anticlockwise from north
        place = np.array([[float(row["lon"]), float(row["lat"])]])
        link = int(streets.match(place, np.array([heading])).link[0])
        if link >= 0:
            found[link].append((row["street"], float(np.mean(hours))))
    return {link: (rows[0][0], float(np.mean([count for _, count in rows]))) for link, rows in sorted(found.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    given = os.environ.get("CITYTWIN_TEST_DATA")
    parser.add_argument("--data", type=Path, default=given and Path(given), help="the shared data folder")
    parser.add_argument("--streets", action="store_true", help="print a line for every link with a loop")
    args = parser.parse_args()
    folder = args.data / "bologna" if args.data else None
    if folder is None or not folder.is_dir():
        print(f"bologna: {NO_DATA}")
        return
    beside = importlib.util.find_spec("sumo") is not None
    hour = run(folder, beside=beside)
    assert hour.ours.arrived == len(hour.workload), "not everyone has arrived"
    assert not hour.gridlock, "queues wait for each other"
    if hour.sumo is None or hour.sumo_hour is None:
        print("bologna: NO SECOND SOLVER: SUMO is not installed (extra 'peers')")
    else:
        _beside_sumo(hour, hour.sumo, hour.sumo_hour)
    counted = loops(folder, hour.workload.network)
    links = list(counted)
    flow = np.array([counted[link][1] for link in links])
    for name, entered in (("citytwin", hour.ours_hour), ("SUMO", hour.sumo_hour)):
        if entered is None:
            continue
        off = geh(entered[links], flow)
        print(
            f"  {name} beside the loops of 2024: GEH below 5 on {(off < 5).sum()}, below 10 on {(off < 10).sum()} of "
            f"{len(links)} links; {entered[links].sum():,.0f} vehicles, counted {flow.sum():,.0f}"
        )
    ids = hour.workload.network.links.ids
    for k, link in enumerate(links if args.streets else ()):
        off = float(geh(hour.ours_hour[link], flow[k]))
        print(f"    {counted[link][0]:<28} {ids[link]:<16} {hour.ours_hour[link]:>5} {flow[k]:>6.0f} GEH {off:4.1f}")


def _beside_sumo(hour: PeakHour, sumo: Run, sumo_hour: Long) -> None:
    """Print how fast and how alike the two are."""
    assert sumo.arrived == len(hour.workload), "not everyone has arrived in SUMO"
    assert np.array_equal(hour.ours.entered, sumo.entered), "not the same routes"
    print(
        f"bologna: {sumo.spent_s / hour.ours.spent_s:.1f} x as fast as {sumo.solver}: {len(hour.workload):,} vehicles, "
        f"{hour.ours.crossings:,} crossings, {hour.ours.spent_s:.3f} and {sumo.spent_s:.3f} s CPU"
    )
    for one in (hour.ours, sumo):
        last = float(np.nanmax(one.arrive))
        print(f"  {one.solver:<20} {one.total_s / 3600:7.1f} veh h, the last arrives at {last:,.0f} s")
    alike = geh(hour.ours_hour, sumo_hour)
    print(f"  links with a GEH below 5 between the two in the first hour: {(alike < 5).mean():.0%} of {len(alike)}")


if __name__ == "__main__":
    main()
