"""Work on several threads: kernels let go of Python's lock, and what they give does not depend on who made what."""

import os
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[], object]

STAYS_S = 1.0  # how long a thread waits for more; a run asks again after milliseconds, and a fork soon finds one thread


class _Hand:
    """A thread that stays for a while: one that is there begins in 15 microseconds, a new one in 150 to 600."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="engine", daemon=True).start()

    def begin(self, work: Work) -> None:
        self._asked.put(work)

    def finish(self) -> None:
        """Wait for the end of the work, and raise what it raised."""
        stopped: BaseException | None = None
        while True:
            try:
                error = self._done.get() or stopped
                break
            except KeyboardInterrupt as stop:  # nobody may touch what the work is still changing
                stopped = stop
        _idle.append(self)
        if error is not None:
            raise error

    def _serve(self) -> None:
        while True:
            try:
                work = self._asked.get(timeout=STAYS_S)
            except queue.Empty:
                try:
                    _idle.remove(self)
                except ValueError:
                    continue  # taken this very moment, or its last work is still being looked at
                return
            try:
                work()
            except BaseException as error:  # raised again where the work was asked for
                self._done.put(error)
            else:
                self._done.put(None)
            del work  # arrays of a city are not kept alive by a thread that waits


_idle: list[_Hand] = []  # append, pop and remove are each one step under Python's lock
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a fork takes no threads along


def _hand() -> _Hand:
    try:
        return _idle.pop()
    except IndexError:
        return _Hand()


def usable_processors() -> int:
    """Return on how many processors this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(work: Work, n: int) -> None:
    """Call ``work()`` ``n`` times at the same time, once in this thread; return when all have.

    Raises
    ------
    BaseException
        The first that one of them raised, once all have ended.
    """
    hands: list[_Hand] = []
    try:
        while len(hands) < n - 1:
            hands.append(_hand())
    except BaseException:
        _idle.extend(hands)
        raise
    for hand in hands:  # only now: the threads of a kernel wait for each other
        hand.begin(work)
    errors: list[BaseException] = []
    for finish in (work, *(hand.finish for hand in hands)):
        try:
            finish()
        except BaseException as error:  # raised below
            errors.append(error)
    if errors:
        raise errors[0]


def in_order(work: Callable[[int], T], n: int, threads: int) -> list[T]:
    """Return ``work(0)`` to ``work(n - 1)``, worked out by at most ``threads`` threads.

    Examples
    --------
    >>> in_order(lambda k: k * k, 4, 2)
    [0, 1, 4, 9]
    """
    threads = min(threads, n)
    if threads <= 1:
        return [work(k) for k in range(n)]
    results: dict[int, T] = {}
    left = iter(range(n))  # each number is given once: next() is one step under Python's lock

    def some() -> None:
        for k in left:
            results[k] = work(k)

    side_by_side(some, threads)
    return [results[k] for k in range(n)]
