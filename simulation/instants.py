"""Instants on SimPy's clock: exactly at a time, and after all else that happens then."""

from typing import Any, cast

import simpy


class Late(simpy.Event):
    """An event that comes after all ordinary events of its instant; ``rank`` orders late events among each other."""

    def __init__(self, env: simpy.Environment, delay: float, rank: int = 0) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, priority=cast(Any, 2 + rank), delay=delay)  # SimPy names only 0 and 1


class _Until(float):
    """A delay that leads exactly to a time: added to the clock it is that time, whatever rounding would make of it."""

    time: float

    def __radd__(self, now: float) -> float:
        return self.time


def until(env: simpy.Environment, time: float) -> float:
    """Return the delay after which it is exactly ``time``; the difference, added again, may miss it by a last digit.

    Examples
    --------
    >>> env = simpy.Environment(initial_time=0.2)
    >>> 0.2 + (0.9 - 0.2) == 0.9, 0.2 + until(env, 0.9) == 0.9
    (False, True)
    """
    delay = _Until(max(0.0, time - env.now))
    delay.time = max(time, float(env.now))
    return delay
