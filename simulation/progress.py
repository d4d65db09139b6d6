"""How far a run is, told after every sample; a bar on a terminal, nothing in a pipe."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sensors import WorkError


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Parameters
    ----------
    time_s
        Of the run.
    horizon_s
        When it ends; None when it ends with the last arrival.
    arrived, trips
        Vehicles that have arrived, of all that will be demanded.
    """

    time_s: float
    horizon_s: float | None
    arrived: int
    trips: int


class CancelError(WorkError):
    """A run that was told to stop."""


@contextlib.contextmanager
def bar(start_s: float, horizon_s: float | None, trips: int) -> Iterator[Callable[[Progress], None] | None]:
    """Give what shows progress on standard error; None when that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    by_time = horizon_s is not None
    total = horizon_s - start_s if horizon_s is not None else trips
    form = "{l_bar}{bar}| {postfix} [{elapsed}<{remaining}]"
    size = shutil.get_terminal_size()  # 80 x 24 where a terminal does not say; tqdm would show nothing then
    with tqdm(
        total=total,
        leave=False,
        delay=0.5,
        bar_format=form,
        file=sys.stderr,
        ncols=size.columns,
        nrows=size.lines,
    ) as shown:

        def show(progress: Progress) -> None:
            done = progress.time_s - start_s if by_time else progress.arrived
            shown.set_postfix_str(
                f"{progress.time_s:,.0f} s, {progress.arrived:,} of {progress.trips:,} arrived", refresh=False
            )
            shown.update(done - shown.n)

        yield show
