"""The network as arrays: units, the fundamental diagram, movements, lane groups, signals, zones and names."""

import networkx as nx
import numpy as np
import pytest

from sensors import InputError
from twin import Network, SignalPlan, Stage
from twin.timing import timing_rows

Tables = dict[str, list[dict[str, object]]]
PLAIN: Tables = {
    "node": [
        {"node_id": "A", "x_coord": 120.0, "y_coord": 30.0},
        {"node_id": "B", "x_coord": 120.01, "y_coord": 30.0},
    ],
    "link": [{"link_id": "L", "from_node_id": "A", "to_node_id": "B", "lanes": 2, "free_speed": 50, "length": 1000}],
}


def movement(ib: str, ob: str, **more: object) -> dict[str, object]:
    return {"mvmt_id": f"{ib}>{ob}", "node_id": "C", "ib_link_id": ib, "ob_link_id": ob, **more}


def one_link(**columns: object) -> Network:
    return Network.from_tables({**PLAIN, "link": [{**PLAIN["link"][0], **columns}]})


def outs(network: Network, link: str) -> set[str]:
    c = network.compile()
    row = network.links.position[link]
    return {c.link_ids[out] for out in c.movement_out[c.movement_start[row] : c.movement_start[row + 1]]}


def groups(network: Network, link: str) -> list[tuple[float, float, set[str]]]:
    """Return lanes, pocket and out-links of each lane group."""
    c = network.compile()
    row = network.links.position[link]
    moves = range(c.movement_start[row], c.movement_start[row + 1])
    return [
        (
            c.group_lanes[g],
            c.group_pocket[g],
            {c.link_ids[c.movement_out[m]] for m in moves if c.movement_group[m] == g},
        )
        for g in range(c.group_start[row], c.group_start[row + 1])
    ]


def test_units_without_config_are_metres_kmh_and_vehicles_per_hour_and_lane() -> None:
    c = one_link(capacity=1800).compile()
    assert c.length[0] == 1000
    assert c.free_speed[0] == pytest.approx(50 / 3.6)
    assert c.capacity[0] == pytest.approx(2 * 1800 / 3600)
    assert c.jam_density[0] == pytest.approx(2 * 0.150)
    assert c.wave_speed[0] == pytest.approx(5.0)
    assert c.priority[0] == c.capacity[0]


def test_config_names_miles_and_miles_per_hour_but_jam_density_and_wave_speed_stay_metric() -> None:
    config = [{"long_length": "mile", "speed": "mph"}]
    link = {**PLAIN["link"][0], "length": 0.5, "free_speed": 30, "jam_density": 120, "wave_speed": 15}
    c = Network.from_tables({**PLAIN, "config": config, "link": [link]}).compile()
    assert c.length[0] == pytest.approx(804.672)
    assert c.free_speed[0] == pytest.approx(13.4112)
    assert c.jam_density[0] == pytest.approx(0.240)
    assert c.wave_speed[0] == pytest.approx(15 / 3.6)


def test_capacity_cuts_the_triangle_and_never_exceeds_its_top() -> None:
    v, w, k = 50 / 3.6, 5.0, 0.150
    top = v * w * k / (v + w)  # the triangular diagram's capacity, Newell (1993)
    assert one_link().compile().capacity[0] == pytest.approx(2 * top)
    assert one_link(capacity=900).compile().capacity[0] == pytest.approx(2 * 900 / 3600)
    assert one_link(capacity=9000).compile().capacity[0] == pytest.approx(2 * top)


def test_empty_cells_get_the_default_of_their_class_and_are_flagged_assumed() -> None:
    network = one_link(lanes=None, free_speed=None, length=None, facility_type="Minor Arterial")
    assert set(network.assumed(0)) == {"lanes", "free_speed", "length"}
    c = network.compile()
    assert (c.lanes[0], c.link_class[0]) == (2, 1)
    assert c.free_speed[0] == pytest.approx(50 / 3.6)
    # one hundredth of a degree of longitude at 30 degrees north on WGS84: N cos(phi) pi / 18000
    normal = 6378137.0 / np.sqrt(1 - 0.00669437999 * 0.25)
    assert c.length[0] == pytest.approx(normal * np.cos(np.radians(30)) * np.pi / 18000, rel=1e-7)
    assert "lanes is assumed on 1 of 1 links" in network.notes


