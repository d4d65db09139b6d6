"""What fails with an asset, when, and how: power, control and structure cascade; batteries delay it."""

import math
from collections.abc import Container
from typing import NamedTuple

from simulation.happening import AssetFailure
from simulation.lights import DARK, FLASHING
from twin import Network


class Fault(NamedTuple):
    """When an asset fails (s of the run), and whether for want of power."""

    time: float
    dead: bool
    mode: str  # its own degraded mode, or that of the controller that it has lost


def failure_times(network: Network, failure: AssetFailure) -> dict[str, Fault]:
    """Return when and how each asset fails; those that live on are left out.

    An asset fails with each dependency of need ``all``, and with the last of a group of need ``any``, once the battery
    that bridges the dependency is empty. Who loses its controller does what the controller's degraded mode says, unless
    that one is without power itself.
    """
    graph = network.assets
    root = graph.assets[failure.asset]
    faults = {failure.asset: Fault(failure.from_s, root.kind not in ("signal", "controller"), root.degraded_mode)}
    changed = True
    while changed:
        changed = False
        groups: dict[tuple[str, str], list[Fault]] = {}
        for need in graph.dependencies:
            if need.kind == "comms":
                continue  # without its line a controller goes on with its fixed plan
            cause = faults.get(need.depends_on, Fault(math.inf, False, ""))
            inherits = need.kind == "control" and not cause.dead
            mode = cause.mode if inherits else graph.assets[need.asset_id].degraded_mode
            key = (need.asset_id, f"any {need.group}" if need.need == "any" else f"all {need.depends_on}")
            groups.setdefault(key, []).append(Fault(cause.time + need.autonomy_s, not inherits, mode))
        for (asset, _), of_group in groups.items():
            last = max(of_group, key=lambda fault: fault.time)
            if last.time < faults.get(asset, Fault(math.inf, False, "")).time:
                faults[asset] = last
                changed = True
    return faults


def failed_signals(
    network: Network, failure: AssetFailure, signalised: Container[str]
) -> list[tuple[str, str, float, float]]:
    """Return the signals that fail with an asset: (node id, mode, from, until).

    The degraded mode of ``asset.csv`` says how: ``flashing`` gives the major road priority, all others, and none, are
    an all-way stop. Of a signal head and its controller the head counts.
    """
    found: dict[str, list[tuple[bool, Fault]]] = {}
    for name, fault in failure_times(network, failure).items():
        asset = network.assets.assets[name]
        if asset.node_id in signalised and asset.kind in ("signal", "controller") and fault.time < failure.until_s:
            found.setdefault(asset.node_id, []).append((asset.kind == "signal", fault))
    result = []
    for node, of_node in sorted(found.items()):
        heads = [fault for head, fault in of_node if head] or [fault for _, fault in of_node]
        flashing = all("flash" in fault.mode.lower() for fault in heads)
        time = min(fault.time for _, fault in of_node)
        result.append((node, FLASHING if flashing else DARK, time, failure.until_s))
    return result
