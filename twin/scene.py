"""The city in three dimensions: roads as ribbons coloured by state, buildings, signals, dark equipment and alerts.

The only file that needs pyvista, which is an extra: ``pip install citytwin[notebook]``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyvista as pv

from sensors import InputError
from twin.network import Network
from twin.outage import Outage
from twin.ribbon import LANE_WIDTH_M, ribbons
from twin.state import Source

Float = npt.NDArray[np.float64]

# Speed over free-flow speed in five steps, ordered by luminance as well, so that they read in greyscale and for
# colour-blind people; the last is "no data". The cockpit uses the same.
STEPS = (0.8, 0.6, 0.4, 0.2)
PALETTE = ("#808C95", "#9C7413", "#A3420E", "#78122F", "#2E0626", "#B9C1C6")
# Colour, and height in m: a lake in a park lies on top of it.
GROUND = {"park": ("#E4ECE0", -8.0), "water": ("#DCE6EA", -4.0)}
# A lane of true width is a hair at the scale of a city: it is drawn at least as wide as this share of the city.
LANE_SHARE = 1 / 600
# Beyond so many links that is wider than a block: ribbons and marks shrink with the root of the number of links.
MANY_LINKS = 5_000
# Where the state comes from is drawn as width: guessed, estimated, measured.
WIDTH_OF_SOURCE = np.array([0.5, 0.75, 1.0])
LEGEND = ("free flow, over 0.8", "0.6 to 0.8", "0.4 to 0.6", "0.2 to 0.4", "jam, below 0.2", "not known")
ALERT = "#B00020"
SIGNAL, DARK, HALO = "#1F7A6B", "#000000", "#FFFFFF"
BUILDING = "#D5DADD"
PAPER = "#F7F8F9"
PIN_SHARE = 1 / 150  # radius of an alert's pin, as a share of the city
SIGNAL_SHARE, DARK_SHARE = 1 / 400, 1 / 320  # radius of their marks
STEP_SHARE = 1 / 20_000  # height of each step of the palette: what is slower lies on top of what is faster
_SINE, _COSINE = np.sin(np.radians(50)), np.cos(np.radians(50))  # the eye stands 50 degrees above the horizon
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


def scene(
    network: Network,
    *,
    speed_ratio: npt.ArrayLike | None = None,
    source: npt.ArrayLike | None = None,
    alerts: Sequence[str] = (),
    outage: Outage | None = None,
    at: float = np.inf,
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
    outage
        Its dark and unheard equipment is marked in black, lost signals with it (`AssetGraph.outage`).
    at
        Of what is dark at this time; of all that ever is unless given.
    off_screen
        For pictures without a window.

    Raises
    ------
    InputError
        When a state does not have one value a link, or a source is none.
    """
    compiled = network.compile()
    n_links = compiled.n_links
    ratio = _one_a_link("speed_ratio", np.nan if speed_ratio is None else speed_ratio, n_links)
    sources = _one_a_link("source", Source.MEASURED if source is None else source, n_links)
    if not np.isin(sources, list(Source)).all():
        raise InputError("source holds values that are no twin.state.Source: 0 guessed, 1 estimated, 2 measured")
    lines = [_metres(network.geometry(link), compiled.origin) for link in range(n_links)]
    size = float(np.hypot(*np.ptp(np.concatenate(lines), axis=0)))
    plotter = pv.Plotter(off_screen=off_screen, window_size=[1280, 800])
    plotter.set_background(PAPER)
    plotter.enable_anti_aliasing("ssaa")
    _add_ground(plotter, network, compiled.origin)
    shrink = min(1.0, (MANY_LINKS / max(n_links, 1)) ** 0.5)
    lane = max(LANE_WIDTH_M, LANE_SHARE * size * shrink)
    points, faces, link = ribbons(lines, compiled.lanes * lane * WIDTH_OF_SOURCE[sources.astype(np.int64)])
    ground = points.copy()  # what the eye looks at does not move with the state
    step = step_of(ratio)
    points[faces[:, 1:].ravel(), 2] = np.repeat(np.where(step < len(STEPS) + 1, step, 0)[link], 4) * STEP_SHARE * size
    # A face without area at the greatest height: VTK scales a mesh by its bounds, and rounds all of it anew.
    points = np.concatenate([points, [[*points[0, :2], len(STEPS) * STEP_SHARE * size]]])
    faces = np.concatenate([faces, [[4, *[len(points) - 1] * 4]]])
    roads = pv.PolyData(points, faces.ravel())
    colours = np.array([_rgb(colour) for colour in PALETTE], np.uint8)
    roads.cell_data["colour"] = colours[step[np.append(link, 0)]]
    plotter.add_mesh(roads, scalars="colour", rgb=True, lighting=False)
    houses = _buildings(network, compiled.origin)
    if houses.n_cells:
        plotter.add_mesh(houses, color=BUILDING, ambient=0.4, diffuse=0.6)
    above = (len(PALETTE) + 2) * STEP_SHARE * size
    dark = _places(network, () if outage is None else outage.unheard(at=at), compiled.origin)
    lost = set() if outage is None else {signal.node_id for signal in outage.signals() if signal.time <= at}
    lit = [node_id for node_id in _signalised(network) if node_id not in lost]
    _add_marks(plotter, _at_nodes(network, lit, compiled.origin), SIGNAL_SHARE * size * shrink, SIGNAL, above)
    unlit = np.concatenate([dark, _at_nodes(network, sorted(lost), compiled.origin)])
    _add_marks(plotter, unlit, 1.5 * DARK_SHARE * size * shrink, HALO, 1.5 * above)
    _add_marks(plotter, unlit, DARK_SHARE * size * shrink, DARK, 2 * above)
    position = {link_id: place for place, link_id in enumerate(compiled.link_ids)}
    for link_id in alerts:
        if link_id in position:
            _add_pin(plotter, lines[position[link_id]].mean(axis=0), PIN_SHARE * size)
    if speed_ratio is not None:
        marks = ((SIGNAL, "signal", lit), (DARK, "dark equipment", len(unlit)), (ALERT, "alert", len(alerts)))
        _add_legend(plotter, [(text, colour) for colour, text, there in marks if there])
    _look_north(plotter, ground)
    return plotter


