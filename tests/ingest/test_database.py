"""The pool and the migration: errors are one sentence, a server that went away comes back, ten may migrate at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.database import Database, DatabaseAway, Level
from ingest.migration import migrate, steps, version
from ingest.postgres import EmbeddedPostgres
from ingest.store import Store
from sensors import Batch, InputError, Reading, WorkError


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """URL of a database without our schema."""
    with Database(postgres.url) as maintenance:
        maintenance.execute("CREATE DATABASE empty")
        yield postgres.url_of("empty")
        maintenance.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "pg") as server:
        yield server


def reading(sensor_id: str = "D1") -> Batch:
    return Batch.of([Reading(sensor_id, "speed_kmh", 1_781_481_600_000, 50.0)], received_at=1_781_481_600.0)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:secret@host/x",
        "postgresql://host:port/x",
        "postgresql://user:secret@host/x?colour=red",
        "nonsense",
    ],
)
def test_a_url_that_libpq_does_not_know_is_bad_input_and_its_password_is_not_shown(url: str) -> None:
    with pytest.raises(InputError, match=r"must look like postgresql://") as caught:
        Database(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:secret@127.0.0.1:1/x", "postgresql://u:secret@/x?host=/nowhere"])
def test_a_server_that_is_not_there_is_named_without_the_password(url: str) -> None:
    with (
        Database(url) as database,
        pytest.raises(DatabaseAway, match=r"database 'x' at .* cannot be reached") as caught,
    ):
        database.fetch("SELECT 1")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_does_not_exist_is_named(postgres: EmbeddedPostgres) -> None:
    with (
        Database(postgres.url_of("atlantis")) as database,
        pytest.raises(WorkError, match=r'cannot be reached .*database "atlantis" does not exist'),
    ):
        migrate(database)


def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    database.execute("CREATE TABLE t (n int)")
    with suppress(ZeroDivisionError), database.connection() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError
    with database.connection() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
    assert database.fetch("SELECT n FROM t") == [(2,)]


def test_more_callers_than_connections_wait_for_their_turn(postgres: EmbeddedPostgres) -> None:
    with Database(postgres.url, max_connections=2) as database, ThreadPoolExecutor(8) as pool:
        pids = list(pool.map(lambda _: database.fetch("SELECT pg_backend_pid() FROM pg_sleep(0.01)")[0][0], range(40)))
    assert len(pids) == 40
    assert len(set(pids)) <= 2


def test_a_server_that_was_restarted_is_found_again_without_an_error(own_server: EmbeddedPostgres) -> None:
    with Database(own_server.url) as database:
        assert database.fetch("SELECT 1") == [(1,)]
        before = database.generation
        own_server.stop()
        own_server.start()
        assert database.fetch("SELECT 1") == [(1,)]
        assert database.generation > before


def test_a_connection_that_is_cut_in_a_transaction_says_that_the_database_is_away(database: Database) -> None:

    def cut() -> None:
        with database.connection() as connection:
            database.fetch("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            connection.execute("SELECT 1")

    with pytest.raises(DatabaseAway):
        cut()
    assert database.fetch("SELECT 1") == [(1,)]


@pytest.mark.parametrize(("given", "used"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
def test_a_commit_is_on_disk_whatever_the_server_is_set_to(database: Database, given: str, used: str) -> None:
    name = database.fetch("SELECT current_database()")[0][0]
    database.execute(f"ALTER DATABASE {name} SET synchronous_commit TO {given}")
    with Database(database.url) as fresh:
        assert fresh.fetch("SHOW synchronous_commit") == [(used,)]


def test_the_level_of_a_plain_server_is_plain(database: Database) -> None:
    assert database.level() is Level.PLAIN


def test_ten_may_migrate_at_once_and_again(empty_url: str) -> None:
    newest = steps()[-1].version
    barrier = threading.Barrier(10)

    def start(_: int) -> int:
        with Database(empty_url) as one:
            barrier.wait()
            return migrate(one)

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(start, range(10))) == [newest] * 10
    with Database(empty_url) as database:
        versions = database.fetch("SELECT version FROM schema_version ORDER BY version")
        assert versions == [(step.version,) for step in steps()]
        assert migrate(database) == newest
        assert Store(database).write(reading()).stored == 1


def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (n int)")
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (n int); SELECT 1 / 0")
    with Database(empty_url) as database:
        with pytest.raises(Exception, match="division by zero"):
            migrate(database, folder=tmp_path)
        assert version(database) == 0
        assert database.fetch("SELECT to_regclass('first'), to_regclass('second')") == [(None, None)]


def test_a_newer_schema_is_refused(database: Database) -> None:
    database.execute("INSERT INTO schema_version VALUES (9999, 'from the future')")
    with pytest.raises(WorkError, match=r"has schema 9999, made by a newer citytwin"):
        migrate(database)


@pytest.mark.parametrize("name", ["0001_again", "first", "1_first"])
def test_schema_files_with_a_wrong_number_or_one_that_is_taken_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "0001_a.sql").write_text("")
    (tmp_path / f"{name}.sql").write_text("")
    with pytest.raises(WorkError, match=rf"{name}.sql: schema files are numbered"):
        steps(tmp_path)


def test_a_step_whose_number_was_left_out_before_is_made_up_for(empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (n int)")
    (tmp_path / "0003_third.sql").write_text("CREATE TABLE third (n int)")
    with Database(empty_url) as database:
        assert migrate(database, folder=tmp_path) == 3
        (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (n int)")
        assert migrate(database, folder=tmp_path) == 3
        assert database.fetch("SELECT to_regclass('second') IS NOT NULL") == [(True,)]


def test_a_database_in_another_encoding_is_refused(postgres: EmbeddedPostgres) -> None:
    with Database(postgres.url) as maintenance:
        maintenance.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with (
            Database(postgres.url_of("latin")) as database,
            pytest.raises(WorkError, match="is in LATIN1, must be in UTF8"),
        ):
            migrate(database)
        maintenance.execute("DROP DATABASE latin")


@pytest.fixture
def as_role(postgres: EmbeddedPostgres, database: Database) -> Iterator[Database]:
    """The test's database, through a role without any right."""
    database.execute("CREATE ROLE guest LOGIN")
    name = database.fetch("SELECT current_database()")[0][0]
    with Database(postgres.url_of(name).replace("citytwin@", "guest@")) as guest:
        yield guest
    database.execute("DROP OWNED BY guest")
    database.execute("DROP ROLE guest")


