"""Instants on SimPy's clock: exactly at a time, and after all else that happens then."""

import math
from typing import Any, cast

import simpy


class Late(simpy.Event):
    """An event that comes after all ordinary events of its instant; ``rank`` orders late events among each other."""

    def __init__(self, env: simpy.Environment, delay: float, rank: int = 0) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        env.schedule(self, priority=cast(Any, 2 + rank), delay=delay)  # SimPy names only 0 and 1


def until(env: simpy.Environment, time: float) -> float:
    """Return the delay after which it is exactly ``time``: rounding would otherwise miss it by a last digit.

    Examples
    --------
    >>> env = simpy.Environment(initial_time=0.1)
    >>> 0.1 + (0.7 - 0.1) == 0.7, 0.1 + until(env, 0.7) == 0.7
    (False, True)
    """
    delay = time - env.now
    for nudged in (delay, math.nextafter(delay, math.inf), math.nextafter(delay, -math.inf)):
        if env.now + nudged == time:
            return max(0.0, nudged)
    return max(0.0, delay)
