"""The spool: messages on disk while the database is away, so that devices get their PUBACK and no broker keeps them.

A folder of segments, each a row of records ``CTSP``, length, CRC-32, topic, payload. What `Spool.append` has returned
from is on the disk. Segments are read from the oldest on, in any case after a crash: a torn last record was never
acknowledged and is cut, one whose checksum is wrong is set aside in ``<segment>.bad`` and counted.
"""

import contextlib
import fcntl
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from sensors import WorkError

log = logging.getLogger(__name__)
MAGIC = b"CTSP"
HEAD = struct.Struct("<4sIII")  # magic, bytes of the body, CRC-32, bytes of the topic that the body begins with
SEGMENT_BYTES = 32 << 20
SYNC_EVERY = 1000  # records: more wait for the disk together, fewer lose nothing either
SUFFIX = ".spool"


class Spoolable(Protocol):
    """What is written of a message."""

    @property
    def topic(self) -> str:
        """Topic it was published to."""

    @property
    def payload(self) -> bytes:
        """What was published."""


class Record(NamedTuple):
    """A message that comes out of the spool.

    Parameters
    ----------
    own
        This process put it in; others were left by an earlier one.
    """

    topic: str
    payload: bytes
    own: bool


class SpoolFull(WorkError):  # noqa: N818 - a state of the world that passes, not a fault of the program
    """Nothing more can be put in: its limit is reached, or the disk is full."""


class _Segment:
    """One file and where its next unread record begins."""

    def __init__(self, path: Path, *, own: bool) -> None:
        self.path, self.own = path, own
        self.offset = 0  # behind the last record that was done with
        self.ends: deque[int] = deque()  # of records that were taken and are not done with
        self.judged = 0  # up to here it is known what is damaged


