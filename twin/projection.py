"""Coordinate systems of a network: WGS84 degrees, and transverse Mercator metres (UTM, Chinese 3-degree zones)."""

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

# WGS84 ellipsoid, EPSG:7030. GRS80 (ETRS89, NAD83, CGCS2000) differs by 0.1 mm in the polar radius.
SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
_N = FLATTENING / (2 - FLATTENING)
_A = SEMI_MAJOR_M / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_E = math.sqrt(FLATTENING * (2 - FLATTENING))
# Krüger's series to the fourth order: below 0.1 mm within 10 degrees of the central meridian.
_ALPHA = (
    _N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16 + 41 * _N**4 / 180,
    13 * _N**2 / 48 - 3 * _N**3 / 5 + 557 * _N**4 / 1440,
    61 * _N**3 / 240 - 103 * _N**4 / 140,
    49561 * _N**4 / 161280,
)
_BETA = (
    _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
    _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
    17 * _N**3 / 480 - 37 * _N**4 / 840,
    4397 * _N**4 / 161280,
)


@dataclass(frozen=True, slots=True)
class Projection:
    """A transverse Mercator projection.

    Parameters
    ----------
    meridian : degrees
        Central meridian.
    scale
        Scale on it.
    false_easting, false_northing : m

    Notes
    -----
    Source: Krüger (1912); the series as in Karney (2011), "Transverse Mercator with an accuracy of a few
    nanometers", Journal of Geodesy 85, doi:10.1007/s00190-011-0445-3.
    """

    meridian: float
    scale: float = 0.9996
    false_easting: float = 500_000.0
    false_northing: float = 0.0

    def to_metres(self, lon_lat: Float) -> Float:
        """Return east and north.

        Parameters
        ----------
        lon_lat : (n, 2) degrees

        Returns
        -------
        (n, 2) m

        Examples
        --------
        >>> utm(17, north=True).to_metres(np.array([[-79.387139, 43.642567]])).round(0).tolist()
        [[630084.0, 4833439.0]]
        """
        lam = np.radians((lon_lat[:, 0] - self.meridian + 180) % 360 - 180)
        sin_phi = np.sin(np.radians(lon_lat[:, 1]))
        t = np.sinh(np.arctanh(sin_phi) - _E * np.arctanh(_E * sin_phi))
        xi0 = np.arctan2(t, np.cos(lam))
        eta0 = np.arcsinh(np.sin(lam) / np.hypot(t, np.cos(lam)))
        xi, eta = xi0.copy(), eta0.copy()
        for j, alpha in enumerate(_ALPHA, 1):
            xi += alpha * np.sin(2 * j * xi0) * np.cosh(2 * j * eta0)
            eta += alpha * np.cos(2 * j * xi0) * np.sinh(2 * j * eta0)
        east = self.false_easting + self.scale * _A * eta
        return np.column_stack([east, self.false_northing + self.scale * _A * xi])

    def to_degrees(self, east_north: Float) -> Float:
        """Return longitude and latitude.

        Parameters
        ----------
        east_north : (n, 2) m

        Returns
        -------
        (n, 2) degrees, NaN where the projection does not reach: beyond the poles, or 45 degrees from the meridian
        """
        xi = (east_north[:, 1] - self.false_northing) / (self.scale * _A)
        eta = (east_north[:, 0] - self.false_easting) / (self.scale * _A)
        outside = (np.abs(xi) > np.pi / 2) | (np.abs(eta) > np.arcsinh(1.0))
        xi, eta = np.where(outside, np.nan, xi), np.where(outside, np.nan, eta)
        xi0, eta0 = xi.copy(), eta.copy()
        for j, beta in enumerate(_BETA, 1):
            xi0 -= beta * np.sin(2 * j * xi) * np.cosh(2 * j * eta)
            eta0 -= beta * np.cos(2 * j * xi) * np.sinh(2 * j * eta)
        target = np.sin(xi0) / np.hypot(np.sinh(eta0), np.cos(xi0))  # tangent of the conformal latitude
        tau = target / (1 - _E**2)
        for _ in range(4):  # Newton's step of Karney (2011), eqs. 19-21; three are enough for doubles
            root = np.sqrt(1 + tau**2)
            sigma = np.sinh(_E * np.arctanh(_E * tau / root))
            tau_now = tau * np.sqrt(1 + sigma**2) - sigma * root
            slope = (1 + (1 - _E**2) * tau**2) / ((1 - _E**2) * root)
            tau = tau + (target - tau_now) / np.sqrt(1 + tau_now**2) * slope
        lon = self.meridian + np.degrees(np.arctan2(np.sinh(eta0), np.cos(xi0)))
        return np.column_stack([(lon + 180) % 360 - 180, np.degrees(np.arctan(tau))])


