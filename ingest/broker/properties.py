"""Properties of MQTT 5: which there are, where each may stand, how they are read and written.

`Properties` are pairs of identifier and value in the order of the wire, because user properties have an order.
"""

import enum
from collections.abc import Iterable

from ingest.broker.fields import read_binary, read_integer, read_text, read_variable, with_length
from ingest.broker.frames import remaining_length
from ingest.broker.reasons import MalformedPacketError, Reason

Value = int | str | bytes | tuple[str, str]
Properties = tuple[tuple["Property", Value], ...]


class Property(enum.IntEnum):
    """Identifiers, OASIS MQTT 5 table 2-4."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29
    SHARED_AVAILABLE = 0x2A


P = Property
_BYTES = {
    P.PAYLOAD_FORMAT: 1, P.REQUEST_PROBLEM_INFORMATION: 1, P.REQUEST_RESPONSE_INFORMATION: 1, P.MAXIMUM_QOS: 1,
    P.RETAIN_AVAILABLE: 1, P.WILDCARD_AVAILABLE: 1, P.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 1, P.SHARED_AVAILABLE: 1,
    P.SERVER_KEEP_ALIVE: 2, P.RECEIVE_MAXIMUM: 2, P.TOPIC_ALIAS_MAXIMUM: 2, P.TOPIC_ALIAS: 2,
    P.MESSAGE_EXPIRY: 4, P.SESSION_EXPIRY: 4, P.WILL_DELAY: 4, P.MAXIMUM_PACKET_SIZE: 4,
}  # fmt: skip
_BINARY = {P.CORRELATION_DATA, P.AUTHENTICATION_DATA}
_NOT_ZERO = {P.SUBSCRIPTION_IDENTIFIER, P.RECEIVE_MAXIMUM, P.MAXIMUM_PACKET_SIZE}
_MESSAGE = {
    P.PAYLOAD_FORMAT, P.MESSAGE_EXPIRY, P.CONTENT_TYPE, P.RESPONSE_TOPIC, P.CORRELATION_DATA, P.USER_PROPERTY,
}  # fmt: skip
_EXPLAINED = {P.REASON_STRING, P.USER_PROPERTY}

ALLOWED: dict[str, set[Property]] = {
    "CONNECT": {
        P.SESSION_EXPIRY, P.RECEIVE_MAXIMUM, P.MAXIMUM_PACKET_SIZE, P.TOPIC_ALIAS_MAXIMUM, P.USER_PROPERTY,
        P.REQUEST_RESPONSE_INFORMATION, P.REQUEST_PROBLEM_INFORMATION, P.AUTHENTICATION_METHOD, P.AUTHENTICATION_DATA,
    },
    "will": _MESSAGE | {P.WILL_DELAY},
    "CONNACK": _EXPLAINED | {
        P.SESSION_EXPIRY, P.RECEIVE_MAXIMUM, P.MAXIMUM_QOS, P.RETAIN_AVAILABLE, P.MAXIMUM_PACKET_SIZE,
        P.ASSIGNED_CLIENT_IDENTIFIER, P.TOPIC_ALIAS_MAXIMUM, P.WILDCARD_AVAILABLE, P.SHARED_AVAILABLE,
        P.SUBSCRIPTION_IDENTIFIER_AVAILABLE, P.SERVER_KEEP_ALIVE, P.RESPONSE_INFORMATION, P.SERVER_REFERENCE,
        P.AUTHENTICATION_METHOD, P.AUTHENTICATION_DATA,
    },
    "PUBLISH": _MESSAGE | {P.TOPIC_ALIAS, P.SUBSCRIPTION_IDENTIFIER},
    "SUBSCRIBE": {P.SUBSCRIPTION_IDENTIFIER, P.USER_PROPERTY},
    "UNSUBSCRIBE": {P.USER_PROPERTY},
    "DISCONNECT": _EXPLAINED | {P.SESSION_EXPIRY, P.SERVER_REFERENCE},
    "AUTH": _EXPLAINED | {P.AUTHENTICATION_METHOD, P.AUTHENTICATION_DATA},
}  # fmt: skip
"""Packet to the properties that may stand in it; every packet that is not named takes a reason and user properties."""


def _read_value(kind: Property, body: bytes, at: int) -> tuple[Value, int]:
    name = kind.name
    if kind is P.SUBSCRIPTION_IDENTIFIER:
        return read_variable(body, at, name)
    if kind in _BYTES:
        value, at = read_integer(body, at, _BYTES[kind], name)
        if _BYTES[kind] == 1 and value > 1:
            raise MalformedPacketError(f"{name} is {value}, must be 0 or 1", Reason.PROTOCOL_ERROR)
        return value, at
    if kind in _BINARY:
        return read_binary(body, at, name)
    if kind is P.USER_PROPERTY:
        key, at = read_text(body, at, name)
        text, at = read_text(body, at, name)
        return (key, text), at
    return read_text(body, at, name)


def read_properties(body: bytes, at: int, where: str) -> tuple[Properties, int]:
    """Return the properties at a place of a packet, and where they end.

    Raises
    ------
    MalformedPacketError
        When one is unknown, out of place, repeated or not what it must be.

    Examples
    --------
    >>> read_properties(bytes([3, 0x23, 0, 7]), 0, "PUBLISH")
    (((<Property.TOPIC_ALIAS: 35>, 7),), 4)
    """
    length, at = read_variable(body, at, f"property length of {where}")
    stop = at + length
    if stop > len(body):
        raise MalformedPacketError(f"properties of {where} are cut off")
    allowed = ALLOWED.get(where, _EXPLAINED)
    found: list[tuple[Property, Value]] = []
    seen: set[Property] = set()
    whole = body if stop == len(body) else body[:stop]
    while at < stop:
        try:
            kind = Property(body[at])
        except ValueError:
            raise MalformedPacketError(f"{where} with unknown property {body[at]:#04x}") from None
        if kind not in allowed:
            raise MalformedPacketError(f"{where} with {kind.name}", Reason.PROTOCOL_ERROR)
        value, at = _read_value(kind, whole, at + 1)
        if value == 0 and kind in _NOT_ZERO:
            raise MalformedPacketError(f"{kind.name} is 0", Reason.PROTOCOL_ERROR)
        repeats = kind is P.USER_PROPERTY or (kind is P.SUBSCRIPTION_IDENTIFIER and where == "PUBLISH")
        if kind in seen and not repeats:
            raise MalformedPacketError(f"{where} with {kind.name} twice", Reason.PROTOCOL_ERROR)
        seen.add(kind)
        found.append((kind, value))
    return tuple(found), stop


def write_properties(properties: Iterable[tuple[Property, Value]]) -> bytes:
    """Return properties as they stand in a packet, their length first.

    Examples
    --------
    >>> write_properties([(Property.TOPIC_ALIAS, 7)]).hex()
    '03230007'
    """
    return sized(b"".join(write_property(kind, value) for kind, value in properties))


def sized(data: bytes) -> bytes:
    """Return written properties with their length before them."""
    return remaining_length(len(data)) + data


def write_property(kind: Property, value: Value) -> bytes:
    """Return one property as it stands in a packet."""
    head = bytes((kind,))
    if isinstance(value, tuple):
        return head + with_length(value[0].encode()) + with_length(value[1].encode())
    if isinstance(value, str):
        return head + with_length(value.encode())
    if isinstance(value, bytes):
        return head + with_length(value)
    if kind is P.SUBSCRIPTION_IDENTIFIER:
        return head + remaining_length(value)
    return head + value.to_bytes(_BYTES[kind], "big")


def number(properties: Properties, kind: Property, default: int) -> int:
    """Return an integer property, or the default when it is absent.

    Examples
    --------
    >>> number(((Property.RECEIVE_MAXIMUM, 20),), Property.RECEIVE_MAXIMUM, 65_535)
    20
    """
    for key, value in properties:
        if key is kind and isinstance(value, int):
            return value
    return default
