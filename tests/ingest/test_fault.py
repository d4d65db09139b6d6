"""Whatever is killed: no acknowledged reading is missing, none is stored or counted twice."""

import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ingest.batcher import Batcher
from ingest.database import Database, DatabaseAway
from ingest.linger import Linger
from ingest.metrics import IngestMetrics
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.settled import Counts
from ingest.store import Store
from ingest.worker import Worker
from sensors import Batch, Reading, Reason, Rejected
from sensors.clock import CityClock

NOW = 1_781_481_600.0


class Message(NamedTuple):
    topic: str
    payload: bytes


class Publisher:
    """An endless stream that notes what was acknowledged."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.acknowledged: deque[Message] = deque()

    def payloads(self, timeout_s: float) -> list[Message]:
        return [Message(f"D{i % 40}", str(i // 40).encode()) for i in itertools.islice(self.numbers, 200)]

    def acknowledge(self, messages: Sequence[Message]) -> None:
        self.acknowledged.extend(messages)


def decode(topic: str, payload: bytes) -> tuple[list[Reading], list[Rejected]]:
    return [Reading(topic, "speed_kmh", round(NOW * 1000) - int(payload), float(payload))], []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "pg") as server:
        with Database(server.url) as database:
            migrate(database)
        yield server


def until(true: Callable[[], object], what: str, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.005)


def test_killing_the_server_again_and_again_during_writes_loses_and_doubles_nothing(server: EmbeddedPostgres) -> None:
    publisher, stop, metrics = Publisher(), threading.Event(), IngestMetrics()
    batcher: Batcher[Message] = Batcher(decode, clock=CityClock(wall=lambda: NOW), retention_s=1e9, max_rows=200)
    with Database(server.url) as database:
        worker = Worker(publisher, Store(database), batcher, metrics=metrics, linger=Linger(0.0, 0.0), drain_s=0.1)
        thread = threading.Thread(target=worker.run, args=(stop,), daemon=True)
        thread.start()
        for _ in range(3):
            seen = len(publisher.acknowledged)
            until(lambda seen=seen: len(publisher.acknowledged) > seen + 2000, "readings flow")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            until(lambda: not server.alive(), "the death is noticed")
            server.start()
        seen = len(publisher.acknowledged)
        until(lambda: len(publisher.acknowledged) > seen, "readings flow again")
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
        acknowledged = len(publisher.acknowledged)
        assert len(set(publisher.acknowledged)) == acknowledged
        stored = dict(
            database.fetch("SELECT sensor_id, count(*) FROM reading JOIN series USING (series_id) GROUP BY 1")
        )
        assert sum(stored.values()) == acknowledged
        wrong = database.fetch(
            "SELECT count(*) FROM reading"
            " WHERE value <> round(extract(epoch FROM timestamptz 'epoch' + %s * interval '1 s' - time) * 1000)",
            (NOW,),
        )
        assert wrong == [(0,)]
        assert metrics.readings == {
            "received": acknowledged, "stored": acknowledged,
            "duplicate": 0, "conflict": 0, "rejected": 0, "spooled": 0,
        }  # fmt: skip


class LostAnswer(Database):
    """A database whose connection breaks in the moment of a commit, before or after it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.breaks = ""

    def connection(self):  # type: ignore[no-untyped-def]
        @contextmanager
        def lent():  # type: ignore[no-untyped-def]
            with super(LostAnswer, self).connection() as connection:
                yield connection
                if self.breaks == "before":
                    self.breaks = ""
                    raise DatabaseAway("cut before the commit")
            if self.breaks == "after":
                self.breaks = ""
                raise DatabaseAway("cut after the commit")

        return lent()

    def fetch(self, sql: str, parameters: Any = None) -> list[Any]:
        if "write_few" not in sql or not self.breaks:
            return super().fetch(sql, parameters)
        breaks, self.breaks = self.breaks, ""
        if breaks == "after":
            super().fetch(sql, parameters)
        raise DatabaseAway(f"cut {breaks} the commit")


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_few_readings_whose_answer_was_lost_are_neither_repeated_nor_counted_as_repeats(
    database: Database, breaks: str
) -> None:
    with LostAnswer(database.url) as breaking:
        store = Store(breaking)
        store.write(Batch.of([Reading("D1", "speed_kmh", 1, 1.0)], received_at=NOW))
        batch = Batch.of([Reading("D1", "speed_kmh", t, 1.0) for t in (1, 2, 3)], received_at=NOW)
        breaking.breaks = breaks
        with pytest.raises(DatabaseAway):
            store.settle(batch)
        settled = store.settle(batch)
        assert settled.counts == Counts(received=3, stored=2, duplicate=1)
        assert settled.batch.time_ms.tolist() == [1, 2, 3]
        assert store.contents().readings == 3


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_commit_whose_answer_was_lost_is_neither_repeated_nor_counted_as_a_repeat(
    database: Database, breaks: str
) -> None:
    with LostAnswer(database.url) as breaking:
        store = Store(breaking)
        store.write(Batch.of([Reading("D1", "speed_kmh", 1, 1.0)], received_at=NOW))
        batch = Batch.of(
            [
                Reading("D1", "speed_kmh", 1, 1.0),
                Reading("D1", "speed_kmh", 1, 2.0),
                Reading("D1", "speed_kmh", 2, 3.0),
            ],
            received_at=NOW,
            rejected=(Rejected("t", b"?", Reason.NOT_JSON),),
        )
        breaking.breaks = breaks
        with pytest.raises(DatabaseAway):
            store.write(batch)
        assert store.write(batch) == Counts(received=4, stored=1, duplicate=1, conflict=1, rejected=1)
        assert store.write(batch) == Counts(received=4, duplicate=2, conflict=1, rejected=1)  # now it is a repeat
        assert store.contents().readings == 2


def test_a_server_that_is_told_to_stop_is_waited_for(server: EmbeddedPostgres) -> None:
    with Database(server.url) as database:
        store = Store(database)
        store.write(Batch.of([Reading("D1", "speed_kmh", 1, 1.0)], received_at=NOW))
        server.stop()
        batch = Batch.of([Reading("D1", "speed_kmh", 2, 1.0)], received_at=NOW)
        with pytest.raises(DatabaseAway):
            store.write(batch)
        server.start()
        assert store.write(batch).stored == 1


def test_a_fresh_database_behind_the_same_url_gets_its_own_series(server: EmbeddedPostgres) -> None:
    with Database(server.url_of("postgres")) as maintenance, Database(server.url) as database:
        store = Store(database)
        store.write(Batch.of([Reading(f"D{i}", "speed_kmh", 1, 1.0) for i in range(3)], received_at=NOW))
        maintenance.execute("DROP DATABASE citytwin WITH (FORCE)")
        maintenance.execute("CREATE DATABASE citytwin")
        migrate(database)
        assert store.write(Batch.of([Reading("D2", "speed_kmh", 1, 1.0)], received_at=NOW)).stored == 1
        assert store.latest().sensor_id == ("D2",)
