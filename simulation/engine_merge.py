"""The kernel's merges: whose turn it is among those that may move onto the same part at the same instant.

Notes
-----
Source: Tampere, Corthout, Cattrysse and Immers (2011), A generic class of first order node models, Transportation
Research B 45(1), realised for single vehicles by start-time fair queueing (Goyal, Vin and Cheng 1996).
"""

from simulation.engine_kernel import TIE_S, at, inner
from simulation.engine_signal import earliest_green
from simulation.street import UNKNOWN, Roads, Traffic, whole

RARE = 8  # a movement taken by fewer than one in this many is weighed as one in this many


@inner
def _start_tag(traffic: Traffic, queue: int, movement: int, part: int, origin: int) -> float:
    """Return the virtual time at which the head of ``queue`` (-1: of the origin) starts its turn before ``part``."""
    tag = 0.0
    if queue < 0:
        tag = traffic.origin[at(origin)].tag
    elif movement >= 0:
        tag = traffic.movement[at(movement)].tag
    return float(max(tag, traffic.entry[at(part)].virtual))


@inner
def charge(roads: Roads, traffic: Traffic, queue: int, movement: int, part: int, origin: int) -> None:
    """Book the turn just taken: an approach pays for all its departures since its last turn towards ``part``.

    So each approach that waits for the same part leaves in proportion to its weight whatever its turning shares are,
    which is the oriented capacity of Tampere et al. (2011); who does not use a turn leaves it to the others.
    """
    part = at(part)
    start = _start_tag(traffic, queue, movement, part, origin)
    traffic.entry[part].virtual = start
    if queue < 0:
        origin = at(origin)
        traffic.origin[origin].tag = start + roads.part[part].origin_price
    elif movement >= 0:
        queue, movement = at(queue), at(movement)
        served = traffic.queue[queue].served + 1
        traffic.queue[queue].served = served
        turns = min(RARE, served - traffic.movement[movement].served)
        traffic.movement[movement].served = served
        traffic.movement[movement].tag = start + turns * roads.queue[queue].price


@inner
def turn(
    roads: Roads, traffic: Traffic, node: int, out: int, time: float, queue: int, origin: int
) -> tuple[float, int, int]:
    """Return whose turn it is among all that may move onto ``out`` at the instant ``time``: when, queue and origin."""
    rival, tag, nobody = False, 0.0, whole(-1)
    start_queue, start_origin, start = queue, origin, time
    node, out = at(node), at(out)
    for queue_here in range(at(roads.node[node].queue), at(roads.node[node].end_queue)):
        k = at(queue_here)
        if k != start_queue and traffic.queue_out[k] == out and traffic.queue_time[k] <= start + TIE_S:
            if not rival:
                rival, tag = True, _tag_of(traffic, start_queue, out, start_origin)
            other = _tag_of(traffic, k, out, nobody)
            if other < tag:
                time, queue, origin, tag = traffic.queue_time[k], k, nobody, other
    k = whole(roads.part[out].origin)
    if k >= 0 and k != start_origin and traffic.origin_time[k] <= start + TIE_S:
        if not rival:
            tag = _tag_of(traffic, start_queue, out, start_origin)
        if _tag_of(traffic, nobody, out, k) < tag:
            time, queue, origin = traffic.origin_time[k], nobody, k
    return time, queue, origin


@inner
def _tag_of(traffic: Traffic, queue: int, out: int, origin: int) -> float:
    movement = whole(-1)
    if queue >= 0:
        movement = whole(traffic.slot[at(traffic.queue[at(queue)].head)].movement)
    return float(_start_tag(traffic, queue, movement, out, origin))


@inner
def pace(roads: Roads, traffic: Traffic, queue: int, movement: int, out: int, slot: int, time: float) -> None:
    """Set when the vehicle after the one that leaves now may leave, for the headway's sake: one headway later.

    A vehicle that another approach has kept waiting does not keep those behind it waiting as well: the queue's schedule
    goes on as if it had left, for one headway at most. Without this a queue could not take a share of a merge that
    needs two turns in a row whenever the part ahead carries more than the queue does, and every wait at a merge would
    cost a street capacity for good (a one-lane street, half of whose vehicles turn off and half of which give way to
    a quarter of its capacity: 0.69 instead of 0.75 veh/s, as in UXsim; 0.8 without discrete vehicles).
    """
    queue, slot = at(queue), at(slot)
    headway = roads.queue[queue].headway
    schedule, lag = time, traffic.queue[queue].last - traffic.queue[queue].schedule
    contested = False
    if out >= 0:
        before = traffic.entry[at(out)].last_from
        contested = before != queue and before != UNKNOWN
    if out >= 0 and (contested or lag > 0.0):
        due = max(traffic.slot[slot].time, traffic.queue[queue].schedule + headway)
        if contested:
            lag = headway
            node = at(roads.part[at(roads.queue[queue].part)].to_node)
            if movement >= 0 and roads.node[node].cycle > 0.0:
                due = earliest_green(roads, traffic, node, movement, due)
        schedule = min(time, max(due, time - lag))
    traffic.queue[queue].schedule = schedule
    traffic.queue[queue].last = time
    traffic.queue[queue].free = max(schedule + headway, time)
