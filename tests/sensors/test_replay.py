"""Recordings: tables of any layout and captures, in order of time, at any speed."""

import gzip
import json
import math
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensors import InputError
from sensors.column_map import AARHUS, ColumnMap
from sensors.payload import decoder
from sensors.recorded_table import Table
from sensors.recording import Message
from sensors.replay import merged, open_recording, paced

MAP = """
sensor_id = "detector"
time = "start"
time_zone = "Europe/Rome"
offset_s = 300
district = "bologna"
prefix = "loop-"
delimiter = ";"
[quantities]
count_veh = "vehicles"
speed_kmh = { column = "mph", factor = 1.609344 }
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.data
def test_the_month_of_aarhus_is_read_whole_and_its_duplicates_are_counted(aarhus: Table):
    assert (aarhus.rows, aarhus.duplicates, aarhus.empty, aarhus.n_faults) == (3_609_164, 1_392, 0, 0)
    assert len(aarhus.topics) == 449
    assert np.count_nonzero(aarhus.values[:, 0] == 0) == 1_640_140


@pytest.mark.data
def test_rows_of_aarhus_travel_unchanged_and_in_order_of_time(aarhus: Table):
    messages = list(islice(aarhus.messages(), 20_000))
    assert messages[0] == Message(
        1_406_879_400_000,  # 2014-08-01T07:50 UTC
        "city/aarhus/158324",
        b'{"t":1406879400000,"count_veh":5,"speed_kmh":50,"travel_time_s":74}',
    )
    assert all(a.time_ms <= b.time_ms for a, b in pairwise(messages))
    empty = [m for m in messages if b'"count_veh":0,' in m.payload]
    assert len(empty) > 1000
    assert all(b'"speed_kmh":' in m.payload for m in empty)
    decode = decoder()
    readings, rejected = decode(messages[-1].topic, messages[-1].payload)
    assert (len(readings), rejected) == (3, [])


def test_aarhus_layout_is_recognised_with_utc_times(tmp_path: Path):
    text = "report_id,timestamp_utc,vehicle_count,avg_speed_kmh,avg_travel_time_s\n7,2014-08-01T07:50,0,50,74\n"
    (message,) = merged([open_recording(write(tmp_path, "a.csv", text))])
    assert message.topic == "city/aarhus/7"
    assert json.loads(message.payload) == {"t": 1406879400000, "count_veh": 0, "speed_kmh": 50, "travel_time_s": 74}


def test_column_map_gives_units_zone_delimiter_and_end_of_interval(tmp_path: Path):
    column_map = ColumnMap.read(write(tmp_path, "map.toml", MAP))
    path = tmp_path / "b.csv.gz"
    # BOM, CRLF, other columns between, local summer time
    table = "\ufeffstart;x;detector;mph;vehicles\r\n2024-07-01 08:00;?;A;10;3\r\n2024-07-01 07:55;?;B;;4\r\n"
    path.write_bytes(gzip.compress(table.encode()))
    first, second = merged([open_recording(path, column_map=column_map)])
    assert (first.topic, json.loads(first.payload)) == ("city/bologna/loop-B", {"t": 1719813600000, "count_veh": 4})
    assert json.loads(second.payload) == {"t": 1719813900000, "count_veh": 3, "speed_kmh": 16.093}


def test_wide_table_has_a_column_a_sensor(tmp_path: Path):
    text = "time = 't'\ntime_zone = 'UTC'\n[wide]\nquantity = 'speed_kmh'\nfactor = 2\nignore = ['note']\n"
    column_map = ColumnMap.read(write(tmp_path, "map.toml", text))
    table = "S2,t,note,S1\n,1970-01-01T00:00:02,x,20\n10,1970-01-01T00:00:01,y,x\n30,never,,\n30\n"
    recording = open_recording(write(tmp_path, "w.csv", table), column_map=column_map)
    assert [(m.topic, m.payload) for m in merged([recording])] == [
        ("city/replay/S2", b'{"t":1000,"speed_kmh":20}'),
        ("city/replay/S1", b'{"t":2000,"speed_kmh":40}'),
    ]
    assert recording.n_faults == 3
    with pytest.raises(InputError, match="column 'a/b': the sensor's id"):
        open_recording(write(tmp_path, "x.csv", "t,a/b\n"), column_map=column_map)
    with pytest.raises(InputError, match="has no column 't'"):
        open_recording(write(tmp_path, "y.csv", "time,a\n"), column_map=column_map)


@pytest.mark.data
def test_lanes_of_portland_are_a_wide_table_in_local_time(shared_data: Path, tmp_path: Path):
    path = next((shared_data / "portland_i205").glob("speed_mph_*"))
    text = (
        "time = 'time_local'\ntime_zone = 'America/Los_Angeles'\noffset_s = 20\nprefix = 'lane-'\n"
        "[wide]\nquantity = 'speed_kmh'\nfactor = 1.609344\n"
    )
    recording = open_recording(path, column_map=ColumnMap.read(write(tmp_path, "map.toml", text)))
    assert (recording.rows, recording.n_faults) == (20_675 * 47, 0)


def test_table_with_the_names_of_our_payloads_needs_no_map(tmp_path: Path):
    text = "time,sensor_id,occupancy\n1970-01-01T00:00:01Z,杭州 1,0.125\n"
    (message,) = merged([open_recording(write(tmp_path, "c.csv", text))])
    assert message == Message(1000, "city/replay/杭州 1", b'{"t":1000,"occupancy":0.125}')


def test_epoch_seconds_with_fractions_are_times(tmp_path: Path):
    column_map = ColumnMap("id", "s", AARHUS.quantities, time_format="epoch_s")
    text = "id,s,vehicle_count,avg_speed_kmh,avg_travel_time_s\nA,1.5,1,,\n"
    (message,) = merged([open_recording(write(tmp_path, "d.csv", text), column_map=column_map)])
    assert message.time_ms == 1500


def test_rows_outside_the_window_are_left_out(tmp_path: Path):
    path = write(
        tmp_path, "e.csv", "sensor_id,t,speed_kmh\n" + "".join(f"A,1970-01-01T00:00:0{s}Z,{s}\n" for s in range(9))
    )
    messages = list(merged([open_recording(path, from_ms=2000, until_ms=5000)]))
    assert [m.time_ms for m in messages] == [2000, 3000, 4000]


def test_bad_lines_are_counted_named_and_left_out(tmp_path: Path):
    text = (
        "sensor_id,t,speed_kmh,flow_veh_h\n"
        "A,1970-01-01T00:00:01Z,50,60\n"
        "A,yesterday,50,60\n"
        "A,1970-01-01T00:00:02,50,60\n"  # no zone
        "A/B,1970-01-01T00:00:03Z,50,60\n"
        ",1970-01-01T00:00:03Z,50,60\n"
        "A,1970-01-01T00:00:04Z,fast,60\n"  # only the speed is bad
        "A,1970-01-01T00:00:05Z,,NaN\n"  # nothing measured
        "\n"
        "A\n"
        'B,1970-01-01T00:00:06Z,"7",8,surplus\n'
    )
    recording = open_recording(write(tmp_path, "f.csv", text))
    assert [m.payload for m in recording.messages()] == [
        b'{"t":1000,"speed_kmh":50.0,"flow_veh_h":60}',
        b'{"t":4000,"flow_veh_h":60}',
        b'{"t":6000,"speed_kmh":7.0,"flow_veh_h":8}',
    ]
    assert (recording.rows, recording.empty, recording.n_faults) == (3, 1, 6)
    assert [fault.split(":")[1] for fault in recording.faults] == [f" line {n}" for n in (3, 4, 5, 6, 7, 10)]
    assert "speed_kmh is 'fast', must be a number" in recording.faults[4]


def test_duplicates_are_exact_and_still_replayed(tmp_path: Path):
    row, other = "A,1970-01-01T00:00:01Z,50,\n", "A,1970-01-01T00:00:01Z,51,\n"
    recording = open_recording(write(tmp_path, "g.csv", "sensor_id,t,speed_kmh,occupancy\n" + row * 3 + other))
    assert recording.duplicates == 2
    assert len(list(recording.messages())) == 4


def test_captured_messages_keep_topic_and_payload_to_the_byte(tmp_path: Path):
    text = (
        '2018-10-09T04:32:52.549043+0000 /hfp/v1/x/Itä Pakila/1 {"VP": {"a": " {"}}\n'
        "nonsense\n"
        "2018-10-09T04:32:51Z city/a/b not json at all\n"
        '2018-10-09T04:32:53Z city/a/b {"t": 1}\r\n'
    )
    recording = open_recording(write(tmp_path, "h.txt", text))
    assert [(m.time_ms, m.topic, m.payload) for m in recording.messages()] == [
        (1539059572549, "/hfp/v1/x/Itä Pakila/1", b'{"VP": {"a": " {"}}'),
        (1539059572549, "city/a/b", b"not json at all"),  # never before its predecessor
        (1539059573000, "city/a/b", b'{"t": 1}'),
    ]
    assert recording.n_faults == 1
    assert "line 2" in recording.faults[0]


@pytest.mark.data
def test_capture_of_helsinki_is_replayed_whole(shared_data: Path):
    path = shared_data / "mqtt" / "hsl_hfp_20181009T0432Z_first3000.txt.gz"
    recording = open_recording(path)
    messages = list(recording.messages())
    assert (len(messages), recording.n_faults) == (3000, 0)
    assert sum(" " in m.topic for m in messages) == 371
    assert sum(not m.topic.isascii() for m in messages) > 300
    middle = messages[1500].time_ms
    late = list(open_recording(path, from_ms=middle).messages())
    assert late == [m for m in messages if m.time_ms >= middle]


def test_recordings_are_merged_in_order_of_time(tmp_path: Path):
    table = write(tmp_path, "i.csv", "sensor_id,t,speed_kmh\nA,2018-10-09T04:32:50Z,1\nA,2018-10-09T04:32:54Z,2\n")
    capture = write(tmp_path, "j.txt", '2018-10-09T04:32:52Z city/a/b {"t": 1}\n')
    topics = [m.topic for m in merged([open_recording(table), open_recording(capture)])]
    assert topics == ["city/replay/A", "city/a/b", "city/replay/A"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "known layout"),
        (b"a,b,c\n1,2,3\n", "its columns, a, b, c, are no known layout; say with --map"),
        (b"sensor_id,t,speed_kmh\nA,1970-01-01T00:00:01Z,1\n\xff\xfe,1,1\n", "not UTF-8"),
        (b"\xff\xfes\x00e\x00", "first line is not UTF-8"),
        (
            gzip.compress(b"sensor_id,t,speed_kmh\n" + b"A,1970-01-01T00:00:01Z,1\n" * 50, mtime=0)[:-20],
            "gzip file is damaged",
        ),
        (b"\x1f\x8bnonsense", "gzip file is damaged"),
        (b"sensor_id,t,speed_kmh\nA,x,1\nB,y,2\n", "line 2"),  # not one row that can be replayed
    ],
)
def test_files_that_cannot_be_replayed_are_refused_with_their_name(tmp_path: Path, content: bytes, says: str):
    path = tmp_path / "k.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_recording(path)
    assert "k.csv" in str(caught.value)
    assert says in str(caught.value)


def test_missing_file_and_missing_columns_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"no\.csv: cannot be read: No such file"):
        open_recording(tmp_path / "no.csv")
    path = write(tmp_path, "l.csv", "report_id,x\n1,2\n")
    with pytest.raises(InputError) as caught:
        open_recording(path, column_map=AARHUS)
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["sensor_id is None", "time is None", "quantities is None"]),
        (MAP.replace("prefix", "prefiks"), ["unknown key 'prefiks', did you mean 'prefix'"]),
        (MAP.replace("Europe/Rome", "Rome"), ["time_zone is 'Rome'"]),
        (MAP.replace("Europe/Rome", "../etc"), ["time_zone is '../etc'"]),
        (MAP.replace("speed_kmh", "speed_km"), ["[quantities]: unknown key 'speed_km', did you mean 'speed_kmh'"]),
        (MAP.replace("factor = 1.6", "faktor = 1.6"), ["unknown key 'faktor', did you mean 'factor'"]),
        (MAP.replace("1.609344", "'x'"), ["quantities.speed_kmh.factor is 'x'"]),
        (MAP.replace("300", "'300'").replace('";"', '";;"'), ["offset_s is '300'", "delimiter is ';;'"]),
        ("time_format = 'unix'\n" + MAP, ["time_format is 'unix', must be one of iso, epoch_s, epoch_ms"]),
        ("time = 't'\nwide = 3", ["wide is 3, must be a table"]),
        (
            "time = 't'\nsensor_id = 's'\n[wide]\nquantity = 'speed'\nx = 1\nignore = 'a'\nfactor = 0\n",
            [
                "sensor_id must be absent",
                "wide.quantity is 'speed'",
                "unknown key 'x'",
                "wide.ignore",
                "wide.factor is 0",
            ],
        ),
        ("sensor_id = [", ["is not valid TOML"]),
    ],
)
def test_faults_of_a_column_map_are_all_named(tmp_path: Path, text: str, faults: list[str]):
    with pytest.raises(InputError) as caught:
        ColumnMap.read(write(tmp_path, "map.toml", text))
    assert len(caught.value.faults) == len(faults)
    assert all("map.toml" in found for found in caught.value.faults)
    assert all(any(expected in found for found in caught.value.faults) for expected in faults)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.booleans())
def test_any_file_is_read_or_refused(tmp_path: Path, noise: bytes, packed: bool):
    content = b"sensor_id,t,speed_kmh,flow_veh_h\nA,1970-01-01T00:00:01Z,50,60\n" + noise
    path = tmp_path / "noise.csv"
    path.write_bytes(gzip.compress(content) if packed else content)
    try:
        messages = list(open_recording(path).messages())
    except InputError as error:
        messages = []
        text = str(error)
    else:
        text = "noise.csv"
    assert "noise.csv" in text
    assert all(json.loads(message.payload)["t"] == message.time_ms for message in messages)


def test_paced_messages_keep_their_distance_in_time():
    now = [1000.0]
    taken = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    messages = [Message(ms, "city/a/b", b"{}") for ms in (50_000, 50_000, 80_000, 110_000)]
    for message in paced(messages, factor=60, wall=lambda: now[0], sleep=sleep):
        taken.append((message.time_ms, now[0]))
        now[0] += 0.1  # the receiver takes its time; the next one is not late for it
    assert taken == [(50_000, 1000.0), (50_000, 1000.1), (80_000, 1000.5), (110_000, 1001.0)]


def test_full_speed_never_waits():
    def sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    messages = [Message(ms, "city/a/b", b"{}") for ms in range(0, 10**9, 10**7)]
    assert len(list(paced(messages, factor=math.inf, wall=lambda: 0.0, sleep=sleep))) == 100
