"""Bring a database to the newest schema: numbered SQL files, one transaction, safe for many workers at once."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from ingest.database import Database
from sensors import WorkError

SCHEMA = Path(__file__).with_name("schema")
LOCK = 7_243_392_001  # any fixed number: workers that start together queue on it
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One file ``NNNN_title.sql``."""

    version: int
    title: str
    sql: str


def steps(folder: Path = SCHEMA) -> list[Step]:
    """Return the steps of a folder in order; their numbers are 1, 2, 3, ... without holes."""
    found: list[Step] = []
    for path in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)", path.stem)
        if not match or int(match[1]) != len(found) + 1:
            raise WorkError(f"{path}: schema files are numbered 0001_title.sql, 0002_title.sql, ... without holes")
        found.append(Step(int(match[1]), match[2].replace("_", " "), path.read_text(encoding="utf-8")))
    return found


def migrate(database: Database, *, folder: Path = SCHEMA) -> int:
    """Bring the database to the newest schema and return that version.

    A database that is up to date needs no right but to read; ten workers may call it at once.

    Raises
    ------
    WorkError
        When the database is not reachable, lacks rights, is not in UTF-8, or was made by a newer citytwin.
    """
    wanted = steps(folder)
    if (current := version(database)) != len(wanted):
        if current == 0:
            _prepare(database)
        with database.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (version int PRIMARY KEY, title text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
            current = int(row[0]) if row else 0
            for step in wanted[current:]:
                connection.execute(step.sql.encode())
                connection.execute("INSERT INTO schema_version VALUES (%s, %s)", (step.version, step.title))
                log.info("%s: schema %04d %s", database.name, step.version, step.title)
    if current > len(wanted):
        raise WorkError(
            f"{database.name} has schema {current}, made by a newer citytwin that this one ({len(wanted)}) cannot "
            "read: update citytwin"
        )
    return len(wanted)


def version(database: Database) -> int:
    """Return the schema version of a database, 0 when it has none."""
    if database.fetch("SELECT to_regclass('schema_version')")[0][0] is None:
        return 0
    return int(database.fetch("SELECT coalesce(max(version), 0) FROM schema_version")[0][0])


def _prepare(database: Database) -> None:
    encoding = database.fetch("SELECT current_setting('server_encoding')")[0][0]
    if encoding != "UTF8":
        raise WorkError(f"{database.name} is in {encoding}, must be in UTF8: CREATE DATABASE ... ENCODING 'UTF8'")
    database.enable_timescale()
