"""Everything is killed at random, alone, in every pair and all at once: nothing acknowledged is missing or doubled.

The publisher is paho alone (``sensor.py``) and writes down every PUBACK. CITYTWIN_TEST_SOAK_KILLS sets how many rounds
of kills there are, CITYTWIN_TEST_SOAK_SEED which ones.
"""

import itertools
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.postgres import EmbeddedPostgres

SENSOR = Path(__file__).with_name("sensor.py")
PARTS = ("database", "ingest", "broker", "publisher")
ROUNDS = int(os.environ.get("CITYTWIN_TEST_SOAK_KILLS", "6"))
RATE = 400.0  # readings/s
RECOVERED_S = 10.0  # what is promised


def kills(rng: random.Random, parts: tuple[str, ...], rounds: int) -> list[tuple[str, ...]]:
    """Return who is killed in each round: all at once, every pair, everyone alone, in a random order; then anyhow."""
    groups = [c for size in range(1, len(parts) + 1) for c in itertools.combinations(parts, size)]
    first = [c for c in groups if len(c) != 3]
    rng.shuffle(first)
    first.insert(rng.randrange(min(rounds, len(first))), parts)
    return [*first, *(rng.choice(groups) for _ in range(rounds))][:rounds]


class Sensors:
    """A publisher that is started anew under another name after each kill, and what all of them were acknowledged."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._process: subprocess.Popen[bytes] | None = None
        self.files: dict[str, Path] = {}

    def start(self) -> None:
        begin_s = int(time.time()) - 7200 - len(self.files)  # in seconds of its own: the name tells the times
        name = f"soak-{begin_s}"
        self.files[name] = self._folder / f"{name}.acknowledged"
        command = [sys.executable, str(SENSOR), "127.0.0.1", str(self._port), name, str(self.files[name]), str(RATE)]
        self._process = subprocess.Popen(command)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def acknowledged(self) -> int:
        return sum(path.stat().st_size // 4 for path in self.files.values() if path.exists())

    def finish(self) -> None:
        """Publish no more, and wait until everything is acknowledged."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0
        self._process = None

    def numbers(self, name: str) -> list[int]:
        """Return which readings of one of them were acknowledged; a number that a kill cut off is none."""
        data = self.files[name].read_bytes() if self.files[name].exists() else b""
        return [number for (number,) in struct.iter_unpack(">I", data[: len(data) // 4 * 4])]


@pytest.fixture
def sensors(tmp_path: Path) -> Iterator[Callable[[int], Sensors]]:
    made: list[Sensors] = []

    def make(port: int) -> Sensors:
        made.append(Sensors(tmp_path, port))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n_workers"), [("embedded", 1), ("embedded", 2), ("direct", 1), ("mosquitto", 1)])
def test_nothing_acknowledged_is_missing_or_doubled_whatever_is_killed(
    kind: str,
    n_workers: int,
    server: EmbeddedPostgres,
    make_broker: Any,
    worker_of: Any,
    sensors: Callable[[int], Sensors],
    until: Any,
    stored: Any,
    kill_database: Any,
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("CITYTWIN_TEST_SOAK_SEED", time.time_ns() % 1_000_000))
    rng = random.Random(seed)
    parts = PARTS
    if kind != "embedded":
        # The broker is within the worker; or it is Mosquitto, which loses what it acknowledged: `benchmarks kill`.
        parts = tuple(part for part in PARTS if part != "broker")
    rounds = kills(rng, parts, ROUNDS)
    print(f"CITYTWIN_TEST_SOAK_SEED={seed} CITYTWIN_TEST_SOAK_KILLS={ROUNDS}: {rounds}")
    broker = make_broker("embedded" if kind == "direct" else kind)
    options = ("--shared-group", "city") if n_workers > 1 else ()
    if kind == "direct":
        options = ("--listen", f"127.0.0.1:{broker.port}")
    else:
        broker.start()
    workers = [worker_of(broker.url, server.url, *options, state=tmp_path / "state") for _ in range(n_workers)]

    def start_workers() -> None:
        for worker in workers:
            if not worker.alive():
                worker.start()

    def are_up() -> bool:
        return all(worker.up() for worker in workers)

    def are_ready() -> bool:
        return all(worker.ready() for worker in workers)

    start_workers()
    until(lambda: are_up() and are_ready(), "ready workers")
    publisher = sensors(broker.port)
    publisher.start()
    until(lambda: publisher.acknowledged() > 100, "a first hundred PUBACKs")

    kill = {
        "database": lambda: kill_database(server, whole=rng.random() < 0.5),
        "ingest": lambda: [worker.kill() for worker in rng.sample(workers, rng.randint(1, n_workers))],
        "broker": broker.kill,
        "publisher": publisher.kill,
    }
    start = {"database": server.start, "ingest": start_workers, "broker": broker.start, "publisher": publisher.start}
    slowest = 0.0
    for victims in rounds:
        time.sleep(rng.uniform(0.2, 1.0))  # anywhere between two commits
        order = rng.sample(victims, len(victims))
        for victim in order:
            kill[victim]()
        for victim in rng.sample(victims, len(victims)):
            time.sleep(rng.choice([0.0, 0.0, rng.uniform(0.0, 2.5)]))  # short and long of the second before spooling
            start[victim]()
        until(are_up, "the workers' processes")
        ended, before = time.monotonic(), publisher.acknowledged()
        until(
            lambda before=before: publisher.acknowledged() > before and are_ready(),
            f"a PUBACK and ready workers after {victims} of seed {seed}; they said: {said(workers)}",
            RECOVERED_S,
        )
        slowest = max(slowest, time.monotonic() - ended)
        for worker in workers:
            worker.counts()

    publisher.finish()
    for worker in workers:
        until(lambda worker=worker: (c := worker.counts())["in flight"] == c["spooled"] == 0, "an empty spool")
    lost, extra, wrong = [], [], []
    total = 0
    for name in publisher.files:
        begin_ms = 1000 * int(name.rpartition("-")[2])
        rows = stored(server.url, name)
        numbers = [ms - begin_ms for ms, _ in rows]
        acknowledged = publisher.numbers(name)
        total += len(acknowledged)
        lost += sorted(set(acknowledged) - set(numbers))
        extra += [n for n, count in _counted(numbers) if count > 1]
        wrong += [n for n, (_, value) in zip(numbers, rows, strict=True) if value != n % 90]
    print(f"{len(rounds)} kills of {kind}, {n_workers} workers: {total} acknowledged, slowest recovery {slowest:.1f} s")
    assert (lost, extra, wrong) == ([], [], []), f"seed {seed}"
    for worker in workers:
        assert "0 conflict, 0 rejected, 0 spooled" in worker.stop()
    assert "Traceback" not in said(workers)


def said(workers: list[Any]) -> str:
    """Return the log of every life of the workers."""
    return "\n".join(worker.said for worker in workers)


def _counted(numbers: list[int]) -> list[tuple[int, int]]:
    return [(n, len(list(group))) for n, group in itertools.groupby(sorted(numbers))]
