"""Payloads: which codec reads which topic, and how readings become a payload of ours.

A topic rule maps an MQTT topic filter to a codec; `decoder` makes of several rules the one function that ingest calls.
"""

import difflib
import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from sensors.codecs import CODECS, OPTIONS, Decoder, configured
from sensors.codecs.json_values import checked_sensor_id
from sensors.columns import Columns
from sensors.errors import InputError, PayloadError
from sensors.forms import FormReader
from sensors.quantity import QUANTITIES
from sensors.reading import Reading, Reason, Rejected
from sensors.toml import unknown_keys

CACHED_LETTERS = 512  # 65,536 longer topics would fill the memory

__all__ = ["CODECS", "DEFAULT_RULES", "Decoder", "PayloadDecoder", "TopicRule", "decoder", "encode", "matches"]


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

    Parameters
    ----------
    sensor
        What names the sensor instead of the codec: text with ``{n}`` for level n of the topic, counted from 1.
    sensors
        Our sensor id by the one that the codec, or ``sensor``, gives.
    options
        Keys that are the codec's own, as in the file.

    Raises
    ------
    InputError
        Every fault at once: of the filter, the codec, the sensor's name and the codec's options.

    Examples
    --------
    >>> TopicRule("city/#", "citytwin").codec
    'citytwin'
    """

    filter: str
    codec: str
    sensor: str = ""
    sensors: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults: list[str] = []
        levels = self.filter.split("/")
        if not self.filter or "\0" in self.filter:
            faults.append(f"topic filter {self.filter!r}: must have at least one character, none of them NUL")
        if "#" in levels[:-1] or any(len(level) > 1 and ("#" in level or "+" in level) for level in levels):
            faults.append(f"topic filter {self.filter!r}: '+' must be a whole level and '#' the whole last level")
        if self.codec not in CODECS:
            nearest = difflib.get_close_matches(self.codec, CODECS, n=1, cutoff=0.0)[0]
            faults.append(f"topic filter {self.filter!r}: unknown codec {self.codec!r}, the nearest is {nearest!r}")
        else:
            where = f"topic filter {self.filter!r}"
            faults += unknown_keys(self.options, OPTIONS.get(self.codec, ()), where=where)
            configured(self.codec, self.options, where=where, faults=faults)
        faults += self._naming_faults()
        if faults:
            raise InputError(faults)

    def _naming_faults(self) -> list[str]:
        where = f"topic filter {self.filter!r}"
        rest = _LEVEL.sub("", self.sensor)
        faults = []
        if self.sensor and ("{" in rest or "}" in rest or rest == self.sensor):
            faults.append(
                f"{where}: sensor is {self.sensor!r}, must have {{n}} for level n of the topic, n from 1 to 99"
            )
        for given, ours in self.sensors.items():
            try:
                checked_sensor_id(ours)
            except PayloadError as error:
                faults.append(f"{where}: sensors.{given}: {error.detail}")
        return faults

    def decoder(self) -> Decoder:
        """Return the function that reads the payloads of this rule."""
        codec = configured(self.codec, self.options, where=self.filter, faults=[])
        if not self.sensor and not self.sensors:
            return codec

        def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
            readings, rejected = codec(topic, payload)
            name = checked_sensor_id(_filled(self.sensor, topic)) if self.sensor else ""
            named = [(reading, name or reading.sensor_id) for reading in readings]
            return [
                msgspec.structs.replace(r, sensor_id=self.sensors.get(sensor, sensor)) for r, sensor in named
            ], rejected

        return decode


_LEVEL = re.compile(r"\{([1-9]\d?)\}")


def _filled(sensor: str, topic: str) -> str:
    levels = topic.split("/")

    def level(match: re.Match[str]) -> str:
        number = int(match[1])
        if number > len(levels):
            raise PayloadError(Reason.BAD_SENSOR_ID, f"the topic has {len(levels)} levels, its sensor needs {number}")
        return levels[number - 1]

    return _LEVEL.sub(level, sensor)


DEFAULT_RULES = (TopicRule("city/#", "citytwin"), TopicRule("/hfp/#", "hfp"))


class PayloadDecoder:
    """Reads any payload by the first rule whose filter matches its topic; made by `decoder`.

    Called with one topic and payload it returns readings and rejected values; its only exception is `PayloadError`: for
    a topic without a rule (UNMAPPED_TOPIC) and for payloads of which nothing can be used.
    """

    def __init__(self, rules: Sequence[TopicRule]) -> None:
        wanted = tuple((rule, rule.decoder()) for rule in rules)

        @functools.lru_cache(65_536)
        def rule_of(topic: str) -> tuple[TopicRule, Decoder] | None:
            return next((pair for pair in wanted if matches(pair[0].filter, topic)), None)

        self._rule_of = rule_of
        self._forms = FormReader(self, self._own_sensor)

    def __call__(self, topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        """Return the readings and the rejected values of one payload."""
        found = self._rule(topic)
        if found is None:
            raise PayloadError(Reason.UNMAPPED_TOPIC, "no topic rule matches, map it in city.toml")
        return found[1](topic, payload)

    def columns(self, topics: Sequence[str], payloads: Sequence[bytes]) -> Columns:
        """Return the readings of many payloads, each with its position, and what is rejected of them."""
        return self._forms.columns(topics, payloads)

    def _rule(self, topic: str) -> tuple[TopicRule, Decoder] | None:
        return self._rule_of(topic) if len(topic) <= CACHED_LETTERS else self._rule_of.__wrapped__(topic)

    def _own_sensor(self, topic: str) -> str | None:
        """Return the sensor of a topic whose payloads are of our own codec, with our own names; else None."""
        found = self._rule(topic)
        if found is None or found[0].codec != "citytwin" or found[0].sensor or found[0].sensors:
            return None
        try:
            return checked_sensor_id(topic.rpartition("/")[2])
        except PayloadError:
            return None


def decoder(rules: Sequence[TopicRule] = DEFAULT_RULES) -> PayloadDecoder:
    """Return what reads any payload by the first rule whose filter matches its topic.

    Examples
    --------
    >>> decode = decoder([TopicRule("city/#", "citytwin")])
    >>> decode("city/centre/D1", b'{"t": 0, "speed_kmh": 50}')[0][0].value
    50.0
    """
    return PayloadDecoder(rules)


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
