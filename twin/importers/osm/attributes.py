"""Lanes and speed of every way and direction: what the tags say, else what the city's other roads of the class have."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from twin.importers.osm import tags as words
from twin.importers.osm.extract import OsmWay

# As many roads of a class must say it before the most common value stands for those that do not.
FEWEST_TO_FOLLOW = 20
SIDES = ("forward", "backward")

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Lanes and speed of one direction of a way.

    Parameters
    ----------
    lanes
        For general traffic.
    speed_kmh
        Free-flow speed.
    assumed
        Which of the two are no statement of the source; all three as cells of ``link.csv``.
    """

    lanes: str
    speed_kmh: str
    assumed: str


@dataclass(slots=True)
class Readings:
    """What the tags of all ways say, and what of it cannot be read.

    Parameters
    ----------
    lanes, speed
        By way and direction, None where nothing is said.
    shared
        Ways whose lanes were shared out between the directions.
    unreadable
        The words, and how often each stands.
    """

    lanes: list[tuple[int | None, int | None]] = field(default_factory=list)
    speed: list[tuple[float | None, float | None]] = field(default_factory=list)
    shared: list[bool] = field(default_factory=list)
    unreadable: Counter[str] = field(default_factory=Counter)


def read_tags(ways: Sequence[OsmWay]) -> Readings:
    """Return what the tags of ways say about lanes and speed."""
    said = Readings()
    for way in ways:
        try:
            along, against, shared = words.lanes(way.tags)
        except ValueError as error:
            said.unreadable[str(error)] += 1
            along, against, shared = None, None, False
        said.lanes.append((along, against))
        said.shared.append(shared)
        limits: list[float | None] = []
        for side in SIDES:
            try:
                limits.append(words.limit_kmh(way.tags, side))
            except ValueError as error:
                said.unreadable[str(error)] += side == "forward" or f"maxspeed:{side}" in way.tags
                limits.append(None)
        said.speed.append((limits[0], limits[1]))
    said.unreadable = +said.unreadable
    return said


@dataclass(frozen=True, slots=True)
class Customs:
    """What roads of a class have that say nothing; how many others say so, of how many (0: a default of ours).

    Parameters
    ----------
    speed
        (km/h, ways that say so, ways that say something) by class.
    lanes
        (lanes a direction, and the same two) by class and whether the road is one-way.
    """

    speed: Mapping[str, tuple[float, int, int]]
    lanes: Mapping[tuple[str, bool], tuple[int, int, int]]


def customs(ways: Sequence[OsmWay], said: Readings) -> Customs:
    """Return the most common value by class among the ways that say it, else the default of the class.

    Limits are round numbers of the country's law: the most common one is right for more roads than any mean.
    """
    speeds: dict[str, Counter[float]] = defaultdict(Counter)
    lanes: dict[tuple[str, bool], Counter[int]] = defaultdict(Counter)
    for way, limit, count in zip(ways, said.speed, said.lanes, strict=True):
        kind = way.tags["highway"]
        if limit[0] is not None:
            speeds[kind][limit[0]] += 1
        sides = [number for number in count if number is not None]
        if sides:
            lanes[kind, not all(words.directions(way.tags)[:2])][max(sides)] += 1
    return Customs(
        speed={kind: _custom(speeds[kind], words.DEFAULT_SPEED_KMH[kind]) for kind in words.CLASSES},
        lanes={
            (kind, oneway): _custom(lanes[kind, oneway], words.DEFAULT_LANES[kind][oneway])
            for kind in words.CLASSES
            for oneway in (False, True)
        },
    )


def _custom(seen: Counter[Key], default: Key) -> tuple[Key, int, int]:
    if seen.total() < FEWEST_TO_FOLLOW:
        return default, 0, 0
    value, times = max(seen.items(), key=lambda item: (item[1], str(item[0])))
    return value, times, seen.total()


def complete(ways: Sequence[OsmWay], said: Readings, usual: Customs) -> list[tuple[Attributes, Attributes]]:
    """Return the attributes of both directions of each way."""
    made: dict[tuple[object, ...], tuple[Attributes, Attributes]] = {}
    result = []
    for way, lanes, speed, shared in zip(ways, said.lanes, said.speed, said.shared, strict=True):
        kind = way.tags["highway"]
        oneway = not all(words.directions(way.tags)[:2])
        key = kind, oneway, lanes, speed, shared  # a city says a few hundred things of ten thousand ways
        sides = made.get(key)
        if sides is None:
            one, other = (_side(lanes[k], speed[k], shared, kind, usual, oneway=oneway) for k in (0, 1))
            sides = made[key] = one, other
        result.append(sides)
    return result


def _side(
    lanes: int | None, speed: float | None, shared: bool, kind: str, usual: Customs, *, oneway: bool
) -> Attributes:
    """Return the attributes of one direction; what is not said is that of the other roads of the class."""
    unknown = (("lanes", lanes is None or shared), ("free_speed", speed is None))
    return Attributes(
        str(usual.lanes[kind, oneway][0] if lanes is None else lanes),
        f"{usual.speed[kind][0] if speed is None else speed:.8g}",
        ";".join(name for name, is_so in unknown if is_so),
    )


def in_words(usual: Customs, ways: Sequence[OsmWay], said: Readings) -> list[str]:
    """Return one sentence each about the speeds and lanes that are assumed."""
    sentences = []
    speed: Counter[str] = Counter()
    lanes: Counter[tuple[str, bool]] = Counter()
    for way, limit, count in zip(ways, said.speed, said.lanes, strict=True):
        kind = way.tags["highway"]
        along, against, _ = words.directions(way.tags)
        speed[kind] += limit[0 if along else 1] is None
        lanes[kind, not (along and against)] += count[0 if along else 1] is None
    if +speed:
        parts = [
            _part(kind, f"{usual.speed[kind][0]:.3g}", *usual.speed[kind][1:]) for kind in words.CLASSES if speed[kind]
        ]
        sentences.append(f"free_speed of {speed.total():,} of {len(ways):,} ways is assumed, km/h: {', '.join(parts)}")
    if +lanes:
        parts = [
            _part(f"{kind}{' one-way' if oneway else ''}", str(number), times, known)
            for (kind, oneway), (number, times, known) in usual.lanes.items()
            if lanes[kind, oneway]
        ]
        sentences.append(
            f"lanes of {lanes.total():,} of {len(ways):,} ways are assumed, each direction: {', '.join(parts)}"
        )
    return sentences


def _part(name: str, value: str, times: int, known: int) -> str:
    return f"{name} {value} ({f'as {times:,} of {known:,} tagged' if times else 'default'})"
