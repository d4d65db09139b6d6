"""How long a message waits for others that share its commit: long when only some come and nobody waits for it."""

import math

AIM = 12.0  # messages in a commit: what one costs is then spread well enough
MEMORY_S = 2.0  # over which the rate is averaged
FIRST_PAUSE_S, LAST_PAUSE_S = 5.0, 80.0


class Linger:
    """Finds the wait that spreads the cost of a commit over some messages.

    A fleet of sensors sends on whether it is answered or not: as many messages come during a wait as the rate promises.
    A publisher that sends its next message only once the last is acknowledged is different: while it waits, nothing
    comes. Then the wait is the shortest again, and longer ones are tried seldom.

    Parameters
    ----------
    shortest_s
        A first message waits at least so long.
    longest_s
        And at most so long; up to ``shortest_s``, every message waits the same.

    Examples
    --------
    >>> linger = Linger(0.005, 0.4)
    >>> for k in range(300):  # 30 messages a second, one at a time
    ...     linger.took(1, now=k / 30)
    >>> round(linger.wait_s(now=10.0), 2)
    0.4
    >>> linger.waited(0.4, came=0, now=10.4)  # twelve were to be expected: whoever sends waits for its answer
    >>> linger.wait_s(now=10.5)
    0.005
    """

    def __init__(self, shortest_s: float = 0.005, longest_s: float = 0.4) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._shot = 0.0  # messages/s of late, but for what is not known of the time before the first
        self._known = 0.0  # how much of the average's memory is filled, 0 to 1
        self._at = -math.inf
        self._pause_s = FIRST_PAUSE_S
        self._not_before = -math.inf

    def took(self, n: int, *, now: float) -> None:
        """Note that ``n`` messages were taken at a time (s, monotonic)."""
        if self._known == 0.0 and self._at == -math.inf:
            self._at = now
            return
        since_s = max(now - self._at, 1e-6)
        kept = math.exp(-since_s / MEMORY_S)
        self._at = now
        self._shot = kept * self._shot + (1 - kept) * n / since_s
        self._known = kept * self._known + 1 - kept

    @property
    def rate(self) -> float:
        """Messages/s, of late."""
        return self._shot / self._known if self._known else 0.0

    def wait_s(self, *, now: float) -> float:
        """Return how long the first message of a commit is to wait for others."""
        rate = self.rate
        if now < self._not_before or rate * self._longest_s < 2:  # nobody would share the commit
            return self._shortest_s
        return max(self._shortest_s, min(self._longest_s, AIM / rate))

    def is_long(self, wait_s: float) -> bool:
        """Return whether this is more than the shortest wait."""
        return wait_s > self._shortest_s

    def waited(self, wait_s: float, *, came: int, now: float) -> None:
        """Note how many messages came during a long wait."""
        expected = self.rate * wait_s
        if came < expected / 4:  # of 12 expected, 2 or fewer come by chance once in 2,000 times
            self._not_before = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
            return
        self._pause_s = FIRST_PAUSE_S
        if came > 3 * expected + 10:  # a busy hour begins: the average would take seconds to learn it
            self._shot, self._known = came / wait_s, 1.0
