"""The one file that speaks psycopg: a small pool of connections, and every error of it as one clear sentence."""

import contextlib
import enum
import re
import select
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import psycopg
from psycopg import conninfo, errors

from ingest.overdue import Limit, Overdue
from sensors import InputError, WorkError

Row = tuple[Any, ...]
Parameters = Sequence[Any] | Mapping[str, Any] | None
Connection = psycopg.Connection[Row]
UniqueViolation = errors.UniqueViolation
InsufficientPrivilege = errors.InsufficientPrivilege
CheckViolation = errors.CheckViolation  # also what a row without a partition raises
Refused = (errors.DataError, errors.IntegrityError)  # by its content: the same statement never succeeds

MISSING = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction, errors.InvalidSchemaName)

PORT = "5432"
DEFAULTS = {
    "application_name": "citytwin",
    "connect_timeout": "5",
    "client_encoding": "UTF8",
    # A server whose machine vanished is noticed within 20 s instead of two hours.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "20000",
}
# Classes of SQLSTATE after which the same statement may succeed later, with or without a hand: connection, rollback,
# resources, state of an object, operator, system, configuration file, what a trigger of the city's raises, internal.
PASSING_CLASSES = ("08", "40", "53", "55", "57", "58", "F0", "P0", "XX")
PASSING_STATES = ("25006",)  # standby


class DatabaseAway(WorkError):  # noqa: N818 - a state of the world that passes, not a fault of the program
    """The database cannot be reached or cannot work now; the same call may succeed later."""


class Level(enum.StrEnum):
    """What the database offers for time series, best first."""

    COMMUNITY = "TimescaleDB (community licence)"
    APACHE = "TimescaleDB (Apache licence)"
    PLAIN = "plain PostgreSQL"


