"""Roles of a database: a reader cannot write, a writer cannot drop, and who may not make roles goes on without."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from urllib.parse import urlsplit

import pytest

from ingest.correction import correct
from ingest.database import Database, DatabaseAway
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.retention import Retention
from ingest.roles import FUNCTIONS, OWNER, READER, ROLES, TABLES, WRITER, settle_roles
from ingest.rollup import refresh
from ingest.store import Store
from sensors import Batch, Reading, Reason, Rejected, Sensor, WorkError
from sensors.clock import CityClock

MONDAY = 1_781_481_600.0
_numbers = count(1)


def reading(minute: int = 0, value: float = 50.0) -> Reading:
    return Reading("D1", "speed_kmh", round(MONDAY + 60 * minute) * 1000, value)


@contextmanager
def login(database: Database, member_of: str | None, options: str = "") -> Iterator[Database]:
    """Return the database as a fresh login sees it that is a member of a role."""
    name = f"login_{next(_numbers)}"
    database.execute(f"CREATE ROLE {name} LOGIN {options}")
    if member_of is not None:
        database.execute(f"GRANT {member_of} TO {name}")
    parts = urlsplit(database.url)
    host = parts.netloc.rpartition("@")[2]
    try:
        with Database(parts._replace(netloc=f"{name}@{host}").geturl()) as other:
            yield other
    finally:
        database.execute(f"DROP OWNED BY {name}")
        database.execute(f"DROP ROLE {name}")


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """Return a database without schema."""
    name = f"roles_{next(_numbers)}"
    with Database(postgres.url) as maintenance:
        maintenance.execute(f"CREATE DATABASE {name}")
        try:
            with Database(postgres.url_of(name)) as database:
                yield database
        finally:
            maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def others(empty: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """Return names for the roles that are not there: roles belong to the server, which other tests share."""
    names = tuple(f"{role}_{next(_numbers)}" for role in ROLES)
    for name, other in zip(("READER", "WRITER", "OWNER"), names, strict=True):
        monkeypatch.setattr(f"ingest.roles.{name}", other)
    monkeypatch.setattr("ingest.roles.ROLES", names)
    yield names
    for role in names:
        if empty.fetch("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)):
            empty.execute(f"DROP OWNED BY {role}")
            empty.execute(f"DROP ROLE {role}")


def test_everything_that_the_schema_makes_has_an_owner_who_is_no_superuser(database: Database) -> None:
    Store(database).write(Batch.of([reading()], received_at=MONDAY))  # makes a partition
    owners = database.fetch(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    assert owners == [(OWNER,)]
    tables = database.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')"
        " AND NOT relispartition"
    )
    assert {row[0] for row in tables} == set(TABLES)
    functions = database.fetch("SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    assert {row[0] for row in functions} == set(FUNCTIONS)


def test_a_reader_reads_everything_and_cannot_write_drop_or_call(database: Database) -> None:
    Store(database).write(Batch.of([reading()], received_at=MONDAY))
    with login(database, READER) as reader:
        assert len(Store(reader).latest()) == 1
        for table in TABLES:
            reader.fetch(f"SELECT * FROM {table}")
        for attempt in (
            "INSERT INTO rejected (received_at, topic, payload, reason) VALUES (now(), '', '', '')",
            "INSERT INTO reading_raw VALUES (1, now(), 1, 0, now())",
            "UPDATE latest SET value = 0",
            "DELETE FROM correction",
            "TRUNCATE reading_raw",
            "DROP TABLE reading_raw",
            "SELECT drop_readings_before(now())",
            "SELECT forget_before(now())",
            "SELECT forget_rollups_before(now())",
            "SELECT roll_up(1)",
            "SELECT ensure_week('reading_raw', now())",
            "CREATE TABLE mine (a int)",
        ):
            with pytest.raises(WorkError, match="lacks a right"):
                reader.execute(attempt)


def test_a_writer_does_all_that_a_worker_does_and_changes_or_drops_nothing_that_is_stored(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with login(database, WRITER) as writer:
        assert migrate(writer) > 0
        store = Store(writer)
        store.register([Sensor("D2", link_id="L1")], zones={"L1": "harbour"})
        first = store.write(
            Batch.of([reading()], received_at=MONDAY, rejected=(Rejected("city/a/b", b"x", Reason.NOT_JSON),))
        )
        again = store.write(Batch.of([reading(), reading(1), reading(value=51.0)], received_at=MONDAY))
        assert (first.stored, again.stored, again.duplicate, again.conflict) == (1, 1, 1, 1)
        made = [(round(MONDAY) * 1000, 49.0)]
        correct(writer, "D1", "speed_kmh", made, author="a", reason="b", recorded_at=MONDAY)
        assert refresh(writer) == 1
        assert store.make_weeks_ahead(since=MONDAY + 70 * 86_400) > 0
        with caplog.at_level(logging.INFO):
            chore = Retention(store, clock=CityClock(wall=lambda: MONDAY), retention_s=1.0)
            assert (chore.do(), chore.do()) == (0, 0)
        assert caplog.text.count("may not drop what is old") == 1
        for attempt in (
            "UPDATE reading_raw SET raw = 0",
            "DELETE FROM reading_raw",
            "DELETE FROM rejected",
            "UPDATE correction SET value = 0",
            "TRUNCATE alert_event",
            "DROP TABLE reading_raw",
            "DROP TABLE reading_raw_20260615",
            "SELECT drop_readings_before(now())",
            "SELECT drop_weeks_before('rollup', now())",
            "SELECT forget_before(now())",
            "CREATE TABLE mine (a int)",
        ):
            with pytest.raises(WorkError, match="lacks a right"):
                writer.execute(attempt)
    assert database.fetch("SELECT count(*) FROM reading_raw") == [(2,)]


def test_a_login_of_the_owner_role_drops_what_is_old(database: Database) -> None:
    with login(database, OWNER) as owner:
        store = Store(owner)
        store.write(Batch.of([reading(), reading(30 * 1440)], received_at=MONDAY))
        assert Retention(store, clock=CityClock(wall=lambda: MONDAY + 30 * 86_400), retention_s=1.0).do() == 1
        assert store.contents().readings == 1


def test_who_may_not_make_roles_is_told_so_in_one_line_and_has_a_working_database(
    empty: Database, others: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with login(empty, None) as plain:
        empty.execute(f"GRANT CREATE ON SCHEMA public TO {plain.fetch('SELECT current_user')[0][0]}")
        migrate(plain)
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(told) == 1
        assert all(role in told[0] for role in others)
        assert "CREATEROLE" in told[0]
        assert Store(plain).write(Batch.of([reading()], received_at=MONDAY)).stored == 1
        # An administrator makes them later; the next start gives them their rights.
        for role in others:
            empty.execute(f"CREATE ROLE {role}")
        migrate(plain)
        assert empty.fetch("SELECT has_table_privilege(%s, 'reading', 'SELECT')", (others[0],)) == [(True,)]
        assert empty.fetch("SELECT has_table_privilege(%s, 'reading_raw', 'INSERT')", (others[1],)) == [(True,)]


def test_a_login_that_may_make_roles_is_no_superuser_and_hands_its_tables_over(
    empty: Database, others: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with login(empty, None, "CREATEROLE") as maker:
        name = maker.fetch("SELECT current_user")[0][0]
        empty.execute(f"ALTER DATABASE {empty.fetch('SELECT current_database()')[0][0]} OWNER TO {name}")
        try:
            migrate(maker)
            assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
            owner = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname IN ('reading_raw', 'reading')"
            assert maker.fetch(owner) == [(others[2],)]
            store = Store(maker)
            assert store.write(Batch.of([reading()], received_at=MONDAY)).stored == 1
            assert store.retain(since=MONDAY + 30 * 86_400) == 1
        finally:
            empty.execute(f"ALTER DATABASE {empty.fetch('SELECT current_database()')[0][0]} OWNER TO CURRENT_USER")
            for role in others:  # made by the login, which could not be dropped before them
                empty.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
                empty.execute(f"DROP OWNED BY {role}")
                empty.execute(f"DROP ROLE {role}")


def test_tables_of_other_programs_in_the_same_schema_stay_as_they_are(empty: Database) -> None:
    empty.execute("CREATE TABLE theirs (a int)")
    empty.execute("CREATE FUNCTION their_sum() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    migrate(empty)
    me = empty.fetch("SELECT current_user")[0][0]
    assert empty.fetch("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'theirs'") == [(me,)]
    with login(empty, READER) as reader:
        assert reader.fetch("SELECT their_sum()") == [(1,)]
        with pytest.raises(WorkError, match="lacks a right"):
            reader.fetch("SELECT * FROM theirs")


def test_two_databases_of_one_server_may_be_migrated_though_the_roles_are_there(empty: Database) -> None:
    assert migrate(empty) == migrate(empty)
    assert {row[0] for row in empty.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'citytwin_%%'", ())} >= set(
        ROLES
    )


def test_rights_given_while_weeks_are_made_stop_neither(database: Database) -> None:
    stop, faults = threading.Event(), []

    def give() -> None:
        while not stop.is_set():
            try:
                with database.connection() as connection:
                    settle_roles(connection, name="")
            except DatabaseAway:  # the two met; a worker tries again, and so does this
                pass
            except Exception as error:
                faults.append(error)

    thread = threading.Thread(target=give)
    thread.start()
    store = Store(database)
    try:
        for week in range(60):
            while True:
                try:
                    store.make_weeks_ahead(since=MONDAY + week * 7 * 86_400, weeks=0)
                    break
                except DatabaseAway:
                    continue
    finally:
        stop.set()
        thread.join()
    assert faults == []
    assert database.fetch("SELECT count(*) FROM pg_inherits WHERE inhparent = 'rollup'::regclass") == [(60,)]
