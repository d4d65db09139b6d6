"""The access file in Mosquitto's words allows what the embedded broker allows."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from ingest.broker.access import Access, hash_password
from ingest.broker.mosquitto_acl import mosquitto_acl
from sensors import InputError

NAMES = ("reader", "D17", "old town", "half")
FILE = """
[[user]]
name = "reader"
password = "{0}"
subscribe = ["#"]
[[user]]
name = "D17"
password = "{0}"
publish = ["city/+/%u", "status/%u/#"]
[[user]]
name = "old town"
password = "{0}"
publish = ["city/old town/#"]
subscribe = ["city/old town/#", "hub/alerts/#"]
[[user]]
name = "half"
password = "{0}"
publish = ["city/half/a", "shared/#"]
max_topics = 9
subscribe = ["shared/#"]
[anonymous]
publish = ["open/#"]
"""
TOPICS = (
    *(
        "city/north/D17",
        "city/north/D18",
        "city/D17",
        "status/D17/x/y",
        "status/D17",
        "city/old town/s1",
        "city/half/a",
    ),
    *("city/half/b", "shared/z", "open/air", "hub/alerts/1", "city/north/old town"),
)


@pytest.fixture
def access_file(tmp_path: Path) -> Path:
    path = tmp_path / "users.toml"
    path.write_text(FILE.format(hash_password(b"secret", bytes(16))), "utf-8")
    return path


def test_every_entry_is_a_user_and_the_anonymous_come_first(access_file: Path) -> None:
    text = mosquitto_acl(Access.read(access_file), access_file)
    lines = [line for line in text.splitlines() if line]
    assert lines[0].startswith("# Made from users.toml")
    assert lines[1:4] == ["topic write open/#", "user reader", "topic read #"]
    assert lines[4:7] == ["user D17", "topic write city/+/D17", "topic write status/D17/#"]
    assert "topic readwrite shared/#" in lines
    assert lines[-1] == "# Mosquitto has no word for max_topics = 9 of this user."
    assert "secret" not in text


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('name = "a"\npublish = ["city/%c"]', "'city/%c' names the client identifier"),
        ('name = " a"\npublish = ["city/x"]', "' a': Mosquitto's files have a user on a line"),
        ('name = "a"\npublish = ["city/x "]', "'city/x ' cannot stand on a line"),
    ],
)
def test_what_mosquitto_has_no_words_for_is_refused(tmp_path: Path, entry: str, told: str) -> None:
    path = tmp_path / "users.toml"
    path.write_text(f'[[user]]\npassword = "{hash_password(b"x", bytes(16))}"\n{entry}\n', "utf-8")
    with pytest.raises(InputError) as raised:
        mosquitto_acl(Access.read(path), path)
    assert told in str(raised.value)


def test_a_user_who_is_no_topic_level_is_given_no_topics_of_his_name(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.write_text(
        f'[[user]]\nname = "a/#"\npassword = "{hash_password(b"x", bytes(16))}"\npublish = ["city/%u", "t"]\n', "utf-8"
    )
    assert mosquitto_acl(Access.read(path), path).splitlines()[-2:] == ["user a/#", "topic write t"]


def test_the_command_prints_it(access_file: Path) -> None:
    command = [sys.executable, "-m", "ingest.broker", "--mosquitto-acl"]
    done = subprocess.run([*command, "--access", str(access_file)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, mosquitto_acl(Access.read(access_file), access_file))
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--mosquitto-acl prints what --access FILE allows, which is not given" in done.stderr


@pytest.fixture
def mosquitto(access_file: Path) -> Iterator[int]:
    """A real Mosquitto with that file; returns its port."""
    path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    program, passwords = shutil.which("mosquitto", path=path), shutil.which("mosquitto_passwd", path=path)
    if program is None or passwords is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
    folder.chmod(0o755)  # mosquitto leaves root
    for name in NAMES:
        flags = ["-b"] if (folder / "passwords").exists() else ["-c", "-b"]
        subprocess.run([passwords, *flags, str(folder / "passwords"), name, "secret"], check=True)
    (folder / "acl").write_text(mosquitto_acl(Access.read(access_file), access_file), "utf-8")
    for name in ("passwords", "acl"):
        (folder / name).chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npassword_file {folder}/passwords\n"
        f"acl_file {folder}/acl\nlog_type none\n"
    )
    process = subprocess.Popen([program, "-c", str(folder / "conf")])
    try:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "mosquitto refuses the settings"
                assert time.monotonic() < end
                time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def client(port: int, name: str | None) -> mqtt.Client:
    made = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    if name is not None:
        made.username_pw_set(name, "secret")
    made.connect("127.0.0.1", port)
    made.loop_start()
    return made


def test_mosquitto_lets_everybody_publish_what_the_embedded_broker_would(access_file: Path, mosquitto: int) -> None:
    access = Access.read(access_file)
    heard: set[tuple[str, str]] = set()
    reader, subscribed = client(mosquitto, "reader"), []
    reader.on_message = lambda _client, _data, message: heard.add((message.payload.decode(), message.topic))
    reader.on_subscribe = lambda *_: subscribed.append(True)
    reader.subscribe("#", qos=1)
    end = time.monotonic() + 20
    while not subscribed and time.monotonic() < end:
        time.sleep(0.01)
    wanted: set[tuple[str, str]] = set()
    for name in (*NAMES, None):
        rights = access.rights(name, "someone")
        assert rights is not None
        sender = client(mosquitto, name)
        sent = [sender.publish(topic, f"{name}", qos=1) for topic in TOPICS]
        for info in sent:
            info.wait_for_publish(20)
        sender.disconnect()
        sender.loop_stop()
        wanted |= {(f"{name}", topic) for topic in TOPICS if rights.may_publish(topic)}
    assert len(wanted) == 7  # three of D17, one of old town, two of half, one of those without a name
    while heard < wanted and time.monotonic() < end + 20:
        time.sleep(0.02)
    reader.disconnect()
    reader.loop_stop()
    assert heard == wanted