def utm(zone: int, *, north: bool) -> Projection:
    """Return the projection of a UTM zone, 1 to 60."""
    return Projection(meridian=6.0 * zone - 183.0, false_northing=0.0 if north else 10_000_000.0)


def transverse_mercator(
    *, lon_0: float, lat_0: float = 0.0, k: float = 1.0, x_0: float = 0.0, y_0: float = 0.0
) -> Projection:
    """Return a transverse Mercator projection in the words of PROJ: origin (degrees), scale, false east and north (m).

    Examples
    --------
    >>> transverse_mercator(lon_0=9.0, k=0.9996, x_0=500_000.0) == utm(32, north=True)
    True
    """
    plain = Projection(lon_0, k, x_0, 0.0)
    shift = float(plain.to_metres(np.array([[lon_0, lat_0]]))[0, 1]) if lat_0 else 0.0
    return Projection(lon_0, k, x_0, y_0 - shift)


def utm_zone(lon_lat: Float) -> tuple[int, Projection]:
    """Return the EPSG code (WGS84) and the projection of the UTM zone in which a place lies.

    Parameters
    ----------
    lon_lat : (2,) degrees

    Examples
    --------
    >>> utm_zone(np.array([120.16, 30.25]))[0], utm_zone(np.array([-51.2, -30.0]))[0]
    (32651, 32722)
    """
    zone = int((float(lon_lat[0]) + 180) % 360 // 6) + 1
    north = float(lon_lat[1]) >= 0
    return (32600 if north else 32700) + zone, utm(zone, north=north)


def projection(crs: str) -> Projection | None:
    """Return the projection that a ``crs`` names, None for degrees.

    Raises
    ------
    ValueError
        When the coordinate system is not one of those known here.

    Examples
    --------
    >>> projection("EPSG:32632").meridian
    9.0
    >>> projection("4326") is None
    True
    """
    text = crs.strip().upper().replace(" ", "")
    if text in {"", "WGS84", "WGS1984", "CRS84", "OGC:CRS84", "DEGREES", "LONLAT"}:
        return None
    found = re.search(r"(\d{4,5})$", text)
    code = int(found.group(1)) if found else 0
    if code in {4326, 4258, 4269, 4490, 4979}:  # WGS84, ETRS89, NAD83, CGCS2000: within a metre or two of each other
        return None
    if 32601 <= code <= 32660:
        return utm(code - 32600, north=True)
    if 32701 <= code <= 32760:
        return utm(code - 32700, north=False)
    if 25828 <= code <= 25838:  # ETRS89 / UTM
        return utm(code - 25800, north=True)
    if 26901 <= code <= 26923:  # NAD83 / UTM
        return utm(code - 26900, north=True)
    if 4513 <= code <= 4533:  # CGCS2000, 3-degree zones 25 to 45, the zone leads the easting
        zone = code - 4513 + 25
        return Projection(meridian=3.0 * zone, scale=1.0, false_easting=zone * 1e6 + 5e5)
    if 4534 <= code <= 4554:  # CGCS2000, 3-degree zones by their meridian
        return Projection(meridian=75.0 + 3.0 * (code - 4534), scale=1.0)
    raise ValueError(
        f"crs is {crs!r}, must be EPSG:4326 (degrees), UTM (EPSG:326xx, 327xx, 258xx, 269xx) "
        "or CGCS2000 3-degree (EPSG:4513 to 4554)"
    )
