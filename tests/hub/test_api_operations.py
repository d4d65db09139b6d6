"""For those who run a hub: ready or not and why, counters that Prometheus reads, documents that work offline."""

import re
import threading
from typing import Any

import pytest

from hub.feed import CommittedFeed
from hub.notify import Notifier
from ingest.database import Database
from ingest.metrics import IngestMetrics
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from sensors import Batch, Reading
from sensors.clock import CityClock

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? '
    r"(?P<value>[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|Inf|NaN))"
)


def prometheus(text: str) -> dict[tuple[str, str], float]:
    """Read the text format 0.0.4 strictly and return the samples by name and labels."""
    assert text.endswith("\n"), "the last line must end with a line feed"
    kinds: dict[str, str] = {}
    samples: dict[tuple[str, str], float] = {}
    group = ""
    for line in text.splitlines():
        if not line or line.startswith("# HELP "):
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, f"two TYPE lines of {name}"
            assert NAME.fullmatch(name)
            assert kind in ("counter", "gauge", "histogram", "summary", "untyped")
            kinds[name] = kind
            group = name
            continue
        found = SAMPLE.fullmatch(line)
        assert found, f"no sample: {line!r}"
        assert found["name"] == group, f"{line!r} stands apart from its TYPE line"
        key = (found["name"], found["labels"] or "")
        assert key not in samples, f"twice: {key}"
        samples[key] = float(found["value"])
        if kinds[group] == "counter":
            assert group.endswith("_total")
            assert samples[key] >= 0
    return samples


def test_metrics_are_prometheus_text_and_count_what_happens(hub: Any) -> None:
    answer = hub.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    before = prometheus(answer.text)
    hub.alert()
    after = prometheus(hub.client.get("/metrics").text)
    fired = ("citytwin_alerts_total", 'state="fired"')
    assert after[fired] == before[fired] + 1
    assert after["citytwin_alerts_firing", 'severity="2"'] == before["citytwin_alerts_firing", 'severity="2"'] + 1
    assert after["citytwin_snapshots_total", ""] > before["citytwin_snapshots_total", ""]
    assert after["citytwin_alerts_unsaved", ""] == 0


def test_the_metrics_of_ingest_and_of_receivers_are_prometheus_text_beside_the_others(hub: Any) -> None:
    class Deaf:
        name = 'webhook of "Li" \\ 李'

        def send(self, event: Any) -> None:
            raise AssertionError("nobody is told anything here")

    class Intake:
        metrics = IngestMetrics()

    app = hub.app
    before = app.notifier, app.intake
    app.notifier, app.intake = Notifier([Deaf()], on_receipt=print), Intake()
    try:
        samples = prometheus(app.metrics())
    finally:
        app.notifier, app.intake = before
    assert ("citytwin_ingest_in_flight", "") in samples
    assert sum(name == "citytwin_notifications_waiting" for name, _ in samples) == 1


def test_a_hub_without_a_snapshot_is_alive_but_not_ready(make_hub: Any, database: Database) -> None:
    quiet = make_hub(database, started=False)
    assert quiet.get("/healthz") == {"status": "ok"}
    said = quiet.get("/readyz", 503)
    assert said["ready"] is False
    assert said["parts"]["twin"] == {"ok": False, "snapshot_age_s": None}
    prometheus(quiet.client.get("/metrics").text)


def test_a_hub_that_makes_snapshots_is_ready(hub: Any, until: Any) -> None:
    until(lambda: hub.client.get("/readyz").status_code == 200, "a ready hub")
    said = hub.get("/readyz")
    assert said["parts"]["store"] == {"ok": True, "level": "plain PostgreSQL"}
    assert said["ready"] is True
    assert all(part["ok"] for part in said["parts"].values())


def test_a_hub_whose_twin_stopped_is_not_ready_and_asks_to_be_stopped(
    make_hub: Any, database: Database, until: Any, monkeypatch: Any
) -> None:
    hub, stopped = make_hub(database), []
    hub.app.on_failure = lambda: stopped.append(True)

    def broken() -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(hub.feed, "take", broken)
    until(lambda: stopped, "the failure to be noticed")
    assert hub.get("/readyz", 503)["parts"]["twin"]["ok"] is False
    assert isinstance(hub.app.failure, ZeroDivisionError)


def test_a_writer_that_waits_for_a_twin_that_stopped_is_let_go(
    make_hub: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.feed.MOST_WAITING", 1)
    app = make_hub(database, started=False).app
    feed = app._feed = CommittedFeed(CityClock.parse("replay", wall=app.clock.now))
    batch = Batch.of([Reading("D", "speed_kmh", 0, 50.0)], received_at=0.0)
    feed.put(batch)
    writer = threading.Thread(target=feed.put, args=(batch,), daemon=True)
    writer.start()
    app.fail(ZeroDivisionError("a mistake of ours"))
    writer.join(30.0)
    assert not writer.is_alive(), "or the hub waits for its writer and never stops"


def test_a_hub_whose_alerts_cannot_be_written_is_not_ready(make_hub: Any, tmp_path: Any, until: Any) -> None:
    server = EmbeddedPostgres(tmp_path / "own")
    with server, Database(server.url) as database:
        migrate(database)
        hub = make_hub(database)
        sensor = hub.detector()
        server.stop()
        now = round(hub.app.clock.now() * 1000)
        hub.feed.put(Batch.of([Reading(sensor.sensor_id, "speed_kmh", now, 5.0)], received_at=now / 1000))
        said = until(
            lambda: not (s := hub.client.get("/readyz").json())["parts"]["alerts"]["ok"] and s, "an unsaved alert"
        )
        assert said["parts"]["alerts"]["unsaved"] > 0
        assert said["parts"]["twin"]["ok"] is True
        # Without the database the alert is shown all the same.
        assert sensor.link_id in [alert["subject"] for alert in hub.get("alerts")["alerts"]]
        server.start()
        until(lambda: hub.client.get("/readyz").status_code == 200, "the alert to be written")
        events = database.fetch("SELECT event FROM alert_event WHERE subject = %s", (sensor.link_id,))
        assert events == [("firing",)]


def test_the_page_of_documents_needs_nothing_from_elsewhere(hub: Any) -> None:
    page = hub.client.get("/docs").text
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "<script" not in page
    for path in hub.get("/openapi.json")["paths"]:
        assert path in page


def test_the_openapi_document_holds_together(hub: Any) -> None:
    document = hub.get("/openapi.json")
    assert document["openapi"].startswith("3.")
    names: list[str] = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names.append(operation["operationId"])
            assert operation["responses"], path
            assert operation.get("description"), f"{path} says nothing about itself"
            inside = {row["name"] for row in operation.get("parameters", ()) if row["in"] == "path"}
            assert inside == set(re.findall(r"{(\w+)}", path))
    assert len(set(names)) == len(names)
    for reference in re.findall(r'"\$ref":\s*"([^"]+)"', hub.client.get("/openapi.json").text):
        found = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]


@pytest.mark.parametrize(
    ("method", "path", "offered"),
    [
        ("DELETE", "/healthz", "GET"),
        ("DELETE", "/api/v1/network", "GET"),
        ("DELETE", "/api/v1/alerts", "GET"),
        ("GET", "/api/v1/alerts/any/acknowledge", "POST"),
    ],
)
def test_a_method_that_is_not_offered_is_405_and_names_the_one_that_is(
    hub: Any, method: str, path: str, offered: str
) -> None:
    answer = hub.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == offered
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_of_the_api_that_does_not_exist_is_404_by_any_method(hub: Any, method: str) -> None:
    answer = hub.client.request(method, "/api/v1/nothing/here")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
