"""GMNS as its specification has it (0.95 and later): the official tables and columns, and all movements.

What others read: metres, km/h, degrees, one row a direction, one movement a row. Sensors, equipment, buildings and the
shares of zones have no table there.
"""

from pathlib import Path

import numpy as np

from twin.geometry import format_line
from twin.gmns import Tables, write_tables
from twin.links import CLASS_NAMES
from twin.movement import movement_links
from twin.network import Network
from twin.timing import timing_rows
from twin.writers.turns import turn_angles, turn_kind

Row = dict[str, object]
# Columns of the specification in its order; those that a network does not know stay empty.
OFFICIAL: dict[str, tuple[str, ...]] = {
    "config": (
        *("dataset_name", "short_length", "long_length", "speed", "crs", "geometry_field_format", "currency"),
        *("version_number", "id_type"),
    ),
    "node": (
        *("node_id", "name", "x_coord", "y_coord", "z_coord", "node_type", "ctrl_type", "zone_id"),
        "parent_node_id",
    ),
    "link": (
        *("link_id", "name", "from_node_id", "to_node_id", "directed", "geometry_id", "geometry", "parent_link_id"),
        *("dir_flag", "length", "grade", "facility_type", "capacity", "free_speed", "lanes", "bike_facility"),
        *("ped_facility", "parking", "allowed_uses", "toll", "jurisdiction", "row_width"),
    ),
    "movement": (
        *("mvmt_id", "node_id", "name", "ib_link_id", "start_ib_lane", "end_ib_lane", "ob_link_id", "start_ob_lane"),
        *("end_ob_lane", "type", "penalty", "capacity", "ctrl_type", "mvmt_code", "allowed_uses", "geometry"),
        "pocket_m",  # ours: a lane of the link that only its end has
    ),
    "zone": ("zone_id", "name", "boundary", "super_zone"),
    "segment": (
        *("segment_id", "link_id", "ref_node_id", "start_lr", "end_lr", "grade", "capacity", "free_speed", "lanes"),
        *("l_lanes_added", "r_lanes_added", "bike_facility", "ped_facility", "parking", "allowed_uses", "toll"),
        *("jurisdiction", "row_width"),
    ),
    "signal_controller": ("controller_id",),
    "signal_timing_plan": ("timing_plan_id", "controller_id", "timeday_id", "time_day", "cycle_length"),
    "signal_timing_phase": (
        *("timing_phase_id", "timing_plan_id", "signal_phase_num", "min_green", "max_green", "extension"),
        *("clearance", "walk_time", "ped_clearance", "ring", "barrier", "position"),
    ),
    # The last two are of the versions before 0.95.
    "signal_phase_mvmt": (
        *("signal_phase_mvmt_id", "timing_phase_id", "mvmt_id", "link_id", "protection"),
        *("controller_id", "signal_phase_num"),
    ),
    "signal_coordination": (
        *("coordination_id", "timing_plan_id", "controller_id", "coord_contr_id", "coord_phase", "coord_ref_to"),
        "offset",
    ),
}
_CONTROLS = ("none", "yield", "stop", "4_stop", "signal")
_MOST_STAGES = 12  # barriers that the specification allows


def write(network: Network, out: Path, *, overwrite: bool = False) -> list[str]:
    """Write a folder of GMNS tables, with the network's ``demand.csv`` beside them, and return what people should know.

    Raises
    ------
    InputError
        When the folder holds something and is not to be replaced.
    """
    rows, notes = official_tables(network)
    tables: Tables = {
        name: [{column: row.get(column, "") for column in OFFICIAL[name]} for row in made]
        for name, made in rows.items()
        if made
    }
    demand = network.folder / "demand.csv" if network.folder else None
    copies = [demand] if demand is not None and demand.is_file() else []
    write_tables(out, tables, overwrite=overwrite, copies=copies)
    return notes


def official_tables(network: Network) -> tuple[dict[str, list[Row]], list[str]]:
    """Return the rows of the official tables, and what they do not say as the network does."""
    movements = _movements(network)
    ids = {(str(row["ib_link_id"]), str(row["ob_link_id"])): str(row["mvmt_id"]) for row in movements}
    plans = [plan for plan in network.signals.values() if len(plan.stages) <= _MOST_STAGES]
    timing = timing_rows(plans, ids)
    phases = {row["timing_phase_id"]: row for row in timing.get("signal_timing_phase", [])}
    for row in timing.get("signal_phase_mvmt", []):
        phase = phases[row["timing_phase_id"]]
        row |= {"controller_id": phase["timing_plan_id"], "signal_phase_num": phase["signal_phase_num"]}
    nodes, several = _nodes(network)
    tables = {
        "config": [_config(network)],
        "node": nodes,
        "link": _links(network),
        "movement": movements,
        "segment": _pockets(network),
        "zone": _zones(network),
        **timing,
    }
    notes = [
        f"{count} {what} have no table in GMNS and are left out"
        for what, count in (
            ("sensors", len(network.sensors)),
            ("assets", len(network.assets.assets)),
            ("buildings", len(network.buildings)),
        )
        if count
    ]
    if several:
        notes.append(f"{several} nodes load several zones: they carry the one that loads most there")
    if len(plans) < len(network.signals):
        left = len(network.signals) - len(plans)
        notes.append(f"{left} signals of more than {_MOST_STAGES} stages are left out")
    return tables, notes


