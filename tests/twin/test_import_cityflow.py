"""What is special to CityFlow: lanes from the middle, phases, who gives way, recorded phases, flows."""

import json
from pathlib import Path

import pytest

from sensors import InputError
from twin import Network
from twin.importers import import_tables
from twin.signal import Stage

DOCUMENT = """{"intersections": [
 {"id": "a", "point": {"x": -200, "y": 0}, "virtual": true, "roadLinks": []},
 {"id": "b", "point": {"x": 200, "y": 0}, "virtual": true, "roadLinks": []},
 {"id": "c", "point": {"x": 0, "y": -200}, "virtual": true, "roadLinks": []},
 {"id": "m", "point": {"x": 0, "y": 0}, "roadLinks": [
   {"type": "go_straight", "startRoad": "am", "endRoad": "mb", "laneLinks": [{"startLaneIndex": 0}]},
   {"type": "turn_right", "startRoad": "am", "endRoad": "mc", "laneLinks": [{"startLaneIndex": 1}]},
   {"type": "turn_left", "startRoad": "bm", "endRoad": "mc", "laneLinks": [{"startLaneIndex": 0}]}],
  "trafficLight": {"roadLinkIndices": [0, 2], "lightphases": [
   {"time": 5, "availableRoadLinks": []}, {"time": 30, "availableRoadLinks": [0]},
   {"time": 20, "availableRoadLinks": [0, 2]}]}}],
 "roads": [
 {"id": "am", "points": [{"x": -200, "y": 0}, {"x": 0, "y": 0}], "startIntersection": "a", "endIntersection": "m",
  "lanes": [{"maxSpeed": 10}, {"maxSpeed": 10}]},
 {"id": "mb", "points": [{"x": 0, "y": 0}, {"x": 200, "y": 0}], "startIntersection": "m", "endIntersection": "b",
  "lanes": [{"maxSpeed": 10}]},
 {"id": "bm", "points": [{"x": 200, "y": 0}, {"x": 0, "y": 0}], "startIntersection": "b", "endIntersection": "m",
  "lanes": [{"maxSpeed": 10}]},
 {"id": "mc", "points": [{"x": 0, "y": 0}, {"x": 0, "y": -200}], "startIntersection": "m", "endIntersection": "c",
  "lanes": [{"maxSpeed": 5}]}]}
"""
FLOWS = {"start": {"route": ["am", "mb"], "interval": 10, "startTime": 0, "endTime": 20, "vehicle": {}}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "city.json").write_text(DOCUMENT)
    return tmp_path / "city.json"


def test_lanes_count_from_the_middle_and_speeds_are_metres_per_second(source: Path) -> None:
    network = Network.from_tables(import_tables(source))
    rows = {row["mvmt_id"]: row for row in network.tables["movement"].rows}
    assert (rows["am>mb"]["start_ib_lane"], rows["am>mc"]["start_ib_lane"]) == ("1", "2")
    assert [rows[name]["type"] for name in ("am>mb", "am>mc", "bm>mc")] == ["thru", "right", "left"]
    assert network.compile().free_speed[network.links.position["mc"]] == pytest.approx(5.0)
    assert network.compile().length.tolist() == [200.0] * 4
    assert any("no geographic coordinates" in note for note in network.notes)


def test_phases_become_a_plan_in_which_turns_give_way_to_what_goes_on(source: Path) -> None:
    plan = Network.from_tables(import_tables(source)).signals["m"]
    thru, right, left = ("am", "mb"), ("am", "mc"), ("bm", "mc")
    # The right turn has no light: it is green always, and gives way to the left turn into the same road.
    assert plan.cycle_s == 55.0
    assert plan.stages == (
        Stage(5.0, 0.0, (right,)),
        Stage(30.0, 0.0, (thru, right)),
        Stage(20.0, 0.0, (thru, right, left), (right, left)),
    )


def test_recorded_phases_replace_the_cycle_of_all_phases(source: Path, tmp_path: Path) -> None:
    record = [(0, 1), (15, 1), (20, 2), (32, 2), (40, 1), (55, 1), (60, 2), (72, 2), (80, 1)]
    text = "intersection,t_s,phase\n" + "".join(f"m,{time},{phase}\n" for time, phase in record)
    (tmp_path / "plan.csv").write_text(text)
    plan = Network.from_tables(import_tables(source, additional=[tmp_path / "plan.csv"])).signals["m"]
    assert [stage.green_s for stage in plan.stages] == [15.0, 5.0, 12.0, 8.0]
    (tmp_path / "plan.csv").write_text("intersection,t_s,phase\nx,0,1\nm,0,7\n")
    with pytest.raises(InputError) as caught:
        import_tables(source, additional=[tmp_path / "plan.csv"])
    assert caught.value.faults == (
        "plan.csv: line 2: intersection 'x' is not in the network",
        "plan.csv: line 3: phase is 7, intersection m has 3 from 0 on",
    )
    (tmp_path / "plan.csv").write_text("intersection,t_s,phase\nm,0,1\nm,15,2\nm,40,1\n")
    with pytest.raises(InputError, match="no cycle of phases repeats"):
        import_tables(source, additional=[tmp_path / "plan.csv"])


