"""Acknowledge-through: a publisher's PUBACK means that every durable subscriber has acknowledged."""

import pytest

from ingest.broker import Limits, Settings
from ingest.broker.packets import AckPacket, BarePacket, ConnackPacket, PacketType, PublishPacket


def puback(packet_id: int) -> AckPacket:
    return AckPacket(PacketType.PUBACK, packet_id)


@pytest.fixture
def inner(start_inner):
    return start_inner()


def durable(wire, inner, name: str = "ingest", text: str = "city/#"):
    client = wire(inner)
    client.connect(name, clean=False)
    client.subscribe(text)
    return client


def publisher(wire, inner, name: str = "device"):
    client = wire(inner)
    client.connect(name)
    return client


def leave(client) -> None:
    client.send(BarePacket(PacketType.DISCONNECT))
    assert client.is_closed()


def test_no_puback_before_the_durable_subscriber_has_acknowledged(inner, wire):
    ingest, device = durable(wire, inner), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    message = ingest.expect(PublishPacket)
    assert device.before_pong() == []
    ingest.acknowledge(message)
    assert device.receive() == puback(1)


def test_pubacks_keep_the_order_of_the_publications(inner, wire):
    ingest, device = durable(wire, inner), publisher(wire, inner)
    for k in (1, 2, 3):
        device.publish("city/a/d1", b"", packet_id=k)
    device.publish("other", b"", packet_id=4)
    messages = [ingest.expect(PublishPacket) for _ in range(3)]
    ingest.acknowledge(messages[2])
    ingest.acknowledge(messages[1])
    assert ingest.before_pong() == []
    assert device.before_pong() == []
    ingest.acknowledge(messages[0])
    assert [device.receive() for _ in range(4)] == [puback(1), puback(2), puback(3), puback(4)]


def test_one_puback_settles_one_publication_only(inner, wire):
    ingest, device = durable(wire, inner), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    device.publish("city/a/d1", b"2", packet_id=2)
    first = ingest.expect(PublishPacket)
    for _ in range(3):
        ingest.acknowledge(first)
    ingest.send(puback(999))
    assert ingest.before_pong()[0].payload == b"2"
    assert device.receive() == puback(1)
    assert device.before_pong() == []


def test_other_topics_are_acknowledged_at_once(inner, wire):
    durable(wire, inner, text="#")
    device = publisher(wire, inner)
    device.publish("alert/1", b"", packet_id=1)
    assert device.before_pong() == [puback(1)]


def test_a_clean_or_qos_0_subscriber_is_not_durable(inner, wire):
    viewer, weak, device = wire(inner), wire(inner), publisher(wire, inner)
    viewer.connect("viewer", clean=True)
    viewer.subscribe("city/#")
    weak.connect("weak", clean=False)
    weak.subscribe("city/#", qos=0)
    device.publish("city/a/d1", b"1", packet_id=1)
    viewer.acknowledge(viewer.expect(PublishPacket))
    assert weak.expect(PublishPacket).qos == 0
    assert viewer.before_pong() == []
    assert device.before_pong() == []
    ingest = durable(wire, inner)
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert device.receive() == puback(1)
    assert viewer.before_pong() == []  # what was held is not shown to the others twice


def test_publications_are_held_until_the_first_durable_subscriber_comes(inner, wire):
    device = publisher(wire, inner)
    for k in (1, 2, 3):
        device.publish("city/a/d1", str(k).encode(), packet_id=k)
    assert device.before_pong() == []
    ingest = durable(wire, inner)
    for k in (1, 2, 3):
        message = ingest.expect(PublishPacket)
        assert message.payload == str(k).encode()
        ingest.acknowledge(message)
        assert device.receive() == puback(k)


def test_publications_wait_for_a_durable_subscriber_that_is_away(inner, wire):
    leave(durable(wire, inner))
    device = publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    assert device.before_pong() == []
    ingest = wire(inner)
    assert ingest.connect("ingest", clean=False) == ConnackPacket(0, True)
    message = ingest.expect(PublishPacket)
    assert not message.duplicate
    ingest.acknowledge(message)
    assert device.receive() == puback(1)


