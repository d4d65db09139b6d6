"""Places: zones, stations and points of the city where weather, air, parking, public transport and events are measured.

A place is a sensor that measures something other than traffic, and where it stands: where the table of sensors puts it,
or where its own newest readings say that it is.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

from hub.show import number, stamp
from sensors import QUANTITIES
from twin import Network, Snapshot

Theme = Literal["weather", "air", "parking", "transit", "event"]
THEMES: dict[Theme, tuple[str, ...]] = {
    "weather": ("temperature_c", "rain_mm_h", "wind_speed_m_s", "humidity"),
    "air": ("pm25_ug_m3", "pm10_ug_m3", "no2_ug_m3", "o3_ug_m3", "so2_ug_m3", "co_mg_m3"),
    "parking": ("parked_veh", "spaces_veh"),
    "transit": ("crowding", "headway_s", "passengers"),
    "event": ("events",),
}
THEME_OF: dict[str, Theme] = {key: theme for theme, keys in THEMES.items() for key in keys}
# From which value on something is raised, and from which on high. Sources: rain, AMS Glossary of Meteorology (moderate
# from 2.5, heavy from 7.6 mm/h); wind, Beaufort 6 and 8; heat, China Meteorological Administration (yellow from 35,
# red from 40 degrees); air, HJ 633-2012 (China's index): the upper ends of "good" and of "lightly polluted", of O3 and
# NO2, SO2, CO by the hour, of particles by the day. Crowding and car parks: customary in operation, an assumption.
LEVELS: dict[str, tuple[float, float]] = {
    "rain_mm_h": (2.5, 7.6),
    "wind_speed_m_s": (10.8, 17.2),
    "temperature_c": (35.0, 40.0),
    "pm25_ug_m3": (75.0, 115.0),
    "pm10_ug_m3": (150.0, 250.0),
    "no2_ug_m3": (200.0, 700.0),
    "o3_ug_m3": (200.0, 300.0),
    "so2_ug_m3": (500.0, 650.0),
    "co_mg_m3": (10.0, 35.0),
    "crowding": (0.8, 1.0),
    "headway_s": (600.0, 1200.0),
    "events": (1.0, math.inf),
}
FULL_SHARE = (0.85, 0.95)
FROST_C = 0.0  # a road may be icy: raised
# Of a sensor that no table names the last word is shown for so long: it may have left, or be another city's.
STRANGER_S = 3 * 3600.0
STATION_KINDS = ("station", "stop", "weather_station", "air_station", "metro_station", "bus_stop")


class Places:
    """The places of one network; where they are is found once.

    Parameters
    ----------
    network
        Has the table of sensors, zones and equipment.
    """

    def __init__(self, network: Network) -> None:
        self._sensors = {sensor.sensor_id: sensor for sensor in network.sensors}
        self._point = {
            sensor.sensor_id: point
            for sensor in network.sensors
            if not THEME_OF.keys().isdisjoint(sensor.quantities) and (point := network.sensor_point(sensor)) is not None
        }
        self._zone_names = {row.get("zone_id", ""): row for row in network.tables["zone"].rows}

    def rows(
        self,
        snapshot: Snapshot,
        *,
        theme: str | None = None,
        dark: Mapping[str, str] | None = None,
        dark_zh: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Return every place of every theme, or of one, with its newest values, their age and how high they are.

        Parameters
        ----------
        snapshot
            What is known of each sensor.
        dark, dark_zh
            Why sensors are dark, by id.
        """
        state, dark, dark_zh = snapshot.sensors, dark or {}, dark_zh or {}
        found: dict[str, list[int]] = defaultdict(list)
        reported: dict[str, dict[str, float]] = defaultdict(dict)
        for series, (sensor_id, quantity) in enumerate(zip(state.sensor_ids, state.quantities, strict=True)):
            if quantity in THEME_OF:
                found[sensor_id].append(series)
            elif quantity in ("longitude_deg", "latitude_deg") and math.isfinite(state.value[series]):
                reported[sensor_id][quantity] = float(state.value[series])
        rows = []
        for sensor_id, all_series in found.items():
            head = self._head(snapshot, sensor_id, all_series, reported.get(sensor_id, {}))
            if head is None:
                continue
            head["dark"] = bool(state.dark[all_series[0]])
            head["because"], head["because_zh"] = dark.get(sensor_id, ""), dark_zh.get(sensor_id, "")
            for each in THEMES:
                own = [i for i in all_series if THEME_OF[state.quantities[i]] == each]
                if own and theme in (None, each):
                    rows.append({**head, "theme": each, **_newest(snapshot, each, own)})
        return rows

    def _head(
        self, snapshot: Snapshot, sensor_id: str, series: list[int], reported: Mapping[str, float]
    ) -> dict[str, Any] | None:
        """Return who measures where; None of a stranger that has not been heard of for long."""
        state, sensor = snapshot.sensors, self._sensors.get(sensor_id)
        heard = max((float(t) for t in state.time[series] if math.isfinite(t)), default=-math.inf)
        if sensor is None and snapshot.time - heard > STRANGER_S:
            return None
        point = self._point.get(sensor_id)
        if point is None and len(reported) == 2:
            point = reported["longitude_deg"], reported["latitude_deg"]
        zone = sensor.zone_id if sensor else ""
        zone_row = self._zone_names.get(zone, {})
        kind = sensor.kind if sensor else "unverified"
        return {
            "sensor_id": sensor_id,
            "kind": kind,
            "owner": sensor.owner if sensor else "",
            "asset_id": sensor.asset_id if sensor else "",
            "on": "zone" if zone else "station" if kind in STATION_KINDS else "point",
            "zone_id": zone,
            "link_id": sensor.link_id if sensor else "",
            "name": (sensor.name if sensor else "") or zone_row.get("name", "") or sensor_id,
            "name_zh": (sensor.name_zh if sensor else "") or zone_row.get("name_zh", ""),
            "lon_lat": None if point is None else [round(float(x), 7) for x in point],
            "silent": all(bool(state.silent[i]) for i in series),
            "stuck": any(bool(state.stuck[i]) for i in series),
        }


