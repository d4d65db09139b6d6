"""Payloads: which codec reads which topic, and how readings become a payload of ours.

A topic rule maps an MQTT topic filter to a codec; `decoder` makes of several rules the one function that ingest calls.
"""

import difflib
import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from sensors.codecs import CODECS, Decoder
from sensors.errors import InputError, PayloadError
from sensors.quantity import QUANTITIES
from sensors.reading import Reading, Reason, Rejected

__all__ = ["CODECS", "DEFAULT_RULES", "Decoder", "TopicRule", "decoder", "encode", "matches"]


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether an MQTT topic filter matches a topic.

    Notes
    -----
    Source: OASIS, MQTT Version 3.1.1 (2014), section 4.7: ``#`` also matches the parent level, and a wildcard in the
    first level matches no topic that starts with ``$``.

    Examples
    --------
    >>> matches("city/+/D1", "city/old town/D1"), matches("/hfp/#", "/hfp"), matches("#", "$SYS/uptime")
    (True, True, False)
    """
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


@dataclass(frozen=True, slots=True)
class TopicRule:
    """One ``[[topic]]`` of ``config/city.toml``: payloads of the topics that match ``filter`` are read by ``codec``.

    Raises
    ------
    InputError
        When the filter is no MQTT topic filter or the codec is unknown.

    Examples
    --------
    >>> TopicRule("city/#", "citytwin").codec
    'citytwin'
    """

    filter: str
    codec: str

    def __post_init__(self) -> None:
        faults = []
        levels = self.filter.split("/")
        if not self.filter or "\0" in self.filter:
            faults.append(f"topic filter {self.filter!r}: must have at least one character, none of them NUL")
        if "#" in levels[:-1] or any(len(level) > 1 and ("#" in level or "+" in level) for level in levels):
            faults.append(f"topic filter {self.filter!r}: '+' must be a whole level and '#' the whole last level")
        if self.codec not in CODECS:
            nearest = difflib.get_close_matches(self.codec, CODECS, n=1, cutoff=0.0)[0]
            faults.append(f"topic filter {self.filter!r}: unknown codec {self.codec!r}, the nearest is {nearest!r}")
        if faults:
            raise InputError(faults)


DEFAULT_RULES = (TopicRule("city/#", "citytwin"), TopicRule("/hfp/#", "hfp"))


def decoder(rules: Sequence[TopicRule] = DEFAULT_RULES) -> Decoder:
    """Return the function that reads any payload by the first rule whose filter matches its topic.

    Its only exception is `PayloadError`: for a topic without a rule (UNMAPPED_TOPIC) and for payloads of which
    nothing can be used.

    Examples
    --------
    >>> decode = decoder([TopicRule("city/#", "citytwin")])
    >>> decode("city/centre/D1", b'{"t": 0, "speed_kmh": 50}')[0][0].value
    50.0
    """
    wanted = tuple(rules)

    @functools.lru_cache(65_536)
    def codec_of(topic: str) -> Decoder | None:
        return next((CODECS[rule.codec] for rule in wanted if matches(rule.filter, topic)), None)

    def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        codec = codec_of(topic)
        if codec is None:
            raise PayloadError(Reason.UNMAPPED_TOPIC, "no topic rule matches, map it in city.toml")
        return codec(topic, payload)

    return decode


_json = msgspec.json.Encoder()
_DIGITS = {key: round(math.log10(q.scale)) for key, q in QUANTITIES.items()}


def encode(readings: Iterable[Reading]) -> bytes:
    """Return the payload, codec ``citytwin``, that decodes to the given readings of one sensor.

    Values are rounded to the resolution at which they are stored.

    Raises
    ------
    ValueError
        When there is no reading, or they are of several sensors.

    Examples
    --------
    >>> encode([Reading("D1", "flow_veh_h", 60000, 840.0), Reading("D1", "speed_kmh", 60000, 31.5)])
    b'{"t":60000,"flow_veh_h":840.0,"speed_kmh":31.5}'
    """
    items: dict[int, dict[str, float]] = {}
    sensors = set()
    for reading in readings:
        sensors.add(reading.sensor_id)
        item = items.setdefault(reading.time_ms, {"t": reading.time_ms})
        item[reading.quantity] = round(reading.value, _DIGITS[reading.quantity])
    if len(sensors) != 1:
        raise ValueError(f"a payload holds readings of exactly one sensor, not of {len(sensors)}")
    if len(items) == 1:
        return _json.encode(next(iter(items.values())))
    return _json.encode({"readings": list(items.values())})
