"""The city in three dimensions: roads as ribbons coloured by state, buildings as blocks, water and parks as ground.

The only file that needs pyvista, which is an extra: ``pip install citytwin[notebook]``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyvista as pv

from twin.network import Network

Float = npt.NDArray[np.float64]

# Speed over free-flow speed in five steps, ordered by luminance as well, so that they read in greyscale and for
# colour-blind people; the last is "no data". The cockpit uses the same.
STEPS = (0.8, 0.6, 0.4, 0.2)
PALETTE = ("#808C95", "#9C7413", "#A3420E", "#78122F", "#2E0626", "#B9C1C6")
# Colour, and height in m: a lake in a park lies on top of it.
GROUND = {"park": ("#E4ECE0", -8.0), "water": ("#DCE6EA", -4.0)}
LANE_WIDTH_M = 3.25  # GB 50647-2011, urban road intersections: 3.25 m for lanes of up to 60 km/h
# A ribbon of true width is a hair at the scale of a city: widths are drawn at this multiple.
EXAGGERATION = 5.0
# Where the state comes from is drawn as width: guessed, estimated, measured.
WIDTH_OF_SOURCE = np.array([0.45, 0.7, 1.0])
METRES_PER_DEGREE = 111_319.490793


def step_of(ratio: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the step of the palette for each speed ratio, the last step for NaN.

    Examples
    --------
    >>> step_of([0.95, 0.5, 0.0, float("nan")]).tolist()
    [0, 2, 4, 5]
    """
    values = np.asarray(ratio, float)
    step = sum((values < limit).astype(np.int64) for limit in STEPS)
    return np.where(np.isfinite(values), step, len(PALETTE) - 1)


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
    flat = np.concatenate(points) if points else np.zeros((0, 2))
    return (
        np.column_stack([flat, np.zeros(len(flat))]),
        np.concatenate(faces) if faces else np.zeros((0, 5), np.int64),
        np.concatenate(links) if links else np.zeros(0, np.int64),
    )


def scene(
    network: Network,
    *,
    speed_ratio: npt.ArrayLike | None = None,
    source: npt.ArrayLike | None = None,
    alerts: Sequence[str] = (),
    off_screen: bool = False,
) -> pv.Plotter:
    """Return a plotter that shows the city; call its ``show`` or ``screenshot``.

    Parameters
    ----------
    network
        Roads, buildings and ground.
    speed_ratio : (n_links,)
        Speed over free-flow speed; NaN where it is not known, None for a city without state.
    source : (n_links,)
        Values of `twin.state.Source`; drawn as width.
    alerts
        Ids of links that get a pin.
    off_screen
        For pictures without a window.
    """
    compiled = network.compile()
    n_links = compiled.n_links
    ratio = np.full(n_links, np.nan) if speed_ratio is None else np.asarray(speed_ratio, float)
    origin = np.full(n_links, 2) if source is None else np.asarray(source, np.int64)
    lines = [_metres(network.geometry(link), compiled.origin) for link in range(n_links)]
    plotter = pv.Plotter(off_screen=off_screen, window_size=[1280, 800])
    plotter.set_background("#F7F8F9")
    _add_ground(plotter, network, compiled.origin)
    width = compiled.lanes * LANE_WIDTH_M * EXAGGERATION * WIDTH_OF_SOURCE[origin]
    points, faces, link = ribbons(lines, width)
    if len(faces):
        roads = pv.PolyData(points, faces.ravel())
        colours = np.array([_rgb(colour) for colour in PALETTE], np.uint8)
        roads.cell_data["colour"] = colours[step_of(ratio)[link]]
        plotter.add_mesh(roads, scalars="colour", rgb=True, lighting=False)
    _add_buildings(plotter, network, compiled.origin)
    position = {link_id: place for place, link_id in enumerate(compiled.link_ids)}
    for link_id in alerts:
        if link_id in position:
            x, y = lines[position[link_id]].mean(axis=0)
            plotter.add_mesh(pv.Line(pointa=(x, y, 0), pointb=(x, y, 250)), color="#B00020", line_width=3)
            plotter.add_mesh(pv.Sphere(radius=60, center=(x, y, 250)), color="#B00020", lighting=False)
    plotter.view_isometric()
    plotter.camera.elevation += 15
    plotter.camera.zoom(1.7)
    return plotter


def _metres(line: Float, origin: Float) -> Float:
    scale = np.array([np.cos(np.radians(origin[1])), 1.0]) * METRES_PER_DEGREE
    metres: Float = (line - origin) * scale
    return metres


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _polygon(ring: Float, height: float) -> pv.PolyData:
    points = np.column_stack([ring[:-1], np.full(len(ring) - 1, height)])
    return pv.PolyData(points, np.concatenate([[len(points)], np.arange(len(points))]))


def _add_ground(plotter: pv.Plotter, network: Network, origin: Float) -> None:
    for kind, (colour, height) in GROUND.items():
        faces = [_polygon(_metres(area.rings[0], origin), height) for area in network.areas if area.kind == kind]
        if faces:
            plotter.add_mesh(pv.merge(faces).triangulate(), color=colour, lighting=False)


def _add_buildings(plotter: pv.Plotter, network: Network, origin: Float) -> None:
    blocks = [
        _polygon(_metres(house.rings[0], origin), 0.0).extrude((0, 0, house.height_m), capping=True)
        for house in network.buildings
        if len(house.rings[0]) > 3
    ]
    if blocks:
        plotter.add_mesh(pv.merge(blocks), color="#D5DADD", ambient=0.4, diffuse=0.6)