def test_flags_of_the_assumed_column_are_kept() -> None:
    assert one_link(assumed="capacity; lanes").assumed(0) == ("capacity", "lanes")


def test_undirected_row_gives_two_opposite_links() -> None:
    line = "LINESTRING (120 30, 120.005 30.001, 120.01 30)"
    network = one_link(directed="false", geometry=line)
    c = network.compile()
    assert c.link_ids == ("L", "L-r")
    assert (c.from_node[0], c.to_node[0]) == (c.to_node[1], c.from_node[1])
    assert np.array_equal(network.geometry(0), network.geometry(1)[::-1])
    assert network.geometry(0)[0].tolist() == [120.0, 30.0]


def test_geometry_against_the_direction_is_turned() -> None:
    network = one_link(dir_flag=-1, geometry="LINESTRING(120.01 30, 120.005 30.001, 120 30)")
    assert network.geometry(0)[0].tolist() == [120.0, 30.0]


def test_projected_coordinates_become_degrees_and_lengths_stay() -> None:
    # CN Tower, the worked example of Snyder (1987) style tables: 43 38 33.24 N, 79 23 13.7 W is 17T 630084 4833438
    tables = {
        **PLAIN,
        "config": [{"crs": "EPSG:32617"}],
        "node": [
            {"node_id": "A", "x_coord": 630084, "y_coord": 4833438},
            {"node_id": "B", "x_coord": 630184, "y_coord": 4833438},
        ],
        "link": [{**PLAIN["link"][0], "length": None}],
    }
    network = Network.from_tables(tables)
    assert network.nodes.lon_lat[0] == pytest.approx([-79.387139, 43.642567], abs=1e-5)
    # 100 m on the map are 100 m / 0.99981 on the ground: the scale of UTM 130 km off its meridian
    assert network.compile().length[0] == pytest.approx(100.0, abs=0.05)


def test_local_metres_lie_around_the_middle_of_the_nodes() -> None:
    c = Network.from_tables(PLAIN).compile()
    assert c.origin.tolist() == pytest.approx([120.005, 30.0])
    assert c.node_xy[:, 0].tolist() == pytest.approx([-482.03, 482.03], abs=0.01)
    assert c.node_xy[:, 1].tolist() == [0.0, 0.0]


def test_without_rows_every_out_link_but_the_u_turn_is_allowed(crossing: Tables) -> None:
    network = Network.from_tables(crossing)
    assert outs(network, "WC") == {"CE", "CN", "CS"}
    assert groups(network, "WC") == [(2.0, np.inf, {"CE", "CN", "CS"})]


def test_u_turn_is_allowed_where_it_is_the_only_way_on(crossing: Tables) -> None:
    assert outs(Network.from_tables(crossing), "CW") == {"WC"}


def test_what_a_node_with_rows_does_not_list_is_forbidden(crossing: Tables) -> None:
    network = Network.from_tables({**crossing, "movement": [movement("WC", "CE"), movement("NC", "CN")]})
    assert outs(network, "WC") == {"CE"}
    assert outs(network, "NC") == {"CN"}  # a listed U-turn is allowed
    assert outs(network, "SC") == set()
    assert outs(network, "CW") == {"WC"}  # another node, without rows


def test_separate_lane_ranges_are_separate_groups_with_their_pockets(crossing: Tables) -> None:
    rows = [
        movement("WC", "CN", start_ib_lane=-1, end_ib_lane=-1, pocket_m=60),
        movement("WC", "CE", start_ib_lane=1, end_ib_lane=1),
        movement("WC", "CS", start_ib_lane=2),
    ]
    network = Network.from_tables({**crossing, "movement": rows})
    assert groups(network, "WC") == [(1.0, 60.0, {"CN"}), (1.0, np.inf, {"CE"}), (1.0, np.inf, {"CS"})]
    assert network.movements.merged == ()


