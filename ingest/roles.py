"""Roles of a database: who may read, who may write, who owns; made with the schema, for logins to be made members of.

``citytwin_reader`` reads everything, ``citytwin_writer`` adds readings and events and changes none that is stored,
``citytwin_owner`` owns all tables and functions and migrates. None of them can log in by itself:
``GRANT citytwin_writer TO ingest_login``. Roles belong to a whole server: several cities on one server share them.
"""

import logging

from ingest.database import Connection, Database, InsufficientPrivilege

log = logging.getLogger(__name__)
READER, WRITER, OWNER = "citytwin_reader", "citytwin_writer", "citytwin_owner"
ROLES = (READER, WRITER, OWNER)
# What an ingest worker and a hub write, table by table. Readings and corrections are never changed.
_WRITES = {
    "INSERT": ("reading_raw", "correction", "alert_event", "asset_event", "street_truth", "street_event"),
    "INSERT, UPDATE": ("sensor", "series", "latest", "rejected", "writer", "run", "kept"),
    "INSERT, UPDATE, DELETE": ("backfill",),
}
# Functions with their owner's rights that a writer needs; those that drop what is old are not among them.
_CALLS = (
    "ensure_reading_partition(timestamptz)",
    "make_weeks_ahead(timestamptz, int)",
    "introduce_writer(uuid)",
    "note_rollups(int8[])",
    "roll_up(int)",
    "week_of(timestamptz)",
    "write_few(uuid, int8, int8, int4[], int8[], int8[], int2[], float8[], bool[], int8[])",
)
# Everything that the schema makes, by name: other programs may have tables of their own beside them.
TABLES = (
    "sensor", "series", "reading_raw", "reading", "latest", "rejected", "correction", "alert_event", "asset_event",
    "run", "writer", "street_truth", "street_event", "rollup", "rollup_network", "rollup_zone", "rollup_due",
    "schema_version", "backfill", "kept",
)  # fmt: skip
FUNCTIONS = (
    "drop_readings_before", "drop_weeks_before", "ensure_reading_partition", "ensure_week", "forget_before",
    "forget_rollups_before", "introduce_writer", "make_weeks_ahead", "note_corrections", "note_rollups", "roll_up",
    "week_of", "write_few",
)  # fmt: skip


def settle_roles(connection: Connection, *, name: str) -> None:
    """Make the roles that are missing and give them their rights, within the migration's transaction.

    Without the right to make roles, those that are there get their rights, one line of the log says what is missing,
    and the migration goes on.

    Parameters
    ----------
    name
        Of the database, for the log.
    """
    missing = _missing(connection)
    if missing and _may_make_roles(connection):
        for role in missing:
            # Another database of the same server may be making it at this moment.
            _run(
                connection,
                f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN;"
                " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
            )
        if OWNER in missing:
            _run(connection, f"GRANT {OWNER} TO CURRENT_USER")
        missing = ()
    if missing:
        log.warning(
            "%s: the roles %s are not there and this login may not make them (it lacks CREATEROLE); the database works "
            "without them, and a later start uses them once an administrator has made them",
            name,
            ", ".join(missing),
        )
    if READER not in missing:
        _let_read(connection, READER)
    if WRITER not in missing:
        _let_read(connection, WRITER)
        _let_write(connection)
    if OWNER not in missing:
        try:
            with connection.transaction():
                _hand_over(connection)
        except InsufficientPrivilege as error:
            log.warning("%s: %s does not own the tables (%s); this login does", name, OWNER, error.diag.message_primary)


def settle_again(database: Database) -> bool:
    """Return whether a role is there without its rights which this login may give: it was made after the migration."""
    rows = database.fetch(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ANY(%s)"
        " AND NOT has_table_privilege(rolname, 'rollup_zone', 'SELECT'))"
        " AND pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('rollup_zone')",
        ([READER, WRITER],),
    )
    return bool(rows and rows[0][0])


def _missing(connection: Connection) -> tuple[str, ...]:
    rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (list(ROLES),)).fetchall()
    return tuple(role for role in ROLES if (role,) not in rows)


def _may_make_roles(connection: Connection) -> bool:
    rows = connection.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
    return rows.fetchall() == [(True,)]


def _let_read(connection: Connection, role: str) -> None:
    _run(connection, f"GRANT USAGE ON SCHEMA {_name(connection, 'current_schema()')} TO {role}")
    _run(connection, f"GRANT SELECT ON {', '.join(TABLES)} TO {role}")


def _let_write(connection: Connection) -> None:
    for verbs, tables in _WRITES.items():
        _run(connection, f"GRANT {verbs} ON {', '.join(tables)} TO {WRITER}")
    # Whoever may connect could call them by default, and some have their owner's rights.
    for function in _functions(connection):
        _run(connection, f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    for function in _CALLS:
        _run(connection, f"GRANT EXECUTE ON FUNCTION {function} TO {WRITER}")
    # Repeats go over a stage. A login that does not own the database may leave this to PUBLIC, which has it by default.
    _run(connection, f"GRANT TEMPORARY ON DATABASE {_name(connection, 'current_database()')} TO {WRITER}")


def _hand_over(connection: Connection) -> None:
    """Give everything to the owner role: what runs with its owner's rights has those then, not a superuser's."""
    _run(connection, f"GRANT USAGE, CREATE ON SCHEMA {_name(connection, 'current_schema()')} TO {OWNER}")
    for kind, relation in _relations(connection):
        _run(connection, f"ALTER {kind} {relation} OWNER TO {OWNER}")
    for function in _functions(connection):
        _run(connection, f"ALTER FUNCTION {function} OWNER TO {OWNER}")


def _run(connection: Connection, statement: str) -> None:
    connection.execute(statement.encode())


def _name(connection: Connection, of: str) -> str:
    row = connection.execute(f"SELECT quote_ident({of})".encode()).fetchone()
    assert row is not None
    return str(row[0])


def _relations(connection: Connection) -> list[tuple[str, str]]:
    """Return kind and name of our tables, their partitions and views that the owner role does not own yet."""
    rows = connection.execute(
        "SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, oid::regclass::text FROM pg_class"
        " WHERE (oid = ANY(%s::regclass[]) OR relispartition AND oid IN"
        " (SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY(%s::regclass[])))"
        " AND relkind IN ('r', 'p', 'v') AND relowner <> %s::regrole ORDER BY oid",
        (list(TABLES), list(TABLES), OWNER),
    ).fetchall()
    return [(str(kind), str(relation)) for kind, relation in rows]


def _functions(connection: Connection) -> list[str]:
    rows = connection.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = ANY(%s)"
        " AND pronamespace = current_schema()::regnamespace ORDER BY oid",
        (list(FUNCTIONS),),
    ).fetchall()
    return [str(row[0]) for row in rows]
