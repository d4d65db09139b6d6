"""The live state over HTTP: every link has its place, unknown is null, and stored readings are found again."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import numpy as np
import pytest
from websockets.sync.client import connect

from hub.show import sensor_counts, sensor_rows
from sensors import Reading
from twin import Network
from twin.finding import Evidence, Finding, Suspicion
from twin.state import SensorState, Snapshot

ENDS = ("speed_low_kmh", "speed_high_kmh", "flow_low_veh_h", "flow_high_veh_h")
COLUMNS = ("speed_kmh", "speed_sd_kmh", "flow_veh_h", "flow_sd_veh_h", *ENDS, "density_veh_km")


def test_before_the_first_snapshot_the_state_is_503_and_not_an_empty_city(make_hub: Any, database: Any) -> None:
    quiet = make_hub(database, started=False)
    link = quiet.app.compiled.link_ids[0]
    for path in ("state", "summary", "sensors", "suspects", f"links/{link}"):
        answer = quiet.client.get(f"/api/v1/{path}")
        assert answer.status_code == 503, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_state_has_a_value_and_a_source_for_every_link(hub: Any) -> None:
    link = hub.drive(31.0, flow_veh_h=720.0).link_id
    said = hub.get("state")
    n = hub.app.compiled.n_links
    assert said["link_ids"] == list(hub.app.compiled.link_ids)
    assert said["network_sha256"] == hub.app.network.sha256
    for column in (*COLUMNS, "source"):
        assert len(said[column]) == n
    assert set(said["source"]) <= {"measured", "estimated", "guessed"}
    row = said["link_ids"].index(link)
    assert said["source"][row] == "measured"
    assert said["speed_kmh"][row] == pytest.approx(31.0, abs=8.0)  # the estimate leans on its prior as well
    assert datetime.fromisoformat(said["time"]).timestamp() == pytest.approx(hub.app.clock.now(), abs=5.0)
    assert said["time"].endswith("Z")


def test_every_link_says_between_which_ends_its_true_speed_and_flow_lie(hub: Any) -> None:
    link = hub.drive(31.0, flow_veh_h=720.0).link_id
    said, one = hub.get("state"), hub.get(f"links/{link}")
    snapshot = hub.app.board.snapshot
    for name, unit in (("speed", "kmh"), ("flow", "veh_h")):
        low, middle, high = (np.array(said[f"{name}_{part}{unit}"], float) for part in ("low_", "", "high_"))
        assert (low >= 0).all()
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert (high - low > 0).all()
        row = said["link_ids"].index(link)
        assert low[row] < {"speed": 31.0, "flow": 720.0}[name] < high[row]
        assert one["state"][f"{name}_low_{unit}"] == pytest.approx(low[row], rel=0.2)  # a snapshot later, perhaps
        assert one["history"][f"{name}_high_{unit}"][-1] == pytest.approx(high[row], rel=0.2)
        # In kilometres an hour and vehicles an hour, of all lanes.
        factor = {"speed": 3.6, "flow": 3600.0}[name]
        assert high == pytest.approx(factor * getattr(snapshot, f"{name}_interval")[1], rel=0.2)
    assert set(said["speed_source"]) | set(said["flow_source"]) <= {"measured", "estimated", "guessed"}
    paths = hub.client.get("/openapi.json").json()["paths"]
    for path in ("/api/v1/state", "/api/v1/links/{link_id}"):
        assert all(name in paths[path]["get"]["description"] for name in ENDS), path


def test_the_sequence_grows(hub: Any) -> None:
    first = hub.get("state")["sequence"]
    hub.drive(40.0)
    assert hub.get("state")["sequence"] > first


def test_one_link_tells_its_sensor_its_state_and_its_history(hub: Any) -> None:
    sensor = hub.drive(30.0)
    link = sensor.link_id
    said = hub.get(f"links/{link}")
    assert said["link_id"] == link
    assert set(said["name"]) == {"en", "zh"}
    assert said["state"]["source"] == "measured"
    assert said["truth"] is None
    (row,) = [row for row in said["sensors"] if row["sensor_id"] == sensor.sensor_id]
    assert (row["kind"], row["silent"], row["stuck"], row["registered"]) == ("detector", False, False, True)
    assert set(row["quantities"]) == set(sensor.quantities)
    assert row["values"]["speed_kmh"] == 30.0
    assert row["values"]["occupancy"] is None  # not said yet: unknown, not zero
    assert row["last_time"] == said["state"]["measured_at"]
    history = said["history"]
    assert len({len(column) for column in history.values()}) == 1
    assert history["time"] == sorted(history["time"])
    assert history["source"][-1] == "measured"


def test_a_silent_sensor_has_no_time_and_no_value(hub: Any) -> None:
    rows = {row["sensor_id"]: row for row in hub.get("sensors")["sensors"]}
    assert set(rows) >= {sensor.sensor_id for sensor in hub.app.network.sensors}
    row = rows[hub.detector().sensor_id]
    assert row["last_time"] is None
    assert set(row["values"].values()) == {None}


def test_an_unknown_sensor_appears_as_unverified(hub: Any) -> None:
    hub.say(Reading("NEW 7", "speed_kmh", round(hub.app.clock.now() * 1000), 44.0))
    (row,) = [row for row in hub.get("sensors")["sensors"] if row["sensor_id"] == "NEW 7"]
    assert (row["kind"], row["registered"], row["link_id"]) == ("unverified", False, None)


def test_the_summary_counts_the_sensors_that_report(hub: Any) -> None:
    before = hub.get("summary")
    strangers = [row for row in hub.get("sensors")["sensors"] if not row["registered"] and not row["silent"]]
    assert before["sensors_total"] == len(hub.app.network.sensors) + len(strangers)
    hub.drive(30.0)
    after = hub.get("summary")
    assert after["sensors_reporting"] == before["sensors_reporting"] + 1
    assert after["estimate_error"] is None
    assert after["typical"] is None


def test_a_sensor_that_nobody_registered_counts_only_while_it_reports() -> None:
    times, nothing = np.array([10.0, 10.0, np.nan, 10.0]), np.zeros(4)
    sensors = SensorState(
        ("BUS 1", "BUS 2", "D1", "D2"), ("speed_kmh",) * 4, ("",) * 4, times, nothing, times, nothing, nothing,
        silent=np.array([False, True, True, False]), registered=np.array([False, False, True, True]),
    )  # fmt: skip
    links = np.zeros(0)
    snapshot = Snapshot(
        time=10.0, sequence=1, network_sha256="", speed=links, speed_deviation=links, flow=links, flow_deviation=links,
        density=links, source=np.zeros(0, np.uint8), measured_at=links, sensors=sensors,
    )  # fmt: skip
    assert sensor_counts(snapshot) == (2, 3)


def test_a_suspected_sensor_says_how_why_and_since_when(town: Network) -> None:
    times, nothing = np.full(3, 10.0), np.zeros(3)
    finding = Finding(Suspicion.SCALED, "flow_veh_h", {"ratio": 0.4}, Evidence(1.5, 240.0, 600.0, 108))
    sensors = SensorState(
        ("D1", "D1", "D2"), ("speed_kmh", "flow_veh_h", "speed_kmh"), ("",) * 3,
        times, nothing, times, nothing, nothing,
        suspicion=np.array([0, Suspicion.SCALED, 0], np.uint8), suspected_since=np.array([np.nan, 5.0, np.nan]),
        findings=(None, finding, None),
    )  # fmt: skip
    links = np.zeros(0)
    snapshot = Snapshot(
        time=10.0, sequence=1, network_sha256="", speed=links, speed_deviation=links, flow=links, flow_deviation=links,
        density=links, source=np.zeros(0, np.uint8), measured_at=links, sensors=sensors,
    )  # fmt: skip
    said = [(row["suspected"], row["reason"], row["suspected_since"]) for row in sensor_rows(town, snapshot)]
    assert said == [
        ("scaled", "flow_veh_h is 0.40 times what the neighbours imply", "1970-01-01T00:00:05.000Z"),
        (None, None, None),
    ]


# --- readings


class Stored(NamedTuple):
    """A detector with five speeds, a minute apart, and one flow; times in ms, oldest first."""

    sensor_id: str
    times: list[int]


@pytest.fixture(scope="module")
def stored(hub: Any) -> Stored:
    sensor, now = hub.detector().sensor_id, round(hub.app.clock.now()) * 1000
    times = [now - 60_000 * back for back in (4, 3, 2, 1, 0)]
    hub.say(*[Reading(sensor, "speed_kmh", time, 30.0 + i) for i, time in enumerate(times)],
            Reading(sensor, "flow_veh_h", times[-1], 500.0))  # fmt: skip
    return Stored(sensor, times)


def rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def test_readings_come_newest_first_and_with_every_quantity(hub: Any, stored: Stored) -> None:
    rows = hub.get("readings", sensor_id=stored.sensor_id)["readings"]
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)
    assert sorted(row["value"] for row in rows if row["quantity"] == "speed_kmh") == [30, 31, 32, 33, 34]
    assert [row["value"] for row in rows if row["quantity"] == "flow_veh_h"] == [500.0]
    assert {row["quality"] for row in rows} == {0}


def test_from_is_included_and_until_is_not(hub: Any, stored: Stored) -> None:
    rows = hub.get(
        "readings",
        **{
            "sensor_id": stored.sensor_id, "quantity": "speed_kmh",
            "from": rfc3339(stored.times[1]), "until": rfc3339(stored.times[3]),
        },
    )["readings"]  # fmt: skip
    assert [row["value"] for row in rows] == [32.0, 31.0]


def test_the_limit_keeps_the_newest_of_all_quantities_together(hub: Any, stored: Stored) -> None:
    rows = hub.get("readings", sensor_id=stored.sensor_id, limit=3)["readings"]
    assert [(row["quantity"], row["value"]) for row in rows] == [
        ("flow_veh_h", 500.0), ("speed_kmh", 34.0), ("speed_kmh", 33.0),
    ]  # fmt: skip


def test_a_zone_other_than_utc_and_a_plus_that_became_a_blank_are_understood(hub: Any, stored: Stored) -> None:
    local = datetime.fromtimestamp(stored.times[4] / 1000, timezone(timedelta(hours=8))).isoformat()
    path = f"/api/v1/readings?sensor_id={stored.sensor_id}&quantity=speed_kmh&from={local}"
    assert [row["value"] for row in hub.client.get(path).json()["readings"]] == [34.0]


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({}, "sensor_id"),
        ({"sensor_id": "D", "limit": 0}, "limit"),
        ({"sensor_id": "D", "limit": 100_001}, "limit"),
        ({"sensor_id": "D", "limit": "ten"}, "limit"),
        ({"sensor_id": "D", "from": "yesterday"}, "from"),
        ({"sensor_id": "D", "from": ""}, "from"),
        ({"sensor_id": "D", "until": "2026-01-31T08:00:00"}, "until"),
        ({"sensor_id": "D", "until": "2026-13-31T08:00:00Z"}, "until"),
        ({"sensor_id": "D", "from": "NaN"}, "from"),
    ],
)
def test_a_bad_question_is_422_and_names_the_parameter(hub: Any, parameters: dict[str, Any], word: str) -> None:
    answer = hub.client.get("/api/v1/readings", params=parameters)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["detail"]


@pytest.mark.parametrize("name", ["none", "D\0", "'; DROP TABLE reading; --", "%", "路", "a" * 5000, ""])
def test_a_strange_sensor_has_no_readings_and_does_no_harm(hub: Any, stored: Stored, name: str) -> None:
    for more in ({}, {"quantity": "speed_kmh"}):
        assert hub.get("readings", sensor_id=name, **more)["readings"] == []
    sensor = stored.sensor_id
    for quantity in ("speed", "speed_kmh\0", "'"):
        assert hub.get("readings", sensor_id=sensor, quantity=quantity)["readings"] == []
    assert len(hub.get("readings", sensor_id=sensor)["readings"]) == 6


def test_the_widest_window_of_the_calendar_holds_everything(hub: Any, stored: Stored) -> None:
    window = {"from": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}
    rows = hub.get("readings", sensor_id=stored.sensor_id, **window)["readings"]
    assert len(rows) == 6


def test_a_hub_whose_city_stands_still_says_hello_so_that_its_silence_means_a_lost_connection(
    make_hub: Any, database: Any
) -> None:
    hub = make_hub(database, started=False)
    with connect(f"ws://{hub.address}/api/v1/live", proxy=None) as listener:
        said = [json.loads(listener.recv(timeout=30.0)) for _ in range(3)]
    assert said == 3 * [{"type": "hello", "network_sha256": hub.app.network.sha256}]
