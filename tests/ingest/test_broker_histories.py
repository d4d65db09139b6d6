"""Any history of publishers and durable subscribers that come, go, die and acknowledge: no PUBACK without a commit.

The broker runs on made-up transports and a made-up clock, so that a history is a list of steps that hypothesis shrinks.
"""

import asyncio
import dataclasses
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest.broker import Broker, Limits, Settings
from ingest.broker.connection import Connection
from ingest.broker.decoder import decode
from ingest.broker.encoder import encode
from ingest.broker.frames import FrameReader
from ingest.broker.packets import (
    AckPacket,
    ConnackPacket,
    ConnectPacket,
    PacketType,
    PublishPacket,
    SubackPacket,
    SubscribePacket,
)


class Loop:
    """Time and callbacks by hand."""

    def __init__(self):
        self.seconds, self.due = 0.0, deque()

    def time(self):
        return self.seconds

    def call_soon(self, call):
        self.due.append(call)

    def call_later(self, _delay, _call):
        return None

    def run(self):
        while self.due:
            self.due.popleft()()


class Wire(asyncio.Transport):
    """Keeps what was written as packets."""

    def __init__(self):
        super().__init__()
        self.packets, self.open, self.reading = deque(), True, True
        self._reader = FrameReader(max_bytes=1 << 20)

    def get_extra_info(self, name, default=None):
        return default

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def write(self, data):
        self.packets.extend(decode(*one) for one in self._reader.feed(bytes(data)))

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        self.open = False

    abort = close


class Peer:
    """A client on a made-up transport; what it sends while the broker does not read waits, as in a socket."""

    def __init__(self, broker, loop, client_id, clean):
        self.loop, self.wire, self.connection, self.pending = loop, Wire(), Connection(broker), deque()
        self.clean = clean
        self.connection.connection_made(self.wire)
        self.send(ConnectPacket(client_id, clean, 0))
        assert isinstance(self.wire.packets.popleft(), ConnackPacket)

    def send(self, packet):
        self.pending.append(encode(packet))
        self.push()

    def push(self):
        self.loop.run()
        while self.pending and self.wire.reading and self.wire.open:
            self.connection.data_received(self.pending.popleft())
            self.loop.run()

    def vanish(self):
        self.wire.open = False
        self.connection.connection_lost(None)
        self.loop.run()


LIMITS = dataclasses.replace(
    Limits(), max_inflight=3, max_unacknowledged_messages=4, max_queued_messages=50, absence_limit_s=60
)
names = st.sampled_from(["A", "B"])
devices = st.sampled_from(["p", "q"])


