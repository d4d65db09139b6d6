"""Random demands on a grid of signals of every kind: nobody is lost, and neither pauses nor threads change anything."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulation import Demand, Scenario, Simulation
from twin import Network

SIZE = 4
INNER = [f"{x}{y}" for x in (1, 2) for y in (1, 2)]


def grid():
    places = {(x, y) for x in range(SIZE) for y in range(SIZE)} - {(x, y) for x in (0, SIZE - 1) for y in (0, SIZE - 1)}
    links = [
        (a, b)
        for a in sorted(places)
        for b in ((a[0] + 1, a[1]), (a[0] - 1, a[1]), (a[0], a[1] + 1), (a[0], a[1] - 1))
        if b in places and (f"{a[0]}{a[1]}" in INNER or f"{b[0]}{b[1]}" in INNER)
    ]
    return Network.from_tables(
        {
            "node": [
                {"node_id": f"{x}{y}", "x_coord": 120 + x / 480, "y_coord": 30 + y / 555} for x, y in sorted(places)
            ],
            "link": [
                {
                    "link_id": f"{a[0]}{a[1]}-{b[0]}{b[1]}",
                    "from_node_id": f"{a[0]}{a[1]}",
                    "to_node_id": f"{b[0]}{b[1]}",
                    "lanes": 1,
                    "free_speed": 36,
                    "length": 200,
                    "facility_type": "primary" if a[1] == b[1] else "residential",
                }
                for a, b in links
            ],
            "asset": [
                {"asset_id": f"head-{name}", "kind": "signal", "node_id": name, "degraded_mode": mode}
                for name, mode in zip(INNER, ("flashing", "all_way_stop") * 2, strict=True)
            ],
        }
    )


NETWORK = grid()
CITY = NETWORK.compile()


def plan(node, control):
    """Return the usual two-stage plan of an inner node, its left turns beside oncoming traffic."""
    stages = ([], [])
    at = CITY.node_ids.index(node)
    for link in CITY.in_link[CITY.in_start[at] : CITY.in_start[at + 1]].tolist():
        name = CITY.link_ids[link]
        for out in CITY.movement_out[CITY.movement_start[link] : CITY.movement_start[link + 1]].tolist():
            stages[name[1] == name[4]].append(f'["{name}", "{CITY.link_ids[out]}"]')
    rows = "".join(
        f"[[signal.stage]]\ngreen_s = 20\nintergreen_s = 4\nmovements = [{', '.join(stage)}]\n" for stage in stages
    )
    return f'[[signal]]\nnode = "{node}"\ncycle_s = 48\ncontrol = "{control}"\n{rows}'


@st.composite
def days(draw):
    """Return random trips, and a scenario with signals of every kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    outer = [name for name in CITY.node_ids if name not in INNER]
    count = draw(st.integers(1, 400))
    ends = [rng.choice(outer, 2, replace=False) for _ in range(count)]
    demand = Demand.of_trips(
        NETWORK, np.sort(rng.uniform(0, 600, count)).tolist(), [a for a, _ in ends], [b for _, b in ends]
    )
    controls = [draw(st.sampled_from(["fixed", "actuated", "max_pressure", "webster"])) for _ in INNER]
    text = "".join(plan(node, control) for node, control in zip(INNER, controls, strict=True))
    failed = draw(st.sampled_from(INNER))
    text += f"""
    [[asset_failure]]
    asset = "head-{failed}"
    from_s = {rng.uniform(0, 300)}
    until_s = {rng.uniform(301, 700)}
    [[emergency]]
    from_node = "{ends[0][0]}"
    to_node = "{ends[0][1]}"
    depart_s = {rng.uniform(0, 400)}
    [[lanes]]
    links = ["{CITY.link_ids[int(rng.integers(CITY.n_links))]}"]
    closed = 0.5
    from_s = 100.25
    until_s = 350
    [routing]
    update = "periodic"
    interval_s = 60
    share = 0.5
    """
    return demand, Scenario.parse(text)


def outcome(day, pause, **options):
    simulation = Simulation(NETWORK, day[0], scenario=day[1], seed=4, **options)
    for time in np.arange(pause, 1200.0 + pause, pause):
        simulation.advance(min(time, 1200.0))
        counts = simulation.counts()
        assert counts.demanded == counts.arrived + counts.on_links + counts.waiting
    return simulation


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days(), st.sampled_from([2.5, 7.3, 61.0]))
def test_signals_of_every_kind_lose_nobody_and_give_the_same_on_any_thread_and_at_any_pause(day, pause):
    one = outcome(day, 1200.0, threads=1)
    paused = outcome(day, pause, threads=1)
    threads = outcome(day, 1200.0, threads=2, window_s=0.7)
    for other in (paused, threads):
        for name in ("enter", "arrive"):
            assert np.array_equal(one.traffic.vehicle[name], other.traffic.vehicle[name], equal_nan=True)
    headway = 1.0 / CITY.capacity
    passed = one.cumulative()
    assert (passed.entered <= 1200.0 / headway + 1).all()
    assert (passed.on_link <= np.maximum(1, np.ceil(CITY.jam_density * CITY.length))).all()


@pytest.mark.parametrize("control", ["fixed", "actuated", "max_pressure", "webster"])
def test_nobody_passes_at_red(control):
    rng = np.random.default_rng(11)
    outer = [name for name in CITY.node_ids if name not in INNER]
    ends = [rng.choice(outer, 2, replace=False) for _ in range(500)]
    times = np.sort(rng.uniform(0, 600, 500)).tolist()
    demand = Demand.of_trips(NETWORK, times, [a for a, _ in ends], [b for _, b in ends])
    text = "".join(plan(node, control) for node in INNER) + '[routing]\nupdate = "fixed"\n'
    simulation = Simulation(NETWORK, demand, scenario=Scenario.parse(text))
    rows = [
        row for node in INNER for stage in (0, 1) for row in simulation.lights.rows(simulation.lights.node(node), stage)
    ]
    passed = 0
    for time in np.arange(1.0, 900.0, 0.25):
        green = {row for row in rows if simulation.lights.green(row, time - 0.25)}
        before = simulation.traffic.movement["left"].copy()
        simulation.advance(time)
        green |= {row for row in rows if simulation.lights.green(row, time)}
        moved = np.flatnonzero(simulation.traffic.movement["left"] > before).tolist()
        passed += len(moved)
        assert set(moved) <= green
    assert passed > 500
