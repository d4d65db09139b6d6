"""Columns of many payloads: what the codec makes of each payload alone, whatever came before it on the topic."""

import json
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensors import QUANTITIES, Reason
from sensors.codecs.json_values import MAX_PAYLOAD_BYTES
from sensors.columns import Columns, one_by_one
from sensors.forms import LETTERS, MAX_FORMS, MOODS
from sensors.payload import TopicRule, decoder
from tests.sensors import fuzz_codecs

RULES = (TopicRule("city/+/renamed", "citytwin", sensors={"renamed": "R1"}), *fuzz_codecs.RULES)


def compare(columns: Columns, expected: Columns) -> None:
    """Assert that both hold the same readings of each payload, in whatever order within one, and the same faults."""
    assert np.all(np.diff(columns.source) >= 0)
    assert rows(columns) == rows(expected)
    assert list(columns.rejected) == list(expected.rejected)


def rows(columns: Columns) -> list[tuple[object, ...]]:
    return sorted(
        zip(
            columns.source.tolist(),
            columns.sensor_id,
            columns.quantity,
            columns.time_ms.tolist(),
            map(repr, columns.value.tolist()),
            strict=True,
        )
    )


def both(topics: Sequence[str], payloads: Sequence[bytes], *, cut: int = 1_000) -> None:
    """Compare, with the payloads given in parts so that what was learned of one part is used for the next."""
    decode, plain = decoder(RULES), decoder(RULES)
    for begin in range(0, len(topics), cut):
        part = topics[begin : begin + cut], payloads[begin : begin + cut]
        compare(decode.columns(*part), one_by_one(plain, *part))


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.just(0.1),
)
times = st.one_of(st.integers(0, 2 * 10**12), st.floats(0, 2e12), st.none(), st.just("2014-08-01T00:00:00Z"), numbers)
few = st.sampled_from(["speed_kmh", "flow_veh_h", "occupancy", "t", "speed", "readings"])
flat = st.builds(lambda t, values: {"t": t, **values}, times, st.dictionaries(few, numbers, max_size=3))
ordinary = st.builds(
    lambda t, values: {"t": t, **values},
    st.integers(0, 2 * 10**12),
    st.dictionaries(
        st.sampled_from(["speed_kmh", "flow_veh_h", "occupancy"]),
        st.one_of(st.none(), st.floats(0, 100), st.integers(0, 5)),
        max_size=3,
    ),
)
objects = st.one_of(
    ordinary,
    flat,
    st.builds(lambda items: {"readings": items}, st.lists(ordinary, max_size=4)),
    st.builds(lambda t, items: {"t": t, "readings": items}, times, st.lists(flat, max_size=3)),
)
topics = st.sampled_from(["city/a/D1", "city/a/D2", "city/a/", "city/a/renamed", "v1.1/x", "nowhere", "city/a/\x07"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(topics, objects), max_size=30), st.integers(1, 9))
def test_payloads_read_together_give_what_each_gives_alone(messages: list[tuple[str, object]], cut: int) -> None:
    both([topic for topic, _ in messages], [json.dumps(item).encode() for _, item in messages], cut=cut)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_payloads_read_together_give_what_each_gives_alone(seed: int) -> None:
    rng = random.Random(seed)
    seeds = [item for item in fuzz_codecs.GOOD if item[0].startswith("city/")]
    seeds += [
        ("city/centre/D1", b'{"t": 1406851200000, "flow_veh_h": 840, "speed_kmh": 31.5}'),
        ("city/centre/D2", b'{"t":1406851200000,"speed_kmh":null,"flow_veh_h":0}'),
        ("city/centre/D3", b'{"readings":[{"t":1406851200000,"speed_kmh":1},{"t":1406851260000,"speed_kmh":2.5}]}'),
    ]
    found: list[tuple[str, bytes]] = []
    for _ in range(4_000):
        topic, payload = rng.choice(seeds)
        if rng.random() < 0.5:
            payload = fuzz_codecs.mutated(payload, rng, rng.choice(seeds)[1])
        found.append((topic, payload))
    both([topic for topic, _ in found], [payload for _, payload in found], cut=97)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"t":1,"speed_kmh":1,"speed_kmh":2}',
        b'{"t":1,"t":2,"speed_kmh":1}',
        b'{"t":1,"speed\\u005fkmh":1}',
        b'{"t":1.0,"speed_kmh":1}',
        b'{"t":1e3,"speed_kmh":1}',
        b'{"t":-62135596800001,"speed_kmh":1}',
        b'{"t":9223372036854775808,"speed_kmh":1}',
        b'{"t":1,"speed_kmh":99999999999999999999999}',
        b'{"t":1,"speed_kmh":18446744073709551616}',
        b'{"t":1,"speed_kmh":9007199254740993}',
        b'{"t":1,"speed_kmh":1e400}',
        b'{"t":1,"speed_kmh":-0.0}',
        b'{"t":1,"speed_kmh":"5"}',
        b'{"t":1,"speed_kmh":true}',
        b'{"t":1,"speed_kmh":null}',
        b'{"t":1}',
        b'{"t":1,"speed_kmh":1}{"t":2,"speed_kmh":1}',
        b'{"t":1,"speed_kmh":1} x',
        b'\xef\xbb\xbf{"t":1,"speed_kmh":1}',
        b'{"t":1,"speed_kmh":1,"\xff":2}',
        b'{"t":1,"speed_kmh":' + b"[" * 3_000 + b"]" * 3_000 + b"}",
        b'{"t":1,"speed_kmh":1' + b" " * MAX_PAYLOAD_BYTES + b"}",
        b'{"readings":[]}',
        b'{"readings":[{"t":1,"speed_kmh":1},{"t":2}]}',
        b'{"t":5,"readings":[{"speed_kmh":1},{"t":2,"speed_kmh":3}]}',
        b"",
    ],
)
def test_what_hardly_differs_from_its_form_is_read_as_the_codec_reads_it(payload: bytes) -> None:
    usual = b'{"t":1406851200000,"speed_kmh":31.5}'
    listed = b'{"readings":[{"t":1406851200000,"speed_kmh":31.5}]}'
    for before in (usual, listed):
        both(["city/a/D1"] * 3, [before, payload, before], cut=1)


def test_a_device_that_fills_memory_with_forms_and_topics_does_not_change_what_is_read() -> None:
    decode, plain = decoder(RULES), decoder(RULES)
    names = sorted(QUANTITIES)
    rng = random.Random(1)
    for turn in range(MAX_FORMS + MOODS):
        keys = rng.sample(names, rng.randint(1, 5))
        payload = json.dumps({"t": turn, **dict.fromkeys(keys, 1.0)}).encode()
        sent = [f"city/a/D{turn}", "city/a/moody", "city/a/" + "x" * (LETTERS + 1)], [payload] * 3
        compare(decode.columns(*sent), one_by_one(plain, *sent))


def test_a_payload_over_the_limit_is_rejected_though_it_has_the_form_of_its_topic() -> None:
    decode = decoder(RULES)
    usual = b'{"t":1406851200000,"speed_kmh":31.5}'
    padded = b'{"t":1406851200000,"speed_kmh":31.5' + b" " * MAX_PAYLOAD_BYTES + b"}"
    decode.columns(["city/a/D1"], [usual])
    columns = decode.columns(["city/a/D1"] * 2, [usual, padded])
    assert columns.source.tolist() == [0]
    assert [(i, item.reason) for i, item in columns.rejected] == [(1, Reason.TOO_LARGE)]
