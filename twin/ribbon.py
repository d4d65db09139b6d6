"""Roads as surfaces: a ribbon of lanes to the right of each link's line."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from twin.geometry import Float

LANE_WIDTH_M = 3.25  # GB 50647-2011, urban road intersections: 3.25 m for lanes of up to 60 km/h


def ribbons(lines: Sequence[Float], width: Float) -> tuple[Float, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return points, quadrilaterals and the link of each, for links drawn to the right of their line.

    Parameters
    ----------
    lines
        One (k, 2) array of metres a link.
    width : (n_links,) m

    Returns
    -------
    points : (n, 3) m
    faces : (m, 5), as VTK wants them
    link : (m,) position of the link that a face belongs to
    """
    points: list[Float] = []
    faces: list[npt.NDArray[np.int64]] = []
    links: list[npt.NDArray[np.int64]] = []
    offset = 0
    for link, line in enumerate(lines):
        step = np.diff(line, axis=0)
        length = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)
        normal = np.stack([step[:, 1], -step[:, 0]], axis=1) / length[:, None]
        # At a bend the two pieces share the mean of their normals, so that the ribbon has no gap.
        corner = np.concatenate([normal[:1], (normal[:-1] + normal[1:]) / 2, normal[-1:]])
        left, right = line + corner * 0.5, line + corner * (0.5 + width[link])
        count = len(line)
        points.append(np.concatenate([left, right]))
        first = offset + np.arange(count - 1)
        faces.append(np.stack([np.full(count - 1, 4), first, first + 1, first + count + 1, first + count], axis=1))
        links.append(np.full(count - 1, link))
        offset += 2 * count
    flat = np.concatenate(points)
    return np.column_stack([flat, np.zeros(len(flat))]), np.concatenate(faces), np.concatenate(links)
