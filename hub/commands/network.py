"""``citytwin network``: import, generate, validate and describe network folders."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hub.commands import sites
from sensors import InputError
from twin import Network, writers
from twin.compiled import CompiledNetwork
from twin.difference import Change, differences, to_geojson
from twin.edit import apply_patches
from twin.gmns import DEMAND_TABLES, Tables, read_folder, write_tables
from twin.importers import FORMATS, import_tables, with_detectors, with_equipment
from twin.importers.tntp import TIME_S, TntpUnits
from twin.links import CLASS_NAMES
from twin.patch import Patch
from twin.repair import repair
from twin.tables import Table


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    load = actions.add_parser("import", help="make a network folder from another format")
    load.add_argument("source", metavar="SOURCE", type=Path, help="file or folder, plain, gzip or bzip2")
    load.add_argument("--format", dest="form", choices=FORMATS, help="guessed from what SOURCE holds unless given")
    load.add_argument("--map", dest="column_map", type=Path, metavar="FILE", help="TOML: columns of a table of links")
    more = "signals to use instead (SUMO add.xml, CityFlow phases), places of nodes (TNTP, tables); may be repeated"
    load.add_argument("--additional", type=Path, action="append", default=[], metavar="FILE", help=more)
    trips = "vehicles with routes (SUMO, CityFlow, CBEngine) for trips.csv, trips of TNTP; may be repeated"
    load.add_argument("--demand", type=Path, action="append", default=[], metavar="FILE", help=trips)
    load.add_argument("--service", action="store_true", help="OpenStreetMap: keep service roads")
    parts = "OpenStreetMap: keep streets that are cut off, or lead only in or out"
    load.add_argument("--all-parts", action="store_true", help=parts)
    side = "OpenStreetMap: where traffic keeps (default: as the roundabouts turn)"
    load.add_argument("--driving-side", choices=("left", "right"), default="", help=side)
    load.add_argument(
        "--length-unit", choices=("m", "km", "foot", "mile", "yard"), help="TNTP: of lengths (default km)"
    )
    load.add_argument("--time-unit", choices=tuple(TIME_S), help="TNTP: of free-flow times (default min)")
    load.add_argument("--hours", type=float, help="TNTP: for how many hours capacities and trips are (default 1)")
    load.add_argument("--crs", help="TNTP: coordinate system of the nodes, such as EPSG:32616")
    places = "table of detectors with places and headings, put on the links (CSV); may be repeated"
    load.add_argument("--detectors", type=Path, action="append", default=[], metavar="FILE", help=places)
    columns = "TOML: columns of the tables of detectors"
    load.add_argument("--detector-map", dest="detector_map", type=Path, metavar="FILE", help=columns)
    grid = "power grid (pandapower JSON) whose feeders carry the equipment near them; may be repeated"
    load.add_argument("--power", type=Path, action="append", default=[], metavar="FILE", help=grid)
    devices = "descriptions of devices (SensorThings Things, NGSI entities; JSON); may be repeated"
    load.add_argument("--things", type=Path, action="append", default=[], metavar="FILE", help=devices)
    _add_output(load)
    load.set_defaults(work=_import)

    make = actions.add_parser("generate", help="make a believable, seeded city")
    make.add_argument("--seed", type=int, default=1, help="the same seed gives the same city (default 1)")
    make.add_argument("--junctions", type=int, default=300, help="how large (default 300)")
    _add_output(make)
    make.set_defaults(work=_generate)

    check = actions.add_parser("validate", help="say all that is wrong or doubtful; exit 2 on errors")
    check.add_argument("folder", metavar="DIR", type=Path)
    check.add_argument("--json", action="store_true", help="print a list of findings")
    check.add_argument("--fix", action="store_true", help="repair what is safe, list it, and check the rest")
    check.add_argument("--out", type=Path, metavar="OUT", help="with --fix: write the repaired network there instead")
    check.set_defaults(work=_validate)

    show = actions.add_parser("info", help="describe a network on one page")
    show.add_argument("folder", metavar="DIR", type=Path)
    show.add_argument("--json", action="store_true", help="print one object")
    show.set_defaults(work=_info)

    other = actions.add_parser("diff", help="say what one network has that another has not")
    other.add_argument("before", metavar="A", type=Path)
    other.add_argument("after", metavar="B", type=Path)
    other.add_argument("--json", action="store_true", help="print a list of changes")
    other.add_argument("--geojson", type=Path, metavar="FILE", help="write the changes for a map")
    other.set_defaults(work=_diff)

    edit = actions.add_parser("patch", help="make a network folder from another one and small TOML patches")
    edit.add_argument("base", metavar="BASE", type=Path)
    edit.add_argument("patches", metavar="PATCH", type=Path, nargs="+", help="TOML files, one upon the other")
    _add_output(edit)
    edit.set_defaults(work=_patch)

    give = actions.add_parser("export", help="write a network for other programs: GMNS, SUMO, GeoJSON, CityJSON")
    give.add_argument("folder", metavar="DIR", type=Path)
    names = "what to write: a folder (GMNS), NAME.sumo (a folder), NAME.geojson or NAME.city.json"
    give.add_argument("out", metavar="OUT", type=Path, help=names)
    give.add_argument("--format", dest="form", choices=writers.FORMATS, help="by the name of OUT unless given")
    give.add_argument("--force", action="store_true", help="replace what stands at OUT")
    give.set_defaults(work=_export)

    where = sites.configure(actions)
    for sub in (load, make, check, show, other, edit, give, where):
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace the network in OUT")


def run(args: argparse.Namespace) -> int:
    """Run one subcommand and return its exit code."""
    work: Callable[[argparse.Namespace], int] = args.work
    return work(args)


def _write(tables: Tables, args: argparse.Namespace) -> int:
    """Write the tables when they make a network, and say what it is."""
    trips = f", {len(tables['trips']):,} trips" if "trips" in tables else ""
    trips += f", {len(tables['demand']):,} pairs of zones with demand" if "demand" in tables else ""
    network = Network.from_tables(tables)  # what cannot be read back is never written
    del tables  # a large city's rows need not be held twice while they are written
    aside = set(args.out.glob("*.csv.old*"))
    network.write(args.out, overwrite=args.force)
    print(f"{args.out}: {_first_line(network)}{trips}")
    for path in sorted(set(args.out.glob("*.csv.old*")) - aside):
        print(f"  the demand that was there is kept as {path.name}: the new network brings its own")
    for note in network.notes:
        print(f"  {note}")
    return 0


def _first_line(network: Network) -> str:
    compiled = network.compile()
    return (
        f"{compiled.n_nodes:,} nodes, {compiled.n_links:,} links, {compiled.length.sum() / 1000:,.1f} km, "
        f"{len(network.signals):,} signals, {len(network.sensors):,} sensors"
    )


def _import(args: argparse.Namespace) -> int:
    return _write(_tables(args), args)


def _tables(args: argparse.Namespace) -> Tables:
    """Return what is to be written; nobody else holds it, so that `_write` can let it go."""
    tables = import_tables(
        args.source,
        form=args.form,
        column_map=args.column_map,
        additional=args.additional,
        demand=args.demand,
        service=args.service,
        all_parts=args.all_parts,
        driving_side=args.driving_side,
        units=_tntp_units(args),
    )
    if args.detector_map is not None and not args.detectors:
        raise InputError("--detector-map names the columns of --detectors FILE, which is not given")
    for path in args.detectors:
        tables = with_detectors(tables, path, detector_map=args.detector_map)
    return with_equipment(tables, power_grid=args.power, things_of=args.things)


def _tntp_units(args: argparse.Namespace) -> TntpUnits | None:
    given = (args.length_unit, args.time_unit, args.hours, args.crs)
    if all(value is None for value in given):
        return None
    hours = 1.0 if args.hours is None else args.hours
    if not 0 < hours <= 8784:
        raise InputError(f"--hours is {hours:g}, must be > 0 and at most a year")
    return TntpUnits(length=args.length_unit, time=args.time_unit, hours=hours, crs=args.crs)


def _generate(args: argparse.Namespace) -> int:
    if args.junctions < 1:
        raise InputError(f"--junctions is {args.junctions}, must be > 0")
    from twin.generate import generate  # the other subcommands do not pay for it

    return _write(generate(seed=args.seed, junctions=args.junctions), args)


def _validate(args: argparse.Namespace) -> int:
    fixed = _fix(args)
    folder = args.folder if args.out is None else args.out
    try:
        faults = Network.read(folder).validate()
    except InputError as error:
        if args.json:
            rows = [*fixed, *(_told("error", sentence, "readable") for sentence in error.faults)]
            print(json.dumps(rows, ensure_ascii=False, indent=1))
        else:
            for sentence in error.faults:
                print(f"error: {sentence}")
            print(f"{folder}: {len(error.faults)} errors", file=sys.stderr)
        return 2
    if args.json:
        rows = [*fixed, *({name: getattr(fault, name) for name in fault.__slots__} for fault in faults)]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        for fault in faults:
            print(fault)
        counts = Counter(fault.severity for fault in faults)
        print(f"{folder}: {', '.join(f'{counts[kind]} {kind}s' for kind in ('error', 'warning', 'note'))}")
    return 2 if any(fault.severity == "error" for fault in faults) else 0


def _diff(args: argparse.Namespace) -> int:
    before, after = Network.read(args.before), Network.read(args.after)
    changes = differences(before, after)
    if args.geojson is not None:
        try:
            args.geojson.write_text(json.dumps(to_geojson(changes), ensure_ascii=False) + "\n", "utf-8")
        except OSError as error:
            raise InputError(f"{args.geojson}: cannot be written: {error.strerror}") from None
    if args.json:
        rows = [{"change": c.kind, "what": c.what, "id": c.id, "text": c.text} for c in changes]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    for change in changes:
        print(change)
    _say_difference(before, after, changes)
    return 0


def _say_difference(before: Network, after: Network, changes: list[Change]) -> None:
    """Print how much changed, and both versions."""
    counts = Counter((change.kind, change.what) for change in changes)
    told = ", ".join(f"{n} {what}{'s' if n != 1 else ''} {kind}" for (kind, what), n in counts.items())
    one, two = before.compile(), after.compile()
    for label, a, b in (
        ("km of links", one.length.sum() / 1000, two.length.sum() / 1000),
        ("lane km", (one.length * one.lanes).sum() / 1000, (two.length * two.lanes).sum() / 1000),
    ):
        told += f"; {label} {a:,.2f} -> {b:,.2f}" if abs(a - b) > 0.005 else ""
    print(f"{told or 'no difference'}; sha256 {before.sha256[:12]} -> {after.sha256[:12]}")


def _patch(args: argparse.Namespace) -> int:
    base = Network.read(args.base)
    patched = apply_patches(base, [Patch.read(path) for path in args.patches])
    copies = [path for name in DEMAND_TABLES if (path := args.base / f"{name}.csv").is_file()]
    tables = {name: table.rows for name, table in patched.tables.items()}
    write_tables(args.out, tables, overwrite=args.force, copies=copies)
    changes = differences(base, patched)
    for change in changes:
        print(change)
    print(f"{args.out}: {_first_line(patched)}")
    _say_difference(base, patched, changes)
    return 0


def _export(args: argparse.Namespace) -> int:
    network = Network.read(args.folder)
    notes = writers.export(network, args.out, form=args.form, overwrite=args.force)
    print(f"{args.out}: {_first_line(network)}")
    for note in notes:
        print(f"  {note}")
    return 0


def _fix(args: argparse.Namespace) -> list[dict[str, str]]:
    """Repair what is safe when it is asked for, and return what was done as rows of the report."""
    if not args.fix:
        if args.out is not None:
            raise InputError("--out names where --fix writes; give --fix as well")
        return []
    faults: list[str] = []
    tables = read_folder(args.folder, faults)
    if any(not table.readable for table in tables.values()):
        raise InputError(faults)
    trips = args.folder / "trips.csv"
    rows, done = repair({**tables, **({"trips": Table.read(trips, [])} if trips.is_file() else {})})
    if done or args.out is not None:
        copies = [path for name in DEMAND_TABLES if (path := args.folder / f"{name}.csv").is_file()]
        kept = {name: table for name, table in rows.items() if name not in DEMAND_TABLES}
        write_tables(args.out or args.folder, kept, overwrite=args.out is None, copies=copies)
    if not args.json:
        for sentence in done:
            print(f"fixed: {sentence}")
    return [_told("fixed", sentence, "repair") for sentence in done]


def _told(severity: str, sentence: str, rule: str) -> dict[str, str]:
    file, _, text = sentence.partition(": ")
    return {"severity": severity, "file": file, "id": "", "rule": rule, "text": text}


def describe(network: Network) -> dict[str, Any]:
    """Return what ``network info`` says, as one object."""
    compiled = network.compile()
    low, high = network.nodes.lon_lat.min(axis=0), network.nodes.lon_lat.max(axis=0)
    classes = [
        {
            "class": name,
            "links": int(of.sum()),
            "km": round(float(compiled.length[of].sum()) / 1000, 2),
            "lane_km": round(float((compiled.length * compiled.lanes)[of].sum()) / 1000, 2),
            "free_speed_kmh": round(float(np.average(compiled.free_speed[of], weights=compiled.length[of])) * 3.6, 1),
        }
        for number, name in enumerate(CLASS_NAMES)
        for of in (compiled.link_class == number,)
        if of.any()
    ]
    assumed = Counter(column for columns in network.links.assumed for column in columns)
    cycles = [plan.cycle_s for plan in network.signals.values()]
    return {
        "name": network.name,
        "name_zh": network.name_zh,
        "network_sha256": network.sha256,
        "nodes": compiled.n_nodes,
        "links": compiled.n_links,
        "km": round(float(compiled.length.sum()) / 1000, 2),
        "lane_km": round(float((compiled.length * compiled.lanes).sum()) / 1000, 2),
        "lanes": int(compiled.lanes.sum()),
        "storage_veh": round(float((compiled.length * compiled.jam_density).sum())),
        "bounds": [round(float(x), 6) for x in (*low, *high)],
        "timezone": network.timezone,
        "classes": classes,
        "one_way_links": _one_way(compiled),
        "dead_ends": int((np.diff(compiled.movement_start) == 0).sum()),
        "movements": len(compiled.movement_out),
        "nodes_with_listed_movements": len(network.movements.nodes_with_rows),
        "signals": len(network.signals),
        "cycle_s": [min(cycles), max(cycles)] if cycles else [],
        "zones": len(network.zones),
        "sensors": dict(Counter(sensor.kind for sensor in network.sensors)),
        "links_with_sensors": len({sensor.link_id for sensor in network.sensors if sensor.link_id}),
        "assets": dict(Counter(asset.kind for asset in network.assets.assets.values())),
        "buildings": len(network.buildings),
        "assumed": dict(assumed),
        "notes": list(network.notes),
    }


def _one_way(compiled: CompiledNetwork) -> int:
    """Return how many links have none back between the same nodes."""
    there, back = (
        a.astype(np.int64) * compiled.n_nodes + b
        for a, b in ((compiled.from_node, compiled.to_node), (compiled.to_node, compiled.from_node))
    )
    return int((~np.isin(there, back)).sum())


def _info(args: argparse.Namespace) -> int:
    network = Network.read(args.folder)
    facts = describe(network)
    demand = [name for name in ("demand.csv", "trips.csv") if (args.folder / name).is_file()]
    if args.json:
        print(json.dumps({**facts, "demand": demand}, ensure_ascii=False, indent=1))
        return 0
    west, south, east, north = facts["bounds"]
    title = facts["name"] + (f" ({facts['name_zh']})" if facts["name_zh"] != facts["name"] else "")
    print(title)
    sides = f"{_degrees(west, 'EW')} to {_degrees(east, 'EW')}, {_degrees(south, 'NS')} to {_degrees(north, 'NS')}"
    zone = f", time zone {facts['timezone']}" if facts["timezone"] else ""
    print(f"  {sides}{zone}")
    print(f"  {facts['nodes']:,} nodes, {facts['links']:,} links, {facts['km']:,.1f} km")
    print(f"  {facts['lane_km']:,.1f} lane km: room for {facts['storage_veh']:,} vehicles standing")
    print("\n  class        links      km  lane km  free speed")
    for row in facts["classes"]:
        print(
            f"  {row['class']:<10} {row['links']:>7,} {row['km']:>7,.1f} {row['lane_km']:>8,.1f} "
            f"{row['free_speed_kmh']:>7.0f} km/h"
        )
    ways = f"{facts['one_way_links']:,} of {facts['links']:,} links have none back between their nodes (one-way)"
    print(f"\n  directions {ways}; {facts['dead_ends']:,} lead nowhere on")
    print(f"  movements  {facts['movements']:,}, listed at {facts['nodes_with_listed_movements']:,} nodes")
    cycles = f", cycles {facts['cycle_s'][0]:g} to {facts['cycle_s'][1]:g} s" if facts["cycle_s"] else ""
    print(f"  signals    {facts['signals']:,} with a plan{cycles}")
    print(f"  zones      {facts['zones']:,}; demand: {', '.join(demand) or 'none (a gravity model is assumed)'}")
    print(f"  sensors    {_counts(facts['sensors'])} on {facts['links_with_sensors']:,} links")
    print(f"  assets     {_counts(facts['assets'])}; {facts['buildings']:,} buildings")
    if facts["assumed"]:
        shares = (f"{name} on {_share(number / facts['links'])}" for name, number in facts["assumed"].items())
        print(f"  assumed    {', '.join(shares)} of the links")
    if facts["notes"]:
        print("\n  To know before trusting it:")
        for note in facts["notes"]:
            print(f"  - {note}")
    print(f"\n  sha256 {facts['network_sha256']}")
    return 0


def _share(value: float) -> str:
    return "less than 1%" if value < 0.01 else f"{value:.0%}"


def _degrees(value: float, sides: str) -> str:
    return f"{abs(value):.4f}° {sides[value < 0]}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items()) or "none"
