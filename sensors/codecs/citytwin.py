"""Codec ``citytwin``: our payloads ``{"t": ..., "<quantity>_<unit>": number}`` on ``city/<district>/<sensor_id>``."""

import functools

from sensors.codecs.json_values import (
    FIRST_MS,
    LAST_MS,
    Collected,
    checked_sensor_id,
    load_object,
    plain_readings,
    short,
    time_ms,
)
from sensors.errors import PayloadError
from sensors.reading import Reading, Reason, Rejected

CACHED_LETTERS = 512  # 65,536 longer topics would fill the memory


def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
    """Return the readings and the rejected values of one payload.

    ``t`` is the end of the measured interval; a reading of ``"readings": [...]`` without a ``t`` of its own has that
    of the payload. A bad value rejects only itself, a bad time its object.

    Raises
    ------
    PayloadError
        When nothing of the payload can be used, with the reason.

    Examples
    --------
    >>> readings, rejected = decode("city/centre/D1", b'{"t": 1406851200000, "flow_veh_h": 840, "speed": 31}')
    >>> readings
    [Reading(sensor_id='D1', quantity='flow_veh_h', time_ms=1406851200000, value=840.0)]
    >>> rejected[0].reason.value, rejected[0].detail
    ('unknown_quantity', "'speed' is no quantity, the nearest known is 'speed_kmh'")
    """
    sensor_id = _sensor_id(topic) if len(topic) <= CACHED_LETTERS else _sensor_id.__wrapped__(topic)
    root = load_object(payload)
    instant = root.get("t")
    if type(instant) is int and FIRST_MS <= instant <= LAST_MS:
        readings = plain_readings(sensor_id, instant, root)
        if readings:
            return readings, []
    collected = Collected(topic, payload)
    if "readings" in root:
        _take_list(root, sensor_id, collected)
    else:
        _take(root, None, sensor_id, collected)
    return collected.readings, collected.rejected


@functools.lru_cache(65_536)
def _sensor_id(topic: str) -> str:
    return checked_sensor_id(topic.rpartition("/")[2])


def _take(item: dict[str, object], default_time: object, sensor_id: str, collected: Collected) -> None:
    instant = item.pop("t", None)
    if instant is None:
        instant = default_time
    if all(value is None for value in item.values()):
        raise PayloadError(Reason.NO_VALUE, "holds no value that is not null")
    if instant is None:
        raise PayloadError(Reason.NO_TIME, "t is missing, must be epoch milliseconds or RFC 3339 with a zone")
    collected.values(sensor_id, time_ms(instant), item)


def _take_list(root: dict[str, object], sensor_id: str, collected: Collected) -> None:
    items = root.pop("readings")
    if not isinstance(items, list):
        raise PayloadError(Reason.WRONG_SHAPE, f"readings is {short(items)}, must be a list of objects")
    default_time = root.pop("t", None)
    beside = any(value is not None for value in root.values())
    if not items and not beside:
        raise PayloadError(Reason.NO_VALUE, "readings is empty")
    for item in [root, *items] if beside else items:
        if type(item) is dict:  # the common case, without the steps that a fault needs
            instant = item.get("t", default_time)
            if type(instant) is int and FIRST_MS <= instant <= LAST_MS:
                readings = plain_readings(sensor_id, instant, item)
                if readings:
                    collected.readings += readings
                    continue
        try:
            if not isinstance(item, dict):
                raise PayloadError(Reason.WRONG_SHAPE, f"a reading is {short(item)}, must be an object")
            _take(dict(item), default_time, sensor_id, collected)
        except PayloadError as error:
            collected.reject(error, item)
