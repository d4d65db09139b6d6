"""CSV tables of a network folder: read and written in one place, UTF-8 with or without BOM, LF or CRLF.

A *table* is a file of the folder; a *place* names one of its rows for a person: file, line, id.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import compress
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from sensors import InputError

Row = Mapping[str, object]
Float = npt.NDArray[np.float64]

# The boundary of a district is longer than the 128 kB that the csv module allows one cell.
csv.field_size_limit(64 << 20)

_YES = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_NO = frozenset({"false", "f", "no", "n", "0", "0.0"})


class Columns(Sequence[Mapping[str, str]]):
    """Rows of text that are kept as columns: those of a large city take a third of the room, and are read as a whole.

    Parameters
    ----------
    cells
        The cells of each column, as stripped text; all of one length.

    Examples
    --------
    >>> rows = Columns({"link_id": ["L1", "L2"], "lanes": ["2", ""]})
    >>> len(rows), rows[1], rows.cells["lanes"]
    (2, {'link_id': 'L2', 'lanes': ''}, ['2', ''])
    """

    __slots__ = ("_length", "cells")

    def __init__(self, cells: Mapping[str, Sequence[str]] | None = None) -> None:
        self.cells: Mapping[str, Sequence[str]] = cells or {}
        lengths = {len(column) for column in self.cells.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns are {sorted(lengths)} cells long, must be of one length")
        self._length = lengths.pop() if lengths else 0

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Columns":
        """Return rows as columns; a cell that a row does not have is empty."""
        if isinstance(rows, Columns):
            return rows
        rows = list(rows)
        # Most cells of a city are text already: they are taken without a call each.
        return cls(
            {
                name: [value.strip() if type(value := row.get(name)) is str else cell(value) for row in rows]
                for name in _keys(rows)
            }
        )

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Mapping[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> "Columns": ...
    def __getitem__(self, index: int | slice) -> "Mapping[str, str] | Columns":
        if isinstance(index, slice):
            return Columns({name: column[index] for name, column in self.cells.items()})
        return {name: column[index] for name, column in self.cells.items()}

    def __iter__(self) -> Iterator[Mapping[str, str]]:
        names = tuple(self.cells)
        return (dict(zip(names, values, strict=True)) for values in zip(*self.cells.values(), strict=True))

    def take(self, kept: Sequence[bool]) -> "Columns":
        """Return the rows at which a flag is set."""
        return Columns({name: list(compress(column, kept)) for name, column in self.cells.items()})


def _keys(rows: Iterable[Row]) -> list[str]:
    """Return the columns that some row has, in the order in which they come up."""
    return list(dict.fromkeys(key for keys in dict.fromkeys(map(tuple, rows)) for key in keys))


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the columns that rows have.

    Examples
    --------
    >>> columns_of([{"node_id": "A"}, {"node_id": "B", "zone_id": "1"}]), columns_of(Columns({"kind": []}))
    (['node_id', 'zone_id'], ['kind'])
    """
    return list(rows.cells) if isinstance(rows, Columns) else _keys(rows)


