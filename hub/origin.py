"""Who may talk to a hub that serves this machine only: a browser must not carry other sites' requests to it."""

from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def host_allowed(host: str | None) -> bool:
    """Tell whether a Host header names this machine: a name that merely points here is another site's trick.

    Examples
    --------
    >>> host_allowed("localhost:8000"), host_allowed("[::1]:8000"), host_allowed("rebound.example:8000")
    (True, True, False)
    """
    try:
        return host is not None and urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:  # a bracket that does not close
        return False


def origin_allowed(origin: str | None, host: str | None) -> bool:
    """Tell whether a request comes from our own page, or from a program, which names no origin.

    Examples
    --------
    >>> origin_allowed("http://127.0.0.1:8000", "127.0.0.1:8000"), origin_allowed(None, "127.0.0.1:8000")
    (True, True)
    >>> origin_allowed("https://elsewhere.example", "127.0.0.1:8000")
    False
    """
    try:
        return origin is None or urlsplit(origin).netloc == host
    except ValueError:  # a bracket that does not close
        return False