class Spool:
    """Messages of one MQTT session, kept until the database has them.

    One thread uses it. Its folder is locked as long as it is open (`ingest.spools` finds those that nobody has).

    Parameters
    ----------
    folder
        Made when it is not there.
    limit_bytes
        Of all segments together.

    Raises
    ------
    WorkError
        When the folder cannot be written or another process has it.

    Examples
    --------
    >>> import tempfile
    >>> from ingest.spool import Record, Spool
    >>> with tempfile.TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
    ...     spool.append([Record("city/D1", b"1", True), Record("city/D2", b"2", True)])
    ...     taken = spool.take(10)
    ...     spool.done(len(taken))
    ...     len(taken), taken[0].topic, spool.size_bytes
    (2, 'city/D1', 0)
    """

    def __init__(self, folder: Path, *, limit_bytes: int = 1 << 30) -> None:
        self.folder, self._limit = folder, limit_bytes
        self.bad_bytes = 0  # set aside because their checksum was wrong
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("a+")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise WorkError(f"the spool {folder} is in use by another process") from None
        except OSError as error:
            raise WorkError(
                f"the spool {folder} cannot be written ({error.strerror}): set CITYTWIN_STATE to a folder that can"
            ) from error
        self._segments = deque(_Segment(path, own=False) for path in sorted(folder.glob(f"*{SUFFIX}")))
        self._number = 1 + max((int(s.path.stem) for s in self._segments if s.path.stem.isdigit()), default=0)
        self._file: IO[bytes] | None = None
        self.size_bytes = sum(segment.path.stat().st_size for segment in self._segments)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        self._end_segment()
        self._lock.close()

    def __bool__(self) -> bool:
        """Whether anything may be in it."""
        return bool(self._segments)

    def append(self, messages: Sequence[Spoolable]) -> None:
        """Put messages on the disk; all of them, or none.

        Raises
        ------
        SpoolFull
            When the limit is reached or the disk takes no more; nothing was put in.
        """
        records = [_packed(message) for message in messages]
        size = sum(map(len, records))
        if self.size_bytes + size > self._limit:
            raise SpoolFull(f"the spool {self.folder} is full: it may have {self._limit >> 20} MiB")
        file = self._file or self._new_segment()
        begin = file.tell()
        try:
            for first in range(0, len(records), SYNC_EVERY):
                file.write(b"".join(records[first : first + SYNC_EVERY]))
                file.flush()
                _sync(file.fileno())
        except OSError as error:
            # A part that stayed behind would come out as messages that are published again as well.
            with contextlib.suppress(OSError):
                os.ftruncate(file.fileno(), begin)
                file.seek(begin)
            raise SpoolFull(f"the spool {self.folder} takes no more ({error.strerror})") from error
        self.size_bytes += size
        if file.tell() >= SEGMENT_BYTES:
            self._end_segment()

    def take(self, n: int) -> list[Record]:
        """Return up to ``n`` records that were not taken yet, the oldest first, from one segment."""
        while self._segments:
            segment = self._segments[0]
            start = segment.ends[-1] if segment.ends else segment.offset
            found = []
            with segment.path.open("rb") as file:
                file.seek(start)
                for record, end in self._records(file, segment):
                    found.append(record)
                    segment.ends.append(end)
                    if len(found) == n:
                        break
            if found or segment.ends:
                return found
            self._drop(segment)
        return []

    def done(self, n: int) -> None:
        """Forget the first ``n`` records that were taken; a segment without any others is deleted."""
        segment = self._segments[0]
        for _ in range(n):
            segment.offset = segment.ends.popleft()
        if not segment.ends and segment.offset >= segment.path.stat().st_size:
            self._drop(segment)

    def again(self) -> None:
        """Have `take` return once more what was taken and is not done with."""
        if self._segments:
            self._segments[0].ends.clear()

    def _records(self, file: IO[bytes], segment: _Segment) -> Iterator[tuple[Record, int]]:
        """Yield (record, where it ends) from where the file stands; steps over what is torn or damaged."""
        at = file.tell()
        while head := file.read(HEAD.size):
            short = len(head) < HEAD.size
            if not short and head.startswith(MAGIC):
                _, length, crc, topic_length = HEAD.unpack(head)
                body = file.read(length) if topic_length <= length <= self._limit else b""
                if len(body) == length and zlib.crc32(body, topic_length) == crc:
                    at += HEAD.size + length
                    topic = body[:topic_length].decode("utf-8", errors="backslashreplace")
                    yield Record(topic, body[topic_length:], segment.own), at
                    continue
                short = len(body) < length and not file.read(1)
            at = self._step_over(file, at, segment, torn=short)
            file.seek(at)

    def _step_over(self, file: IO[bytes], at: int, segment: _Segment, *, torn: bool) -> int:
        """Return where the next sound record may begin; what lies before it is set aside.

        A record that was being written at a crash is torn: it ends with the file.
        """
        file.seek(at)
        rest = file.read()
        found = rest.find(MAGIC, 1)
        damaged = rest if found < 0 else rest[:found]
        end = at + len(damaged)
        if end > segment.judged:
            segment.judged = end
            if torn and found < 0:
                log.warning("the last record of %s is torn: it was never acknowledged, and is cut", segment.path)
            else:
                self.bad_bytes += len(damaged)
                with segment.path.with_suffix(".bad").open("ab") as bad:
                    bad.write(damaged)
                log.error("%d bytes of %s are damaged: they are set aside in a .bad file", len(damaged), segment.path)
        return end

    def _new_segment(self) -> IO[bytes]:
        path = self.folder / f"{self._number:08d}{SUFFIX}"
        try:
            self._file = path.open("xb")
            _sync_folder(self.folder)
        except OSError as error:
            raise SpoolFull(f"the spool {self.folder} takes no more ({error.strerror})") from error
        self._number += 1
        self._segments.append(_Segment(path, own=True))
        return self._file

    def _end_segment(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _drop(self, segment: _Segment) -> None:
        if self._file is not None and self._file.name == str(segment.path):
            self._end_segment()
        self.size_bytes -= segment.path.stat().st_size
        segment.path.unlink()
        self._segments.popleft()


def _packed(message: Spoolable) -> bytes:
    topic = message.topic.encode("utf-8", errors="backslashreplace")
    body = topic + message.payload
    return HEAD.pack(MAGIC, len(body), zlib.crc32(body, len(topic)), len(topic)) + body


def _sync(descriptor: int) -> None:
    """Have the disk, and not only its cache, take what was written."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, whose fsync leaves data in the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Have the disk take that a file is there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
