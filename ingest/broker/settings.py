"""What the broker allows and which topics it acknowledges through."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep one client, or all together, from taking the broker's memory.

    Parameters
    ----------
    max_connections
        Clients at once; a further one is answered with 0x97, in 3.1.1 with "server unavailable", and closed.
    max_packet_bytes
        Largest remaining length; 1 MiB holds any batch of readings.
    max_topic_levels, max_subscriptions
        Depth of a topic or filter; filters of one client.
    max_inflight
        Messages at QoS 1 and 2 sent to one client and not yet acknowledged (the protocol's own limit is 65,535); a
        client of MQTT 5 may ask for fewer (Receive Maximum).
    receive_maximum
        Publications at QoS 1 and 2 that a client of MQTT 5 may have unacknowledged; one that has more is cut off.
    max_topic_aliases
        Topic aliases that one client of MQTT 5 may set, and that the broker sets for one.
    max_keep_alive_s
        A client of MQTT 5 that promises less (a longer interval, or none) is told to use this one (Server Keep Alive).
    max_queued_messages, max_queued_bytes
        Waiting for one client. A connected client over it is cut off as too slow, an absent one loses its newest
        messages; publications that are acknowledged through are never dropped.
    max_unacknowledged_messages, max_unacknowledged_bytes
        Publications of one client without their PUBACK; over it, the broker stops reading from that client.
    max_unacknowledged_bytes_total
        The same over all clients.
    max_retained_messages, max_retained_bytes
        Retained messages; over it, new topics are delivered but not retained.
    max_sessions
        Sessions of absent clients; over it, the one that left first is forgotten.
    connect_within_s
        A connection that has not sent CONNECT by then is closed.
    session_expiry_s
        A client that stayed away longer is forgotten; one of MQTT 5 may ask for less.
    absence_limit_s
        A durable subscriber that stayed away longer no longer holds up what another durable subscriber has
        acknowledged.
    """

    max_connections: int = 10_000
    max_packet_bytes: int = 1 << 20
    max_topic_levels: int = 32
    max_subscriptions: int = 1_000
    max_inflight: int = 32_768
    receive_maximum: int = 16_384
    max_topic_aliases: int = 100
    max_keep_alive_s: int = 60
    max_queued_messages: int = 100_000
    max_queued_bytes: int = 16 << 20
    max_unacknowledged_messages: int = 65_535
    max_unacknowledged_bytes: int = 16 << 20
    max_unacknowledged_bytes_total: int = 256 << 20
    max_retained_messages: int = 100_000
    max_retained_bytes: int = 64 << 20
    max_sessions: int = 10_000
    connect_within_s: float = 10.0
    session_expiry_s: float = 86_400.0
    absence_limit_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured.

    Parameters
    ----------
    durable
        Topic filters that are acknowledged through.
    durable_clients
        Prefixes of the client identifiers whose persistent sessions count as durable subscribers; empty: any.
    statistics_interval_s
        Seconds between the messages on ``$SYS/broker/...``.
    limits
        Bounds.
    """

    durable: tuple[str, ...] = ("city/#", "/hfp/#")
    durable_clients: tuple[str, ...] = ()
    statistics_interval_s: float = 5.0
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Counters:
    """What happened since the start; published on ``$SYS/broker/...``."""

    connections: int = 0
    refused: int = 0
    malformed: int = 0
    cut_off: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    publish_received: int = 0
    publish_sent: int = 0
    publish_dropped: int = 0
    acknowledged: int = 0
