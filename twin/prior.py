"""What is expected of each link before any measurement: free flow, and the red lights of fixed plans on top."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.compiled import CompiledNetwork
from twin.signal import SignalPlan

Float = npt.NDArray[np.float64]

# The deviation was chosen with the ranges of `twin.estimate`, on the speeds of Aarhus.
SPEED_RATIO_DEVIATION = 0.3
# Assumed mean share of the capacity that flows by day, by class; the deviation is as large as the mean.
FLOW_SHARE_PRIOR = (0.3, 0.15, 0.1, 0.06)


@dataclass(frozen=True, slots=True)
class Prior:
    """Expected state of each link; deviations are positive.

    Parameters
    ----------
    speed, speed_deviation : (n_links,) m/s
    flow, flow_deviation : (n_links,) veh/s over all lanes
    """

    speed: Float
    speed_deviation: Float
    flow: Float
    flow_deviation: Float


def red_delay(compiled: CompiledNetwork, signals: Mapping[str, SignalPlan]) -> Float:
    """Return the mean wait for green of a vehicle that arrives at any time, (n_links,) s.

    With cycle C and green share g of a movement: C (1 - g)^2 / 2; the mean over the link's movements that ever get
    green.

    Notes
    -----
    Source: Webster (1958), Traffic signal settings, Road Research Technical Paper 39: uniform delay without flow.
    """
    delay = np.zeros(compiled.n_links)
    position = {node_id: node for node, node_id in enumerate(compiled.node_ids)}
    for node_id, plan in signals.items():
        if node_id not in position:
            continue
        node = position[node_id]
        green: dict[tuple[str, str], float] = {}
        for stage in plan.stages:
            for movement in stage.movements:
                green[movement] = green.get(movement, 0.0) + stage.green_s
        for link in compiled.in_link[compiled.in_start[node] : compiled.in_start[node + 1]].tolist():
            link_id = compiled.link_ids[link]
            shares = [min(seconds / plan.cycle_s, 1.0) for (of, _), seconds in green.items() if of == link_id]
            if shares:
                delay[link] = float(np.mean([plan.cycle_s * (1 - share) ** 2 / 2 for share in shares]))
    return delay


def free_flow_prior(compiled: CompiledNetwork, signals: Mapping[str, SignalPlan] | None = None) -> Prior:
    """Return the prior without history: free flow with the wait at red, and a share of the capacity by class.

    Parameters
    ----------
    compiled
        The network.
    signals
        Fixed plans by node id; none: no red lights.
    """
    running = compiled.length / compiled.free_speed
    flow = np.array(FLOW_SHARE_PRIOR)[np.clip(compiled.link_class, 0, 3)] * compiled.capacity
    return Prior(
        speed=compiled.length / (running + red_delay(compiled, signals or {})),
        speed_deviation=SPEED_RATIO_DEVIATION * compiled.free_speed,
        flow=flow,
        flow_deviation=flow.copy(),
    )