def test_a_crash_of_the_subscriber_brings_the_message_again_and_only_then_the_puback(inner, wire):
    crashing, device = durable(wire, inner), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    before = crashing.expect(PublishPacket)
    crashing.vanish()
    assert device.before_pong() == []
    ingest = wire(inner)
    ingest.connect("ingest", clean=False)
    again = ingest.expect(PublishPacket)
    assert (again.payload, again.duplicate, again.packet_id) == (b"1", True, before.packet_id)
    assert device.before_pong() == []
    ingest.acknowledge(again)
    assert device.receive() == puback(1)


def test_a_take_over_of_the_subscriber_does_the_same(inner, wire):
    durable_one, device = durable(wire, inner), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    durable_one.expect(PublishPacket)
    ingest = wire(inner)
    ingest.connect("ingest", clean=False)
    assert durable_one.is_closed()
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert device.receive() == puback(1)


def test_a_subscriber_that_comes_back_clean_gets_what_waited_for_it_anew(inner, wire):
    crashing, device = durable(wire, inner), publisher(wire, inner)
    for k in (1, 2):
        device.publish("city/a/d1", str(k).encode(), packet_id=k)
    assert device.before_pong() == []
    crashing.expect(PublishPacket)
    crashing.vanish()
    fresh = wire(inner)
    assert fresh.connect("ingest", clean=True) == ConnackPacket(0, False)
    fresh.subscribe("city/#")
    device.publish("city/a/d1", b"3", packet_id=3)
    fresh.acknowledge(fresh.expect(PublishPacket))  # a clean session's acknowledgement counts for nothing
    assert fresh.before_pong() == []
    assert device.before_pong() == []
    leave(fresh)
    ingest = durable(wire, inner)
    messages = [ingest.expect(PublishPacket) for _ in range(3)]
    assert [m.payload for m in messages] == [b"1", b"2", b"3"]
    for message in messages:
        ingest.acknowledge(message)
    assert [device.receive() for _ in range(3)] == [puback(1), puback(2), puback(3)]


def test_a_publisher_that_comes_back_is_acknowledged_for_what_it_sends_again(inner, wire):
    ingest, device = durable(wire, inner), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    first = ingest.expect(PublishPacket)
    device.vanish()
    back = publisher(wire, inner)
    back.send(PublishPacket("city/a/d1", b"1", 1, False, True, 1))
    second = ingest.expect(PublishPacket)
    ingest.acknowledge(first)  # of the connection that is gone
    assert ingest.before_pong() == []
    assert back.before_pong() == []
    ingest.acknowledge(second)
    assert back.receive() == puback(1)


def test_what_is_held_for_a_publisher_that_left_is_given_up_because_it_was_not_acknowledged(inner, wire):
    device = publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    assert device.before_pong() == []
    device.vanish()
    other = publisher(wire, inner, "other")
    other.publish("city/a/d2", b"2", packet_id=1)
    assert other.before_pong() == []
    ingest = durable(wire, inner)
    assert ingest.expect(PublishPacket).payload == b"2"
    assert inner.call(lambda: len(inner.broker.ledger.held)) == 0


def test_every_durable_subscriber_is_waited_for(inner, wire):
    first, second, device = durable(wire, inner, "first"), durable(wire, inner, "second"), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    first.acknowledge(first.expect(PublishPacket))
    assert first.before_pong() == []
    assert device.before_pong() == []
    leave(second)
    assert device.before_pong() == []
    back = wire(inner)
    back.connect("second", clean=False)
    back.acknowledge(back.expect(PublishPacket))
    assert device.receive() == puback(1)


def test_a_durable_subscriber_that_stays_away_does_not_hold_up_another_for_ever(start_inner, wire):
    inner = start_inner(Settings(limits=Limits(absence_limit_s=0.2)))
    lost, ingest, device = durable(wire, inner, "lost"), durable(wire, inner), publisher(wire, inner)
    leave(lost)
    device.publish("city/a/d1", b"1", packet_id=1)
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert device.receive() == puback(1)  # once the other has been away for long enough
    device.publish("city/a/d1", b"2", packet_id=2)
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert device.receive() == puback(2)
    back = wire(inner)
    back.connect("lost", clean=False)
    assert [back.expect(PublishPacket).payload for _ in range(2)] == [b"1", b"2"]


