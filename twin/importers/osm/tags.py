"""What the tags of a way say about a road: who may drive, which way, how fast, on how many lanes, turning where.

Tags are words that people wrote; whatever they are, a function here gives a value, ``None`` (nothing is said) or raises
ValueError (something is said that cannot be read). Source: OpenStreetMap Wiki, pages Key:highway, Key:access,
Key:oneway, Key:lanes, Key:maxspeed, Key:turn (CC BY-SA 2.0).
"""

import re
from collections.abc import Mapping
from functools import lru_cache

Tags = Mapping[str, str]

# Roads that motor vehicles use as a matter of course, larger ones first; tracks, paths and squares are none.
CLASSES = (
    *("motorway", "motorway_link", "trunk", "trunk_link", "primary", "primary_link", "secondary", "secondary_link"),
    *("tertiary", "tertiary_link", "unclassified", "residential", "living_street", "road", "service"),
)
_ROADS = frozenset(CLASSES) - {"service"}
# Service roads that lead to one house or bay; alleys and the like stay.
_OWN_GROUND = frozenset({"driveway", "parking_aisle", "parking", "emergency_access", "drive-through", "private"})
# The first of these keys that is there decides (Key:access: the more special one overrides).
_ACCESS_KEYS = ("motorcar", "motor_vehicle", "vehicle", "access")
_OPEN = frozenset({"yes", "permissive", "designated", "destination", "public", "official", "customers", "delivery"})
_BUS_KEYS = ("bus", "psv")
_BUS_OPEN = frozenset({"yes", "designated", "official", "permissive"})

# What a road of each class has when nobody says it, in km/h and lanes a direction; lanes of one-way roads come second.
# Speeds: limits in and out of towns that most countries share (UNECE, Consolidated Resolution on Road Traffic, R.E.1,
# 2010, ch. 5: 50 in built-up areas, 90 outside, 130 on motorways), less on slip roads and where one lives.
DEFAULT_SPEED_KMH: Mapping[str, float] = {
    **{"motorway": 120.0, "motorway_link": 60.0, "trunk": 90.0, "trunk_link": 60.0},
    **{"primary": 50.0, "primary_link": 50.0, "secondary": 50.0, "secondary_link": 50.0},
    **{"tertiary": 50.0, "tertiary_link": 50.0, "unclassified": 50.0, "residential": 50.0},
    **{"living_street": 10.0, "road": 50.0, "service": 20.0},
}
DEFAULT_LANES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(CLASSES, (1, 1)),
    **{"motorway": (2, 2), "trunk": (1, 2), "primary": (1, 2)},
}

# What a node is as equipment of the street, by key and value.
POINT_KINDS: Mapping[tuple[str, str], str] = {
    ("highway", "traffic_signals"): "signal",
    ("highway", "street_lamp"): "lamp",
    ("highway", "bus_stop"): "bus_stop",
    ("highway", "speed_camera"): "camera",
    ("man_made", "surveillance"): "camera",
    ("man_made", "street_cabinet"): "cabinet",
    ("power", "cable_distribution_cabinet"): "cabinet",
    ("power", "transformer"): "transformer",
    ("power", "substation"): "substation",
}

KMH_PER_MPH, KMH_PER_KNOT = 1.609344, 1.852
WALKING_KMH = 7.0  # "walk": what German courts take for walking pace
UNLIMITED_KMH = 130.0  # "none": the advisory speed of German motorways
SLOWEST_KMH, FASTEST_KMH = 5.0, 200.0  # of a limit that can be meant
MOST_LANES = 12

# Limits by the country's law, OpenStreetMap Wiki, page "Default speed limits"; the first part is the country.
_LAW_KMH: Mapping[str, float] = {
    **{"urban": 50.0, "rural": 90.0, "trunk": 100.0, "motorway": 130.0, "living_street": 10.0, "bicycle_road": 30.0},
    **{"nsl_single": 60 * KMH_PER_MPH, "nsl_dual": 70 * KMH_PER_MPH, "nsl_restricted": 30 * KMH_PER_MPH},
    **{"AT:rural": 100.0, "BE:motorway": 120.0, "CH:motorway": 120.0, "CH:rural": 80.0, "DE:living_street": 7.0},
    **{"DE:motorway": UNLIMITED_KMH, "DE:rural": 100.0, "DK:rural": 80.0, "ES:motorway": 120.0, "FI:motorway": 120.0},
    **{"FI:rural": 80.0, "FR:rural": 80.0, "GB:motorway": 70 * KMH_PER_MPH, "GB:urban": 30 * KMH_PER_MPH},
    **{"NL:motorway": 100.0, "NL:rural": 80.0, "NO:rural": 80.0, "NO:motorway": 100.0, "PL:motorway": 140.0},
    **{"PT:motorway": 120.0, "RU:urban": 60.0, "RU:motorway": 110.0, "RU:living_street": 20.0, "SE:rural": 70.0},
    **{"SE:motorway": 110.0, "UA:living_street": 20.0, "FR:living_street": 20.0, "CH:living_street": 20.0},
}
_NOTHING_FIXED = frozenset({"signals", "variable", "implicit", "default", "unposted", "national", "unknown", "fixme"})
_NUMBER = re.compile(r"(\d+(?:[.,]\d+)?)\s*(|km/?h|kmh|kph|kmph|mph|mp/h|knots?|kn)\.?", re.IGNORECASE)
_ZONE = re.compile(r"(?:[A-Z]{2}:|zone:)*(?:zone:?)?(\d{1,3})", re.IGNORECASE)
# Signs beside which the limit is written when maxspeed is not there.
_SPEED_KEYS = ("maxspeed", "zone:maxspeed", "maxspeed:type", "source:maxspeed", "zone:traffic")


