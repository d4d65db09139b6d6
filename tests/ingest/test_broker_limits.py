"""No client takes the broker's memory or the others' time."""

import asyncio
import dataclasses
import socket
import struct

import pytest

from ingest.broker import Limits, Settings
from ingest.broker.encoder import encode
from ingest.broker.packets import (
    LEVEL_5,
    LEVEL_311,
    AckPacket,
    BarePacket,
    ConnackPacket,
    ConnectPacket,
    PacketType,
    PublishPacket,
    ReasonPacket,
    SubackPacket,
)
from ingest.broker.properties import Property
from ingest.broker.reasons import Reason
from ingest.broker.server import MOST_SURPLUS


def puback(packet_id: int) -> AckPacket:
    return AckPacket(PacketType.PUBACK, packet_id)


def with_limits(**limits: float) -> Settings:
    return Settings(limits=dataclasses.replace(Limits(), **limits))


def flood(client, topic: str, *, qos: int, count: int, size: int = 1000) -> None:
    payload = b"x" * size
    client.raw(
        b"".join(encode(PublishPacket(topic, payload, qos, packet_id=k if qos else 0)) for k in range(1, count + 1))
    )


@pytest.mark.parametrize(("level", "code"), [(LEVEL_311, 3), (LEVEL_5, 0x97)])
def test_a_connection_over_the_limit_is_told_so_and_closed_and_the_others_stay(start_inner, wire, level, code):
    inner = start_inner(with_limits(max_connections=2))
    first, second, third = (wire(inner) for _ in range(3))
    first.connect("a")
    second.connect("b")
    assert third.connect("a", level=level).code == code  # not even its own client identifier lets it in
    assert third.is_closed()
    assert first.before_pong() == second.before_pong() == []
    second.vanish()
    inner.call(lambda: None)
    assert until_admitted(wire, inner)


def until_admitted(wire, inner):
    # The broker learns of a vanished client in its own time.
    return any(wire(inner).connect("c").code == 0 for _ in range(100))


def test_silent_connections_over_the_limit_are_few(start_inner, wire):
    inner = start_inner(with_limits(max_connections=1))
    for _ in range(1 + MOST_SURPLUS):
        wire(inner)
    assert wire(inner).is_closed()


def test_a_connection_without_connect_is_closed_after_its_time(start_inner, wire):
    inner = start_inner(with_limits(connect_within_s=0.1))
    assert wire(inner).is_closed()


def test_a_connection_that_begins_a_connect_and_never_ends_it_is_closed(start_inner, wire):
    inner = start_inner(with_limits(connect_within_s=0.1))
    client = wire(inner)
    client.raw(encode(ConnectPacket("slow"))[:-2])
    assert client.is_closed()


def test_a_packet_over_the_limit_closes_its_client_before_it_is_read(start_inner, wire):
    inner = start_inner(with_limits(max_packet_bytes=1000))
    client = wire(inner)
    client.connect("a")
    client.publish("street/a", b"x" * 900, packet_id=1)
    client.raw(b"\x30\xff\xff\xff\x7f")  # announces 256 MB
    assert client.receive() == puback(1)
    assert client.is_closed()


def test_a_topic_with_too_many_levels_closes_its_client(start_inner, wire):
    inner = start_inner(with_limits(max_topic_levels=4))
    client = wire(inner)
    client.connect("a")
    client.publish("a/b/c/d", b"")
    assert client.before_pong() == []
    client.publish("a/b/c/d/e", b"")
    assert client.is_closed()


def test_filters_that_cannot_be_had_are_refused_one_by_one(start_inner, wire):
    inner = start_inner(with_limits(max_subscriptions=2, max_topic_levels=3))
    client = wire(inner)
    client.connect("a")
    codes = client.subscribe("a#", "a/b/c/d", "x/+", "", "$share/g", "$share/+/x", "y", "z").codes
    assert codes == (0x80, 0x80, 1, 0x80, 0x80, 0x80, 1, 0x80)
    assert client.subscribe("x/+", qos=2).codes == (2,)  # one that it has may be asked for again


def test_a_level_that_is_not_known_is_answered_with_the_code_for_it(start_inner, wire):
    inner = start_inner()
    old, newer = wire(inner), wire(inner)
    old.raw(b"\x10\x0f\x00\x04MQTT\x02\x02\x00\x3c\x00\x03abc")
    assert old.receive() == ConnackPacket(1)
    assert old.is_closed()
    newer.raw(b"\x10\x10\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x03abc")
    assert newer.socket.recv(100) == b"\x20\x03\x00\x84\x00"
    assert newer.is_closed()