def _config(network: Network) -> Row:
    return {
        "dataset_name": network.name,
        "short_length": "m",
        "long_length": "m",
        "speed": "km/h",
        "crs": "EPSG:4326",
        "geometry_field_format": "WKT",
        "version_number": 0.95,
        "id_type": "string",
    }


def _nodes(network: Network) -> tuple[list[Row], int]:
    """Return the rows of ``node.csv``, and how many nodes load several zones."""
    nodes = network.nodes
    loading: dict[str, list[tuple[float, str]]] = {}
    for zone, shares in network.zones.items():
        for node, share in shares:
            loading.setdefault(node, []).append((share, zone))
    rows: list[Row] = []
    for k, name in enumerate(nodes.ids):
        control = nodes.ctrl_types[k].strip().lower()
        kind = "signal" if name in network.signals or "signal" in control else control
        rows.append(
            {
                "node_id": name,
                "name": nodes.names[k] or nodes.names_zh[k],
                "x_coord": round(float(nodes.lon_lat[k, 0]), 8),
                "y_coord": round(float(nodes.lon_lat[k, 1]), 8),
                "ctrl_type": kind if kind in _CONTROLS else "none",
                "zone_id": max(loading.get(name, [(0.0, "")]))[1],
            }
        )
    return rows, sum(len(zones) > 1 for zones in loading.values())


def _links(network: Network) -> list[Row]:
    links, nodes = network.links, network.nodes
    table = network.tables["link"].rows
    return [
        {
            "link_id": name,
            "name": links.names[k] or links.names_zh[k],
            "from_node_id": nodes.ids[links.from_node[k]],
            "to_node_id": nodes.ids[links.to_node[k]],
            "directed": True,
            "geometry": format_line(links.geometry[k]),
            "dir_flag": 1,
            "length": round(float(links.length[k]), 3),
            "facility_type": table[links.row[k]].get("facility_type") or CLASS_NAMES[links.link_class[k]],
            "capacity": round(float(links.capacity[k] / links.lanes[k]) * 3600, 3),
            "free_speed": round(float(links.free_speed[k]) * 3.6, 4),
            "lanes": int(links.lanes[k]),
            "allowed_uses": table[links.row[k]].get("allowed_uses", ""),
        }
        for k, name in enumerate(links.ids)
    ]


def _movements(network: Network) -> list[Row]:
    """Return every allowed movement, those that no table lists too."""
    links, nodes, movements = network.links, network.nodes, network.movements
    names = {pair: name for name, pair in movements.pairs.items()}
    reserved = set(movements.reserved.tolist())
    reach = np.where(np.isfinite(movements.group_pocket), movements.group_pocket, np.nan)[movements.group].tolist()
    ib, ob = movement_links(movements)
    taken = set(movements.pairs)
    rows: list[Row] = []
    for row, (a, b, angle) in enumerate(zip(ib.tolist(), ob.tolist(), turn_angles(network).tolist(), strict=True)):
        name = names.get((a, b), f"{links.ids[a]}>{links.ids[b]}")
        while (a, b) not in names and name in taken:
            name += "'"
        taken.add(name)
        node = int(links.to_node[a])
        lanes = movements.lanes.get((a, b)) or frozenset((1, int(links.lanes[a])))
        back = links.from_node[a] == links.to_node[b] and abs(angle) > 90
        rows.append(
            {
                "mvmt_id": name,
                "node_id": nodes.ids[node],
                "ib_link_id": links.ids[a],
                "start_ib_lane": min(lanes),
                "end_ib_lane": max(lanes),
                "ob_link_id": links.ids[b],
                "type": turn_kind(angle, back=bool(back)),
                "ctrl_type": "signal" if nodes.ids[node] in network.signals else "no_control",
                "allowed_uses": "bus" if row in reserved else "",
                "pocket_m": "" if np.isnan(reach[row]) else round(reach[row], 3),
            }
        )
    return rows


def _pockets(network: Network) -> list[Row]:
    """Return a segment with added lanes for every turn pocket: lanes beyond those of the link, at its end."""
    compiled = network.compile()
    beyond: dict[int, set[int]] = {}
    for (link, _), used in network.movements.lanes.items():
        if strange := {lane for lane in used if not 1 <= lane <= compiled.lanes[link]}:
            beyond.setdefault(link, set()).update(strange)
    rows: list[Row] = []
    for link, lanes in beyond.items():
        reach = compiled.group_pocket[compiled.group_start[link] : compiled.group_start[link + 1]]
        reach = reach[np.isfinite(reach)]
        name = compiled.link_ids[link]
        rows.append(
            {
                "segment_id": f"{name}-pocket",
                "link_id": name,
                "ref_node_id": compiled.node_ids[compiled.to_node[link]],
                "start_lr": 0,
                "end_lr": round(float(reach.max() if len(reach) else compiled.length[link]), 3),
                "l_lanes_added": max(0, -min(lanes)),
                "r_lanes_added": max(0, max(lanes) - int(compiled.lanes[link])),
            }
        )
    return rows


def _zones(network: Network) -> list[Row]:
    rows = {row.get("zone_id", ""): row for row in network.tables["zone"].rows}
    return [{"zone_id": name, "name": rows.get(name, {}).get("name", "")} for name in network.zones]
