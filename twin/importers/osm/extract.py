"""An OpenStreetMap extract, read in one pass: roads, turn restrictions, street furniture, buildings, places of nodes.

This is the one file that knows pyosmium. What it hands on are plain arrays and words.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern

import numpy as np
import numpy.typing as npt
import osmium
from osmium.osm import NODE, RELATION, WAY, osm_entity_bits
from osmium.osm.types import Node, OSMEntity, Relation, Way

from sensors import InputError
from twin.importers.osm import tags as words
from twin.importers.source import beginning, packing

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

# A restriction of more members than this is no turn; some relations of OpenStreetMap hold ten thousands.
MOST_MEMBERS = 50
# First words of the keys that are read of any object.
_TAG_KEYS = frozenset(
    (
        *(
            "access",
            "amenity",
            "area",
            "building",
            "bus",
            "day_off",
            "day_on",
            "direction",
            "driving_side",
            "emergency",
        ),
        *("except", "height", "highway", "hour_off", "hour_on", "junction", "lanes", "man_made", "maxspeed"),
        *("motor_vehicle", "motorcar", "name", "oneway", "power", "psv", "ref", "restriction", "route", "service"),
        *("source", "traffic_signals", "turn", "vehicle", "zone"),
    )
)


@dataclass(frozen=True, slots=True)
class OsmWay:
    """A way of the extract: its nodes and its tags."""

    way_id: int
    refs: Long
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Point:
    """A node with tags."""

    node_id: int
    lon_lat: tuple[float, float]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Ban:
    """A relation that restricts turns: its members (kind ``n``, ``w`` or ``r``, id, role) and its tags."""

    relation_id: int
    members: tuple[tuple[str, int, str], ...]
    tags: dict[str, str]


@dataclass(slots=True)
class Extract:
    """What an extract holds of a city's roads.

    Parameters
    ----------
    roads, buildings
        Ways in the order of the file.
    points
        Nodes that may be signals or furniture.
    bans
        Turn restrictions.
    node_ids : (n_nodes,)
        Nodes of roads and buildings that have a place, ascending.
    lon_lat : (n_nodes, 2) degrees
    counts
        What was left out, by reason.
    """

    roads: list[OsmWay] = field(default_factory=list)
    buildings: list[OsmWay] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    bans: list[Ban] = field(default_factory=list)
    node_ids: Long = field(default_factory=lambda: np.zeros(0, np.int64))
    lon_lat: Float = field(default_factory=lambda: np.zeros((0, 2)))
    counts: Counter[str] = field(default_factory=Counter)

    def positions(self, refs: Long) -> Long:
        """Return the positions of nodes in `node_ids`, -1 for those that have no place in the extract."""
        if not len(self.node_ids):
            return np.full(len(refs), -1, np.int64)
        at = np.minimum(np.searchsorted(self.node_ids, refs), len(self.node_ids) - 1)
        return np.where(self.node_ids[at] == refs, at, -1)


def file_format(source: Path) -> str | None:
    """Return the format of an extract as osmium calls it, None when the file is none."""
    head = beginning(source)
    if head[4:].startswith(b"\n\x09OSMHeader"):
        return "pbf"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<") and (b"<osm" in head[:2000] or b"<osmChange" in head[:2000]):
        return "osm" + packing(source)
    return None


def read_extract(source: Path, *, service: bool = False) -> Extract:
    """Return the roads of an extract and what stands beside them.

    Parameters
    ----------
    service
        Keep service roads.

    Raises
    ------
    InputError
        When the file is cut off, broken, or holds changes or a history.
    """
    form = file_format(source)
    if form is None:
        raise InputError(f"{source.name}: is no OpenStreetMap extract (.osm.pbf, .osm, .osm.gz or .osm.bz2)")
    if b"<osmChange" in beginning(source)[:2000]:
        raise InputError(f"{source.name}: holds changes of OpenStreetMap (.osc), must be an extract")
    extract = Extract()
    try:
        _walk(osmium.io.File(str(source), form), extract, service=service, name=source.name)
    except (RuntimeError, ValueError, osmium.InvalidLocationError) as error:  # whatever osmium makes of a broken file
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"{source.name}: cannot be read as OpenStreetMap: {text}; the file is cut off or broken"
        ) from None
    return extract


def _walk(file: "osmium.io.File", extract: Extract, *, service: bool, name: str) -> None:
    filters = (
        (osmium.filter.TagFilter(*words.POINT_KINDS), NODE),
        (osmium.filter.KeyFilter("highway", "building"), WAY),
        (osmium.filter.TagFilter(("type", "restriction")), RELATION),
    )
    processor = osmium.FileProcessor(file, NODE | WAY | RELATION)
    if processor.header.has_multiple_object_versions:
        raise InputError(f"{name}: is a history of OpenStreetMap, must be an extract of one moment")
    processor.with_locations()
    for test, kind in filters:
        processor.with_filter(test.enable_for(kind))
    seen: dict[str, set[int]] = {kind: set() for kind in "nwr"}
    for item in processor:
        if not isinstance(item, Node | Way | Relation):
            continue
        try:
            tags = _tags(item)
        except UnicodeDecodeError:
            extract.counts["text"] += 1
            continue
        known = seen[item.type_str()]
        if item.id in known or item.deleted:
            extract.counts["twice"] += not item.deleted
            continue
        known.add(item.id)
        if isinstance(item, Node):
            _take_point(extract, item, tags)
        elif isinstance(item, Way):
            _take_way(extract, item, tags, service=service)
        else:
            _take_ban(extract, item, tags)
    _place(file, extract, processor.node_location_storage)


def _tags(item: OSMEntity) -> dict[str, str]:
    """Return the tags that are read; words that a city repeats ten thousand times are one object."""
    return {intern(key): intern(value) for key, value in item.tags if key.partition(":")[0] in _TAG_KEYS}


def _take_point(extract: Extract, node: Node, tags: dict[str, str]) -> None:
    if node.location.valid():
        extract.points.append(Point(node.id, (node.location.lon, node.location.lat), tags))
    else:
        extract.counts["place"] += 1


def _take_way(extract: Extract, way: Way, tags: dict[str, str], *, service: bool) -> None:
    if "highway" not in tags:
        if tags["building"] != "no":
            extract.buildings.append(OsmWay(way.id, _refs(way), tags))
        return
    if not words.is_road(tags, service=service):
        extract.counts["service"] += tags["highway"] == "service" and not service
        return
    who = words.who_may_drive(tags)
    if who != "all":
        extract.counts[who] += 1
        return
    extract.roads.append(OsmWay(way.id, _refs(way), tags))


def _refs(way: Way) -> Long:
    return np.array([ref.ref for ref in way.nodes], np.int64)


def _take_ban(extract: Extract, relation: Relation, tags: dict[str, str]) -> None:
    members: list[tuple[str, int, str]] = []
    for member in relation.members:
        if len(members) >= MOST_MEMBERS:
            extract.counts["members"] += 1
            return
        members.append((member.type, member.ref, member.role))
    extract.bans.append(Ban(relation.id, tuple(members), tags))


def _place(file: "osmium.io.File", extract: Extract, table: "osmium.index.LocationTable | None") -> None:
    """Look up the places of the nodes that roads and buildings name, wherever in the file they stand."""
    ways = (*extract.roads, *extract.buildings)
    wanted = np.unique(np.concatenate([way.refs for way in ways])) if ways else extract.node_ids
    found = np.full((len(wanted), 2), np.nan)
    for index, ref in enumerate(wanted.tolist()):
        try:
            location = table.get(ref) if table is not None and ref >= 0 else None
        except KeyError:
            continue
        if location is not None and location.valid():
            found[index] = location.lon, location.lat
    missing = np.flatnonzero(np.isnan(found[:, 0]))
    late = _late_places(file, wanted[missing].tolist(), extract) if len(missing) else {}
    for index in missing.tolist():
        found[index] = late.get(int(wanted[index]), (np.nan, np.nan))
    known = np.isfinite(found[:, 0])
    extract.node_ids, extract.lon_lat = wanted[known], found[known]


def _late_places(file: "osmium.io.File", refs: Iterable[int], extract: Extract) -> dict[int, tuple[float, float]]:
    """Return the places of nodes that osmium's table does not hold.

    Those are nodes that come after the ways, and negative ids, which editors give to what is not uploaded.
    """
    keep = set(refs)
    kinds: osm_entity_bits = NODE
    processor = osmium.FileProcessor(file, kinds)
    if min(keep) >= 0:
        processor.with_filter(osmium.filter.IdFilter(keep))
    places = {}
    for node in processor:
        if isinstance(node, Node) and node.id in keep:
            if node.location.valid():
                places[node.id] = node.location.lon, node.location.lat
            else:
                extract.counts["place"] += 1
    return places
