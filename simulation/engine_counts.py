"""A kernel that counts: how many vehicles on the street will take each movement next."""

import numpy as np
import numpy.typing as npt
from numba import njit

from simulation.street import Roads, Traffic


@njit(cache=True)
def vehicles_by_movement(roads: Roads, traffic: Traffic) -> npt.NDArray[np.int64]:
    """Return the vehicles that will take each movement at the end of the link they are on, (n_movements,)."""
    count = np.zeros(len(roads.movement), np.int64)
    for queue in range(len(roads.queue)):
        for number in range(traffic.queue[queue].left, traffic.queue[queue].entered):
            slot = roads.queue[queue].slot + number % roads.queue[queue].storage
            movement = traffic.path[traffic.vehicle[traffic.slot_vehicle[slot]].step]
            if movement >= 0:
                count[movement] += 1
    return count
