"""From publish to commit at a steady rate: the worst of a hundred, beside the broker's own hop and one commit.

Messages go out every 10 ms as a device fleet sends them. *Committed* is when the PUBACK comes back: with the direct
path it follows the COMMIT. The hop is a QoS 0 message through the same broker at the same rate to a bare subscriber,
the commit one transaction of the store with as many readings as come in two ticks, both measured in the same run.
"""

import argparse
import multiprocessing
import time
from typing import Any

import numpy as np

from benchmarks import brokers
from ingest.broker.frames import FrameReader, frame
from ingest.database import Database
from ingest.store import Store
from sensors import Batch, Reading

TICK_S = 0.01
WARM_UP_S = 1.0


def paced(port: int, rate: int, seconds: float, qos: int, report: Any) -> None:
    """Publish at a rate; reports when each message was due, and at QoS 1 when its PUBACK came."""
    import selectors

    per_tick, ticks = round(rate * TICK_S), round((seconds + WARM_UP_S) / TICK_S)
    messages = brokers.payloads(per_tick * ticks)
    client = brokers.connect(port, b"bench-publisher")
    selector = selectors.DefaultSelector()
    selector.register(client, selectors.EVENT_READ)
    due = np.repeat(np.arange(ticks) * TICK_S, per_tick)
    answered = np.zeros(len(messages))
    packets = [
        b"".join(
            frame(
                0x30 | qos << 1,
                len(topic).to_bytes(2, "big") + topic + ((k % 65_535 + 1).to_bytes(2, "big") if qos else b"") + payload,
            )
            for k, (topic, payload) in enumerate(messages[tick * per_tick : (tick + 1) * per_tick], tick * per_tick)
        )
        for tick in range(ticks)
    ]
    report.send("ready")
    begin = report.recv()
    acknowledged = rest = tick = 0
    while tick < ticks or (qos and acknowledged < len(messages)):
        wait = begin + tick * TICK_S - time.perf_counter() if tick < ticks else 30.0
        if wait <= 0:
            client.sendall(packets[tick])
            tick += 1
            continue
        if selector.select(wait):
            data = client.recv(1 << 18)
            assert data, "the broker closed the connection"
            rest += len(data)
            answered[acknowledged : acknowledged + rest // 4] = time.perf_counter() - begin
            acknowledged += rest // 4
            rest %= 4
    report.send((due, answered))
    if not qos:
        report.recv()
    client.close()


def heard(port: int, count: int, report: Any) -> None:
    """Take messages at QoS 0 and report when each came."""
    client = brokers.connect(port, b"bench-hearer")
    client.sendall(frame(0x82, b"\0\1" + b"\0\6city/#" + b"\0"))
    assert client.recv(5)[:2] == b"\x90\x03"
    report.send("ready")
    begin = report.recv()
    reader, came, at = FrameReader(max_bytes=1 << 20), np.zeros(count), 0
    while at < count:
        n = len(reader.feed(client.recv(1 << 18)))
        came[at : at + n] = time.perf_counter() - begin
        at += n
    report.send(came)
    client.close()


def latencies_ms(due: Any, came: Any) -> Any:
    """Return what each message after the warm-up took, ms."""
    return 1e3 * (came - due)[due >= WARM_UP_S]


def committed(url: str, rate: int, seconds: float) -> Any:
    """Return publish to PUBACK over the direct path, ms."""
    count = round(rate * TICK_S) * round((seconds + WARM_UP_S) / TICK_S)
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.Process(target=brokers.work, args=(0, url, count, True, theirs))
    worker.start()
    port = ours.recv()
    ends = multiprocessing.Pipe()
    publisher = multiprocessing.Process(target=paced, args=(port, rate, seconds, 1, ends[1]))
    publisher.start()
    assert ends[0].recv() == "ready"
    ends[0].send(time.perf_counter())
    due, answered = ends[0].recv()
    assert ours.recv()[1] == count, "not everything is stored"
    ours.send("go")
    worker.join()
    publisher.join()
    return latencies_ms(due, answered)


def hop(rate: int, seconds: float) -> Any:
    """Return publish to arrival at a bare subscriber of the embedded broker, ms."""
    count = round(rate * TICK_S) * round((seconds + WARM_UP_S) / TICK_S)
    with brokers.embedded("--durable", "none/#") as port:
        ends, others = multiprocessing.Pipe(), multiprocessing.Pipe()
        hearer = multiprocessing.Process(target=heard, args=(port, count, others[1]))
        hearer.start()
        assert others[0].recv() == "ready"
        publisher = multiprocessing.Process(target=paced, args=(port, rate, seconds, 0, ends[1]))
        publisher.start()
        assert ends[0].recv() == "ready"
        begin = time.perf_counter()
        others[0].send(begin)
        ends[0].send(begin)
        due, _ = ends[0].recv()
        came = others[0].recv()
        ends[0].send("go")
        hearer.join()
        publisher.join()
    return latencies_ms(due, came)


def commit(url: str, rate: int) -> Any:
    """Return the time of one transaction with what comes in within two ticks, ms."""
    rows, times = max(1, round(2 * rate * TICK_S)), []
    with Database(url) as database:
        store = Store(database)
        for k in range(150):
            batch = Batch.of(
                [
                    Reading(f"C{j % brokers.SENSORS}", "speed_kmh", brokers.START_MS + k * 100_000 + j, 50.0)
                    for j in range(rows)
                ],
                received_at=brokers.START_MS / 1000,
            )
            begin = time.perf_counter()
            store.write(batch)
            times.append(1e3 * (time.perf_counter() - begin))
    return np.array(times[20:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    told = []
    with brokers.databases("slow", "slow_commit", "fast", "fast_commit") as urls:
        for rate, name in ((5_000, "slow"), (20_000, "fast")):
            all_ms = committed(urls[name], rate, args.seconds)
            hop_ms, commit_ms = hop(rate, args.seconds), commit(urls[f"{name}_commit"], rate)
            p99, hop99, commit99 = (brokers.p99(values) for values in (all_ms, hop_ms, commit_ms))
            told.append(
                f"{rate:,}/s: p50 {np.median(all_ms):.0f}, p99 {p99:.0f} ms, {p99 / (hop99 + commit99):.1f} x"
                f" (hop {hop99:.1f} + commit {commit99:.1f} ms)"
            )
    print(f"latency: published to committed at {'; '.join(told)}")


if __name__ == "__main__":
    main()
