"""Well-known binary: the lines of GeoParquet. Source: OGC 06-103r4, Simple feature access, section 8."""

import struct

import numpy as np

from twin.geometry import Float

LINE, MULTILINE = 2, 5
_NAMES = {1: "a point", 3: "a polygon", 4: "points", 6: "polygons", 7: "a collection"}


def parse_lines(data: bytes | None) -> list[Float]:
    """Return the parts of a LineString or MultiLineString, each (k, 2); Z and M are left out.

    Raises
    ------
    ValueError
        When it is no line, or cut off.

    Examples
    --------
    >>> parse_lines(struct.pack("<BII4d", 1, 2, 2, 0.0, 1.0, 2.0, 3.0))[0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    if not data:
        raise ValueError("is empty, must be a line")
    try:
        parts, _ = _parts(bytes(data), 0)
    except struct.error:
        raise ValueError("is cut off") from None
    return parts


def _parts(data: bytes, at: int) -> tuple[list[Float], int]:
    order = "<" if data[at : at + 1] == b"\x01" else ">"
    (kind,) = struct.unpack_from(order + "I", data, at + 1)
    at += 5
    # Z and M stand as flags (EWKB) or thousands (ISO).
    flags, kind = kind & 0xE0000000, kind & 0x1FFFFFFF
    size = 2 + bool(flags & 0x80000000) + bool(flags & 0x40000000) + {0: 0, 1: 1, 2: 1, 3: 2}.get(kind // 1000, 0)
    kind %= 1000
    at += 4 if flags & 0x20000000 else 0
    if kind not in (LINE, MULTILINE):
        raise ValueError(f"is {_NAMES.get(kind, 'no line')}, must be a line")
    (count,) = struct.unpack_from(order + "I", data, at)
    at += 4
    if kind == LINE:
        if at + 8 * size * count > len(data):
            raise ValueError("is cut off")
        numbers = np.frombuffer(data, order + "f8", size * count, at).reshape(count, size)
        return [numbers[:, :2].astype(np.float64)], at + 8 * size * count
    parts: list[Float] = []
    for _ in range(count):
        more, at = _parts(data, at)
        parts += more
    return parts, at
