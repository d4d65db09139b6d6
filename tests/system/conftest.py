"""A whole hub as a user starts it: a process of its own, on free ports and a state folder of its own."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], Any], what: str, *, within_s: float = 60.0) -> Any:
    """Return the first true answer of a condition; fail with what was waited for."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}")


class RunningHub:
    """One running ``citytwin`` and all that it started."""

    def __init__(self, words: Sequence[str], state: Path, environment: dict[str, str]) -> None:
        self.state = state
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CITYTWIN_")}
        self._mark = secrets.token_hex(8)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hub.cli", *words], cwd=ROOT, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**kept, "CITYTWIN_STATE": str(state), "CITYTWIN_MQTT_LISTEN": "127.0.0.1:0",
                 "PYTHONFAULTHANDLER": "1", "STARTED_BY_TEST": self._mark, **environment},
        )  # fmt: skip
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))

    @property
    def url(self) -> str:
        """Address that was printed."""

        def printed() -> str | None:
            assert self.process.poll() is None, "\n".join(self.err)
            return next((line.split()[1] for line in self.out if line.startswith("citytwin: http")), None)

        return wait_until(printed, "a printed address", within_s=120.0)

    def get(self, path: str) -> Any:
        """Return a JSON document of the hub, None when it does not answer with one."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return json.load(answer)
        except OSError:
            return None

    def parts(self) -> dict[str, Any]:
        """Return what the hub says about its parts, ready or not."""
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=30) as answer:
                return json.load(answer)["parts"]
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)["parts"]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def ports(self) -> dict[str, str]:
        """Return the addresses in use."""
        return json.loads((self.state / "ports.json").read_text("utf-8"))

    def family(self) -> list[psutil.Process]:
        """Return every process that belongs to this hub, found by its state folder or descent."""
        found = {self.process.pid} if self.process.poll() is None else set()
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        for process in psutil.process_iter(["pid", "cmdline", "environ"]):
            words = " ".join(process.info["cmdline"] or ())
            if str(self.state) in words or (process.info["environ"] or {}).get("CITYTWIN_STATE") == str(self.state):
                found.add(process.info["pid"])
        return [psutil.Process(pid) for pid in found if psutil.pid_exists(pid)]

    def started(self) -> list[psutil.Process]:
        """Return what this start left running, also when another hub works in the same state folder.

        PostgreSQL writes over its environment, but its supervisor does not, and one does not outlive the other.
        """
        found = []
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("STARTED_BY_TEST") == self._mark:
                found.append(process)
        return found

    def named(self, words: str) -> list[psutil.Process]:
        """Return this hub's processes whose command line holds some words."""
        found = []
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                if words in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def wait(self, within_s: float = 240.0) -> int:
        """Wait for the end and return the exit code; one that does not end says where it stands."""
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # faulthandler then writes the stack of every thread
            code = self.process.wait(30.0)
            self.err.append(f"did not end within {within_s} s")
        for reader in self._readers:
            reader.join(10.0)
        return code

    def interrupt(self) -> None:
        """Do what a terminal does at Ctrl-C: signal the hub and all that it started in its process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self) -> None:
        """Stop as Ctrl-C does; kill what is left after a minute."""
        if self.process.poll() is None:
            self.interrupt()
            if self.wait(60.0) == -signal.SIGABRT:
                self.kill()

    def kill(self) -> None:
        """Kill the whole tree at once, as a power cut would."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


Start = Callable[..., RunningHub]


@pytest.fixture
def until() -> Callable[..., Any]:
    """Poll a condition: ``until(condition, "what is waited for", within_s=60.0)``."""
    return wait_until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start hubs; what is still running at the end of the test is stopped."""
    hubs: list[RunningHub] = []

    def begin(*words: str, state: Path | None = None, **environment: str) -> RunningHub:
        hubs.append(RunningHub(words, state or tmp_path / "state", environment))
        return hubs[-1]

    yield begin
    for hub in hubs:
        hub.stop()


@pytest.fixture(scope="session")
def city_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated city with sensors and demand."""
    from twin import Network
    from twin.generate import generate

    folder = tmp_path_factory.mktemp("city") / "small"
    Network.from_tables(generate(seed=3, junctions=60)).write(folder)
    return folder
