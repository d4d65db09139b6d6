"""A publication, shared by all who get it, and its delivery to one client, with the bytes of both protocol levels."""

from collections import deque
from typing import TYPE_CHECKING, Protocol

from ingest.broker.frames import frame, remaining_length
from ingest.broker.properties import Property, sized, write_property

if TYPE_CHECKING:
    from ingest.broker.shared import SharedGroup

OVERHEAD_BYTES = 200


class Publisher(Protocol):
    """Who waits for acknowledgements: a connection, as far as router and ledger need it."""

    receipts: "deque[Message]"
    unacknowledged_bytes: int

    def acknowledge_first(self) -> None:
        """Put the acknowledgements that are due before what this client is about to receive."""


class Message:
    """One publication.

    Parameters
    ----------
    properties
        What MQTT 5 passes on, as it stands on the wire: all but expiry, alias and subscription identifiers.
    expires_at
        When it is too old to be delivered, s of the broker's clock; None: never.
    origin
        Client identifier of its publisher, for subscriptions that do not want their own.

    Attributes
    ----------
    publisher
        Who waits for its PUBACK or PUBREC; None when nobody does (any more).
    packet_id, qos, retain
        As the publisher sent them.
    waiting
        Durable subscribers that have not acknowledged it yet.
    confirmed
        Whether one of them has.
    settled, reason
        Whether it may be acknowledged, and the reason code that MQTT 5 gives with it.
    size
        Bytes it is counted with; 200 stand for the objects around it.
    """

    __slots__ = (
        "_head",
        "_head5",
        "_plain",
        "confirmed",
        "expires_at",
        "origin",
        "packet_id",
        "payload",
        "properties",
        "publisher",
        "qos",
        "reason",
        "retain",
        "settled",
        "size",
        "topic",
        "waiting",
        "wire_topic",
    )

    def __init__(self, topic: str, wire_topic: bytes, payload: bytes, qos: int, retain: bool = False) -> None:
        self.topic = topic
        self.wire_topic = wire_topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = b""
        self.expires_at: float | None = None
        self.origin = ""
        self.publisher: Publisher | None = None
        self.packet_id = 0
        self.waiting = 0
        self.confirmed = False
        self.settled = False
        self.reason = 0
        self.size = len(payload) + len(wire_topic) + OVERHEAD_BYTES
        self._head = b""
        self._head5 = b""
        self._plain = b""

    def with_properties(self, properties: bytes, expires_at: float | None) -> None:
        """Add what a publisher of MQTT 5 gave."""
        self.properties = properties
        self.size += len(properties)
        self.expires_at = expires_at

    def expired(self, now: float) -> bool:
        """Return whether it is too old to be delivered."""
        return self.expires_at is not None and now >= self.expires_at

    def wire(self, retain: bool) -> bytes:
        """Return the packet of MQTT 3.1.1 at QoS 0, made once for all who get it."""
        if not self._plain:
            size = 2 + len(self.wire_topic) + len(self.payload)
            self._plain = remaining_length(size) + len(self.wire_topic).to_bytes(2, "big") + self.wire_topic
        return (b"\x31" if retain else b"\x30") + self._plain + self.payload

    def wire_with_id(self, packet_id: int, first: int) -> bytes:
        """Return the packet of 3.1.1 at QoS 1 or 2; all but first byte and identifier is made once for all."""
        if not self._head:
            size = 4 + len(self.wire_topic) + len(self.payload)
            self._head = remaining_length(size) + len(self.wire_topic).to_bytes(2, "big") + self.wire_topic
        return _BYTE[first] + self._head + packet_id.to_bytes(2, "big") + self.payload

    def wire5_with_id(self, packet_id: int, first: int) -> bytes:
        """Return the packet of MQTT 5 at QoS 1 or 2 for those who get nothing of their own with it."""
        if not self._head5:
            size = 4 + len(self.wire_topic) + len(self.payload) + len(sized(self.properties))
            self._head5 = remaining_length(size) + len(self.wire_topic).to_bytes(2, "big") + self.wire_topic
        return _BYTE[first] + self._head5 + packet_id.to_bytes(2, "big") + sized(self.properties) + self.payload


_BYTE = tuple(bytes((k,)) for k in range(256))


class Delivery:
    """A message on its way to one client.

    Attributes
    ----------
    owed
        Whether the publisher's acknowledgement waits for it.
    identifiers
        Subscription identifiers of the filters that matched.
    group
        The shared subscription it came by, None for an ordinary one.
    released
        At QoS 2, whether the client has taken it (PUBREC), so that PUBREL is what is repeated.
    """

    __slots__ = ("group", "identifiers", "message", "owed", "qos", "released", "retain")

    def __init__(
        self,
        message: Message,
        qos: int,
        retain: bool,
        owed: bool,
        identifiers: tuple[int, ...] = (),
        group: "SharedGroup | None" = None,
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.owed = owed
        self.identifiers = identifiers
        self.group = group
        self.released = False


class Wording:
    """How one connection of MQTT 5 wants its publications put: aliases for topics, and no larger than it takes.

    Parameters
    ----------
    max_bytes
        The client's Maximum Packet Size.
    max_aliases
        The client's Topic Alias Maximum.
    """

    def __init__(self, *, max_bytes: int, max_aliases: int) -> None:
        self._max_bytes = max_bytes
        self._max_aliases = max_aliases
        self._aliases: dict[bytes, int] = {}

    def packet(self, delivery: Delivery, first: int, packet_id: int, now: float) -> bytes | None:
        """Return the packet, None when it is larger than the client takes (MQTT-3.1.2-24, -25)."""
        message = delivery.message
        if packet_id and not (delivery.identifiers or self._max_aliases) and message.expires_at is None:
            data = message.wire5_with_id(packet_id, first)
            return data if len(data) <= self._max_bytes else None
        extra = message.properties
        if message.expires_at is not None:
            extra += write_property(Property.MESSAGE_EXPIRY, max(0, round(message.expires_at - now)))
        for identifier in delivery.identifiers:
            extra += write_property(Property.SUBSCRIPTION_IDENTIFIER, identifier)
        topic = message.wire_topic
        alias = self._aliases.get(topic, 0)
        new_alias = 0
        if alias:
            topic = b""
        elif len(self._aliases) < self._max_aliases:
            alias = new_alias = len(self._aliases) + 1
        if alias:
            extra += write_property(Property.TOPIC_ALIAS, alias)
        identifier_bytes = packet_id.to_bytes(2, "big") if packet_id else b""
        head = len(topic).to_bytes(2, "big") + topic + identifier_bytes
        data = frame(first, head + sized(extra) + message.payload)
        if len(data) > self._max_bytes:
            return None
        if new_alias:
            self._aliases[topic] = new_alias
        return data
