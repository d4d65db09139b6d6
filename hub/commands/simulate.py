"""``citytwin simulate``: one run of the traffic engine, offline."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from sensors import InputError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``citytwin simulate``."""
    add_run_arguments(parser)
    parser.add_argument(
        "--scenario", metavar="F", action="append", default=[], help="scenario (TOML); may be given several times"
    )
    parser.add_argument("--out", metavar="DIR", help="write summary.json, trips.csv, links.csv and run.json there")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every command has that runs the engine."""
    parser.add_argument("network", metavar="NETWORK", help="network folder")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--demand", metavar="F", help="flows between zones (default: demand.csv of the folder)")
    given.add_argument("--trips", metavar="F", help="single trips (default: trips.csv of the folder)")
    parser.add_argument(
        "--horizon", metavar="S", type=_positive, help="end of the run (default: when all have arrived)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of all that is left to chance (default 0)")
    parser.add_argument("--sample-every", metavar="S", type=_positive, default=60.0, help="interval of links.csv (60)")
    parser.add_argument("--allow-unreachable", action="store_true", help="count trips without any path, leave them out")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be a number > 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Run ``citytwin simulate``."""
    from simulation import Demand, Scenario, simulate
    from twin import Network

    faults: list[str] = []
    scenario = Scenario()
    for path in args.scenario:
        try:
            scenario = scenario + Scenario.read(path)
        except InputError as error:
            faults += error.faults
    try:
        network = Network.read(args.network)
    except InputError as error:
        raise InputError([*error.faults, *faults]) from None
    try:
        demand = Demand.read(network, demand=args.demand, trips=args.trips)
    except InputError as error:
        raise InputError([*error.faults, *faults]) from None
    if faults:
        raise InputError(faults)
    if args.out is not None:
        check_out(Path(args.out))
    result = simulate(
        network,
        demand,
        scenario=scenario,
        seed=args.seed,
        horizon_s=args.horizon,
        sample_every_s=args.sample_every,
        allow_unreachable=args.allow_unreachable,
    )
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    if args.out is not None:
        result.write(args.out)
    if args.json:
        print(json.dumps(result.summary(), ensure_ascii=False))
    else:
        print("\n".join(page(result.summary(), network.name, scenario.name)))
    return 0


def check_out(folder: Path) -> None:
    """Refuse a folder for results before the run, not after it."""
    from simulation.result import FILES

    if folder.exists() and (not folder.is_dir() or {entry.name for entry in folder.iterdir()} - FILES):
        raise InputError(f"--out {folder}: holds other things than a result, name an empty or new folder")


def page(summary: dict[str, Any], network: str, scenario: str) -> list[str]:
    """Return the result as a planner reads it."""
    vehicles = summary["vehicles"]
    arrived = max(1, vehicles["arrived"])
    lines = [
        f"{network}, {scenario or 'ordinary day'}: {clock(summary['horizon_s'])} simulated in "
        f"{summary['engine_wall_s']:.2f} s",
        "",
        f"  vehicles demanded   {vehicles['demanded']:>12,}",
        f"    arrived           {vehicles['arrived']:>12,}",
        f"    under way         {vehicles['on_links']:>12,}",
        f"    not yet let in    {vehicles['waiting']:>12,}",
    ]
    if vehicles["unreachable"]:
        lines.append(f"    without any path  {vehicles['unreachable']:>12,}   (left out)")
    lines += [
        f"  time spent          {summary['total_time_spent_s'] / 3600:>12,.1f} veh h",
        f"  of that delay       {summary['total_delay_s'] / 3600:>12,.1f} veh h"
        f"   ({summary['total_delay_s'] / max(1, vehicles['demanded']):.0f} s per vehicle)",
        f"  distance            {summary['total_distance_m'] / 1000:>12,.1f} veh km",
        f"  stops               {summary['stops']:>12,}   ({summary['stops'] / arrived:.1f} per arrived vehicle)",
    ]
    for ring in summary["gridlock"]:
        lines.append(f"  GRIDLOCK: these links wait for each other: {' > '.join(ring)}")
    return lines


def clock(seconds: float) -> str:
    """Return a duration in hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
