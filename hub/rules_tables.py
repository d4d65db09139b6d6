"""The columns that rules see: links, sensors and the network as a whole, in SI units unless the name says otherwise.

Speed, flow and density of a link are unknown while only guessed, a sensor's values while it is silent or dark: a rule
never fires on the prior, nor on an old value. What a twin that has just started cannot know yet is unknown too, so
that a restart resolves no alert: the age of a sensor that may still report, and whether its value goes on repeating.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hub.columns import Adjacent, Kind, Number, Truth
from hub.expression import Vocabulary
from sensors import QUANTITIES
from twin.compiled import CompiledNetwork
from twin.state import Snapshot, Source
from twin.twin import MAXIMUM_AGE_INTERVALS, MAXIMUM_AGE_S

FEW = 0.05  # a share of the sensors that makes no difference to whether a feed is silent
UNITS = {"kmh": 1 / 3.6, "veh_h": 1 / 3600, "veh_km": 1e-3, "minutes": 60.0}
SOURCES = {"guessed": float(Source.GUESSED), "estimated": float(Source.ESTIMATED), "measured": float(Source.MEASURED)}

_LINK_STATE = ("speed", "speed_deviation", "flow", "flow_deviation", "density")
_LINK_FIXED = {
    "free_flow_speed": "free_speed",
    "wave_speed": "wave_speed",
    "jam_density": "jam_density",
    "capacity": "capacity",
    "length": "length",
    "lanes": "lanes",
    "link_class": "link_class",
}
_LINK_SOURCES = ("source", "speed_source", "flow_source")
_SENSOR_NUMBERS = ("age_s", "interval_s", "unchanged_s", "repeats", "sensors_silent", "silent_share")
_SENSOR_TRUTHS = ("silent", "stuck", "suspected", "dark", "registered")
_NETWORK_NUMBERS = ("sensors_total", "sensors_silent", "silent_share", "measured_share", "speed_ratio")


def _kinds(**names: tuple[str, ...]) -> dict[str, Kind]:
    return {name: kind for kind, group in names.items() for name in group}  # type: ignore[misc]


VOCABULARIES: dict[str, Vocabulary] = {
    "link": Vocabulary(
        columns=_kinds(number=(*_LINK_STATE, *_LINK_FIXED, *_LINK_SOURCES), text=("link_id",)),
        constants={**UNITS, **SOURCES},
        ages=frozenset({"speed", "flow", "density"}),
        has_neighbours=True,
    ),
    "sensor": Vocabulary(
        columns=_kinds(number=(*_SENSOR_NUMBERS, *QUANTITIES), truth=_SENSOR_TRUTHS, text=("sensor_id", "link_id")),
        constants=UNITS,
        ages=frozenset(QUANTITIES),
    ),
    "network": Vocabulary(columns=_kinds(number=_NETWORK_NUMBERS), constants=UNITS),
}

# Names that a summary may use, beside labels of the same rule.
TEMPLATE_NAMES: dict[str, tuple[str, ...]] = {
    "link": (
        "name",
        "link_id",
        "upstream_name",
        "speed_kmh",
        "free_speed_kmh",
        "flow_veh_h",
        "density_veh_km",
        "source",
    ),
    "sensor": ("name", "sensor_id", "link_id", "age_min", "unchanged_min", "interval_s", "reason", *QUANTITIES),
    "network": ("name", "sensors_total", "sensors_silent", "silent_percent", "speed_percent"),
}


class LinkTable:
    """One row a link."""

    def __init__(self, snapshot: Snapshot, compiled: CompiledNetwork) -> None:
        self.subjects = compiled.link_ids
        self.cache: dict[str, Any] = {}
        self._snapshot, self._compiled = snapshot, compiled
        self._adjacent: dict[str, Adjacent] = {}
        self._source = {
            "speed": snapshot.speed_source,
            "flow": snapshot.flow_source,
            "density": np.minimum(snapshot.speed_source, snapshot.flow_source),
        }

    def column(self, name: str) -> Any:
        """Return a column; state that is only guessed is NaN."""
        if name == "link_id":
            return np.array(self.subjects, object)
        if name in _LINK_FIXED:
            return np.asarray(getattr(self._compiled, _LINK_FIXED[name]), np.float64)
        if name in _LINK_SOURCES:
            return np.asarray(getattr(self._snapshot, name), np.float64)
        guessed = self._source[name.removesuffix("_deviation")] == Source.GUESSED
        return np.where(guessed, np.nan, getattr(self._snapshot, name))

    def age(self, name: str) -> Number:
        """Return the age of the newest reading of the link, s; unknown without one."""
        measured = self._source[name] == Source.MEASURED
        return np.where(measured, self._snapshot.time - self._snapshot.measured_at, np.nan)

    def adjacent(self, direction: str) -> Adjacent:
        """Return the links from which (upstream), to which (downstream) a movement leads, or both."""
        if direction not in self._adjacent:
            n, start = self._compiled.n_links, self._compiled.movement_start
            link = np.repeat(np.arange(n), np.diff(start))
            other = self._compiled.movement_out.astype(np.intp)
            of, to = {
                "downstream": (link, other),
                "upstream": (other, link),
                "neighbours": (np.concatenate((link, other)), np.concatenate((other, link))),
            }[direction]
            order = np.argsort(of, kind="stable")
            counts = np.bincount(of, minlength=n)
            self._adjacent[direction] = Adjacent(np.concatenate(([0], np.cumsum(counts))), to[order])
        return self._adjacent[direction]


class SensorTable:
    """One row a sensor; each quantity is a column in the unit of its key."""

    def __init__(self, snapshot: Snapshot, compiled: CompiledNetwork) -> None:
        sensors = snapshot.sensors
        place: dict[str, int] = {}
        at = [place.setdefault(sensor_id, len(place)) for sensor_id in sensors.sensor_ids]
        self.subjects = tuple(place)
        self.cache: dict[str, Any] = {}
        self._at = np.array(at, np.intp)
        self._sensors, self._time = sensors, snapshot.time
        self._rows: dict[str, list[int]] = {}
        for row, quantity in enumerate(sensors.quantities):
            self._rows.setdefault(quantity, []).append(row)

    def _reduce(self, operation: np.ufunc, values: npt.NDArray[Any], start: Any) -> npt.NDArray[Any]:
        result = np.full(len(self.subjects), start, values.dtype)
        operation.at(result, self._at, values)
        return result

    def column(self, name: str) -> Any:
        """Return a column; the values of a silent or dark sensor are NaN."""
        sensors = self._sensors
        if name == "sensor_id":
            return np.array(self.subjects, object)
        if name == "link_id":
            first = np.unique(self._at, return_index=True)[1]
            return np.array([sensors.link_ids[i] for i in first], object)
        if name == "stuck":
            stuck = self._reduce(np.logical_or, sensors.stuck, False)
            return Truth(stuck, ~stuck & ~self._reduce(np.logical_or, self._may_repeat(), False))
        if name == "suspected":
            suspected = self._reduce(np.logical_or, sensors.suspicion != 0, False)
            return Truth(suspected, ~suspected & self._reduce(np.logical_or, sensors.compared, False))
        if name in _SENSOR_TRUTHS:
            every = name in ("silent", "dark")
            operation = np.logical_and if every else np.logical_or
            flag = self._reduce(operation, getattr(sensors, name), every)
            return Truth(flag, ~flag)
        if name == "age_s":
            heard = self._reduce(np.fmax, np.fmax(sensors.time, sensors.expected_since), -np.inf)
            known = self._reduce(np.logical_or, sensors.reported | sensors.silent, False)
            return np.where(known, np.maximum(self._time - heard, 0.0), np.nan)
        if name == "interval_s":
            return self._reduce(np.fmin, sensors.interval_s, np.inf)
        if name == "unchanged_s":
            return self._reduce(np.fmax, np.nan_to_num(sensors.time - sensors.unchanged_since), 0.0)
        if name == "repeats":
            return self._reduce(np.maximum, sensors.repeats.astype(np.float64), 0.0)
        if name in ("sensors_silent", "silent_share"):
            return np.full(len(self.subjects), silence(self)[name])
        return self._spread(name, np.where(sensors.silent | sensors.dark, np.nan, sensors.value))

    def _may_repeat(self) -> npt.NDArray[np.bool_]:
        """Return (n_series,) whether the value is still the first one that the twin was given.

        A series that stays behind the others of its sensor is no longer reported, and says nothing about it.
        """
        sensors = self._sensors
        newest = self._reduce(np.fmax, sensors.time, -np.inf)[self._at]
        behind = newest - sensors.time > np.maximum(MAXIMUM_AGE_INTERVALS * sensors.interval_s, MAXIMUM_AGE_S)
        return np.asarray((sensors.unchanged_since <= sensors.first_time) & ~behind, np.bool_)

    def age(self, name: str) -> Number:
        """Return the time since a quantity's last reading, s; unknown without one."""
        return self._spread(name, self._time - self._sensors.time)

    def _spread(self, quantity: str, values: Number) -> Number:
        result = np.full(len(self.subjects), np.nan)
        rows = self._rows.get(quantity, [])
        result[self._at[rows]] = values[rows]
        return result

    def adjacent(self, direction: str) -> Adjacent:
        """Sensors have no neighbours; expressions on them cannot ask."""
        raise KeyError(direction)


