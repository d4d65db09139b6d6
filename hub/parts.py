"""The embedded parts of a hub: the state folder with its lock, PostgreSQL and the broker, unless URLs replace them."""

import contextlib
import fcntl
import logging
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hub import ports
from hub.origin import LOOPBACK
from hub.settings import Settings
from hub.supervise import Child
from ingest.postgres import EmbeddedPostgres
from sensors import InputError, WorkError

log = logging.getLogger(__name__)
Part = tuple[str, Callable[[], bool], Callable[[], object]]


class StateFolder:
    """The folder for everything that lasts; held by one hub at a time.

    Parameters
    ----------
    path
        Made when it is not there, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: IO[str] | None = None

    def hold(self) -> None:
        """Take the folder for this process.

        Raises
        ------
        WorkError
            When it cannot be written, or another hub holds it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = (self.path / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise WorkError(
                f"the state folder {self.path} cannot be written ({error.strerror}): "
                "set CITYTWIN_STATE to a folder that can"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            handle.close()
            raise WorkError(
                f"the state folder {self.path} is in use by process {holder}: "
                "stop that one, or set CITYTWIN_STATE to another folder"
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        self._handle = handle

    def release(self) -> None:
        """Give the folder back."""
        ports.remove(self.path)
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def clear(self) -> None:
        """Delete what earlier hubs left in the folder; only what is ours, and only while we hold it."""
        for name in ("postgres", "city", "street", "ports.json", "ingest-client-id"):
            target = self.path / name
            if target.is_dir() and not target.is_symlink():  # what a link points to may not be ours
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)


class Parts:
    """Database and broker of one hub; each is embedded unless the settings name one.

    Parameters
    ----------
    settings
        URLs and the state folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._postgres: EmbeddedPostgres | None = None
        self._broker: Child | None = None
        self.database_url = settings.database_url or ""
        self.mqtt_url = settings.mqtt_url or ""

    def start(self) -> None:
        """Start what is embedded, the broker while PostgreSQL comes up.

        Raises
        ------
        WorkError
            When one does not start, with what to do.
        """
        if not self.database_url:
            self._postgres = EmbeddedPostgres(self._settings.state / "postgres")
            self.database_url = self._postgres.start()
        if not self.mqtt_url:
            self._start_broker()

    def stop(self) -> None:
        """Stop what was started, the broker first."""
        if self._broker is not None:
            self._broker.stop()
        if self._postgres is not None:
            self._postgres.stop()

    def watched(self) -> list[Part]:
        """Return what a watch restarts when it dies."""
        watched: list[Part] = []
        if self._postgres is not None:
            watched.append(("database", self._postgres.alive, self._postgres.start))
        if self._broker is not None:
            watched.append(("broker", self._broker.alive, self._broker.start))
        return watched

    def pids(self) -> dict[str, int]:
        """Return the process ids of what is embedded."""
        pids: dict[str, int] = {}
        if self._postgres is not None and self._postgres.pid:
            pids["postgres"] = self._postgres.pid
        if self._broker is not None and self._broker.pid:
            pids["broker"] = self._broker.pid
        return pids

    def _start_broker(self) -> None:
        wanted = self._settings.mqtt_listen
        # Only ingest's sessions hold acknowledgements back: a curious reader who goes away must not stop the city.
        durable = [word for rule in self._settings.city.topics for word in ("--durable", rule.filter)]
        always = ["--parent-stdin", "--durable-client", "citytwin-ingest-", *durable]
        options = ["--listen", wanted or "127.0.0.1:1883", *always]
        first = Child("broker", "ingest.broker", options if wanted else [*options, "--next-free"])
        self.mqtt_url = first.start()["mqtt"]
        # Publishers know this address by now: after a death the broker must come back on it.
        listen = self.mqtt_url.removeprefix("mqtt://")
        self._broker = first.with_arguments(["--listen", listen, *always])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket for the hub.

    Raises
    ------
    InputError
        When the host is not a loopback address.
    WorkError
        When the port is taken.
    """
    if host not in LOOPBACK:
        raise InputError(
            f"CITYTWIN_HOST is {host!r}, must be one of {', '.join(LOOPBACK)}: "
            "until sign-in exists the hub serves this machine only"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise WorkError(
                f"port {port} of {host} cannot be used ({error.strerror}): "
                "stop the program that has it, or give --port 0 for a free one"
            ) from None
        sock.listen(128)
        stack.pop_all()
    return sock
