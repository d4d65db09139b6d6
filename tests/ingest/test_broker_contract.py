"""What any MQTT 3.1.1 broker does: the same tests for the embedded one and for Mosquitto."""

import shutil
import subprocess
import threading

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest.broker.encoder import encode
from ingest.broker.packets import (
    AckPacket,
    BarePacket,
    ConnackPacket,
    ConnectPacket,
    PacketType,
    PublishPacket,
    SubackPacket,
    UnsubscribePacket,
    Will,
)


def puback(packet_id: int) -> AckPacket:
    return AckPacket(PacketType.PUBACK, packet_id)


@pytest.mark.parametrize(("published", "subscribed", "received"), [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_a_message_comes_with_the_lower_of_both_qos(broker, wire, published, subscribed, received):
    listener, speaker = wire(broker), wire(broker)
    listener.connect("listener")
    speaker.connect("speaker")
    listener.subscribe("street/+", qos=subscribed)
    speaker.publish("street/a", b"12", packet_id=7 * published)
    got = listener.expect(PublishPacket)
    assert (got.topic, got.payload, got.qos, got.retain, got.duplicate) == ("street/a", b"12", received, False, False)
    assert speaker.before_pong() == [puback(7)] * published


def test_a_publication_at_qos_2_is_taken_once_by_its_handshake(broker, wire):
    listener, speaker = wire(broker), wire(broker)
    listener.connect("listener")
    speaker.connect("speaker")
    listener.subscribe("street/a", qos=0)
    speaker.publish("street/a", b"1", packet_id=5, qos=2)
    assert speaker.receive() == AckPacket(PacketType.PUBREC, 5)
    speaker.send(PublishPacket("street/a", b"1", 2, False, True, 5))  # as if PUBREC had been lost
    assert speaker.receive() == AckPacket(PacketType.PUBREC, 5)
    speaker.send(AckPacket(PacketType.PUBREL, 5))
    assert speaker.receive() == AckPacket(PacketType.PUBCOMP, 5)
    speaker.publish("street/a", b"2", packet_id=5, qos=2)
    assert speaker.receive() == AckPacket(PacketType.PUBREC, 5)
    speaker.send(AckPacket(PacketType.PUBREL, 5))  # a broker may pass the message on as late as this
    assert [listener.expect(PublishPacket).payload for _ in range(2)] == [b"1", b"2"]


def test_a_retained_message_waits_for_the_next_subscriber_until_it_is_cleared(broker, wire):
    speaker, first, second, third = (wire(broker) for _ in range(4))
    for name, client in zip("abcd", (speaker, first, second, third), strict=True):
        client.connect(name)
    first.subscribe("street/#")
    speaker.publish("street/a", b"old", packet_id=1, retain=True)
    speaker.publish("street/a", b"new", packet_id=2, retain=True)
    live = [first.expect(PublishPacket) for _ in range(2)]
    assert [(m.payload, m.retain) for m in live] == [(b"old", False), (b"new", False)]
    second.subscribe("street/+")
    kept = second.expect(PublishPacket)
    assert (kept.topic, kept.payload, kept.qos, kept.retain) == ("street/a", b"new", 1, True)
    speaker.publish("street/a", b"", packet_id=3, retain=True)
    assert speaker.before_pong() == [puback(1), puback(2), puback(3)]
    third.subscribe("street/#")
    assert third.before_pong() == []


def test_wildcards_leave_out_the_topics_of_the_broker_itself(broker, wire):
    client = wire(broker)
    client.connect("curious")
    client.subscribe("#", "+/broker/#")
    assert client.before_pong() == []
    client.subscribe("$SYS/broker/clients/connected")
    assert client.expect(PublishPacket).retain


def test_a_client_with_overlapping_filters_gets_one_copy_at_the_highest_qos(broker, wire):
    listener, speaker = wire(broker), wire(broker)
    listener.connect("listener")
    speaker.connect("speaker")
    listener.subscribe("street/#", qos=0)
    listener.subscribe("street/a", qos=1)
    listener.subscribe("+/a", qos=0)
    speaker.publish("street/a", b"1", packet_id=1)
    assert speaker.receive() == puback(1)
    assert [packet.qos for packet in listener.before_pong()] == [1]


def test_an_unsubscribed_client_hears_no_more(broker, wire):
    client = wire(broker)
    client.connect("c")
    client.subscribe("street/a", "street/b")
    client.send(UnsubscribePacket(9, ("street/a", "never/heard/of")))
    assert client.receive() == AckPacket(PacketType.UNSUBACK, 9)
    client.publish("street/a", b"a")
    client.publish("street/b", b"b")
    assert client.expect(PublishPacket).topic == "street/b"


def test_a_persistent_session_keeps_what_comes_at_qos_1_while_the_client_is_away(broker, wire):
    first, speaker, second = wire(broker), wire(broker), wire(broker)
    assert first.connect("lasting", clean=False) == ConnackPacket(0, False)
    first.subscribe("street/#")
    first.send(BarePacket(PacketType.DISCONNECT))
    assert first.is_closed()
    speaker.connect("speaker")
    for k in range(1, 6):
        speaker.publish("street/a", str(k).encode(), packet_id=k)
        assert speaker.receive() == puback(k)
    assert second.connect("lasting", clean=False) == ConnackPacket(0, True)
    assert [second.expect(PublishPacket).payload for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]


def test_a_clean_connect_forgets_the_session(broker, wire):
    first, second, third = (wire(broker) for _ in range(3))
    first.connect("lasting", clean=False)
    first.subscribe("street/#")
    first.send(BarePacket(PacketType.DISCONNECT))
    assert first.is_closed()
    assert second.connect("lasting", clean=True) == ConnackPacket(0, False)
    second.publish("street/a", b"1", packet_id=1)
    assert second.before_pong() == [puback(1)]
    second.send(BarePacket(PacketType.DISCONNECT))
    assert second.is_closed()
    assert third.connect("lasting", clean=False) == ConnackPacket(0, False)


def test_what_was_not_acknowledged_comes_again_in_order_with_dup_and_its_identifier(broker, wire):
    first, speaker, second = (wire(broker) for _ in range(3))
    first.connect("lasting", clean=False)
    first.subscribe("street/#")
    speaker.connect("speaker")
    for k in range(1, 4):
        speaker.publish("street/a", str(k).encode(), packet_id=k)
    before = [first.expect(PublishPacket) for _ in range(3)]
    first.acknowledge(before[1])
    assert first.before_pong() == []
    first.vanish()
    second.connect("lasting", clean=False)
    again = [second.expect(PublishPacket) for _ in range(2)]
    assert [(m.payload, m.packet_id, m.duplicate) for m in again] == [
        (b"1", before[0].packet_id, True),
        (b"3", before[2].packet_id, True),
    ]


def test_the_same_client_identifier_takes_over(broker, wire):
    first, second = wire(broker), wire(broker)
    first.connect("one", clean=False)
    first.subscribe("street/#")
    assert second.connect("one", clean=False) == ConnackPacket(0, True)
    assert first.is_closed()
    second.publish("street/a", b"1", packet_id=1)
    assert {type(second.receive()) for _ in range(2)} == {AckPacket, PublishPacket}


def test_a_silent_client_is_closed_after_its_keep_alive_and_its_will_is_published(broker, wire):
    client, heir = wire(broker), wire(broker)
    heir.connect("heir")
    heir.subscribe("gone/#")
    client.connect("silent", keep_alive_s=1, will=Will("gone/silent", b"bye", qos=1))
    assert client.is_closed()
    will = heir.expect(PublishPacket)
    assert (will.topic, will.payload, will.qos) == ("gone/silent", b"bye", 1)


def test_a_will_is_published_for_the_vanished_and_not_for_those_who_take_leave(broker, wire):
    heir, polite, rude = (wire(broker) for _ in range(3))
    heir.connect("heir")
    heir.subscribe("gone/#")
    polite.connect("polite", will=Will("gone/polite", b"1"))
    rude.connect("rude", will=Will("gone/rude", b"2", retain=True))
    polite.send(BarePacket(PacketType.DISCONNECT))
    assert polite.is_closed()
    rude.vanish()
    assert heir.expect(PublishPacket).topic == "gone/rude"
    late = wire(broker)
    late.connect("late")
    late.subscribe("gone/#")
    assert late.expect(PublishPacket).retain
    assert late.before_pong() == []


@pytest.mark.parametrize(
    "topic", ["上城区/雷达 7", "a b/ c", "/leading", "trailing/", "//", "Ärger/ø", "🚦/1", "x" * 4000]
)
def test_topics_of_any_letters_pass(broker, wire, topic):
    client = wire(broker)
    client.connect("c")
    client.subscribe("#")
    client.publish(topic, b"\x00\xff", packet_id=1)
    assert {client.receive(), client.receive()} == {puback(1), PublishPacket(topic, b"\x00\xff", 1, packet_id=1)}


def test_an_empty_client_identifier_needs_a_clean_session(broker, wire):
    first, second, third = (wire(broker) for _ in range(3))
    assert first.connect("").code == 0
    assert second.connect("").code == 0
    assert third.connect("", clean=False).code == 2
    assert third.is_closed()
    assert first.before_pong() == []  # two clients without a name are two clients


WRONG = {
    "SUBSCRIBE before CONNECT": [b"\x82\x06\x00\x01\x00\x01a\x00"],
    "a second CONNECT": [encode(ConnectPacket("w")), encode(ConnectPacket("w"))],
    "another protocol": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a topic with a wildcard": [encode(ConnectPacket("w")), encode(PublishPacket("a/#", b""))],
    "an empty topic": [encode(ConnectPacket("w")), encode(PublishPacket("", b""))],
    "a topic that is not UTF-8": [encode(ConnectPacket("w")), b"\x30\x04\x00\x02\xc3\x28"],
    "identifier 0": [encode(ConnectPacket("w")), b"\x32\x06\x00\x01a\x00\x00x"],
    "QoS 3": [encode(ConnectPacket("w")), b"\x36\x06\x00\x01a\x00\x01x"],
    "a reserved type": [encode(ConnectPacket("w")), b"\xf0\x00"],
    "a length of five bytes": [encode(ConnectPacket("w")), b"\x30\xff\xff\xff\xff\x01"],
    "SUBSCRIBE with wrong flags": [encode(ConnectPacket("w")), b"\x80\x06\x00\x01\x00\x01a\x00"],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_client_that_breaks_the_protocol_is_closed_and_the_others_go_on(broker, wire, name):
    other, wrong = wire(broker), wire(broker)
    other.connect("other")
    other.subscribe("street/#")
    wrong.raw(b"".join(WRONG[name]))
    assert wrong.is_closed()
    other.publish("street/a", b"1")
    assert other.expect(PublishPacket).payload == b"1"


def test_a_packet_may_arrive_byte_by_byte(broker, wire):
    client = wire(broker)
    stream = encode(ConnectPacket("slow")) + encode(PublishPacket("street/a", b"x" * 300, 1, packet_id=4))
    for k in range(len(stream)):
        client.raw(stream[k : k + 1])
    assert client.receive() == ConnackPacket(0)
    assert client.receive() == puback(4)


def test_many_packets_of_one_read_are_answered_in_order(broker, wire):
    client = wire(broker)
    client.connect("fast")
    client.raw(b"".join(encode(PublishPacket("street/a", b"x", 1, packet_id=k)) for k in range(1, 5001)))
    assert [client.receive() for _ in range(5000)] == [puback(k) for k in range(1, 5001)]


def test_mosquittos_own_clients_talk_through_it(broker):
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto-clients is not installed: apt-get install mosquitto-clients")
    address = ["-h", "127.0.0.1", "-p", str(broker.port)]
    for k in range(3):
        subprocess.run(
            ["mosquitto_pub", *address, "-t", f"hall/{k} 号", "-m", f"v{k}", "-q", str(k), "-r"], check=True, timeout=10
        )
    heard = subprocess.run(
        ["mosquitto_sub", *address, "-t", "hall/#", "-q", "1", "-C", "3", "-v", "-W", "10"],
        check=True,
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert sorted(heard.stdout.splitlines()) == ["hall/0 号 v0", "hall/1 号 v1", "hall/2 号 v2"]


def test_paho_talks_through_it(broker):
    ready, heard = threading.Event(), threading.Event()
    messages = []

    def on_message(_client, _data, message):
        messages.append((message.topic, message.payload))
        if len(messages) == 500:
            heard.set()

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="paho")
    client.on_connect = lambda *_: client.subscribe("street/#", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = on_message
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert ready.wait(10)
        infos = [client.publish(f"street/{k % 7}", str(k), qos=k % 3) for k in range(500)]
        assert heard.wait(20)
        for info in infos:
            info.wait_for_publish(10)
    finally:
        client.disconnect()
        client.loop_stop()
    assert sorted(int(payload) for _, payload in messages) == list(range(500))


def test_subscribing_again_sends_the_retained_message_again(broker, wire):
    client = wire(broker)
    client.connect("c")
    client.publish("street/a", b"kept", packet_id=1, retain=True)
    assert client.receive() == puback(1)
    for _ in range(2):
        assert isinstance(client.subscribe("street/a"), SubackPacket)
        assert client.expect(PublishPacket).retain