def test_a_slow_subscriber_is_cut_off_and_the_publisher_and_the_others_go_on(start_inner, wire, until):
    inner = start_inner(with_limits(max_queued_bytes=200_000))
    slow, good, speaker = (wire(inner) for _ in range(3))
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for name, client in zip(("slow", "good", "speaker"), (slow, good, speaker), strict=True):
        client.connect(name)
    slow.subscribe("street/slow", qos=0)
    good.subscribe("street/good")
    flood(speaker, "street/slow", qos=0, count=20_000)  # 20 MB are more than any socket buffer here
    until(lambda: inner.broker.counters.cut_off == 1, "the slow one is cut off")
    speaker.publish("street/good", b"1", packet_id=9)
    assert good.expect(PublishPacket).payload == b"1"
    assert speaker.receive() == puback(9)


def test_a_client_that_never_acknowledges_gets_no_more_than_its_window(start_inner, wire):
    inner = start_inner(with_limits(max_inflight=5))
    lazy, speaker = wire(inner), wire(inner)
    lazy.connect("lazy")
    lazy.subscribe("street/#")
    speaker.connect("speaker")
    flood(speaker, "street/a", qos=1, count=20, size=1)
    assert [speaker.receive() for _ in range(20)] == [puback(k) for k in range(1, 21)]
    window = lazy.before_pong()
    assert len(window) == 5
    for packet in window:
        lazy.acknowledge(packet)
    assert len(lazy.before_pong()) == 5


def test_an_absent_client_keeps_no_more_than_its_queue(start_inner, wire, until):
    inner = start_inner(with_limits(max_queued_messages=10))
    client, speaker, back = (wire(inner) for _ in range(3))
    client.connect("away", clean=False)
    client.subscribe("street/#")
    client.vanish()
    speaker.connect("speaker")
    until(lambda: inner.broker.sessions["away"].outlet is None, "the client is away")
    flood(speaker, "street/a", qos=1, count=25, size=1)
    assert speaker.before_pong() == [puback(k) for k in range(1, 26)]
    back.connect("away", clean=False)
    assert len(back.before_pong()) == 10
    assert inner.broker.counters.publish_dropped == 15


def test_a_publisher_over_its_unacknowledged_limit_is_not_read_until_there_is_room(start_inner, wire, until):
    inner = start_inner(with_limits(max_unacknowledged_messages=10))
    device = wire(inner)
    device.connect("device")
    flood(device, "city/a/d1", qos=1, count=100, size=10)
    until(lambda: inner.broker._paused, "the publisher is paused")
    assert inner.call(lambda: inner.broker.counters.publish_received) == 11
    ingest = wire(inner)
    ingest.connect("ingest", clean=False)
    ingest.subscribe("city/#")
    for k in range(1, 101):
        message = ingest.expect(PublishPacket)
        ingest.acknowledge(message)
        assert device.receive() == puback(k)


def test_all_publishers_together_are_bounded_as_well(start_inner, wire, until):
    inner = start_inner(with_limits(max_unacknowledged_bytes_total=50_000))
    devices = [wire(inner) for _ in range(4)]
    for k, device in enumerate(devices):
        device.connect(f"device-{k}")
        flood(device, f"city/a/d{k}", qos=1, count=100)
    until(lambda: len(inner.broker._paused) == 4, "all are paused")
    assert inner.call(lambda: inner.broker.ledger.unacknowledged_bytes) < 60_000
    ingest = wire(inner)
    ingest.connect("ingest", clean=False)
    ingest.subscribe("city/#")
    for _ in range(400):
        ingest.acknowledge(ingest.expect(PublishPacket))
    for device in devices:
        assert [device.receive() for _ in range(100)] == [puback(k) for k in range(1, 101)]
    assert inner.call(lambda: inner.broker.ledger.unacknowledged_bytes) == 0


