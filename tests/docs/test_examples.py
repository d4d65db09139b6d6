"""The examples run, and the page of the engine shows what stands in them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from twin import Network

ROOT = Path(__file__).parents[2]
TABLES = {
    "node": [
        {"node_id": name, "x_coord": 120 + x / 96, "y_coord": 30 + y / 111}
        for name, x, y in (("W", 0, 0), ("C", 1, 0), ("E", 2, 0), ("S", 1, -1))
    ],
    "link": [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": 1000}
        for a, b in ("WC", "CE", "SC")
    ],
    "zone_node": [{"zone_id": name, "node_id": name, "share": 1} for name in "WES"],
    "movement": [{"mvmt_id": a + "E", "node_id": "C", "ib_link_id": a + "C", "ob_link_id": "CE"} for a in "WS"],
    "signal_timing_plan": [{"timing_plan_id": "C", "controller_id": "C", "cycle_length": 60}],
    "signal_timing_phase": [
        {
            "timing_phase_id": k,
            "timing_plan_id": "C",
            "signal_phase_num": k,
            "max_green": 25,
            "clearance": 5,
            "barrier": k,
        }
        for k in (1, 2)
    ],
    "signal_phase_mvmt": [
        {"signal_phase_mvmt_id": k, "timing_phase_id": k, "mvmt_id": name} for k, name in ((1, "WE"), (2, "SE"))
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "net"
    Network.from_tables(TABLES).write(path)
    rows = "o_zone_id,d_zone_id,volume,start_s,end_s\nW,E,400,0,3600\nS,E,100,0,3600\n"
    (path / "demand.csv").write_text(rows, "utf-8")
    return path


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_patrol_clears_a_breakdown(folder: Path) -> None:
    found = re.search(r"costs (\d+) vehicle-minutes", run("patrol.py", folder, "WC"))
    assert found is not None
    assert int(found[1]) > 0


def test_a_controller_of_ones_own_runs_a_signal(folder: Path) -> None:
    assert "500 of 500 vehicles arrived" in run("bus_gate.py", folder, "C")


def test_the_pictures_of_the_engine_are_drawn_by_the_engine(tmp_path: Path) -> None:
    run("first_principles.py", tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == set(re.findall(r"\(engine/(\w+\.png)\)", (ROOT / "docs" / "engine.md").read_text("utf-8")))
    assert drawn == {path.name for path in (ROOT / "docs" / "engine").iterdir()}


@pytest.mark.parametrize("name", ["patrol", "bus_gate"])
def test_the_page_shows_the_example_as_it_is(name: str) -> None:
    text = (ROOT / "examples" / f"{name}.py").read_text("utf-8")
    process = text[text.index(f"def {name}") : text.index("\n\n\nif __name__")]
    assert process in (ROOT / "docs" / "engine.md").read_text("utf-8")


def test_a_process_of_ones_own_takes_ten_lines() -> None:
    text = (ROOT / "examples" / "patrol.py").read_text("utf-8")
    assert len(text[text.index("def patrol") : text.index("\n\n\nif __name__")].splitlines()) <= 10
