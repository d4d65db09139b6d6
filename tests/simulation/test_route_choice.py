"""How drivers choose: logit shares, given routes, experienced times, closures; and what a scenario may say."""

import json
import re

import numpy as np
import pytest

from hub.cli import main
from sensors import InputError
from simulation import Demand, Recorder, Scenario, Simulation, routing, simulate
from simulation.fixed_routes import FORBIDDEN, LAST, FixedRoutes
from simulation.route_choice import choose, logit_shares
from twin import Network


def link(name, start, end, **more):
    row = {"link_id": name, "from_node_id": start, "to_node_id": end, "lanes": 10, "free_speed": 36, "length": 1000}
    return {**row, **more}


def network_of(*links):
    names = sorted({node for row in links for node in (row["from_node_id"], row["to_node_id"])})
    nodes = [{"node_id": n, "x_coord": 120 + k / 1000, "y_coord": 30 + k % 3 / 1000} for k, n in enumerate(names)]
    return Network.from_tables({"node": nodes, "link": list(links)})


@pytest.fixture(scope="module")
def fork():
    """Return three ways from O to D: 200, 220 and 250 s, none of which ever queues."""
    ways = (("A", 1000), ("B", 1200), ("C", 1500))
    return network_of(*(link(f"O{n}", "O", n, length=m) for n, m in ways), *(link(f"{n}D", n, "D") for n, _ in ways))


def crowd(network, n, headway=1.0):
    return Demand.of_trips(network, (headway * np.arange(n)).tolist(), ["O"] * n, ["D"] * n)


LOGIT = '[routing]\nupdate = "logit"\npaths = 3\ntheta = 0.02\n'


def test_logit_shares_are_those_of_the_formula(fork):
    n = 3000
    result = simulate(fork, crowd(fork, n), scenario=Scenario.parse(LOGIT), horizon_s=n + 300.0)
    taken = result.links.entered[-1][[result.links.position(name) for name in ("OA", "OB", "OC")]]
    weight = np.exp(-0.02 * np.array([200.0, 220.0, 250.0]))
    share = weight / weight.sum()
    # Each of n drivers draws on its own: binomial, four standard deviations.
    assert np.abs(taken - n * share).max() <= 4 * np.sqrt(n * share * (1 - share)).max()
    assert taken.sum() == n


def test_a_driver_draws_the_same_in_every_scenario(fork):
    def routes(text):
        simulation = Simulation(fork, crowd(fork, 500), scenario=Scenario.parse(LOGIT + text), seed=4)
        simulation.guidance.note_first_links()
        simulation.advance(600)
        return simulation.guidance.first_links

    usual = routes("")
    closed = routes('[[close]]\nlinks = ["OC"]')
    went_elsewhere = usual != closed
    ids = fork.compile().link_ids
    # Of those who did not take what is closed only such change as a wider share of the others makes; draws are shared.
    assert {ids[k] for k in closed.tolist()} == {"OA", "OB"}
    assert (usual[went_elsewhere & (closed == ids.index("OA"))] != ids.index("OA")).all()
    assert not (went_elsewhere & (usual == ids.index("OA"))).any()  # the cheapest comes first on every driver's scale
    assert routes("").tolist() == usual.tolist()


def test_the_larger_theta_the_more_take_the_shortest():
    cost = np.array([[100.0, 130.0, np.inf]])
    assert logit_shares(cost, 0.0).tolist() == [[0.5, 0.5, 0.0]]
    assert logit_shares(cost, 10.0)[0, 0] == pytest.approx(1.0)
    assert logit_shares(np.full((1, 2), np.inf), 1.0).tolist() == [[0.0, 0.0]]
    assert choose(np.array([[0.5, 0.5, 0.0]]), np.array([0.9999999999999999])).tolist() == [1]


def test_fixed_routes_keep_what_they_are_given(fork):
    routes = FixedRoutes.of(4, {1: (0, 3), 3: (2,)})
    assert dict(routes) == {1: (0, 3), 3: (2,)}
    assert dict(routes.take(np.array([3, 0, 1]))) == {0: (2,), 2: (0, 3)}
    assert dict(routes.replaced(np.array([0, 3]), FixedRoutes.of(2, {0: (5, 6, 7)}))) == {0: (5, 6, 7), 1: (0, 3)}
    with pytest.raises(KeyError):
        routes[0]
    city = fork.compile()
    ids = {name: k for k, name in enumerate(city.link_ids)}
    along = FixedRoutes.of(3, {0: (ids["OA"], ids["AD"]), 2: (ids["OA"], ids["BD"])}).movements(city)
    assert along[1] == along[3] == LAST
    assert along[2] == FORBIDDEN
    assert city.movement_out[along[0]] == ids["AD"]


