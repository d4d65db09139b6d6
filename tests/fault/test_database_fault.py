"""Whatever becomes of the database: the worker waits, spools, is back within 10 s of its end, and counts everything."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest.database import Database
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres

SPOOLING_S = 1.5  # longer than a worker waits before it spools


@pytest.fixture
def running(broker: Any, server: EmbeddedPostgres, worker_of: Any, flow_to: Any) -> tuple[Any, Any]:
    """A worker and the readings that flow through it."""
    worker = worker_of(broker.url, server.url)
    worker.start()
    flow = flow_to(broker.url)
    flow.goes_on("at the beginning")
    return worker, flow


def cut_sessions(url: str) -> None:
    with Database(url) as database:
        database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


@pytest.mark.slow
def test_a_read_only_database_is_waited_for_and_the_log_says_what_it_is(
    running: Any, server: EmbeddedPostgres, settled: Any, until: Any
) -> None:
    worker, flow = running
    with Database(server.url_of("postgres")) as owner:
        owner.execute("ALTER DATABASE citytwin SET default_transaction_read_only = on")
        cut_sessions(server.url_of("postgres"))
        flow.goes_on("by way of the spool", n=300)
        until(lambda: "read-only" in worker.said, "the reason why it stays away")
        owner.execute("ALTER DATABASE citytwin RESET default_transaction_read_only")
        cut_sessions(server.url_of("postgres"))
    flow.recovers(worker)
    settled(flow, worker, server.url)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["P0001", "XX001"])
def test_a_database_that_refuses_for_a_reason_of_its_own_is_waited_for(
    state: str, running: Any, server: EmbeddedPostgres, settled: Any, until: Any
) -> None:
    worker, flow = running
    with Database(server.url) as owner:
        owner.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN RAISE EXCEPTION ''out of order'' USING ERRCODE = ''{state}''; END'"
        )
        owner.execute("CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON writer EXECUTE FUNCTION refuse()")
        flow.goes_on("by way of the spool", n=500)
        until(lambda: "cannot work now (out of order); readings are kept in the spool" in worker.said, "the reason")
        owner.execute("DROP TRIGGER refuse ON writer")
    flow.recovers(worker)
    settled(flow, worker, server.url)


@pytest.mark.slow
def test_commits_of_five_seconds_slow_the_flow_and_lose_nothing(
    running: Any, server: EmbeddedPostgres, settled: Any
) -> None:
    worker, flow = running
    with Database(server.url) as owner:
        owner.execute(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(5); RETURN NULL; END'"
        )
        owner.execute(
            "CREATE CONSTRAINT TRIGGER linger AFTER INSERT OR UPDATE ON writer DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION linger()"
        )
        for _ in range(2):
            flow.goes_on("of a slow commit", n=200, within_s=30)
        assert worker.ready(), "slow is not away"
        owner.execute("DROP TRIGGER linger ON writer")
    flow.recovers(worker)
    counts = settled(flow, worker, server.url)
    assert counts["duplicate"] == 0, "nothing was written a second time for being slow"


@pytest.mark.slow
def test_a_database_without_a_free_connection_is_waited_for(
    running: Any, server: EmbeddedPostgres, settled: Any, until: Any
) -> None:
    worker, flow = running
    with contextlib.ExitStack() as taken:
        first = taken.enter_context(psycopg.connect(server.url_of("postgres"), autocommit=True))

        def starved() -> bool:
            """Cut the worker off and take every free connection; the worker may have been faster."""
            first.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                " WHERE datname = 'citytwin' AND backend_type = 'client backend'"
            )
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(psycopg.connect(server.url_of("postgres")))
            return "too many" in worker.said or "reserved" in worker.said

        until(starved, "a worker that finds no connection")
        flow.goes_on("by way of the spool", n=300)
    flow.recovers(worker)
    settled(flow, worker, server.url)


@pytest.mark.slow
def test_a_full_disk_of_the_database_is_waited_for(
    broker: Any, worker_of: Any, flow_to: Any, small_disk: Any, settled: Any, tmp_path: Path, until: Any
) -> None:
    place = tmp_path / "disk"
    small_disk(place, "size=400m,mode=700")
    with EmbeddedPostgres(place / "pg") as server:
        worker = worker_of(broker.url, server.url)
        worker.start()
        flow = flow_to(broker.url)
        flow.goes_on("at the beginning")
        with (place / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(1 << 16)):
                pass
        with Database(server.url) as owner, contextlib.suppress(Exception):  # whatever log it has ahead is used up
            owner.execute("CREATE TABLE waste AS SELECT repeat('x', 1000) FROM generate_series(1, 400000)")
        until(lambda: not worker.ready(), "an unready worker")
        flow.goes_on("by way of the spool", n=300)
        (place / "ballast").unlink()
        server.start()  # when the server had to give up; who supervises it does so
        flow.recovers(worker)
        settled(flow, worker, server.url)


@pytest.fixture
def pair(tmp_path: Path, until: Any) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A server and its synchronous standby, by streaming replication: what the first answers is on both."""
    first, standby = EmbeddedPostgres(tmp_path / "pg"), EmbeddedPostgres(tmp_path / "standby")
    with first, Database(first.url) as database:
        migrate(database)
    standby.folder.mkdir(mode=0o700)
    shutil.copytree(first.data, standby.data, symlinks=True)
    (standby.data / "standby.signal").touch()
    with first:
        source = f"host={first.folder} port=5432 user=citytwin application_name=standby"
        with (standby.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{source}'\n")
        with standby, Database(first.url) as database:
            database.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            database.execute("SELECT pg_reload_conf()")
            in_step = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'"
            until(lambda: database.fetch(in_step), "a standby in step")
            yield first, standby


@pytest.mark.slow
def test_a_failover_to_a_synchronous_standby_is_followed(
    broker: Any, worker_of: Any, flow_to: Any, pair: Any, settled: Any, kill_database: Any
) -> None:
    first, standby = pair
    hosts = f"host={first.folder},{standby.folder}&port=5432,5432&target_session_attrs=read-write"
    worker = worker_of(broker.url, f"postgresql://citytwin@/citytwin?{hosts}")
    worker.start()
    flow = flow_to(broker.url)
    flow.goes_on("at the beginning", n=300)
    kill_database(first)
    flow.goes_on("by way of the spool, for nobody can be written to", n=300)
    with Database(standby.url) as database:
        database.execute("SELECT pg_promote()")
    flow.recovers(worker)
    settled(flow, worker, standby.url)


@pytest.mark.slow
def test_ten_workers_that_start_together_make_one_schema_and_share_the_readings(
    broker: Any, tmp_path: Path, worker_of: Any, flow_to: Any, until: Any, stored: Callable[..., Any]
) -> None:
    with EmbeddedPostgres(tmp_path / "empty") as server:
        state = tmp_path / "state"
        workers = [worker_of(broker.url, server.url, "--shared-group", "city", state=state) for _ in range(10)]
        for worker in workers:
            worker.start()
        flow = flow_to(broker.url, per_s=1000.0)
        until(lambda: all(worker.up() and worker.ready() for worker in workers), "ten ready workers", 120)
        flow.goes_on("through ten workers", n=500)
        published = flow.finish()
        assert stored(server.url, "flow") == published
        counts = [worker.counts() for worker in workers]
        assert sum(count["stored"] for count in counts) == len(published)
        assert sum(count["received"] > 0 for count in counts) > 1
        assert not [worker.said for worker in workers if "Traceback" in worker.said]


@pytest.mark.slow
def test_a_worker_that_comes_and_one_that_goes_lose_and_double_nothing(
    broker: Any, server: EmbeddedPostgres, tmp_path: Path, worker_of: Any, flow_to: Any, until: Any, stored: Any
) -> None:
    state = tmp_path / "state"
    workers = [worker_of(broker.url, server.url, "--shared-group", "city", state=state) for _ in range(3)]
    workers[0].start()
    flow = flow_to(broker.url)
    flow.goes_on("through one")
    received = 0
    for k in (1, 2):
        workers[k].start()
        until(lambda k=k: workers[k].up() and workers[k].ready() and workers[k].counts()["received"] > 0, "its share")
        flow.goes_on("through two")
        last = workers[k - 1].stop()
        assert last.endswith("0 spooled"), last
        received += int(last.split()[2])
        flow.goes_on("through the one that stays", within_s=10.0)
    published = flow.finish()
    assert stored(server.url, "flow") == published
    received += workers[2].counts()["received"]
    assert received == len(published), "who goes has acknowledged what it took"


def test_a_migration_that_was_killed_half_way_is_done_again_by_a_worker(
    broker: Any, tmp_path: Path, worker_of: Any, flow_to: Any, until: Any, settled: Any
) -> None:
    import subprocess
    import sys

    from ingest.migration import SCHEMA, steps

    folder = tmp_path / "schema"
    shutil.copytree(SCHEMA, folder)
    (folder / "9999_never_ends.sql").write_text("CREATE TABLE half (a int); SELECT pg_sleep(4);")
    with EmbeddedPostgres(tmp_path / "empty") as server:
        program = (
            "import sys; from pathlib import Path; from ingest.database import Database;"
            "from ingest.migration import migrate; migrate(Database(sys.argv[1]), folder=Path(sys.argv[2]))"
        )
        process = subprocess.Popen([sys.executable, "-c", program, server.url, str(folder)])
        asleep = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%half%%pg_sleep%%' AND pid <> pg_backend_pid()"
        with Database(server.url) as owner:
            until(lambda: owner.fetch(asleep), "a migration in its last step")
            process.kill()
            process.wait()
            worker = worker_of(broker.url, server.url)
            worker.start()
            flow = flow_to(broker.url)
            flow.goes_on("after the migration", n=20)
            assert owner.fetch("SELECT to_regclass('half')") == [(None,)]
            assert owner.fetch("SELECT max(version) FROM schema_version") == [(steps()[-1].version,)]
            assert migrate(owner) == steps()[-1].version
        settled(flow, worker, server.url)


def test_a_database_that_is_away_for_longer_costs_one_line_in_the_log(
    running: Any, server: EmbeddedPostgres, settled: Any
) -> None:
    worker, flow = running
    server.stop()
    end = time.monotonic() + 2 * SPOOLING_S
    while time.monotonic() < end:
        flow.goes_on("by way of the spool")
    server.start()
    flow.recovers(worker)
    settled(flow, worker, server.url)
    assert worker.said.count("readings are kept in the spool until it is back") == 1
    assert worker.said.count("the database is back after") == 1
