"""Speed of route search: trees to many destinations beside scipy's Dijkstra on the same movements; same distances."""

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks.workload import grid
from simulation import compile_kernels, routing
from simulation.route_map import draw_map
from twin.compiled import CompiledNetwork, Float, Int


def graph_of_links(city: CompiledNetwork, cost: Float) -> csr_array:
    """Return the graph against the traffic whose nodes are links and whose edges movements, and after them the ends."""
    inlink = np.repeat(np.arange(city.n_links), np.diff(city.movement_start))
    rows = np.concatenate([city.movement_out, city.n_links + city.to_node])
    columns = np.concatenate([inlink, np.arange(city.n_links)])
    n = city.n_links + city.n_nodes
    return csr_array((cost[columns], (rows, columns)), shape=(n, n))


def spent(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of three goes."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=30, help="nodes along a side of the grid")
    parser.add_argument("--destinations", type=int, default=300)
    args = parser.parse_args()
    compile_kernels()
    city = grid(args.size, vehicles=1).network.compile()
    random = np.random.default_rng(1)
    cost = city.length / city.free_speed * random.uniform(1.0, 2.0, city.n_links)
    node = np.sort(random.choice(city.n_nodes, min(args.destinations, city.n_nodes), replace=False)).astype(np.int32)
    chart = draw_map(city, np.zeros(0, np.int32))
    # A hundred starts anywhere: nearly whole trees, as the peer makes them, and routes to write.
    target: Int = np.repeat(node, 100)
    start: Int = random.integers(0, city.n_nodes, len(target)).astype(np.int32)
    away = start != target
    start, target = start[away], target[away]
    path = np.full(1024, -1, np.int32)
    found = routing.plan_routes(chart, cost, start, target, path, 0)
    ours = spent(lambda: routing.plan_routes(chart, cost, start, target, path, 0))
    graph = graph_of_links(city, cost)
    theirs = spent(lambda: dijkstra(graph, indices=city.n_links + node))
    distance = dijkstra(graph, indices=city.n_links + node)[:, : city.n_links]
    from_node = np.full((len(node), city.n_nodes), np.inf)
    for link in range(city.n_links):
        begin = city.from_node[link]
        from_node[:, begin] = np.minimum(from_node[:, begin], distance[:, link])
    same = from_node[np.searchsorted(node, target), start]
    assert np.allclose(found.total, same, rtol=1e-12), "other distances"
    print(
        f"{len(node)} trees on {city.n_links:,} links: {ours / len(node) * 1e6:.0f} us CPU a tree and its 100 routes; "
        f"scipy {theirs / len(node) * 1e6:.0f} us without routes: "
        f"{theirs / ours:.1f} times as fast"
    )


if __name__ == "__main__":
    main()