def test_the_only_durable_subscriber_is_waited_for_however_long_it_is_away(start_inner, wire, until):
    inner = start_inner(Settings(limits=Limits(absence_limit_s=0.1)))
    leave(durable(wire, inner))
    device = publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    until(lambda: inner.broker.sessions["ingest"].passed_over, "the absence is noticed")
    device.publish("city/a/d1", b"2", packet_id=2)
    assert device.before_pong() == []
    ingest = wire(inner)
    ingest.connect("ingest", clean=False)
    for k in (1, 2):
        ingest.acknowledge(ingest.expect(PublishPacket))
        assert device.receive() == puback(k)


def test_an_expired_session_gives_back_what_waited_for_it(start_inner, wire, until):
    inner = start_inner(Settings(limits=Limits(session_expiry_s=0.1)))
    leave(durable(wire, inner))
    device = publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    assert device.before_pong() == []
    until(lambda: "ingest" not in inner.broker.sessions, "the session expires")
    assert device.before_pong() == []
    ingest = durable(wire, inner)
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert device.receive() == puback(1)


def test_only_clients_with_the_named_prefix_are_durable_when_there_is_one(start_inner, wire):
    inner = start_inner(Settings(durable_clients=("citytwin-ingest",)))
    observer, device = durable(wire, inner, "node-red"), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1)
    observer.acknowledge(observer.expect(PublishPacket))
    assert observer.before_pong() == []
    assert device.before_pong() == []
    ingest = durable(wire, inner, "citytwin-ingest-0")
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert device.receive() == puback(1)
    leave(observer)  # and its absence delays nobody
    device.publish("city/a/d1", b"2", packet_id=2)
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert device.receive() == puback(2)


def test_qos_2_gets_its_pubrec_after_the_durable_subscriber(inner, wire):
    ingest, device = durable(wire, inner), publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1, qos=2)
    message = ingest.expect(PublishPacket)
    device.send(PublishPacket("city/a/d1", b"1", 2, False, True, 1))
    assert device.before_pong() == []
    assert ingest.before_pong() == []  # the repetition is not a second message
    ingest.acknowledge(message)
    assert device.receive() == AckPacket(PacketType.PUBREC, 1)
    device.send(AckPacket(PacketType.PUBREL, 1))
    assert device.receive() == AckPacket(PacketType.PUBCOMP, 1)


def test_qos_2_cut_off_before_its_pubrec_is_taken_anew(inner, wire):
    ingest, device = durable(wire, inner), wire(inner)
    device.connect("device", clean=False)
    device.publish("city/a/d1", b"1", packet_id=1, qos=2)
    ingest.expect(PublishPacket)
    device.vanish()
    back = wire(inner)
    back.connect("device", clean=False)
    back.send(PublishPacket("city/a/d1", b"1", 2, False, True, 1))
    assert back.before_pong() == []
    ingest.acknowledge(ingest.expect(PublishPacket))
    assert back.receive() == AckPacket(PacketType.PUBREC, 1)


def test_a_client_may_be_durable_subscriber_and_publisher_at_once(inner, wire):
    both = durable(wire, inner, "both")
    both.publish("city/a/d1", b"1", packet_id=1)
    message = both.expect(PublishPacket)
    assert both.before_pong() == []
    both.acknowledge(message)
    assert both.receive() == puback(1)


def test_a_retained_publication_on_a_durable_topic_waits_as_well(inner, wire):
    device = publisher(wire, inner)
    device.publish("city/a/d1", b"1", packet_id=1, retain=True)
    assert device.before_pong() == []
    ingest = durable(wire, inner)
    messages = [ingest.expect(PublishPacket) for _ in range(2)]
    assert sorted(m.retain for m in messages) == [False, True]
    ingest.acknowledge(next(m for m in messages if m.retain))
    assert ingest.before_pong() == []
    assert device.before_pong() == []
    ingest.acknowledge(next(m for m in messages if not m.retain))
    assert device.receive() == puback(1)
