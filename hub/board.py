"""The board: the newest snapshot for all readers, and the last 90 minutes of every link."""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.state import Snapshot

Float = npt.NDArray[np.float64]
Small = npt.NDArray[np.float32]
# Ends of intervals need no more than three digits.
Tiny = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class LinkHistory:
    """State of one link over time, oldest first.

    Parameters
    ----------
    time : (n,) s since 1970 UTC
    speed, speed_deviation : (n,) m/s
    speed_interval : (2, n) m/s
        Low and high end of the 90 % interval.
    flow : (n,) veh/s
    flow_interval : (2, n) veh/s
    source : (n,) of `twin.state.Source`
    """

    time: Float
    speed: Float
    speed_deviation: Float
    speed_interval: Float
    flow: Float
    flow_interval: Float
    source: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Sample:
    """What `Board.history` shows of one snapshot: a fifth of its size, which counts where links are 100,000."""

    time: float
    speed: Small
    speed_deviation: Small
    speed_interval: Tiny
    flow: Small
    flow_interval: Tiny
    source: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "_Sample":
        return cls(
            snapshot.time,
            snapshot.speed.astype(np.float32),
            snapshot.speed_deviation.astype(np.float32),
            snapshot.speed_interval.astype(np.float16),
            snapshot.flow.astype(np.float32),
            snapshot.flow_interval.astype(np.float16),
            snapshot.source.astype(np.uint8),
        )


class Board:
    """Holds the newest snapshot; publishing swaps one reference, so that readers need no lock.

    Parameters
    ----------
    history_s
        City seconds that are kept for `history`.
    sample_s
        City seconds between two kept samples.
    """

    def __init__(self, *, history_s: float = 5400.0, sample_s: float = 30.0) -> None:
        self._sample_s = sample_s
        self._samples: deque[_Sample] = deque(maxlen=int(history_s / sample_s) + 1)
        self._lock = threading.Lock()
        self.snapshot: Snapshot | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Make a snapshot the newest one and keep it when the last kept one is old enough."""
        with self._lock:
            if not self._samples or snapshot.time - self._samples[-1].time >= self._sample_s:
                self._samples.append(_Sample.of(snapshot))
        self.snapshot = snapshot

    def history(self, link: int) -> LinkHistory:
        """Return what is kept of the link at a position."""
        with self._lock:
            kept = list(self._samples)
        newest = self.snapshot
        if newest is not None and (not kept or newest.time > kept[-1].time):
            kept.append(_Sample.of(newest))
        return LinkHistory(
            time=np.array([s.time for s in kept]),
            speed=np.array([s.speed[link] for s in kept], np.float64),
            speed_deviation=np.array([s.speed_deviation[link] for s in kept], np.float64),
            speed_interval=np.array([s.speed_interval[:, link] for s in kept], np.float64).reshape(-1, 2).T,
            flow=np.array([s.flow[link] for s in kept], np.float64),
            flow_interval=np.array([s.flow_interval[:, link] for s in kept], np.float64).reshape(-1, 2).T,
            source=np.array([s.source[link] for s in kept], np.uint8),
        )