def test_a_role_that_may_not_create_tables_is_told_so(postgres: EmbeddedPostgres, empty_url: str) -> None:
    with Database(empty_url) as owner:
        owner.execute("CREATE ROLE visitor LOGIN")
        try:
            with (
                Database(empty_url.replace("citytwin@", "visitor@")) as database,
                pytest.raises(
                    WorkError, match=r"role 'visitor' lacks a right \(permission denied for schema public\): GRANT"
                ),
            ):
                migrate(database)
        finally:
            owner.execute("DROP ROLE visitor")


def test_a_role_without_rights_to_write_is_told_which_one_is_lacking(as_role: Database) -> None:
    with pytest.raises(WorkError, match="permission denied for function introduce_writer"):
        Store(as_role).write(reading())


def test_a_role_that_may_write_rows_but_not_create_tables_can_take_readings_in(
    as_role: Database, database: Database
) -> None:
    database.execute("GRANT citytwin_writer TO guest")
    assert migrate(as_role) == steps()[-1].version
    store = Store(as_role)
    assert store.write(reading()).stored == 1  # a partition was made for it
    assert store.write(reading()).duplicate == 1


def test_tables_that_vanish_under_a_worker_are_named(database: Database) -> None:
    store = Store(database)
    store.write(reading())
    database.execute("DROP TABLE latest")
    with pytest.raises(
        WorkError, match=r'relation "latest" does not exist; it is not, or no longer, a database of citytwin'
    ):
        store.write(reading("D2"))
