"""Types of command-line arguments that several commands share; a wrong value is refused in one sentence."""

import argparse
from datetime import datetime

from ingest.broker.topics import filter_fault


def speed(text: str) -> float:
    """Return city seconds per wall second.

    Examples
    --------
    >>> speed("20")
    20.0
    """
    value = _number(text)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1000, not {text}")
    return value


def seconds(text: str) -> float:
    """Return a positive number of seconds."""
    value = _number(text)
    if not 0 < value <= 1e8:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text}")
    return value


def port(text: str) -> int:
    """Return a port number, 0 for a free one."""
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, not {text}")
    return int(text)


def hour(text: str) -> float:
    """Return an hour of the day, 0 to below 24."""
    value = _number(text)
    if not 0 <= value < 24:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 24, not {text}")
    return value


def instant(text: str) -> float:
    """Return a time with zone as s since 1970 UTC.

    Examples
    --------
    >>> instant("2026-06-15T00:00:00Z")
    1781481600.0
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"must be a time with zone, for example 2026-06-15T00:00:00Z, not {text!r}")
    return time.timestamp()


def topic_filter(text: str) -> str:
    """Return an MQTT topic filter."""
    if fault := filter_fault(text, max_levels=1000):
        raise argparse.ArgumentTypeError(fault)
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None