def _rows(path: Path) -> tuple[Columns, list[int], list[str]]:
    """Return the rows of a CSV file, the line on which each ends, and the columns of its header."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: byte {error.start} is not UTF-8, save the file as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if "\0" in text:
        raise InputError(f"{path.name}: byte {len(text[: text.index(chr(0))].encode())} is 0, which no text file holds")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    faults: list[str] = []
    header: list[str] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise InputError(f"{path.name}: has no header line")
        if len(header) == 1 and (sign := next((sign for sign in ";\t|" if sign in header[0]), None)):
            raise InputError(f"{path.name}: its columns are separated by {sign!r}, must be by commas")
        if twice := sorted({name for name in header if name and header.count(name) > 1}):
            raise InputError(f"{path.name}: column {twice[0]!r} stands twice in the header")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if any(cell.strip() for cell in cells[len(header) :]):
                faults.append(f"{path.name}: line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
                continue
            rows.append([cell.strip() for cell in cells[: len(header)]] + [""] * (len(header) - len(cells)))
            lines.append(reader.line_num)
    except csv.Error as error:
        faults.append(f"{path.name}: line {reader.line_num}: is not CSV: {error}")
    if faults:
        raise InputError(faults)
    table = zip(*rows, strict=True) if rows else [()] * len(header)
    return Columns(dict(zip(header, table, strict=True))), lines, [name for name in header if name]


def read_table(path: Path) -> Columns:
    """Return the rows of a CSV file as stripped text; blank lines are left out.

    Raises
    ------
    InputError
        When the file is not UTF-8, has no header, a column twice, or a row longer than the header.
    """
    return _rows(path)[0]


def cell(value: object) -> str:
    """Return a value as the text of a cell: a number so that it reads back exactly, None as nothing.

    Examples
    --------
    >>> [cell(value) for value in (None, 3.0, 0.1, True, " L1 ")]
    ['', '3', '0.1', 'true', 'L1']
    """
    if type(value) is str:  # most cells; what needs no stripping stays the same object
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        number = float(value)
        return repr(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return str(value).strip()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows as CSV in the given column order; a number is written so that it reads back exactly."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        if isinstance(rows, Columns):
            nothing = ("",) * len(rows)
            writer.writerows(zip(*(rows.cells.get(name, nothing) for name in columns), strict=True))
            return
        writer.writerows(
            [value.strip() if type(value := row.get(name)) is str else cell(value) for name in columns] for row in rows
        )


class Unreadable(dict[str, int]):
    """The ids of a table that could not be read: any id might stand there, so that none of them is a fault.

    Examples
    --------
    >>> "N1" in Unreadable(), Unreadable()["N1"]
    (True, -1)
    """

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> int:
        return -1


@dataclass(frozen=True)
class Table:
    """One table of a network folder, whose columns are read with every fault noted and none raised.

    Parameters
    ----------
    name
        Name of the file without ``.csv``.
    rows
        Cells as stripped text, kept as columns.
    lines
        Line of each row in its file; empty for a table that was made in memory.
    faults
        Where the faults of all tables of a folder gather, one sentence each.
    columns
        The header.
    readable
        False for a file that is no table at all: that is its one fault.
    file
        Name of the file for people, when it is not the table's with ``.csv``.
    """

    name: str
    rows: Columns = field(default_factory=Columns)
    lines: Sequence[int] = ()
    faults: list[str] = field(default_factory=list)
    columns: Sequence[str] = ()
    readable: bool = True
    file: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def read(cls, path: Path, faults: list[str]) -> "Table":
        """Return the table of a file; one that cannot be read at all is a fault, and empty."""
        try:
            rows, lines, columns = _rows(path)
        except InputError as error:
            faults.extend(error.faults)
            return cls(path.stem, faults=faults, readable=False)
        return cls(path.stem, rows, lines, faults, columns)

    @classmethod
    def of(cls, name: str, rows: Iterable[Mapping[str, object]], faults: list[str]) -> "Table":
        """Return the table that holds the given rows as text."""
        texts = Columns.of(rows)
        return cls(name, texts, (), faults, list(texts.cells))

    @property
    def key(self) -> str:
        """Column that identifies a row, for messages."""
        return self.columns[0] if self.columns and self.columns[0].endswith("_id") else f"{self.name}_id"

    def place(self, index: int) -> str:
        """Return how a message names a row: file, line, id."""
        where = f"line {self.lines[index]}" if self.lines else f"row {index + 1}"
        row = self.rows[index]
        key = f"{self.name}_id" if f"{self.name}_id" in row else self.key
        name = row.get(key, "")
        return f"{self.file or self.name + '.csv'}: {where}" + (f": {key.removesuffix('_id')} {name}" if name else "")

    def fault(self, index: int, sentence: str) -> None:
        """Note a fault of one row."""
        self.faults.append(f"{self.place(index)}: {sentence}")

    def requires(self, *columns: str) -> bool:
        """Return whether all columns are there; each missing one is a fault."""
        if not self.readable:
            return False
        missing = [name for name in columns if name not in self.columns]
        for name in missing:
            near = get_close_matches(name, self.columns, 1)
            self.faults.append(
                f"{self.name}.csv: has no column {name!r}" + (f", did you mean {near[0]!r}?" if near else "")
            )
        return not missing

    def text(self, column: str, default: str = "") -> Sequence[str]:
        """Return a column as text, empty cells as the default."""
        cells = self.rows.cells.get(column)
        if cells is None:
            return (default,) * len(self.rows)
        return [text or default for text in cells] if default else cells

    def ids(self, column: str) -> dict[str, int]:
        """Return the position of each id; an empty one and one that stands twice are faults."""
        found: dict[str, int] = {}
        for index, name in enumerate(self.text(column)):
            if not name:
                self.fault(index, f"{column} is empty, every row needs its own")
            elif name in found:
                first = self.place(found[name]).split(": ")[1]
                self.fault(index, f"{column} {name!r} stands twice, first on {first}; ids must be unique")
            else:
                found[name] = index
        return found

    def flags(self, column: str, default: bool) -> list[bool]:
        """Return a column of true and false."""
        flags = []
        for index, value in enumerate(self.text(column)):
            if value and value.lower() not in _YES and value.lower() not in _NO:
                self.fault(index, f"{column} is {value!r}, must be true or false")
            flags.append(value.lower() in _YES if value else default)
        return flags

    def numbers(
        self,
        column: str,
        *,
        default: float = math.nan,
        above: float = -math.inf,
        least: float = -math.inf,
        most: float = math.inf,
        whole: bool = False,
        required: bool = False,
    ) -> Float:
        """Return a column of numbers; an empty cell is the default, and a fault when required.

        Parameters
        ----------
        above, least, most
            The open lower, closed lower and closed upper limit of what is right.
        """
        rule = "a whole number" if whole else "a number"
        limits = [(above, ">"), (least, ">="), (most, "<=")]
        rule += "".join(f" and {sign} {limit:g}" for limit, sign in limits if math.isfinite(limit)).replace(
            " and", "", 1
        )
        texts = self.text(column)
        read: dict[str, float] = {}  # most columns of a city repeat a few numbers
        wrong: set[str] = {""} if required else set()
        for text in set(texts):
            read[text] = default
            if not text:
                continue
            try:
                value = math.nan if "_" in text else float(text)
            except ValueError:
                value = math.nan
            right = math.isfinite(value) and value > above and least <= value <= most
            if right and not (whole and not value.is_integer()):
                read[text] = value
            else:
                wrong.add(text)
        if not wrong.isdisjoint(read):
            for index, text in enumerate(texts):
                if text in wrong:
                    is_ = f"is {text!r}" if text else "is empty"
                    comma = ", with a decimal point and no other signs" if "," in text else ""
                    self.fault(index, f"{column} {is_}, must be {rule}{comma}")
        return np.array([read[text] for text in texts], np.float64)

    def lists(self, column: str) -> list[tuple[str, ...]]:
        """Return a column of semicolon lists; those that are alike are one object."""
        texts = self.text(column)
        made = {text: tuple(part.strip() for part in text.split(";") if part.strip()) for text in set(texts)}
        return [made[text] for text in texts]

    def references(
        self, column: str, known: Mapping[str, int], target: str, *, optional: bool = False
    ) -> npt.NDArray[np.int64]:
        """Return the positions of ids of another table, -1 where there is none; an unknown id is a fault."""
        positions = np.full(len(self.rows), -1, np.int64)
        for index, name in enumerate(self.text(column)):
            if name in known:
                positions[index] = known[name]
            elif name:
                self.fault(index, f"{column} {name!r} is not in {target}")
            elif not optional:
                self.fault(index, f"{column} is empty, must be an id of {target}")
        return positions
