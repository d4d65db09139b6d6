"""Alerts over HTTP: who has seen what is stored before it is confirmed, once, or not at all."""

from typing import Any

import pytest

from ingest.database import Database
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres


def rows(hub: Any, alert_id: str) -> list[tuple[Any, ...]]:
    return hub.app.store.database.fetch(
        "SELECT event, author, comment FROM alert_event WHERE alert_id = %s ORDER BY alert_event_id", (alert_id,)
    )


def acknowledge(hub: Any, alert_id: str, **body: Any) -> Any:
    return hub.client.post(f"/api/v1/alerts/{alert_id}/acknowledge", json=body)


def test_a_firing_alert_says_where_what_and_since_when(hub: Any) -> None:
    sensor = hub.detector()
    said = hub.alert(sensor)
    assert (said["rule"], said["severity"], said["state"], said["handling"]) == ("slow", 2, "firing", "new")
    assert (said["on"], said["subject"], said["link_id"]) == ("link", sensor.link_id, sensor.link_id)
    assert said["labels"] == {"department": "traffic-police"}
    assert said["acknowledged"] is None
    assert said["resolved_at"] is None
    west, south, east, north = hub.get("network")["bounds"]
    assert west <= said["lon"] <= east
    assert south <= said["lat"] <= north
    name = hub.get(f"links/{sensor.link_id}")["name"]
    assert said["summary"]["en"].startswith(said["where"]["en"])
    assert name["zh"] in said["where"]["zh"]
    assert said["evidence"]["speed_kmh"] < 15
    alone = hub.get(f"alerts/{said['id']}")
    assert alone == {**said, "updated": alone["updated"]}


def test_it_is_resolved_when_the_link_moves_again_and_listed_by_state(hub: Any, until: Any) -> None:
    sensor = hub.detector()
    alert_id = hub.alert(sensor)["id"]

    def ids(state: str) -> list[str]:
        return [alert["id"] for alert in hub.get("alerts", state=state)["alerts"]]

    assert alert_id in ids("firing")
    assert alert_id not in ids("resolved")

    def moved() -> bool:
        hub.drive(60.0, sensor=sensor)  # the estimate needs more than one reading to believe it
        return alert_id in ids("resolved")

    until(moved, "the alert to be resolved")
    assert alert_id not in ids("firing")
    assert alert_id in ids("all")
    assert hub.get(f"alerts/{alert_id}")["resolved_at"] is not None
    assert acknowledge(hub, alert_id, author="late").json()["state"] == "resolved"


def test_the_most_severe_and_newest_come_first(hub: Any) -> None:
    older, newer = hub.alert()["id"], hub.alert()["id"]
    ids = [alert["id"] for alert in hub.get("alerts")["alerts"]]
    assert ids.index(newer) < ids.index(older)


def test_an_acknowledgement_is_stored_before_it_is_confirmed(hub: Any) -> None:
    alert_id = hub.alert()["id"]
    answer = acknowledge(hub, alert_id, author="Li 李", comment='on the way; it\'s "two" cars')
    assert answer.status_code == 200
    assert rows(hub, alert_id)[-1] == ("acknowledged", "Li 李", 'on the way; it\'s "two" cars')
    said = answer.json()
    assert said["handling"] == "acknowledged"
    assert said["acknowledged"]["by"] == "Li 李"
    assert said["acknowledged"]["at"].endswith("Z")
    assert hub.get(f"alerts/{alert_id}")["acknowledged"] == said["acknowledged"]


def test_saying_it_twice_keeps_the_first_and_adds_no_row(hub: Any) -> None:
    alert_id = hub.alert()["id"]
    first = acknowledge(hub, alert_id, author="first").json()
    second = acknowledge(hub, alert_id, author="second").json()
    assert second["acknowledged"] == first["acknowledged"]
    assert [row[0] for row in rows(hub, alert_id)].count("acknowledged") == 1


def test_nothing_needs_to_be_said_to_acknowledge(hub: Any) -> None:
    answer = hub.client.post(f"/api/v1/alerts/{hub.alert()['id']}/acknowledge")
    assert answer.status_code == 200
    assert answer.json()["acknowledged"]["by"] == "operator"


@pytest.mark.parametrize(
    "body",
    [
        {"comment": "x" * 2001},
        {"author": "x" * 101},
        {"author": ""},
        {"author": 7},
        {"comment": None},
        {"comment": "half \0 stored"},
        {"author": "\0"},
        {"by": "somebody"},
        [],
        "yes",
    ],
)
def test_what_cannot_be_noted_is_refused_and_nothing_is_half_noted(hub: Any, body: Any) -> None:
    hub.alert_id = getattr(hub, "alert_id", None) or hub.alert()["id"]
    answer = hub.client.post(f"/api/v1/alerts/{hub.alert_id}/acknowledge", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert hub.get(f"alerts/{hub.alert_id}")["handling"] == "new"
    assert "acknowledged" not in [row[0] for row in rows(hub, hub.alert_id)]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"not json", b'{"comment": "\\ud800"}'])
def test_a_body_that_is_no_json_is_refused(hub: Any, body: bytes) -> None:
    alert_id = hub.alert()["id"]
    answer = hub.client.post(
        f"/api/v1/alerts/{alert_id}/acknowledge", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert hub.get(f"alerts/{alert_id}")["handling"] == "new"


@pytest.mark.parametrize("alert_id", ["none", "%00", "'", "..%2f.."])
def test_an_unknown_alert_cannot_be_acknowledged(hub: Any, alert_id: str) -> None:
    answer = acknowledge(hub, alert_id)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_state_is_refused(hub: Any) -> None:
    assert "state" in hub.get("alerts", 422, state="pending")["detail"]


def test_without_the_database_the_person_is_told_and_nothing_is_half_noted(make_hub: Any, tmp_path: Any) -> None:
    server = EmbeddedPostgres(tmp_path / "own")
    with server, Database(server.url) as database:
        migrate(database)
        hub = make_hub(database)
        alert_id = hub.alert()["id"]
        assert hub.client.get("/readyz").status_code == 200
        server.stop()
        answer = acknowledge(hub, alert_id, author="Li")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "database" in answer.json()["detail"]
        assert hub.get(f"alerts/{alert_id}")["handling"] == "new"
        # What needs no database goes on; what does says so.
        assert hub.get("state")["sequence"] > 0
        assert hub.client.get("/api/v1/readings", params={"sensor_id": "D"}).status_code == 503
        server.start()
        again = acknowledge(hub, alert_id, author="Li")
        assert again.status_code == 200
        assert rows(hub, alert_id)[-1][:2] == ("acknowledged", "Li")
        assert [row[0] for row in rows(hub, alert_id)].count("acknowledged") == 1


def test_a_table_that_refuses_the_row_leaves_nothing_half_noted(make_hub: Any, database: Database) -> None:
    hub = make_hub(database)
    alert_id = hub.alert()["id"]
    database.execute("ALTER TABLE alert_event RENAME TO gone")
    assert acknowledge(hub, alert_id).status_code == 503
    assert hub.get(f"alerts/{alert_id}")["handling"] == "new"
    database.execute("ALTER TABLE gone RENAME TO alert_event")
    assert acknowledge(hub, alert_id).json()["handling"] == "acknowledged"
