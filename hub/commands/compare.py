"""``citytwin compare``: two scenarios on the same day, with the difference."""

import argparse
import json
import signal
import sys
from typing import Any

from hub.commands.simulate import add_run_arguments, clock

BASIS = "one run of each scenario, no interval"
MEASURES = (
    ("total_time_spent_s", "time spent", 3600.0, "veh h"),
    ("total_delay_s", "of that delay", 3600.0, "veh h"),
    ("total_distance_m", "distance", 1000.0, "veh km"),
    ("stops", "stops", 1.0, ""),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``citytwin compare``."""
    add_run_arguments(parser)
    parser.add_argument("--scenario", metavar="F", action="append", default=[], help="two scenarios (TOML), A then B")
    parser.add_argument(
        "--replications", metavar="N", type=int, default=1, help="runs of each scenario (only 1 so far)"
    )


def run(args: argparse.Namespace) -> int:
    """Run ``citytwin compare``."""
    try:
        return _run(args)
    except KeyboardInterrupt:
        print("citytwin compare: cancelled", file=sys.stderr)
        return 128 + signal.SIGINT


def _run(args: argparse.Namespace) -> int:
    from simulation import simulate
    from simulation.inputs import Inputs

    faults: list[str] = []
    if len(args.scenario) != 2:
        faults.append(f"--scenario is given {len(args.scenario)} times, give it twice: the baseline, then the change")
    if args.replications != 1:
        faults.append(
            f"--replications is {args.replications}, only 1 is possible: every run of this version is the same, "
            "so that more of them would make an interval that means nothing"
        )
    inputs = Inputs.read(
        args.network,
        demand=args.demand,
        trips=args.trips,
        scenarios=args.scenario,
        horizon_s=args.horizon,
        allow_unreachable=args.allow_unreachable,
        together=False,
        faults=faults,
    )
    network, scenarios = inputs.network, inputs.scenarios
    runs = [
        simulate(
            network,
            inputs.demand,
            scenario=scenario,
            seed=args.seed,
            horizon_s=args.horizon,
            sample_every_s=args.sample_every,
            allow_unreachable=args.allow_unreachable,
        ).summary()
        for scenario in scenarios
    ]
    names = [scenario.name or path for scenario, path in zip(scenarios, args.scenario, strict=True)]
    answer = _answer(names, runs)
    print(json.dumps(answer, ensure_ascii=False) if args.json else "\n".join(_page(network.name, answer)))
    return 0


def _answer(names: list[str], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return both runs and the second less the first, same vehicles and same random numbers."""
    difference = {key: runs[1][key] - runs[0][key] for key, *_ in MEASURES}
    difference["arrived"] = runs[1]["vehicles"]["arrived"] - runs[0]["vehicles"]["arrived"]
    return {"basis": BASIS, "scenarios": names, "runs": runs, "difference": difference}


def _page(network: str, answer: dict[str, Any]) -> list[str]:
    first, second = answer["runs"]
    lines = [
        f"{network}: {BASIS}",
        f"  A: {answer['scenarios'][0]} ({clock(first['horizon_s'])} simulated)",
        f"  B: {answer['scenarios'][1]} ({clock(second['horizon_s'])} simulated)",
        "",
        f"  {'':<18}{'A':>14}{'B':>14}{'B - A':>14}",
        f"  {'arrived':<18}{first['vehicles']['arrived']:>14,}{second['vehicles']['arrived']:>14,}"
        f"{answer['difference']['arrived']:>+14,}",
    ]
    for key, label, unit, name in MEASURES:
        a, b = first[key] / unit, second[key] / unit
        lines.append(f"  {label:<18}{a:>14,.1f}{b:>14,.1f}{b - a:>+14,.1f} {name}".rstrip())
    return lines
