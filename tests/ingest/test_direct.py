"""The direct path: broker and writer in one process, and a PUBACK still means committed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingest.batcher import Batcher
from ingest.broker import Limits
from ingest.broker.options import Options
from ingest.broker.packets import AckPacket, PacketType, PublishPacket
from ingest.database import Database
from ingest.direct import DirectBroker
from ingest.metrics import IngestMetrics
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.publisher import Publisher
from ingest.spools import Spools
from ingest.store import Store
from ingest.worker import Worker
from sensors import WorkError
from sensors.clock import CityClock
from sensors.payload import decoder

ROOT = Path(__file__).resolve().parents[2]


def port_of(direct: DirectBroker) -> int:
    return int(direct.urls["mqtt"].rpartition(":")[2])


@pytest.fixture
def direct() -> Iterator[DirectBroker]:
    with DirectBroker(Options(listen="127.0.0.1:0"), filters=["city/#"], client_id="writer") as broker:
        yield broker


@dataclass
class Address:
    port: int


@pytest.fixture
def client(wire):
    """Connect a packet-wise client."""

    def connect(direct: DirectBroker, name: str = "device", **options: Any) -> Any:
        opened = wire(Address(port_of(direct)))
        opened.connect(name, **options)
        return opened

    return connect


@pytest.fixture
def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_puback_before_the_writer_has_acknowledged(direct, client, until):
    device = client(direct)
    device.publish("city/a/d1", b"1", packet_id=1)
    [message] = until(lambda: direct.payloads(0.1), "the writer gets it")
    assert (message.topic, message.payload) == ("city/a/d1", b"1")
    assert device.before_pong() == []
    direct.acknowledge([message])
    assert device.receive() == AckPacket(PacketType.PUBACK, 1)


def test_at_qos_2_the_pubrec_waits_for_the_writer(direct, client, until):
    device = client(direct)
    device.publish("city/a/d1", b"1", packet_id=1, qos=2)
    messages = until(lambda: direct.payloads(0.1), "the writer gets it")
    assert device.before_pong() == []
    direct.acknowledge(messages)
    assert device.receive() == AckPacket(PacketType.PUBREC, 1)
    device.send(AckPacket(PacketType.PUBREL, 1))
    assert device.receive() == AckPacket(PacketType.PUBCOMP, 1)
    assert direct.payloads(0.0) == []


def test_other_subscribers_get_their_copy(direct, client, until):
    viewer, device = client(direct, "viewer"), client(direct)
    viewer.subscribe("city/#")
    device.publish("city/a/d1", b"1", packet_id=1)
    assert viewer.expect(PublishPacket).payload == b"1"
    assert [message.payload for message in until(lambda: direct.payloads(0.1), "so does the writer")] == [b"1"]


def test_qos_0_comes_too_and_topics_that_are_not_taken_do_not_wait(direct, client, until):
    device = client(direct)
    device.publish("other", b"", packet_id=1)
    assert device.receive() == AckPacket(PacketType.PUBACK, 1)
    device.publish("city/a/d1", b"0")
    messages = until(lambda: direct.payloads(0.1), "the writer gets it")
    assert [message.payload for message in messages] == [b"0"]
    direct.acknowledge(messages)
    until(lambda: direct.state.queued_bytes == 0, "its bytes are free again")


def test_nobody_can_take_the_writer_over(direct, client, until):
    thief, device = client(direct, "writer", clean=True), client(direct)
    device.publish("city/a/d1", b"1", packet_id=1)
    assert len(until(lambda: direct.payloads(0.1), "the writer gets it")) == 1
    assert thief.before_pong() == []
    assert device.before_pong() == []


@pytest.mark.parametrize("qos", [0, 1])
def test_a_writer_that_takes_nothing_holds_the_publishers_back(client, until, qos):
    limits = Limits(max_queued_bytes=400_000, max_unacknowledged_bytes=200_000)
    options = Options(listen="127.0.0.1:0", limits=limits)
    with DirectBroker(options, filters=["city/#"], client_id="writer") as direct:
        device = client(direct)
        device.socket.settimeout(0.5)
        sent = published_until_stuck(device, qos)
        assert sent < MOST, "it was never held back"
        assert direct.state.queued_bytes < 1_000_000
        taken = 0
        while taken < sent:  # and nothing of it is lost
            messages = direct.payloads(5.0)
            assert messages, f"{taken} of {sent} came"
            direct.acknowledge(messages)
            taken += len(messages)


MOST = 5_000  # 50 MB are more than the kernel's buffers hold


def published_until_stuck(device: Any, qos: int) -> int:
    for k in range(MOST):
        try:
            device.publish("city/a/d1", bytes(10_000), packet_id=k + 1 if qos else 0)
        except TimeoutError:
            return k
    return MOST


def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(WorkError, match="cannot listen on"):
            DirectBroker(Options(listen=address), filters=["city/#"], client_id="writer")


def test_while_the_database_is_away_the_spool_takes_what_comes(direct, until, tmp_path):
    with EmbeddedPostgres(tmp_path / "pg") as server:
        with Database(server.url) as database:
            migrate(database)
        stop, metrics = threading.Event(), IngestMetrics()
        now_s = time.time()
        batcher: Batcher[Any] = Batcher(decoder(), clock=CityClock(wall=lambda: now_s), retention_s=3600.0)
        with Database(server.url) as database, Spools(tmp_path / "spool", "writer") as spools:
            worker = Worker[Any](direct, Store(database), batcher, metrics=metrics, spools=spools)
            thread = threading.Thread(target=worker.run, args=(stop,), daemon=True)
            thread.start()
            publisher = Publisher(direct.urls["mqtt"], client_id="device")
            server.stop()
            for k in range(100):
                publisher.publish("city/a/d1", json.dumps({"t": round(1000 * now_s) - k, "speed_kmh": 50}))
            assert publisher.drain(30)
            assert metrics.readings["spooled"] == 100
            server.start()
            until(lambda: metrics.readings["stored"] == 100, "the spool is emptied")
            stop.set()
            thread.join(30)
            publisher.close()
            assert Store(database).contents().readings == 100
            assert metrics.in_flight == 0


# the command


@pytest.fixture
def start(tmp_path: Path, database: Database) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def go(port: int, *options: str) -> "subprocess.Popen[str]":
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CITYTWIN_")}
        environment |= {"CITYTWIN_STATE": str(tmp_path / "state"), "CITYTWIN_DATABASE_URL": database.url}
        command = [sys.executable, "-m", "hub.cli", "ingest", "--listen", f"127.0.0.1:{port}", *options]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def readings(count: int) -> Iterator[tuple[str, bytes]]:
    now_ms = 1000 * int(time.time()) - 100_000
    for i in range(count):
        yield f"city/north/D{i % 20}", json.dumps({"t": now_ms + i, "speed_kmh": i % 90}).encode()


def test_killed_at_any_time_it_loses_and_doubles_nothing_that_was_acknowledged(
    start: Callable[..., "subprocess.Popen[str]"], database: Database, until: Callable[..., Any], free_port: int
) -> None:
    port = free_port
    process = start(port)
    publisher = Publisher(f"mqtt://127.0.0.1:{port}", client_id="device", first_connect_s=0, max_unacknowledged=500)
    thread = threading.Thread(target=publisher.publish_all, args=(readings(6_000),), daemon=True)
    thread.start()
    for kill_at in (500, 2_000, 4_000):
        until(lambda: publisher.acknowledged >= kill_at, f"{kill_at} are acknowledged")  # noqa: B023 - used at once
        process.kill()
        process.wait()
        known = publisher.acknowledged
        assert Store(database).contents().readings >= known  # acknowledged means committed
        process = start(port)
    thread.join(60)
    assert publisher.drain(60)
    publisher.close()
    assert Store(database).contents().readings == 6_000
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said


def test_the_command_refuses_a_shared_group_and_an_open_port_without_users(
    start: Callable[..., "subprocess.Popen[str]"],
) -> None:
    process = start(0, "--shared-group", "a")
    assert "with --listen this process is the broker" in process.communicate(timeout=30)[1]
    assert process.returncode == 2
