"""How long a message waits: the cost of a commit is shared, and nobody who waits for an answer is held up."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from ingest.linger import AIM, Linger

SHORT_S, LONG_S = 0.005, 0.4


class Play:
    """A worker in virtual time: messages come at given times, or as answers to acknowledgements."""

    def __init__(self) -> None:
        self.linger = Linger(SHORT_S, LONG_S)
        self.now = 0.0
        self.waits: list[float] = []

    def commit(self, came_by: Callable[[float, float], int], first: int = 1) -> None:
        """Take some messages, wait for those that come meanwhile, and commit."""
        wait_s = self.linger.wait_s(now=self.now)
        self.linger.took(first, now=self.now)
        came = came_by(self.now, self.now + wait_s)
        self.now += wait_s
        self.linger.took(came, now=self.now)
        if self.linger.is_long(wait_s):
            self.linger.waited(wait_s, came=came, now=self.now)
        self.waits.append(wait_s)


def fleet(times: npt.NDArray[np.float64]) -> Play:
    """Play sensors that report whether they are answered or not."""
    play, at = Play(), 0
    while at < len(times):
        play.now = max(play.now, times[at])
        first = max(1, int(np.searchsorted(times, play.now, "right")) - at)
        at += first

        def came(begin: float, end: float) -> int:
            return int(np.searchsorted(times, end, "right") - np.searchsorted(times, begin, "right"))

        begin = play.now
        play.commit(came, first)
        at += came(begin, play.now)
    return play


@pytest.mark.parametrize("seed", range(5))
def test_three_hundred_sensors_every_ten_seconds_make_few_commits_a_second(seed: int) -> None:
    """30 messages/s at random times: at most one commit for each wait of 0.4 s, but for the first seconds."""
    times = np.sort(np.random.default_rng(seed).uniform(0, 300, 9_000))
    play = fleet(times)
    # 2 s to learn the rate, and 5 s again whenever chance looks like waiting: 70 % of what was expected in ten waits
    # is 2.5 deviations of the two Poisson numbers compared, once in 160 looks; of 750 looks 75 are independent.
    assert len(play.waits) < 300 / LONG_S + 2 * 30 + 3 * 5 * 30
    assert max(play.waits) <= LONG_S


def test_sensors_that_report_at_the_same_second_share_a_commit() -> None:
    times = np.sort(np.concatenate([10.0 * k + np.random.default_rng(k).uniform(0, 0.3, 300) for k in range(60)]))
    assert len(fleet(times).waits) < 60 * 40, "40 of 300 at most"


@pytest.mark.parametrize("publishers", [1, 2, 5, 8, 12, 30])
@pytest.mark.parametrize("answer_s", [0.0005, 0.005, 0.05])
def test_publishers_that_wait_for_each_answer_are_held_up_by_less_than_half(answer_s: float, publishers: int) -> None:
    """All send when they are answered: during a wait the others come, once each, and then nobody."""
    play = Play()
    for _ in range(20_000):
        play.commit(lambda _begin, _end: publishers - 1)
        play.now += answer_s
    assert play.now < 1.5 * 20_000 * (SHORT_S + answer_s), "what comes less often by 30 % is noticed"


def test_a_publisher_with_a_window_of_twenty_is_not_held_up() -> None:
    play = Play()
    for _ in range(5_000):
        play.commit(lambda _begin, _end: 0, first=20)
        play.now += 0.002
    assert sum(wait for wait in play.waits if wait > SHORT_S) < play.now / 20


@pytest.mark.parametrize("rate", [0.1, 1.0, 4.0])
def test_a_message_that_comes_alone_is_committed_at_once(rate: float) -> None:
    play = fleet(np.arange(0, 100, 1 / rate))
    assert max(play.waits) == SHORT_S


@pytest.mark.parametrize("rate", [5_000.0, 20_000.0])
def test_a_busy_hour_waits_the_shortest(rate: float) -> None:
    assert AIM / rate < SHORT_S, "by then a commit is shared by enough"
    play = fleet(np.arange(0, 5, 1 / rate))
    assert np.median(play.waits) == SHORT_S
    assert max(play.waits) == SHORT_S


def test_a_busy_hour_after_a_quiet_one_is_noticed_within_one_long_wait() -> None:
    play = fleet(np.concatenate([np.arange(0, 20, 1 / 30), np.arange(20, 25, 1 / 5_000)]))
    assert sum(wait > SHORT_S for wait in play.waits[-500:]) <= 1


def test_one_long_wait_for_nobody_is_the_last_for_some_seconds() -> None:
    linger = Linger(SHORT_S, LONG_S)
    for k in range(150):
        linger.took(1, now=k / 30)
    assert linger.wait_s(now=5.0) > SHORT_S, "30 a second came unasked"
    linger.waited(LONG_S, came=0, now=5.0 + LONG_S)
    assert linger.wait_s(now=5.5) == SHORT_S


def test_with_equal_limits_every_message_waits_the_same() -> None:
    linger = Linger(0.5, 0.5)
    for k in range(500):
        linger.took(1, now=k / 30)
    assert linger.wait_s(now=20.0) == 0.5
    assert not linger.is_long(0.5)


def test_a_clock_that_stands_is_no_fault() -> None:
    linger = Linger()
    for _ in range(10):
        linger.took(3, now=1.0)
    assert math.isfinite(linger.wait_s(now=1.0))
