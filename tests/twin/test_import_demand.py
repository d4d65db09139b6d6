"""Importing vehicles and signal programs beside a network: SUMO's route and additional files, CBEngine's demand."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hub.cli import main
from sensors import InputError
from simulation import Demand
from twin import Network
from twin.importers import import_tables

NET = """<net version="1.20">
    <edge id="ab" from="a" to="b"><lane id="ab_0" index="0" speed="10" length="200" shape="0,0 200,0"/></edge>
    <edge id="bc" from="b" to="c"><lane id="bc_0" index="0" speed="10" length="200" shape="200,0 400,0"/></edge>
    <edge id="bd" from="b" to="d"><lane id="bd_0" index="0" speed="10" length="200" shape="200,0 200,200"/></edge>
    <edge id="gate" from="b" to="c"><lane id="gate_0" index="0" allow="bus" speed="10" length="150"/></edge>
    <tlLogic id="TL" type="static" programID="0" offset="0">
        <phase duration="30" state="GGG"/><phase duration="30" state="rrr"/>
    </tlLogic>
    <junction id="a" type="dead_end" x="0" y="0"/><junction id="b" type="traffic_light" x="200" y="0"/>
    <junction id="c" type="dead_end" x="400" y="0"/><junction id="d" type="dead_end" x="200" y="200"/>
    <connection from="ab" to="bc" fromLane="0" toLane="0" tl="TL" linkIndex="0" dir="s"/>
    <connection from="ab" to="bd" fromLane="0" toLane="0" tl="TL" linkIndex="1" dir="l"/>
    <connection from="ab" to="gate" fromLane="0" toLane="0" tl="TL" linkIndex="2" dir="s"/>
