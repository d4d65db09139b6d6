"""Who gets a publication: subscriptions, retained messages, and the durable subscribers that it waits for.

A *durable topic* is one that a filter of `Settings.durable` matches. A *durable subscriber* of it is a persistent
session (``clean_session`` false) with a QoS 1 subscription that matches, connected or not, and whose client identifier
has one of the prefixes `Settings.durable_clients` (any, when there are none).
"""

from collections.abc import Iterable

from ingest.broker.ledger import Ledger
from ingest.broker.packets import SUBSCRIPTION_REFUSED, decode_text
from ingest.broker.session import Delivery, Message, Publisher, Session
from ingest.broker.settings import Counters, Settings
from ingest.broker.topics import TopicTree, filter_fault, matches, topic_fault

MAX_ROUTES = 65_536


class Route:
    """Where the publications of one topic go; kept until a subscription or a session changes."""

    __slots__ = ("durable", "fault", "is_durable", "plain", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.fault: str | None = None
        self.is_durable = False
        self.plain: list[tuple[Session, int]] = []
        self.durable: list[Session] = []


class Router:
    """Topics to sessions."""

    def __init__(self, settings: Settings, counters: Counters, ledger: Ledger) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._counters = counters
        self._ledger = ledger
        self._subscriptions: TopicTree[Session, int] = TopicTree()
        self._retained: TopicTree[str, Message] = TopicTree()
        self._retained_bytes = 0
        self._routes: dict[bytes, Route] = {}
        self.congested: set[Session] = set()

    @property
    def retained_messages(self) -> int:
        """How many topics hold a retained message."""
        return len(self._retained)

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are."""
        return len(self._subscriptions)

    def route(self, wire_topic: bytes) -> Route:
        """Return the route of a topic as it stands on the wire.

        Raises
        ------
        MalformedPacketError
            When it is not UTF-8.
        """
        route = self._routes.get(wire_topic)
        if route is None:
            if len(self._routes) >= MAX_ROUTES:
                self._routes.clear()
            route = self._routes[wire_topic] = self._make_route(decode_text(wire_topic, "topic of PUBLISH"))
        return route

    def _make_route(self, topic: str) -> Route:
        route = Route(topic)
        route.fault = topic_fault(topic, max_levels=self._limits.max_topic_levels)
        if route.fault:
            return route
        route.is_durable = any(matches(text, topic) for text in self._settings.durable)
        best: dict[Session, int] = {}
        for session, qos in self._subscriptions.filters_matching(topic):
            best[session] = max(qos, best.get(session, 0))  # one copy for overlapping filters
        durable = [s for s, qos in best.items() if route.is_durable and qos > 0 and self.may_be_durable(s)]
        present = [s for s in durable if not s.passed_over]
        route.durable = present or durable
        route.plain = [(s, qos) for s, qos in best.items() if s not in route.durable]
        return route

    def may_be_durable(self, session: Session) -> bool:
        """Return whether a session's acknowledgements are waited for on durable topics."""
        prefixes = self._settings.durable_clients
        return session.persistent and (not prefixes or session.client_id.startswith(prefixes))

    def forget_routes(self) -> None:
        """Make every route anew, because a session or a subscription has changed."""
        self._routes.clear()

    def publish(self, message: Message, route: Route, *, retain: bool, publisher: Publisher | None = None) -> None:
        """Send a publication on its way; a publisher's acknowledgement follows when the ledger allows it."""
        if publisher is not None and message.qos:
            self._ledger.expect(message, publisher)
        if retain:
            self._retain(message)
        qos = message.qos
        for session, wanted in route.plain:
            session.deliver(Delivery(message, wanted if wanted < qos else qos, False, False))
        if not route.is_durable or not qos:
            for session in route.durable:
                session.deliver(Delivery(message, 0, False, False))
                if session.queue and session.queued_bytes > self._limits.max_queued_bytes // 2:
                    self.congested.add(session)
            self._ledger.settle(message)
        elif route.durable:
            self._ledger.owe(message, route.durable)
        else:
            self._ledger.hold(message)

    def _retain(self, message: Message) -> None:
        before = next((m for _, m in self._retained.topics_matching(message.topic)), None)
        if before is not None:
            self._retained.drop(message.topic, "")
            self._retained_bytes -= before.size
        if not message.payload:  # an empty payload clears the topic (MQTT-3.3.1-10)
            return
        limits = self._limits
        if len(self._retained) < limits.max_retained_messages and self._retained_bytes < limits.max_retained_bytes:
            self._retained.put(message.topic, "", message)
            self._retained_bytes += message.size

    def subscribe(self, session: Session, filters: Iterable[tuple[str, int]]) -> tuple[int, ...]:
        """Add subscriptions, send what is retained for them, and return the granted QoS of each."""
        codes = []
        for text, wanted in filters:
            fault = filter_fault(text, max_levels=self._limits.max_topic_levels)
            full = text not in session.subscriptions and len(session.subscriptions) >= self._limits.max_subscriptions
            # A shared subscription would be taken for an ordinary filter that never matches: refused instead.
            if fault or full or text.startswith("$share/"):
                codes.append(SUBSCRIPTION_REFUSED)
                continue
            qos = min(wanted, 1)
            session.subscriptions[text] = qos
            self._subscriptions.put(text, session, qos)
            codes.append(qos)
        self.forget_routes()
        return tuple(codes)

    def send_retained(self, session: Session, text: str, granted: int) -> None:
        """Send what is retained for a new subscription (MQTT-3.3.1-6)."""
        for _, message in self._retained.topics_matching(text):
            session.deliver(Delivery(message, min(message.qos, granted), True, False))

    def release_held(self) -> None:
        """Give the held publications to the durable subscribers that have come."""
        held = self._ledger.held
        for message in list(held):
            route = self.route(message.wire_topic)
            if route.durable:
                del held[message]
                self._ledger.owe(message, route.durable)

    def unsubscribe(self, session: Session, filters: Iterable[str]) -> None:
        """Remove subscriptions; what is under way stays so."""
        for text in filters:
            if session.subscriptions.pop(text, None) is not None:
                self._subscriptions.drop(text, session)
        self.forget_routes()

    def forget(self, session: Session) -> None:
        """Remove a session that ended for good."""
        self.unsubscribe(session, tuple(session.subscriptions))
        self._ledger.forget(session)
        self.congested.discard(session)
        self.release_held()

    def relieved(self) -> bool:
        """Return whether no durable subscriber is congested (any more)."""
        low = self._limits.max_queued_bytes // 4
        self.congested = {s for s in self.congested if s.outlet is not None and s.queued_bytes > low}
        return not self.congested
