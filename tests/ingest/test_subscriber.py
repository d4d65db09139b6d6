"""The subscriber: nothing is acknowledged before the caller says so, and nothing acknowledged is missing."""

import itertools
import signal
import socket
import threading

import pytest

from ingest.broker import Limits, Settings
from ingest.broker.decoder import decode
from ingest.broker.encoder import encode
from ingest.broker.frames import FrameReader
from ingest.broker.packets import AckPacket, ConnackPacket, PacketType, PublishPacket, SubackPacket
from ingest.publisher import Publisher
from ingest.subscriber import Subscriber
from sensors import InputError, WorkError

BOTH_WAYS = pytest.mark.parametrize("bulk", [True, False], ids=["bulk", "plain"])


@pytest.fixture
def subscribe_to():
    opened = []

    def open_subscriber(url, *filters, client_id="ingest", **options):
        opened.append(Subscriber(url, client_id=client_id, filters=filters or ("city/#",), **options))
        return opened[-1]

    yield open_subscriber
    for subscriber in opened:
        subscriber.close()


@pytest.fixture
def publisher_of():
    opened = []

    def open_publisher(url, **options):
        opened.append(Publisher(url, client_id=f"publisher-{len(opened)}", **options))
        return opened[-1]

    yield open_publisher
    for publisher in opened:
        publisher.close()


def take(subscriber, count, *, acknowledge=True):
    messages = []
    while len(messages) < count:
        more = subscriber.payloads(20.0)
        assert more, f"{len(messages)} of {count} messages came"
        messages += more
        if acknowledge:
            subscriber.acknowledge(more)
    return messages


@BOTH_WAYS
def test_messages_come_as_they_were_published(broker, wire, subscribe_to, bulk):
    subscriber = subscribe_to(broker.url, "city/#", "/hfp/#", bulk=bulk)
    device = wire(broker)
    device.connect("device")
    device.publish("city/上城 区/d1", b"\x00\xff", packet_id=1)
    device.publish("/hfp/v2/Itäväylä (M)", b"", packet_id=2)
    device.publish("city/q0", b"q", packet_id=0)
    device.publish("city/big", b"x" * 300_000, packet_id=3)
    messages = take(subscriber, 4)
    assert [(m.topic, m.payload, m.retained) for m in messages] == [
        ("city/上城 区/d1", b"\x00\xff", False),
        ("/hfp/v2/Itäväylä (M)", b"", False),
        ("city/q0", b"q", False),
        ("city/big", b"x" * 300_000, False),
    ]
    assert messages[2].mid == 0
    assert len({m.epoch for m in messages}) == 1
    assert [device.receive() for _ in range(3)] == [AckPacket(PacketType.PUBACK, k) for k in (1, 2, 3)]


@BOTH_WAYS
def test_a_message_of_the_past_is_marked_as_retained(broker, wire, subscribe_to, bulk):
    device = wire(broker)
    device.connect("device")
    device.publish("city/a/d1", b"kept", retain=True)
    assert device.before_pong() == []
    [message] = take(subscribe_to(broker.url, bulk=bulk), 1)
    assert message.retained


@BOTH_WAYS
def test_what_was_not_acknowledged_comes_again_to_the_next_subscriber(broker, publisher_of, subscribe_to, bulk):
    first = subscribe_to(broker.url, bulk=bulk)
    publisher = publisher_of(broker.url)
    publisher.publish_all((f"city/a/d{k}", str(k)) for k in range(10))
    messages = take(first, 10, acknowledge=False)
    assert first.acknowledge(messages[:4]) == 4
    first.close()
    again = take(subscribe_to(broker.url, bulk=bulk), 6)
    assert [m.payload for m in again] == [m.payload for m in messages[4:]]


def test_the_puback_of_the_publisher_follows_the_acknowledgement(start_inner, publisher_of, subscribe_to, until):
    inner = start_inner()
    subscriber, publisher = subscribe_to(inner.url), publisher_of(inner.url)
    publisher.publish("city/a/d1", "1")
    messages = take(subscriber, 1, acknowledge=False)
    assert not publisher.drain(0.1)
    subscriber.acknowledge(messages)
    assert publisher.drain(10)


