"""Whatever is wrong with the files of a run is told before it starts, all of it, and nothing is written."""

import csv
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.cli import main
from sensors import InputError
from simulation.inputs import Inputs
from twin import Network
from twin.signal import SignalPlan, Stage
from twin.timing import timing_rows

LINKS = (
    ("AM", "A", "M", 1000),
    ("MC", "M", "C", 500),
    ("MD", "M", "D", 1000),
    ("DM", "D", "M", 1000),
    ("CM", "C", "M", 500),
    ("MA", "M", "A", 1000),
)
MOVES = (("AM", "MC", 2, 2), ("AM", "MD", 1, 1), ("CM", "MA", 1, 2), ("CM", "MD", 1, 2), ("DM", "MA", 1, 2))
TABLES: dict[str, list[dict[str, object]]] = {
    "node": [
        {"node_id": n, "x_coord": 120 + x / 100, "y_coord": 30 + y / 100, "zone_id": ""}
        for n, x, y in (("A", 0, 0), ("M", 1, 0), ("C", 2, 0), ("D", 1, 1))
    ],
    "link": [
        {
            **{"link_id": i, "from_node_id": a, "to_node_id": b, "directed": "true", "length": length, "lanes": 2},
            **{"free_speed": 36, "capacity": 1500, "jam_density": 150, "wave_speed": 18, "priority": 100},
            **{"geometry": "", "dir_flag": 1},
        }
        for i, a, b, length in LINKS
    ],
    "movement": [
        {"mvmt_id": f"m{k}", "node_id": "M", "ib_link_id": i, "start_ib_lane": s, "end_ib_lane": e, "ob_link_id": o}
        | {"pocket_m": ""}
        for k, (i, o, s, e) in enumerate(MOVES)
    ],
    "zone": [{"zone_id": z} for z in ("west", "east")],
    "zone_node": [
        {"zone_id": z, "node_id": n, "share": share}
        for z, n, share in (("west", "A", 1), ("east", "C", 3), ("east", "D", 1))
    ],
    "sensor": [
        {"sensor_id": "s", "quantities": "flow_veh_h", "link_id": "AM", "position_m": 900, "lanes": 1, "interval_s": 60}
        | {"standard_deviation": "1", "x_coord": "", "y_coord": ""}
    ],
    "asset": [{"asset_id": "feeder", "kind": "feeder"}, {"asset_id": "signal-M", "kind": "signal", "node_id": "M"}],
    "dependency": [{"asset_id": "signal-M", "depends_on": "feeder", "kind": "power", "need": "all", "autonomy_s": 3}],
}
STAGES = (
    Stage(25.0, 5.0, (("AM", "MC"), ("AM", "MD"))),
    Stage(25.0, 5.0, (("CM", "MA"), ("CM", "MD"), ("DM", "MA"))),
)
MOVEMENT_IDS = {(i, o): f"m{k}" for k, (i, o, _, _) in enumerate(MOVES)}
FILES = {
    "demand.csv": "o_zone_id,d_zone_id,volume,start_s,end_s\nwest,east,20,0,200\neast,west,10.5,0,200\n",
    "trips.csv": "trip_id,depart_s,from_node_id,to_node_id,link_ids\nt1,0,A,C,\nt2,5,A,D,AM;MD\n",
    "densities.csv": "link_id,density_veh_km\nAM,30\nMD,300\n",
    "s.toml": '[[close]]\nlinks = ["MC"]\nfrom_s = 50\nuntil_s = 100\n'
    '[[incident]]\nlink = "AM"\nposition_m = 120\nlanes_blocked = 1\n[[demand]]\nfactor = 1.2\norigins = ["west"]\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "net"
    signals = timing_rows([SignalPlan("M", 60.0, STAGES)], MOVEMENT_IDS)
    Network.from_tables({**TABLES, **signals}).write(path)
    for name, text in FILES.items():
        (path / name).write_text(text, "utf-8")
    return path


def faults(folder: Path, *, trips: bool = False) -> tuple[str, ...]:
    """Return what is wrong with the folder, with its demand or its trips."""
    given = {"trips": folder / "trips.csv"} if trips else {"demand": folder / "demand.csv"}
    scenarios = [] if trips else [folder / "s.toml"]
    with pytest.raises(InputError) as caught:
        Inputs.read(folder, **given, scenarios=scenarios, densities=folder / "densities.csv")
    return caught.value.faults


def change(path: Path, column: str, value: str | None, row: int = 0) -> None:
    """Set one cell of a table; None takes the whole column away."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    k = rows[0].index(column)
    if value is None:
        rows = [cells[:k] + cells[k + 1 :] for cells in rows]
    else:
        rows[1 + row][k] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def test_the_folder_as_it_is_has_no_fault(folder: Path) -> None:
    inputs = Inputs.read(folder, scenarios=[folder / "s.toml"], densities=folder / "densities.csv")
    assert len(inputs.demand.trips()) == 30
    assert inputs.densities == {"AM": 0.03, "MD": 0.3}


NUMBERS = {
    "node": ("x_coord", "y_coord"),
    "link": ("length", "lanes", "free_speed", "capacity", "jam_density", "wave_speed", "priority", "dir_flag"),
    "movement": ("start_ib_lane", "end_ib_lane", "pocket_m"),
    "zone_node": ("share",),
    "sensor": ("position_m", "lanes", "interval_s", "standard_deviation", "x_coord", "y_coord"),
    "dependency": ("autonomy_s",),
    "signal_timing_plan": ("cycle_length",),
    "signal_timing_phase": ("min_green", "max_green", "clearance", "ring", "barrier", "position"),
    "signal_coordination": ("offset",),
    "demand": ("volume", "start_s", "end_s"),
    "trips": ("depart_s",),
    "densities": ("density_veh_km",),
}
SIGNED = {"x_coord", "y_coord", "start_ib_lane", "offset", "dir_flag"}  # a negative number may be right
UNBOUNDED = {
    "interval_s",
    "capacity",
    "priority",
    "pocket_m",
    "share",
    "autonomy_s",
    "offset",
    "standard_deviation",
    "cycle_length",
}


@pytest.mark.parametrize("value", ["nan", "inf", "-3", "twelve", "1_000", "0x10", "路", "1e300"])
@pytest.mark.parametrize(("table", "column"), [(t, c) for t, columns in NUMBERS.items() for c in columns])
def test_a_number_that_is_none_is_named_with_file_line_column_value_and_rule(
    folder: Path, table: str, column: str, value: str
) -> None:
    if value == "-3" and column in SIGNED - {"dir_flag"}:
        pytest.skip("a negative number is right here")
    if value == "1e300" and (column in UNBOUNDED or table.startswith("signal")):
        pytest.skip("no number is too large here")
    change(folder / f"{table}.csv", column, value)
    found = [fault for fault in faults(folder, trips=table == "trips") if fault.startswith(f"{table}.csv: line 2: ")]
    assert found, "the fault is not told"
    shown = (value, "1e+300") if value == "1e300" else (value,)
    assert any(
        (column in fault or "1e+300)" in fault or "(1e+300" in fault) and any(text in fault for text in shown)
        for fault in found
    )
    assert all(any(word in fault for word in ("must ", "but link", "degrees")) for fault in found), found


IDS = {
    "node": {"node_id": "is empty"},
    "link": {"link_id": "is empty", "from_node_id": "node.csv", "to_node_id": "node.csv"},
    "movement": {"node_id": "node.csv", "ib_link_id": "link.csv", "ob_link_id": "link.csv"},
    "zone": {"zone_id": "is empty"},
    "zone_node": {"zone_id": "zone.csv", "node_id": "node.csv"},
    "sensor": {"sensor_id": "is empty", "link_id": "link.csv"},
    "asset": {"asset_id": "is empty", "node_id": "node.csv"},
    "dependency": {"asset_id": "asset.csv", "depends_on": "asset.csv"},
    "signal_timing_plan": {"timing_plan_id": "is empty", "controller_id": "signal_controller.csv"},
    "signal_timing_phase": {"timing_phase_id": "is empty", "timing_plan_id": "signal_timing_plan.csv"},
    "signal_phase_mvmt": {"timing_phase_id": "signal_timing_phase.csv", "mvmt_id": "movement.csv"},
    "demand": {"o_zone_id": "zones of the network", "d_zone_id": "zones of the network"},
    "trips": {"trip_id": "is empty", "from_node_id": "node.csv", "to_node_id": "node.csv", "link_ids": "link.csv"},
    "densities": {"link_id": "link.csv"},
}
OPTIONAL = {("sensor", "link_id"), ("asset", "node_id"), ("signal_phase_mvmt", "mvmt_id"), ("trips", "link_ids")}
CELLS = [(table, column) for table, columns in IDS.items() for column in columns]


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_an_id_that_is_empty_or_unknown_is_named_with_where_it_should_be(folder: Path, table: str, column: str) -> None:
    path, rule = folder / f"{table}.csv", IDS[table][column]
    before = path.read_bytes()
    if rule != "is empty":
        change(path, column, "Q9")
        told = [fault for fault in faults(folder, trips=table == "trips") if fault.startswith(f"{table}.csv: line 2:")]
        assert any("'Q9'" in fault and rule in fault for fault in told), told
    path.write_bytes(before)
    if (table, column) not in OPTIONAL | {("zone", "zone_id")}:  # a row of blanks is no row
        change(path, column, "  ")
        told = [fault for fault in faults(folder, trips=table == "trips") if fault.startswith(f"{table}.csv: line 2:")]
        assert told, "an empty id is not told"


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("node", "node_id"), ("link", "link_id"), ("movement", "mvmt_id"), ("zone", "zone_id")),
        *(("asset", "asset_id"), ("signal_timing_phase", "timing_phase_id"), ("trips", "trip_id")),
        ("densities", "link_id"),
    ],
)
def test_an_id_that_stands_twice_is_named_with_both_lines(folder: Path, table: str, column: str) -> None:
    path = folder / f"{table}.csv"
    first = next(csv.DictReader(path.read_text("utf-8").splitlines()))[column]
    change(path, column, first, row=1)
    assert any(
        fault.startswith(f"{table}.csv: line 3:") and "stands twice, first on line 2" in fault
        for fault in faults(folder, trips=table == "trips")
    )


REQUIRED = {
    "node": ("node_id", "x_coord", "y_coord"),
    "link": ("link_id", "from_node_id", "to_node_id"),
    "movement": ("node_id", "ib_link_id", "ob_link_id"),
    "zone_node": ("zone_id", "node_id"),
    "demand": ("o_zone_id", "d_zone_id", "volume", "start_s", "end_s"),
    "trips": ("trip_id", "depart_s"),
    "densities": ("link_id", "density_veh_km"),
}


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, columns in REQUIRED.items() for c in columns])
def test_a_missing_column_is_the_one_fault_that_is_told(folder: Path, table: str, column: str) -> None:
    change(folder / f"{table}.csv", column, None)
    told = faults(folder, trips=table == "trips")
    assert f"{table}.csv: has no column {column!r}" in told[0]
    assert len(told) == 1 + told[1:].count(told[0]), f"rows of other tables are blamed for it: {told}"


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "blank lines": lambda _: b"\n\n\n",
    "binary": lambda _: bytes(range(256)),
    "latin-1": lambda data: data.replace(b"\n", b",\xe9\n", 1),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "zero bytes": lambda data: data.replace(b"\n", b"\0\n"),
    "an open quote": lambda data: data + b'"abc',
    "semicolons": lambda data: data.replace(b",", b";"),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("table", ["node", "link", "movement", "zone_node", "demand", "trips", "densities"])
def test_a_file_that_is_no_table_is_one_fault_and_no_row_of_another_is_blamed(
    folder: Path, table: str, how: str
) -> None:
    path = folder / f"{table}.csv"
    path.write_bytes(BROKEN[how](path.read_bytes()))
    told = faults(folder, trips=table == "trips")
    assert len(told) == 1, told
    assert told[0].startswith(f"{table}.csv: ")


@pytest.mark.parametrize("name", ["node.csv", "link.csv", "movement.csv", "demand.csv", "s.toml", "densities.csv"])
def test_a_folder_or_a_dangling_link_in_place_of_a_file_is_told_never_passed_over(folder: Path, name: str) -> None:
    for make in (lambda path: path.mkdir(), lambda path: path.symlink_to(path.parent / "nowhere")):
        path = folder / name
        path.unlink() if path.is_symlink() or path.is_file() else path.rmdir() if path.is_dir() else None
        make(path)
        told = faults(folder)
        assert any(name in fault and "cannot be read" in fault for fault in told), told


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_marks_line_ends_column_orders_extra_columns_and_blanks_are_fine(
    folder: Path, ending: str, mark: bytes
) -> None:
    plain = Inputs.read(folder, scenarios=[folder / "s.toml"], densities=folder / "densities.csv")
    for path in folder.iterdir():
        text = path.read_text("utf-8")
        if path.suffix == ".csv":
            rows = [
                ["extra, column", *(f" {cell} " for cell in reversed(row))] for row in csv.reader(text.splitlines())
            ]
            lines = [",".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows]
            text = "\n".join([*lines[:2], "", *lines[2:]]) + "\n"
        path.write_bytes(mark + text.replace("\n", ending).encode())
    again = Inputs.read(folder, scenarios=[folder / "s.toml"], densities=folder / "densities.csv")
    assert again.network.sha256 == plain.network.sha256
    assert again.demand.sha256() == plain.demand.sha256()
    assert again.scenario == plain.scenario
    assert again.densities == plain.densities


SCENARIO_FAULTS = {
    '[[close]]\nlinks = ["Q9"]': "[[close]] 1: link 'Q9' is not in link.csv",
    '[[close]]\nlinks = "MC"': "links is 'MC', must be a list of ids",
    '[[close]]\nlinks = ["MC"]\nfrom_s = -1': "from_s is -1, must be a number >= 0",
    '[[close]]\nlinks = ["MC"]\nfrom_s = nan': "from_s is nan, must be a number >= 0",
    '[[close]]\nlinks = ["MC"]\nuntil_s = inf': "until_s is inf, must be a number >= 0",
    '[[close]]\nlinks = ["MC"]\nfrom_s = 9\nuntil_s = 9': "until_s is 9, must be > from_s",
    '[[close]]\nlinks = ["MC"]\nreroute = 1': "reroute is 1, must be true or false",
    '[[incident]]\nlink = "AM"\nposition_m = 2000\nlanes_blocked = 1': "position_m is 2000, link AM is 1000 m long",
    '[[incident]]\nlink = "AM"\nposition_m = 20\nlanes_blocked = 3': "lanes_blocked is 3, link AM has 2 lanes",
    '[[incident]]\nlink = "AM"\nlanes_blocked = 1': "position_m is missing, must be a number >= 0",
    '[[capacity]]\nlinks = ["MC"]\nfactor = "half"': "factor is 'half', must be a number >= 0",
    '[[speed_limit]]\nlinks = ["MC"]\nspeed_kmh = 0': "speed_kmh is 0, must be a number > 0",
    '[[demand]]\nfactor = 2\norigins = ["north"]': "zone 'north' is not a zone of the network",
    '[[signal]]\nnode = "Q9"\ncycle_s = 60\n[[signal.stage]]\ngreen_s = 5\nmovements = []': "node 'Q9' is not in",
    '[[signal]]\nnode = "M"\ncycle_s = 60': "has no stage, at least one [[signal.stage]] is needed",
    '[[signal]]\nnode = "M"\ncycle_s = 6\n[[signal.stage]]\ngreen_s = 9\nmovements = []': "must be at least as long",
    '[[asset_failure]]\nasset = "Q9"': "asset 'Q9' is not in asset.csv",
    '[routing]\nupdate = "never"': "update is 'never', must be fixed, departure, periodic, logit or equilibrium",
    "[routing]\ninterval_s = 1e-9": "interval_s is 1e-09, must be a number >= 1",
    "[routing]\nshare = 1.5": "share is 1.5, must be at most 1",
    "[close]\nlinks = []": "close must be written as [[close]]",
    "[[clsoe]]\nlinks = []": "unknown key 'clsoe', the nearest valid one is 'close'",
    "name = ": "is not TOML",
    "name = 1\nname = 2": "is not TOML",
}


@pytest.mark.parametrize("text", SCENARIO_FAULTS)
def test_a_fault_of_a_scenario_is_named_with_its_file(folder: Path, text: str) -> None:
    (folder / "s.toml").write_text(text, "utf-8")
    told = faults(folder)
    assert any(fault.startswith("s.toml: ") and SCENARIO_FAULTS[text] in fault for fault in told), told


def test_faults_of_all_files_are_one_report_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder / "link.csv", "length", "-3")
    change(folder / "node.csv", "x_coord", "east", row=2)
    change(folder / "movement.csv", "ob_link_id", "Q1")
    change(folder / "demand.csv", "volume", "many")
    change(folder / "demand.csv", "o_zone_id", "Q2", row=1)
    change(folder / "densities.csv", "link_id", "Q3")
    one, two = folder / "one.toml", folder / "two.toml"
    one.write_text('[[close]]\nlinks = ["Q4"]\n', "utf-8")
    two.write_text('[[close]]\nlinsk = ["MC"]\n', "utf-8")
    out = tmp_path / "taken"
    out.write_text("a file", "utf-8")
    words = ["simulate", str(folder), "--scenario", str(one), "--scenario", str(two), "--out", str(out), "--json"]
    assert main([*words, "--densities", str(folder / "densities.csv")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert all(line.startswith("citytwin simulate: ") for line in lines)
    for part in (
        "link.csv: line 2: link AM: length is '-3', must be a number > 0",
        "node.csv: line 4: node C: x_coord is 'east', must be a number",
        "movement.csv: line 2: mvmt m0: ob_link_id 'Q1' is not in link.csv",
        "demand.csv: line 2: o_zone west: volume is 'many', must be a number >= 0",
        "demand.csv: line 3: o_zone Q2: o_zone_id 'Q2' is not in the zones of the network",
        "densities.csv: line 2: link Q3: link_id 'Q3' is not in link.csv",
        "one.toml: [[close]] 1: 'Q4' is not in link.csv",
        "two.toml: [[close]] 1: unknown key 'linsk', the nearest valid one is 'links'",
        "taken: is a file, name an empty or new folder",
    ):
        assert sum(part in line for line in lines) == 1, (part, lines)
    assert out.read_text("utf-8") == "a file"


@pytest.fixture
def island(folder: Path) -> Path:
    """Return the folder with a node to which no road leads."""
    for name, row in (("node", "X,120.05,30.05,"), ("zone", "isle"), ("zone_node", "isle,X,1")):
        with (folder / f"{name}.csv").open("a", encoding="utf-8") as file:
            file.write(f"{row}\n")
    return folder


def test_trips_without_a_way_are_told_with_the_faults_of_the_scenario(island: Path) -> None:
    (island / "trips.csv").write_text(
        "trip_id,depart_s,from_node_id,to_node_id,link_ids\nt1,0,D,X,\nt2,0,D,C,DM;MC\nt3,0,A,C,\n", "utf-8"
    )
    (island / "s.toml").write_text('[[close]]\nlinks = ["Q9"]\n', "utf-8")
    with pytest.raises(InputError) as caught:
        Inputs.read(island, trips=island / "trips.csv", scenarios=[island / "s.toml"])
    assert caught.value.faults == (
        "s.toml: [[close]] 1: link 'Q9' is not in link.csv",
        "trips.csv: line 3: trip t2: link_ids: DM > MC is not an allowed movement",
        "trips.csv: line 2: trip t1: no path from node D to node X, add a link or movement, "
        "or leave them out with --allow-unreachable",
    )


def test_flows_without_a_way_are_told_by_row(island: Path) -> None:
    (island / "demand.csv").write_text(
        "o_zone_id,d_zone_id,volume,start_s,end_s\nwest,east,5,0,9\nwest,isle,8,0,9\n", "utf-8"
    )
    code, told = run(island)
    assert code == 2
    assert "demand.csv: line 3: demand row 2: west to isle: no path from node A to node X (8 vehicles)" in told


def run(folder: Path, *words: str) -> tuple[int, str]:
    """Return exit code and errors of a run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", "simulate", str(folder), "--horizon", "100", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sample-every", "1e-6"], "sample_every_s is 1e-06: links.csv would have"),
        (["--sample-every", "0"], "must be a number of seconds above 0, not 0"),
        (["--horizon", "nan"], "must be a number of seconds above 0, not nan"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--demand", "nowhere.csv"], "nowhere.csv: cannot be read: No such file or directory"),
        (["--start-state", "nowhere.npz"], "--start-state nowhere.npz: there is no such file"),
        (["--save-state", "nowhere/state.npz"], "--save-state nowhere/state.npz: its folder does not exist"),
        (["--od-every", "60"], "--od-every works with --out"),
        (["--repeat", "run.json"], "--repeat takes all inputs from run.json, leave out NETWORK, --horizon"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(
    folder: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["simulate", str(folder), "--horizon", "100", *words]
    try:
        code = main(given)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert told in capsys.readouterr().err


def test_a_demand_that_no_machine_holds_is_refused_at_once(folder: Path) -> None:
    change(folder / "demand.csv", "volume", "9e7")
    change(folder / "demand.csv", "volume", "9e7", row=1)
    assert any("has 1.8e+08 vehicles, a run holds at most 1e+08" in fault for fault in faults(folder))
    change(folder / "demand.csv", "volume", "9e7")
    change(folder / "demand.csv", "volume", "1", row=1)
    (folder / "s.toml").write_text("[[demand]]\nfactor = 1000\n", "utf-8")
    inputs = Inputs.read(folder, scenarios=[folder / "s.toml"])
    with pytest.raises(InputError, match="a run holds at most"):
        inputs.demand.trips(inputs.scenario.demand)


def test_two_files_that_plan_one_signal_contradict_each_other(folder: Path) -> None:
    text = '[[signal]]\nnode = "M"\ncycle_s = 60\n[[signal.stage]]\ngreen_s = 30\nmovements = [["AM", "MC"]]\n'
    for name in ("one.toml", "two.toml"):
        (folder / name).write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        Inputs.read(folder, scenarios=[folder / "one.toml", folder / "two.toml"])
    assert caught.value.faults == ("two.toml: [[signal]]: node 'M' has a plan in one.toml already, a node has one",)


# --- where results go ---------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(folder: Path) -> list[str]:
    return ["simulate", str(folder), "--horizon", "300", "--json"]


def test_a_path_through_a_file_and_a_folder_nobody_may_write_are_refused_before_the_run(
    quiet: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    assert main([*quiet, "--out", str(tmp_path / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    if Path("/proc").is_dir():
        assert main([*quiet, "--out", "/proc/citytwin/out"]) == 2
        assert "cannot be written" in capsys.readouterr().err


def test_an_older_result_is_replaced_as_a_whole(quiet: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*quiet, "--out", str(out), "--od-every", "60"]) == 0
    assert (out / "od.csv").is_file()
    assert main([*quiet, "--out", str(out), "--seed", "2"]) == 0
    assert not (out / "od.csv").exists()
    assert '"seed": 2' in (out / "summary.json").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_folder_one_stands_in_is_filled_and_stays_the_same_folder(
    quiet: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    for _ in range(2):
        assert main([*quiet, "--out", "."]) == 0
        names = sorted(path.name for path in Path().iterdir())
        assert names == ["detectors.csv", "links.csv", "run.json", "summary.json", "trips.csv"]


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_full_disk_leaves_an_older_result_as_it_was(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(folder, "--out", str(out))[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200));"
        "from hub.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["simulate", str(folder), "--horizon", "300", "--seed", "9"]
    for more in (["--out", str(out)], ["--out", str(tmp_path / "new")], ["--save-state", str(tmp_path / "s.npz")]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words, *more],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 1, done.stderr
        assert "cannot be written: File too large, check" in done.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net", "out"]


def test_every_kind_of_file_is_covered_by_a_test_of_its_numbers_or_ids() -> None:
    tables = {*TABLES, *timing_rows([SignalPlan("M", 60.0, STAGES)], MOVEMENT_IDS), "demand", "trips", "densities"}
    assert tables - {"signal_controller"} == set(itertools.chain(NUMBERS, IDS)) & tables
