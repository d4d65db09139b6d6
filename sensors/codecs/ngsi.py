"""Codec ``ngsi``: entities of the Smart Data Models, as NGSI key-values, normalised (v2) or NGSI-LD.

An entity is a sensor, by its ``id``. A payload is one entity or a notification ``{"data": [entity, ...]}``. What a
model measures is mapped to our quantities below; what it measures and we have no quantity for is rejected by name, and
what only describes the entity is passed over.

Notes
-----
Source: https://smartdatamodels.org, dataModel.Transportation, .Environment, .Weather, .Parking, .Streetlighting
(attributes and default units); ETSI GS CIM 009 (2021), NGSI-LD API, section 4.5 (representations).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sensors.codecs.json_values import Collected, checked_sensor_id, ended_ms, load_object, short
from sensors.codecs.units import conversion, converted
from sensors.errors import PayloadError
from sensors.reading import Reading, Reason, Rejected

OPTIONS = ("ignore", "zone")


@dataclass(frozen=True, slots=True)
class Attribute:
    """What an attribute measures: our quantity, its unit when the payload names none, and whose of several parts."""

    quantity: str
    unit: str
    part: str = ""


_AIR = {
    "temperature": Attribute("temperature_c", "CEL"),
    "relativeHumidity": Attribute("humidity", "C62"),
    "windSpeed": Attribute("wind_speed_m_s", "MTS"),
}
_POLLUTANTS = {
    "pm25": Attribute("pm25_ug_m3", "GQ"),
    "pm2_5": Attribute("pm25_ug_m3", "GQ"),
    "pm10": Attribute("pm10_ug_m3", "GQ"),
    "no2": Attribute("no2_ug_m3", "GQ"),
    "so2": Attribute("so2_ug_m3", "GQ"),
    "o3": Attribute("o3_ug_m3", "GQ"),
    "co": Attribute("co_mg_m3", "GP"),
}
# A share of parked cars is no occupancy of a detector, so that of a car park is not taken over.
_PARKING = {
    "occupiedSpotNumber": Attribute("parked_veh", "C62"),
    "totalSpotNumber": Attribute("spaces_veh", "C62"),
}
MODELS: dict[str, dict[str, Attribute]] = {
    "TrafficFlowObserved": {
        "intensity": Attribute("count_veh", "C62"),  # vehicles in the observed period
        "averageVehicleSpeed": Attribute("speed_kmh", "KMH"),
        "occupancy": Attribute("occupancy", "C62"),
    },
    "AirQualityObserved": _AIR | _POLLUTANTS,
    "WeatherObserved": _AIR,
    "OffStreetParking": _PARKING,
    "OnStreetParking": _PARKING,
    "ParkingGroup": _PARKING,
    "Streetlight": {
        "powerConsumption": Attribute("power_w", "WTT"),
        "voltage": Attribute("voltage_v", "VLT"),
        "current": Attribute("current_a", "AMP"),
    },
    "StreetlightControlCabinet": {
        f"intensity{phase}": Attribute("current_a", "AMP", f"-{phase}") for phase in ("R", "S", "T")
    },
}
# Measured by these models, and no quantity of ours.
UNREAD = {
    "TrafficFlowObserved": {"averageHeadwayTime", "averageGapDistance", "averageVehicleLength"},
    "AirQualityObserved": {"no", "nox", "co2", "pm1", "pm4", "nh3", "h2s", "c6h6", "tpc", "tsp", "precipitation"},
    "WeatherObserved": {"precipitation", "atmosphericPressure", "solarRadiation", "illuminance", "dewPoint"},
    "StreetlightControlCabinet": {"reactivePowerR", "reactivePowerS", "reactivePowerT", "energyConsumed"},
}
# The first that is there is the end of the measured interval; what a context broker sets itself comes last.
TIMES = ("dateObservedTo", "dateObserved", "observationDateTime", "occupancyModified", "TimeInstant", "dateModified")


class Ngsi:
    """The decoder of one topic rule.

    Parameters
    ----------
    ignore
        Attributes that are neither read nor rejected.
    zone
        Of times that name none; without it they are rejected.

    Examples
    --------
    >>> readings, rejected = Ngsi()("t", b'{"id": "T1", "type": "TrafficFlowObserved", "occupancy": {"value": 7, '
    ...     b'"unitCode": "P1"}, "dateObserved": "2014-07-31T23:55:00Z/2014-08-01T00:00:00Z", "averageHeadwayTime": 1}')
    >>> readings[0].value, rejected[0].detail
    (0.07, "'averageHeadwayTime' of TrafficFlowObserved is no quantity here")
    """

    def __init__(self, ignore: frozenset[str] = frozenset(), *, zone: tzinfo | None = None) -> None:
        self._ignore = ignore
        self._zone = zone

    def __call__(self, topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        """Return the readings and the rejected values of all entities of one payload.

        Raises
        ------
        PayloadError
            When nothing of the payload can be used, with the reason.
        """
        root = load_object(payload)
        collected = Collected(topic, payload)
        kind = root.get("type")
        if "data" not in root or (isinstance(kind, str) and kind in MODELS):
            self._take(root, collected)
            return collected.readings, collected.rejected
        entities = root["data"]
        if not isinstance(entities, list):
            raise PayloadError(Reason.WRONG_SHAPE, f"data is {short(entities)}, must be a list of entities")
        if not entities:
            raise PayloadError(Reason.NO_VALUE, "data is empty")
        for entity in entities:
            try:
                if not isinstance(entity, dict):
                    raise PayloadError(Reason.WRONG_SHAPE, f"an entity is {short(entity)}, must be an object")
                self._take(entity, collected)
            except PayloadError as error:
                collected.reject(error, entity)
        return collected.readings, collected.rejected

    def _take(self, entity: dict[str, object], collected: Collected) -> None:
        kind, name = entity.get("type"), entity.get("id")
        if not isinstance(kind, str) or kind not in MODELS:
            told = ", ".join(list(MODELS)[:3])
            raise PayloadError(Reason.WRONG_SHAPE, f"type is {short(kind)}, must be a model such as {told}")
        sensor_id = checked_sensor_id(name if isinstance(name, str) else "")
        known, unread = MODELS[kind], UNREAD.get(kind, set())
        measured = {
            key: plain
            for key, value in entity.items()
            if (key in known or key in unread) and key not in self._ignore and (plain := _plain(value)) is not None
        }
        if "occupiedSpotNumber" in known and "occupiedSpotNumber" not in measured:
            measured |= _occupied(entity)
        if not measured:
            raise PayloadError(Reason.NO_VALUE, f"{kind} holds no measured value that is not null")
        instant = _time_ms(entity, self._zone)
        for key, value in measured.items():
            if key in unread:
                detail = f"{key!r} of {kind} is no quantity here"
                collected.reject(PayloadError(Reason.UNKNOWN_QUANTITY, detail), entity)
                continue
            attribute = known[key]
            try:
                unit = _unit(entity.get(key))
                factor, offset = conversion(attribute.quantity, attribute.unit if unit is None else unit)
                part_id = checked_sensor_id(sensor_id + attribute.part)
            except PayloadError as error:
                collected.reject(PayloadError(error.reason, f"{key}: {error.detail}"), entity)
                continue
            collected.values(part_id, instant, {attribute.quantity: converted(value, factor, offset)}, part=entity)


def _plain(value: object) -> object:
    """Return the value of an attribute, key-value or normalised."""
    return value.get("value") if isinstance(value, dict) and "value" in value else value


def _unit(value: object) -> object:
    """Return the unit that a normalised attribute names: a member in NGSI-LD, metadata in NGSI v2."""
    if not isinstance(value, dict):
        return None
    if value.get("unitCode") is not None:
        return value["unitCode"]
    metadata = value.get("metadata")
    return _plain(metadata.get("unitCode")) if isinstance(metadata, dict) else None


def _occupied(entity: Mapping[str, object]) -> dict[str, object]:
    total, free = _plain(entity.get("totalSpotNumber")), _plain(entity.get("availableSpotNumber"))
    return {"occupiedSpotNumber": total - free} if type(total) is int and type(free) is int else {}


def _time_ms(entity: Mapping[str, object], zone: tzinfo | None) -> int:
    for key in TIMES:
        value = _plain(entity.get(key))
        if isinstance(value, dict):  # NGSI-LD writes {"@value": ..., "@type": "DateTime"}
            value = value.get("@value")
        if value is not None:
            return ended_ms(value, zone=zone)
    for value in entity.values():
        if isinstance(value, dict) and isinstance(value.get("observedAt"), str):
            return ended_ms(value["observedAt"], zone=zone)
    raise PayloadError(Reason.NO_TIME, f"none of {', '.join(TIMES[:3])} is given")


def configured(options: Mapping[str, object], *, where: str, faults: list[str]) -> Ngsi:
    """Return the decoder that the options of a topic rule describe; what is wrong adds to the faults."""
    ignore = options.get("ignore", [])
    if not isinstance(ignore, list) or not all(isinstance(name, str) for name in ignore):
        faults.append(f"{where}: ignore is {ignore!r}, must be a list of attribute names")
        return Ngsi()
    zone, name = None, options.get("zone")
    if name is not None:
        try:
            zone = ZoneInfo(name if isinstance(name, str) else "")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            faults.append(f"{where}: zone is {name!r}, must be an IANA zone such as 'Europe/Madrid'")
    return Ngsi(frozenset(ignore), zone=zone)
