"""Files of lines with attributes: GeoParquet, shapefile and GeoJSON, each told by its first bytes.

Every row comes with its line; parts that follow each other are one line, others cannot be a link.
"""

import importlib
import json
import math
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensors import InputError
from twin.geometry import Float
from twin.importers import coordinates
from twin.importers.shapefile import read_attributes, read_parts
from twin.importers.source import beginning, read_text
from twin.importers.wkb import parse_lines
from twin.projection import Projection, projection
from twin.tables import cell

PARQUET, SHAPEFILE = b"PAR1", struct.pack(">i", 9994)


@dataclass(slots=True)
class LineFile:
    """What a file holds.

    Parameters
    ----------
    columns
        Names of the attributes; the line is the attribute ``geometry``.
    rows
        Attributes as text, without those that were not wanted.
    lines
        One a row, (k, 2) in the file's coordinates.
    projection
        Of the file, None for degrees.
    unknown
        Why the file's coordinate system is not known, ``""`` when it is.
    skipped
        How many other things the file holds: points, polygons, nothing.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, str]] = field(default_factory=list)
    lines: list[Float] = field(default_factory=list)
    projection: Projection | None = None
    unknown: str = ""
    skipped: int = 0

    def add(
        self, row: dict[str, Any], parts: list[Float], who: str, faults: list[str], wanted: Collection[str]
    ) -> None:
        """Add one row, whose line may have several parts."""
        try:
            line = joined(parts)
        except ValueError as error:
            faults.append(f"{who}: geometry {error}")
            return
        self.rows.append({name: text_of(row.get(name)) for name in wanted if name in row} | {"geometry": ""})
        self.lines.append(line)


def kind_of(source: Path) -> str:
    """Return ``parquet``, ``shapefile``, ``geojson`` or ``""`` for what is none of them."""
    if source.is_dir():
        return ""
    head = beginning(source)
    if head.startswith(PARQUET):
        return "parquet"
    if head.startswith(SHAPEFILE):
        return "shapefile"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return "geojson" if text.startswith(b"{") and b'"FeatureCollection"' in head else ""


def read(source: Path, *, wanted: Collection[str] | None = None) -> LineFile:
    """Return the lines of a file.

    Parameters
    ----------
    wanted
        Names of the attributes to keep; None keeps none and reads no line: only ``columns`` is filled.

    Raises
    ------
    InputError
        With every row that cannot be read.
    """
    reader = {"parquet": _parquet, "shapefile": _shapefile, "geojson": _geojson}[kind_of(source)]
    faults: list[str] = []
    found = reader(source, wanted, faults)
    if faults:
        raise InputError(faults[:1000])
    return found


def joined(parts: list[Float]) -> Float:
    """Return the parts of a line as one.

    Raises
    ------
    ValueError
        When they do not follow each other, or have no two points.
    """
    line = parts[0] if parts else np.zeros((0, 2))
    for part in parts[1:]:
        if not len(part) or not len(line) or (part[0] != line[-1]).any():
            raise ValueError("has parts that do not follow each other, must be one line; split it into one a row")
        line = np.concatenate([line, part[1:]])
    if len(line) < 2 or not np.isfinite(line).all():
        raise ValueError("must be a line of two points or more")
    return line


def text_of(value: Any) -> str:
    """Return an attribute as text; a list as its first entry.

    Examples
    --------
    >>> text_of(["primary", "secondary"]), text_of(float("nan")), text_of(3.0), text_of(None)
    ('primary', '', '3', '')
    """
    if isinstance(value, list | tuple | np.ndarray):
        return text_of(value[0]) if len(value) else ""
    if isinstance(value, float) and math.isnan(value):
        return ""
    return cell(value)


def _parquet(source: Path, wanted: Collection[str] | None, faults: list[str]) -> LineFile:
    try:
        parquet, arrow = importlib.import_module("pyarrow.parquet"), importlib.import_module("pyarrow")
    except ImportError:
        raise InputError("a Parquet file needs pyarrow: pip install 'citytwin[parquet]'") from None
    try:
        with parquet.ParquetFile(source) as file:
            metadata, names = file.schema_arrow.metadata or {}, tuple(file.schema_arrow.names)
            about = json.loads(metadata.get(b"geo", b"{}"))
            geometry = about.get("primary_column") if isinstance(about, dict) else None
            if geometry not in names:
                raise InputError(
                    f"{source.name}: is Parquet without a geometry column (no 'geo' metadata), not GeoParquet"
                )
            found = LineFile(tuple("geometry" if name == geometry else name for name in names))
            column = about["columns"][geometry]
            if column.get("encoding") != "WKB":
                raise InputError(f"{source.name}: its geometry is {column.get('encoding')!r}, must be WKB")
            try:
                # Without the key it is degrees; null says that nobody knows.
                found.projection = coordinates.of_projjson(column.get("crs"))
            except ValueError as error:
                found.unknown = str(error)
            if column.get("crs", True) is None:
                found.unknown = "it states no coordinate system"
            if wanted is None:
                return found
            used = [name for name in names if name in wanted and name != geometry]
            number = 0
            for batch in file.iter_batches(columns=[*used, geometry]):
                values = {name: batch.column(name).to_pylist() for name in (*used, geometry)}
                for k, data in enumerate(values[geometry]):
                    number += 1
                    who = f"{source.name}: row {number}"
                    try:
                        parts = parse_lines(data)
                    except ValueError as error:
                        faults.append(f"{who}: geometry {error}")
                        continue
                    found.add({name: values[name][k] for name in used}, parts, who, faults, used)
    except (OSError, arrow.ArrowException, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        text = str(error).split("\n")[0][:200]
        raise InputError(f"{source.name}: cannot be read as GeoParquet: {text}") from None
    return found


def _shapefile(source: Path, wanted: Collection[str] | None, faults: list[str]) -> LineFile:
    columns, rows = read_attributes(source)
    found = LineFile((*columns, "geometry"))
    words = source.with_suffix(".prj")
    if words.is_file():
        try:
            found.projection = coordinates.of_text(read_text(words))
        except ValueError as error:
            found.unknown = str(error)
    else:
        found.unknown = f"there is no {words.name} that says its coordinate system"
    if wanted is None:
        return found
    shapes = read_parts(source)
    if len(shapes) != len(rows):
        raise InputError(
            f"{source.name}: has {len(shapes)} lines, its .dbf has {len(rows)} rows; one of them is cut off"
        )
    for number, (row, parts) in enumerate(zip(rows, shapes, strict=True), 1):
        if parts is None:
            found.skipped += 1
        else:
            found.add(dict(row), parts, f"{source.name}: row {number}", faults, wanted)
    return found


def _geojson(source: Path, wanted: Collection[str] | None, faults: list[str]) -> LineFile:
    features, crs = _features(source)
    names = dict.fromkeys(name for feature in features for name in feature["properties"])
    found = LineFile((*(name for name in names if name != "geometry"), "geometry"))
    if crs:
        try:
            found.projection = projection(crs)
        except ValueError as error:
            found.unknown = str(error)
    if wanted is None:
        return found
    for number, feature in enumerate(features, 1):
        geometry = feature["geometry"]
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if kind not in ("LineString", "MultiLineString"):
            found.skipped += 1
            continue
        who = f"{source.name}: feature {number}"
        try:
            lists = geometry["coordinates"] if kind == "MultiLineString" else [geometry["coordinates"]]
            parts = [np.array([point[:2] for point in part], np.float64).reshape(-1, 2) for part in lists]
        except (KeyError, TypeError, ValueError):
            faults.append(f"{who}: geometry has coordinates that are no numbers")
            continue
        found.add(feature["properties"], parts, who, faults, wanted)
    return found


def _features(source: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the features of a collection, and the name of its coordinate system (that of 2008), if any."""
    try:
        document = json.loads(read_text(source))
    except json.JSONDecodeError as error:
        where = f"{source.name}: line {error.lineno}"
        raise InputError(f"{where}: is not complete JSON ({error.msg}); the file is cut off or damaged") from None
    except RecursionError:
        raise InputError(f"{source.name}: is nested too deeply to be GeoJSON") from None
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        raise InputError(f"{source.name}: features must be a list")
    return list(_clean(features)), _crs_name(document)


def _clean(features: list[Any]) -> Iterator[dict[str, Any]]:
    for feature in features:
        part = feature if isinstance(feature, dict) else {}
        properties = part.get("properties")
        yield {"properties": properties if isinstance(properties, dict) else {}, "geometry": part.get("geometry")}


def _crs_name(document: Any) -> str:
    crs = document.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else ""
    text = str(name or "").removeprefix("urn:ogc:def:crs:").replace("::", ":")
    return "CRS84" if text.endswith("CRS84") else text
