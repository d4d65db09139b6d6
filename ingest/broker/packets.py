"""MQTT control packets: one frozen dataclass each, decoded strictly and encoded once.

`decode` makes a packet of a frame (`ingest.broker.frames`), `encode` makes the bytes of a packet. The numbers in
comments are normative statements of OASIS MQTT 3.1.1 (2014).
"""

import enum
from dataclasses import dataclass

from ingest.broker.frames import frame


class MalformedPacketError(ValueError):
    """Bytes that are no MQTT packet; the message says what is wrong and closes that connection only."""


class PacketType(enum.IntEnum):
    """Upper four bits of the first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class Connack(enum.IntEnum):
    """Return codes of CONNACK."""

    ACCEPTED = 0
    UNACCEPTABLE_LEVEL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3


SUBSCRIPTION_REFUSED = 0x80
LEVEL_31, LEVEL_311 = 3, 4  # MQTT 3.1 differs in its protocol name only, as far as a broker is concerned
_NAMES = {LEVEL_31: "MQIsdp", LEVEL_311: "MQTT"}


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when a client goes without DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True)
class ConnectPacket:
    """First packet of a client; ``level`` 4 is MQTT 3.1.1, 3 is 3.1 (of any other level only that is decoded)."""

    client_id: str
    clean_session: bool = True
    keep_alive_s: int = 60
    will: Will | None = None
    user: str | None = None
    password: bytes | None = None
    level: int = LEVEL_311


@dataclass(frozen=True, slots=True)
class ConnackPacket:
    """The broker's answer to CONNECT."""

    code: int
    session_present: bool = False


@dataclass(frozen=True, slots=True)
class PublishPacket:
    """An application message; ``packet_id`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    packet_id: int = 0


@dataclass(frozen=True, slots=True)
class AckPacket:
    """PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK: a type and a packet identifier."""

    type: PacketType
    packet_id: int


@dataclass(frozen=True, slots=True)
class SubscribePacket:
    """Topic filters with the wanted QoS."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class SubackPacket:
    """Granted QoS, or `SUBSCRIPTION_REFUSED`, for each filter."""

    packet_id: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnsubscribePacket:
    """Topic filters to forget."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BarePacket:
    """PINGREQ, PINGRESP or DISCONNECT: a type alone."""

    type: PacketType


Packet = (
    ConnectPacket
    | ConnackPacket
    | PublishPacket
    | AckPacket
    | SubscribePacket
    | SubackPacket
    | UnsubscribePacket
    | BarePacket
)

_BARE = (PacketType.PINGREQ, PacketType.PINGRESP, PacketType.DISCONNECT)
_ACKS = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP, PacketType.UNSUBACK)
_FLAGS_2 = (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)  # MQTT-2.2.2-1


def decode_text(data: bytes, what: str) -> str:
    """Return MQTT text: strict UTF-8 without U+0000 (MQTT-1.5.3-1, -2)."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedPacketError(f"{what} is not UTF-8: {data[:40]!r}") from None
    if "\0" in text:
        raise MalformedPacketError(f"{what} holds U+0000: {text[:40]!r}")
    return text


def _binary(body: bytes, at: int, what: str) -> tuple[bytes, int]:
    if at + 2 > len(body):
        raise MalformedPacketError(f"{what} is cut off")
    start = at + 2
    stop = start + (body[at] << 8 | body[at + 1])
    if stop > len(body):
        raise MalformedPacketError(f"{what} is cut off")
    return body[start:stop], stop


def _text(body: bytes, at: int, what: str) -> tuple[str, int]:
    data, stop = _binary(body, at, what)
    return decode_text(data, what), stop


def _packet_id(body: bytes, name: str) -> int:
    if len(body) < 2:
        raise MalformedPacketError(f"{name} without packet identifier")
    packet_id = body[0] << 8 | body[1]
    if packet_id == 0:  # MQTT-2.3.1-1
        raise MalformedPacketError(f"{name} with packet identifier 0")
    return packet_id


def split_publish(first: int, body: bytes) -> tuple[bytes, int, bytes]:
    """Return topic bytes, packet identifier (0 at QoS 0) and payload of a PUBLISH frame; the topic is not decoded."""
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
        raise MalformedPacketError("PUBLISH with packet identifier 0")
    return body[2:stop], packet_id, body[stop + 2 :]


def decode(first: int, body: bytes) -> Packet:
    """Return the packet of a frame.

    Raises
    ------
    MalformedPacketError
        When the frame breaks the standard, saying where.

    Examples
    --------
    >>> decode(0x40, bytes([0, 7])).packet_id
    7
    """
    try:
        kind = PacketType(first >> 4)
    except ValueError:
        raise MalformedPacketError(f"packet type {first >> 4} is reserved") from None
    if kind is PacketType.PUBLISH:
        topic, packet_id, payload = split_publish(first, body)
        text = decode_text(topic, "topic of PUBLISH")
        return PublishPacket(text, payload, first >> 1 & 3, bool(first & 1), bool(first & 8), packet_id)
    if first & 0x0F != (2 if kind in _FLAGS_2 else 0):
        raise MalformedPacketError(f"{kind.name} with flags {first & 0x0F}")
    if kind in _BARE:
        _no_rest(kind.name, body, 0)
        return BarePacket(kind)
    if kind in _ACKS:
        _no_rest(kind.name, body, 2)
        return AckPacket(kind, _packet_id(body, kind.name))
    if kind is PacketType.CONNECT:
        return _decode_connect(body)
    if kind is PacketType.CONNACK:
        if len(body) != 2 or body[0] > 1:
            raise MalformedPacketError(f"CONNACK of {body[:8]!r}")
        return ConnackPacket(body[1], bool(body[0]))
    packet_id = _packet_id(body, kind.name)
    if kind is PacketType.SUBACK:
        return SubackPacket(packet_id, tuple(body[2:]))
    if kind is PacketType.SUBSCRIBE:
        return SubscribePacket(packet_id, _subscriptions(body))
    return UnsubscribePacket(packet_id, _filters(body))


