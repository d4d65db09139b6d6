"""TLS and client certificates to the database through the URL alone, against a PostgreSQL that asks for both."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingest import postgres
from ingest.database import Database, DatabaseAway
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.store import Store
from sensors import Batch, Reading

PROGRAMS = Path("/usr/lib/postgresql/15/bin")  # the wheel's are built without TLS
MONDAY = 1_781_481_600.0


def openssl(*words: object, given: str = "") -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, text=True, input=given)


def certificate(folder: Path, name: str, common_name: str, authority: Path) -> None:
    """Write ``name.pem`` and ``name.key``, signed by an authority."""
    key, request, signed = (folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={common_name}", "-keyout", key,
            "-out", request)  # fmt: skip
    names = folder / "names.cnf"
    names.write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority.with_suffix(".key"), "-days", "2",
            "-set_serial", len(common_name), "-extfile", names, "-out", signed)  # fmt: skip
    key.chmod(0o600)


def authority(folder: Path, name: str) -> Path:
    certificate = folder / f"{name}.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", certificate)  # fmt: skip
    return certificate


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return the address of a server and the folder of the certificates that it trusts, or does not."""
    if not (PROGRAMS / "postgres").exists() or shutil.which("openssl") is None:
        pytest.skip(f"NO POSTGRESQL WITH TLS in {PROGRAMS}, or no openssl: apt-get install postgresql-15 openssl")
    folder = tmp_path_factory.mktemp("tls")
    ours, theirs = authority(folder, "ours"), authority(folder, "theirs")
    certificate(folder, "server", "db", ours)
    certificate(folder, "worker", "worker", ours)
    certificate(folder, "intruder", "worker", theirs)
    with EmbeddedPostgres(folder / "postgres", binaries=PROGRAMS) as server:
        data = server.data
        with Database(server.url) as maintenance:
            maintenance.execute("CREATE ROLE worker LOGIN SUPERUSER")
            maintenance.execute("CREATE DATABASE city")
    (data / "pg_hba.conf").write_text("local all all trust\nhostssl all worker 127.0.0.1/32 cert\n")
    for name in ("server.pem", "server.key", "ours.pem"):
        shutil.copy(folder / name, data / name)
        like = data / "PG_VERSION"
        os.chown(data / name, like.stat().st_uid, like.stat().st_gid)
        (data / name).chmod(0o600)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {
        "listen_addresses": "127.0.0.1", "port": str(port), "ssl": "on", "ssl_cert_file": "server.pem",
        "ssl_key_file": "server.key", "ssl_ca_file": "ours.pem",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "SETTINGS", postgres.SETTINGS | own)
        with EmbeddedPostgres(folder / "postgres", binaries=PROGRAMS):
            yield {"address": f"127.0.0.1:{port}/city", "folder": folder}


def url(tls: dict[str, Any], *, root: str = "ours", client: str | None = "worker", mode: str = "verify-full") -> str:
    folder = tls["folder"]
    own = f"&sslcert={folder / client}.pem&sslkey={folder / client}.key" if client else ""
    return f"postgresql://worker@{tls['address']}?sslmode={mode}&sslrootcert={folder / root}.pem{own}"


def test_readings_are_stored_through_tls_with_a_client_certificate(tls: dict[str, Any]) -> None:
    with Database(url(tls)) as database:
        migrate(database)
        reading = Reading("D1", "speed_kmh", int(MONDAY) * 1000, 50.0)
        assert Store(database).write(Batch.of([reading], received_at=MONDAY)).stored == 1
        assert database.fetch("SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [
            (True, "/CN=worker")
        ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client": None}, "certificate"),
        ({"client": "intruder"}, "unknown ca|unknown CA"),
        ({"root": "theirs"}, "certificate verify failed"),
        ({"client": None, "mode": "disable"}, "no encryption"),
    ],
)
def test_who_cannot_prove_itself_gets_one_clear_sentence(tls: dict[str, Any], wrong: dict[str, Any], said: str) -> None:
    with Database(url(tls, **wrong)) as database, pytest.raises(DatabaseAway, match=said) as caught:
        database.fetch("SELECT 1")
    assert str(caught.value).startswith("database 'city' at 127.0.0.1:")
    assert "\n" not in str(caught.value)
