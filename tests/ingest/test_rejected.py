"""Replay of what was rejected: stored once mended, marked, repeatable, and never lost or told twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.batcher import Decode
from ingest.database import Database
from ingest.rejected import Chosen, Replayed, replay_rejected
from ingest.settled import Counts
from ingest.store import Store
from sensors import Batch, PayloadError, Reading, Reason, Rejected
from sensors.payload import TopicRule, decoder

NOW = 1_781_481_700.0
T_MS = 1_781_481_600_000
DAY = 86_400.0
UNMENDED = decoder([TopicRule("city/#", "citytwin")])


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def take(store: Store, topic: str, payload: bytes, *, decode: Decode = UNMENDED, received_at: float = NOW) -> Counts:
    """Do what ingest does with one message."""
    try:
        readings, rejected = decode(topic, payload)
    except PayloadError as error:
        readings, rejected = [], [Rejected(topic, payload, error.reason, error.detail)]
    batch = Batch.of(readings, received_at=received_at, rejected=tuple(rejected))
    return store.write(batch, origin=lambda _: (topic, payload))


def replay(
    store: Store, decode: Decode = UNMENDED, *, now: float = NOW + DAY, retention_s: float = 10 * DAY, **more: Any
) -> Replayed:
    return replay_rejected(store.database, store, decode, now=now, retention_s=retention_s, future_s=300.0, **more)


def waiting(store: Store) -> list[tuple[str, str]]:
    return [
        (row[0], row[1])
        for row in store.database.fetch(
            "SELECT reason, detail FROM rejected WHERE replayed_at IS NULL ORDER BY rejected_id"
        )
    ]


def renamed(old: str, new: str) -> Decode:
    """Return our codec as if it knew another name of a quantity: what was mended."""

    def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        readings, rejected = UNMENDED(topic, payload.replace(old.encode(), new.encode()))
        return readings, [Rejected(topic, payload, item.reason, item.detail) for item in rejected]

    return decode


def test_topic_that_was_mapped_since_is_stored_as_of_now_and_marked(store: Store) -> None:
    payload = json.dumps({"t": T_MS, "speed_kmh": 31.5}).encode()
    assert take(store, "plant/D1", payload) == Counts(received=1, rejected=1)
    mended = decoder([TopicRule("plant/#", "citytwin")])
    assert replay(store, mended) == Replayed(rows=1, resolved=1, readings=Counts(received=1, stored=1))
    series = store.series("D1", "speed_kmh")
    assert (series.value.tolist(), series.received_at.tolist()) == ([31.5], [NOW + DAY])
    assert waiting(store) == []
    assert store.database.fetch("SELECT extract(epoch FROM replayed_at)::float8 FROM rejected") == [(NOW + DAY,)]


def test_second_replay_changes_nothing(store: Store) -> None:
    for k in range(3):
        take(store, "plant/D1", json.dumps({"t": T_MS + k, "speed_kmh": 1, "x": 1}).encode())
    mended = decoder([TopicRule("plant/#", "citytwin")])
    assert replay(store, mended).readings.stored == 3
    told = waiting(store)
    assert [reason for reason, _ in told] == ["unknown_quantity"] * 3
    again = replay(store, mended)
    assert (again.rows, again.resolved, again.kept, again.readings.stored) == (3, 0, 3, 0)
    assert waiting(store) == told


def test_only_the_mended_value_of_a_payload_is_resolved(store: Store) -> None:
    take(store, "city/a/D1", json.dumps({"t": T_MS, "flow_veh_h": 840, "velo": 30, "x": 1}).encode())
    assert len(waiting(store)) == 2
    result = replay(store, renamed("velo", "speed_kmh"))
    assert (result.resolved, result.kept) == (1, 1)
    assert result.readings == Counts(received=3, stored=1, duplicate=1, rejected=1)
    assert [detail.split()[0] for _, detail in waiting(store)] == ["'x'"]


def test_payload_that_came_twice_stays_rejected_twice(store: Store) -> None:
    for _ in range(2):
        take(store, "city/a/D1", json.dumps({"t": T_MS, "velo": 30}).encode())
    assert replay(store) == Replayed(rows=2, kept=2, readings=Counts(received=1, rejected=1))
    assert len(waiting(store)) == 2
    assert replay(store, renamed("velo", "speed_kmh")).resolved == 2


def test_values_of_one_payload_on_two_pages_are_each_resolved_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.rejected.PAGE_ROWS", 1)
    take(store, "city/a/D1", json.dumps({"t": T_MS, "velo": 30, "x": 1, "y": 2}).encode())
    result = replay(store, renamed("velo", "speed_kmh"))
    assert (result.rows, result.resolved, result.kept, result.readings.stored) == (3, 1, 2, 1)
    assert [detail.split()[0] for _, detail in waiting(store)] == ["'x'", "'y'"]


def test_second_value_of_a_stored_reading_is_kept_as_a_conflict_and_not_tried_again(store: Store) -> None:
    payload = json.dumps({"t": T_MS, "velo": 30}).encode()
    take(store, "city/a/D1", json.dumps({"t": T_MS, "speed_kmh": 50}).encode())
    take(store, "city/a/D1", payload)
    result = replay(store, renamed("velo", "speed_kmh"))
    assert (result.resolved, result.readings.conflict) == (1, 1)
    assert [reason for reason, _ in waiting(store)] == ["conflict"]
    assert replay(store, renamed("velo", "speed_kmh")).rows == 0
    assert store.series("D1", "speed_kmh").value.tolist() == [50.0]


def test_clock_that_ran_ahead_is_not_mended_by_waiting(store: Store) -> None:
    payload = json.dumps({"t": T_MS + 3_600_000, "speed_kmh": 30}).encode()
    bad = Rejected("city/a/D1", payload, Reason.TIME_IN_FUTURE, "3600 s after the city clock")
    store.write(Batch.of([], received_at=NOW, rejected=(bad,)))
    result = replay(store)
    assert (result.resolved, result.kept, result.readings.stored) == (0, 1, 0)
    assert waiting(store) == [("time_in_future", "3600 s after the city clock")]


def test_readings_that_came_while_the_city_clock_stood_wrong_are_judged_by_the_clock_of_now(store: Store) -> None:
    payload = json.dumps({"t": T_MS, "speed_kmh": 30}).encode()
    bad = Rejected("city/a/D1", payload, Reason.TIME_IN_FUTURE, "1e9 s after the city clock")
    store.write(Batch.of([], received_at=0.0, rejected=(bad,)))
    assert replay(store).resolved == 0
    result = replay(store, clock_was_wrong=True)
    assert (result.resolved, result.readings.stored) == (1, 1)
    assert waiting(store) == []


@pytest.mark.parametrize(
    ("chosen", "resolved"),
    [
        (Chosen(), ["a", "b", "c"]),
        (Chosen(reason=Reason.UNMAPPED_TOPIC), ["a", "b", "c"]),
        (Chosen(reason=Reason.NOT_JSON), []),
        (Chosen(topic="plant/+/a"), ["a"]),
        (Chosen(topic="other/#"), []),
        (Chosen(since=NOW + 1), ["c"]),
        (Chosen(reason=Reason.UNMAPPED_TOPIC, topic="plant/north/#", since=NOW), ["a", "b"]),
    ],
)
def test_only_what_was_chosen_is_tried(store: Store, chosen: Chosen, resolved: list[str]) -> None:
    payload = json.dumps({"t": T_MS, "speed_kmh": 1}).encode()
    for topic, at in (("plant/north/a", NOW), ("plant/north/b", NOW), ("plant/south/c", NOW + 2)):
        take(store, topic, payload, received_at=at)
    result = replay(store, decoder([TopicRule("plant/#", "citytwin")]), chosen=chosen)
    assert (result.resolved, result.rows) == (len(resolved), len(resolved))
    assert [s for s in "abc" if len(store.series(s, "speed_kmh"))] == resolved


def test_longer_retention_lets_old_readings_in(store: Store) -> None:
    payload = json.dumps({"t": T_MS - int(20 * DAY * 1000), "speed_kmh": 30}).encode()
    bad = Rejected("city/a/D1", payload, Reason.TIME_TOO_OLD, "much before the city clock")
    store.write(Batch.of([], received_at=NOW, rejected=(bad,)))
    assert replay(store).resolved == 0
    assert replay(store, retention_s=30 * DAY).readings.stored == 1
    assert waiting(store) == []


def test_sensors_beyond_the_limit_are_stored_once_the_limit_is_raised(database: Database) -> None:
    narrow = Store(database, unverified_limit=1)
    for name in ("D1", "D2"):
        take(narrow, f"city/a/{name}", json.dumps({"t": T_MS, "speed_kmh": 30}).encode())
    assert [reason for reason, _ in waiting(narrow)] == ["too_many_sensors"]
    assert replay(narrow).resolved == 0
    assert len(waiting(narrow)) == 1
    assert replay(Store(database)).readings.stored == 1
    assert waiting(narrow) == []


def test_payload_that_was_cut_is_counted_and_left(store: Store) -> None:
    payload = json.dumps({"t": T_MS, "speed_kmh": 30, "pad": "x" * 70_000}).encode()
    take(store, "plant/D1", payload)
    assert replay(store, decoder([TopicRule("plant/#", "citytwin")])) == Replayed(rows=1, cut=1)
    assert len(waiting(store)) == 1


def test_replay_that_broke_off_goes_on_with_what_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.rejected.PAGE_ROWS", 2)
    for k in range(5):
        take(store, "plant/D1", json.dumps({"t": T_MS + k, "speed_kmh": 1}).encode())
    mended = decoder([TopicRule("plant/#", "citytwin")])

    def broken(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
        if json.loads(payload)["t"] == T_MS + 3:
            raise RuntimeError("killed")
        return mended(topic, payload)

    with pytest.raises(RuntimeError):
        replay(store, broken)
    assert len(store.series("D1", "speed_kmh")) == 2
    assert replay(store, mended) == Replayed(rows=3, resolved=3, readings=Counts(received=3, stored=3))
    assert len(store.series("D1", "speed_kmh")) == 5


def test_the_command_tells_what_became_of_the_rejected(database: Database, tmp_path: Path) -> None:
    t_ms = T_MS
    take(Store(database), "plant/D1", json.dumps({"t": t_ms, "speed_kmh": 1}).encode())
    (tmp_path / "city.toml").write_text('[[topic]]\nfilter = "plant/#"\ncodec = "citytwin"\n', "utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CITYTWIN_")} | {
        "CITYTWIN_STATE": str(tmp_path / "state"),
        "CITYTWIN_CONFIG": str(tmp_path),
        "CITYTWIN_DATABASE_URL": database.url,
        "CITYTWIN_CLOCK": "2026-06-15T00:05:00Z@1",
    }
    command = [sys.executable, "-m", "hub.cli", "ingest", "replay-rejected"]
    options = ["--reason", "unmapped_topic", "--topic", "other/#", "--since", "2026-06-15T00:00:00Z"]
    other = subprocess.run(
        [*command, *options], capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2]
    )
    assert "0 rejected: 0 resolved" in other.stdout, other.stderr
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2])
    assert run.returncode == 0, run.stderr
    assert "1 rejected: 1 resolved, 0 still rejected, 0 cut" in run.stdout
    assert "1 stored" in run.stdout
