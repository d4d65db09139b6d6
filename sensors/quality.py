"""Quality flags: what is doubtful about a reading, judged on whole batches; flagged readings are stored all the same.

A series is a (sensor, quantity) pair; a `SeriesMemory` holds what was last known of each, so that batches may be cut
anywhere. Pure: the result depends on the batch and the memory alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import repeat
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sensors.quantity import QUANTITIES, Quantity
from sensors.reading import Batch, Quality

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

LATE_AFTER_S = 300.0
_LONG_AGO = int(np.iinfo(np.int64).min)

# Flow against occupancy: q / lanes * L / v is the share of time that vehicles of length L at speed v cover a detector.
_SHORTEST_M = 3.5  # motorcycle of 2 m over a loop of 1.8 m, rounded down
_FASTEST_M_S = 250 / 3.6  # when the speed is not known: the end of its range
_SHORTEST_GAP_S = 0.2  # time between two vehicles in which a detector is free: 2 m at 10 m/s
_TOLERANCE = 0.01  # many devices send whole per cent
_UNKNOWN_LANES = 8  # lenient: more lanes mean fewer contradictions

# One row a quantity, the last one for keys that are none.
_PLACE = {key: place for place, key in enumerate(QUANTITIES)}
_NEUTRAL = Quantity("", "", 1, -np.inf, np.inf)
_TABLE = (*QUANTITIES.values(), _NEUTRAL)
_MINIMUM = np.array([q.minimum for q in _TABLE])
_MAXIMUM = np.array([q.maximum for q in _TABLE])
_MAX_RATE = np.array([q.max_rate for q in _TABLE])
_STUCK_AFTER = np.array([q.stuck_after for q in _TABLE])
_ZERO_RESTS = np.array([q.zero_rests for q in _TABLE])
_VEHICLES = np.isin([q.key for q in _TABLE], ["flow_veh_h", "count_veh"])
_OF_VEHICLES = np.isin([q.key for q in _TABLE], ["speed_kmh", "travel_time_s"])
_FLOW, _SPEED, _OCCUPANCY = _PLACE["flow_veh_h"], _PLACE["speed_kmh"], _PLACE["occupancy"]


class SeriesMemory:
    """What was last known of each series; one memory for one stream of batches, kept between them.

    Parameters
    ----------
    lanes
        Lanes by sensor id, as in ``sensor.csv``; makes the check of flow against occupancy sharper.
    """

    def __init__(self, *, lanes: Mapping[str, int] | None = None) -> None:
        self._lanes_of = dict(lanes or {})
        self._series: dict[tuple[str, str], int] = {}
        self._sensors: dict[str, int] = {}
        self.watermark_ms: int = _LONG_AGO  # newest reading of all
        # by series
        self.quantity = np.zeros(0, np.int64)
        self.sensor = np.zeros(0, np.int64)
        self.newest_ms = np.zeros(0, np.int64)  # of any reading
        self.time_ms = np.zeros(0, np.int64)  # of the last one that measured something
        self.value = np.zeros(0)
        self.run = np.zeros(0, np.int64)  # how many equal values in a row end with it
        # by sensor
        self.lanes = np.zeros(0)
        self.empty_ms = np.zeros(0, np.int64)  # newest interval without vehicles

    def learn_lanes(self, lanes: Mapping[str, int]) -> None:
        """Take lanes by sensor id that became known later."""
        self._lanes_of.update(lanes)
        for sensor_id, n in lanes.items():
            if (sensor := self._sensors.get(sensor_id)) is not None:
                self.lanes[sensor] = max(1, n)

    def positions(self, batch: Batch) -> Int:
        """Return the (n,) positions of a batch's series, entering those that are new."""
        pairs = zip(batch.sensor_id, batch.quantity, strict=True)
        found = np.fromiter(map(self._series.get, pairs, repeat(-1)), np.int64, len(batch))
        for row in np.flatnonzero(found < 0).tolist():
            found[row] = self._enter(batch.sensor_id[row], batch.quantity[row])
        return found

    def _enter(self, sensor_id: str, quantity: str) -> int:
        sensor = self._sensors.setdefault(sensor_id, len(self._sensors))
        position = self._series.setdefault((sensor_id, quantity), len(self._series))
        if sensor >= len(self.lanes):
            self.lanes = _grown(self.lanes, _UNKNOWN_LANES)
            self.empty_ms = _grown(self.empty_ms, _LONG_AGO)
        if position >= len(self.value):
            self.quantity = _grown(self.quantity, len(_TABLE) - 1)
            self.sensor = _grown(self.sensor, 0)
            self.newest_ms = _grown(self.newest_ms, _LONG_AGO)
            self.time_ms = _grown(self.time_ms, _LONG_AGO)
            self.value = _grown(self.value, np.nan)
            self.run = _grown(self.run, 0)
        self.lanes[sensor] = max(1, self._lanes_of.get(sensor_id, _UNKNOWN_LANES))
        self.sensor[position] = sensor
        self.quantity[position] = _PLACE.get(quantity, len(_TABLE) - 1)
        return position


