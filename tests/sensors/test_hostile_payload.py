"""Whatever bytes come, on whatever topic: readings or a named reason, never another exception."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensors import QUANTITIES, PayloadError, Reading, Reason, Rejected
from sensors.codecs import CODECS

TOPICS = st.one_of(
    st.just("city/centre/D1"),
    st.just("/hfp/v1/journey/ongoing/bus/0018/00640/1057/1/Munkkiniemi/07:32/1471139/3/60;25/20/38/71"),
    st.just("v1.1/Datastreams(7)/Observations"),
    st.text(max_size=300),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=20)
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)
keys = st.one_of(st.sampled_from([*QUANTITIES, "t", "readings"]), st.text(max_size=8))
payload_objects = st.dictionaries(keys, st.one_of(anything, st.lists(st.dictionaries(keys, anything), max_size=3)))
hfp_keys = st.sampled_from(["spd", "hdg", "lat", "long", "tst", "tsi", "oper", "veh", "vehiclecounts"])
hfp_objects = st.fixed_dictionaries({"VP": st.dictionaries(hfp_keys, anything)})
foreign_keys = st.sampled_from(
    ["id", "type", "value", "unitCode", "metadata", "dateObserved", "occupancy", "intensity", "averageHeadwayTime",
     "data", "Datastream", "@iot.id", "ObservedProperty", "name", "unitOfMeasurement", "symbol", "result",
     "phenomenonTime", "resultTime", "end_device_ids", "device_id", "uplink_message", "received_at", "decoded_payload",
     "frm_payload", "version_ids", "f_port", *QUANTITIES]
)  # fmt: skip
foreign_scalars = st.one_of(
    scalars,
    st.sampled_from(["TrafficFlowObserved", "OffStreetParking", "speed_kmh", "m/s", "2014-08-01T00:00:00Z", "A2cB"]),
)
foreign_objects = st.dictionaries(
    foreign_keys,
    st.recursive(
        foreign_scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(foreign_keys, inner, max_size=6)),
        max_leaves=30,
    ),
)
# hypothesis runs hundreds of examples through each; 100 keep the suite quick
quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(codec: str, topic: str, payload: bytes) -> None:
    try:
        readings, rejected = CODECS[codec](topic, payload)
    except PayloadError as error:
        _check_text(f"{Reason(error.reason)} {error.detail}")
        return
    assert readings or rejected
    for reading in readings:
        assert type(reading) is Reading
        assert reading.quantity in QUANTITIES
        assert type(reading.time_ms) is int
        assert type(reading.value) is float
        assert 1 <= len(reading.sensor_id) <= 128
        assert abs(round(reading.value * QUANTITIES[reading.quantity].scale)) < 2**63
        reading.sensor_id.encode()  # a database takes it: UTF-8, no NUL
        assert "\0" not in reading.sensor_id
    for entry in rejected:
        assert type(entry) is Rejected
        assert entry.topic == topic
        _check_text(entry.detail)


def _check_text(detail: str) -> None:
    assert len(detail) < 300
    assert detail.isprintable()
    detail.encode()


@pytest.mark.parametrize("codec", sorted(CODECS))
@quick
@given(TOPICS, st.binary(max_size=400))
def test_any_bytes_give_readings_or_a_reason(codec: str, topic: str, payload: bytes):
    check(codec, topic, payload)


@pytest.mark.parametrize("codec", sorted(CODECS))
@quick
@given(TOPICS, st.one_of(payload_objects, hfp_objects, foreign_objects, anything))
def test_any_json_gives_readings_or_a_reason(codec: str, topic: str, value: object):
    check(codec, topic, json.dumps(value).encode())


@quick
@given(TOPICS, st.binary(max_size=200), st.integers(0, 10_000))
def test_any_bytes_inside_a_good_payload_give_readings_or_a_reason(topic: str, noise: bytes, place: int):
    good = b'{"t": "2014-08-01T00:00:00Z", "flow_veh_h": 840, "readings": [{"t": 1, "speed_kmh": 31.5}]}'
    at = place % len(good)
    check("citytwin", topic, good[:at] + noise + good[at + len(noise) // 2 :])


@pytest.mark.data
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 2999), place=st.floats(0, 1), noise=st.binary(max_size=8), cut=st.integers(0, 8))
def test_mutated_real_messages_give_readings_or_a_reason(
    shared_data: Path, number: int, place: float, noise: bytes, cut: int
):
    line = _captured(shared_data)[number]
    end = line.index(b" {")
    topic, payload = line[:end].split(b" ", 1)[1].decode(), line[end + 1 :]
    at = int(place * len(payload))
    check("hfp", topic, payload[:at] + noise + payload[at + cut :])


def _captured(shared_data: Path, cache: list[bytes] = []) -> list[bytes]:  # noqa: B006 - read the file once
    if not cache:
        with gzip.open(shared_data / "mqtt" / "hsl_hfp_20181009T0432Z_first3000.txt.gz") as file:
            cache.extend(line.rstrip(b"\n") for line in file)
    return cache


def test_mutated_payloads_of_every_codec_give_readings_or_a_reason():
    script = Path(__file__).with_name("fuzz_codecs.py")
    run = subprocess.run(
        [sys.executable, str(script), "--examples", "20000"], capture_output=True, text=True, cwd=script.parents[2]
    )
    assert run.returncode == 0, run.stderr
    assert "20,000  in all" in run.stdout
    assert "stored" in run.stdout
