"""From packets to the bytes of a frame."""

from ingest.broker.fields import with_length
from ingest.broker.frames import frame
from ingest.broker.packets import (
    FLAGS_2,
    LEVEL_5,
    LEVEL_311,
    NAMES,
    AckPacket,
    BarePacket,
    ConnackPacket,
    ConnectPacket,
    Packet,
    PublishPacket,
    ReasonPacket,
    SubackPacket,
    SubscribePacket,
    UnsubackPacket,
    UnsubscribePacket,
)
from ingest.broker.properties import Properties, write_properties


def encode(packet: Packet, level: int = LEVEL_311) -> bytes:
    """Return the bytes of a packet; ``decode`` of the frame at the same level gives it back.

    Examples
    --------
    >>> from ingest.broker.packets import PacketType
    >>> encode(AckPacket(PacketType.PUBACK, 7)).hex()
    '40020007'
    """
    new = level >= LEVEL_5
    extra = write_properties(getattr(packet, "properties", ())) if new else b""
    match packet:
        case PublishPacket(topic, payload, qos, retain, duplicate, packet_id):
            first = 0x30 | duplicate << 3 | qos << 1 | retain
            identifier = packet_id.to_bytes(2, "big") if qos else b""
            return frame(first, with_length(topic.encode()) + identifier + extra + payload)
        case AckPacket(kind, packet_id, reason, properties):
            rest = _reason(reason, properties) if new else b""
            return frame(kind << 4 | (2 if kind in FLAGS_2 else 0), packet_id.to_bytes(2, "big") + rest)
        case BarePacket(kind):
            return frame(kind << 4, b"")
        case ReasonPacket(kind, reason, properties):
            return frame(kind << 4, _reason(reason, properties) if new else b"")
        case ConnackPacket(code, session_present):
            return frame(0x20, bytes((session_present, code)) + extra)
        case SubackPacket(packet_id, codes):
            return frame(0x90, packet_id.to_bytes(2, "big") + extra + bytes(codes))
        case UnsubackPacket(packet_id, codes):
            return frame(0xB0, packet_id.to_bytes(2, "big") + extra + bytes(codes))
        case SubscribePacket(packet_id, filters):
            body = b"".join(with_length(text.encode()) + bytes((options,)) for text, options in filters)
            return frame(0x82, packet_id.to_bytes(2, "big") + extra + body)
        case UnsubscribePacket(packet_id, texts):
            body = b"".join(with_length(text.encode()) for text in texts)
            return frame(0xA2, packet_id.to_bytes(2, "big") + extra + body)
        case ConnectPacket():
            return _encode_connect(packet)


def _reason(reason: int, properties: Properties) -> bytes:
    if properties:
        return bytes((reason,)) + write_properties(properties)
    return bytes((reason,)) if reason else b""


def _encode_connect(packet: ConnectPacket) -> bytes:
    new = packet.level >= LEVEL_5
    flags = packet.clean_session << 1
    tail = (write_properties(packet.properties) if new else b"") + with_length(packet.client_id.encode())
    if packet.will:
        flags |= 0x04 | packet.will.qos << 3 | packet.will.retain << 5
        tail += write_properties(packet.will.properties) if new else b""
        tail += with_length(packet.will.topic.encode()) + with_length(packet.will.payload)
    if packet.user is not None:
        flags |= 0x80
        tail += with_length(packet.user.encode())
    if packet.password is not None:
        flags |= 0x40
        tail += with_length(packet.password)
    head = (
        with_length(NAMES.get(packet.level, "MQTT").encode())
        + bytes((packet.level, flags))
        + packet.keep_alive_s.to_bytes(2, "big")
    )
    return frame(0x10, head + tail)
