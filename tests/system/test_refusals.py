"""What cannot work is refused in one clear sentence, without a traceback, and leaves nothing behind."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def refused(hub, code: int, *, shared_state: bool = False) -> str:
    """Return the one sentence of a hub that refused to start; another one may work in its state folder."""
    assert hub.wait() == code, "\n".join(hub.err + hub.out)
    said = [line for line in hub.err if not re.match(r"\d\d:\d\d:\d\d INFO", line)]
    assert "Traceback" not in "\n".join(said)
    assert len(said) == 1, said
    assert hub.started() == []
    assert shared_state or hub.family() == []
    return said[0]


def test_a_taken_port_is_named_with_the_way_out(start, city_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(start("demo", "--network", str(city_folder), "--port", port), 1)
    assert port in said
    assert "--port 0" in said


def test_a_state_folder_in_use_names_its_holder(start, city_folder, until):
    first = start("serve", "--network", str(city_folder), "--port", "0")
    until(lambda: first.url, "the first hub")
    said = refused(
        start("serve", "--network", str(city_folder), "--port", "0", state=first.state), 1, shared_state=True
    )
    assert str(first.process.pid) in said
    assert "CITYTWIN_STATE" in said
    until(lambda: all(part["ok"] for part in first.parts().values()), "the first hub to go on undisturbed")


def test_a_state_folder_that_cannot_be_made_is_named(start, city_folder, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    said = refused(start("serve", "--network", str(city_folder), "--port", "0", state=tmp_path / "file" / "state"), 1)
    assert "CITYTWIN_STATE" in said


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rules.toml", '[[rule]]\nname = "x"\n on = link\n', ("rules.toml", "line 3")),
        ("rules.toml", '[[rule]]\nname = "x"\non = "link"\nwhen = "sped < 3"\n', ("rules.toml", "sped", "speed")),
        ("city.toml", "[city]\nnaem = 'x'\n", ("city.toml", "naem", "name")),
    ],
)
def test_broken_settings_name_file_and_place(start, city_folder, tmp_path, name, text, words):
    config = tmp_path / "config"
    config.mkdir()
    for path in (ROOT / "config").glob("*.toml"):
        (config / path.name).write_text(path.read_text("utf-8"), "utf-8")
    (config / name).write_text(text, "utf-8")
    said = refused(start("serve", "--network", str(city_folder), "--port", "0", CITYTWIN_CONFIG=str(config)), 2)
    assert all(word in said for word in words)


def test_a_folder_that_is_no_network_is_refused(start, tmp_path):
    (tmp_path / "empty").mkdir()
    said = refused(start("serve", "--network", str(tmp_path / "empty"), "--port", "0"), 2)
    assert "node.csv" in said or "link.csv" in said


def test_an_address_beyond_this_machine_is_refused_until_there_is_sign_in(start, city_folder):
    said = refused(start("serve", "--network", str(city_folder), "--port", "0", CITYTWIN_HOST="0.0.0.0"), 2)
    assert "0.0.0.0" in said
    assert "127.0.0.1" in said


def test_a_database_that_is_not_there_is_named_without_its_password(start, city_folder):
    url = "postgresql://someone:secret@127.0.0.1:1/nothing"
    said = refused(start("serve", "--network", str(city_folder), "--port", "0", CITYTWIN_DATABASE_URL=url), 1)
    assert "127.0.0.1" in said
    assert "secret" not in said


def test_a_database_without_rights_names_the_missing_right(start, city_folder, postgres):
    from ingest.database import Database

    with Database(postgres.url) as owner:
        owner.execute("DROP DATABASE IF EXISTS forbidden")
        owner.execute("DROP ROLE IF EXISTS stranger")
        owner.execute("CREATE ROLE stranger LOGIN")
        owner.execute("CREATE DATABASE forbidden")
    url = postgres.url_of("forbidden").replace("//citytwin@", "//stranger@")
    said = refused(start("serve", "--network", str(city_folder), "--port", "0", CITYTWIN_DATABASE_URL=url), 1)
    assert "permission" in said or "right" in said
    assert "stranger" in said or "schema" in said


def test_a_taken_port_of_the_embedded_broker_is_named_with_the_variable_that_moves_it(start, city_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        hub = start("serve", "--network", str(city_folder), "--port", "0", CITYTWIN_MQTT_LISTEN=address)
        said = refused(hub, 1)
    assert address in said
    assert "CITYTWIN_MQTT_LISTEN" in said


def test_a_broker_that_is_not_there_is_named(start, city_folder):
    said = refused(
        start("serve", "--network", str(city_folder), "--port", "0", CITYTWIN_MQTT_URL="mqtt://127.0.0.1:1"), 1
    )
    assert "127.0.0.1:1" in said


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("demo", "--speed", "fast"), "--speed"),
        (("demo", "--port", "123456"), "--port"),
        (("demo", "--for", "-3"), "--for"),
        (("dmeo",), "demo"),
        (("serve",), "--network"),
    ],
)
def test_wrong_use_is_refused_with_exit_code_2(words, word, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", *words], cwd=ROOT, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "CITYTWIN_STATE": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_python_m_citytwin_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "citytwin", "network", "info", str(tmp_path / "none")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("citytwin network: ")
