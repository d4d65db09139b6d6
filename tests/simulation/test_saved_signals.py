"""Signals that answer, emergency vehicles and failures are taken up from a file in the middle of what they do."""

from pathlib import Path

import numpy as np
import pytest

from simulation import Demand, Scenario, Simulation, simulate
from simulation.saved import pack
from twin import Network
from twin.generate import generate

END_S = 900.0


class Town:
    """A small town with a scenario in which every kind of signal control, priority and failure is under way."""

    def __init__(self) -> None:

        self.network = Network.from_tables(generate(seed=3, junctions=60))
        signals = sorted(self.network.signals)
        assert len(signals) >= 4
        kinds = ('"actuated"', '"max_pressure"\nslot_s = 20', '"webster"\ninterval_s = 120')
        controls = [
            f'[[signal]]\nnode = "{name}"\ncontrol = {kinds[k % 3]}\n' for k, name in enumerate(signals) if k % 4 < 3
        ]
        self.feeder, self.battery_s = self._bridged()
        self.scenario = Scenario.parse(
            "".join(controls)
            + "".join(
                f'[[emergency]]\nfrom_node = "{a}"\nto_node = "{b}"\nlinks = {links}\ndepart_s = {at}\nlead_s = 60\n'
                for (a, b, links), at in zip(self._ways(signals[0]), (200, 202.5, 215), strict=True)
            )
            + f'[[asset_failure]]\nasset = "{self.feeder}"\nfrom_s = 300\nuntil_s = {300 + self.battery_s + 100}\n'
            + '[routing]\nupdate = "periodic"\ninterval_s = 120\nshare = 0.5\n'
        )
        self.demand = Demand.gravity(self.network)

    def _bridged(self) -> tuple[str, float]:
        """Return an asset on which a signal depends by a battery, and how long the battery lasts."""
        graph = self.network.assets
        for need in graph.dependencies:
            if need.kind == "power" and 0 < need.autonomy_s < 400:
                return need.depends_on, need.autonomy_s
        need = next(need for need in graph.dependencies if need.kind == "power")
        return need.depends_on, need.autonomy_s

    def _ways(self, node_id: str) -> list[tuple[str, str, str]]:
        """Return three ways through a signal: from, to, and the links as TOML writes them."""
        city, found = self.network.compile(), []
        node = city.node_ids.index(node_id)
        for link in city.in_link[city.in_start[node] : city.in_start[node + 1]].tolist():
            out = int(city.movement_out[city.movement_start[link]])
            names = f'["{city.link_ids[link]}", "{city.link_ids[out]}"]'
            found.append((city.node_ids[city.from_node[link]], city.node_ids[city.to_node[out]], names))
        return [found[k % len(found)] for k in range(3)]

    def begin(self) -> Simulation:
        return Simulation(self.network, self.demand, scenario=self.scenario, seed=1)


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


@pytest.fixture(scope="module")
def straight(town: Town) -> Simulation:
    simulation = town.begin()
    simulation.advance(END_S)
    return simulation


def packed(simulation: Simulation) -> tuple[object, dict[str, bytes]]:
    """Return what is still to happen, bit by bit and in its order."""
    arrays: dict[str, np.ndarray] = {}
    plain = pack(simulation.agenda.state(), "agenda", arrays)
    return plain, {name: array.tobytes() for name, array in arrays.items()}


def assert_same(one: Simulation, other: Simulation) -> None:
    assert one.counts() == other.counts()
    for name in ("depart", "enter", "arrive", "distance", "free_time"):
        assert one.traffic.vehicle[name].tobytes() == other.traffic.vehicle[name].tobytes(), name
    assert one.cumulative().vehicle_seconds.tobytes() == other.cumulative().vehicle_seconds.tobytes()
    assert packed(one) == packed(other)
    for name in ("cycle", "offset"):
        assert one.roads.node[name].tobytes() == other.roads.node[name].tobytes()


def test_what_is_under_way_when_it_is_saved(town: Town, straight: Simulation) -> None:
    simulation = town.begin()
    seen = set()
    for time in np.arange(1.0, END_S, 1.7).tolist():
        simulation.advance(time)
        seen |= {memory[0] for _, _, memory in simulation.agenda.state() if memory and isinstance(memory[0], str)}
        seen |= {memory[1] for _, _, memory in simulation.agenda.state() if memory and isinstance(memory[0], tuple)}
        seen |= {f"held {len(s.held)}" for s in simulation.lights._signals.values()}
        seen |= {"failed" for s in simulation.lights._signals.values() if s.failures}
    # The moments at which the tests below save pass through all of these.
    assert {"green", "red", "look", "release", "begin", "end", "held 1", "held 2", "failed"} <= seen


@pytest.mark.parametrize("step", [7.3, 30.0, 61.0, 333.3])
def test_a_run_that_is_saved_again_and_again_is_the_run_without_a_break(
    town: Town, straight: Simulation, tmp_path: Path, step: float
) -> None:
    simulation, file = town.begin(), tmp_path / "state.npz"
    for time in np.arange(step, END_S, step).tolist():
        simulation.advance(time)
        simulation.save(file)
        simulation = Simulation.load(file, town.network, town.demand, scenario=town.scenario, seed=1)
    simulation.advance(END_S)
    assert_same(simulation, straight)


def test_a_run_saved_at_each_of_its_own_instants_is_the_run_without_a_break(
    town: Town, straight: Simulation, tmp_path: Path
) -> None:
    simulation, file = town.begin(), tmp_path / "state.npz"
    for round_ in range(40):  # just before what is due next, whatever it is: nothing of that instant is done
        simulation.advance(195.0 + 5.0 * round_)
        simulation.advance(min(at for at, _, _ in simulation.agenda.state()))
        simulation.save(file)
        simulation = Simulation.load(file, town.network, town.demand, scenario=town.scenario, seed=1)
    simulation.advance(END_S)
    assert_same(simulation, straight)


def test_a_run_saved_before_it_began_begins(town: Town, straight: Simulation, tmp_path: Path) -> None:
    town.begin().save(tmp_path / "state.npz")
    simulation = Simulation.load(tmp_path / "state.npz", town.network, town.demand, scenario=town.scenario, seed=1)
    simulation.advance(END_S)
    assert_same(simulation, straight)


def test_halves_made_by_simulate_have_the_trips_of_the_whole(town: Town, tmp_path: Path) -> None:
    options = {"scenario": town.scenario, "seed": 1, "sample_every_s": 30.0}
    whole = simulate(town.network, town.demand, horizon_s=END_S, **options)
    for half in (206.0, 240.0, 420.0):
        simulate(town.network, town.demand, horizon_s=half, save_state=tmp_path / "state.npz", **options)
        rest = simulate(town.network, town.demand, horizon_s=END_S, state=tmp_path / "state.npz", **options)
        assert rest.trips.arrive.tobytes() == whole.trips.arrive.tobytes()
        summaries = [{**result.summary(), "engine_wall_s": 0} for result in (rest, whole)]
        assert summaries[0] == summaries[1]