def _one_a_link(name: str, values: npt.ArrayLike, n_links: int) -> Float:
    array = np.asarray(values, float)
    if array.shape not in ((), (n_links,)):
        raise InputError(f"{name} has shape {array.shape}, must have one value for each of the {n_links} links")
    return np.broadcast_to(array, n_links)


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


def _buildings(network: Network, origin: Float) -> pv.PolyData:
    """Return all buildings as one mesh of walls and roofs: one a building takes seconds in a city."""
    points: list[Float] = []
    faces: list[npt.NDArray[np.int64]] = []
    first = 0
    for house in network.buildings:
        ring = _metres(house.rings[0], origin)[:-1]
        n = len(ring)
        if n < 3:
            continue
        points += [np.column_stack([ring, np.zeros(n)]), np.column_stack([ring, np.full(n, house.height_m)])]
        here = first + np.arange(n)
        there = first + np.roll(np.arange(n), -1)
        faces.append(np.stack([np.full(n, 4), here, there, there + n, here + n], axis=1).ravel())
        faces.append(np.concatenate([[n], here + n]))
        first += 2 * n
    if not points:
        return pv.PolyData()
    return pv.PolyData(np.concatenate(points), np.concatenate(faces)).triangulate()


def _signalised(network: Network) -> list[str]:
    """Return the nodes with a signal: with a plan, or with a signal of ``asset.csv``."""
    heads = {asset.node_id for asset in network.assets.assets.values() if asset.kind == "signal" and asset.node_id}
    return sorted(heads | network.signals.keys())


