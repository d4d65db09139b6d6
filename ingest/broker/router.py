"""Who gets a publication: subscriptions, shared ones, retained messages, and the durable subscribers that it waits for.

A *durable topic* is one that a filter of `Settings.durable` matches. A *durable subscriber* of it is a persistent
session with a subscription at QoS 1 or 2 that matches, connected or not, and whose client identifier has one of the
prefixes `Settings.durable_clients` (any, when there are none), or a shared group with such a member.
"""

from collections.abc import Callable

from ingest.broker.access import Rights
from ingest.broker.fields import decode_text
from ingest.broker.ledger import Ledger
from ingest.broker.message import Delivery, Message, Publisher
from ingest.broker.reasons import Reason
from ingest.broker.retained import Retained
from ingest.broker.session import Session
from ingest.broker.settings import Counters, Settings
from ingest.broker.shared import SharedGroup, Subscription
from ingest.broker.topics import TopicTree, filter_fault, matches, split_share, topic_fault

MAX_ROUTES = 65_536
LONG_TOPIC_BYTES = 512  # routes of longer topics are made each time: 65,536 of them would fill the memory
MAX_FILTER_LETTERS = 1 << 20  # of one client


class Target:
    """One session that gets the publications of a topic, once however many of its filters match."""

    __slots__ = ("identifiers", "others", "qos", "retain_as_published", "session")

    def __init__(self, session: Session, subscriptions: list[Subscription]) -> None:
        self.session = session
        self.qos = max(one.qos for one in subscriptions)
        self.retain_as_published = any(one.retain_as_published for one in subscriptions)
        self.identifiers = tuple(one.identifier for one in subscriptions if one.identifier)
        self.others: Target | None = self  # what is left for a publication of its own
        if any(one.no_local for one in subscriptions):
            rest = [one for one in subscriptions if not one.no_local]
            self.others = Target(session, rest) if rest else None


class Route:
    """Where the publications of one topic go; kept until a subscription or a session changes."""

    __slots__ = ("durable", "fault", "has_no_local", "head", "is_durable", "is_own", "plain", "topic")

    def __init__(self, topic: str, wire_topic: bytes) -> None:
        self.topic = topic
        self.head = len(wire_topic).to_bytes(2, "big") + wire_topic
        self.is_own = topic.startswith("$SYS/")
        self.fault: str | None = None
        self.is_durable = False
        self.has_no_local = False
        self.plain: list[Target | SharedGroup] = []
        self.durable: list[Target | SharedGroup] = []


