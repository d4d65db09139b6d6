"""Where an MQTT broker is: ``mqtt://[user:password@]host[:port]``, or ``mqtts://`` for TLS."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sensors import InputError

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A parsed broker URL; the password is not part of its repr."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.tls else ''}://{host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> "BrokerAddress":
        """Return the address of a URL.

        Raises
        ------
        InputError
            When it is none, without repeating a password that it may hold.

        Examples
        --------
        >>> str(BrokerAddress.parse("mqtt://reader:secret@broker.example"))
        'mqtt://broker.example:1883'
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InputError("the MQTT URL has no valid port: it must be mqtt://host:port, port 1 to 65535") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == 0:
            shown = f"{parts.scheme}://..." if "@" in url else url
            raise InputError(f"the MQTT URL is {shown!r}, must be mqtt://[user:password@]host:port or mqtts://...")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise InputError(f"the MQTT URL has {parts.path!r} after host and port, nothing may follow them")
        return cls(
            host=parts.hostname,
            port=port or DEFAULT_PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )
