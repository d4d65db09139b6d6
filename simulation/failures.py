"""What fails with an asset, and when: power, control and structure cascade; batteries delay it."""

import math
from collections.abc import Container

from simulation.scenario import AssetFailure
from twin import Network


def failure_times(network: Network, failure: AssetFailure) -> dict[str, float]:
    """Return when each asset fails (s of the run); those that live on are left out.

    An asset fails with each dependency of need ``all``, and with the last of a group of need ``any``, once the battery
    that bridges the dependency is empty.
    """
    graph = network.assets
    times = {failure.asset: failure.from_s}
    changed = True
    while changed:
        changed = False
        groups: dict[tuple[str, str], list[float]] = {}
        for need in graph.dependencies:
            if need.kind == "comms":
                continue  # without its line a controller goes on with its fixed plan
            time = times.get(need.depends_on, math.inf) + need.autonomy_s
            key = (need.asset_id, f"any {need.group}" if need.need == "any" else f"all {need.depends_on}")
            groups.setdefault(key, []).append(time)
        for (asset, _), of_group in groups.items():
            if max(of_group) < times.get(asset, math.inf):
                times[asset] = max(of_group)
                changed = True
    return times


def dark_nodes(network: Network, failure: AssetFailure, signalised: Container[str]) -> list[tuple[str, float, float]]:
    """Return the signalised nodes that go dark with an asset: (node id, from, until)."""
    dark: dict[str, float] = {}
    for name, time in failure_times(network, failure).items():
        asset = network.assets.assets[name]
        if asset.node_id in signalised and asset.kind in ("signal", "controller") and time < failure.until_s:
            dark[asset.node_id] = min(time, dark.get(asset.node_id, math.inf))
    return [(node, time, failure.until_s) for node, time in sorted(dark.items())]
