"""The street as the kernels see it: what stands (`Roads`) and what moves (`Traffic`), both plain arrays of records.

A link with an incident at a point is cut there into **parts**; every other link is one part. A part ends in one
**queue** per lane group. A **slot** is room for one vehicle: it holds the time at which its vehicle may leave and,
once the vehicle has left, the time at which the hole that it left behind has travelled back to the entrance (Newell
1993; Yperman 2007).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from twin.compiled import Float, Int

Long = npt.NDArray[np.int64]
Records = npt.NDArray[Any]  # of the record types below

whole: Any = np.int64  # the kernels' one integer type: a call with another one would be compiled again
AT_END = ORIGIN = -1  # instead of a queue: where a trip ends, where it begins
UNKNOWN = -2
EMPTY = -3  # instead of a part: nobody is there, and whoever comes says so
LONG_AGO_S = -1e12
CACHE_LINE = 64  # bytes
MIN_PART_M = 0.5  # an incident nearer to an end of its link stands at that end

PART = np.dtype(
    [
        ("link", "i4"),
        ("from_node", "i4"),
        ("to_node", "i4"),
        ("next", "i4"),  # the part that follows on the same link, -1 at the link's end
        ("queue", "i4"),  # its queues are queue:end_queue
        ("end_queue", "i4"),
        ("last_queue", "i4"),  # queue of the vehicles whose trip ends here
        ("slot", "i4"),  # its own slots are slot:end_slot; -1 with one queue, whose slots then are the part's
        ("end_slot", "i4"),
        ("room", "i4"),  # slots in use, fewer than there are while lanes are closed
        ("origin", "i4"),  # where vehicles wait that begin their trip here, -1 behind a cut
        ("first", "i1"),  # 1 where the link begins
        ("closed", "i1"),
        ("crosses", "i1"),  # 1 where the part leads from one block to another
        ("length", "f8"),
        ("travel", "f8"),  # s at the free speed in force
        ("headway", "f8"),  # s between entries, infinite where nothing enters
        ("hole", "f8"),  # s that a hole takes back to the entrance
        ("origin_price", "f8"),  # of a turn of vehicles that begin their trip here: 1 / weight
    ],
    align=True,
)
QUEUE = np.dtype(
    [
        ("part", "i4"),
        ("slot", "i4"),  # its slots are slot:end_slot
        ("end_slot", "i4"),
        ("room", "i4"),  # slots in use, fewer than there are while lanes are closed
        ("headway", "f8"),  # s between exits
        ("hole", "f8"),
        ("share", "f8"),  # of the link's lanes
        ("price", "f8"),  # of a turn at merges: 1 / weight
        ("yields", "i4"),  # 1 while one of its movements yields
    ],
    align=True,
)
MOVEMENT = np.dtype(
    [
        ("part", "i4"),
        ("queue", "i4"),
        ("green", "i4"),  # its windows are green:end_green
        ("end_green", "i4"),
        ("yields", "i4"),  # 1 while one of its windows has a rule of yielding
    ],
    align=True,
)
YIELDING = np.dtype([("first", "i4"), ("end", "i4"), ("gap", "f8"), ("follow_up", "f8")], align=True)  # of Roads.rival
NODE = np.dtype(
    [
        ("queue", "i4"),  # the queues that end here are queue:end_queue
        ("end_queue", "i4"),
        ("origin", "i4"),  # the origins that begin here are origin:end_origin
        ("end_origin", "i4"),
        ("cycle", "f8"),
        ("offset", "f8"),
        ("lookahead", "f8"),
        ("block", "i4"),
    ],
    align=True,
)
LINK = np.dtype([("length", "f8"), ("free_time", "f8")], align=True)  # s at the undisturbed free speed

# What moves belongs to one node each, so that the nodes of a part can be served by different threads: its entrance to
# the node upstream, its exit and queues to the one downstream. Both use a slot, one after the other.
SLOT = np.dtype(
    [
        ("time", "f8"),  # when its vehicle may leave; without a vehicle: when the hole is at the entrance
        ("vehicle", "i4"),  # -1: none
        ("movement", "i4"),  # of its vehicle at the end of the link, -1: none
        ("ahead", "i4"),  # queue that it will join, AT_END where its trip ends
        ("step", "i4"),  # of its vehicle
    ],
    align=True,
)
ENTRY = np.dtype(
    [
        ("entered", "i8"),  # since the start
        ("entered_sum", "f8"),  # of the times of entry
        ("free", "f8"),  # when the next vehicle may enter, for the headway's sake
        ("virtual", "f8"),  # virtual time of the merge in front of the part
        ("last_from", "i4"),  # queue from which the last vehicle came, ORIGIN, or UNKNOWN before the first
        ("tail", "i4"),  # own slot that the next vehicle takes
    ],
    align=True,
)
EXIT = np.dtype([("left", "i8"), ("left_sum", "f8"), ("stops", "i4"), ("head", "i4")], align=True)
QUEUE_TRAFFIC = np.dtype(
    [
        ("head", "i4"),  # slot of the first vehicle
        ("served", "i4"),  # turns at merges
        ("free", "f8"),  # when the next vehicle may leave, for the headway's sake
        ("schedule", "f8"),  # when its last vehicle would have left, had no other approach taken its turn
        ("last", "f8"),  # when it did leave
    ],
    align=True,
)
ORIGIN_TRAFFIC = np.dtype(
    [
        ("head", "i4"),  # vehicles that wait to begin their trip
        ("last", "i4"),
        ("ahead", "i4"),  # queue that the first will join, UNKNOWN until it is looked up
        ("tag", "f8"),
    ],
    align=True,
)
MOVEMENT_TRAFFIC = np.dtype(
    [("tag", "f8"), ("served", "i8"), ("left", "i8"), ("last", "f8")],  # departures so far, and when the last one was
    align=True,
)
VEHICLE = np.dtype(
    [
        ("step", "i8"),  # place in Traffic.path of the movement at the end of the link it is on
        ("behind", "i8"),  # next in the origin's queue
        ("depart", "f8"),
        ("enter", "f8"),
        ("arrive", "f8"),
        ("link_enter", "f8"),
        ("distance", "f8"),
        ("free_time", "f8"),
    ],
    align=True,
)


class Roads(NamedTuple):
    """What stands. Only scenario events change it, between two runs of the kernel."""

    part: Records
    queue: Records  # in order of the node at which they end
    movement: Records
    green_opens: Float
    green_closes: Float
    green_yields: Long  # the rule of yielding of each window, -1: protected
    yielding: Records
    rival: Long  # movements to which others yield
    node: Records  # those of the network, then those of the cuts
    node_origin: Int  # part of each origin, in order of the node at which it begins
    link: Records
    block_start: Long  # nodes of block b are Traffic.heap[block_start[b]:block_start[b + 1]], in the heap's order
    meeting: Int  # nodes at parts that cross from one block to another, block by block
    meeting_start: Long


class Traffic(NamedTuple):
    """What moves; times are seconds of the run."""

    slot: Records
    part_slot_time: Float  # when the hole is at the entrance, infinite while a vehicle is there
    entry: Records
    exit: Records
    queue: Records
    tail: Int  # slot that the next vehicle of each queue takes
    queue_time: Float  # when its first vehicle may move
    queue_out: Int  # onto which part
    origin: Records
    origin_time: Float
    movement: Records
    vehicle: Records
    wake: Float  # when each node acts next
    heap: Int
    heap_place: Int
    path: Int  # movements of all routes, each ended by -1


def empty_traffic(roads: Roads, n_vehicles: int) -> Traffic:
    """Return the traffic of an empty street with room for ``n_vehicles``."""
    n_nodes, n_slots = len(roads.node), int(roads.queue["end_slot"].max(initial=0))
    slot = np.zeros(n_slots, SLOT)
    slot["time"], slot["vehicle"] = -np.inf, -1
    entry, leaving = np.zeros(len(roads.part), ENTRY), np.zeros(len(roads.part), EXIT)
    entry["free"], entry["last_from"] = -np.inf, UNKNOWN
    entry["tail"] = leaving["head"] = roads.part["slot"]
    queue = np.zeros(len(roads.queue), QUEUE_TRAFFIC)
    queue["free"] = -np.inf
    queue["head"] = roads.queue["slot"]
    queue["schedule"] = queue["last"] = LONG_AGO_S
    origin = np.zeros(len(roads.node_origin), ORIGIN_TRAFFIC)
    origin["head"] = origin["last"] = -1
    origin["ahead"] = UNKNOWN
    movement = np.zeros(len(roads.movement), MOVEMENT_TRAFFIC)
    movement["last"] = LONG_AGO_S
    heap = np.argsort(roads.node["block"], kind="stable").astype(np.int32)
    place = np.empty(n_nodes, np.int32)
    place[heap] = np.arange(n_nodes)
    return Traffic(
        slot=slot,
        part_slot_time=np.full(int(roads.part["end_slot"].max(initial=0)), -np.inf),
        entry=entry,
        exit=leaving,
        queue=queue,
        tail=roads.queue["slot"].copy(),
        queue_time=np.full(len(queue), np.inf),
        queue_out=np.full(len(queue), -1, np.int32),
        origin=origin,
        origin_time=np.full(len(origin), np.inf),
        movement=movement,
        vehicle=no_vehicles(n_vehicles),
        wake=np.full(n_nodes, np.inf),
        heap=heap,
        heap_place=place,
        path=np.full(1024, -1, np.int32),
    )


def no_vehicles(n: int) -> Records:
    """Return places for ``n`` vehicles, each in one line of the processor's cache."""
    size = VEHICLE.itemsize
    room = np.zeros(n * size + CACHE_LINE, np.uint8)
    begin = -room.ctypes.data % CACHE_LINE
    vehicles = room[begin : begin + n * size].view(VEHICLE)
    for name in ("depart", "enter", "arrive", "link_enter"):
        vehicles[name] = np.nan
    vehicles["behind"] = -1
    return vehicles
