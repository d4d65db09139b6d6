"""Stored history over HTTP: pages without end, steps, profiles, gaps and zones, and an export that is a stream."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.correction import correct
from ingest.rollup import refresh
from sensors import Reading

MINUTE_MS = 60_000


def rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module")
def sensor(hub: Any) -> str:
    return str(hub.detector().sensor_id)


@pytest.fixture(scope="module")
def start_ms(hub: Any, sensor: str) -> int:
    """Two hours ago, at a full hour: a detector with a speed a minute for half an hour, without minutes 10 to 14."""
    start = (round(hub.app.clock.now()) // 3600 - 2) * 3_600_000
    hub.say(*[Reading(sensor, "speed_kmh", start + k * MINUTE_MS, 30.0 + k) for k in range(30) if not 10 <= k < 15],
            Reading("stranger", "speed_kmh", start, 99.0))  # fmt: skip
    while refresh(hub.app.store.database):
        pass
    return start


@pytest.fixture(scope="module")
def window(hub: Any, start_ms: int) -> dict[str, str]:
    return {"from": rfc3339(start_ms), "until": rfc3339(start_ms + 3_600_000)}


@pytest.fixture(scope="module")
def one(sensor: str, window: dict[str, str]) -> dict[str, str]:
    return {"sensor_id": sensor, "quantity": "speed_kmh", **window}


def test_pages_follow_one_another_until_all_is_read(hub: Any, one: dict[str, str]) -> None:
    values, after, pages = [], {}, 0
    while True:
        said = hub.get("readings/page", limit=7, **one, **after)
        values += [row["value"] for row in said["readings"]]
        pages += 1
        if said["next"] is None:
            break
        after = {"after": said["next"]}
    assert values == [30.0 + k for k in range(30) if not 10 <= k < 15]
    assert pages == 4


@pytest.mark.parametrize("step_s", [300, 600, 60, 420])
def test_steps_are_the_same_from_rollups_and_from_readings(hub: Any, one: dict[str, str], step_s: int) -> None:
    rows = hub.get("readings/buckets", step_s=step_s, **one)["buckets"]
    raw = hub.get("readings/buckets", step_s=step_s, **one, corrected="false")["buckets"]
    assert rows == raw
    assert sum(row["n"] for row in rows) == 25
    assert rows[0]["least"] == 30.0
    assert rows[-1]["greatest"] == 59.0


def test_the_network_at_a_time_and_the_newest_of_all_have_one_row_a_series(hub: Any, one: Any, start_ms: int) -> None:
    at = rfc3339(start_ms + 12 * MINUTE_MS)
    rows = {row["sensor_id"]: row for row in hub.get("readings/network", at=at)["readings"]}
    assert rows[one["sensor_id"]]["value"] == 39.0
    assert rows["stranger"]["value"] == 99.0
    assert hub.get("readings/network", at=at, known_at="2020-01-01T00:00:00Z")["readings"] == []
    latest = {row["sensor_id"]: row["value"] for row in hub.get("readings/latest")["readings"]}
    assert latest[one["sensor_id"]] == 59.0


def test_gaps_completeness_and_profile(hub: Any, one: dict[str, str], window: dict[str, str], start_ms: int) -> None:
    gaps = hub.get("readings/gaps", longer_than_s=61, **one)["gaps"]
    assert [datetime.fromisoformat(gaps[0][key]).timestamp() * 1000 for key in ("from", "until")] == [
        start_ms + 9 * MINUTE_MS,
        start_ms + 15 * MINUTE_MS,
    ]
    assert len(gaps) == 1
    days = hub.get("readings/completeness", **window)["days"]
    assert sum(day["received"] for day in days if day["sensor_id"] == one["sensor_id"]) == 25
    profile = hub.get("readings/profile", step_s=3600, **one)["profile"]
    assert sum(row["n"] for row in profile) == 25
    assert all(0 <= row["second"] < 7 * 86_400 for row in profile)


def test_curves_of_the_network_and_of_a_zone(hub: Any, one: dict[str, str], window: dict[str, str]) -> None:
    curve = hub.get("readings/curve", quantity="speed_kmh", **window)["curve"]
    assert curve[0]["n"] == 6
    assert curve[0]["mean"] == pytest.approx((30 + 31 + 32 + 33 + 34 + 99) / 6, abs=0.001)  # three digits are told
    zones = hub.get("readings/zones", quantity="speed_kmh", **window)["zones"]
    assert [zone["n"] for zone in zones] == [25]  # the stranger lies in none
    own = hub.get("readings/curve", quantity="speed_kmh", zone_id=zones[0]["zone_id"], **window)["curve"]
    assert own[0]["mean"] == 32.0


def test_a_correction_is_seen_unless_asked_otherwise(hub: Any, one: dict[str, str], start_ms: int) -> None:
    correct(
        hub.app.store.database, one["sensor_id"], "speed_kmh", [(start_ms + 20 * MINUTE_MS, 500.0)],
        author="A", reason="B", recorded_at=hub.app.clock.now(),
    )  # fmt: skip
    window = one | {"from": rfc3339(start_ms + 20 * MINUTE_MS), "until": rfc3339(start_ms + 21 * MINUTE_MS)}
    assert hub.get("readings/page", **window)["readings"][0]["value"] == 500.0
    assert hub.get("readings/page", corrected="false", **window)["readings"][0]["value"] == 50.0


def test_the_export_is_a_table_that_can_be_read_and_replayed(hub: Any, window: dict[str, str]) -> None:
    answer = hub.client.get("/api/v1/readings/export", params=window)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 26
    assert set(rows[0]) == {"sensor_id", "quantity", "time", "value", "quality"}
    for _ in range(5):  # each gives its connection back
        assert hub.client.get("/api/v1/readings/export", params=window).status_code == 200


@pytest.mark.parametrize(
    ("path", "more", "word"),
    [
        ("page", {"limit": 0}, "limit"),
        ("page", {"after": "soon"}, "after"),
        ("page", {"from": "2030-01-01T00:00:00Z"}, "from"),
        ("buckets", {"step_s": 0}, "step_s"),
        ("buckets", {"from": "0001-01-01T00:00:00Z", "step_s": 1}, "100000 steps"),
        ("profile", {"step_s": 400}, "multiple of 300"),
        ("gaps", {"longer_than_s": -1}, "longer_than_s"),
        ("network", {"at": "12:00"}, "at"),
        ("curve", {"known_at": "x", "until": "x"}, "until"),
        ("export", {"until": "x"}, "until"),
    ],
)
def test_a_bad_question_is_422_and_names_the_parameter(hub: Any, path: str, more: Any, word: str, one: Any) -> None:
    answer = hub.client.get(f"/api/v1/readings/{path}", params=one | more)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


@pytest.mark.parametrize("name", ["none", "D\0", "'; DROP TABLE reading; --", "路", ""])
def test_a_strange_name_has_no_history_and_does_no_harm(hub: Any, window: dict[str, str], name: str) -> None:
    for names in ({"sensor_id": name, "quantity": "speed_kmh"}, {"sensor_id": "D1", "quantity": name}):
        for path, key in (("page", "readings"), ("buckets", "buckets"), ("profile", "profile")):
            assert hub.get(f"readings/{path}", **names, **window)[key] == []
    for question in ({"quantity": name}, {"quantity": "speed_kmh", "zone_id": name}):
        assert hub.get("readings/curve", **question, **window)["curve"] == []
    assert hub.get("readings/zones", quantity=name, **window)["zones"] == []
