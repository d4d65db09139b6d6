"""What SensorThings, Smart Data Models and The Things Stack say, in our quantities and units."""

import json
from collections import Counter
from pathlib import Path

import pytest

from sensors import InputError, PayloadError, Reason
from sensors.codecs import CODECS, configured
from sensors.payload import TopicRule, decoder

T = "2014-08-01T00:00:00Z"
LHT52 = {
    "devices": "dragino/lht52",
    "port": 5,
    "bytes": {"battery": {"at": 5, "type": "uint16", "quantity": "voltage_v", "unit": "mV"}},
}


def read(codec: str, topic: str, payload: object, **options: object) -> dict[tuple[str, str], float]:
    faults: list[str] = []
    readings, _ = configured(codec, options, where="test", faults=faults)(topic, json.dumps(payload).encode())
    assert faults == []
    return {(r.sensor_id, r.quantity): r.value for r in readings}


@pytest.mark.parametrize(
    ("attribute", "unit", "quantity", "value"),
    [
        ("co", None, "co_mg_m3", 10.0),
        ("co", "GQ", "co_mg_m3", 0.01),
        ("no2", "GP", "no2_ug_m3", 10_000.0),
        ("relativeHumidity", "P1", "humidity", 0.1),
        ("temperature", "KEL", "temperature_c", -263.15),
        ("temperature", "FAH", "temperature_c", -12.2222),
        ("windSpeed", "KMH", "wind_speed_m_s", 2.7778),
    ],
)
def test_unit_code_of_ngsi_is_converted(attribute: str, unit: str | None, quantity: str, value: float):
    for form in ({"value": 10, "unitCode": unit}, {"value": 10, "metadata": {"unitCode": {"value": unit}}}):
        entity = {"id": "A1", "type": "AirQualityObserved", "dateObserved": T, attribute: form}
        assert read("ngsi", "x", entity) == pytest.approx({("A1", quantity): value}, abs=1e-4)


def test_wrong_unit_rejects_only_its_value():
    entity = {
        "id": "A1",
        "type": "AirQualityObserved",
        "dateObserved": T,
        "no2": {"value": 1, "unitCode": "59"},
        "so2": 2,
    }
    readings, rejected = CODECS["ngsi"]("x", json.dumps(entity).encode())
    assert [(r.quantity, r.value) for r in readings] == [("so2_ug_m3", 2.0)]
    assert [r.reason for r in rejected] == [Reason.WRONG_UNIT]
    assert "no2: '59'" in rejected[0].detail


def test_parked_cars_follow_from_all_and_free_spots():
    entity = {"id": "P", "type": "OffStreetParking", "totalSpotNumber": 414, "availableSpotNumber": {"value": 132}}
    assert read("ngsi", "x", entity | {"occupancyModified": T}) == {
        ("P", "parked_veh"): 282.0,
        ("P", "spaces_veh"): 414.0,
    }


def test_phases_of_a_cabinet_are_sensors_of_their_own():
    entity = {"id": "C", "type": "StreetlightControlCabinet", "intensityR": 20.1, "intensityS": 14.4, "dateObserved": T}
    assert read("ngsi", "x", entity) == {("C-R", "current_a"): 20.1, ("C-S", "current_a"): 14.4}


@pytest.mark.data
def test_examples_of_the_smart_data_models_are_read_or_rejected_by_name(shared_data: Path):
    outcomes: dict[str, object] = {}
    for path in sorted((shared_data / "mqtt" / "smart_data_models").glob("*.json")):
        try:
            readings, rejected = CODECS["ngsi"]("ngsi/x", path.read_bytes())
            outcomes[path.stem] = (len(readings), Counter(str(r.reason) for r in rejected))
        except PayloadError as error:
            outcomes[path.stem] = error.reason
    for form in ("example", "example-normalized"):
        # intensity, occupancy, speed; headway and vehicle length are no quantities of ours
        assert outcomes[f"TrafficFlowObserved.{form}"] == (3, {"unknown_quantity": 2})
        assert outcomes[f"OffStreetParking.{form}"] == (2, {})  # occupied and all spots
        assert outcomes[f"Streetlight.{form}"] == (3, {})
        assert outcomes[f"AirQualityObserved.{form}"] is Reason.BAD_TIME  # as published: a time without a zone
        assert outcomes[f"StreetlightControlCabinet.{form}"] is Reason.NO_TIME
        for model in ("CityWork", "RoadAccident", "RoadSegment", "TrafficEnvironmentImpact"):
            assert outcomes[f"{model}.{form}"] is Reason.WRONG_SHAPE


