"""How a broker is set up: its ports, certificates, users and limits; from a command line, or from a table of a file."""

import dataclasses
import difflib
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.broker.access import Access
from ingest.broker.settings import Limits
from sensors import InputError

if TYPE_CHECKING:
    from ingest.broker.server import Broker

FILES = ("certificate", "key", "client_ca", "access")
_BOUNDS = {  # what the protocol can say
    "receive_maximum": (1, 65_535),
    "max_keep_alive_s": (1, 65_535),
    "max_topic_aliases": (0, 65_535),
    "max_packet_bytes": (0, 268_435_455),
}
_EXAMPLE = "127.0.0.1:1883"


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that is configured of a broker but its durable topics.

    Parameters
    ----------
    listen, listen_tls, listen_websocket, listen_websocket_tls
        ``host:port`` of each kind of port, None: not opened. Port 0 takes a free one.
    certificate, key
        PEM files for the ports over TLS.
    client_ca
        PEM file: over TLS only clients with a certificate of this authority; its common name is the user.
    access
        TOML file of users and their topics.
    limits
        Bounds of memory and number.
    """

    listen: str | None = None
    listen_tls: str | None = None
    listen_websocket: str | None = None
    listen_websocket_tls: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    access: Path | None = None
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of_table(cls, table: Mapping[str, Any], *, folder: Path, where: str) -> "Options":
        """Return the options of a TOML table; paths are relative to its file's folder.

        Raises
        ------
        InputError
            For every fault at once.

        Examples
        --------
        >>> Options.of_table({"listen": "127.0.0.1:1883"}, folder=Path(), where="city.toml: [broker]").listen
        '127.0.0.1:1883'
        """
        faults: list[str] = []
        values: dict[str, Any] = {}
        names = [one.name for one in dataclasses.fields(cls)]
        for key, value in table.items():
            if key not in names:
                faults.append(f"{where}: unknown key {key!r}, the nearest is {_nearest(key, names)!r}")
            elif key == "limits" and not isinstance(value, dict):
                faults.append(f"{where}: limits is {value!r}, must be a table of the names in docs/broker.md")
            elif key == "limits":
                try:
                    values[key] = limits_of(value, where=f"{where} limits")
                except InputError as error:
                    faults += error.faults
            elif not isinstance(value, str) or not value:
                wanted = "the path of a file" if key in FILES else f"HOST:PORT, for example {_EXAMPLE!r}"
                faults.append(f"{where}: {key} is {value!r}, must be {wanted}")
            elif key in FILES:
                values[key] = folder / Path(value).expanduser()
            else:
                try:
                    address_of(value, f"{where}: {key}")
                except InputError as error:
                    faults += error.faults
                values[key] = value
        if faults:
            raise InputError(faults)
        return cls(**values)

    def words(self) -> list[str]:
        """Return these options as the command line of ``python -m ingest.broker``."""
        words: list[str] = []
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if one.name != "limits" and value is not None:
                words += [f"--{one.name.replace('_', '-')}", str(value)]
        usual = Limits()
        for one in dataclasses.fields(Limits):
            value = getattr(self.limits, one.name)
            if value != getattr(usual, one.name):
                words += ["--limit", f"{one.name}={value}"]
        return words

    def users(self) -> Access | None:
        """Return who may do what; None: everybody everything."""
        return Access.read(self.access) if self.access else None

    def tls(self) -> ssl.SSLContext | None:
        """Return the context of the ports over TLS, None when there are none.

        Raises
        ------
        InputError
            When certificate or key are missing or cannot be used.
        """
        if not (self.listen_tls or self.listen_websocket_tls):
            return None
        if not (self.certificate and self.key):
            raise InputError("--listen-tls and --listen-websocket-tls need --certificate and --key")
        for name in ("certificate", "key", "client_ca"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise InputError(f"--{name.replace('_', '-')}: {path} is no file")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"--certificate, --key or --client-ca: {error}") from None
        return context

    async def open_ports(
        self, broker: "Broker", tls: ssl.SSLContext | None, *, next_free: bool = False
    ) -> dict[str, str]:
        """Open every port that is asked for, and return their URLs by scheme."""
        urls = {}
        for scheme, option, text, secure in (
            ("mqtt", "--listen", self.listen, False),
            ("mqtts", "--listen-tls", self.listen_tls, True),
            ("ws", "--listen-websocket", self.listen_websocket, False),
            ("wss", "--listen-websocket-tls", self.listen_websocket_tls, True),
        ):
            if not text:
                continue
            host, port = address_of(text, option)
            port = await broker.listen(
                host,
                port,
                next_free=next_free and scheme == "mqtt",
                tls=tls if secure else None,
                websocket=scheme.startswith("ws"),
            )
            urls[scheme] = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        return urls


def address_of(text: str, option: str) -> tuple[str, int]:
    """Return host and port.

    Raises
    ------
    InputError
        Names the option.

    Examples
    --------
    >>> address_of("[::1]:1883", "--listen")
    ('::1', 1883)
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InputError(f"{option} is {text!r}, must be HOST:PORT, for example {_EXAMPLE}")
    return host, int(port)


def limits_of(given: Mapping[str, object], *, where: str) -> Limits:
    """Return the limits that are named, the others as usual.

    Raises
    ------
    InputError
        For every fault at once.
    """
    faults: list[str] = []
    values: dict[str, float] = {}
    known = {one.name: one.type for one in dataclasses.fields(Limits)}
    for name, value in given.items():
        if name not in known:
            faults.append(f"{where}: unknown name {name!r}, the nearest is {_nearest(name, known)}")
            continue
        whole = known[name] in (int, "int")
        try:
            number = float("nan") if isinstance(value, bool) else int(str(value)) if whole else float(str(value))
        except ValueError:
            number = -1
        least, most = _BOUNDS.get(name, (0, float("inf")))
        if not 0 <= number < float("inf"):
            faults.append(f"{where} {name}: {value!r} is no number of 0 or more")
        elif not least <= number <= most:
            faults.append(f"{where} {name}: {value!r} is not within {least} to {most}")
        else:
            values[name] = number
    if faults:
        raise InputError(faults)
    return dataclasses.replace(Limits(), **values)  # type: ignore[arg-type]


def _nearest(name: str, known: Iterable[str]) -> str:
    return (difflib.get_close_matches(name, list(known), 1, cutoff=0.0) or [""])[0]
