"""What a junction is worth without its signal: an all-way stop when it is dark, a priority road when it flashes.

The estimate and the order of repairs need capacities and delays at once, for any flow; the traffic engine lets the
vehicles find out by themselves, from the same headways.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.compiled import CompiledNetwork, Float
from twin.geometry import to_local
from twin.outage import FLASHING
from twin.prior import Prior, red_delay
from twin.signal import SignalPlan

Int = npt.NDArray[np.int64]

# Seconds per vehicle and lane of a saturated all-way stop by the number of approaches, of which two face each other or
# (first value) do not: base saturation headways of degree of conflict cases 1 to 5. Source: Highway Capacity Manual
# 2000, chapter 17, after Kyte et al. (1996), NCHRP 3-46.
ALL_WAY_STOP_S = (3.9, 4.7, 7.0, 9.6)
ALL_WAY_STOP_CROSSING_S = 5.8
FACING_DEG = 100.0  # as for oncoming traffic
# Crossing a priority road straight on: base critical gap and follow-up time, ibidem, exhibit 17-5.
CRITICAL_GAP_S, FOLLOW_UP_S = 6.5, 4.0
PERIOD_H = 0.25  # the peak quarter of an hour over which the manual lets a queue grow
STOP_S = 5.0  # slowing down and setting off at a stop line
MOVE_UP_S = 2.0  # from second place to the stop line: the rest of the headway is spent at it


@dataclass(frozen=True, slots=True)
class Approaches:
    """The approaches of a junction without its signal.

    Parameters
    ----------
    links : (n,) positions
    capacity : (n,) veh/s
    delay : (n,) s per vehicle at the flow that was given
    """

    links: Int
    capacity: Float
    delay: Float


def facing(compiled: CompiledNetwork, lines: Mapping[int, Float], links: Int) -> bool:
    """Return whether two approaches come from opposite sides; ``lines`` holds their geometry in degrees."""
    ends = [to_local(lines[link][-2:], compiled.origin) for link in links.tolist()]
    one, two = ((end[1] - end[0]) / max(float(np.hypot(*(end[1] - end[0]))), 1e-9) for end in ends)
    return bool(float(one @ two) < np.cos(np.radians(FACING_DEG)))


def approaches(compiled: CompiledNetwork, node: int, mode: str, flow: Float, *, opposite: bool = True) -> Approaches:
    """Return capacity and delay of a junction whose signal is dark or flashes.

    All-way stop: every approach discharges one vehicle a saturation headway and lane; delay by the manual's equation
    17-55. Flashing: the major road (higher class, else capacity) goes; the others cross it in its gaps, capacity by
    equation 17-3, delay by 17-38; where all roads are alike it is an all-way stop.

    Parameters
    ----------
    compiled, node
        Where.
    mode
        ``dark`` or ``flashing``.
    flow : (n_links,) veh/s
        Of all links, over all lanes.
    opposite
        Of a junction of two approaches, whether they face each other.

    Notes
    -----
    Source: Highway Capacity Manual 2000, chapter 17, Transportation Research Board.
    """
    links = compiled.in_link[compiled.in_start[node] : compiled.in_start[node + 1]].astype(np.int64)
    lanes = np.maximum(compiled.lanes[links].astype(float), 1.0)
    q = flow[links]
    major = _major(compiled, links) if mode == FLASHING else np.zeros(len(links), np.bool_)
    if major.any():
        crossed = float(q[major].sum())
        gaps = crossed * np.exp(-crossed * CRITICAL_GAP_S) / -np.expm1(-crossed * FOLLOW_UP_S) if crossed > 0 else 0.25
        capacity = np.where(major, compiled.capacity[links], gaps * lanes)
        service = np.where(major, 0.0, lanes / np.maximum(capacity, 1e-9))
        delay = np.where(major, 0.0, service + _queueing(q, capacity) + STOP_S)
        return Approaches(links, capacity, delay)
    headway = ALL_WAY_STOP_S[min(len(links), len(ALL_WAY_STOP_S)) - 1] if len(links) else 0.0
    if len(links) == 2 and not opposite:
        headway = ALL_WAY_STOP_CROSSING_S
    capacity = lanes / max(headway, 1e-9)
    return Approaches(links, capacity, headway - MOVE_UP_S + _queueing(q, capacity) + STOP_S)


def _major(compiled: CompiledNetwork, links: Int) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """Return (n,) which approaches have priority when the signal flashes, none where all are alike."""
    for rank in (compiled.link_class[links].astype(float), -compiled.capacity[links]):
        best = rank <= rank.min(initial=np.inf) + 1e-9
        if not best.all():
            return np.asarray(best & (np.count_nonzero(best) <= 2), np.bool_)
    return np.zeros(len(links), np.bool_)


def _queueing(flow: Float, capacity: Float) -> Float:
    """Return the delay of queues that random arrivals and overload make in a quarter of an hour, s per vehicle."""
    per_h = np.maximum(capacity * 3600.0, 1e-6)
    x = flow / np.maximum(capacity, 1e-9)
    inner = (x - 1) ** 2 + 3600.0 / per_h * x / (450.0 * PERIOD_H)
    delay: Float = 900.0 * PERIOD_H * ((x - 1) + np.sqrt(inner))
    return delay


def degraded_prior(
    compiled: CompiledNetwork,
    prior: Prior,
    *,
    signals: Mapping[str, SignalPlan],
    modes: Mapping[str, str],
    shut: Collection[str] = (),
) -> Prior:
    """Return what is expected of each link while signals are lost and links are shut.

    On the approaches of a lost signal the wait at red gives way to that of an all-way stop or a priority road, and no
    more flows than passes it; on a shut link nothing flows.

    Parameters
    ----------
    compiled, prior, signals
        The network, what is expected of it in order, and its fixed plans.
    modes
        ``dark`` or ``flashing`` by node id.
    shut
        Links that nothing enters.
    """
    speed, flow, deviation = prior.speed.copy(), prior.flow.copy(), prior.flow_deviation.copy()
    position = {node_id: node for node, node_id in enumerate(compiled.node_ids)}
    red = red_delay(compiled, {node: plan for node, plan in signals.items() if node in modes})
    for node_id, mode in modes.items():
        if node_id not in position:
            continue
        stop = approaches(compiled, position[node_id], mode, prior.flow)
        time = compiled.length[stop.links] / np.maximum(prior.speed[stop.links], 1e-3)
        running = np.maximum(time - red[stop.links], compiled.length[stop.links] / compiled.free_speed[stop.links])
        speed[stop.links] = compiled.length[stop.links] / (running + stop.delay)
        flow[stop.links] = np.minimum(flow[stop.links], stop.capacity)
        deviation[stop.links] = np.minimum(deviation[stop.links], np.maximum(stop.capacity, 1e-4))
    link = {link_id: k for k, link_id in enumerate(compiled.link_ids)}
    for link_id in shut:
        if link_id in link:
            flow[link[link_id]], deviation[link[link_id]] = 0.0, 0.05 * compiled.capacity[link[link_id]]
    return Prior(speed=speed, speed_deviation=prior.speed_deviation, flow=flow, flow_deviation=deviation)
