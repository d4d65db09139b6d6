"""The map of a network for path search: what lies near in the city lies near in memory."""

import numpy as np
import numpy.typing as npt

from simulation.engine_tree import BITS, SET_OFF, Map
from twin.compiled import CompiledNetwork, Float, Int

Long = npt.NDArray[np.int64]


def draw_map(network: CompiledNetwork, forbidden: Int) -> Map:
    """Return the map of ``network`` without the movements of rows ``forbidden``."""
    n_nodes, n_links = network.n_nodes, network.n_links
    rank = np.empty(n_nodes, np.int32)
    rank[_along_a_curve(network.node_xy)] = np.arange(n_nodes, dtype=np.int32)
    head = rank[network.to_node]
    link = np.argsort(head, kind="stable").astype(np.int32)
    place = np.empty(n_links, np.int32)
    place[link] = np.arange(n_links, dtype=np.int32)
    in_start = np.searchsorted(head[link], np.arange(n_nodes + 1)).astype(np.int32)
    words = np.maximum(1, -(-np.diff(in_start) // BITS))
    word_start = np.concatenate([[0], np.cumsum(words)]).astype(np.int32)
    number = np.arange(n_links) - in_start[head[link]]  # of each place among the in-links of its node
    unreached = np.zeros(int(word_start[-1]), np.int64)
    np.bitwise_or.at(unreached, word_start[head[link]] + number // BITS, np.int64(1) << (number % BITS))
    from_node = rank[network.from_node[link]]
    led_start = np.concatenate([[0], np.cumsum(words[from_node])]).astype(np.int32)
    led = np.zeros(int(led_start[-1]), np.int64)
    led[led_start[:-1]] = SET_OFF
    movement_from = np.repeat(np.arange(n_links), np.diff(network.movement_start)).astype(np.int32)
    allowed = np.setdiff1d(np.arange(len(movement_from)), forbidden)
    before, after = place[movement_from[allowed]], place[network.movement_out[allowed]]
    np.bitwise_or.at(led, led_start[after] + number[before] // BITS, np.int64(1) << (number[before] % BITS))
    return Map(
        rank=rank,
        place=place,
        link=link,
        from_node=from_node,
        end_node=head[link],
        in_start=in_start,
        out_start=np.searchsorted(np.sort(from_node), np.arange(n_nodes + 1)).astype(np.int32),
        out_place=np.argsort(from_node, kind="stable").astype(np.int32),
        word_start=word_start,
        unreached=unreached,
        led_start=led_start,
        led=led,
        movement_start=network.movement_start,
        movement_from=movement_from,
        movement_to=network.movement_out,
        allowed=allowed.astype(np.int32),
    )


def _along_a_curve(xy: Float) -> Long:
    """Return points in the order of a space-filling curve.

    Notes
    -----
    Source: Morton (1966), A computer oriented geodetic data base and a new technique in file sequencing, IBM.
    """
    code = np.zeros(len(xy), np.int64)
    span = float(np.ptp(xy, axis=0).max()) if len(xy) else 0.0
    cell = ((xy - xy.min(axis=0)) / (span or 1.0) * 65535).astype(np.int64) if len(xy) else np.zeros((0, 2), np.int64)
    for bit in range(16):
        for axis in (0, 1):
            code |= (cell[:, axis] >> bit & 1) << (2 * bit + axis)
    return np.argsort(code, kind="stable").astype(np.int64)
