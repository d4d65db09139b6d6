"""``mqtts://`` with user and password, against a Mosquitto that asks for both."""

import gc
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from ingest.publisher import Publisher
from ingest.subscriber import Subscriber
from sensors import WorkError


@pytest.fixture
def tls_mosquitto(broker_process):
    programs = {name: shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") for name in ("mosquitto", "openssl")}
    password_tool = shutil.which("mosquitto_passwd")
    if None in programs.values() or password_tool is None:
        pytest.skip("mosquitto or openssl is not installed: apt-get install mosquitto openssl")
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        certificate, key, users = (folder / part for part in ("cert.pem", "key.pem", "users"))
        subprocess.run(
            [
                *(programs["openssl"], "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        subprocess.run([password_tool, "-b", "-c", users, "us@er", "p:w"], check=True, capture_output=True)
        key.chmod(0o644)
        users.chmod(0o644)
        config = folder / "mosquitto.conf"

        def command(port):
            config.write_text(
                f"listener {port} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\npassword_file {users}\n"
                "allow_anonymous false\nmax_inflight_messages 0\nmax_queued_messages 0\nlog_type none\n"
            )
            return [programs["mosquitto"], "-c", str(config)]

        broker = broker_process(command)
        yield broker, certificate
        broker.stop(signal.SIGKILL)


def test_messages_pass_through_tls(tls_mosquitto, monkeypatch):
    broker, certificate = tls_mosquitto
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    url = f"mqtts://us%40er:p%3Aw@127.0.0.1:{broker.port}"
    subscriber = Subscriber(url, client_id="ingest", filters=["city/#"])
    publisher = Publisher(url, client_id="device")
    try:
        sent = [bytes([k % 256]) * (k % 4000) for k in range(3000)]
        publisher.publish_all(("city/a/d1", payload) for payload in sent)
        got = []
        while len(got) < len(sent):
            messages = subscriber.payloads(20.0)
            assert messages
            subscriber.acknowledge(messages)
            got += [m.payload for m in messages]
        assert got == sent
        assert publisher.drain(10)
    finally:
        publisher.close()
        subscriber.close()


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho leaves it to the collector
def test_a_certificate_that_is_not_trusted_is_one_sentence(tls_mosquitto):
    broker, _ = tls_mosquitto
    with pytest.raises(WorkError, match="certificate") as failed:
        Publisher(f"mqtts://us%40er:p%3Aw@127.0.0.1:{broker.port}", client_id="device", first_connect_s=0.3)
    gc.collect()
    assert "\n" not in str(failed.value)


def test_a_wrong_password_is_one_sentence_without_it(tls_mosquitto, monkeypatch):
    broker, certificate = tls_mosquitto
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(WorkError, match="Not authorized") as failed:
        Subscriber(f"mqtts://us%40er:falsch@127.0.0.1:{broker.port}", client_id="ingest", filters=["city/#"])
    assert "falsch" not in str(failed.value)
