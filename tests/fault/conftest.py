"""Broker, database and worker as processes of their own that a test may kill, and a network between them to cut."""

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.database import Database
from ingest.migration import migrate
from ingest.postgres import EmbeddedPostgres
from ingest.postgres_lock import server_processes
from ingest.publisher import Publisher
from sensors import WorkError

ROOT = Path(__file__).resolve().parents[2]
RECOVERED_S = 10.0  # what is promised: a worker is back so soon after the end of what was wrong


def until(true: Callable[[], Any], what: str, within_s: float = 60.0) -> Any:
    """Poll until a condition holds; no test sleeps for a fixed time."""
    end = time.monotonic() + within_s
    while not (value := true()):
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BrokerProcess:
    """The embedded broker alone, or a real Mosquitto with the settings that the project ships."""

    def __init__(self, folder: Path, *, kind: str = "embedded") -> None:
        self.port, self.kind = free_port(), kind
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        if kind == "embedded":
            self._command = [sys.executable, "-m", "ingest.broker", "--listen", f"127.0.0.1:{self.port}"]
            self._command += ["--durable", "city/#"]
        else:
            program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
            if program is None:
                pytest.skip("mosquitto is not installed: apt-get install mosquitto")
            self._folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
            self._folder.chmod(0o777)  # mosquitto leaves root
            shipped = (ROOT / "config" / "mosquitto.conf").read_text("utf-8")
            text = shipped.replace("listener 1883", f"listener {self.port}")
            text = text.replace("/var/lib/mosquitto/", f"{self._folder}/") + "\nlog_type error\n"
            (self._folder / "mosquitto.conf").write_text(text)
            self._command = [program, "-c", str(self._folder / "mosquitto.conf")]

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, cwd=ROOT)
        until(self.answers, f"a broker on port {self.port}")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the broker ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def forget_all_and_restart(self) -> None:
        """Kill it, and let it come back without any session, as with persistence off."""
        self.kill()
        for path in self._folder.glob("*.db*"):
            path.unlink()
        self.start()

    def close(self) -> None:
        self.kill()
        if self.kind != "embedded":
            shutil.rmtree(self._folder)


class WorkerProcess:
    """``citytwin ingest`` as a user starts it; its page says how it is, its last line what went through."""

    def __init__(self, folder: Path, *, mqtt_url: str, database_url: str, options: tuple[str, ...] = ()) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CITYTWIN_")}
        self.state = folder
        self._options = options
        self._environment = kept | {
            "CITYTWIN_STATE": str(folder),
            "CITYTWIN_MQTT_URL": mqtt_url,
            "CITYTWIN_DATABASE_URL": database_url,
        }
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []  # of all its lives
        self._address = ""

    def start(self, **variables: str) -> None:
        self._address = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", "ingest", "--metrics-port", "0", *self._options],
            cwd=ROOT, env=self._environment | variables, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.lines.append(line.rstrip())
                if "metrics at" in line:
                    self._address = line.split("metrics at ")[1].strip().removesuffix("/metrics")

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def up(self) -> bool:
        """Whether the process is there, whatever it can do."""
        assert self.alive(), self.said
        return bool(self._address)

    def ready(self) -> bool:
        assert self.alive(), self.said
        try:
            with urllib.request.urlopen(self._address + "/readyz", timeout=10) as answer:
                return bool(json.load(answer)["ready"])
        except (OSError, ValueError):
            return False

    def counts(self) -> dict[str, int]:
        """Return what /metrics says of readings, and check that they agree."""
        with urllib.request.urlopen(self._address + "/metrics", timeout=10) as answer:
            text = answer.read().decode()
        counts = {name: int(n) for name, n in re.findall(r'readings_total\{result="(\w+)"\} (\d+)', text)}
        counts["in flight"] = int(re.findall(r"^citytwin_ingest_in_flight (-?\d+)", text, re.M)[0])
        assert counts["received"] == sum(n for name, n in counts.items() if name != "received"), counts
        assert min(counts.values()) >= 0, counts
        return counts

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            self.process = None

    def stop(self) -> str:
        """Stop as an operator does and return the last line."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.said
        self._reader.join(10)
        self.process = None
        return self.lines[-1]


def kill_database(server: EmbeddedPostgres, *, whole: bool = True) -> None:
    """Kill the postmaster, and with it every process of the server or, as a foreign killer does, it alone."""
    for pid in server_processes(server.data) if whole else [server.pid]:
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(pid, signal.SIGKILL)  # type: ignore[arg-type]
    until(lambda: not server.alive(), "the end of the database")


class Proxy:
    """A stretch of network to a server, by TCP or to its socket file, that can be cut.

    ``cut(silent=False)``: connections break and new ones are refused. ``cut(silent=True)``: nothing is said, nothing
    passes any more, and new connections get no answer, as with a pulled cable; what was on its way comes when it is put
    in again.
    """

    def __init__(self, target: "tuple[str, int] | str") -> None:
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._listener: socket.socket | None = None
        self.port = free_port()
        self._silent = False
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self.accepted = 0
        self.mend()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self, *, silent: bool = False) -> None:
        with self._lock:
            if silent:
                self._silent = True
                return
            if self._listener is not None:
                self._forget(self._listener)
                self._listener = None
            self.break_connections()

    def break_connections(self) -> None:
        with self._lock:
            for one in list(self._pairs):
                self._forget(one)

    def mend(self) -> None:
        with self._lock:
            self._silent = False
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
                self._selector.register(self._listener, selectors.EVENT_READ)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.cut()
        self._selector.close()

    def _forget(self, one: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(one)
        self._pairs.pop(one, None)
        one.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._silent:
                time.sleep(0.02)
                continue
            ready = self._selector.select(0.02)
            with self._lock:
                for key, _ in [] if self._silent else ready:
                    self._serve(key.fileobj)  # type: ignore[arg-type]

    def _serve(self, one: socket.socket) -> None:
        if one is self._listener:
            near, _ = one.accept()
            self.accepted += 1
            family = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
            far = socket.socket(family)
            try:
                far.connect(self._target)
            except OSError:
                near.close()
                far.close()
                return
            self._pairs |= {near: far, far: near}
            for end in (near, far):
                self._selector.register(end, selectors.EVENT_READ)
        elif one in self._pairs:
            other = self._pairs[one]
            try:
                data = one.recv(1 << 16)
                if data:
                    other.sendall(data)
                    return
            except OSError:
                pass
            self._forget(one)
            self._forget(other)


class Flow:
    """A sensor that never rests; what it published must all be in the database once, whatever happens meanwhile."""

    def __init__(self, url: str, *, per_s: float = 300.0, name: str = "flow", since_ms: int = 0) -> None:
        self.name = name
        self.publisher = Publisher(url, client_id=name, max_unacknowledged=5000, first_connect_s=0)
        self.values: list[tuple[int, float]] = []
        self._since_ms = since_ms or int(time.time() * 1000) - 3_600_000
        self._per_s = per_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(1 / self._per_s):
            time_ms, value = self._since_ms + len(self.values), float(len(self.values) % 90)
            with contextlib.suppress(WorkError):  # the backlog is full while nothing is acknowledged
                self.publisher.publish(
                    f"city/test/{self.name}", json.dumps({"t": time_ms, "speed_kmh": value}), timeout_s=0.1
                )
                self.values.append((time_ms, value))

    @property
    def acknowledged(self) -> int:
        return self.publisher.acknowledged

    def goes_on(self, what: str, *, within_s: float = 60.0, n: int = 50) -> None:
        """Wait for some more PUBACKs."""
        before = self.acknowledged
        until(lambda: self.acknowledged > before + n, f"PUBACKs {what}", within_s)

    def recovers(self, worker: WorkerProcess) -> None:
        """Check the promise: soon after the end of what was wrong the worker is ready and takes readings."""
        end = time.monotonic() + RECOVERED_S
        until(worker.ready, f"a ready worker; it said: {worker.said[-2000:]}", RECOVERED_S)
        before = self.acknowledged
        until(lambda: self.acknowledged > before, "a PUBACK", max(end - time.monotonic(), 0.0))

    def finish(self) -> list[tuple[int, float]]:
        """Publish no more, wait for the last PUBACK, and return what must be in the database."""
        self._stop.set()
        self._thread.join()
        assert self.publisher.drain(60), self.publisher.backlog()
        self.publisher.close()
        return self.values

    def give_up(self) -> None:
        self._stop.set()
        self._thread.join()
        self.publisher.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A database server of this test alone, migrated."""
    server = EmbeddedPostgres(tmp_path / "pg")
    with server:
        with Database(server.url) as database:
            migrate(database)
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """The embedded broker in a process."""
    broker = BrokerProcess(tmp_path)
    broker.start()
    yield broker
    broker.close()


