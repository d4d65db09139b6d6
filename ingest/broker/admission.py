"""CONNECT: who is admitted, with which session, and what the broker promises in its CONNACK."""

from typing import TYPE_CHECKING

from ingest.broker.encoder import encode
from ingest.broker.frames import remaining_length
from ingest.broker.inbound import passed_on
from ingest.broker.message import Wording
from ingest.broker.packets import LEVEL_5, LEVEL_31, LEVEL_311, ConnackPacket, ConnectPacket
from ingest.broker.properties import Properties, Property, number
from ingest.broker.reasons import MalformedPacketError, Reason, return_code
from ingest.broker.topics import topic_fault

if TYPE_CHECKING:
    from ingest.broker.connection import Connection
    from ingest.broker.server import Broker
    from ingest.broker.settings import Limits

LARGEST_PACKET = 268_435_460  # first byte, four of length, and the most that they can say
NEVER_EXPIRES = 0xFFFF_FFFF


def begin(broker: "Broker", connection: "Connection", packet: ConnectPacket) -> None:
    """Answer CONNECT, at once or when the password has been checked."""
    connection.level = packet.level
    fault = _fault(broker, packet)
    if fault is None and connection in broker.surplus:
        fault = Reason.QUOTA_EXCEEDED  # "server unavailable" in 3.1.1
    if fault is not None:
        refuse(connection, fault)
        return
    access = broker.access
    if access is None:
        _admit(broker, connection, packet)
    elif connection.certified_name or packet.user is None or access.is_known(packet.user, packet.password):
        _authorize(broker, connection, packet, connection.certified_name or packet.user)
    else:
        connection.wait_for(
            lambda: access.verify(packet.user, packet.password),
            lambda right: (
                _authorize(broker, connection, packet, packet.user)
                if right
                else refuse(connection, Reason.BAD_USER_OR_PASSWORD)
            ),
        )


def _fault(broker: "Broker", packet: ConnectPacket) -> Reason | None:
    if packet.level not in (LEVEL_31, LEVEL_311, LEVEL_5):
        return Reason.UNSUPPORTED_LEVEL
    if any(key is Property.AUTHENTICATION_METHOD for key, _ in packet.properties):
        return Reason.BAD_AUTHENTICATION_METHOD
    if any(key is Property.AUTHENTICATION_DATA for key, _ in packet.properties):
        return Reason.PROTOCOL_ERROR
    if not packet.client_id and not packet.clean_session and packet.level < LEVEL_5:  # MQTT-3.1.3-8
        return Reason.CLIENT_IDENTIFIER_NOT_VALID
    if packet.will:
        fault = topic_fault(packet.will.topic, max_levels=broker.settings.limits.max_topic_levels)
        passed_on(packet.will.properties, 0.0)  # raises now what it would raise when the client is gone
        if fault:
            raise MalformedPacketError(f"will: {fault}", Reason.TOPIC_NAME_INVALID)
    return None


def _authorize(broker: "Broker", connection: "Connection", packet: ConnectPacket, user: str | None) -> None:
    assert broker.access is not None
    rights = broker.access.rights(user, packet.client_id)
    if rights is None or (packet.will and not rights.may_publish(packet.will.topic)):
        refuse(connection, Reason.NOT_AUTHORIZED)
        return
    session = broker.sessions.get(packet.client_id)
    if session is not None and session.user != user:  # or one device could take another's session, and its messages
        refuse(connection, Reason.NOT_AUTHORIZED)
        return
    connection.rights = rights
    _admit(broker, connection, packet, user)


def _admit(broker: "Broker", connection: "Connection", packet: ConnectPacket, user: str | None = None) -> None:
    limits = broker.settings.limits
    client_id = packet.client_id or broker.make_up_id()
    expiry_s, keep_alive_s = _expiry_s(packet, limits), packet.keep_alive_s
    answer: Properties = ()
    if packet.level >= LEVEL_5:
        if not 0 < keep_alive_s <= limits.max_keep_alive_s:
            keep_alive_s = limits.max_keep_alive_s
        answer = _promises(packet, client_id, expiry_s, keep_alive_s, limits)
        connection.receive_maximum = number(packet.properties, Property.RECEIVE_MAXIMUM, 65_535)
        connection.wording = Wording(
            max_bytes=number(packet.properties, Property.MAXIMUM_PACKET_SIZE, LARGEST_PACKET),
            max_aliases=min(number(packet.properties, Property.TOPIC_ALIAS_MAXIMUM, 0), limits.max_topic_aliases),
        )
    present = broker.join(connection, client_id, clean=packet.clean_session, expiry_s=expiry_s)
    session = connection.session
    assert session is not None
    session.user = user
    connection.will = packet.will
    connection.keep_alive_s = keep_alive_s
    connection.send(encode(ConnackPacket(Reason.SUCCESS, present, answer), packet.level))
    session.resume(connection)
    if session.subscriptions:
        broker.router.attended(session)
        broker.router.release_held()


def _expiry_s(packet: ConnectPacket, limits: "Limits") -> float:
    if packet.level < LEVEL_5:
        return 0.0 if packet.clean_session else limits.session_expiry_s
    return min(float(number(packet.properties, Property.SESSION_EXPIRY, 0)), limits.session_expiry_s)


def _promises(
    packet: ConnectPacket, client_id: str, expiry_s: float, keep_alive_s: int, limits: "Limits"
) -> Properties:
    """Return the properties of CONNACK: what the broker grants, where it is not what the client takes for granted."""
    size = 1 + len(remaining_length(limits.max_packet_bytes)) + limits.max_packet_bytes
    answer: list[tuple[Property, int | str]] = []
    if number(packet.properties, Property.SESSION_EXPIRY, 0) != expiry_s:
        answer.append((Property.SESSION_EXPIRY, int(expiry_s)))
    answer.append((Property.RECEIVE_MAXIMUM, limits.receive_maximum))
    answer.append((Property.MAXIMUM_PACKET_SIZE, size))
    answer.append((Property.TOPIC_ALIAS_MAXIMUM, limits.max_topic_aliases))
    if not packet.client_id:
        answer.append((Property.ASSIGNED_CLIENT_IDENTIFIER, client_id))
    if keep_alive_s != packet.keep_alive_s:
        answer.append((Property.SERVER_KEEP_ALIVE, keep_alive_s))
    return tuple(answer)


def refuse(connection: "Connection", reason: Reason) -> None:
    """Answer CONNECT with a code, and close."""
    new = connection.level >= LEVEL_5
    code = reason if new else return_code(reason)
    connection.send(encode(ConnackPacket(code), LEVEL_5 if new else LEVEL_311))
    connection.refused(reason)
