"""QoS 1 messages a second through publisher, embedded broker and subscriber, each in a process of its own.

``python benchmarks/bench_broker.py [--messages N] [--plain]``. Every message is acknowledged by the subscriber before
its publisher gets the PUBACK; the count is asserted, so nothing gets fast by doing less.
"""

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import time
from multiprocessing.connection import Connection

from ingest.publisher import Publisher
from ingest.subscriber import Subscriber

PAYLOAD = b'{"t":1406851200000,"flow_veh_h":840,"speed_kmh":31.5,"occupancy":0.12}'
SENSORS = 449


def receive(url: str, count: int, bulk: bool, report: Connection) -> None:
    subscriber = Subscriber(url, client_id="bench-ingest", filters=["city/#"], bulk=bulk)
    report.send("ready")
    received = 0
    while received < count:
        messages = subscriber.payloads(30.0)
        assert messages, f"only {received} of {count} messages came"
        subscriber.acknowledge(messages)
        received += len(messages)
    report.send((received, time.process_time()))
    subscriber.close()


def measure(url: str, count: int, bulk: bool) -> tuple[float, float, float]:
    """Return messages a second, and the seconds of CPU of subscriber and publisher."""
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=(url, count, bulk, theirs))
    receiver.start()
    assert ours.recv() == "ready"
    publisher = Publisher(url, client_id="bench-publisher")
    start, cpu = time.perf_counter(), time.process_time()
    publisher.publish_all((f"city/bench/{k % SENSORS}", PAYLOAD) for k in range(count))
    assert publisher.drain(120.0)
    elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    received, receiver_cpu = ours.recv()
    receiver.join()
    assert received == publisher.acknowledged == count
    publisher.close()
    return count / elapsed, receiver_cpu, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--plain", action="store_true", help="the subscriber reads in paho's own way")
    args = parser.parse_args()
    command = [sys.executable, "-m", "ingest.broker", "--listen", "127.0.0.1:0", "--parent-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as broker:
        assert broker.stdout is not None
        assert broker.stdin is not None
        url = json.loads(broker.stdout.readline())["mqtt"]
        rate, receiver_cpu, publisher_cpu = measure(url, args.messages, not args.plain)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        broker.stdin.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    broker_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{args.messages} messages, {'paho' if args.plain else 'bulk'} reading: {rate:,.0f}/s; "
        f"CPU s: broker {broker_cpu:.2f}, subscriber {receiver_cpu:.2f}, publisher {publisher_cpu:.2f}"
    )


if __name__ == "__main__":
    main()
