"""A street that is full at the start: how many vehicles, where they stand, where they go, and what becomes of them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.cli import main
from sensors import InputError
from simulation import Demand, Flow, Scenario, Simulation, simulate
from twin import Network
from twin.generate import generate


def road(length: float = 1000, **more: object) -> Network:
    """Return one road A > B > C: free speed 10 m/s, wave speed 5 m/s, jam density 0.15 veh/m, capacity 0.5 veh/s."""
    return Network.from_tables(
        {
            "node": [{"node_id": n, "x_coord": 120 + k / 100, "y_coord": 30.0} for k, n in enumerate("ABC")],
            "link": [
                {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": length}
                | more
                for a, b in ("AB", "BC")
            ],
            "zone_node": [{"zone_id": n, "node_id": n, "share": 1} for n in "AC"],
        }
    )


def nobody(network: Network) -> Demand:
    return Demand.of_flows(network, [Flow("A", "C", 0, 0, 100)])


def test_free_flow_is_spread_evenly_and_arrives_at_the_free_speed() -> None:
    network = road()
    result = simulate(network, nobody(network), densities={"AB": 0.02}, sample_every_s=10)
    assert len(result.trips) == 20
    assert result.trips.ids[0] == "start-1"
    # Vehicle j from the stop line stands (j + 1/2) 50 m before it and has 1000 m of BC to go: 10 m/s, no delay.
    assert np.sort(result.trips.arrive) == pytest.approx((np.arange(20) + 0.5) * 5 + 100)
    assert result.trips.delay == pytest.approx(np.zeros(20), abs=1e-6)
    assert result.summary()["total_delay_s"] == pytest.approx(0, abs=1e-6)
    assert result.summary()["link_crossings"] == 20  # each enters BC
    # Distance driven: what was left of AB, and BC.
    assert result.summary()["total_distance_m"] == pytest.approx(sum((j + 0.5) * 50 + 1000 for j in range(20)))
    assert np.sort(result.trips.distance)[0] == pytest.approx(1025)


def test_above_the_critical_density_a_queue_stands_before_the_line_and_leaves_at_capacity() -> None:
    network = road()
    result = simulate(network, nobody(network), densities={"AB": 0.1}, sample_every_s=10)
    # k_c = 0.05: queue on L (0.1 - 0.05) / (0.15 - 0.05) = 500 m with 75 vehicles at jam density, 25 moving behind it.
    leave = np.sort(result.trips.arrive) - 100
    assert len(leave) == 100
    assert leave == pytest.approx(np.arange(100) * 2.0)  # one every 2 s from the first instant on
    first = result.links.curves("AB")
    assert first[2][1] == 5  # left at 0, 2, 4, 6, 8 s


def test_a_jam_takes_new_vehicles_only_when_its_holes_have_come_back() -> None:
    network = road()
    demand = Demand.of_flows(network, [Flow("A", "C", 1000, 0, 1000)])
    result = simulate(network, demand, densities={"AB": 0.15}, horizon_s=600, sample_every_s=10)
    entered = np.sort(result.trips.enter[150:])
    # The first hole leaves the line at 0 s and travels 1000 m at 5 m/s; then one every 2 s.
    assert entered[0] == pytest.approx(200, abs=2)
    assert np.diff(entered[:50]) == pytest.approx(2.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_every_link_is_within_one_vehicle_and_the_total_within_one_half(seed: int) -> None:
    network, demand = city()
    roads, rng = network.compile(), np.random.default_rng(seed)
    density = roads.jam_density * np.minimum(1.0, rng.exponential(0.2, roads.n_links))
    simulation = Simulation(network, demand, densities=dict(zip(roads.link_ids, density.tolist(), strict=True)))
    wanted = density * roads.length
    there = simulation.cumulative().on_link
    room = np.zeros(roads.n_links)  # turn pockets hold less than the whole link
    np.add.at(room, simulation.roads.part["link"][simulation.roads.queue["part"]], simulation.roads.queue["room"])
    fits = wanted <= room
    assert (np.abs(there - wanted) < 1)[fits].all()
    assert (there >= np.floor(room))[~fits].all()
    if abs(there.sum() - wanted.sum()) > 0.5 + 1e-6:
        assert not fits.all()
        assert any("have no room in the lanes" in note for note in simulation.notes)
    counts = simulation.counts()
    assert counts.on_links == there.sum()
    simulation.advance(900)
    after = simulation.counts()  # asserts that no vehicle is lost or made up
    assert after.demanded == after.arrived + after.on_links + after.waiting
    assert (np.asarray(simulation.cumulative().on_link) <= np.ceil(roads.jam_density * roads.length)).all()


_CITY: list[tuple[Network, Demand]] = []


def city() -> tuple[Network, Demand]:
    """Return a generated city with signals, lane groups and pockets, and its demand."""
    if not _CITY:
        network = Network.from_tables(generate(seed=3, junctions=60))
        _CITY.append((network, Demand.gravity(network)))
    return _CITY[0]


def fork() -> tuple[Network, Demand]:
    """Return a fork A > B > C or D, three quarters of whose demand goes to C, and an empty side road E > B."""
    network = Network.from_tables(
        {
            "node": [
                {"node_id": n, "x_coord": 120 + x / 100, "y_coord": 30 + y / 100}
                for n, x, y in (("A", 0, 0), ("B", 1, 0), ("C", 2, 0), ("D", 1, 1), ("E", 1, -1))
            ],
            "link": [
                {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": length}
                for a, b, length in (("A", "B", 1000), ("B", "C", 500), ("B", "D", 200), ("E", "B", 1000))
            ],
            "zone_node": [{"zone_id": n, "node_id": n, "share": 1} for n in "ACD"],
        }
    )
    return network, Demand.of_flows(network, [Flow("A", "C", 75, 0, 600), Flow("A", "D", 25, 0, 600)])


def test_destinations_are_those_of_the_demand_that_crosses_the_link_in_its_proportion() -> None:
    network, demand = fork()
    simulation = Simulation(network, demand, densities={"AB": 0.04, "EB": 0.01})
    names = np.array(simulation.city.node_ids)[simulation.trips.destination[: simulation.filled]]
    on_ab, on_eb = names[:40], names[40:]
    assert (on_ab == "C").sum() == pytest.approx(30, abs=1)
    assert (on_ab == "D").sum() == pytest.approx(10, abs=1)
    # Mixed along the link: in every eight vehicles there are some of each.
    assert all({"C", "D"} == set(on_ab[k : k + 8]) for k in range(0, 40, 8))
    # No route crosses EB: the nearest destination is D, 200 m behind the fork.
    assert (on_eb == "D").all()


def test_a_link_from_which_no_destination_is_reached_lets_its_vehicles_end_there() -> None:
    network, _ = fork()
    demand = Demand.of_flows(network, [Flow("A", "D", 10, 0, 100)])
    result = simulate(network, demand, densities={"BC": 0.02})
    assert result.summary()["vehicles"]["arrived"] == 20
    assert result.summary()["vehicles"]["on_links"] == 0


def test_only_the_demand_around_the_start_tells_where_vehicles_go() -> None:
    network, _ = fork()
    early, late = Flow("A", "C", 50, 0, 600), Flow("A", "D", 50, 40000, 40600)
    simulation = Simulation(network, Demand.of_flows(network, [early, late]), densities={"AB": 0.02})
    names = np.array(simulation.city.node_ids)[simulation.trips.destination[:20]]
    assert (names == "C").all()


def test_a_lane_that_is_full_hands_vehicles_to_the_other() -> None:
    network, demand = fork()
    tables = {name: table.rows for name, table in network.tables.items() if len(table)}
    tables["link"] = [{**row, "lanes": 2} if row["link_id"] == "AB" else row for row in tables["link"]]
    tables["movement"] = [
        {"mvmt_id": "1", "node_id": "B", "ib_link_id": "AB", "ob_link_id": "BC", "start_ib_lane": 1, "end_ib_lane": 1},
        {"mvmt_id": "2", "node_id": "B", "ib_link_id": "AB", "ob_link_id": "BD", "start_ib_lane": 2, "end_ib_lane": 2},
        {"mvmt_id": "3", "node_id": "B", "ib_link_id": "EB", "ob_link_id": "BC", "start_ib_lane": 1, "end_ib_lane": 1},
    ]
    wide = Network.from_tables(tables)
    simulation = Simulation(wide, Demand.of_flows(wide, demand.flows), densities={"AB": 0.3})
    assert simulation.cumulative().on_link.tolist() == [300, 0, 0, 0]
    names = np.array(simulation.city.node_ids)[simulation.trips.destination[:300]]
    assert (names == "C").sum() == 150  # the lane to C has room for no more
    simulation.advance(4000)
    assert simulation.counts().on_links == 0


def test_an_incident_cuts_a_full_link_without_changing_its_number() -> None:
    network = road()
    scenario = Scenario.parse('[[incident]]\nlink = "AB"\nposition_m = 400\nlanes_blocked = 1\nuntil_s = 500')
    simulation = Simulation(network, nobody(network), scenario=scenario, densities={"AB": 0.1})
    assert simulation.cumulative().on_link.tolist() == [100, 0]
    simulation.advance(499)
    # 400 m at density: the queue has 75 vehicles on 500 m, the other 100 m of the far part 5 moving, the near part 20.
    assert simulation.cumulative().left[0] == 80
    simulation.advance(2000)
    assert simulation.counts().arrived == 100


def test_a_living_street_starts_full_without_an_hour_before(tmp_path: Path) -> None:
    network, demand = city()
    roads = network.compile()
    densities = dict(zip(roads.link_ids, (0.1 * roads.jam_density).tolist(), strict=True))
    simulation = Simulation(network, demand, repeat_s=86400.0, start_s=30000.0, densities=densities)
    assert simulation.time_s == 30000.0
    assert simulation.counts().on_links == pytest.approx((0.1 * roads.jam_density * roads.length).sum(), abs=1)
    simulation.advance(30500.0)
    simulation.save(tmp_path / "state.npz")
    again = Simulation.load(tmp_path / "state.npz", network, demand)
    for street in (simulation, again):
        street.advance(32000.0)
    assert simulation.counts() == again.counts()


def test_the_command_reads_densities_and_refuses_what_no_road_holds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "full.csv"
    table.write_text("density_veh_km,link_id\n30,AM\n0,MC\n", "utf-8")
    assert main(["simulate", str(folder), "--densities", str(table), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "trips.csv").read_text("utf-8").splitlines()[1].startswith("start-1,0,0,")
    table.write_text("density_veh_km,link_id\n151,AM\n", "utf-8")
    assert main(["simulate", str(folder), "--densities", str(table)]) == 2
    told = capsys.readouterr().err
    assert "full.csv: line 2: link AM: density_veh_km is 151, must be 0 to the link's jam density, 150 over all" in told


def test_densities_made_in_memory_are_checked(network: Network) -> None:
    with pytest.raises(InputError) as caught:
        simulate(network, Demand.gravity(network), densities={"AM": 0.2, "Q9": 0.1, "MC": float("nan")})
    assert len(caught.value.faults) == 3
