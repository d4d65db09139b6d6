"""A run that is saved and taken up again is the run that was never interrupted."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import workload
from hub.cli import main
from sensors import InputError
from simulation import Demand, Flow, Scenario, Simulation, simulate
from simulation.fixed_routes import FixedRoutes
from simulation.saved import pack, restored, unpack
from simulation.street import VEHICLE
from twin import Network
from twin.generate import generate

ROOT = Path(__file__).parents[2]

# Things that begin, last and end before, at and after 1000 s; some of them at one instant.
EVENTS = """
[[close]]
links = ["{0}"]
from_s = 500
until_s = 1000
reroute = true
[[close]]
links = ["{0}", "{1}"]
from_s = 1000
until_s = 1500
[[incident]]
link = "{2}"
position_m = 40
lanes_blocked = 1
from_s = 0
until_s = 1700
[[incident]]
link = "{2}"
position_m = 60
lanes_blocked = 1
from_s = 1100.1
until_s = 1300.7
[[capacity]]
links = ["{3}"]
factor = 0.4
from_s = 300
[[capacity]]
links = ["{3}"]
factor = 0
from_s = 900
until_s = 1200
[[speed_limit]]
links = ["{4}"]
speed_kmh = 20
from_s = 100
until_s = 1000
[[demand]]
factor = 1.5
from_s = 800
until_s = 1400
[[asset_failure]]
asset = "{5}"
from_s = 700
until_s = 1600
[routing]
update = "periodic"
interval_s = 130.3
share = 0.5
"""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a city with signals and a scenario of everything that can be under way."""
    network = Network.from_tables(generate(seed=3, junctions=60))
    folder = tmp_path_factory.mktemp("saved") / "city"
    network.write(folder)
    flows = Demand.gravity(network).flows
    rows = [f"{f.origin},{f.destination},{f.volume},0,1800" for f in flows]
    names = dict.fromkeys(f.origin for f in flows)
    (folder / "demand.csv").write_text("o_zone_id,d_zone_id,volume,start_s,end_s\n" + "\n".join(rows) + "\n", "utf-8")
    assert names.keys() <= network.zones.keys()
    ids = network.compile().link_ids
    lanes = network.compile().lanes
    wide = next(k for k in range(20, len(ids)) if lanes[k] >= 2 and network.compile().length[k] > 80)
    signal = next(a.asset_id for a in network.assets.assets.values() if a.node_id in network.signals)
    text = EVENTS.format(ids[5], ids[12], ids[wide], ids[40], ids[50], signal)
    (folder / "events.toml").write_text(text, "utf-8")
    return folder


