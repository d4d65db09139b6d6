"""Recorded tables in Parquet files, read by pyarrow where it is installed (the extra ``parquet``)."""

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensors.errors import InputError
from sensors.recorded_table import Columns, Table, no_rows

MAGIC = b"PAR1"
_BATCH_ROWS = 65_536


def _pyarrow(name: str) -> Any:
    """Return a module of pyarrow.

    Raises
    ------
    InputError
        When it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError("a Parquet file needs pyarrow: pip install 'citytwin[parquet]'") from None


def _opened(path: Path) -> Any:
    parquet, lib = _pyarrow("pyarrow.parquet"), _pyarrow("pyarrow")
    try:
        return parquet.ParquetFile(path)
    except (OSError, lib.ArrowException) as error:
        raise InputError(f"{path.name}: cannot be read as Parquet: {_first_line(error)}") from None


def column_names(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns.

    Raises
    ------
    InputError
        When it is damaged, or pyarrow is not installed.
    """
    with _opened(path) as file:
        return [str(name) for name in file.schema_arrow.names]


class ParquetTable(Table):
    """A table of readings in a Parquet file, with one row a sensor and time.

    Times are timestamps with or without zone, numbers of the map's ``time_format``, or texts; sensors are texts or
    whole numbers. Rows are counted from 1 in what is said of faults.
    """

    def _chunks(self, path: Path) -> Iterator[Columns]:
        if self._map.is_wide:
            raise InputError(f"{self.name}: a column map with [wide] is for CSV, a Parquet file has one row a reading")
        if self._map.constants:
            raise InputError(f"{self.name}: a column map with sensor or value is for CSV, not for a Parquet file")
        lib = _pyarrow("pyarrow")
        first = 1
        with _opened(path) as file:
            self._chosen([str(name) for name in file.schema_arrow.names])
            try:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(self._map.columns)):
                    yield self._of_batch(batch, first)
                    first += batch.num_rows
            except (OSError, lib.ArrowException) as error:
                raise InputError(f"{self.name}: damaged after row {first - 1}: {_first_line(error)}") from None

    def _of_batch(self, batch: Any, first: int) -> Columns:
        columns = {name: batch.column(batch.schema.get_field_index(name)) for name in self._map.columns}
        sensor = self._sensors_of(columns[self._map.sensor_id], first)
        time_ms, timed = self._times_of(columns[self._map.time], first)
        good = (sensor >= 0) & timed
        names = self._map.columns[2:]
        if not batch.num_rows or not good.any():
            return no_rows(len(names))
        values = np.column_stack([self._values_of(columns[name], name, first) for name in names])
        empty = np.isnan(values).all(axis=1)
        self.empty += int((good & empty).sum())
        good &= ~empty & (time_ms >= self._within[0]) & (time_ms < self._within[1])
        return sensor[good], time_ms[good], (values * self._factors)[good]

    def _sensors_of(self, column: Any, first: int) -> npt.NDArray[np.int32]:
        """Return (n,) codes of sensors, -1 for a row whose id cannot be one."""
        coded = column if hasattr(column, "indices") else column.dictionary_encode()
        codes = []
        for text in coded.dictionary.to_pylist():
            try:
                codes.append(-1 if text is None else self._sensor(str(text)))
            except ValueError:
                codes.append(-1)
        indices = coded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
        sensor: npt.NDArray[np.int32] = np.array([*codes, -1], np.int32)[indices]
        for row in np.flatnonzero(sensor < 0).tolist():
            self.fault(first + row, f"sensor {column[row].as_py()!r} must not be empty or hold / + #")
        return sensor

    def _times_of(self, column: Any, first: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return (n,) ms since 1970 UTC, and which of them are known."""
        types = _pyarrow("pyarrow").types
        offset_ms = round(self._map.offset_s * 1000)
        if types.is_timestamp(column.type) and column.type.tz is not None:
            known = column.is_valid().to_numpy(zero_copy_only=False)
            unit = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}[column.type.unit]
            count = column.cast("int64").fill_null(0).to_numpy(zero_copy_only=False)
            # Whole numbers all the way: a float has no ns since 1970.
            time_ms = count * int(unit) if unit >= 1 else count // round(1 / unit)
            if not known.all():
                for row in np.flatnonzero(~known).tolist():
                    self.fault(first + row, "there is no time")
            return time_ms + offset_ms, known
        times, known = np.zeros(len(column), np.int64), np.ones(len(column), bool)
        for row, value in enumerate(column.to_pylist()):
            text = value.isoformat() if hasattr(value, "isoformat") else "" if value is None else str(value)
            try:
                times[row] = self._time(text)
            except (ValueError, OverflowError) as error:
                known[row] = False
                self.fault(first + row, f"{error} (time {text!r})")
        return times, known

    def _values_of(self, column: Any, name: str, first: int) -> npt.NDArray[np.float64]:
        lib = _pyarrow("pyarrow")
        numeric = lib.types.is_integer(column.type) or lib.types.is_floating(column.type)
        if numeric or lib.types.is_decimal(column.type):
            values = np.array(column.cast("float64").fill_null(math.nan).to_numpy(zero_copy_only=False))
            for row in np.flatnonzero(np.isinf(values)).tolist():
                self.fault(first + row, f"{name} is {values[row]}, must be a number")
                values[row] = math.nan
            return values
        cells = ["" if value is None else str(value) for value in column.to_pylist()]
        return np.array([self._number(cell.strip(), name, first + row) for row, cell in enumerate(cells)], np.float64)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no reason given"])[0]
