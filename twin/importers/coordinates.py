"""Coordinate systems of foreign files: degrees or transverse Mercator, in well-known text (.prj) or PROJJSON."""

import math
import re
from collections.abc import Mapping
from typing import Any

from twin.projection import Projection, projection, transverse_mercator

# Datums within a metre or two of WGS84; others lie up to some hundred metres off.
_DATUM = re.compile(
    r"WGS|World Geodetic|ETRS|European Terrestrial|NAD.?83|North.American.(Datum.)?1983|CGCS|China.(Geodetic|2000)"
    r"|GRS|ITRF|GDA|SIRGAS|JGD",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r'PARAMETER\s*\[\s*"([^"]+)"\s*,\s*([-+.\deE]+)')
_KEYS = {
    "lon_0": ("central_meridian", "longitude of natural origin", "longitude_of_center"),
    "lat_0": ("latitude_of_origin", "latitude of natural origin", "latitude_of_center"),
    "k": ("scale_factor", "scale factor at natural origin"),
    "x_0": ("false_easting", "false easting"),
    "y_0": ("false_northing", "false northing"),
}
_METRES = re.compile(r'(?:LENGTH)?UNIT\s*\[\s*"[^"]*"\s*,\s*([-+.\deE]+)')


def of_text(text: str) -> Projection | None:
    """Return the projection of well-known text, of version 1 (ESRI's too) or 2; None for degrees.

    Raises
    ------
    ValueError
        When it is neither degrees nor transverse Mercator in metres on a datum near WGS84.

    Examples
    --------
    >>> of_text('GEOGCS["WGS 84",DATUM["WGS_1984"]]') is None
    True
    """
    head = text.strip().split("[", 1)[0].strip().upper()
    name = (re.search(r'"([^"]*)"', text) or re.search("()", text)).group(1)  # type: ignore[union-attr]
    if head in ("GEOGCS", "GEOGCRS", "GEODCRS", "GEOGRAPHICCRS"):
        return _on(text, name, None)
    if head not in ("PROJCS", "PROJCRS", "PROJECTEDCRS"):
        raise ValueError(f"its coordinate system {name or text[:40]!r} is none that is read")
    method = re.search(r'(?:PROJECTION|METHOD)\s*\[\s*"([^"]+)"', text)
    units = [float(factor) for factor in _METRES.findall(text)]
    return _on(text, name, _made(name, method.group(1) if method else "", dict(_PARAMETER.findall(text)), units[-1:]))


def of_projjson(document: Mapping[str, Any] | None) -> Projection | None:
    """Return the projection of a PROJJSON object; None for degrees, which is what GeoParquet means by none.

    Raises
    ------
    ValueError
        As `of_text`.
    """
    if document is None:
        return None
    name = str(document.get("name", ""))
    kind = document.get("type", "")
    code = document.get("id", {})
    if isinstance(code, dict) and str(code.get("authority", "")).upper() in ("EPSG", "OGC"):
        try:
            return projection(str(code.get("code", "")))
        except ValueError:
            pass  # not one of those known by number: perhaps by its words
    if kind in ("GeographicCRS", "GeodeticCRS"):
        return _on(_datum(document), name, None)
    if kind == "BoundCRS":
        return of_projjson(document.get("source_crs"))
    conversion = document.get("conversion")
    if kind != "ProjectedCRS" or not isinstance(conversion, dict):
        raise ValueError(f"its coordinate system {name!r} is none that is read")
    parameters = {str(p.get("name")): p.get("value") for p in conversion.get("parameters", []) if isinstance(p, dict)}
    name = name if name not in ("", "unknown") else str(conversion.get("name", ""))
    axes = document.get("coordinate_system", {}).get("axis", [])
    metres = all(axis.get("unit", "metre") == "metre" for axis in axes if isinstance(axis, dict))
    made = _made(name, str(conversion.get("method", {}).get("name", "")), parameters, [1.0 if metres else math.nan])
    return _on(_datum(document.get("base_crs", {})), name, made)


def _datum(document: Mapping[str, Any]) -> str:
    datum = document.get("datum") or document.get("datum_ensemble") or {}
    return f"{document.get('name', '')} {datum.get('name', '')}"


def _on(words: str, name: str, made: Projection | None) -> Projection | None:
    """Return the projection when its datum is near WGS84."""
    if not _DATUM.search(words):
        raise ValueError(f"the datum of its coordinate system {name!r} is not known to be near WGS84")
    return made


def _made(name: str, method: str, parameters: Mapping[str, Any], units: list[float]) -> Projection:
    if method.lower().replace("_", " ") not in ("transverse mercator", "gauss kruger"):
        raise ValueError(f"its coordinate system {name!r} ({method or 'no projection'}) is not transverse Mercator")
    if not units or units[0] != 1.0:
        raise ValueError(f"its coordinate system {name!r} is not in metres")
    low = {key.lower(): value for key, value in parameters.items()}
    number = {
        key: next((float(low[word]) for word in words if word in low), 1.0 if key == "k" else 0.0)
        for key, words in _KEYS.items()
    }
    return transverse_mercator(**number)