@pytest.fixture
def proxy_to() -> Iterator[Callable[..., Proxy]]:
    """Make stretches of network."""
    made: list[Proxy] = []

    def make(target: "tuple[str, int] | str") -> Proxy:
        made.append(Proxy(target))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def worker_of(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Make workers, each with a state folder of its own unless one is given; all are killed in the end."""
    made: list[WorkerProcess] = []

    def make(mqtt_url: str, database_url: str, *options: str, state: Path | None = None) -> WorkerProcess:
        folder = state or tmp_path / f"state-{len(made)}"
        made.append(WorkerProcess(folder, mqtt_url=mqtt_url, database_url=database_url, options=options))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def flow_to() -> Iterator[Callable[..., Flow]]:
    """Make sensors that publish without a rest."""
    made: list[Flow] = []

    def make(url: str, **options: Any) -> Flow:
        made.append(Flow(url, **options))
        return made[-1]

    yield make
    for one in made:
        one.give_up()


@pytest.fixture
def settled(stored: Callable[..., Any]) -> Callable[..., dict[str, int]]:
    """End a flow and check that its readings are in the database once, and that the worker's counts say so."""

    def check(flow: Flow, worker: WorkerProcess, url: str) -> dict[str, int]:
        published = flow.finish()
        until(lambda: (c := worker.counts())["in flight"] == c["spooled"] == 0, "an empty spool")
        assert stored(url, flow.name) == published
        counts = worker.counts()
        assert (counts["conflict"], counts["rejected"]) == (0, 0)
        assert "Traceback" not in worker.said
        return counts

    return check


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mount small file systems with given options."""
    places: list[Path] = []

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip(f"NO RIGHT TO MOUNT a file system for the test: {done.stderr.decode().strip()}")
        places.append(place)

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def stored() -> Callable[[str], list[tuple[int, float]]]:
    """Return (time in ms, value) of every reading of a database, or of one sensor, by time."""

    def read(url: str, sensor_id: str = "%") -> list[tuple[int, float]]:
        with Database(url) as database:
            rows = database.fetch(
                "SELECT (extract(epoch FROM time) * 1000)::int8, value FROM reading JOIN series USING (series_id)"
                " WHERE sensor_id LIKE %s ORDER BY time",
                (sensor_id,),
            )
        return [(int(ms), float(value)) for ms, value in rows]

    return read


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[[str], BrokerProcess]]:
    """Make brokers of a kind, not started."""
    made: list[BrokerProcess] = []

    def make(kind: str) -> BrokerProcess:
        made.append(BrokerProcess(tmp_path, kind=kind))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(name="kill_database")
def kill_database_fixture() -> Callable[..., None]:
    return kill_database