def _newest(snapshot: Snapshot, theme: Theme, series: list[int]) -> dict[str, Any]:
    """Return the newest values of a place in the order of the theme, with the age of the newest of them."""
    state = snapshot.sensors
    series = sorted(series, key=lambda i: THEMES[theme].index(state.quantities[i]))
    series = [i for i in series if math.isfinite(state.time[i])]
    values = {state.quantities[i]: float(state.value[i]) for i in series}
    times = {state.quantities[i]: float(state.time[i]) for i in series}
    time = max(times.values(), default=math.nan)
    full = values.get("parked_veh", math.nan) / (values.get("spaces_veh") or math.nan)
    return {
        "values": [
            {
                "quantity": key,
                "unit": QUANTITIES[key].unit,
                "value": number(value),
                "level": level(key, value),
                "time": stamp(times[key]),
            }
            for key, value in values.items()
        ],
        "full_share": number(full),
        "level": max([0, *(level(key, value) for key, value in values.items()), _step(full, FULL_SHARE)]),
        "time": stamp(time),
        "age_s": number(snapshot.time - time, 1),
    }


def level(quantity: str, value: float) -> int:
    """Return how high a value is: 0 ordinary, 1 raised, 2 high; quantities without levels are always ordinary.

    Examples
    --------
    >>> level("rain_mm_h", 0.2), level("rain_mm_h", 3.0), level("pm25_ug_m3", 180.0), level("temperature_c", -2.0)
    (0, 1, 2, 1)
    """
    if quantity == "temperature_c" and value <= FROST_C:
        return 1
    return _step(value, LEVELS.get(quantity, (math.inf, math.inf)))


def _step(value: float, bounds: tuple[float, float]) -> int:
    return sum(bool(value >= bound) for bound in bounds)
