"""Column maps: which columns of a recorded table are the sensor, the time and the quantities, and in which units."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sensors.errors import InputError
from sensors.quantity import QUANTITIES
from sensors.toml import nearest, read_toml, unknown_keys

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMATS = ("iso", "epoch_s", "epoch_ms")
_KEYS = (
    "sensor_id",
    "sensor",
    "time",
    "time_format",
    "time_zone",
    "offset_s",
    "district",
    "prefix",
    "delimiter",
    "quantities",
)
_WIDE_KEYS = ("quantity", "factor", "ignore")


_CONSTANT = "\0"  # begins the names of columns that no table has


@dataclass(frozen=True, slots=True)
class Column:
    """The column of one quantity; a value in the quantity's unit is ``factor`` times what the cell says."""

    name: str
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """How to read a table with one row a sensor and time, or one row a time and one column a sensor (wide).

    Parameters
    ----------
    sensor_id, time
        Names of columns.
    quantities
        Column by quantity key.
    time_format
        ``iso`` (``2014-08-01T07:50``), ``epoch_s`` or ``epoch_ms``.
    zone
        Zone of ISO times that name none; without it such times are faults.
    offset_s
        Added to every time: payloads carry the end of the measured interval, many tables its start.
    district, prefix
        The topic is ``city/<district>/<prefix><sensor_id>``.
    delimiter
        Between cells.
    ignore
        Set for a wide table: every column but the time and these is a sensor, and ``quantities`` has one entry, whose
        column name counts for nothing.
    constants
        Text by the name of a column that no table has, and every row has: a sensor, or a value.
    """

    sensor_id: str
    time: str
    quantities: Mapping[str, Column]
    time_format: str = "iso"
    zone: tzinfo | None = None
    offset_s: float = 0.0
    district: str = "replay"
    prefix: str = ""
    delimiter: str = ","
    ignore: tuple[str, ...] | None = None
    constants: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_wide(self) -> bool:
        """Whether each sensor has a column of its own."""
        return self.ignore is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that must be there: sensor, time, quantities; of a wide table the time."""
        if self.is_wide:
            return (self.time,)
        return (self.sensor_id, self.time, *(column.name for column in self.quantities.values()))

    def time_ms(self, text: str) -> int:
        """Return ms since 1970 UTC of a cell.

        Raises
        ------
        ValueError
            When the cell is no time of the map's format.

        Examples
        --------
        >>> ColumnMap("id", "t", {}, zone=UTC).time_ms("2014-08-01T07:50")
        1406879400000
        """
        if self.time_format == "iso":
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is None:
                if self.zone is None:
                    raise ValueError("a time without a zone")
                instant = instant.replace(tzinfo=self.zone)
            exact = (instant - _EPOCH) // timedelta(milliseconds=1)
        else:
            number = float(text)
            if not abs(number) < 1e15:
                raise ValueError("no time")
            exact = round(number if self.time_format == "epoch_ms" else number * 1000)
        return exact + round(self.offset_s * 1000)

    @classmethod
    def read(cls, path: Path) -> "ColumnMap":
        """Return the map of a TOML file, for example::

            sensor_id = "detector"
            time = "local_time"
            time_zone = "Europe/Rome"
            offset_s = 300              # the table gives the start of 5-minute intervals
            district = "bologna"
            [quantities]
            count_veh = "vehicles"
            speed_kmh = { column = "speed_mph", factor = 1.609344 }

        A table of one sensor says ``sensor = "..."`` instead of ``sensor_id``; what every row has alike is a value::

            events = { value = 1 }

        or, when every column but the time and those ignored is a sensor::

            time = "time"
            time_zone = "America/Los_Angeles"
            [wide]
            quantity = "speed_kmh"
            factor = 1.609344
            ignore = ["weekday"]

        Raises
        ------
        InputError
            With every fault of the file: unknown keys, missing ones, wrong types.
        """
        return _Parsed(path.name, read_toml(path)).column_map()


class _Parsed:
    """The table of a map file, with the faults found in it so far."""

    def __init__(self, name: str, table: Mapping[str, object]) -> None:
        self._name = name
        self._table = table
        self._wide = table.get("wide")
        self._faults = unknown_keys(table, (*_KEYS, "wide"), where=name)

    def column_map(self) -> ColumnMap:
        """Return the map, or raise all faults at once."""
        time_format = self._text("time_format", "iso")
        if time_format not in _FORMATS:
            self._fault("time_format", time_format, f"one of {', '.join(_FORMATS)}")
        delimiter = self._text("delimiter", ",")
        if len(delimiter) != 1:
            self._fault("delimiter", delimiter, "one character")
        offset = self._table.get("offset_s", 0.0)
        if isinstance(offset, bool) or not isinstance(offset, int | float) or not abs(offset) < 1e9:
            self._fault("offset_s", offset, "seconds")
            offset = 0.0
        constants = dict[str, str]()
        found = ColumnMap(
            sensor_id="" if self._wide is not None else self._sensor(constants),
            time=self._text("time"),
            quantities=self._quantities(constants) if self._wide is None else self._wide_quantity(),
            time_format=time_format,
            zone=self._zone(),
            offset_s=offset,
            district=self._text("district", "replay"),
            prefix=self._text("prefix", ""),
            delimiter=delimiter,
            ignore=None if self._wide is None else self._ignored(),
            constants=constants,
        )
        if self._faults:
            raise InputError(self._faults)
        return found

    def _fault(self, key: str, value: object, right: str) -> None:
        self._faults.append(f"{self._name}: {key} is {value!r}, must be {right}")

    def _text(self, key: str, default: str | None = None) -> str:
        value = self._table.get(key, default)
        if isinstance(value, str) and (value or default is not None):
            return value
        self._fault(key, value, "the name of a column" if default is None else "text")
        return default or ""

    def _sensor(self, constants: dict[str, str]) -> str:
        if "sensor" not in self._table:
            return self._text("sensor_id")
        if "sensor_id" in self._table:
            self._faults.append(
                f"{self._name}: sensor must be absent beside sensor_id, which names a column of sensors"
            )
        constants[_CONSTANT] = self._text("sensor")
        return _CONSTANT

    def _zone(self) -> tzinfo | None:
        name = self._text("time_zone", "")
        if not name:
            return None
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            self._fault("time_zone", name, "a name as in the time zone database, for example Europe/Rome, or UTC")
            return None

    def _quantities(self, constants: dict[str, str]) -> dict[str, Column]:
        table = self._table.get("quantities")
        if not isinstance(table, dict) or not table:
            self._fault("quantities", table, "a table with at least one column, for example speed_kmh = 'speed'")
            return {}
        where = f"{self._name}: [quantities]"
        self._faults += unknown_keys(table, QUANTITIES, where=where)
        columns = {}
        for key, value in table.items():
            if isinstance(value, str):
                columns[key] = Column(value)
            elif isinstance(value, dict) and isinstance(value.get("column"), str):
                self._faults += unknown_keys(value, ("column", "factor"), where=f"{where} {key}")
                columns[key] = Column(value["column"], self._factor(f"quantities.{key}.factor", value))
            elif isinstance(value, dict) and _is_number(value.get("value")):
                self._faults += unknown_keys(value, ("value",), where=f"{where} {key}")
                columns[key] = Column(_CONSTANT + key)
                constants[_CONSTANT + key] = str(value["value"])
            else:
                right = "a column name, { column = ..., factor = ... } or { value = ... }"
                self._fault(f"quantities.{key}", value, right)
        return columns

    def _wide_quantity(self) -> dict[str, Column]:
        for key in ("sensor_id", "sensor", "quantities"):
            if key in self._table:
                self._faults.append(f"{self._name}: {key} must be absent beside [wide], where columns are sensors")
        if not isinstance(self._wide, dict):
            self._fault("wide", self._wide, "a table, for example [wide] with quantity = 'speed_kmh'")
            return {}
        self._faults += unknown_keys(self._wide, _WIDE_KEYS, where=f"{self._name}: [wide]")
        quantity = self._wide.get("quantity")
        if quantity not in QUANTITIES:
            self._fault("wide.quantity", quantity, f"a quantity, {nearest(str(quantity), QUANTITIES)}")
        return {str(quantity): Column("", self._factor("wide.factor", self._wide))}

    def _ignored(self) -> tuple[str, ...]:
        names = self._wide.get("ignore", []) if isinstance(self._wide, dict) else []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._fault("wide.ignore", names, "a list of column names")
            return ()
        return tuple(names)

    def _factor(self, key: str, table: Mapping[str, object]) -> float:
        factor = table.get("factor", 1.0)
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < abs(factor) < 1e12:
            self._fault(key, factor, "a number that is not 0")
            return 1.0
        return float(factor)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# CityPulse / ODAA traffic of Aarhus: 5-minute intervals between two Bluetooth sensors, times are UTC.
AARHUS = ColumnMap(
    sensor_id="report_id",
    time="timestamp_utc",
    quantities={
        "count_veh": Column("vehicle_count"),
        "speed_kmh": Column("avg_speed_kmh"),
        "travel_time_s": Column("avg_travel_time_s"),
    },
    zone=UTC,
    district="aarhus",
)


def recognise(header: Sequence[str]) -> ColumnMap | None:
    """Return the map of a known table layout: that of Aarhus, or columns named as in our payloads.

    Examples
    --------
    >>> recognise(["sensor_id", "time", "speed_kmh"]).quantities
    {'speed_kmh': Column(name='speed_kmh', factor=1.0)}
    """
    if set(AARHUS.columns) <= set(header):
        return AARHUS
    time = next((name for name in ("t", "time") if name in header), None)
    quantities = {key: Column(key) for key in header if key in QUANTITIES}
    if "sensor_id" in header and time is not None and quantities:
        return ColumnMap("sensor_id", time, quantities)
    return None
