"""From the newest valid values of the series to measurements of links: speed and flow with their deviations."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from sensors import QUANTITIES, Sensor
from twin.compiled import CompiledNetwork
from twin.estimate import Measurements
from twin.memory import Memory

Float = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

KEYS = ("speed_kmh", "flow_veh_h", "count_veh", "travel_time_s", "occupancy", "density_veh_km")
# A detector's value differs from the link's mean: it sees one point of it. Shares of the value; floors in SI.
SPEED_SPREAD, SPEED_FLOOR = 0.07, 0.3
FLOW_SPREAD, FLOW_FLOOR = 0.07, 0.005
# Assumed spread of single drivers' speeds over their mean; the leave-one-out test on Aarhus prefers 0.15 to 0.25.
DRIVER_SPREAD = 0.15
# A speed from flow and occupancy rests on the vehicle length below; a share of lorries of 20 % moves it by a quarter.
DERIVED_SPREAD = 0.25
# Assumed: a car of 4.5 m and a loop of 2 m.
EFFECTIVE_LENGTH_M = 6.5
# Deviation of an occupancy whose sensor states none, and how many deviations from nothing it must be to count as
# vehicles: below, occupancy is the noise of an empty road, and a count over it looks like a queue.
OCCUPANCY_DEVIATION, SURELY_COVERED = 0.01, 3.0
# So long a cover of the detector in an interval without a count is a standing vehicle.
STANDING_OCCUPANCY = 0.8


def speed_noise(speed: Float) -> Float:
    """Return the deviation of what detectors say from the mean speed of their link, m/s, whatever they are."""
    return np.asarray(np.hypot(SPEED_SPREAD * speed, SPEED_FLOOR), np.float64)


def flow_noise(flow: Float, lanes: Float) -> Float:
    """Return the deviation of what detectors count from the flow of their link, veh/s, whatever they are."""
    return np.asarray(np.hypot(FLOW_SPREAD * flow, FLOW_FLOOR * lanes), np.float64)


class LinkSensors:
    """Which series measures which link; rebuilt when a series appears.

    Parameters
    ----------
    compiled
        The network.
    sensors
        Its table of sensors.
    """

    def __init__(self, compiled: CompiledNetwork, sensors: Iterable[Sensor]) -> None:
        self._compiled = compiled
        self._sensors = {sensor.sensor_id: sensor for sensor in sensors}
        self._position = {link_id: i for i, link_id in enumerate(compiled.link_ids)}
        self._n_series = -1

    def _index(self, memory: Memory) -> None:
        """Arrange the rows of the memory by sensor and quantity; -1 where a sensor lacks the quantity."""
        place: dict[str, int] = {}
        rows: list[list[int]] = []
        for row, (sensor_id, key) in enumerate(zip(memory.sensor_ids, memory.quantities, strict=True)):
            if key in KEYS and sensor_id in self._sensors and self._sensors[sensor_id].link_id in self._position:
                at = place.setdefault(sensor_id, len(rows))
                if at == len(rows):
                    rows.append([-1] * len(KEYS))
                rows[at][KEYS.index(key)] = row
        sensors = [self._sensors[sensor_id] for sensor_id in place]
        self._rows = np.array(rows, np.int64).reshape(-1, len(KEYS))
        self._link = np.array([self._position[sensor.link_id] for sensor in sensors], np.int64)
        lanes = np.array([sensor.lanes for sensor in sensors], np.float64).reshape(-1)
        self._lanes = np.clip(lanes, 1.0, np.maximum(self._compiled.lanes[self._link], 1))
        deviation = np.full((len(sensors), len(KEYS)), np.nan)
        for i, sensor in enumerate(sensors):
            for key, value in zip(sensor.quantities, sensor.standard_deviation, strict=False):
                if key in KEYS and value > 0:
                    deviation[i, KEYS.index(key)] = value
        self._deviation = deviation
        self._n_series = len(memory)

    def measure(self, memory: Memory, usable: npt.NDArray[np.bool_]) -> tuple[Measurements, Float]:
        """Return what the links' detectors say, and the time of the newest value used for each link.

        Parameters
        ----------
        usable : (n_series,)
            Which series are fresh and healthy.

        Returns
        -------
        measurements
            NaN where no detector says anything; several detectors of a link are weighted by their precision.
        measured_at : (n_links,) s since 1970 UTC
        """
        if len(memory) != self._n_series:
            self._index(memory)
        rows = self._rows
        n = self._compiled.n_links
        if not len(rows):
            nothing = np.full(n, np.nan)
            return Measurements(nothing, nothing, nothing, nothing), nothing.copy()
        present = (rows >= 0) & usable[rows]
        value = np.where(present, memory.column("valid_value")[rows], np.nan)
        time = np.where(present, memory.column("valid_time")[rows], np.nan)
        interval = memory.column("interval")[rows.max(axis=1)]  # that of any series: it is the sensor's
        flow, flow_deviation = self._flow(value, interval)
        speed, speed_deviation = self._speed(value, flow, interval)
        measured_at = np.full(n, np.nan)
        evidence = np.isfinite(speed) | np.isfinite(flow)
        np.fmax.at(measured_at, self._link[evidence], np.fmax.reduce(time[evidence], axis=1))
        per_link = (*self._combine(speed, speed_deviation), *self._combine(flow, flow_deviation))
        return Measurements(*per_link), measured_at

    def _si(self, value: Float, key: str) -> Float:
        return np.asarray(value[:, KEYS.index(key)] * QUANTITIES[key].to_si, np.float64)

    def _flow(self, value: Float, interval: Float) -> tuple[Float, Float]:
        """Return the link's flow over all lanes, veh/s, and its deviation, by sensor."""
        scale = self._compiled.lanes[self._link] / self._lanes
        flow, counted = self._si(value, "flow_veh_h"), self._si(value, "count_veh") / interval
        deviation = self._si(self._deviation, "flow_veh_h")
        counted_deviation = self._si(self._deviation, "count_veh") / interval
        deviation = np.where(np.isfinite(flow), deviation, counted_deviation)
        flow = np.where(np.isfinite(flow), flow, counted) * scale
        spread = flow_noise(flow, self._compiled.lanes[self._link].astype(np.float64))
        return flow, np.hypot(np.nan_to_num(deviation) * scale, spread)

    def _speed(self, value: Float, flow: Float, interval: Float) -> tuple[Float, Float]:
        """Return the link's speed, m/s, and its deviation, by sensor: measured, else travelled, else derived."""
        network = self._compiled
        speed, travel = self._si(value, "speed_kmh"), self._si(value, "travel_time_s")
        length, free_speed = network.length[self._link], network.free_speed[self._link]
        deviation = np.nan_to_num(self._si(self._deviation, "speed_kmh"))
        with np.errstate(divide="ignore", invalid="ignore"):
            travelled = np.where(travel > 0, length / travel, np.nan)
            occupancy = self._si(value, "occupancy")
            noise = np.nan_to_num(self._si(self._deviation, "occupancy"), nan=OCCUPANCY_DEVIATION)
            covered = np.where(occupancy >= SURELY_COVERED * noise, occupancy, np.nan)
            unsure = np.nan_to_num(noise / covered)
            density = self._si(value, "density_veh_km") * network.lanes[self._link] / self._lanes
            density = np.where(np.isfinite(density), density, covered * network.lanes[self._link] / EFFECTIVE_LENGTH_M)
            derived = np.where((density > 0) & (flow > 0), flow / density, np.nan)
        derived = np.minimum(derived, free_speed)
        derived = np.where((occupancy >= STANDING_OCCUPANCY) & (flow <= 0), 0.0, derived)
        deviation = np.where(np.isfinite(speed), deviation, 0.0)
        speed = np.where(np.isfinite(speed), speed, travelled)
        is_derived = ~np.isfinite(speed)
        speed = np.where(is_derived, derived, speed)
        vehicles = np.fmax(flow * interval * self._lanes / network.lanes[self._link], 1.0)
        few = DRIVER_SPREAD / np.sqrt(np.where(np.isfinite(flow), vehicles, np.inf))
        spread = np.hypot(np.where(is_derived, np.hypot(DERIVED_SPREAD, unsure), SPEED_SPREAD), few) * speed
        return speed, np.sqrt(deviation**2 + spread**2 + SPEED_FLOOR**2)

    def _combine(self, value: Float, deviation: Float) -> tuple[Float, Float]:
        """Return the mean of each link weighted by precision, and its deviation."""
        n = self._compiled.n_links
        known = np.isfinite(value)
        precision = np.bincount(self._link[known], deviation[known] ** -2, n)
        total = np.bincount(self._link[known], value[known] * deviation[known] ** -2, n)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(precision > 0, total / precision, np.nan)
            return mean, np.where(precision > 0, precision**-0.5, np.nan)
