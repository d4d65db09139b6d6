"""From frames to packets, strictly; numbers in comments are statements of OASIS MQTT 3.1.1 (2014) and 5 (2019)."""

from ingest.broker.fields import decode_text, read_binary, read_packet_id, read_text
from ingest.broker.packets import (
    ACKS,
    FLAGS_2,
    LEVEL_5,
    LEVEL_311,
    NAMES,
    AckPacket,
    BarePacket,
    ConnackPacket,
    ConnectPacket,
    Packet,
    PacketType,
    PublishPacket,
    ReasonPacket,
    SubackPacket,
    SubscribePacket,
    UnsubackPacket,
    UnsubscribePacket,
    Will,
)
from ingest.broker.properties import Properties, read_properties
from ingest.broker.reasons import MalformedPacketError, Reason


def split_publish(first: int, body: bytes) -> tuple[bytes, int, bytes]:
    """Return topic bytes, packet identifier (0 at QoS 0) and the rest of a PUBLISH frame; the topic is not decoded.

    The rest is the payload; in MQTT 5 the properties stand before it.
    """
    flags = first & 0x06
    if flags == 0x06:
        raise MalformedPacketError("PUBLISH with QoS 3")
    if len(body) < 2:
        raise MalformedPacketError("PUBLISH without topic")
    stop = 2 + (body[0] << 8 | body[1])
    if flags == 0:
        if first & 0x08:  # MQTT-3.3.1-2
            raise MalformedPacketError("PUBLISH with DUP at QoS 0")
        if stop > len(body):
            raise MalformedPacketError("topic of PUBLISH is cut off")
        return body[2:stop], 0, body[stop:]
    if stop + 2 > len(body):
        raise MalformedPacketError("topic of PUBLISH is cut off")
    packet_id = body[stop] << 8 | body[stop + 1]
    if packet_id == 0:
        raise MalformedPacketError("PUBLISH with packet identifier 0", Reason.PROTOCOL_ERROR)
    return body[2:stop], packet_id, body[stop + 2 :]


def decode(first: int, body: bytes, level: int = LEVEL_311) -> Packet:
    """Return the packet of a frame.

    Parameters
    ----------
    first, body
        The frame.
    level
        What the connection speaks; CONNECT says its own.

    Raises
    ------
    MalformedPacketError
        When the frame breaks the standard, saying where.

    Examples
    --------
    >>> decode(0x40, bytes([0, 7])).packet_id
    7
    """
    new = level >= LEVEL_5
    kind = PacketType(first >> 4) if first >> 4 else None
    if kind is None or (kind is PacketType.AUTH and not new):
        raise MalformedPacketError(f"packet type {first >> 4} is reserved")
    if kind is PacketType.PUBLISH:
        return _decode_publish(first, body, new)
    if first & 0x0F != (2 if kind in FLAGS_2 else 0):
        raise MalformedPacketError(f"{kind.name} with flags {first & 0x0F}")
    match kind:
        case PacketType.CONNECT:
            return _decode_connect(body)
        case PacketType.CONNACK:
            return _decode_connack(body, new)
        case PacketType.PINGREQ | PacketType.PINGRESP:
            _no_rest(kind.name, body, 0)
            return BarePacket(kind)
        case PacketType.DISCONNECT | PacketType.AUTH:
            if not new:
                _no_rest(kind.name, body, 0)
                return BarePacket(kind)
            reason, properties = _reason(kind.name, body, 0)
            return ReasonPacket(kind, reason, properties)
    packet_id = read_packet_id(body, kind.name)
    if kind in ACKS and new:
        return AckPacket(kind, packet_id, *_reason(kind.name, body, 2))
    if kind in ACKS or (kind is PacketType.UNSUBACK and not new):
        _no_rest(kind.name, body, 2)
        return AckPacket(kind, packet_id)
    properties, at = read_properties(body, 2, kind.name) if new else ((), 2)
    if kind is PacketType.SUBACK:
        return SubackPacket(packet_id, tuple(body[at:]), properties)
    if kind is PacketType.UNSUBACK:
        return UnsubackPacket(packet_id, tuple(body[at:]), properties)
    if kind is PacketType.SUBSCRIBE:
        return SubscribePacket(packet_id, _subscriptions(body, at, new), properties)
    return UnsubscribePacket(packet_id, _filters(body, at), properties)


def _no_rest(name: str, body: bytes, size: int) -> None:
    if len(body) > size:
        raise MalformedPacketError(f"{name} with {len(body) - size} bytes too many")


