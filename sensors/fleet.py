"""Virtual sensors: what a fleet of devices would publish, given the truth in the street.

Pure and seeded: the noise of one interval of one sensor depends on the seed, the sensor's id and the interval alone,
never on what was asked before; only a stuck sensor remembers what it published last.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from sensors.codecs.json_values import MAX_SENSOR_ID
from sensors.errors import InputError
from sensors.fault import Fault, FaultKind
from sensors.quantity import QUANTITIES
from sensors.sensor import Sensor

# Truth of one sensor over [from_s, until_s), s since 1970 UTC: value by quantity; absent, None or NaN: not measured.
Measure = Callable[[Sensor, float, float], Mapping[str, float | None]]

# Means over vehicles: without a vehicle there is nothing to take the mean of.
_OF_VEHICLES = frozenset({"speed_kmh", "travel_time_s"})
_VEHICLES = ("flow_veh_h", "count_veh")
# Noise of a sensor whose standard deviation is not known: an assumption, so that nothing is measured perfectly.
_UNKNOWN_SHARE = 0.05
_DIGITS = {key: round(math.log10(q.scale)) for key, q in QUANTITIES.items()}
_NOT_IN_A_TOPIC = re.compile(r"[/+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_json = msgspec.json.Encoder()


def _key(seed: int, sensor_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{sensor_id}".encode(), digest_size=8).digest(), "little")


def _uniform(key: npt.NDArray[np.uint64], interval: npt.NDArray[np.int64], stream: int) -> npt.NDArray[np.float64]:
    """Return numbers in (0, 1) that depend on the three arguments alone.

    Notes
    -----
    Source: Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators, doi:10.1145/2660193.2660195
    (the finaliser of SplitMix64; applied twice, since consecutive intervals differ in few bits).
    """
    offset = np.uint64(stream * 0xD1B54A32D192ED03 % 2**64)
    state = key + interval.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + offset
    for _ in range(2):
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    numbers: npt.NDArray[np.float64] = ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return numbers


def _normal(key: npt.NDArray[np.uint64], interval: npt.NDArray[np.int64], stream: int) -> npt.NDArray[np.float64]:
    """Return standard normal numbers (Box and Muller 1958, doi:10.1214/aoms/1177706645)."""
    radius = np.sqrt(-2 * np.log(_uniform(key, interval, 2 * stream)))
    numbers: npt.NDArray[np.float64] = radius * np.cos(2 * np.pi * _uniform(key, interval, 2 * stream + 1))
    return numbers


class Fleet:
    """Virtual sensors that publish at the end of each of their intervals, each with a phase of its own.

    Parameters
    ----------
    sensors
        Who publishes.
    seed
        Another seed, another noise and other phases.
    faults
        What is wrong with whom; `inject` adds more.
    districts
        Level ``<district>`` of the topic by sensor id; else the sensor's owner, else ``centre``.
    start_s
        City time from which intervals are published, s since 1970 UTC; without it, that of the first call.

    Raises
    ------
    InputError
        For every sensor that cannot publish: an id twice or unfit for a topic, an unknown quantity, a bad interval.

    Examples
    --------
    >>> fleet = Fleet([Sensor("D1", quantities=("speed_kmh",), standard_deviation=(0.0,))], seed=1, start_s=0.0)
    >>> fleet.payloads(120.0, lambda sensor, from_s, until_s: {"speed_kmh": 50.0})[0][0]
    'city/centre/D1'
    """

    def __init__(
        self,
        sensors: Iterable[Sensor],
        *,
        seed: int = 0,
        faults: Iterable[Fault] = (),
        districts: Mapping[str, str] | None = None,
        start_s: float | None = None,
    ) -> None:
        self.sensors = tuple(sensors)
        _check(self.sensors)
        named = districts or {}
        self.topics = tuple(f"city/{_district(named.get(s.sensor_id) or s.owner)}/{s.sensor_id}" for s in self.sensors)
        self._positions = {s.sensor_id: position for position, s in enumerate(self.sensors)}
        self._interval = np.array([s.interval_s for s in self.sensors], np.float64)
        self._key = np.array([_key(seed, s.sensor_id) for s in self.sensors], np.uint64)
        # On the millisecond grid, or an interval's end would round to another millisecond now and then.
        phase = _uniform(self._key, np.full(len(self.sensors), -1, np.int64), 0) * self._interval
        self._phase = np.floor(phase * 1000) / 1000
        self._next = self._ended(start_s) if start_s is not None else None
        self._published: list[dict[str, float]] = [{} for _ in self.sensors]
        self._faults: dict[str, list[Fault]] = {}
        for fault in faults:
            self.inject(fault)

    def inject(self, fault: Fault) -> None:
        """Add a fault while the fleet runs.

        Raises
        ------
        InputError
            When the fleet has no such sensor.
        """
        if fault.sensor_id not in self._positions:
            raise InputError(f"fault of {fault.sensor_id}: the fleet has no sensor of this id")
        self._faults.setdefault(fault.sensor_id, []).append(fault)

    def faults(self, now: float) -> tuple[Fault, ...]:
        """Return the faults that are active at a city time."""
        return tuple(fault for faults in self._faults.values() for fault in faults if fault.active(now))

    def due(self, now: float) -> npt.NDArray[np.int64]:
        """Return the positions of the sensors whose interval ended since the last `payloads`, in order."""
        ended = self._ended(now)
        if self._next is None:
            self._next = ended
        return np.flatnonzero(ended > self._next)

    def payloads(self, now: float, measure: Measure) -> list[tuple[str, bytes]]:
        """Return (topic, payload) of every interval that ended since the last call, oldest first.

        Parameters
        ----------
        now : s since 1970 UTC
        measure
            Tells the truth of a sensor over one of its intervals.
        """
        due = self.due(now)
        assert self._next is not None
        counts = self._ended(now)[due] - self._next[due]
        position = np.repeat(due, counts)
        # 0, 1, 2, ... within each sensor: the running number minus that of the sensor's first interval
        interval = self._next[position] + np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._next[due] += counts
        until = self._phase[position] + (interval + 1) * self._interval[position]
        order = np.lexsort((position, until))
        position, interval, until = position[order], interval[order], until[order]
        key = self._key[position]
        width = max((len(self.sensors[p].quantities) for p in due), default=0)
        normals = np.stack([_normal(key, interval, 1 + stream) for stream in range(width)] or [until], axis=1).tolist()
        lost = _uniform(key, interval, 0).tolist()
        out = []
        for row, (p, until_s) in enumerate(zip(position.tolist(), until.tolist(), strict=True)):
            sensor = self.sensors[p]
            truth = measure(sensor, until_s - sensor.interval_s, until_s)
            values = self._values(p, until_s, _noisy(sensor, truth, normals[row]), lost[row])
            if values:
                out.append((self.topics[p], _json.encode({"t": round(until_s * 1000), **values})))
        return out

    def _ended(self, now: float) -> npt.NDArray[np.int64]:
        # A ten-thousandth of a ms of grace: the sum phase + k * interval may round to just above its own end.
        return np.floor((now - self._phase) / self._interval + 1e-7 / self._interval).astype(np.int64)

    def _values(self, position: int, until_s: float, values: dict[str, float], lost: float) -> dict[str, float]:
        """Return what the device makes of its noisy values; empty when it publishes nothing."""
        sensor_id = self.sensors[position].sensor_id
        for fault in self._faults.get(sensor_id, ()):
            if not fault.active(until_s):
                continue
            if fault.kind is FaultKind.DEAD or (fault.kind is FaultKind.DROPOUT and lost < fault.share):
                return {}
            if fault.kind is FaultKind.STUCK:
                values = self._published[position] or values
            elif fault.kind is FaultKind.DRIFT:
                values = {key: _stored(key, value * fault.factor(until_s)) for key, value in values.items()}
        self._published[position] = values
        return values


def _district(name: str) -> str:
    return _NOT_IN_A_TOPIC.sub("-", name) or "centre"


def _stored(key: str, value: float) -> float:
    """Return a value within the range and at the resolution of its quantity."""
    q = QUANTITIES[key]
    return round(min(max(value, q.minimum), q.maximum), 0 if key == "count_veh" else _DIGITS[key])


def _noisy(sensor: Sensor, truth: Mapping[str, float | None], normals: Sequence[float]) -> dict[str, float]:
    values = {}
    for place, key in enumerate(sensor.quantities):
        true = truth.get(key)
        if true is None or true != true:
            continue
        sd = sensor.standard_deviation[place] if sensor.standard_deviation else _UNKNOWN_SHARE * abs(true)
        # A detector that nobody crossed counts nobody.
        noise = 0.0 if true == 0 and key in _VEHICLES else sd * normals[place]
        values[key] = _stored(key, true + noise)
    if any(truth.get(key) == 0 or values.get(key) == 0 for key in _VEHICLES):
        return {key: value for key, value in values.items() if key not in _OF_VEHICLES}
    return values


def _check(sensors: Sequence[Sensor]) -> None:
    faults = []
    seen: set[str] = set()
    for sensor in sensors:
        where = f"sensor {sensor.sensor_id!r}"
        if not 0 < len(sensor.sensor_id) <= MAX_SENSOR_ID or _NOT_IN_A_TOPIC.search(sensor.sensor_id):
            faults.append(f"{where}: the id must have 1 to {MAX_SENSOR_ID} characters, none of them / + # or control")
        if sensor.sensor_id in seen:
            faults.append(f"{where}: the id stands twice")
        seen.add(sensor.sensor_id)
        if not (math.isfinite(sensor.interval_s) and sensor.interval_s >= 0.001):
            faults.append(f"{where}: interval_s is {sensor.interval_s}, must be at least 0.001")
        faults += [f"{where}: unknown quantity {key!r}" for key in sensor.quantities if key not in QUANTITIES]
        if sensor.standard_deviation and len(sensor.standard_deviation) != len(sensor.quantities):
            faults.append(
                f"{where}: {len(sensor.standard_deviation)} standard deviations for {len(sensor.quantities)} quantities"
            )
        faults += [
            f"{where}: standard deviation is {sd}, must be >= 0"
            for sd in sensor.standard_deviation
            if not (math.isfinite(sd) and sd >= 0)
        ]
    if faults:
        raise InputError(faults)
