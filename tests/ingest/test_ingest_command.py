"""`citytwin ingest` as a process of its own: commits before it acknowledges, drains at SIGTERM, survives kill -9."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.database import Database
from ingest.postgres import EmbeddedPostgres
from ingest.publisher import Publisher
from ingest.store import Store

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, database: Database) -> Iterator[Start]:
    """Start workers on the test's database and a broker; wait until they take readings."""
    started: list[subprocess.Popen[str]] = []

    def go(url: str, *options: str, ready: str = "takes readings", **variables: str) -> "subprocess.Popen[str]":
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CITYTWIN_")} | {
            "CITYTWIN_STATE": str(tmp_path / "state"),
            "CITYTWIN_DATABASE_URL": database.url,
            "CITYTWIN_MQTT_URL": url,
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "ingest", *options],
            cwd=ROOT, env={k: v for k, v in environment.items() if v}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        if ready:
            assert process.stderr is not None
            lines = []
            while ready not in (line := process.stderr.readline()):
                assert line, f"it ended: {lines}"
                lines.append(line)
            process.first_lines = [*lines, line]  # type: ignore[attr-defined]
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def publish(publisher: Publisher, numbers: range) -> None:
    now_ms = 1000 * int(time.time()) - 100_000
    for i in numbers:
        publisher.publish(f"city/north/D{i % 20}", json.dumps({"t": now_ms + i, "speed_kmh": i % 90}).encode())


def test_it_commits_what_is_published_and_says_so_when_it_is_stopped(
    start: Start, broker: Any, database: Database, request: pytest.FixtureRequest
) -> None:
    worker = start(broker.url)
    publisher = Publisher(broker.url, client_id="test")
    publish(publisher, range(500))
    publisher.publish("city/north/D1", b"no json")
    assert publisher.drain(30)
    publisher.close()
    if "mosquitto" in request.node.name:  # it acknowledges from memory, ours only after the commit
        _until(lambda: sum(Store(database).contents().rejected.values()) == 1)
    assert Store(database).contents().readings == 500
    worker.send_signal(signal.SIGTERM)
    said = worker.communicate(timeout=30)[1]
    assert worker.returncode == 0
    assert "501 received, 500 stored, 0 duplicate, 0 conflict, 1 rejected" in said
    contents = Store(database).contents()
    assert (contents.readings, contents.rejected) == (500, {"not_json": 1})


def test_a_worker_that_was_killed_comes_back_to_its_session_and_misses_nothing(
    start: Start, broker: Any, database: Database
) -> None:
    worker = start(broker.url)
    publisher = Publisher(broker.url, client_id="test")
    publish(publisher, range(200))
    worker.kill()
    worker.wait()
    publish(publisher, range(200, 400))
    again = start(broker.url)
    assert again.first_lines[-1].split()[-6] == worker.first_lines[-1].split()[-6]  # type: ignore[attr-defined]
    assert publisher.drain(30)
    publisher.close()
    _until(lambda: Store(database).contents().readings == 400)


def test_workers_at_once_have_client_ids_of_their_own_and_share_a_group(
    start: Start, mosquitto: Any, database: Database
) -> None:
    url = mosquitto.url
    workers = [start(url, "--shared-group", "g") for _ in range(2)]
    ids = {re.search(r"citytwin-ingest-\w+", worker.first_lines[-1])[0] for worker in workers}  # type: ignore
    assert len(ids) == 2
    publisher = Publisher(url, client_id="test")
    publish(publisher, range(300))
    assert publisher.drain(30)
    publisher.close()
    _until(lambda: Store(database).contents().readings == 300)
    received = 0
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        said = worker.communicate(timeout=30)[1]
        received += int(re.search(r"(\d+) received", said)[1])  # type: ignore[index]
    assert received == 300  # each message went to one of them


def test_its_counters_can_be_scraped(start: Start, embedded_broker: Any) -> None:
    worker = start(embedded_broker.url, "--metrics-port", "0")
    line = next(text for text in worker.first_lines if "metrics at" in text)  # type: ignore[attr-defined]
    with urllib.request.urlopen(line.split("metrics at ")[1].strip(), timeout=10) as answer:
        assert 'citytwin_ingest_readings_total{result="received"} 0' in answer.read().decode()


