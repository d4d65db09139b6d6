"""TOML files of the project: read with one clear sentence for every fault, unknown keys with the nearest valid one."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sensors.errors import InputError


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file, UTF-8 with or without BOM, LF or CRLF.

    Raises
    ------
    InputError
        When the file cannot be read or is not TOML; names the file and the line.
    """
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8, save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not valid TOML: {error}") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most like the given one, or all of them when none is near.

    Examples
    --------
    >>> nearest("sped", ["speed", "flow"])
    "did you mean 'speed'?"
    >>> nearest("x", ["speed", "flow"])
    'known are: flow, speed'
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(names)}"


def unknown_keys(table: Mapping[str, object], known: Iterable[str], *, where: str) -> list[str]:
    """Return one sentence for each key of a table that is not known.

    Examples
    --------
    >>> unknown_keys({"sped": 1}, ["speed", "flow"], where="city.toml: [twin]")
    ["city.toml: [twin]: unknown key 'sped', did you mean 'speed'?"]
    """
    names = list(known)
    return [f"{where}: unknown key {key!r}, {nearest(key, names)}" for key in table if key not in names]
