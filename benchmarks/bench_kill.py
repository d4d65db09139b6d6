"""Readings that a broker had acknowledged and lost when it was killed (kill -9) while ingest was away.

``python -m benchmarks kill [--seconds S] [--rate R] [--rounds N]``: Mosquitto as Debian sets it up, Mosquitto with
``config/mosquitto.conf``, and the embedded broker. A persistent session subscribes and leaves; a publisher sends at
QoS 1; the broker is killed, started again, and the session takes what is left. Lost is what had its PUBACK and does not
come; of what had none, the publisher still has everything.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ingest.publisher import Publisher
from ingest.subscriber import Subscriber

ROOT = Path(__file__).resolve().parents[1]
SESSION = "citytwin-ingest-bench"
QUIET_S = 3.0  # nothing more comes when nothing came for so long
DEBIAN = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shipped(port: int, folder: Path) -> str:
    """Return the settings that the project ships, moved to a port and a folder."""
    text = (ROOT / "config" / "mosquitto.conf").read_text("utf-8")
    return text.replace("listener 1883", f"listener {port}").replace("/var/lib/mosquitto/", f"{folder}/")


def mosquitto(text: Callable[[int, Path], str], port: int, folder: Path) -> list[str]:
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit("mosquitto is not installed: apt-get install mosquitto")
    folder.chmod(0o777)  # mosquitto leaves root
    (folder / "mosquitto.conf").write_text(text(port, folder) + "\nlog_type none\n")
    return [program, "-c", str(folder / "mosquitto.conf")]


def embedded(port: int, _folder: Path) -> list[str]:
    return [sys.executable, "-m", "ingest.broker", "--listen", f"127.0.0.1:{port}", "--durable", "city/#"]


def started(command: list[str], port: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process
    raise SystemExit(f"{command[0]} does not answer")


def lost(make: Callable[[int, Path], list[str]], *, seconds: float, rate: float) -> tuple[int, int]:
    """Return how many readings were acknowledged before the kill, and how many of them never came."""
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="citytwin-bench-"))
    command, url = make(port, folder), f"mqtt://127.0.0.1:{port}"
    process = started(command, port)
    Subscriber(url, client_id=SESSION, filters=["city/#"]).close()
    publisher = Publisher(url, client_id="bench", max_unacknowledged=60_000)
    begin = time.monotonic()
    for k in range(int(seconds * rate)):
        publisher.publish(f"city/bench/{k % 100}", str(k).encode())
        if (early := begin + k / rate - time.monotonic()) > 0.01:
            time.sleep(early)
    time.sleep(0.2)  # the last PUBACKs
    process.kill()
    process.wait()
    acknowledged = publisher.acknowledged
    publisher.close()
    process = started(command, port)
    subscriber = Subscriber(url, client_id=SESSION, filters=["city/#"])
    came: set[bytes] = set()
    while messages := subscriber.payloads(QUIET_S):
        came.update(message.payload for message in messages)
        subscriber.acknowledge(messages)
    subscriber.close()
    process.kill()
    process.wait()
    shutil.rmtree(folder)
    return acknowledged, acknowledged - len(came)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rate", type=float, default=5000.0, help="readings/s")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    kinds: dict[str, Callable[[int, Path], list[str]]] = {
        "Mosquitto, Debian's settings": lambda port, folder: mosquitto(
            lambda port, folder: DEBIAN.format(port=port, folder=folder), port, folder
        ),
        "Mosquitto, config/mosquitto.conf": lambda port, folder: mosquitto(shipped, port, folder),
        "embedded broker": embedded,
    }
    for name, make in kinds.items():
        found = [lost(make, seconds=args.seconds, rate=args.rate) for _ in range(args.rounds)]
        words = ", ".join(f"{missing:,} of {acknowledged:,}" for acknowledged, missing in found)
        print(f"{name:<34} acknowledged and lost: {words}")
        if make is embedded:
            assert all(missing <= 0 for _, missing in found), "the embedded broker lost what it had acknowledged"


if __name__ == "__main__":
    main()
