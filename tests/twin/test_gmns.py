"""The folder: every fault at once, the round trip, the hash, and writing that leaves nothing half done."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors import InputError, WorkError
from twin import Network
from twin.gmns import write_tables

Tables = dict[str, list[dict[str, object]]]

NODE = "node_id,x_coord,y_coord\nA,120.0,30.0\nB,120.01,30.0\n"
LINK = "link_id,from_node_id,to_node_id,length,lanes,free_speed\nL1,A,B,970,2,50\nL2,B,A,970,2,50\n"


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in {"node": NODE, "link": LINK, **files}.items():
        (path / f"{name}.csv").write_bytes(text.encode())
    return path


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        Network.read(path)
    return caught.value.faults


def test_all_faults_of_a_folder_are_told_at_once_with_line_column_value_and_rule(tmp_path: Path) -> None:
    found = faults(
        folder(
            tmp_path,
            node="node_id,x_coord,y_coord\nA,120.0,30.0\nB,nan,30.0\nA,120,30\n",
            link="link_id,from_node_id,to_node_id,length,lanes,free_speed,capacity\n"
            "L1,A,X,-5,2,50,\nL2,B,A,970,2.5,fast,inf\nL2,B,A,0,0,50,1_800\n",
            sensor="sensor_id,link_id,quantities,interval_s\nD1,L9,speed_kph,0\n",
            config="speed\nkm per hour\n",
        )
    )
    for sentence in (
        "config.csv: speed is 'km per hour', must be one of",
        "node.csv: line 3: node B: x_coord is 'nan', must be a number",
        "node.csv: line 4: node A: node_id 'A' stands twice, first on line 2; ids must be unique",
        "link.csv: line 2: link L1: to_node_id 'X' is not in node.csv",
        "link.csv: line 2: link L1: length is '-5', must be a number > 0",
        "link.csv: line 3: link L2: lanes is '2.5', must be a whole number >= 1",
        "link.csv: line 3: link L2: free_speed is 'fast', must be a number > 0",
        "link.csv: line 3: link L2: capacity is 'inf', must be a number > 0",
        "link.csv: line 4: link L2: link_id 'L2' stands twice, first on line 3; ids must be unique",
        "link.csv: line 4: link L2: length is '0', must be a number > 0",
        "link.csv: line 4: link L2: lanes is '0', must be a whole number >= 1",
        "link.csv: line 4: link L2: capacity is '1_800', must be a number > 0",
    ):
        assert any(fault.startswith(sentence) for fault in found), (sentence, found)


def test_faults_of_the_other_tables_name_their_rows(tmp_path: Path) -> None:
    found = faults(
        folder(
            tmp_path,
            movement="mvmt_id,node_id,ib_link_id,ob_link_id,start_ib_lane,end_ib_lane\n"
            "1,B,L1,L2,2,1\n2,A,L1,L2,,\n3,B,L1,L7,,\n4,B,L1,L2,3,3\n",
            zone_node="zone_id,node_id,share\nZ1,A,-1\nZ1,Q,1\n",
            sensor="sensor_id,link_id,quantities,position_m,lanes,standard_deviation\n"
            "D1,L9,speed_kph,,,\nD2,L1,speed_kmh,99999,5,1;2\nD3,L1,speed_kmh,,,x\n",
            asset="asset_id,kind,node_id\nF1,feeder,Nope\n",
            dependency="asset_id,depends_on,kind,need\nF1,F2,water,some\n",
            building="building_id,height_m,geometry\nB1,-3,POINT (1 2)\n",
            area='area_id,kind,geometry\nA1,sand,"POLYGON ((0 0, 1 0, 1 1, 0 0))"\n',
        )
    )
    for sentence in (
        "movement.csv: line 2: mvmt 1: start_ib_lane to end_ib_lane is 2 to 1, must run from left to right",
        "movement.csv: line 3: mvmt 2: ib_link_id 'L1' does not end at node A, it ends at B",
        "movement.csv: line 4: mvmt 3: ob_link_id 'L7' is not in link.csv",
        "movement.csv: line 5: mvmt 4: lane 3 is beyond the 2 lanes of link 'L1'",
        "zone_node.csv: line 2: zone Z1: share is '-1', must be a number >= 0",
        "zone_node.csv: line 3: zone Z1: node_id 'Q' is not in node.csv",
        "sensor.csv: line 2: sensor D1: link_id 'L9' is not in link.csv",
        "sensor.csv: line 2: sensor D1: quantities has 'speed_kph', which no quantity is called, did you mean",
        "sensor.csv: line 3: sensor D2: position_m is 99999, but link 'L1' is 970 m long",
        "sensor.csv: line 3: sensor D2: lanes is 5, but link 'L1' has 2",
        "sensor.csv: line 3: sensor D2: standard_deviation has 2 numbers for 1 quantities",
        "sensor.csv: line 4: sensor D3: standard_deviation has 'x', must be numbers",
        "asset.csv: line 2: asset F1: node_id 'Nope' is not in node.csv",
        "dependency.csv: line 2: asset F1: depends_on 'F2' is not in asset.csv",
        "dependency.csv: line 2: asset F1: kind is 'water', must be power, comms, control or structure",
        "dependency.csv: line 2: asset F1: need is 'some', must be all or any",
        "building.csv: line 2: building B1: height_m is '-3', must be a number > 0",
        "building.csv: line 2: building B1: geometry is 'POINT (1 2)', must be POLYGON",
        "area.csv: line 2: area A1: kind is 'sand', must be water or park",
    ):
        assert any(fault.startswith(sentence) for fault in found), (sentence, found)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"link": "link_id,from_node,to_node_id\nL1,A,B\n"}, "has no column 'from_node_id', did you mean 'from_node'?"),
        ({"link": "link_id,from_node_id,to_node_id\n"}, "link.csv: has no rows"),
        ({"link": ""}, "link.csv: has no header line"),
        ({"node": NODE.replace(",", ";")}, "its columns are separated by ';', must be by commas"),
        ({"link": LINK + '"L3,A'}, "link.csv: line 4: is not CSV"),
        ({"link": LINK.replace("L1,A", "L1,")}, "from_node_id is empty, must be an id of node.csv"),
        (
            {
                "geometry": "geometry_id,geometry\n1,LINE\n",
                "link": "link_id,from_node_id,to_node_id,geometry_id\nL,A,B,1\n",
            },
            "geometry is 'LINE', must be LINESTRING",
        ),
        (
            {
                "signal_timing_plan": "timing_plan_id,controller_id\n1,Q\n",
                "signal_controller": "controller_id\nA\n",
                "signal_timing_phase": "timing_phase_id,timing_plan_id\n1,7\n",
                "signal_phase_mvmt": "signal_phase_mvmt_id,timing_phase_id,mvmt_id\n1,9,m\n",
            },
            "timing_phase_id '9' is not in signal_timing_phase.csv",
        ),
        ({"link": "link_id,link_id\n"}, "column 'link_id' stands twice"),
        ({"node": "node_id,x_coord,y_coord\nA,30.0,120.0\nB,30.0,120.01\n"}, "look swapped"),
        ({"node": "node_id,x_coord,y_coord\nA,322754,4698346\nB,322755,4698346\n"}, "name their crs in config.csv"),
        ({"config": "crs\nEPSG:2154\n"}, "crs is 'EPSG:2154', must be"),
        ({"config": "crs\nEPSG:32650\n"}, "coordinates look like degrees"),
        ({"config": "long_length\nmetre s\n"}, "did you mean 'metres'?"),
    ],
)
def test_one_sentence_says_what_would_be_right(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    assert any(sentence in fault for fault in faults(folder(tmp_path, **files)))


def test_what_is_no_network_folder_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "map.osm").write_text("<osm/>")
    assert "no such folder" in faults(tmp_path / "nowhere")[0]
    assert "is a file" in faults(tmp_path / "map.osm")[0]
    assert "has no node.csv and no link.csv" in faults(tmp_path)[0]


def test_binary_rubbish_as_a_table_is_one_sentence(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "link.csv").write_bytes(b"\x89PNG\x00\xff\xfe")
    assert any("is not UTF-8" in fault for fault in faults(tmp_path))


def test_extra_columns_byte_order_mark_and_column_order_change_nothing(tmp_path: Path) -> None:
    plain = Network.read(folder(tmp_path / "plain"))
    other = Network.read(
        folder(
            tmp_path / "other",
            link="\ufefflanes,note,free_speed,link_id,to_node_id,length,from_node_id\r\n"
            '2,nice,50,L1,B,970,A\r\n\r\n2,"a, b",50,L2,A,970,B\r\n',
        )
    )
    assert other.sha256 == plain.sha256
    assert np.array_equal(other.compile().length, plain.compile().length)


def test_another_number_is_another_hash(tmp_path: Path) -> None:
    changed = LINK.replace("970,2,50\nL2", "971,2,50\nL2")
    assert Network.read(folder(tmp_path / "a")).sha256 != Network.read(folder(tmp_path / "b", link=changed)).sha256


def test_written_network_reads_back_the_same_with_what_it_does_not_know(tmp_path: Path) -> None:
    source = folder(
        tmp_path / "a",
        link=LINK.replace("free_speed", "free_speed,colour").replace(",50", ",50,red"),
        demand="o_zone_id,d_zone_id,volume,start_s,end_s\nZ1,Z2,10,0,60\n",
    )
    network = Network.read(source)
    network.write(tmp_path / "b")
    again = Network.read(tmp_path / "b")
    assert again.sha256 == network.sha256
    assert "red" in (tmp_path / "b" / "link.csv").read_text()
    assert (tmp_path / "b" / "demand.csv").read_text() == (source / "demand.csv").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_network_written_over_itself_keeps_its_demand(tmp_path: Path) -> None:
    trips = "trip_id,depart_s,from_node_id,to_node_id\n1,0,A,B\n"
    network = Network.read(folder(tmp_path / "a", trips=trips))
    network.write(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a" / "trips.csv").read_text() == trips
    assert Network.read(tmp_path / "a").sha256 == network.sha256


def test_demand_outlives_a_network_that_brings_none_and_is_put_aside_by_one_that_does(
    tmp_path: Path, crossing: Tables
) -> None:
    folder = tmp_path / "city"
    network = Network.from_tables(crossing)
    network.write(folder)
    mine = "o_zone_id,d_zone_id,volume,start_s,end_s\nZ1,Z2,10,0,60\n"
    (folder / "demand.csv").write_text(mine)
    network.write(folder, overwrite=True)
    assert (folder / "demand.csv").read_text() == mine
    node = str(crossing["node"][0]["node_id"])
    trip = {"trip_id": "T1", "depart_s": 0, "from_node_id": node, "to_node_id": node}
    for kept in ("demand.csv.old", "demand.csv.old2"):
        Network.from_tables({**crossing, "trips": [trip]}).write(folder, overwrite=True)
        assert (folder / kept).read_text() == mine
        assert not (folder / "demand.csv").exists()
        (folder / "demand.csv").write_text(mine)


def test_links_take_their_place_last_so_that_half_of_a_network_is_none(
    tmp_path: Path, crossing: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network.from_tables(crossing)
    network.write(tmp_path / "city")
    moved, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: (moved.append(path.name), replace(path, to))[1])
    network.write(tmp_path / "city", overwrite=True)
    assert "node.csv" in moved
    assert moved[-1] == "link.csv"


def test_a_comma_between_the_numbers_of_a_point_is_a_fault_not_another_line(crossing: Tables) -> None:
    wrong = [{**row, "geometry": "LINESTRING (24, 60 24.1 60)"} for row in crossing["link"]]
    with pytest.raises(InputError, match="every point needs two finite coordinates"):
        Network.from_tables({**crossing, "link": wrong})


def test_cells_may_be_long_and_hold_line_ends_and_separators_of_other_scripts(tmp_path: Path) -> None:
    ring = ", ".join(f"{120 + i / 1e5:.5f} 30" for i in range(20_000))
    name = "a\u2028b\x0bc\u0085d, e\nf"
    network = Network.read(
        folder(
            tmp_path / "a",
            area=f'area_id,kind,geometry\nA1,water,"POLYGON (({ring}))"\n',
            node=f'node_id,name,x_coord,y_coord\nA,"{name}",120.0,30.0\nB,,120.01,30.0\n',
        )
    )
    assert network.nodes.names[0] == name
    assert len(network.areas[0].rings[0]) == 20_000
    network.write(tmp_path / "b")
    assert Network.read(tmp_path / "b").sha256 == network.sha256


def test_a_folder_that_holds_something_is_refused_unless_told(tmp_path: Path) -> None:
    network = Network.read(folder(tmp_path / "a", zone="zone_id\nZ1\n"))
    (tmp_path / "b").mkdir()
    network.write(tmp_path / "b")  # an empty folder is fine
    (tmp_path / "b" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="is not empty"):
        network.write(tmp_path / "b")
    smaller = Network.read(folder(tmp_path / "c"))
    smaller.write(tmp_path / "b", overwrite=True)
    assert (tmp_path / "b" / "mine.txt").read_text() == "keep"
    assert not (tmp_path / "b" / "zone.csv").exists()  # a table of the old network would mix two cities
    assert Network.read(tmp_path / "b").sha256 == smaller.sha256


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, crossing: Tables) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="cannot write the network"):
        write_tables(tmp_path / "file" / "out", crossing)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, crossing: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("twin.gmns.write_table", full)
    with pytest.raises(WorkError, match="No space left on device"):
        write_tables(tmp_path / "out", crossing)
    assert list(tmp_path.iterdir()) == []


names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=6)
rows = st.lists(
    st.tuples(
        st.floats(0.1, 1e5),
        st.integers(1, 8),
        st.floats(1, 130),
        st.one_of(st.none(), st.floats(100, 2500)),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(names, min_size=2, max_size=5, unique=True), links=rows, title=names, data=st.data())
def test_any_network_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[str],
    links: list[tuple[float, int, float, float | None, bool]],
    title: str,
    data: st.DataObject,
) -> None:
    made: Tables = {
        "node": [{"node_id": name, "x_coord": 10 + i / 977, "y_coord": 50 + i / 1013} for i, name in enumerate(ids)],
        "link": [
            {
                "link_id": f"L{i}",
                "name": title,
                "from_node_id": data.draw(st.sampled_from(ids)),
                "to_node_id": data.draw(st.sampled_from(ids)),
                "length": length,
                "lanes": lanes,
                "free_speed": speed,
                "capacity": capacity,
                "directed": directed,
            }
            for i, (length, lanes, speed, capacity, directed) in enumerate(links)
        ],
    }
    network = Network.from_tables(made)
    out = tmp_path_factory.mktemp("round") / "trip"
    network.write(out)
    again = Network.read(out)
    assert again.sha256 == network.sha256
    first, second = network.compile(), again.compile()
    for name in first.__slots__:
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert again.links.names == network.links.names
