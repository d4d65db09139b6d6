"""One file of a spool: records (``CTSP``, length, CRC-32, topic, payload) one behind the other, and what is damaged."""

import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

log = logging.getLogger(__name__)
MAGIC = b"CTSP"
HEAD = struct.Struct("<4sIII")  # magic, bytes of the body, CRC-32, bytes of the topic that the body begins with
BLOCK_BYTES = 1 << 16  # looked through at a time behind damage


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


def packed(message: Spoolable) -> bytes:
    """Return a message as a record."""
    topic = message.topic.encode("utf-8", errors="backslashreplace")
    body = topic + message.payload
    return HEAD.pack(MAGIC, len(body), zlib.crc32(body, len(topic)), len(topic)) + body


class Segment:
    """One file, and how far its records were taken and done with."""

    def __init__(self, path: Path, *, own: bool) -> None:
        self.path, self.own = path, own
        self.offset = 0  # behind the last record that was done with
        self.ends: deque[int] = deque()  # of records that were taken and are not done with
        self.bad_bytes = 0  # set aside because their checksum was wrong
        self._judged = 0  # up to here it is known what is damaged

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size

    def take(self, n: int) -> list[Record]:
        """Return up to ``n`` records that were not taken yet."""
        found = []
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for record, end in self._records(descriptor, self.ends[-1] if self.ends else self.offset):
                found.append(record)
                self.ends.append(end)
                if len(found) == n:
                    break
        finally:
            os.close(descriptor)
        return found

    def _records(self, descriptor: int, at: int) -> Iterator[tuple[Record, int]]:
        """Yield (record, where it ends) from a place on; steps over what is torn or damaged."""
        size = os.fstat(descriptor).st_size
        while at < size:
            body, topic_length = _body(descriptor, at, size)
            if body is not None:
                at += HEAD.size + len(body)
                topic = body[:topic_length].decode("utf-8", errors="backslashreplace")
                yield Record(topic, body[topic_length:], self.own), at
            else:
                end = _next_sound(descriptor, at, size)
                self._step_over(descriptor, at, end, size)
                at = end

    def _step_over(self, descriptor: int, at: int, end: int, size: int) -> None:
        """Set aside what lies between two places, once."""
        if end <= self._judged:
            return
        self._judged = end
        if end == size and _is_torn(os.pread(descriptor, HEAD.size, at), size - at):
            log.warning("the last record of %s is torn: it was never acknowledged, and is cut", self.path)
            return
        self.bad_bytes += end - at
        with self.path.with_suffix(".bad").open("ab") as bad:
            while at < end:
                at += bad.write(os.pread(descriptor, min(end - at, BLOCK_BYTES), at))
        log.error("%d bytes of %s are damaged: they are set aside in a .bad file", self.bad_bytes, self.path)


def _body(descriptor: int, at: int, size: int) -> tuple[bytes | None, int]:
    """Return the body of the sound record at a place, and the length of its topic; None when there is none."""
    head = os.pread(descriptor, HEAD.size, at)
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        return None, 0
    _, length, crc, topic_length = HEAD.unpack(head)
    if topic_length > length or at + HEAD.size + length > size:
        return None, 0
    body = os.pread(descriptor, length, at + HEAD.size)
    return (body if len(body) == length and zlib.crc32(body, topic_length) == crc else None), topic_length


def _next_sound(descriptor: int, at: int, size: int) -> int:
    """Return where the next sound record behind a place begins, or the end of the file."""
    at += 1
    while at < size:
        block = os.pread(descriptor, BLOCK_BYTES, at)
        found = block.find(MAGIC)
        while found >= 0:
            if _body(descriptor, at + found, size)[0] is not None:
                return at + found
            found = block.find(MAGIC, found + 1)
        at += max(len(block) - len(MAGIC) + 1, 1)
    return size


def _is_torn(head: bytes, left: int) -> bool:
    """Return whether what ends with the file is the beginning of a record: it was being written at a crash."""
    if len(head) < HEAD.size:
        return head.startswith(MAGIC[: len(head)])
    _, length, _, topic_length = HEAD.unpack(head)
    return head.startswith(MAGIC) and topic_length <= length and HEAD.size + length > left
