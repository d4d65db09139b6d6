"""The network thread under publisher and subscriber: it keeps a paho client connected and moves bytes in bulk.

paho does what a client library is for: addresses, TLS, CONNECT, subscriptions, keep-alive. What paho does with several
system calls for each packet, the link does for a whole read: PUBLISH and PUBACK frames of one ``recv`` go to the
endpoint as one list, and all that the endpoint wants to send goes out as one ``send``. That lifts 28,000 messages/s to
several times as many (``benchmarks/bench_broker.py``); the subscriber's ``bulk=False`` is the plain way and the oracle
of the tests. Everything here uses paho's public names but one: `BulkReading` replaces ``_sock_recv``.
"""

import logging
import random
import selectors
import socket
import ssl
import threading
import time
from typing import Any, Protocol

from ingest.address import BrokerAddress
from ingest.broker.frames import FrameReader, frame
from ingest.seldom import Seldom
from sensors import WorkError

log = logging.getLogger("ingest.link")

RECEIVE_BYTES = 1 << 18
KEEP_ALIVE_S = 60
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.1, 4.0  # with the jitter at most 6 s: a worker is back within 10 s
MAX_FRAME_BYTES = 268_435_455  # what MQTT allows
GOODBYE_S = 1.0

Frames = list[tuple[int, bytes]]


class Client(Protocol):
    """The part of `paho.mqtt.client.Client` that the link uses."""

    on_connect: Any
    on_disconnect: Any
    on_socket_register_write: Any

    def connect_async(self, host: str, port: int, keepalive: int) -> Any:
        """Note the address for `reconnect`."""

    def username_pw_set(self, username: str | None, password: str | None) -> Any:
        """Note the credentials."""

    def tls_set(self) -> Any:
        """Use TLS with the system's certificates."""

    def reconnect(self) -> Any:
        """Open the socket and queue CONNECT."""

    def disconnect(self) -> Any:
        """Queue DISCONNECT."""

    def socket(self) -> Any:
        """Return the open socket or None."""

    def loop_read(self) -> Any:
        """Read and handle packets."""

    def loop_write(self) -> Any:
        """Write queued packets."""

    def loop_misc(self) -> Any:
        """Keep the connection alive."""

    def want_write(self) -> bool:
        """Return whether packets are queued."""


class Endpoint(Protocol):
    """Publisher or subscriber, as the link sees it; all are called in the network thread."""

    def connected(self) -> None:
        """Begin: the broker has accepted the connection."""

    def lost(self) -> None:
        """Note that the connection is gone."""

    def take(self, frames: Frames) -> Frames:
        """Take the frames of one read and return those that are paho's."""

    def outgoing(self) -> bytes:
        """Return the bytes to send next."""

    def may_read(self) -> bool:
        """Return whether there is room for more; TCP holds the broker back otherwise."""


class BulkReading:
    """Mixed into paho's client: it reads what the link has put aside for it, not the socket.

    ``_sock_recv`` is private in paho 2.1 and 2.2; a test fails when a later paho does not call it any more.
    """

    _aside = b""
    _ended = False

    def put_aside(self, data: bytes) -> None:
        """Give bytes to paho's reader; none mean the end of the connection."""
        self._aside += data
        self._ended = not data

    def clear_aside(self) -> None:
        """Forget what belongs to an earlier connection."""
        self._aside, self._ended = b"", False

    def left_aside(self) -> int:
        """Return how many bytes paho has not read yet."""
        return len(self._aside)

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._ended:
            self._ended = False
            return b""
        if not self._aside:
            raise BlockingIOError
        data, self._aside = self._aside[:bufsize], self._aside[bufsize:]
        return data


def _watch(selector: selectors.BaseSelector, connection: socket.socket, *, read: bool, write: bool) -> None:
    wanted = selectors.EVENT_READ * read | selectors.EVENT_WRITE * write
    known = selector.get_map().get(connection)
    if known is None and wanted:
        selector.register(connection, wanted)
    elif known is not None and not wanted:
        selector.unregister(connection)
    elif known is not None and known.events != wanted:
        selector.modify(connection, wanted)


