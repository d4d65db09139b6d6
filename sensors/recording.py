"""Recordings: what was received once and can be replayed; captured MQTT messages, and what all recordings share."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, cast

from sensors.errors import InputError

NEVER_MS = 2**62
_NAMED_FAULTS = 20


class Message(NamedTuple):
    """One recorded message: when it is due, and what was or would be published."""

    time_ms: int
    topic: str
    payload: bytes


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to read bytes, unpacked when its first ones are those of gzip; its damage is bad input.

    Raises
    ------
    InputError
        When the file cannot be read or its packing is damaged.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path.name}: the gzip file is damaged: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


class Recording:
    """One recorded file.

    Attributes
    ----------
    rows
        Messages read so far.
    duplicates
        Exact repetitions of a row; they are replayed like all others.
    empty
        Rows without any value; they are left out.
    faults, n_faults
        The first lines that cannot be replayed, one sentence each, and how many there are in all.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.duplicates = 0
        self.empty = 0
        self.faults: list[str] = []
        self.n_faults = 0

    def messages(self) -> Iterator[Message]:
        """Yield the messages in order of time."""
        raise NotImplementedError

    def fault(self, line: int, text: str) -> None:
        """Count a line, and name it when it is among the first."""
        self.n_faults += 1
        if len(self.faults) < _NAMED_FAULTS:
            self.faults.append(f"{self.name}: line {line}: {text}")


class Capture(Recording):
    """Captured MQTT messages, ``<receive time> <topic> <payload>`` a line, in the order of their receive times.

    The payload begins at the first `` {``: topics may hold blanks.

    Parameters
    ----------
    path
        The file, plain or packed with gzip.
    from_ms, until_ms
        Receive times to replay, [from_ms, until_ms), ms since 1970 UTC.
    """

    def __init__(self, path: Path, *, from_ms: int = -NEVER_MS, until_ms: int = NEVER_MS) -> None:
        super().__init__(path.name)
        self._path = path
        self._from_ms, self._until_ms = from_ms, until_ms

    @staticmethod
    def recognises(line: bytes) -> bool:
        """Return whether a line is one of a capture."""
        return _parsed(line) is not None

    def messages(self) -> Iterator[Message]:
        """Yield the messages as the file is read; one received before its predecessor is due with it."""
        newest = -NEVER_MS
        with opened(self._path) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                message = _parsed(line)
                if message is None:
                    self.fault(number, "must be a receive time with zone, a topic and a payload, with blanks between")
                    continue
                newest = max(newest, message.time_ms)
                if newest >= self._until_ms:
                    return
                if newest >= self._from_ms:
                    self.rows += 1
                    yield message._replace(time_ms=newest)


def _parsed(line: bytes) -> Message | None:
    stamp, _, rest = line.rstrip(b"\r\n").partition(b" ")
    start = rest.find(b" {")
    topic, payload = (rest[:start], rest[start + 1 :]) if start >= 0 else rest.partition(b" ")[::2]
    try:
        instant = datetime.fromisoformat(stamp.decode())
        name = topic.decode()
    except ValueError:  # UnicodeDecodeError is one
        return None
    return Message(int(instant.timestamp() * 1000), name, payload) if instant.tzinfo is not None and name else None
