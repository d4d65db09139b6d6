"""The generated city: what must hold for every seed."""

import functools
import hashlib
import itertools
import json
import re

import networkx as nx
import numpy as np
import pytest
from scipy.spatial import cKDTree

from sensors import QUANTITIES, InputError
from twin.generate import Table, generate

SEEDS = [*range(1, 10), 21]  # in 21 two roads join the same two junctions unless one is divided
City = dict[str, Table]


@functools.cache
def city(seed: int, junctions: int = 300) -> City:
    return generate(seed=seed, junctions=junctions)


def points(text: object) -> np.ndarray:
    """Return the points of well-known text in metres, near enough for distances within a city."""
    match = re.search(r"\(+([^()]*)\)", str(text))
    assert match is not None
    degrees = np.array([[float(v) for v in pair.split()] for pair in match[1].split(",")])
    return (degrees - [120.2, 30.3]) * 111_319.49 * [np.cos(np.radians(30.3)), 1.0]


def column(table: Table, name: str) -> list[str]:
    return [str(row[name]) for row in table]


def road_graph(made: City) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(column(made["node"], "node_id"))
    for link in made["link"]:
        graph.add_edge(link["from_node_id"], link["to_node_id"], key=link["link_id"])
    return graph


def allowed_movements(made: City) -> list[tuple[str, str]]:
    """Return pairs of links: listed ones, and all but U-turns at nodes without rows."""
    listed = {str(row["node_id"]) for row in made["movement"]}
    pairs = [(str(row["ib_link_id"]), str(row["ob_link_id"])) for row in made["movement"]]
    graph = road_graph(made)
    for node in graph.nodes:
        if node not in listed:
            for start, _, into in graph.in_edges(node, keys=True):
                pairs += [(into, out) for _, end, out in graph.out_edges(node, keys=True) if end != start]
    return pairs


