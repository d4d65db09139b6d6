"""The private PostgreSQL: it lives with its owner, recovers from every kill, and says in one sentence what is wrong."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ingest import postgres as launcher
from ingest import postgres_lock
from ingest.database import Database
from ingest.postgres import EmbeddedPostgres
from ingest.postgres_lock import server_processes
from sensors import WorkError

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys
from ingest.postgres import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1])
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def made_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped server's folder, to be copied: faster than making one for each test."""
    folder = tmp_path_factory.mktemp("made") / "pg"
    with EmbeddedPostgres(folder):
        pass
    return folder


@pytest.fixture
def folder(made_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_folder, tmp_path / "pg", symlinks=True)
    return tmp_path / "pg"


@pytest.fixture
def owner(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that owns a server in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline().strip().isdigit()
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    until(lambda: not server_processes(folder / "data"), "its server ends")


def until(true: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.01)


def test_a_new_folder_becomes_a_private_durable_server(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "new" / "pg") as server, Database(server.url) as database:
        names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "TimeZone", "server_encoding")
        shown = [database.fetch(f"SHOW {name}")[0][0] for name in names]
        assert shown == ["on", "on", "on", "", "UTC", "UTF8"]
        assert server.alive()
        assert server.pid in server_processes(server.data)
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        sockets = [entry for entry in server.folder.iterdir() if stat.S_ISSOCK(entry.stat().st_mode)]
        assert [stat.S_IMODE(entry.stat().st_mode) & 0o077 for entry in sockets] == [0]
        data = server.data
    assert not server.alive()
    assert server_processes(data) == []


def test_variables_of_libpq_and_of_the_shell_do_not_reach_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "LC_ALL": "xx_YY",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        assert database.fetch("SELECT current_user, current_setting('log_timezone')") == [("citytwin", "UTC")]


def test_it_restarts_after_its_postmaster_was_killed_and_keeps_what_was_committed(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        database.execute("CREATE TABLE kept (n int)")
        database.execute("INSERT INTO kept VALUES (1)")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive(), "the death is noticed")
        url = server.url
        assert server.start() == url
        assert database.fetch("SELECT n FROM kept") == [(1,)]


def test_backends_that_outlive_a_killed_postmaster_are_ended_before_the_next_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_lock, "LEFTOVER_S", 0.3)
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        [(backend,)] = database.fetch("SELECT pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)  # it cannot notice the postmaster's death
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive(), "the death is noticed")
        assert backend in server_processes(server.data)
        server.start()
        until(lambda: not psutil.pid_exists(backend), "the old backend is gone")
        assert database.fetch("SELECT 1") == [(1,)]


def test_the_server_ends_when_its_owner_is_killed_and_the_next_start_works(
    folder: Path, owner: "subprocess.Popen[str]"
) -> None:
    owner.kill()
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        assert database.fetch("SELECT 1") == [(1,)]


def test_it_starts_again_after_the_whole_tree_was_killed(folder: Path, owner: "subprocess.Popen[str]") -> None:
    tree = [psutil.Process(owner.pid), *psutil.Process(owner.pid).children(recursive=True)]
    assert len(tree) > 4  # owner, supervisor, postmaster, its workers
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):  # some end faster than we kill
            process.kill()
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        assert database.fetch("SELECT 1") == [(1,)]


def test_the_server_ends_when_the_supervisor_is_killed(folder: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("NO DEATH SIGNAL OF THE PARENT on this system")
    with EmbeddedPostgres(folder) as server:
        [supervisor] = [p for p in psutil.Process().children() if str(folder) in " ".join(p.cmdline())]
        supervisor.kill()
        until(lambda: not server_processes(server.data), "the server ends")
        assert server.start() == server.url


def test_a_second_owner_is_refused_at_once_and_told_who_is_first(folder: Path, owner: "subprocess.Popen[str]") -> None:
    started = time.monotonic()
    with pytest.raises(WorkError, match=rf"is in use by process {owner.pid}: stop it first"):
        EmbeddedPostgres(folder).start()
    assert time.monotonic() - started < postgres_lock.RELEASE_S / 2  # it does not wait for a living owner


def test_two_servers_of_one_process_cannot_share_a_folder(folder: Path) -> None:
    with EmbeddedPostgres(folder), pytest.raises(WorkError, match=f"in use by process {os.getpid()}"):
        EmbeddedPostgres(folder).start()


def test_a_forked_child_does_not_keep_the_server_of_a_dead_owner_alive(folder: Path) -> None:
    code = OWNER.replace("print(server.pid", "import os, time\nif os.fork() == 0: time.sleep(600)\nprint(server.pid")
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    owner.stdout.readline()
    [child] = [p for p in psutil.Process(owner.pid).children() if p.cmdline() == psutil.Process(owner.pid).cmdline()]
    try:
        owner.kill()
        owner.wait()
        with EmbeddedPostgres(folder) as server:
            assert server.alive()
    finally:
        child.kill()
        owner.stdin.close()
        owner.stdout.close()


def test_an_interrupted_first_start_is_done_again(tmp_path: Path) -> None:
    half = tmp_path / "pg" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path / "pg") as server:
        assert server.alive()
        assert not half.exists()