def _no_rest(name: str, body: bytes, size: int) -> None:
    if len(body) > size:
        raise MalformedPacketError(f"{name} with {len(body) - size} bytes too many")


def _subscriptions(body: bytes) -> tuple[tuple[str, int], ...]:
    found, at = [], 2
    while at < len(body):
        text, at = _text(body, at, "topic filter")
        if at >= len(body):
            raise MalformedPacketError("SUBSCRIBE without QoS")
        if body[at] > 2:  # MQTT-3-8.3-4
            raise MalformedPacketError(f"SUBSCRIBE with QoS byte {body[at]}")
        found.append((text, body[at]))
        at += 1
    if not found:
        raise MalformedPacketError("SUBSCRIBE without topic filter")
    return tuple(found)


def _filters(body: bytes) -> tuple[str, ...]:
    found, at = [], 2
    while at < len(body):
        text, at = _text(body, at, "topic filter")
        found.append(text)
    if not found:
        raise MalformedPacketError("UNSUBSCRIBE without topic filter")
    return tuple(found)


def _decode_connect(body: bytes) -> ConnectPacket:
    name, at = _text(body, 0, "protocol name")
    if name not in _NAMES.values():
        raise MalformedPacketError(f"protocol name {name[:20]!r}")
    if at >= len(body):
        raise MalformedPacketError("CONNECT without protocol level")
    level = body[at]
    if _NAMES.get(level) != name:
        return ConnectPacket("", level=level)  # MQTT-3.1.2-2: answered with a code, so not malformed
    if at + 4 > len(body):
        raise MalformedPacketError("CONNECT is cut off")
    flags, keep_alive_s = body[at + 1], body[at + 2] << 8 | body[at + 3]
    has_will, will_qos = bool(flags & 0x04), flags >> 3 & 3
    if flags & 1:
        raise MalformedPacketError("CONNECT with the reserved flag")
    if will_qos == 3 or (not has_will and flags & 0x38):
        raise MalformedPacketError(f"CONNECT with will flags {flags & 0x3C:#04x}")
    if flags & 0x40 and not flags & 0x80:  # MQTT-3.1.2-22
        raise MalformedPacketError("CONNECT with a password but no user")
    client_id, at = _text(body, at + 4, "client identifier")
    will = user = password = None
    if has_will:
        topic, at = _text(body, at, "will topic")
        payload, at = _binary(body, at, "will payload")
        will = Will(topic, payload, will_qos, bool(flags & 0x20))
    if flags & 0x80:
        user, at = _text(body, at, "user name")
    if flags & 0x40:
        password, at = _binary(body, at, "password")
    _no_rest("CONNECT", body, at)
    return ConnectPacket(client_id, bool(flags & 2), keep_alive_s, will, user, password, level)


def _with_length(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise ValueError(f"text of {len(data)} bytes, MQTT allows 65535")
    return len(data).to_bytes(2, "big") + data


def encode(packet: Packet) -> bytes:
    """Return the bytes of a packet; ``decode`` of the frame gives it back.

    Examples
    --------
    >>> encode(AckPacket(PacketType.PUBACK, 7)).hex()
    '40020007'
    """
    match packet:
        case PublishPacket(topic, payload, qos, retain, duplicate, packet_id):
            first = 0x30 | duplicate << 3 | qos << 1 | retain
            identifier = packet_id.to_bytes(2, "big") if qos else b""
            return frame(first, _with_length(topic.encode()) + identifier + payload)
        case AckPacket(kind, packet_id):
            return frame(kind << 4 | (2 if kind in _FLAGS_2 else 0), packet_id.to_bytes(2, "big"))
        case BarePacket(kind):
            return frame(kind << 4, b"")
        case ConnackPacket(code, session_present):
            return frame(0x20, bytes((session_present, code)))
        case SubackPacket(packet_id, codes):
            return frame(0x90, packet_id.to_bytes(2, "big") + bytes(codes))
        case SubscribePacket(packet_id, filters):
            body = b"".join(_with_length(text.encode()) + bytes((qos,)) for text, qos in filters)
            return frame(0x82, packet_id.to_bytes(2, "big") + body)
        case UnsubscribePacket(packet_id, texts):
            return frame(0xA2, packet_id.to_bytes(2, "big") + b"".join(_with_length(t.encode()) for t in texts))
        case ConnectPacket():
            return _encode_connect(packet)


def _encode_connect(packet: ConnectPacket) -> bytes:
    flags = packet.clean_session << 1
    tail = _with_length(packet.client_id.encode())
    if packet.will:
        flags |= 0x04 | packet.will.qos << 3 | packet.will.retain << 5
        tail += _with_length(packet.will.topic.encode()) + _with_length(packet.will.payload)
    if packet.user is not None:
        flags |= 0x80
        tail += _with_length(packet.user.encode())
    if packet.password is not None:
        flags |= 0x40
        tail += _with_length(packet.password)
    head = (
        _with_length(_NAMES.get(packet.level, "MQTT").encode())
        + bytes((packet.level, flags))
        + packet.keep_alive_s.to_bytes(2, "big")
    )
    return frame(0x10, head + tail)
