"""The publisher keeps every message until its PUBACK, at the embedded broker and at Mosquitto."""

import signal
import socket
import threading
from contextlib import closing

import pytest

from ingest.address import BrokerAddress
from ingest.broker.decoder import decode
from ingest.broker.encoder import encode
from ingest.broker.frames import FrameReader
from ingest.broker.packets import AckPacket, ConnackPacket, ConnectPacket, PacketType, PublishPacket
from ingest.publisher import Publisher
from sensors import InputError, WorkError


@pytest.fixture
def publish_to():
    opened = []

    def open_publisher(url, **options):
        opened.append(Publisher(url, client_id=f"publisher-{len(opened)}", **options))
        return opened[-1]

    yield open_publisher
    for publisher in opened:
        publisher.close()


@pytest.fixture
def script():
    """A broker of one connection at a time, that does what the test says."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)
    peers = []

    class Peer:
        def __init__(self):
            self.socket, _ = server.accept()
            self.socket.settimeout(20)
            self._reader, self._frames = FrameReader(max_bytes=1 << 28), []
            peers.append(self)
            assert isinstance(self.receive(), ConnectPacket)

        def accept(self, session_present=False):
            self.send(ConnackPacket(0, session_present))

        def send(self, *packets):
            self.socket.sendall(b"".join(map(encode, packets)))

        def receive(self):
            while not self._frames:
                data = self.socket.recv(65536)
                if not data:
                    return None
                self._frames = self._reader.feed(data)
            return decode(*self._frames.pop(0))

    Peer.url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
    yield Peer
    for peer in peers:
        peer.socket.close()
    server.close()


def test_what_is_published_is_acknowledged_and_arrives(broker, wire, publish_to):
    listener = wire(broker)
    listener.connect("listener")
    listener.subscribe("street/#")
    publisher = publish_to(broker.url)
    publisher.publish("street/上城区/雷达 7", b"\x00\xff")
    publisher.publish("street/text", "快")
    assert publisher.drain(10)
    assert (publisher.published, publisher.acknowledged, publisher.unacknowledged) == (2, 2, 0)
    first, second = listener.expect(PublishPacket), listener.expect(PublishPacket)
    assert (first.topic, first.payload, first.qos) == ("street/上城区/雷达 7", b"\x00\xff", 1)
    assert (second.topic, second.payload) == ("street/text", "快".encode())


def test_a_retained_message_is_kept_by_the_broker(broker, wire, publish_to):
    publisher = publish_to(broker.url)
    publisher.publish("street/a", b"kept", retain=True)
    assert publisher.drain(10)
    late = wire(broker)
    late.connect("late")
    late.subscribe("street/#")
    assert late.expect(PublishPacket).payload == b"kept"


def test_more_messages_than_there_are_identifiers_arrive_in_order(broker, wire, publish_to):
    listener = wire(broker)
    listener.connect("listener")
    listener.subscribe("street/a", qos=0)
    publisher = publish_to(broker.url, max_unacknowledged=500)
    count = 70_000
    sender = threading.Thread(
        target=publisher.publish_all, args=((("street/a", str(k).encode()) for k in range(count)),)
    )
    sender.start()
    assert [int(listener.expect(PublishPacket).payload) for _ in range(count)] == list(range(count))
    sender.join(10)
    assert publisher.drain(10)
    assert publisher.acknowledged == count


def test_it_sends_again_what_had_no_puback_with_dup_and_in_order_though_the_session_is_gone(script, publish_to):
    publisher = publish_to(script.url, first_connect_s=0)
    first = script()
    first.accept()
    for k in range(4):
        publisher.publish("street/a", str(k))
    before = [first.receive() for _ in range(4)]
    first.send(AckPacket(PacketType.PUBACK, before[1].packet_id))
    first.socket.close()
    second = script()
    second.accept(session_present=False)
    publisher.publish("street/a", "4")
    again = [second.receive() for _ in range(4)]
    assert [(m.payload, m.duplicate) for m in again] == [(b"0", True), (b"2", True), (b"3", True), (b"4", False)]
    assert [m.packet_id for m in again[:3]] == [before[k].packet_id for k in (0, 2, 3)]
    assert publisher.acknowledged == 1
    second.send(*(AckPacket(PacketType.PUBACK, m.packet_id) for m in again))
    assert publisher.drain(10)
    assert (publisher.acknowledged, publisher.reconnects) == (5, 1)


def test_a_message_published_before_there_is_a_broker_goes_when_it_comes(script, publish_to):
    publisher = publish_to(script.url, first_connect_s=0)
    publisher.publish("street/a", "early")
    peer = script()
    peer.accept()
    message = peer.receive()
    assert (message.payload, message.duplicate) == (b"early", False)


def test_publish_waits_while_the_backlog_is_full(script, publish_to):
    publisher = publish_to(script.url, first_connect_s=0, max_unacknowledged=2)
    peer = script()
    peer.accept()
    publisher.publish("street/a", "0")
    publisher.publish("street/a", "1")
    with pytest.raises(WorkError, match="2 messages are not acknowledged, connected"):
        publisher.publish("street/a", "2", timeout_s=0.05)
    first = peer.receive()
    waiting = threading.Thread(target=publisher.publish, args=("street/a", "2"))
    waiting.start()
    peer.send(AckPacket(PacketType.PUBACK, first.packet_id))
    waiting.join(10)
    assert [peer.receive().payload for _ in range(2)] == [b"1", b"2"]


def test_a_backlog_of_large_messages_is_bounded_in_bytes(script, publish_to):
    publisher = publish_to(script.url, first_connect_s=0, max_unacknowledged_bytes=1000)
    publisher.publish("street/a", b"x" * 2000)
    with pytest.raises(WorkError, match="no room"):
        publisher.publish("street/a", b"x", timeout_s=0.05)


def test_an_identifier_that_is_still_in_use_is_not_used_again(script, publish_to):
    publisher = publish_to(script.url, first_connect_s=0, max_unacknowledged=3)
    publisher._last_id = 0xFFFE
    peer = script()
    peer.accept()
    for k in range(3):
        publisher.publish("street/a", str(k))
    messages = [peer.receive() for _ in range(3)]
    assert [m.packet_id for m in messages] == [0xFFFF, 1, 2]
    publisher._last_id = 0xFFFE
    peer.send(AckPacket(PacketType.PUBACK, 1), AckPacket(PacketType.PUBACK, 7))  # 7 was never given: ignored
    publisher.publish("street/a", "3")
    assert peer.receive().packet_id == 1
    assert publisher.acknowledged == 1


def test_a_puback_for_what_was_not_sent_yet_does_no_harm(script, publish_to):
    publisher = publish_to(script.url, first_connect_s=0)
    for k in range(3):
        publisher.publish("street/a", str(k))
    publisher.take([(0x40, b"\x00\x01")])
    peer = script()
    peer.accept()
    assert [peer.receive().payload for _ in range(2)] == [b"1", b"2"]


def test_closing_with_messages_left_does_not_hang(script, publish_to):
    publisher = publish_to(script.url, first_connect_s=0)
    peer = script()
    peer.accept()
    publisher.publish("street/a", "0")
    assert isinstance(peer.receive(), PublishPacket)
    publisher.close(drain_s=0.05)
    assert publisher.unacknowledged == 1
    assert decode(0xE0, b"") == peer.receive()  # DISCONNECT
    with pytest.raises(WorkError, match="closed"):
        publisher.publish("street/a", "1")


def test_it_outlives_a_restart_of_the_broker(mosquitto, wire, publish_to, until):
    publisher = publish_to(mosquitto.url)
    publisher.publish("street/a", "1")
    assert publisher.drain(10)
    mosquitto.stop(signal.SIGKILL)
    until(lambda: not publisher.is_connected, "the loss is noticed")
    publisher.publish("street/a", "2")
    mosquitto.start()
    assert publisher.drain(20)
    assert publisher.acknowledged == 2


def test_no_broker_is_one_sentence_that_names_the_address():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(WorkError) as failed:
        Publisher(f"mqtt://127.0.0.1:{port}", client_id="p", first_connect_s=0.2)
    sentence = str(failed.value)
    assert f"mqtt://127.0.0.1:{port}" in sentence
    assert "CITYTWIN_MQTT_URL" in sentence
    assert "\n" not in sentence


def test_a_refusing_broker_is_one_sentence_with_its_reason(script):
    outcome = []

    def attempt():
        try:
            Publisher(script.url.replace("//", "//user:geheim@"), client_id="p", first_connect_s=20)
        except WorkError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    script().send(ConnackPacket(5))
    thread.join(10)
    assert len(outcome) == 1
    assert "Not authorized" in outcome[0]
    assert "geheim" not in outcome[0]


@pytest.mark.parametrize("topic", ["", "a/#", "a/+/b", "a\0b"])
def test_a_topic_that_cannot_be_published_to_is_refused(script, publish_to, topic):
    publisher = publish_to(script.url, first_connect_s=0)
    with pytest.raises(InputError, match="cannot publish"):
        publisher.publish(topic, "1")
    assert publisher.published == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:1883", "must be mqtt://"),
        ("http://localhost", "must be mqtt://"),
        ("mqtt://", "must be mqtt://"),
        ("mqtt://h:0", "must be mqtt://"),
        ("mqtt://h:99999", "no valid port"),
        ("mqtt://h:port", "no valid port"),
        ("mqtt://h/city", "'/city'"),
    ],
)
def test_a_url_that_is_none_is_refused(url, words):
    with pytest.raises(InputError, match=words):
        BrokerAddress.parse(url)


def test_a_refused_url_does_not_show_its_password():
    with pytest.raises(InputError) as refused:
        BrokerAddress.parse("http://user:geheim@host")
    assert "geheim" not in str(refused.value)


def test_a_url_with_everything_is_understood():
    address = BrokerAddress.parse("mqtts://us%40er:p%3Aw@[::1]:1234/")
    assert address == BrokerAddress("::1", 1234, True, "us@er", "p:w")
    assert "p:w" not in repr(address)
    assert BrokerAddress.parse("mqtts://h").port == 8883
