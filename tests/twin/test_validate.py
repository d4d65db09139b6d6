"""What is doubtful about a network that can be read."""

import pytest

from twin import Fault, Network
from twin.signal import SignalPlan, Stage
from twin.timing import timing_rows

Tables = dict[str, list[dict[str, object]]]


def found(tables: Tables, rule: str) -> list[Fault]:
    return [fault for fault in Network.from_tables(tables).validate() if fault.rule == rule]


def movement(ib: str, ob: str) -> dict[str, object]:
    return {"mvmt_id": f"{ib}>{ob}", "node_id": "C", "ib_link_id": ib, "ob_link_id": ob}


def test_a_sound_network_has_nothing_to_say(crossing: Tables) -> None:
    assert Network.from_tables(crossing).validate() == []


def test_parts_without_a_way_in_are_told(crossing: Tables) -> None:
    crossing["node"] += [
        {"node_id": "X", "x_coord": 120.01, "y_coord": 30.01},
        {"node_id": "Y", "x_coord": 120.012, "y_coord": 30.01},
        {"node_id": "alone", "x_coord": 120.01, "y_coord": 30.0},
    ]
    crossing["link"] += [
        {"link_id": "XY", "from_node_id": "X", "to_node_id": "Y"},
        {"link_id": "YX", "from_node_id": "Y", "to_node_id": "X"},
    ]
    (fault,) = found(crossing, "unreachable")
    assert (fault.severity, fault.id) == ("warning", "XY")
    assert "2 links" in fault.text
    assert [fault.id for fault in found(crossing, "no links")] == ["alone"]


def test_links_that_only_lead_in_or_out_are_told(crossing: Tables) -> None:
    crossing["link"] = [row for row in crossing["link"] if row["link_id"] not in ("CW", "EC")]
    assert [fault.id for fault in found(crossing, "no way in")] == ["WC"]
    assert [fault.id for fault in found(crossing, "no way back")] == ["CE"]
    assert [fault.id for fault in found(crossing, "dead end")] == ["CE"]


@pytest.mark.parametrize(
    ("column", "value", "rule", "words"),
    [
        ("free_speed", 400, "speed", "400 km/h"),
        ("free_speed", 2, "speed", "2 km/h"),
        ("length", 90_000, "length", "90 km long"),
        ("length", 0.4, "length", "0.40 m long"),
        ("lanes", 25, "lanes", "25 lanes"),
        ("capacity", 30, "capacity", "30 veh/h per lane"),
        ("geometry", "LINESTRING (121 31, 121.001 31)", "geometry", "from node"),
        ("to_node_id", "W", "loop", "begins and ends at node W"),
    ],
)
def test_absurd_values_are_told(crossing: Tables, column: str, value: object, rule: str, words: str) -> None:
    crossing["link"][0][column] = value
    faults = found(crossing, rule)
    assert any(fault.id == "WC" and words in fault.text for fault in faults), faults


def test_a_link_on_another_is_a_duplicate_but_a_second_road_is_none(crossing: Tables) -> None:
    crossing["link"].append({**crossing["link"][0], "link_id": "again"})
    bypass = "LINESTRING (119.998 30, 119.999 30.001, 120 30)"
    crossing["link"].append({**crossing["link"][0], "link_id": "bypass", "geometry": bypass, "length": 300})
    assert [fault.id for fault in found(crossing, "duplicate")] == ["again"]


def test_one_length_off_is_that_link_all_lengths_off_is_the_unit(crossing: Tables) -> None:
    crossing["link"][0]["length"] = 5000
    assert [fault.id for fault in found(crossing, "length")] == ["WC"]
    for row in crossing["link"]:
        row["length"] = 200 * 5280
    (fault,) = found(crossing, "length unit")
    assert "config.csv" in fault.text


def test_longitude_and_latitude_swapped_where_both_are_possible() -> None:
    # Places around 56 N, 10 E (legal either way round) with street lengths along north-south and east-west roads.
    nodes: list[dict[str, object]] = []
    links: list[dict[str, object]] = []
    for i in range(4):
        for j in range(4):
            nodes.append({"node_id": f"{i}{j}", "x_coord": 56 + j * 0.01, "y_coord": 10 + i * 0.01})
            if i:
                links.append(
                    {"link_id": f"e{i}{j}", "from_node_id": f"{i - 1}{j}", "to_node_id": f"{i}{j}", "length": 625}
                )
            if j:
                links.append(
                    {"link_id": f"n{i}{j}", "from_node_id": f"{i}{j - 1}", "to_node_id": f"{i}{j}", "length": 1115}
                )
    assert len(found({"node": nodes, "link": links}, "swapped")) == 1
    for row in nodes:
        row["x_coord"], row["y_coord"] = row["y_coord"], row["x_coord"]
    assert found({"node": nodes, "link": links}, "swapped") == []