def _times(n: int) -> str:
    return f", {n} times" if n > 1 else ""


class Link:
    """Keeps a client connected until closed.

    Parameters
    ----------
    client
        A paho client made with ``reconnect_on_failure=False``.
    address
        The broker.
    endpoint
        Takes and gives the frames.
    name
        Who it is, for the log.
    jitter
        Spreads the reconnects of many clients after a restart of the broker.
    """

    def __init__(
        self, client: Client, address: BrokerAddress, endpoint: Endpoint, *, name: str, jitter: random.Random
    ) -> None:
        self._name = name
        self._client = client
        self._address = address
        self._endpoint = endpoint
        self._jitter = jitter
        self._reader = FrameReader(max_bytes=MAX_FRAME_BYTES)
        self._out = memoryview(b"")
        self._up = False
        self._refused = False
        self._told = ""  # the error of which the log knows
        self._made, self._lost = Seldom(log, level=logging.INFO), Seldom(log)  # a flapping network is no flood of lines
        self._patient = False
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self.connections = 0
        self.error = "not tried yet"
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_socket_register_write = lambda *_: self.wake()
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls:
            client.tls_set()
        client.connect_async(address.host, address.port, KEEP_ALIVE_S)
        self._thread = threading.Thread(target=self._run, name=f"mqtt {address}", daemon=True)

    @property
    def is_up(self) -> bool:
        """Whether the broker has accepted the connection and it still stands."""
        return self._up

    def start(self, *, within_s: float) -> None:
        """Start, and wait for the first connection; with 0 it is made whenever the broker comes.

        Raises
        ------
        WorkError
            When there is no connection within that time, or the broker refuses it.
        """
        self._patient = within_s <= 0
        self._thread.start()
        if self._patient:
            return
        with self._changed:
            self._changed.wait_for(lambda: self.connections > 0 or self._refused, timeout=within_s)
        if self.connections == 0:
            self.close()
            raise WorkError(
                f"cannot connect to the MQTT broker at {self._address} ({self.error}): "
                "start it, or set CITYTWIN_MQTT_URL to where it is"
            )

    def wake(self) -> None:
        """Let the network thread look again at what there is to send and whether it may read."""
        try:
            self._wake_write.send(b"\0")
        except OSError:  # full: it is being woken already; closed: nothing is left to do
            pass

    def close(self) -> None:
        """Say goodbye to the broker and stop."""
        self._stop.set()
        self.wake()
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join()
        self._wake_read.close()
        self._wake_write.close()

    # paho calls these, in the network thread

    def _on_connect(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        with self._changed:
            if reason.is_failure:
                self.error = f"it answered: {reason}"
                self._refused = True
            else:
                self._up = True
                self._told = ""
                self.connections += 1
            self._changed.notify_all()
        if self._up:
            if self.connections > 1:
                self._made.say("made", 1, self._made_line)
            else:
                log.debug("%s", self._made_line(1))
            self._endpoint.connected()

    def _on_disconnect(self, _client: object, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if self._up:
            self._up = False
            self.error = f"connection lost: {reason}"
            if not self._stop.is_set():
                self._lost.say("lost", 1, self._lost_line)
        self._endpoint.lost()

    def _made_line(self, n: int) -> str:
        return f"{self._name} is connected to the MQTT broker at {self._address}{_times(n)}"

    def _lost_line(self, n: int) -> str:
        return f"{self._name} lost the MQTT broker at {self._address}{_times(n)}, it tries again"

    def _tell(self) -> None:
        """Say once why there is no connection; whoever waits for the first one is told by `start`."""
        if self._patient and self.connections == 0 and self.error != self._told:
            self._told = self.error
            log.warning(
                "%s cannot connect to the MQTT broker at %s (%s), it tries again",
                self._name, self._address, self.error,
            )  # fmt: skip

    # the network thread

    def _run(self) -> None:
        wait_s = SHORTEST_WAIT_S
        while not self._stop.is_set():
            since = time.monotonic()
            self._reader = FrameReader(max_bytes=MAX_FRAME_BYTES)
            self._out = memoryview(b"")
            if isinstance(self._client, BulkReading):
                self._client.clear_aside()
            try:
                self._client.reconnect()
            except (OSError, ValueError) as error:  # ValueError: certificate of another host
                self.error = getattr(error, "strerror", None) or str(error) or type(error).__name__
            else:
                self._converse()
            if not self._stop.is_set():
                self._tell()
            # A connection that ends at once (a second client with the same identifier) is not made again at once.
            lasted = time.monotonic() - since > LONGEST_WAIT_S
            wait_s = SHORTEST_WAIT_S if lasted else min(2 * wait_s, LONGEST_WAIT_S)
            self._stop.wait(wait_s * self._jitter.uniform(0.5, 1.5))

    def _converse(self) -> None:
        client, endpoint = self._client, self._endpoint
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            cared = time.monotonic()
            while not self._stop.is_set():
                self._write()
                connection = client.socket()
                if connection is None:
                    return
                reading = endpoint.may_read()
                _watch(selector, connection, read=reading, write=bool(self._out) or client.want_write())
                pending = reading and isinstance(connection, ssl.SSLSocket) and connection.pending() > 0
                ready = selector.select(0 if pending else 1.0)
                if any(key.fileobj is self._wake_read for key, _ in ready):
                    self._drain_wake()
                readable = pending or any(k.fileobj is connection and m & selectors.EVENT_READ for k, m in ready)
                if readable:
                    self._read(connection)
                # A PINGRESP that was not read yet must not end the connection: so when nothing is left to read, or
                # after a while, and never while the endpoint is full.
                if reading and (not readable or time.monotonic() - cared > KEEP_ALIVE_S / 4):
                    cared = time.monotonic()
                    client.loop_misc()
        self._say_goodbye()

    def _drain_wake(self) -> None:
        try:
            while len(self._wake_read.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def _read(self, connection: socket.socket) -> None:
        client = self._client
        if not isinstance(client, BulkReading):
            client.loop_read()
            return
        try:
            data = connection.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        frames = self._reader.feed(data)
        others = self._endpoint.take(frames) if self._up else frames
        if self._up or not others:
            rest = others
        else:  # CONNACK comes first and alone makes the link up; what follows it in this read is the endpoint's
            self._hand_over(client, [others[0]])
            rest = self._endpoint.take(others[1:]) if self._up else others[1:]
        self._hand_over(client, rest)
        if not data or self._reader.fault:
            client.put_aside(b"")
            client.loop_read()

    def _hand_over(self, client: Any, frames: Frames) -> None:
        if not frames:
            return
        client.put_aside(b"".join(frame(first, body) for first, body in frames))
        while client.left_aside() and client.socket() is not None:
            client.loop_read()

    def _write(self) -> None:
        client = self._client
        while client.socket() is not None:
            if client.want_write() and not self._out:
                client.loop_write()
                if client.want_write():
                    return
            if not self._out:
                if not self._up:
                    return
                self._out = memoryview(self._endpoint.outgoing())
                if not self._out:
                    return
            try:
                self._out = self._out[client.socket().send(self._out) :]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                self._out = memoryview(b"")
                if isinstance(client, BulkReading):
                    client.put_aside(b"")
                client.loop_read()  # paho meets the end of the connection and tells
                return

    def _write_until(self, until: float) -> None:
        self._write()
        while self._client.socket() is not None and (self._out or self._client.want_write()):
            if time.monotonic() > until:
                return
            time.sleep(0.001)
            self._write()

    def _say_goodbye(self) -> None:
        client = self._client
        until = time.monotonic() + GOODBYE_S
        self._write_until(until)  # the last acknowledgements
        if not self._out:  # in the middle of a packet nothing else can be said
            client.disconnect()
        self._write_until(until)
        if client.socket() is not None:
            client.socket().close()
        self._endpoint.lost()
