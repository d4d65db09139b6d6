"""PUBLISH with all that MQTT 5, QoS 2 and users add; the plain one of 3.1.1 is handled by the connection itself."""

from typing import TYPE_CHECKING

from ingest.broker.decoder import split_publish
from ingest.broker.encoder import encode
from ingest.broker.inbound import read_extras
from ingest.broker.message import Message
from ingest.broker.packets import LEVEL_5, AckPacket, PacketType
from ingest.broker.reasons import MalformedPacketError, Reason
from ingest.broker.session import Session

if TYPE_CHECKING:
    from ingest.broker.connection import Connection
    from ingest.broker.server import Broker

HARD_FACTOR = 4  # what waits for a PUBREL cannot be held back by not reading: over this much the client is cut off
REMEMBERED_TOPICS, REMEMBERED_LENGTH = 1_000, 512


def publish(broker: "Broker", connection: "Connection", session: Session, first: int, body: bytes) -> None:
    """Take a publication.

    Raises
    ------
    MalformedPacketError
        When it breaks the protocol, or more are under way than the client may have.
    """
    wire_topic, packet_id, payload = split_publish(first, body)
    limits = broker.settings.limits
    properties, expires_at = b"", None
    new = connection.level >= LEVEL_5
    if new:
        payload, properties, expires_at, alias = read_extras(payload, broker.now())
        if alias >= 0 or not wire_topic:
            wire_topic = connection.aliases.resolve(wire_topic, alias)
    route = broker.router.route(wire_topic)
    if route.fault:
        raise MalformedPacketError(route.fault, Reason.TOPIC_NAME_INVALID)
    qos = first >> 1 & 3
    broker.counters.publish_received += 1
    if qos == 2 and packet_id in session.received:
        if session.received[packet_id] is None:  # repeated after its PUBREC got lost
            connection.send(encode(AckPacket(PacketType.PUBREC, packet_id)))
        return
    if new and qos:
        connection.under_way += 1
        if connection.under_way > limits.receive_maximum:
            raise MalformedPacketError("more publications than Receive Maximum", Reason.RECEIVE_MAXIMUM_EXCEEDED)
    message = Message(route.topic, route.head, payload, qos, first & 1 == 1)
    message.packet_id = packet_id
    message.origin = session.client_id
    if properties or expires_at is not None:
        message.with_properties(properties, expires_at)
    if qos == 2:
        session.received[packet_id] = message
    refused = _refusal(connection, route.topic)
    if refused is not None:
        settle_at_once(broker, connection, message, refused)
    elif route.is_own:
        settle_at_once(broker, connection, message, Reason.SUCCESS)
    elif qos == 2 and not route.is_durable:
        session.store(message)  # passed on with its PUBREL
        settle_at_once(broker, connection, message, Reason.SUCCESS)
        if session.stored_bytes > limits.max_unacknowledged_bytes * HARD_FACTOR:
            connection.cut_off("too many publications at QoS 2 without their PUBREL")
    else:
        broker.router.publish(message, route, connection)


def _refusal(connection: "Connection", topic: str) -> Reason | None:
    """Return why a client may not publish to a topic; None: it may."""
    if connection.rights is None:
        return None
    known = connection.refusals.get(topic, ...)
    if known is ...:
        known = None if connection.rights.may_publish(topic) else Reason.NOT_AUTHORIZED
        if known is None and connection.rights.is_one_more_than_allowed(topic):
            known = Reason.QUOTA_EXCEEDED
        if len(topic) <= REMEMBERED_LENGTH:
            if len(connection.refusals) >= REMEMBERED_TOPICS:
                connection.refusals.clear()
            connection.refusals[topic] = known
    return known


def settle_at_once(broker: "Broker", connection: "Connection", message: Message, reason: Reason) -> None:
    """Acknowledge, in its turn, what nobody is waited for."""
    if message.qos:
        message.reason = reason
        broker.ledger.expect(message, connection)
        broker.ledger.settle(message)


def release(broker: "Broker", connection: "Connection", session: Session, packet_id: int) -> None:
    """Take a PUBREL: what was not passed on yet is, and PUBCOMP answers."""
    known = packet_id in session.received
    if known and session.received[packet_id] is not None:
        return  # it has not had its PUBREC
    session.received.pop(packet_id, None)
    connection.under_way = max(0, connection.under_way - known)
    code = Reason.SUCCESS if known or connection.level < LEVEL_5 else Reason.PACKET_IDENTIFIER_NOT_FOUND
    connection.send(encode(AckPacket(PacketType.PUBCOMP, packet_id, code), connection.level))
    message = session.take_stored(packet_id)
    if message is not None:
        message.publisher = None  # it has its acknowledgement
        broker.router.publish(message, broker.router.route(message.head[2:]))
