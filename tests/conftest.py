"""Fixtures that several packages share: the real input data, a real PostgreSQL and a private database per test."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from ingest.database import Database
    from ingest.postgres import EmbeddedPostgres

# How long an example takes says something of the machine and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
_numbers = itertools.count(1)
CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the real input data, from CITYTWIN_TEST_DATA or beside the checkout; skip without it."""
    named = os.environ.get("CITYTWIN_TEST_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"NO REAL INPUT DATA: {folder} is not a folder; set CITYTWIN_TEST_DATA to the shared data folder")
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[EmbeddedPostgres]":
    """Return a running embedded PostgreSQL; no test may harm it (start your own for that)."""
    from ingest.postgres import EmbeddedPostgres

    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres: "EmbeddedPostgres") -> str:
    """Return the name of a database with the whole schema, to be copied: 40 ms instead of a migration per test."""
    from ingest.database import Database
    from ingest.migration import migrate

    name = "citytwin_template"
    with Database(postgres.url) as maintenance:
        maintenance.execute(f"CREATE DATABASE {name}")
    with Database(postgres.url_of(name)) as template:
        migrate(template)
    return name


@pytest.fixture
def database(postgres: "EmbeddedPostgres", template_database: str) -> "Iterator[Database]":
    """Return a private, migrated, empty database of this test alone."""
    from ingest.database import Database

    name = f"test_{next(_numbers)}"
    with Database(postgres.url) as maintenance:
        maintenance.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
        try:
            with Database(postgres.url_of(name)) as private:
                yield private
        finally:
            maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")
