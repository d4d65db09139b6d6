"""The result of a run: totals, links on a time grid, trips and detectors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sensors import InputError
from simulation import frames
from simulation.detectors import DetectorTable
from simulation.measure import Cumulative, LinkMeasure
from simulation.od import OdTable
from twin.compiled import CompiledNetwork, Float

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import Dataset

    from twin import Network

Long = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LinkTable:
    """Every link at every sample; the row at time t covers the interval that ends there.

    Parameters
    ----------
    samples
        Counts, of which the first is the start of the run.
    length : (n_links,) m

    Attributes
    ----------
    time : (n_times,) s
    entered, left : (n_times, n_links)
        Vehicles since the start of the run; those on the link at the start are among the entered.
    flow, density, speed : (n_times, n_links) veh/s, veh/m, m/s
        By Edie's definitions; the speed is NaN without vehicles.
    vehicle_seconds : (n_times, n_links) veh s
        Spent on the link since the start of the run.
    """

    link_ids: tuple[str, ...]
    length: Float
    samples: Sequence[Cumulative]

    def _stack(self, name: str, dtype: type) -> npt.NDArray[Any]:
        rows = [getattr(sample, name) for sample in self.samples[1:]]
        return np.array(rows, dtype=dtype).reshape(len(rows), len(self.length))

    @cached_property
    def time(self) -> Float:
        """Of each sample, (n_times,) s."""
        return np.array([sample.time_s for sample in self.samples[1:]], np.float64)

    @cached_property
    def entered(self) -> Long:
        """Vehicles since the start, (n_times, n_links)."""
        return self._stack("entered", np.int64)

    @cached_property
    def left(self) -> Long:
        """Vehicles since the start, (n_times, n_links)."""
        return self._stack("left", np.int64)

    @cached_property
    def vehicle_seconds(self) -> Float:
        """Spent on the link since the start, (n_times, n_links) veh s."""
        return self._stack("vehicle_seconds", np.float64)

    @property
    def on_link(self) -> Long:
        """Vehicles on each link, (n_times, n_links)."""
        return self.entered - self.left

    def measure(self, row: int) -> LinkMeasure:
        """Return the traffic of the interval that ends at sample ``row``."""
        return LinkMeasure.between(self.samples[row], self.samples[row + 1], self.length)

    def _measured(self, name: str) -> Float:
        rows = [getattr(self.measure(row), name) for row in range(len(self.samples) - 1)]
        return np.array(rows, np.float64).reshape(len(rows), len(self.length))

    @cached_property
    def flow(self) -> Float:
        """(entered + left) / 2 D, (n_times, n_links) veh/s."""
        return self._measured("flow")

    @cached_property
    def density(self) -> Float:
        """Vehicle-seconds / (length D), (n_times, n_links) veh/m."""
        return self._measured("density")

    @cached_property
    def speed(self) -> Float:
        """Flow / density, (n_times, n_links) m/s; NaN without vehicles."""
        return self._measured("speed")

    def position(self, link_id: str) -> int:
        """Return the column of a link.

        Raises
        ------
        InputError
            When there is no such link.
        """
        if link_id not in self.link_ids:
            raise InputError(f"link {link_id!r} is not in the network of this result")
        return self.link_ids.index(link_id)

    def curves(self, link_id: str) -> tuple[Float, Long, Long]:
        """Return times and cumulative counts at the entrance and the exit of a link, from the start of the run.

        Returns
        -------
        time : (n_times + 1,) s
        entered, left : (n_times + 1,)
        """
        link = self.position(link_id)
        time = np.array([sample.time_s for sample in self.samples])
        entered, left = (
            np.array([getattr(sample, name)[link] for sample in self.samples], np.int64) for name in ("entered", "left")
        )
        return time, entered, left

    def to_pandas(self) -> "DataFrame":
        """Return one row per sample and link, as in ``links.csv``."""
        return frames.links_frame(self)

    def to_xarray(self) -> "Dataset":
        """Return the measures on the axes ``time`` (s) and ``link`` in SI, units as attributes."""
        return frames.links_dataset(self)


@dataclass(frozen=True)
class TripTable:
    """Every vehicle that was demanded; NaN where something did not happen.

    Parameters
    ----------
    depart, enter, arrive : (n,) s
    distance : (n,) m
        Of the links that it has travelled to their end.
    delay : (n,) s
        Time above the free-flow time, waiting at the origin included; NaN before the arrival.
    origin, destination : (n,)
        Positions in ``places``; the origin is -1 for a vehicle that was under way at the start.
    places
        Ids of zones, or of nodes where the demand is single trips.
    """

    ids: tuple[str, ...]
    depart: Float
    enter: Float
    arrive: Float
    distance: Float
    delay: Float
    origin: Long
    destination: Long
    places: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to_pandas(self) -> "DataFrame":
        """Return one row per vehicle, as in ``trips.csv``, with its origin and destination."""
        return frames.trips_frame(self)


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Parameters
    ----------
    links, trips
        On the time grid; by vehicle.
    totals
        The object of ``--json``.
    notes
        What people should know about it.
    recipe
        Everything needed to repeat it: the object of ``run.json``.
    detectors
        What the network's sensors would have read; None without any.
    network
        On which it ran.
    """

    links: LinkTable = field(repr=False)
    trips: TripTable = field(repr=False)
    totals: dict[str, Any]
    notes: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict, repr=False)
    detectors: DetectorTable | None = field(default=None, repr=False)
    network: "Network | None" = field(default=None, repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the object of ``--json``."""
        return dict(self.totals)

    @property
    def city(self) -> CompiledNetwork:
        """The compiled network."""
        if self.network is None:
            raise InputError("this result was made without its network, so that it cannot be drawn")
        return self.network.compile()

    def od(self, period_s: float | None = None) -> OdTable:
        """Return travel times by origin, destination and period of departure.

        Parameters
        ----------
        period_s
            By default the whole run is one.
        """
        if period_s is not None and not 0 < period_s < math.inf:
            raise InputError(f"period_s is {period_s:g}, must be a number > 0")
        return OdTable.of(self.trips, period_s or max(1.0, float(self.totals["horizon_s"]) + 1.0))

    def __repr__(self) -> str:
        return "\n".join(describe(self.totals))

    def write(self, folder: Path | str, *, od_period_s: float | None = None) -> None:
        """Write ``summary.json``, ``trips.csv``, ``links.csv`` and ``run.json``: all of them or nothing.

        Parameters
        ----------
        od_period_s
            Write ``od.csv`` too, with this period.

        Raises
        ------
        InputError
            When the folder holds other things than a result.
        WorkError
            When the disk refuses.

        Notes
        -----
        With sensors on links ``detectors.csv`` is written too.
        """
        from simulation.result_files import write

        write(self, Path(folder), od_period_s)


def describe(totals: Mapping[str, Any]) -> list[str]:
    """Return what happened in a few lines."""
    vehicles, spent = totals["vehicles"], totals["total_time_spent_s"]
    where = [f"{vehicles['arrived']:,} of {vehicles['demanded']:,} vehicles arrived"]
    where += [f"{vehicles[key]:,} {word}" for key, word in _PLACES if vehicles.get(key)]
    delay = totals["total_delay_s"]
    share = f" ({delay / spent:.0%} of the time spent)" if spent > 0 else ""
    lines = [
        f"Result of {totals['horizon_s']:,.0f} s (seed {totals['seed']}): {', '.join(where)}",
        f"  time spent {spent / 3600:,.1f} veh h, of that delay {delay / 3600:,.1f} veh h{share}",
        f"  distance {totals['total_distance_m'] / 1000:,.1f} veh km, {totals['link_crossings']:,} link crossings, "
        f"{totals['stops']:,} stops",
    ]
    lines += [f"  GRIDLOCK: these links wait for each other: {' > '.join(ring)}" for ring in totals["gridlock"]]
    return lines


_PLACES = (
    ("on_links", "under way"),
    ("waiting", "not yet let in"),
    ("unreachable", "without any path, left out"),
)
