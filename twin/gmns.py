"""A network folder as a whole: which tables it has, read at once, written at once, and its hash.

GMNS 0.96 (General Modeling Network Specification, Zephyr Foundation) CSV files plus tables of our own.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

from sensors import InputError
from twin.files import filled_folder
from twin.tables import Table, columns_of, write_table

# The columns that are read; a table may hold more, which are kept and written back, but are no part of the hash.
COLUMNS: dict[str, tuple[str, ...]] = {
    "config": (
        "dataset_name",
        "name",
        "name_zh",
        "timezone",
        "short_length",
        "long_length",
        "speed",
        "crs",
        "driving_side",
    ),
    "node": ("node_id", "name", "name_zh", "x_coord", "y_coord", "zone_id", "ctrl_type"),
    "link": (
        *("link_id", "name", "name_zh", "from_node_id", "to_node_id", "directed", "geometry_id", "geometry"),
        *("dir_flag", "length", "facility_type", "capacity", "free_speed", "lanes", "allowed_uses"),
        *("jam_density", "wave_speed", "priority", "assumed"),
    ),
    "geometry": ("geometry_id", "geometry"),
    "lane": ("lane_id", "link_id", "lane_num", "allowed_uses"),
    "segment": ("segment_id", "link_id", "ref_node_id", "start_lr", "end_lr", "l_lanes_added", "r_lanes_added"),
    "segment_lane": ("segment_lane_id", "segment_id", "lane_num", "allowed_uses"),
    "movement": (
        *("mvmt_id", "node_id", "ib_link_id", "start_ib_lane", "end_ib_lane", "ob_link_id"),
        *("allowed_uses", "pocket_m"),
    ),
    "signal_controller": ("controller_id",),
    "signal_timing_plan": ("timing_plan_id", "controller_id", "cycle_length"),
    "signal_timing_phase": (
        *("timing_phase_id", "timing_plan_id", "signal_phase_num", "min_green", "max_green", "clearance"),
        *("ring", "barrier", "position"),
    ),
    "signal_phase_mvmt": ("signal_phase_mvmt_id", "timing_phase_id", "mvmt_id", "protection"),
    "signal_coordination": ("coordination_id", "timing_plan_id", "controller_id", "coord_phase", "offset"),
    "zone": ("zone_id", "name", "name_zh"),
    "zone_node": ("zone_id", "node_id", "share"),
    "sensor": (
        *("sensor_id", "kind", "quantities", "link_id", "position_m", "lanes", "interval_s", "owner", "asset_id"),
        *("standard_deviation", "x_coord", "y_coord", "zone_id", "name", "name_zh"),
    ),
    "asset": (
        *("asset_id", "kind", "name", "name_zh", "x_coord", "y_coord", "node_id", "link_id", "owner"),
        *("degraded_mode", "autonomy_s"),
    ),
    "dependency": ("asset_id", "depends_on", "kind", "need", "group", "autonomy_s"),
    "building": ("building_id", "height_m", "geometry"),
    "area": ("area_id", "kind", "geometry"),
    "note": ("kind", "text"),
}
# Read by the simulation; here only carried along.
DEMAND_TABLES = ("demand", "trips")
# Words for people, not part of what a network is.
_UNHASHED = frozenset({"note", *DEMAND_TABLES})

Tables = Mapping[str, Sequence[Mapping[str, object]]]


def read_folder(folder: Path, faults: list[str]) -> dict[str, Table]:
    """Return the tables of a network folder, those that it does not have as empty ones.

    Raises
    ------
    InputError
        When it is no network folder.
    """
    if not folder.exists():
        raise InputError(f"{folder}: there is no such folder, a network is a folder with node.csv and link.csv")
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is a file, a network is a folder with node.csv and link.csv; "
            "make one with 'citytwin network import'"
        )
    missing = [name for name in ("node.csv", "link.csv") if not is_there(folder / name)]
    if missing:
        raise InputError(f"{folder}: has no {' and no '.join(missing)}, a network folder needs both")
    return {
        name: Table.read(path, faults) if is_there(path := folder / f"{name}.csv") else Table(name, faults=faults)
        for name in COLUMNS
    }


def is_there(path: Path) -> bool:
    """Return whether a folder has an entry of that name, be it one that cannot be read: that is then told."""
    return os.path.lexists(path)


def make_tables(tables: Tables, faults: list[str]) -> dict[str, Table]:
    """Return tables that were made in memory, missing ones as empty ones.

    Raises
    ------
    InputError
        When a table has a name that a network folder does not know.
    """
    known = (*COLUMNS, *DEMAND_TABLES)
    if strange := [name for name in tables if name not in known]:
        raise InputError(f"table {strange[0]!r} is none of a network's: {', '.join(known)}")
    return {name: Table.of(name, tables.get(name, ()), faults) for name in known}


def write_tables(folder: Path | str, tables: Tables, *, overwrite: bool = False, copies: Iterable[Path] = ()) -> None:
    """Write the tables of a network to a folder, all or nothing.

    ``link.csv`` comes last: what is cut off in between is no network rather than half of two. A folder that holds
    something is refused unless ``overwrite``; then its network tables are replaced and other files stay. Demand is the
    user's and stays too: whoever simulates is told where it does not fit. Where the network brings the other kind of
    demand, the old file becomes ``demand.csv.old`` or ``trips.csv.old``.

    Parameters
    ----------
    copies
        Further files to put beside the tables.

    Raises
    ------
    InputError
        When the folder holds something, or is a file.
    WorkError
        When the disk refuses.
    """
    with filled_folder(
        Path(folder), what="the network", overwrite=overwrite, make_room=_make_room, last="link.csv"
    ) as part:
        for name, rows in tables.items():
            extra = columns_of(rows)
            own = [key for key in (*COLUMNS.get(name, ()), *DEMAND_COLUMNS.get(name, ())) if key in extra]
            if rows:
                write_table(part / f"{name}.csv", list(dict.fromkeys([*own, *extra])), rows)
        for path in copies:
            shutil.copyfile(path, part / path.name)


def _make_room(part: Path, folder: Path) -> None:
    """Take away the tables that the new network has not, and move demand aside that its own would contradict."""
    (folder / "link.csv").unlink(missing_ok=True)
    for name in COLUMNS:
        if not (part / f"{name}.csv").exists():
            (folder / f"{name}.csv").unlink(missing_ok=True)
    demand = [f"{name}.csv" for name in DEMAND_TABLES]
    if any((part / name).exists() for name in demand):
        for name in demand:
            if is_there(folder / name) and not (part / name).exists():
                (folder / name).replace(_unused(folder / f"{name}.old"))


def _unused(path: Path) -> Path:
    """Return a path, numbered when something stands there."""
    numbered = (path.with_name(f"{path.name}{number}") for number in count(2))
    return path if not is_there(path) else next(other for other in numbered if not is_there(other))


DEMAND_COLUMNS: dict[str, tuple[str, ...]] = {
    "demand": ("o_zone_id", "d_zone_id", "volume", "start_s", "end_s"),
    "trips": ("trip_id", "depart_s", "from_node_id", "to_node_id", "link_ids"),
}


def sha256(tables: Mapping[str, Table]) -> str:
    """Return the hash of what the tables say: the same for another column order, byte order mark, line end or notes."""
    digest = hashlib.sha256(b"citytwin network 1\n")
    for name in sorted(tables):
        table = tables[name]
        if name in _UNHASHED or not len(table):
            continue
        cells = table.rows.cells
        columns = sorted(key for key in set(COLUMNS[name]) & cells.keys() if any(cells[key]))
        digest.update(json.dumps([name, columns]).encode() + b"\n")
        for row in zip(*(cells[key] for key in columns), strict=True):
            digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
