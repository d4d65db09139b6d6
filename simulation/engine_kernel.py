"""How kernels are compiled, and the heap of nodes by the time at which each acts next."""

from typing import Any

from numba import njit

from simulation.street import Roads, Traffic

CACHED: dict[str, Any] = {"cache": True, "error_model": "numpy"}
# No reference counting: the kernels make no arrays, and counting those they are given took four fifths of the time.
OPTIONS: dict[str, Any] = {**CACHED, "nogil": True, "_nrt": False, "no_cfunc_wrapper": True}
UNSEEN: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True}  # never called from Python
kernel = njit(**OPTIONS)
part_of_kernel = njit(**UNSEEN)
# A call hands over every array of the street, some 200 words: what is called for each move is put in its place.
inner = njit(forceinline=True, **UNSEEN)

TIE_S = 1e-9  # instants closer than this are one


@kernel
def wake(roads: Roads, traffic: Traffic, node: int, time: float) -> None:
    """Set the time at which ``node`` acts next and mend the heap of its block."""
    key, heap, place = traffic.wake, traffic.heap, traffic.heap_place
    block = roads.node[node].block
    first, end = roads.block_start[block], roads.block_start[block + 1]
    key[node] = time
    k = place[node] - first
    while k > 0:
        parent = (k - 1) >> 1
        above = heap[first + parent]
        if key[above] <= time:
            break
        heap[first + k] = above
        place[above] = first + k
        k = parent
    n = end - first
    while True:
        child = 2 * k + 1
        if child >= n:
            break
        if child + 1 < n and key[heap[first + child + 1]] < key[heap[first + child]]:
            child += 1
        below = heap[first + child]
        if key[below] >= time:
            break
        heap[first + k] = below
        place[below] = first + k
        k = child
    heap[first + k] = node
    place[node] = first + k
