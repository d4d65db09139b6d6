"""What a worker costs when little happens: CPU with 300 sensors that report every 10 s, and with none.

CPU time of the process with broker and writer (direct path), as a share of one core; the database is a process of its
own. The readings that came are counted.
"""

import argparse
import multiprocessing
import time

import psutil

from benchmarks import brokers
from ingest.linger import Linger
from ingest.publisher import Publisher

SENSORS, EVERY_S = 300, 10.0


def measured(port: int, pid: int | None, seconds: float, rate: float) -> tuple[int, float, float]:
    """Publish at a rate and return the messages published, the worker's seconds of CPU meanwhile, and the seconds."""
    publisher = Publisher(f"mqtt://127.0.0.1:{port}", client_id="bench-publisher")
    messages = brokers.payloads(brokers.SENSORS + round(rate * seconds))
    for topic, payload in messages[: brokers.SENSORS]:  # each sensor once: registering it is no idle work
        publisher.publish(topic.decode(), payload)
    assert publisher.drain(30.0)
    started, begin = cpu_s(pid), time.perf_counter()
    for k, (topic, payload) in enumerate(messages[brokers.SENSORS :]):
        time.sleep(max(0.0, begin + k / rate - time.perf_counter()))
        publisher.publish(topic.decode(), payload)
    assert publisher.drain(30.0)
    publisher.close()
    return len(messages), cpu_s(pid) - started, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--linger-ms", type=float, default=5.0, help="how long a message waits for others (5)")
    parser.add_argument("--quiet-linger-ms", type=float, default=400.0, help="and in quiet hours at most (400)")
    args = parser.parse_args()
    rate = SENSORS / EVERY_S
    count = brokers.SENSORS + round(rate * args.seconds)
    with brokers.databases("idle") as urls:
        ours, theirs = multiprocessing.Pipe()
        worker = multiprocessing.Process(
            target=brokers.work,
            args=(0, urls["idle"], count, True, theirs),
            kwargs={"linger": Linger(args.linger_ms / 1e3, args.quiet_linger_ms / 1e3)},
        )
        worker.start()
        port = ours.recv()
        published, used, elapsed = measured(port, worker.pid, args.seconds, rate)
        _, stored, _ = ours.recv()
        ours.send("go")
        worker.join()
    assert stored == published == count
    print(
        f"idle: {100 * used / elapsed:.2f} % of a core with {SENSORS} sensors every {EVERY_S:g} s,"
        f" lingering {args.linger_ms:g} to {args.quiet_linger_ms:g} ms"
        f" ({used:.2f} s of CPU in {elapsed:.0f} s, {stored} readings stored)"
    )


def cpu_s(pid: int | None) -> float:
    """Return the seconds of CPU that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