class Router:
    """Topics to sessions."""

    def __init__(
        self, settings: Settings, counters: Counters, ledger: Ledger, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._counters = counters
        self._ledger = ledger
        self._clock = clock
        self._subscriptions: TopicTree[Session | SharedGroup, Subscription] = TopicTree()
        self._groups: dict[tuple[str, str], SharedGroup] = {}
        self.retained = Retained(settings.limits)
        self._routes: dict[bytes, Route] = {}
        self.congested: set[Session] = set()

    @property
    def retained_messages(self) -> int:
        """How many topics hold a retained message."""
        return len(self.retained)

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are; those of a group count once."""
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
            route = self._make_route(wire_topic)
            if len(wire_topic) <= LONG_TOPIC_BYTES:
                if len(self._routes) >= MAX_ROUTES:
                    self._routes.clear()
                self._routes[wire_topic] = route
        return route

    def _make_route(self, wire_topic: bytes) -> Route:
        topic = decode_text(wire_topic, "topic of PUBLISH")
        route = Route(topic, wire_topic)
        route.fault = topic_fault(topic, max_levels=self._limits.max_topic_levels)
        if route.fault:
            return route
        route.is_durable = any(matches(text, topic) for text in self._settings.durable)
        groups: list[SharedGroup] = []
        merged: dict[Session, list[Subscription]] = {}
        for key, subscription in self._subscriptions.filters_matching(topic):
            if isinstance(key, SharedGroup):
                groups.append(key)
            else:
                merged.setdefault(key, []).append(subscription)
        targets = [Target(session, subscriptions) for session, subscriptions in merged.items()]
        route.has_no_local = any(target.others is not target for target in targets)
        durable: list[Target | SharedGroup] = []
        if route.is_durable:
            durable += [t for t in targets if t.qos > 0 and self.may_be_durable(t.session)]
            durable += [group for group in groups if group.durable]
        present = [w for w in durable if not (w.session.passed_over if isinstance(w, Target) else w.passed_over)]
        route.durable = present or durable
        everybody: list[Target | SharedGroup] = [*targets, *groups]
        route.plain = [one for one in everybody if one not in route.durable]
        return route

    def may_be_durable(self, session: Session) -> bool:
        """Return whether a session's acknowledgements are waited for on durable topics."""
        prefixes = self._settings.durable_clients
        return session.persistent and (not prefixes or session.client_id.startswith(prefixes))

    def forget_routes(self) -> None:
        """Make every route anew, because a session or a subscription has changed."""
        self._routes.clear()

    def publish(self, message: Message, route: Route, publisher: Publisher | None = None) -> None:
        """Send a publication on its way; a publisher's acknowledgement follows when the ledger allows it."""
        qos = message.qos
        if publisher is not None and qos:
            self._ledger.expect(message, publisher)
        if message.retain:
            self.retained.keep(message)
        if not route.is_durable or not qos:
            if not (route.plain or route.durable):
                message.reason = Reason.NO_MATCHING_SUBSCRIBERS
            self._ledger.settle(message)
            if publisher is not None:
                publisher.acknowledge_first()
            self._pass_on(message, route, route.durable)
        elif route.durable:
            self._owe(message, route)
        else:
            self._ledger.hold(message)
        if route.plain:
            self._pass_on(message, route, route.plain)

    def _owe(self, message: Message, route: Route) -> None:
        """Give a message to its durable subscribers, and let its publisher wait for each of them."""
        qos = message.qos
        message.waiting = len(route.durable)
        for one in route.durable:
            if type(one) is Target:
                retain = message.retain and one.retain_as_published
                wanted = one.qos
                one.session.deliver(Delivery(message, wanted if wanted < qos else qos, retain, True, one.identifiers))
            elif isinstance(one, SharedGroup):
                session, delivery = self._turn(one, message, owed=True)
                assert session is not None
                session.deliver(delivery)

    def _turn(self, group: SharedGroup, message: Message, *, owed: bool) -> tuple[Session | None, Delivery]:
        session = group.pick(durable=owed)
        wanted = group.members[session] if session is not None else Subscription(0)
        retain = message.retain and wanted.retain_as_published
        identifiers = (wanted.identifier,) if wanted.identifier else ()
        return session, Delivery(message, min(wanted.qos, message.qos), retain, owed, identifiers, group)

    def _pass_on(self, message: Message, route: Route, targets: list[Target | SharedGroup]) -> None:
        qos = message.qos
        for one in targets:
            target: Target | None
            if isinstance(one, SharedGroup):
                session, delivery = self._turn(one, message, owed=False)
                if session is None:
                    continue
            else:
                target = one
                if route.has_no_local and target.session.client_id == message.origin:
                    target = target.others
                    if target is None:
                        continue
                session = target.session
                retain = message.retain and target.retain_as_published
                wanted = target.qos
                delivery = Delivery(message, wanted if wanted < qos else qos, retain, False, target.identifiers)
            session.deliver(delivery)
            if targets is route.durable and session.queued_bytes > self._limits.max_queued_bytes // 2:
                self.congested.add(session)

    def subscribe(
        self, session: Session, text: str, subscription: Subscription, rights: Rights | None = None
    ) -> tuple[Reason | None, bool]:
        """Add a subscription; return why not, and whether it is a new one."""
        try:
            group_name, below = split_share(text)
        except ValueError:
            return Reason.TOPIC_FILTER_INVALID, False
        if filter_fault(below, max_levels=self._limits.max_topic_levels):
            return Reason.TOPIC_FILTER_INVALID, False
        if rights is not None and not rights.may_subscribe(text):
            return Reason.NOT_AUTHORIZED, False
        new = text not in session.subscriptions
        if new:
            letters = session.filter_letters + len(text)
            if len(session.subscriptions) >= self._limits.max_subscriptions or letters > MAX_FILTER_LETTERS:
                return Reason.QUOTA_EXCEEDED, False
            session.filter_letters = letters
        session.subscriptions[text] = subscription
        if group_name:
            group = self._groups.setdefault((group_name, below), SharedGroup(group_name, below))
            session.groups[text] = group
            group.members[session] = subscription
            self._subscriptions.put(below, group, subscription)
            group.refresh(self.may_be_durable)
        else:
            self._subscriptions.put(below, session, subscription)
        self.forget_routes()
        return None, new

    def send_retained(self, session: Session, text: str, subscription: Subscription) -> None:
        """Send what is retained for a subscription (MQTT-3.3.1-6)."""
        identifiers = (subscription.identifier,) if subscription.identifier else ()
        for message in self.retained.matching(text, self._clock()):
            if subscription.no_local and message.origin == session.client_id:
                continue
            session.deliver(Delivery(message, min(message.qos, subscription.qos), True, False, identifiers))

    def release_held(self) -> None:
        """Give the held publications to the durable subscribers that have come."""
        held = self._ledger.held
        for message in list(held):
            route = self.route(message.head[2:])
            if route.durable:
                del held[message]
                self._owe(message, route)

    def unsubscribe(self, session: Session, text: str) -> bool:
        """Remove a subscription and return whether there was one; what is under way stays so."""
        if session.subscriptions.pop(text, None) is None:
            return False
        session.filter_letters -= len(text)
        group = session.groups.pop(text, None)
        if group is None:
            self._subscriptions.drop(text, session)
        else:
            del group.members[session]
            group.refresh(self.may_be_durable)
            if not group.members:
                self._subscriptions.drop(group.text, group)
                del self._groups[group.name, group.text]
        self.forget_routes()
        return True

    # sessions that come and go

    def attended(self, session: Session) -> None:
        """Note that a client has come, left or subscribed: shared messages go to the members that are there."""
        for group in session.groups.values():
            group.refresh(self.may_be_durable)
            self._even_out(group)
        if session.subscriptions:
            self.forget_routes()

    def _even_out(self, group: SharedGroup) -> None:
        if not group.reachable(durable=False):
            return
        for member in tuple(group.away):
            self._give_again(member)

    def _give_again(self, member: Session) -> None:
        for delivery in member.give_back():
            group = delivery.group
            assert group is not None
            session = group.pick(durable=delivery.owed)
            if session is None or (session is not member and session.outlet is None):
                session = member  # nobody better
            wanted = group.members.get(session)
            qos = min(wanted.qos, delivery.message.qos) if wanted else delivery.qos
            session.deliver(
                Delivery(delivery.message, qos, delivery.retain, delivery.owed, delivery.identifiers, group)
            )

    def forget(self, session: Session) -> None:
        """Remove a session that ended for good."""
        groups = tuple(session.groups.values())
        for text in tuple(session.subscriptions):
            self.unsubscribe(session, text)
        if groups:
            self._bequeath(session)
        self._ledger.forget(session)
        self.congested.discard(session)
        self.release_held()

    def _bequeath(self, session: Session) -> None:
        """Give what came by shared subscriptions to the other members, connected or not."""
        for delivery in session.give_back():
            group = delivery.group
            heir = group.pick(durable=delivery.owed) if group is not None else None
            if group is None or heir is None:
                session.queue.append(delivery)  # the ledger takes it from there
                session.queued_bytes += delivery.message.size
                continue
            qos = min(group.members[heir].qos, delivery.message.qos)
            heir.deliver(Delivery(delivery.message, qos, delivery.retain, delivery.owed, (), group))

    def relieved(self) -> bool:
        """Return whether no durable subscriber is congested (any more)."""
        low = self._limits.max_queued_bytes // 4
        self.congested = {s for s in self.congested if s.outlet is not None and s.queued_bytes > low}
        return not self.congested
