"""Lines of the log that come at once and then seldom: what a broken sensor does every second is said once a minute."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

EVERY_S = 60.0


class Seldom:
    """Says the first of a kind at once, and of those that follow at most one a minute, with their number.

    Parameters
    ----------
    log
        Where it is said.
    level
        Of its lines.
    every_s
        How long a kind is silent after it was said.
    clock
        Returns monotonic seconds.

    Examples
    --------
    >>> times = iter([0.0, 1.0, 61.0])
    >>> log = logging.getLogger("of this example")
    >>> log.log = lambda level, form, line: print(line)
    >>> seldom = Seldom(log, clock=lambda: next(times))
    >>> for name in ("A", "B", "C"):
    ...     seldom.say("silent", 1, lambda n: f"{n} silent, the last {name}")
    1 silent, the last A
    2 silent, the last C
    """

    def __init__(
        self,
        log: logging.Logger,
        *,
        level: int = logging.WARNING,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._level = level
        self._every_s = every_s
        self._clock = clock
        self._due: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._text: dict[str, Callable[[int], str]] = {}
        self._mutex = threading.Lock()

    def say(self, kind: str, n: int, text: Callable[[int], str]) -> None:
        """Count ``n`` more of a kind, and say how many there are when the last line is old enough.

        Parameters
        ----------
        text
            Returns the line for a number.
        """
        with self._mutex:
            self._waiting[kind] += n
            self._text[kind] = text
            now = self._clock()
            if now < self._due.get(kind, now):
                return
            self._due[kind] = now + self._every_s
        self._tell(kind)

    def flush(self) -> None:
        """Say what was counted and not said."""
        for kind in list(self._waiting):
            self._tell(kind)

    def _tell(self, kind: str) -> None:
        with self._mutex:
            n = self._waiting.pop(kind, 0)
        if n:
            self._log.log(self._level, "%s", self._text[kind](n))
