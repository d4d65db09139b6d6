"""Quantities a city measures: each has one key ``<name>_<unit>``, a resolution and a physical range."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measurable quantity as it travels in payloads.

    Parameters
    ----------
    key
        Name and unit as in payloads and in the database, for example ``speed_kmh``.
    unit
        The unit in words that a person reads.
    scale
        Stored integers per unit: a value is kept as ``round(value * scale)``.
    minimum, maximum
        Physical range in the unit of the key; a value outside is flagged, not rejected.
    to_si
        Factor to SI units (veh/s, m/s, m, s, K differences, shares 0..1).
    max_rate
        Largest credible change per second between two readings, in the unit of the key; infinite: any change is.
    stuck_after
        So many equal readings in a row are credible; more are flagged. 0: never judged, it may rightly stand still.
    zero_rests
        A value of 0 may repeat for ever, since nothing is there: no vehicle, no wind, no current.
    """

    key: str
    unit: str
    scale: int
    minimum: float
    maximum: float
    to_si: float = 1.0
    max_rate: float = math.inf
    stuck_after: int = 0
    zero_rests: bool = False


# Ranges are physical, not statistical: they flag the impossible. Speeds and flows per sensor (several lanes):
# 2,400 veh/h per lane is the highest sustained flow in HCM 7th ed. (2022), exhibit 12-4; 20 lanes are assumed at most.
#
# Rates: a speed changes by at most 10 m/s2 (tyres on a dry road); means of different vehicles change less per second,
# since they are minutes apart; a vehicle moves by at most 100 m/s, along a parallel up to 72 degrees of latitude.
# Air: Zahumensky (2004), Guidelines on quality control procedures for data from automatic weather stations, WMO,
# table "maximum allowed variability" per minute: temperature 3 K, humidity 10 %, wind 20 m/s.
#
# Stuck: of the 2.0 million 5-minute means of Aarhus (449 links, August 2014) with vehicles, one in 60,000 is beyond the
# 12th equal speed in a row; counts are small integers and repeat up to 47 times, so they are judged after 60.
QUANTITIES: dict[str, Quantity] = {
    q.key: q
    for q in (
        Quantity("flow_veh_h", "veh/h", 1000, 0.0, 48_000.0, 1 / 3600, stuck_after=60, zero_rests=True),
        Quantity("speed_kmh", "km/h", 1000, 0.0, 250.0, 1 / 3.6, max_rate=36.0, stuck_after=12, zero_rests=True),
        Quantity("occupancy", "share 0..1", 1_000_000, 0.0, 1.0, stuck_after=12, zero_rests=True),
        Quantity("count_veh", "veh", 1000, 0.0, 100_000.0, stuck_after=60, zero_rests=True),
        Quantity("travel_time_s", "s", 1000, 0.0, 86_400.0, stuck_after=12, zero_rests=True),
        Quantity("density_veh_km", "veh/km", 1000, 0.0, 4_000.0, 1e-3, stuck_after=12, zero_rests=True),
        Quantity("queue_veh", "veh", 1000, 0.0, 10_000.0, stuck_after=60, zero_rests=True),
        Quantity("parked_veh", "veh", 1000, 0.0, 100_000.0),
        Quantity("spaces_veh", "veh", 1000, 0.0, 100_000.0),
        Quantity("passengers", "persons", 1000, 0.0, 1_000_000.0),
        Quantity("headway_s", "s", 1000, 0.0, 86_400.0),
        Quantity("crowding", "share of places", 1_000_000, 0.0, 10.0),
        Quantity("events", "under way", 1000, 0.0, 1_000.0),
        Quantity("pm25_ug_m3", "µg/m³", 1000, 0.0, 2_000.0, stuck_after=12),
        Quantity("pm10_ug_m3", "µg/m³", 1000, 0.0, 5_000.0, stuck_after=12),
        Quantity("no2_ug_m3", "µg/m³", 1000, 0.0, 2_000.0, stuck_after=12),
        Quantity("so2_ug_m3", "µg/m³", 1000, 0.0, 5_000.0, stuck_after=24),
        Quantity("o3_ug_m3", "µg/m³", 1000, 0.0, 2_000.0, stuck_after=12),
        Quantity("co_mg_m3", "mg/m³", 1000, 0.0, 500.0, stuck_after=24),
        Quantity("temperature_c", "°C", 1000, -90.0, 60.0, max_rate=3 / 60, stuck_after=60),
        Quantity("humidity", "share 0..1", 1_000_000, 0.0, 1.0, max_rate=0.1 / 60, stuck_after=120),
        Quantity("wind_speed_m_s", "m/s", 1000, 0.0, 120.0, max_rate=20 / 60, stuck_after=60, zero_rests=True),
        Quantity("rain_mm_h", "mm/h", 1000, 0.0, 500.0, stuck_after=60, zero_rests=True),
        Quantity("voltage_v", "V", 1000, 0.0, 500_000.0),
        Quantity("current_a", "A", 1000, 0.0, 10_000.0),
        Quantity("power_w", "W", 1000, -1e9, 1e9),
        Quantity("battery", "share 0..1", 1_000_000, 0.0, 1.0),
        Quantity("longitude_deg", "°", 10_000_000, -180.0, 180.0, max_rate=0.003),
        Quantity("latitude_deg", "°", 10_000_000, -90.0, 90.0, max_rate=0.0009),
        Quantity("heading_deg", "°", 1000, 0.0, 360.0),
    )
}


def quantity(key: str) -> Quantity:
    """Return the quantity of a key.

    Raises
    ------
    KeyError
        When no quantity has the key.

    Examples
    --------
    >>> quantity("speed_kmh").unit
    'km/h'
    """
    return QUANTITIES[key]
