"""What the demo's street has beside traffic: weather, air, car parks, metro and events: plausible inventions."""

import hashlib
import math
from collections.abc import Mapping

from sensors import Sensor
from sensors.daily_profile import day_share

# Background of an urban air station and what dense traffic adds, µg/m³ (CO: mg/m³).
AIR = {"pm25_ug_m3": (28.0, 25.0), "pm10_ug_m3": (45.0, 40.0), "no2_ug_m3": (22.0, 60.0), "o3_ug_m3": (70.0, -30.0),
       "so2_ug_m3": (8.0, 2.0), "co_mg_m3": (0.6, 0.8)}  # fmt: skip
SHOWER_EVERY_H, SHOWER_MM_H = 2.0, 14.0
RUSH_HEADWAY_S, DAY_HEADWAY_S = 150.0, 300.0
DELAY_EVERY_H, DELAY_LASTS_H, DELAY_S = 1.5, 0.25, 540.0
EVENT_HOURS = ((7.6, 11.0), (13.0, 17.0), (19.0, 22.0))


def beside_traffic(sensor: Sensor, *, hour: float, fullness: float) -> Mapping[str, float | None]:
    """Return what is true at a sensor of anything but traffic, None for quantities that the street does not have.

    Parameters
    ----------
    hour
        Of the street's day; each sensor has a size and a lag of its own, by its id.
    fullness
        Vehicles over what the whole city has room for.

    Examples
    --------
    >>> beside_traffic(Sensor("P", quantities=("spaces_veh", "voltage_v")), hour=8.0, fullness=0.1)["voltage_v"]
    """
    digest = hashlib.blake2b(sensor.sensor_id.encode(), digest_size=2).digest()
    size, lag = digest[0] / 255, digest[1] / 255
    crowd = min(1.0, 5.0 * fullness)
    shower = math.cos(2 * math.pi * ((hour - 7.9) / SHOWER_EVERY_H - 0.1 * lag))
    warm = math.cos((hour - 14.0) / 12.0 * math.pi)
    rush = day_share(hour)
    late = (hour + lag * DELAY_EVERY_H) % DELAY_EVERY_H < DELAY_LASTS_H and size > 0.8
    spaces = round(60 + 540 * size)
    begins, ends = EVENT_HOURS[digest[1] % len(EVENT_HOURS)]
    known: dict[str, float] = {
        **{key: clean + crowd * added for key, (clean, added) in AIR.items()},
        "rain_mm_h": max(0.0, 2 * shower - 1) * SHOWER_MM_H * (0.4 + 0.6 * size),
        "temperature_c": 19.0 + 5.0 * warm + lag,
        "wind_speed_m_s": 3.0 + 2.0 * max(0.0, shower),
        "humidity": 0.6 - 0.15 * warm + 0.2 * max(0.0, shower),
        "spaces_veh": spaces,
        "parked_veh": round(spaces * min(1.0, 0.25 + 0.7 * max(0.0, warm) + 0.3 * rush * size)),
        "crowding": rush * (0.4 + 0.75 * size),
        "passengers": round(40 + 900 * rush * size),
        "headway_s": DAY_HEADWAY_S - (DAY_HEADWAY_S - RUSH_HEADWAY_S) * rush + (DELAY_S if late else 0.0),
        "events": float(begins <= hour % 24 < ends),
    }
    return {key: known.get(key) for key in sensor.quantities}
