"""The writer loop: acknowledged only after the commit, whatever the database does meanwhile."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ingest.batcher import Batcher
from ingest.database import Database
from ingest.metrics import IngestMetrics
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.spools import Spools
from ingest.store import ANSWER_S, Store
from ingest.worker import Worker
from sensors import Batch, Reading, Rejected
from sensors.clock import CityClock

NOW = 1_781_481_600.0


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes


class Source:
    """A queue in the place of the broker: it gives messages again that were not acknowledged, as QoS 1 does."""

    def __init__(self) -> None:
        self.waiting: deque[Message] = deque()
        self.acknowledged: list[Message] = []
        self.given = 0
        self._changed = threading.Condition()

    def publish(self, *messages: Message) -> None:
        with self._changed:
            self.waiting.extend(messages)
            self._changed.notify_all()

    def payloads(self, timeout_s: float) -> list[Message]:
        with self._changed:
            self._changed.wait_for(lambda: self.waiting, timeout_s)
            given = [self.waiting.popleft() for _ in range(min(100, len(self.waiting)))]
            self.given += len(given)
            self._changed.notify_all()
            return given

    def acknowledge(self, messages: Sequence[Message]) -> None:
        with self._changed:
            self.acknowledged.extend(messages)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), "the worker did not get there in time"


def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
    return [Reading(topic, "speed_kmh", round(NOW * 1000) + int(payload), 50.0)], []


def message(i: int) -> Message:
    return Message(f"D{i % 50}", str(i // 50).encode())


class Running:
    """A worker in a thread."""

    def __init__(
        self,
        source: Source,
        database: Database,
        *,
        drain_s: float = 5.0,
        spools: Spools | None = None,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.metrics = IngestMetrics()
        self.committed: list[Batch] = []
        self.stop = threading.Event()
        batcher: Batcher[Message] = Batcher(decode, clock=CityClock(wall=lambda: NOW), retention_s=3600.0, max_rows=100)
        worker = Worker(
            source,
            Store(database, answer_s=answer_s),
            batcher,
            committed=self.committed.append,
            metrics=self.metrics,
            drain_s=drain_s,
            spools=spools,
        )
        self.thread = threading.Thread(target=worker.run, args=(self.stop,), daemon=True)
        self.thread.start()

    def finish(self) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "pg") as server:
        with Database(server.url) as database:
            migrate(database)
        yield server


def test_messages_are_acknowledged_in_order_and_handed_on_after_their_commit(
    source: Source, database: Database
) -> None:
    running = Running(source, database)
    sent = [message(i) for i in range(250)]
    source.publish(*sent)
    source.wait_for(lambda: len(source.acknowledged) == 250)
    running.finish()
    assert source.acknowledged == sent
    assert sum(len(batch) for batch in running.committed) == 250
    assert Store(database).contents().readings == 250
    assert running.metrics.readings["stored"] == 250
    assert running.metrics.in_flight == 0


def test_a_stop_finishes_what_has_arrived(source: Source, database: Database) -> None:
    source.publish(*(message(i) for i in range(1000)))
    running = Running(source, database)
    running.finish()
    assert len(source.acknowledged) == 1000
    assert Store(database).contents().readings == 1000


def test_what_the_store_refused_is_not_handed_to_the_twin(source: Source, database: Database) -> None:
    Store(database).write(Batch.of([Reading("D0", "speed_kmh", round(NOW * 1000), 1.0)], received_at=NOW))
    running = Running(source, database)
    source.publish(Message("D0", b"0"), Message("D1", b"0"), Message("D\0", b"0"))
    source.wait_for(lambda: len(source.acknowledged) == 3)
    running.finish()
    assert [batch.sensor_id for batch in running.committed] == [("D1",)]
    assert running.metrics.rejected_by_reason == {"conflict": 1, "bad_sensor_id": 1}


def test_refused_readings_and_new_sensors_are_a_line_each_in_the_log_however_many_come(
    source: Source, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="ingest")
    broken = [Message("D\0", str(i).encode()) for i in range(500)]
    source.publish(Message("D1", b"0"), *broken)
    running = Running(source, database)
    source.wait_for(lambda: len(source.acknowledged) == 501)
    running.finish()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "1 new sensor 'D1': not registered with the network, the readings are stored as unverified"
    refused = [line for line in said if "bad_sensor_id" in line]
    assert len(refused) == 2, "the first at once, the rest at the end"
    assert sum(1 if line.startswith("rejected 1 reading of") else int(line.split()[1]) for line in refused) == 500
    assert all("topic 'D\\x00'" in line for line in refused)


def test_nothing_is_acknowledged_while_the_database_is_away_and_nothing_lost_or_doubled(
    source: Source, own_server: EmbeddedPostgres
) -> None:
    with Database(own_server.url) as database:
        running = Running(source, database)
        source.publish(*(message(i) for i in range(300)))
        source.wait_for(lambda: len(source.acknowledged) == 300)
        own_server.stop()
        source.publish(*(message(i) for i in range(300, 1000)))
        source.wait_for(lambda: source.given > 300)
        _wait(lambda: "citytwin_ingest_database_up 0" in running.metrics.as_prometheus())
        assert len(source.acknowledged) == 300
        given = source.given
        assert given < 1000  # it holds one batch and asks for no more
        own_server.start()
        source.wait_for(lambda: len(source.acknowledged) == 1000)
        running.finish()
        assert Store(database).contents().readings == 1000
        readings = running.metrics.readings
        assert readings == {
            "received": 1000, "stored": 1000, "duplicate": 0, "conflict": 0, "rejected": 0, "spooled": 0,
        }  # fmt: skip


def test_a_stop_while_the_database_is_away_ends_and_leaves_the_batch_unacknowledged(
    source: Source, own_server: EmbeddedPostgres
) -> None:
    with Database(own_server.url) as database:
        running = Running(source, database, drain_s=0.2)
        own_server.stop()
        source.publish(message(0))
        source.wait_for(lambda: source.given == 1)
        running.finish()
        assert source.acknowledged == []
        assert running.metrics.in_flight == 1


def test_with_a_spool_messages_are_acknowledged_while_the_database_is_away_and_stored_once_when_it_is_back(
    source: Source, own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    with Database(own_server.url) as database, Spools(tmp_path / "spool", "worker") as spools:
        running = Running(source, database, spools=spools)
        source.publish(*(message(i) for i in range(300)))
        source.wait_for(lambda: len(source.acknowledged) == 300)
        own_server.stop()
        source.publish(*(message(i) for i in range(300, 1000)))
        source.wait_for(lambda: len(source.acknowledged) == 1000)
        readings = running.metrics.readings
        assert (readings["received"], readings["spooled"], readings["stored"]) == (1000, 700, 300)
        own_server.start()
        _wait(lambda: running.metrics.readings["stored"] == 1000)
        source.publish(*(message(i) for i in range(1000, 1100)))
        source.wait_for(lambda: len(source.acknowledged) == 1100)
        running.finish()
        assert Store(database).contents().readings == 1100
        assert sum(len(batch) for batch in running.committed) == 1100, "the twin gets them as well"
        assert running.metrics.readings == {
            "received": 1100, "stored": 1100, "duplicate": 0, "conflict": 0, "rejected": 0, "spooled": 0,
        }  # fmt: skip
        assert spools.waiting() is None


def test_a_database_that_hangs_without_a_word_counts_as_away_and_is_gone_on_with_when_it_answers(
    source: Source, own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Its processes are stopped, so the connection stands and no byte comes; an answer is waited for 1 s here."""
    with Database(own_server.url) as database, Spools(tmp_path / "spool", "worker") as spools:
        running = Running(source, database, spools=spools, answer_s=1.0)
        source.publish(*(message(i) for i in range(300)))
        source.wait_for(lambda: len(source.acknowledged) == 300)
        server = psutil.Process(own_server.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            source.publish(*(message(i) for i in range(300, 1000)))
            source.wait_for(lambda: len(source.acknowledged) == 1000)
            assert "did not answer within 1 s" in running.metrics.database_error
        finally:
            for process in processes:
                process.resume()
        _wait(lambda: running.metrics.in_flight == 0 and running.metrics.readings["spooled"] == 0)
        running.finish()
        assert Store(database).contents().readings == 1000
        readings = running.metrics.readings
        assert readings["received"] == 1000
        assert readings["stored"] + readings["duplicate"] == 1000


def test_a_stop_while_the_database_is_away_leaves_everything_in_the_spool_for_the_next_start(
    source: Source, own_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    with Database(own_server.url) as database:
        own_server.stop()
        with Spools(tmp_path / "spool", "worker") as spools:
            running = Running(source, database, spools=spools)
            source.publish(*(message(i) for i in range(150)), Message("D\0", b"0"))
            source.wait_for(lambda: source.given == 151)
            running.finish()
        assert len(source.acknowledged) == 151
        assert running.metrics.readings["spooled"] == 151
        own_server.start()
        with Spools(tmp_path / "spool", "worker") as spools:
            later = Running(source, database, spools=spools)
            _wait(lambda: later.metrics.readings["received"] == 151 and later.metrics.in_flight == 0)
            later.finish()
        assert later.metrics.readings == {
            "received": 151, "stored": 150, "duplicate": 0, "conflict": 0, "rejected": 1, "spooled": 0,
        }  # fmt: skip
        assert Store(database).contents().readings == 150


def test_a_full_spool_holds_back_as_without_one(
    source: Source, own_server: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Database(own_server.url) as database, Spools(tmp_path / "spool", "worker", limit_bytes=5_000) as spools:
        own_server.stop()
        running = Running(source, database, spools=spools)
        source.publish(*(message(i) for i in range(1000)))
        _wait(lambda: "is full: it may have" in caplog.text)
        given = source.given
        time.sleep(1.0)
        assert source.given == given < 1000
        assert running.metrics.in_flight > 0
        own_server.start()
        source.wait_for(lambda: len(source.acknowledged) == 1000)
        _wait(lambda: running.metrics.readings["stored"] == 1000)
        running.finish()
        assert Store(database).contents().readings == 1000


def _wait(condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)
