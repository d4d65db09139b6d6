"""CSV tables of a network folder: read and written in one place, UTF-8 with or without BOM, LF or CRLF."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sensors import InputError

Row = Mapping[str, str | float | int | None]


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file as dictionaries of stripped text; blank lines are left out.

    Raises
    ------
    InputError
        When the file is not UTF-8, has no header, a column twice, or a row longer than the header.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: byte {error.start} is not UTF-8, save the file as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    reader = csv.reader(text.splitlines(keepends=True))
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise InputError(f"{path.name}: has no header line")
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise InputError(f"{path.name}: column {twice[0]!r} stands twice in the header")
    rows, faults = [], []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            faults.append(f"{path.name}: line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
            continue
        values = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
        rows.append(dict(zip(header, values, strict=False)))
    if faults:
        raise InputError(faults)
    return rows


def _text(value: str | float | int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows as CSV in the given column order; a number is written so that it reads back exactly."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(row.get(name)) for name in columns] for row in rows)
