"""Replay: recordings of any kind as one stream of messages in order of time, at any speed."""

import csv
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from sensors.column_map import ColumnMap, recognise
from sensors.errors import InputError
from sensors.recorded_parquet import MAGIC, ParquetTable, column_names
from sensors.recorded_table import Table
from sensors.recording import NEVER_MS, Capture, Message, Recording, opened

__all__ = ["Message", "Recording", "merged", "open_recording", "paced"]


def open_recording(
    path: Path, *, column_map: ColumnMap | None = None, from_ms: int = -NEVER_MS, until_ms: int = NEVER_MS
) -> Recording:
    """Return the recording of a file, plain or packed with gzip, within [from_ms, until_ms).

    Captures of MQTT, Parquet files and tables with known columns are recognised; other tables need a column map.

    Raises
    ------
    InputError
        When the file cannot be read or its layout is not known.
    """
    with opened(path) as file:
        first = file.readline(1_000_000)
    if first.startswith(MAGIC):
        column_map = column_map or _recognised(path, column_names(path))
        return ParquetTable(path, column_map, from_ms=from_ms, until_ms=until_ms)
    if column_map is None and Capture.recognises(first):
        return Capture(path, from_ms=from_ms, until_ms=until_ms)
    if column_map is None:
        column_map = _recognised(path, _header(path, first))
    return Table(path, column_map, from_ms=from_ms, until_ms=until_ms)


def _recognised(path: Path, header: Sequence[str]) -> ColumnMap:
    column_map = recognise(header)
    if column_map is None:
        raise InputError(
            f"{path.name}: its columns, {', '.join(header[:8])}, are no known layout; say with --map FILE which of "
            "them are sensor_id, time and quantities"
        )
    return column_map


def _header(path: Path, line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: the first line is not UTF-8, save the file as UTF-8") from None
    return [cell.strip() for cell in next(csv.reader([text]), [])]


def merged(recordings: Sequence[Recording]) -> Iterator[Message]:
    """Yield the messages of several recordings as one stream in order of time."""
    if len(recordings) == 1:
        return recordings[0].messages()
    return heapq.merge(*(recording.messages() for recording in recordings), key=attrgetter("time_ms"))


def paced(
    messages: Iterable[Message], *, factor: float, wall: Callable[[], float], sleep: Callable[[float], None]
) -> Iterator[Message]:
    """Yield each message when it is due: the first at once, the others after their distance to it over ``factor``.

    Parameters
    ----------
    factor
        Recorded seconds per wall second; infinite: as fast as they are taken.
    wall, sleep
        Return seconds of any clock; wait that long.

    Examples
    --------
    >>> waited = []
    >>> messages = [Message(0, "city/a/b", b""), Message(30_000, "city/a/b", b"")]
    >>> len(list(paced(messages, factor=60, wall=lambda: 100.0, sleep=waited.append))), waited
    (2, [0.5])
    """
    if math.isinf(factor):
        yield from messages
        return
    start_ms, start = None, wall()
    for message in messages:
        if start_ms is None:
            start_ms = message.time_ms
        ahead = start + (message.time_ms - start_ms) / 1000 / factor - wall()
        if ahead > 0:
            sleep(ahead)
        yield message