def _reason(name: str, body: bytes, at: int) -> tuple[int, Properties]:
    """Return reason and properties, each of which may be left off when there is nothing to say (MQTT 5, 3.4.2.1)."""
    if at == len(body):
        return 0, ()
    if at + 1 == len(body):
        return body[at], ()
    properties, stop = read_properties(body, at + 1, name)
    _no_rest(name, body, stop)
    return body[at], properties


def _decode_publish(first: int, body: bytes, new: bool) -> PublishPacket:
    topic, packet_id, payload = split_publish(first, body)
    text = decode_text(topic, "topic of PUBLISH")
    properties: Properties = ()
    if new:
        properties, stop = read_properties(payload, 0, "PUBLISH")
        payload = payload[stop:]
    return PublishPacket(text, payload, first >> 1 & 3, bool(first & 1), bool(first & 8), packet_id, properties)


def _subscriptions(body: bytes, at: int, new: bool) -> tuple[tuple[str, int], ...]:
    found = []
    while at < len(body):
        text, at = read_text(body, at, "topic filter")
        if at >= len(body):
            raise MalformedPacketError("SUBSCRIBE without QoS")
        options = body[at]
        if options & 3 == 3 or options & (0xC0 if new else 0xFC):  # MQTT-3-8.3-4, in 5: 3.8.3-5
            raise MalformedPacketError(f"SUBSCRIBE with options {options:#04x}")
        if options >> 4 == 3:
            raise MalformedPacketError("SUBSCRIBE with retain handling 3", Reason.PROTOCOL_ERROR)
        found.append((text, options))
        at += 1
    if not found:
        raise MalformedPacketError("SUBSCRIBE without topic filter", Reason.PROTOCOL_ERROR)
    return tuple(found)


def _filters(body: bytes, at: int) -> tuple[str, ...]:
    found = []
    while at < len(body):
        text, at = read_text(body, at, "topic filter")
        found.append(text)
    if not found:
        raise MalformedPacketError("UNSUBSCRIBE without topic filter", Reason.PROTOCOL_ERROR)
    return tuple(found)


def _decode_connack(body: bytes, new: bool) -> ConnackPacket:
    if len(body) < 2 or body[0] > 1 or (len(body) > 2 and not new):
        raise MalformedPacketError(f"CONNACK of {body[:8]!r}")
    properties: Properties = ()
    if new:
        properties, stop = read_properties(body, 2, "CONNACK")
        _no_rest("CONNACK", body, stop)
    return ConnackPacket(body[1], bool(body[0]), properties)


def _decode_connect(body: bytes) -> ConnectPacket:
    name, at = read_text(body, 0, "protocol name")
    if name not in NAMES.values():
        raise MalformedPacketError(f"protocol name {name[:20]!r}", Reason.UNSUPPORTED_LEVEL)
    if at >= len(body):
        raise MalformedPacketError("CONNECT without protocol level")
    level = body[at]
    if NAMES.get(level) != name:
        return ConnectPacket("", level=level)  # MQTT-3.1.2-2: answered with a code, so not malformed
    new = level == LEVEL_5
    if at + 4 > len(body):
        raise MalformedPacketError("CONNECT is cut off")
    flags, keep_alive_s = body[at + 1], body[at + 2] << 8 | body[at + 3]
    has_will, will_qos = bool(flags & 0x04), flags >> 3 & 3
    if flags & 1:
        raise MalformedPacketError("CONNECT with the reserved flag")
    if will_qos == 3 or (not has_will and flags & 0x38):
        raise MalformedPacketError(f"CONNECT with will flags {flags & 0x3C:#04x}")
    if flags & 0x40 and not flags & 0x80 and not new:  # MQTT-3.1.2-22
        raise MalformedPacketError("CONNECT with a password but no user")
    at += 4
    properties, at = read_properties(body, at, "CONNECT") if new else ((), at)
    client_id, at = read_text(body, at, "client identifier")
    will = user = password = None
    if has_will:
        will_properties, at = read_properties(body, at, "will") if new else ((), at)
        topic, at = read_text(body, at, "will topic")
        payload, at = read_binary(body, at, "will payload")
        will = Will(topic, payload, will_qos, bool(flags & 0x20), will_properties)
    if flags & 0x80:
        user, at = read_text(body, at, "user name")
    if flags & 0x40:
        password, at = read_binary(body, at, "password")
    _no_rest("CONNECT", body, at)
    return ConnectPacket(client_id, bool(flags & 2), keep_alive_s, will, user, password, level, properties)
