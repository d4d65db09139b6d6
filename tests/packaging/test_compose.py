"""compose.yaml and what it mounts: valid, typed as our commands want it, and without a secret."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hub.cli import _parser
from ingest.broker.access import hash_password
from ingest.publisher import Publisher
from ingest.subscriber import Subscriber
from sensors import WorkError

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(YAML(typ="safe").load((ROOT / "compose.yaml").read_text("utf-8")))


def values(node: object) -> Iterator[str]:
    """Yield every text of a document."""
    if isinstance(node, dict):
        for value in node.values():
            yield from values(value)
    elif isinstance(node, list):
        for value in node:
            yield from values(value)
    else:
        yield str(node)


@pytest.mark.parametrize("name", ["compose.yaml", "deploy/embedded.yaml"])
def test_it_is_valid_by_the_compose_specification(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(ROOT / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_the_parts_of_a_departments_server(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"database", "mosquitto", "ingest-1", "ingest-2", "hub", "prometheus"} <= set(services)
    assert set(compose["volumes"]) == {
        volume.split(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if re.match(r"[\w-]+:", volume)
    }


def test_every_command_of_our_image_is_one_that_our_program_takes(compose: dict[str, Any]) -> None:
    ours = {name: service for name, service in compose["services"].items() if service["image"] == "citytwin"}
    assert set(ours) == {"ingest-1", "ingest-2", "hub"}
    for service in ours.values():
        words = service["command"]
        args = _parser(words[0]).parse_args(words)  # wrong words end the test
        assert args.command == words[0]
        assert all(name.startswith("CITYTWIN_") for name in service["environment"])


def test_what_it_mounts_from_the_checkout_is_there(compose: dict[str, Any]) -> None:
    mounted = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service["volumes"]
        if volume.startswith("./")
    }
    assert "./deploy/secrets" in mounted
    assert [path for path in mounted - {"./deploy/secrets"} if not (ROOT / path).exists()] == []


def test_no_password_is_in_it_and_the_example_names_every_variable(compose: dict[str, Any]) -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "deploy" / "example.env").read_text("utf-8"), re.M))
    used = {match[1]: match for text in values(compose) for match in VARIABLE.finditer(text)}
    assert set(used) == set(example)
    for name, match in used.items():
        assert example[name] or match[2] == "?", f"without {name} it must not start"
        if "PASSWORD" in name:
            assert (match[2], example[name]) == ("?", "")
    assert not [text for text in values(compose) if re.search(r"://\w+:(?!\$\{)[^@/]+@", text)]
    for secret in (".env", "deploy/secrets/passwords"):
        assert subprocess.run(["git", "check-ignore", "-q", secret], cwd=ROOT).returncode == 0


def test_nothing_listens_beyond_this_machine_but_the_broker(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert [port for port in published if not port.startswith("127.0.0.1:")] == ["${MQTT_LISTEN:-127.0.0.1:1883}:1883"]
    on_the_machine = {n for n, service in compose["services"].items() if service.get("network_mode") == "host"}
    assert on_the_machine == {"hub", "prometheus"}
    assert "CITYTWIN_HOST" not in compose["services"]["hub"]["environment"]
    assert "--web.listen-address=127.0.0.1:9090" in compose["services"]["prometheus"]["command"]


def test_prometheus_asks_where_the_workers_and_the_hub_answer(compose: dict[str, Any]) -> None:
    scraped = YAML(typ="safe").load((ROOT / "deploy" / "prometheus.yml").read_text("utf-8"))
    targets = {t for job in scraped["scrape_configs"] for group in job["static_configs"] for t in group["targets"]}
    workers = [service for name, service in compose["services"].items() if name.startswith("ingest-")]
    published = {port.rpartition(":")[0] for worker in workers for port in worker["ports"]}
    assert targets == published | {"127.0.0.1:8000"}


def test_its_broker_drops_as_little_as_the_one_that_is_shipped_for_a_single_machine() -> None:
    def settings(path: str) -> dict[str, str]:
        lines = (ROOT / path).read_text("utf-8").splitlines()
        return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))

    alone, composed = settings("config/mosquitto.conf"), settings("deploy/mosquitto.conf")
    for name in ("persistence", "autosave_interval", "max_queued_messages", "max_inflight_messages"):
        assert composed[name] == alone[name]
    assert composed["allow_anonymous"] == "false"


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Mosquitto with the settings of deploy/ and three users; returns host:port."""
    path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    program, passwords = shutil.which("mosquitto", path=path), shutil.which("mosquitto_passwd", path=path)
    if program is None or passwords is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    import socket
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
    folder.chmod(0o777)  # mosquitto leaves root
    for name in ("ingest", "hub", "D17"):
        flags = ["-b"] if (folder / "passwords").exists() else ["-c", "-b"]
        subprocess.run([passwords, *flags, str(folder / "passwords"), name, f"of{name}"], check=True)
    (folder / "passwords").chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (
        (ROOT / "deploy" / "mosquitto.conf").read_text("utf-8").replace("listener 1883", f"listener {port} 127.0.0.1")
    )
    text = text.replace("/mosquitto/secrets", str(folder)).replace("/mosquitto/data", str(folder))
    text = text.replace("/mosquitto/config", str(ROOT / "deploy"))
    (folder / "mosquitto.acl").write_bytes((ROOT / "deploy" / "mosquitto.acl").read_bytes())
    text = text.replace(str(ROOT / "deploy"), str(folder))
    (folder / "mosquitto.conf").write_text(text + "log_type none\n")
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")])
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, "mosquitto refuses the settings"
            assert time.monotonic() < end
            time.sleep(0.02)
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()
    shutil.rmtree(folder)


