"""Road networks as OpenStreetMap extracts (pbf, or XML plain, gzip or bzip2): the streets on which one drives.

Ways become links split where they meet, restrictions of turns and painted arrows movements, signals junctions with a
signal, furniture assets. What the map does not say is assumed, flagged and told.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sensors import InputError
from twin.gmns import Tables
from twin.importers.osm import attributes, furniture, tags, turns
from twin.importers.osm.extract import Extract, file_format, read_extract
from twin.importers.osm.pieces import Pieces, largest_part, split
from twin.importers.osm.roads import Roads, link_up
from twin.importers.osm.side import driving_side
from twin.importers.osm.signals import Signals, snap
from twin.importers.source import stem
from twin.importers.supply import supplied_by_boxes
from twin.tables import Columns

Row = Mapping[str, object]
Notes = list[tuple[str, str]]

# Of things that are named one by one.
_NAMED = 3


def recognises(source: Path) -> bool:
    """Return whether a file begins as an extract of OpenStreetMap, or as a file of its changes: `read` says which."""
    return file_format(source) is not None


def read(source: Path, *, service: bool = False, all_parts: bool = False, side: str = "") -> Tables:
    """Return the tables of an OpenStreetMap extract.

    Parameters
    ----------
    service
        Keep service roads, those on one's own ground excepted.
    all_parts
        Keep pieces that the largest part does not reach, or from which there is no way back.
    side
        ``left`` or ``right``, the side on which traffic keeps; told by the roundabouts of the map when empty.

    Raises
    ------
    InputError
        When the file is cut off or broken, or holds no road on which one drives.
    """
    extract = read_extract(source, service=service)
    if not extract.roads:
        raise InputError(f"{source.name}: has no road for motor vehicles that general traffic may use")
    notes: Notes = [
        ("attribution", f"Imported from {source.name} (OpenStreetMap). © OpenStreetMap contributors, ODbL 1.0.")
    ]
    pieces, mended = split(extract)
    if not len(pieces):
        raise InputError(f"{source.name}: has roads, but not the nodes that they are drawn with; the extract is broken")
    pieces = _main_part(pieces, extract, notes, all_parts=all_parts)
    if not len(pieces):
        raise InputError(
            f"{source.name}: has no two places between which one drives there and back; --all-parts keeps what there is"
        )
    roads = link_up(extract, pieces)
    said = attributes.read_tags(extract.roads)
    usual = attributes.customs(extract.roads, said)
    of = attributes.complete(extract.roads, said, usual)
    signals = snap(extract, roads)
    known = turns.read_turns(extract, roads, _lanes_with_arrows(extract, roads, of))
    at = np.unique(np.concatenate([roads.from_node, roads.to_node]))
    names = dict(zip(at.tolist(), map(str, extract.node_ids[at].tolist()), strict=True))
    if not side:
        side, why = driving_side(extract)
        how = (
            f"traffic keeps to the {side}, {why}"
            if why
            else f"traffic keeps to the {side}: assumed, no roundabout tells"
        )
        notes.append(("note" if why else "placeholder", f"{how} (--driving-side says otherwise)"))
    notes += [("placeholder", text) for text in attributes.in_words(usual, extract.roads, said)]
    notes += _about_tags(extract, said) + _about_turns(known) + _about_signals(signals) + _about_rest(extract, mended)
    equipment = furniture.assets(extract, roads, signals, names)
    supplies, told = supplied_by_boxes(equipment)
    notes += [("placeholder", text) for text in told]
    return {
        "config": [
            {
                "dataset_name": stem(source),
                "crs": "EPSG:4326",
                "long_length": "m",
                "speed": "km/h",
                **({"driving_side": "left"} if side == "left" else {}),
            }
        ],
        "node": _nodes(extract, signals, names),
        "link": _links(extract, roads, of, names),
        "movement": turns.rows(known, roads, names),
        "asset": equipment,
        "dependency": supplies,
        "building": furniture.buildings(extract),
        "note": [{"kind": kind, "text": text} for kind, text in notes],
    }


def _main_part(pieces: Pieces, extract: Extract, notes: Notes, *, all_parts: bool) -> Pieces:
    if all_parts:
        return pieces
    keep = largest_part(pieces, len(extract.node_ids))
    lost = pieces.keep(~keep)
    if len(lost):
        links, km = lost.n_links, float((lost.length * (lost.along.astype(int) + lost.against)).sum()) / 1000
        text = f"{links:,} of {pieces.n_links:,} links ({km:,.1f} km) are cut off, or lead only in or out of the map"
        notes.append(("note", f"{text}, and are left out (--all-parts keeps them)"))
    return pieces.keep(keep)


def _nodes(extract: Extract, signals: Signals, names: Mapping[int, str]) -> Columns:
    steered = set(signals.junction.values())
    # Rounded so that no zero is negative; as `cell` writes numbers, and four times as fast.
    x, y = (extract.lon_lat[list(names)].round(7) + 0.0).T.tolist()
    return Columns(
        {
            "node_id": list(names.values()),
            "x_coord": [repr(degrees).removesuffix(".0") for degrees in x],
            "y_coord": [repr(degrees).removesuffix(".0") for degrees in y],
            "ctrl_type": ["signal" if node in steered else "" for node in names],
        }
    )


def _links(
    extract: Extract,
    roads: Roads,
    of: Sequence[tuple[attributes.Attributes, attributes.Attributes]],
    node_names: Mapping[int, str],
) -> Columns:
    """Return the rows of ``link.csv``."""
    pieces = roads.pieces
    at, back = roads.piece.tolist(), roads.back.tolist()
    way = pieces.way[roads.piece].tolist()
    length = [f"{metres:.2f}" for metres in pieces.length.tolist()]
    own = [of[k][b] for k, b in zip(way, back, strict=True)]
    names = [_names(road.tags) for road in extract.roads]
    kinds = [road.tags["highway"] for road in extract.roads]
    cells = {
        "link_id": roads.ids,
        "from_node_id": [node_names[node] for node in roads.from_node.tolist()],
        "to_node_id": [node_names[node] for node in roads.to_node.tolist()],
        "length": [length[k] for k in at],
        "facility_type": [kinds[k] for k in way],
        "free_speed": [link.speed_kmh for link in own],
        "lanes": [link.lanes for link in own],
        "assumed": [link.assumed for link in own],
        "name": [names[k][0] for k in way],
        "name_zh": [names[k][1] for k in way],
        "geometry": _lines(extract, roads),
    }
    return Columns({name: column for name, column in cells.items() if any(column)})


def _lines(extract: Extract, roads: Roads) -> list[str]:
    """Return the geometry of each link, ``""`` where it is the line between its nodes; each place is written once."""
    pieces = roads.pieces
    place = ["%.7f %.7f" % (x, y) for x, y in extract.lon_lat.tolist()]  # noqa: UP031 (twice as fast)
    points = [place[node] for node in pieces.points.tolist()]
    first, end = pieces.first.tolist(), (pieces.last + 1).tolist()
    return [
        f"LINESTRING ({', '.join(points[first[k] : end[k]][:: -1 if back else 1])})" if end[k] - first[k] > 2 else ""
        for k, back in zip(roads.piece.tolist(), roads.back.tolist(), strict=True)
    ]


def _names(tag: tags.Tags) -> tuple[str, str]:
    """Return how a road is called, and how in Chinese."""
    name = tag.get("name", tag.get("ref", "")).strip()
    chinese = tag.get("name:zh", tag.get("name:zh-Hans", "")).strip()
    if not chinese and any("\u4e00" <= sign <= "\u9fff" for sign in name):
        chinese = name
    return (tag.get("name:en", name).strip() if chinese and chinese == name else name), chinese


def _lanes_with_arrows(
    extract: Extract, roads: Roads, of: list[tuple[attributes.Attributes, attributes.Attributes]]
) -> dict[int, int]:
    """Return the lanes of the links on which arrows are painted and which end their way."""
    painted = {
        index for index, way in enumerate(extract.roads) if any(key.startswith("turn:lanes") for key in way.tags)
    }
    ways = roads.way.tolist()
    return {
        link: int(of[ways[link]][int(roads.back[link])].lanes)
        for link in np.flatnonzero(roads.last_of_way).tolist()
        if ways[link] in painted
    }


def _about_tags(extract: Extract, said: attributes.Readings) -> Notes:
    notes: Notes = []
    if said.unreadable:
        examples = ", ".join(text for text, _ in said.unreadable.most_common(_NAMED))
        total = said.unreadable.total()
        notes.append(("placeholder", f"{total:,} tags cannot be read and count as missing, among them {examples}"))
    if shared := sum(said.shared):
        text = (
            f"{shared:,} two-way roads have an odd number of lanes: the lane that is left over is in neither direction"
        )
        notes.append(("approximation", text))
    if hours := sum(tags.directions(way.tags)[2] for way in extract.roads):
        notes.append(
            ("approximation", f"{hours:,} ways change their direction with the hour and are open both ways here")
        )
    return notes


def _about_turns(known: turns.Turns) -> Notes:
    notes: Notes = []
    if known.applied:
        notes.append(("note", f"{known.applied:,} turn restrictions are kept as movements"))
    for reason, text in turns.LEFT_OUT.items():
        if ids := known.left_out.get(reason):
            names = ", ".join(map(str, sorted(ids)[:_NAMED])) + (", ..." if len(ids) > _NAMED else "")
            kind = "note" if reason in ("elsewhere", "others") else "approximation"
            notes.append((kind, f"{len(ids):,} turn restrictions {text}: {names}"))
    if known.lanes:
        links = len({pair[0] for pair in known.lanes})
        notes.append(("note", f"the arrows on the lanes of {links:,} links are kept as lane groups"))
    return notes


def _about_signals(signals: Signals) -> Notes:
    notes: Notes = []
    if signals.junction:
        nodes = len(set(signals.junction.values()))
        text = f"{len(signals.junction):,} signals of the map stand at {nodes:,} junctions; the map has no timing"
        notes.append(("placeholder", text))
    if signals.between:
        text = f"{len(signals.between):,} signals between junctions (crossings on foot) are assets and stop nobody"
        notes.append(("approximation", text))
    return notes


def _about_rest(extract: Extract, mended: Counter[str]) -> Notes:
    counts = extract.counts + mended
    texts = {
        "clipped": "ways name nodes that the extract does not hold and are cut there",
        "nobody": "ways are private or closed to motor vehicles and are left out",
        "bus": "ways are for buses alone and are left out",
        "service": "service roads are left out (--service keeps them)",
        "short": "ways have fewer than two nodes in the extract and are left out",
        "loops": "streets come back to where they began and are split in the middle",
        "points": "streets have no length: the nodes at their ends are one",
        "place": "nodes lie nowhere on the globe and are left out",
        "text": "objects have tags that are not UTF-8 and are left out",
        "twice": "objects stand twice in the extract, the first is read",
        "members": "turn restrictions have too many members and are left out",
    }
    return [("note", f"{counts[key]:,} {text}") for key, text in texts.items() if counts[key]]
