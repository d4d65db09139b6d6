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
    topic, head
        The topic as text, and as it stands on the wire with its length.

    Attributes
    ----------
    properties
        What MQTT 5 passes on, as it stands on the wire: all but expiry, alias and subscription identifiers.
    expires_at
        When it is too old to be delivered, s of the broker's clock; None: never.
    origin
        Client identifier of its publisher, for subscriptions that do not want their own.
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
        "confirmed",
        "expires_at",
        "head",
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
    )

    def __init__(self, topic: str, head: bytes, payload: bytes, qos: int, retain: bool = False) -> None:
        self.topic = topic
        self.head = head
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
        self.size = len(payload) + len(head) + OVERHEAD_BYTES

    def with_properties(self, properties: bytes, expires_at: float | None) -> None:
        """Add what a publisher of MQTT 5 gave."""
        self.properties = properties
        self.size += len(properties)
        self.expires_at = expires_at

    def expired(self, now: float) -> bool:
        """Return whether it is too old to be delivered."""
        return self.expires_at is not None and now >= self.expires_at

    def wire(self, retain: bool) -> bytes:
        """Return the packet of MQTT 3.1.1 at QoS 0."""
        size = len(self.head) + len(self.payload)
        return (b"\x31" if retain else b"\x30") + remaining_length(size) + self.head + self.payload

    def wire_with_id(self, packet_id: int, first: int) -> bytes:
        """Return the packet of 3.1.1 at QoS 1 or 2."""
        head, payload = self.head, self.payload
        size = 2 + len(head) + len(payload)
        if size < 0x80:
            return _BYTE[first] + _BYTE[size] + head + packet_id.to_bytes(2, "big") + payload
        return _BYTE[first] + remaining_length(size) + head + packet_id.to_bytes(2, "big") + payload


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
        extra = message.properties
        if message.expires_at is not None:
            extra += write_property(Property.MESSAGE_EXPIRY, max(0, round(message.expires_at - now)))
        for number in delivery.identifiers:
            extra += write_property(Property.SUBSCRIPTION_IDENTIFIER, number)
        head = message.head
        alias = self._aliases.get(head, 0)
        new_alias = 0
        if alias:
            head = b"\0\0"
        elif len(self._aliases) < self._max_aliases:
            alias = new_alias = len(self._aliases) + 1
        if alias:
            extra += write_property(Property.TOPIC_ALIAS, alias)
        identifier = packet_id.to_bytes(2, "big") if packet_id else b""
        data = frame(first, head + identifier + sized(extra) + message.payload)
        if len(data) > self._max_bytes:
            return None
        if new_alias:
            self._aliases[head] = new_alias
        return data
