"""``citytwin assets``: what fails with what, why, how long batteries last, and what to repair first."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sensors import InputError
from simulation.impact import impact
from twin import Network
from twin.assets import Asset, AssetGraph
from twin.restoration import REPAIR_S, restoration_order

MOST = 40  # lines of a list; --json prints everything


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str, work: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("folder", metavar="DIR", type=Path, help="network folder")
        sub.add_argument("--json", action="store_true", help="print one object")
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        sub.set_defaults(work=work)
        return sub

    def add_live(name: str, text: str, work: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--url", metavar="URL", help="of the hub (default: that of this state folder)")
        sub.add_argument("--json", action="store_true", help="print one object")
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        sub.set_defaults(work=work)
        return sub

    for name, text, work in (
        ("fail", "declare an asset of the running hub failed", _fail),
        ("restore", "declare an asset of the running hub restored", _restore),
    ):
        said = add_live(name, text, work)
        said.add_argument("asset", metavar="ASSET")
        said.add_argument("--author", default="operator", metavar="NAME", help="who says so (default operator)")
        said.add_argument("--reason", default="", metavar="TEXT", help="why")
        if name == "fail":
            said.add_argument("--since", metavar="TIME", help="since when, RFC 3339 (default now)")
    add_live("status", "what is failed, dark, unheard or on its battery in the running hub, and why", _status)
    add_live("suspects", "which sensors the running hub does not believe, since when and why", _suspects)
    for name, text, work in (
        ("downstream", "what needs an asset, and which of it fails with it", _downstream),
        ("upstream", "what an asset needs", _upstream),
    ):
        add(name, text, work).add_argument("asset", metavar="ASSET")
    what = add("impact", "what the street loses when assets fail at once", _impact)
    what.add_argument("assets", metavar="ASSET", nargs="+")
    what.add_argument(
        "--scenario", type=Path, metavar="FILE", help="write it as a scenario (TOML) for citytwin simulate"
    )
    cause = add("cause", "what may have failed when assets are dark or unheard, likeliest first", _cause)
    cause.add_argument("assets", metavar="ASSET", nargs="+", help="dark or unheard")
    cause.add_argument("--working", metavar="ASSET", nargs="+", default=[], help="known to work, and to be heard")
    add("weak-points", "assets that alone take others along, those that darken most signals first", _weak)
    dark = add("time-to-dark", "how long an asset works when its supply, or something else, fails", _time)
    dark.add_argument("asset", metavar="ASSET")
    dark.add_argument("--failed", metavar="ASSET", nargs="+", help="what has failed (default: all its supplies)")
    dark.add_argument("--ago-min", type=float, default=0.0, metavar="MIN", help="how long ago that was (default 0)")
    order = add("repair-order", "in which order to repair what failed, by vehicle-hours saved", _order)
    order.add_argument("assets", metavar="ASSET", nargs="+", help="failed by themselves")
    order.add_argument("--crews", type=int, default=1, metavar="N", help="that work at once (default 1)")
    text = f"how long a repair takes (default {REPAIR_S / 60:g})"
    order.add_argument("--repair-min", type=float, default=REPAIR_S / 60, metavar="MIN", help=text)


def run(args: argparse.Namespace) -> int:
    """Answer one question and return the exit code."""
    work: Callable[[argparse.Namespace], int] = args.work
    return work(args)


def _read(args: argparse.Namespace, *names: str) -> Network:
    network = Network.read(args.folder)
    if not len(network.assets):
        raise InputError(f"{args.folder}: has no equipment (asset.csv), so nothing depends on anything")
    wrong = [f"asset {name!r} is not in {args.folder / 'asset.csv'}{_near(network, name)}" for name in names
             if name not in network.assets.assets]  # fmt: skip
    if wrong:
        raise InputError(wrong)
    return network


def _near(network: Network, name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, network.assets.assets, 1)
    return f", did you mean {near[0]!r}?" if near else ""


def _print_json(answer: Any) -> int:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    print(json.dumps(plain(answer), ensure_ascii=False, indent=1))
    return 0


def _called(asset: Asset) -> str:
    kind = "" if asset.name.lower().startswith(asset.kind) else asset.kind
    return f"{asset.asset_id} ({' '.join(word for word in (kind, asset.name) if word)})"


def _counted(graph: AssetGraph, names: Iterable[str]) -> str:
    counts = Counter(graph.assets[name].kind or "asset" for name in names)
    return ", ".join(f"{number:,} {kind}" for kind, number in counts.most_common()) or "nothing"


def _lines(lines: list[str]) -> None:
    for line in lines[:MOST]:
        print(f"  {line}")
    if len(lines) > MOST:
        print(f"  ... and {len(lines) - MOST:,} more; --json has all")


def _minutes(seconds: float) -> str:
    """Return a duration as people say it.

    Examples
    --------
    >>> _minutes(0), _minutes(90), _minutes(5400), _minutes(float("inf"))
    ('at once', '1.5 min', '1 h 30 min', 'never')
    """
    if not math.isfinite(seconds):
        return "never"
    if seconds <= 0:
        return "at once"
    if seconds < 3600:
        return f"{seconds / 60:.3g} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _fail(args: argparse.Namespace) -> int:
    import citytwin  # the client

    hub = citytwin.connect(args.url)
    return _tell(args, hub.fail(args.asset, author=args.author, reason=args.reason, since=args.since))


def _restore(args: argparse.Namespace) -> int:
    import citytwin

    return _tell(args, citytwin.connect(args.url).restore(args.asset, author=args.author, reason=args.reason))


def _tell(args: argparse.Namespace, state: dict[str, Any]) -> int:
    if args.json:
        return _print_json(state)
    print(_state_in_words(state))
    return 0


def _state_in_words(asset: dict[str, Any]) -> str:
    """Return how an asset of the API is, as one line."""
    failure = asset["failure"]
    who = f" (says {failure['author']}{': ' + failure['reason'] if failure['reason'] else ''})" if failure else ""
    when = (
        f" until {asset['dark_at']}" if asset.get("dark_at") else f" since {asset['since']}" if asset["since"] else ""
    )
    why = f": {asset['because']}" if asset["because"] and not failure else ""
    return f"{asset['asset_id']} ({asset['kind']}) is {asset['state'].replace('_', ' ')}{when}{who}{why}"


def _status(args: argparse.Namespace) -> int:
    import citytwin

    found = [row for row in citytwin.connect(args.url).get("/api/v1/assets")["assets"] if row["state"] != "working"]
    if args.json:
        return _print_json(found)
    order = ("failed", "dark", "unheard", "on_battery")
    found.sort(key=lambda row: (order.index(row["state"]), row["asset_id"]))
    print(
        f"{len(found):,} assets do not work as they should" if found else "all equipment works, as far as anybody said"
    )
    _lines([_state_in_words(row) for row in found])
    return 0


def _suspects(args: argparse.Namespace) -> int:
    import citytwin

    found = citytwin.connect(args.url).get("/api/v1/suspects", limit=100_000)
    if args.json:
        return _print_json(found)
    counts = ", ".join(f"{number:,} {code}" for code, number in found["counts"].items() if number)
    compared = f"{found['sensors_compared']:,} sensors are compared with their neighbours"
    print(f"{counts or 'every sensor is believed'}; {compared}")
    _lines([f"{row['sensor_id']} ({row['kind']}) since {row['since']}: {row['reason']}" for row in found["suspects"]])
    return 0


def _downstream(args: argparse.Namespace) -> int:
    graph = _read(args, args.asset).assets
    names, outage = graph.downstream(args.asset), graph.outage({args.asset})
    lost, unheard = set(outage.dark()), set(outage.unheard())
    why = {name: outage.because(name) or outage.because(name, heard=True) for name in names}
    if args.json:
        rows = [{"asset_id": name, "kind": graph.assets[name].kind, "fails": name in lost, "unheard": name in unheard,
                 "because": why[name]} for name in names]  # fmt: skip
        return _print_json({"asset_id": args.asset, "downstream": rows})
    print(f"{_called(graph.assets[args.asset])} carries {len(names):,} assets: {_counted(graph, names)}")
    fail = [name for name in names if name in lost]
    mute = [name for name in names if name in unheard and name not in lost]
    live = [name for name in names if name not in unheard]
    print(f"If it fails, {len(fail):,} fail with it, {len(mute):,} work on unheard, {len(live):,} have another supply.")
    _lines([why[name] for name in (*fail, *mute)] + [f"{name} has another supply" for name in live])
    return 0


def _upstream(args: argparse.Namespace) -> int:
    graph = _read(args, args.asset).assets
    names = graph.upstream(args.asset)
    paths = {name: graph.path(args.asset, name) for name in names}
    if args.json:
        rows = [{"asset_id": name, "kind": graph.assets[name].kind,
                 "path": [{"asset_id": d.asset_id, "kind": d.kind, "depends_on": d.depends_on} for d in paths[name]]}
                for name in names]  # fmt: skip
        return _print_json({"asset_id": args.asset, "upstream": rows})
    print(f"{_called(graph.assets[args.asset])} needs {len(names):,} assets: {_counted(graph, names)}")
    _lines([
        f"{_called(graph.assets[name])}: {args.asset}" + "".join(f" - {d.kind} - {d.depends_on}" for d in paths[name])
        for name in names
    ])  # fmt: skip
    return 0


def _impact(args: argparse.Namespace) -> int:
    network = _read(args, *args.assets)
    found = impact(network, args.assets)
    if args.scenario is not None:
        try:
            args.scenario.write_text(found.scenario.to_toml(), "utf-8")
        except OSError as error:
            raise InputError(f"{args.scenario}: cannot be written: {error.strerror}") from None
    graph, outage = network.assets, found.outage
    dark, unheard = outage.dark(), [name for name in outage.unheard() if name not in set(outage.dark())]
    if args.json:
        signals = [{"node_id": s.node_id, "mode": s.mode, "after_s": s.time, "because": outage.because(s.asset_id)}
                   for s in found.signals]  # fmt: skip
        return _print_json({
            "failed": args.assets, "dark": dark, "unheard": unheard, "signals": signals, "links": found.links,
            "movements": found.movements, "unmeasured": found.unmeasured, "reason": found.reason,
        })  # fmt: skip
    print(f"When {', '.join(args.assets)} {'fails' if len(args.assets) == 1 else 'fail'}:")
    print(f"  dark    {_counted(graph, dark)}")
    print(f"  unheard {_counted(graph, unheard)}")
    words = {"dark": "all-way stop", "flashing": "flashing: the major road has priority"}
    lines = [
        f"junction {s.node_id}: {words[s.mode]}, {_minutes(s.time)}: {outage.because(s.asset_id)}"
        for s in found.signals
    ]
    print(f"{len(found.signals):,} junctions lose their signal:" if lines else "No junction loses its signal.")
    _lines(lines)
    shut = outage.closed_links()
    if shut:
        print(f"{len(shut):,} links are shut: {', '.join(shut)}")
    print(f"{len(found.unmeasured):,} links are not measured any more.")
    _lines([f"{link}, {_minutes(time)}" for link, time in found.unmeasured.items()])
    return 0


def _cause(args: argparse.Namespace) -> int:
    graph = _read(args, *args.assets, *args.working).assets
    causes = graph.common_cause(args.assets, working=args.working)
    if args.json:
        return _print_json([cause.to_json() for cause in causes])
    for cause in causes:
        if not cause.asset_id:
            print(f"{cause.likelihood:6.1%}  each of them failed by itself")
            continue
        print(f"{cause.likelihood:6.1%}  {_called(graph.assets[cause.asset_id])}: explains {len(cause.explains)} of "
              f"{len(args.assets)}, {cause.also} others would be dark too")  # fmt: skip
        _lines(list(cause.reason.values())[:5])
        if cause.unexplained:
            print(f"          does not explain {', '.join(cause.unexplained)}")
        if cause.contradicted_by:
            print(f"          but {', '.join(cause.contradicted_by)} would be dark, and works")
    return 0


def _weak(args: argparse.Namespace) -> int:
    graph = _read(args).assets
    points = graph.single_points_of_failure()
    if args.json:
        return _print_json([{name: getattr(point, name) for name in point.__slots__} for point in points])
    print(f"{len(points):,} of {len(graph):,} assets take others along when they fail alone (batteries empty)")
    _lines([
        f"{_called(graph.assets[p.asset_id])}: {p.signals:,} signals; {p.lost:,} assets fail, {p.unheard:,} are unheard"
        for p in points
    ])  # fmt: skip
    return 0


def _time(args: argparse.Namespace) -> int:
    if not args.ago_min >= 0 or math.isinf(args.ago_min):
        raise InputError(f"--ago-min is {args.ago_min:g}, must be >= 0")
    graph = _read(args, args.asset, *(args.failed or ())).assets
    ago = 60 * args.ago_min
    failed = None if args.failed is None else dict.fromkeys(args.failed, 0.0)
    answer = graph.time_to_dark(args.asset, ago if failed is not None else 0.0, failed=failed)
    seconds = answer.seconds if failed is not None else max(0.0, answer.seconds - ago)
    if args.json:
        return _print_json({"asset_id": args.asset, "time_to_dark_s": seconds, "because": answer.because})
    if math.isinf(seconds):
        print(f"{_called(graph.assets[args.asset])} works on: it does not hang on what failed alone")
    else:
        print(f"{_called(graph.assets[args.asset])} is dark {'' if seconds <= 0 else 'in '}{_minutes(seconds)}")
        print(f"  {answer.because}")
    return 0


def _order(args: argparse.Namespace) -> int:
    if not args.repair_min > 0:
        raise InputError(f"--repair-min is {args.repair_min:g}, must be > 0")
    network = _read(args, *args.assets)
    repair_s = dict.fromkeys(args.assets, 60 * args.repair_min)
    repairs = restoration_order(network, args.assets, args.crews, repair_s=repair_s)
    if args.json:
        return _print_json([{name: getattr(repair, name) for name in repair.__slots__} for repair in repairs])
    print("At the flows that are expected of each link (assumed unless measured):")
    for number, repair in enumerate(repairs, 1):
        asset = network.assets.assets[repair.asset_id]
        print(f"{number:>3}. {_called(asset)}, crew {repair.crew}, done after {_minutes(repair.end_s)}: saves "
              f"{repair.saves_veh_h_per_h:,.1f} vehicle-hours an hour; {repair.because}")  # fmt: skip
    return 0
