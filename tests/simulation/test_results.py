"""What comes out of a run: files, tables, travel times, detectors; repeating it; watching and stopping it."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.cli import main
from sensors import InputError, Sensor
from simulation import Demand, Flow, Scenario, simulate
from simulation.detectors import Detectors
from simulation.progress import CancelError, Progress
from simulation.recipe import repetition
from simulation.simulation import Simulation
from simulation.table_text import Labels, write_rows
from twin import Network

ROOT = Path(__file__).parents[2]


EVERYTHING = """
name = "all"
[[close]]
links = ["MC"]
from_s = 600
until_s = 5400
reroute = true
[[incident]]
link = "AM"
position_m = 120
lanes_blocked = 0.5
[[capacity]]
links = ["MD", "MC"]
factor = 0.6
[[speed_limit]]
links = ["MD"]
speed_kmh = 20
[[lanes]]
links = ["MC"]
closed = 0.5
until_s = 90
[[emergency]]
from_node = "A"
to_node = "C"
depart_s = 30
[[demand]]
factor = 1.2
origins = ["west"]
[[signal]]
node = "M"
cycle_s = 90
offset_s = 10
[[signal.stage]]
green_s = 40
intergreen_s = 5
movements = [["AM", "MC"], ["CM", "MA"]]
[[signal.stage]]
green_s = 20
movements = [["AM", "MD"]]
permitted = [["CM", "MD"]]
[[signal]]
node = "Q"
control = "actuated"
gap_s = 2.5
[[signal]]
node = "R"
control = "webster"
[[signal.stage]]
movements = [["a", "b"]]
[[asset_failure]]
asset = "feeder"
from_s = 1
[routing]
update = "periodic"
share = 0.3
"""


def text_of(labels: Labels, values: np.ndarray) -> str:
    file = io.BytesIO()
    write_rows(file, labels, values)
    return file.getvalue().decode()


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.floats(-1e11, 1e11), min_size=1, max_size=30))
def test_a_number_is_written_to_a_millionth(values: list[float]) -> None:
    lines = text_of(Labels.of(["x"] * len(values)), np.array(values)[:, None]).splitlines()
    for value, line in zip(values, lines, strict=True):
        text = line.removeprefix("x,")
        # Half a millionth, and what doubles cannot tell: the product with a million is rounded by half its spacing, at
        # most one spacing of the value, and reading by half a spacing.
        assert abs(float(text) - value) <= 0.5e-6 + 1.5 * float(np.spacing(abs(value)))
        assert text == "0" or not text.endswith("0") or "." not in text
        assert "e" not in text
        assert text != "-0"


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), min_size=1))
def test_an_id_of_any_letters_is_read_back(ids: list[str]) -> None:
    text = text_of(Labels.of(ids), np.ones((len(ids), 1)))
    assert [row[0] for row in csv.reader(io.StringIO(text, newline=""))] == ids


def test_no_number_is_an_empty_cell() -> None:
    assert text_of(Labels.of(["a"]), np.array([[np.nan, 1e15, -0.0, 3e-7]])) == "a,,1000000000000000,0,0\n"


def test_travel_times_by_origin_destination_and_period_are_means_of_the_trips(network: Network) -> None:
    demand = Demand.of_flows(network, [Flow("west", "east", 60, 0, 600), Flow("east", "west", 30, 300, 900)])
    result = simulate(network, demand, horizon_s=700)
    od, trips = result.od(300), result.trips.to_pandas()
    assert od.vehicles.sum() == len(trips)
    assert od.arrived.sum() == result.summary()["vehicles"]["arrived"]
    assert list(zip(od.origin, od.destination, od.start.tolist(), strict=True)) == [
        ("west", "east", 0.0),
        ("west", "east", 300.0),
        ("east", "west", 300.0),
        ("east", "west", 600.0),
    ]
    chosen = trips[(trips.origin == "west") & (trips.depart_s >= 300) & trips.arrive_s.notna()]
    assert od.travel_time[1] == pytest.approx((chosen.arrive_s - chosen.depart_s).mean())
    assert od.delay[1] == pytest.approx(chosen.delay_s.mean())
    assert len(result.od()) == 2
    assert np.isnan(od.travel_time[3]) == (od.arrived[3] == 0)


def test_travel_times_of_single_trips_are_by_node(network: Network) -> None:
    result = simulate(network, Demand.of_trips(network, [0, 5, 9], ["A", "A", "C"], ["C", "C", "A"]))
    od = result.od()
    assert sorted(zip(od.origin, od.destination, od.vehicles.tolist(), strict=True)) == [("A", "C", 2), ("C", "A", 1)]


def test_cumulative_curves_begin_at_the_start_and_lie_a_link_length_apart(network: Network) -> None:
    result = simulate(network, Demand.of_flows(network, [Flow("west", "east", 50, 0, 500)]), sample_every_s=100)
    time, entered, left = result.links.curves("AM")
    assert time[0] == entered[0] == left[0] == 0
    assert (entered[1:6] - left[1:6] == 10).all()  # one vehicle every 10 s, 100 s on the link
    with pytest.raises(InputError, match="link 'XY' is not in the network"):
        result.links.curves("XY")


def sensing(network: Network) -> Network:
    rows = [
        {
            "sensor_id": "m,1",
            "quantities": "flow_veh_h;speed_kmh",
            "link_id": "AM",
            "position_m": 900,
            "interval_s": 60,
        },
        {"sensor_id": "m2", "quantities": "flow_veh_h", "link_id": "MC", "position_m": 10, "interval_s": 90},
        {"sensor_id": "air", "quantities": "pm25_ug_m3", "link_id": "MC", "position_m": 10, "interval_s": 60},
    ]
    return Network.from_tables({**{name: t.rows for name, t in network.tables.items() if len(t)}, "sensor": rows})


def test_detectors_of_the_network_are_read_at_their_intervals(network: Network, tmp_path: Path) -> None:
    with_sensors = sensing(network)
    demand = Demand.of_flows(with_sensors, [Flow("west", "east", 100, 0, 1000)])
    result = simulate(with_sensors, demand, horizon_s=600, sample_every_s=200)
    table = result.detectors
    assert table is not None
    assert table.sensor_ids == ("m,1", "m2")
    first, second = (table.sensor == k for k in (0, 1))
    assert table.until_s[first].tolist() == [60.0 * k for k in range(1, 11)]
    assert table.until_s[second].tolist() == [90.0 * k for k in range(1, 7)]
    assert table.count[first].sum() == result.links.left[-1, 0]  # sampled at 600 s as well
    assert table.flow[first][5] == pytest.approx(0.1)
    by_hand = Simulation(with_sensors, demand, until_s=600.0)
    detectors = Detectors(by_hand, [Sensor("m,1", link_id="AM", position_m=900, lanes=1)])
    for k in range(10):
        by_hand.advance(60.0 * (k + 1))
        assert detectors.read().speed[0] == pytest.approx(table.speed[first][k], nan_ok=True)
    result.write(tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "detectors.csv").read_text("utf-8").splitlines()))
    assert list(rows[0]) == ["sensor_id", "time_s", "count_veh", "flow_veh_h", "speed_kmh", "occupancy"]
    assert len(rows) == len(table) == 16
    assert {row["sensor_id"] for row in rows} == {"m,1", "m2"}


def test_a_network_without_detectors_gives_no_file_of_them(network: Network, tmp_path: Path) -> None:
    result = simulate(network, Demand.of_trips(network, [0.0], ["A"], ["C"]))
    assert result.detectors is None
    result.write(tmp_path / "out")
    assert not (tmp_path / "out" / "detectors.csv").exists()


def test_the_repr_says_what_happened(network: Network) -> None:
    demand = Demand.of_flows(network, [Flow("west", "east", 100, 0, 1000)])
    text = repr(simulate(network, demand, horizon_s=500, seed=3))
    assert text.startswith("Result of 500 s (seed 3): ")
    for part in ("of 51 vehicles arrived", "under way", "time spent", "of that delay", "distance", "link crossings"):
        assert part in text


def test_frames_hold_what_the_files_hold(folder: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    network = Network.read(folder)
    result = simulate(network, horizon_s=500)
    result.write(tmp_path / "out", od_period_s=250)
    for name, frame in (("links", result.links), ("trips", result.trips), ("od", result.od(250))):
        read = pandas.read_csv(tmp_path / "out" / f"{name}.csv", dtype={"link_id": str, "trip_id": str})
        made = frame.to_pandas()
        assert len(read) == len(made)
        for column in read.columns.intersection(made.columns):
            if pandas.api.types.is_numeric_dtype(read[column]):
                np.testing.assert_allclose(read[column], made[column].astype(float), atol=1e-6)
            else:
                assert read[column].astype(str).tolist() == made[column].astype(str).tolist()


def test_the_dataset_has_named_axes_and_units(network: Network) -> None:
    pytest.importorskip("xarray")
    result = simulate(network, Demand.of_trips(network, [0.0], ["A"], ["C"]), horizon_s=300)
    data = result.links.to_xarray()
    assert dict(data.sizes) == {"time": 5, "link": 6}
    assert data.speed.attrs["units"] == "m/s"
    assert float(data.entered.sel(link="AM", time=300.0)) == 1


def test_a_missing_library_is_told_with_the_extra_that_has_it(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = simulate(network, Demand.of_trips(network, [0.0], ["A"], ["C"]), horizon_s=300)
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r"needs pandas, which is not installed: pip install 'citytwin\[notebook\]'"):
        result.trips.to_pandas()
    with pytest.raises(InputError, match="needs xarray"):
        result.links.to_xarray()


# --- repeated -----------------------------------------------------------------------------------------------------


def test_a_scenario_written_as_toml_reads_back_the_same() -> None:
    scenario = Scenario.parse(EVERYTHING)
    assert Scenario.parse(scenario.to_toml()) == scenario
    odd = Scenario.parse('name = "a \\"b\\" \\\\ \\u007f 路"\n[[close]]\nlinks = ["x,\\"y"]\nreroute = true')
    assert Scenario.parse(odd.to_toml()) == odd
    assert Scenario.parse(Scenario().to_toml()) == Scenario()


def test_run_json_repeats_the_run_to_the_byte(folder: Path, tmp_path: Path) -> None:
    scenario = folder / "s.toml"
    scenario.write_text('name = "x"\n[[close]]\nlinks = ["MC"]\nfrom_s = 90\n[routing]\nupdate = "periodic"\n', "utf-8")
    densities = folder / "full.csv"
    densities.write_text("link_id,density_veh_km\nAM,20\n", "utf-8")
    words = ["--scenario", str(scenario), "--densities", str(densities), "--horizon", "900", "--seed", "5"]
    assert main(["simulate", str(folder), *words, "--sample-every", "45", "--out", str(tmp_path / "one")]) == 0
    scenario.unlink()  # run.json holds it
    densities.unlink()
    assert main(["simulate", "--repeat", str(tmp_path / "one" / "run.json"), "--out", str(tmp_path / "two")]) == 0
    for name in ("summary.json", "links.csv", "trips.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    one, two = (json.loads((tmp_path / name / "run.json").read_text("utf-8")) for name in ("one", "two"))
    for made in (one, two):
        del made["engine_wall_s"]
    assert one == two


def test_a_run_whose_inputs_have_changed_is_not_repeated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(folder), "--out", str(tmp_path / "one"), "--horizon", "100"]) == 0
    demand = folder / "demand.csv"
    demand.write_text(demand.read_text("utf-8").replace("100,", "101,", 1), "utf-8")
    recipe = tmp_path / "one" / "run.json"
    assert main(["simulate", "--repeat", str(recipe)]) == 2
    assert "the demand is no longer that of the run" in capsys.readouterr().err
    recipe.write_text("{}", "utf-8")
    assert main(["simulate", "--repeat", str(recipe)]) == 2
    assert "is no run.json of citytwin simulate" in capsys.readouterr().err


def test_a_run_of_things_made_in_memory_is_repeated_with_them(network: Network, tmp_path: Path) -> None:
    def patrol(env, simulation):
        yield env.timeout(30)
        simulation.add_incident("AM", 500, 1)

    demand = Demand.of_trips(network, [0.0, 9.0], ["A", "A"], ["C", "C"])
    one = simulate(network, demand, processes=[patrol], horizon_s=400)
    one.write(tmp_path / "out")
    recipe = tmp_path / "out" / "run.json"
    with pytest.raises(InputError, match="processes of its own"):
        repetition(recipe, network=network, demand=demand)
    with pytest.raises(InputError, match="its network was made in memory"):
        repetition(recipe, processes=[patrol])
    two = simulate(**repetition(recipe, network=network, demand=demand, processes=[patrol]))
    assert one.trips.arrive.tobytes() == two.trips.arrive.tobytes()


# --- watched and stopped ------------------------------------------------------------------------------------------


def test_progress_is_told_after_every_sample(network: Network) -> None:
    seen: list[Progress] = []
    demand = Demand.of_flows(network, [Flow("west", "east", 100, 0, 1000)])
    result = simulate(network, demand, horizon_s=600, progress=seen.append)
    assert [p.time_s for p in seen] == result.links.time.tolist()
    assert seen[-1] == Progress(600.0, 600.0, result.summary()["vehicles"]["arrived"], 61)


def test_a_run_ends_when_it_is_cancelled_or_its_watcher_raises(network: Network) -> None:
    demand = Demand.of_flows(network, [Flow("west", "east", 100, 0, 1000)])
    seen: list[Progress] = []
    with pytest.raises(CancelError, match="cancelled at 120 s"):
        simulate(network, demand, sample_every_s=60, progress=seen.append, cancelled=lambda: len(seen) >= 2)

    def bored(progress: Progress) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        simulate(network, demand, progress=bored)


SLOW = """
import sys
from simulation import simulate
import simulation
def slowly(*args, **more):
    def wait(progress):
        print("sampled", flush=True)
        import time
        time.sleep(0.2)
    return simulate(*args, **more, progress=wait)
simulation.simulate = slowly
from hub.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_says_one_line_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    words = ["simulate", str(folder), "--horizon", "90000", "--out", str(tmp_path / "out")]
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "sampled\n"
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert told == "citytwin simulate: cancelled, nothing was written\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net"]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_a_terminal_shows_a_bar_and_a_pipe_shows_nothing(folder: Path) -> None:
    import pty

    words = [sys.executable, "-m", "hub.cli", "simulate", str(folder), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [*words, "--horizon", "60000", "--sample-every", "1"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=ROOT,
    )
    os.close(theirs)
    shown = b""
    begin = time.monotonic()
    while b"arrived" not in shown and time.monotonic() - begin < 120:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the child has closed its end
            break
    child.kill()
    child.communicate()
    os.close(ours)
    assert b"of 140 arrived" in shown
