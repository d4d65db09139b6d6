"""Foreign road networks as the tables of a network folder: one importer a format, found by what the source holds.

An importer is a module with two functions: ``recognises(source) -> bool`` looks at the beginning of the source, and
``read(source) -> Tables`` returns the tables, whose ``note`` table says what is a placeholder, assumed or approximated.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sensors import InputError
from twin.gmns import Tables
from twin.importers import (
    cbengine,
    cbengine_demand,
    cityflow,
    cityflow_demand,
    detectors,
    gmns,
    osm,
    osmnx_graph,
    power,
    sumo,
    sumo_routes,
    table,
    things,
    tntp,
    tntp_demand,
)
from twin.importers.osmnx_graph import tables_of_graph
from twin.importers.source import beginning
from twin.importers.tntp import TntpUnits
from twin.network import Network

__all__ = ["FORMATS", "TntpUnits", "guess", "import_tables", "tables_of_graph", "with_detectors"]

Row = Mapping[str, object]

FORMATS = ("osm", "sumo", "gmns", "cityflow", "cbengine", "tntp", "osmnx", "table")

# What people have at hand and is not read; the sentence says what to do instead.
_FOREIGN = (
    ((b"PK\x03\x04",), "is a zip archive, unpack it first"),
    ((b"\x7fELF", b"MZ"), "is a program, not a network"),
    (
        (b"{", b"["),
        "is JSON, which is not read as a network; "
        "known are OpenStreetMap, SUMO net.xml, GMNS, CityFlow roadnet, CBEngine text, a table of links",
    ),
)


def guess(source: Path) -> str:
    """Return the format of a source by what it holds.

    Raises
    ------
    InputError
        When it is none that is read; the sentence says what was found.
    """
    if source.is_dir():
        if gmns.recognises(source):
            return "gmns"
        raise InputError(f"{source}: is a folder without node.csv and link.csv, so no GMNS network")
    head = beginning(source)
    for name, module in (
        ("osm", osm),
        ("sumo", sumo),
        ("cityflow", cityflow),
        ("cbengine", cbengine),
        ("tntp", tntp),
        ("osmnx", osmnx_graph),
        ("table", table),
    ):
        if module.recognises(source):
            return name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        raise InputError(f"{source}: is empty")
    for starts, sentence in _FOREIGN:
        if text.startswith(starts):
            raise InputError(f"{source}: {sentence}")
    raise InputError(
        f"{source}: is none of the networks that are read: {', '.join(FORMATS)}; "
        "a table of links needs --map FILE, which names its columns"
    )


def import_tables(
    source: Path | str,
    *,
    form: str | None = None,
    column_map: Path | str | None = None,
    additional: Sequence[Path] = (),
    demand: Sequence[Path] = (),
    service: bool = False,
    all_parts: bool = False,
    driving_side: str = "",
    units: TntpUnits | None = None,
) -> Tables:
    """Return the tables of a foreign network.

    Parameters
    ----------
    form
        One of `FORMATS`; guessed from what the source holds when not given.
    column_map
        TOML file that names the columns of a table of links.
    additional
        Further files: signal programs that replace those of the network (SUMO's, recorded phases of CityFlow), places
        of nodes (TNTP, tables of links).
    demand
        Vehicles with their routes: route files of SUMO, flows of CityFlow, demand of CBEngine; they become the table
        ``trips``. Trips between zones (TNTP) become the table ``demand``.
    service, all_parts, driving_side
        Of OpenStreetMap: keep service roads, keep what is cut off, and the side of the road instead of what the
        roundabouts tell.
    units
        Of TNTP, whose files do not state them.

    Raises
    ------
    InputError
        When the source cannot be read; the sentence says where and why.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder")
    if column_map is not None and form not in (None, "table"):
        raise InputError(f"--map names the columns of a table of links; it has no meaning for {form}")
    form = form or ("table" if column_map is not None else guess(source))
    if form not in FORMATS:
        raise InputError(f"format is {form!r}, must be one of {', '.join(FORMATS)}")
    if source.is_dir() and form != "gmns":
        raise InputError(f"{source}: is a folder, {form} is read from a file")
    for path in (*additional, *demand):
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    if additional and form not in ("sumo", "cityflow", "tntp", "table"):
        raise InputError(f"--additional is for signals of SUMO and CityFlow and places of nodes, not for {form}")
    if units is not None and form != "tntp":
        raise InputError(
            f"--length-unit, --time-unit, --hours and --crs are about TNTP; they have no meaning for {form}"
        )
    for option, given in (("--service", service), ("--all-parts", all_parts), ("--driving-side", driving_side)):
        if given and form != "osm":
            raise InputError(f"{option} is about OpenStreetMap; it has no meaning for {form}")
    if demand and form not in _DEMAND_READERS:
        own = "put demand.csv or trips.csv into the network folder instead"
        raise InputError(f"--demand is read for {', '.join(_DEMAND_READERS)}, not for {form}; {own}")
    if form == "table":
        columns = None if column_map is None else Path(column_map)
        tables = table.read(source, column_map=columns, places=additional)
    elif form == "osm":
        tables = osm.read(source, service=service, all_parts=all_parts, side=driving_side)
    elif form == "sumo":
        tables = sumo.read(source, additional=additional, reserved=bool(demand))
    elif form == "cityflow":
        tables = cityflow.read(source, additional=additional)
    elif form == "tntp":
        tables = tntp.read(source, additional=additional, units=units)
    elif form == "osmnx":
        tables = osmnx_graph.read(source)
    else:
        tables = cbengine.read(source) if form == "cbengine" else gmns.read(source)
    if not demand:
        return tables
    if form == "tntp":
        name, (rows, notes) = "demand", tntp_demand.read(demand, tables, hours=units.hours if units else 1.0)
    else:
        name, (rows, notes) = "trips", _DEMAND_READERS[form](demand, tables)
    more = [{"kind": kind, "text": text} for kind, text in notes]
    return {**tables, name: rows, "note": [*tables.get("note", ()), *more]}


_DEMAND_READERS: dict[str, Callable[[Sequence[Path], Tables], tuple[list[Row], list[tuple[str, str]]]]] = {
    "sumo": sumo_routes.read,
    "cityflow": cityflow_demand.read,
    "cbengine": cbengine_demand.read,
    "tntp": tntp_demand.read,
}


def with_detectors(tables: Tables, source: Path, *, detector_map: Path | None = None) -> Tables:
    """Return the tables of a network with the detectors of a table put on its links.

    Parameters
    ----------
    detector_map
        TOML file that names the columns of the table; found among the built-in ones when not given.

    Raises
    ------
    InputError
        When table or map cannot be read, or a detector is there already.
    """
    for path in (source, detector_map):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: there is no such file")
    rows, notes = detectors.read(source, Network.from_tables(tables), detector_map=detector_map)
    before = list(tables.get("sensor", ()))
    known = {row["sensor_id"] for row in before}
    faults = [
        f"{source.name}: detector {row['sensor_id']}: the network has a sensor of this name already"
        for row in rows
        if row["sensor_id"] in known
    ]
    if faults:
        raise InputError(faults)
    more = [{"kind": "note", "text": text} for text in notes]
    return {**tables, "sensor": [*before, *rows], "note": [*tables.get("note", ()), *more]}


def with_equipment(tables: Tables, *, power_grid: Sequence[Path] = (), things_of: Sequence[Path] = ()) -> Tables:
    """Return the tables of a network with what files say about its equipment: devices first, then who feeds them.

    Parameters
    ----------
    power_grid
        Grids of pandapower, see `twin.importers.power`.
    things_of
        Descriptions of devices (SensorThings, NGSI), see `twin.importers.things`.

    Raises
    ------
    InputError
        When a file cannot be read; the sentences say where and why.
    """
    for path in things_of:
        assets, dependencies, sensors, notes = things.read(path, Network.from_tables(tables))
        tables = _more(tables, notes, asset=assets, dependency=dependencies, sensor=sensors)
    for path in power_grid:
        network = Network.from_tables(tables)
        assets, dependencies, notes = power.read(path, network)
        faults = [f"{path.name}: the network has an asset {row['asset_id']!r} already" for row in assets
                  if row["asset_id"] in network.assets.assets]  # fmt: skip
        if faults:
            raise InputError(faults[:5])
        tables = _more(tables, notes, asset=assets, dependency=dependencies)
    return tables


def _more(tables: Tables, notes: Sequence[str], **rows: Sequence[Row]) -> Tables:
    """Return the tables with more rows, and notes about them."""
    more = {name: [*tables.get(name, ()), *of] for name, of in rows.items() if of}
    return {**tables, **more, "note": [*tables.get("note", ()), *({"kind": "note", "text": text} for text in notes)]}