def test_a_worker_says_whether_it_can_work_and_which_part_it_misses(start: Start, embedded_broker: Any) -> None:
    def answer(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(address + path, timeout=10) as given:
                return given.status, given.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    worker = start(embedded_broker.url, "--metrics-port", "0")
    line = next(text for text in worker.first_lines if "metrics at" in text)  # type: ignore[attr-defined]
    address = line.split("metrics at ")[1].strip().removesuffix("/metrics")
    _until(lambda: answer("/readyz")[0] == 200)
    assert json.loads(answer("/readyz")[1])["parts"]["broker"]["ok"]
    embedded_broker.stop(signal.SIGKILL)
    _until(lambda: answer("/readyz")[0] == 503)
    parts = json.loads(answer("/readyz")[1])["parts"]
    assert (parts["broker"]["ok"], parts["database"]["ok"]) == (False, True)
    assert answer("/healthz") == (200, '{"status": "ok"}')
    assert answer("/somewhere")[0] == 404


@pytest.mark.parametrize(
    ("variables", "code", "sentence"),
    [
        ({"CITYTWIN_DATABASE_URL": ""}, 1, "nothing runs here: .* or set CITYTWIN_DATABASE_URL"),
        ({"CITYTWIN_MQTT_URL": ""}, 1, "nothing runs here: .* or set CITYTWIN_MQTT_URL"),
        ({"CITYTWIN_DATABASE_URL": "postgresql://u:secret@127.0.0.1:x/y"}, 2, "port is 'x'"),
        ({"CITYTWIN_MQTT_URL": "mqtt://127.0.0.1:x"}, 2, "mqtt://127.0.0.1:x"),
        ({"CITYTWIN_STATE": "/proc/nowhere"}, 1, "state folder /proc/nowhere cannot be written"),
        ({"CITYTWIN_CLOCK": "noon"}, 2, "CITYTWIN_CLOCK is 'noon'"),
    ],
)
def test_what_is_wrong_is_one_line(
    start: Start, embedded_broker: Any, variables: dict[str, str], code: int, sentence: str
) -> None:
    worker = start(embedded_broker.url, ready="", **variables)
    said = worker.communicate(timeout=60)[1]
    assert worker.returncode == code
    assert re.search(f"^citytwin ingest: .*{sentence}", said, re.M), said
    assert "Traceback" not in said
    assert "secret" not in said


def test_a_worker_that_starts_before_its_database_says_so_once_and_spools_until_it_comes(
    start: Start, embedded_broker: Any, tmp_path: Path
) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    server.start()
    url = server.url
    server.stop()
    worker = start(embedded_broker.url, CITYTWIN_DATABASE_URL=url)
    publisher = Publisher(embedded_broker.url, client_id="test")
    publish(publisher, range(500))
    assert publisher.drain(30), "what is on the worker's disk is acknowledged"
    publisher.close()
    with server, Database(url) as database:
        _until(lambda: database.fetch("SELECT to_regclass('reading_raw')")[0][0] is not None, 15)
        _until(lambda: Store(database).contents().readings == 500)
        worker.send_signal(signal.SIGTERM)
        said = "".join(worker.first_lines) + worker.communicate(timeout=30)[1]  # type: ignore[attr-defined]
    assert worker.returncode == 0
    assert said.count("cannot be reached") == 1
    assert "500 received, 500 stored, 0 duplicate, 0 conflict, 0 rejected, 0 spooled" in said


def test_a_worker_that_starts_before_its_broker_says_so_once_and_begins_when_it_comes(
    start: Start, embedded_broker: Any, database: Database
) -> None:
    url = embedded_broker.url
    embedded_broker.stop(signal.SIGKILL)
    worker = start(url, ready="cannot connect to the MQTT broker")
    publisher = Publisher(url, client_id="test", first_connect_s=0)
    publish(publisher, range(100))
    embedded_broker.start()
    assert publisher.drain(30)
    publisher.close()
    assert Store(database).contents().readings == 100
    worker.send_signal(signal.SIGTERM)
    said = worker.communicate(timeout=30)[1]
    assert worker.returncode == 0
    assert "cannot connect" not in said


def test_a_worker_that_waits_for_both_ends_at_once_when_it_is_told_to(start: Start) -> None:
    nothing = {"CITYTWIN_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/x"}
    worker = start("mqtt://127.0.0.1:1", ready="cannot connect to the MQTT broker", **nothing)
    worker.send_signal(signal.SIGTERM)
    said = worker.communicate(timeout=10)[1]
    assert worker.returncode == 0, said
    assert "secret" not in said + "".join(worker.first_lines)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--reason", "not_json"], "--reason is for 'ingest replay-rejected'"),
        (["replay-rejected", "--reason", "ugly"], "--reason: invalid choice: 'ugly'"),
        (["replay-rejected", "--topic", "a/#/b"], "--topic: "),
        (["replay-rejected", "--since", "2026-06-15T00:00:00"], "--since: must be a time with zone"),
    ],
)
def test_options_of_a_replay_are_checked(start: Start, options: list[str], sentence: str) -> None:
    worker = start("mqtt://127.0.0.1:1", *options, ready="")
    said = worker.communicate(timeout=60)[1]
    assert worker.returncode == 2
    assert sentence in said
    assert "Traceback" not in said


def _until(true: Callable[[], bool], within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.02)