def test_an_acknowledgement_of_an_earlier_connection_is_void(embedded_broker, publisher_of, subscribe_to, until):
    subscriber, publisher = subscribe_to(embedded_broker.url), publisher_of(embedded_broker.url)
    publisher.publish("city/a/d1", "1")
    [before] = take(subscriber, 1, acknowledge=False)
    embedded_broker.stop(signal.SIGKILL)
    until(lambda: not subscriber.state.connected, "the loss is noticed")
    assert subscriber.acknowledge([before]) == 0
    embedded_broker.start()
    [again] = take(subscriber, 1, acknowledge=False)
    assert (again.payload, again.mid) == (before.payload, before.mid)  # same identifier, so the epoch must tell
    assert again.epoch != before.epoch
    assert subscriber.acknowledge([before]) == 0
    assert not publisher.drain(0.1)
    assert subscriber.acknowledge([again]) == 1
    assert publisher.drain(10)
    assert subscriber.state.reconnects == 1


@BOTH_WAYS
def test_a_full_queue_holds_the_publishers_back_and_loses_nothing(start_inner, publisher_of, subscribe_to, until, bulk):
    inner = start_inner()
    subscriber = subscribe_to(inner.url, max_queued_bytes=100_000, bulk=bulk)
    publisher = publisher_of(inner.url, max_unacknowledged=60_000, max_unacknowledged_bytes=64 << 20)
    count, payload = 12_000, b"x" * 1000
    sender = threading.Thread(
        target=publisher.publish_all, args=((("city/a/d1", b"%d" % k + payload) for k in range(count)),)
    )
    sender.start()
    until(lambda: subscriber.state.queued_bytes >= 100_000, "the queue is full")
    until(lambda: inner.broker.sessions["ingest"].queue or publisher.published == count, "TCP is full")
    # One read of the socket may go over the limit, no more.
    assert subscriber.state.queued_bytes < 100_000 + 2 * (1 << 18)
    messages = take(subscriber, count)
    assert [int(m.payload.rstrip(b"x")) for m in messages] == list(range(count))
    sender.join(10)
    assert publisher.drain(10)


@BOTH_WAYS
def test_plain_and_bulk_reading_give_the_same_messages(broker, wire, subscribe_to, bulk):
    subscriber = subscribe_to(broker.url, "#", bulk=bulk)
    device = wire(broker)
    device.connect("device")
    sent = [
        (f"t/{'é' * (k % 7)}/{k % 3}", bytes(k % 256 for _ in range((k * k) % 3001)), k % 2) for k in range(1, 2001)
    ]
    for k, (topic, payload, qos) in enumerate(sent, start=1):
        device.publish(topic, payload, packet_id=k * qos)
    got = take(subscriber, len(sent))
    assert [(m.topic, m.payload, int(m.mid > 0)) for m in got] == sent


@BOTH_WAYS
def test_a_topic_that_is_not_utf_8_is_written_out_and_does_not_crash(subscribe_to, bulk):
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = server.accept()
        reader = FrameReader(max_bytes=1 << 20)
        while data := peer.recv(4096):
            for first, body in reader.feed(data):
                packet = decode(first, body)
                if first == 0x10:
                    peer.sendall(encode(ConnackPacket(0)))
                elif first == 0x82:
                    peer.sendall(encode(SubackPacket(packet.packet_id, (1,))))
                    peer.sendall(b"\x30\x09\x00\x06city/\xff1")
                    peer.sendall(b"\x32\x09\x00\x04ci\x00y\x00\x07z")
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    subscriber = subscribe_to(f"mqtt://127.0.0.1:{server.getsockname()[1]}", bulk=bulk)
    messages = take(subscriber, 2)
    subscriber.close()
    thread.join(10)
    server.close()
    assert [(m.topic, m.payload, m.mid) for m in messages] == [("city/\\xff", b"1", 0), ("ci\\x00y", b"z", 7)]


def test_taking_waits_no_longer_than_asked_and_gives_no_more_than_asked(broker, wire, subscribe_to):
    subscriber = subscribe_to(broker.url)
    assert subscriber.payloads(0.01) == []
    device = wire(broker)
    device.connect("device")
    for k in range(1, 6):
        device.publish("city/a/d1", b"", packet_id=k)
    sizes = []
    while sum(sizes) < 5:
        sizes.append(len(subscriber.payloads(20.0, max_messages=2)))
    assert max(sizes) <= 2
    assert subscriber.state.received == 5
    assert (subscriber.state.queued, subscriber.state.queued_bytes) == (0, 0)


def test_a_shared_group_divides_the_messages(mosquitto, publisher_of, subscribe_to):
    workers = [subscribe_to(mosquitto.url, client_id=f"worker-{k}", shared_group="citytwin") for k in range(2)]
    publisher = publisher_of(mosquitto.url)
    publisher.publish_all((f"city/a/d{k}", str(k)) for k in range(100))
    got = []
    while len(got) < 100:
        for worker in workers:
            messages = worker.payloads(0.05)
            worker.acknowledge(messages)
            got += messages
    assert sorted(int(m.payload) for m in got) == list(range(100))
    assert all(worker.state.received > 0 for worker in workers)


