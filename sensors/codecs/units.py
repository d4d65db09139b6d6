"""Units that other systems speak: what a value of a unit is in the unit of one of our quantities.

Symbols are those of UCUM and of everyday use; codes of three letters are those of UN/CEFACT Recommendation 20, which
NGSI names as ``unitCode``.
"""

from typing import NamedTuple

from sensors.codecs.json_values import short
from sensors.errors import PayloadError
from sensors.reading import Reason


class Conversion(NamedTuple):
    """Value in our unit = value * factor + offset."""

    factor: float = 1.0
    offset: float = 0.0


_SHARE = {"1": 1.0, "C62": 1.0, "%": 0.01, "P1": 0.01}
_MICROGRAM = {"ug/m3": 1.0, "GQ": 1.0, "mg/m3": 1000.0, "GP": 1000.0}
_DURATION = {"s": 1.0, "SEC": 1.0, "min": 60.0, "MIN": 60.0, "h": 3600.0, "HUR": 3600.0, "ms": 0.001, "C26": 0.001}
_VEHICLES = {"veh": 1.0, "1": 1.0, "C62": 1.0, "{vehicle}": 1.0}
# Factor to the unit of the key, by the unit that a payload names.
_FACTORS: dict[str, dict[str, float]] = {
    "flow_veh_h": {"veh/h": 1.0, "/h": 1.0, "1/h": 1.0, "{vehicle}/h": 1.0, "veh/min": 60.0, "1/min": 60.0,
                   "/min": 60.0, "C94": 60.0, "veh/s": 3600.0, "1/s": 3600.0},
    # UN/CEFACT: KMH km/h, MTS m/s, HM mile/h, KNT knot
    "speed_kmh": {"km/h": 1.0, "KMH": 1.0, "m/s": 3.6, "MTS": 3.6, "mph": 1.609344, "[mi_i]/h": 1.609344,
                  "HM": 1.609344, "kn": 1.852, "[kn_i]": 1.852, "KNT": 1.852},
    "occupancy": _SHARE,
    "count_veh": _VEHICLES,
    "queue_veh": _VEHICLES,
    "parked_veh": _VEHICLES,
    "spaces_veh": _VEHICLES,
    "passengers": {"1": 1.0, "C62": 1.0, "persons": 1.0},
    "crowding": _SHARE,
    "events": {"1": 1.0, "C62": 1.0},
    "travel_time_s": _DURATION,
    "headway_s": _DURATION,
    "density_veh_km": {"veh/km": 1.0, "1/km": 1.0, "veh/mi": 1 / 1.609344},
    "pm25_ug_m3": _MICROGRAM,
    "pm10_ug_m3": _MICROGRAM,
    "no2_ug_m3": _MICROGRAM,
    "so2_ug_m3": _MICROGRAM,
    "o3_ug_m3": _MICROGRAM,
    "co_mg_m3": {unit: factor / 1000 for unit, factor in _MICROGRAM.items()},
    "temperature_c": {"Cel": 1.0, "°C": 1.0, "degC": 1.0, "CEL": 1.0},
    "humidity": _SHARE,
    "wind_speed_m_s": {"m/s": 1.0, "MTS": 1.0, "km/h": 1 / 3.6, "KMH": 1 / 3.6, "mph": 0.44704, "HM": 0.44704,
                       "kn": 1.852 / 3.6, "[kn_i]": 1.852 / 3.6, "KNT": 1.852 / 3.6},
    "rain_mm_h": {"mm/h": 1.0, "H67": 1.0},
    "voltage_v": {"V": 1.0, "VLT": 1.0, "mV": 0.001, "2Z": 0.001, "kV": 1000.0, "KVT": 1000.0},
    "current_a": {"A": 1.0, "AMP": 1.0, "mA": 0.001, "4K": 0.001},
    "power_w": {"W": 1.0, "WTT": 1.0, "kW": 1000.0, "KWT": 1000.0, "MW": 1e6, "MAW": 1e6},
    "battery": _SHARE,
    "longitude_deg": {"deg": 1.0, "°": 1.0, "DD": 1.0},
    "latitude_deg": {"deg": 1.0, "°": 1.0, "DD": 1.0},
    "heading_deg": {"deg": 1.0, "°": 1.0, "DD": 1.0},
}  # fmt: skip
_SHIFTED: dict[tuple[str, str], Conversion] = {
    ("temperature_c", unit): conversion
    for conversion, units in (
        (Conversion(1.0, -273.15), ("K", "KEL")),
        (Conversion(5 / 9, -160 / 9), ("[degF]", "°F", "degF", "FAH")),
    )
    for unit in units
}


def conversion(quantity: str, unit: object) -> Conversion:
    """Return how a value in a unit becomes one of a quantity.

    Raises
    ------
    PayloadError
        WRONG_UNIT, with the units that are read.

    Examples
    --------
    >>> conversion("speed_kmh", "m/s").factor
    3.6
    >>> conversion("temperature_c", "K").offset
    -273.15
    >>> conversion("speed_kmh", "furlong")
    Traceback (most recent call last):
    sensors.errors.PayloadError: wrong_unit: 'furlong' is no unit of speed_kmh, known are km/h, KMH, m/s, MTS, mph, ...
    """
    if isinstance(unit, str):
        plain = unit.strip().replace("µ", "u").replace("μ", "u").replace("³", "3")
        shifted = _SHIFTED.get((quantity, plain))
        if shifted is not None:
            return shifted
        factor = _FACTORS[quantity].get(plain)
        if factor is not None:
            return Conversion(factor)
    known = list(_FACTORS[quantity])
    listed = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    raise PayloadError(Reason.WRONG_UNIT, f"{short(unit)} is no unit of {quantity}, known are {listed}")


def converted(value: object, factor: float, offset: float = 0.0) -> object:
    """Return a number converted; what is none, or grows too large for a float, comes back as it is to be refused."""
    if type(value) is not float and type(value) is not int:
        return value
    try:
        return value * factor + offset
    except OverflowError:
        return value