def test_overlapping_lane_ranges_are_merged_and_noted(crossing: Tables) -> None:
    rows = [
        movement("WC", "CN", start_ib_lane=1, end_ib_lane=1),
        movement("WC", "CE", start_ib_lane=1, end_ib_lane=2),
        movement("WC", "CS", start_ib_lane=2, end_ib_lane=2),
    ]
    network = Network.from_tables({**crossing, "movement": rows})
    assert groups(network, "WC") == [(2.0, np.inf, {"CN", "CE", "CS"})]
    assert network.movements.merged == ("WC",)
    assert any(fault.rule == "lane group" and fault.id == "WC" for fault in network.validate())


def test_two_rows_of_one_movement_join_their_lanes(crossing: Tables) -> None:
    rows = [
        movement("WC", "CE", start_ib_lane=1),
        {**movement("WC", "CE", start_ib_lane=2), "mvmt_id": "again"},
    ]
    assert groups(Network.from_tables({**crossing, "movement": rows}), "WC") == [(2.0, np.inf, {"CE"})]


def test_movement_of_an_undirected_link_means_the_direction_that_touches_the_node(crossing: Tables) -> None:
    crossing["link"] = [row for row in crossing["link"] if row["link_id"] not in ("WC", "CW")]
    crossing["link"].append({"link_id": "west", "from_node_id": "C", "to_node_id": "W", "directed": 0})
    network = Network.from_tables({**crossing, "movement": [movement("west", "CE"), movement("EC", "west")]})
    assert outs(network, "west-r") == {"CE"}
    assert outs(network, "EC") == {"west"}


def test_signal_plan_survives_the_gmns_tables(crossing: Tables) -> None:
    rows = [movement(ib, ob) for ib, ob in (("WC", "CE"), ("EC", "CW"), ("NC", "CS"), ("SC", "CN"))]
    plan = SignalPlan(
        "C",
        90.0,
        (Stage(40.0, 5.0, (("EC", "CW"), ("WC", "CE"))), Stage(40.0, 5.0, (("NC", "CS"), ("SC", "CN")))),
        offset_s=12.0,
    )
    timing = timing_rows(
        [plan], {(ib, ob): f"{ib}>{ob}" for ib, ob in [("WC", "CE"), ("EC", "CW"), ("NC", "CS"), ("SC", "CN")]}
    )
    network = Network.from_tables({**crossing, "movement": rows, **timing})
    assert network.signals == {"C": plan}
    assert not [fault for fault in network.validate() if fault.severity != "note" and fault.rule == "never green"]


def test_rings_run_side_by_side_and_wait_at_the_barrier(crossing: Tables) -> None:
    pairs = [("WC", "CE"), ("EC", "CW"), ("NC", "CS"), ("WC", "CN")]
    # Ring 1: the left turn 10 + 5, then a through 30 + 5; ring 2: the other through takes all 50.
    # Then the cross street.
    phases = [
        {"timing_phase_id": 1, "max_green": 10, "ring": 1, "barrier": 1, "position": 1},
        {"timing_phase_id": 2, "max_green": 30, "ring": 1, "barrier": 1, "position": 2},
        {"timing_phase_id": 3, "max_green": 20, "ring": 2, "barrier": 1, "position": 1},
        {"timing_phase_id": 4, "max_green": 30, "ring": 1, "barrier": 2, "position": 1},
    ]
    served = {1: "WC>CN", 2: "EC>CW", 3: "WC>CE", 4: "NC>CS"}
    tables = {
        **crossing,
        "movement": [movement(*pair) for pair in pairs],
        "signal_timing_plan": [{"timing_plan_id": "P", "controller_id": "C", "cycle_length": 90}],
        "signal_timing_phase": [
            {**phase, "timing_plan_id": "P", "signal_phase_num": phase["timing_phase_id"], "clearance": 5}
            for phase in phases
        ],
        "signal_phase_mvmt": [
            {"signal_phase_mvmt_id": k, "timing_phase_id": k, "mvmt_id": name} for k, name in served.items()
        ],
        "signal_coordination": [
            {"coordination_id": 1, "timing_plan_id": "P", "controller_id": "C", "coord_phase": 2, "offset": 20}
        ],
    }
    plan = Network.from_tables(tables).signals["C"]
    stages = [(stage.green_s, stage.intergreen_s, stage.movements) for stage in plan.stages]
    through = ("WC", "CE")
    assert stages == [
        (10.0, 0.0, (through, ("WC", "CN"))),
        (5.0, 0.0, (through,)),
        (30.0, 5.0, (("EC", "CW"), through)),
        (30.0, 10.0, (("NC", "CS"),)),  # 5 s clearance and the 5 s that the phases leave of the cycle
    ]
    assert plan.cycle_s == 90.0
    assert plan.offset_s == 5.0  # phase 2 begins 15 s into the cycle and must begin at 20 s


