"""Ways as the XML that osmium writes: read thousands at once, where asking it for node after node takes far longer.

What is parsed here is no file of strangers. It has passed osmium, which writes one ``<nd .../>`` or ``<tag .../>``
after the other, and ``&...;`` for every sign that could be mistaken; bytes that are not UTF-8 it leaves as they are.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

# How osmium must be told to write: nodes with their places, nothing about editors, and what is deleted marked.
FORMAT = "osm,add_metadata=false,locations_on_ways=true,force_visible_flag=true"

_END = b"</way>"
_BLOCK_BYTES = 1 << 20
_ID = re.compile(rb'<way id="(-?\d+)" visible="(true|false)"')
_TAG = re.compile(r'<tag k="([^"]*)" v="([^"]*)"/>')
_NO_PLACE = re.compile(rb'(<nd ref="-?\d+")/>')
_REF = re.compile(rb'<nd ref="(-?\d+)"')
_NUMBERS_ONLY = bytes(sign if chr(sign) in "-.0123456789" else ord(" ") for sign in range(256))
_EXACT = 2.0**53  # larger whole numbers are not told apart as floats


@dataclass(frozen=True, slots=True)
class WrittenWay:
    """A way as osmium wrote it.

    Parameters
    ----------
    way_id, deleted
        As in the extract.
    tags
        Those that are wanted; None when one of all is not UTF-8.
    text
        Its nodes, for `nodes_of`.
    """

    way_id: int
    deleted: bool
    tags: dict[str, str] | None
    text: bytes


class _Words(dict[str, str]):
    """Texts without osmium's escapes; a word that a city repeats ten thousand times is one object."""

    def __missing__(self, text: str) -> str:
        return self.setdefault(text, unescape(text) if "&" in text else text)


class _Keys(dict[str, str]):
    """Keys that are wanted as they are, others as ``""``."""

    def __init__(self, wanted: Collection[str]) -> None:
        super().__init__()
        self.wanted = wanted

    def __missing__(self, text: str) -> str:
        key = unescape(text)
        return self.setdefault(text, key if key.partition(":")[0] in self.wanted else "")


def read_ways(path: Path, *, wanted: Collection[str]) -> Iterator[list[WrittenWay]]:
    """Yield the ways of a file that osmium wrote in `FORMAT`, some thousands at a time; other objects are left out.

    Parameters
    ----------
    wanted
        First words of the keys that are read.
    """
    words, keys = _Words(), _Keys(wanted)
    for block in _blocks(path):
        ways = []
        for part in block.split(_END):
            found = _ID.search(part)
            if found is None:  # what stands before the first way and after the last
                continue
            nodes, tags = (part.find(sign, found.end()) for sign in (b"<nd ", b"<tag "))
            nodes, tags = (at if at >= 0 else len(part) for at in (nodes, tags))
            try:
                pairs = _TAG.findall(part[tags:].decode())
                own = {key: words[value] for text, value in pairs if (key := keys[text])}
            except UnicodeDecodeError:
                own = None
            ways.append(WrittenWay(int(found[1]), found[2] == b"false", own, part[nodes:tags]))
        yield ways


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield a file in parts of whole ways."""
    rest = b""
    with path.open("rb") as file:
        while data := file.read(_BLOCK_BYTES):
            data = rest + data
            end = data.rfind(_END) + 1
            yield data[:end]
            rest = data[end:]
    yield rest


def nodes_of(ways: Sequence[WrittenWay]) -> tuple[list[Long], Float]:
    """Return the nodes of each way, and the places of all of them, one after the other.

    Returns
    -------
    refs
        Of each way, (k,).
    lon_lat : (n, 2) degrees
        NaN where osmium knew no place on the globe, as for nodes that come after the ways.
    """
    counts = [way.text.count(b"<nd ") for way in ways]
    text, n = b"".join([way.text for way in ways]), sum(counts)
    values = _floats(text)
    if len(values) != 3 * n:
        values = _floats(_NO_PLACE.sub(rb'\1 lat="999" lon="999"/>', text))
    table = values.reshape(n, 3)
    refs = table[:, 0].astype(np.int64)
    if n and np.abs(table[:, 0]).max() >= _EXACT:
        refs = np.array([int(ref) for ref in _REF.findall(text)], np.int64)
    lon_lat = table[:, [2, 1]]
    lon_lat[(np.abs(lon_lat) > (180.0, 90.0)).any(axis=1)] = np.nan
    ends = np.cumsum([0, *counts]).tolist()
    return [refs[a:b] for a, b in pairwise(ends)], lon_lat


def _floats(text: bytes) -> Float:
    return np.fromstring(text.translate(_NUMBERS_ONLY), dtype=np.float64, sep=" ") if text else np.zeros(0)