class Histories(RuleBasedStateMachine):
    topic_filter = "city/#"

    def __init__(self):
        super().__init__()
        self.loop = Loop()
        self.broker = Broker(Settings(statistics_interval_s=1e12, limits=LIMITS))
        self.broker._loop = self.loop
        self.subscribers, self.publishers = {}, {}
        self.under_way = {}  # device: packet id -> payload, in the order of publication
        self.unread = {}  # subscriber: deque of publications
        self.committed = set()
        self.count = 0

    # subscribers

    @rule(name=names, clean=st.booleans())
    def subscriber_comes(self, name, clean):
        old = self.subscribers.get(name)
        peer = self.subscribers[name] = Peer(self.broker, self.loop, name, clean)
        if old is not None:
            assert not old.wire.open
        self.unread[name] = deque()
        peer.send(SubscribePacket(1, ((self.topic_filter, 1),)))
        self.collect()

    @precondition(lambda self: self.subscribers)
    @rule(data=st.data())
    def subscriber_vanishes(self, data):
        name = data.draw(st.sampled_from(sorted(self.subscribers)))
        self.subscribers.pop(name).vanish()
        self.unread.pop(name)
        self.collect()

    @precondition(lambda self: any(self.unread.values()))
    @rule(data=st.data())
    def subscriber_acknowledges(self, data):
        name = data.draw(st.sampled_from(sorted(n for n, waiting in self.unread.items() if waiting)))
        waiting = self.unread[name]
        at = data.draw(st.integers(0, len(waiting) - 1))
        self.acknowledge(name, waiting[at])
        del waiting[at]
        self.collect()

    def acknowledge(self, name, packet):
        if not self.subscribers[name].clean:
            self.committed.add(packet.payload)
        self.subscribers[name].send(AckPacket(PacketType.PUBACK, packet.packet_id))

    # publishers

    @rule(name=devices)
    def device_comes(self, name):
        self.publishers[name] = Peer(self.broker, self.loop, name, True)
        again = list(self.under_way.get(name, {}).items())
        self.under_way[name] = {}
        for packet_id, payload in again:
            self.under_way[name][packet_id] = payload
            self.publishers[name].send(PublishPacket("city/a/d", payload, 1, False, True, packet_id))
        self.collect()

    @precondition(lambda self: self.publishers)
    @rule(data=st.data(), number=st.integers(1, 4))
    def device_publishes(self, data, number):
        name = data.draw(st.sampled_from(sorted(self.publishers)))
        for _ in range(number):
            self.count += 1
            payload = str(self.count).encode()
            self.under_way[name][self.count] = payload
            self.publishers[name].send(PublishPacket("city/a/d", payload, 1, False, False, self.count))
        self.collect()

    @precondition(lambda self: self.publishers)
    @rule(data=st.data())
    def device_vanishes(self, data):
        self.publishers.pop(data.draw(st.sampled_from(sorted(self.publishers)))).vanish()
        self.collect()

    @rule(seconds=st.sampled_from([1.0, 61.0, 90_000.0]))
    def time_passes(self, seconds):
        self.loop.seconds += seconds
        self.broker._tick()
        self.collect()

    # what is checked

    def collect(self):
        for peer in (*self.publishers.values(), *self.subscribers.values()):
            peer.push()
        for name, peer in self.subscribers.items():
            for packet in peer.wire.packets:
                if not isinstance(packet, SubackPacket):
                    assert isinstance(packet, PublishPacket)
                    self.unread[name].append(packet)
            peer.wire.packets.clear()
        for name, peer in self.publishers.items():
            for packet in peer.wire.packets:
                assert packet.type is PacketType.PUBACK
                oldest = next(iter(self.under_way[name]))
                assert packet.packet_id == oldest, "PUBACKs in the order of publication"
                assert self.under_way[name].pop(oldest) in self.committed, "no PUBACK without a commit"
            peer.wire.packets.clear()

    @invariant()
    def the_ledger_adds_up(self):
        ledger = self.broker.ledger
        receipts = [m for c in self.broker.connections for m in c.receipts]
        assert ledger.unacknowledged_bytes == sum(m.size for m in receipts)
        assert all(c.unacknowledged_bytes == sum(m.size for m in c.receipts) for c in self.broker.connections)
        assert set(ledger.held) <= set(receipts)
        owed = [d.message for s in self.broker.sessions.values() for d in s.owed()]
        for message in receipts:
            assert message.waiting == owed.count(message)
            assert message.settled or message in ledger.held or message.waiting > 0
        assert not ledger.ready
        assert not self.broker.dirty

    @invariant()
    def a_publisher_is_paused_only_over_its_limit(self):
        for peer in self.publishers.values():
            over = len(peer.connection.receipts) > LIMITS.max_unacknowledged_messages / 2
            assert peer.wire.reading or over

    def teardown(self):
        """Once the durable subscribers are back and acknowledge everything, every publisher gets every PUBACK."""
        for name in ("A", "B"):
            self.subscriber_comes(name, False)
        while any(self.unread.values()):
            for name, waiting in self.unread.items():
                while waiting:
                    self.acknowledge(name, waiting.popleft())
            self.collect()
        for name in self.publishers:
            assert self.under_way[name] == {}
        assert self.broker.ledger.unacknowledged_bytes == 0
        assert not self.broker._paused


class SharedHistories(Histories):
    """The same with A and B as the members of one shared subscription."""

    topic_filter = "$share/g/city/#"


SharedHistories.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSharedHistories = SharedHistories.TestCase

Histories.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestHistories = Histories.TestCase