def test_in_links_without_any_movement_are_told(crossing: Tables) -> None:
    crossing["movement"] = [movement("WC", "CE"), movement("EC", "CW"), movement("NC", "CS")]
    assert [fault.id for fault in found(crossing, "no movement")] == ["SC"]
    assert [fault.id for fault in found(crossing, "no movement in")] == ["CN"]


def test_signals_without_a_plan_and_movements_never_green_are_told(crossing: Tables) -> None:
    crossing["node"][0]["ctrl_type"] = crossing["node"][1]["ctrl_type"] = "signal"
    pairs = [("WC", "CE"), ("EC", "CW"), ("NC", "CS")]
    crossing["movement"] = [movement(*pair) for pair in pairs]
    plan = SignalPlan("C", 400.0, (Stage(30.0, 5.0, tuple(pairs[:2])),))
    crossing |= timing_rows([plan], {pair: f"{pair[0]}>{pair[1]}" for pair in pairs})
    assert [fault.id for fault in found(crossing, "no plan")] == ["W"]
    (fault,) = found(crossing, "never green")
    assert "from link NC to CS" in fault.text
    assert len(found(crossing, "cycle")) == len(found(crossing, "all red")) == 1


def test_owners_that_nobody_knows_are_told(crossing: Tables) -> None:
    crossing["asset"] = [{"asset_id": "F1", "kind": "feeder", "owner": "grid"}, {"asset_id": "F2", "kind": "feeder"}]
    crossing["sensor"] = [{"sensor_id": "D1", "link_id": "WC", "owner": "gird"}]
    network = Network.from_tables(crossing)
    texts = {fault.id: fault.text for fault in network.validate() if fault.rule == "owner"}
    assert set(texts) == {"F2", "D1"}
    assert "did you mean 'grid'?" in texts["D1"]
    assert [fault for fault in network.validate(owners=["grid", "gird"]) if fault.id == "D1"] == []


def test_zones_without_a_way_in_or_out_are_told(crossing: Tables) -> None:
    crossing["zone"] = [{"zone_id": "Z0"}, {"zone_id": "Z1"}]
    crossing["zone_node"] = [{"zone_id": "Z1", "node_id": "W"}]
    crossing["link"] = [row for row in crossing["link"] if row["link_id"] != "WC"]
    rules = {(fault.id, fault.rule) for fault in Network.from_tables(crossing).validate() if fault.file == "zone.csv"}
    assert rules == {("Z0", "no node"), ("Z1", "no way out")}


def test_a_direction_that_is_missing_is_told_where_most_streets_have_both(crossing: Tables) -> None:
    for k in range(12):  # twelve more streets, both ways
        crossing["node"].append({"node_id": f"n{k}", "x_coord": 120.0, "y_coord": 30.002 + 0.001 * (k + 1)})
        a, b = "N" if k == 0 else f"n{k - 1}", f"n{k}"
        crossing["link"] += [
            {"link_id": f"{a}{b}", "from_node_id": a, "to_node_id": b},
            {"link_id": f"{b}{a}", "from_node_id": b, "to_node_id": a},
        ]
    assert found(crossing, "no reverse") == []
    crossing["link"] = [row for row in crossing["link"] if row["link_id"] != "n3n2"]
    assert [fault.id for fault in found(crossing, "no reverse")] == ["n2n3"]


def test_a_node_far_from_all_others_is_told(crossing: Tables) -> None:
    crossing["node"][1] |= {"x_coord": 0, "y_coord": 0}
    (fault,) = found(crossing, "place")
    assert fault.id == "W"
    assert "km from the middle of the others" in fault.text


def test_many_findings_of_one_kind_end_in_a_count(crossing: Tables) -> None:
    crossing["sensor"] = [{"sensor_id": f"D{i}", "asset_id": "gone", "link_id": "WC"} for i in range(50)]
    faults = found(crossing, "asset")
    assert len(faults) == 21
    assert "30 more" in faults[-1].text
