"""Bring a database to the newest schema: numbered SQL files, one transaction, safe for many workers at once."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from ingest.database import Database
from ingest.roles import settle_again, settle_roles
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
    """Return the steps of a folder in order of their numbers; none is given twice, some may be left out."""
    found: list[Step] = []
    for path in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{4})_(\w+)", path.stem)
        if not match or (found and int(match[1]) == found[-1].version):
            raise WorkError(f"{path}: schema files are numbered 0001_title.sql, 0002_title.sql, ..., each number once")
        found.append(Step(int(match[1]), match[2].replace("_", " "), path.read_text(encoding="utf-8")))
    return found


def migrate(database: Database, *, folder: Path = SCHEMA) -> int:
    """Bring the database to the newest schema, with its roles (`ingest.roles`), and return that version.

    A database that is up to date needs no right but to read; ten workers may call it at once.

    Raises
    ------
    WorkError
        When the database is not reachable, lacks rights, is not in UTF-8, or was made by a newer citytwin.
    """
    wanted = steps(folder)
    done = _versions(database)
    if {step.version for step in wanted} - done:
        if not done:
            _prepare(database)
        with database.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (version int PRIMARY KEY, title text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            done = {row[0] for row in connection.execute("SELECT version FROM schema_version").fetchall()}
            missing = [step for step in wanted if step.version not in done]
            for step in missing:
                connection.execute(step.sql.encode())
                connection.execute("INSERT INTO schema_version VALUES (%s, %s)", (step.version, step.title))
                log.info("%s: schema %04d %s", database.name, step.version, step.title)
            if missing and folder == SCHEMA:  # nine of ten that start together find all done
                settle_roles(connection, name=database.name)
    elif settle_again(database):
        with database.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            settle_roles(connection, name=database.name)
    newest = wanted[-1].version
    if max(done, default=0) > newest:
        raise WorkError(
            f"{database.name} has schema {max(done)}, made by a newer citytwin that this one ({newest}) cannot "
            "read: update citytwin"
        )
    return newest


def version(database: Database) -> int:
    """Return the schema version of a database, 0 when it has none."""
    return max(_versions(database), default=0)


def _versions(database: Database) -> set[int]:
    if database.fetch("SELECT to_regclass('schema_version')")[0][0] is None:
        return set()
    return {int(row[0]) for row in database.fetch("SELECT version FROM schema_version")}


def _prepare(database: Database) -> None:
    encoding = database.fetch("SELECT current_setting('server_encoding')")[0][0]
    if encoding != "UTF8":
        raise WorkError(f"{database.name} is in {encoding}, must be in UTF8: CREATE DATABASE ... ENCODING 'UTF8'")
    database.enable_timescale()
