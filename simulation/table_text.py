"""Large tables as CSV text, made by a kernel: a label in front, numbers to a millionth behind, NaN as nothing."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from numba import njit

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

CHUNK = 1 << 16  # rows that are made at once
WIDEST = 28  # bytes of a comma, a sign, 19 digits, a point and 6 digits
LARGEST = 9.0e12  # above it a millionth is below the precision of the number


@dataclass(frozen=True, slots=True)
class Labels:
    """Texts in one piece, quoted as CSV wants where they need it: text k is ``data[start[k]:start[k + 1]]``."""

    data: Bytes
    start: Long

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Labels":
        """Return the labels of texts, each of which is one cell."""
        joined = "".join(texts)
        if any(sign in joined for sign in ',"\r\n'):
            texts = [_quoted([text]) for text in texts]
            joined = "".join(texts)
        lengths = map(len, texts) if joined.isascii() else (len(text.encode()) for text in texts)
        start = np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64, len(texts)))]).astype(np.int64)
        return cls(np.frombuffer(joined.encode(), np.uint8), start)

    @classmethod
    def of_rows(cls, rows: Iterable[Sequence[str]]) -> "Labels":
        """Return the labels of rows of several cells each."""
        texts = [_quoted(row) for row in rows]
        lengths = [len(text.encode()) for text in texts]
        start = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))]).astype(np.int64)
        return cls(np.frombuffer("".join(texts).encode(), np.uint8), start)


def _quoted(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # with these it quotes cells that hold one of them
    return line.getvalue()[:-2]


@njit(cache=True)
def _put(out: Bytes, at: int, value: float) -> int:
    """Write a number to a millionth without trailing zeros, NaN as nothing; return the place behind it."""
    if np.isnan(value):
        return at
    size = abs(value)
    if size < LARGEST:
        units = np.int64(np.floor(size * 1e6 + 0.5))
        whole, part = units // 1_000_000, units % 1_000_000
    else:
        whole, part = np.int64(min(size, 9.2e18)), np.int64(0)
    if value < 0 and (whole > 0 or part > 0):
        out[at] = 45
        at += 1
    digits = 1
    rest = whole
    while rest >= 10:
        rest //= 10
        digits += 1
    for k in range(digits - 1, -1, -1):
        out[at + k] = 48 + whole % 10
        whole //= 10
    at += digits
    if part > 0:
        out[at] = 46
        for k in range(6, 0, -1):
            out[at + k] = 48 + part % 10
            part //= 10
        at += 6
        while out[at] == 48:
            at -= 1
        at += 1
    return at


@njit(cache=True)
def _fill(out: Bytes, data: Bytes, start: Long, which: Long, values: Float) -> int:
    """Write rows of a label and numbers; return how many bytes they take."""
    at = 0
    for row in range(len(which)):
        for k in range(start[which[row]], start[which[row] + 1]):
            out[at] = data[k]
            at += 1
        for column in range(values.shape[1]):
            out[at] = 44
            at = _put(out, at + 1, values[row, column])
        out[at] = 10
        at += 1
    return at


def write_rows(file: BinaryIO, labels: Labels, values: Float, which: Long | None = None) -> None:
    r"""Write one line for each row of ``values``, with its label in front.

    Parameters
    ----------
    values : (n, m)
    which : (n,)
        Label of each row; by default the label of its number.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> write_rows(file, Labels.of(["a", "b,c"]), np.array([[1.0, 0.1], [-2.5, np.nan]]))
    >>> file.getvalue()
    b'a,1,0.1\n"b,c",-2.5,\n'
    """
    rows = np.arange(len(values)) if which is None else np.asarray(which, np.int64)
    width = np.diff(labels.start)
    for begin in range(0, len(values), CHUNK):
        mine = rows[begin : begin + CHUNK]
        numbers = np.ascontiguousarray(values[begin : begin + CHUNK], np.float64)
        size = int(width[mine].sum()) + len(mine) * (1 + WIDEST * numbers.shape[1])
        out = np.empty(size, np.uint8)
        file.write(out[: _fill(out, labels.data, labels.start, mine, numbers)].data)
