"""Threads that stay for the next piece of work."""

import gc
import os
import threading
import time
import weakref

import pytest

from simulation import threads
from simulation.threads import in_order, side_by_side


class BoomError(Exception):
    """Raised on purpose."""


def test_the_same_threads_work_again() -> None:
    seen: list[set[int]] = []
    for _ in range(3):
        names: set[int] = set()
        together = threading.Barrier(3)

        def work(names: set[int] = names, together: threading.Barrier = together) -> None:
            together.wait(30)
            names.add(threading.get_ident())

        side_by_side(work, 3)
        seen.append(names)
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 3


def test_what_a_thread_raises_is_raised_once_all_have_ended() -> None:
    ended: list[int] = []
    together = threading.Barrier(2)
    caller = threading.get_ident()

    def work() -> None:
        together.wait(30)
        if threading.get_ident() != caller:
            raise BoomError
        ended.append(1)

    with pytest.raises(BoomError):
        side_by_side(work, 2)
    assert ended == [1]
    with pytest.raises(BoomError):
        in_order(lambda k: (_ for _ in ()).throw(BoomError()), 4, 2)
    assert in_order(lambda k: k + 1, 5, 3) == [1, 2, 3, 4, 5]


def test_a_thread_that_waits_keeps_no_array_alive() -> None:
    class City:
        pass

    city = City()
    alive = weakref.ref(city)
    side_by_side(lambda city=city: None, 2)  # type: ignore[misc]
    del city
    for _ in range(100):
        gc.collect()
        if alive() is None:
            break
        time.sleep(0.05)
    assert alive() is None


def test_threads_without_work_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "STAYS_S", 0.05)
    side_by_side(lambda: None, 3)
    for _ in range(200):
        if not [t for t in threading.enumerate() if t.name == "engine"]:
            break
        time.sleep(0.05)
    assert not [t for t in threading.enumerate() if t.name == "engine"]
    assert not threads._idle
    assert in_order(lambda k: -k, 3, 2) == [0, -1, -2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_begins_threads_of_its_own() -> None:
    side_by_side(lambda: None, 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if in_order(lambda k: k, 3, 2) == [0, 1, 2] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_many_callers_at_the_same_time_do_not_wait_for_each_other() -> None:
    results: list[list[int]] = []
    callers = [threading.Thread(target=lambda: results.append(in_order(lambda k: k * k, 50, 4))) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert results == [[k * k for k in range(50)]] * 8
