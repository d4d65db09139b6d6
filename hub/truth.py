"""The truth of the demo's street, kept apart from the twin, so that the error of its estimate is known and shown.

The street is a simulation that the twin does not see. What it says about itself is stored here and in the schema
``street``; nothing of it reaches `twin` or `ingest`.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from twin.state import Snapshot

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StreetState:
    """What really happened on every link in the interval that ends at ``time``.

    Parameters
    ----------
    time : s since 1970 UTC
    speed : (n_links,) m/s, NaN without a vehicle
    flow : (n_links,) veh/s
    """

    time: float
    speed: Float
    flow: Float


@dataclass(frozen=True, slots=True)
class EstimateError:
    """Mean absolute error of a snapshot against the street, links with vehicles only for speed."""

    speed_kmh_mae: float
    flow_veh_h_mae: float
    time: float


class Truth:
    """The newest state of the street and what happened in it; empty outside the demo."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.state: StreetState | None = None
        self.error: EstimateError | None = None
        self.incidents: list[Mapping[str, Any]] = []

    def put(self, line: Mapping[str, Any]) -> None:
        """Take one line of the street: ``{"truth": ...}`` or ``{"incident": ...}``."""
        if "truth" in line:
            row = line["truth"]
            speed = np.array([np.nan if value is None else value for value in row["speed"]], float)
            self.state = StreetState(float(row["time"]), speed, np.array(row["flow"], float))
        elif "incident" in line:
            with self._lock:
                self.incidents.append(line["incident"])

    def compare(self, snapshot: Snapshot) -> None:
        """Note how far a snapshot is from the newest state of the street."""
        state = self.state
        if state is None or state.speed.shape != snapshot.speed.shape:
            return
        known = np.isfinite(state.speed)
        speed = float(np.abs(snapshot.speed - state.speed)[known].mean()) if known.any() else float("nan")
        flow = float(np.abs(snapshot.flow - state.flow).mean())
        self.error = EstimateError(speed * 3.6, flow * 3600.0, state.time)

    def of_link(self, link: int) -> dict[str, float | None] | None:
        """Return the true speed (km/h) and flow (veh/h) of a link, None when there is no street."""
        state = self.state
        if state is None:
            return None
        speed = float(state.speed[link])
        return {
            "speed_kmh": round(speed * 3.6, 1) if np.isfinite(speed) else None,
            "flow_veh_h": round(float(state.flow[link]) * 3600.0, 1),
        }