def inside(place: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Return which places lie in a closed ring (even-odd rule)."""
    found = np.zeros(len(place), bool)
    for (ax, ay), (bx, by) in itertools.pairwise(ring):
        if ay != by:
            found ^= ((ay > place[:, 1]) != (by > place[:, 1])) & (
                place[:, 0] < (bx - ax) * (place[:, 1] - ay) / (by - ay) + ax
            )
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_city_has_about_the_size_that_was_asked_for(seed: int) -> None:
    made = city(seed)
    assert 0.9 * 300 <= len(made["node"]) <= 1.1 * 300
    assert 0.8 * 900 <= len(made["link"]) <= 1.2 * 900
    assert 60 <= len(made["signal_controller"]) <= 100
    assert 25 <= sum(not row["external"] for row in made["zone"]) <= 40
    assert 4 <= sum(row["bridge"] for row in made["link"]) / 2 <= 6
    assert 120 <= column(made["sensor"], "kind").count("detector") <= 190
    assert 1_500 <= len(made["building"]) <= 3_000
    kinds = set(column(made["link"], "facility_type"))
    assert kinds == {"motorway", "arterial", "collector", "local"}


@pytest.mark.parametrize("seed", SEEDS)
def test_one_can_drive_from_everywhere_to_everywhere(seed: int) -> None:
    made = city(seed)
    graph = road_graph(made)
    assert nx.is_strongly_connected(graph)
    # Also by movements, not only by nodes. Links out of a gateway have no link before them, links into one none after.
    gateways = {row["node_id"] for row in made["node"] if row["node_type"] == "gateway"}
    turning = nx.DiGraph(allowed_movements(made))
    inner = [link["link_id"] for link in made["link"] if not {link["from_node_id"], link["to_node_id"]} & gateways]
    assert set(column(made["link"], "link_id")) == set(turning.nodes)
    parts = list(nx.strongly_connected_components(turning))
    assert set(inner) <= max(parts, key=len)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_links_cross_without_a_node(seed: int) -> None:
    made = city(seed)
    ends, owners = [], []
    for link in made["link"]:
        if (
            link["from_node_id"] < link["to_node_id"]
            or not any(  # one direction of each road
                other["from_node_id"] == link["to_node_id"] and other["to_node_id"] == link["from_node_id"]
                for other in made["link"][max(0, int(str(link["link_id"])[1:]) - 2) : int(str(link["link_id"])[1:]) + 1]
            )
        ):
            shape = points(link["geometry"])
            ends.append(np.hstack((shape[:-1], shape[1:])))
            owners += [link["link_id"]] * (len(shape) - 1)
    part = np.vstack(ends)
    middle = (part[:, :2] + part[:, 2:]) / 2
    reach = np.hypot(*(part[:, 2:] - part[:, :2]).T) / 2
    pairs = cKDTree(middle).query_pairs(2 * reach.max(), output_type="ndarray")
    a, b = part[pairs[:, 0]], part[pairs[:, 1]]

    def turn(o: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return (p[:, 0] - o[:, 0]) * (q[:, 1] - o[:, 1]) - (p[:, 1] - o[:, 1]) * (q[:, 0] - o[:, 0])

    a1, a2, b1, b2 = a[:, :2], a[:, 2:], b[:, :2], b[:, 2:]
    touch = np.zeros(len(pairs), bool)
    for p in (a1, a2):
        for q in (b1, b2):
            touch |= np.hypot(*(p - q).T) < 0.05  # the same shape point or node
    crossing = (turn(a1, a2, b1) * turn(a1, a2, b2) < 0) & (turn(b1, b2, a1) * turn(b1, b2, a2) < 0) & ~touch
    found = [(owners[i], owners[j]) for i, j in pairs[crossing]]
    assert found == []


@pytest.mark.parametrize("seed", SEEDS)
def test_links_are_unique_and_fit_their_nodes_and_geometry(seed: int) -> None:
    made = city(seed)
    nodes = {row["node_id"]: np.array([row["x_coord"], row["y_coord"]]) for row in made["node"]}
    ends = [(row["from_node_id"], row["to_node_id"]) for row in made["link"]]
    assert len(set(ends)) == len(ends) == len(set(column(made["link"], "link_id")))
    assert all(start != end for start, end in ends)
    for row, (start, end) in zip(made["link"], ends, strict=True):
        shape = points(row["geometry"])
        first, last = (points(f"({nodes[n][0]} {nodes[n][1]})")[0] for n in (start, end))
        assert np.hypot(*(shape[0] - first)) < 0.3, row["link_id"]
        assert np.hypot(*(shape[-1] - last)) < 0.3, row["link_id"]
        drawn = np.hypot(*np.diff(shape, axis=0).T).sum()
        # Coordinates are rounded to 0.1 m at each point.
        assert row["length"] == pytest.approx(drawn, abs=0.2 * len(shape)), row["link_id"]
        assert 40.0 <= row["length"] <= 1_500.0, row["link_id"]
        assert 1 <= row["lanes"] <= 4
    lengths = np.array([row["length"] for row in made["link"]])
    assert np.mean((lengths >= 100) & (lengths <= 900)) > 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_a_street_keeps_its_name_and_no_other_street_has_it(seed: int) -> None:
    made = city(seed)
    both = {(row["name"], row["name_zh"]) for row in made["link"]}
    assert len({en for en, _ in both}) == len({zh for _, zh in both}) == len(both)
    graph = nx.Graph()
    for row in made["link"]:
        graph.add_edge(row["from_node_id"], row["to_node_id"])
    parts = {}
    for name in {en for en, _ in both}:
        links = [(r["from_node_id"], r["to_node_id"]) for r in made["link"] if r["name"] == name]
        parts[name] = nx.number_connected_components(nx.Graph(links))
    # The river, parks and the city's edge interrupt a few long streets, most are in one piece.
    assert sum(n == 1 for n in parts.values()) > 0.85 * len(parts)
    assert max(parts.values()) <= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_signals_show_green_to_every_movement_within_the_cycle(seed: int) -> None:
    made = city(seed)
    node_of = {row["controller_id"]: row["node_id"] for row in made["signal_controller"]}
    plans = {row["timing_plan_id"]: row for row in made["signal_timing_plan"]}
    offset = {row["timing_plan_id"]: row["offset"] for row in made["signal_coordination"]}
    movement = {row["mvmt_id"]: row for row in made["movement"]}
    links = {row["link_id"]: row for row in made["link"]}
    green: dict[object, set[object]] = {}
    for row in made["signal_phase_mvmt"]:
        green.setdefault(row["timing_phase_id"], set()).add(row["mvmt_id"])
    assert set(offset) == set(plans)
    assert set(column(made["node"], "ctrl_type")) == {"signal", "none"}
    assert {row["node_id"] for row in made["node"] if row["ctrl_type"] == "signal"} == set(node_of.values())
    for name, plan in plans.items():
        node = node_of[plan["controller_id"]]
        phases = [row for row in made["signal_timing_phase"] if row["timing_plan_id"] == name]
        assert 2 <= len(phases) <= 4
        assert 60 <= plan["cycle_length"] <= 120
        assert sum(row["max_green"] + row["clearance"] for row in phases) == plan["cycle_length"]
        assert all(row["max_green"] >= 10 for row in phases)
        assert [row["position"] for row in phases] == list(range(1, len(phases) + 1))
        assert 0 <= offset[name] < plan["cycle_length"]
        shown = set().union(*(green[row["timing_phase_id"]] for row in phases))
        into = [k for k, row in links.items() if row["to_node_id"] == node]
        out = [k for k, row in links.items() if row["from_node_id"] == node]
        wanted = {(a, b) for a in into for b in out if links[a]["from_node_id"] != links[b]["to_node_id"]}
        assert {(movement[m]["ib_link_id"], movement[m]["ob_link_id"]) for m in shown} == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_protected_movements_that_are_green_together_do_not_cross(seed: int) -> None:
    made = city(seed)
    links = {row["link_id"]: points(row["geometry"]) for row in made["link"]}
    movement = {row["mvmt_id"]: row for row in made["movement"]}
    phases: dict[object, list[object]] = {}
    for row in made["signal_phase_mvmt"]:
        if row["protection"] == "protected":
            phases.setdefault(row["timing_phase_id"], []).append(row["mvmt_id"])

    def place(link: object, into: bool) -> float:
        """Return where a link's lanes lie on a circle around the junction; traffic keeps right."""
        shape = links[str(link)]
        away = shape[-2] - shape[-1] if into else shape[1] - shape[0]
        return float(np.arctan2(away[1], away[0])) + (0.1 if into else -0.1)

    def crosses(one: dict[str, object], two: dict[str, object]) -> bool:
        """Two chords of a circle cross when the ends of one lie on both sides of the other."""
        if one["ib_link_id"] == two["ib_link_id"] or one["ob_link_id"] == two["ob_link_id"]:
            return False
        start = place(one["ib_link_id"], True)
        end, a, b = (
            (place(link, into) - start) % (2 * np.pi)
            for link, into in ((one["ob_link_id"], False), (two["ib_link_id"], True), (two["ob_link_id"], False))
        )
        return (a < end) != (b < end)

    conflicts = [
        (phase, one, two)
        for phase, ids in phases.items()
        for k, one in enumerate(ids)
        for two in ids[k + 1 :]
        if crosses(movement[one], movement[two])
    ]
    assert conflicts == []


@pytest.mark.parametrize("seed", SEEDS)
def test_lane_groups_lie_on_their_links(seed: int) -> None:
    made = city(seed)
    links = {row["link_id"]: row for row in made["link"]}
    for row in made["movement"]:
        into, out = links[row["ib_link_id"]], links[row["ob_link_id"]]
        assert into["to_node_id"] == out["from_node_id"] == row["node_id"]
        assert 1 <= row["start_ib_lane"] <= row["end_ib_lane"] <= into["lanes"]
        assert row["pocket_m"] is None or 0 < row["pocket_m"] < into["length"]
    assert any(row["pocket_m"] for row in made["movement"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_days_demand_has_two_peaks_and_goes_to_work_in_the_morning(seed: int) -> None:
    made = city(seed)
    zones = {row["zone_id"]: row for row in made["zone"]}
    total = sum(row["volume"] for row in made["demand"])
    assert total == pytest.approx(800 * len(made["node"]), rel=1e-3)  # volumes are rounded to 0.01
    rate = np.zeros(24)
    jobs_in_morning = jobs_in_evening = 0.0
    for row in made["demand"]:
        assert row["o_zone_id"] != row["d_zone_id"]
        assert row["volume"] > 0
        hours = (row["end_s"] - row["start_s"]) / 3600
        begin, end = np.arange(24) * 3600, np.arange(1, 25) * 3600
        overlap = np.clip(np.minimum(row["end_s"], end) - np.maximum(row["start_s"], begin), 0, None) / 3600
        rate += row["volume"] * overlap / hours
        towards = zones[row["d_zone_id"]]["jobs"] - zones[row["o_zone_id"]]["jobs"]
        if row["start_s"] in (7 * 3600, 8 * 3600):
            jobs_in_morning += row["volume"] * np.sign(towards)
        if row["start_s"] in (17 * 3600, 18 * 3600):
            jobs_in_evening += row["volume"] * np.sign(towards)
    assert rate.sum() == pytest.approx(total)
    assert int(rate[:12].argmax()) in (7, 8)
    assert 12 + int(rate[12:].argmax()) in (17, 18)
    assert min(rate[7:9].min(), rate[17:19].min()) > 1.3 * rate[11:15].mean() > 4 * rate[2:4].mean()
    assert jobs_in_morning > 0 > jobs_in_evening


@pytest.mark.parametrize("seed", SEEDS)
def test_every_reference_names_something_that_exists(seed: int) -> None:
    made = city(seed)
    keys = {
        "node_id": set(column(made["node"], "node_id")),
        "link_id": set(column(made["link"], "link_id")),
        "zone_id": set(column(made["zone"], "zone_id")),
        "asset_id": set(column(made["asset"], "asset_id")),
        "depends_on": set(column(made["asset"], "asset_id")),
        "controller_id": set(column(made["signal_controller"], "controller_id")),
        "timing_plan_id": set(column(made["signal_timing_plan"], "timing_plan_id")),
        "timing_phase_id": set(column(made["signal_timing_phase"], "timing_phase_id")),
        "mvmt_id": set(column(made["movement"], "mvmt_id")),
    }
    for alias, name in (("from_node_id", "node_id"), ("o_zone_id", "zone_id"), ("d_zone_id", "zone_id")):
        keys[alias] = keys[name]
    for name, table in made.items():
        for row in table:
            assert list(row) == list(table[0]), f"{name}: rows with different columns"
            for key in row.keys() & keys.keys():
                if row[key] is not None:
                    assert row[key] in keys[key], f"{name}: {key} {row[key]}"
    for name, key in (("node", "node_id"), ("asset", "asset_id"), ("sensor", "sensor_id"), ("building", "building_id")):
        assert len(set(column(made[name], key))) == len(made[name])
    share: dict[object, float] = {}
    for row in made["zone_node"]:
        share[row["zone_id"]] = share.get(row["zone_id"], 0.0) + row["share"]
    assert set(share) == keys["zone_id"]
    assert all(value == pytest.approx(1.0, abs=1e-4) for value in share.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_sensors_lie_on_their_links_and_measure_known_quantities(seed: int) -> None:
    made = city(seed)
    links = {row["link_id"]: row for row in made["link"]}
    measured = set()
    for row in made["sensor"]:
        quantities = str(row["quantities"]).split(";")
        assert set(quantities) <= set(QUANTITIES)
        assert len(str(row["standard_deviation"]).split(";")) == len(quantities)
        assert re.fullmatch(r"[A-Z]+-[0-9]+", str(row["sensor_id"]))
        assert re.fullmatch(r"[a-z]+", str(row["district"]))
        if row["link_id"] is None:
            assert row["kind"] in ("air_station", "weather_station", "car_park", "metro_station", "venue", "rain_radar")
            assert (row["x_coord"] is None) == (row["zone_id"] is not None), "a place of its own, or a zone"
            continue
        measured.add(row["link_id"])
        assert 0 < row["position_m"] < links[row["link_id"]]["length"]
        assert row["lanes"] == links[row["link_id"]]["lanes"]
        shape = points(links[row["link_id"]]["geometry"])
        place = points(f"({row['x_coord']} {row['y_coord']})")
        assert cKDTree(shape).query(place)[0].max() < 600
    bridges = {row["link_id"] for row in made["link"] if row["bridge"]}
    assert bridges <= measured


@pytest.mark.parametrize("seed", SEEDS)
def test_equipment_hangs_on_feeders_without_circles(seed: int) -> None:
    made = city(seed)
    kinds = {row["asset_id"]: row["kind"] for row in made["asset"]}
    graph = nx.DiGraph((row["asset_id"], row["depends_on"]) for row in made["dependency"])
    assert nx.is_directed_acyclic_graph(graph)
    for name, kind in kinds.items():
        if kind in ("signal", "controller", "detector", "camera", "switch", "cabinet", "air_station"):
            assert any(kinds[other] == "feeder" for other in nx.descendants(graph, name)), name
    groups: dict[object, set[object]] = {}
    for row in made["dependency"]:
        assert row["kind"] in ("power", "comms", "control", "structure")
        assert (row["need"] == "any") == (row["group"] is not None)
        if row["group"]:
            groups.setdefault((row["asset_id"], row["group"]), set()).add(row["depends_on"])
    assert groups
    assert all(len(others) == 2 for others in groups.values())
    assert any(row["autonomy_s"] for row in made["asset"])


@pytest.mark.parametrize("seed", SEEDS)
def test_buildings_stand_clear_of_roads_water_parks_and_each_other(seed: int) -> None:
    made = city(seed)
    rings = np.array([points(row["geometry"]) for row in made["building"]])
    corners = rings[:, :4].reshape(-1, 2)
    for row in made["area"]:
        assert not inside(corners, points(row["geometry"])).any(), row["area_id"]
    shapes = [points(row["geometry"]) for row in made["link"]]
    dense = np.vstack([np.linspace(a, b, 40) for shape in shapes for a, b in itertools.pairwise(shape)])
    assert cKDTree(dense).query(corners)[0].min() > 5.0
    middle = rings[:, :4].mean(axis=1)
    for i, j in cKDTree(middle).query_pairs(80.0):
        assert not inside(rings[j, :4], rings[i]).any()
        assert not inside(rings[i, :4], rings[j]).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_only_bridges_cross_the_water(seed: int) -> None:
    made = city(seed)
    spots, owner = [], []
    for k, row in enumerate(made["link"]):
        shape = points(row["geometry"])
        spots += [np.linspace(a, b, 12) for a, b in itertools.pairwise(shape)]
        owner += [k] * 12 * (len(shape) - 1)
    wet = np.zeros(len(made["link"]), bool)
    for row in made["area"]:
        if row["kind"] == "water":
            wet[np.array(owner)[inside(np.vstack(spots), points(row["geometry"]))]] = True
    assert wet.tolist() == [bool(row["bridge"]) for row in made["link"]]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_city() -> None:
    def digest(made: City) -> str:
        return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()

    assert digest(generate(seed=5)) == digest(city(5))
    assert digest(city(5)) != digest(city(6))


@pytest.mark.parametrize("junctions", [50, 120, 1_500])
def test_small_and_large_cities_hold_together(junctions: int) -> None:
    made = city(3, junctions)
    assert 0.85 * junctions <= len(made["node"]) <= 1.15 * junctions
    assert nx.is_strongly_connected(road_graph(made))
    assert {row["node_id"] for row in made["signal_controller"]} <= {row["node_id"] for row in made["node"]}
    assert sum(bool(row["bridge"]) for row in made["link"]) >= 4


def test_text_of_the_default_city_stays_small() -> None:
    made = city(1)

    def size(table: Table) -> int:
        return sum(len(",".join(map(str, row.values()))) + 1 for row in table)

    assert size(made["demand"]) < 2_000_000
    assert size(made["building"]) < 1_000_000


def test_impossible_wishes_are_refused_all_at_once() -> None:
    with pytest.raises(InputError) as caught:
        generate(seed=-1, junctions=10)
    assert caught.value.faults == ("seed is -1, must be 0 or more", "junctions is 10, must be 50 or more")