</net>"""
PROGRAM = """<add><tlLogic id="TL" type="static" programID="peak" offset="5">
    <phase duration="50" state="GGG"/><phase duration="40" state="rrr"/></tlLogic></add>"""

Imported = Callable[..., Sequence[dict[str, object]]]


@pytest.fixture
def trips(tmp_path: Path) -> Imported:
    def imported(*routes: str, program: str = "") -> Sequence[dict[str, object]]:
        (tmp_path / "city.net.xml").write_text(NET)
        files = []
        for k, text in enumerate(routes):
            files.append(tmp_path / f"cars{k}.rou.xml")
            files[-1].write_text(f"<routes>{text}</routes>")
        return [dict(row) for row in import_tables(tmp_path / "city.net.xml", demand=files)["trips"]]

    return imported


def test_vehicles_of_all_files_become_trips_in_order_of_departure(trips: Imported) -> None:
    late = '<vehicle id="v2" depart="0:01:30" type="car"><route edges="ab bd "/></vehicle>'
    early = '<route id="r" edges="ab bc"/><vehicle id="v1" depart="4.5" route="r"/>'
    assert trips(late, early) == [
        {"trip_id": "v1", "depart_s": 4.5, "from_node_id": "a", "to_node_id": "c", "link_ids": "ab;bc"},
        {"trip_id": "v2", "depart_s": 90.0, "from_node_id": "a", "to_node_id": "d", "link_ids": "ab;bd"},
    ]


def test_a_trip_of_sumo_chooses_its_way(trips: Imported) -> None:
    (row,) = trips('<trip id="t" depart="1" from="ab" to="bd"/>')
    assert (row["from_node_id"], row["to_node_id"], row["link_ids"]) == ("a", "d", "")


@pytest.mark.parametrize(
    ("flow", "times"),
    [
        ('begin="100" end="200" number="4"', [100, 125, 150, 175]),
        ('begin="0" end="10" vehsPerHour="1800"', [0, 2, 4, 6, 8]),
        ('begin="0" number="3" period="7"', [0, 7, 14]),
        ('begin="0" end="30" probability="0.1"', [0, 10, 20]),
        ('begin="0" end="30" number="0"', []),
    ],
)
def test_a_flow_lets_vehicles_go_evenly(trips: Imported, flow: str, times: list[float]) -> None:
    rows = trips(f'<flow id="f" {flow}><route edges="ab bc"/></flow>')
    assert [row["depart_s"] for row in rows] == times
    assert [row["trip_id"] for row in rows] == [f"f.{k}" for k in range(len(times))]


def test_a_distribution_is_kept_by_its_shares(trips: Imported) -> None:
    text = (
        '<routeDistribution id="d"><route id="x" edges="ab bc" probability="3"/>'
        '<route id="y" edges="ab bd" probability="1"/></routeDistribution>'
        '<flow id="f" begin="0" end="3600" number="1000" route="d"/>'
    )
    straight = sum(row["link_ids"] == "ab;bc" for row in trips(text))
    assert straight == pytest.approx(750, abs=3)  # a low-discrepancy sequence, not chance


def test_additional_programs_replace_those_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "city.net.xml").write_text(NET)
    (tmp_path / "peak.add.xml.gz").write_bytes(gzip.compress(PROGRAM.encode()))
    tables = import_tables(tmp_path / "city.net.xml", additional=[tmp_path / "peak.add.xml.gz"])
    plan = Network.from_tables(tables).signals["b"]
    assert (plan.cycle_s, plan.offset_s, plan.stages[0].green_s) == (90.0, 5.0, 50.0)


def test_a_bus_may_have_a_gate_on_its_route_and_nobody_else_chooses_it(tmp_path: Path) -> None:
    (tmp_path / "city.net.xml").write_text(NET)
    (tmp_path / "city.rou.xml").write_text(
        '<routes><vehicle id="bus" depart="0"><route edges="ab gate"/></vehicle>'
        '<trip id="car" depart="0" from="ab" to="bc"/></routes>'
    )
    words = ["network", "import", str(tmp_path / "city.net.xml"), str(tmp_path / "city")]
    assert main([*words, "--demand", str(tmp_path / "city.rou.xml")]) == 0
    network = Network.read(tmp_path / "city")
    demand = Demand.read(network)
    from simulation import simulate

    links = simulate(network, demand, horizon_s=300).links
    entered = dict(zip(links.link_ids, links.entered[-1].tolist(), strict=True))
    assert entered == {"ab": 2, "bc": 1, "bd": 0, "gate": 1}


def test_demand_that_is_moved_aside_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "city.net.xml").write_text(NET)
    (tmp_path / "city.rou.xml").write_text('<routes><trip id="car" depart="0" from="ab" to="bc"/></routes>')
    words = ["network", "import", str(tmp_path / "city.net.xml"), str(tmp_path / "city"), "--force"]
    assert main(words) == 0
    (tmp_path / "city" / "demand.csv").write_text("o_zone_id,d_zone_id,volume,start_s,end_s\nZ1,Z2,10,0,60\n")
    assert main(words) == 0
    assert "demand.csv" not in capsys.readouterr().out
    for _ in range(2):  # said once, when it happens
        assert main([*words, "--demand", str(tmp_path / "city.rou.xml")]) == 0
    assert capsys.readouterr().out.count("is kept as demand.csv.old: ") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('<vehicle id="v" depart="0"><route edges="ab zz"/></vehicle>', "edge 'zz' is no link for motor vehicles"),
        ('<vehicle id="v" depart="0"><route edges="bc ab"/></vehicle>', "edges 'bc' and 'ab' do not meet"),
        ('<vehicle id="v" depart="soon"><route edges="ab"/></vehicle>', "depart is 'soon', must be a time"),
        ('<vehicle id="v" depart="0" route="r"/>', "route 'r' is not defined before it"),
        ('<vehicle id="v" depart="0"/>', "has neither a route nor the edges from and to"),
        ('<vehicle id="v" depart="0"><route edges=""/></vehicle>', "its route has no edges"),
        ('<flow id="f" begin="0" period="5"><route edges="ab"/></flow>', "needs end or number, else it never ends"),
        ('<flow id="f" begin="0" end="9" period="0"><route edges="ab"/></flow>', "must be > 0"),
        (2 * '<vehicle id="v" depart="0"><route edges="ab"/></vehicle>', "id 'v' stands twice"),
    ],
)
def test_a_fault_of_a_route_file_is_one_sentence(trips: Imported, text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        trips(text)
    assert len(caught.value.faults) == 1
    assert sentence in caught.value.faults[0]
    assert caught.value.faults[0].startswith("cars0.rou.xml: <")


def test_many_vehicles_with_one_fault_are_one_sentence(trips: Imported) -> None:
    with pytest.raises(InputError) as caught:
        trips('<flow id="f" begin="0" end="9" number="9"><route edges="bc ab"/></flow>')
    assert list(caught.value.faults) == [
        "cars0.rou.xml: <flow> f: route (and of 8 more): edges 'bc' and 'ab' do not meet"
    ]


def test_a_route_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "city.net.xml").write_text(NET)
    (tmp_path / "cars.rou.xml").write_text('<routes><vehicle id="v" depart="0">')
    with pytest.raises(InputError, match="is not complete XML"):
        import_tables(tmp_path / "city.net.xml", demand=[tmp_path / "cars.rou.xml"])


CBENGINE = """3
30.25 120.10 n1 0
30.25 120.11 n2 0
30.26 120.11 n3 0
2
n1 n2 963.0 13.888889 1 1 r1 r2
1 1 1
1 1 1
n2 n3 1109.0 8.333333 1 1 r3 r4
1 1 1
1 1 1
0
"""


def cbengine(tmp_path: Path, demand: str) -> list[dict[str, object]]:
    (tmp_path / "roads.txt").write_text(CBENGINE)
    (tmp_path / "flows.txt").write_text(demand)
    return [dict(row) for row in import_tables(tmp_path / "roads.txt", demand=[tmp_path / "flows.txt"])["trips"]]


def test_a_flow_of_cbengine_lets_one_vehicle_go_each_interval(tmp_path: Path) -> None:
    rows = cbengine(tmp_path, "2\n10 70 30\n2\nr1 r3\n0 20 40\n1\nr4\n")
    assert [(row["trip_id"], row["depart_s"], row["link_ids"]) for row in rows] == [
        ("2.0", 0.0, "r4"),
        ("1.0", 10.0, "r1;r3"),
        ("1.1", 40.0, "r1;r3"),
        ("1.2", 70.0, "r1;r3"),
    ]
    assert (rows[1]["from_node_id"], rows[1]["to_node_id"]) == ("n1", "n3")


@pytest.mark.parametrize(
    ("demand", "sentence"),
    [
        ("1\n0 10 5\n2\nr1 r9\n", "flows.txt: line 4: road 'r9' is not in the network"),
        ("1\n0 10 5\n2\nr3 r1\n", "flows.txt: line 4: roads 'r3' and 'r1' do not meet"),
        ("1\n0 10 0\n1\nr1\n", "flows.txt: line 2: start is 0 and interval 0, must be >= 0 and > 0"),
        ("2\n0 10 5\n1\nr1\n", "flows.txt: ends after line 4, in flow 2 of 2; the file is cut off"),
    ],
)
def test_a_fault_of_a_cbengine_demand_is_one_sentence(tmp_path: Path, demand: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        cbengine(tmp_path, demand)
    assert list(caught.value.faults) == [sentence]


def test_demand_that_a_format_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "roads.txt").write_text(CBENGINE)
    (tmp_path / "x.add.xml").write_text(PROGRAM)
    with pytest.raises(InputError, match="--additional is for signals of SUMO"):
        import_tables(tmp_path / "roads.txt", additional=[tmp_path / "x.add.xml"])
    with pytest.raises(InputError, match="no such file"):
        import_tables(tmp_path / "roads.txt", demand=[tmp_path / "nowhere.txt"])


@pytest.mark.data
def test_bologna_comes_with_its_peak_programs_and_vehicles(shared_data: Path) -> None:
    folder = shared_data / "bologna"
    routes = ("bologna_joined_demand_0800_0900.rou.xml.gz", "bologna_joined_busses.rou.xml.gz")
    tables = import_tables(
        folder / "bologna_joined.net.xml.gz",
        additional=[folder / "bologna_joined_tls.add.xml"],
        demand=[folder / name for name in routes],
    )
    assert len(tables["trips"]) == 11_000 + 176
    network = Network.from_tables(tables)
    # The programs of the peak, not those in the network: 209 takes 69 + 3 + 7 + 3 + 3 + 26 + 3 + 3 s.
    cycles = {row["timing_plan_id"]: row["cycle_length"] for row in tables["signal_timing_plan"]}
    assert len(cycles) == 13
    assert cycles["209"] == 117.0
    assert len(network.signals) >= 13