def silence(sensors: SensorTable) -> dict[str, float]:
    """Return how many of the network's sensors there are, how many are silent, and that as a share.

    The latter two are unknown while more than `FEW` of the sensors have not reported since the start and still may.
    """
    registered = sensors.column("registered").true
    total = int(np.count_nonzero(registered))
    silent = float(np.count_nonzero(registered & sensors.column("silent").true))
    if np.count_nonzero(registered & np.isnan(sensors.column("age_s"))) > FEW * total:
        silent = np.nan
    return {"sensors_total": total, "sensors_silent": silent, "silent_share": silent / max(total, 1)}


class NetworkTable:
    """One row: the whole network."""

    def __init__(self, snapshot: Snapshot, compiled: CompiledNetwork) -> None:
        self.subjects = ("network",)
        self.cache: dict[str, Any] = {}
        sensors = SensorTable(snapshot, compiled)
        known = snapshot.speed_source > Source.GUESSED
        ratio = np.minimum(snapshot.speed / compiled.free_speed, 1.0)
        weight = compiled.length * known
        self._values = {
            **silence(sensors),
            "measured_share": float(np.mean(snapshot.source == Source.MEASURED)) if compiled.n_links else 0.0,
            "speed_ratio": float(np.sum(weight * ratio) / np.sum(weight)) if known.any() else np.nan,
        }

    def column(self, name: str) -> Any:
        """Return a figure of the whole network."""
        return np.array([self._values[name]])

    def age(self, name: str) -> Number:
        """Nothing of the network has an age; expressions on it cannot ask."""
        raise KeyError(name)

    def adjacent(self, direction: str) -> Adjacent:
        """The network has no neighbours; expressions on it cannot ask."""
        raise KeyError(direction)


TABLES: Mapping[str, Callable[[Snapshot, CompiledNetwork], Any]] = {
    "link": LinkTable,
    "sensor": SensorTable,
    "network": NetworkTable,
}