def test_two_halves_in_two_processes_are_the_bytes_of_one_run(city: Path, tmp_path: Path) -> None:
    words = [str(city), "--scenario", str(city / "events.toml"), "--seed", "4", "--sample-every", "50"]

    def run(*more: str) -> None:
        command = [sys.executable, "-m", "hub.cli", "simulate", *words, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    state = str(tmp_path / "state.npz")
    run("--horizon", "2000", "--out", str(tmp_path / "whole"))
    run("--horizon", "1000", "--out", str(tmp_path / "first"), "--save-state", state)
    run("--horizon", "2000", "--out", str(tmp_path / "second"), "--start-state", state)
    whole, first, second = (
        {p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("whole", "first", "second")
    )
    assert second["trips.csv"] == whole["trips.csv"]
    assert second["summary.json"] == whole["summary.json"]
    for name in ("links.csv", "detectors.csv"):
        header = whole[name].split(b"\n", 1)[0] + b"\n"
        assert first[name] + second[name].removeprefix(header) == whole[name]


@pytest.mark.parametrize("moments", [[60.0], [777.7], [130.3, 131.0], [999.9999, 1000.0, 1000.0001], [1100.1, 1300.7]])
def test_a_run_may_be_saved_at_any_moment_and_more_than_once(city: Path, tmp_path: Path, moments: list[float]) -> None:
    network = Network.read(city)
    demand, scenario = Demand.read(network), Scenario.read(city / "events.toml")
    straight = Simulation(network, demand, scenario=scenario, seed=1)
    straight.advance(1800)
    halting = Simulation(network, demand, scenario=scenario, seed=1)
    for moment in moments:
        halting.advance(moment)
        halting.save(tmp_path / "state.npz")
        halting = Simulation.load(tmp_path / "state.npz", network, demand, scenario=scenario, seed=1)
        assert halting.time_s == moment
    halting.advance(1800)
    assert halting.counts() == straight.counts()
    for name in ("depart", "enter", "arrive", "distance", "free_time"):
        assert halting.traffic.vehicle[name].tobytes() == straight.traffic.vehicle[name].tobytes(), name
    assert halting.cumulative().vehicle_seconds.tobytes() == straight.cumulative().vehicle_seconds.tobytes()
    assert halting.traffic.exit["stops"].tolist() == straight.traffic.exit["stops"].tolist()


def test_a_street_that_lives_for_days_is_taken_up_where_it_was(tmp_path: Path) -> None:
    network = Network.from_tables(generate(seed=3, junctions=60))
    demand = Demand.gravity(network)
    one = Simulation(network, demand, repeat_s=3600.0, start_s=3600.0, seed=2)
    one.advance(5000)
    incident = one.add_incident(one.city.link_ids[7], 30.0, 1)
    one.advance(5500)
    one.save(tmp_path / "state.npz")
    two = Simulation.load(tmp_path / "state.npz", network, demand, seed=2)
    for street in (one, two):
        street.advance(6000)
        street.remove_incident(incident)
        street.advance(9000)
    assert one.counts() == two.counts()
    assert one.cumulative().left.tolist() == two.cumulative().left.tolist()
    assert one.traffic.vehicle.tobytes() == two.traffic.vehicle.tobytes()


def test_saving_does_not_change_the_run_that_goes_on(network: Network, tmp_path: Path) -> None:
    demand = Demand.of_flows(network, [Flow("west", "east", 300, 0, 900)])
    saved, plain = Simulation(network, demand), Simulation(network, demand)
    for time in range(50, 1200, 50):
        saved.advance(time)
        saved.save(tmp_path / "state.npz")
    plain.advance(1150)
    assert saved.traffic.vehicle.tobytes() == plain.traffic.vehicle.tobytes()


def saved_state(network: Network, folder: Path) -> tuple[Demand, Path]:
    demand = Demand.of_flows(network, [Flow("west", "east", 300, 0, 900)])
    simulation = Simulation(network, demand, seed=3)
    simulation.advance(400)
    simulation.save(folder / "state.npz")
    return demand, folder / "state.npz"


def test_a_state_of_other_inputs_is_refused_with_each_difference(network: Network, tmp_path: Path) -> None:
    demand, state = saved_state(network, tmp_path)
    other = Demand.of_flows(network, [Flow("west", "east", 301, 0, 900)])
    with pytest.raises(InputError) as caught:
        Simulation.load(state, network, other, scenario=Scenario.parse('[[close]]\nlinks = ["MC"]'), seed=4)
    assert caught.value.faults == (
        f"{state}: was saved with another demand",
        f"{state}: was saved with another scenario",
        f"{state}: was saved with another seed: 3 there, 4 here",
    )
    with pytest.raises(InputError, match="horizon_s is 300, must be > 400"):
        simulate(network, demand, seed=3, horizon_s=300, state=state)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_torn_state_is_refused_in_one_sentence(network: Network, tmp_path: Path, share: float) -> None:
    demand, state = saved_state(network, tmp_path)
    data = state.read_bytes()
    state.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"state\.npz: (is torn, or no state that citytwin saved|cannot be read)"):
        Simulation.load(state, network, demand, seed=3)


def test_a_state_with_flipped_bits_is_refused(network: Network, tmp_path: Path) -> None:
    demand, state = saved_state(network, tmp_path)
    data = bytearray(state.read_bytes())
    rng = np.random.default_rng(1)
    refused = 0
    for place in rng.integers(0, len(data), 200).tolist():
        broken = bytearray(data)
        broken[place] ^= 0x55
        state.write_bytes(broken)
        try:
            simulation = Simulation.load(state, network, demand, seed=3)
        except InputError:
            refused += 1
        else:  # a name or a date of the archive, which nothing depends on
            simulation.advance(1000)
            assert simulation.counts().arrived > 0
    assert refused > 150


def test_another_archive_is_no_state(network: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, a=np.ones(3))
    with pytest.raises(InputError, match="is torn, or no state that citytwin saved"):
        Simulation.load(other, network, Demand.gravity(network))
    np.save(tmp_path / "plain.npy", np.ones(3))
    with pytest.raises(InputError, match="is torn, or no state"):
        Simulation.load(tmp_path / "plain.npy", network, Demand.gravity(network))
    network.write(tmp_path / "net")
    assert main(["simulate", str(tmp_path / "net"), "--start-state", str(other)]) == 2
    assert "other.npz: is torn" in capsys.readouterr().err


def test_a_run_with_processes_of_its_own_says_that_it_cannot_be_saved(network: Network, tmp_path: Path) -> None:
    def idle(env, simulation):
        yield env.timeout(10)

    simulation = Simulation(network, Demand.gravity(network), processes=[idle])
    simulation.advance(100)
    with pytest.raises(InputError, match="a run with processes of its own cannot be saved"):
        simulation.save(tmp_path / "state.npz")


def test_another_number_of_threads_goes_on_with_the_same_bytes(city: Path, tmp_path: Path) -> None:
    network = Network.read(city)
    demand, scenario = Demand.read(network), Scenario.read(city / "events.toml")
    one = Simulation(network, demand, scenario=scenario, threads=1)
    one.advance(900)
    one.save(tmp_path / "state.npz")
    one.advance(1800)
    for threads, window in ((1, 3.0), (2, None), (3, 0.7)):
        other = Simulation.load(
            tmp_path / "state.npz", network, demand, scenario=scenario, threads=threads, window_s=window
        )
        other.advance(1800)
        for name in ("depart", "enter", "arrive", "distance"):
            assert other.traffic.vehicle[name].tobytes() == one.traffic.vehicle[name].tobytes()


def test_given_routes_beyond_the_horizon_of_a_saved_run_are_driven_when_it_goes_on(tmp_path: Path) -> None:
    made = workload.with_routes(workload.grid(4, vehicles=900, period_s=900.0))
    assert made.routes is not None
    some = replace(made, routes=[route if k % 3 else [] for k, route in enumerate(made.routes)])
    city, demand = some.network, some.demand
    options = {"scenario": Scenario.parse('[routing]\nupdate = "periodic"\ninterval_s = 120\nshare = 0.5\n')}
    whole = simulate(city, demand, horizon_s=1800, **options)
    for half in (50.0, 333.0, 800.0):
        simulate(city, demand, horizon_s=half, save_state=tmp_path / "state.npz", **options)
        rest = simulate(city, demand, horizon_s=1800, state=tmp_path / "state.npz", **options)
        assert rest.trips.arrive.tobytes() == whole.trips.arrive.tobytes()


def test_routes_given_to_a_run_are_in_no_file(network: Network, tmp_path: Path) -> None:
    simulation = Simulation(network, Demand.of_trips(network, [0.0, 5.0], ["A", "A"], ["C", "C"]))
    simulation.guidance.assign(FixedRoutes.of(2, {0: (0, 1)}))
    with pytest.raises(InputError, match="other routes than their demand's"):
        simulation.save(tmp_path / "state.npz")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner),
)


@given(plain)
def test_what_is_packed_is_unpacked_as_it_was(value: object) -> None:
    arrays: dict[str, np.ndarray] = {}
    assert repr(unpack(pack(value, "x", arrays), arrays)) == repr(value)


def test_what_cannot_be_packed_is_named() -> None:
    with pytest.raises(TypeError, match=r"x\.1 is a object, which a saved state cannot hold"):
        pack([1, object()], "x", {})


def test_records_keep_the_alignment_that_kernels_need() -> None:
    packed = np.zeros(3, np.dtype([(name, VEHICLE[name]) for name in VEHICLE.names]))
    made = restored(np.zeros(5, VEHICLE), packed, "vehicle", longer=True)
    assert made.dtype == VEHICLE
    assert made.dtype.isalignedstruct == VEHICLE.isalignedstruct
    assert len(made) == 5
    with pytest.raises(InputError, match="other columns than this version's"):
        restored(np.zeros(5, VEHICLE), np.zeros(3), "vehicle")
