"""One client's connection: frames in, packets handled in order, answers out in one write for each read."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingest.broker import admission, control, publication
from ingest.broker.access import Rights
from ingest.broker.decoder import decode, split_publish
from ingest.broker.encoder import encode
from ingest.broker.frames import FrameReader
from ingest.broker.inbound import Aliases
from ingest.broker.message import Message, Wording
from ingest.broker.packets import (
    LEVEL_5,
    LEVEL_311,
    ConnackPacket,
    ConnectPacket,
    PacketType,
    ReasonPacket,
    Will,
)
from ingest.broker.reasons import MalformedPacketError, Reason
from ingest.broker.session import Session

if TYPE_CHECKING:
    from ingest.broker.server import Broker

log = logging.getLogger("ingest.broker")

WRITE_BUFFER_BYTES = 1 << 18
CONNECT_FIRST = 0x10
LINGER_S = 5.0  # how long a closing connection may take to send its last bytes
HARD_FACTOR = 4  # a client that cannot be paused may exceed its limits by this before it is cut off


class Connection(asyncio.Protocol):
    """A transport with the state of MQTT around it."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._limits = broker.settings.limits
        self._reader = FrameReader(max_bytes=self._limits.max_packet_bytes)
        self._todo: deque[tuple[int, bytes]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.level = LEVEL_311
        self.session: Session | None = None
        self.will: Will | None = None
        self.rights: Rights | None = None
        self.wording: Wording | None = None
        self.receive_maximum = 65_535
        self.certified_name: str | None = None
        self.keep_alive_s = 0
        self.heard = self.opened = broker.now()
        self.peer = "?"
        self.blocked = False
        self.paused = False
        self._waiting = False
        self._greeted = False
        self.ended = False
        self._doomed: tuple[str, Reason] | None = None
        self.receipts: deque[Message] = deque()
        self.unacknowledged_bytes = 0
        self.under_way = 0  # publications of MQTT 5 at QoS 1 and 2 that it has no final answer to
        self.aliases = Aliases(self._limits.max_topic_aliases)
        self.refusals: dict[str, Reason | None] = {}  # why the client may not publish to a topic; None: it may

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start; refused when there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if peer else "?"
        self.certified_name = _common_name(transport.get_extra_info("peercert"))
        self._broker.opened(self)

    def data_received(self, data: bytes) -> None:
        """Handle every whole packet of one read, then write every answer."""
        if self.ended:
            return
        self.heard = self._broker.now()
        self._broker.counters.bytes_received += len(data)
        if self.session is None and not self._greeted:
            self._greeted = True
            if data[0] != CONNECT_FIRST:  # another protocol need not send what it takes for a length
                self._broker.counters.malformed += 1
                self.end(f"malformed: begins with {data[:8]!r}, not with CONNECT", level=logging.WARNING)
                return
        self._todo.extend(self._reader.feed(data))
        self.work()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self.end("connection lost" if exc is None else f"connection lost: {exc}")
        self._broker.flush()

    def pause_writing(self) -> None:
        """The peer reads too slowly: messages wait in its session."""
        self.blocked = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.blocked = False
        if self.session is not None and not self.ended:
            self.session.pump()
            self._broker.flush()

    # the session calls these

    def send(self, data: bytes) -> None:
        """Put bytes into the next write."""
        out = self._out
        if not out:
            self._broker.dirty.add(self)
        out.append(data)

    def cut_off(self, reason: str, code: Reason = Reason.QUOTA_EXCEEDED) -> None:
        """End at the next flush, when no list of sessions is being walked."""
        if self._doomed is None:
            self._doomed = reason, code
            self.blocked = True
            self._broker.dirty.add(self)

    # the broker calls these

    def work(self) -> None:
        """Handle the packets that have come, as long as the client is not paused."""
        todo = self._todo
        try:
            while todo and not self.paused and not self.ended and not self._waiting:
                first, body = todo.popleft()
                kind = first >> 4
                if self.session is None:
                    self._first_packet(first, body)
                elif kind == PacketType.PUBLISH:
                    self._publish(self.session, first, body)
                elif first == 0x40 and len(body) == 2:
                    delivery = self.session.acknowledged(body[0] << 8 | body[1])
                    if delivery is not None and delivery.owed:
                        self._broker.ledger.confirm(delivery.message)
                else:
                    self._control(self.session, first, body)
            if self._reader.fault and not todo and not self.ended:
                raise MalformedPacketError(self._reader.fault, self._reader.reason)
        except MalformedPacketError as fault:
            if not self.ended:
                self._broker.counters.malformed += 1
                self.end(f"malformed: {fault}", level=logging.WARNING, code=fault.reason)
        self._broker.flush()

    def wait_for(self, question: Callable[[], bool], answered: Callable[[bool], None]) -> None:
        """Answer a question that takes long in another thread; nothing is read meanwhile."""
        self._waiting = True
        if self._transport is not None:
            self._transport.pause_reading()

        def done(answer: bool) -> None:
            self._waiting = False
            if self.ended:
                return
            if self._transport is not None:
                self._transport.resume_reading()
            answered(answer)
            self.work()

        self._broker.ask(question, done)

    def write_out(self) -> None:
        """Write what has gathered."""
        if self._doomed and not self.ended:
            self._out.clear()
            self._broker.counters.cut_off += 1
            reason, code = self._doomed
            self.end(reason, level=logging.WARNING, abort=True, code=code)
        data = b"".join(self._out)
        self._out.clear()
        if self._transport is not None and data:
            self._broker.counters.bytes_sent += len(data)
            self._transport.write(data)

    def send_receipts(self) -> None:
        """Send the acknowledgements that the ledger allows."""
        session = self.session
        assert session is not None
        settled = self._broker.ledger.take_settled(self)
        self._broker.counters.acknowledged += len(settled)
        new = self.level >= LEVEL_5
        for message in settled:
            if message.qos == 1 and not message.reason:
                self.under_way -= 1
                self.send(b"\x40\x02" + message.packet_id.to_bytes(2, "big"))
                continue
            identifier = message.packet_id.to_bytes(2, "big")
            failed = message.reason >= Reason.UNSPECIFIED
            if failed and not new:  # 3.1.1 has no word for it: the publisher learns it by losing its connection
                self.cut_off(f"publication refused with reason {message.reason:#04x}", Reason.NOT_AUTHORIZED)
                return
            rest = b"\x02" + identifier
            if new:
                if message.reason:
                    rest = b"\x03" + identifier + bytes((message.reason,))
                if failed or message.qos == 1:
                    self.under_way -= 1
            if message.qos == 1:
                self.send(b"\x40" + rest)
            else:
                if failed:
                    session.received.pop(message.packet_id, None)
                else:
                    session.received[message.packet_id] = None
                self.send(b"\x50" + rest)

    def acknowledge_first(self) -> None:
        """Put the acknowledgements that are due before what this client is about to receive itself."""
        if self.session is not None and self.session.subscriptions and self in self._broker.ledger.ready:
            self._broker.ledger.ready.discard(self)
            self.send_receipts()

    def overdue(self, now: float) -> bool:
        """Return whether the client was silent for longer than it promised (MQTT-3.1.2-24)."""
        return self.keep_alive_s > 0 and not self.paused and now - self.heard > 1.5 * self.keep_alive_s

    def over_limits(self, factor: float = 1.0) -> bool:
        """Return whether too much of this client is unacknowledged."""
        limits = self._limits
        return (
            len(self.receipts) > limits.max_unacknowledged_messages * factor
            or self.unacknowledged_bytes > limits.max_unacknowledged_bytes * factor
        )

    def pause(self) -> None:
        """Stop reading; what has been read waits."""
        self.paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self.paused = False
        self.heard = self._broker.now()  # nothing could be heard from it meanwhile
        if self._transport is not None and not self.ended:
            self._transport.resume_reading()
            self._broker.soon(self.work)

    def refused(self, reason: Reason) -> None:
        """Close after a CONNACK that says why."""
        self._broker.counters.refused += 1
        self.end(f"refused: {reason.name.lower()}, MQTT level {self.level}", level=logging.INFO)

    def end(self, reason: str, *, level: int = logging.DEBUG, abort: bool = False, code: Reason | None = None) -> None:
        """Close the connection, once; the session may live on.

        Parameters
        ----------
        reason
            For the log.
        abort
            At once, whatever is still to be written.
        code
            What a client of MQTT 5 is told; None: nothing.
        """
        if self.ended:
            return
        self.ended = True
        who = self.session.client_id if self.session else ""
        log.log(level, "client %r at %s: %s", who, self.peer, reason)
        if code is not None and self.level >= LEVEL_5:
            told = ConnackPacket(code) if self.session is None else ReasonPacket(PacketType.DISCONNECT, code)
            self.send(encode(told, LEVEL_5))
        transport = self._transport
        if transport is not None and abort:
            self.write_out()
            transport.abort()
        elif transport is not None:
            self.write_out()
            transport.close()
            self._broker.later(LINGER_S, transport.abort)
        self._broker.closed(self)

    # packets

    def _first_packet(self, first: int, body: bytes) -> None:
        if first != CONNECT_FIRST:
            raise MalformedPacketError(f"first byte {first:#04x} before CONNECT", Reason.PROTOCOL_ERROR)
        if body[:7] == b"\x00\x04MQTT\x05":
            self.level = LEVEL_5  # what is wrong with the rest is said in its own words
        packet = decode(first, body)
        assert isinstance(packet, ConnectPacket)
        admission.begin(self._broker, self, packet)

    def _publish(self, session: Session, first: int, body: bytes) -> None:
        broker, qos = self._broker, first >> 1 & 3
        if qos > 1 or self.level >= LEVEL_5 or self.rights is not None:
            publication.publish(broker, self, session, first, body)
        else:
            wire_topic, packet_id, payload = split_publish(first, body)
            route = broker.router.route(wire_topic)
            if route.fault:
                raise MalformedPacketError(route.fault)
            broker.counters.publish_received += 1
            message = Message(route.topic, route.head, payload, qos, first & 1 == 1)
            message.packet_id = packet_id
            message.origin = session.client_id
            if route.is_own:  # the broker's own topic: taken, acknowledged, not passed on
                publication.settle_at_once(broker, self, message, Reason.SUCCESS)
            else:
                broker.router.publish(message, route, self)
        if self.over_limits() or broker.pressed():
            self._push_back(session)

    def _push_back(self, session: Session) -> None:
        # A durable subscriber is never paused: its acknowledgements come the same way and would never be read.
        if not (session.subscriptions and self._broker.router.may_be_durable(session)):
            self._broker.pause(self)
        elif self.over_limits(HARD_FACTOR):
            self.cut_off("too many unacknowledged publications of a client that is a durable subscriber itself")

    def _control(self, session: Session, first: int, body: bytes) -> None:
        if self in self._broker.ledger.ready:  # so that a PINGRESP says that nothing more is due
            self.send_receipts()
        control.handle(self._broker, self, session, decode(first, body, self.level))


def _common_name(certificate: object) -> str | None:
    if not isinstance(certificate, dict):
        return None
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None
