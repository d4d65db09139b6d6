"""Demand that nobody has given: a gravity model, so that any network can be tried at once. Always marked assumed."""

import numpy as np

from twin import Network

MAX_ZONES = 60  # nodes that stand for zones when the network has none
LOAD_VEH_H = 60.0  # mean over all lanes; a moderately loaded street network has its busy streets well above
DETOUR = 1.3  # road distance over beeline
REACH_S = 600.0  # cost at which the wish to travel has fallen to 1 / e
BEELINE_SPEED_M_S = 8.0

Zones = dict[str, tuple[tuple[str, float], ...]]
FlowRow = tuple[str, str, float, float, float]


def gravity_flows(network: Network) -> tuple[Zones, list[FlowRow]]:
    """Return zones and one hour of flows ``T = c P P' exp(-cost / reach)`` with P the road capacity around a zone.

    Notes
    -----
    Source of the form: Ortuzar and Willumsen (2011), Modelling Transport, chapter 5; the constants are assumptions.
    """
    roads = network.compile()
    at_node = np.bincount(roads.from_node, roads.capacity, roads.n_nodes)
    at_node = np.minimum(at_node, np.bincount(roads.to_node, roads.capacity, roads.n_nodes))
    position = {name: k for k, name in enumerate(roads.node_ids)}
    zones: Zones = {name: nodes for name, nodes in network.zones.items() if nodes}
    if len(zones) < 2:
        chosen = np.flatnonzero(at_node > 0)
        chosen = (
            chosen[np.linspace(0, len(chosen) - 1, min(MAX_ZONES, len(chosen))).astype(int)] if len(chosen) else chosen
        )
        zones = {roads.node_ids[k]: ((roads.node_ids[k], 1.0),) for k in chosen.tolist()}
    names = list(zones)
    if len(names) < 2:
        return zones, []
    weight, place = np.zeros(len(names)), np.zeros((len(names), 2))
    for k, name in enumerate(names):
        for node, share in zones[name]:
            weight[k] += at_node[position[node]]
            place[k] += share * roads.node_xy[position[node]]
    cost = np.linalg.norm(place[:, None] - place[None], axis=2) / BEELINE_SPEED_M_S
    volume = weight[:, None] * weight[None] * np.exp(-cost / REACH_S)
    np.fill_diagonal(volume, 0.0)
    driven = float((volume * cost).sum()) * BEELINE_SPEED_M_S * DETOUR
    if driven > 0:
        volume *= LOAD_VEH_H * float((roads.length * roads.lanes).sum()) / driven
    rows = [
        (names[i], names[j], float(volume[i, j]), 0.0, 3600.0)
        for i in range(len(names))
        for j in range(len(names))
        if volume[i, j] > 1e-6
    ]
    return zones, rows
