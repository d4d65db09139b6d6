"""Virtual detectors for a network that names no sensors: spread over the roads, the larger ones first."""

import numpy as np

from sensors import Sensor
from twin.compiled import CompiledNetwork

# Typical errors of inductive loops, 1 sd: speed 2.5 km/h, flow 60 veh/h per lane over 30 s, occupancy 1 %.
# Source: Klein, L. A. (2006), Traffic Detector Handbook, 3rd ed., FHWA-HRT-06-108, chapter 2.
_SPEED_KMH, _FLOW_VEH_H, _OCCUPANCY = 2.5, 60.0, 0.01


def place_detectors(
    compiled: CompiledNetwork, *, share: float = 0.3, interval_s: float = 20.0, seed: int = 0
) -> tuple[Sensor, ...]:
    """Return virtual detectors on a share of the links, each in the middle of its link.

    Links are drawn with a weight of capacity times length, which is what a road authority does when it has few.

    Parameters
    ----------
    compiled
        The network.
    share
        Share of links with a detector, 0..1.
    interval_s
        Seconds between readings.
    seed
        Of the draw; the same seed gives the same places.

    Examples
    --------
    ``network.sensors or place_detectors(network.compile())``
    """
    count = max(1, round(share * compiled.n_links)) if compiled.n_links else 0
    weight = compiled.capacity * np.minimum(compiled.length, 500.0)
    # Exponential races draw without replacement in proportion to the weights (Efraimidis and Spirakis 2006,
    # Information Processing Letters 97(5), doi:10.1016/j.ipl.2005.11.003).
    race = np.random.default_rng(seed).exponential(size=compiled.n_links) / np.maximum(weight, 1e-9)
    chosen = np.sort(np.argsort(race, kind="stable")[:count])
    return tuple(
        Sensor(
            sensor_id=f"VD-{number:04d}",
            link_id=compiled.link_ids[link],
            position_m=float(compiled.length[link] / 2),
            lanes=int(compiled.lanes[link]),
            interval_s=interval_s,
            standard_deviation=(_FLOW_VEH_H * float(compiled.lanes[link]) ** 0.5, _SPEED_KMH, _OCCUPANCY),
        )
        for number, link in enumerate(chosen, 1)
    )
