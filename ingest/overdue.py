"""Cuts a connection whose server hangs: TCP stands, and no answer comes, perhaps for ever.

A stopped process, a dead disk or a proxy that swallows bytes look so; neither a timeout of the server nor keep-alive
notices them.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

LOOK_EVERY_S = 0.5


class Connected(Protocol):
    """What has a socket."""

    def fileno(self) -> int:
        """Return its descriptor."""


@dataclass(slots=True)
class Limit:
    """How long an answer may take, and whether the connection was cut for taking longer."""

    seconds: float
    due: float
    connection: Connected
    cut: bool = False


class Overdue:
    """Watches over connections from a thread of its own, which lives only while there is something to watch.

    Examples
    --------
    >>> ours, theirs = socket.socketpair()
    >>> with ours, theirs, Overdue().limit(ours, 0.1) as limit:
    ...     ours.recv(1), limit.cut  # nobody sends anything, so the read ends when the connection is cut
    (b'', True)
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._limits: dict[int, Limit] = {}  # by identity
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, connection: Connected, seconds: float | None) -> Iterator[Limit | None]:
        """Cut the connection unless the block ends in time; None sets no limit."""
        if seconds is None:
            yield None
            return
        limit = Limit(seconds, time.monotonic() + seconds, connection)
        with self._mutex:
            self._limits[id(limit)] = limit
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="database watch", daemon=True)
                self._thread.start()
        try:
            yield limit
        finally:
            with self._mutex:
                del self._limits[id(limit)]

    def _watch(self) -> None:
        quiet = 0
        while True:
            time.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            with self._mutex:
                for limit in self._limits.values():
                    if now > limit.due and not limit.cut:
                        limit.cut = True
                        _cut(limit.connection)
                quiet = 0 if self._limits else quiet + 1
                if quiet > 20:  # a new one is started when it is needed
                    self._thread = None
                    return


def _cut(connection: Connected) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as double:
        double.shutdown(socket.SHUT_RDWR)
