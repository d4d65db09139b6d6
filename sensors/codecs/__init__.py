"""Payload codecs, one file each: a codec turns (topic, payload) into readings and rejected values."""

from collections.abc import Callable

from sensors.codecs import citytwin, hfp
from sensors.reading import Reading, Rejected

Decoder = Callable[[str, bytes], tuple[list[Reading], list[Rejected]]]

# The names that `config/city.toml` may use.
CODECS: dict[str, Decoder] = {"citytwin": citytwin.decode, "hfp": hfp.decode}

__all__ = ["CODECS", "Decoder"]
