"""How long a message waits for others that share its commit: long when only some come and nobody waits for it."""

import math

AIM = 12.0  # messages in a commit: what one costs is then spread well enough
MEMORY_S, LEARNED_S = 5.0, 2.0  # over which the rate is averaged; after which it is believed
FIRST_PAUSE_S, LAST_PAUSE_S = 5.0, 80.0
# Long waits end when fewer come than this share of what came before: over some ten waits, or during a single one.
FEWER, HARDLY_ANY = 0.7, 1 / 6
WAITS_KEPT, BELIEVED = 0.9, 40.0  # of the sums over the last waits; messages expected before they mean anything


class Linger:
    """Finds the wait that spreads the cost of a commit over some messages.

    A fleet of sensors sends on whether it is answered or not: as many messages come while it is kept waiting as came
    before. Publishers that send their next message once the last is acknowledged are different: kept waiting, they
    send fewer. Then the wait is the shortest again, and longer ones are tried seldom.

    Parameters
    ----------
    shortest_s
        A first message waits at least so long.
    longest_s
        And at most so long; up to ``shortest_s``, every message waits the same.

    Examples
    --------
    >>> linger = Linger(0.005, 0.4)
    >>> for k in range(150):  # 30 messages a second, one at a time
    ...     linger.took(1, now=k / 30)
    >>> round(linger.wait_s(now=5.0), 2)
    0.4
    >>> linger.waited(0.4, came=0, now=5.4)  # twelve were to be expected: whoever sends waits for an answer
    >>> linger.wait_s(now=5.5)
    0.005
    """

    def __init__(self, shortest_s: float = 0.005, longest_s: float = 0.4) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._pause_s = FIRST_PAUSE_S
        self._not_before = -math.inf
        self._patient = False
        self._shot = self._known = 0.0  # the average, but for what is not known of the time before; how much is known
        self._expected = self._came = 0.0  # over the last long waits
        self._at = self._since = -math.inf

    def took(self, n: int, *, now: float) -> None:
        """Note that ``n`` messages were taken at a time (s, monotonic)."""
        if self._patient:  # the rate is that of times in which nobody is kept waiting
            self._came += n
            return
        if self._at == -math.inf:
            self._at = self._since = now
            return
        since_s = max(now - self._at, 1e-6)
        kept = math.exp(-since_s / MEMORY_S)
        self._at = now
        self._shot = kept * self._shot + (1 - kept) * n / since_s
        self._known = kept * self._known + 1 - kept

    @property
    def rate(self) -> float:
        """Messages/s that come while nobody is kept waiting."""
        return self._shot / self._known if self._known else 0.0

    def wait_s(self, *, now: float) -> float:
        """Return how long the first message of a commit is to wait for others."""
        if not self._patient and now >= max(self._not_before, self._since + LEARNED_S):
            rate = self.rate
            # In quiet enough hours, and not in those in which nobody would share the commit.
            self._patient = AIM / max(rate, 1e-9) > self._shortest_s and rate * self._longest_s >= 2
        if not self._patient:
            return self._shortest_s
        return max(self._shortest_s, min(self._longest_s, AIM / self.rate))

    def is_long(self, wait_s: float) -> bool:
        """Return whether this is more than the shortest wait."""
        return wait_s > self._shortest_s

    def waited(self, wait_s: float, *, came: int, now: float) -> None:
        """Note how many of the messages taken came during a long wait."""
        self._expected += self.rate * (now - self._at)
        self._at = now
        fewer = self._expected >= BELIEVED and self._came < FEWER * self._expected
        if fewer or came < HARDLY_ANY * self.rate * wait_s:
            self._not_before = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
            self._rest(now)
        elif came > 3 * self.rate * wait_s + 10 and self._came > 2 * self._expected:  # a busy hour begins
            self._rest(now)
        elif self._expected >= 2 * BELIEVED:
            self._pause_s = FIRST_PAUSE_S
        self._expected *= WAITS_KEPT
        self._came *= WAITS_KEPT

    def _rest(self, now: float) -> None:
        """Wait the shortest again, and learn the rate anew."""
        self._patient = False
        self._shot = self._known = self._expected = self._came = 0.0
        self._at = self._since = now
