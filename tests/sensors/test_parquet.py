"""Recordings in Parquet files give the same rows as the same table in CSV; what is wrong with them is named."""

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sensors import InputError
from sensors.column_map import Column, ColumnMap
from sensors.replay import open_recording

pa: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")
START = datetime(2026, 6, 15, tzinfo=UTC)
EPOCH_MS = int(START.timestamp()) * 1000


def saved(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def rows(path: Path, column_map: ColumnMap | None = None) -> list[tuple[int, str, bytes]]:
    return [tuple(message) for message in open_recording(path, column_map=column_map).messages()]


def test_parquet_gives_the_same_messages_as_csv(tmp_path: Path):
    ids, minutes = [f"D{k % 7}" for k in range(300)], [k // 7 for k in range(300)]
    speed = [None if k % 11 == 0 else k / 4 for k in range(300)]
    flow = [None if k % 11 == 0 or k % 5 == 0 else k for k in range(300)]
    stamps = [datetime.fromtimestamp(START.timestamp() + 60 * m, UTC) for m in minutes]
    lines = [
        f"{i},{t.isoformat()},{'' if v is None else v},{'' if q is None else q}"
        for i, t, v, q in zip(ids, stamps, speed, flow, strict=True)
    ]
    plain = tmp_path / "t.csv"
    plain.write_text("sensor_id,time,speed_kmh,flow_veh_h\n" + "\n".join(lines), "utf-8")
    for unit in ("s", "ms", "us", "ns"):
        path = saved(
            tmp_path / f"{unit}.parquet",
            sensor_id=pa.array(ids).dictionary_encode() if unit == "ms" else pa.array(ids),
            time=pa.array(stamps, pa.timestamp(unit, "UTC")),
            speed_kmh=pa.array(speed, pa.float32()),
            flow_veh_h=pa.array(flow, pa.int16()),
        )
        assert rows(path) == rows(plain)
        assert open_recording(path).empty == open_recording(plain).empty > 0


def test_times_without_zone_texts_and_numbers_are_read_as_the_map_says(tmp_path: Path):
    local = [datetime(2026, 6, 15, 2, 0)]
    forms = {
        "naive": (pa.array(local, pa.timestamp("us")), ColumnMap("id", "t", {}, zone=ZoneInfo("Europe/Helsinki"))),
        "text": (pa.array(["2026-06-14T23:00:00Z"]), ColumnMap("id", "t", {})),
        "number": (pa.array([EPOCH_MS / 1000 - 3600]), ColumnMap("id", "t", {}, time_format="epoch_s")),
    }
    for name, (times, of) in forms.items():
        column_map = ColumnMap(
            "id", "t", {"speed_kmh": Column("v", 1.609344)}, time_format=of.time_format, zone=of.zone, offset_s=60
        )
        path = saved(tmp_path / f"{name}.parquet", id=pa.array([7]), t=times, v=pa.array(["10"]))
        assert rows(path, column_map) == [
            (EPOCH_MS - 3_540_000, "city/replay/7", b'{"t":%d,"speed_kmh":16.093}' % (EPOCH_MS - 3_540_000))
        ]


def test_rows_that_cannot_be_replayed_are_counted_and_named_and_cost_no_other(tmp_path: Path):
    path = saved(
        tmp_path / "t.parquet",
        sensor_id=pa.array(["D1", None, "a/b", "D2", "D3"]),
        time=pa.array([START, START, START, None, START], pa.timestamp("ms", "UTC")),
        speed_kmh=pa.array([1.0, 2.0, 3.0, 4.0, float("inf")]),
    )
    recording = open_recording(path)
    assert [m.topic for m in recording.messages()] == ["city/replay/D1"]
    assert recording.n_faults == 4
    assert [fault.split(": ", 1)[1] for fault in recording.faults] == [
        "line 2: sensor None must not be empty or hold / + #",
        "line 3: sensor 'a/b' must not be empty or hold / + #",
        "line 4: there is no time",
        "line 5: speed_kmh is inf, must be a number",
    ]


def test_a_damaged_file_is_told_in_one_sentence(tmp_path: Path):
    good = saved(tmp_path / "t.parquet", sensor_id=["D1"] * 1000, time=[START] * 1000, speed_kmh=[1.0] * 1000)
    data = good.read_bytes()
    for name, bad in {"cut": data[: len(data) // 2], "short": b"PAR1", "junk": b"PAR1" + bytes(200)}.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(bad)
        with pytest.raises(InputError, match=rf"{name}\.parquet: cannot be read as Parquet"):
            open_recording(path)
    for place in range(8, len(data) - 8, 97):
        path = tmp_path / "flipped.parquet"
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            list(open_recording(path).messages())
        except InputError as error:
            assert all("flipped.parquet" in fault for fault in error.faults)  # noqa: PT017 - it may also be readable


def test_unknown_columns_and_missing_pyarrow_are_told_with_what_to_do(tmp_path: Path, monkeypatch):
    path = saved(tmp_path / "t.parquet", a=[1], b=[2])
    with pytest.raises(InputError, match=r"its columns, a, b, are no known layout; say with --map FILE"):
        open_recording(path)

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"needs pyarrow: pip install 'citytwin\[parquet\]'"):
        open_recording(path)
