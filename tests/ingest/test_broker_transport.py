"""TLS and WebSocket: the same packets over other transports, with foreign clients."""

import contextlib
import shutil
import ssl
import subprocess
import threading

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest.broker.websocket import BINARY, CLOSE, accept_key, frame, unmask


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    extra = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *extra, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def server_tls(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


def talk(port, *, transport="tcp", ca=None, protocol=mqtt.MQTTv5, count=200):
    """Send and receive through one paho client; 100 kB messages are among them."""
    heard, done, ready = [], threading.Event(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="paho", transport=transport, protocol=protocol)

    def on_message(_client, _data, message):
        heard.append(message.payload)
        if len(heard) == count:
            done.set()

    client.on_connect = lambda *_: client.subscribe("street/#", 2)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = on_message
    if ca:
        client.tls_set(str(ca))
    client.connect("localhost" if ca else "127.0.0.1", port)
    client.loop_start()
    try:
        assert ready.wait(15)
        sent = [str(k).encode() * (20_000 if k % 50 == 0 else 1) for k in range(count)]
        for k, payload in enumerate(sent):
            client.publish("street/a", payload, qos=k % 3)
        assert done.wait(20)
    finally:
        client.disconnect()
        client.loop_stop()
    assert sorted(heard) == sorted(sent)


@pytest.mark.parametrize("protocol", [mqtt.MQTTv311, mqtt.MQTTv5])
@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("secure", [False, True])
def test_paho_talks_over_every_transport(start_inner, certificate, server_tls, protocol, transport, secure):
    inner = start_inner(tls=server_tls if secure else None, websocket=transport == "websockets")
    talk(inner.port, transport=transport, ca=certificate / "cert.pem" if secure else None, protocol=protocol)
    assert inner.broker.counters.malformed == 0


def test_a_client_in_the_clear_does_not_disturb_a_tls_port(start_inner, certificate, server_tls, wire):
    inner = start_inner(tls=server_tls)
    client = wire(inner)
    client.raw(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00" * 20)
    client.is_closed()
    talk(inner.port, ca=certificate / "cert.pem", count=10)


REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: chat, mqtt\r\n\r\n"
)


def masked(first: int, payload: bytes, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    assert len(payload) < 126
    return bytes((first, 0x80 | len(payload))) + mask + unmask(payload, mask)


CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"


def test_mqtt_packets_may_be_cut_into_frames_anywhere(start_inner, wire):
    client = wire(start_inner(websocket=True))
    head, tail = masked(BINARY, CONNECT[:3]), masked(0x80, CONNECT[3:])  # one message in two frames
    for byte in REQUEST + head + masked(0x89, b"hi") + tail:
        client.raw(bytes((byte,)))
    data = b""
    while len(data) < 170:
        more = client.socket.recv(1000)
        assert more
        data += more
        if data.endswith(b"\x82\x04\x20\x02\x00\x00"):
            break
    response, _, frames = data.partition(b"\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 101 ")
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") in response
    assert b"Sec-WebSocket-Protocol: mqtt" in response
    assert frames == frame(10, b"hi") + frame(BINARY, b"\x20\x02\x00\x00")


@pytest.mark.parametrize(
    "data",
    [
        REQUEST + bytes((0x82, 2)) + b"xx",  # not masked
        REQUEST + masked(0x81, b"text"),
        REQUEST + masked(0xC2, CONNECT),  # an extension nobody agreed on
        REQUEST + masked(0x88, b""),
        REQUEST + b"\x82\xff" + b"\xff" * 12,
        REQUEST.replace(b"mqtt\r", b"soap\r"),
        REQUEST.replace(b": 13", b": 8"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"x" * 10_000,
        CONNECT + b"\r\n\r\n",
    ],
)
def test_what_is_no_websocket_is_closed(start_inner, wire, data):
    client = wire(start_inner(websocket=True))
    client.raw(data)
    while client.socket.recv(1000):
        pass


def goodbye_of(client):
    """Connect over WebSocket, say DISCONNECT, and return what comes after the acknowledged CONNECT."""
    client.raw(REQUEST + masked(0x80 | BINARY, CONNECT) + masked(0x80 | BINARY, b"\xe0\x00"))
    data, end = b"", frame(CLOSE, b"\x03\xe8")
    while not data.endswith(end):
        more = client.socket.recv(1000)
        assert more, data
        data += more


def test_a_client_that_disconnects_may_still_say_goodbye(start_inner, wire):
    client = wire(start_inner(websocket=True))
    goodbye_of(client)
    client.socket.settimeout(0.2)
    for _ in range(3):  # to a closed socket the second or third write would fail
        client.raw(masked(0x80 | BINARY, b"\xc0\x00"))
        with pytest.raises(TimeoutError):  # and nothing follows a close frame, no PINGRESP either
            client.socket.recv(1000)
    client.socket.settimeout(10)
    client.raw(masked(0x88, b"\x03\xe8"))
    assert client.socket.recv(1000) == b""


def test_a_client_that_never_answers_a_goodbye_is_cut_off(start_inner, wire, monkeypatch):
    monkeypatch.setattr("ingest.broker.connection.LINGER_S", 0.1)
    client = wire(start_inner(websocket=True))
    goodbye_of(client)
    with contextlib.suppress(ConnectionResetError):
        assert client.socket.recv(1000) == b""


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_have_the_length_of_rfc_6455(size):
    head = 2 + (2 if 125 < size < 65_536 else 8 if size > 65_535 else 0)
    assert len(frame(BINARY, bytes(size))) == head + size
