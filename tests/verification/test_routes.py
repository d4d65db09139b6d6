"""Routes against networkx: shortest with forbidden turns, the k cheapest, and the fastest by link times."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation import engine_paths, routing
from simulation.departures import Trips
from simulation.fixed_routes import FixedRoutes
from simulation.link_times import LinkTimes
from simulation.route_map import draw_map
from twin import Network

NOTHING = np.full(4, -1, np.int32)


def city_of(seed, n_nodes=12, density=0.25, forbidden=0.3):
    """Return a random network; at half of its nodes a share of the turns is forbidden."""
    random = np.random.default_rng(seed)
    graph = nx.gnp_random_graph(n_nodes, density, seed=seed, directed=True)
    edges = [(a, b) for a, b in graph.edges] or [(0, 1)]
    place = random.uniform(0, 0.01, (n_nodes, 2))
    nodes = [{"node_id": str(k), "x_coord": 120 + x, "y_coord": 30 + y} for k, (x, y) in enumerate(place)]
    links = [
        {"link_id": f"{a}>{b}", "from_node_id": str(a), "to_node_id": str(b), "lanes": 1, "free_speed": 36}
        | {"length": float(random.uniform(50, 500))}
        for a, b in edges
    ]
    movements = []
    for node in range(0, n_nodes, 2):
        pairs = [(f"{a}>{node}", f"{node}>{c}") for a, b in edges if b == node for d, c in edges if d == node]
        kept = [pair for pair in pairs if random.random() > forbidden] or pairs[:1]
        movements += [
            {"mvmt_id": f"{node}-{k}", "node_id": str(node), "ib_link_id": i, "ob_link_id": o}
            for k, (i, o) in enumerate(kept)
        ]
    tables = {"node": nodes, "link": links}
    if movements and forbidden:
        tables["movement"] = movements
    return Network.from_tables(tables).compile()


def movements_of(city):
    inlink = np.repeat(np.arange(city.n_links), np.diff(city.movement_start))
    return list(zip(inlink.tolist(), city.movement_out.tolist(), strict=True))


def graph_of_links(city, cost):
    """Return the graph whose edges are movements; nodes ('from', n) and ('to', n) begin and end trips."""
    graph = nx.DiGraph()
    graph.add_nodes_from((kind, node) for kind in ("from", "to") for node in range(city.n_nodes))
    for link in range(city.n_links):
        graph.add_edge(("from", int(city.from_node[link])), link, weight=cost[link])
        graph.add_edge(link, ("to", int(city.to_node[link])), weight=0.0)
    for before, after in movements_of(city):
        graph.add_edge(before, after, weight=cost[after])
    return graph


def links_along(city, path, first, step):
    links = [int(first)]
    while path[step] >= 0:
        assert movements_of(city)[path[step]][0] == links[-1], "a movement that begins elsewhere"
        links.append(int(city.movement_out[path[step]]))
        step += 1
    return links


def all_requests(city):
    """Return every start, nodes and ends of links, with every destination; nobody goes where it is."""
    starts = [*range(city.n_nodes), *(-1 - link for link in range(city.n_links))]
    pairs = [(s, d) for s in starts for d in range(city.n_nodes) if s != d]
    return (np.array(side, np.int32) for side in zip(*pairs, strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_shortest_paths_are_those_of_dijkstra_on_movements(seed):
    city = city_of(seed)
    cost = np.random.default_rng(seed).uniform(1, 50, city.n_links)
    chart = draw_map(city, np.zeros(0, np.int32))
    start, node = all_requests(city)
    routes = routing.plan_routes(chart, cost, start, node, NOTHING, 0)
    graph = graph_of_links(city, cost)
    lengths = {}
    for k, (begin, end) in enumerate(zip(start.tolist(), node.tolist(), strict=True)):
        source = ("from", begin) if begin >= 0 else -1 - begin
        if source not in lengths:
            lengths[source] = nx.single_source_dijkstra_path_length(graph, source)
        expected = lengths[source].get(("to", end), np.inf)
        assert routes.total[k] == pytest.approx(expected, rel=1e-12)
        if np.isfinite(expected):
            links = links_along(city, routes.path, routes.first[k], routes.step[k])
            assert city.to_node[links[-1]] == end
            spent = cost[links].sum() - (cost[links[0]] if begin < 0 else 0.0)
            assert spent == pytest.approx(expected, rel=1e-12)
        else:
            assert routes.first[k] == -1


@given(seed=st.integers(0, 10_000), forbidden=st.floats(0, 0.9), data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_route_takes_a_forbidden_movement_whoever_asks_with_whom(seed, forbidden, data):
    city = city_of(seed, n_nodes=8, density=0.35, forbidden=forbidden)
    n_movements = len(city.movement_out)
    never = data.draw(st.lists(st.integers(0, n_movements - 1), max_size=n_movements // 2)) if n_movements else []
    never = np.unique(np.array(never, np.int32))
    cost = np.random.default_rng(seed).uniform(1, 50, city.n_links)
    chart = draw_map(city, never)
    start, node = all_requests(city)
    together = routing.plan_routes(chart, cost, start, node, NOTHING, 0)
    some = np.flatnonzero(np.random.default_rng(seed + 1).random(len(start)) < 0.2)
    alone = routing.plan_routes(chart, cost, start[some], node[some], NOTHING, 0)
    assert not np.isin(together.path[: together.used], never).any()
    for k, row in enumerate(some.tolist()):
        assert (alone.first[k], alone.total[k]) == (together.first[row], together.total[row])
        if alone.first[k] >= 0:
            routes = [links_along(city, r.path, r.first[j], r.step[j]) for r, j in ((alone, k), (together, row))]
            assert routes[0] == routes[1]
            begin = start[row]
            if begin < 0:
                assert routes[0][0] == -1 - begin


def test_the_same_routes_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(routing, "LITTLE", 0)  # so that threads are used
    city = city_of(5, n_nodes=60, density=0.06)
    cost = np.random.default_rng(5).uniform(1, 50, city.n_links)
    chart = draw_map(city, np.zeros(0, np.int32))
    start, node = all_requests(city)
    for plan in (routing.plan_routes, lambda *a, **k: engine_paths.plan_alternatives(*a[:4], 3, *a[4:], **k)):
        some = slice(None) if plan is routing.plan_routes else start >= 0
        made = [plan(chart, cost, start[some], node[some], NOTHING, 0, threads=n) for n in (1, 2, 4)]
        for other in made[1:]:
            assert other.used == made[0].used
            for name in ("first", "step", "total"):
                assert getattr(other, name).tobytes() == getattr(made[0], name).tobytes()
            assert other.path[: other.used].tobytes() == made[0].path[: made[0].used].tobytes()


def test_routes_behind_those_in_the_store_leave_them_alone():
    city = city_of(1)
    chart = draw_map(city, np.zeros(0, np.int32))
    start, node = all_requests(city)
    cost = city.length.copy()
    store = np.arange(100, 107, dtype=np.int32)
    behind = routing.plan_routes(chart, cost, start, node, store, 7)
    empty = routing.plan_routes(chart, cost, start, node, NOTHING, 0)
    assert behind.path[:7].tolist() == list(range(100, 107))
    there = empty.first >= 0
    assert (behind.step[there] == empty.step[there] + 7).all()
    assert behind.path[7 : behind.used].tolist() == empty.path[: empty.used].tolist()


def test_a_node_may_have_more_in_links_than_a_word_has_bits():
    arms = 150
    angle = 2 * np.pi * np.arange(arms) / arms
    nodes = [{"node_id": "hub", "x_coord": 120.0, "y_coord": 30.0}] + [
        {"node_id": f"a{k}", "x_coord": 120 + 0.01 * np.cos(x), "y_coord": 30 + 0.01 * np.sin(x)}
        for k, x in enumerate(angle)
    ]
    links = []
    for k in range(arms):
        for a, b in ((f"a{k}", "hub"), ("hub", f"a{k}")):
            ends = {"link_id": f"{a}>{b}", "from_node_id": a, "to_node_id": b}
            links.append({**ends, "lanes": 1, "free_speed": 36, "length": 1000 + k})
    city = Network.from_tables({"node": nodes, "link": links}).compile()
    chart = draw_map(city, np.zeros(0, np.int32))
    start, node = all_requests(city)
    routes = routing.plan_routes(chart, city.length, start, node, NOTHING, 0)
    graph = graph_of_links(city, city.length)
    for k in range(0, len(start), 97):
        source = ("from", int(start[k])) if start[k] >= 0 else int(-1 - start[k])
        try:
            expected = nx.shortest_path_length(graph, source, ("to", int(node[k])), weight="weight")
        except nx.NetworkXNoPath:
            expected = np.inf
        assert routes.total[k] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(8))
def test_the_k_cheapest_paths_are_those_of_networkx(seed):
    city = city_of(seed, forbidden=0.0)
    cost = np.random.default_rng(seed).uniform(1, 50, city.n_links)
    chart = draw_map(city, np.zeros(0, np.int32))
    start, node = (side[: city.n_nodes * (city.n_nodes - 1)] for side in all_requests(city))
    assert (start >= 0).all()
    found = engine_paths.plan_alternatives(chart, cost, start, node, 6, NOTHING, 0)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(city.n_nodes))
    for link in range(city.n_links):
        graph.add_edge(int(city.from_node[link]), int(city.to_node[link]), weight=cost[link])
    for k, (begin, end) in enumerate(zip(start.tolist(), node.tolist(), strict=True)):
        try:
            paths = list(itertools.islice(nx.shortest_simple_paths(graph, begin, end, weight="weight"), 6))
        except nx.NetworkXNoPath:
            paths = []
        made = [links_along(city, found.path, found.first[k, j], found.step[k, j]) for j in range(len(paths))]
        assert [[begin, *(int(city.to_node[link]) for link in links)] for links in made] == paths
        assert found.total[k, : len(paths)] == pytest.approx([cost[links].sum() for links in made])
        assert (found.first[k, len(paths) :] == -1).all()
        assert np.isinf(found.total[k, len(paths) :]).all()


@pytest.mark.parametrize("seed", range(6))
def test_k_paths_with_forbidden_turns_begin_with_the_shortest_and_differ(seed):
    city = city_of(seed, forbidden=0.5)
    cost = np.random.default_rng(seed).uniform(1, 50, city.n_links)
    chart = draw_map(city, np.zeros(0, np.int32))
    start, node = (side[: city.n_nodes * (city.n_nodes - 1)] for side in all_requests(city))
    shortest = routing.plan_routes(chart, cost, start, node, NOTHING, 0)
    found = engine_paths.plan_alternatives(chart, cost, start, node, 5, NOTHING, 0)
    assert found.total[:, 0] == pytest.approx(shortest.total)
    assert (np.diff(np.nan_to_num(found.total, posinf=1e12), axis=1) >= -1e-9).all()
    for k in range(len(start)):
        n = int((found.first[k] >= 0).sum())
        made = [tuple(links_along(city, found.path, found.first[k, j], found.step[k, j])) for j in range(n)]
        assert len(set(made)) == n


@pytest.mark.parametrize("seed", range(6))
def test_the_fastest_way_is_that_of_all_ways(seed):
    # Every way without a link twice is tried; waiting anywhere gains nothing, since times never fall faster than time.
    city, random = city_of(seed, n_nodes=7, density=0.35), np.random.default_rng(seed)
    chart = draw_map(city, np.zeros(0, np.int32))
    step, n_steps = 30.0, 12
    time = random.uniform(5, 120, (n_steps, city.n_links))
    wait = random.uniform(0, 40, (n_steps, city.n_links))
    for table in (time, wait):
        for k in range(1, n_steps):
            table[k] = np.maximum(table[k], table[k - 1] - step)
    times = LinkTimes(0.0, step, time, wait)
    pairs = [(a, b) for a in range(city.n_nodes) for b in range(city.n_nodes) if a != b]
    n = len(pairs)
    origin, destination = (np.array(side, np.int32) for side in zip(*pairs, strict=True))
    # One search is made for those who leave a node in one step, so here they leave at the same time.
    depart = np.sort(random.uniform(0, 300, city.n_nodes))[origin]
    order = np.argsort(depart, kind="stable")
    trips = Trips(np.stack([np.arange(n), np.zeros(n, int)], 1), depart[order], origin[order], destination[order])
    found = times.fastest(city, chart, trips, np.arange(n), threads=2)
    after = {link: [] for link in range(city.n_links)}
    for before, link in movements_of(city):
        after[before].append(link)

    def ways(links, end):
        if city.to_node[links[-1]] == end:
            yield links
            return
        for link in after[links[-1]]:
            if link not in links:
                yield from ways((*links, link), end)

    for k in range(n):
        begin, end = int(trips.origin[k]), int(trips.destination[k])
        outs = city.out_link[city.out_start[begin] : city.out_start[begin + 1]].tolist()
        every_way = [way for link in outs for way in ways((link,), end)]
        if not every_way:
            assert k not in found
            continue
        tried = FixedRoutes.of(len(every_way), dict(enumerate(every_way)))
        best = times.arrivals(tried, np.full(len(every_way), trips.depart[k])).min()
        mine = times.arrivals(FixedRoutes.of(1, {0: found[k]}), trips.depart[k : k + 1])[0]
        assert mine == pytest.approx(best, abs=1e-9)
