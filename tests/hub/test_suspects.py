"""The sensors of the city that are not believed: each fault once, with its figures, and none that is only dark."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hub.cli import main
from hub.suspects import CODES, suspect_rows
from twin import Network
from twin.finding import Evidence, Finding, Suspicion, scaled
from twin.state import SensorState, Snapshot

NOW = 10_000.0
EVIDENCE = Evidence(answer=1.25, read=310.0, expected=615.0, readings=108)


def series(**rows: Any) -> Snapshot:
    """A snapshot without links; the columns of its series are given."""
    n = len(rows["sensor_ids"])
    times = {"time": NOW, "value": 30.0, "interval_s": 300.0, "unchanged_since": NOW, "expected_since": 1000.0}
    columns = {name: np.asarray(rows.pop(name, np.full(n, value))) for name, value in times.items()}
    sensors = SensorState(**{"link_ids": ("",) * n, **columns, **rows})
    links = np.zeros(0)
    return Snapshot(
        time=NOW, sequence=1, network_sha256="", speed=links, speed_deviation=links, flow=links, flow_deviation=links,
        density=links, source=np.zeros(0, np.uint8), measured_at=links, sensors=sensors,
    )  # fmt: skip


def test_a_suspicion_is_a_code_with_figures_evidence_and_the_same_in_words(town: Network) -> None:
    finding = Finding(Suspicion.SCALED, "flow_veh_h", scaled(0.5041, lanes=2), EVIDENCE)
    snapshot = series(
        sensor_ids=("D1", "D1"), quantities=("speed_kmh", "flow_veh_h"), suspected_since=np.array([np.nan, 8000.0]),
        suspicion=np.array([0, finding.suspicion], np.uint8), findings=(None, finding),
    )  # fmt: skip
    (row,) = suspect_rows(town, snapshot)
    assert row == {
        "sensor_id": "D1", "kind": "unverified", "owner": "", "link_id": None, "lon_lat": None,
        "code": "scaled", "quantity": "flow_veh_h", "unit": "veh/h",
        "parameters": {"ratio": 0.504, "lanes_counted": 1, "lanes": 2},
        "evidence": {"answer": 1.25, "read": 310.0, "expected": 615.0, "readings": 108, "step_s": 300.0},
        "reason": "flow_veh_h is 0.50 times what the neighbours imply, as if it counted 1 of 2 lanes",
        "since": "1970-01-01T02:13:20.000Z",
    }  # fmt: skip


def test_silence_is_one_fault_a_sensor_and_stuck_one_a_quantity_the_newest_first(town: Network) -> None:
    snapshot = series(
        sensor_ids=("D1", "D1", "D2", "D2", "D3", "BUS"),
        quantities=("speed_kmh", "flow_veh_h") * 2 + ("speed_kmh",) * 2,
        time=np.array([6400.0, np.nan, NOW, NOW, np.nan, 100.0]),
        silent=np.array([1, 1, 0, 0, 1, 1], np.bool_), stuck=np.array([1, 0, 1, 1, 0, 0], np.bool_),
        repeats=np.array([9, 0, 12, 12, 0, 0]), unchanged_since=np.array([1.0, 1.0, 7000.0, 7000.0, 1.0, 1.0]),
        registered=np.array([1, 1, 1, 1, 1, 0], np.bool_),
    )  # fmt: skip
    rows = suspect_rows(town, snapshot)
    assert [(row["sensor_id"], row["code"], row["quantity"], row["parameters"], row["reason"]) for row in rows] == [
        ("D2", "stuck", "speed_kmh", {"value": 30.0, "repeats": 12}, "speed_kmh has been 30 for 13 readings"),
        ("D2", "stuck", "flow_veh_h", {"value": 30.0, "repeats": 12}, "flow_veh_h has been 30 for 13 readings"),
        ("D1", "silent", None, {"age_s": 3600.0, "interval_s": 300.0}, "has not reported for 60 min"),
        ("D3", "silent", None, {"age_s": None, "interval_s": 300.0}, "has never reported"),
    ]
    since = ("01:56:40", "01:56:40", "01:46:40", "00:16:40")
    assert [row["since"] for row in rows] == [f"1970-01-01T{clock}.000Z" for clock in since]


def test_a_dark_sensor_is_no_suspect_its_reason_is_known(town: Network) -> None:
    finding = Finding(Suspicion.EMPTY, "flow_veh_h", {"expected": 600.0}, EVIDENCE)
    out = np.array([True])
    dark = series(
        sensor_ids=("D1",), quantities=("flow_veh_h",), findings=(finding,), silent=out, stuck=out, dark=out,
        suspicion=np.array([1], np.uint8), suspected_since=np.array([1.0]),
    )  # fmt: skip
    assert suspect_rows(town, dark) == []


def test_the_city_lists_and_counts_its_suspects_and_the_command_tells_them(
    hub: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub.app.board, "publish", lambda snapshot: None)  # what is asked about stands still
    state = hub.app.board.snapshot.sensors
    n = len(state.sensor_ids)
    stuck = np.arange(n) < 3
    finding = Finding(Suspicion.NOISY, state.quantities[3], {"times": 3.25}, EVIDENCE)
    named = replace(
        state, silent=np.zeros(n, np.bool_), stuck=stuck, dark=np.zeros(n, np.bool_), compared=np.arange(n) < 4,
        findings=tuple(finding if i == 3 else None for i in range(n)), suspected_since=np.full(n, 5.0),
        value=np.full(n, 7.0), unchanged_since=np.full(n, 6.0), suspicion=np.where(np.arange(n) == 3, 2, 0),
    )  # fmt: skip
    monkeypatch.setattr(hub.app.board, "snapshot", replace(hub.app.board.snapshot, sensors=named), raising=False)
    found = hub.get("suspects")
    assert tuple(found["counts"]) == CODES
    assert {code: count for code, count in found["counts"].items() if count} == {"stuck": 3, "noisy": 1}
    assert found["sensors_compared"] == len(set(state.sensor_ids[:4]))
    assert [row["code"] for row in found["suspects"]] == ["stuck"] * 3 + ["noisy"]
    noisy = hub.get("suspects", code="noisy", limit=1)
    assert noisy == {**found, "suspects": found["suspects"][3:]}
    assert noisy["suspects"][0]["parameters"] == {"times": 3.25}
    assert hub.get("suspects", limit=1)["suspects"] == found["suspects"][:1]
    assert hub.client.get("/api/v1/suspects?code=broken").status_code == 422
    (row,) = [row for row in hub.get("sensors")["sensors"] if row["finding"]]
    assert row["finding"] == {key: noisy["suspects"][0][key] for key in row["finding"]}
    assert main(["assets", "suspects", "--url", f"http://{hub.address}"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 stuck, 1 noisy; ")
    assert f"{state.sensor_ids[3]} (" in said
    assert "jumps 3.2 times as much as it used to" in said
    assert main(["assets", "suspects", "--url", f"http://{hub.address}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
