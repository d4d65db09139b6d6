"""Recorded tables: one row a sensor and time, in any order; sorted as columns, never as objects."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from sensors.column_map import ColumnMap
from sensors.errors import InputError
from sensors.quantity import QUANTITIES
from sensors.recording import NEVER_MS, Message, Recording, opened

_CHUNK_ROWS = 5_000
_ABSENT = frozenset({"nan", "null", "none", "na", "n/a", "-"})
_encode = msgspec.json.Encoder().encode

Columns = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a table as columns, by time.

    Parameters
    ----------
    sensor
        (n,) place in ``sensor_ids``.
    time_ms
        (n,) ms since 1970 UTC.
    value
        (n, n_quantities) in the units of ``quantities``, at their stored resolution; NaN where there is none.
    """

    sensor: npt.NDArray[np.int32]
    time_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    sensor_ids: Sequence[str]
    quantities: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sensor)


class Table(Recording):
    """A table of readings; each row becomes one payload, of a wide table each cell that holds a number.

    Parameters
    ----------
    path
        The file, plain or packed with gzip, UTF-8 with or without BOM.
    column_map
        Which columns to read, and how.
    from_ms, until_ms
        Times to replay, [from_ms, until_ms), ms since 1970 UTC.

    Raises
    ------
    InputError
        When the file cannot be read, a column is missing, or no row can be replayed.
    """

    def __init__(
        self, path: Path, column_map: ColumnMap, *, from_ms: int = -NEVER_MS, until_ms: int = NEVER_MS
    ) -> None:
        super().__init__(path.name)
        self._map = column_map
        self._keys = tuple(column_map.quantities)
        self._factors = np.array([column.factor for column in column_map.quantities.values()])
        self._within = (from_ms, until_ms)
        self._sensors: dict[str, int] = {}
        self.topics: list[str] = []
        self._times: dict[str, int] = {}
        self._wide_sensors: list[int] = []
        chunks = [no_rows(len(self._keys)), *self._chunks(path)]
        self.sensor, self.time_ms, self.values = (np.concatenate(column) for column in zip(*chunks, strict=True))
        self.rows = len(self.sensor)
        if self.n_faults and not self.rows:
            raise InputError(self.faults)
        self._order = np.lexsort((self.sensor, self.time_ms))
        self.duplicates = self._count_duplicates()

    def messages(self) -> Iterator[Message]:
        """Yield one message a row, ``{"t": ..., "<quantity>_<unit>": ...}``; an empty cell is left out."""
        digits = [round(math.log10(QUANTITIES[key].scale)) for key in self._keys]
        for start in range(0, self.rows, _CHUNK_ROWS):
            rows = self._order[start : start + _CHUNK_ROWS]
            columns = [_numbers(self.values[rows, place], digits[place]) for place in range(len(self._keys))]
            sensors, times = self.sensor[rows].tolist(), self.time_ms[rows].tolist()
            for sensor, time, *values in zip(sensors, times, *columns, strict=True):
                # A number that is not equal to itself is NaN: nothing was measured.
                present = {key: value for key, value in zip(self._keys, values, strict=True) if value == value}
                yield Message(time, self.topics[sensor], _encode({"t": time, **present}))

    def blocks(self, readings: int) -> Iterator[Block]:
        """Yield the same rows as columns, about so many readings at once, always cut at the same places."""
        n_rows = max(1, readings // max(1, len(self._keys)))
        digits = [round(math.log10(QUANTITIES[key].scale)) for key in self._keys]
        sensor_ids = [topic.rpartition("/")[2] for topic in self.topics]
        for start in range(0, self.rows, n_rows):
            rows = self._order[start : start + n_rows]
            value = np.column_stack([np.round(self.values[rows, k], digits[k]) for k in range(len(self._keys))])
            yield Block(self.sensor[rows], self.time_ms[rows], value, sensor_ids, self._keys)

    def _count_duplicates(self) -> int:
        before, after = self._order[:-1], self._order[1:]
        same = (self.sensor[before] == self.sensor[after]) & (self.time_ms[before] == self.time_ms[after])
        first, second = self.values[before[same]], self.values[after[same]]
        equal = (first == second) | (np.isnan(first) & np.isnan(second))
        return int(equal.all(axis=1).sum())

    def _chunks(self, path: Path) -> Iterator[Columns]:
        with opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=self._map.delimiter)
            lines: list[int] = []
            rows: list[list[str]] = []
            try:
                header = [cell.strip() for cell in next(reader, [])]
                chosen = self._chosen([*header, *self._map.constants])
                constants = list(self._map.constants.values())
                for cells in reader:
                    if not cells:
                        continue
                    if constants:  # a row may be shorter or longer than the header
                        cells = [*cells[: len(header)], *[""] * (len(header) - len(cells)), *constants]
                    rows.append(cells)
                    lines.append(reader.line_num)
                    if len(rows) == _CHUNK_ROWS:
                        yield self._columns(rows, lines, chosen)
                        lines, rows = [], []
            except UnicodeDecodeError:
                raise InputError(f"{self.name}: not UTF-8 after line {reader.line_num}, save it as UTF-8") from None
            except csv.Error as error:
                raise InputError(f"{self.name}: line {reader.line_num + 1}: {error}") from None
            yield self._columns(rows, lines, chosen)

    def _chosen(self, header: list[str]) -> list[int]:
        if self._map.ignore is not None:
            # the time, then the sensors
            others = [i for i, name in enumerate(header) if name and name not in (self._map.time, *self._map.ignore)]
            if self._map.time in header:
                self._wide_sensors = [self._wide_sensor(header[place]) for place in others]
                return [header.index(self._map.time), *others]
        missing = [name for name in self._map.columns if name not in header]
        if missing:
            has = ", ".join([name for name in header if name not in self._map.constants][:12])
            raise InputError([f"{self.name}: has no column {name!r}, it has {has}" for name in missing])
        return [header.index(name) for name in self._map.columns]

    def _columns(self, rows: list[list[str]], lines: list[int], chosen: list[int]) -> Columns:
        """Return rows as columns: the quick way when every cell is right, else row by row."""
        if not rows:
            return no_rows(len(self._keys))
        if len(self._times) > 1_000_000:  # a cache, not a store
            self._times.clear()
        if self._map.is_wide:
            return self._wide_columns(rows, lines, chosen)
        try:
            cells = [[row[place] for row in rows] for place in chosen]
            ids = [self._sensor(cell) for cell in cells[0]]
            times = [self._time(cell) for cell in cells[1]]
            values = np.array([[float(cell) for cell in column] for column in cells[2:]]).T
            if not np.isfinite(values).all():
                raise ValueError("absent or infinite")
        except (ValueError, IndexError, OverflowError):
            ids, times, values = self._row_by_row(rows, lines, chosen)
        sensor, time_ms = np.array(ids, np.int32), np.array(times, np.int64)
        within = (time_ms >= self._within[0]) & (time_ms < self._within[1])
        return sensor[within], time_ms[within], (values * self._factors)[within]

    def _wide_sensor(self, name: str) -> int:
        try:
            return self._sensor(name)
        except ValueError as error:
            raise InputError(f"{self.name}: column {name!r}: {error}") from None

    def _wide_columns(self, rows: list[list[str]], lines: list[int], chosen: list[int]) -> Columns:
        times, cells = [], []
        for row, line in zip(rows, lines, strict=True):
            text = [row[place].strip() if place < len(row) else "" for place in chosen]
            try:
                times.append(self._time(text[0]))
            except (ValueError, OverflowError) as error:
                self.fault(line, f"{error} (time {text[0]!r})")
                continue
            cells.append(
                [self._number(cell, self.topics[s], line) for cell, s in zip(text[1:], self._wide_sensors, strict=True)]
            )
        values = np.array(cells, np.float64).reshape(len(times), len(self._wide_sensors))
        row_of, column_of = np.nonzero(~np.isnan(values))
        time_ms = np.array(times, np.int64)[row_of]
        within = (time_ms >= self._within[0]) & (time_ms < self._within[1])
        sensor = np.array(self._wide_sensors, np.int32)[column_of]
        return sensor[within], time_ms[within], (values[row_of, column_of][:, np.newaxis] * self._factors)[within]

    def _row_by_row(
        self, rows: list[list[str]], lines: list[int], chosen: list[int]
    ) -> tuple[list[int], list[int], npt.NDArray[np.float64]]:
        ids, times, values = [], [], []
        for row, line in zip(rows, lines, strict=True):
            cells = [row[place].strip() if place < len(row) else "" for place in chosen]
            try:
                sensor, time = self._sensor(cells[0]), self._time(cells[1])
            except (ValueError, OverflowError) as error:
                self.fault(line, f"{error} (sensor {cells[0]!r}, time {cells[1]!r})")
                continue
            names = self._map.columns[2:]
            numbers = [self._number(cell, name, line) for cell, name in zip(cells[2:], names, strict=True)]
            if all(math.isnan(number) for number in numbers):
                self.empty += 1
                continue
            ids.append(sensor)
            times.append(time)
            values.append(numbers)
        return ids, times, np.array(values, np.float64).reshape(len(values), len(self._keys))

    def _sensor(self, text: str) -> int:
        code = self._sensors.get(text)
        if code is None:
            sensor_id = text.strip()
            if not sensor_id or any(sign in sensor_id for sign in "/+#\0"):
                raise ValueError("the sensor's id must not be empty or hold / + #")
            code = self._sensors[text] = len(self.topics)
            self.topics.append(f"city/{self._map.district}/{self._map.prefix}{sensor_id}")
        return code

    def _time(self, text: str) -> int:
        time = self._times.get(text)
        if time is None:
            time = self._times[text] = self._map.time_ms(text.strip())
        return time

    def _number(self, cell: str, column: str, line: int) -> float:
        if not cell or cell.lower() in _ABSENT:
            return math.nan
        try:
            number = float(cell)
        except ValueError:
            number = math.inf
        if math.isfinite(number):
            return number
        self.fault(line, f"{column} is {cell!r}, must be a number")
        return math.nan


def no_rows(n_quantities: int) -> Columns:
    """Return columns without rows."""
    return np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros((0, n_quantities))


def _numbers(column: npt.NDArray[np.float64], digits: int) -> list[float] | list[int]:
    """Return values as they are published: at the stored resolution, integers when all of them are whole."""
    rounded = np.round(column, digits)
    if (rounded == np.floor(rounded)).all() and (np.abs(rounded) < 2**53).all():
        whole: list[int] = rounded.astype(np.int64).tolist()
        return whole
    numbers: list[float] = rounded.tolist()
    return numbers
