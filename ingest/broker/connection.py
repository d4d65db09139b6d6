"""One client's connection: frames in, packets handled in order, answers out in one write for each read."""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from ingest.broker.frames import FrameReader
from ingest.broker.packets import (
    AckPacket,
    BarePacket,
    Connack,
    ConnackPacket,
    ConnectPacket,
    MalformedPacketError,
    Packet,
    PacketType,
    SubackPacket,
    SubscribePacket,
    UnsubscribePacket,
    Will,
    decode,
    encode,
    split_publish,
)
from ingest.broker.session import Message, Session

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
        self.session: Session | None = None
        self.will: Will | None = None
        self.keep_alive_s = 0
        self.heard = self.opened = broker.now()
        self.peer = "?"
        self.blocked = False
        self.paused = False
        self._greeted = False
        self.ended = False
        self.doomed: str | None = None
        self.receipts: deque[Message] = deque()
        self.unacknowledged_bytes = 0

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start; refused when there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if peer else "?"
        self._broker.opened(self)

    def data_received(self, data: bytes) -> None:
        """Handle every whole packet of one read, then write every answer."""
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

    def cut_off(self, reason: str) -> None:
        """End at the next flush, when no list of sessions is being walked."""
        if self.doomed is None:
            self.doomed = reason
            self.blocked = True
            self._broker.dirty.add(self)

    # the broker calls these

    def work(self) -> None:
        """Handle the packets that have come, as long as the client is not paused."""
        todo = self._todo
        try:
            while todo and not self.paused and not self.ended:
                first, body = todo.popleft()
                kind = first >> 4
                if self.session is None:
                    self._first_packet(decode(first, body))
                elif kind == PacketType.PUBLISH:
                    self._publish(first, body)
                elif first == 0x40 and len(body) == 2:
                    delivery = self.session.acknowledged(body[0] << 8 | body[1])
                    if delivery is not None and delivery.owed:
                        self._broker.ledger.confirm(delivery.message)
                else:
                    self._control(self.session, decode(first, body))
            if self._reader.fault and not todo:
                raise MalformedPacketError(self._reader.fault)
        except MalformedPacketError as fault:
            if not self.ended:
                self._broker.counters.malformed += 1
                self.end(f"malformed: {fault}", level=logging.WARNING)
        self._broker.flush()

    def write_out(self) -> None:
        """Write what has gathered."""
        if self.doomed and not self.ended:
            self._out.clear()
            self._broker.counters.cut_off += 1
            self.end(self.doomed, level=logging.WARNING, abort=True)
        data = b"".join(self._out)
        self._out.clear()
        if self._transport is not None and data:
            self._broker.counters.bytes_sent += len(data)
            self._transport.write(data)

    def send_receipts(self) -> None:
        """Send the acknowledgements that the ledger allows."""
        assert self.session is not None
        settled = self._broker.ledger.take_settled(self)
        self._broker.counters.acknowledged += len(settled)
        for message in settled:
            if message.qos == 1:
                self.send(b"\x40\x02" + message.packet_id.to_bytes(2, "big"))
            else:
                self.session.received[message.packet_id] = None
                self.send(b"\x50\x02" + message.packet_id.to_bytes(2, "big"))

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

    def end(self, reason: str, *, level: int = logging.DEBUG, abort: bool = False) -> None:
        """Close the connection, once; the session may live on."""
        if self.ended:
            return
        self.ended = True
        who = self.session.client_id if self.session else ""
        log.log(level, "client %r at %s: %s", who, self.peer, reason)
        transport = self._transport
        if transport is not None and abort:
            transport.abort()
        elif transport is not None:
            self.write_out()
            transport.close()
            self._broker.later(LINGER_S, transport.abort)
        self._broker.closed(self)

    # packets

    def _first_packet(self, packet: Packet) -> None:
        if not isinstance(packet, ConnectPacket):
            raise MalformedPacketError(f"{type(packet).__name__} before CONNECT")
        code, session_present = self._broker.connect(self, packet)
        self.send(encode(ConnackPacket(code, session_present)))
        if code != Connack.ACCEPTED:
            self._broker.counters.refused += 1
            self.end(f"refused: {Connack(code).name.lower()}, MQTT level {packet.level}", level=logging.INFO)
            return
        assert self.session is not None
        self.session.resume(self)

    def _publish(self, first: int, body: bytes) -> None:
        wire_topic, packet_id, payload = split_publish(first, body)
        session, broker = self.session, self._broker
        assert session is not None
        route = broker.router.route(wire_topic)
        if route.fault:
            raise MalformedPacketError(route.fault)
        qos = first >> 1 & 3
        broker.counters.publish_received += 1
        if qos == 2 and packet_id in session.received:
            if session.received[packet_id] is None:  # repeated after its PUBREC got lost
                self.send(b"\x50\x02" + packet_id.to_bytes(2, "big"))
            return
        message = Message(route.topic, wire_topic, payload, qos)
        message.packet_id = packet_id
        if qos == 2:
            session.received[packet_id] = message
        if route.topic.startswith("$SYS/"):  # the broker's own: taken, acknowledged, not passed on
            if qos:
                broker.ledger.expect(message, self)
                broker.ledger.settle(message)
        else:
            broker.router.publish(message, route, retain=bool(first & 1), publisher=self)
        if self.over_limits() or broker.pressed():
            self._push_back(session)

    def _push_back(self, session: Session) -> None:
        # A durable subscriber is never paused: its acknowledgements come the same way and would never be read.
        if not (session.subscriptions and self._broker.router.may_be_durable(session)):
            self._broker.pause(self)
        elif self.over_limits(HARD_FACTOR):
            self.cut_off("too many unacknowledged publications of a client that is a durable subscriber itself")

    def _control(self, session: Session, packet: Packet) -> None:
        if self in self._broker.ledger.ready:  # so that a PINGRESP says that nothing more is due
            self.send_receipts()
        match packet:
            case BarePacket(PacketType.PINGREQ):
                self.send(encode(BarePacket(PacketType.PINGRESP)))
            case BarePacket(PacketType.DISCONNECT):
                self.will = None
                self.end("disconnected")
            case AckPacket(PacketType.PUBREL, packet_id):
                if (
                    session.received.get(packet_id, None) is None
                ):  # unknown ones are answered as well: it may be a retry
                    session.received.pop(packet_id, None)
                    self.send(encode(AckPacket(PacketType.PUBCOMP, packet_id)))
            case SubscribePacket(packet_id, filters):
                codes = self._broker.router.subscribe(session, filters)
                self.send(encode(SubackPacket(packet_id, codes)))
                for (text, _), code in zip(filters, codes, strict=True):
                    if code <= 1:
                        self._broker.router.send_retained(session, text, code)
                if self._broker.router.may_be_durable(session):
                    self._broker.router.release_held()
            case UnsubscribePacket(packet_id, texts):
                self._broker.router.unsubscribe(session, texts)
                self.send(encode(AckPacket(PacketType.UNSUBACK, packet_id)))
            case _:
                kind = packet.type.name if isinstance(packet, AckPacket | BarePacket) else type(packet).__name__
                raise MalformedPacketError(f"unexpected {kind}")
