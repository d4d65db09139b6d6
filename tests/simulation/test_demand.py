import numpy as np
import pytest

from sensors import InputError
from simulation import Demand, Flow, Surge
from twin import Network


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_departures_of_a_row_are_spread_evenly_from_its_phase(network):
    trips = Demand.of_flows(network, [Flow("west", "east", 4, 100, 200), Flow("west", "east", 4, 100, 200)]).trips()
    first, second = (trips.depart[trips.key[:, 0] == row] for row in (0, 1))
    assert first == pytest.approx([100, 125, 150, 175])
    assert second == pytest.approx(100 + (np.arange(4) + 0.618034) * 25)


@pytest.mark.parametrize(("volume", "expected"), [(0, 0), (0.5, 1), (2.5, 3), (3, 3)])
def test_fractional_volumes_follow_k_plus_f_below_volume(network, volume, expected):
    assert len(Demand.of_flows(network, [Flow("west", "east", volume, 0, 100)]).trips()) == expected


def test_fractional_volumes_of_many_rows_add_up(network):
    rows = [Flow("west", "east", 0.37, 0, 100)] * 1000
    assert len(Demand.of_flows(network, rows).trips()) == pytest.approx(370, abs=3)


def test_vehicles_load_at_the_nodes_of_a_zone_by_share(network):
    trips = Demand.of_flows(network, [Flow("west", "east", 400, 0, 1000)]).trips()
    counts = np.bincount(trips.destination, minlength=4)
    names = network.compile().node_ids
    assert counts[names.index("C")] == pytest.approx(300, abs=2)
    assert counts[names.index("D")] == pytest.approx(100, abs=2)


def test_a_surge_scales_its_zones_in_its_time_only(network):
    demand = Demand.of_flows(network, [Flow("west", "east", 100, 0, 1000), Flow("east", "west", 100, 0, 1000)])
    trips = demand.trips([Surge(2.0, origins=("west",), from_s=200, until_s=400)])
    west = trips.depart[trips.key[:, 0] == 0]
    assert len(west) == 120
    assert ((west >= 200) & (west < 400)).sum() == 40
    assert (trips.key[:, 0] == 1).sum() == 100
    assert len(demand.trips([Surge(0.0)])) == 0


def test_vehicles_due_after_the_horizon_are_not_demanded(network):
    demand = Demand.of_flows(network, [Flow("west", "east", 10, 0, 100)])
    assert demand.trips(until_s=50).depart.tolist() == [0, 10, 20, 30, 40, 50]


def test_bom_crlf_other_column_orders_and_extra_columns_are_fine(network, tmp_path):
    text = "note,end_s,volume,d_zone_id,start_s,o_zone_id\r\nx,100,5,east,0,west\r\n"
    plain = write(tmp_path / "d.csv", "o_zone_id,d_zone_id,volume,start_s,end_s\nwest,east,5,0,100\n")
    one = Demand.read(network, demand=write(tmp_path / "demand.csv", text, "utf-8-sig"))
    assert one.sha256() == Demand.read(network, demand=plain).sha256()


def test_all_faults_of_a_demand_file_are_told_at_once(network, tmp_path):
    header = "o_zone_id,d_zone_id,volume,start_s,end_s\n"
    text = header + "north,east,5,0,100\nwest,east,-1,0,100\nwest,east,1,50,50\nwest,east,x,0,1\n"
    with pytest.raises(InputError) as error:
        Demand.read(network, demand=write(tmp_path / "mine.csv", text))
    faults = error.value.faults
    assert len(faults) == 4
    assert all(fault.startswith("mine.csv: line ") for fault in faults)
    assert any("'north'" in fault for fault in faults)
    assert any("volume is '-1'" in fault for fault in faults)
    assert any("end_s is 50, must be > start_s" in fault for fault in faults)


def test_all_faults_of_a_trips_file_are_told_at_once(network, tmp_path):
    text = (
        "trip_id,depart_s,from_node_id,to_node_id,link_ids\n"
        "1,0,A,Z,\n2,-5,A,C,\n2,0,A,C,\n4,0,A,A,\n5,0,A,D,AM;XX\n6,0,C,D,AM;MD\n7,0,,C,\n"
    )
    with pytest.raises(InputError) as error:
        Demand.read(network, trips=write(tmp_path / "t.csv", text))
    told = "\n".join(error.value.faults)
    for part in (
        "'Z'",
        "'-5'",
        "'2' stands twice",
        "must differ",
        "'XX'",
        "from_node_id is 'C'",
        "from_node_id is empty",
    ):
        assert part in told, part


def test_trips_keep_their_ids_and_order_of_departure(network, tmp_path):
    text = "trip_id,depart_s,from_node_id,to_node_id,link_ids\nlate,9,A,C,\nearly,1,A,C,AM;MD;DC\n"
    trips = Demand.read(network, trips=write(tmp_path / "t.csv", text)).trips()
    assert trips.ids == ("early", "late")
    links = network.compile().link_ids
    assert [links[k] for k in trips.routes[0]] == ["AM", "MD", "DC"]


def test_without_any_demand_a_gravity_model_stands_in_and_says_so(network):
    demand = Demand.read(network)
    assert demand.assumed
    assert "assumed" in demand.notes[0]
    assert len(demand.trips()) > 0


def test_a_network_without_zones_gets_its_gravity_model_from_its_nodes():
    nodes = [{"node_id": n, "x_coord": 120 + k / 100, "y_coord": 30} for k, n in enumerate("AB")]
    links = [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": 900}
        for a, b in ("AB", "BA")
    ]
    demand = Demand.read(Network.from_tables({"node": nodes, "link": links}))
    assert {flow.origin for flow in demand.flows} == {"A", "B"}
