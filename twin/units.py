"""Units of a network folder, as ``config.csv`` names them; everything inside is SI and WGS84 degrees."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from twin.projection import Float, Projection, projection

# International yard and pound agreement (1959): 1 foot = 0.3048 m.
LENGTH_M: dict[str, float] = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1.0),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1000.0),
    **dict.fromkeys(("ft", "foot", "feet"), 0.3048),
    **dict.fromkeys(("mi", "mile", "miles"), 1609.344),
    **dict.fromkeys(("yd", "yard", "yards"), 0.9144),
}
SPEED_M_S: dict[str, float] = {
    **dict.fromkeys(("km/h", "kmh", "kph", "kmph", "km/hr", "km_h"), 1 / 3.6),
    **dict.fromkeys(("mph", "mi/h", "miles/h", "mile/hr"), 0.44704),
    **dict.fromkeys(("m/s", "mps", "m_s"), 1.0),
    **dict.fromkeys(("ft/s", "fps"), 0.3048),
}
KMH = 1 / 3.6


@dataclass(frozen=True, slots=True)
class Units:
    """What one unit of the folder is in SI.

    Parameters
    ----------
    short_length_m, long_length_m : m
        Of widths and offsets, and of link lengths.
    speed_m_s : m/s
    projection
        Of coordinates; None for degrees.
    """

    short_length_m: float = 1.0
    long_length_m: float = 1.0
    speed_m_s: float = KMH
    projection: Projection | None = None

    def degrees(self, points: Float) -> Float:
        """Return points of the folder as longitude and latitude.

        Parameters
        ----------
        points : (n, 2) in the units of the folder

        Returns
        -------
        (n, 2) degrees

        Raises
        ------
        ValueError
            When a point lies nowhere on the globe.
        """
        lon_lat = points if self.projection is None else self.projection.to_degrees(points)
        if not ((np.abs(lon_lat) <= (180, 90)).all()):
            worst = points[int(np.argmin((np.abs(lon_lat) <= (180, 90)).all(axis=1)))]
            where = "in degrees, x is the longitude" if self.projection is None else "in the crs of config.csv"
            raise ValueError(f"({worst[0]:g}, {worst[1]:g}) lies nowhere on the globe {where}")
        return lon_lat

    @classmethod
    def of(cls, config: Mapping[str, str], faults: list[str]) -> "Units":
        """Return the units of the row of ``config.csv``; an unknown one is a fault and taken as the default.

        Examples
        --------
        >>> Units.of({"long_length": "mile", "speed": "mph"}, []).long_length_m
        1609.344
        """

        def factor(column: str, table: Mapping[str, float], default: float) -> float:
            text = config.get(column, "").strip().lower().rstrip(".")
            if not text or text in table:
                return table[text] if text else default
            near = get_close_matches(text, table, 1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            known = ", ".join(sorted(table))
            faults.append(f"config.csv: {column} is {text!r}, must be one of {known}{hint}")
            return default

        try:
            system = projection(config.get("crs", ""))
        except ValueError as error:
            faults.append(f"config.csv: {error}")
            system = None
        return cls(
            short_length_m=factor("short_length", LENGTH_M, 1.0),
            long_length_m=factor("long_length", LENGTH_M, 1.0),
            speed_m_s=factor("speed", SPEED_M_S, KMH),
            projection=system,
        )
