"""The one city clock: live, or event time at a factor; everything that asks for "now" asks it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sensors.errors import InputError


@dataclass(frozen=True, slots=True)
class CityClock:
    """City time as a straight line over wall time.

    Parameters
    ----------
    wall
        Returns wall time, s since 1970 UTC; usually ``time.time``.
    wall_start, city_start
        A wall instant and the city time that it shows, s since 1970 UTC.
    factor
        City seconds per wall second.

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

    def now(self) -> float:
        """Return city time, s since 1970 UTC."""
        return self.city_start + (self.wall() - self.wall_start) * self.factor

    @classmethod
    def parse(cls, text: str, *, wall: Callable[[], float]) -> "CityClock":
        """Return the clock of ``live`` or ``<RFC 3339>@<factor>``, starting now.

        Raises
        ------
        InputError
            When the text is neither.

        Examples
        --------
        >>> CityClock.parse("2014-08-01T00:00:00Z@60", wall=lambda: 7.0).now()
        1406851200.0
        """
        if text == "live":
            return cls(wall=wall)
        stamp, _, factor_text = text.partition("@")
        try:
            start, factor = datetime.fromisoformat(stamp), float(factor_text or "1")
        except ValueError:
            start, factor = None, math.nan
        if start is None or start.tzinfo is None or not (math.isfinite(factor) and factor > 0):
            raise InputError(
                f"CITYTWIN_CLOCK is {text!r}, must be 'live' or a time with zone, '@' and a factor > 0, "
                "for example 2014-08-01T00:00:00Z@60"
            )
        return cls(wall=wall, wall_start=wall(), city_start=start.timestamp(), factor=factor)
