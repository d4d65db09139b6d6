"""``--client-ca``: over TLS only who shows a certificate of the authority comes in, under the name that is in it."""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

ROOT = Path(__file__).resolve().parents[2]
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    openssl("req", "-x509", *CURVE, "-days", 2, "-subj", f"/CN={name}", "-keyout", key, "-out", certificate)


def signed(folder: Path, name: str, *, by: str) -> None:
    request, key, certificate = folder / f"{name}.csr", folder / f"{name}.key", folder / f"{name}.pem"
    openssl("req", *CURVE, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl(
        "x509", "-req", "-in", request, "-CA", folder / f"{by}.pem", "-CAkey", folder / f"{by}.key",
        "-CAcreateserial", "-days", 2, "-extfile", names, "-out", certificate,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    authority(folder, "city")
    authority(folder, "stranger")
    signed(folder, "localhost", by="city")
    signed(folder, "detector-17", by="city")
    signed(folder, "intruder", by="stranger")
    (folder / "access.toml").write_text(
        f'[[user]]\nname = "detector-17"\npassword = "scrypt${"0" * 32}${"0" * 64}"\npublish = ["street/%u"]\n'
    )
    return folder


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    command = [
        sys.executable, "-m", "ingest.broker", "--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0",
        "--certificate", folder / "localhost.pem", "--key", folder / "localhost.key",
        "--client-ca", folder / "city.pem", "--access", folder / "access.toml", "--parent-stdin",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(json.loads(process.stdout.readline())["mqtts"].rpartition(":")[2])
        process.stdin.close()


Publish = Callable[..., list[str]]


@pytest.fixture
def publish(port: int, folder: Path) -> Publish:
    """Publish to a topic over TLS and return what the broker answered to CONNECT and PUBLISH."""

    def go(topic: str, certificate: str | None) -> list[str]:
        answers: list[str] = []
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="device", protocol=mqtt.MQTTv5)
        context = ssl.create_default_context(cafile=str(folder / "city.pem"))
        if certificate:
            context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
        client.tls_set_context(context)

        def on_connect(*event: object) -> None:
            answers.append(str(event[3]))
            client.publish(topic, qos=1)

        def on_publish(*event: object) -> None:
            answers.append(str(event[3]))
            client.disconnect()

        client.on_connect, client.on_publish = on_connect, on_publish
        client.connect("localhost", port)
        client.loop_forever(retry_first_connection=False)
        return answers

    return go


def test_the_name_in_a_right_certificate_is_the_user_without_a_password(publish: Publish) -> None:
    assert publish("street/detector-17", "detector-17") == ["Success", "No matching subscribers"]


def test_a_right_certificate_gives_the_rights_of_its_user_alone(publish: Publish) -> None:
    assert publish("street/detector-18", "detector-17") == ["Success", "Not authorized"]


@pytest.mark.parametrize("certificate", ["intruder", None])
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho leaves it to the collector
def test_who_shows_a_certificate_of_a_stranger_or_none_is_not_let_in(
    port: int, folder: Path, certificate: str | None
) -> None:
    context = ssl.create_default_context(cafile=str(folder / "city.pem"))
    if certificate:
        context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    answer = b""
    # In TLS 1.3 the client learns it with its first reading.
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        socket.create_connection(("localhost", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")
        answer = client.recv(4)
    assert answer == b""
