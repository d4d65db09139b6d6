"""What any MQTT 5 broker does: the same tests for the embedded one and for Mosquitto; numbers are of OASIS MQTT 5."""

import pytest

from ingest.broker.encoder import encode
from ingest.broker.packets import (
    LEVEL_5,
    AckPacket,
    ConnackPacket,
    ConnectPacket,
    PacketType,
    PublishPacket,
    ReasonPacket,
    SubackPacket,
    SubscribePacket,
    UnsubackPacket,
    UnsubscribePacket,
    Will,
)
from ingest.broker.properties import Property, number
from ingest.broker.reasons import Reason

MOSQUITTO_DIFFERS = {
    "test_a_message_that_waited_too_long_is_not_delivered_and_the_rest_knows_what_is_left": "keeps retained ones",
    "test_an_alias_that_is_not_allowed_ends_the_connection[mosquitto-a-0-148]": "gives another reason",
    "test_a_taken_over_client_is_told": "takes the session of the old connection over without a word",
    "test_no_more_messages_come_than_the_client_can_receive": "ignores Receive Maximum once messages are queued",
    "test_a_delayed_will_comes_with_the_end_of_the_session_at_the_latest": "forgets the will",
    "test_shared_subscribers_get_no_retained_messages": "sends them",
    "test_a_subscriber_may_be_its_own_publisher_and_is_acknowledged_first": "sends the message first, which is allowed",
    "[mosquitto-a second CONNECT]": "closes without a reason",
    "[mosquitto-DUP at QoS 0]": "takes it",
    "[mosquitto-a topic with a wildcard]": "closes without a reason",
    "[mosquitto-a property twice]": "closes without a reason",
    "[mosquitto-a subscription identifier of a client]": "takes it",
    "[mosquitto-no-local on a shared subscription]": "takes it",
    "[mosquitto-a packet that only brokers send]": "takes it",
}
"""Where Mosquitto 2.0.11 does not do what the standard asks (or does more), as far as these tests see it."""


@pytest.fixture(autouse=True)
def _mosquitto_differs(request):
    name = request.node.name
    for part, what in MOSQUITTO_DIFFERS.items():
        if "[mosquitto" in name and (name.startswith(part) or name.endswith(part)):
            pytest.skip(f"Mosquitto 2.0.11 {what}")


DISCONNECT, PUBACK, PUBREC = PacketType.DISCONNECT, PacketType.PUBACK, PacketType.PUBREC
PUBREL, PUBCOMP = PacketType.PUBREL, PacketType.PUBCOMP
LASTING = ((Property.SESSION_EXPIRY, 1000),)


@pytest.fixture
def join(broker, wire):
    """Connect a client of MQTT 5."""

    def connect(client_id, *, properties=(), **more):
        client = wire(broker)
        connack = client.connect(client_id, level=LEVEL_5, properties=properties, **more)
        assert connack.code == 0
        client.connack = connack
        return client

    return connect


def leave(client, reason=0, properties=()):
    client.send(ReasonPacket(DISCONNECT, reason, properties))
    assert client.is_closed()


def told(client) -> int:
    """Return the reason of the DISCONNECT that the broker sends before it closes."""
    while not isinstance(packet := client.receive(), ReasonPacket):
        assert packet is not None, "closed without a reason"
    assert client.receive() is None
    return packet.reason


