"""One contract for all codecs: what is good is read, what is bad rejects as little as it can, nothing ever escapes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sensors import QUANTITIES, PayloadError, Reading, Reason, Rejected
from sensors.codecs import CODECS, Decoder, configured

T = "2014-08-01T00:00:00Z"
T_MS = 1_406_851_200_000
Outcome = tuple[list[Reading], list[Rejected]]


@dataclass(frozen=True)
class Case:
    """A codec with a payload of two values, of which the first is under test, and its time.

    ``payload`` makes the object of (first value, second value, time); ``read`` is what 10 and 20 become.
    """

    name: str
    codec: Decoder
    topic: str
    payload: Callable[[object, object, object], dict[str, Any]]
    read: dict[str, float]
    epoch_ms: bool = False
    sole: bool = False  # one value a payload: the second is not there

    def decode(self, first: object = 10, second: object = 20, at: object = T) -> Outcome:
        return self.raw(json.dumps(self.payload(first, second, at)).encode())

    def raw(self, payload: bytes) -> Outcome:
        return self.codec(self.topic, payload)

    def reason(self, payload: bytes) -> Reason:
        """Return why a payload is rejected, whole."""
        with pytest.raises(PayloadError) as caught:
            self.raw(payload)
        return caught.value.reason


def _options(codec: str, **options: object) -> Decoder:
    faults: list[str] = []
    decode = configured(codec, options, where="test", faults=faults)
    assert faults == []
    return decode


def _ngsi(kind: str, normalised: bool) -> Callable[[object, object, object], dict[str, Any]]:
    def payload(first: object, second: object, at: object) -> dict[str, Any]:
        def wrap(value: object) -> object:
            return {"type": "Number", "value": value} if normalised else value

        attributes = {"averageVehicleSpeed": first, "intensity": second, "dateObservedTo": at}
        return {"id": "T1", "type": kind} | {key: wrap(value) for key, value in attributes.items()}

    return payload


LHT = {"devices": "lht*", "decoded": {"TempC": "temperature_c", "Bat_mV": {"quantity": "voltage_v", "unit": "mV"}}}
MULTI = {"7": [{"sensor": "D1", "quantity": "speed_kmh", "unit": "m/s"}, {"sensor": "D1", "quantity": "count_veh"}]}
CASES = [
    Case(
        "citytwin",
        CODECS["citytwin"],
        "city/centre/D1",
        lambda first, second, at: {"t": at, "speed_kmh": first, "flow_veh_h": second},
        {"speed_kmh": 10.0, "flow_veh_h": 20.0},
        epoch_ms=True,
    ),
    Case(
        "hfp",
        CODECS["hfp"],
        "/hfp/v1/journey/ongoing/bus/0018/00640",
        lambda first, second, at: {"VP": {"tst": at, "spd": first, "hdg": second, "lat": 60, "long": 25}},
        {"speed_kmh": 36.0, "heading_deg": 20.0, "latitude_deg": 60.0, "longitude_deg": 25.0},
        epoch_ms=True,
    ),
    Case(
        "ngsi key-values",
        CODECS["ngsi"],
        "ngsi/x",
        _ngsi("TrafficFlowObserved", normalised=False),
        {"speed_kmh": 10.0, "count_veh": 20.0},
    ),
    Case(
        "ngsi normalised",
        CODECS["ngsi"],
        "ngsi/x",
        _ngsi("TrafficFlowObserved", normalised=True),
        {"speed_kmh": 10.0, "count_veh": 20.0},
    ),
    Case(
        "ngsi notification",
        CODECS["ngsi"],
        "ngsi/x",
        lambda first, second, at: {
            "subscriptionId": "s",
            "data": [_ngsi("TrafficFlowObserved", normalised=True)(first, second, at)],
        },
        {"speed_kmh": 10.0, "count_veh": 20.0},
    ),
    Case(
        "sensorthings",
        _options("sensorthings", streams={"7": {"sensor": "D1", "quantity": "speed_kmh", "unit": "m/s"}}),
        "v1.1/Datastreams(7)/Observations",
        lambda first, second, at: {"phenomenonTime": at, "result": first},
        {"speed_kmh": 36.0},
        sole=True,
    ),
    Case(
        "sensorthings multi",
        _options("sensorthings", multistreams=MULTI),
        "v1.1/MultiDatastreams(7)/Observations",
        lambda first, second, at: {"phenomenonTime": at, "result": [first, second]},
        {"speed_kmh": 36.0, "count_veh": 20.0},
    ),
    Case(
        "sensorthings data array",
        _options("sensorthings", multistreams=MULTI),
        "v1.1/CreateObservations",
        lambda first, second, at: {
            "MultiDatastream": {"@iot.id": 7},
            "components": ["result", "phenomenonTime", "FeatureOfInterest/id"],
            "dataArray": [[[first, second], at, 3]],
        },
        {"speed_kmh": 36.0, "count_veh": 20.0},
    ),
    Case(
        "ttn",
        _options("ttn", profile=[LHT]),
        "v3/a@t/devices/lht52/up",
        lambda first, second, at: {
            "end_device_ids": {"device_id": "lht52"},
            "uplink_message": {"received_at": at, "decoded_payload": {"TempC": first, "Bat_mV": second}},
        },
        {"temperature_c": 10.0, "voltage_v": 0.02},
    ),
]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
several = pytest.mark.parametrize("case", [c for c in CASES if not c.sole], ids=lambda case: case.name)


def outcome(case: Case, payload: bytes) -> Outcome:
    """Return what becomes of a payload, a refused one as its single rejection."""
    try:
        return case.raw(payload)
    except PayloadError as error:
        return [], [Rejected(case.topic, payload, error.reason, error.detail)]


def values(readings: list[Reading]) -> dict[str, float]:
    return {reading.quantity: reading.value for reading in readings}


def test_every_codec_is_held_to_the_contract():
    assert {case.name.split()[0] for case in CASES} == set(CODECS)


@every
def test_good_payload_is_read_whole(case: Case):
    readings, rejected = case.decode()
    assert values(readings) == pytest.approx(case.read)
    assert {reading.time_ms for reading in readings} == {T_MS}
    assert rejected == []


@several
@pytest.mark.parametrize(
    "bad", ["12", "fast", True, [1], {"value": {"x": 1}}, float("nan"), float("inf"), -float("inf")]
)
def test_value_that_is_no_number_rejects_only_itself(case: Case, bad: object):
    readings, rejected = case.decode(bad)
    first, *others = case.read
    assert values(readings) == pytest.approx({key: case.read[key] for key in others})
    assert [entry.reason for entry in rejected] == [Reason.NOT_A_NUMBER]
    assert first in rejected[0].detail


@several
def test_value_that_cannot_be_stored_rejects_only_itself(case: Case):
    for huge in (1e300, 10**400):
        readings, rejected = case.decode(huge)
        assert len(readings) == len(case.read) - 1
        assert [entry.reason for entry in rejected] == [Reason.OUT_OF_STORAGE_RANGE]


@every
def test_null_is_an_absent_value(case: Case):
    if case.sole:
        assert case.reason(json.dumps(case.payload(None, None, T)).encode()) is Reason.NO_VALUE
    else:
        readings, rejected = case.decode(None)
        assert values(readings) == pytest.approx(dict(list(case.read.items())[1:]))
        assert rejected == []


@every
@pytest.mark.parametrize("bad", ["yesterday", "\ud800", "2014-08-01T00:00:00", "", True, [1], "2014-13-01T00:00:00Z"])
def test_bad_time_rejects_its_object_as_one(case: Case, bad: object):
    readings, rejected = outcome(case, json.dumps(case.payload(10, 20, bad)).encode())
    assert readings == []
    assert [entry.reason for entry in rejected] == [Reason.BAD_TIME]


@every
def test_missing_time_is_told(case: Case):
    readings, rejected = outcome(case, json.dumps(case.payload(10, 20, None)).encode())
    assert readings == []
    assert [entry.reason for entry in rejected] == [Reason.NO_TIME]


@every
def test_times_of_1970_are_read_and_left_to_the_city_clock(case: Case):
    readings, _ = case.decode(at="1970-01-01T00:00:00Z")
    assert {reading.time_ms for reading in readings} == {0}


@every
def test_year_294000_has_a_named_reason(case: Case):
    text = outcome(case, json.dumps(case.payload(10, 20, "+294000-01-01T00:00:00Z")).encode())
    number = outcome(case, json.dumps(case.payload(10, 20, 9_214_646_400_000_000)).encode())
    assert text[0] == number[0] == []
    assert [entry.reason for entry in text[1]] == [Reason.BAD_TIME]
    expected = Reason.TIME_IN_FUTURE if case.epoch_ms else Reason.BAD_TIME
    assert [entry.reason for entry in number[1]] == [expected]


@every
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.EMPTY),
        (b" \n", Reason.EMPTY),
        (b"\xff\xfe{}", Reason.NOT_UTF8),
        (b'{"a": "\xed\xa0\x80"}', Reason.NOT_UTF8),
        (b"{", Reason.NOT_JSON),
        (b"{}}", Reason.NOT_JSON),
        (b"12", Reason.WRONG_SHAPE),
        (b'"text"', Reason.WRONG_SHAPE),
        (b"[" * 100_000, Reason.NOT_JSON),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, Reason.NOT_JSON),
        (b'{"a": ' + b"9" * 10_000 + b"}", None),
        (b'{"x": "' + b"a" * 10_000_000 + b'"}', Reason.TOO_LARGE),
        (b"\x00" * 64, Reason.NOT_JSON),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_undecodable_payload_counts_as_one_with_its_reason(case: Case, payload: bytes, reason: Reason | None):
    found = case.reason(payload)
    assert found is reason if reason is not None else isinstance(found, Reason)


@every
def test_of_a_duplicate_key_the_last_counts(case: Case):
    text = json.dumps(case.payload(10, 20, T))
    name = next(key for key, value in _leaves(case.payload(10, 20, T)) if value == 10)
    twice = text.replace(f'"{name}": ', f'"{name}": "before", "{name}": ', 1)
    readings, rejected = case.raw(twice.encode())
    assert values(readings) == pytest.approx(case.read)
    assert rejected == []


def _leaves(value: object, key: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, name)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner, key)]
    return [(key, value)]


@every
def test_deep_nesting_in_a_value_escapes_no_exception(case: Case):
    text = json.dumps(case.payload(10, 20, T)).replace("10", "[" * 900 + "]" * 900, 1)
    _, rejected = outcome(case, text.encode())
    assert len(rejected) == 1
    assert isinstance(rejected[0].reason, Reason)


@every
def test_every_reading_can_be_stored(case: Case):
    for reading in case.decode(-1, 1e-9)[0]:
        assert abs(round(reading.value * QUANTITIES[reading.quantity].scale)) < 2**63
        assert type(reading.value) is float
