"""Brokers, publishers and workers of the benchmarks of ingest, each in a process of its own on a free port."""

import contextlib
import getpass
import json
import multiprocessing
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ingest.batcher import Batcher
from ingest.broker.frames import frame
from ingest.broker.options import Options
from ingest.database import Database
from ingest.direct import DirectBroker
from ingest.linger import Linger
from ingest.metrics import IngestMetrics
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.store import Store
from ingest.subscriber import Subscriber
from ingest.worker import Worker
from sensors.clock import CityClock
from sensors.payload import decoder
from sensors.quality import SeriesMemory, flag

START_MS = 1_781_481_600_000
SENSORS = 449
ROOT = Path(__file__).resolve().parents[1]
INFLIGHT = 8_000  # publications that a publisher has unacknowledged, the same for every side
DEADLINE_S = 180.0


def payloads(count: int, *, readings: int = 1) -> list[tuple[bytes, bytes]]:
    """Return topics and payloads of many detectors in turn: one quantity, ``readings`` times in each payload.

    Speeds have one decimal and every (sensor, time) is another one.
    """
    messages = []
    for k in range(count):
        turn, sensor = divmod(k, SENSORS)
        rows = [
            b'{"t":%d,"speed_kmh":%d.%d}' % (START_MS + (turn * readings + j) * 20_000, 20 + k % 60, j % 10)
            for j in range(readings)
        ]
        payload = rows[0] if readings == 1 else b'{"readings":[%s]}' % b",".join(rows)
        messages.append((b"city/bench/D%d" % sensor, payload))
    return messages


def publish(port: int, messages: list[tuple[bytes, bytes]], report: Any) -> None:
    """Publish at QoS 1 as fast as the broker acknowledges; reports the seconds from the first byte to the last PUBACK.

    Packets are made before the clock starts, so that the publisher is not what is measured.
    """
    packets = [
        frame(0x32, len(topic).to_bytes(2, "big") + topic + (k % 65_535 + 1).to_bytes(2, "big") + payload)
        for k, (topic, payload) in enumerate(messages)
    ]
    client = connect(port, b"bench-publisher")
    report.send("ready")
    report.recv()
    begin = time.perf_counter()
    sent = acknowledged = 0
    while acknowledged < len(packets):
        if sent < len(packets) and sent - acknowledged < INFLIGHT // 2:
            more = packets[sent : acknowledged + INFLIGHT]
            client.sendall(b"".join(more))
            sent += len(more)
        acknowledged += _pubacks(client)
    report.send((time.perf_counter() - begin, acknowledged))
    client.close()


def connect(port: int, client_id: bytes) -> socket.socket:
    """Return a connected client of MQTT 3.1.1 with a clean session."""
    client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(frame(0x10, b"\0\4MQTT\4\2\0\0" + len(client_id).to_bytes(2, "big") + client_id))
    assert client.recv(4) == b"\x20\x02\0\0"
    return client


_rest: dict[int, int] = {}


def _pubacks(client: socket.socket) -> int:
    data = len(client.recv(1 << 18)) + _rest.get(client.fileno(), 0)
    assert data, "the broker closed the connection"
    _rest[client.fileno()] = data % 4
    return data // 4


def published(port: int, messages: list[tuple[bytes, bytes]]) -> float:
    """Publish from a process of its own and return the seconds until everything was acknowledged."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=publish, args=(port, messages, theirs))
    process.start()
    assert ours.recv() == "ready"
    ours.send("go")
    elapsed, acknowledged = ours.recv()
    process.join()
    assert acknowledged == len(messages)
    return float(elapsed)


@contextlib.contextmanager
def embedded(*options: str) -> Iterator[int]:
    """Run the embedded broker and give its port."""
    command = [sys.executable, "-m", "ingest.broker", "--listen", "127.0.0.1:0", "--parent-stdin", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(json.loads(process.stdout.readline())["mqtt"].rpartition(":")[2])
        process.stdin.close()


@contextlib.contextmanager
def mosquitto() -> Iterator[int]:
    """Run a Mosquitto with the settings of the shipped `mosquitto.conf` and give its port.

    Raises
    ------
    SystemExit
        When there is none: the comparison is what the benchmark is for.
    """
    program = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if program is None:
        raise SystemExit("no mosquitto on this machine: install it (Debian: apt-get install mosquitto)")
    with contextlib.closing(socket.socket()) as probe, tempfile.TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        settings = Path(folder) / "mosquitto.conf"
        text = (ROOT / "config" / "mosquitto.conf").read_text("utf-8")
        here = text.replace("listener 1883 ", f"listener {port} ").replace("/var/lib/mosquitto/", f"{folder}/")
        assert here.count(str(port)) == 1
        settings.write_text(f"{here}\nuser {getpass.getuser()}\n")
        command = [program, "-c", str(settings)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda: _answers(port))
            try:
                yield port
            finally:
                process.terminate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.002)


@contextlib.contextmanager
def databases(*names: str) -> Iterator[dict[str, str]]:
    """Run the embedded PostgreSQL and give the URL of a migrated database for each name."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        with Database(server.url) as maintenance:
            for name in names:
                maintenance.execute(f"CREATE DATABASE {name}")
        urls = {name: server.url_of(name) for name in names}
        for url in urls.values():
            with Database(url) as database:
                migrate(database)
        yield urls


