"""What an asset is worth to the street: what degrades when it fails, as a scenario that can be run, with reasons."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from simulation.happening import AssetFailure
from simulation.scenario import Scenario
from twin import Network
from twin.outage import DarkSignal, Outage


@dataclass(frozen=True)
class Impact:
    """What follows from the failure of assets; times are seconds from the failure.

    Parameters
    ----------
    scenario
        The failures, as a run of the engine takes them: signals become all-way stops or priority roads, bridges shut.
    outage
        Which assets are dark or unheard, when and why.
    signals
        Nodes whose signal is lost, how and when.
    links, movements
        Links that lead to such a node or are shut, and pairs (in-link, out-link) at such a node.
    unmeasured
        Links that no living sensor measures any more, and since when.
    reason
        One sentence an asset that is dark or unheard.
    """

    scenario: Scenario
    outage: Outage
    signals: tuple[DarkSignal, ...]
    links: tuple[str, ...]
    movements: tuple[tuple[str, str], ...]
    unmeasured: dict[str, float]
    reason: dict[str, str]


def impact(network: Network, assets: str | Collection[str], *, duration_s: float = math.inf) -> Impact:
    """Return what degrades when assets fail at once, at second 0.

    Parameters
    ----------
    network
        Roads and equipment.
    assets
        One id, or several.
    duration_s
        How long the scenario lets the failures last.

    Raises
    ------
    InputError
        When no asset has an id.
    """
    names = (assets,) if isinstance(assets, str) else tuple(dict.fromkeys(assets))
    outage = network.assets.outage(names)
    roads, signals = network.compile(), outage.signals()
    position = {node_id: k for k, node_id in enumerate(roads.node_ids)}
    links, movements = dict.fromkeys(outage.closed_links()), list[tuple[str, str]]()
    for node in (position[signal.node_id] for signal in signals if signal.node_id in position):
        for link in roads.in_link[roads.in_start[node] : roads.in_start[node + 1]].tolist():
            links[roads.link_ids[link]] = None
            movements += [
                (roads.link_ids[link], roads.link_ids[out])
                for out in roads.movement_out[roads.movement_start[link] : roads.movement_start[link + 1]].tolist()
            ]
    dark = outage.sensors(network.sensors)
    last: dict[str, float] = {}
    for sensor in network.sensors:
        if sensor.link_id:
            last[sensor.link_id] = max(last.get(sensor.link_id, 0.0), dark.get(sensor.sensor_id, math.inf))
    return Impact(
        scenario=Scenario(
            name=f"failure of {', '.join(names)}",
            asset_failure=tuple(AssetFailure(name, 0.0, duration_s) for name in names),
        ),
        outage=outage,
        signals=signals,
        links=tuple(links),
        movements=tuple(movements),
        unmeasured={link: time for link, time in last.items() if math.isfinite(time)},
        reason={name: outage.because(name) or outage.because(name, heard=True) for name in outage.unheard()},
    )
