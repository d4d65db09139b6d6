"""Fuzzed payloads and topics all the way into a real database: each is stored or rejected by name, and none stops it.

`tests/sensors/fuzz_codecs.py` makes them; CITYTWIN_TEST_HOSTILE says how many.
"""

import importlib.util
import os
import random
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from ingest.batcher import Batcher
from ingest.database import Database
from ingest.metrics import IngestMetrics
from ingest.postgres import EmbeddedPostgres
from ingest.store import Store
from ingest.worker import Worker
from sensors import Reason
from sensors.clock import CityClock
from sensors.payload import decoder

MESSAGES = int(os.environ.get("CITYTWIN_TEST_HOSTILE", "20000"))
CITY_S = 1_700_000_000.0  # 2023, after the newest of the good payloads


class Message(NamedTuple):
    topic: str
    payload: bytes


class Source:
    """Gives what was published in bundles, and counts what was acknowledged."""

    def __init__(self, messages: list[Message]) -> None:
        self.waiting = deque(messages)
        self.acknowledged = 0

    def payloads(self, timeout_s: float) -> list[Message]:
        return [self.waiting.popleft() for _ in range(min(500, len(self.waiting)))]

    def acknowledge(self, messages: Sequence[Message]) -> None:
        self.acknowledged += len(messages)


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    path = Path(__file__).parents[1] / "sensors" / "fuzz_codecs.py"
    spec = importlib.util.spec_from_file_location("fuzz_codecs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_hostile_message_is_stored_or_rejected_by_name(
    fuzz: ModuleType, server: EmbeddedPostgres, until: Any
) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    rng = random.Random(seed)
    messages = []
    for _ in range(MESSAGES):
        topic, payload = rng.choice(fuzz.GOOD)
        payload = payload.replace(b"T00:00", b"T%02d:%02d" % (rng.randrange(24), rng.randrange(60)))
        if rng.random() < 0.9:
            payload = fuzz.mutated(payload, rng, rng.choice(fuzz.GOOD)[1])
        if rng.random() < 0.1:
            topic = fuzz.mutated_topic(topic, rng)
        messages.append(Message(topic, payload))
    messages.append(Message("city/a/D1", b"[" * 10_000_000))
    source, metrics, stop = Source(messages), IngestMetrics(), threading.Event()
    with Database(server.url) as database:
        store = Store(database)
        clock = CityClock(wall=lambda: CITY_S)
        batcher: Batcher[Message] = Batcher(decoder(fuzz.RULES), clock=clock, retention_s=1.6e9)
        worker = Worker(source, store, batcher, metrics=metrics)
        thread = threading.Thread(target=worker.run, args=(stop,), daemon=True)
        thread.start()
        until(lambda: source.acknowledged == len(messages) or not thread.is_alive(), f"the end of seed {seed}", 600)
        stop.set()
        thread.join(30)
        assert source.acknowledged == len(messages), f"it stopped at seed {seed}"
        readings = metrics.readings
        contents = store.contents()
        assert metrics.in_flight == 0
        assert contents.readings == readings["stored"] > MESSAGES / 20
        assert sum(contents.rejected.values()) == readings["rejected"] + readings["conflict"]
        names = {str(reason) for reason in Reason}
        assert {name.partition(" (cut")[0] for name in contents.rejected} <= names
