"""Chores: work that a database wants now and then, done on a thread of its own until it is stopped."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sensors import WorkError

log = logging.getLogger(__name__)


class Chore(ABC):
    """One piece of upkeep, every so many wall seconds; the first time after the first pause.

    What fails because the database is away or refuses is logged and tried again at the next time.

    Parameters
    ----------
    name
        Of the thread.
    every_s
        Wall seconds between two times.
    undone
        What it means when it fails, for the log.
    """

    def __init__(self, name: str, *, every_s: float, undone: str) -> None:
        self._every_s = every_s
        self._undone = undone
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def begin(self) -> object:
        """Do what need not wait for the first pause; nothing unless overridden."""
        return None

    @abstractmethod
    def do(self) -> object:
        """Do it once.

        Raises
        ------
        WorkError
            When the database is away or refuses.
        """

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop: long work looks now and then."""
        return self._stop.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; returns when nothing is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        self._try(self.begin)
        while not self._stop.wait(self._every_s):
            self._try(self.do)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except WorkError as error:
            log.warning("%s: %s", self._undone, error)
