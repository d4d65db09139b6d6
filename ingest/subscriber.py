"""Receives at QoS 1 in a persistent session; a message is acknowledged when its caller says so, after the commit."""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ingest.address import BrokerAddress
from ingest.broker.decoder import split_publish
from ingest.broker.reasons import MalformedPacketError
from ingest.broker.topics import filter_fault
from ingest.link import BulkReading, Frames, Link
from sensors import InputError, WorkError

log = logging.getLogger(__name__)
MESSAGE_OVERHEAD_BYTES = 200  # the objects around a payload
MAX_TOPICS_CACHED = 65_536
MAX_FILTER_LEVELS = 1_000


class Message(NamedTuple):
    """One received publication.

    Parameters
    ----------
    topic
        As published; bytes that are not UTF-8 and U+0000 are written out in hexadecimal.
    payload
        As published.
    mid
        MQTT's packet identifier, 0 at QoS 0.
    epoch
        The connection on which it came; an acknowledgement is void on a later one.
    retained
        Kept by the broker from earlier, not published now.
    """

    topic: str
    payload: bytes
    mid: int
    epoch: int
    retained: bool


@dataclass(frozen=True, slots=True)
class SubscriberState:
    """What a health page shows."""

    connected: bool
    reconnects: int
    received: int
    queued: int
    queued_bytes: int
    error: str


class _Client(BulkReading, mqtt.Client):
    """paho's client, read in bulk."""