def test_qos_0_is_held_back_when_the_durable_subscriber_is_slow_and_nothing_is_lost(start_inner, wire, until):
    inner = start_inner(with_limits(max_queued_bytes=400_000))
    ingest, device = wire(inner), wire(inner)
    ingest.connect("ingest", clean=False)
    ingest.subscribe("city/#")
    device.connect("device")
    device.socket.settimeout(0.2)
    sent = 0
    chunk = b"".join(encode(PublishPacket("city/a/d1", b"x" * 1000)) for _ in range(100))
    view = memoryview(b"")
    while not inner.broker._paused or view:  # fill until the broker reads no more
        view = view or memoryview(chunk)
        try:
            taken = device.socket.send(view)
        except TimeoutError:
            break
        view = view[taken:]
        sent += 100 * (not view)
    until(lambda: inner.broker._paused, "the publisher is paused")
    received = 0
    while received < sent:
        ingest.expect(PublishPacket)
        received += 1
    assert inner.broker.counters.publish_dropped == 0


def test_a_paused_publisher_is_not_taken_for_silent(start_inner, wire, until):
    inner = start_inner(with_limits(max_unacknowledged_messages=1))
    device, clock = wire(inner), wire(inner)
    device.connect("device", keep_alive_s=1)
    flood(device, "city/a/d1", qos=1, count=5, size=1)
    until(lambda: inner.broker._paused, "the publisher is paused")
    clock.connect("clock", keep_alive_s=1)
    assert clock.is_closed()  # the same keep-alive has passed for this one
    ingest = wire(inner)
    ingest.connect("ingest", clean=False)
    ingest.subscribe("city/#")
    for k in range(1, 6):
        ingest.acknowledge(ingest.expect(PublishPacket))
        assert device.receive() == puback(k)


def test_a_durable_subscriber_is_never_paused_but_cut_off_when_it_floods(start_inner, wire):
    inner = start_inner(with_limits(max_unacknowledged_messages=10))
    both = wire(inner)
    both.connect("both", clean=False)
    both.subscribe("city/#")
    flood(both, "city/a/d1", qos=1, count=30, size=1)
    for _ in range(30):
        both.acknowledge(both.expect(PublishPacket))
    assert sum(isinstance(p, AckPacket) for p in both.before_pong()) == 30
    flood(both, "city/a/d1", qos=1, count=60, size=1)
    assert both.is_closed()


def test_publishers_that_keep_coming_back_do_not_fill_the_queue_of_an_absent_subscriber(start_inner, wire, until):
    inner = start_inner(with_limits(max_queued_messages=50))
    ingest = wire(inner)
    ingest.connect("ingest", clean=False)
    ingest.subscribe("city/#")
    ingest.send(BarePacket(PacketType.DISCONNECT))
    assert ingest.is_closed()
    for _ in range(10):
        device = wire(inner)
        device.connect("device")
        flood(device, "city/a/d1", qos=1, count=20, size=1)
        assert device.before_pong() == []
        device.vanish()
    until(lambda: inner.call(lambda: len(inner.broker.connections)) == 0, "the devices are gone")
    assert inner.call(lambda: len(inner.broker.sessions["ingest"].queue)) <= 70
    assert inner.call(lambda: inner.broker.ledger.unacknowledged_bytes) == 0


def test_retained_messages_are_bounded(start_inner, wire):
    inner = start_inner(Settings(statistics_interval_s=1e9, limits=Limits(max_retained_messages=30)))
    client = wire(inner)
    client.connect("a")
    for k in range(100):
        client.publish(f"street/{k}", b"x", retain=True)
    assert client.before_pong() == []
    assert inner.call(lambda: inner.broker.router.retained_messages) == 30
    client.publish("street/0", b"y", retain=True)  # an old topic may change
    client.subscribe("street/0")
    assert client.expect(PublishPacket).payload == b"y"


def test_clients_do_not_write_the_brokers_own_topics(start_inner, wire):
    client = wire(start_inner())
    client.connect("a")
    client.subscribe("$SYS/#")
    client.before_pong()
    client.publish("$SYS/broker/forged", b"1", packet_id=3, retain=True)
    assert client.before_pong() == [puback(3)]


def test_held_publications_are_told_of_once(start_inner, wire, until, caplog):
    inner = start_inner(Settings(statistics_interval_s=0.05))
    client = wire(inner)
    client.connect("a")
    client.send(*(PublishPacket("city/a/d", b"1", 1, packet_id=k) for k in (1, 2)))
    until(lambda: caplog.records, "the log tells of it")
    due = inner.broker._statistics_due
    until(lambda: inner.broker._statistics_due > due, "the next statistics are out")
    assert [record.getMessage() for record in caplog.records] == [
        "2 publications are held: no persistent session subscribes to their topics at QoS 1"
    ]