def _grown(array: npt.NDArray[Scalar], fill: object) -> npt.NDArray[Scalar]:
    return np.concatenate([array, np.full(max(64, len(array)), fill, array.dtype)])


def flag(batch: Batch, memory: SeriesMemory, *, late_after_s: float = LATE_AFTER_S) -> Batch:
    """Return the batch with the flags of `Quality` set, and let the memory learn its values.

    RANGE: outside the physical range of the quantity. RATE: a faster change than is credible since the last good
    reading. STUCK: more equal readings in a row than are credible. CONTRADICTION: flow and occupancy of the same sensor
    and time exclude each other. LATE: older than the newest known of its series, or received ``late_after_s`` after its
    time. NO_VEHICLES: see `no_vehicles`. Flags that are already set stay.

    A reading that measures nothing (NO_VEHICLES), is impossible (RANGE), late or a repeated delivery is neither judged
    for RATE and STUCK nor remembered; a value of 0 that may rest (no vehicle, no wind) is never STUCK and ends a row of
    equal values.

    Examples
    --------
    >>> from sensors.reading import Reading
    >>> memory = SeriesMemory()
    >>> readings = [Reading("D1", "speed_kmh", 60_000 * minute, 48.5) for minute in range(14)]
    >>> flag(Batch.of(readings, received_at=840.0), memory).quality.tolist()[-3:]
    [0, 4, 4]
    """
    if len(batch) == 0:
        return batch
    series = memory.positions(batch)
    kind, sensor = memory.quantity[series], memory.sensor[series]
    time, value = batch.time_ms, batch.value
    # An interval is one sensor and one time: what a payload tells together.
    interval = _groups(sensor, time)
    empty = _without_vehicles(memory, sensor, kind, time, value, interval)
    outside = ~((value >= _MINIMUM[kind]) & (value <= _MAXIMUM[kind]))
    behind = time < memory.newest_ms[series]
    # Not the clock alone: at full speed a batch of a replay spans minutes, and none of it is late. Nor the newest
    # reading alone: a device whose clock is ahead would make all others late.
    expected_ms = min(memory.watermark_ms, batch.received_at * 1000) - late_after_s * 1000
    quality = batch.quality.copy()
    _set(quality, outside, Quality.RANGE)
    _set(quality, empty, Quality.NO_VEHICLES)
    _set(quality, behind | (time < expected_ms), Quality.LATE)
    _set(quality, _contradicting(memory, sensor, kind, value, interval), Quality.CONTRADICTION)
    _judge_in_time(memory, series, time, value, ~(empty | outside | behind), quality)
    np.maximum.at(memory.newest_ms, series, time)
    memory.watermark_ms = max(memory.watermark_ms, int(time.max()))
    return replace(batch, quality=quality)


def _set(quality: npt.NDArray[np.uint16], rows: Bool | Int, flag: Quality) -> None:
    quality[rows] |= np.uint16(flag)


def no_vehicles(batch: Batch) -> Bool:
    """Return (n,) whether a reading is a mean over vehicles of an interval in which the same sensor counted none.

    Such a speed or travel time measures nothing: many devices repeat the last one (in Aarhus 45 % of all rows). It is
    stored as it came; whoever takes speeds for evidence leaves these out: ``batch.take(~no_vehicles(batch))``, or
    reads the flag NO_VEHICLES that `flag` sets by the same rule.

    Examples
    --------
    >>> from sensors.reading import Reading
    >>> of = [Reading("A", "count_veh", 0, 0.0), Reading("A", "speed_kmh", 0, 61.0), Reading("B", "speed_kmh", 0, 50.0)]
    >>> no_vehicles(Batch.of(of, received_at=1.0)).tolist()
    [False, True, False]
    """
    memory = SeriesMemory()
    series = memory.positions(batch)
    kind, sensor = memory.quantity[series], memory.sensor[series]
    interval = _groups(sensor, batch.time_ms)
    return _without_vehicles(memory, sensor, kind, batch.time_ms, batch.value, interval)


