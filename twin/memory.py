"""What the twin remembers of each series (sensor and quantity), as columns that grow; vectorised over a batch."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from sensors import Batch, Sensor
from sensors.reading import Quality
from twin.state import SensorState

Float = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# A value with these flags is not evidence. A jump (RATE) is what the head of a queue looks like, lateness and an
# unverified sensor say nothing about the value: those are used.
UNUSABLE = int(Quality.RANGE | Quality.STUCK | Quality.CONTRADICTION)
# A series is stuck when its run of repeats has less than this chance, given how often it repeats otherwise.
STUCK_CHANCE = 1e-8
# Of a longer run only so many repeats count as habit as have this chance.
CREDIBLE_CHANCE = 1e-2
# Before anything is known, three of ten readings are taken to repeat the one before (whole km/h repeat that often).
REPEATS_PRIOR, READINGS_PRIOR = 3.0, 10.0
# Some detectors have a ceiling, and say it all night. The value at which a series repeats so many times more than at
# all others together has a chance of its own: there long runs are habit, elsewhere they are not.
CEILING_REPEATS = 10
UNKNOWN_INTERVAL_S = 60.0
# Intervals shorter than this swing with every signal cycle: they are averaged over about one. A mean speed is distance
# over time of all vehicles (Edie), hence of paces and weighted by vehicles; that also makes a jam show at its first
# reading. Below the floor, about the deviation of a detector, a pace is noise.
SHORT_S, AVERAGING_S, SLOWEST_KMH = 60.0, 90.0, 3.0
AVERAGED = frozenset({"flow_veh_h", "count_veh", "occupancy", "density_veh_km", "speed_kmh", "travel_time_s"})
# Zero is the ordinary value of these when no vehicle comes.
COUNTS = frozenset({"flow_veh_h", "count_veh"})
EMPTY_AT_ZERO = COUNTS | {"occupancy", "density_veh_km", "queue_veh"}
# These do not exist without a vehicle; feeds repeat the last one then.
NEED_VEHICLES = frozenset({"speed_kmh", "travel_time_s"})
N_GAPS = 7

_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    **dict.fromkeys(("time", "value", "valid_time", "valid_value", "unchanged_since"), (np.float64, ())),
    **dict.fromkeys(("expected_since", "interval", "first_time"), (np.float64, ())),
    **dict.fromkeys(("mean_total", "mean_weight"), (np.float64, ())),
    "gaps": (np.float64, (N_GAPS,)),
    # Repeats in the present run; repeats and readings before it, from which the chance of a repeat is learned.
    **dict.fromkeys(("repeats", "habit", "readings"), (np.int64, ())),
    # The value that repeats most, by how many repeats it is ahead, and habit and readings of it alone.
    "ceiling": (np.float64, ()),
    **dict.fromkeys(("ahead", "ceiling_habit", "ceiling_readings"), (np.int64, ())),
    "sensor": (np.int64, ()),
    **dict.fromkeys(("registered", "fixed_interval", "averaged", "is_speed"), (np.bool_, ())),
    **dict.fromkeys(("needs_vehicles", "is_count", "zero_is_empty", "is_occupancy"), (np.bool_, ())),
}


class Memory:
    """Last readings, repeats and intervals of every series.

    Parameters
    ----------
    sensors
        Those of the network; others join when they first report.
    started_at
        City time from which the sensors of the network are expected to report, s since 1970 UTC.
    """

    def __init__(self, sensors: Iterable[Sensor], *, started_at: float) -> None:
        self.sensor_ids: list[str] = []
        self.quantities: list[str] = []
        self.link_ids: list[str] = []
        self._started_at = started_at
        self.late = 0  # readings not newer than what was known; they change nothing here
        self._row: dict[tuple[str, str], int] = {}
        self._sensors: dict[str, tuple[int, Sensor | None]] = {}
        self._columns: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((0, *shape), dtype) for name, (dtype, shape) in _COLUMNS.items()
        }
        self._empty_ms = np.zeros(0, np.int64)  # by sensor: newest time at which it counted no vehicle, -1 never
        for sensor in sensors:
            self._sensors[sensor.sensor_id] = (len(self._sensors), sensor)
            for quantity in sensor.quantities:
                self._add(sensor.sensor_id, quantity, since=started_at)

    def __len__(self) -> int:
        return len(self.sensor_ids)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one column, (n_series, ...), as it stands."""
        return self._columns[name][: len(self)]

    def _add(self, sensor_id: str, quantity: str, *, since: float) -> int:
        row = self._row.get((sensor_id, quantity))
        if row is not None:
            return row
        row = len(self)
        if row >= len(self._columns["time"]):
            for name, old in self._columns.items():
                new = np.zeros((max(64, 2 * row), *old.shape[1:]), old.dtype)
                new[:row] = old
                self._columns[name] = new
        position, sensor = self._sensors.setdefault(sensor_id, (len(self._sensors), None))
        self._row[sensor_id, quantity] = row
        self.sensor_ids.append(sensor_id)
        self.quantities.append(quantity)
        self.link_ids.append(sensor.link_id if sensor else "")
        known = sensor is not None and math.isfinite(sensor.interval_s) and sensor.interval_s > 0
        first = {
            "time": math.nan,
            "value": math.nan,
            "valid_time": math.nan,
            "valid_value": math.nan,
            "unchanged_since": math.nan,
            "first_time": math.nan,
            "ceiling": math.nan,
            "expected_since": since,
            "interval": sensor.interval_s if sensor is not None and known else UNKNOWN_INTERVAL_S,
            "fixed_interval": known,
            "gaps": math.nan,
            "sensor": position,
            "registered": sensor is not None,
            "needs_vehicles": quantity in NEED_VEHICLES,
            "is_occupancy": quantity == "occupancy",
            "is_count": quantity in COUNTS,
            "zero_is_empty": quantity in EMPTY_AT_ZERO,
            "averaged": quantity in AVERAGED,
            "is_speed": quantity == "speed_kmh",
        }
        for name, value in first.items():
            self._columns[name][row] = value
        return row

    def learn(self, batch: Batch, *, now: float) -> None:
        """Take the readings of a batch in the order of their time; those not newer than what is known count as late."""
        if not len(batch):
            return
        keys = zip(batch.sensor_id, batch.quantity, strict=True)
        rows = np.array([self._row.get(key, -1) for key in keys], np.int64)
        for i in np.flatnonzero(rows < 0).tolist():
            rows[i] = self._add(batch.sensor_id[i], batch.quantity[i], since=now)
        usable = (batch.quality & UNUSABLE == 0) & np.isfinite(batch.value)
        zero = self.column("zero_is_empty")[rows] & (batch.value <= 0)
        void = self.column("needs_vehicles")[rows] & self._empty(rows, batch)
        usable &= ~void
        # An empty street and a fully covered detector repeat their value for good reason.
        full = self.column("is_occupancy")[rows] & (batch.value >= 1)
        absent = zero | void | full
        weight = self._vehicles(rows, batch)
        order = np.lexsort((batch.time_ms, rows))
        start = np.flatnonzero(np.diff(rows[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(start, np.diff(start, append=len(order)))
        for turn in range(int(rank.max()) + 1):  # each turn has every series at most once
            at = order[rank == turn]
            self._learn_once(rows[at], batch.time_ms[at] / 1000.0, batch.value[at], usable[at], absent[at], weight[at])

    def _empty(self, rows: Int64, batch: Batch) -> Bool:
        """Return which readings belong to an interval in which their sensor counted no vehicle."""
        sensor = self.column("sensor")[rows]
        counted = self.column("is_count")[rows] & (batch.value <= 0)
        new = len(self._sensors) - len(self._empty_ms)
        self._empty_ms = np.concatenate((self._empty_ms, np.full(new, -1)))
        np.maximum.at(self._empty_ms, sensor[counted], batch.time_ms[counted])
        key = (sensor << 42) | batch.time_ms  # 2 ** 42 ms lasts until 2109
        return np.asarray(np.isin(key, key[counted]) | (self._empty_ms[sensor] == batch.time_ms), np.bool_)

    def _vehicles(self, rows: Int64, batch: Batch) -> Float:
        """Return how much each reading weighs: a speed by the flow or count of its interval, anything else 1."""
        weight = np.ones(len(rows))
        key = (self.column("sensor")[rows] << 42) | batch.time_ms
        counted = np.flatnonzero(self.column("is_count")[rows] & (batch.value > 0))
        wanting = np.flatnonzero(self.column("needs_vehicles")[rows])
        if len(counted) and len(wanting):
            counted = counted[np.argsort(key[counted], kind="stable")]
            found = np.minimum(np.searchsorted(key[counted], key[wanting]), len(counted) - 1)
            same = key[counted][found] == key[wanting]
            weight[wanting[same]] = batch.value[counted[found[same]]]
        return weight

    def _learn_once(self, rows: Int64, time: Float, value: Float, usable: Bool, absent: Bool, weight: Float) -> None:
        """Take at most one reading of each series."""
        newer = ~(time <= self.column("time")[rows])
        self.late += int(np.count_nonzero(~newer))
        rows, time, value, usable, absent = rows[newer], time[newer], value[newer], usable[newer], absent[newer]
        weight = weight[newer]
        gap = time - self.column("time")[rows]
        self._learn_interval(rows, gap)
        run, habit, readings = (self.column(name)[rows] for name in ("repeats", "habit", "readings"))
        again = (value == self.column("value")[rows]) & ~absent
        # A run joins the habit when it breaks off, and not at all if it was taken for stuck.
        ended = ~again & ~self._stuck(rows)
        # Nor does more of it than the habit makes credible: a short outage that the feed filled up is no habit.
        credible = np.log(CREDIBLE_CHANCE) / np.log(self._chance(rows))
        counted = np.minimum(run, np.ceil(credible)).astype(np.int64)
        self.column("habit")[rows] = habit + np.where(ended, counted, 0)
        self.column("readings")[rows] = readings + np.where(ended, counted + ~absent, 0)
        self._learn_ceiling(rows[ended], counted[ended], counted[ended] + ~absent[ended])
        self.column("repeats")[rows] = np.where(again, run + 1, 0)
        first = self.column("first_time")[rows]
        self.column("first_time")[rows] = np.where(np.isnan(first), time, first)
        self.column("unchanged_since")[rows] = np.where(again, self.column("unchanged_since")[rows], time)
        self.column("time")[rows] = time
        self.column("value")[rows] = value
        self._learn_valid(rows[usable], time[usable], value[usable], weight[usable])

    def _learn_ceiling(self, rows: Int64, repeats: Int64, readings: Int64) -> None:
        """Learn from runs that have ended at which value a series repeats most.

        Source: Boyer and Moore (1991), MJRTY, a fast majority vote algorithm, doi:10.1007/978-94-011-3488-0_5.
        """
        value, ahead = self.column("value")[rows], self.column("ahead")[rows]
        same = value == self.column("ceiling")[rows]
        ahead = np.where(same, ahead + repeats, ahead - repeats)
        other = ahead < 0
        for name, more in (("ceiling_habit", repeats), ("ceiling_readings", readings)):
            self.column(name)[rows] = np.where(other, 0, self.column(name)[rows]) + np.where(same | other, more, 0)
        self.column("ceiling")[rows] = np.where(other, value, self.column("ceiling")[rows])
        self.column("ahead")[rows] = np.abs(ahead)

    def _chance(self, rows: Int64 | slice) -> Float:
        """Return how likely the next reading repeats the last one, given how often such a one was repeated."""
        habit, readings = self.column("habit")[rows], self.column("readings")[rows]
        own_habit, own_readings = self.column("ceiling_habit")[rows], self.column("ceiling_readings")[rows]
        has = self.column("ahead")[rows] >= CEILING_REPEATS
        at = self.column("value")[rows] == self.column("ceiling")[rows]
        habit = np.where(has, np.where(at, own_habit, habit - own_habit), habit)
        readings = np.where(has, np.where(at, own_readings, readings - own_readings), readings)
        return np.asarray((habit + REPEATS_PRIOR) / (readings + READINGS_PRIOR), np.float64)

    def _learn_interval(self, rows: Int64, gap: Float) -> None:
        """Learn the interval of series that no table gives as the median of the last gaps."""
        learns = np.isfinite(gap) & ~self.column("fixed_interval")[rows]
        rows, gap = rows[learns], gap[learns]
        if len(rows):
            gaps = np.concatenate((gap[:, None], self.column("gaps")[rows, :-1]), axis=1)
            self.column("gaps")[rows] = gaps
            self.column("interval")[rows] = np.nanmedian(gaps, axis=1)

    def _learn_valid(self, rows: Int64, time: Float, value: Float, weight: Float) -> None:
        """Keep the newest value that is evidence; of short intervals a moving mean, each weighing as its interval."""
        interval = self.column("interval")[rows]
        since = np.maximum(time - self.column("valid_time")[rows], interval)  # NaN at the first
        keep = np.exp(-np.nan_to_num(since, nan=np.inf) / AVERAGING_S)
        keep *= self.column("averaged")[rows] & (interval < SHORT_S)
        is_speed = self.column("is_speed")[rows]
        mean_of = np.where(is_speed, 1 / np.maximum(value, SLOWEST_KMH), value)
        total = keep * self.column("mean_total")[rows] + (1 - keep) * weight * mean_of
        weights = keep * self.column("mean_weight")[rows] + (1 - keep) * weight
        mean = np.where(is_speed, weights / np.where(is_speed, total, 1.0), total / weights)
        self.column("mean_total")[rows], self.column("mean_weight")[rows] = total, weights
        self.column("valid_value")[rows] = np.where(keep > 0, mean, value)
        self.column("valid_time")[rows] = time

    def _stuck(self, rows: Int64 | slice) -> Bool:
        repeats = self.column("repeats")[rows]
        return np.asarray(repeats * np.log(self._chance(rows)) < math.log(STUCK_CHANCE), np.bool_)

    def stuck(self) -> Bool:
        """Return which series repeat their value for longer than their own past makes likely."""
        return self._stuck(slice(None))

    def contradicted(self) -> Bool:
        """Return which series' newest valid value is of an interval that turned out, later, to be without vehicles."""
        if not len(self._empty_ms):
            return np.zeros(len(self), np.bool_)
        empty = self._empty_ms[self.column("sensor")]
        newest = np.nan_to_num(self.column("valid_time") * 1000.0, nan=-2.0).round().astype(np.int64)
        return np.asarray((newest == empty) & self.column("needs_vehicles"), np.bool_)

    def expect(self, series: Bool, *, now: float) -> None:
        """Expect sensors that were dark to report from now on; until then they are not silent."""
        self.column("expected_since")[series] = now

    def state(self, *, now: float, silent_intervals: float, silent_s: float, dark: Bool | None = None) -> SensorState:
        """Return what is known of every series at city time ``now``.

        A sensor is silent when none of its series has reported for ``silent_intervals`` and for ``silent_s``, and it is
        not ``dark`` (n_series,).
        """
        dark = np.zeros(len(self), np.bool_) if dark is None else dark
        sensor = self.column("sensor")
        newest = np.full(len(self._sensors), -np.inf)
        heard = np.fmax(self.column("time"), self.column("expected_since"))
        np.fmax.at(newest, sensor, heard)
        limit = np.maximum(silent_intervals * self.column("interval"), silent_s)
        return SensorState(
            sensor_ids=tuple(self.sensor_ids),
            quantities=tuple(self.quantities),
            link_ids=tuple(self.link_ids),
            time=self.column("time").copy(),
            value=self.column("value").copy(),
            interval_s=self.column("interval").copy(),
            unchanged_since=self.column("unchanged_since").copy(),
            expected_since=self.column("expected_since").copy(),
            repeats=self.column("repeats").copy(),
            silent=np.asarray((now - newest[sensor] > limit) & ~dark, np.bool_),
            dark=dark.copy(),
            stuck=self.stuck(),
            registered=self.column("registered").copy(),
            reported=np.asarray(self.column("time") > self._started_at, np.bool_),
            first_time=self.column("first_time").copy(),
        )