def test_a_stale_pid_file_whose_number_belongs_to_another_program_does_not_block_the_start(folder: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        stale = f"{other.pid}\n{folder / 'data'}\n1\n5432\n{folder}\n\n1 1\n"
        (folder / "data" / "postmaster.pid").write_text(stale)
        (folder / ".s.PGSQL.5432.lock").write_text(stale)
        with EmbeddedPostgres(folder) as server:
            assert server.alive()
    finally:
        other.communicate()


def test_a_server_that_somebody_started_by_hand_in_the_folder_is_left_alone(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        (folder / "server.lock").unlink()  # as if it had been started without us
        (folder / "owner.lock").unlink()
        with pytest.raises(WorkError, match=rf"is served by process {server.pid}, a PostgreSQL started by hand"):
            EmbeddedPostgres(folder).start()
        assert server.alive()


def test_a_long_path_gets_its_socket_elsewhere_and_leaves_nothing_there(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "pg"
    with EmbeddedPostgres(folder) as server, Database(server.url) as database:
        sockets = Path(database.fetch("SHOW unix_socket_directories")[0][0])
        assert sockets != folder
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()
    assert server.start()  # and again
    server.stop()


def test_a_server_with_a_long_path_that_was_killed_comes_back_at_its_address(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / ("long" * 30) / "pg") as server, Database(server.url) as database:
        before = server.url
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive(), "the death is noticed")
        assert server.start() == before  # others have it, and only ask again
        assert database.fetch("SELECT 1") == [(1,)]


def test_data_of_a_version_that_is_not_installed_is_refused_in_one_sentence(folder: Path) -> None:
    (folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(WorkError, match=r"was made by PostgreSQL 9, but found is 1\d.*: set CITYTWIN_PG_BIN"):
        EmbeddedPostgres(folder).start()


def test_the_binaries_that_made_the_data_are_preferred_to_newer_ones(tmp_path: Path) -> None:
    folders = {launcher.major_version(folder): folder for folder in launcher.binary_folders()}
    if len(folders) < 2:
        pytest.skip("ONLY ONE POSTGRESQL is installed")
    oldest = min(folders, key=int)
    (tmp_path / "PG_VERSION").write_text(f"{oldest}\n")
    assert launcher.major_version(launcher.choose_binaries(tmp_path)) == oldest


def test_a_wrong_pg_bin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYTWIN_PG_BIN", str(tmp_path))
    with pytest.raises(WorkError, match=r"CITYTWIN_PG_BIN is .*, but that folder has no 'postgres'"):
        EmbeddedPostgres(tmp_path / "pg").start()


def test_a_data_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "pg" / "data" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    with pytest.raises(WorkError, match="holds files that are no PostgreSQL data"):
        EmbeddedPostgres(tmp_path / "pg").start()
    assert mine.read_text() == "years of work"


def test_damaged_data_is_named_and_the_folder_is_free_again(folder: Path) -> None:
    (folder / "data" / "global" / "pg_control").write_bytes(b"\0" * 8192)
    for _ in range(2):
        with pytest.raises(WorkError, match=r"is damaged \(.*\): restore it from a backup"):
            EmbeddedPostgres(folder).start()


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="is not a folder, or lies under a file"):
        EmbeddedPostgres(tmp_path / "file" / "pg").start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system with given options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip(f"NO RIGHT TO MOUNT a file system for the test: {done.stderr.decode().strip()}")
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", place], check=True)


def test_a_read_only_disk_is_named(small_disk: Callable[[str], Path]) -> None:
    place = small_disk("size=1m,ro")
    with pytest.raises(WorkError, match=r"is on a read-only file system; CITYTWIN_STATE"):
        EmbeddedPostgres(place / "pg").start()


def test_a_full_disk_is_named_and_the_server_starts_once_there_is_room(small_disk: Callable[[str], Path]) -> None:
    place = small_disk("size=20m,mode=700")
    with pytest.raises(WorkError, match=r"the disk of .* is full: free at least 200 MB"):
        EmbeddedPostgres(place / "pg").start()
    subprocess.run(["mount", "-o", "remount,size=300m", place], check=True)
    with EmbeddedPostgres(place / "pg") as server:
        assert server.alive()


def test_root_without_user_namespaces_runs_it_as_nobody_below_a_closed_folder(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: only root must change its user")
    folder.parent.chmod(0o700)
    for namespace in (False, True):  # and back: each way finds the files of the other
        with EmbeddedPostgres(folder, namespace=namespace) as server, Database(server.url) as database:
            assert database.fetch("SELECT 1") == [(1,)]
            assert server.data.stat().st_uid == (0 if namespace else 65534)


def test_it_can_be_started_from_a_thread_and_outlives_it(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with Database(server.url) as database:
        assert database.fetch("SELECT 1") == [(1,)]
    server.stop()


def test_the_log_is_kept_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "LOG_LIMIT", 10)
    with EmbeddedPostgres(folder):
        assert (folder / "postgres.log.1").exists()


def test_a_file_system_without_sockets_is_no_obstacle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoSocket(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(launcher.socket, "socket", NoSocket)
    with EmbeddedPostgres(folder) as server:
        assert str(folder).replace("/", "%2F") not in server.url
        monkeypatch.undo()
        with Database(server.url) as database:
            assert database.fetch("SELECT 1") == [(1,)]
