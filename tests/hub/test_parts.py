"""The state folder, its lock and its addresses: one hub at a time, and nothing is deleted that is not ours."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hub import ports
from hub.parts import Parts, StateFolder, listen
from hub.settings import City, Settings
from ingest.address import BrokerAddress
from ingest.publisher import Publisher
from sensors import InputError, WorkError


def test_a_folder_that_is_held_names_its_holder_until_it_is_given_back(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path / "deep" / "state"), StateFolder(tmp_path / "deep" / "state")
    first.hold()
    with pytest.raises(WorkError, match=f"in use by process {os.getpid()}") as raised:
        second.hold()
    assert "CITYTWIN_STATE" in str(raised.value)
    first.release()
    second.hold()
    assert (second.path / "lock").read_text() == str(os.getpid())
    second.release()


def test_a_lock_that_a_dead_process_left_is_taken_over_with_our_number_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789 and more")
    folder = StateFolder(tmp_path)
    folder.hold()
    assert (tmp_path / "lock").read_text() == str(os.getpid())
    folder.release()


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.hold()
    assert folder.path.stat().st_mode & 0o077 == 0
    folder.release()


@pytest.mark.parametrize("place", ["file", "file/below", "lock_is_folder"])
def test_a_place_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "lock_is_folder" / "lock").mkdir(parents=True)
    with pytest.raises(WorkError, match="cannot be written") as raised:
        StateFolder(tmp_path / place).hold()
    assert "CITYTWIN_STATE" in str(raised.value)


def test_clear_deletes_what_is_ours_and_nothing_else(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.hold()
    for name in ("postgres/data/base", "city/seed-1", "street"):
        (folder.path / name).mkdir(parents=True)
        (folder.path / name / "file").write_text("ours")
    for name in ("ports.json", "ingest-client-id"):
        (folder.path / name).write_text("ours")
    (folder.path / "holiday.jpg").write_text("not ours")
    (folder.path / "backup").mkdir()
    (folder.path / "backup" / "city").write_text("not ours")
    folder.clear()
    assert sorted(path.name for path in folder.path.iterdir()) == ["backup", "holiday.jpg", "lock"]
    assert (folder.path / "backup" / "city").read_text() == "not ours"
    with pytest.raises(WorkError):
        StateFolder(folder.path).hold()  # still held
    folder.clear()  # nothing there is nothing to do
    folder.release()


def test_clear_takes_a_link_away_and_leaves_what_it_points_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "big disk"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("kept")
    folder = StateFolder(tmp_path / "state")
    folder.hold()
    (folder.path / "postgres").symlink_to(elsewhere)
    folder.clear()
    assert not (folder.path / "postgres").is_symlink()
    assert (elsewhere / "file").read_text() == "kept"
    folder.release()


def test_the_addresses_are_there_while_a_hub_runs_and_gone_after(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.hold()
    assert ports.read(tmp_path) == {}
    ports.write(tmp_path, http="http://127.0.0.1:8000", mqtt="mqtt://127.0.0.1:1883")
    assert ports.read(tmp_path) == {"http": "http://127.0.0.1:8000", "mqtt": "mqtt://127.0.0.1:1883"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "ports.json"]
    folder.release()
    assert ports.read(tmp_path) == {}
    folder.release()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "\0"])
def test_a_broken_file_of_addresses_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / ports.NAME).write_text(text)
    assert ports.read(tmp_path) == {}


def test_a_file_of_addresses_that_is_no_text_is_none(tmp_path: Path) -> None:
    (tmp_path / ports.NAME).write_bytes(b"\xff\xfe{")
    assert ports.read(tmp_path) == {}


def test_what_urls_name_is_not_started(tmp_path: Path) -> None:
    parts = Parts(Settings(database_url="postgresql://city/db", mqtt_url="mqtt://city", state=tmp_path))
    parts.start()
    assert (parts.database_url, parts.mqtt_url) == ("postgresql://city/db", "mqtt://city")
    assert parts.watched() == []
    assert parts.pids() == {}
    parts.stop()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def with_broker(tmp_path: Path) -> Iterator[Callable[[str], Parts]]:
    """Start parts on a ``[broker]`` table of ``city.toml``."""
    started: list[Parts] = []

    def start(table: str) -> Parts:
        (tmp_path / "state").mkdir(mode=0o700, exist_ok=True)
        (tmp_path / "city.toml").write_text(f"[broker]\n{table}")
        city = City.read(tmp_path / "city.toml")
        parts = Parts(Settings(database_url="postgresql://city/db", state=tmp_path / "state", city=city))
        started.append(parts)
        parts.start()
        return parts

    yield start
    for parts in started:
        parts.stop()


def test_the_hub_signs_in_to_a_broker_with_users_and_nobody_else_does(
    tmp_path: Path, with_broker: Callable[[str], Parts]
) -> None:
    (tmp_path / "users.toml").write_text('[anonymous]\nsubscribe = ["alert/#"]\n')
    parts = with_broker('listen = "127.0.0.1:0"\naccess = "users.toml"\nlimits = {max_connections = 3}\n')
    assert (tmp_path / "state" / "access.toml").stat().st_mode & 0o077 == 0
    publisher = Publisher(parts.mqtt_url, client_id="hub")
    publisher.publish("hub/alerts/1", b"{}")
    assert publisher.drain(20)
    publisher.close()
    address = BrokerAddress.parse(parts.mqtt_url)
    assert address.user is not None
    with pytest.raises(WorkError, match=r"(?i)not authorized|password"):
        Publisher(f"mqtt://{address.user}:guess@{address.host}:{address.port}", client_id="thief", first_connect_s=1)


def test_a_broker_that_died_comes_back_on_every_port_and_with_its_users(
    tmp_path: Path, with_broker: Callable[[str], Parts]
) -> None:
    (tmp_path / "users.toml").write_text("")
    parts = with_broker('listen = "127.0.0.1:0"\nlisten_websocket = "127.0.0.1:0"\naccess = "users.toml"\n')
    [(_, alive, start)] = parts.watched()
    os.kill(parts.pids()["broker"], signal.SIGKILL)
    while alive():
        time.sleep(0.005)
    assert isinstance(urls := start(), Mapping)
    assert urls["mqtt"].rpartition(":")[2] == parts.mqtt_url.rpartition(":")[2]
    publisher = Publisher(parts.mqtt_url, client_id="hub")
    publisher.publish("hub/alerts/1", b"{}")
    assert publisher.drain(20)
    publisher.close()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('listn = "127.0.0.1:0"', "nearest is 'listen'"),
        ('listen = "1883"', "must be HOST:PORT"),
        ("listen = 1883", "must be HOST:PORT"),
        ("access = 1", "path of a file"),
        ("limits = {max_conections = 3}", "nearest is max_connections"),
        ("limits = {max_connections = true}", "no number"),
        ("limits = 3", "must be a table"),
        ('listen = "127.0.0.1:0"\nlisten_tls = "127.0.0.1:0"', "need --certificate and --key"),
        ('listen = "127.0.0.1:0"\naccess = "nowhere.toml"', "nowhere.toml"),
        ('listen = "0.0.0.0:0"', "this machine only"),
    ],
)
def test_what_is_wrong_with_the_brokers_table_is_one_sentence(
    with_broker: Callable[[str], Parts], table: str, words: str
) -> None:
    with pytest.raises((InputError, WorkError)) as raised:
        with_broker(table)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_port_that_is_taken_is_said_with_what_to_do() -> None:
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(WorkError, match=f"port {port} .*--port 0"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "", "::"])
def test_a_host_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="this machine only"):
        listen(host, 0)
