"""The wish of a person or of the system that this process end: noted at once, obeyed where nothing is half-done."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Halt:
    """Notes SIGINT (Ctrl-C) and SIGTERM.

    An exception out of a signal handler comes up anywhere: between the start of a child and its being noted, or where
    Python only prints it. So the first signal is a note, which `check` reads between two steps; a second one, of
    somebody who does not want to wait, is an exception after all.
    """

    def __init__(self) -> None:
        self.asked = False
        self._then: Callable[[], None] = lambda: None

    @contextmanager
    def listening(self) -> Iterator["Halt"]:
        """Take the two signals; those who had them get them back at the end."""
        before = {name: signal.signal(name, self._note) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def check(self) -> None:
        """Go no further when it was asked for.

        Raises
        ------
        KeyboardInterrupt
            Then.
        """
        if self.asked:
            raise KeyboardInterrupt

    def then(self, action: Callable[[], None]) -> None:
        """Call a function at the signal, or now when it has come already."""
        self._then = action
        if self.asked:
            action()

    def _note(self, _: int, __: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._then()