def _at_nodes(network: Network, node_ids: Sequence[str], origin: Float) -> Float:
    position = network.nodes.position
    rows = [position[node_id] for node_id in node_ids if node_id in position]
    return _metres(network.nodes.lon_lat[rows], origin).reshape(-1, 2)


def _places(network: Network, asset_ids: Sequence[str], origin: Float) -> Float:
    """Return (n, 2) m of the assets that have a place: their own, their node or the middle of their link."""
    places = []
    for asset in (network.assets.assets[name] for name in asset_ids):
        if asset.lon_lat is not None:
            places.append(np.array(asset.lon_lat))
        elif asset.node_id in network.nodes.position:
            places.append(network.nodes.lon_lat[network.nodes.position[asset.node_id]])
        elif asset.link_id in network.links.position:
            places.append(network.geometry(network.links.position[asset.link_id]).mean(axis=0))
    return _metres(np.array(places).reshape(-1, 2), origin)


def _add_marks(plotter: pv.Plotter, places: Float, radius: float, colour: str, height: float) -> None:
    """Draw a flat disc at each place, all as one mesh."""
    if not len(places):
        return
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rim = radius * np.column_stack([np.cos(turn), np.sin(turn)])
    flat = (places[:, None, :] + rim[None]).reshape(-1, 2)
    corners = np.arange(len(flat)).reshape(-1, len(turn))
    faces = np.column_stack([np.full(len(places), len(turn)), corners]).ravel()
    mesh = pv.PolyData(np.column_stack([flat, np.full(len(flat), height)]), faces)
    plotter.add_mesh(mesh, color=colour, lighting=False)


def _add_pin(plotter: pv.Plotter, at: Float, radius: float) -> None:
    top = (at[0], at[1], 4 * radius)
    plotter.add_mesh(pv.Line(pointa=(at[0], at[1], 0), pointb=top), color=ALERT, line_width=3)
    plotter.add_mesh(pv.Sphere(radius=radius, center=top), color=ALERT, lighting=False)


def _add_legend(plotter: pv.Plotter, marks: Sequence[tuple[str, str]]) -> None:
    labels = [[text, colour] for text, colour in (*zip(LEGEND, PALETTE, strict=True), *marks)]
    height = 0.03 * len(labels)
    plotter.add_legend(
        labels, bcolor=PAPER, background_opacity=0.85, face="rectangle", loc="lower left", size=(0.17, height)
    )
    text = plotter.add_text(
        "speed / free-flow speed\nwide: measured, narrow: guessed",
        position=(0.055, height + 0.06),
        viewport=True,
        font_size=8,
        color="#3A4145",
    )
    text.prop.background_color, text.prop.background_opacity = PAPER, 0.85


def _look_north(plotter: pv.Plotter, points: Float) -> None:
    """Look down from the south, as on a map that lies on a table, from where all points just fill the picture."""
    axes = np.array([[1.0, 0.0, 0.0], [0.0, _SINE, _COSINE], [0.0, _COSINE, -_SINE]])  # right, up and forward
    width, height = plotter.window_size
    slope = np.tan(np.radians(plotter.camera.view_angle) / 2)
    focus = (points.min(axis=0) + points.max(axis=0)) / 2
    distance = 10.0
    for _ in range(5):  # what is near is drawn larger, so that the middle of the city is not that of its picture
        right, up, forward = axes @ (points - focus).T
        distance = max(10.0, float(np.max(np.maximum(np.abs(up), np.abs(right) * height / width) / slope - forward)))
        drawn = up / (distance + forward)
        focus = focus + axes[1] * distance * (drawn.min() + drawn.max()) / 2
    plotter.camera.focal_point = focus
    plotter.camera.position = focus - axes[2] * 1.06 * distance
    plotter.camera.up = (0.0, 0.0, 1.0)
    plotter.reset_camera_clipping_range()
