"""Pictures of a result: network by speed, time and space along a corridor, cumulative curves, fundamental diagram.

Each function draws on the given axes, or on new ones, and returns them; matplotlib comes with the extra ``notebook``.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensors import InputError
from simulation.frames import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulation.result import Result

# Speed over free speed, from standing to free: red to green with a yellow middle, as people read it on a map; the
# lightness rises with it, so that it is readable without colours as well.
COLOURS = ((0.55, 0.05, 0.15), (0.85, 0.25, 0.15), (0.95, 0.60, 0.20), (0.90, 0.85, 0.35), (0.45, 0.75, 0.45))
EMPTY = "0.8"


def _axes(axes: "Axes | None", width: float, height: float) -> Any:
    if axes is not None:
        return axes
    return extra("matplotlib.pyplot").subplots(figsize=(width, height), layout="constrained")[1]


def _map() -> Any:
    colours = extra("matplotlib.colors").LinearSegmentedColormap.from_list("citytwin", COLOURS)
    return colours.with_extremes(bad=EMPTY)


def _row(result: "Result", time_s: float | None) -> int:
    """Return the sample whose interval holds a time; by default the one with most vehicles."""
    times = result.links.time
    if time_s is None:
        return int(result.links.on_link.sum(axis=1).argmax())
    if not 0 <= time_s <= times[-1]:
        raise InputError(f"time_s is {time_s:g}, the result covers 0 to {times[-1]:g}")
    return int(np.searchsorted(times, time_s))


def network_map(result: "Result", time_s: float | None = None, *, axes: "Axes | None" = None) -> "Axes":
    """Draw every link, coloured by its speed over its free speed and as wide as its lanes; grey where nobody is.

    Parameters
    ----------
    time_s
        Within the result; by default the sample with most vehicles.

    Raises
    ------
    InputError
        When the time is outside the result, or matplotlib is not installed.
    """
    row, network, city = _row(result, time_s), result.network, result.city
    assert network is not None
    ax = _axes(axes, 7.0, 6.0)
    speed = result.links.speed[row] / city.free_speed
    order = np.argsort(np.where(np.isnan(speed), np.inf, speed), kind="stable")[::-1]  # the slow ones on top
    lines = extra("matplotlib.collections").LineCollection(
        [network.geometry(link) for link in order],
        cmap=_map(),
        norm=extra("matplotlib.colors").Normalize(0.0, 1.0, clip=True),
        linewidths=0.6 + 0.7 * city.lanes[order],
        capstyle="round",
    )
    lines.set_array(np.ma.masked_invalid(speed[order]))
    ax.add_collection(lines)
    ax.autoscale()
    ax.set_aspect(1.0 / np.cos(np.radians(city.origin[1])))
    ax.set(xlabel="longitude", ylabel="latitude", title=f"{network.name} at {result.links.time[row]:,.0f} s")
    ax.ticklabel_format(useOffset=False)
    ax.figure.colorbar(lines, ax=ax, label="speed over free speed (grey: nobody)", shrink=0.8)
    answer: Axes = ax
    return answer


def time_space(result: "Result", links: Sequence[str], *, axes: "Axes | None" = None) -> "Axes":
    """Draw the speed along a corridor, time to the right, distance upwards.

    Parameters
    ----------
    links
        Ids in road order; each begins where the one before ends.

    Raises
    ------
    InputError
        When the links are no corridor, or matplotlib is not installed.
    """
    city = result.city
    at = [result.links.position(name) for name in links]
    if not at:
        raise InputError("a corridor needs at least one link")
    for before, after in itertools.pairwise(at):
        if city.to_node[before] != city.from_node[after]:
            raise InputError(f"link {city.link_ids[after]} does not begin where link {city.link_ids[before]} ends")
    ax = _axes(axes, 8.0, 4.5)
    edges = np.concatenate([[0.0], np.cumsum(city.length[at])])
    times = np.array([sample.time_s for sample in result.links.samples])
    speed = np.ma.masked_invalid(result.links.speed[:, at].T * 3.6)
    shown = ax.pcolormesh(
        times / 60.0, edges / 1000.0, speed, cmap=_map(), vmin=0.0, vmax=city.free_speed[at].max() * 3.6
    )
    for edge in edges[1:-1]:
        ax.axhline(edge / 1000.0, color="white", linewidth=0.5)
    ax.set(xlabel="time (min)", ylabel="distance (km)", title=f"{links[0]} to {links[-1]}")
    ax.figure.colorbar(shown, ax=ax, label="speed (km/h), grey: nobody")
    answer: Axes = ax
    return answer


def cumulative_curves(result: "Result", link: str, *, axes: "Axes | None" = None) -> "Axes":
    """Draw the counts at the entrance and the exit of a link, and the entrance a free-flow time later.

    The height between entered and left is the vehicles on the link; the area between the shifted curve and the exit is
    the delay (Newell 1993).
    """
    time, entered, left = result.links.curves(link)
    city, at = result.city, result.links.position(link)
    ax = _axes(axes, 7.0, 4.5)
    free_time = float(city.length[at] / city.free_speed[at])
    minutes = time / 60.0
    ax.plot(minutes, entered, color="tab:blue", label="entered")
    ax.plot(
        minutes + free_time / 60.0, entered, color="tab:blue", linestyle=":", label="entered, a free-flow time later"
    )
    ax.plot(minutes, left, color="tab:red", label="left")
    ax.set(xlabel="time (min)", ylabel="vehicles", title=f"link {link}", xlim=(minutes[0], minutes[-1]), ylim=(0, None))
    ax.legend(frameon=False)
    answer: Axes = ax
    return answer


def fundamental_diagram(result: "Result", link: str, *, axes: "Axes | None" = None) -> "Axes":
    """Draw flow over density of a link, a point for each sample, on the diagram that the engine keeps to.

    A link that is in both states, with a queue on a part of it, lies within the diagram, on neither branch. While a
    queue grows or dissolves the mean of entries and exits is not the flow of the whole link: such points lie off it.
    """
    city, at = result.city, result.links.position(link)
    ax = _axes(axes, 6.0, 4.5)
    v, w = float(city.free_speed[at]), float(city.wave_speed[at])
    jam, top = float(city.jam_density[at]), float(city.capacity[at])
    corners = np.array([[0.0, 0.0], [top / v, top], [jam - top / w, top], [jam, 0.0]])
    ax.plot(corners[:, 0] * 1000.0, corners[:, 1] * 3600.0, color="0.4", label="theory")
    density, flow = result.links.density[:, at] * 1000.0, result.links.flow[:, at] * 3600.0
    points = ax.scatter(density, flow, c=result.links.time / 60.0, s=14, cmap="viridis", label="samples", zorder=3)
    ax.set(xlabel="density (veh/km)", ylabel="flow (veh/h)", title=f"link {link}", xlim=(0, None), ylim=(0, None))
    ax.legend(frameon=False)
    ax.figure.colorbar(points, ax=ax, label="time (min)")
    answer: Axes = ax
    return answer
