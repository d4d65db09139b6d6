"""A rough static loading of the network: what links carry in a peak hour, for signal plans and sites of detectors."""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from twin.generator.demand import Demand
from twin.generator.roads import CAPACITY_VEH_H_LANE, Roads

Float = npt.NDArray[np.float64]
ROUNDS = 4


def load_links(roads: Roads, demand: Demand, matrix: Float) -> Float:
    """Return the flow (n_links,) veh/h of an hourly matrix (n_zones, n_zones) on current shortest paths.

    Notes
    -----
    Method of successive averages with the BPR function (Bureau of Public Roads 1964): time = free (1 + 0.15 (q / c)^4).
    """
    free = roads.free_time()
    capacity = np.array(CAPACITY_VEH_H_LANE, float)[roads.link_class] * roads.lanes * 0.55
    shares = demand.shares(roads)
    origins = _origins(roads, demand)
    # Destinations by junction, origins by one junction of the zone: good enough for plans, and few trees.
    wanted = matrix[:, demand.node_zone] * shares[None, :]
    flow = np.zeros(roads.n_links)
    for k in range(ROUNDS):
        time = free * (1.0 + 0.15 * (flow / capacity) ** 4)
        flow += (_all_or_nothing(roads, time, origins, wanted) - flow) / (k + 1)
    return flow


def _origins(roads: Roads, demand: Demand) -> npt.NDArray[np.int64]:
    """Return the junction nearest to the middle of each zone."""
    n = len(demand.gateway)
    size = np.bincount(demand.node_zone, minlength=n)
    middle = np.column_stack([np.bincount(demand.node_zone, roads.xy[:, k], n) / size for k in (0, 1)])
    away = np.hypot(*(roads.xy - middle[demand.node_zone]).T)
    order = np.lexsort((away, demand.node_zone))
    first = np.searchsorted(demand.node_zone[order], np.arange(n))
    return order[first]


def _all_or_nothing(roads: Roads, time: Float, origins: npt.NDArray[np.int64], wanted: Float) -> Float:
    """Return link flows when everyone takes the shortest path."""
    n = roads.n_nodes
    graph = sparse.csr_array((time, (roads.start, roads.end)), shape=(n, n))
    distance, before = csgraph.dijkstra(graph, indices=origins, return_predecessors=True)
    through = wanted.copy()
    rows = np.arange(len(origins))
    # Farthest junctions first, all trees at once: each hands what it collected to its predecessor.
    order = np.argsort(-distance, axis=1, kind="stable")
    pair = sparse.csr_array((np.arange(1, roads.n_links + 1), (roads.start, roads.end)), shape=(n, n))
    for k in range(n - 1):
        node = order[:, k]
        previous = before[rows, node]
        good = previous >= 0
        np.add.at(through, (rows[good], previous[good]), through[rows[good], node[good]])
    flow = np.zeros(roads.n_links)
    tree, node = np.nonzero(before >= 0)
    link = np.asarray(pair[before[tree, node], node]).ravel() - 1
    np.add.at(flow, link, through[tree, node])
    return flow
