"""Brokers to test against, each on a free port of its own, and a client that speaks single packets."""

import asyncio
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ingest.broker import Broker, Settings
from ingest.broker.access import Access
from ingest.broker.decoder import decode
from ingest.broker.encoder import encode
from ingest.broker.frames import FrameReader
from ingest.broker.packets import (
    LEVEL_311,
    AckPacket,
    BarePacket,
    ConnackPacket,
    ConnectPacket,
    Packet,
    PacketType,
    PublishPacket,
    SubackPacket,
    SubscribePacket,
    Will,
)
from ingest.broker.properties import Properties

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20.0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], Any], what: str, within_s: float = DEADLINE_S) -> Any:
    """Poll until a condition holds; no test sleeps for a fixed time."""
    end = time.monotonic() + within_s
    while not (value := true()):
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.005)
    return value


class Wire:
    """A client that sends and expects single packets."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self._reader = FrameReader(max_bytes=1 << 28)
        self._frames: list[tuple[int, bytes]] = []
        self.level = LEVEL_311

    def connect(
        self,
        client_id: str = "",
        *,
        clean: bool = True,
        keep_alive_s: int = 60,
        will: Will | None = None,
        user: str | None = None,
        password: bytes | None = None,
        level: int = LEVEL_311,
        properties: Properties = (),
    ) -> ConnackPacket:
        self.level = level
        self.send(ConnectPacket(client_id, clean, keep_alive_s, will, user, password, level, properties))
        return self.expect(ConnackPacket)

    def send(self, *packets: Packet) -> None:
        self.raw(b"".join(encode(packet, self.level) for packet in packets))

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> Packet | None:
        """Return the next packet, None at the end of the connection."""
        while not self._frames:
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._frames = self._reader.feed(data)
        return decode(*self._frames.pop(0), self.level)

    def expect(self, kind: type) -> Any:
        packet = self.receive()
        assert isinstance(packet, kind), f"wanted {kind.__name__}, got {packet}"
        return packet

    def subscribe(self, *filters: str, qos: int = 1, properties: Properties = ()) -> SubackPacket:
        """Subscribe; ``qos`` is the whole option byte in MQTT 5."""
        self.send(SubscribePacket(1, tuple((text, qos) for text in filters), properties))
        return self.expect(SubackPacket)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        packet_id: int = 0,
        retain: bool = False,
        qos: int = 1,
        properties: Properties = (),
    ) -> None:
        self.send(PublishPacket(topic, payload, qos if packet_id else 0, retain, False, packet_id, properties))

    def acknowledge(self, packet: PublishPacket) -> None:
        self.send(AckPacket(PacketType.PUBACK, packet.packet_id))

    def before_pong(self) -> list[Packet]:
        """Return what the broker had sent before it answered a PINGREQ: proof that nothing else was due."""
        self.send(BarePacket(PacketType.PINGREQ))
        packets: list[Packet] = []
        while (packet := self.receive()) != BarePacket(PacketType.PINGRESP):
            assert packet is not None, f"the broker closed the connection after {packets}"
            packets.append(packet)
        return packets

    def is_closed(self) -> bool:
        """Wait for the broker to close the connection."""
        while self.receive() is not None:
            pass
        return True

    def vanish(self) -> None:
        """Go without DISCONNECT."""
        self.socket.close()


@dataclass
class BrokerProcess:
    """A broker in a process of its own."""

    command: Callable[[int], list[str]]
    port: int
    url: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        command = self.command(self.port)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        try:
            until(self._answers, f"{command} answers on {self.port}")
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise
        self.url = f"mqtt://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the broker did not start"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code


def _embedded_command(port: int) -> list[str]:
    return [sys.executable, "-m", "ingest.broker", "--listen", f"127.0.0.1:{port}"]


@pytest.fixture
def embedded_broker() -> Iterator[BrokerProcess]:
    broker = BrokerProcess(_embedded_command, free_port())
    broker.start()
    yield broker
    if broker.process is not None:
        broker.stop(signal.SIGKILL)


@pytest.fixture
def broker_process() -> Callable[[Callable[[int], list[str]]], BrokerProcess]:
    def start(command: Callable[[int], list[str]]) -> BrokerProcess:
        broker = BrokerProcess(command, free_port())
        broker.start()
        return broker

    return start


@pytest.fixture
def mosquitto() -> Iterator[BrokerProcess]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
    folder.chmod(0o755)  # mosquitto leaves root
    config = folder / "mosquitto.conf"

    def command(port: int) -> list[str]:
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "max_inflight_messages 0\nmax_queued_messages 0\nlog_type none\n"
        )
        return [program, "-c", str(config)]

    broker = BrokerProcess(command, free_port())
    broker.start()
    yield broker
    if broker.process is not None:
        broker.stop(signal.SIGKILL)
    shutil.rmtree(folder)


@dataclass
class InnerBroker:
    """An embedded broker in a thread of this process, whose inside a test may look at."""

    broker: Broker
    port: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def run(self) -> None:
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.loop.run_forever()

    def call(self, function: Callable[[], Any]) -> Any:
        """Return what a function gives in the broker's thread."""

        async def inside() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(DEADLINE_S)


@pytest.fixture
def start_inner() -> Iterator[Callable[..., InnerBroker]]:
    """Start embedded brokers with given settings; a bug in their callbacks fails the test."""
    started: list[tuple[InnerBroker, threading.Thread]] = []

    def start(
        settings: Settings | None = None,
        *,
        access: Access | None = None,
        tls: ssl.SSLContext | None = None,
        websocket: bool = False,
    ) -> InnerBroker:
        inner = InnerBroker(Broker(settings, access=access))
        thread = threading.Thread(target=inner.run, daemon=True)
        thread.start()
        listening = asyncio.run_coroutine_threadsafe(
            inner.broker.listen("127.0.0.1", 0, tls=tls, websocket=websocket), inner.loop
        )
        inner.port = listening.result(DEADLINE_S)
        started.append((inner, thread))
        return inner

    yield start
    for inner, thread in started:
        asyncio.run_coroutine_threadsafe(inner.broker.close(), inner.loop).result(DEADLINE_S)
        inner.loop.call_soon_threadsafe(inner.loop.stop)
        thread.join(DEADLINE_S)
        inner.loop.close()
        assert inner.errors == []


@pytest.fixture(params=["embedded", "mosquitto"])
def broker(request: pytest.FixtureRequest) -> "InnerBroker | BrokerProcess":
    """Each of the brokers that the contract holds for."""
    if request.param == "embedded":
        inner: InnerBroker = request.getfixturevalue("start_inner")()
        return inner
    process: BrokerProcess = request.getfixturevalue("mosquitto")
    return process


@pytest.fixture
def wire() -> Iterator[Callable[[Any], Wire]]:
    """Open packet-wise clients to a broker."""
    opened: list[Wire] = []

    def open_wire(broker: Any) -> Wire:
        opened.append(Wire(broker.port))
        return opened[-1]

    yield open_wire
    for one in opened:
        one.socket.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture
def broker_lines() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run ``python -m ingest.broker`` to its end."""

    def run(*arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "ingest.broker", *arguments],
            cwd=ROOT,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    return run


@pytest.fixture
def first_url() -> Callable[["subprocess.Popen[str]"], str]:
    def read(process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        return str(json.loads(process.stdout.readline())["mqtt"])

    return read