class Subscriber:
    """A persistent session whose messages wait in a bounded queue until they are taken and acknowledged.

    When the queue is full the socket is not read, so the broker, and behind it the publishers, are held back.

    Parameters
    ----------
    url
        ``mqtt://[user:password@]host:port`` or ``mqtts://...``.
    client_id
        Unique at the broker and the same after a restart: the broker keeps the session under it.
    filters
        Topic filters.
    max_queued_bytes
        Bound of the queue.
    shared_group
        Name of a shared subscription (``$share/<name>/...``), for several workers at a broker that has it.
    first_connect_s
        How long to wait for the first subscription; 0 returns at once and connects when the broker comes.
    on_subscribed
        Called in the network thread when the broker has granted the filters, again after each reconnect.
    bulk
        Read whole buffers instead of single packets; False is paho's own way.

    Raises
    ------
    InputError
        When URL or a filter is wrong.
    WorkError
        When the first connection fails or the broker refuses a filter.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        filters: Sequence[str],
        max_queued_bytes: int = 64 << 20,
        shared_group: str | None = None,
        first_connect_s: float = 10.0,
        on_subscribed: Callable[[], None] = lambda: None,
        bulk: bool = True,
    ) -> None:
        faults = [fault for text in filters if (fault := filter_fault(text, max_levels=MAX_FILTER_LEVELS))]
        if not filters:
            faults.append("no topic filter to subscribe to, give at least one")
        if not client_id:
            faults.append("client_id is empty, a persistent session needs one")
        if shared_group is not None and (not shared_group or any(c in shared_group for c in "/+#")):
            faults.append(f"shared_group is {shared_group!r}, must be a name without '/', '+' and '#'")
        address = BrokerAddress.parse(url)
        if faults:
            raise InputError(faults)
        prefix = f"$share/{shared_group}/" if shared_group else ""
        self._filters = [(prefix + text, 1) for text in filters]
        self._max_queued_bytes = max_queued_bytes
        self._changed = threading.Condition()
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._received = 0
        self._epoch = 0
        self._acknowledgements: list[bytes] = []
        self._topics: dict[bytes, str] = {}
        self._granted = on_subscribed
        self._refused: str | None = None
        self._subscribed = False
        self._closed = False
        kind = _Client if bulk else mqtt.Client
        client = kind(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, reconnect_on_failure=False)
        client.manual_ack_set(True)
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        self._client = client
        self._link = Link(client, address, self, name=client_id, jitter=random.Random(client_id))  # noqa: S311
        self._link.start(within_s=first_connect_s)
        if first_connect_s > 0:
            self._await_subscription(address, first_connect_s)

    def _await_subscription(self, address: BrokerAddress, within_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._subscribed or self._refused, timeout=within_s)
        if not self._subscribed:
            self.close()
            why = self._refused or f"did not answer within {within_s:g} s"
            raise WorkError(f"the MQTT broker at {address} {why}: check its access rules and that it knows the filters")

    @property
    def state(self) -> SubscriberState:
        """Connection and queue as they are now."""
        with self._changed:
            return SubscriberState(
                connected=self._link.is_up,
                reconnects=max(self._link.connections - 1, 0),
                received=self._received,
                queued=len(self._queue),
                queued_bytes=self._queued_bytes,
                error=self._refused or ("" if self._link.is_up else self._link.error),
            )

    def payloads(self, timeout_s: float, *, max_messages: int = 10_000) -> list[Message]:
        """Return what has come, oldest first; waits up to ``timeout_s`` for the first message."""
        with self._changed:
            if not self._queue and not self._closed:
                self._changed.wait_for(lambda: self._queue or self._closed, timeout=timeout_s)
            was_full = self._queued_bytes >= self._max_queued_bytes
            queue = self._queue
            messages = [queue.popleft() for _ in range(min(len(queue), max_messages))]
            self._queued_bytes -= sum(_size(message) for message in messages)
            has_room = self._queued_bytes < self._max_queued_bytes
        if was_full and has_room:
            self._link.wake()
        return messages

    def acknowledge(self, messages: Iterable[Message]) -> int:
        """Send the PUBACKs of messages and return their number; those of an earlier connection are void.

        Their broker sends them again, because it never got a PUBACK: on the new connection the same identifier may
        already belong to another message.
        """
        with self._changed:
            epoch = self._epoch
            packets = [
                b"\x40\x02" + message.mid.to_bytes(2, "big")
                for message in messages
                if message.mid and message.epoch == epoch
            ]
            self._acknowledgements += packets
        if packets:
            self._link.wake()
        return len(packets)

    def close(self) -> None:
        """Disconnect; the broker keeps the session and what was not acknowledged."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._link.close()

    # paho calls these, in the network thread

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        """Take one message in paho's own way."""
        try:
            raw = message.topic.encode()
        except UnicodeDecodeError as error:  # paho decodes in a property
            raw = error.object
        self._put([(raw, message.mid, bytes(message.payload), bool(message.retain))])

    def _on_subscribe(self, _client: object, _data: object, _mid: int, reasons: list[Any], _props: object) -> None:
        refused = [text for (text, _), reason in zip(self._filters, reasons, strict=False) if reason.is_failure]
        told = f"refuses to subscribe to {', '.join(map(repr, refused))}" if refused else None
        with self._changed:
            before, self._refused = self._refused, told
            self._subscribed = not refused
            self._changed.notify_all()
        if not refused:
            self._granted()
            return
        if told != before:
            log.warning("the MQTT broker %s: check its access rules", told)
        self._client.disconnect()  # it may grant them later, and is asked again with the next connection

    # the link calls these

    def connected(self) -> None:
        """Begin an epoch and subscribe; again also when the session was present, because the filters may be new."""
        with self._changed:
            self._epoch += 1
        self._client.subscribe(self._filters)

    def lost(self) -> None:
        """End the epoch: no acknowledgement of it may reach the next connection."""
        with self._changed:
            self._epoch += 1
            self._acknowledgements.clear()

    def may_read(self) -> bool:
        """Return whether the queue has room."""
        return self._queued_bytes < self._max_queued_bytes

    def outgoing(self) -> bytes:
        """Return the acknowledgements that wait."""
        with self._changed:
            packets, self._acknowledgements = self._acknowledgements, []
        return b"".join(packets)

    def take(self, frames: Frames) -> Frames:
        """Take the publications; QoS 2 is left to paho, though none is subscribed to."""
        others, found = [], []
        for first, body in frames:
            if first >> 4 == 3 and not first & 0x04:
                try:
                    topic, mid, payload = split_publish(first, body)
                except MalformedPacketError:
                    others.append((first, body))  # paho ends the connection over it
                else:
                    found.append((topic, mid, payload, bool(first & 1)))
            else:
                others.append((first, body))
        if found:
            self._put(found)
        return others

    def _put(self, found: list[tuple[bytes, int, bytes, bool]]) -> None:
        topics = self._topics
        with self._changed:
            epoch = self._epoch
            for raw, mid, payload, retained in found:
                topic = topics.get(raw)
                if topic is None:
                    topic = self._topic(raw)
                message = Message(topic, payload, mid, epoch, retained)
                self._queue.append(message)
                self._queued_bytes += _size(message)
            self._received += len(found)
            self._changed.notify_all()

    def _topic(self, raw: bytes) -> str:
        if len(self._topics) >= MAX_TOPICS_CACHED:
            self._topics.clear()
        topic = self._topics[raw] = raw.decode(errors="backslashreplace").replace("\0", "\\x00")
        return topic


def _size(message: Message) -> int:
    return len(message.payload) + len(message.topic) + MESSAGE_OVERHEAD_BYTES
