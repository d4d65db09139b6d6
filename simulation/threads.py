"""Work on several threads: kernels let go of Python's lock, and what they give does not depend on who made what."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def usable_processors() -> int:
    """Return on how many processors this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(work: Callable[[int], T], n: int, threads: int) -> list[T]:
    """Return ``work(0)`` to ``work(n - 1)``, worked out by at most ``threads`` threads.

    The threads end with the call: a process that forks later takes none of them along.

    Examples
    --------
    >>> in_order(lambda k: k * k, 4, 2)
    [0, 1, 4, 9]
    """
    if min(threads, n) <= 1:
        return [work(k) for k in range(n)]
    with ThreadPoolExecutor(min(threads, n), thread_name_prefix="routes") as pool:
        return list(pool.map(work, range(n)))
