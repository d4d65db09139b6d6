"""A kernel that counts: how many vehicles on the street will take each movement next, and how many of them stand."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from simulation.street import Roads, Traffic


@njit(cache=True)
def vehicles_by_movement(roads: Roads, traffic: Traffic, ready: float) -> npt.NDArray[np.int64]:
    """Return the vehicles that will take each movement at the end of the link they are on, (n_movements,).

    Only those that, but for red and those before them, could have left until ``ready`` (s of the run); infinite: all.
    """
    count = np.zeros(len(roads.movement), np.int64)
    for queue in range(len(roads.queue)):
        if ready < math.inf and roads.part[roads.queue[queue].part].next >= 0:
            continue  # behind an incident, not at the stop line
        for slot in range(roads.queue[queue].slot, roads.queue[queue].end_slot):
            if traffic.slot[slot].vehicle < 0 or traffic.slot[slot].time > ready:
                continue
            movement = traffic.path[traffic.vehicle[traffic.slot[slot].vehicle].step]
            if movement >= 0:
                count[movement] += 1
    return count
