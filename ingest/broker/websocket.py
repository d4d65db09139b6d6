"""MQTT over WebSocket (RFC 6455, subprotocol ``mqtt``): a protocol that unwraps frames for a `Connection` behind it.

The broker needs one tenth of a WebSocket library: binary messages, ping and close, no extension, no client side.
"""

import asyncio
import base64
import hashlib
import struct
from typing import Any

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
MAX_REQUEST_BYTES = 8_192
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def accept_key(key: bytes) -> bytes:
    """Return the answer to a client's key.

    Examples
    --------
    >>> accept_key(b"dGhlIHNhbXBsZSBub25jZQ==")  # the example of RFC 6455, 1.3
    b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def frame(kind: int, payload: bytes) -> bytes:
    """Return a whole message as one frame, unmasked, as servers send it."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | kind, size)) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", 0x80 | kind, 126, size) + payload
    return struct.pack(">BBQ", 0x80 | kind, 127, size) + payload


def unmask(data: bytes, mask: bytes) -> bytes:
    """Return a payload without its mask, in one step on one big integer."""
    size = len(data)
    if not size:
        return b""
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")


class Framed(asyncio.Transport):
    """A transport that puts what is written into binary frames."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._under = transport
        self.said_goodbye = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket below knows."""
        return self._under.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is told to pause."""
        self._under.set_write_buffer_limits(high, low)

    def write(self, data: Any) -> None:
        """Send one binary message; nothing may follow a close frame."""
        if not self.said_goodbye:
            self._under.write(frame(BINARY, bytes(data)))

    def pause_reading(self) -> None:
        """Stop reading the socket."""
        self._under.pause_reading()

    def resume_reading(self) -> None:
        """Read the socket on."""
        if not self._under.is_closing():
            self._under.resume_reading()

    def close(self) -> None:
        """Say goodbye; the socket is closed once the peer has answered (RFC 6455, 7.1.1), or by whoever aborts.

        Closed at once, it would fail a client that is still writing, if only its own goodbye after a DISCONNECT.
        """
        if self.said_goodbye or self._under.is_closing():
            return
        self._under.write(frame(CLOSE, struct.pack(">H", 1000)))
        self.said_goodbye = True
        self._under.resume_reading()  # a client that is paused answers too

    def abort(self) -> None:
        """Close at once."""
        self._under.abort()


class WebSocket(asyncio.Protocol):
    """Takes the opening request, then unwraps binary messages for the protocol behind it.

    Parameters
    ----------
    inner
        Gets the bytes, as if they had come over TCP; how they are cut into messages does not matter (MQTT-6.0.0-2).
    max_bytes
        Largest message.
    """

    def __init__(self, inner: asyncio.Protocol, *, max_bytes: int = 1 << 21) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self._transport: asyncio.Transport | None = None
        self._framed: Framed | None = None
        self._buffer = b""
        self._open = False
        self._closed = False
        self._in_message = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the opening request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._framed = Framed(transport)
        self._inner.connection_made(self._framed)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._inner.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take the request, or every whole frame."""
        if self._closed:
            return
        self._buffer += data
        if not self._open:
            self._take_request()
        if self._open:
            self._take_frames()

    def _take_request(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            if len(self._buffer) > MAX_REQUEST_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
            return
        lines = head.split(b"\r\n")
        pairs = (line.partition(b":") for line in lines[1:])
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        offered = [one.strip() for one in fields.get(b"sec-websocket-protocol", b"").split(b",")]
        key = fields.get(b"sec-websocket-key", b"")
        if not lines[0].startswith(b"GET ") or fields.get(b"upgrade", b"").lower() != b"websocket" or not key:
            self._refuse(b"400 Bad Request")
            return
        if fields.get(b"sec-websocket-version") != b"13":
            self._refuse(b"426 Upgrade Required\r\nSec-WebSocket-Version: 13")
            return
        chosen = next((one for one in offered if one in (b"mqtt", b"mqttv3.1")), None)
        if chosen is None:  # MQTT-6.0.0-3
            self._refuse(b"400 Bad Request")
            return
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\nSec-WebSocket-Protocol: " + chosen + b"\r\n\r\n"
        )
        self._open = True
        self._buffer = rest

    def _refuse(self, status: bytes) -> None:
        assert self._transport is not None
        self._closed = True
        self._transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self._transport.close()

    def _fail(self, code: int) -> None:
        assert self._transport is not None
        assert self._framed is not None
        self._closed = True
        if not self._framed.said_goodbye:
            self._transport.write(frame(CLOSE, struct.pack(">H", code)))
        self._transport.close()

    def _take_frames(self) -> None:
        data, at = self._buffer, 0
        payloads: list[bytes] = []
        while not self._closed and len(data) - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size >= 126:
                wide = 2 if size == 126 else 8
                if len(data) < start + wide:
                    break
                size = int.from_bytes(data[start : start + wide], "big")
                start += wide
            if data[at] & 0x70 or not data[at + 1] & 0x80:  # an extension, or a client that does not mask
                self._fail(1002)
                break
            if size > self._max_bytes:
                self._fail(1009)
                break
            if len(data) < start + 4 + size:
                break
            payload = unmask(data[start + 4 : start + 4 + size], data[start : start + 4])
            self._take_frame(data[at] & 0x0F, bool(data[at] & 0x80), payload, payloads)
            at = start + 4 + size
        self._buffer = data[at:]
        if payloads:
            self._inner.data_received(b"".join(payloads))

    def _take_frame(self, kind: int, final: bool, payload: bytes, payloads: list[bytes]) -> None:
        assert self._transport is not None
        if kind == PING and final and len(payload) < 126:
            self._transport.write(frame(PONG, payload))
        elif kind == CLOSE:
            self._fail(1000)
        elif (kind == BINARY and not self._in_message) or (kind == CONTINUATION and self._in_message):
            self._in_message = not final
            payloads.append(payload)
        elif kind != PONG:
            self._fail(1003 if kind == TEXT else 1002)  # MQTT-6.0.0-1