def _groups(sensor: Int, time: Int) -> Int:
    """Return (n,) the number of each row's (sensor, time) pair, 0, 1, 2, ..."""
    if len(sensor) == 0:
        return np.zeros(0, np.int64)
    order = np.lexsort((time, sensor))
    new = (np.diff(sensor[order]) != 0) | (np.diff(time[order]) != 0)
    group = np.empty(len(sensor), np.int64)
    group[order] = np.concatenate([[0], np.cumsum(new)])
    return group


def _without_vehicles(memory: SeriesMemory, sensor: Int, kind: Int, time: Int, value: Float, interval: Int) -> Bool:
    counted_none = _VEHICLES[kind] & (value == 0)
    none_there = np.bincount(interval, weights=counted_none) > 0
    # A batch may have been cut between a count and its speed.
    empty: Bool = _OF_VEHICLES[kind] & (none_there[interval] | (time == memory.empty_ms[sensor]))
    np.maximum.at(memory.empty_ms, sensor[counted_none], time[counted_none])
    return empty


def _contradicting(memory: SeriesMemory, sensor: Int, kind: Int, value: Float, interval: Int) -> Bool:
    """Return (n,) the flows and occupancies that exclude each other: too little or too much cover for the vehicles."""
    measured = {}
    for quantity in (_FLOW, _OCCUPANCY, _SPEED):
        rows = kind == quantity
        column = np.full(int(interval.max()) + 1, np.nan)
        column[interval[rows]] = value[rows]
        measured[quantity] = column
    lanes = np.ones(int(interval.max()) + 1)
    lanes[interval] = memory.lanes[sensor]
    per_lane = measured[_FLOW] / 3600 / lanes  # veh/s
    speed = np.where(measured[_SPEED] > 0, measured[_SPEED] / 3.6, _FASTEST_M_S)
    occupancy = measured[_OCCUPANCY]
    # Comparisons with NaN (not measured) are false.
    too_little = occupancy + _TOLERANCE < per_lane * _SHORTEST_M / speed
    too_much = occupancy - _TOLERANCE > 1 - per_lane * _SHORTEST_GAP_S
    concerned: Bool = (too_little | too_much)[interval] & ((kind == _FLOW) | (kind == _OCCUPANCY))
    return concerned


def _judge_in_time(
    memory: SeriesMemory, series: Int, time: Int, value: Float, measures: Bool, quality: npt.NDArray[np.uint16]
) -> None:
    """Set RATE and STUCK on the rows that measure something, in order of time, and remember the last of each series."""
    rows = np.flatnonzero(measures)
    rows = rows[np.lexsort((time[rows], series[rows]))]
    s, t = series[rows], time[rows]
    first = np.concatenate([[True], np.diff(s) != 0])[: len(s)]
    # A second delivery has the time of the row before it (or of the memory), and tells nothing new.
    fresh = np.concatenate([[True], np.diff(t) != 0])[: len(t)] | first
    fresh &= t > memory.time_ms[s]
    rows = rows[fresh]
    if len(rows) == 0:
        return
    s, t, v = series[rows], time[rows], value[rows]
    kind = memory.quantity[s]
    first = np.concatenate([[True], np.diff(s) != 0])
    last = np.concatenate([first[1:], [True]])
    before_t = np.where(first, memory.time_ms[s], np.concatenate([[0], t[:-1]]))
    before_v = np.where(first, memory.value[s], np.concatenate([[np.nan], v[:-1]]))
    known = before_v == before_v
    seconds = np.where(known, t - np.where(known, before_t, 0), 1) / 1000
    too_fast = known & (np.abs(v - before_v) > _MAX_RATE[kind] * seconds)
    starts = (v != before_v) | ((v == 0) & _ZERO_RESTS[kind])
    # Length of the row of equal values that ends here: since its start in this batch, or continued from the memory.
    place = np.arange(len(v))
    since = np.maximum.accumulate(np.where(first | starts, place, 0))
    continued = ~starts[since]
    run = place - since + 1 + np.where(continued, memory.run[s], 0)
    limit = _STUCK_AFTER[kind]
    _set(quality, rows[too_fast], Quality.RATE)
    _set(quality, rows[(limit > 0) & (run > limit)], Quality.STUCK)
    memory.time_ms[s[last]] = t[last]
    memory.value[s[last]] = v[last]
    memory.run[s[last]] = run[last]
