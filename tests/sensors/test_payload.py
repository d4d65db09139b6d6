"""Our own payloads: what becomes a reading, what is rejected and why."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors import QUANTITIES, InputError, PayloadError, Reading, Reason
from sensors.payload import TopicRule, decoder, encode, matches

DECODE = decoder()
TOPIC = "city/centre/D1"
HOUR_MS = 1_406_851_200_000  # 2014-08-01T00:00:00Z


def reason_of(payload: bytes, topic: str = TOPIC) -> Reason:
    with pytest.raises(PayloadError) as caught:
        DECODE(topic, payload)
    return caught.value.reason


def test_payload_becomes_one_reading_a_quantity():
    readings, rejected = DECODE(TOPIC, b'{"t": 1406851200000, "flow_veh_h": 840, "speed_kmh": 31.5, "occupancy": 0.12}')
    assert readings == [
        Reading("D1", "flow_veh_h", HOUR_MS, 840.0),
        Reading("D1", "speed_kmh", HOUR_MS, 31.5),
        Reading("D1", "occupancy", HOUR_MS, 0.12),
    ]
    assert rejected == []
    assert all(type(reading.value) is float for reading in readings)


def test_list_of_readings_has_a_time_each_or_that_of_the_payload():
    payload = b'{"t": 1000, "readings": [{"speed_kmh": 1}, {"t": "1970-01-01T00:00:02Z", "speed_kmh": 2}]}'
    readings, rejected = DECODE(TOPIC, payload)
    assert [(r.time_ms, r.value) for r in readings] == [(1000, 1.0), (2000, 2.0)]
    assert rejected == []


def test_values_beside_a_list_of_readings_are_readings_too():
    readings, _ = DECODE(TOPIC, b'{"t": 1000, "flow_veh_h": 60, "readings": [{"t": 2000, "speed_kmh": 2}]}')
    assert [(r.quantity, r.time_ms) for r in readings] == [("flow_veh_h", 1000), ("speed_kmh", 2000)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1406851200000", HOUR_MS),
        ("1406851200000.9", HOUR_MS),
        ("1.4068512e12", HOUR_MS),
        ('"2014-08-01T00:00:00Z"', HOUR_MS),
        ('"2014-08-01t00:00:00z"', HOUR_MS),
        ('"2014-08-01 02:00:00+02:00"', HOUR_MS),
        ('"2014-08-01T02:00:00+0200"', HOUR_MS),
        ('"2014-08-01T00:00:00.123456789Z"', HOUR_MS + 123),
        ("0", 0),
        ("-1", -1),
        ('"0001-01-01T00:00:00+23:00"', -62_135_596_800_000),  # before the first year in UTC: its first ms
    ],
)
def test_times_are_epoch_milliseconds_or_rfc_3339(text: str, expected: int):
    readings, _ = DECODE(TOPIC, f'{{"t": {text}, "speed_kmh": 1}}'.encode())
    assert readings[0].time_ms == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"2014-08-01T00:00:00"', Reason.BAD_TIME),  # no zone
        ('"2014-08-01"', Reason.BAD_TIME),
        ('"yesterday"', Reason.BAD_TIME),
        ('"1406851200000"', Reason.BAD_TIME),  # a number as text
        ('"2014-13-01T00:00:00Z"', Reason.BAD_TIME),
        ('""', Reason.BAD_TIME),
        ("true", Reason.BAD_TIME),
        ("[]", Reason.BAD_TIME),
        ("{}", Reason.BAD_TIME),
        ("NaN", Reason.BAD_TIME),
        ("null", Reason.NO_TIME),
        ("Infinity", Reason.TIME_IN_FUTURE),
        ("1e400", Reason.TIME_IN_FUTURE),
        ("9214646400000000", Reason.TIME_IN_FUTURE),  # the year 294000
        ("-9214646400000000", Reason.TIME_TOO_OLD),
        ("9" * 400, Reason.TIME_IN_FUTURE),
    ],
)
def test_bad_times_are_refused_by_name(text: str, reason: Reason):
    assert reason_of(f'{{"t": {text}, "speed_kmh": 1}}'.encode()) is reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.EMPTY),
        (b" \r\n", Reason.EMPTY),
        (b"\xef\xbb\xbf", Reason.EMPTY),
        (b"{}", Reason.NO_VALUE),
        (b'{"t": 1}', Reason.NO_VALUE),
        (b'{"t": 1, "speed_kmh": null, "flow_veh_h": null}', Reason.NO_VALUE),
        (b'{"t": 1, "readings": []}', Reason.NO_VALUE),
        (b'{"speed_kmh": 1}', Reason.NO_TIME),
        (b"[]", Reason.WRONG_SHAPE),
        (b'"speed"', Reason.WRONG_SHAPE),
        (b"17", Reason.WRONG_SHAPE),
        (b"null", Reason.WRONG_SHAPE),
        (b"NaN", Reason.WRONG_SHAPE),
        (b'{"t": 1, "readings": {"speed_kmh": 1}}', Reason.WRONG_SHAPE),
        (b'{"t": 1, "speed_kmh": 1', Reason.NOT_JSON),
        (b"hello", Reason.NOT_JSON),
        (b"{'t': 1}", Reason.NOT_JSON),
        (b'{"t": 1} {"t": 2}', Reason.NOT_JSON),
        (b"[" * 500_000, Reason.NOT_JSON),
        (b'{"a":' * 150_000, Reason.NOT_JSON),
        (b'{"t": 1, "speed_kmh": ' + b"1" * 5000 + b"}", Reason.NOT_JSON),
        (b'{"t": 1, "speed_kmh": \xff}', Reason.NOT_UTF8),
        (b'{"t": 1, "\xc3\x28": 1}', Reason.NOT_UTF8),
        ('{"t": 1, "speed_kmh": 1}'.encode("utf-16"), Reason.NOT_UTF8),
        (b" " * 10_000_000, Reason.TOO_LARGE),
    ],
)
def test_useless_payloads_are_refused_by_name(payload: bytes, reason: Reason):
    assert reason_of(payload) is reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"50"', Reason.NOT_A_NUMBER),
        ("true", Reason.NOT_A_NUMBER),
        ("[1]", Reason.NOT_A_NUMBER),
        ('{"value": 1}', Reason.NOT_A_NUMBER),
        ("NaN", Reason.NOT_A_NUMBER),
        ("Infinity", Reason.NOT_A_NUMBER),
        ("-Infinity", Reason.NOT_A_NUMBER),
        ("1e999", Reason.NOT_A_NUMBER),
        ("1e300", Reason.OUT_OF_STORAGE_RANGE),
        ("-1e17", Reason.OUT_OF_STORAGE_RANGE),
        ("9" * 400, Reason.OUT_OF_STORAGE_RANGE),
        ("[" * 500 + "]" * 500, Reason.NOT_A_NUMBER),
    ],
)
def test_a_bad_value_rejects_only_itself(text: str, reason: Reason):
    payload = f'{{"t": 1406851200000, "flow_veh_h": 840, "speed_kmh": {text}}}'.encode()
    readings, rejected = DECODE(TOPIC, payload)
    assert readings == [Reading("D1", "flow_veh_h", HOUR_MS, 840.0)]
    assert [(r.topic, r.payload, r.reason) for r in rejected] == [(TOPIC, payload, reason)]
    assert rejected[0].detail.startswith("speed_kmh is ")
    assert len(rejected[0].detail) < 200


def test_values_outside_the_physical_range_are_readings():
    readings, rejected = DECODE(TOPIC, b'{"t": 1, "speed_kmh": -10, "occupancy": 12}')
    assert [r.value for r in readings] == [-10.0, 12.0]
    assert rejected == []


@pytest.mark.parametrize(
    ("key", "nearest"), [("speed_mph", "speed_kmh"), ("flow", "flow_veh_h"), ("Occupancy", "occupancy")]
)
def test_unknown_quantity_names_the_nearest_known_one(key: str, nearest: str):
    _, rejected = DECODE(TOPIC, json.dumps({"t": 1, key: 3}).encode())
    assert rejected[0].reason is Reason.UNKNOWN_QUANTITY
    assert repr(nearest) in rejected[0].detail


def test_bad_items_of_a_list_reject_only_themselves():
    items = [
        {"t": 1, "speed_kmh": 1},
        7,
        {"t": "x", "speed_kmh": 2},
        {"speed_kmh": 3},
        {"t": 5},
        {"t": 6, "speed_kmh": 4},
    ]
    readings, rejected = DECODE(TOPIC, json.dumps({"readings": items}).encode())
    assert [r.value for r in readings] == [1.0, 4.0]
    assert [r.reason for r in rejected] == [Reason.WRONG_SHAPE, Reason.BAD_TIME, Reason.NO_TIME, Reason.NO_VALUE]


def test_the_last_of_a_repeated_key_counts():
    readings, _ = DECODE(TOPIC, b'{"t": 1, "speed_kmh": 10, "t": 2, "speed_kmh": 20}')
    assert readings == [Reading("D1", "speed_kmh", 2, 20.0)]


def test_a_long_payload_with_many_bad_values_is_not_kept_once_a_value():
    payload = json.dumps({"t": 1, "readings": [{"t": 1, "speed_kmh": "x"}] * 20_000}).encode()
    readings, rejected = DECODE(TOPIC, payload)
    assert (len(readings), len(rejected)) == (0, 20_000)
    assert sum(len(r.payload) for r in rejected) < 2 * len(payload)
    assert json.loads(rejected[0].payload) == {"t": 1, "speed_kmh": "x"}


def test_many_unknown_keys_do_not_hold_up_the_rest():
    # A search for the nearest key takes 0.2 ms: 50,000 of them would take 10 s. Only the first few are worth one.
    payload = json.dumps({"t": 1} | {f"k{i}": 1 for i in range(50_000)}).encode()
    _, rejected = DECODE(TOPIC, payload)
    assert len(rejected) == 50_000
    assert sum("nearest" in r.detail for r in rejected) == 8


@pytest.mark.parametrize(
    "topic", ["city/centre/", "city/centre/a\tb", "city/a/" + "x" * 129, "city/a/\x7f", "city/\ufffe"]
)
def test_ids_that_can_name_no_sensor_are_refused(topic: str):
    assert reason_of(b'{"t": 1, "speed_kmh": 1}', topic) is Reason.BAD_SENSOR_ID


@pytest.mark.parametrize("sensor_id", ["D 1", "Mäkelänkatu 3", "西湖大道-1", "x" * 128, "a\u3000b", "🚦"])
def test_ids_may_hold_blanks_and_any_letters(sensor_id: str):
    readings, _ = DECODE(f"city/old town/{sensor_id}", b'{"t": 1, "speed_kmh": 1}')
    assert readings[0].sensor_id == sensor_id


def test_topics_without_a_rule_are_refused_as_unmapped():
    assert reason_of(b'{"t": 1, "speed_kmh": 1}', "town/centre/D1") is Reason.UNMAPPED_TOPIC


def test_the_first_matching_rule_decides():
    decode = decoder([TopicRule("city/bus/#", "hfp"), TopicRule("city/#", "citytwin")])
    message = b'{"VP": {"oper": 1, "veh": 2, "tsi": 1, "spd": 1}}'
    assert decode("city/bus/x", message)[0][0].sensor_id == "0001-00002"
    assert decode("city/x/D1", b'{"t": 1, "speed_kmh": 1}')[0][0].sensor_id == "D1"


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("city/#", "city/a/b", True),
        ("city/#", "city", True),
        ("city/#", "cityx", False),
        ("city/+", "city/a", True),
        ("city/+", "city/", True),
        ("city/+", "city", False),
        ("city/+", "city/a/b", False),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("/hfp/#", "/hfp/v1/x y/ä", True),
        ("/hfp/#", "hfp/v1", False),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/+/c", "a//c", True),
        ("a/b", "A/b", False),
    ],
)
def test_filters_match_as_mqtt_says(topic_filter: str, topic: str, expected: bool):
    assert matches(topic_filter, topic) is expected


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a#", "a+/b", "##", "a\0"])
def test_wrong_topic_filters_fail_at_construction(topic_filter: str):
    with pytest.raises(InputError, match="topic filter"):
        TopicRule(topic_filter, "citytwin")


def test_unknown_codec_names_the_nearest():
    with pytest.raises(InputError, match="'citytwinn', the nearest is 'citytwin'"):
        TopicRule("a/#", "citytwinn")


readings_of_one_sensor = st.dictionaries(
    st.tuples(st.integers(-62_135_596_800_000, 253_402_300_799_999), st.sampled_from(sorted(QUANTITIES))),
    st.integers(-(10**9), 10**9),
    min_size=1,
    max_size=12,
)


@given(readings_of_one_sensor)
def test_encoded_readings_decode_to_themselves(values: dict[tuple[int, str], int]):
    # whole multiples of the stored resolution survive exactly
    readings = [Reading("D1", key, ms, raw / QUANTITIES[key].scale) for (ms, key), raw in values.items()]
    decoded, rejected = DECODE(TOPIC, encode(readings))
    assert rejected == []
    assert sorted(map(repr, decoded)) == sorted(map(repr, readings))


def test_readings_of_two_sensors_are_no_payload():
    with pytest.raises(ValueError, match="not of 2"):
        encode([Reading("A", "speed_kmh", 0, 1.0), Reading("B", "speed_kmh", 0, 1.0)])


def test_storage_range_ends_where_integers_of_64_bits_end():
    # 2^63 / 1000 km/h is the first speed that does not fit
    limit = 2**63 / 1000
    readings, _ = DECODE(TOPIC, json.dumps({"t": 1, "speed_kmh": math.nextafter(limit, 0)}).encode())
    assert round(readings[0].value * 1000) < 2**63
    _, rejected = DECODE(TOPIC, json.dumps({"t": 1, "speed_kmh": limit}).encode())
    assert rejected[0].reason is Reason.OUT_OF_STORAGE_RANGE


def test_quantities_have_decimal_scales_and_ordered_ranges():
    for key, q in QUANTITIES.items():
        assert key == q.key
        assert q.scale == 10 ** round(math.log10(q.scale))
        assert q.minimum < q.maximum