def test_inline_datastream_names_quantity_and_unit():
    observation = {
        "phenomenonTime": f"2014-07-31T23:55:00Z/{T}",
        "result": 10,
        "Datastream": {
            "@iot.id": 7,
            "unitOfMeasurement": {"name": "metre per second", "symbol": "m/s"},
            "ObservedProperty": {"name": "speed_kmh"},
            "Thing": {"name": "D9"},
        },
    }
    assert read("sensorthings", "v1.1/Observations", observation) == {("D9", "speed_kmh"): 36.0}
    observation["Datastream"]["unitOfMeasurement"]["symbol"] = "kg"  # type: ignore[index]
    with pytest.raises(PayloadError, match="wrong_unit"):
        read("sensorthings", "v1.1/Observations", observation)


def test_rows_of_a_data_array_are_observations_of_their_own():
    streams = {"7": {"sensor": "D1", "quantity": "speed_kmh"}, "8": {"sensor": "D2", "quantity": "count_veh"}}
    rule = TopicRule("v1.1/#", "sensorthings", options={"streams": streams})
    arrays = [
        {
            "Datastream": {"@iot.id": 7},
            "components": ["phenomenonTime", "result"],
            "dataArray@iot.count": 3,
            "dataArray": [[T, 10], [T], ["2014-08-01T00:05:00Z", "fast"]],
        },
        {"Datastream": {"@iot.id": 8}, "components": ["result", "resultTime"], "dataArray": [[5, T]]},
        {"Datastream": {"@iot.id": 9}, "components": ["result", "resultTime"], "dataArray": [[5, T]]},
        {"Datastream": {"@iot.id": 8}, "result": 6, "phenomenonTime": "2014-08-01T00:05:00Z"},
        7,
    ]
    for document in (arrays, {"value": arrays}):
        readings, rejected = rule.decoder()("v1.1/CreateObservations", json.dumps(document).encode())
        assert [(r.sensor_id, r.quantity, r.value) for r in readings] == [
            ("D1", "speed_kmh", 10.0), ("D2", "count_veh", 5.0), ("D2", "count_veh", 6.0),
        ]  # fmt: skip
        assert [str(item.reason) for item in rejected] == [
            "wrong_shape", "not_a_number", "unknown_quantity", "wrong_shape",
        ]  # fmt: skip


@pytest.mark.parametrize("document", [{"components": ["result"], "dataArray": []}, {"value": []}, []])
def test_a_data_array_without_a_row_is_refused(document: object):
    with pytest.raises(PayloadError, match="no_value: the data array has no rows"):
        CODECS["sensorthings"]("v1.1/CreateObservations", json.dumps(document).encode())


@pytest.mark.parametrize(
    "document", [{"dataArray": []}, [{}], [7], {"components": ["result", 1], "dataArray": [[1, 2]]}]
)
def test_what_is_no_data_array_is_rejected_once(document: object):
    readings, rejected = CODECS["sensorthings"]("v1.1/CreateObservations", json.dumps(document).encode())
    assert (readings, [str(item.reason) for item in rejected]) == ([], ["wrong_shape"])


def test_a_multidatastream_is_never_taken_for_the_datastream_of_its_number():
    streams = {"7": {"sensor": "D1", "quantity": "speed_kmh"}}
    observation = {"phenomenonTime": T, "result": 10}
    with pytest.raises(PayloadError, match=r"MultiDatastream '7': map it in \[topic.multistreams\]"):
        read("sensorthings", "v1.1/MultiDatastreams(7)/Observations", observation, streams=streams)
    multi = {"7": [{"sensor": "D1", "quantity": "speed_kmh"}, {"sensor": "D2", "quantity": "count_veh"}]}
    for result in (10, [10], [10, 20, 30], {"a": 1}):
        with pytest.raises(PayloadError, match="must be a list of 2"):
            read(
                "sensorthings",
                "v1.1/MultiDatastreams(7)/Observations",
                {"phenomenonTime": T, "result": result},
                multistreams=multi,
            )