@pytest.fixture
def guarded_embedded(tmp_path: Path) -> Iterator[str]:
    """The embedded broker with the words of deploy/embedded.yaml and the users of its example; returns host:port."""
    text = (ROOT / "deploy" / "access.example.toml").read_text("utf-8")
    for name in ("ingest", "hub", "D17"):
        entry = f'name = "{name}"\npassword = '
        assert entry + '""' in text
        text = text.replace(entry + '""', f'{entry}"{hash_password(f"of{name}".encode())}"')
    (tmp_path / "access.toml").write_text(text)
    override = YAML(typ="safe").load((ROOT / "deploy" / "embedded.yaml").read_text("utf-8"))
    service = override["services"]["mosquitto"]
    words = [word.replace("0.0.0.0:1883", "127.0.0.1:0") for word in service["command"]]
    words = [word.replace("/mosquitto/secrets", str(tmp_path)) for word in words]
    assert service["entrypoint"] == ["python", "-m", "ingest.broker"]
    command = [sys.executable, *service["entrypoint"][1:], *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["mqtt"].removeprefix("mqtt://")
        process.kill()


def test_the_embedded_broker_in_its_place_acknowledges_a_device_when_a_worker_has(guarded_embedded: str) -> None:
    device = Publisher(f"mqtt://D17:ofD17@{guarded_embedded}", client_id="d")
    device.publish("city/north/D17", b"1")
    assert not device.drain(0.5), "nobody has it yet"
    worker = Subscriber(
        f"mqtt://ingest:ofingest@{guarded_embedded}",
        client_id="citytwin-ingest-1", filters=["city/#", "/hfp/#"], shared_group="city",
    )  # fmt: skip
    messages = worker.payloads(20)
    assert [message.payload for message in messages] == [b"1"]
    assert not device.drain(0.5), "it is not committed yet"
    worker.acknowledge(messages)
    assert device.drain(20)
    hub = Publisher(f"mqtt://hub:ofhub@{guarded_embedded}", client_id="h")
    hub.publish("hub/alerts/centre", b"")
    assert hub.drain(20)
    for one in (device, hub, worker):
        one.close()
    with pytest.raises(WorkError):
        Publisher(f"mqtt://D17:wrong@{guarded_embedded}", client_id="thief")


def test_its_broker_lets_workers_read_and_a_device_publish_its_own_topic_only(guarded: str) -> None:
    with pytest.raises(WorkError):
        Publisher(f"mqtt://{guarded}", client_id="nobody")
    with pytest.raises(WorkError):
        Publisher(f"mqtt://D17:wrong@{guarded}", client_id="thief")
    worker = Subscriber(
        f"mqtt://ingest:ofingest@{guarded}", client_id="w", filters=["city/#", "/hfp/#"], shared_group="city"
    )
    device = Publisher(f"mqtt://D17:ofD17@{guarded}", client_id="d")
    for topic in ("city/north/D18", "hub/alerts/x", "city/north/D17"):
        device.publish(topic, topic)
    assert device.drain(20)
    hub = Publisher(f"mqtt://hub:ofhub@{guarded}", client_id="h")
    hub.publish("city/north/D17", b"forged by the hub's account")
    hub.publish("hub/alerts/centre", b"")
    assert hub.drain(20)
    device.publish("city/north/D17", b"last")
    assert device.drain(20)
    came = []
    while not came or came[-1].payload != b"last":
        got = worker.payloads(20)
        assert got, came
        came += got
    assert [(message.topic, message.payload) for message in came] == [
        ("city/north/D17", b"city/north/D17"),
        ("city/north/D17", b"last"),
    ]
    for one in (device, hub, worker):
        one.close()
