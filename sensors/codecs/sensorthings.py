"""Codec ``sensorthings``: observations of OGC SensorThings 1.1, on ``v1.1/Datastreams(<id>)/Observations``.

An observation bears a result, and says of what in its Datastream. Over MQTT that is usually named by the topic alone,
so a table ``streams`` of the topic rule tells sensor and quantity; a Datastream that comes with the observation
(``$expand``) tells them itself, by the name of its ObservedProperty and its unit. The results of a MultiDatastream are
lists; ``multistreams`` tells what each element is. Many observations may come at once, as a data array
(`sensors.codecs.data_array`).

Notes
-----
Source: OGC 18-088, SensorThings API Part 1: Sensing, Version 1.1 (2021), sections 8.2 (entities) and 14 (MQTT).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sensors.codecs.data_array import is_data_array, observations
from sensors.codecs.json_values import Collected, checked_sensor_id, ended_ms, load_value, short, unknown_quantity
from sensors.codecs.mapping import Mapped, mapped
from sensors.codecs.units import conversion, converted
from sensors.errors import PayloadError
from sensors.quantity import QUANTITIES
from sensors.reading import Reading, Reason, Rejected

_STREAM = re.compile(r"(Multi)?Datastreams\('?([^/()']{1,128})'?\)")
OPTIONS = ("streams", "multistreams")


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
    multistreams
        By MultiDatastream id, as text: what each element of its results is.

    Examples
    --------
    >>> decode = SensorThings({"7": Stream("D1", Mapped("speed_kmh", 3.6))})
    >>> decode("v1.1/Datastreams(7)/Observations", b'{"phenomenonTime": "2014-08-01T00:00:00Z", "result": 10}')[0]
    [Reading(sensor_id='D1', quantity='speed_kmh', time_ms=1406851200000, value=36.0)]
    """

    def __init__(
        self,
        streams: Mapping[str, Stream] | None = None,
        *,
        multistreams: Mapping[str, Sequence[Stream]] | None = None,
    ) -> None:
        self._streams = dict(streams or {})
        self._multistreams = dict(multistreams or {})

    def __call__(self, topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        """Return the readings and the rejected values of one observation or of a data array.

        Raises
        ------
        PayloadError
            When nothing of the payload can be used, with the reason.
        """
        document = load_value(payload)
        collected = Collected(topic, payload)
        if not is_data_array(document):
            if not isinstance(document, dict):
                raise PayloadError(Reason.WRONG_SHAPE, f"is {short(document)}, must be an object")
            self._take(topic, document, collected)
            return collected.readings, collected.rejected
        for observation in observations(document):
            try:
                if isinstance(observation, PayloadError):
                    raise observation
                self._take(topic, observation, collected)
            except PayloadError as error:
                collected.reject(error, error.detail if observation is error else observation)
        if not collected.readings and not collected.rejected:
            raise PayloadError(Reason.NO_VALUE, "the data array has no rows")
        return collected.readings, collected.rejected

    def _take(self, topic: str, observation: Mapping[str, object], collected: Collected) -> None:
        result = observation.get("result")
        if result is None:
            raise PayloadError(Reason.NO_VALUE, "result is missing or null")
        multi = self._multistream(topic, observation)
        streams = multi if multi is not None else [self._stream(topic, observation)]
        results = [result] if multi is None else result
        if not isinstance(results, list) or len(results) != len(streams):
            raise PayloadError(Reason.WRONG_SHAPE, f"result is {short(result)}, must be a list of {len(streams)}")
        time = observation.get("phenomenonTime")
        instant = ended_ms(time if time is not None else observation.get("resultTime"))
        for stream, value in zip(streams, results, strict=True):
            value = converted(value, stream.field.factor, stream.field.offset)
            collected.values(stream.sensor_id, instant, {stream.field.quantity: value})

    def _multistream(self, topic: str, observation: Mapping[str, object]) -> Sequence[Stream] | None:
        """Return what the elements of a MultiDatastream's results are; None when the observation is of a Datastream."""
        inline = observation.get("MultiDatastream")
        link = observation.get("MultiDatastream@iot.navigationLink")
        found = _STREAM.search(topic) or _STREAM.search(link[:1000] if isinstance(link, str) else "")
        if not isinstance(inline, dict) and (found is None or not found[1]):
            return None
        number = inline.get("@iot.id") if isinstance(inline, dict) else None
        name = _name(number if number is not None else found[2] if found else None)
        if name not in self._multistreams:
            raise PayloadError(
                Reason.UNKNOWN_QUANTITY, f"MultiDatastream {short(name)}: map it in [topic.multistreams]"
            )
        return self._multistreams[name]

    def _stream(self, topic: str, observation: Mapping[str, object]) -> Stream:
        inline = observation.get("Datastream")
        inline = inline if isinstance(inline, dict) else {}
        link = observation.get("Datastream@iot.navigationLink")
        found = _STREAM.search(topic) or _STREAM.search(link[:1000] if isinstance(link, str) else "")
        number = inline.get("@iot.id", found[2] if found else None)
        name = _name(number)
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


def _name(number: object) -> str:
    return str(number)[:128] if isinstance(number, int | str) and not isinstance(number, bool) else ""


def configured(options: Mapping[str, object], *, where: str, faults: list[str]) -> SensorThings:
    """Return the decoder that the options of a topic rule describe; what is wrong adds to the faults."""
    streams: dict[str, Stream] = {}
    multistreams: dict[str, list[Stream]] = {}
    for name, entry in _table(options, "streams", where, faults).items():
        if (stream := _configured_stream(entry, where=f"{where}: streams.{name}", faults=faults)) is not None:
            streams[name] = stream
    for name, entries in _table(options, "multistreams", where, faults).items():
        at = f"{where}: multistreams.{name}"
        if not isinstance(entries, list) or not entries:
            faults.append(f"{at}: is {entries!r}, must be a list of tables with sensor and quantity")
            continue
        parts = [_configured_stream(e, where=f"{at}[{i}]", faults=faults) for i, e in enumerate(entries, 1)]
        multistreams[name] = [part for part in parts if part is not None]
    return SensorThings(streams, multistreams=multistreams)


def _table(options: Mapping[str, object], key: str, where: str, faults: list[str]) -> dict[str, object]:
    table = options.get(key, {})
    if isinstance(table, dict):
        return table
    faults.append(f"{where}: {key} is {table!r}, must be a table of {'Multi' * (key != 'streams')}Datastream ids")
    return {}


def _configured_stream(entry: object, *, where: str, faults: list[str]) -> Stream | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("sensor"), str):
        faults.append(f"{where}: is {entry!r}, must be a table with sensor and quantity")
        return None
    try:
        sensor_id = checked_sensor_id(entry["sensor"])
    except PayloadError as error:
        faults.append(f"{where}: sensor: {error.detail}")
        return None
    field = mapped(entry, where=where, faults=faults, also=("sensor",))
    return None if field is None else Stream(sensor_id, field)
