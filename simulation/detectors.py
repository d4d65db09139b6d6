"""Virtual detectors: what the network's sensors would read in the simulated street, free of noise."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import simpy

from sensors import Sensor
from simulation import frames
from simulation.instants import Late, until
from simulation.simulation import Simulation
from twin.compiled import Float

if TYPE_CHECKING:
    from pandas import DataFrame

TRAFFIC = frozenset({"flow_veh_h", "speed_kmh", "occupancy", "count_veh", "density_veh_km"})

# Metres of road over which a vehicle covers a detector: mean vehicle 4.5 m and loop 2.0 m.
# Source: Klein, Mills and Gibson (2006), Traffic Detector Handbook, FHWA-HRT-06-108, chapter 4.
COVERED_M = 6.5


@dataclass(frozen=True, slots=True)
class DetectorReading:
    """What some detectors have measured since they were last read; arrays in the order asked for.

    Parameters
    ----------
    from_s, until_s : (n,) s
        The interval of each.
    count : (n,) veh
        Vehicles on the detector's lanes.
    flow : (n,) veh/s
    speed : (n,) m/s
        NaN without vehicles.
    occupancy : (n,)
        Share of the time, 0 to 1.
    """

    from_s: Float
    until_s: Float
    count: Float
    flow: Float
    speed: Float
    occupancy: Float


class Detectors:
    """The detectors of a simulation; each is read at its own interval, and reading it begins its next.

    A detector in the second half of its link counts what leaves the link, one in the first half what enters it; speed
    and occupancy are those of the link.

    Parameters
    ----------
    simulation
        The street.
    sensors
        Those with a link; the others are refused.

    Attributes
    ----------
    last : (4, n)
        Time, entered, left and vehicle-seconds at which each was last read.
    """

    def __init__(self, simulation: Simulation, sensors: Sequence[Sensor]) -> None:
        city = simulation.city
        position = {name: k for k, name in enumerate(city.link_ids)}
        self.sensor_ids = tuple(sensor.sensor_id for sensor in sensors)
        self._simulation = simulation
        self._link = np.array([position[sensor.link_id] for sensor in sensors], np.int64)
        self._at_end = np.array([s.position_m for s in sensors], float) >= 0.5 * city.length[self._link]
        lanes = np.array([sensor.lanes for sensor in sensors], float)
        self._share = np.minimum(1.0, lanes / city.lanes[self._link])
        self.last = self._look()

    def _look(self) -> Float:
        """Return time, entered, left and vehicle-seconds of every detector's link, (4, n)."""
        now = self._simulation.cumulative()
        n = len(self._link)
        rows = (np.full(n, now.time_s), now.entered[self._link], now.left[self._link], now.vehicle_seconds[self._link])
        return np.array(rows, dtype=np.float64).reshape(4, n)

    def read(self, which: Sequence[int] | npt.NDArray[np.integer] | None = None) -> DetectorReading:
        """Return what the detectors ``which`` (all by default) have measured since each was last read."""
        rows = np.arange(len(self._link)) if which is None else np.asarray(which, dtype=np.int64)
        now = self._look()[:, rows]
        time, entered, left, spent = now - self.last[:, rows]
        self.last[:, rows] = now
        city, link = self._simulation.city, self._link[rows]
        passed = np.where(self._at_end[rows], left, entered)
        duration = np.where(time > 0, time, np.nan)
        density = np.maximum(0.0, spent) / (city.length[link] * duration)
        with np.errstate(divide="ignore", invalid="ignore"):
            speed = np.where(passed > 0, 0.5 * (entered + left) / duration / density, np.nan)
        return DetectorReading(
            from_s=now[0] - time,
            until_s=now[0],
            count=passed * self._share[rows],
            flow=passed * self._share[rows] / duration,
            speed=np.minimum(speed, city.free_speed[link]),
            occupancy=np.minimum(1.0, density / city.lanes[link] * COVERED_M),
        )


@dataclass(frozen=True)
class DetectorTable:
    """What every detector measured in each of its intervals, in order of time, then of ``sensor.csv``.

    Parameters
    ----------
    sensor_ids
        In the order of ``sensor.csv``.
    sensor : (n,)
        Position of the row's sensor.
    from_s, until_s : (n,) s
    count, flow, speed, occupancy : (n,)
        As in `DetectorReading`.
    """

    sensor_ids: tuple[str, ...]
    sensor: npt.NDArray[np.int64]
    from_s: Float
    until_s: Float
    count: Float
    flow: Float
    speed: Float
    occupancy: Float

    def __len__(self) -> int:
        return len(self.sensor)

    def to_pandas(self) -> "DataFrame":
        """Return one row per sensor and interval, as in ``detectors.csv``."""
        return frames.detectors_frame(self)


class DetectorLog:
    """Reads the detectors of a network through a run, each at its interval; an interval that the run cuts is left out.

    Parameters
    ----------
    simulation
        Not yet advanced; intervals begin at multiples of their length.
    """

    def __init__(self, simulation: Simulation) -> None:
        sensors = [s for s in simulation.network.sensors if s.link_id and TRAFFIC & set(s.quantities)]
        self._detectors = Detectors(simulation, sensors)
        # A state holds what the saved run's detectors saw last, so that an interval it cut is whole again.
        self._whole = "detectors" in simulation.kept
        self._detectors.last = simulation.kept.setdefault("detectors", self._detectors.last)
        self._rows: list[tuple[npt.NDArray[np.int64], DetectorReading]] = []
        intervals = np.array([sensor.interval_s for sensor in sensors])
        for interval in np.unique(intervals).tolist():
            simulation.env.process(self._reading(simulation, interval, np.flatnonzero(intervals == interval)))

    def _reading(
        self, simulation: Simulation, interval: float, which: npt.NDArray[np.int64]
    ) -> Generator[simpy.Event, object, None]:
        number, begin = int(simulation.time_s // interval), simulation.time_s
        while True:
            number += 1
            yield Late(simulation.env, until(simulation.env, number * interval), rank=1)
            reading = self._detectors.read(which)
            if self._whole or (number - 1) * interval >= begin:
                self._rows.append((which, reading))

    def table(self) -> DetectorTable | None:
        """Return all that was read; None without any detector."""
        if not self._detectors.sensor_ids:
            return None
        names = ("from_s", "until_s", "count", "flow", "speed", "occupancy")
        sensor = np.concatenate([np.zeros(0, np.int64), *(which for which, _ in self._rows)])
        columns = [np.concatenate([np.zeros(0), *(getattr(r, name) for _, r in self._rows)]) for name in names]
        order = np.lexsort((sensor, columns[1]))
        return DetectorTable(self._detectors.sensor_ids, sensor[order], *(column[order] for column in columns))