def rows_of(url: str) -> set[tuple[str, str, int, float]]:
    """Return what is stored: sensor, quantity, time in ms, value."""
    with Database(url) as database:
        rows = database.fetch(
            "SELECT sensor_id, quantity, round(extract(epoch FROM time) * 1000)::bigint, raw::float8 / scale"
            " FROM reading_raw JOIN series USING (series_id)"
        )
    return {(str(row[0]), str(row[1]), int(row[2]), float(row[3])) for row in rows}


def work(port: int, url: str, count: int, direct: bool, report: Any, *, linger: Linger | None = None) -> None:
    """Run a worker of the product until it has stored ``count`` readings; reports port, then seconds and counts.

    The seconds run from the first reading that came in to the commit of the last.
    """
    memory, metrics, stop = SeriesMemory(), IngestMetrics(), threading.Event()
    batcher: Batcher[Any] = Batcher(
        decoder(),
        clock=CityClock.parse("replay", wall=time.time),
        retention_s=400 * 86_400.0,
        flag=lambda batch: flag(batch, memory),
    )
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(Database(url))
        source: Any
        if direct:
            source = DirectBroker(Options(listen="127.0.0.1:0"), filters=["city/#"], client_id="bench")
            port = int(source.urls["mqtt"].rpartition(":")[2])
        else:
            source = Subscriber(f"mqtt://127.0.0.1:{port}", client_id="bench", filters=["city/#"])
        stack.callback(source.close)
        committed: list[float] = []

        def note(_batch: object) -> None:
            committed.append(time.perf_counter())
            if metrics.readings["stored"] >= count:
                stop.set()

        report.send(port)
        Worker(source, Store(database), batcher, committed=note, metrics=metrics, linger=linger).run(stop)
        report.send((committed[-1], metrics.readings["stored"], time.process_time()))
        report.recv()


def stored(
    port: int, url: str, messages: list[tuple[bytes, bytes]], *, direct: bool, readings: int = 1
) -> tuple[float, float]:
    """Return the seconds from the first byte to the last commit, and the seconds of CPU of the worker's process."""
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.Process(target=work, args=(port, url, readings * len(messages), direct, theirs))
    worker.start()
    port = ours.recv()
    publisher, to_publisher = multiprocessing.Pipe()
    process = multiprocessing.Process(target=publish, args=(port, messages, to_publisher))
    process.start()
    assert publisher.recv() == "ready"
    begin = time.perf_counter()  # of one clock for all processes of the machine
    publisher.send("go")
    _, acknowledged = publisher.recv()
    last, count, cpu = ours.recv()
    ours.send("go")
    worker.join()
    process.join()
    assert acknowledged == len(messages)
    assert count == readings * len(messages)
    return last - begin, float(cpu)


def children_cpu_s() -> float:
    """Return the seconds of CPU of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def receive(port: int, count: int, report: Any) -> None:
    """Subscribe as barely as possible: read, count packets, acknowledge; reports the moment of the last one."""
    from ingest.broker.frames import FrameReader

    client = connect(port, b"bench-raw")
    client.sendall(frame(0x82, b"\0\1" + b"\0\6city/#" + b"\1"))
    assert client.recv(5)[:2] == b"\x90\x03"
    report.send("ready")
    reader, received = FrameReader(max_bytes=1 << 20), 0
    while received < count:
        data = client.recv(1 << 18)
        assert data, "the broker closed the connection"
        acknowledgements = []
        for first, body in reader.feed(data):
            if first >> 4 == 3:
                at = 2 + (body[0] << 8 | body[1])
                acknowledgements.append(b"\x40\x02" + body[at : at + 2])
        received += len(acknowledgements)
        client.sendall(b"".join(acknowledgements))
    report.send(time.perf_counter())
    client.close()


def relayed(port: int, messages: list[tuple[bytes, bytes]]) -> float:
    """Return the seconds from the first byte published to the last message at a bare subscriber."""
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=(port, len(messages), theirs))
    receiver.start()
    assert ours.recv() == "ready"
    begin = time.perf_counter()
    published(port, messages)
    last = ours.recv()
    receiver.join()
    return float(last) - begin


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return float(np.percentile(np.asarray(values), 99))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
