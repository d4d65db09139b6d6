"""Source files of importers: plain, gzip or bzip2 by their first bytes; every way to be unreadable is one sentence."""

import bz2
import gzip
import io
import zlib
from pathlib import Path

from sensors import InputError

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"
_NAMES = {".gz": "gzip", ".bz2": "bzip2", "": "packed"}
# A city of 200,000 links takes some 150 MB as SUMO XML; what unpacks to more is no road network.
LARGEST_BYTES = 2 << 30


def packing(path: Path) -> str:
    """Return the suffix of how a file is packed: ``.gz``, ``.bz2`` or nothing.

    Raises
    ------
    InputError
        When it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            head = file.read(3)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    return ".gz" if head.startswith(_GZIP) else ".bz2" if head == _BZIP2 else ""


def open_bytes(path: Path) -> io.BufferedReader | gzip.GzipFile | bz2.BZ2File:
    """Return an open file, unpacked when it is gzip or bzip2.

    Raises
    ------
    InputError
        When it cannot be opened.
    """
    packed = packing(path)
    try:
        if packed:
            return gzip.open(path, "rb") if packed == ".gz" else bz2.open(path, "rb")
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def beginning(path: Path, size: int = 65_536) -> bytes:
    """Return the first bytes of a file, unpacked."""
    with open_bytes(path) as file:
        try:
            return file.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(f"{path}: is a broken {_NAMES[packing(path)]} file: {error}") from None


def read_text(path: Path) -> str:
    """Return the whole text of a file, unpacked, without byte order mark.

    Raises
    ------
    InputError
        When it is cut off, not UTF-8, or too large.
    """
    with open_bytes(path) as file:
        try:
            data = file.read(LARGEST_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(f"{path}: is a broken {_NAMES[packing(path)]} file: {error}") from None
    if len(data) > LARGEST_BYTES:
        raise InputError(f"{path}: holds more than {LARGEST_BYTES >> 30} GB, which is no road network")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8, save the file as UTF-8") from None


def stem(path: Path) -> str:
    """Return the name of a source without its suffixes, as the name of the network.

    Examples
    --------
    >>> stem(Path("maps/bologna_joined.net.xml.gz"))
    'bologna_joined'
    """
    return path.resolve().name.split(".")[0] or "network"
