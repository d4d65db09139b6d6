"""Frames: one MQTT packet on the wire is a first byte (type and flags), the remaining length, and the body."""

from ingest.broker.reasons import Reason


class FrameReader:
    """Cuts a byte stream into frames, whatever the pieces in which it arrives.

    Parameters
    ----------
    max_bytes
        Largest remaining length that is taken.

    Examples
    --------
    >>> reader = FrameReader(max_bytes=100)
    >>> reader.feed(bytes([0xC0]))
    []
    >>> reader.feed(bytes([0x00, 0xE0, 0x00]))
    [(192, b''), (224, b'')]
    """

    __slots__ = ("_missing", "_parts", "fault", "max_bytes", "reason")

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.fault: str | None = None
        self.reason = Reason.MALFORMED_PACKET
        self._parts: list[bytes] = []  # the beginning of a frame, in the pieces that came
        self._missing = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the whole frames up to now; after a wrong remaining length ``fault`` says what is wrong."""
        if self.fault:
            return []
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if (
                self._missing > 0
            ):  # joined once a frame is whole, or a big one in small pieces would take quadratic time
                return []
            data = b"".join(self._parts)
        buffer = data
        frames: list[tuple[int, bytes]] = []
        add = frames.append
        at, end = 0, len(buffer)
        self._missing = 1
        while at + 2 <= end:
            length = buffer[at + 1]
            start = at + 2
            if length & 0x80:  # the common length fits one byte, this is the long way
                length, start = self._long_length(buffer, at + 1)
                if start < 0:
                    break
            stop = start + length
            if length > self.max_bytes:
                self.reason = Reason.PACKET_TOO_LARGE
                self.fault = f"packet of {length} bytes, at most {self.max_bytes} are taken"
                break
            if stop > end:
                self._missing = stop - end
                break
            add((buffer[at], buffer[start:stop]))
            at = stop
        self._parts = [buffer[at:]] if at < end else []
        return frames

    def _long_length(self, buffer: bytes, at: int) -> tuple[int, int]:
        length = shift = 0
        for k in range(at, min(at + 4, len(buffer))):
            length |= (buffer[k] & 0x7F) << shift
            if not buffer[k] & 0x80:
                return length, k + 1
            shift += 7
        if len(buffer) >= at + 4:
            self.fault = "remaining length of more than 4 bytes"
        return 0, -1


def remaining_length(size: int) -> bytes:
    """Return a size as MQTT's variable byte integer.

    Examples
    --------
    >>> remaining_length(321).hex()
    'c102'
    """
    if size < 0x80:
        return bytes((size,))
    out = bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def frame(first: int, body: bytes) -> bytes:
    """Return first byte, remaining length and body."""
    return bytes((first,)) + remaining_length(len(body)) + body