def test_every_fault_is_told_at_once(source: Path) -> None:
    document = json.loads(DOCUMENT)
    document["roads"][0]["endIntersection"] = "nowhere"
    document["roads"][1]["lanes"] = []
    document["roads"][2]["lanes"][0]["maxSpeed"] = "fast"
    document["intersections"][3]["trafficLight"]["lightphases"][1]["availableRoadLinks"] = [9]
    source.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        import_tables(source)
    for sentence in (
        "city.json: road am: endIntersection 'nowhere' is none of the file's intersections",
        "city.json: road mb: has 0 lanes, must be 1 to 100",
        "city.json: road bm: a lane: maxSpeed is 'fast', must be a number >= 0.01",
        "city.json: intersection m: light phase 1: names road links [9], must be a list of 0 to 2",
    ):
        assert sentence in caught.value.faults


def test_flows_become_trips_and_open_routes_are_left_to_the_engine(source: Path, tmp_path: Path) -> None:
    flows = [FLOWS["start"], {"route": ["am", "mc"], "interval": 1, "startTime": 3, "endTime": 3}]
    flows.append({"route": ["bm"], "interval": 5, "startTime": 1, "endTime": 1})
    flows.append({"route": ["bm", "mb"], "interval": 5, "startTime": 4, "endTime": 4})
    (tmp_path / "flow.json").write_text(json.dumps(flows))
    tables = import_tables(source, demand=[tmp_path / "flow.json"])
    trips = [(row["trip_id"], row["depart_s"], row["link_ids"]) for row in tables["trips"]]
    assert trips == [
        ("0.0", 0.0, "am;mb"),
        ("2.0", 1.0, "bm"),
        ("1.0", 3.0, "am;mc"),
        ("3.0", 4.0, ""),
        ("0.1", 10.0, "am;mb"),
        ("0.2", 20.0, "am;mb"),
    ]
    assert any("1 flows name roads that do not meet" in str(note["text"]) for note in tables["note"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"route": ["am", "zz"]}, "flow 0: road 'zz' is not in the network"),
        ({"route": []}, "flow 0: route must be a list of roads"),
        ({"interval": 0}, "flow 0: interval is 0, must be > 0"),
        ({"endTime": -1}, "a flow without an end (-1) needs one here"),
        ({"startTime": None}, "flow 0: startTime is None, must be a number"),
    ],
)
def test_a_bad_flow_is_one_sentence(change: dict[str, object], sentence: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text(json.dumps([{**FLOWS["start"], **change}]))
    with pytest.raises(InputError) as caught:
        import_tables(source, demand=[tmp_path / "flow.json"])
    assert sentence in caught.value.faults[0]


@pytest.mark.data
def test_gudang_runs_the_recorded_cycle_and_has_its_vehicles(shared_data: Path) -> None:
    folder = shared_data / "hangzhou"
    tables = import_tables(
        folder / "gudang_4x4_roadnet.cityflow.json.gz",
        additional=[folder / "gudang_4x4_signal_plan.csv"],
        demand=[folder / "gudang_4x4_flow_20180416T1000.cityflow.json.gz"],
    )
    network = Network.from_tables(tables)
    assert len(network.signals) == 16
    for plan in network.signals.values():  # four phases of 15 s, 5 s between them
        assert plan.cycle_s == 80.0
        assert [stage.green_s for stage in plan.stages] == [15.0, 5.0] * 4
    assert len(tables["trips"]) == 2_983
    assert {fault.severity for fault in network.validate()} <= {"note"}


@pytest.mark.data
@pytest.mark.parametrize(
    ("hour", "vehicles"),
    [
        ("bc-tyc_18041607", 1848),
        ("bc-tyc_18041608", 2231),
        ("kn-hz_18041607", 827),
        ("sb-sx_18041607", 1671),
        ("sb-sx_18041608", 2032),
    ],
)
def test_the_junction_of_hangzhou_has_its_camera_volumes(hour: str, vehicles: int, shared_data: Path) -> None:
    folder = shared_data / "hangzhou"
    tables = import_tables(
        folder / "junction_1x1_roadnet.cityflow.json", demand=[folder / f"junction_1x1_{hour}_1h_flow.cityflow.json.gz"]
    )
    assert len(tables["trips"]) == vehicles
