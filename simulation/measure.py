"""Flow, density and speed of links from cumulative counts, by Edie's definitions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.compiled import Float

Long = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cumulative:
    """Counts since the start of a run.

    Parameters
    ----------
    time_s
        Of the run.
    entered, left : (n_links,)
        Vehicles.
    vehicle_seconds : (n_links,) veh s
        Time spent on the link by all vehicles.
    """

    time_s: float
    entered: Long
    left: Long
    vehicle_seconds: Float

    @property
    def on_link(self) -> Long:
        """Vehicles on each link, (n_links,)."""
        return self.entered - self.left


@dataclass(frozen=True, slots=True)
class LinkMeasure:
    """The traffic of every link over an interval.

    Parameters
    ----------
    flow : (n_links,) veh/s
        (entered + left) / 2 D.
    density : (n_links,) veh/m
        Vehicle-seconds / (length D).
    speed : (n_links,) m/s
        Flow / density, NaN without vehicles.

    Notes
    -----
    Source: Edie (1963), Discussion of traffic stream measurements and definitions.
    """

    from_s: float
    until_s: float
    flow: Float
    density: Float
    speed: Float

    @classmethod
    def between(
        cls, first: Cumulative, second: Cumulative, length: Float, free_speed: Float | None = None
    ) -> "LinkMeasure":
        """Return the traffic between two counts of links of a length (m).

        The mean of entries and exits is not exactly the distance driven, so that a short interval can give more than
        the free speed; ``free_speed`` (m/s) caps it.
        """
        duration = second.time_s - first.time_s
        if duration <= 0:
            raise ValueError(f"the interval from {first.time_s:g} to {second.time_s:g} s must be longer than 0 s")
        flow = ((second.entered - first.entered) + (second.left - first.left)) / (2.0 * duration)
        density = np.maximum(0.0, second.vehicle_seconds - first.vehicle_seconds) / (length * duration)
        density = np.where((density * length * duration < 1e-6) & (flow == 0), 0.0, density)
        speed = np.divide(flow, density, out=np.full(len(flow), np.nan), where=density > 0)
        if free_speed is not None:
            speed = np.minimum(speed, free_speed)
        return cls(first.time_s, second.time_s, flow, density, speed)
