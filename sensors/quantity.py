"""Quantities a city measures: each has one key ``<name>_<unit>``, a resolution and a physical range."""

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
    """

    key: str
    unit: str
    scale: int
    minimum: float
    maximum: float
    to_si: float = 1.0


# Ranges are physical, not statistical: they flag the impossible. Speeds and flows per sensor (several lanes):
# 2,400 veh/h per lane is the highest sustained flow in HCM 7th ed. (2022), exhibit 12-4; 20 lanes are assumed at most.
QUANTITIES: dict[str, Quantity] = {
    q.key: q
    for q in (
        Quantity("flow_veh_h", "veh/h", 1000, 0.0, 48_000.0, 1 / 3600),
        Quantity("speed_kmh", "km/h", 1000, 0.0, 250.0, 1 / 3.6),
        Quantity("occupancy", "share 0..1", 1_000_000, 0.0, 1.0),
        Quantity("count_veh", "veh", 1000, 0.0, 100_000.0),
        Quantity("travel_time_s", "s", 1000, 0.0, 86_400.0),
        Quantity("density_veh_km", "veh/km", 1000, 0.0, 4_000.0, 1e-3),
        Quantity("queue_veh", "veh", 1000, 0.0, 10_000.0),
        Quantity("parked_veh", "veh", 1000, 0.0, 100_000.0),
        Quantity("passengers", "persons", 1000, 0.0, 1_000_000.0),
        Quantity("pm25_ug_m3", "µg/m³", 1000, 0.0, 2_000.0),
        Quantity("pm10_ug_m3", "µg/m³", 1000, 0.0, 5_000.0),
        Quantity("no2_ug_m3", "µg/m³", 1000, 0.0, 2_000.0),
        Quantity("so2_ug_m3", "µg/m³", 1000, 0.0, 5_000.0),
        Quantity("o3_ug_m3", "µg/m³", 1000, 0.0, 2_000.0),
        Quantity("co_mg_m3", "mg/m³", 1000, 0.0, 500.0),
        Quantity("temperature_c", "°C", 1000, -90.0, 60.0),
        Quantity("humidity", "share 0..1", 1_000_000, 0.0, 1.0),
        Quantity("wind_speed_m_s", "m/s", 1000, 0.0, 120.0),
        Quantity("rain_mm_h", "mm/h", 1000, 0.0, 500.0),
        Quantity("voltage_v", "V", 1000, 0.0, 500_000.0),
        Quantity("current_a", "A", 1000, 0.0, 10_000.0),
        Quantity("power_w", "W", 1000, -1e9, 1e9),
        Quantity("battery", "share 0..1", 1_000_000, 0.0, 1.0),
        Quantity("longitude_deg", "°", 10_000_000, -180.0, 180.0),
        Quantity("latitude_deg", "°", 10_000_000, -90.0, 90.0),
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