def test_a_time_of_ngsi_without_a_zone_is_refused_or_taken_in_the_zone_that_was_configured():
    entity = {"id": "T", "type": "TrafficFlowObserved", "intensity": 3, "dateObserved": "2014-08-01T02:00:00"}
    with pytest.raises(PayloadError, match="without a zone, add Z or an offset"):
        read("ngsi", "x", entity)
    decode = TopicRule("x", "ngsi", options={"zone": "Europe/Madrid"}).decoder()
    assert decode("x", json.dumps(entity).encode())[0][0].time_ms == 1_406_851_200_000
    zoned = entity | {"dateObserved": "2014-07-31T23:55:00Z/2014-08-01T00:00:00Z"}
    assert decode("x", json.dumps(zoned).encode())[0][0].time_ms == 1_406_851_200_000
    for odd in ("0001-01-01T00:00:00", "9999-12-31T23:59:59", "2014-10-26T02:30:00", "2014-03-30T02:30:00"):
        assert decode("x", json.dumps(entity | {"dateObserved": odd}).encode())[0]
    with pytest.raises(InputError, match="zone is 'Madrid', must be an IANA zone"):
        TopicRule("x", "ngsi", options={"zone": "Madrid"})


def test_unmapped_datastream_says_what_to_do():
    with pytest.raises(PayloadError, match=r"unknown_quantity: Datastream \"?'?8.*map it in \[topic.streams\]"):
        read("sensorthings", "v1.1/Datastreams(8)/Observations", {"phenomenonTime": T, "result": 1})


def test_result_time_stands_in_for_the_phenomenon_time():
    streams = {"7": {"sensor": "D1", "quantity": "speed_kmh"}}
    payload = {"phenomenonTime": None, "resultTime": T, "result": 1}
    assert read("sensorthings", "v1.1/Datastreams('7')/Observations", payload, streams=streams)


@pytest.mark.data
def test_real_uplinks_give_the_same_from_the_decoded_payload_and_from_the_frame(shared_data: Path):
    lines = (shared_data / "mqtt" / "ttn_v3_uplinks_sanitised.jsonl").read_text("utf-8").splitlines()
    lht, node, weather = (json.loads(line)["payload"] for line in lines)
    decoded = {"devices": "lht52-*", "decoded": {"Bat_mV": {"quantity": "voltage_v", "factor": 0.001}}}
    from_decoded = read("ttn", "t", lht, profile=[decoded])
    assert from_decoded == pytest.approx({("lht52-temp-1", "voltage_v"): 3.054})
    assert read("ttn", "t", lht, profile=[LHT52]) == pytest.approx(from_decoded)
    profile = {"devices": "*", "decoded": {"temperature": "temperature_c", "Temperature": "temperature_c"}}
    assert read("ttn", "t", node, profile=[profile]) == {("py-node", "temperature_c"): 23.2}
    assert read("ttn", "t", weather, profile=[profile]) == pytest.approx({("weather-01", "temperature_c"): 14.8})
    with pytest.raises(PayloadError, match="no_value"):
        read("ttn", "t", node)


def test_cayenne_frame_is_read_by_the_names_of_its_channels():
    profile = {"devices": "*", "frame": "cayenne_lpp", "decoded": {"temperature_3": "temperature_c"}}
    uplink = {"received_at": T, "frm_payload": "A2cBEA=="}
    payload = {"end_device_ids": {"device_id": "d"}, "uplink_message": uplink}
    assert read("ttn", "t", payload, profile=[profile]) == {("d", "temperature_c"): 27.2}
    for broken in ("A2cB", "!!", "A/8B", 5):
        uplink["frm_payload"] = broken  # type: ignore[assignment]
        with pytest.raises(PayloadError, match="wrong_shape"):
            read("ttn", "t", payload, profile=[profile])


