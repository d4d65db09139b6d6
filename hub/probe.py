"""What a virtual sensor sees of the street: counts and speeds of its link over its interval."""

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from sensors import Sensor
from simulation.measure import Cumulative
from twin.compiled import CompiledNetwork

# Mean length of a vehicle plus that of the detector's field: occupancy = density per lane times this.
# Source: Klein, L. A. (2006), Traffic Detector Handbook, 3rd ed., FHWA-HRT-06-108, chapter 2 (6.5 m is customary).
EFFECTIVE_LENGTH_M = 6.5
# Background of an urban air station and what dense traffic adds, µg/m³: an invention that looks plausible.
AIR = {"pm25_ug_m3": (28.0, 25.0), "pm10_ug_m3": (45.0, 40.0), "no2_ug_m3": (22.0, 60.0), "o3_ug_m3": (70.0, -30.0),
       "so2_ug_m3": (8.0, 2.0), "co_mg_m3": (0.6, 0.8)}  # fmt: skip
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
    """

    def __init__(self, city: CompiledNetwork, sensors: Sequence[Sensor], time: float, first: Cumulative) -> None:
        self._city = city
        self._link = {link_id: link for link, link_id in enumerate(city.link_ids)}
        self._keep_s = max([KEEP_S, *(2 * sensor.interval_s for sensor in sensors)])
        self._counts: deque[tuple[float, Cumulative]] = deque([(time, first)])

    def note(self, time: float, counts: Cumulative) -> None:
        """Remember the counts at a city time."""
        if time > self._counts[-1][0]:
            self._counts.append((time, counts))
        while len(self._counts) > 2 and self._counts[1][0] < time - self._keep_s:
            self._counts.popleft()

    def at(self, time: float) -> Cumulative:
        """Return the newest counts of a city time or before, else the oldest that are kept."""
        older = [counts for when, counts in self._counts if when <= time]
        return older[-1] if older else self._counts[0][1]

    def measure(self, sensor: Sensor, from_s: float, until_s: float) -> Mapping[str, float | None]:
        """Return what is true at a sensor over an interval of city time, by quantity.

        Flow is interpolated between the link's ends by the sensor's position; speed is Edie's over the whole link.
        """
        link = self._link.get(sensor.link_id)
        if link is None:
            return self._air(sensor)
        times = np.array([time for time, _ in self._counts])
        first = max(int(np.searchsorted(times, from_s, "right")) - 1, 0)
        last = min(int(np.searchsorted(times, until_s, "left")) + 1, len(times))
        window = [self._counts[place][1] for place in range(first, last)]
        at = times[first:last]

        def change(values: Sequence[float]) -> float:
            return float(np.interp(until_s, at, values) - np.interp(from_s, at, values))

        length = float(self._city.length[link])
        entered = change([float(counts.entered[link]) for counts in window])
        left = change([float(counts.left[link]) for counts in window])
        spent = change([float(counts.vehicle_seconds[link]) for counts in window])
        duration = until_s - from_s
        share = min(max(sensor.position_m / length, 0.0), 1.0)
        passed = (1 - share) * entered + share * left
        distance = 0.5 * (entered + left) * length
        density = spent / (duration * length)
        return {
            "flow_veh_h": 3600.0 * passed / duration,
            "count_veh": passed,
            "speed_kmh": 3.6 * distance / spent if spent > 0 and distance > 0 else None,
            "travel_time_s": spent * length / distance if spent > 0 and distance > 0 else None,
            "density_veh_km": 1000.0 * density,
            "occupancy": min(1.0, density / float(self._city.lanes[link]) * EFFECTIVE_LENGTH_M),
        }

    def _air(self, sensor: Sensor) -> Mapping[str, float | None]:
        """Return air that is the worse the fuller the whole city is."""
        on_links = self._counts[-1][1].entered - self._counts[-1][1].left
        fullness = float(on_links.sum() / (self._city.jam_density * self._city.length).sum())
        crowd = min(1.0, 5.0 * fullness)
        known = {key: clean + crowd * added for key, (clean, added) in AIR.items()}
        return {key: known.get(key) for key in sensor.quantities}
