"""Shapefiles of lines: ``.shp`` with ``.dbf`` beside it. Source: ESRI (1998), Shapefile Technical Description."""

import struct
from pathlib import Path

import numpy as np

from sensors import InputError
from twin.geometry import Float

_LINES = (3, 13, 23)  # PolyLine, PolyLineZ, PolyLineM
_ENCODINGS = {0x57: "cp1252", 0x03: "cp1252", 0x4D: "cp936", 0x7A: "cp936"}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; a shapefile is .shp, .dbf and .prj side by side") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_parts(source: Path) -> list[list[Float] | None]:
    """Return the parts of each line, None for a row without a shape.

    Raises
    ------
    InputError
        When the file is cut off or holds no lines.
    """
    data = _bytes(source)
    found: list[list[Float] | None] = []
    at = 100
    try:
        while at < len(data):
            number, words = struct.unpack_from(">ii", data, at)
            at += 8
            (kind,) = struct.unpack_from("<i", data, at)
            if words < 2 or at + 2 * words > len(data):
                raise struct.error
            if kind == 0:
                found.append(None)
            elif kind not in _LINES:
                raise InputError(f"{source.name}: row {number}: is no line (shape type {kind}), links are lines")
            else:
                n_parts, n_points = struct.unpack_from("<ii", data, at + 36)
                if n_parts < 0 or n_points < 0 or 44 + 4 * n_parts + 16 * n_points > 2 * words:
                    raise struct.error
                starts = np.frombuffer(data, "<i4", n_parts, at + 44)
                points = np.frombuffer(data, "<f8", 2 * n_points, at + 44 + 4 * n_parts).reshape(-1, 2)
                found.append([part.astype(np.float64) for part in np.split(points, starts[1:])] if n_parts else [])
            at += 2 * words
    except (struct.error, ValueError):
        raise InputError(f"{source.name}: is cut off or damaged after row {len(found)}") from None
    return found


def read_attributes(source: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and rows of the table beside a shapefile, as text.

    Raises
    ------
    InputError
        When there is none, or it is cut off.
    """
    path = next((p for p in (source.with_suffix(".dbf"), source.with_suffix(".DBF")) if p.is_file()), None)
    data = _bytes(path or source.with_suffix(".dbf"))
    name = source.with_suffix(".dbf").name
    try:
        count, start, size = struct.unpack_from("<iHH", data, 4)
        fields: list[tuple[str, str, int]] = []
        at = 32
        while data[at] != 0x0D:
            label = data[at : at + 11].split(b"\0")[0].decode("ascii", "replace").strip()
            fields.append((label, chr(data[at + 11]), data[at + 16]))
            at += 32
        if start + count * size > len(data) or size < 1 + sum(width for *_, width in fields):
            raise IndexError
    except (struct.error, IndexError):
        raise InputError(f"{name}: is cut off or no dBASE table") from None
    encoding = _encoding(source, data[29])
    rows: list[dict[str, str]] = []
    for k in range(count):
        at = start + k * size + 1
        row: dict[str, str] = {}
        for label, kind, width in fields:
            text = data[at : at + width].decode(encoding, "replace").strip(" \0")
            # Numbers that do not fit are filled with stars; a flag that nobody set is a question mark.
            row[label] = "" if set(text) <= {"*", "?"} and kind in "NFL" else text
            at += width
        rows.append(row)
    return [label for label, *_ in fields], rows


def _encoding(source: Path, mark: int) -> str:
    """Return the encoding of the table: that of .cpg, else that of its language driver, else UTF-8."""
    named = source.with_suffix(".cpg")
    if named.is_file():
        word = named.read_text("ascii", "replace").strip().lower()
        try:
            "".encode(word := f"cp{word}" if word.isdigit() else word)
        except LookupError:
            return "utf-8"
        return word
    return _ENCODINGS.get(mark, "utf-8")