class Database:
    """A database and a pool of connections to it, for use by many threads.

    Parameters
    ----------
    url
        Any libpq URI.
    max_connections
        Callers beyond this number wait for a connection to come back.

    Raises
    ------
    InputError
        When the URL is none that libpq understands.

    Examples
    --------
    >>> Database("postgresql://db:99999/city")
    Traceback (most recent call last):
    sensors.errors.InputError: database URL 'postgresql://db:99999/city' is not understood
    (port is '99999', must be a number from 1 to 65535), must look like postgresql://user:password@host:5432/citytwin
    """

    def __init__(self, url: str, *, max_connections: int = 10) -> None:
        self.url = url
        self._parameters = _parameters(url)
        self._idle: list[Connection] = []
        self._mutex = threading.Lock()
        self._free = threading.BoundedSemaphore(max_connections)
        self._closed = False
        self._overdue = Overdue()
        self._patience = threading.local()
        self.generation = 0  # grows whenever a connection was lost: what was cached about the database may be void

    @property
    def name(self) -> str:
        """Who, what and where, without the password: for messages."""
        shown = {key: str(value) for key, value in self._parameters.items()}
        host = shown.get("host") or shown.get("hostaddr") or "this machine"
        port = f":{shown['port']}" if "port" in shown and not host.startswith("/") else ""
        return f"database {shown.get('dbname', 'of the same name')!r} at {host}{port}"

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection within one transaction: committed at the end, rolled back when an exception passes.

        Raises
        ------
        DatabaseAway
            When the server is not there, went away meanwhile, or lacks resources.
        WorkError
            When rights or tables are missing.
        """
        with self._lent() as connection, connection.transaction():
            yield connection

    def fetch(self, sql: str, parameters: Parameters = None) -> list[Row]:
        """Return the rows of one statement, which is its own transaction."""
        with self._lent() as connection:
            cursor = connection.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description is not None else []

    def execute(self, sql: str, parameters: Parameters = None) -> int:
        """Run one statement as its own transaction and return how many rows it touched."""
        with self._lent() as connection:
            return connection.execute(sql.encode(), parameters).rowcount

    @contextlib.contextmanager
    def answering_within(self, seconds: float) -> Iterator[None]:
        """Have a database that hangs without a word count as away, for what this thread asks inside.

        A transaction that takes longer is cut off; whether it was committed is for the caller to find out.
        """
        self._patience.seconds = seconds
        try:
            yield
        finally:
            del self._patience.seconds

    def close(self) -> None:
        """Close the idle connections; those still lent are closed when they come back."""
        with self._mutex:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def level(self) -> Level:
        """Return what holds the readings: TimescaleDB by licence, or plain PostgreSQL.

        An extension that came after the tables holds none of them: then they are plain.
        """
        installed = self.fetch(
            "SELECT current_setting('timescaledb.license', true),"
            " (SELECT relkind FROM pg_class WHERE oid = to_regclass('reading_raw'))"
            " FROM pg_extension WHERE extname = 'timescaledb'"
        )
        if not installed or installed[0][1] == "p":
            return Level.PLAIN
        return Level.COMMUNITY if installed[0][0] == "timescale" else Level.APACHE

    def enable_timescale(self) -> None:
        """Create the extension where the server has it; without the right or the preloaded library, plain will do."""
        offered = "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb' AND installed_version IS NULL"
        if self.fetch(offered):
            with contextlib.suppress(WorkError, psycopg.Error):
                self.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")

    def version(self) -> str:
        """Return the server's version, for example ``18.4``."""
        return str(self.fetch("SELECT current_setting('server_version')")[0][0])

    @contextlib.contextmanager
    def _lent(self) -> Iterator[Connection]:
        with self._free:
            with self._sentences(None):
                connection = self._take() or self._connect()
            try:
                seconds = getattr(self._patience, "seconds", None)
                with self._overdue.limit(connection, seconds) as limit, self._sentences(connection, limit):
                    yield connection
            finally:
                self._give_back(connection)

    @contextlib.contextmanager
    def _sentences(self, connection: Connection | None, limit: Limit | None = None) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if limit is not None and limit.cut:
                raise DatabaseAway(f"{self.name} did not answer within {limit.seconds:g} s") from error
            raised = self._explained(error, lost=connection is None or connection.closed)
            if raised is None:
                raise
            raise raised from error

    def _take(self) -> Connection | None:
        while True:
            with self._mutex:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            # An idle connection has nothing to say: bytes on it are the goodbye of a server that went away.
            if not connection.closed and not _readable(connection.fileno()):
                return connection
            connection.close()
            self.generation += 1

    def _connect(self) -> Connection:
        connection = psycopg.connect(**self._parameters, autocommit=True)
        try:
            # A committed reading is on disk, whatever the server's default; stricter settings stay. A server whose
            # client vanished within a transaction gives its locks free.
            connection.execute(
                "SELECT set_config('TimeZone', 'UTC', false),"
                " set_config('idle_in_transaction_session_timeout', '60s', false),"
                " set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')"
                " THEN 'on' ELSE current_setting('synchronous_commit') END, false)"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_back(self, connection: Connection) -> None:
        usable = not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with self._mutex:
            if usable and not self._closed:
                self._idle.append(connection)
                return
        if not usable:
            self.generation += 1
        connection.close()

    def _explained(self, error: psycopg.Error, *, lost: bool) -> WorkError | None:
        """Return the sentence of an error that the world is to blame for, or None when it is the program."""
        said = " ".join((error.diag.message_primary or str(error)).split())
        state = error.sqlstate or ""
        role = self._parameters.get("user") or "of this login"
        if isinstance(error, InsufficientPrivilege):
            return WorkError(f"{self.name}: role {role!r} lacks a right ({said}): GRANT it, or use the owner's URL")
        if isinstance(error, MISSING):
            return WorkError(f"{self.name}: {said}; it is not, or no longer, a database of citytwin: start again")
        if not state and (lost or isinstance(error, errors.OperationalError)):
            return DatabaseAway(f"{self.name} cannot be reached ({_last_line(error)})")
        # Two sessions changed rights or partitions of one table at once: it has no state of its own.
        collided = state == "XX000" and said.endswith("concurrently updated")
        if lost or collided or state[:2] in PASSING_CLASSES or state in PASSING_STATES:
            return DatabaseAway(f"{self.name} cannot work now ({said})")
        return None


def _parameters(url: str) -> dict[str, Any]:
    hidden = re.sub(r"(password=)[^\s&]+", r"\1***", re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", url))
    fault = "libpq refuses it"
    try:
        given = {key: value for key, value in conninfo.conninfo_to_dict(url).items() if value not in (None, "")}
    except (psycopg.ProgrammingError, ValueError) as error:
        if hidden == url:  # else the reason may quote the password
            fault = " ".join(str(error).split())
    else:
        if all(port.isdigit() and 0 < int(port) < 65_536 for port in str(given.get("port", PORT)).split(",")):
            return DEFAULTS | given
        fault = f"port is {given['port']!r}, must be a number from 1 to 65535"
    raise InputError(
        f"database URL {hidden!r} is not understood ({fault}), "
        "must look like postgresql://user:password@host:5432/citytwin"
    )


def _readable(descriptor: int) -> bool:
    watch = select.poll()  # unlike select.select, it takes descriptors above 1023
    watch.register(descriptor, select.POLLIN)
    return bool(watch.poll(0))


def _last_line(error: psycopg.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Is the server running")]  # it follows the reason
    return lines[-1].removeprefix("connection failed: ") if lines else "no reason given"