@pytest.mark.parametrize("wanted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
def test_a_message_comes_with_the_lower_of_both_qos(join, published, wanted):
    listener, speaker = join("listener"), join("speaker")
    assert listener.subscribe("street/+", qos=wanted).codes == (wanted,)
    speaker.publish("street/a", b"12", packet_id=7 * (published > 0), qos=published)
    if published == 2:
        assert speaker.receive() == AckPacket(PUBREC, 7)
        speaker.send(AckPacket(PUBREL, 7))
        assert speaker.receive() == AckPacket(PUBCOMP, 7)
    elif published == 1:
        assert speaker.receive() == AckPacket(PUBACK, 7)
    got = listener.expect(PublishPacket)
    assert (got.topic, got.payload, got.qos, got.retain) == ("street/a", b"12", min(published, wanted), False)
    if got.qos == 2:
        listener.send(AckPacket(PUBREC, got.packet_id))
        assert listener.receive() == AckPacket(PUBREL, got.packet_id)
        listener.send(AckPacket(PUBCOMP, got.packet_id))
    assert listener.before_pong() == []


def test_properties_of_a_message_reach_the_subscriber_in_their_order(join):
    listener, speaker = join("listener"), join("speaker")
    listener.subscribe("ask/+", qos=1)
    given = (
        (Property.PAYLOAD_FORMAT, 1),
        (Property.CONTENT_TYPE, "text/plain"),
        (Property.RESPONSE_TOPIC, "answer/1"),
        (Property.CORRELATION_DATA, b"\x00\x01"),
        (Property.USER_PROPERTY, ("b", "2")),
        (Property.USER_PROPERTY, ("a", "1")),
        (Property.USER_PROPERTY, ("b", "1")),
    )
    speaker.publish("ask/a", "七".encode(), packet_id=1, properties=given)
    got = listener.expect(PublishPacket)
    assert sorted(got.properties, key=str) == sorted(given, key=str)
    assert [v for k, v in got.properties if k is Property.USER_PROPERTY] == [
        ("b", "2"),
        ("a", "1"),
        ("b", "1"),
    ]  # 3.3.2-18


def test_an_older_client_gets_the_message_without_its_properties(broker, join, wire):
    listener, speaker = wire(broker), join("speaker")
    listener.connect("old")
    listener.subscribe("street/a")
    speaker.publish("street/a", b"1", packet_id=1, properties=((Property.CONTENT_TYPE, "x"),))
    assert listener.expect(PublishPacket).payload == b"1"


def test_a_retained_message_keeps_its_properties(join):
    speaker, late = join("speaker"), join("late")
    speaker.publish("street/a", b"1", packet_id=1, retain=True, properties=((Property.CONTENT_TYPE, "x"),))
    speaker.expect(AckPacket)
    late.subscribe("street/a")
    got = late.expect(PublishPacket)
    assert got.retain
    assert got.properties == ((Property.CONTENT_TYPE, "x"),)


@pytest.mark.parametrize(("handling", "first", "second"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling_says_when_retained_messages_come(join, handling, first, second):
    client = join("c")
    client.publish("street/a", b"kept", packet_id=1, retain=True)
    client.expect(AckPacket)
    for wanted in (first, second):
        client.subscribe("street/a", qos=handling << 4)
        assert len(client.before_pong()) == wanted


@pytest.mark.parametrize("as_published", [False, True])
def test_retain_as_published_keeps_the_flag(join, as_published):
    client = join("c")
    client.subscribe("street/a", qos=8 * as_published)
    client.publish("street/a", b"1", retain=True)
    client.publish("street/a", b"2")
    assert [client.expect(PublishPacket).retain for _ in range(2)] == [as_published, False]


def test_no_local_leaves_out_what_the_client_published_itself(join):
    client, other = join("c"), join("other")
    client.subscribe("street/#", qos=4)
    client.publish("street/a", b"mine")
    assert client.before_pong() == []
    other.publish("street/a", b"theirs")
    assert client.expect(PublishPacket).payload == b"theirs"


def test_the_identifiers_of_all_filters_that_match_come_with_the_message(join):
    client = join("c")
    client.subscribe("street/#", qos=1, properties=((Property.SUBSCRIPTION_IDENTIFIER, 5),))
    client.subscribe("street/+", qos=0, properties=((Property.SUBSCRIPTION_IDENTIFIER, 268_435_455),))
    client.publish("street/a", b"1", packet_id=1)
    got = [packet for packet in client.before_pong() if isinstance(packet, PublishPacket)]
    found = [v for packet in got for k, v in packet.properties if k is Property.SUBSCRIPTION_IDENTIFIER]
    assert sorted(found) == [5, 268_435_455]


def test_a_message_that_waited_too_long_is_not_delivered_and_the_rest_knows_what_is_left(join, until):
    away = join("away", properties=LASTING)
    away.subscribe("street/a")
    leave(away)
    speaker = join("speaker")
    speaker.publish("street/a", b"short", packet_id=1, properties=((Property.MESSAGE_EXPIRY, 1),))
    speaker.publish("street/a", b"long", packet_id=2, properties=((Property.MESSAGE_EXPIRY, 1000),))
    speaker.publish("street/b", b"kept", packet_id=3, retain=True, properties=((Property.MESSAGE_EXPIRY, 1),))
    for _ in range(3):
        speaker.expect(AckPacket)

    def gone():
        probe = join("probe")
        probe.subscribe("street/b")
        return probe.before_pong() == []

    until(gone, "the retained message expires")
    back = join("away", clean=False, properties=LASTING)
    got = [p for p in back.before_pong() if isinstance(p, PublishPacket)]
    assert [p.payload for p in got] == [b"long"]
    assert 900 < number(got[0].properties, Property.MESSAGE_EXPIRY, 0) < 1000


def test_an_alias_of_the_client_stands_for_its_topic(join):
    client = join("c")
    assert number(client.connack.properties, Property.TOPIC_ALIAS_MAXIMUM, 0) >= 2
    client.subscribe("#", qos=0)
    client.publish("street/a", b"1", properties=((Property.TOPIC_ALIAS, 1),))
    client.publish("street/b", b"2", properties=((Property.TOPIC_ALIAS, 2),))
    client.publish("", b"3", properties=((Property.TOPIC_ALIAS, 1),))
    client.publish("street/c", b"4", properties=((Property.TOPIC_ALIAS, 1),))
    client.publish("", b"5", properties=((Property.TOPIC_ALIAS, 1),))
    got = [client.expect(PublishPacket) for _ in range(5)]
    assert [(p.topic, p.payload) for p in got] == [
        ("street/a", b"1"), ("street/b", b"2"), ("street/a", b"3"), ("street/c", b"4"), ("street/c", b"5"),
    ]  # fmt: skip
    assert all(number(p.properties, Property.TOPIC_ALIAS, -1) == -1 for p in got)  # 3.3.2-7: not passed on


@pytest.mark.parametrize(
    ("topic", "alias", "reason"),
    [("a", 0, Reason.TOPIC_ALIAS_INVALID), ("a", 65_535, Reason.TOPIC_ALIAS_INVALID), ("", 1, Reason.PROTOCOL_ERROR)],
)
def test_an_alias_that_is_not_allowed_ends_the_connection(join, topic, alias, reason):
    client = join("c")
    client.publish(topic, b"", properties=((Property.TOPIC_ALIAS, alias),))
    assert told(client) == reason


def test_a_clean_start_finds_no_session_and_an_expiry_keeps_it(join):
    first = join("c", properties=LASTING)
    first.subscribe("street/a")
    leave(first)
    again = join("c", clean=False, properties=LASTING)
    assert again.connack.session_present
    leave(again)
    assert not join("c", clean=True, properties=LASTING).connack.session_present


def test_a_session_without_an_expiry_ends_with_its_connection(join):
    leave(join("c", clean=False))
    assert not join("c", clean=False).connack.session_present


def test_disconnect_may_change_the_expiry(join):
    leave(join("c", properties=LASTING), properties=((Property.SESSION_EXPIRY, 0),))
    assert not join("c", clean=False).connack.session_present


def test_disconnect_may_not_give_an_expiry_to_a_session_without(join):
    client = join("c")
    client.send(ReasonPacket(DISCONNECT, 0, ((Property.SESSION_EXPIRY, 10),)))
    assert told(client) == Reason.PROTOCOL_ERROR


def test_a_session_expires_after_its_time(join):
    heir = join("heir")
    heir.subscribe("gone/#")
    will = Will(
        "gone/c", b"", properties=((Property.WILL_DELAY, 1000),)
    )  # comes with the end of the session: no need to poll
    join("c", properties=((Property.SESSION_EXPIRY, 1),), will=will).vanish()
    heir.expect(PublishPacket)
    assert not join("c", clean=False).connack.session_present


def test_a_taken_over_client_is_told(join):
    first = join("c")
    join("c")
    assert told(first) == Reason.SESSION_TAKEN_OVER


def test_a_client_without_an_identifier_is_given_one(join):
    first, second = join(""), join("", clean=False)
    names = [v for c in (first, second) for k, v in c.connack.properties if k is Property.ASSIGNED_CLIENT_IDENTIFIER]
    assert len(set(names)) == 2


def test_no_more_messages_come_than_the_client_can_receive(join):
    slow, speaker = join("slow", properties=((Property.RECEIVE_MAXIMUM, 2),)), join("speaker")
    slow.subscribe("street/a", qos=2)
    for k in range(1, 6):
        speaker.publish("street/a", str(k).encode(), packet_id=k, qos=1)
        speaker.expect(AckPacket)
    window = slow.before_pong()
    assert [p.payload for p in window] == [b"1", b"2"]
    slow.acknowledge(window[0])
    assert [p.payload for p in slow.before_pong()] == [b"3"]


def test_what_is_larger_than_the_client_takes_is_left_out(join):
    small = join("small", properties=((Property.MAXIMUM_PACKET_SIZE, 60),))
    small.subscribe("street/#", qos=1)
    small.publish("street/a", b"x" * 100, packet_id=1)
    small.publish("street/b", b"ok", packet_id=2)
    got = [p.payload for p in small.before_pong() if isinstance(p, PublishPacket)]
    assert got == [b"ok"]


def test_a_delayed_will_comes_late_and_not_at_all_when_the_client_is_back(join):
    heir = join("heir", keep_alive_s=60)
    heir.subscribe("gone/#", qos=1)
    late = Will("gone/late", b"1", 1, properties=((Property.WILL_DELAY, 1), (Property.CONTENT_TYPE, "x")))
    back = Will("gone/back", b"2", 1, properties=((Property.WILL_DELAY, 1),))
    dead, returning = join("dead", properties=LASTING, will=late), join("returning", properties=LASTING, will=back)
    returning.vanish()
    join("returning", clean=False, properties=LASTING)
    dead.vanish()
    got = heir.expect(PublishPacket)
    assert (got.topic, got.payload, got.properties) == ("gone/late", b"1", ((Property.CONTENT_TYPE, "x"),))
    assert heir.before_pong() == []


def test_a_delayed_will_comes_with_the_end_of_the_session_at_the_latest(join):
    heir = join("heir")
    heir.subscribe("gone/#")
    will = Will("gone/c", b"1", properties=((Property.WILL_DELAY, 1000),))
    client = join("c", properties=LASTING, will=will)
    client.vanish()
    join("c", clean=True)
    assert heir.expect(PublishPacket).topic == "gone/c"


def test_a_client_may_leave_with_its_will(join):
    heir = join("heir")
    heir.subscribe("gone/#")
    leave(join("a", will=Will("gone/a", b"")))
    leave(join("b", will=Will("gone/b", b"")), Reason.DISCONNECT_WITH_WILL)
    assert heir.expect(PublishPacket).topic == "gone/b"
    assert heir.before_pong() == []


def test_unsubscribe_says_which_there_were(join):
    client = join("c")
    client.subscribe("street/a")
    client.send(UnsubscribePacket(9, ("street/a", "street/b")))
    assert client.receive() == UnsubackPacket(9, (0, Reason.NO_SUBSCRIPTION_EXISTED))


def test_qos_2_goes_on_where_it_was_after_a_reconnect(join):
    listener, speaker = join("listener", properties=LASTING), join("speaker", properties=LASTING)
    listener.subscribe("street/a", qos=2)
    for k in (1, 2):
        speaker.publish("street/a", str(k).encode(), packet_id=k, qos=2)
        assert speaker.receive() == AckPacket(PUBREC, k)
    speaker.send(AckPacket(PUBREL, 1))
    assert speaker.receive() == AckPacket(PUBCOMP, 1)
    speaker.vanish()
    speaker = join("speaker", clean=False, properties=LASTING)
    assert speaker.connack.session_present
    speaker.send(PublishPacket("street/a", b"2", 2, False, True, 2))  # taken already: no second message
    assert speaker.receive() == AckPacket(PUBREC, 2)
    speaker.send(AckPacket(PUBREL, 2))
    assert speaker.receive() == AckPacket(PUBCOMP, 2)
    one, two = listener.expect(PublishPacket), listener.expect(PublishPacket)
    listener.send(AckPacket(PUBREC, one.packet_id))
    assert listener.receive() == AckPacket(PUBREL, one.packet_id)
    listener.vanish()
    listener = join("listener", clean=False, properties=LASTING)
    assert listener.receive() == AckPacket(PUBREL, one.packet_id)
    again = listener.expect(PublishPacket)
    assert (again.payload, again.packet_id, again.duplicate) == (b"2", two.packet_id, True)
    listener.send(AckPacket(PUBCOMP, one.packet_id), AckPacket(PUBREC, again.packet_id))
    assert listener.receive() == AckPacket(PUBREL, again.packet_id)


def test_a_pubrel_for_nothing_is_answered_with_a_reason(join):
    client = join("c")
    client.send(AckPacket(PUBREL, 77))
    assert client.receive() in (AckPacket(PUBCOMP, 77, Reason.PACKET_IDENTIFIER_NOT_FOUND), AckPacket(PUBCOMP, 77))


def test_a_shared_subscription_goes_round_and_an_ordinary_one_gets_all(join):
    members, everything, speaker = [join(f"m{k}") for k in range(3)], join("all"), join("speaker")
    for member in members:
        member.subscribe("$share/g/street/+")
    everything.subscribe("street/+")
    for k in range(1, 31):
        speaker.publish("street/a", str(k).encode(), packet_id=k)
        speaker.expect(AckPacket)
    got = [[int(p.payload) for p in member.before_pong()] for member in members]
    assert [len(one) for one in got] == [10, 10, 10]
    assert sorted(one for some in got for one in some) == list(range(1, 31))
    assert len(everything.before_pong()) == 30


def test_shared_subscribers_get_no_retained_messages(join):
    client = join("c")
    client.publish("street/a", b"kept", packet_id=1, retain=True)
    client.expect(AckPacket)
    client.subscribe("$share/g/street/a")
    assert client.before_pong() == []


MALFORMED, PROTOCOL = Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR
WRONG = {
    "a second CONNECT": (encode(ConnectPacket("w", level=5)), {PROTOCOL}),
    "QoS 3": (b"\x36\x06\x00\x01a\x00\x01\x00", {MALFORMED, PROTOCOL}),
    "DUP at QoS 0": (b"\x38\x04\x00\x01a\x00", {MALFORMED, PROTOCOL}),
    "a topic with a wildcard": (b"\x30\x04\x00\x01#\x00", {MALFORMED, Reason.TOPIC_NAME_INVALID}),
    "an unknown property": (b"\x30\x06\x00\x01a\x02\x7f\x00", {MALFORMED}),
    "a property out of place": (b"\x30\x07\x00\x01a\x03\x21\x00\x07", {PROTOCOL, MALFORMED}),
    "a property twice": (b"\x30\x08\x00\x01a\x04\x01\x01\x01\x01", {PROTOCOL, MALFORMED}),
    "a subscription identifier of a client": (b"\x30\x06\x00\x01a\x02\x0b\x01", {PROTOCOL, MALFORMED}),
    "SUBSCRIBE without a filter": (b"\x82\x03\x00\x01\x00", {PROTOCOL, MALFORMED}),
    "SUBSCRIBE with retain handling 3": (b"\x82\x07\x00\x01\x00\x00\x01a\x30", {PROTOCOL, MALFORMED}),
    "SUBSCRIBE with reserved bits": (b"\x82\x07\x00\x01\x00\x00\x01a\x40", {PROTOCOL, MALFORMED}),
    "SUBSCRIBE with identifier 0": (b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01a\x00", {PROTOCOL, MALFORMED}),
    "no-local on a shared subscription": (
        encode(SubscribePacket(1, (("$share/g/a", 4),)), 5),
        {PROTOCOL},
    ),
    "SUBSCRIBE with wrong flags": (b"\x80\x07\x00\x01\x00\x00\x01a\x00", {MALFORMED, PROTOCOL}),
    "a packet that only brokers send": (b"\x90\x04\x00\x01\x00\x00", {PROTOCOL, MALFORMED}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_client_that_breaks_the_protocol_is_told_how_and_closed(join, name):
    data, reasons = WRONG[name]
    client, other = join("w"), join("other")
    client.raw(data)
    assert told(client) in reasons
    assert other.before_pong() == []


def test_a_will_with_a_wrong_response_topic_is_refused_at_once(start_inner, wire):
    client = wire(start_inner())
    will = Will("gone/w", b"", properties=((Property.RESPONSE_TOPIC, "a/#"),))
    assert client.connect("w", level=LEVEL_5, will=will).code == Reason.PROTOCOL_ERROR
    assert client.is_closed()


def test_the_will_of_a_client_that_breaks_the_protocol_is_published(join):
    heir, client = join("heir"), join("w", will=Will("gone/w", b"1"))
    heir.subscribe("gone/#")
    client.raw(b"\x36\x06\x00\x01a\x00\x01\x00")
    assert heir.expect(PublishPacket).topic == "gone/w"


def test_a_subscriber_may_be_its_own_publisher_and_is_acknowledged_first(join):
    client = join("c")
    client.subscribe("street/a", qos=2)
    client.publish("street/a", b"1", packet_id=1)
    assert client.receive() == AckPacket(PUBACK, 1)
    client.acknowledge(client.expect(PublishPacket))
    client.publish("street/a", b"2", packet_id=2, qos=2)
    assert client.receive() == AckPacket(PUBREC, 2)
    client.send(AckPacket(PUBREL, 2))
    assert client.receive() == AckPacket(PUBCOMP, 2)
    assert client.expect(PublishPacket).payload == b"2"


def test_clients_of_both_levels_share_a_session(broker, join, wire):
    old = wire(broker)
    assert old.connect("c", clean=False) == ConnackPacket(0, False)
    old.subscribe("street/a")
    old.vanish()
    speaker = join("speaker")
    speaker.publish("street/a", b"1", packet_id=1)
    speaker.expect(AckPacket)
    new = join("c", clean=False, properties=LASTING)
    assert new.connack.session_present
    assert new.expect(PublishPacket).payload == b"1"


def test_an_authentication_method_that_is_not_known_is_refused(broker, wire):
    client = wire(broker)
    code = client.connect("c", level=LEVEL_5, properties=((Property.AUTHENTICATION_METHOD, "SCRAM-SHA-1"),)).code
    assert code == Reason.BAD_AUTHENTICATION_METHOD


def test_a_subscription_that_is_asked_for_again_takes_the_new_options(join):
    client = join("c")
    client.subscribe("street/a", qos=2, properties=((Property.SUBSCRIPTION_IDENTIFIER, 1),))
    assert isinstance(client.subscribe("street/a", qos=0), SubackPacket)
    client.publish("street/a", b"1", packet_id=1)
    [got] = [p for p in client.before_pong() if isinstance(p, PublishPacket)]
    assert (got.qos, got.properties) == (0, ())
