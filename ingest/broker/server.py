"""The broker: listens, knows the sessions, and keeps time (keep-alive, expiry, statistics)."""

import asyncio
import ipaddress
import logging
import os
import secrets
import ssl
from collections.abc import Callable
from typing import Protocol

from ingest.broker.access import Access
from ingest.broker.connection import Connection
from ingest.broker.inbound import passed_on
from ingest.broker.ledger import Ledger
from ingest.broker.message import Message
from ingest.broker.packets import Will
from ingest.broker.properties import Property, number
from ingest.broker.reasons import Reason
from ingest.broker.router import Router
from ingest.broker.session import Session
from ingest.broker.settings import Counters, Settings
from ingest.broker.websocket import WebSocket
from sensors import InputError, WorkError

log = logging.getLogger("ingest.broker")

TICK_S = 0.5
PORTS_TRIED = 200
MOST_SURPLUS = 64  # connections over the limit that are told so; further ones are closed at once


def check_loopback(host: str) -> str:
    """Return the address to listen on; only this machine's own as long as anybody may connect.

    Raises
    ------
    InputError
        When the address is not a loopback address.

    Examples
    --------
    >>> check_loopback("localhost")
    '127.0.0.1'
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise InputError(
        f"the embedded broker listens on this machine only, not on {host!r}: anybody could connect; "
        "give 127.0.0.1, name users in a file (--access), or use a broker of your own with CITYTWIN_MQTT_URL"
    )


class Writing(Protocol):
    """What gathers output while one read is handled: a connection, or a subscriber in this process."""

    def write_out(self) -> None:
        """Write or hand over what has gathered."""


class Broker:
    """An MQTT 3.1, 3.1.1 and 5 broker that acknowledges through.

    Parameters
    ----------
    settings
        Durable topics and limits.
    access
        Who may connect and do what; None: everybody everything, and then on this machine only.

    Examples
    --------
    >>> async def ports() -> bool:
    ...     broker = Broker()
    ...     port = await broker.listen("127.0.0.1", 0)
    ...     await broker.close()
    ...     return port > 0
    >>> asyncio.run(ports())
    True
    """

    def __init__(self, settings: Settings | None = None, *, access: Access | None = None) -> None:
        self.settings = settings or Settings()
        self.access = access
        self.counters = Counters()
        self.ledger = Ledger()
        self.router = Router(self.settings, self.counters, self.ledger, self.now)
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.surplus: set[Connection] = set()  # over the limit, and only kept to be told so
        self.dirty: set[Writing] = set()
        self._draining = False
        self._paused: set[Connection] = set()
        self._flushing = False
        self._servers: list[asyncio.Server] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._statistics_due = 0.0
        self._told_of_held = False

    # life

    async def listen(
        self,
        host: str = "127.0.0.1",
        port: int = 1883,
        *,
        next_free: bool = False,
        tls: ssl.SSLContext | None = None,
        websocket: bool = False,
    ) -> int:
        """Open a port, or with ``next_free`` the first free one from there, and return it.

        Parameters
        ----------
        tls
            Certificate and key, and whose client certificates are taken; None: in the clear.
        websocket
            MQTT over WebSocket (subprotocol ``mqtt``).

        Raises
        ------
        InputError
            When the host is not a loopback address and anybody may connect.
        WorkError
            When the port is taken.
        """
        signed_in = self.access is not None and not self.access.admits_anybody
        address = "127.0.0.1" if host == "localhost" else host if signed_in else check_loopback(host)
        self._loop = asyncio.get_running_loop()
        candidates = range(port, min(port + PORTS_TRIED, 65_536)) if next_free and port else (port,)

        max_bytes = max(1 << 21, self.settings.limits.max_packet_bytes + 5)

        def made() -> asyncio.Protocol:
            return WebSocket(Connection(self), max_bytes=max_bytes) if websocket else Connection(self)

        for candidate in candidates:
            try:
                server = await self._loop.create_server(made, address, candidate, backlog=1024, ssl=tls)
                break
            except OSError as error:
                # Of asyncio's long sentence the last words are what the system says.
                reason = os.strerror(error.errno) if error.errno else str(error)
        else:
            where = f"{host}:{port}" if len(candidates) == 1 else f"{host}:{port} to {candidates[-1]}"
            raise WorkError(
                f"the broker cannot listen on {where} ({reason}): stop what uses it or give another port "
                "(CITYTWIN_MQTT_LISTEN)"
            )
        self._servers.append(server)
        if self._ticker is None:
            self._started = self.now()
            self._tick()
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and close every connection; nothing unacknowledged is acknowledged by that."""
        if self._ticker is not None:
            self._ticker.cancel()
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.will = None
            connection.end("the broker stops", abort=True, code=Reason.SERVER_SHUTTING_DOWN)
        for server in self._servers:
            await server.wait_closed()

    def now(self) -> float:
        """Return the loop's clock, s."""
        return self._loop.time() if self._loop else 0.0

    def soon(self, call: Callable[[], None]) -> None:
        """Call after what is being handled now."""
        assert self._loop is not None
        self._loop.call_soon(call)

    def ask(self, question: Callable[[], bool], answered: Callable[[bool], None]) -> None:
        """Answer a question in a thread, because it would hold up everybody here."""
        loop = self._loop
        assert loop is not None
        future = loop.run_in_executor(None, question)
        future.add_done_callback(lambda one: None if one.cancelled() else answered(one.result()))

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call after a delay."""
        assert self._loop is not None
        self._loop.call_later(delay_s, call)

    # connections

    def opened(self, connection: Connection) -> None:
        """Take a new connection; one over the limit may still say CONNECT, to learn the reason."""
        self.connections.add(connection)
        self.counters.connections += 1
        limit = self.settings.limits.max_connections
        if len(self.connections) - len(self.surplus) <= limit:
            return
        self.surplus.add(connection)
        if len(self.surplus) > MOST_SURPLUS:
            self.counters.refused += 1
            connection.end(f"refused: {limit} connections are open", level=logging.WARNING, abort=True)

    def make_up_id(self) -> str:
        """Return a client identifier for a client that has none; nobody can guess another's."""
        return f"auto-{secrets.token_hex(8)}"

    def join(self, connection: Connection, client_id: str, *, clean: bool, expiry_s: float) -> bool:
        """Give a connection its session, and return whether there was one; who had it is taken over."""
        session = self.sessions.get(client_id)
        if session is not None and isinstance(session.outlet, Connection):
            session.outlet.end("its client identifier has connected anew", code=Reason.SESSION_TAKEN_OVER)
            session = self.sessions.get(client_id)  # MQTT-3.1.4-2; a session may end with its connection
        if session is not None and clean:
            self._forget(session)
            session = None
        present = session is not None
        if session is None:
            session = Session(
                client_id, expiry_s=expiry_s, limits=self.settings.limits, counters=self.counters, clock=self.now
            )
            session.refuse = self.ledger.refuse
            self.sessions[client_id] = session
        session.expiry_s = expiry_s
        connection.session = session
        return present

    def closed(self, connection: Connection) -> None:
        """Let go of a connection: its will, its session, what it waits for."""
        self.connections.discard(connection)
        self.surplus.discard(connection)
        self._paused.discard(connection)
        self.dirty.discard(connection)
        session = connection.session
        for message in connection.receipts:
            if message.qos == 2 and session is not None:
                if message.settled:
                    session.received[message.packet_id] = None
                else:
                    session.received.pop(message.packet_id, None)  # it comes again and is taken as new
        if connection.receipts:
            self.ledger.abandon(connection)
            self._drop_orphans()
        will, connection.will = connection.will, None
        if session is None or session.outlet is not connection:
            return
        session.leave(self.now())
        delay_s = min(float(number(will.properties, Property.WILL_DELAY, 0)), session.expiry_s) if will else 0.0
        if will is not None and delay_s > 0:
            session.will, session.will_due = will, self.now() + delay_s
        if session.persistent:
            self.router.attended(session)
        else:
            self._forget(session)
        if will is not None and delay_s <= 0:
            self._publish_will(session, will)

    def _publish_will(self, session: Session, will: Will) -> None:
        properties, expires_at = passed_on(will.properties, self.now())
        route = self.router.route(will.topic.encode())
        message = Message(will.topic, route.head, will.payload, will.qos, will.retain)
        message.with_properties(properties, expires_at)
        message.origin = session.client_id
        self.router.publish(message, route)

    def _drop_orphans(self) -> None:
        # What a publisher left behind is delivered as a courtesy, up to the limits of a queue: it was not acknowledged,
        # so the publisher has it and sends it again, and a queue must not grow with each of its attempts.
        limits = self.settings.limits
        for session in self.sessions.values():
            if len(session.queue) > limits.max_queued_messages or session.queued_bytes > limits.max_queued_bytes:
                session.keep(lambda delivery: not delivery.owed or delivery.message.publisher is not None)

    def _forget(self, session: Session) -> None:
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
        self.router.forget(session)
        will, session.will = session.will, None
        if will is not None:  # MQTT 5, 3.1.3.2.2: with the end of the session at the latest
            self._publish_will(session, will)

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish in the broker's own name: statistics."""
        route = self.router.route(topic.encode())
        self.router.publish(Message(topic, route.head, payload, qos, retain), route)

    # flow

    def drain(self) -> None:
        """Take no further publications from now on: what has come is to be finished before the broker stops."""
        self._draining = True

    def pressed(self) -> bool:
        """Return whether publishers are to wait, whoever they are."""
        if self._draining:
            return True
        over = self.ledger.unacknowledged_bytes > self.settings.limits.max_unacknowledged_bytes_total
        return over or bool(self.router.congested)

    def pause(self, connection: Connection) -> None:
        """Stop reading from a publisher until there is room."""
        if not connection.paused:
            connection.pause()
            self._paused.add(connection)

    def flush(self) -> None:
        """Send the acknowledgements that are due, write what has gathered, let publishers go on where there is room."""
        if self._flushing:  # ending a connection on the way publishes its will; the loop below takes that up
            return
        self._flushing = True
        try:
            ready, dirty = self.ledger.ready, self.dirty
            while ready or dirty:
                while ready:
                    publisher = ready.pop()
                    if isinstance(publisher, Connection):
                        publisher.send_receipts()
                while dirty:
                    dirty.pop().write_out()
        finally:
            self._flushing = False
        if self._paused:
            self._resume_paused()

    def _resume_paused(self) -> None:
        limit = self.settings.limits.max_unacknowledged_bytes_total
        if self._draining:
            return
        if self.ledger.unacknowledged_bytes > limit * 0.75 or not self.router.relieved():
            return
        for connection in [c for c in self._paused if not c.over_limits(0.5)]:
            self._paused.discard(connection)
            connection.resume()

    # time

    def _tick(self) -> None:
        now = self.now()
        limits = self.settings.limits
        for connection in tuple(self.connections):
            if connection.session is None:
                if now - connection.opened > limits.connect_within_s:
                    connection.end(f"no CONNECT within {limits.connect_within_s:g} s", level=logging.INFO, abort=True)
            elif connection.overdue(now):
                connection.end(
                    f"silent for 1.5 x {connection.keep_alive_s} s", level=logging.INFO, code=Reason.KEEP_ALIVE_TIMEOUT
                )
        self._age_sessions(now)
        if now >= self._statistics_due:
            self._statistics_due = now + self.settings.statistics_interval_s
            self.router.retained.expire(now)
            self._publish_statistics(now)
            self._tell_of_held()
        self.flush()
        assert self._loop is not None
        self._ticker = self._loop.call_later(TICK_S, self._tick)

    def _age_sessions(self, now: float) -> None:
        limits = self.settings.limits
        away = [(s.away_since, s) for s in self.sessions.values() if s.away_since is not None]
        if len(away) > limits.max_sessions:
            away.sort(key=lambda pair: pair[0])
            for _, session in away[: len(away) - limits.max_sessions]:
                log.warning("client %r: its session is forgotten, %d clients are away", session.client_id, len(away))
                self._forget(session)
        for since, session in away:
            if session.will is not None and now >= session.will_due:
                will, session.will = session.will, None
                self._publish_will(session, will)
            if now - since > session.expiry_s:
                self._forget(session)
            elif now - since > limits.absence_limit_s and not session.passed_over and session.subscriptions:
                log.warning("client %r has been away for %.0f s: others vouch for it", session.client_id, now - since)
                session.passed_over = True
                self.router.forget_routes()
                self.ledger.pass_over(session)

    def _tell_of_held(self) -> None:
        count = len(self.ledger.held)
        if count and not self._told_of_held:
            log.warning("%d publications are held: no persistent session subscribes to their topics at QoS 1", count)
        self._told_of_held = count > 0

    def _publish_statistics(self, now: float) -> None:
        counters = self.counters
        values: dict[str, int] = {
            "uptime": int(now - self._started),
            "clients/connected": sum(c.session is not None for c in self.connections),
            "clients/total": len(self.sessions),
            "clients/paused": len(self._paused),
            "clients/malformed": counters.malformed,
            "clients/cut_off": counters.cut_off,
            "subscriptions/count": self.router.subscriptions,
            "retained messages/count": self.router.retained_messages,
            "publish/messages/received": counters.publish_received,
            "publish/messages/sent": counters.publish_sent,
            "publish/messages/dropped": counters.publish_dropped,
            "publish/messages/acknowledged": counters.acknowledged,
            "publish/messages/held": len(self.ledger.held),
            "publish/bytes/unacknowledged": self.ledger.unacknowledged_bytes,
            "bytes/received": counters.bytes_received,
            "bytes/sent": counters.bytes_sent,
        }
        for name, value in values.items():
            self.publish(f"$SYS/broker/{name}", str(value).encode(), retain=True)
