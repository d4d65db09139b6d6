"""An emergency vehicle meets green at every signal, other traffic pays, and the signals run on as before."""

import numpy as np
import pytest

from simulation import Scenario, Simulation

PLACES = {f"M{k}": (float(k), 0.0) for k in range(5)} | {
    f"{side}{k}": (float(k), 1.0 if side == "N" else -1.0) for side in "NS" for k in (1, 2, 3)
}


@pytest.fixture
def corridor(street):
    links = [(f"E{k}", f"M{k}", f"M{k + 1}", {}) for k in range(4)]
    for k in (1, 2, 3):
        links += [(f"D{k}", f"N{k}", f"M{k}", {}), (f"U{k}", f"M{k}", f"S{k}", {})]
    return street(links, places=PLACES)


def plans():
    """Return plans with red for the corridor most of the time, none of them in step with another."""
    return '[routing]\nupdate = "fixed"\n' + "".join(
        f"""
[[signal]]
node = "M{k}"
cycle_s = 90
offset_s = {17 * k}
[[signal.stage]]
green_s = 10
intergreen_s = 4
movements = [["E{k - 1}", "E{k}"], ["E{k - 1}", "U{k}"]]
[[signal.stage]]
green_s = 72
intergreen_s = 4
movements = [["D{k}", "U{k}"], ["D{k}", "E{k}"]]
"""
        for k in (1, 2, 3)
    )


EMERGENCY = '\n[[emergency]]\nfrom_node = "M0"\nto_node = "M4"\ndepart_s = 65\n'


def cross_traffic(road):
    return road.trips(*((f"N{k}", f"S{k}", np.arange(0, 900, 4.0).tolist()) for k in (1, 2, 3)))


def test_it_drives_at_free_speed_and_cross_traffic_pays(corridor):
    result = corridor.run(cross_traffic(corridor), plans() + EMERGENCY)
    row = result.trips.ids.index("emergency-1")
    # Four links of 100 s; signals are held 30 s ahead, an intergreen of 4 s clears them.
    assert result.trips.arrive[row] - result.trips.depart[row] == pytest.approx(400.0)
    others = np.array([name != "emergency-1" for name in result.trips.ids])
    usual = corridor.run(cross_traffic(corridor), plans())
    assert result.trips.delay[others].sum() > usual.trips.delay.sum() + 60
    ordinary = corridor.run(corridor.trips(("M0", "M4", [65.0])), plans())
    assert ordinary.trips.delay[0] > 30  # without priority it meets red


def test_only_the_signals_ahead_are_held_and_they_run_on_by_their_own_clock(corridor, picture, changed):
    simulation = Simulation(corridor.network, cross_traffic(corridor), scenario=Scenario.parse(plans() + EMERGENCY))
    before = picture(simulation)
    nodes = [corridor.network.compile().node_ids.index(f"M{k}") for k in (1, 2, 3)]

    def held():
        return [simulation.roads.node["cycle"][node] > 1000 for node in nodes]

    seen = []
    for time in (134, 136, 164, 171, 236, 271, 336, 372):
        simulation.advance(time)
        seen.append(held())
    off = [False] * 3
    # At M1 at 165 s: held from 135 s until it has passed, then red for 4 s; at M2 at 265 s, at M3 at 365 s.
    assert seen == [off, [True, *off[1:]], [True, *off[1:]], off, [False, True, False], off, [*off[1:], True], off]
    simulation.advance(500)
    assert changed(before, picture(simulation)) == []


def test_an_emergency_vehicle_leaves_the_chances_of_all_others_alone(corridor):
    text = '[routing]\nupdate = "periodic"\ninterval_s = 100\nshare = 0.4\n'
    demand = cross_traffic(corridor)
    with_one = Simulation(corridor.network, demand, scenario=Scenario.parse(text + EMERGENCY), seed=5)
    without = Simulation(corridor.network, demand, scenario=Scenario.parse(text), seed=5)
    for simulation in (with_one, without):
        simulation.advance(1000)
    keep = with_one.trips.key[:, 0] >= 0
    assert with_one.roster.informed[keep].tolist() == without.roster.informed.tolist()


def test_a_fixed_route_is_kept(corridor):
    text = plans() + EMERGENCY + 'links = ["E0", "E1", "E2", "E3"]\n'
    result = corridor.run(cross_traffic(corridor), text)
    assert result.trips.distance[result.trips.ids.index("emergency-1")] == pytest.approx(4000.0)
