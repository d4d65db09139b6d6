"""An OpenStreetMap extract, read in one pass: roads, turn restrictions, street furniture, buildings, places of nodes.

This is the one file that knows pyosmium. What it hands on are plain arrays and words.
"""

import ctypes
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import numpy as np
import numpy.typing as npt
import osmium
from osmium.osm import NODE, RELATION, WAY, osm_entity_bits
from osmium.osm.types import Node, OSMEntity, Relation

from sensors import InputError, WorkError
from twin.importers.osm import tags as words
from twin.importers.osm import way_text
from twin.importers.osm.way_text import WrittenWay
from twin.importers.source import beginning, packing

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

# A restriction of more members than this is no turn; some relations of OpenStreetMap hold ten thousands.
MOST_MEMBERS = 50
# First words of the keys that are read of any object.
_TAG_KEYS = frozenset({
    "access", "amenity", "area", "building", "bus", "day_off", "day_on", "direction", "driving_side", "emergency",
    "except", "height", "highway", "hour_off", "hour_on", "junction", "lanes", "man_made", "maxspeed",
    "motor_vehicle", "motorcar", "name", "oneway", "power", "psv", "ref", "restriction", "route", "service",
    "source", "traffic_signals", "turn", "vehicle", "zone",
})  # fmt: skip


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
    WorkError
        When the temporary folder has no room for the ways.
    """
    form = file_format(source)
    if form is None:
        raise InputError(f"{source.name}: is no OpenStreetMap extract (.osm.pbf, .osm, .osm.gz or .osm.bz2)")
    if b"<osmChange" in beginning(source)[:2000]:
        raise InputError(f"{source.name}: holds changes of OpenStreetMap (.osc), must be an extract")
    extract = Extract()
    try:
        _walk(osmium.io.File(str(source), form), extract, service=service, name=source.name)
    except WorkError:
        raise
    except (RuntimeError, ValueError, osmium.InvalidLocationError) as error:  # whatever osmium makes of a broken file
        if isinstance(error, RuntimeError) and str(error).startswith("Write failed"):
            raise WorkError(_no_room(error)) from None
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"{source.name}: cannot be read as OpenStreetMap: {text}; the file is cut off or broken"
        ) from None
    return extract


def _walk(file: "osmium.io.File", extract: Extract, *, service: bool, name: str) -> None:
    new = _News(extract.counts)
    with TemporaryDirectory(prefix="citytwin-") as scrap:
        written = Path(scrap) / "ways.osm"
        _write_ways(file, written, extract, new, name=name)
        refs, places = _take_ways(extract, written, new, service=service)
    _place(file, extract, refs, places)


def _write_ways(file: "osmium.io.File", target: Path, extract: Extract, new: "_News", *, name: str) -> None:
    """Take nodes and relations, which come one by one, and let osmium write the ways, of which there are many."""
    filters = (
        # By key: osmium 4.3.2 crashes on damaged nodes when a filter of tags has several pairs.
        (osmium.filter.KeyFilter(*sorted({key for key, _ in words.POINT_KINDS})), NODE),
        (osmium.filter.KeyFilter("highway", "building"), WAY),
        (osmium.filter.TagFilter(("type", "restriction")), RELATION),
    )
    processor = osmium.FileProcessor(file, NODE | WAY | RELATION, thread_pool=osmium.io.ThreadPool(1))
    if processor.header.has_multiple_object_versions:
        raise InputError(f"{name}: is a history of OpenStreetMap, must be an extract of one moment")
    processor.with_locations()
    for test, kind in filters:
        processor.with_filter(test.enable_for(kind))
    writer = osmium.SimpleWriter(osmium.io.File(str(target), way_text.FORMAT), thread_pool=osmium.io.ThreadPool(1))
    processor.with_filter(writer).with_filter(osmium.filter.EntityFilter(NODE | RELATION))
    try:
        for item in processor:
            if isinstance(item, Node | Relation):
                _take_item(extract, item, new)
        writer.close()
    except RuntimeError:
        _give_up(writer)
        raise


def _give_up(writer: osmium.SimpleWriter) -> None:
    """Close a writer after an error, its own or that of what it was to write."""
    try:
        writer.close()
    except RuntimeError as error:
        # osmium 4.3.2 ends the whole process when it destroys a writer that could not write: this one stays for ever.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(writer))
        raise WorkError(_no_room(error)) from None


def _no_room(error: RuntimeError) -> str:
    return f"cannot write to the temporary folder {gettempdir()}, is it full? {' '.join(str(error).split())[:200]}"


def _take_item(extract: Extract, item: Node | Relation, new: "_News") -> None:
    tags = _tags(item)
    if tags is None or not new(item.type_str(), item.id, item.deleted):
        extract.counts["text"] += tags is None
    elif isinstance(item, Node):
        _take_point(extract, item, tags)
    else:
        _take_ban(extract, item, tags)


@dataclass(frozen=True, slots=True)
class _News:
    """Tells whether something comes for the first time; what does not is counted."""

    counts: Counter[str]
    seen: dict[str, set[int]] = field(default_factory=lambda: {kind: set() for kind in "nwr"})

    def __call__(self, kind: str, ref: int, deleted: bool) -> bool:
        if ref in self.seen[kind] or deleted:
            self.counts["twice"] += not deleted
            return False
        self.seen[kind].add(ref)
        return True


def _tags(item: OSMEntity) -> dict[str, str] | None:
    """Return the tags that are read, None when one is not UTF-8."""
    try:
        return {key: value for key, value in item.tags if key.partition(":")[0] in _TAG_KEYS}
    except UnicodeDecodeError:
        return None


def _take_point(extract: Extract, node: Node, tags: dict[str, str]) -> None:
    if not words.point_kind(tags):
        return
    if node.location.valid():
        extract.points.append(Point(node.id, (node.location.lon, node.location.lat), tags))
    else:
        extract.counts["place"] += 1


def _take_ways(extract: Extract, written: Path, new: _News, *, service: bool) -> tuple[Long, Float]:
    """Take the ways that osmium wrote, and return their nodes with their places."""
    all_refs, all_places = [extract.node_ids], [extract.lon_lat]
    for block in way_text.read_ways(written, wanted=_TAG_KEYS):
        kept = [(way, tags) for way in block if (tags := _tags_if_kept(extract, way, new, service=service))]
        refs, places = way_text.nodes_of([way for way, _ in kept])
        for (way, tags), own in zip(kept, refs, strict=True):
            (extract.roads if "highway" in tags else extract.buildings).append(OsmWay(way.way_id, own, tags))
        all_refs += refs
        all_places.append(places)
    return np.concatenate(all_refs), np.concatenate(all_places)


def _tags_if_kept(extract: Extract, way: WrittenWay, new: _News, *, service: bool) -> dict[str, str] | None:
    """Return the tags of a way that is a road for all or a building."""
    tags = way.tags
    if tags is None or not new("w", way.way_id, way.deleted):
        extract.counts["text"] += tags is None
        return None
    if "highway" not in tags:
        return tags if tags["building"] != "no" else None
    if not words.is_road(tags, service=service):
        extract.counts["service"] += tags["highway"] == "service" and not service
        return None
    who = words.who_may_drive(tags)
    extract.counts[who] += who != "all"
    return tags if who == "all" else None


def _take_ban(extract: Extract, relation: Relation, tags: dict[str, str]) -> None:
    members: list[tuple[str, int, str]] = []
    for member in relation.members:
        if len(members) >= MOST_MEMBERS:
            extract.counts["members"] += 1
            return
        members.append((member.type, member.ref, member.role))
    extract.bans.append(Ban(relation.id, tuple(members), tags))


def _place(file: "osmium.io.File", extract: Extract, refs: Long, lon_lat: Float) -> None:
    """Keep the places of the nodes that roads and buildings name, wherever in the file they stand.

    Parameters
    ----------
    refs : (n,)
        With repeats.
    lon_lat : (n, 2) degrees
        NaN where they are not known yet.
    """
    said = np.isfinite(lon_lat[:, 0])
    late = np.setdiff1d(refs[~said], refs[said]) if not said.all() else refs[:0]
    found = _late_places(file, late.tolist(), extract) if len(late) else {}
    refs = np.concatenate([refs[said], np.fromiter(found, np.int64, len(found))])
    lon_lat = np.concatenate([lon_lat[said], np.array(list(found.values())).reshape(-1, 2)])
    extract.node_ids, first = np.unique(refs, return_index=True)
    extract.lon_lat = lon_lat[first]


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
