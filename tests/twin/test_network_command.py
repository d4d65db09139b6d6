"""``citytwin network``: what scripts and planners see."""

import json
from pathlib import Path

import pytest

from hub.cli import main
from twin import Network
from twin.gmns import write_tables

Tables = dict[str, list[dict[str, object]]]
ROADS = "2\n30 120 a 1\n30 120.01 b 1\n1\na b 960 14 2 2 1 2\n1 1 1 1 1 1\n1 1 1 1 1 1\n0\n"


def test_import_writes_a_network_and_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "roads.txt").write_text(ROADS)
    out = tmp_path / "city"
    assert main(["network", "import", str(tmp_path / "roads.txt"), str(out)]) == 0
    assert "2 nodes, 2 links, 1.9 km" in capsys.readouterr().out
    assert Network.read(out).compile().n_links == 2


def test_import_refuses_a_full_folder_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "roads.txt").write_text(ROADS)
    command = ["network", "import", str(tmp_path / "roads.txt"), str(tmp_path / "city")]
    assert main(command) == 0
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_import_of_rubbish_is_one_line_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "roads.txt").write_text("hello\n")
    assert main(["network", "import", str(tmp_path / "roads.txt"), str(tmp_path / "city")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "city").exists()


def test_wrong_use_exits_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["network"])
    assert caught.value.code == 2


def test_validate_exits_0_with_warnings_and_2_with_errors(
    tmp_path: Path, crossing: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    crossing["link"][0]["free_speed"] = 400
    write_tables(tmp_path / "doubtful", crossing)
    assert main(["network", "validate", str(tmp_path / "doubtful")]) == 0
    assert "warning: link.csv: link WC: free_speed is 400 km/h" in capsys.readouterr().out
    crossing["link"][0]["free_speed"] = "fast"
    crossing["link"][1]["to_node_id"] = "nowhere"
    write_tables(tmp_path / "bad", crossing)
    assert main(["network", "validate", str(tmp_path / "bad")]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2
    assert main(["network", "validate", str(tmp_path / "bad"), "--json"]) == 2
    rows = json.loads(capsys.readouterr().out)
    assert [row["severity"] for row in rows] == ["error", "error"]


def test_info_tells_a_planner_and_a_program(
    tmp_path: Path, crossing: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tables(tmp_path / "city", crossing)
    assert main(["network", "info", str(tmp_path / "city")]) == 0
    page = capsys.readouterr().out
    assert "5 nodes, 8 links, 1.6 km" in page
    assert "arterial" in page
    assert main(["network", "info", str(tmp_path / "city"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["nodes"], facts["links"], facts["lane_km"], facts["storage_veh"]) == (5, 8, 3.2, 480)
    assert facts["network_sha256"] == Network.read(tmp_path / "city").sha256


def test_generate_writes_the_same_city_for_the_same_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        assert main(["network", "generate", str(tmp_path / name), "--seed", "7", "--junctions", "60"]) == 0
    assert "nodes" in capsys.readouterr().out
    first, second = (Network.read(tmp_path / name) for name in ("a", "b"))
    assert first.sha256 == second.sha256
    assert first.signals
    assert first.sensors
    assert len(first.assets) > 0
    severe = [str(fault) for fault in first.validate() if fault.severity != "note"]
    assert severe == []
    assert main(["network", "generate", str(tmp_path / "c"), "--junctions", "0"]) == 2
