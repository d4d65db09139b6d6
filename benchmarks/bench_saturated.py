"""As many QoS 1 messages as Mosquitto gives: our worker beside a bare subscriber, stock paho, and a commit a message.

All read the same payloads from a Mosquitto with the shipped settings, and those that store write into the same embedded
PostgreSQL. The time runs from the first byte published to the last message received (bare) or committed. The rows of
all are compared; the two slow ones get fewer messages.
"""

import argparse
import json
import multiprocessing
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import brokers
from ingest.database import Database

CREATE = (
    "CREATE TABLE stock (time timestamptz NOT NULL, sensor_id text NOT NULL, quantity text NOT NULL, value float8,"
    " PRIMARY KEY (sensor_id, quantity, time))"
)
INSERT = "INSERT INTO stock VALUES (to_timestamp(%s), %s, %s, %s) ON CONFLICT DO NOTHING"
BATCH = 5_000


def stock(port: int, url: str, count: int, batched: bool, report: Any) -> None:
    """Store with paho's `on_message` and `json.loads`; reports the moment of the last commit."""
    arrived: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    subscribed = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-stock")
    client.on_message = lambda _client, _data, message: arrived.put((message.topic, message.payload))
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("city/#", qos=1)
    assert subscribed.wait(30.0)
    report.send("ready")
    with Database(url) as database:
        done = 0
        while done < count:
            rows = [arrived.get()]
            while batched and len(rows) < BATCH and not arrived.empty():
                rows.append(arrived.get())
            with database.connection() as connection, connection.cursor() as cursor:  # commits at the end
                cursor.executemany(INSERT, list(_rows(rows)))
            done += len(rows)
        report.send(time.perf_counter())
    client.disconnect()
    client.loop_stop()


def _rows(messages: Iterable[tuple[str, bytes]]) -> Iterable[tuple[float, str, str, float]]:
    for topic, payload in messages:
        found = json.loads(payload)
        instant = found.pop("t") / 1000
        for key, value in found.items():
            yield instant, topic.rpartition("/")[2], key, value


def stock_seconds(port: int, url: str, messages: list[tuple[bytes, bytes]], *, batched: bool) -> float:
    """Return the seconds from the first byte published to the last commit."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=stock, args=(port, url, len(messages), batched, theirs))
    process.start()
    assert ours.recv() == "ready"
    begin = time.perf_counter()
    brokers.published(port, messages)
    last = ours.recv()
    process.join()
    return float(last) - begin


def stock_rows(url: str) -> set[tuple[str, str, int, float]]:
    """Return what is stored, as `brokers.rows_of` does."""
    with Database(url) as database:
        rows = database.fetch(
            "SELECT sensor_id, quantity, round(extract(epoch FROM time) * 1000)::bigint, value FROM stock"
        )
    return {(str(row[0]), str(row[1]), int(row[2]), float(row[3])) for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=60_000)
    args = parser.parse_args()
    messages = brokers.payloads(args.messages)
    few = messages[: max(1, args.messages // 15)]
    with brokers.databases("ours", "batched", "single") as urls:
        for name in ("batched", "single"):
            with Database(urls[name]) as database:
                database.execute(CREATE)
        with brokers.mosquitto() as port:
            raw = len(messages) / brokers.relayed(port, messages)
        with brokers.mosquitto() as port:
            elapsed, _ = brokers.stored(port, urls["ours"], messages, direct=False)
            ours = len(messages) / elapsed
        with brokers.mosquitto() as port:
            batched = len(messages) / stock_seconds(port, urls["batched"], messages, batched=True)
        with brokers.mosquitto() as port:
            single = len(few) / stock_seconds(port, urls["single"], few, batched=False)
        rows = brokers.rows_of(urls["ours"])
        assert len(rows) == len(messages)
        assert rows == stock_rows(urls["batched"]), "stock paho did not store the same"
        assert stock_rows(urls["single"]) <= rows
    print(
        f"saturated: {100 * ours / raw:.0f} % of what Mosquitto gives a bare subscriber,"
        f" {ours / batched:.1f} x stock paho and executemany, {ours / single:.1f} x a commit a message"
        f" ({ours:,.0f}, {raw:,.0f}, {batched:,.0f} and {single:,.0f} messages/s)"
    )


if __name__ == "__main__":
    main()
