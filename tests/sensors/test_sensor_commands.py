"""``citytwin fleet`` and ``citytwin replay`` as a user runs them, against a real broker and a real database."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main
from ingest.database import Database
from ingest.subscriber import Message, Subscriber
from sensors.payload import decoder
from sensors.reading import Quality
from sensors.recording import Capture

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
NETWORK = {
    "node.csv": "node_id,x_coord,y_coord\nA,10.0,56.0\nB,10.01,56.0\n",
    "link.csv": "link_id,from_node_id,to_node_id,directed,length,lanes,free_speed,capacity\nAB,A,B,1,600,2,50,900\n"
    "BA,B,A,1,600,2,50,900\n",
    "sensor.csv": "sensor_id,kind,quantities,link_id,position_m,lanes,interval_s,owner,asset_id,standard_deviation\n"
    "D1,detector,flow_veh_h;speed_kmh;occupancy,AB,300,2,60,,,30;2;0.01\n"
    "D2,detector,flow_veh_h;speed_kmh,BA,300,2,60,west,,\n",
}
AARHUS = """report_id,timestamp_utc,vehicle_count,avg_speed_kmh,avg_travel_time_s
7,2014-08-01T07:50,5,50,74
7,2014-08-01T07:55,0,50,74
7,2014-08-01T07:55,0,50,74
8,2014-08-01T07:50,1,60,61
8,2014-08-01T07:50,2,60,61
"""


@pytest.fixture
def broker_url() -> Iterator[str]:
    """Return the address of an embedded broker, which acknowledges what a subscriber of ours has acknowledged."""
    command = [sys.executable, "-m", "ingest.broker", "--listen", "127.0.0.1:0", "--parent-stdin"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["mqtt"]
        assert process.stdin is not None
        process.stdin.close()  # tells it to stop


@pytest.fixture
def received(broker_url: str) -> Iterator[list[Message]]:
    """Return what a subscriber has received and acknowledged so far."""
    subscriber = Subscriber(broker_url, client_id="citytwin-test", filters=["city/#", "/hfp/#"])
    messages: list[Message] = []
    stop = threading.Event()

    def take() -> None:
        while not stop.is_set():
            found = subscriber.payloads(0.05)
            messages.extend(found)
            subscriber.acknowledge(found)

    thread = threading.Thread(target=take)
    thread.start()
    yield messages
    stop.set()
    thread.join()
    subscriber.close()


@pytest.fixture
def citytwin(tmp_path: Path) -> Run:
    def run(*words: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        known = {key: value for key, value in os.environ.items() if not key.startswith("CITYTWIN_")}
        return subprocess.run(
            [sys.executable, "-m", "hub.cli", *map(str, words)],
            cwd=ROOT,
            env=known | {"CITYTWIN_STATE": str(tmp_path / "state")} | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


class Refused:
    """Runs a command that is refused within this process, which is quicker."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: object) -> int:
        try:
            return main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            return int(stop.code or 0)

    def stderr(self) -> str:
        captured = self._capture.readouterr()
        assert captured.out == ""
        return captured.err


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Refused:
    for name in [name for name in os.environ if name.startswith("CITYTWIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CITYTWIN_STATE", str(tmp_path / "state"))
    return Refused(capsys)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    folder = tmp_path / "network"
    folder.mkdir()
    for name, text in NETWORK.items():
        (folder / name).write_text(text, "utf-8")
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "aarhus.csv"
    path.write_text(AARHUS, "utf-8")
    return path


@pytest.mark.data
def test_captured_messages_arrive_once_in_order_and_to_the_byte(citytwin, broker_url, received, shared_data: Path):
    path = shared_data / "mqtt" / "hsl_hfp_20181009T0432Z_first3000.txt.gz"
    done = citytwin("replay", path, "--speed", "max", CITYTWIN_MQTT_URL=broker_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "published 3000, acknowledged 3000" in done.stdout
    assert [(m.topic, m.payload) for m in received] == [(m.topic, m.payload) for m in Capture(path).messages()]


def test_replay_finds_the_broker_of_a_running_hub_and_keeps_its_pace(citytwin, broker_url, received, table, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ports.json").write_text(json.dumps({"mqtt": broker_url}))
    done = citytwin("replay", table, "--speed", 600, "--until", "2014-08-01T07:55:00Z")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(json.loads(m.payload)["count_veh"] for m in received) == [1, 2, 5]
    assert {m.topic for m in received} == {"city/aarhus/7", "city/aarhus/8"}


def test_replay_that_is_interrupted_says_how_to_go_on(broker_url, received, table, tmp_path: Path):
    environment = os.environ | {"CITYTWIN_MQTT_URL": broker_url, "CITYTWIN_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "hub.cli", "replay", str(table)]  # five minutes at its own pace
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while len(received) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "citytwin replay: stopped, go on with --from 2014-08-01T07:50:00Z\n"
    assert "acknowledged 3" in out


def test_counts_of_a_replay_into_the_database_add_up(citytwin, database: Database, table: Path):
    # The duplicate row is three duplicate readings; of the row with another count one reading conflicts, two repeat.
    for expected in (
        "received 15, stored 9, duplicate 5, conflict 1, rejected 0",
        "received 15, stored 0, duplicate 14, conflict 1, rejected 0",
    ):
        done = citytwin("replay", table, "--speed", "max", "--to", "database", CITYTWIN_DATABASE_URL=database.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [expected, "aarhus.csv: 5 messages, 1 of them exact duplicates"]
    rows = database.fetch(
        "SELECT sensor_id, quantity, value, quality FROM reading JOIN series USING (series_id)"
        " WHERE quantity = 'speed_kmh' ORDER BY sensor_id, time"
    )
    # stored as it came, and marked as no speed
    of, empty = int(Quality.UNVERIFIED_SENSOR), int(Quality.UNVERIFIED_SENSOR | Quality.NO_VEHICLES)
    assert rows == [("7", "speed_kmh", 50.0, of), ("7", "speed_kmh", 50.0, empty), ("8", "speed_kmh", 60.0, of)]


def test_fleet_publishes_at_the_rate_asked_for_with_payloads_that_decode(citytwin, broker_url, received, network: Path):
    words: list[Any] = ["fleet", network, "--sensors", 5, "--rate", 100, "--for", 2, "--seed", 3, "--faults"]
    done = citytwin(*words, CITYTWIN_MQTT_URL=broker_url)
    assert done.returncode == 0, done.stderr
    assert f"published {len(received)}, acknowledged {len(received)}" in done.stdout
    # 2 s at 100 a second; a slow machine publishes late, not less, but for the last round
    assert 100 < len(received) <= 205
    assert {m.topic for m in received} == {
        "city/centre/D1", "city/west/D2", "city/centre/D1-2", "city/west/D2-2", "city/centre/D1-3",
    }  # fmt: skip
    decode = decoder()
    assert all(not decode(m.topic, m.payload)[1] for m in received)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("replay", "no.csv"), 2, "no.csv: there is no such file"),
        (("replay", "TABLE"), 1, "start 'citytwin serve' or 'citytwin demo' first, or set CITYTWIN_MQTT_URL"),
        (("replay", "TABLE", "--to", "database"), 1, "or set CITYTWIN_DATABASE_URL"),
        (("replay", "TABLE", "--from", "2014-08-02", "--until", "2014-08-01"), 2, "--from must be before --until"),
        (("replay", "TABLE", "--from", "2014-08-02T00:00"), 2, "must be a time with zone such as 2014-08-05T06:00:00Z"),
        (("replay", "TABLE", "--speed", "-1"), 2, "--speed"),
        (("fleet", "NETWORK"), 1, "or set CITYTWIN_MQTT_URL"),
        (("fleet", "NETWORK", "--sensors", "0"), 2, "--sensors is 0, must be 1 to 1,000,000"),
        (("fleet", "NETWORK", "--rate", "nan"), 2, "--rate is nan, must be above 0"),
    ],
)
def test_wrong_use_gets_one_clear_line_and_its_exit_code(refused, table, network, words, code, says):
    places = {"TABLE": table, "NETWORK": network}
    assert refused(*[places.get(word, word) for word in words]) == code
    assert says in refused.stderr()


def test_broken_column_map_and_unknown_tables_are_refused(refused, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CITYTWIN_MQTT_URL", "mqtt://127.0.0.1:1")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "map.toml").write_text("sensorid = 'a'\n")
    assert refused("replay", tmp_path / "x.csv", "--map", tmp_path / "map.toml") == 2
    assert "map.toml: unknown key 'sensorid', did you mean 'sensor_id'" in refused.stderr()
    assert refused("replay", tmp_path / "x.csv", tmp_path / "x.csv") == 2
    assert refused.stderr().count("no known layout") == 2
