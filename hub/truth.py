"""The truth of the demo's street, kept apart from the twin, so that the error of its estimate is known and shown.

The street is a simulation that the twin does not see. What it says about itself is held here, and goes to tables of its
own (``street_truth``, ``street_event``); nothing of it reaches `twin` or `ingest`.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.database import Database, DatabaseAway
from twin.state import Snapshot

log = logging.getLogger(__name__)
Float = npt.NDArray[np.float64]

RECORD_EVERY_S = 60.0  # of city time
MOST_WAITING = 10_000  # rows that are kept while the database is away: a week of minutes
_TRUTH = (
    "INSERT INTO street_truth (time, network_sha256, speed_kmh, flow_veh_h, error_speed_kmh, error_flow_veh_h)"
    " VALUES (to_timestamp(%s), %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_EVENT = (
    "INSERT INTO street_event (kind, subject, starts, ends, payload)"
    " VALUES (%s, %s, to_timestamp(%s), to_timestamp(%s), %s::jsonb)"
)


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
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque(maxlen=MOST_WAITING)
        self._recorded_at = float("-inf")
        self.state: StreetState | None = None
        self.error: EstimateError | None = None

    def put(self, line: Mapping[str, Any]) -> None:
        """Take one line of the street: ``{"truth": ...}``, ``{"incident": ...}`` or ``{"fault": ...}``."""
        if "truth" in line:
            row = line["truth"]
            speed = np.array([np.nan if value is None else value for value in row["speed"]], float)
            self.state = StreetState(float(row["time"]), speed, np.array(row["flow"], float))
        for kind, named in (("incident", "link_id"), ("fault", "sensor_id")):
            if kind in line:
                told = line[kind]
                event = (kind, told[named], told["from"], told["until"], json.dumps(dict(told)))
                with self._lock:
                    self._waiting.append((_EVENT, event))

    def compare(self, snapshot: Snapshot) -> None:
        """Note how far a snapshot is from the newest state of the street, and put both down once a minute."""
        state = self.state
        if state is None or state.speed.shape != snapshot.speed.shape:
            return
        known = np.isfinite(state.speed)
        speed = float(np.abs(snapshot.speed - state.speed)[known].mean()) if known.any() else float("nan")
        flow = float(np.abs(snapshot.flow - state.flow).mean())
        self.error = EstimateError(speed * 3.6, flow * 3600.0, state.time)
        if state.time - self._recorded_at >= RECORD_EVERY_S:
            self._recorded_at = state.time
            speeds = [round(u, 1) if np.isfinite(u) else None for u in (3.6 * state.speed).tolist()]
            flows = [round(q) for q in (3600.0 * state.flow).tolist()]
            errors = (self.error.speed_kmh_mae if known.any() else None, self.error.flow_veh_h_mae)
            with self._lock:
                self._waiting.append((_TRUTH, (state.time, snapshot.network_sha256, speeds, flows, *errors)))

    def save(self, database: Database) -> None:
        """Write what waits; while the database is away it goes on waiting."""
        with self._lock:
            waiting = list(self._waiting)
        if not waiting:
            return
        try:
            with database.connection() as connection:
                for statement, row in waiting:
                    connection.execute(statement.encode(), row)
        except DatabaseAway as error:
            log.debug("%s; the truth of the street waits", error)
            return
        with self._lock:
            written = {id(item) for item in waiting}
            kept = [item for item in self._waiting if id(item) not in written]
            self._waiting.clear()
            self._waiting.extend(kept)

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
