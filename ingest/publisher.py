"""Publishes at QoS 1 and keeps every message until its PUBACK, whatever happens to the connection or the broker."""

import random
import threading
import time
from collections import deque
from collections.abc import Iterable

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ingest.address import BrokerAddress
from ingest.broker.encoder import encode
from ingest.broker.packets import PublishPacket
from ingest.broker.topics import topic_fault
from ingest.link import BulkReading, Frames, Link
from sensors import InputError, WorkError

WRITE_BYTES = 1 << 18
MAX_IDENTIFIERS = 0xFFFF
MAX_TOPIC_LEVELS = 1_000
_DUP = 0x08


class _Client(BulkReading, mqtt.Client):
    """paho's client, read in bulk."""


class Publisher:
    """A connection that publishes at QoS 1 and forgets nothing that is not acknowledged.

    Every message stays here until its PUBACK and is sent again, in order, after each reconnect, also when the broker
    has forgotten the session. `publish` waits while the backlog is full: the caller is slowed down, no message dropped.

    Parameters
    ----------
    url
        ``mqtt://[user:password@]host:port`` or ``mqtts://...``.
    client_id
        Unique at the broker.
    max_unacknowledged, max_unacknowledged_bytes
        Bounds of the backlog. Below what the embedded broker takes from one client, so that it need not stop reading.
    first_connect_s
        How long to wait for the first connection; 0 returns at once and connects when the broker comes.

    Raises
    ------
    InputError
        When the URL is none.
    WorkError
        When the first connection fails.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        max_unacknowledged: int = 10_000,
        max_unacknowledged_bytes: int = 8 << 20,
        first_connect_s: float = 10.0,
    ) -> None:
        if not 0 < max_unacknowledged < MAX_IDENTIFIERS:
            raise InputError(f"max_unacknowledged is {max_unacknowledged}, must be 1 to {MAX_IDENTIFIERS - 1}")
        self._max = max_unacknowledged
        self._max_bytes = max_unacknowledged_bytes
        self._changed = threading.Condition()
        self._kept: dict[int, bytes] = {}  # packets by identifier, in the order of publication
        self._kept_bytes = 0
        self._unsent: deque[int] = deque()  # always the newest of those kept
        self._last_id = 0
        self._published = 0
        self._acknowledged = 0
        self._closed = False
        client = _Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, reconnect_on_failure=False
        )
        self._link = Link(client, BrokerAddress.parse(url), self, name=client_id, jitter=random.Random(client_id))  # noqa: S311
        self._link.start(within_s=first_connect_s)

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there."""
        return self._link.is_up

    @property
    def reconnects(self) -> int:
        """How often the connection was made again."""
        return max(self._link.connections - 1, 0)

    @property
    def published(self) -> int:
        """Messages taken from the caller."""
        return self._published

    @property
    def acknowledged(self) -> int:
        """Messages whose PUBACK has come."""
        return self._acknowledged

    @property
    def unacknowledged(self) -> int:
        """Messages kept, sent or not."""
        return len(self._kept)

    def publish(
        self, topic: str, payload: bytes | str, *, retain: bool = False, timeout_s: float | None = None
    ) -> None:
        """Take one message; waits while the backlog is full.

        Raises
        ------
        InputError
            When the topic cannot be published to.
        WorkError
            When there is no room within the time, or the publisher is closed.
        """
        self.publish_all(((topic, payload),), retain=retain, timeout_s=timeout_s)

    def publish_all(
        self, messages: Iterable[tuple[str, bytes | str]], *, retain: bool = False, timeout_s: float | None = None
    ) -> None:
        """Take many messages as `publish` would one by one, faster."""
        for topic, payload in messages:
            fault = topic_fault(topic, max_levels=MAX_TOPIC_LEVELS)
            if fault or "\0" in topic:
                raise InputError(f"cannot publish: {fault or f'topic {topic!r} holds U+0000'}")
            data = payload.encode() if isinstance(payload, str) else bytes(payload)
            with self._changed:
                if self._full() and not self._closed:
                    self._link.wake()
                    self._changed.wait_for(lambda: self._closed or not self._full(), timeout=timeout_s)
                if self._closed:
                    raise WorkError("the publisher is closed: open another one")
                if self._full():
                    raise WorkError(f"no room for another message within {timeout_s} s: {self.backlog()}")
                idle = not self._unsent
                self._keep(topic, data, retain)
            if idle:
                self._link.wake()

    def _full(self) -> bool:
        return len(self._kept) >= self._max or self._kept_bytes > self._max_bytes

    def _keep(self, topic: str, payload: bytes, retain: bool) -> None:
        packet_id = self._last_id % MAX_IDENTIFIERS + 1
        while packet_id in self._kept:
            packet_id = packet_id % MAX_IDENTIFIERS + 1
        self._last_id = packet_id
        packet = encode(PublishPacket(topic, payload, qos=1, retain=retain, packet_id=packet_id))
        self._kept[packet_id] = packet
        self._kept_bytes += len(packet)
        self._unsent.append(packet_id)
        self._published += 1

    def backlog(self) -> str:
        """Return in words what waits and why."""
        state = "connected" if self.is_connected else f"not connected: {self._link.error}"
        return f"{len(self._kept)} messages are not acknowledged, {state}"

    def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is acknowledged; whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._kept, timeout=timeout_s)

    def close(self, drain_s: float = 0.0) -> None:
        """Disconnect; what is not acknowledged within ``drain_s`` is lost with the publisher."""
        until = time.monotonic() + drain_s
        if drain_s > 0:
            self.drain(until - time.monotonic())
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._link.close()

    # the link calls these

    def connected(self) -> None:
        """Send everything kept again: with DUP what may have arrived before (MQTT-3.3.1-1)."""
        with self._changed:
            for packet_id in list(self._kept)[: len(self._kept) - len(self._unsent)]:
                packet = self._kept[packet_id]
                self._kept[packet_id] = bytes((packet[0] | _DUP,)) + packet[1:]
            self._unsent = deque(self._kept)

    def lost(self) -> None:
        """Keep everything."""

    def may_read(self) -> bool:
        """Acknowledgements are always welcome."""
        return True

    def outgoing(self) -> bytes:
        """Return the next packets."""
        with self._changed:
            packets, size = [], 0
            while self._unsent and size < WRITE_BYTES:
                packet = self._kept.get(self._unsent.popleft(), b"")  # gone: acknowledged before it was ever sent
                packets.append(packet)
                size += len(packet)
        return b"".join(packets)

    def take(self, frames: Frames) -> Frames:
        """Take the PUBACKs."""
        others = []
        with self._changed:
            for first, body in frames:
                if first != 0x40 or len(body) != 2:
                    others.append((first, body))
                    continue
                packet = self._kept.pop(body[0] << 8 | body[1], None)
                if packet is not None:
                    self._kept_bytes -= len(packet)
                    self._acknowledged += 1
            self._changed.notify_all()
        return others
