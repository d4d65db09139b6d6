"""The street in blocks of nodes that threads serve side by side, window by window.

What a node does reaches the next no sooner than a vehicle or a hole has travelled the part between them. So blocks
that are joined only by parts with a lag of at least one **window** can be served for the length of a window in any
order, or at the same time, and the result is the same to the last bit: whatever the number of blocks, windows and
threads. Nodes joined by short parts lie in one block, in which nodes go on waking one by one.

Notes
-----
Source: Chandy and Misra (1979), Distributed simulation, IEEE Transactions on Software Engineering 5(5).
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from simulation.engine import run_block
from simulation.engine_fence import add_atomically, observe, yield_processor
from simulation.engine_kernel import kernel, wake
from simulation.paving import MARGIN_S, MIN_LOOKAHEAD_S, lags
from simulation.street import Records, Roads, Traffic, whole
from simulation.threads import side_by_side
from twin.compiled import Float

Long = npt.NDArray[np.int64]

BLOCKS_PER_THREAD = 4  # who has finished early takes another block
LONGEST_WINDOW_S = 60.0
SHORT_WINDOW_S = 1.0  # below this, threads wait for each other more than for another block
NODES_PER_BLOCK = 25
PATIENCE = 2000  # looks at a barrier before others may have the processor
NEXT, DONE = 0, 8  # places of the counters, in different lines of the cache


def divide(
    roads: Roads, node_xy: Float, n_blocks: int, *, least_blocks: int = 2, longest_s: float = LONGEST_WINDOW_S
) -> tuple[Roads, float]:
    """Return the roads divided into blocks, and the window (s): the least lag between two blocks.

    Parameters
    ----------
    node_xy : (n_nodes, 2) m
        Of the network's nodes; those of cuts belong to their link.
    n_blocks
        At most; fewer, down to ``least_blocks``, where that makes the window longer than `SHORT_WINDOW_S`.
    longest_s : s
        Upper bound of the window.
    """
    part, n_nodes = roads.part, len(roads.node)
    down, back = lags(roads)
    lag = np.minimum(down, back)
    block: Long = np.zeros(n_nodes, np.int64)
    window, n_blocks = math.inf, min(n_blocks, n_nodes // NODES_PER_BLOCK)
    while n_blocks > 1:
        cluster = _clusters(part, lag, len(node_xy), n_nodes, 1.2 * n_nodes / n_blocks)
        found = _bisect(*_centres(cluster, node_xy), n_blocks)[cluster]
        least = float(lag[found[part["from_node"]] != found[part["to_node"]]].min(initial=math.inf))
        if math.isinf(window) or least > window:
            block, window = found, least
        if window >= SHORT_WINDOW_S or n_blocks // 2 < least_blocks:
            break
        n_blocks //= 2
    roads.node["block"] = block
    crosses = block[part["from_node"]] != block[part["to_node"]]
    part["crosses"] = crosses
    meeting = np.unique(np.concatenate([part["from_node"][crosses], part["to_node"][crosses]]))
    meeting = meeting[np.argsort(block[meeting], kind="stable")].astype(np.int32)
    edges = np.arange(int(block.max(initial=0)) + 2)
    roads = roads._replace(
        block_start=np.searchsorted(np.sort(block), edges).astype(np.int64),
        meeting=meeting,
        meeting_start=np.searchsorted(block[meeting], edges).astype(np.int64),
    )
    return roads, min(max(MIN_LOOKAHEAD_S, window - MARGIN_S), longest_s)


def _clusters(part: Records, lag: Float, n_fixed: int, n_nodes: int, most: float) -> Long:
    """Return the cluster of every node: nodes joined by short parts, as long as none has more than ``most``."""
    first, second = part["from_node"], part["to_node"]
    cluster: Long = np.arange(n_nodes)
    for least in (0.0, *np.geomspace(0.01, LONGEST_WINDOW_S, 27)):
        short = (lag <= least + 2 * MARGIN_S) | (first >= n_fixed) | (second >= n_fixed)  # cuts stay with their link
        graph = coo_array((np.ones(int(short.sum())), (first[short], second[short])), shape=(n_nodes, n_nodes))
        labels = connected_components(graph, directed=False)[1]
        if np.bincount(labels).max() > most:
            break
        cluster = labels.astype(np.int64)
    return cluster


def _centres(cluster: Long, node_xy: Float) -> tuple[Float, Float]:
    """Return the centre of each cluster, (n_clusters, 2) m, and its number of nodes."""
    weight = np.bincount(cluster).astype(float)
    inside = cluster[: len(node_xy)]
    count = np.maximum(1, np.bincount(inside, minlength=len(weight)))
    centre = np.stack([np.bincount(inside, node_xy[:, k], len(weight)) / count for k in (0, 1)], axis=1)
    return centre, weight


def _bisect(centre: Float, weight: Float, n_blocks: int) -> Long:
    """Return a block for every cluster: the plane is halved, along its longer side, until there are enough."""
    block = np.zeros(len(weight), np.int64)
    parts: list[tuple[Long, int, int]] = [(np.arange(len(weight)), 0, n_blocks)]
    while parts:
        mine, first, n = parts.pop()
        if n == 1 or len(mine) < 2:
            block[mine] = first
            continue
        axis = int(np.argmax(np.ptp(centre[mine], axis=0)))
        mine = mine[np.argsort(centre[mine, axis], kind="stable")]
        share = np.cumsum(weight[mine]) / weight[mine].sum()
        cut = int(np.argmin(np.abs(share - (n // 2) / n))) + 1
        cut = min(max(cut, 1), len(mine) - 1)
        parts += [(mine[:cut], first, n // 2), (mine[cut:], first + n // 2, n - n // 2)]
    return block


@kernel
def _run_windows(
    roads: Roads, traffic: Traffic, since: float, until: float, window: float, counters: Long, n_threads: int
) -> None:
    """Take blocks, one after the other, until none is left; wait for the other threads; go on to the next window."""
    n_blocks = len(roads.block_start) - 1
    begin, number = since, 0
    while begin < until:
        end = min(until, begin + window)
        while True:
            block = add_atomically(counters, NEXT, 1) - number * (n_blocks + n_threads)
            if block >= n_blocks:
                break
            if n_blocks > 1:
                for k in range(roads.meeting_start[block], roads.meeting_start[block + 1]):
                    node = whole(roads.meeting[k])
                    if begin < traffic.wake[node]:
                        wake(roads, traffic, node, begin)
            run_block(roads, traffic, block, since, end)
        number += 1
        add_atomically(counters, DONE, 1)
        looks = 0
        while counters[DONE] < number * n_threads:
            observe()
            looks += 1
            if looks > PATIENCE:
                yield_processor()
        begin = end


def run(roads: Roads, traffic: Traffic, since: float, until: float, *, window_s: float, threads: int = 1) -> None:
    """Make every move from ``since`` on before ``until``; all earlier ones are made, whatever has changed meanwhile.

    Parameters
    ----------
    window_s
        As `divide` gave it, or shorter.
    threads
        At most; a run of a few windows has one.
    """
    n_blocks = len(roads.block_start) - 1
    threads = max(1, min(threads, n_blocks))
    if until - since < 2 * window_s:
        threads = 1
    counters = np.zeros(16, np.int64)
    for known in (traffic.queue_time, traffic.origin_time):
        known.fill(-math.inf)  # whatever may have changed since
    if until == math.inf and n_blocks > 1:
        raise ValueError("a street in blocks runs up to a time that is not infinite")
    arguments = (roads, traffic, float(since), float(until), float(window_s), counters, threads)
    side_by_side(lambda: _run_windows(*arguments), threads)