def test_topic_names_the_sensor_and_a_table_renames_it():
    rule = TopicRule("lora/+/+/up", "ttn", "{2}-{3}", {"north-7": "D7"})
    payload = {
        "end_device_ids": {"device_id": "x"},
        "uplink_message": {"received_at": T, "decoded_payload": {"speed_kmh": 50}},
    }
    decode = decoder([rule])
    names = [decode(f"lora/{topic}/up", json.dumps(payload).encode())[0][0].sensor_id for topic in ("north/7", "a/b")]
    assert names == ["D7", "a-b"]


def test_topic_too_short_for_its_sensor_is_rejected_by_name():
    decode = decoder([TopicRule("city/#", "citytwin", "{4}")])
    with pytest.raises(PayloadError, match="bad_sensor_id: the topic has 3 levels, its sensor needs 4"):
        decode("city/a/b", b'{"t": 0, "speed_kmh": 1}')


def test_faults_of_a_rule_are_told_all_at_once():
    profile = {
        "devices": "",
        "port": 300,
        "frame": "cayene",
        "decoded": {"T": "temp"},
        "bytes": {"b": {"at": -1}},
        "x": 1,
    }
    with pytest.raises(InputError) as caught:
        TopicRule("v3/#", "ttn", "{0}", {"a": ""}, {"profile": [profile]})
    told = "\n".join(caught.value.faults)
    wanted = ("unknown key 'x'", "devices is ''", "port is 300", "'cayene'", "'temp'", "at is -1", "unknown type None")
    for part in (*wanted, "unknown quantity None", "sensor is '{0}'", "sensors.a"):
        assert part in told
    with pytest.raises(InputError) as caught:
        TopicRule(
            "s/#",
            "sensorthings",
            options={"streams": {"1": {"sensor": "D", "quantity": "speed_kmh", "unit": "kg"}, "2": 3}},
        )
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError) as caught:
        TopicRule(
            "s/#",
            "sensorthings",
            options={"streams": 1, "multistreams": {"1": [], "2": [{"sensor": "D", "quantity": "speed"}], "3": 4}},
        )
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize("odd", ["[1]", '{"a": 1}', "[" * 900 + "]" * 900, "1e999", '"\\ud800"', "9" * 400])
@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        ("ngsi", '{"type": ODD, "data": [{"type": ODD, "id": ODD}]}'),
        ("ngsi", '{"id": "T", "type": "TrafficFlowObserved", "occupancy": {"value": 1, "unitCode": ODD},'
                 ' "dateObserved": ODD}'),
        ("ngsi", '{"id": "P", "type": "ParkingGroup", "totalSpotNumber": ODD, "availableSpotNumber": ODD,'
                 ' "dateObserved": ODD}'),
        ("sensorthings", '{"Datastream": ODD, "components": ["result", "a"], "dataArray": [ODD, [ODD, ODD]]}'),
        ("sensorthings", '{"components": ODD, "dataArray": ODD}'),
        ("sensorthings", '{"value": [ODD, {"components": ["result"], "dataArray": ODD}]}'),
        ("sensorthings", '{"result": ODD, "MultiDatastream": {"@iot.id": ODD}}'),
        ("sensorthings", '{"result": 1, "Datastream@iot.navigationLink": ODD, "Datastream": {"@iot.id": ODD}}'),
        ("sensorthings", '{"result": 1, "phenomenonTime": ODD, "Datastream": {"@iot.id": 1,'
                         ' "unitOfMeasurement": {"symbol": ODD}, "ObservedProperty": {"name": "speed_kmh"},'
                         ' "Thing": {"name": ODD}}}'),
        ("ttn", '{"end_device_ids": {"device_id": "d"}, "uplink_message": {"version_ids":'
                ' {"brand_id": ODD, "model_id": ODD}, "f_port": ODD, "received_at": ODD, "frm_payload": ODD,'
                ' "decoded_payload": {"speed_kmh": ODD}}}'),
    ],
)  # fmt: skip
def test_odd_things_in_every_place_that_is_looked_at_are_rejected_by_name(codec: str, payload: str, odd: str):
    try:
        readings, rejected = CODECS[codec]("x", payload.replace("ODD", odd).encode())
    except PayloadError as error:
        assert isinstance(error.reason, Reason)  # noqa: PT017 - either way is right
    else:
        assert rejected
        assert readings == []