def test_the_statistics_count_what_happened(start_inner, wire):
    inner = start_inner(Settings(statistics_interval_s=0.05))
    client, watcher = wire(inner), wire(inner)
    client.connect("a")
    client.publish("street/a", b"1", packet_id=1)
    client.publish("city/a/d", b"1", packet_id=2)
    assert client.before_pong() == [puback(1)]
    watcher.connect("w")
    watcher.subscribe("$SYS/#", qos=0)
    wanted = {
        "$SYS/broker/clients/connected": b"2",
        "$SYS/broker/publish/messages/received": b"2",
        "$SYS/broker/publish/messages/held": b"1",
        "$SYS/broker/publish/messages/acknowledged": b"1",
    }
    seen: dict[str, bytes] = {}
    while not wanted.items() <= seen.items():
        packet = watcher.expect(PublishPacket)
        seen[packet.topic] = packet.payload


@pytest.mark.parametrize("data", [b"\x10", b"\x10\x0c\x00\x04MQTT", encode(ConnectPacket("x")) + b"\x32\x05\x00"])
def test_a_reset_in_the_middle_of_a_packet_is_no_fault(start_inner, wire, data):
    inner = start_inner()
    client, other = wire(inner), wire(inner)
    client.raw(data)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.vanish()
    other.connect("other")
    assert isinstance(other.subscribe("a"), SubackPacket)


def test_a_client_of_mqtt_5_is_told_the_limits_and_by_which_one_it_fell(start_inner, wire):
    inner = start_inner(with_limits(receive_maximum=3, max_packet_bytes=1000, max_keep_alive_s=30))
    first, second = wire(inner), wire(inner)
    told = dict(first.connect("a", level=5, keep_alive_s=0).properties)
    assert told[Property.RECEIVE_MAXIMUM] == 3
    assert told[Property.MAXIMUM_PACKET_SIZE] == 1003  # first byte, two of length, 1000
    assert told[Property.SERVER_KEEP_ALIVE] == 30
    second.connect("b", level=5)
    for k in range(1, 4):
        first.publish("city/a/d", b"", packet_id=k)
    assert first.before_pong() == []
    first.publish("city/a/d", b"", packet_id=4)
    assert first.receive() == ReasonPacket(PacketType.DISCONNECT, Reason.RECEIVE_MAXIMUM_EXCEEDED)
    second.publish("street/a", b"x" * 1000)
    assert second.receive() == ReasonPacket(PacketType.DISCONNECT, Reason.PACKET_TOO_LARGE)


def test_a_client_of_mqtt_5_that_keeps_to_the_limit_goes_on(start_inner, wire):
    client = wire(start_inner(with_limits(receive_maximum=2)))
    client.connect("a", level=5)
    for k in range(1, 10):
        client.publish("street/a", b"", packet_id=k, qos=1 + k % 2)
        assert client.expect(AckPacket).packet_id == k
        if k % 2:
            client.send(AckPacket(PacketType.PUBREL, k))
            assert client.expect(AckPacket).type is PacketType.PUBCOMP


def test_a_silent_client_of_mqtt_5_is_told_why(start_inner, wire):
    client = wire(start_inner())
    client.connect("a", level=5, keep_alive_s=1)
    assert client.receive() == ReasonPacket(PacketType.DISCONNECT, Reason.KEEP_ALIVE_TIMEOUT)


def test_a_broker_that_stops_says_so(start_inner, wire):
    inner = start_inner()
    client = wire(inner)
    client.connect("a", level=5)
    asyncio.run_coroutine_threadsafe(inner.broker.close(), inner.loop).result(20)
    assert client.receive() == ReasonPacket(PacketType.DISCONNECT, Reason.SERVER_SHUTTING_DOWN)


def test_the_broker_sets_aliases_up_to_what_the_client_takes(start_inner, wire):
    client = wire(start_inner())
    client.connect("a", level=5, properties=((Property.TOPIC_ALIAS_MAXIMUM, 1),))
    client.subscribe("#", qos=0)
    for topic in ("street/a", "street/a", "street/b"):
        client.publish(topic, b"")
    got = [client.expect(PublishPacket) for _ in range(3)]
    alias = ((Property.TOPIC_ALIAS, 1),)
    assert [(p.topic, p.properties) for p in got] == [("street/a", alias), ("", alias), ("street/b", ())]


def test_publications_at_qos_2_that_are_never_released_are_bounded(start_inner, wire):
    client = wire(start_inner(with_limits(max_unacknowledged_bytes=10_000)))
    client.connect("a")
    flood(client, "street/a", qos=2, count=100)
    assert client.is_closed()