def test_a_subscription_that_the_broker_refuses_is_one_clear_sentence(start_inner, subscribe_to):
    full = Settings(limits=Limits(max_subscriptions=0))
    with pytest.raises(WorkError, match=r"refuses to subscribe to '\$share/g/city/#'") as failed:
        subscribe_to(start_inner(full).url, shared_group="g")
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("filters", "options", "words"),
    [
        (("city/#/x",), {}, "'#' must be the last level"),
        ((), {}, "no topic filter"),
        (("a",), {"client_id": ""}, "client_id is empty"),
        (("a",), {"shared_group": "a/b"}, "shared_group"),
    ],
)
def test_wrong_arguments_are_refused(filters, options, words):
    with pytest.raises(InputError, match=words):
        Subscriber("mqtt://127.0.0.1:1", **{"client_id": "c", "filters": filters, **options})


def test_nothing_acknowledged_is_missing_though_the_broker_is_killed_again_and_again(
    embedded_broker, publisher_of, subscribe_to, until
):
    subscriber = subscribe_to(embedded_broker.url)
    publisher = publisher_of(embedded_broker.url, max_unacknowledged=2_000)
    count, stored, done = 20_000, set(), threading.Event()

    def store():
        while not done.is_set():
            messages = subscriber.payloads(0.05)
            stored.update(int(m.payload) for m in messages)  # "committed"
            subscriber.acknowledge(messages)

    def send():
        publisher.publish_all(("city/a/d1", str(k)) for k in range(count))

    threads = [threading.Thread(target=store), threading.Thread(target=send)]
    for thread in threads:
        thread.start()
    try:
        for quarter in itertools.count(1):
            until(lambda share=quarter: publisher.acknowledged >= min(share * count // 4, count - 1), "it goes on")
            if quarter == 4:
                break
            embedded_broker.stop(signal.SIGKILL)
            # PUBACKs keep the order of publication: the first n were acknowledged, so all of those must be stored.
            acknowledged = publisher.acknowledged
            assert set(range(acknowledged)) <= stored
            embedded_broker.start()
        assert publisher.drain(20)
    finally:
        done.set()
        publisher.close()
        for thread in threads:
            thread.join(10)
    assert stored == set(range(count))
    assert publisher.reconnects >= 3


def test_nothing_acknowledged_is_missing_though_the_subscriber_is_replaced_again_and_again(
    start_inner, publisher_of, subscribe_to
):
    inner = start_inner()
    publisher = publisher_of(inner.url, max_unacknowledged=1_000)
    count, stored = 10_000, set()
    sender = threading.Thread(target=publisher.publish_all, args=((("city/a/d1", str(k)) for k in range(count)),))
    sender.start()
    lives = 0
    while len(stored) < count:
        subscriber = subscribe_to(inner.url)
        lives += 1
        for _ in range(3):
            messages = subscriber.payloads(0.1)
            committed = messages[: max(len(messages) - 5, 1)]  # it dies before the last ones are
            stored.update(int(m.payload) for m in committed)
            subscriber.acknowledge(committed)
            assert set(range(publisher.acknowledged)) <= stored
        subscriber.close()
    sender.join(10)
    assert lives > 1


def test_a_topic_in_the_packet_of_another_client_is_what_the_subscriber_shows(broker, wire, subscribe_to):
    subscriber = subscribe_to(broker.url)
    device = wire(broker)
    device.connect("device")
    device.send(PublishPacket("city/a b/ç", b"1", 1, packet_id=1))
    assert take(subscriber, 1)[0].topic == "city/a b/ç"


def test_filters_that_were_refused_are_asked_for_again_until_they_are_granted_and_told_of_once(caplog):
    answers = [0x80, 0x80, 0x01]

    def serve(listener: socket.socket) -> None:
        for code in answers:
            with listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"\x20\x02\x00\x00")
                subscribe = client.recv(4096)
                client.sendall(b"\x90\x03" + subscribe[2:4] + bytes((code,)))
                while client.recv(4096):  # until the subscriber goes
                    pass

    granted = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        subscriber = Subscriber(
            f"mqtt://127.0.0.1:{listener.getsockname()[1]}",
            client_id="patient", filters=["city/#"], first_connect_s=0.0, on_subscribed=granted.set,
        )  # fmt: skip
        assert granted.wait(30)
        assert subscriber.state.error == ""
        subscriber.close()
        server.join(10)
    assert [r.getMessage() for r in caplog.records if "refuses" in r.getMessage()] == [
        "the MQTT broker refuses to subscribe to 'city/#': check its access rules"
    ]
