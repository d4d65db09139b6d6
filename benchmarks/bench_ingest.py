"""MQTT to database: our batches beside one INSERT and COMMIT a message, as tutorials write it.

Both read the same payloads, QoS 1, from the embedded broker and write to the same embedded PostgreSQL. The time runs
from the first publish to the moment at which the last reading is committed; the rows of both are compared.
"""

import argparse
import contextlib
import json
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ingest.batcher import Batcher
from ingest.database import Database
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.publisher import Publisher
from ingest.store import Store
from ingest.subscriber import Message, Subscriber
from ingest.worker import Worker
from sensors.clock import CityClock
from sensors.payload import decoder
from sensors.quality import SeriesMemory, flag

START_MS = 1_781_481_600_000
SENSORS = 449
Rows = set[tuple[str, str, int, float]]


def payloads(count: int) -> Iterator[tuple[str, bytes]]:
    """Return messages of many detectors, in turn: three quantities every 20 s."""
    for k in range(count):
        values = {"flow_veh_h": 300 + k % 700, "speed_kmh": 20 + k % 60 + 0.5, "occupancy": k % 90 / 100}
        yield f"city/bench/D{k % SENSORS}", json.dumps({"t": START_MS + k // SENSORS * 20_000, **values}).encode()


def publish(url: str, count: int) -> None:
    publisher = Publisher(url, client_id="bench-publisher")
    publisher.publish_all(payloads(count))
    assert publisher.drain(120.0)
    publisher.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < deadline, "not everything was stored"
        time.sleep(0.002)


def seconds(url: str, count: int, stored: Callable[[], bool]) -> float:
    """Publish from a process of its own and return how long it takes until all of it is stored."""
    publisher = multiprocessing.Process(target=publish, args=(url, count))
    begin = time.perf_counter()
    publisher.start()
    wait_for(stored)
    elapsed = time.perf_counter() - begin
    publisher.join()
    return elapsed


def ours(mqtt_url: str, database: Database, count: int) -> tuple[float, Rows]:
    """Our path: bulk reading, msgspec, quality flags, COPY in batches, acknowledged after the commit."""
    migrate(database)
    memory = SeriesMemory()
    clock = CityClock.parse("replay", wall=time.time)
    batcher: Batcher[Message] = Batcher(
        decoder(), clock=clock, retention_s=86_400.0, flag=lambda batch: flag(batch, memory)
    )
    subscriber = Subscriber(mqtt_url, client_id="bench-ours", filters=["city/#"])
    worker = Worker(subscriber, Store(database), batcher)
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,), daemon=True)
    thread.start()
    elapsed = seconds(mqtt_url, count, lambda: worker.metrics.readings["stored"] >= 3 * count)
    stop.set()
    thread.join()
    subscriber.close()
    rows = database.fetch(
        "SELECT sensor_id, quantity, round(extract(epoch FROM time) * 1000)::bigint, raw::float8 / scale"
        " FROM reading_raw JOIN series USING (series_id)"
    )
    return elapsed, {(str(row[0]), str(row[1]), int(row[2]), float(row[3])) for row in rows}


def tutorial(mqtt_url: str, database: Database, count: int) -> tuple[float, Rows]:
    """What tutorials write: in on_message json.loads, INSERT of one row, COMMIT."""
    database.execute(
        "CREATE TABLE tutorial (time timestamptz NOT NULL, sensor_id text NOT NULL, flow_veh_h float8,"
        " speed_kmh float8, occupancy float8, PRIMARY KEY (sensor_id, time))"
    )
    insert = "INSERT INTO tutorial VALUES (to_timestamp(%s), %s, %s, %s, %s) ON CONFLICT DO NOTHING"
    stored = 0

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal stored
        found = json.loads(message.payload)
        values = (found["flow_veh_h"], found["speed_kmh"], found["occupancy"])
        database.execute(insert, (found["t"] / 1000, message.topic.split("/")[-1], *values))  # commits
        stored += 1

    subscribed = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-tutorial")
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    host, port = mqtt_url.removeprefix("mqtt://").split(":")
    client.connect(host, int(port))
    client.loop_start()
    client.subscribe("city/#", qos=1)
    assert subscribed.wait(10.0)
    elapsed = seconds(mqtt_url, count, lambda: stored >= count)
    client.disconnect()
    client.loop_stop()
    rows = database.fetch(
        "SELECT sensor_id, quantity, round(extract(epoch FROM time) * 1000)::bigint, value FROM tutorial,"
        " LATERAL (VALUES ('flow_veh_h', flow_veh_h), ('speed_kmh', speed_kmh), ('occupancy', occupancy))"
        " AS each (quantity, value)"
    )
    return elapsed, {(str(row[0]), str(row[1]), int(row[2]), float(row[3])) for row in rows}


@contextlib.contextmanager
def broker(*options: str) -> Iterator[str]:
    """Start an embedded broker and give its URL; each side has its own, so that no session is left from the other."""
    command = [sys.executable, "-m", "ingest.broker", "--listen", "127.0.0.1:0", "--parent-stdin", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())["mqtt"]
        process.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        with Database(server.url) as maintenance:
            for name in ("ours", "tutorial"):
                maintenance.execute(f"CREATE DATABASE {name}")
        with broker() as url, Database(server.url_of("ours")) as database:
            fast, rows = ours(url, database, args.messages)
        # A tutorial's subscriber has no session that lasts, so its broker acknowledges by itself, as most brokers do.
        with broker("--durable", "none/#") as url, Database(server.url_of("tutorial")) as database:
            slow, rows_of_tutorial = tutorial(url, database, args.messages)
    assert len(rows) == 3 * args.messages
    assert rows == rows_of_tutorial, "the two did not store the same readings"
    print(
        f"ingest: {slow / fast:.1f} x one INSERT and COMMIT a message"
        f" ({args.messages / fast:,.0f} and {args.messages / slow:,.0f} messages/s, {len(rows):,} equal rows)"
    )


if __name__ == "__main__":
    main()
