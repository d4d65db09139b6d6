"""Which link a point with a heading lies on: detectors whose link is not known or not believed, and vehicles."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from twin.geometry import to_local
from twin.network import Network

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

SAMPLE_M = 25.0  # along the streets, where points look for their neighbours first


@dataclass(frozen=True, slots=True)
class Match:
    """Where points lie on the links of a network; without a link -1 and NaN.

    Parameters
    ----------
    link : (n,)
        Position of the link.
    position_m : (n,) m
        From the start of the link, in metres of its stated length.
    away_m : (n,) m
        From the point to the link.
    turned_deg : (n,) degrees
        Between the heading of the point and that of the link there, 0 to 180; NaN for a point without a heading.
    """

    link: Long
    position_m: Float
    away_m: Float
    turned_deg: Float


class Streets:
    """The links of a network as pieces of straight line, to find those near a point.

    Parameters
    ----------
    network
        Whose links are looked at; the sphere is flat for a city (twin.geometry.to_local).

    Examples
    --------
    >>> network = Network.from_tables({
    ...     "node": [{"node_id": n, "x_coord": 120 + k / 1000, "y_coord": 30.0} for k, n in enumerate("AB")],
    ...     "link": [{"link_id": a + b, "from_node_id": a, "to_node_id": b} for a, b in ("AB", "BA")],
    ... })
    >>> found = Streets(network).match(np.array([[120.0005, 30.00002]]), np.array([80.0]))  # driving east
    >>> network.links.ids[found.link[0]], round(found.turned_deg[0]), float(found.away_m[0].round(1))
    ('AB', 10, 2.2)
    """

    def __init__(self, network: Network) -> None:
        self._origin = network.compile().origin
        lines = [to_local(line, self._origin) for line in network.links.geometry]
        count = np.array([len(line) - 1 for line in lines], np.int64)
        self._link = np.repeat(np.arange(len(lines)), count)
        self._start = np.concatenate([line[:-1] for line in lines]) if lines else np.zeros((0, 2))
        self._step = np.concatenate([np.diff(line, axis=0) for line in lines]) if lines else np.zeros((0, 2))
        self._long = np.hypot(*self._step.T)
        reach = np.cumsum(self._long) - self._long
        first = np.cumsum(count) - count
        self._before = reach - np.repeat(reach[first] if len(reach) else reach, count)
        drawn = np.bincount(self._link, self._long, len(lines))
        self._stated = network.links.length / np.maximum(drawn, 1e-9)
        pieces = np.maximum(1, np.ceil(self._long / SAMPLE_M)).astype(np.int64)
        self._sample_of = np.repeat(np.arange(len(pieces)), pieces)
        number = np.arange(len(self._sample_of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        share = (number + 0.5) / pieces[self._sample_of]
        self._tree = cKDTree(self._start[self._sample_of] + share[:, None] * self._step[self._sample_of])

    def match(self, lon_lat: Float, heading_deg: Float, *, within_m: float = 40.0, within_deg: float = 45.0) -> Match:
        """Return the nearest link of each point that runs its way.

        Parameters
        ----------
        lon_lat : (n, 2) degrees
        heading_deg : (n,) degrees clockwise from north
            NaN where it is not known: any way will do.
        within_m, within_deg
            A link farther away, or turned more, is not taken.
        """
        found = [
            self._best(point, heading, within_m, within_deg)
            for point, heading in zip(to_local(lon_lat, self._origin), heading_deg, strict=True)
        ]
        return _columns(found)

    def on_links(self, lon_lat: Float, heading_deg: Float, link: Long) -> Match:
        """Return where points lie on a link that is given, however far away; -1 for none."""
        found = []
        for point, heading, which in zip(to_local(lon_lat, self._origin), heading_deg, link, strict=True):
            rows = np.flatnonzero(self._link == which) if which >= 0 else np.zeros(0, np.int64)
            found.append(self._nearest(point, heading, rows, np.inf, 180.0))
        return _columns(found)

    def candidates(
        self, lon_lat: Float, heading_deg: float, *, within_m: float = 40.0, within_deg: float = 90.0
    ) -> Match:
        """Return every link near one point that runs its way, each where it is nearest.

        Parameters
        ----------
        lon_lat : (2,) degrees
        heading_deg
            Clockwise from north; NaN where it is not known: any way will do.
        """
        point = to_local(lon_lat[None], self._origin)[0]
        near = self._tree.query_ball_point(point, within_m + SAMPLE_M / 2)
        rows = np.unique(self._sample_of[near]).astype(np.int64)
        links = np.unique(self._link[rows]).tolist()
        found = [
            self._nearest(point, heading_deg, rows[self._link[rows] == link], within_m, within_deg) for link in links
        ]
        return _columns([one for one in found if one[0] >= 0])

    def _best(self, point: Float, heading: float, within_m: float, within_deg: float) -> tuple[float, ...]:
        near = self._tree.query_ball_point(point, within_m + SAMPLE_M / 2)
        return self._nearest(point, heading, np.unique(self._sample_of[near]), within_m, within_deg)

    def _nearest(
        self, point: Float, heading: float, rows: Long, within_m: float, within_deg: float
    ) -> tuple[float, ...]:
        if not len(rows):
            return _NOWHERE
        step, long = self._step[rows], np.maximum(self._long[rows], 1e-9)
        offset = point - self._start[rows]
        along = np.clip((offset * step).sum(axis=1) / long, 0.0, self._long[rows])
        away = np.hypot(*(offset - step * (along / long)[:, None]).T)
        way = np.degrees(np.arctan2(step[:, 0], step[:, 1]))
        turned = np.abs((way - heading + 180.0) % 360.0 - 180.0)
        fits = (away <= within_m) & ~(turned > within_deg)  # without a heading any way fits
        if not fits.any():
            return _NOWHERE
        # Of pieces equally near, as at a bend or at a junction, the one that runs most nearly the same way.
        best = np.lexsort((np.nan_to_num(turned), np.round(away, 2), ~fits))[0]
        link = int(self._link[rows[best]])
        position = (self._before[rows[best]] + along[best]) * self._stated[link]
        return link, float(position), float(away[best]), float(turned[best])


_NOWHERE = (-1, np.nan, np.nan, np.nan)


def _columns(found: list[tuple[float, ...]]) -> Match:
    link, position, away, turned = np.array(found, float).reshape(-1, 4).T
    return Match(link.astype(np.int64), position, away, turned)
