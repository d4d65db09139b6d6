"""What ``network validate --fix`` repairs, what it lists, and what it leaves alone."""

import json
from pathlib import Path

import pytest

from hub.cli import main
from twin import Network
from twin.gmns import read_folder, write_tables
from twin.repair import repair

Tables = dict[str, list[dict[str, object]]]


def fixed(tables: Tables, tmp_path: Path) -> tuple[Network, list[str]]:
    """Write tables, repair them, and read what came of it."""
    write_tables(tmp_path / "city", tables, overwrite=True)
    rows, done = repair(read_folder(tmp_path / "city", []))
    return Network.from_tables(rows), done


def test_a_sound_network_is_left_as_it_is(crossing: Tables, tmp_path: Path) -> None:
    network, done = fixed(crossing, tmp_path)
    assert done == []
    assert network.sha256 == Network.from_tables(crossing).sha256


def test_a_line_that_fits_its_link_neither_way_is_not_turned(crossing: Tables, tmp_path: Path) -> None:
    link = next(row for row in crossing["link"] if row["link_id"] == "WC")
    link["geometry"] = "LINESTRING (121.0000000 31.0000000, 121.0010000 31.0010000)"
    link.setdefault("length", 100)
    network, done = fixed(crossing, tmp_path)
    assert not any("from its end to its beginning" in sentence for sentence in done)
    assert network.geometry(network.links.position["WC"])[0] == pytest.approx([121.0, 31.0])


def test_links_to_nowhere_go_with_their_movements_and_equipment_stays(crossing: Tables, tmp_path: Path) -> None:
    crossing["link"].append({"link_id": "lost", "from_node_id": "C", "to_node_id": "nowhere", "length": 50})
    crossing["movement"] = [
        {"mvmt_id": "m", "node_id": "C", "ib_link_id": "WC", "ob_link_id": "lost"},
        {"mvmt_id": "k", "node_id": "C", "ib_link_id": "WC", "ob_link_id": "CE"},
    ]
    crossing["sensor"] = [{"sensor_id": "S", "link_id": "lost", "x_coord": 120.0, "y_coord": 30.0}]
    network, done = fixed(crossing, tmp_path)
    assert done == [
        "link.csv: link lost: left out, node 'nowhere' is not in node.csv",
        "movement.csv: movement m: left out, link 'lost' does not exist",
        "sensor.csv: sensor S: link_id 'lost' does not exist, it stands without one",
    ]
    assert network.sensors[0].link_id == ""
    assert len(network.tables["movement"]) == 1


def test_zero_lengths_are_those_of_the_geometry_and_loops_without_any_go(crossing: Tables, tmp_path: Path) -> None:
    crossing["link"][0]["length"] = 0
    crossing["link"].append({"link_id": "loop", "from_node_id": "C", "to_node_id": "C", "length": 0})
    network, done = fixed(crossing, tmp_path)
    assert network.compile().length[network.links.position["WC"]] == pytest.approx(193, abs=1)
    assert "length" in network.assumed(network.links.position["WC"])
    assert [text.split(",")[0] for text in done] == ["link.csv: link WC: length was 0", "link.csv: link loop: left out"]


def test_swapped_coordinates_are_swapped_back_only_when_there_is_no_doubt(crossing: Tables, tmp_path: Path) -> None:
    right = Network.from_tables(crossing).nodes.lon_lat
    for row in crossing["node"]:
        row["x_coord"], row["y_coord"] = row["y_coord"], row["x_coord"]
    network, done = fixed(crossing, tmp_path)
    assert network.nodes.lon_lat.tolist() == right.tolist()
    assert done == ["node.csv: 5 nodes: x_coord and y_coord were swapped"]
    for row in crossing["node"]:
        row["x_coord"], row["y_coord"] = 10.0, 56.0  # legal either way round
    assert fixed(crossing, tmp_path)[1] == []


def test_lines_are_turned_and_copies_go_unless_something_names_them(crossing: Tables, tmp_path: Path) -> None:
    crossing["link"][0]["geometry"] = "LINESTRING (120 30, 119.999 30.0001, 119.998 30)"
    crossing["link"] += [{**crossing["link"][1], "link_id": "copy"}, {**crossing["link"][1], "link_id": "named"}]
    crossing["sensor"] = [{"sensor_id": "S", "link_id": "named"}]
    network, done = fixed(crossing, tmp_path)
    assert network.geometry(0)[0].tolist() == [119.998, 30.0]
    assert done == [
        "link.csv: link WC: its geometry ran from its end to its beginning",
        "link.csv: link copy: left out, it says the same as link CW",
    ]
    assert "named" in network.links.position


def test_the_command_lists_repairs_keeps_demand_and_is_done_after_one_round(
    crossing: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crossing["link"].append({"link_id": "lost", "from_node_id": "C", "to_node_id": "nowhere", "length": 50})
    crossing["zone"] = [{"zone_id": "Z"}]
    crossing["demand"] = [{"o_zone_id": "Z", "d_zone_id": "Z", "volume": 1, "start_s": 0, "end_s": 60}]
    crossing["link"][0]["remark"] = "kept"
    folder = tmp_path / "city"
    write_tables(folder, crossing)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["network", "validate", str(folder)]) == 2
    assert main(["network", "validate", str(folder), "--fix", "--out", str(tmp_path / "better")]) == 0
    assert "fixed: link.csv: link lost: left out" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main(["network", "validate", str(folder), "--fix", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["severity"] for row in rows if row["rule"] == "repair"] == ["fixed"]
    assert (folder / "demand.csv").read_bytes() == before["demand.csv"]
    assert Network.read(folder).tables["link"].rows[0]["remark"] == "kept"
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["network", "validate", str(folder), "--fix"]) == 0
    assert "fixed" not in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == after


def test_a_folder_that_is_no_table_is_not_touched(
    crossing: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "city"
    write_tables(folder, crossing)
    (folder / "movement.csv").write_bytes(b"\xff\xfe")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["network", "validate", str(folder), "--fix"]) == 2
    assert "movement.csv: byte 0 is not UTF-8" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main(["network", "validate", str(folder), "--out", str(tmp_path / "x")]) == 2