def test_thousands_of_fixed_routes_are_followed(fork):
    n = 3000
    ways = [["OA", "AD"], ["OB", "BD"], ["OC", "CD"]]
    demand = Demand.of_trips(fork, [0.0] * n, ["O"] * n, ["D"] * n, link_ids=[ways[k % 3] for k in range(n)])
    result = simulate(fork, demand, scenario=Scenario.parse('[routing]\nupdate = "periodic"\ninterval_s = 60'))
    assert result.links.entered[-1].tolist() == [n // 3] * 6


BUSY = """
[routing]
update = "periodic"
interval_s = 60
share = 0.5
"""


def ladder(n):
    """Return two parallel streets with rungs, crossed by a stream that overloads the shorter one."""
    links = [link(f"s{k}", f"u{k}", f"u{k + 1}", lanes=1, length=400) for k in range(n)]
    links += [link(f"t{k}", f"v{k}", f"v{k + 1}", lanes=1, length=500) for k in range(n)]
    for k in range(n + 1):
        links += [link(f"d{k}", f"u{k}", f"v{k}", lanes=1, length=100), link(f"e{k}", f"v{k}", f"u{k}", length=100)]
    return network_of(*links)


def test_forgetting_what_lies_behind_changes_nothing():
    network = ladder(8)
    demand = Demand.of_trips(network, np.arange(400).tolist(), ["u0"] * 400, ["u8"] * 400)
    usual = Simulation(network, demand, scenario=Scenario.parse(BUSY))
    careful = Simulation(network, demand, scenario=Scenario.parse(BUSY))
    for time in range(30, 1500, 30):
        careful.advance(time)
        careful.guidance.forget_routes()
    usual.advance(2000)
    careful.advance(2000)
    assert usual.counts().arrived == 400
    for name in ("arrive", "distance"):
        assert usual.traffic.vehicle[name].tobytes() == careful.traffic.vehicle[name].tobytes()


@pytest.mark.parametrize("update", ["departure", "periodic", "logit"])
def test_threads_and_order_of_work_do_not_change_a_route(monkeypatch, update):
    monkeypatch.setattr(routing, "LITTLE", 0)  # so that threads are used
    network = ladder(8)
    demand = Demand.of_trips(network, np.arange(400).tolist(), ["u0"] * 400, ["u8"] * 400)
    scenario = Scenario.parse(f'[routing]\nupdate = "{update}"\ninterval_s = 60\n')
    arrived = [
        simulate(network, demand, scenario=scenario, threads=n, horizon_s=1500).trips.arrive.tobytes()
        for n in (1, 2, 4)
    ]
    assert arrived[0] == arrived[1] == arrived[2]


def test_who_has_a_closed_link_ahead_goes_round_when_asked_and_waits_otherwise():
    network = ladder(6)
    demand = Demand.of_trips(network, (2.0 * np.arange(100)).tolist(), ["u0"] * 100, ["u6"] * 100)
    text = '[routing]\nupdate = "fixed"\n[[close]]\nlinks = ["s4"]\nfrom_s = 100\nuntil_s = 2000\n'
    there = network.compile().link_ids.index("s4")
    waits = simulate(network, demand, scenario=Scenario.parse(text), horizon_s=1900)
    goes = simulate(network, demand, scenario=Scenario.parse(text + "reroute = true\n"), horizon_s=1900)
    before = int(goes.links.entered[goes.links.time <= 120][-1, there])
    assert goes.summary()["vehicles"]["arrived"] == 100
    assert goes.links.entered[-1, there] == waits.links.entered[-1, there] == before
    assert waits.summary()["vehicles"]["arrived"] < 100


def test_a_closed_link_is_taken_where_there_is_no_other_way(fork):
    network = network_of(link("OA", "O", "A"), link("AD", "A", "D"))
    result = simulate(
        network,
        crowd(network, 3),
        scenario=Scenario.parse('[[close]]\nlinks = ["AD"]\nuntil_s = 500\nreroute = true'),
    )
    assert result.trips.arrive[0] == pytest.approx(500 + 100)


def test_recorded_times_are_those_of_newells_curves(fork):
    # One vehicle every 3 s before a bottleneck of one every 4 s: the k-th is delayed by k seconds.
    network = network_of(link("OA", "O", "A", length=2000), link("AD", "A", "D", lanes=1, length=100, capacity=900))
    recorder = Recorder(step_s=60.0)
    simulate(network, crowd(network, 60, 3.0), scenario=Scenario(), processes=[recorder])
    times = recorder.times()
    entered = np.arange(0.0, 60 * 3.0, 3.0)
    k = [network.compile().link_ids.index(name) for name in ("OA", "AD")]
    for time in (30.0, 75.0, 130.0, 150.0):
        # Within a step vehicles count by their mean, and counts are whole: one headway.
        assert times.at(time)[k[0]] == pytest.approx(200 + time / 3.0, abs=4.0)
    assert times.at(250.0)[k[1]] == pytest.approx(10.0)
    along = times.arrivals(FixedRoutes.of(60, {n: tuple(k) for n in range(60)}), entered)
    assert along.mean() == pytest.approx((210 + 4.0 * np.arange(60)).mean(), abs=2.0)


def test_recorded_times_hold_closures_and_waiting_at_origins():
    network = network_of(
        link("OA", "O", "A"), link("AD", "A", "D", lanes=1, capacity=900), link("OD", "O", "D", length=9000)
    )
    text = '[routing]\nupdate = "fixed"\n[[close]]\nlinks = ["AD"]\nfrom_s = 300\nuntil_s = 900\n'
    recorder = Recorder(step_s=60.0)
    simulate(network, crowd(network, 10), scenario=Scenario.parse(text), processes=[recorder], horizon_s=1800)
    closed = network.compile().link_ids.index("AD")
    assert recorder.times().at(330.0)[closed] == pytest.approx(900 - 330 + 100, abs=60.0)  # a step
    assert recorder.times().at(1200.0)[closed] == pytest.approx(100.0)


def test_experienced_times_show_a_queue_that_is_not_there_yet():
    # The short way is free when they set off, but others will block it before they come.
    links = [
        link("OA", "O", "A", length=6000),
        link("AB", "A", "B", lanes=1, length=1000, capacity=720),
        link("BD", "B", "D"),
        link("OC", "O", "C", length=6000),
        link("CD", "C", "D", length=2600),
        link("XA", "X", "A", length=500),
    ]
    network = network_of(*links)
    depart = [0.0] * 20 + (300 + 1.0 * np.arange(300)).tolist()
    demand = Demand.of_trips(network, depart, ["O"] * 20 + ["X"] * 300, ["D"] * 20 + ["B"] * 300)
    assert demand.trips().depart[0] == 0.0
    text = '[routing]\nupdate = "departure"\ntimes = "{}"\n'
    kinds = ("instantaneous", "experienced")
    now, later = (simulate(network, demand, scenario=Scenario.parse(text.format(kind))) for kind in kinds)
    assert now.links.entered[-1, now.links.position("OA")] == 20
    assert later.links.entered[-1, now.links.position("OC")] == 20
    assert later.trips.arrive[:20].mean() < now.trips.arrive[:20].mean()


def test_logit_weighs_experienced_times_too(fork):
    scenario = Scenario.parse(LOGIT + 'times = "experienced"\n')
    n = 600
    result = simulate(fork, crowd(fork, n), scenario=scenario, horizon_s=1000)
    taken = result.links.entered[-1][[result.links.position(name) for name in ("OA", "OB", "OC")]]
    weight = np.exp(-0.02 * np.array([200.0, 220.0, 250.0]))  # nobody queues: free-flow times
    share = weight / weight.sum()
    assert np.abs(taken - n * share).max() <= 4 * np.sqrt(n * share * (1 - share)).max()


FAULTS = {
    'update = "never"': "update is 'never', must be fixed, departure, periodic, logit or equilibrium",
    "update = 3": "update is 3, must be fixed, departure, periodic, logit or equilibrium",
    'update = "logit"\npaths = 0': "paths is 0, must be a whole number from 1 to 20",
    'update = "logit"\npaths = 2.5': "paths is 2.5, must be a whole number from 1 to 20",
    'update = "logit"\ntheta = -1': "theta is -1, must be a number >= 0",
    "theta = 0.1": "theta says nothing with update 'departure', it belongs to logit",
    'update = "fixed"\ntimes = "felt"': "times says nothing with update 'fixed', it belongs to departure and logit",
    'times = "felt"': "times is 'felt', must be instantaneous or experienced",
    'update = "equilibrium"\niterations = 0': "iterations is 0, must be a whole number from 1 to 1000",
    'update = "equilibrium"\ngap = "small"': "gap is 'small', must be a number >= 0",
    "pats = 3": "unknown key 'pats', the nearest valid one is 'paths'",
}


@pytest.mark.parametrize("text", FAULTS)
def test_each_fault_of_routing_is_one_sentence(text):
    with pytest.raises(InputError) as error:
        Scenario.parse(f"[routing]\n{text}", "s.toml")
    assert f"s.toml: [routing]: {FAULTS[text]}" in error.value.faults


def test_an_equilibrium_tells_its_gap_run_by_run(tmp_path, capsys):
    links = [link("OA", "O", "A"), link("AD", "A", "D", lanes=1, capacity=900), link("OD", "O", "D", length=4000)]
    network = network_of(*links)
    network.write(tmp_path / "net")
    rows = "".join(f"{k},{2 * k},O,D\n" for k in range(300))
    (tmp_path / "net" / "trips.csv").write_text("trip_id,depart_s,from_node_id,to_node_id\n" + rows, "utf-8")
    (tmp_path / "s.toml").write_text('[routing]\nupdate = "equilibrium"\niterations = 4\ngap = 0.0\n', "utf-8")
    code = main(["simulate", str(tmp_path / "net"), "--scenario", str(tmp_path / "s.toml"), "--json"])
    told = capsys.readouterr()
    gaps = json.loads(told.out)["equilibrium"]["gap"]
    assert code == 0
    assert len(gaps) == 4
    assert gaps[-1] < gaps[0]
    assert re.findall(r"iteration (\d): relative gap ([\d.]+)%", told.err) == [
        (str(k), f"{100 * gap:.4f}") for k, gap in enumerate(gaps, 1)
    ]
