"""Rollups: sums of five minutes, kept up to date by whoever writes, and what is answered from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from ingest.catalogue import storable
from ingest.chore import Chore
from ingest.database import Database
from ingest.rows import Integers
from sensors import InputError

STEP_S = 300  # of a bucket, as in ingest/schema/
EVERY_S = 30.0
MOST_BUCKETS = 50  # of one transaction: some seconds for 10,000 series
Floats = npt.NDArray[np.float64]
_ORIGIN = "timestamptz '2000-01-03T00:00:00Z'"  # a Monday


@dataclass(frozen=True, slots=True)
class Buckets:
    """A quantity by equal steps of time; steps without a good reading are left out.

    Parameters
    ----------
    time_ms
        (n,) start of each step, ms since 1970 UTC; the step ends before the next one.
    n
        (n,) readings in the mean.
    mean, least, greatest
        (n,) in the unit of the quantity.
    """

    time_ms: Integers
    n: Integers
    mean: Floats
    least: Floats
    greatest: Floats

    def __len__(self) -> int:
        return len(self.time_ms)


@dataclass(frozen=True, slots=True)
class WeekQuantiles:
    """What series usually read, by time of the local week; one row a series and slot that has readings.

    Parameters
    ----------
    sensor_id, quantity
        (n,)
    slot
        (n,) ``day * (86400 / step_s) + step of the day``; days from Monday 0 to Sunday 6, holidays 7.
    n_days
        (n,) days that the row rests on.
    quantile
        (n, 3) of the five-minute means at 0.1587, 0.5 and 0.8413: a deviation below the median, it, and one above.
    """

    sensor_id: tuple[str, ...]
    quantity: tuple[str, ...]
    slot: Integers
    n_days: Integers
    quantile: Floats
    step_s: int


@dataclass(frozen=True, slots=True)
class Completeness:
    """How much of what a sensor should have sent on a day came in.

    Parameters
    ----------
    day
        ISO date in the zone that was asked for.
    received
        Intervals with a reading, by the sensor's most complete quantity.
    expected
        Intervals of that day; None when the sensor's interval is not known.
    """

    sensor_id: str
    day: str
    received: int
    expected: int | None


def refresh(database: Database, *, most: int = MOST_BUCKETS) -> int:
    """Sum the buckets that were written to since they were summed, the newest first; return how many.

    At most ``most`` of them, in one transaction; 0 when another worker is doing it or nothing is due.
    """
    return int(database.fetch("SELECT roll_up(%s)", (most,))[0][0])


def answers(*, since: float, until: float, step_s: int) -> bool:
    """Return whether steps of a time are whole buckets of the rollup, so that `buckets` gives them.

    Examples
    --------
    >>> answers(since=600.0, until=3600.0, step_s=900), answers(since=601.0, until=3600.0, step_s=900)
    (True, False)
    """
    return step_s > 0 and step_s % STEP_S == 0 and since % STEP_S == 0 and until % STEP_S == 0


def buckets(
    database: Database, sensor_id: str, quantity: str, *, since: float, until: float, step_s: int = STEP_S
) -> Buckets:
    """Return a series from its rollup, since <= time < until (s since 1970 UTC), in steps of whole five minutes.

    Raises
    ------
    InputError
        When the step is no multiple of 300 s.
    """
    if step_s <= 0 or step_s % STEP_S:
        raise InputError(f"step_s is {step_s}, must be a multiple of {STEP_S}; ingest.queries.buckets takes any")
    if not storable(sensor_id) or not storable(quantity):
        return buckets_of([])
    if step_s == STEP_S:  # as it is stored
        return buckets_of(
            database.fetch(
                "SELECT (extract(epoch FROM time) * 1000)::int8, n_good::int8, total / n_good, least, greatest"
                " FROM rollup WHERE series_id = (SELECT series_id FROM series WHERE sensor_id = %s AND quantity = %s)"
                " AND time >= to_timestamp(%s) AND time < to_timestamp(%s) AND n_good > 0 ORDER BY time",
                (sensor_id, quantity, since, until),
            )
        )
    return buckets_of(
        database.fetch(
            f"SELECT (extract(epoch FROM date_bin(%s * interval '1 s', time, {_ORIGIN})) * 1000)::int8 AS step,"  # noqa: S608 - no value inside
            " sum(n_good)::int8, sum(total) / sum(n_good), min(least), max(greatest) FROM rollup"
            " WHERE series_id = (SELECT series_id FROM series WHERE sensor_id = %s AND quantity = %s)"
            " AND time >= to_timestamp(%s) AND time < to_timestamp(%s) AND n_good > 0 GROUP BY step ORDER BY step",
            (step_s, sensor_id, quantity, since, until),
        )
    )


def network_curve(database: Database, quantity: str, *, since: float, until: float) -> Buckets:
    """Return the mean of a quantity over all series by five minutes; ``least`` and ``greatest`` are not known (NaN)."""
    if not storable(quantity):
        return buckets_of([])
    return buckets_of(
        database.fetch(
            "SELECT (extract(epoch FROM time) * 1000)::int8, n_good, total / n_good, 'NaN'::float8, 'NaN'::float8"
            " FROM rollup_network WHERE quantity = %s AND time >= to_timestamp(%s) AND time < to_timestamp(%s)"
            " ORDER BY time",
            (quantity, since, until),
        )
    )


def zone_curve(database: Database, zone_id: str, quantity: str, *, since: float, until: float) -> Buckets:
    """Return the mean of a quantity over the series of a zone by five minutes; extremes are not known (NaN)."""
    if not storable(zone_id) or not storable(quantity):
        return buckets_of([])
    return buckets_of(
        database.fetch(
            "SELECT (extract(epoch FROM time) * 1000)::int8, n_good, total / n_good, 'NaN'::float8, 'NaN'::float8"
            " FROM rollup_zone WHERE zone_id = %s AND quantity = %s AND time >= to_timestamp(%s)"
            " AND time < to_timestamp(%s) ORDER BY time",
            (zone_id, quantity, since, until),
        )
    )


def zones(database: Database, quantity: str, *, since: float, until: float) -> dict[str, tuple[int, float]]:
    """Return readings and mean of a quantity by zone over a time, for zones with a good reading."""
    if not storable(quantity):
        return {}
    rows = database.fetch(
        "SELECT zone_id, sum(n_good)::int8, sum(total) / sum(n_good) FROM rollup_zone WHERE quantity = %s"
        " AND time >= to_timestamp(%s) AND time < to_timestamp(%s) GROUP BY zone_id ORDER BY zone_id",
        (quantity, since, until),
    )
    return {str(zone): (int(n), float(mean)) for zone, n, mean in rows}


def week_profile(
    database: Database, sensor_id: str, quantity: str, *, since: float, until: float, time_zone: str, step_s: int = 900
) -> Buckets:
    """Return the mean of a series by time of the week in a zone; ``time_ms`` counts from Monday 00:00 local time.

    The hour that a change of clocks repeats falls into the slots of its local time, as every other hour does.
    """
    if not storable(sensor_id) or not storable(quantity):
        return buckets_of([])
    return buckets_of(
        database.fetch(
            "SELECT (extract(epoch FROM local - date_trunc('week', local))::int8 / %s * %s * 1000)::int8 AS slot,"
            " sum(n_good)::int8, sum(total) / sum(n_good), min(least), max(greatest)"
            " FROM (SELECT time AT TIME ZONE %s AS local, n_good, total, least, greatest FROM rollup"
            " WHERE series_id = (SELECT series_id FROM series WHERE sensor_id = %s AND quantity = %s)"
            " AND time >= to_timestamp(%s) AND time < to_timestamp(%s) AND n_good > 0) AS r"
            " GROUP BY slot ORDER BY slot",
            (step_s, step_s, time_zone, sensor_id, quantity, since, until),
        )
    )


def means(
    database: Database, sensor_ids: Sequence[str], quantity: str, *, since: float, until: float, step_s: int
) -> list[tuple[str, Floats, Floats]]:
    """Return the means of one quantity of some sensors in steps of whole five minutes: sensor, times, values.

    Times are the beginnings of the steps, s since 1970 UTC; a step without a good reading is left out, and so is a
    sensor without any.

    Raises
    ------
    InputError
        When the step is no multiple of 300 s.
    """
    if step_s <= 0 or step_s % STEP_S:
        raise InputError(f"step_s is {step_s}, must be a multiple of {STEP_S} s")
    rows = database.fetch(
        "SELECT s.sensor_id, array_agg(step ORDER BY step), array_agg(mean ORDER BY step) FROM ("  # noqa: S608 - no value inside
        f"SELECT series_id, extract(epoch FROM date_bin(%s * interval '1 s', time, {_ORIGIN}))::float8 AS step,"
        " sum(total) / sum(n_good) AS mean FROM rollup"
        " WHERE series_id = ANY(SELECT series_id FROM series WHERE sensor_id = ANY(%s) AND quantity = %s)"
        " AND time >= to_timestamp(%s) AND time < to_timestamp(%s) AND n_good > 0 GROUP BY series_id, step) AS m"
        " JOIN series AS s USING (series_id) GROUP BY s.sensor_id ORDER BY s.sensor_id",
        (step_s, [name for name in sensor_ids if storable(name)], quantity, since, until),
    )
    return [(str(name), np.array(times, np.float64), np.array(values, np.float64)) for name, times, values in rows]


def week_quantiles(
    database: Database,
    sensor_ids: Sequence[str],
    quantities: Sequence[str],
    *,
    since: float,
    until: float,
    time_zone: str,
    holidays: Sequence[date] = (),
    step_s: int = 900,
) -> WeekQuantiles:
    """Return median and quantiles of some sensors by time of the week; holidays are a day apart.

    They are those of the five-minute means of the rollups, so that no accident of one day moves the median.

    Raises
    ------
    InputError
        When the step is no multiple of 300 s that divides a day, or the zone is not known.
    """
    if step_s <= 0 or step_s % STEP_S or 86_400 % step_s:
        raise InputError(f"step_s is {step_s}, must be a multiple of {STEP_S} that divides a day")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InputError(f"time_zone is {time_zone!r}, must be an IANA zone such as 'Asia/Shanghai'") from None
    names = [name for name in sensor_ids if storable(name)]
    rows = database.fetch(
        "SELECT s.sensor_id, s.quantity, kind * (86400 / %s) + extract(epoch FROM local::time)::int / %s AS slot,"
        " count(DISTINCT local::date)::int,"
        " percentile_cont(ARRAY[0.1587, 0.5, 0.8413]) WITHIN GROUP (ORDER BY mean)"
        " FROM (SELECT series_id, local, mean,"
        " CASE WHEN local::date = ANY(%s::date[]) THEN 7 ELSE extract(isodow FROM local)::int - 1 END AS kind"
        " FROM (SELECT series_id, time AT TIME ZONE %s AS local, total / n_good AS mean FROM rollup"
        " WHERE series_id = ANY(SELECT series_id FROM series WHERE sensor_id = ANY(%s) AND quantity = ANY(%s))"
        " AND time >= to_timestamp(%s) AND time < to_timestamp(%s) AND n_good > 0) AS r) AS d"
        " JOIN series AS s USING (series_id)"
        " GROUP BY s.sensor_id, s.quantity, slot ORDER BY s.sensor_id, s.quantity, slot",
        (step_s, step_s, list(holidays), time_zone, names, list(quantities), since, until),
    )
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), (), ()]
    return WeekQuantiles(
        sensor_id=tuple(columns[0]),
        quantity=tuple(columns[1]),
        slot=np.array(columns[2], np.int64),
        n_days=np.array(columns[3], np.int64),
        quantile=np.array(columns[4], np.float64).reshape(-1, 3),
        step_s=step_s,
    )


def completeness(database: Database, *, since: float, until: float, time_zone: str) -> list[Completeness]:
    """Return what came in of each sensor that sent anything, by day of a zone; days are counted whole."""
    rows = database.fetch(
        "SELECT sensor_id, day::text, max(n), interval_s,"
        " extract(epoch FROM (day + 1)::timestamp AT TIME ZONE %s - day::timestamp AT TIME ZONE %s)::float8"
        " FROM (SELECT series_id, (time AT TIME ZONE %s)::date AS day, sum(n)::int8 AS n FROM rollup"
        " WHERE time >= to_timestamp(%s) AND time < to_timestamp(%s) GROUP BY series_id, day) AS d"
        " JOIN series USING (series_id) JOIN sensor USING (sensor_id)"
        " GROUP BY sensor_id, day, interval_s ORDER BY sensor_id, day",
        (time_zone, time_zone, time_zone, since, until),
    )
    return [
        Completeness(sensor, day, n, round(seconds / interval) if interval else None)
        for sensor, day, n, interval, seconds in rows
    ]


def buckets_of(rows: "list[tuple[object, ...]]") -> Buckets:
    """Return the buckets of rows, whose columns are theirs."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    return Buckets(
        np.array(columns[0], np.int64),
        np.array(columns[1], np.int64),
        *(np.array(column, np.float64) for column in columns[2:]),
    )


class Rollups(Chore):
    """Keeps the rollups up to date, every so many wall seconds."""

    def __init__(self, database: Database, *, every_s: float = EVERY_S) -> None:
        super().__init__("rollups", every_s=every_s, undone="rollups are behind")
        self._database = database

    def do(self) -> int:
        """Sum everything that is due, and return how many buckets."""
        total = 0
        while (n := refresh(self._database)) and not self.stopping:
            total += n
            if n < MOST_BUCKETS:
                break
        return total
