"""``citytwin assets``: what the operator of the night reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main
from simulation import Scenario
from twin import Network


@pytest.fixture
def ask(town_folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what a question prints; with ``status`` another exit code is expected, and the errors are returned."""

    def answer(action: str, *words: str, status: int = 0) -> str:
        assert main(["assets", action, str(town_folder), *words]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    return answer


def feeder(town: Network) -> str:
    return next(name for name, asset in town.assets.assets.items() if asset.kind == "feeder")


def test_downstream_and_upstream_are_told_with_the_way_between(ask: Any, town: Network) -> None:
    name = feeder(town)
    text = ask("downstream", name)
    assert text.startswith(f"{name} (Feeder ")
    assert "fail with it" in text
    rows = json.loads(ask("downstream", name, "--json"))["downstream"]
    assert tuple(row["asset_id"] for row in rows) == town.assets.downstream(name)
    assert {row["asset_id"] for row in rows if row["fails"]} == set(town.assets.outage({name}).dark()) - {name}
    last = rows[-1]["asset_id"]
    assert f"{last} - " in ask("upstream", last)
    up = json.loads(ask("upstream", last, "--json"))["upstream"]
    assert tuple(row["asset_id"] for row in up) == town.assets.upstream(last)
    for row in up:
        assert (row["path"][0]["asset_id"], row["path"][-1]["depends_on"]) == (last, row["asset_id"])


def test_impact_lists_junctions_and_links_and_writes_a_scenario(ask: Any, town: Network, tmp_path: Path) -> None:
    name = feeder(town)
    text = ask("impact", name, "--scenario", str(tmp_path / "dark.toml"))
    assert "junctions lose their signal" in text
    assert "all-way stop" in text
    assert Scenario.read(tmp_path / "dark.toml").asset_failure[0].asset == name
    found = json.loads(ask("impact", name, "--json"))
    assert found["signals"]
    assert all(name in row["because"] for row in found["signals"])
    assert ask("impact", name, "--scenario", str(tmp_path / "no" / "where.toml"), status=2).count("\n") == 1


def test_the_cause_of_dark_assets_is_found(ask: Any, town: Network) -> None:
    name = feeder(town)
    dark = [a for a in town.assets.outage({name}).dark() if a != name]
    works = sorted(set(town.assets.assets) - set(town.assets.outage({name}).unheard()))
    text = ask("cause", *dark, "--working", *works)
    assert name in text.splitlines()[0]
    assert json.loads(ask("cause", *dark, "--json", "--working", *works))[0]["asset_id"] == name


def test_weak_points_times_and_repairs_are_told(ask: Any, town: Network) -> None:
    assert "take others along" in ask("weak-points")
    points = json.loads(ask("weak-points", "--json"))
    assert [p["asset_id"] for p in points] == [p.asset_id for p in town.assets.single_points_of_failure()]
    need = next(d for d in town.assets.dependencies if d.autonomy_s > 0 and d.need == "all" and d.kind == "power")
    answer = json.loads(ask("time-to-dark", need.asset_id, "--failed", need.depends_on, "--ago-min", "10", "--json"))
    assert answer["time_to_dark_s"] == need.autonomy_s - 600
    assert "is dark" in ask("time-to-dark", need.asset_id)
    other = points[-1]["asset_id"]
    if need.asset_id not in town.assets.outage({other}).dark():
        assert "works on" in ask("time-to-dark", need.asset_id, "--failed", other)
    controllers = [a for a, asset in town.assets.assets.items() if asset.kind == "controller"][:3]
    text = ask("repair-order", *controllers, "--crews", "2", "--repair-min", "30")
    assert text.count("vehicle-hours an hour") == 3
    assert "crew 2, done after 30 min" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("downstream", "FDR-1"), "asset 'FDR-1' is not in"),
        (("impact", "nobody", "FDR-01"), "asset 'nobody' is not in"),
        (("time-to-dark", "FDR-01", "--ago-min", "-3"), "--ago-min is -3, must be >= 0"),
        (("repair-order", "FDR-01", "--crews", "0"), "crews is 0, must be > 0"),
        (("repair-order", "FDR-01", "--repair-min", "nan"), "--repair-min is nan, must be > 0"),
    ],
)
def test_a_wrong_question_is_one_sentence(ask: Any, words: tuple[str, ...], sentence: str) -> None:
    said = ask(*words, status=2)
    assert sentence in said
    assert said.count("\n") == 1


def test_a_network_without_equipment_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = [{"node_id": n, "x_coord": 120 + k / 100, "y_coord": 30} for k, n in enumerate("AB")]
    link = [{"link_id": "AB", "from_node_id": "A", "to_node_id": "B", "lanes": 1, "free_speed": 50}]
    Network.from_tables({"node": node, "link": link}).write(tmp_path / "bare")
    assert main(["assets", "weak-points", str(tmp_path / "bare")]) == 2
    assert "has no equipment" in capsys.readouterr().err
