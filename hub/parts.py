"""The embedded parts of a hub: the state folder with its lock, PostgreSQL and the broker, unless URLs replace them."""

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from hub import ports
from hub.origin import LOOPBACK
from hub.settings import Settings
from hub.supervise import Child
from ingest.broker.access import Access, hash_password
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
        options = self._settings.city.broker
        wanted = self._settings.mqtt_listen or options.listen
        name, password = "", ""
        if options.access is not None:
            name, password = hub_user(), secrets.token_urlsafe(24)
            options = replace(options, access=with_hub(options.access, self._settings.state, name, password))
        options.tls()  # what is wrong with the files is said before anything is started
        # Only ingest's sessions hold acknowledgements back: a curious reader who goes away must not stop the city.
        durable = [word for rule in self._settings.city.topics for word in ("--durable", rule.filter)]
        always = ["--parent-stdin", "--durable-client", "citytwin-ingest-", *durable]
        words = [*replace(options, listen=wanted or "127.0.0.1:1883").words(), *always]
        first = Child("broker", "ingest.broker", words if wanted else [*words, "--next-free"])
        urls = first.start()
        listen = urls["mqtt"].removeprefix("mqtt://")
        # Publishers know these addresses by now: after a death the broker must come back on them.
        ports = {
            f"listen_{kind}": urls[scheme].partition("://")[2]
            for kind, scheme in (("tls", "mqtts"), ("websocket", "ws"), ("websocket_tls", "wss"))
            if scheme in urls
        }
        self._broker = first.with_arguments([*replace(options, listen=listen, **ports).words(), *always])
        here = listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104 - not to listen, to call
        self.mqtt_url = f"mqtt://{name}:{password}@{here}" if name else f"mqtt://{here}"
        for scheme, url in urls.items():
            if scheme != "mqtt":
                log.info("the broker listens at %s", url)


def hub_user() -> str:
    """Return a user of the embedded broker for this hub, that no access file has."""
    return f"citytwin-{secrets.token_hex(4)}"


def with_hub(path: Path, state: Path, name: str, password: str) -> Path:
    """Write an access file with one user more, who may do everything, and return its path in the state folder.

    Raises
    ------
    InputError
        When the given file has faults.
    """
    Access.read(path)
    text = path.read_text(encoding="utf-8-sig")
    own = f'[[user]]\nname = "{name}"\npassword = "{hash_password(password.encode())}"\n'
    ours = state / "access.toml"
    ours.unlink(missing_ok=True)
    descriptor = os.open(ours, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f'{text.rstrip()}\n{own}publish = ["#"]\nsubscribe = ["#"]\n')
    return ours


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
