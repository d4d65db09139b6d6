"""A plausible working day for sensors without a street: what `citytwin fleet` publishes as the truth."""

import hashlib
import math

from sensors.quantity import QUANTITIES
from sensors.sensor import Sensor

_DAY_S = 86_400.0
# Share of the day's highest flow: a night floor and two peaks (hour, width in h, height). An assumption, shaped like
# the double peak of working days in any urban count series.
_FLOOR = 0.05
_PEAKS = ((8.0, 1.4, 0.75), (13.0, 3.5, 0.45), (17.75, 1.8, 0.9))
_CAPACITY_VEH_H = 900.0  # per lane of a signalised street: half of 1,800 veh/h saturation flow, half of the time green
_FREE_SPEED_KMH = 50.0
_VEHICLE_AND_DETECTOR_KM = 0.0065  # effective length: occupancy = density * length
# Day's mean and amplitude of what is no traffic, peaking in the early afternoon; assumptions.
_OTHER = {
    "temperature_c": (18.0, 6.0),
    "humidity": (0.65, -0.2),
    "pm25_ug_m3": (30.0, -10.0),
    "pm10_ug_m3": (55.0, -15.0),
    "no2_ug_m3": (35.0, -8.0),
    "so2_ug_m3": (8.0, 2.0),
    "o3_ug_m3": (70.0, 40.0),
    "co_mg_m3": (0.7, -0.2),
    "wind_speed_m_s": (2.5, 1.0),
    "rain_mm_h": (0.0, 0.0),
    "voltage_v": (230.0, -3.0),
    "current_a": (12.0, 4.0),
    "power_w": (2700.0, 900.0),
    "battery": (0.9, 0.05),
    "parked_veh": (180.0, 120.0),
    "spaces_veh": (320.0, 0.0),
    "passengers": (30.0, 20.0),
    "headway_s": (240.0, -60.0),
    "crowding": (0.5, 0.2),
    "events": (0.0, 0.0),
}


def day_share(hour: float) -> float:
    """Return the share of the day's highest flow at an hour of local time, 0..1.

    Examples
    --------
    >>> day_share(3.0) < 0.1 < 0.6 < day_share(8.0) < day_share(17.5) <= 1.0
    True
    """
    away = ((abs((hour - peak + 12) % 24 - 12), width, height) for peak, width, height in _PEAKS)
    return min(1.0, _FLOOR + sum(height * math.exp(-0.5 * (d / width) ** 2) for d, width, height in away) * 0.85)


def typical(sensor: Sensor, from_s: float, until_s: float, *, utc_offset_s: float = 0.0) -> dict[str, float | None]:
    """Return plausible values of a sensor's quantities over an interval.

    Speed falls with the ratio of flow to capacity (Bureau of Public Roads, 1964: 1 + 0.15 r^4), density is flow over
    speed, occupancy density times effective vehicle length. Each sensor has a size of its own, by its id.

    Parameters
    ----------
    from_s, until_s : s since 1970 UTC
    utc_offset_s
        Local time minus UTC.

    Examples
    --------
    >>> values = typical(Sensor("D1"), 8 * 3600.0, 8 * 3600.0 + 60)
    >>> 100 < values["flow_veh_h"] < 1000, 40 < values["speed_kmh"] < 60, 0 < values["occupancy"] < 0.3
    (True, True, True)
    """
    hour = ((from_s + until_s) / 2 + utc_offset_s) % _DAY_S / 3600
    digest = hashlib.blake2b(sensor.sensor_id.encode(), digest_size=2).digest()
    ratio = day_share(hour) * (0.4 + 0.6 * digest[0] / 255)
    lanes = max(1, sensor.lanes)
    # whole vehicles: a quiet interval has none at all, as at night in the street
    vehicles = round(ratio * _CAPACITY_VEH_H * lanes * (until_s - from_s) / 3600)
    flow = vehicles * 3600 / (until_s - from_s)
    free = _FREE_SPEED_KMH * (0.8 + 0.4 * digest[1] / 255)
    speed = free / (1 + 0.15 * ratio**4)
    density = flow / speed
    traffic: dict[str, float | None] = {
        "flow_veh_h": flow,
        "count_veh": float(vehicles),
        "speed_kmh": speed if vehicles else None,
        "travel_time_s": 300 / speed * 3.6 if vehicles else None,  # of a link of 300 m
        "density_veh_km": density,
        "occupancy": density / lanes * _VEHICLE_AND_DETECTOR_KM,
        "queue_veh": float(round(10 * lanes * ratio**2)),
    }
    values: dict[str, float | None] = {}
    for key in sensor.quantities:
        if key in traffic:
            values[key] = traffic[key]
        elif key in _OTHER:
            mean, amplitude = _OTHER[key]
            q = QUANTITIES[key]
            value = mean + amplitude * math.cos((hour - 14) / 12 * math.pi)
            values[key] = min(max(value, q.minimum), q.maximum)
    return values
