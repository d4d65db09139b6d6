"""How kernels are compiled, and the heap of nodes by the time at which each acts next."""

from typing import Any

import numpy as np
from numba import njit

from simulation.street import Roads, Traffic, whole

CACHED: dict[str, Any] = {"cache": True, "error_model": "numpy"}
# No reference counting: the kernels make no arrays, and counting those they are given took four fifths of the time.
OPTIONS: dict[str, Any] = {**CACHED, "nogil": True, "_nrt": False, "no_cfunc_wrapper": True}
UNSEEN: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True}  # never called from Python
kernel = njit(**OPTIONS)
part_of_kernel = njit(**UNSEEN)
# A call hands over every array of the street, some 200 words: what is called for each move is put in its place.
inner = njit(forceinline=True, **UNSEEN)


@inner
def at(index: int) -> int:
    """Return an index that is not negative, so that the compiler knows: it then does not count from an array's end.

    Each look at an array would otherwise load its length and add it where the index is below 0: a tenth of the time.
    """
    found: int = whole(np.uint32(index))
    return found


TIE_S = 1e-9  # instants closer than this are one


@kernel
def wake(roads: Roads, traffic: Traffic, node: int, time: float) -> None:
    """Set the time at which ``node`` acts next and mend the heap of its block."""
    node = at(node)
    key, heap, places = traffic.wake, traffic.heap, traffic.heap_place
    block = at(roads.node[node].block)
    first, end = at(roads.block_start[block]), at(roads.block_start[block + 1])
    key[node] = time
    k = at(places[node]) - first
    while k > 0:
        parent = (k - 1) >> 1
        above = at(heap[at(first + parent)])
        if key[above] <= time:
            break
        heap[at(first + k)] = above
        places[above] = first + k
        k = parent
    n = end - first
    while True:
        child = 2 * k + 1
        if child >= n:
            break
        if child + 1 < n and key[at(heap[at(first + child + 1)])] < key[at(heap[at(first + child)])]:
            child += 1
        below = at(heap[at(first + child)])
        if key[below] >= time:
            break
        heap[at(first + k)] = below
        places[below] = first + k
        k = child
    heap[at(first + k)] = node
    places[node] = first + k
