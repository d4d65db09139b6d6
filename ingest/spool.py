"""The spool: messages on disk while the database is away, so that devices get their PUBACK and no broker keeps them.

A folder of segments, each a row of records ``CTSP``, length, CRC-32, topic, payload. What `Spool.append` has returned
from is on the disk. Segments are read from the oldest on, in any case after a crash: a torn last record was never
acknowledged and is cut, one whose checksum is wrong is set aside in ``<segment>.bad`` and counted.
"""

import contextlib
import fcntl
import io
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ingest.segment import Record, Segment, Spoolable, packed
from sensors import WorkError

SEGMENT_BYTES = 32 << 20
SYNC_EVERY = 1000  # records: more wait for the disk together, fewer lose nothing either
SUFFIX = ".spool"


class SpoolFull(WorkError):  # noqa: N818 - a state of the world that passes, not a fault of the program
    """Nothing more can be put in: its limit is reached, or the disk is full."""


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
    >>> from ingest.segment import Record
    >>> from ingest.spool import Spool
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
        self._segments = deque(Segment(path, own=False) for path in sorted(folder.glob(f"*{SUFFIX}")) if path.is_file())
        self._number = 1 + max((int(s.path.stem) for s in self._segments if s.path.stem.isdigit()), default=0)
        self._file: io.FileIO | None = None
        self.size_bytes = sum(segment.size_bytes for segment in self._segments)

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
        records = [packed(message) for message in messages]
        size = sum(map(len, records))
        if self.size_bytes + size > self._limit:
            raise SpoolFull(f"the spool {self.folder} is full: it may have {self._limit >> 20} MiB")
        file = self._file or self._new_segment()
        begin = file.tell()
        try:
            for first in range(0, len(records), SYNC_EVERY):
                left = memoryview(b"".join(records[first : first + SYNC_EVERY]))
                while left:
                    left = left[file.write(left) :]
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
            before = segment.bad_bytes
            found = segment.take(n)
            self.bad_bytes += segment.bad_bytes - before
            if found or segment.ends:
                return found
            self._drop(segment)
        return []

    def done(self, n: int) -> None:
        """Forget the first ``n`` records that were taken; a segment without any others is deleted."""
        segment = self._segments[0]
        for _ in range(n):
            segment.offset = segment.ends.popleft()
        if not segment.ends and segment.offset >= segment.size_bytes:
            self._drop(segment)

    def again(self) -> None:
        """Have `take` return once more what was taken and is not done with."""
        if self._segments:
            self._segments[0].ends.clear()

    def _new_segment(self) -> io.FileIO:
        path = self.folder / f"{self._number:08d}{SUFFIX}"
        try:
            self._file = path.open("xb", buffering=0)  # nothing that failed may be written later
            _sync_folder(self.folder)
        except OSError as error:
            raise SpoolFull(f"the spool {self.folder} takes no more ({error.strerror})") from error
        self._number += 1
        self._segments.append(Segment(path, own=True))
        return self._file

    def _end_segment(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _drop(self, segment: Segment) -> None:
        if self._file is not None and self._file.name == str(segment.path):
            self._end_segment()
        self.size_bytes -= segment.size_bytes
        segment.path.unlink()
        self._segments.popleft()


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
