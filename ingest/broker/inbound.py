"""What PUBLISH of MQTT 5 carries beyond its topic and payload: properties to pass on, expiry, topic alias."""

from ingest.broker.properties import Properties, Property, read_properties, write_property
from ingest.broker.reasons import MalformedPacketError, Reason

_PASSED_ON = (
    Property.PAYLOAD_FORMAT,
    Property.CONTENT_TYPE,
    Property.RESPONSE_TOPIC,
    Property.CORRELATION_DATA,
    Property.USER_PROPERTY,
)


class Aliases:
    """Topic aliases that one client has set on its connection."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._topics: dict[int, bytes] = {}

    def resolve(self, wire_topic: bytes, alias: int) -> bytes:
        """Return the topic that is meant, and learn the alias; -1 is none.

        Raises
        ------
        MalformedPacketError
            When the alias is beyond the maximum or stands for nothing.
        """
        if alias < 0:
            if not wire_topic:
                raise MalformedPacketError("topic is empty and there is no alias", Reason.PROTOCOL_ERROR)
            return wire_topic
        if not 0 < alias <= self._maximum:  # MQTT-3.3.2-8, -9
            raise MalformedPacketError(f"topic alias {alias}, at most {self._maximum}", Reason.TOPIC_ALIAS_INVALID)
        if wire_topic:
            self._topics[alias] = wire_topic
            return wire_topic
        known = self._topics.get(alias)
        if known is None:
            raise MalformedPacketError(f"topic alias {alias} stands for no topic", Reason.PROTOCOL_ERROR)
        return known


def read_extras(rest: bytes, now: float) -> tuple[bytes, bytes, float | None, int]:
    """Return payload, properties to pass on as bytes, when it expires (None: never), and topic alias (-1: none).

    Raises
    ------
    MalformedPacketError
        When a property is not allowed from a client.

    Examples
    --------
    >>> read_extras(bytes([5, 2, 0, 0, 0, 9]) + b"x", now=100.0)
    (b'x', b'', 109.0, -1)
    """
    if rest[:1] == b"\0":  # no properties, the common case
        return rest[1:], b"", None, -1
    properties, stop = read_properties(rest, 0, "PUBLISH")
    passed, expires_at = passed_on(properties, now)
    alias = -1
    for kind, value in properties:
        if kind is Property.SUBSCRIPTION_IDENTIFIER:  # MQTT-3.3.4-6
            raise MalformedPacketError("PUBLISH of a client with SUBSCRIPTION_IDENTIFIER", Reason.PROTOCOL_ERROR)
        if kind is Property.TOPIC_ALIAS and isinstance(value, int):
            alias = value
    return rest[stop:], passed, expires_at, alias


def passed_on(properties: Properties, now: float) -> tuple[bytes, float | None]:
    """Return the properties that subscribers get, as bytes, and when the message expires (None: never)."""
    passed, expires_at = b"", None
    for kind, value in properties:
        if kind is Property.RESPONSE_TOPIC and isinstance(value, str) and (not value or "+" in value or "#" in value):
            raise MalformedPacketError(f"response topic {value[:80]!r}", Reason.PROTOCOL_ERROR)  # MQTT-3.3.2-14
        if kind is Property.MESSAGE_EXPIRY and isinstance(value, int):
            expires_at = now + value
        elif kind in _PASSED_ON:
            passed += write_property(kind, value)
    return passed, expires_at
