"""Helsinki's vehicle positions: captured and documented messages."""

from collections import Counter
from pathlib import Path

import pytest

from sensors import PayloadError, Reason
from sensors.codecs.hfp import decode
from sensors.recording import Capture

BUS = "/hfp/v1/journey/ongoing/bus/0018/00640/1057/1/Munkkiniemi/07:32/1471139/3/60;25/20/38/71"


@pytest.mark.data
def test_captured_messages_are_all_decoded_or_rejected_with_a_reason(shared_data: Path):
    capture = Capture(shared_data / "mqtt" / "hsl_hfp_20181009T0432Z_first3000.txt.gz")
    outcomes: Counter[object] = Counter()
    quantities: Counter[str] = Counter()
    vehicles = set()
    for message in capture.messages():
        try:
            readings, rejected = decode(message.topic, message.payload)
        except PayloadError as error:
            outcomes[error.reason] += 1
            continue
        outcomes[len(readings), len(rejected)] += 1
        quantities.update(reading.quantity for reading in readings)
        vehicles.update(reading.sensor_id for reading in readings)
    assert (capture.rows, capture.n_faults) == (3000, 0)
    # 2,911 messages are complete, 2 have a position and no speed, and 87 have neither position, speed nor heading.
    assert outcomes == {(4, 0): 2911, (3, 0): 2, Reason.NO_POSITION: 87}
    assert quantities == {"speed_kmh": 2911, "heading_deg": 2913, "longitude_deg": 2913, "latitude_deg": 2913}
    assert "0018-00640" in vehicles


def test_vehicle_is_named_by_the_topic_since_the_operator_in_the_payload_runs_the_trip_only():
    readings, _ = decode(BUS, b'{"VP": {"oper": 22, "veh": 1, "tst": "2018-10-09T04:32:52Z", "spd": 8.53}}')
    assert readings[0].sensor_id == "0018-00640"
    assert readings[0].value == pytest.approx(8.53 * 3.6)
    assert readings[0].time_ms == 1_539_059_572_000


def test_version_2_topics_have_the_event_type_before_the_mode():
    readings, _ = decode("/hfp/v2/journey/ongoing/vp/tram/0040/00412/x", b'{"VP": {"tsi": 1, "spd": 1}}')
    assert readings[0].sensor_id == "0040-00412"


def test_half_a_position_is_rejected_and_the_speed_still_read():
    readings, rejected = decode(BUS, b'{"VP": {"tsi": 1539059572, "spd": 1, "hdg": null, "long": 25.0}}')
    assert [r.quantity for r in readings] == ["speed_kmh"]
    assert [r.reason for r in rejected] == [Reason.NO_POSITION]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hfp-sample-pas", {"speed_kmh": 11.33 * 3.6, "heading_deg": 245, "longitude_deg": 24.840979}),
        ("hfp-sample-vp", {"speed_kmh": 0.16 * 3.6, "latitude_deg": 60.194481}),
        ("hfp-tlr-sample", {"speed_kmh": 11.51 * 3.6}),
        ("passenger-count-sample", {"passengers": 15, "longitude_deg": 60.1967}),  # as published, coordinates swapped
        ("garbage-data", {"speed_kmh": -36.0}),
    ],
)
def test_documented_messages_are_read(shared_data: Path, name: str, expected: dict[str, float]):
    readings, rejected = decode(BUS, (shared_data / "mqtt" / "hsl_single" / f"{name}.json").read_bytes())
    values = {reading.quantity: reading.value for reading in readings}
    assert {key: values[key] for key in expected} == pytest.approx(expected)
    assert [r.reason for r in rejected] == ([Reason.NO_POSITION] if name == "garbage-data" else [])


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (BUS, b"{}", Reason.WRONG_SHAPE),
        (BUS, b'{"VP": 3}', Reason.WRONG_SHAPE),
        (BUS, b'{"VP": {"lat": 60, "long": 25}}', Reason.NO_TIME),
        (BUS, b'{"VP": {"lat": 60, "long": 25, "tst": "2018-10-09T04:32:52"}}', Reason.BAD_TIME),
        (BUS, b'{"VP": {"lat": 60, "long": 25, "tsi": "1539059572"}}', Reason.BAD_TIME),
        ("bus", b'{"VP": {"tsi": 1, "spd": 1, "veh": 3}}', Reason.BAD_SENSOR_ID),
        ("bus", b'{"VP": {"tsi": 1, "spd": 1, "oper": -1, "veh": 3}}', Reason.BAD_SENSOR_ID),
        (BUS, b'{"VP": {"tsi": 1, "lat": null, "long": null}}', Reason.NO_POSITION),
    ],
)
def test_useless_messages_are_refused_by_name(topic: str, payload: bytes, reason: Reason):
    with pytest.raises(PayloadError) as caught:
        decode(topic, payload)
    assert caught.value.reason is reason
