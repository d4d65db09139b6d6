"""What a connected client may send besides PUBLISH: acknowledgements of QoS 2, subscriptions, PINGREQ, DISCONNECT."""

from typing import TYPE_CHECKING

from ingest.broker import publication
from ingest.broker.encoder import encode
from ingest.broker.packets import (
    LEVEL_5,
    SUBSCRIPTION_REFUSED,
    AckPacket,
    BarePacket,
    Packet,
    PacketType,
    ReasonPacket,
    SubackPacket,
    SubscribePacket,
    UnsubackPacket,
    UnsubscribePacket,
)
from ingest.broker.properties import Property, number
from ingest.broker.reasons import MalformedPacketError, Reason
from ingest.broker.session import Session
from ingest.broker.shared import Subscription
from ingest.broker.topics import SHARE

if TYPE_CHECKING:
    from ingest.broker.connection import Connection
    from ingest.broker.server import Broker


def handle(broker: "Broker", connection: "Connection", session: Session, packet: Packet) -> None:
    """Do what a packet asks for.

    Raises
    ------
    MalformedPacketError
        When a client may not send it.
    """
    level = connection.level
    match packet:
        case BarePacket(PacketType.PINGREQ):
            connection.send(encode(BarePacket(PacketType.PINGRESP)))
        case BarePacket(PacketType.DISCONNECT):
            connection.will = None
            connection.end("disconnected")
        case ReasonPacket(PacketType.DISCONNECT):
            _disconnect(broker, connection, session, packet)
        case AckPacket(PacketType.PUBACK | PacketType.PUBCOMP as kind, packet_id, reason):
            delivery = session.acknowledged(packet_id, 1 if kind is PacketType.PUBACK else 2)
            if delivery is not None and delivery.owed:
                if reason >= Reason.UNSPECIFIED and kind is PacketType.PUBACK:
                    broker.ledger.refuse(delivery.message, reason)
                else:
                    broker.ledger.confirm(delivery.message)
        case AckPacket(PacketType.PUBREC, packet_id, reason):
            _received(broker, connection, session, packet_id, reason)
        case AckPacket(PacketType.PUBREL, packet_id):
            publication.release(broker, connection, session, packet_id)
        case SubscribePacket():
            _subscribe(broker, connection, session, packet)
        case UnsubscribePacket(packet_id, texts):
            had = [broker.router.unsubscribe(session, text) for text in texts]
            if level < LEVEL_5:
                connection.send(encode(AckPacket(PacketType.UNSUBACK, packet_id)))
            else:
                codes = tuple(0 if one else int(Reason.NO_SUBSCRIPTION_EXISTED) for one in had)
                connection.send(encode(UnsubackPacket(packet_id, codes), level))
        case _:
            kind_name = packet.type.name if isinstance(packet, AckPacket | BarePacket) else type(packet).__name__
            raise MalformedPacketError(f"unexpected {kind_name}", Reason.PROTOCOL_ERROR)


def _disconnect(broker: "Broker", connection: "Connection", session: Session, packet: ReasonPacket) -> None:
    expiry = number(packet.properties, Property.SESSION_EXPIRY, -1)
    if any(key is Property.SERVER_REFERENCE for key, _ in packet.properties):
        raise MalformedPacketError("DISCONNECT with SERVER_REFERENCE from a client", Reason.PROTOCOL_ERROR)
    if expiry > 0 and not session.persistent:  # MQTT-3.14.2-2
        raise MalformedPacketError("DISCONNECT gives an expiry to a session that ends now", Reason.PROTOCOL_ERROR)
    if expiry >= 0:
        session.expiry_s = min(float(expiry), broker.settings.limits.session_expiry_s)
    if packet.reason == Reason.SUCCESS:
        connection.will = None
    connection.end("disconnected")


def _received(broker: "Broker", connection: "Connection", session: Session, packet_id: int, reason: int) -> None:
    if reason >= Reason.UNSPECIFIED:  # the end of it: nothing follows (MQTT 5, 4.3.3)
        delivery = session.acknowledged(packet_id, 2)
        if delivery is not None and delivery.owed:
            broker.ledger.refuse(delivery.message, reason)
        return
    known = session.taken(packet_id)
    code = Reason.SUCCESS if known or connection.level < LEVEL_5 else Reason.PACKET_IDENTIFIER_NOT_FOUND
    connection.send(encode(AckPacket(PacketType.PUBREL, packet_id, code), connection.level))


def _subscribe(broker: "Broker", connection: "Connection", session: Session, packet: SubscribePacket) -> None:
    identifier = number(packet.properties, Property.SUBSCRIPTION_IDENTIFIER, 0)
    new_level = connection.level >= LEVEL_5
    if new_level and any(text.startswith(SHARE) and options & 4 for text, options in packet.filters):
        raise MalformedPacketError("a shared subscription with no-local", Reason.PROTOCOL_ERROR)  # 3.8.3-4
    codes: list[int] = []
    retained: list[tuple[str, Subscription]] = []
    for text, options in packet.filters:
        wanted = Subscription.of(options, identifier)
        reason, new = broker.router.subscribe(session, text, wanted, connection.rights)
        if reason is not None:
            codes.append(reason if new_level else SUBSCRIPTION_REFUSED)
            continue
        codes.append(wanted.qos)
        handling = wanted.retain_handling
        if not text.startswith(SHARE) and (handling == 0 or (handling == 1 and new)):
            retained.append((text, wanted))
    connection.send(encode(SubackPacket(packet.packet_id, tuple(codes)), connection.level))
    for text, wanted in retained:
        broker.router.send_retained(session, text, wanted)
    if session.groups:
        broker.router.attended(session)
    if broker.router.may_be_durable(session):
        broker.router.release_held()