def test_zone_without_shares_loads_evenly_and_shares_add_up_to_one(crossing: Tables) -> None:
    crossing["node"][1]["zone_id"] = crossing["node"][2]["zone_id"] = "Z1"
    crossing["zone"] = [{"zone_id": "Z1"}, {"zone_id": "Z2"}]
    crossing["zone_node"] = [
        {"zone_id": "Z2", "node_id": "N", "share": 3},
        {"zone_id": "Z2", "node_id": "S", "share": 1},
    ]
    network = Network.from_tables(crossing)
    assert network.zones == {"Z1": (("W", 0.5), ("E", 0.5)), "Z2": (("N", 0.75), ("S", 0.25))}


def test_sensor_lanes_and_place_default_to_the_whole_link(crossing: Tables) -> None:
    crossing["sensor"] = [{"sensor_id": "D1", "link_id": "WC", "standard_deviation": "30; 2; 0.01"}]
    network = Network.from_tables(crossing)
    (sensor,) = network.sensors
    assert (sensor.lanes, sensor.position_m, sensor.interval_s) == (2, 100.0, 60.0)
    assert sensor.standard_deviation == (30.0, 2.0, 0.01)
    assert network.sensor_point(sensor) == pytest.approx((119.999, 30.0))


def test_graph_carries_the_links_with_their_ids_as_keys(crossing: Tables) -> None:
    graph = Network.from_tables(crossing).graph
    assert isinstance(graph, nx.MultiDiGraph)
    assert graph.edges["W", "C", "WC"]["length_m"] == 200.0
    assert nx.shortest_path(graph, "W", "N") == ["W", "C", "N"]


def test_arrays_cannot_be_written() -> None:
    with pytest.raises(ValueError):
        Network.from_tables(PLAIN).compile().length[0] = 1.0


def test_names_say_street_and_crossing_streets_in_both_languages(crossing: Tables) -> None:
    for row in crossing["link"]:
        east_west = row["link_id"] in ("WC", "CW", "EC", "CE")
        row["name"], row["name_zh"] = ("Jiefang Road", "解放路") if east_west else ("Qingchun Road", "庆春路")
    crossing["node"][2]["name"] = "East Gate"
    network = Network.from_tables(crossing)
    names = network.link_names(network.links.position["CE"])
    assert names == {"en": "Jiefang Road, Qingchun Road → East Gate", "zh": "解放路，庆春路 → East Gate"}


def test_rows_for_feet_and_wheels_are_no_part_of_the_network(crossing: Tables) -> None:
    crossing["link"].append(
        {"link_id": "path", "from_node_id": "W", "to_node_id": "N", "lanes": 0, "allowed_uses": "WALK, BIKE"}
    )
    network = Network.from_tables(crossing)
    assert "path" not in network.links.position
    assert any(fault.rule == "paths" for fault in network.validate())


def test_table_of_another_name_is_refused() -> None:
    with pytest.raises(InputError, match="'lnik' is none of a network's"):
        Network.from_tables({**PLAIN, "lnik": []})
