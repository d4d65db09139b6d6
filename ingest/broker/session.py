"""What the broker knows of a client beyond its connection: subscriptions, messages under way, messages waiting.

A *message* is one publication, shared by all who get it. A *delivery* is a message on its way to one client; it is
*owed* when the publisher's PUBACK waits for it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from ingest.broker.frames import remaining_length
from ingest.broker.settings import Counters, Limits


class Outlet(Protocol):
    """Where a session's packets go: its connection, as far as the session needs it."""

    blocked: bool

    def send(self, data: bytes) -> None:
        """Put bytes into the next write."""

    def cut_off(self, reason: str) -> None:
        """End the connection at once."""


class Publisher(Protocol):
    """Who waits for acknowledgements: a connection, as far as the ledger needs it."""

    receipts: "deque[Message]"
    unacknowledged_bytes: int


class Message:
    """One publication.

    Attributes
    ----------
    publisher
        Who waits for its PUBACK or PUBREC; None when nobody does (any more).
    packet_id, qos
        As the publisher sent them.
    waiting
        Durable subscribers that have not acknowledged it yet.
    confirmed
        Whether one of them has.
    settled
        Whether it may be acknowledged.
    size
        Bytes it is counted with; 200 stand for the objects around it.
    """

    __slots__ = (
        "_head",
        "_plain",
        "confirmed",
        "packet_id",
        "payload",
        "publisher",
        "qos",
        "settled",
        "size",
        "topic",
        "waiting",
        "wire_topic",
    )

    def __init__(self, topic: str, wire_topic: bytes, payload: bytes, qos: int) -> None:
        self.topic = topic
        self.wire_topic = wire_topic
        self.payload = payload
        self.qos = qos
        self.publisher: Publisher | None = None
        self.packet_id = 0
        self.waiting = 0
        self.confirmed = False
        self.settled = False
        self.size = len(payload) + len(wire_topic) + 200
        self._head = b""
        self._plain = b""

    def wire(self, retain: bool) -> bytes:
        """Return the packet at QoS 0, made once for all who get it."""
        if not self._plain:
            size = 2 + len(self.wire_topic) + len(self.payload)
            self._plain = remaining_length(size) + len(self.wire_topic).to_bytes(2, "big") + self.wire_topic
        return (b"\x31" if retain else b"\x30") + self._plain + self.payload

    def wire_qos1(self, packet_id: int, first: int) -> bytes:
        """Return the packet at QoS 1; all but first byte and identifier is made once for all who get it."""
        if not self._head:
            size = 4 + len(self.wire_topic) + len(self.payload)
            self._head = remaining_length(size) + len(self.wire_topic).to_bytes(2, "big") + self.wire_topic
        return _BYTE[first] + self._head + packet_id.to_bytes(2, "big") + self.payload


_BYTE = tuple(bytes((k,)) for k in range(256))


class Delivery:
    """A message on its way to one client."""

    __slots__ = ("message", "owed", "qos", "retain")

    def __init__(self, message: Message, qos: int, retain: bool, owed: bool) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.owed = owed


class Session:
    """Subscriptions and messages of one client identifier.

    Parameters
    ----------
    client_id
        As the client gave it, or made up for it.
    persistent
        Outlives the connection (``clean_session`` false).
    """

    def __init__(self, client_id: str, *, persistent: bool, limits: Limits, counters: Counters) -> None:
        self.client_id = client_id
        self.persistent = persistent
        self.subscriptions: dict[str, int] = {}
        self.outlet: Outlet | None = None
        self.away_since: float | None = None
        self.passed_over = False
        self.inflight: dict[int, Delivery] = {}
        self.inflight_bytes = 0
        self.queue: deque[Delivery] = deque()
        self.queued_bytes = 0
        self.received: dict[int, Message | None] = {}  # QoS 2 up to PUBREL; None once PUBREC was sent
        self._limits = limits
        self._counters = counters
        self._last_id = 0

    def deliver(self, delivery: Delivery) -> None:
        """Send a message now, or queue it until the client can take it."""
        outlet = self.outlet
        if outlet is not None and not self.queue and not outlet.blocked:
            if delivery.qos == 0:
                outlet.send(delivery.message.wire(delivery.retain))
                self._counters.publish_sent += 1
                return
            if self._window_open():
                self._transmit(outlet, delivery)
                return
        if outlet is None and delivery.qos == 0:
            return  # MQTT keeps nothing of QoS 0 for the absent
        full = len(self.queue) >= self._limits.max_queued_messages or self.queued_bytes > self._limits.max_queued_bytes
        if full and not delivery.owed:
            self._counters.publish_dropped += 1
            if outlet is not None and not any(d.owed for d in self.inflight.values()):
                outlet.cut_off(f"too slow: {len(self.queue)} messages, {self.queued_bytes} bytes are waiting for it")
            return
        self.queue.append(delivery)
        self.queued_bytes += delivery.message.size

    def _window_open(self) -> bool:
        limits = self._limits
        return len(self.inflight) < limits.max_inflight and self.inflight_bytes < limits.max_queued_bytes

    def _transmit(self, outlet: Outlet, delivery: Delivery) -> None:
        packet_id = self._last_id + 1 if self._last_id < 0xFFFF else 1
        while packet_id in self.inflight:
            packet_id = packet_id + 1 if packet_id < 0xFFFF else 1
        self._last_id = packet_id
        self.inflight[packet_id] = delivery
        self.inflight_bytes += delivery.message.size
        outlet.send(delivery.message.wire_qos1(packet_id, 0x33 if delivery.retain else 0x32))
        self._counters.publish_sent += 1

    def pump(self) -> None:
        """Send what is queued, as far as the client can take it."""
        outlet = self.outlet
        queue = self.queue
        while queue and outlet is not None and not outlet.blocked:
            if queue[0].qos and not self._window_open():
                return
            delivery = queue.popleft()
            self.queued_bytes -= delivery.message.size
            if delivery.qos:
                self._transmit(outlet, delivery)
            else:
                outlet.send(delivery.message.wire(delivery.retain))
                self._counters.publish_sent += 1

    def resume(self, outlet: Outlet) -> None:
        """Take a new connection: first what was under way, in order and with DUP (MQTT-4.4.0-1), then the queue."""
        self.outlet = outlet
        self.away_since = None
        self.passed_over = False
        for packet_id, delivery in self.inflight.items():
            outlet.send(delivery.message.wire_qos1(packet_id, 0x3B if delivery.retain else 0x3A))
        self._counters.publish_sent += len(self.inflight)
        self.pump()

    def acknowledged(self, packet_id: int) -> Delivery | None:
        """Take a PUBACK; an identifier that is not under way is ignored."""
        delivery = self.inflight.pop(packet_id, None)
        if delivery is not None:
            self.inflight_bytes -= delivery.message.size
        if self.queue:
            self.pump()
        return delivery

    def owed(self) -> Iterator[Delivery]:
        """Yield the deliveries for which a publisher waits, oldest first."""
        for delivery in self.inflight.values():
            if delivery.owed:
                yield delivery
        for delivery in self.queue:
            if delivery.owed:
                yield delivery

    def leave(self, now: float) -> None:
        """Lose the connection; QoS 0 does not wait for the return."""
        self.outlet = None
        self.away_since = now
        self.keep(lambda delivery: delivery.qos > 0)

    def keep(self, wanted: Callable[[Delivery], bool]) -> None:
        """Forget the queued deliveries that are not wanted."""
        self.queue = deque(delivery for delivery in self.queue if wanted(delivery))
        self.queued_bytes = sum(delivery.message.size for delivery in self.queue)
