"""``citytwin simulate`` and ``citytwin compare`` as other programs call them."""

import csv
import json

import pytest

from hub.cli import main

KEYS = {
    "vehicles",
    "total_time_spent_s",
    "total_distance_m",
    "total_delay_s",
    "link_crossings",
    "stops",
    "gridlock",
    "horizon_s",
    "seed",
    "engine_wall_s",
    "network_sha256",
    "demand_sha256",
    "scenario_sha256",
    "version",
}


def rows(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def run_json(capsys, *words):
    assert main(["simulate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_prints_one_object_with_the_promised_keys(folder, capsys):
    summary = run_json(capsys, folder, "--seed", 7)
    assert set(summary) >= KEYS
    assert set(summary["vehicles"]) >= {"demanded", "entered", "arrived", "on_links", "waiting"}
    assert summary["seed"] == 7
    assert summary["vehicles"]["demanded"] == summary["vehicles"]["arrived"] == 100 + 40
    assert summary["gridlock"] == []


def test_out_holds_four_files_that_agree_with_the_summary(folder, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    summary = run_json(capsys, folder, "--out", out, "--sample-every", 300, "--horizon", 900)
    assert sorted(path.name for path in out.iterdir()) == ["links.csv", "run.json", "summary.json", "trips.csv"]
    trips = rows(out / "trips.csv")
    assert list(trips[0]) == ["trip_id", "depart_s", "enter_s", "arrive_s", "distance_m", "delay_s"]
    assert len(trips) == summary["vehicles"]["demanded"]
    assert sum(row["arrive_s"] != "" for row in trips) == summary["vehicles"]["arrived"]
    links = rows(out / "links.csv")
    assert list(links[0]) == [
        "link_id",
        "time_s",
        "entered",
        "left",
        "on_link",
        "flow_veh_h",
        "density_veh_km",
        "speed_kmh",
    ]
    last = [row for row in links if row["time_s"] == "900"]
    assert len(links) == 3 * len(last)
    assert sum(int(row["on_link"]) for row in last) == summary["vehicles"]["on_links"]
    assert sum(int(row["entered"]) for row in last) == summary["link_crossings"]
    assert json.loads((out / "summary.json").read_text())["vehicles"] == summary["vehicles"]
    spent = sum((float(row["arrive_s"]) if row["arrive_s"] else 900) - float(row["depart_s"]) for row in trips)
    assert spent == pytest.approx(summary["total_time_spent_s"], abs=0.01)


def test_edies_definitions_hold_row_by_row(folder, tmp_path, capsys):
    out = tmp_path / "out"
    run_json(capsys, folder, "--out", out)
    before = {}
    for row in rows(out / "links.csv"):
        entered, left = int(row["entered"]), int(row["left"])
        last = before.get(row["link_id"], (0, 0))
        assert float(row["flow_veh_h"]) == pytest.approx((entered - last[0] + left - last[1]) / 120 * 3600, abs=1e-5)
        if row["speed_kmh"]:
            product = float(row["density_veh_km"]) * float(row["speed_kmh"])
            assert product == pytest.approx(float(row["flow_veh_h"]), rel=1e-4, abs=1e-4)
        before[row["link_id"]] = (entered, left)


def test_same_inputs_give_the_same_bytes(folder, tmp_path, capsys):
    for name in ("one", "two"):
        run_json(capsys, folder, "--out", tmp_path / name, "--seed", 3)
    for name in ("summary.json", "trips.csv", "links.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_without_json_a_planner_reads_a_page(folder, capsys):
    assert main(["simulate", str(folder)]) == 0
    page = capsys.readouterr().out
    assert "vehicles demanded" in page
    assert "veh h" in page


def test_all_faults_of_all_files_are_one_line_each_and_nothing_is_written(folder, tmp_path, capsys):
    scenario = tmp_path / "s.toml"
    scenario.write_text("[[close]]\nlinsk = ['MC']\n", "utf-8")
    (folder / "demand.csv").write_text("o_zone_id,d_zone_id,volume,start_s,end_s\nwest,north,x,0,1000\n", "utf-8")
    out = tmp_path / "out"
    assert main(["simulate", str(folder), "--scenario", str(scenario), "--out", str(out), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    told = captured.err
    for part in ("'north'", "volume is 'x'", "'linsk', the nearest valid one is 'links'"):
        assert part in told, part
    assert not out.exists()


def test_trips_without_a_path_are_faults_unless_they_may_be_left_out(folder, tmp_path, capsys):
    trips = tmp_path / "trips.csv"
    trips.write_text("trip_id,depart_s,from_node_id,to_node_id\nt1,0,D,A\nt2,0,A,D\n", "utf-8")
    link = folder / "link.csv"
    link.write_text(
        "\n".join(r for r in link.read_text("utf-8").splitlines() if not r.startswith("DC")) + "\n", "utf-8"
    )
    assert main(["simulate", str(folder), "--trips", str(trips), "--json"]) == 2
    assert "t1" in capsys.readouterr().err
    summary = run_json(capsys, folder, "--trips", trips, "--allow-unreachable")
    assert summary["vehicles"]["unreachable"] == 1
    assert summary["vehicles"]["arrived"] == 1


def test_a_folder_with_other_things_is_not_overwritten(folder, tmp_path, capsys):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work", "utf-8")
    assert main(["simulate", str(folder), "--out", str(out)]) == 2
    assert (out / "thesis.txt").exists()


def test_several_scenarios_add_up(folder, tmp_path, capsys):
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[[demand]]\nfactor = 0.5\n", "utf-8")
    two.write_text('[[close]]\nlinks = ["MC"]\n', "utf-8")
    summary = run_json(capsys, folder, "--scenario", one, "--scenario", two, "--horizon", 3000)
    assert summary["vehicles"]["demanded"] < 75
    alone = run_json(capsys, folder, "--scenario", one, "--horizon", 3000)
    assert summary["total_distance_m"] > alone["total_distance_m"]


def test_compare_shows_the_paired_difference_and_says_what_it_is(folder, tmp_path, capsys):
    base, shut = tmp_path / "base.toml", tmp_path / "shut.toml"
    base.write_text('name = "as it is"\n', "utf-8")
    shut.write_text('name = "closed"\n[[close]]\nlinks = ["MC"]\n', "utf-8")
    words = ["compare", str(folder), "--scenario", str(base), "--scenario", str(shut), "--json"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["basis"] == "one run of each scenario, no interval"
    time_spent = [run["total_time_spent_s"] for run in answer["runs"]]
    assert answer["difference"]["total_time_spent_s"] == pytest.approx(time_spent[1] - time_spent[0])
    assert answer["difference"]["total_time_spent_s"] > 0
    assert main([*words, "--replications", "5"]) == 2
    assert "--replications" in capsys.readouterr().err
