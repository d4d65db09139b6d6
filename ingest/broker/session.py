"""What the broker knows of a client beyond its connection: subscriptions, messages under way, messages waiting."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from ingest.broker.message import Delivery, Message, Wording
from ingest.broker.packets import Will
from ingest.broker.reasons import MalformedPacketError, Reason
from ingest.broker.settings import Counters, Limits
from ingest.broker.shared import SharedGroup, Subscription


class Outlet(Protocol):
    """Where a session's packets go: its connection, as far as the session needs it."""

    blocked: bool
    wording: Wording | None
    receive_maximum: int

    def send(self, data: bytes) -> None:
        """Put bytes into the next write."""

    def cut_off(self, reason: str, code: Reason = Reason.QUOTA_EXCEEDED) -> None:
        """End the connection at once."""


class Session:
    """Subscriptions and messages of one client identifier.

    Parameters
    ----------
    client_id
        As the client gave it, or made up for it.
    expiry_s
        How long it outlives the connection; 0: not at all.
    clock
        The broker's time, s.
    """

    def __init__(
        self, client_id: str, *, expiry_s: float, limits: Limits, counters: Counters, clock: Callable[[], float]
    ) -> None:
        self.client_id = client_id
        self.expiry_s = expiry_s
        self.user: str | None = None
        self.filter_letters = 0
        self.subscriptions: dict[str, Subscription] = {}
        self.groups: dict[str, SharedGroup] = {}
        self.outlet: Outlet | None = None
        self.away_since: float | None = None
        self.passed_over = False
        self.will: Will | None = None
        self.will_due = 0.0
        self.inflight: dict[int, Delivery] = {}
        self.inflight_bytes = 0
        self.queue: deque[Delivery] = deque()
        self.queued_bytes = 0
        self.received: dict[
            int, Message | None
        ] = {}  # QoS 2 up to PUBREL; None once it is passed on and PUBREC is sent
        self.stored: dict[int, Message] = {}  # QoS 2 that is passed on with its PUBREL
        self.stored_bytes = 0
        self.refuse: Callable[[Message, int], None] | None = None  # told of what is owed and cannot be sent
        self._again: deque[int] = deque()  # of an earlier connection, not sent on this one yet
        self._outstanding = 0  # sent on this connection and not acknowledged
        self._window = limits.max_inflight
        self._limits = limits
        self._counters = counters
        self._clock = clock
        self._last_id = 0

    @property
    def persistent(self) -> bool:
        """Whether it outlives the connection."""
        return self.expiry_s > 0

    def ready(self) -> bool:
        """Return whether a message would be sent at once."""
        return self.outlet is not None and not self.outlet.blocked and not self.queue and self._window_open()

    def deliver(self, delivery: Delivery) -> None:
        """Send a message now, or queue it until the client can take it."""
        outlet = self.outlet
        if outlet is not None and not self.queue and not outlet.blocked:
            if delivery.qos == 0:
                self._transmit_plain(outlet, delivery)
                return
            if (
                self._outstanding < self._window
                and self.inflight_bytes < self._limits.max_queued_bytes
                and not self._again
            ):
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
        return (
            self._outstanding < self._window and self.inflight_bytes < self._limits.max_queued_bytes and not self._again
        )

    def _transmit_plain(self, outlet: Outlet, delivery: Delivery) -> None:
        if outlet.wording is None:
            outlet.send(delivery.message.wire(delivery.retain))
        else:
            data = outlet.wording.packet(delivery, 0x31 if delivery.retain else 0x30, 0, self._clock())
            if data is None:
                self._counters.publish_dropped += 1
                return
            outlet.send(data)
        self._counters.publish_sent += 1

    def _transmit(self, outlet: Outlet, delivery: Delivery) -> None:
        packet_id = self._last_id + 1 if self._last_id < 0xFFFF else 1
        while packet_id in self.inflight:
            packet_id = packet_id + 1 if packet_id < 0xFFFF else 1
        first = 0x30 | delivery.qos << 1 | delivery.retain
        if outlet.wording is None:
            outlet.send(delivery.message.wire_with_id(packet_id, first))
        else:
            data = outlet.wording.packet(delivery, first, packet_id, self._clock())
            if data is None:
                self._too_large(delivery)
                return
            outlet.send(data)
        self._last_id = packet_id
        self.inflight[packet_id] = delivery
        self.inflight_bytes += delivery.message.size
        self._outstanding += 1
        self._counters.publish_sent += 1

    def _too_large(self, delivery: Delivery) -> None:
        self._counters.publish_dropped += 1
        if delivery.owed and self.refuse is not None:
            self.refuse(delivery.message, Reason.PACKET_TOO_LARGE)

    def pump(self) -> None:
        """Send what is queued, as far as the client can take it."""
        outlet = self.outlet
        if self._again and outlet is not None:
            self._send_again(outlet)
        queue = self.queue
        while queue and outlet is not None and not outlet.blocked:
            if queue[0].qos and not self._window_open():
                return
            delivery = queue.popleft()
            self.queued_bytes -= delivery.message.size
            if (
                delivery.message.expires_at is not None
                and not delivery.owed
                and delivery.message.expired(self._clock())
            ):
                continue
            if delivery.qos:
                self._transmit(outlet, delivery)
            else:
                self._transmit_plain(outlet, delivery)

    def resume(self, outlet: Outlet) -> None:
        """Take a new connection: first what was under way, in order and with DUP (MQTT-4.4.0-1), then the queue."""
        self.outlet = outlet
        self.away_since = None
        self.passed_over = False
        self.will = None
        self._outstanding = 0
        self._window = min(self._limits.max_inflight, outlet.receive_maximum)
        self._again = deque(self.inflight)
        self.pump()

    def _send_again(self, outlet: Outlet) -> None:
        again = self._again
        while again:
            packet_id = again[0]
            delivery = self.inflight.get(packet_id)
            if delivery is None:
                again.popleft()
                continue
            if self._outstanding >= self._window:
                return
            again.popleft()
            first = 0x38 | delivery.qos << 1 | delivery.retain
            if delivery.released:
                outlet.send(b"\x62\x02" + packet_id.to_bytes(2, "big"))
            elif outlet.wording is None:
                outlet.send(delivery.message.wire_with_id(packet_id, first))
            else:
                data = outlet.wording.packet(delivery, first, packet_id, self._clock())
                if data is None:
                    self._finish(packet_id)
                    self._too_large(delivery)
                    continue
                outlet.send(data)
            self._outstanding += 1
            self._counters.publish_sent += 1

    def _finish(self, packet_id: int) -> Delivery | None:
        delivery = self.inflight.pop(packet_id, None)
        if delivery is not None:
            self.inflight_bytes -= delivery.message.size
        return delivery

    def acknowledged(self, packet_id: int, qos: int = 1) -> Delivery | None:
        """Take a PUBACK, or a PUBCOMP for QoS 2; an identifier that is not under way is ignored."""
        delivery = self.inflight.pop(packet_id, None)
        if delivery is None:
            return None
        if delivery.qos != qos:
            self.inflight[packet_id] = delivery
            raise MalformedPacketError(
                f"packet identifier {packet_id} acknowledged at QoS {qos}, it was sent at QoS {delivery.qos}",
                Reason.PROTOCOL_ERROR,
            )
        self.inflight_bytes -= delivery.message.size
        if self._outstanding:
            self._outstanding -= 1
        if self.queue or self._again:
            self.pump()
        return delivery

    def taken(self, packet_id: int) -> bool:
        """Take a PUBREC: from now on PUBREL is repeated; False when the identifier is not under way."""
        delivery = self.inflight.get(packet_id)
        if delivery is None:
            return False
        if delivery.qos != 2:
            raise MalformedPacketError(f"PUBREC for {packet_id}, which was sent at QoS 1", Reason.PROTOCOL_ERROR)
        delivery.released = True
        return True

    def store(self, message: Message) -> None:
        """Keep a publication of this client at QoS 2 until its PUBREL."""
        self.stored[message.packet_id] = message
        self.stored_bytes += message.size

    def take_stored(self, packet_id: int) -> Message | None:
        """Return what waited for a PUBREL."""
        message = self.stored.pop(packet_id, None)
        if message is not None:
            self.stored_bytes -= message.size
        return message

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
        self._again.clear()
        self.keep(lambda delivery: delivery.qos > 0)

    def give_back(self) -> list[Delivery]:
        """Return, oldest first, and forget what came by a shared subscription and another member may get instead.

        What is under way at QoS 2 stays: only this client can finish it (MQTT 5, 4.8.2).
        """
        ids = [k for k, d in self.inflight.items() if d.group is not None and d.qos == 1]
        given = [delivery for k in ids if (delivery := self._finish(k)) is not None]
        given += [delivery for delivery in self.queue if delivery.group is not None]
        self.keep(lambda delivery: delivery.group is None)
        return given

    def keep(self, wanted: Callable[[Delivery], bool]) -> None:
        """Forget the queued deliveries that are not wanted."""
        self.queue = deque(delivery for delivery in self.queue if wanted(delivery))
        self.queued_bytes = sum(delivery.message.size for delivery in self.queue)
