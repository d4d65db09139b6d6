"""Shared subscriptions of the embedded broker: acknowledge-through for a group, and members that leave."""

import pytest

from ingest.broker import Settings
from ingest.broker.packets import LEVEL_5, AckPacket, BarePacket, PacketType, PublishPacket, UnsubscribePacket
from ingest.broker.properties import Property


def puback(packet_id: int) -> AckPacket:
    return AckPacket(PacketType.PUBACK, packet_id)


@pytest.fixture
def inner(start_inner):
    return start_inner()


@pytest.fixture
def member(inner, wire):
    def connect(name, text="$share/ingest/city/#", clean=False, subscribe=True):
        client = wire(inner)
        client.connect(name, clean=clean)
        if subscribe:
            client.subscribe(text)
        return client

    return connect


@pytest.fixture
def device(inner, wire):
    client = wire(inner)
    client.connect("device")
    return client


def publications(client):
    return [packet for packet in client.before_pong() if isinstance(packet, PublishPacket)]


def test_one_member_of_a_group_commits_for_all(member, device):
    first, second = member("first"), member("second")
    for k in range(1, 5):
        device.publish("city/a/d", str(k).encode(), packet_id=k)
    assert device.before_pong() == []
    for client in (first, second):
        got = publications(client)
        assert len(got) == 2
        for packet in got:
            client.acknowledge(packet)
        assert client.before_pong() == []
    assert [device.receive() for _ in range(4)] == [puback(k) for k in range(1, 5)]


def test_a_group_and_a_subscriber_of_its_own_are_both_waited_for(member, device):
    group, archive = member("worker"), member("archive", "city/#")
    device.publish("city/a/d", b"1", packet_id=1)
    group.acknowledge(group.expect(PublishPacket))
    assert group.before_pong() == device.before_pong() == []
    archive.acknowledge(archive.expect(PublishPacket))
    assert device.receive() == puback(1)


def test_what_a_durable_subscriber_cannot_take_is_refused_to_its_publisher(wire, inner):
    small, device = wire(inner), wire(inner)
    limits = ((Property.SESSION_EXPIRY, 100), (Property.MAXIMUM_PACKET_SIZE, 50))
    small.connect("small", level=LEVEL_5, properties=limits)
    small.subscribe("city/#")
    device.connect("new", level=LEVEL_5)
    device.publish("city/a/d", b"x" * 100, packet_id=1)
    assert device.receive() == AckPacket(PacketType.PUBACK, 1, 0x95)


def test_two_groups_each_get_every_message(member, device):
    first, second = member("first"), member("second", "$share/other/city/#")
    device.publish("city/a/d", b"1", packet_id=1)
    first.acknowledge(first.expect(PublishPacket))
    assert first.before_pong() == device.before_pong() == []
    second.acknowledge(second.expect(PublishPacket))
    assert device.receive() == puback(1)


@pytest.mark.parametrize("how", ["vanishes", "disconnects"])
def test_what_a_member_that_leaves_has_not_acknowledged_goes_to_another(member, device, how):
    first, second = member("first"), member("second")
    for k in range(1, 5):
        device.publish("city/a/d", str(k).encode(), packet_id=k)
    assert device.before_pong() == []
    mine, lost = publications(second), publications(first)
    assert len(lost) == 2
    if how == "vanishes":
        first.vanish()
    else:
        first.send(BarePacket(PacketType.DISCONNECT))
    mine += [second.expect(PublishPacket) for _ in lost]
    assert sorted(packet.payload for packet in mine) == [b"1", b"2", b"3", b"4"]
    for packet in mine:
        second.acknowledge(packet)
    assert [device.receive() for _ in range(4)] == [puback(k) for k in range(1, 5)]
    assert publications(member("first", subscribe=False)) == []  # it is not sent twice


def test_what_waits_for_an_absent_member_is_taken_by_the_next_that_comes(member, device, inner, until):
    member("first").vanish()
    until(lambda: inner.broker.sessions["first"].outlet is None, "the member is away")
    device.publish("city/a/d", b"1", packet_id=1)
    assert device.before_pong() == []
    second = member("second")
    second.acknowledge(second.expect(PublishPacket))
    assert device.receive() == puback(1)


def test_a_group_that_is_gone_for_good_leaves_its_messages_held(member, device):
    first = member("first")
    device.publish("city/a/d", b"1", packet_id=1)
    first.expect(PublishPacket)
    member("first", clean=True, subscribe=False)  # the session ends
    assert device.before_pong() == []
    second = member("second")
    second.acknowledge(second.expect(PublishPacket))
    assert device.receive() == puback(1)


def test_only_durable_members_get_what_is_acknowledged_through(start_inner, wire):
    inner = start_inner(Settings(durable_clients=("ingest",)))
    curious, worker, device = wire(inner), wire(inner), wire(inner)
    curious.connect("curious", clean=False)
    worker.connect("ingest-1", clean=False)
    device.connect("device")
    for client in (curious, worker):
        client.subscribe("$share/g/city/#")
    for k in (1, 2, 3):
        device.publish("city/a/d", b"", packet_id=k)
    assert device.before_pong() == []
    assert publications(curious) == []
    assert len(publications(worker)) == 3


def test_a_member_that_unsubscribes_finishes_what_it_has(member, device):
    first = member("first")
    device.publish("city/a/d", b"1", packet_id=1)
    packet = first.expect(PublishPacket)
    first.send(UnsubscribePacket(2, ("$share/ingest/city/#",)))
    assert first.receive() == AckPacket(PacketType.UNSUBACK, 2)
    first.acknowledge(packet)
    assert device.receive() == puback(1)


def test_a_subscriber_that_refuses_is_told_on_to_the_publisher(wire, inner):
    durable, device, old = wire(inner), wire(inner), wire(inner)
    durable.connect("durable", level=LEVEL_5, properties=((Property.SESSION_EXPIRY, 100),))
    durable.subscribe("city/#")
    device.connect("new", level=LEVEL_5)
    old.connect("old")
    device.publish("city/a/d", b"1", packet_id=1)
    packet = durable.expect(PublishPacket)
    durable.send(AckPacket(PacketType.PUBACK, packet.packet_id, 0x97))
    assert device.receive() == AckPacket(PacketType.PUBACK, 1, 0x97)
    old.publish("city/a/d", b"2", packet_id=1)
    packet = durable.expect(PublishPacket)
    durable.send(AckPacket(PacketType.PUBACK, packet.packet_id, 0x97))
    assert old.is_closed()  # 3.1.1 cannot say it: without its PUBACK the publisher keeps the message
