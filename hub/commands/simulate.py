"""``citytwin simulate``: one run of the traffic engine, offline."""

import argparse
import json
import math
import signal
import sys
from pathlib import Path
from typing import Any

from sensors import InputError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``citytwin simulate``."""
    add_run_arguments(parser, optional_network=True)
    parser.add_argument(
        "--scenario", metavar="F", action="append", default=[], help="scenario (TOML); may be given several times"
    )
    parser.add_argument("--out", metavar="DIR", help="write summary.json, trips.csv, links.csv and run.json there")
    parser.add_argument(
        "--od-every", metavar="S", type=_positive, help="with --out: od.csv with periods of this length"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--densities", metavar="F", help="start full: link_id, density_veh_km (CSV)")
    start.add_argument("--start-state", metavar="F", help="go on from a file that --save-state wrote")
    parser.add_argument("--save-state", metavar="F", help="write the state at the end of the run")
    parser.add_argument("--repeat", metavar="F", help="repeat the run of a run.json, instead of all other inputs")


def add_run_arguments(parser: argparse.ArgumentParser, *, optional_network: bool = False) -> None:
    """Add the arguments that every command has that runs the engine."""
    parser.add_argument("network", metavar="NETWORK", nargs="?" if optional_network else None, help="network folder")
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
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1e9:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}")
    return value


def run(args: argparse.Namespace) -> int:
    """Run ``citytwin simulate``."""
    try:
        return _run(args)
    except KeyboardInterrupt:
        print("citytwin simulate: cancelled, nothing was written", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(args: argparse.Namespace) -> int:
    from simulation import simulate

    wanted = _inputs(args)
    result = simulate(**wanted, save_state=args.save_state, on_iteration=_tell_gap)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    if args.out is not None:
        result.write(args.out, od_period_s=args.od_every)
    if args.json:
        print(json.dumps(result.summary(), ensure_ascii=False))
    else:
        network, scenario = wanted["network"].name, wanted["scenario"].name
        print("\n".join(page(result.summary(), network, scenario)))
    return 0


def _tell_gap(iteration: int, gap: float) -> None:
    print(f"iteration {iteration}: relative gap {gap:.4%}", file=sys.stderr, flush=True)


def _inputs(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `simulate`, or every fault of them and of all files."""
    from simulation.inputs import Inputs
    from simulation.recipe import repetition
    from simulation.result_files import check_folder

    faults: list[str] = []
    if args.out is not None:
        try:
            check_folder(Path(args.out))
        except InputError as error:
            faults += error.faults
    elif args.od_every is not None:
        faults.append("--od-every works with --out, which says where od.csv goes")
    for option, path in (("--save-state", args.save_state), ("--start-state", args.start_state)):
        if path is not None and (fault := _file_fault(Path(path), new=option == "--save-state")):
            faults.append(f"{option} {path}: {fault}")
    if args.repeat is not None:
        faults += _contradictions(args)
        if faults:
            raise InputError(faults)
        return repetition(args.repeat)
    if args.network is None:
        raise InputError([*faults, "NETWORK is missing, the folder to simulate"])
    inputs = Inputs.read(
        args.network,
        demand=args.demand,
        trips=args.trips,
        scenarios=args.scenario,
        densities=args.densities,
        horizon_s=args.horizon,
        allow_unreachable=args.allow_unreachable,
        faults=faults,
    )
    return {
        "network": inputs.network,
        "demand": inputs.demand,
        "scenario": inputs.scenario,
        "seed": args.seed,
        "horizon_s": args.horizon,
        "sample_every_s": args.sample_every,
        "allow_unreachable": args.allow_unreachable,
        "densities": inputs.densities,
        "state": args.start_state,
    }


def _contradictions(args: argparse.Namespace) -> list[str]:
    """Return a sentence when inputs are given beside ``--repeat``."""
    given = {
        "NETWORK": args.network,
        "--demand": args.demand,
        "--trips": args.trips,
        "--scenario": args.scenario,
        "--horizon": args.horizon,
        "--densities": args.densities,
        "--start-state": args.start_state,
    }
    both = [name for name, value in given.items() if value]
    return [f"--repeat takes all inputs from run.json, leave out {', '.join(both)}"] if both else []


def _file_fault(path: Path, *, new: bool) -> str:
    """Return what is wrong with a file that is to be read, or made; nothing when it is right."""
    if path.is_dir():
        return "is a folder, name a file"
    if new:
        return "" if path.absolute().parent.is_dir() else "its folder does not exist"
    return "" if path.is_file() else "there is no such file"


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
