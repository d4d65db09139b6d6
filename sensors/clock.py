"""The one city clock: live, event time at a factor, or the time of a replay; everything that asks for "now" asks it."""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from sensors.errors import InputError
from sensors.reading import Batch

_LONGEST_SILENCE_S = 86_400.0


class EventTime:
    """The newest event time among the readings of a replay, which may run at any speed.

    A reading moves it ahead by at most ``largest_jump_s``; a longer way, as over a gap between two recordings, it only
    goes when ``agreeing`` readings (sensor and time) in a row are there. A device with a wrong clock thus cannot carry
    the city into its future. It never goes back.

    Parameters
    ----------
    wall
        Returns wall time, s since 1970 UTC: recorded readings are never later.
    start_s
        Where it stands before the first reading; without it, the first reading says.

    Examples
    --------
    >>> from sensors.reading import Reading
    >>> time = EventTime(wall=lambda: 1.8e9)
    >>> time.observe(Batch.of([Reading("D1", "speed_kmh", 1406851200000, 50.0)], received_at=0.0))
    >>> time.now()
    1406851200.0
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float],
        start_s: float | None = None,
        largest_jump_s: float = 86_400.0,
        agreeing: int = 10,
    ) -> None:
        self._wall = wall
        self._newest = start_s
        self._largest_jump_s = largest_jump_s
        self._agreeing = agreeing
        self._ahead: dict[tuple[str, float], None] = {}
        self._lock = threading.Lock()  # the writer moves it, everyone reads it

    @property
    def started(self) -> bool:
        """Whether it stands somewhere: a start was given or a reading was seen."""
        return self._newest is not None

    def now(self) -> float:
        """Return the newest event time, s since 1970 UTC; 0 before the first reading."""
        return 0.0 if self._newest is None else self._newest

    def observe(self, batch: Batch) -> None:
        """Move ahead to the newest credible reading of a batch, in order of arrival."""
        time_s = batch.time_ms / 1000
        rows = np.flatnonzero(time_s <= self._wall() + 300)
        if len(rows) == 0:
            return
        with self._lock:
            if self._newest is None:
                self._newest = float(np.median(time_s[rows]))
            near = time_s[rows] <= self._newest + self._largest_jump_s
            if near.any():
                self._ahead.clear()
                self._newest = max(self._newest, float(time_s[rows[near]].max()))
                rows = rows[np.flatnonzero(near)[-1] + 1 :]
            for row in rows.tolist():
                self._ahead[batch.sensor_id[row], float(time_s[row])] = None
                if len(self._ahead) >= self._agreeing:
                    self._newest = float(np.median([time for _, time in self._ahead]))
                    self._ahead.clear()


@dataclass(frozen=True, slots=True)
class CityClock:
    """City time as a straight line over wall time, or over the event time of a replay.

    Parameters
    ----------
    wall
        Returns wall time, s since 1970 UTC; usually ``time.time``.
    wall_start, city_start
        A wall instant and the city time that it shows, s since 1970 UTC.
    factor
        City seconds per wall second.
    event_time
        Set when readings drive the clock; then ``wall`` is its ``now``.

    Examples
    --------
    >>> clock = CityClock(wall=lambda: 110.0, wall_start=100.0, city_start=5000.0, factor=60.0)
    >>> clock.now()
    5600.0
    """

    wall: Callable[[], float]
    wall_start: float = 0.0
    city_start: float = 0.0
    factor: float = 1.0
    event_time: EventTime | None = field(default=None, kw_only=True)

    def now(self) -> float:
        """Return city time, s since 1970 UTC."""
        return self.city_start + (self.wall() - self.wall_start) * self.factor

    @property
    def started(self) -> bool:
        """Whether ``now`` means something: always, but before the first reading of a replay."""
        return self.event_time is None or self.event_time.started

    def observe(self, batch: Batch) -> None:
        """Let readings move a replay's clock, before their times are judged; other clocks take no notice."""
        if self.event_time is not None:
            self.event_time.observe(batch)

    @classmethod
    def parse(cls, text: str, *, wall: Callable[[], float]) -> "CityClock":
        """Return the clock of ``live``, ``<RFC 3339>@<factor>`` (starting now), ``replay`` or ``replay@<RFC 3339>``.

        Raises
        ------
        InputError
            When the text is none of them.

        Examples
        --------
        >>> CityClock.parse("2014-08-01T00:00:00Z@60", wall=lambda: 7.0).now()
        1406851200.0
        >>> CityClock.parse("replay", wall=lambda: 7.0).started
        False
        """
        if text == "live":
            return cls(wall=wall)
        if text == "replay":
            return cls._driven(EventTime(wall=wall))
        first, _, second = text.partition("@")
        if first == "replay":
            start = _instant(second)
            if start is not None:
                return cls._driven(EventTime(wall=wall, start_s=start))
        else:
            start, factor = _instant(first), _factor(second or "1")
            if start is not None and factor is not None:
                return cls(wall=wall, wall_start=wall(), city_start=start, factor=factor)
        raise InputError(
            f"CITYTWIN_CLOCK is {text!r}, must be 'live', a time with zone, '@' and a factor > 0, for example "
            "2014-08-01T00:00:00Z@60, or 'replay', alone or with '@' and the time to start from"
        )

    @classmethod
    def _driven(cls, event_time: EventTime) -> "CityClock":
        return cls(wall=event_time.now, event_time=event_time)


def _instant(text: str) -> float | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.timestamp() if instant.tzinfo is not None else None


def _factor(text: str) -> float | None:
    try:
        factor = float(text)
    except ValueError:
        return None
    return factor if math.isfinite(factor) and factor > 0 else None


def ticks(batch: Batch, *, interval_s: float, since: float) -> Iterator[tuple[float, Batch]]:
    """Cut a batch at every multiple of an interval of event time, so that rules see each instant at any speed.

    Yields (now, part): for every boundary T after ``since`` up to the newest reading the readings up to T (all that
    are older in the first), an empty part where nothing happened, so that silence is noticed; then what is newer than
    the last boundary, with the newest time. The next call takes the last ``now`` as its ``since``. Of a silence of
    more than a day only the end is walked through: it lies between two recordings.

    Parameters
    ----------
    interval_s
        Of the rules, s.
    since : s since 1970 UTC
        City time up to which rules were evaluated.

    Examples
    --------
    >>> from sensors.reading import Reading
    >>> readings = [Reading("D1", "speed_kmh", ms, 50.0) for ms in (1000, 12_000, 35_000)]
    >>> [(now, len(part)) for now, part in ticks(Batch.of(readings, received_at=40.0), interval_s=10.0, since=0.0)]
    [(10.0, 1), (20.0, 1), (30.0, 0), (35.0, 1)]
    """
    if len(batch) == 0:
        return
    order = np.argsort(batch.time_ms, kind="stable")
    time_s = batch.time_ms[order] / 1000
    newest = float(time_s[-1])
    number, last = math.floor(since / interval_s) + 1, math.floor(newest / interval_s)
    start = 0
    while number <= last:
        if time_s[start] > number * interval_s + _LONGEST_SILENCE_S:
            number = math.floor(time_s[start] / interval_s)
        now = number * interval_s
        end = int(np.searchsorted(time_s, now, side="right"))
        yield now, batch.take(order[start:end])
        start = end
        number += 1
    if start < len(order):
        yield max(newest, since), batch.take(order[start:])
