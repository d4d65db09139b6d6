"""MQTT control packets, one frozen dataclass each; `decode` makes them of frames and `encode` makes bytes of them."""

import enum
from dataclasses import dataclass

from ingest.broker.properties import Properties

LEVEL_31, LEVEL_311, LEVEL_5 = 3, 4, 5  # for a broker, MQTT 3.1 differs from 3.1.1 in its protocol name only
NAMES = {LEVEL_31: "MQIsdp", LEVEL_311: "MQTT", LEVEL_5: "MQTT"}
SUBSCRIPTION_REFUSED = 0x80


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
    AUTH = 15


ACKS = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP)
FLAGS_2 = (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)  # MQTT-2.2.2-1


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when a client goes without DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class ConnectPacket:
    """First packet of a client; ``clean_session`` is "clean start" in MQTT 5. Of an unknown level only that is kept."""

    client_id: str
    clean_session: bool = True
    keep_alive_s: int = 60
    will: Will | None = None
    user: str | None = None
    password: bytes | None = None
    level: int = LEVEL_311
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class ConnackPacket:
    """The broker's answer to CONNECT: a return code of 3.1.1 or a reason of 5."""

    code: int
    session_present: bool = False
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class PublishPacket:
    """An application message; ``packet_id`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    packet_id: int = 0
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class AckPacket:
    """PUBACK, PUBREC, PUBREL, PUBCOMP, and UNSUBACK of 3.1.1: a type and a packet identifier; in MQTT 5 a reason."""

    type: PacketType
    packet_id: int
    reason: int = 0
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class SubscribePacket:
    """Topic filters with options: QoS (bits 0-1), in MQTT 5 no-local (2), retain as published (3), handling (4-5)."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class SubackPacket:
    """Granted QoS, or why it is refused (0x80 and above), for each filter."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class UnsubscribePacket:
    """Topic filters to forget."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class UnsubackPacket:
    """A reason for each filter; MQTT 5 only."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class BarePacket:
    """PINGREQ, PINGRESP, or DISCONNECT of 3.1.1: a type alone."""

    type: PacketType


@dataclass(frozen=True, slots=True)
class ReasonPacket:
    """DISCONNECT or AUTH of MQTT 5: a type and a reason."""

    type: PacketType
    reason: int = 0
    properties: Properties = ()


Packet = (
    ConnectPacket
    | ConnackPacket
    | PublishPacket
    | AckPacket
    | SubscribePacket
    | SubackPacket
    | UnsubscribePacket
    | UnsubackPacket
    | BarePacket
    | ReasonPacket
)
