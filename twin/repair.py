"""Repairs of a network folder that lose nothing and need no judgement; all else is left to people.

Each step takes the rows of all tables, changes them and says in a sentence what it did.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from twin.geometry import METRES_PER_DEGREE, Float, format_line, line_length, parse_line
from twin.gmns import COLUMNS, DEMAND_TABLES
from twin.links import SHORTEST_LINK_M
from twin.tables import Table
from twin.units import Units

Row = dict[str, str]
Rows = dict[str, list[Row]]
Step = Callable[[Rows, Units], Iterator[str]]

# A line that misses its nodes by more than this, and meets them when it is turned, is drawn the other way (m).
_OFF_M = 50.0


def repair(tables: Mapping[str, Table]) -> tuple[Rows, list[str]]:
    """Return the tables of a folder with what is safe repaired, and a sentence for each repair.

    Repaired are: longitude and latitude that stand in each other's column, rows that stand twice, links to nodes that
    do not exist and loops without length, lengths of zero where a geometry says better, lines drawn against their
    direction, copies of a link that nothing names, movements of links that do not exist, and equipment that names such
    links (it stays, without a link).

    Examples
    --------
    >>> node = Table.of("node", [{"node_id": "A", "x_coord": 30, "y_coord": 120}, {"node_id": "A", "x_coord": 30,
    ...     "y_coord": 120}], [])
    >>> rows, done = repair({"node": node, "link": Table("link")})
    >>> done
    ['node.csv: node A: the same row stood twice', 'node.csv: 1 nodes: x_coord and y_coord were swapped']
    """
    rows: Rows = {name: [dict(row) for row in table.rows] for name, table in tables.items()}
    for name in (*COLUMNS, *DEMAND_TABLES):
        rows.setdefault(name, [])
    config = rows["config"][0] if rows["config"] else {}
    units = Units.of(config, [])
    done = [sentence for step in _STEPS for sentence in step(rows, units)]
    return {name: table for name, table in rows.items() if table}, done


def _same_rows(rows: Rows, _: Units) -> Iterator[str]:
    """Leave out rows that stand twice word by word."""
    for table in ("node", "link", "movement", "sensor", "asset"):
        key = f"{table}_id" if table != "movement" else "mvmt_id"
        seen: set[tuple[tuple[str, str], ...]] = set()
        kept: list[Row] = []
        for row in rows[table]:
            words = tuple(sorted((name, text) for name, text in row.items() if text))
            if row.get(key) and words in seen:
                yield f"{table}.csv: {table} {row[key]}: the same row stood twice"
                continue
            seen.add(words)
            kept.append(row)
        rows[table] = kept


def _swapped(rows: Rows, units: Units) -> Iterator[str]:
    """Swap longitude and latitude where every node lies on the globe only so."""
    if units.projection is not None or not rows["node"]:
        return
    places = np.array([(_number(row, "x_coord"), _number(row, "y_coord")) for row in rows["node"]])
    if np.isnan(places).any() or not (np.abs(places[:, 1]) > 90).any():
        return
    if not ((np.abs(places[:, 0]) <= 90).all() and (np.abs(places[:, 1]) <= 180).all()):
        return
    for table in ("node", "sensor", "asset"):
        for row in rows[table]:
            if "x_coord" in row and "y_coord" in row:
                row["x_coord"], row["y_coord"] = row["y_coord"], row["x_coord"]
    for table in ("link", "geometry"):
        for row in rows[table]:
            line = _line(row.get("geometry", ""))
            if line is not None and (np.abs(line[:, 1]) > 90).any():
                row["geometry"] = format_line(line[:, ::-1])
    yield f"node.csv: {len(places)} nodes: x_coord and y_coord were swapped"


def _dangling(rows: Rows, _: Units) -> Iterator[str]:
    """Leave out links whose nodes do not exist: nothing can drive there."""
    nodes = {row.get("node_id", "") for row in rows["node"]}
    kept: list[Row] = []
    for row in rows["link"]:
        missing = [row.get(end, "") for end in ("from_node_id", "to_node_id") if row.get(end, "") not in nodes]
        if missing:
            yield f"link.csv: link {row.get('link_id', '')}: left out, node {missing[0]!r} is not in node.csv"
        else:
            kept.append(row)
    rows["link"] = kept


def _lengths(rows: Rows, units: Units) -> Iterator[str]:
    """Take the length of the geometry where none or less than a rounding is stated; a loop without one is left out."""
    places = _places(rows)
    shapes = {row.get("geometry_id", ""): row.get("geometry", "") for row in rows["geometry"]}
    kept: list[Row] = []
    for row in rows["link"]:
        text = row.get("length", "")
        stated = _number(row, "length") * units.long_length_m
        drawn = _drawn(row, places, shapes, units)
        name = row.get("link_id", "")
        if text and stated < SHORTEST_LINK_M and drawn >= SHORTEST_LINK_M:
            row["length"] = ""
            yield f"link.csv: link {name}: length was {text}, that of its geometry ({drawn:.1f} m) is assumed"
        elif not stated >= SHORTEST_LINK_M and drawn < SHORTEST_LINK_M and _is_loop(row):
            yield f"link.csv: link {name}: left out, it begins and ends at node {row['to_node_id']} and has no length"
            continue
        kept.append(row)
    rows["link"] = kept


def _turned(rows: Rows, units: Units) -> Iterator[str]:
    """Turn lines that run from the end of their link to its beginning."""
    places = _places(rows)
    for row in rows["link"]:
        line = _line(row.get("geometry", ""))
        ends = [places.get(row.get(end, "")) for end in ("from_node_id", "to_node_id")]
        if line is None or ends[0] is None or ends[1] is None or row.get("dir_flag", "") == "-1":
            continue
        scale = METRES_PER_DEGREE if units.projection is None else 1.0
        off, other = (
            max(np.hypot(*(a[0] - ends[0])), np.hypot(*(a[-1] - ends[1]))) * scale for a in (line, line[::-1])
        )
        if off > _OFF_M and other < min(_OFF_M, off / 2):
            row["geometry"] = format_line(line[::-1], digits=7 if units.projection is None else 3)
            yield f"link.csv: link {row.get('link_id', '')}: its geometry ran from its end to its beginning"


def _copies(rows: Rows, _: Units) -> Iterator[str]:
    """Leave out a link that says the same as another one but its id, when nothing names it."""
    used = {
        row.get(column, "")
        for table, columns in (
            ("movement", ("ib_link_id", "ob_link_id")),
            ("sensor", ("link_id",)),
            ("asset", ("link_id",)),
        )
        for row in rows[table]
        for column in columns
    }
    used |= {name for row in rows["trips"] for name in row.get("link_ids", "").split(";")}
    first: dict[tuple[tuple[str, str], ...], str] = {}
    kept: list[Row] = []
    for row in rows["link"]:
        name = row.get("link_id", "")
        words = tuple(sorted((key, text) for key, text in row.items() if text and key != "link_id"))
        other = first.setdefault(words, name)
        if other != name and name not in used:
            yield f"link.csv: link {name}: left out, it says the same as link {other}"
            continue
        kept.append(row)
    rows["link"] = kept


def _movements(rows: Rows, _: Units) -> Iterator[str]:
    """Leave out movements from or to links that do not exist, and their green."""
    links = _link_names(rows)
    gone: set[str] = set()
    kept: list[Row] = []
    for row in rows["movement"]:
        pair = row.get("ib_link_id", ""), row.get("ob_link_id", "")
        unknown = [name for name in pair if name not in links]
        if unknown:
            gone.add(row.get("mvmt_id", ""))
            yield f"movement.csv: movement {row.get('mvmt_id', '')}: left out, link {unknown[0]!r} does not exist"
        else:
            kept.append(row)
    rows["movement"] = kept
    if gone:
        before = len(rows["signal_phase_mvmt"])
        rows["signal_phase_mvmt"] = [row for row in rows["signal_phase_mvmt"] if row.get("mvmt_id", "") not in gone]
        if lost := before - len(rows["signal_phase_mvmt"]):
            yield f"signal_phase_mvmt.csv: {lost} rows of movements that do not exist left out"


def _equipment(rows: Rows, _: Units) -> Iterator[str]:
    """Let equipment that names a link or node which does not exist stand without."""
    links = _link_names(rows)
    nodes = {row.get("node_id", "") for row in rows["node"]}
    for table, column, known in (
        ("sensor", "link_id", links),
        ("asset", "link_id", links),
        ("asset", "node_id", nodes),
    ):
        for row in rows[table]:
            if (name := row.get(column, "")) and name not in known:
                row[column] = ""
                who = row.get(f"{table}_id", "")
                yield f"{table}.csv: {table} {who}: {column} {name!r} does not exist, it stands without one"


_STEPS: tuple[Step, ...] = (_same_rows, _swapped, _dangling, _lengths, _turned, _copies, _movements, _equipment)


def _number(row: Mapping[str, str], column: str) -> float:
    try:
        return float(row.get(column, ""))
    except ValueError:
        return float("nan")


def _line(text: str) -> Float | None:
    try:
        return parse_line(text)
    except ValueError:
        return None


def _places(rows: Rows) -> dict[str, Float]:
    found = {}
    for row in rows["node"]:
        place = np.array([_number(row, "x_coord"), _number(row, "y_coord")])
        if np.isfinite(place).all():
            found[row.get("node_id", "")] = place
    return found


def _drawn(row: Row, places: Mapping[str, Float], shapes: Mapping[str, str], units: Units) -> float:
    """Return the length (m) of the geometry of a link, else between its nodes; 0 when neither is known."""
    line = _line(row.get("geometry", "") or shapes.get(row.get("geometry_id", ""), ""))
    if line is None:
        ends = [places[row[end]] for end in ("from_node_id", "to_node_id") if row.get(end, "") in places]
        if len(ends) < 2:
            return 0.0
        line = np.array(ends)
    try:
        return line_length(units.degrees(line))
    except ValueError:
        return 0.0


def _link_names(rows: Rows) -> set[str]:
    """Return the ids of all links, both of undirected ones."""
    both = {f"{row.get('link_id', '')}-r" for row in rows["link"] if _is_both_ways(row)}
    return {row.get("link_id", "") for row in rows["link"]} | both


def _is_loop(row: Row) -> bool:
    return bool(row.get("from_node_id")) and row.get("from_node_id") == row.get("to_node_id")


def _is_both_ways(row: Row) -> bool:
    return row.get("directed", "").lower() in ("false", "f", "no", "n", "0", "0.0")
