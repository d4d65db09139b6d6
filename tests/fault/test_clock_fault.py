"""The clock of the machine jumps: nothing stops, the counts agree, and what was judged by a wrong clock is kept."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from ingest.batcher import Batcher
from ingest.database import Database
from ingest.metrics import IngestMetrics
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.rejected import replay_rejected
from ingest.store import Store
from ingest.worker import Worker
from sensors.clock import CityClock
from sensors.payload import TopicRule, decoder

NOW = 1_781_481_600.0
DAY_S = 86_400.0
DECODE = decoder([TopicRule("city/#", "citytwin")])


class Message(NamedTuple):
    topic: str
    payload: bytes


class Source:
    """Gives what was published, and notes what was acknowledged."""

    def __init__(self) -> None:
        self.waiting: deque[Message] = deque()
        self.acknowledged = 0

    def payloads(self, timeout_s: float) -> list[Message]:
        if not self.waiting:
            threading.Event().wait(min(timeout_s, 0.01))
        return [self.waiting.popleft() for _ in range(len(self.waiting))]

    def acknowledge(self, messages: Sequence[Message]) -> None:
        self.acknowledged += len(messages)


@pytest.mark.parametrize(
    ("jump_s", "refused"),
    [
        (-7200.0, "time_in_future"),
        (-NOW, "time_in_future"),  # a machine without a battery starts in 1970
        (500 * DAY_S, "time_too_old"),
        (3600.0, None),
    ],
)
def test_a_jump_of_the_clock_loses_nothing_that_was_acknowledged(
    jump_s: float, refused: str | None, server: EmbeddedPostgres, until: object
) -> None:
    clock = [NOW]
    source, stop, metrics = Source(), threading.Event(), IngestMetrics()
    with Database(server.url) as database:
        migrate(database)
        store = Store(database)
        city = CityClock(wall=lambda: clock[0])
        batcher: Batcher[Message] = Batcher(DECODE, clock=city, retention_s=400 * DAY_S)
        worker = Worker(source, store, batcher, metrics=metrics)
        thread = threading.Thread(target=worker.run, args=(stop,), daemon=True)
        thread.start()
        for k, now in enumerate((NOW, NOW + jump_s, NOW)):
            clock[0] = now
            for i in range(100):
                source.waiting.append(Message("city/a/D1", b'{"t": %d, "speed_kmh": 5}' % (NOW * 1000 + 100 * k + i)))
            until(lambda k=k: source.acknowledged == 100 * (k + 1), "an acknowledgement")  # type: ignore[operator]
        stop.set()
        thread.join(30)
        readings = metrics.readings
        lost = 0 if refused is None else 100
        assert (readings["received"], readings["stored"], readings["rejected"]) == (300, 300 - lost, lost)
        assert metrics.in_flight == 0
        assert store.contents().rejected == ({} if refused is None else {refused: 100})
        replay_rejected(database, store, DECODE, now=NOW, retention_s=400 * DAY_S, future_s=300.0, clock_was_wrong=True)
        assert store.contents().readings == 300
