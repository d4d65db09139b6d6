"""Descriptions of devices as assets and sensors: OGC SensorThings ``Thing``s, NGSI entities such as ``Device``.

A file holds one description, a list, a collection (``{"value": [...]}``) or a notification (``{"data": [...]}``). What
measures something that we have a quantity for becomes a sensor on the nearest link; what needs another described one
(a lamp its cabinet or feeder, a device the one that it is told to hang on) becomes a dependency.

Notes
-----
Source: OGC 18-088, SensorThings API Part 1: Sensing, Version 1.1 (2021), section 8.2; https://smartdatamodels.org,
dataModel.Device and dataModel.Streetlighting.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensors import QUANTITIES, InputError
from sensors.codecs.ngsi import MODELS
from twin.importers.source import read_text
from twin.matching import Streets
from twin.network import Network

Row = Mapping[str, object]

WITHIN_M = 40.0
INTERVAL_S = 300.0  # assumed where nothing says how often a device reports
ID_CHARACTERS = re.compile(r"[\x00-\x1f\x7f/+#]")  # a sensor id is a level of a topic
KINDS = {
    "Streetlight": "lamp", "StreetlightControlCabinet": "cabinet", "StreetlightFeeder": "feeder",
    "TrafficFlowObserved": "detector", "AirQualityObserved": "air_station", "WeatherObserved": "weather_station",
    "OffStreetParking": "parking", "OnStreetParking": "parking", "ParkingGroup": "parking",
}  # fmt: skip
# Of an NGSI Device, in lower case without signs; our own keys are known too.
PROPERTIES = {
    "trafficflow": "flow_veh_h", "intensity": "count_veh", "vehiclecount": "count_veh", "speed": "speed_kmh",
    "averagevehiclespeed": "speed_kmh", "movingvehicles": "count_veh", "occupancy": "occupancy",
    "traveltime": "travel_time_s", "temperature": "temperature_c", "humidity": "humidity",
    "relativehumidity": "humidity", "windspeed": "wind_speed_m_s", "precipitation": "rain_mm_h", "pm25": "pm25_ug_m3",
    "pm10": "pm10_ug_m3", "no2": "no2_ug_m3", "so2": "so2_ug_m3", "o3": "o3_ug_m3", "co": "co_mg_m3",
    "voltage": "voltage_v", "current": "current_a", "powerconsumption": "power_w", "batterylevel": "battery",
}  # fmt: skip
ROAD = frozenset({"flow_veh_h", "count_veh", "speed_kmh", "occupancy", "travel_time_s", "density_veh_km", "queue_veh"})
# Attributes of NGSI entities, and properties of Things, that name what an entity hangs on.
HANGS_ON = {
    "powerSupply": "power", "refPowerSupply": "power", "poweredBy": "power", "refStreetlightFeeder": "power",
    "feederID": "power", "refStreetlightControlCabinet": "control", "controlledBy": "control",
    "refController": "control",
    "gateway": "comms", "refGateway": "comms", "mountedOn": "structure", "depends_on": "power",
}  # fmt: skip


@dataclass(slots=True)
class Thing:
    """One description, whichever form it came in."""

    name: str
    kind: str
    called: str = ""
    place: tuple[float, float] | None = None
    quantities: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    interval_s: float | None = None
    heading: float = math.nan
    owner: str = ""
    hangs_on: list[tuple[str, str]] = field(default_factory=list)  # (kind, name of the other)
    groups: list[str] = field(default_factory=list)


def read(source: Path, network: Network) -> tuple[list[Row], list[Row], list[Row], list[str]]:
    """Return rows of ``asset.csv``, ``dependency.csv`` and ``sensor.csv`` for a file, and what is to be known.

    Raises
    ------
    InputError
        With every description that cannot be used.
    """
    if not source.is_file():
        raise InputError(f"{source}: there is no such file")
    faults: list[str] = []
    things: dict[str, Thing] = {}
    for number, entity in enumerate(_entities(source), 1):
        thing = _thing(entity, f"{source.name}: description {number}", faults)
        if thing is not None and thing.name in things:
            faults.append(f"{source.name}: description {number}: {thing.name!r} is described twice")
        elif thing is not None:
            things[thing.name] = thing
    taken = {*network.assets.assets, *(sensor.sensor_id for sensor in network.sensors)}
    faults += [f"{source.name}: {name!r}: the network has an asset or sensor of this name" for name in things
               if name in taken]  # fmt: skip
    if not things and not faults:
        faults.append(f"{source.name}: describes nothing")
    if faults:
        raise InputError(faults)
    return _rows(source.name, list(things.values()), network)


def _entities(source: Path) -> Iterator[object]:
    """Yield the descriptions of a file."""
    text = read_text(source)
    try:
        document = json.loads(text)
    except RecursionError:
        raise InputError(f"{source}: its lists or objects are nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{source}: is not JSON: {str(error)[:200]}") from None
    if isinstance(document, dict):
        for key in ("value", "data"):
            if isinstance(document.get(key), list):
                document = document[key]
                break
    yield from document if isinstance(document, list) else [document]


def _thing(entity: object, where: str, faults: list[str]) -> Thing | None:
    if not isinstance(entity, dict):
        faults.append(f"{where}: is {str(entity)[:40]!r}, must be an object")
        return None
    if "Datastreams" in entity or "Locations" in entity or ("@iot.id" in entity and "type" not in entity):
        thing = _sensorthing(entity)
    elif isinstance(entity.get("type"), str) and isinstance(entity.get("id"), str):
        thing = _ngsi(entity)
    else:
        faults.append(f"{where}: is no SensorThings Thing (@iot.id, Locations) and no NGSI entity (id, type)")
        return None
    if not thing.name or len(thing.name) > 255 or (ID_CHARACTERS.search(thing.name) and thing.quantities):
        faults.append(f"{where}: its name is {thing.name[:60]!r}, must be 1 to 255 characters without / + #")
        return None
    return thing


# --- SensorThings -----------------------------------------------------------------------------------------------------


def _sensorthing(entity: Mapping[str, Any]) -> Thing:
    properties = entity.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    name = str(entity.get("name") or entity.get("@iot.id") or "")
    thing = Thing(
        name,
        str(properties.get("kind") or properties.get("type") or "thing").lower(),
        str(entity.get("description") or ""),
    )
    locations = entity.get("Locations")
    for location in locations if isinstance(locations, list) else [locations]:
        if thing.place is None and isinstance(location, dict):
            thing.place = _point(location.get("location"))
    for stream in entity.get("Datastreams") or ():
        if not isinstance(stream, dict):
            continue
        observed = stream.get("ObservedProperty")
        _measures(thing, str(observed.get("name")) if isinstance(observed, dict) else str(stream.get("name")))
        if thing.place is None:
            thing.place = _point(stream.get("observedArea"))
    _rest(thing, properties)
    return thing


# --- NGSI -------------------------------------------------------------------------------------------------------------


def _ngsi(entity: Mapping[str, Any]) -> Thing:
    plain = {key: _plain(value) for key, value in entity.items()}
    model = str(entity["type"]).rsplit("/", 1)[-1]
    thing = Thing(str(entity["id"]), KINDS.get(model, ""), place=_point(plain.get("location")))
    thing.called = str(plain.get("name") or plain.get("description") or "")
    for attribute, known in MODELS.get(model, {}).items():
        if attribute in plain and not known.part and known.quantity not in thing.quantities:
            thing.quantities.append(known.quantity)
    if "controlledProperty" in plain:
        for name in _texts(plain["controlledProperty"]):
            _measures(thing, name)
    if not thing.kind:
        thing.kind = _device_kind(plain, thing) if model == "Device" else model.lower()
    thing.groups = _texts(plain.get("refStreetlightGroup"))
    _rest(thing, plain)
    info = plain.get("deviceInfo")
    if model == "StreetlightFeeder" and isinstance(info, dict):
        thing.groups += [f"feeder {info[key]}" for key in ("deviceName", "deviceId") if info.get(key)]
    return thing


def _device_kind(plain: Mapping[str, Any], thing: Thing) -> str:
    """Return what a Device is: by what it measures, else by its category."""
    if ROAD & set(thing.quantities):
        return "detector"
    if any(key.endswith("_m3") for key in thing.quantities):
        return "air_station"
    return next(iter(_texts(plain.get("category"))), "device").lower()


def _plain(value: object) -> Any:
    """Return the value of an attribute: key-value, normalised (v2) or NGSI-LD, relationships too."""
    if isinstance(value, dict) and "type" in value:
        return value.get("value", value.get("object", value))
    return value


def _texts(value: object) -> list[str]:
    return [str(each) for each in (value if isinstance(value, list) else [value]) if each not in (None, "")]


# --- both -------------------------------------------------------------------------------------------------------------


def _measures(thing: Thing, name: str) -> None:
    key = name if name in QUANTITIES else PROPERTIES.get(re.sub(r"[^a-z0-9]", "", name.lower()), "")
    if key and key not in thing.quantities:
        thing.quantities.append(key)
    elif not key:
        thing.unknown.append(name)


def _rest(thing: Thing, told: Mapping[str, Any]) -> None:
    for key in ("owner", "provider", "refOwner"):
        if owner := _texts(told.get(key)):
            thing.owner = thing.owner or owner[0]
    for key, kind in HANGS_ON.items():
        thing.hangs_on += [(kind, name) for name in _texts(told.get(key)) if not isinstance(told.get(key), dict)]
    for key in ("interval_s", "reportingInterval", "heading", "direction"):
        try:
            number = float(told[key])
        except (KeyError, TypeError, ValueError):
            continue
        if key in ("heading", "direction"):
            thing.heading = number if abs(number) <= 360 else math.nan
        elif number > 0 and math.isfinite(number):
            thing.interval_s = number


def _point(shape: object) -> tuple[float, float] | None:
    """Return longitude and latitude of GeoJSON: a point, the middle of a line, the mean of a polygon's corners."""
    if isinstance(shape, dict) and shape.get("type") == "Feature":
        shape = shape.get("geometry")
    if not isinstance(shape, dict):
        return None
    try:
        points = np.array(shape.get("coordinates"), float)
    except (TypeError, ValueError):
        return None
    if points.ndim < 1 or points.shape[-1] < 2 or not np.isfinite(points).all():
        return None
    points = points.reshape(-1, points.shape[-1])[:, :2]
    lon, lat = (points[len(points) // 2] if shape.get("type") == "LineString" else points.mean(axis=0)).tolist()
    return (lon, lat) if abs(lon) <= 180 and abs(lat) <= 90 else None


def _rows(file: str, things: list[Thing], network: Network) -> tuple[list[Row], list[Row], list[Row], list[str]]:
    placed = [thing for thing in things if thing.place is not None]
    at: dict[str, tuple[int, float]] = {}
    if placed:
        found = Streets(network).match(
            np.array([thing.place for thing in placed], float),
            np.array([thing.heading for thing in placed]),
            within_m=WITHIN_M,
        )
        at = {
            t.name: (int(k), float(m)) for t, k, m in zip(placed, found.link, found.position_m, strict=True) if k >= 0
        }
    assets: list[Row] = []
    sensors: list[Row] = []
    for thing in things:
        x, y = thing.place or ("", "")
        link, metres = at.get(thing.name, (-1, 0.0))
        on_road = link >= 0 and (bool(ROAD & set(thing.quantities)) or thing.kind in ("lamp", "camera"))
        link_id = network.links.ids[link] if on_road else ""
        assets.append({"asset_id": thing.name, "kind": thing.kind, "name": thing.called, "x_coord": x, "y_coord": y,
                       "link_id": link_id, "owner": thing.owner})  # fmt: skip
        if thing.quantities:
            length = float(network.links.length[link]) if link_id else 0.0
            sensors.append({
                "sensor_id": thing.name, "kind": thing.kind, "quantities": ";".join(thing.quantities),
                "link_id": link_id, "position_m": round(min(metres, length), 1) if link_id else "",
                "interval_s": thing.interval_s or INTERVAL_S, "owner": thing.owner, "asset_id": thing.name,
                "x_coord": x, "y_coord": y,
                "assumed": ";".join(w for w, told in (("link_id", not link_id), ("interval_s", thing.interval_s))
                                    if not told),
            })  # fmt: skip
    dependencies, lost = _dependencies(things, network)
    return assets, dependencies, sensors, _notes(file, things, sensors, dependencies, lost, network)


def _dependencies(things: list[Thing], network: Network) -> tuple[list[Row], list[str]]:
    """Return who hangs on whom, and the names that nobody bears."""
    known = {*network.assets.assets, *(thing.name for thing in things)}
    heads: dict[str, list[str]] = {}
    for thing in things:
        if thing.kind in ("cabinet", "feeder"):
            for group in thing.groups:
                heads.setdefault(group, []).append(thing.name)
    rows: dict[tuple[str, str], Row] = {}
    lost: list[str] = []
    for thing in things:
        for kind, other in thing.hangs_on:
            names = [other] if other in known else heads.get(f"feeder {other}", [])
            lost += [] if names else [other]
            for name in names:
                rows.setdefault((thing.name, name), {"asset_id": thing.name, "depends_on": name, "kind": kind})
        for group in thing.groups if thing.kind not in ("cabinet", "feeder") else ():
            for name in heads.get(group, ()):
                # A group of lamps is switched and fed by its cabinet.
                rows.setdefault((thing.name, name), {"asset_id": thing.name, "depends_on": name, "kind": "power"})
    return [row for (a, b), row in rows.items() if a != b], lost


def _notes(
    file: str, things: list[Thing], sensors: list[Row], dependencies: list[Row], lost: list[str], network: Network
) -> list[str]:
    n_road = sum(bool(row["link_id"]) for row in sensors)
    notes = [f"{file}: {len(things):,} descriptions became assets, {len(sensors):,} of them sensors, {n_road:,} on the "
             f"nearest link within {WITHIN_M:g} m (assumed), with {len(dependencies):,} dependencies"]  # fmt: skip

    def told(names: list[str]) -> str:
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    away = [str(row["sensor_id"]) for row in sensors
            if not row["link_id"] and ROAD & set(str(row["quantities"]).split(";"))]  # fmt: skip
    nowhere = [thing.name for thing in things if thing.place is None]
    unknown = sorted({name for thing in things for name in thing.unknown})
    for names, text in (
        (away, "measure traffic and have no link near: they say nothing of a road"),
        (nowhere, "have no place"),
        (unknown, "are measured and no quantity here: they are left out"),
        (sorted(set(lost)), "are named as supply and described nowhere"),
    ):
        if names:
            notes.append(f"{file}: {len(names):,} {text}: {told(names)}")
    return notes