@lru_cache(maxsize=4096)
def speed_kmh(text: str) -> float | None:
    """Return the speed limit that a value of ``maxspeed`` says, the lowest of several.

    Returns
    -------
    km/h; None when it is said that the limit changes or is the usual one

    Raises
    ------
    ValueError
        When it cannot be read, or no road has such a limit.

    Examples
    --------
    >>> [speed_kmh(text) for text in ("50", "80; 50", "DE:zone30", "none", "FR:rural", "signals")]
    [50.0, 50.0, 30.0, 130.0, 80.0, None]
    >>> round(speed_kmh("25 mph"), 2)
    40.23
    """
    limits = [_one_speed(part.strip()) for part in re.split(r"[;|]|, ", text) if part.strip()]
    if not limits:
        raise ValueError("is empty")
    known = [limit for limit in limits if limit is not None]
    if any(not SLOWEST_KMH <= limit <= FASTEST_KMH for limit in known):
        raise ValueError(f"must be {SLOWEST_KMH:g} to {FASTEST_KMH:g} km/h")
    return min(known, default=None)


def _one_speed(text: str) -> float | None:
    word = text.lower()
    if word in ("walk", "walking_pace", "foot"):
        return WALKING_KMH
    if word in ("none", "unlimited", "no"):
        return UNLIMITED_KMH
    if word in _NOTHING_FIXED:
        return None
    if found := _NUMBER.fullmatch(text):
        unit = found[2].lower()
        scale = KMH_PER_MPH if unit.startswith("mp") else KMH_PER_KNOT if unit.startswith("kn") else 1.0
        return float(found[1].replace(",", ".")) * scale
    country, _, place = text.rpartition(":")
    law = _LAW_KMH.get(f"{country.upper()[:2]}:{place.lower()}", _LAW_KMH.get(place.lower()))
    if country and law is not None:
        return law
    if found := _ZONE.fullmatch(text):
        return float(found[1])
    raise ValueError("is no speed")


def limit_kmh(tags: Tags, side: str) -> float | None:
    """Return the speed limit of one direction, None when no tag says it.

    Parameters
    ----------
    side
        ``forward`` or ``backward``, along the way or against it.

    Raises
    ------
    ValueError
        When ``maxspeed`` cannot be read; its value comes first.
    """
    for key in (f"maxspeed:{side}", *_SPEED_KEYS):
        text = tags.get(key)
        if text is None:
            continue
        try:
            limit = speed_kmh(text)
        except ValueError as error:
            if key.startswith("maxspeed") and key != "maxspeed:type":
                raise ValueError(f"{key} {text!r} {error}") from None
            continue  # of "sign", "survey" and the like nobody expects a number
        if limit is not None:
            return limit
    return None


def point_kind(tags: Tags) -> str:
    """Return what a node is as equipment of the street, ``""`` when it is none.

    Examples
    --------
    >>> point_kind({"highway": "street_lamp"}), point_kind({"amenity": "bench"})
    ('lamp', '')
    """
    return next((kind for (key, value), kind in POINT_KINDS.items() if tags.get(key) == value), "")


def is_road(tags: Tags, *, service: bool) -> bool:
    """Return whether a way is a road for motor vehicles by its class, whoever may use it; areas and ferries are none.

    Examples
    --------
    >>> [is_road({"highway": kind}, service=False) for kind in ("primary", "service", "footway", "construction")]
    [True, False, False, False]
    """
    kind = tags["highway"]
    if tags.get("area") == "yes" or tags.get("route") == "ferry":
        return False
    return kind in _ROADS or (service and kind == "service" and tags.get("service") not in _OWN_GROUND)


def who_may_drive(tags: Tags) -> str:
    """Return who may use a road: ``all``, ``bus`` or ``nobody`` (private ways, closed ones).

    Examples
    --------
    >>> [who_may_drive(tags) for tags in ({}, {"access": "no", "bus": "yes"}, {"motor_vehicle": "private"})]
    ['all', 'bus', 'nobody']
    >>> who_may_drive({"access": "no", "motorcar": "yes"}), who_may_drive({"access": "destination;delivery"})
    ('all', 'all')
    """
    said = next((tags[key] for key in _ACCESS_KEYS if key in tags), "yes")
    if any(word.strip() in _OPEN for word in said.split(";")):
        return "all"
    if said in ("unknown", "") or not said.isascii():
        return "all"  # nothing that forbids
    return "bus" if any(tags.get(key) in _BUS_OPEN for key in _BUS_KEYS) else "nobody"


