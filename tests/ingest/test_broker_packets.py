"""The codec: what is encoded is decoded again, and nothing but `MalformedPacketError` comes out of wrong bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.broker.decoder import decode
from ingest.broker.encoder import encode
from ingest.broker.frames import FrameReader, frame, remaining_length
from ingest.broker.packets import (
    ACKS,
    AckPacket,
    BarePacket,
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
from ingest.broker.properties import _BINARY, _BYTES, _NOT_ZERO, ALLOWED, Property
from ingest.broker.reasons import MalformedPacketError

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30)
ids = st.integers(1, 0xFFFF)
payloads = st.binary(max_size=300)
wills = st.builds(Will, texts, payloads, st.integers(0, 2), st.booleans())
connects = st.builds(
    ConnectPacket, texts, st.booleans(), st.integers(0, 0xFFFF), st.none() | wills, st.none() | texts
) | st.builds(ConnectPacket, texts, st.booleans(), st.integers(0, 0xFFFF), st.none() | wills, texts, payloads)
publishes = st.builds(PublishPacket, texts, payloads, st.just(0), st.booleans()) | st.builds(
    PublishPacket, texts, payloads, st.integers(1, 2), st.booleans(), st.booleans(), ids
)
packets = st.one_of(
    connects,
    publishes,
    st.builds(ConnackPacket, st.integers(0, 5), st.booleans()),
    st.builds(
        AckPacket,
        st.sampled_from(
            [PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP, PacketType.UNSUBACK]
        ),
        ids,
    ),
    st.builds(SubscribePacket, ids, st.lists(st.tuples(texts, st.integers(0, 2)), min_size=1, max_size=5).map(tuple)),
    st.builds(SubackPacket, ids, st.lists(st.sampled_from([0, 1, 2, 0x80]), max_size=5).map(tuple)),
    st.builds(UnsubscribePacket, ids, st.lists(texts, min_size=1, max_size=5).map(tuple)),
    st.builds(BarePacket, st.sampled_from([PacketType.PINGREQ, PacketType.PINGRESP, PacketType.DISCONNECT])),
)


def _value(kind: Property) -> st.SearchStrategy[object]:
    if kind in _BYTES:
        largest = 1 if _BYTES[kind] == 1 else 256 ** _BYTES[kind] - 1
        return st.integers(1 if kind in _NOT_ZERO else 0, largest)
    if kind is Property.SUBSCRIPTION_IDENTIFIER:
        return st.integers(1, 268_435_455)
    if kind in _BINARY:
        return payloads
    return st.tuples(texts, texts) if kind is Property.USER_PROPERTY else texts


def properties(where: str) -> st.SearchStrategy[tuple[object, ...]]:
    """Properties that may stand in a packet, each once, user properties more often."""
    kinds = sorted(ALLOWED.get(where, {Property.REASON_STRING, Property.USER_PROPERTY}))
    once = st.lists(st.sampled_from(kinds), unique=True, max_size=5)
    pairs = st.lists(st.tuples(st.just(Property.USER_PROPERTY), st.tuples(texts, texts)), max_size=2)
    singles = once.flatmap(lambda some: st.tuples(*(st.tuples(st.just(kind), _value(kind)) for kind in some)))
    if Property.USER_PROPERTY not in kinds:
        return singles
    return st.tuples(singles, pairs).map(lambda both: (*both[0], *both[1]))


reasons = st.integers(0, 255)
wills5 = st.builds(Will, texts, payloads, st.integers(0, 2), st.booleans(), properties("will"))
packets5 = st.one_of(
    st.builds(
        ConnectPacket,
        texts,
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.none() | wills5,
        st.none() | texts,
        st.none() | payloads,
        st.just(5),
        properties("CONNECT"),
    ),
    st.builds(PublishPacket, texts, payloads, st.just(0), st.booleans(), properties=properties("PUBLISH")),
    st.builds(
        PublishPacket, texts, payloads, st.integers(1, 2), st.booleans(), st.booleans(), ids, properties("PUBLISH")
    ),
    st.builds(ConnackPacket, reasons, st.booleans(), properties("CONNACK")),
    st.builds(AckPacket, st.sampled_from(ACKS), ids, reasons, properties("PUBACK")),
    st.builds(
        SubscribePacket,
        ids,
        st.lists(st.tuples(texts, st.sampled_from([0, 1, 2, 4, 9, 0x12, 0x2E])), min_size=1, max_size=5).map(tuple),
        properties("SUBSCRIBE"),
    ),
    st.builds(SubackPacket, ids, st.lists(reasons, max_size=5).map(tuple), properties("SUBACK")),
    st.builds(UnsubscribePacket, ids, st.lists(texts, min_size=1, max_size=5).map(tuple), properties("UNSUBSCRIBE")),
    st.builds(UnsubackPacket, ids, st.lists(reasons, max_size=5).map(tuple), properties("UNSUBACK")),
    st.builds(BarePacket, st.sampled_from([PacketType.PINGREQ, PacketType.PINGRESP])),
    st.builds(ReasonPacket, st.just(PacketType.DISCONNECT), reasons, properties("DISCONNECT")),
    st.builds(ReasonPacket, st.just(PacketType.AUTH), reasons, properties("AUTH")),
)


@given(packets5)
def test_a_packet_of_mqtt_5_survives_encoding_and_decoding(packet):
    [(first, body)] = frames_of(encode(packet, 5))
    assert decode(first, body, 5) == packet


@given(st.integers(0, 255), st.binary(max_size=80))
def test_random_bytes_are_a_packet_of_mqtt_5_or_malformed(first, body):
    try:
        packet = decode(first, body, 5)
    except MalformedPacketError:
        return
    [(again, rest)] = frames_of(encode(packet, 5))
    if isinstance(packet, ConnectPacket):
        return
    assert decode(again, rest, 5) == packet  # a reason of 0 may be written or left off


@given(packets5, st.data())
def test_a_cut_body_of_mqtt_5_is_never_taken_for_the_whole_packet(packet, data):
    [(first, body)] = frames_of(encode(packet, 5))
    if not body:
        return
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    try:
        assert decode(first, cut, 5) != packet
    except MalformedPacketError:
        pass


@given(packets5, st.data())
def test_a_packet_of_mqtt_5_with_one_wrong_byte_is_a_packet_or_malformed(packet, data):
    [(first, body)] = frames_of(encode(packet, 5))
    changed = bytearray(body or b"x")
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(first, bytes(changed), 5)
    except MalformedPacketError:
        pass


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    return FrameReader(max_bytes=1 << 28).feed(data)


@given(packets)
def test_a_packet_survives_encoding_and_decoding(packet):
    [(first, body)] = frames_of(encode(packet))
    assert decode(first, body) == packet


@given(st.lists(packets, max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_frames_do_not_depend_on_how_the_stream_is_cut(sent, sizes):
    stream = b"".join(encode(packet) for packet in sent)
    reader, found, at, turn = FrameReader(max_bytes=1 << 28), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert [decode(*one) for one in found] == sent
    assert reader.fault is None


@given(st.integers(0, 255), st.binary(max_size=80))
def test_random_bytes_are_a_packet_or_malformed(first, body):
    try:
        packet = decode(first, body)
    except MalformedPacketError:
        return
    if isinstance(packet, ConnectPacket):  # an older or newer level is kept as a number only; the rest is normalised
        return
    assert frames_of(encode(packet)) == [(first, body)]


@given(packets, st.data())
def test_a_cut_body_is_never_taken_for_the_whole_packet(packet, data):
    [(first, body)] = frames_of(encode(packet))
    if not body:
        return
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    try:
        assert decode(first, cut) != packet
    except MalformedPacketError:
        pass


@given(st.binary(max_size=200))
def test_the_frame_reader_takes_any_bytes(data):
    reader = FrameReader(max_bytes=100)
    size = sum(len(frame(first, body)) for first, body in reader.feed(data))
    assert reader.fault or size <= len(data)


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
def test_remaining_length_is_the_shortest_form_of_the_standard(size):
    # Table 2.4 of MQTT 3.1.1: one more byte at each of these borders.
    assert len(remaining_length(size)) == 1 + (size > 127) + (size > 16_383) + (size > 2_097_151)


def test_a_remaining_length_of_five_bytes_is_a_fault():
    reader = FrameReader(max_bytes=1 << 28)
    reader.feed(b"\x30\xff\xff\xff\xff\x01")
    assert reader.fault == "remaining length of more than 4 bytes"


def test_a_frame_over_the_limit_is_a_fault_before_it_has_arrived():
    reader = FrameReader(max_bytes=1000)
    assert reader.feed(b"\x30" + remaining_length(1001)) == []
    assert reader.fault == "packet of 1001 bytes, at most 1000 are taken"


CONNECT = b"\x00\x04MQTT\x04"
MALFORMED = {
    "type 0": (0x00, b""),
    "type 15": (0xF0, b""),
    "PUBLISH with QoS 3": (0x36, b"\x00\x01a\x00\x01"),
    "PUBLISH with DUP at QoS 0": (0x38, b"\x00\x01a"),
    "PUBLISH with identifier 0": (0x32, b"\x00\x01a\x00\x00"),
    "PUBLISH with a topic beyond its end": (0x30, b"\x00\x09a"),
    "PUBLISH with a topic that is not UTF-8": (0x30, b"\x00\x02\xc3\x28"),
    "PUBLISH with a surrogate in the topic": (0x30, b"\x00\x03\xed\xa0\x80"),
    "PUBLISH with U+0000 in the topic": (0x30, b"\x00\x02a\x00"),
    "PUBACK with flags": (0x42, b"\x00\x01"),
    "PUBACK with identifier 0": (0x40, b"\x00\x00"),
    "PUBACK that is too long": (0x40, b"\x00\x01\x00"),
    "PUBREL without its flags": (0x60, b"\x00\x01"),
    "SUBSCRIBE without its flags": (0x80, b"\x00\x01\x00\x01a\x00"),
    "SUBSCRIBE without a filter": (0x82, b"\x00\x01"),
    "SUBSCRIBE with QoS 3": (0x82, b"\x00\x01\x00\x01a\x03"),
    "SUBSCRIBE without a QoS": (0x82, b"\x00\x01\x00\x01a"),
    "UNSUBSCRIBE without a filter": (0xA2, b"\x00\x01"),
    "PINGREQ with a body": (0xC0, b"x"),
    "DISCONNECT with flags": (0xE1, b""),
    "CONNECT of another protocol": (0x10, b"\x00\x04HTTP\x04\x02\x00\x3c\x00\x00"),
    "CONNECT with the reserved flag": (0x10, CONNECT + b"\x03\x00\x3c\x00\x00"),
    "CONNECT with will QoS but no will": (0x10, CONNECT + b"\x0a\x00\x3c\x00\x00"),
    "CONNECT with will QoS 3": (0x10, CONNECT + b"\x1e\x00\x3c\x00\x00\x00\x01w\x00\x00"),
    "CONNECT with a password but no user": (0x10, CONNECT + b"\x42\x00\x3c\x00\x00\x00\x01p"),
    "CONNECT that is cut off": (0x10, CONNECT + b"\x02\x00"),
    "CONNECT with more than its fields": (0x10, CONNECT + b"\x02\x00\x3c\x00\x00x"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_the_standard_forbids_is_malformed(name):
    with pytest.raises(MalformedPacketError):
        decode(*MALFORMED[name])


def test_a_connect_of_mqtt_3_1_has_its_own_name():
    packet = decode(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a")
    assert packet == ConnectPacket("a", level=3)
    assert frames_of(encode(packet)) == [(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a")]
    assert decode(0x10, b"\x00\x06MQIsdp\x04\x02\x00\x3c\x00\x01a").client_id == ""  # no such level


def test_a_big_frame_in_small_pieces_is_joined_once():
    reader, data = FrameReader(max_bytes=1 << 28), encode(PublishPacket("a", b"x" * 3_000_000))
    pieces = [data[k : k + 100] for k in range(0, len(data), 100)]
    assert [reader.feed(piece) for piece in pieces[:-1]] == [[]] * (len(pieces) - 1)
    assert len(reader._parts) == len(pieces) - 1  # not one ever longer buffer
    [(first, body)] = reader.feed(pieces[-1])
    assert frame(first, body) == data
