"""What a virtual sensor sees of the street: counts and speeds of its link over its interval."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hub.beside import beside_traffic
from hub.curves import Curves
from sensors import Sensor
from simulation.measure import Cumulative
from twin.compiled import CompiledNetwork, Float

# Mean length of a vehicle plus that of the detector's field: occupancy = density per lane times this.
# Source: Klein, L. A. (2006), Traffic Detector Handbook, 3rd ed., FHWA-HRT-06-108, chapter 2 (6.5 m is customary).
EFFECTIVE_LENGTH_M = 6.5
KEEP_S = 600.0


class Probe:
    """Remembers the counts of the last minutes, and measures between any two instants of them.

    Parameters
    ----------
    city
        Links in the order of the counts.
    sensors
        Who measures.
    time, first
        City time of the first counts, s since 1970 UTC, and the counts.
    day_shift_s
        Second of the street's day minus city time.
    """

    def __init__(
        self,
        city: CompiledNetwork,
        sensors: Sequence[Sensor],
        time: float,
        first: Cumulative,
        *,
        day_shift_s: float = 0.0,
    ) -> None:
        self._city = city
        self._link = {link_id: link for link, link_id in enumerate(city.link_ids)}
        keep_s = max([KEEP_S, *(2 * sensor.interval_s for sensor in sensors)])
        self._curves = Curves(time, first, keep_s=keep_s, length=city.length, free_speed=city.free_speed)
        self._newest = first
        self._day_shift_s = day_shift_s

    def note(self, time: float, counts: Cumulative) -> None:
        """Remember the counts at a city time."""
        self._curves.note(time, counts)
        self._newest = counts

    def measure(self, sensor: Sensor, from_s: float, until_s: float) -> Mapping[str, float | None]:
        """Return what is true at a sensor over an interval of city time, by quantity.

        The interval begins and ends at instants that were noted, so that vehicles are whole. Flow is interpolated
        between the link's ends by the sensor's position; speed is that of the whole link (`Curves.speed`).
        """
        link = self._link.get(sensor.link_id)
        if link is None:
            hour = (until_s + self._day_shift_s) % 86_400.0 / 3600.0
            return beside_traffic(sensor, hour=hour, fullness=self._fullness())
        passage = self._curves.passage(from_s, until_s, np.array([link]))
        if passage is None:
            return {}
        length, speed = float(self._city.length[link]), float(passage.speed[0])
        share = min(max(sensor.position_m / length, 0.0), 1.0)
        passed = float((1 - share) * passage.entered[0] + share * passage.left[0])
        density = float(passage.spent[0]) / (passage.duration_s * length)
        known = passed > 0 and math.isfinite(speed)
        return {
            "flow_veh_h": 3600.0 * passed / passage.duration_s,
            "count_veh": passed,
            "speed_kmh": 3.6 * speed if known else None,
            "travel_time_s": length / speed if known else None,
            "density_veh_km": 1000.0 * density,
            "occupancy": min(1.0, density / float(self._city.lanes[link]) * EFFECTIVE_LENGTH_M),
        }

    def street(self, from_s: float, until_s: float) -> tuple[Float, Float] | None:
        """Return speed (m/s, NaN where unknown) and flow (veh/s) of every link, None before two instants."""
        passage = self._curves.passage(from_s, until_s)
        if passage is None:
            return None
        return passage.speed, (passage.entered + passage.left) / (2.0 * passage.duration_s)

    def _fullness(self) -> float:
        """Return how full the whole city is, 0..1: the fuller, the worse its air."""
        on_links = self._newest.entered - self._newest.left
        return float(on_links.sum() / (self._city.jam_density * self._city.length).sum())