def directions(tags: Tags) -> tuple[bool, bool, bool]:
    """Return whether one drives along the way, against it, and whether that changes with the hour.

    Motorways and roundabouts are one-way when nothing else is said.

    Examples
    --------
    >>> directions({"highway": "primary", "oneway": "-1"}), directions({"highway": "motorway"})
    ((False, True, False), (True, False, False))
    >>> directions({"highway": "primary", "oneway": "reversible"})
    (True, True, True)
    """
    said = tags.get("oneway:motor_vehicle", tags.get("oneway", ""))
    return _directions(said, tags.get("highway"), tags.get("junction"))


@lru_cache(maxsize=4096)
def _directions(said: str, highway: str | None, junction: str | None) -> tuple[bool, bool, bool]:
    said = said.strip().lower()
    if said in ("-1", "reverse"):
        return False, True, False
    if said in ("yes", "true", "1"):
        return True, False, False
    if said in ("no", "false", "0"):
        return True, True, False
    if said in ("reversible", "alternating"):
        return True, True, True
    implied = highway in ("motorway", "motorway_link") or junction in ("roundabout", "circular")
    return True, not implied, False


def _count(tags: Tags, key: str) -> int | None:
    """Return a number of lanes; of several the least, since one of them is wrong."""
    text = tags.get(key)
    if text is None:
        return None
    try:
        numbers = [int(float(part.replace(",", "."))) for part in re.split(r"[;|]", text)]
    except (ValueError, OverflowError):
        raise ValueError(f"{key} {text!r} is no number of lanes") from None
    if not 0 <= min(numbers) <= max(numbers) <= MOST_LANES:
        raise ValueError(f"{key} {text!r} must be 0 to {MOST_LANES}")
    return min(numbers)


def _reserved(tags: Tags, side: str, *, alone: bool) -> int:
    """Return how many lanes of a direction are for buses."""
    for key in ("bus", "psv"):
        for name in (f"lanes:{key}:{side}", *((f"lanes:{key}",) if alone else ())):
            number = _count(tags, name)
            if number is not None:
                return number
        for name in (f"{key}:lanes:{side}", *((f"{key}:lanes",) if alone else ())):
            if name in tags:
                return sum(word.strip() == "designated" for word in tags[name].split("|"))
    return 0


def lanes(tags: Tags) -> tuple[int | None, int | None, bool]:
    """Return the lanes along the way and against it, and whether they were shared out between the directions.

    ``lanes`` counts both directions of a two-way road and its bus lanes; those are left out here.

    Raises
    ------
    ValueError
        When they cannot be read.

    Examples
    --------
    >>> lanes({"highway": "primary", "lanes": "3", "oneway": "yes"}), lanes({"highway": "primary", "lanes": "4"})
    ((3, None, False), (2, 2, False))
    >>> lanes({"highway": "primary", "lanes": "3", "lanes:forward": "2"}), lanes({"highway": "residential"})
    ((2, 1, False), (None, None, False))
    >>> lanes({"highway": "primary", "lanes": "3"}), lanes({"highway": "primary", "lanes": "3", "lanes:both_ways": "1"})
    ((1, 1, True), (1, 1, False))
    """
    along, against, _ = directions(tags)
    total = _count(tags, "lanes")
    if not (along and against):
        side = "forward" if along else "backward"
        own = _count(tags, f"lanes:{side}")
        own = total if own is None else own
        if own is not None:
            own = max(own - _reserved(tags, side, alone=True), 1)
        return (own, None, False) if along else (None, own, False)
    both = _count(tags, "lanes:both_ways") or 0
    sides = [_count(tags, "lanes:forward"), _count(tags, "lanes:backward")]
    shared = False
    if total is not None:
        for one, other in ((0, 1), (1, 0)):
            known = sides[one]
            if known is not None and sides[other] is None:
                sides[other] = max(total - both - known, 1)
        if sides == [None, None]:
            # A lane that is left over may belong to either direction; a single one is used by both in turn.
            sides = [max((total - both) // 2, 1)] * 2
            shared = (total - both) % 2 == 1 and total - both > 1
    of = [
        None if count is None else max(count - _reserved(tags, side, alone=False), 1)
        for count, side in zip(sides, ("forward", "backward"), strict=True)
    ]
    return of[0], of[1], shared


def arrows(tags: Tags, side: str) -> tuple[str, ...]:
    """Return what is painted on the lanes of a direction, from left to right; nothing when no tag says it.

    Examples
    --------
    >>> arrows({"highway": "primary", "oneway": "yes", "turn:lanes": "left|through|through;right"}, "forward")
    ('left', 'through', 'through;right')
    """
    along, against, _ = directions(tags)
    text = tags.get(f"turn:lanes:{side}")
    if text is None and not (along and against):
        text = tags.get("turn:lanes")
    return () if not text else tuple(part.strip().lower() for part in text.split("|"))
