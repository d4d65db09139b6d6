"""A progress bar on a terminal; elsewhere a plain line now and then, which a log can keep."""

import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

EVERY_S = 5.0


class Bar:
    """How much of a long work is done, on stderr.

    Parameters
    ----------
    unit
        What is counted.
    total
        How many there are.
    """

    def __init__(self, unit: str, total: int) -> None:
        self._unit = unit
        self._total = total
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, unit=f" {unit}", unit_scale=True, file=sys.stderr)
        self._due = time.monotonic() + EVERY_S

    def to(self, done: int) -> None:
        """Show that so many are done."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + EVERY_S
            print(f"{done} of {self._total} {self._unit}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a line beside the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
