"""Codec ``hfp``: high-frequency positioning of Helsinki's public transport (HSL), version 1 and 2.

A vehicle is a sensor: its id is ``<operator>-<vehicle>``, for example ``0018-00640``, from the topic, because the
operator in the payload is often null and otherwise the one that runs the trip, not the one that numbers the vehicle.

Notes
-----
Source: HSL, High-frequency positioning, https://digitransit.fi/en/developers/apis/5-realtime-api/vehicle-positions/
(topic levels, units: ``spd`` m/s, ``hdg`` degrees clockwise from north, ``tst`` UTC).
"""

from sensors.codecs.json_values import Collected, checked_sensor_id, load_object, short, time_ms
from sensors.errors import PayloadError
from sensors.reading import Reading, Reason, Rejected

# Place of the operator after "hfp": version, journey type, temporal type, [event type,] transport mode, operator.
_OPERATOR_LEVEL = {"v1": 5, "v2": 6}


def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
    """Return the readings (speed, heading, longitude, latitude, passengers) and rejected values of one message.

    A position needs both of its coordinates. Without it, speed and heading are still readings and the position is
    rejected as NO_POSITION; a message without any value is rejected whole.

    Raises
    ------
    PayloadError
        When nothing of the message can be used, with the reason.

    Examples
    --------
    >>> readings, rejected = decode("/hfp/v1/deadrun/ongoing/bus/0018/00640",
    ...     b'{"VP":{"tst":"2018-10-09T04:32:52Z","spd":10,"hdg":null,"lat":60.1,"long":24.9}}')
    >>> [(r.quantity, r.value) for r in readings]
    [('speed_kmh', 36.0), ('longitude_deg', 24.9), ('latitude_deg', 60.1)]
    >>> readings[0].sensor_id
    '0018-00640'
    """
    event = _event(load_object(payload))
    sensor_id = _sensor_id(topic, event)
    instant = _time_ms(event)
    speed, longitude, latitude = event.get("spd"), event.get("long"), event.get("lat")
    if type(speed) is float or type(speed) is int:
        speed = _kmh(speed)
    located = longitude is not None and latitude is not None
    values: dict[str, object] = {"speed_kmh": speed, "heading_deg": event.get("hdg"), "passengers": _passengers(event)}
    if located:
        values |= {"longitude_deg": longitude, "latitude_deg": latitude}
    no_position = PayloadError(Reason.NO_POSITION, f"long is {short(longitude)}, lat is {short(latitude)}")
    if not located and all(value is None for value in values.values()):
        raise no_position
    collected = Collected(topic, payload)
    collected.values(sensor_id, instant, values)
    if not located:
        collected.reject(no_position, {"tst": event.get("tst"), "long": longitude, "lat": latitude})
    return collected.readings, collected.rejected


def _kmh(speed_m_s: int | float) -> object:
    try:
        return speed_m_s * 3.6
    except OverflowError:  # an integer too large for a float is rejected as it came
        return speed_m_s


def _event(root: dict[str, object]) -> dict[str, object]:
    for value in root.values():  # {"VP": {...}}, {"PAS": {...}}, ...: one event a message
        if isinstance(value, dict):
            return value
    raise PayloadError(Reason.WRONG_SHAPE, 'holds no event object, must be for example {"VP": {...}}')


def _sensor_id(topic: str, event: dict[str, object]) -> str:
    levels = topic.removeprefix("/").split("/")
    at = _OPERATOR_LEVEL.get(levels[1]) if len(levels) > 1 and levels[0] == "hfp" else None
    if at is not None and at + 1 < len(levels):
        operator, vehicle = levels[at], levels[at + 1]
    else:  # republished under another topic
        operator, vehicle = _padded(event.get("oper"), 4), _padded(event.get("veh"), 5)
    if not operator or not vehicle:
        raise PayloadError(Reason.BAD_SENSOR_ID, "neither the topic nor oper and veh name the vehicle")
    return checked_sensor_id(f"{operator}-{vehicle}")


def _padded(value: object, width: int) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
        return f"{value:0{width}d}"
    return value if isinstance(value, str) else ""


def _time_ms(event: dict[str, object]) -> int:
    text, seconds = event.get("tst"), event.get("tsi")
    if text is not None:
        return time_ms(text)
    if seconds is None:
        raise PayloadError(Reason.NO_TIME, "tst and tsi are missing")
    if isinstance(seconds, int) and not isinstance(seconds, bool):
        return time_ms(seconds * 1000)
    raise PayloadError(Reason.BAD_TIME, f"tsi is {short(seconds)}, must be whole seconds since 1970")


def _passengers(event: dict[str, object]) -> object:
    counts = event.get("vehiclecounts")  # event APC, automatic passenger counting
    return counts.get("vehicleload") if isinstance(counts, dict) else None
