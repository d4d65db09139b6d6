"""Binary frames of the live link state: a byte of speed ratio and a byte of source for each link.

Layout (little-endian): ``CTF1``, kind (0 full, 1 delta), three zero bytes, sequence (uint32), number of links (uint32),
city time and wall time (float64, s since 1970 UTC). A full frame goes on with ``ratio[n_links]`` and
``source[n_links]``; a delta with the number of changes (uint32), their link positions (uint32), ratios and sources.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.compiled import CompiledNetwork
from twin.state import Snapshot

Bytes = npt.NDArray[np.uint8]
NO_DATA = 255
FULL_RATIO = 250
_HEADER = struct.Struct("<4sB3xIIdd")


@dataclass(frozen=True, slots=True)
class LinkBytes:
    """Ratio and source of every link as they go over the wire."""

    ratio: Bytes
    source: Bytes


@dataclass(frozen=True, slots=True)
class Stamps:
    """Number and times of a frame, s since 1970 UTC."""

    sequence: int
    city_time: float
    wall_time: float

    def header(self, kind: int, n_links: int) -> bytes:
        """Return the first 32 bytes of a frame."""
        return _HEADER.pack(b"CTF1", kind, self.sequence & 0xFFFFFFFF, n_links, self.city_time, self.wall_time)


def link_bytes(snapshot: Snapshot, free_speed: npt.NDArray[np.float64]) -> LinkBytes:
    """Return speed over free-flow speed in steps of 1/250, capped at 1, 255 where there is no speed.

    Parameters
    ----------
    snapshot
        State of all links.
    free_speed : (n_links,) m/s
    """
    ratio = np.clip(snapshot.speed / free_speed, 0.0, 1.0) * FULL_RATIO
    known = np.isfinite(ratio)
    return LinkBytes(
        ratio=np.where(known, np.rint(np.where(known, ratio, 0.0)), NO_DATA).astype(np.uint8),
        source=snapshot.source.astype(np.uint8),
    )


def full_frame(state: LinkBytes, stamps: Stamps) -> bytes:
    """Return the frame that says the state of every link."""
    return stamps.header(0, len(state.ratio)) + state.ratio.tobytes() + state.source.tobytes()


def delta_frame(before: LinkBytes, after: LinkBytes, stamps: Stamps) -> bytes:
    """Return the frame that says what changed; with nothing changed it is a heartbeat."""
    changed = np.flatnonzero((before.ratio != after.ratio) | (before.source != after.source)).astype("<u4")
    head = stamps.header(1, len(after.ratio)) + struct.pack("<I", len(changed))
    return head + bytes(changed.tobytes() + after.ratio[changed].tobytes() + after.source[changed].tobytes())


def geometry(compiled: CompiledNetwork, lines: list[npt.NDArray[np.float64]]) -> bytes:
    """Return the geometry of all links once: offsets, metres east and north of the origin, class.

    Parameters
    ----------
    compiled
        Gives the origin and the classes.
    lines
        One (k, 2) array of longitude and latitude a link.
    """
    offsets = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype("<u4")
    points = np.concatenate(lines) if lines else np.zeros((0, 2))
    lon, lat = compiled.origin
    metres = np.empty(points.shape, "<f4")
    metres[:, 0] = (points[:, 0] - lon) * np.cos(np.radians(lat)) * METRES_PER_DEGREE
    metres[:, 1] = (points[:, 1] - lat) * METRES_PER_DEGREE
    head = struct.pack("<4sIII", b"CTG1", len(lines), len(points), 0)
    return head + offsets.tobytes() + metres.tobytes() + compiled.link_class.astype(np.uint8).tobytes()


# One degree of a great circle on the sphere of WGS84's equatorial radius (6,378,137 m), as web maps use it.
METRES_PER_DEGREE = 111_319.490793
