"""Codec ``sensorthings``: observations of OGC SensorThings 1.1, on ``v1.1/Datastreams(<id>)/Observations``.

An observation bears a result, and says of what in its Datastream. Over MQTT that is usually named by the topic alone,
so a table ``streams`` of the topic rule tells sensor and quantity; a Datastream that comes with the observation
(``$expand``) tells them itself, by the name of its ObservedProperty and its unit.

Notes
-----
Source: OGC 18-088, SensorThings API Part 1: Sensing, Version 1.1 (2021), sections 8.2 (entities) and 14 (MQTT).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sensors.codecs.json_values import Collected, checked_sensor_id, ended_ms, load_object, short, unknown_quantity
from sensors.codecs.mapping import Mapped, mapped
from sensors.codecs.units import conversion, converted
from sensors.errors import PayloadError
from sensors.quantity import QUANTITIES
from sensors.reading import Reading, Reason, Rejected

_STREAM = re.compile(r"Datastreams\('?([^/()']{1,128})'?\)")
OPTIONS = ("streams",)


@dataclass(frozen=True, slots=True)
class Stream:
    """Whose and what the results of a Datastream are."""

    sensor_id: str
    field: Mapped


class SensorThings:
    """The decoder of one topic rule.

    Parameters
    ----------
    streams
        By Datastream id, as text.

    Examples
    --------
    >>> decode = SensorThings({"7": Stream("D1", Mapped("speed_kmh", 3.6))})
    >>> decode("v1.1/Datastreams(7)/Observations", b'{"phenomenonTime": "2014-08-01T00:00:00Z", "result": 10}')[0]
    [Reading(sensor_id='D1', quantity='speed_kmh', time_ms=1406851200000, value=36.0)]
    """

    def __init__(self, streams: Mapping[str, Stream] | None = None) -> None:
        self._streams = dict(streams or {})

    def __call__(self, topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        """Return the reading of one observation, or its rejected value.

        Raises
        ------
        PayloadError
            When nothing of the payload can be used, with the reason.
        """
        observation = load_object(payload)
        result = observation.get("result")
        if result is None:
            raise PayloadError(Reason.NO_VALUE, "result is missing or null")
        stream = self._stream(topic, observation)
        time = observation.get("phenomenonTime")
        instant = ended_ms(time if time is not None else observation.get("resultTime"))
        collected = Collected(topic, payload)
        value = converted(result, stream.field.factor, stream.field.offset)
        collected.values(stream.sensor_id, instant, {stream.field.quantity: value})
        return collected.readings, collected.rejected

    def _stream(self, topic: str, observation: Mapping[str, object]) -> Stream:
        inline = observation.get("Datastream")
        inline = inline if isinstance(inline, dict) else {}
        link = observation.get("Datastream@iot.navigationLink")
        found = _STREAM.search(topic) or _STREAM.search(link[:1000] if isinstance(link, str) else "")
        number = inline.get("@iot.id", found[1] if found else None)
        name = str(number)[:128] if isinstance(number, int | str) and not isinstance(number, bool) else ""
        if name in self._streams:
            return self._streams[name]
        described = inline.get("ObservedProperty")
        key = described.get("name") if isinstance(described, dict) else None
        if not isinstance(key, str):
            told = f"Datastream {short(number)}" if name else "no Datastream"
            raise PayloadError(Reason.UNKNOWN_QUANTITY, f"{told}: map it in [topic.streams]")
        if key not in QUANTITIES:
            raise unknown_quantity(key, name_nearest=True)
        unit = inline.get("unitOfMeasurement")
        factor, offset = conversion(key, unit.get("symbol") if isinstance(unit, dict) else None)
        thing = inline.get("Thing")
        owner = thing.get("name") if isinstance(thing, dict) else None
        sensor_id = owner if isinstance(owner, str) else f"datastream-{name}" if name else ""
        return Stream(checked_sensor_id(sensor_id), Mapped(key, factor, offset))


def configured(options: Mapping[str, object], *, where: str, faults: list[str]) -> SensorThings:
    """Return the decoder that the options of a topic rule describe; what is wrong adds to the faults."""
    streams: dict[str, Stream] = {}
    table = options.get("streams", {})
    if not isinstance(table, dict):
        faults.append(f"{where}: streams is {table!r}, must be a table of Datastream ids")
        return SensorThings()
    for name, entry in table.items():
        at = f"{where}: streams.{name}"
        if not isinstance(entry, dict) or not isinstance(entry.get("sensor"), str):
            faults.append(f"{at}: is {entry!r}, must be a table with sensor and quantity")
            continue
        try:
            sensor_id = checked_sensor_id(entry["sensor"])
        except PayloadError as error:
            faults.append(f"{at}: sensor: {error.detail}")
            continue
        field = mapped(entry, where=at, faults=faults, also=("sensor",))
        if field is not None:
            streams[name] = Stream(sensor_id, field)
    return SensorThings(streams)
