"""What a scenario may say about signals: conflicts, permitted turns, controllers, emergencies, lanes; and what not."""

import pytest

from sensors import InputError
from simulation import Demand, Scenario, Simulation
from twin import Network

PLACES = {"C": (0, 0), "N": (0, 1), "E": (1, 0), "S": (0, -1), "W": (-1, 0)}


def crossing(lanes=1, angle_of=PLACES):
    nodes = [{"node_id": n, "x_coord": 120 + x / 96, "y_coord": 30 + y / 111} for n, (x, y) in angle_of.items()]
    links = [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": lanes, "free_speed": 36, "length": 1000}
        for x in "NESW"
        for a, b in ((x, "C"), ("C", x))
    ]
    return Network.from_tables({"node": nodes, "link": links, "asset": [{"asset_id": "lamp", "kind": "signal"}]})


def simulation(text, network=None):
    network = network or crossing()
    return Simulation(network, Demand.of_trips(network, [0.0], ["N"], ["S"]), scenario=Scenario.parse(text))


def plan(*stages, more=""):
    rows = "".join(
        "[[signal.stage]]\ngreen_s = 20\nmovements = ["
        + ", ".join(f'["{a}C", "C{b}"]' for a, b in stage.split())
        + "]\n"
        for stage in stages
    )
    return f'[[signal]]\nnode = "C"\ncycle_s = {30 * len(stages)}\n{more}\n{rows}'


def faults(text, network=None):
    with pytest.raises(InputError) as caught:
        simulation(text, network)
    return caught.value.faults


ALL_OF = {x: " ".join(x + y for y in "NESW" if y != x) for x in "NESW"}


def test_crossing_through_movements_of_one_stage_are_refused_by_name():
    (fault,) = faults(plan("NS WE", "SN"))
    assert fault == (
        "scenario: [[signal]] 1: node C stage 1: movements ['NC', 'CS'] and ['WC', 'CE'] cross and neither yields; "
        "give them stages of their own, or list the one that yields in permitted"
    )


@pytest.mark.parametrize(
    ("stage", "why"),
    [
        ("NS EW", "cross"),
        ("NE WE", "enter the same lane"),  # a left turn into a road from the side: no oncoming traffic
        ("NE WN", "cross"),  # left turns of neighbours
        ("NE EW", "cross"),  # a left turn across traffic from the side
        ("SN WE EW", "cross"),
    ],
)
def test_what_can_never_be_green_together_is_refused(stage, why):
    assert all(why in fault for fault in faults(plan(stage)))


@pytest.mark.parametrize(
    "stages",
    [
        ("NS SN", "EW WE"),
        (f"{ALL_OF['N']} {ALL_OF['S']}", f"{ALL_OF['E']} {ALL_OF['W']}"),  # the usual two stages
        tuple(ALL_OF.values()),  # an approach a stage
        ("NE SW", "NS NW SN SE", "EN WS", "EW ES WE WN"),  # lefts apart
        ("NS NW SN SE EN", "EW WE"),  # and a right turn ahead of its time
    ],
)
def test_usual_plans_are_accepted(stages):
    simulation(plan(*stages))


def permitted(run):
    return {pair for stage in run.lights.plan(run.lights.node("C")).stages for pair in stage.permitted}


def test_left_turns_across_oncoming_traffic_are_permitted_and_a_note_says_so():
    run = simulation(plan(f"{ALL_OF['N']} {ALL_OF['S']}", f"{ALL_OF['E']} {ALL_OF['W']}"))
    assert permitted(run) == {("NC", "CE"), ("SC", "CW"), ("EC", "CS"), ("WC", "CN")}
    assert [note for note in run.notes if "permitted (assumed) at node C" in note]
    apart = simulation(plan(*ALL_OF.values()))
    assert permitted(apart) == set()
    assert not [note for note in apart.notes if "permitted" in note]


def test_a_movement_said_to_be_permitted_may_conflict():
    text = plan("NS WE").replace("green_s = 20\n", 'green_s = 20\npermitted = [["WC", "CE"]]\n')
    run = simulation(text)
    assert permitted(run) == {("WC", "CE")}
    assert len(run.roads.yielding) == 1
    assert run.roads.yielding["gap"][0] == 6.5


def test_a_permitted_movement_need_not_stand_in_movements_too():
    text = plan("NS", "WE").replace('movements = [["WC", "CE"]]', 'permitted = [["WC", "CE"]]')
    run = simulation(text)
    assert ("WC", "CE") in run.lights.plan(run.lights.node("C")).stages[1].movements


def test_two_who_enter_a_road_of_two_lanes_find_one_each():
    run = simulation(plan("NE SE", "NS SN"), crossing(lanes=2))
    assert permitted(run) == set()


def test_where_directions_cannot_be_told_apart_nothing_is_refused():
    places = {**PLACES, "W": (-0.1, 1.0), "E": (-0.1, -1.0)}  # all four roads nearly in one line
    simulation(plan("NS WE"), crossing(angle_of=places))
    line = {n: (k / 10, 0) for k, n in enumerate("NCESW")}
    run = simulation(plan(f"{ALL_OF['N']} {ALL_OF['S']}", f"{ALL_OF['E']} {ALL_OF['W']}"), crossing(angle_of=line))
    assert permitted(run) == set()


def test_a_plan_of_the_network_with_a_conflict_is_repaired_with_a_note():
    network = crossing()
    tables = {
        "movement": [
            {"mvmt_id": a + b, "node_id": "C", "ib_link_id": a + "C", "ob_link_id": "C" + b}
            for a in "NESW"
            for b in "NESW"
            if a != b
        ],
        "signal_controller": [{"controller_id": "C"}],
        "signal_timing_plan": [{"timing_plan_id": "C", "controller_id": "C", "cycle_length": 60}],
        "signal_timing_phase": [
            {"timing_phase_id": "1", "timing_plan_id": "C", "signal_phase_num": 1, "max_green": 50, "clearance": 10}
        ],
        "signal_phase_mvmt": [
            {"signal_phase_mvmt_id": k, "timing_phase_id": "1", "mvmt_id": name, "protection": word}
            for k, (name, word) in enumerate([("NS", "protected"), ("WE", ""), ("SW", "permitted"), ("EN", "rtor")])
        ],
    }
    rows = {"node": [], "link": []}
    for n, (x, y) in PLACES.items():
        rows["node"].append({"node_id": n, "x_coord": 120 + x / 96, "y_coord": 30 + y / 111})
    for k in range(network.compile().n_links):
        name = network.compile().link_ids[k]
        rows["link"].append(
            {
                "link_id": name,
                "from_node_id": name[0],
                "to_node_id": name[1],
                "lanes": 1,
                "free_speed": 36,
                "length": 1000,
            }
        )
    read = Network.from_tables({**rows, **tables})
    assert set(read.signals["C"].stages[0].permitted) == {("SC", "CW"), ("EC", "CN")}
    run = simulation("", read)
    assert [note for note in run.notes if "the smaller approach yields (assumed) at node C" in note]
    assert len(permitted(run)) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            plan("NS", more='control = "smart"'),
            "control is 'smart', must be one of fixed, actuated, max_pressure, webster",
        ),
        (plan("NS", more='control = "actuated"\nslot_s = 10'), "slot_s is no setting of control = 'actuated'"),
        (
            plan("NS", more='control = "actuated"\nmin_green_s = 9\nmax_green_s = 5'),
            "max_green_s is 5, must be a number >= 9",
        ),
        (plan("NS", more='control = "webster"\nmin_cycle_s = -1'), "min_cycle_s is -1, must be a number > 0"),
        (plan("NS", more="contol = 1"), "unknown key 'contol', the nearest valid one is 'control'"),
        (
            plan("NS").replace("green_s", "permited = 1\ngreen_s"),
            "unknown key 'permited', the nearest valid one is 'permitted'",
        ),
        (
            plan("NS").replace("green_s", 'permitted = ["NC"]\ngreen_s'),
            "permitted is ['NC'], must be a list of [in-link, out-link]",
        ),
        (
            plan("NS").replace("green_s", 'permitted = [["NC", "XX"]]\ngreen_s'),
            "stage 1: movement ['NC', 'XX'] is not an allowed movement of node C",
        ),
        (
            '[[signal]]\nnode = "C"\ncontrol = "actuated"',
            "has no plan in the network, give its stages as [[signal.stage]]",
        ),
        ('[[signal]]\nnode = "Q"\ncontrol = "actuated"', "[[signal]] of node 'Q': is not in the network"),
        ('[[signal]]\nnode = "C"\ncontrol = "actuated"\ncycle_s = 60', "cycle_s belongs to a plan"),
        ('[[lanes]]\nlinks = ["NC"]\nclosed = 2', "closed is 2, link NC has 1 lanes"),
        ('[[lanes]]\nlinks = ["XX"]\nclosed = 1', "link 'XX' is not in link.csv"),
        ('[[lanes]]\nlinks = ["NC"]', "closed is missing, must be a number > 0"),
        ('[[emergency]]\nfrom_node = "N"\nto_node = "Q"', "to_node 'Q' is not in the network"),
        ('[[emergency]]\nfrom_node = "N"\nto_node = "N"', "to_node is 'N', must differ from from_node"),
        (
            '[[emergency]]\nfrom_node = "N"\nto_node = "S"\nlinks = ["WC", "CS"]',
            "links lead from W to S, must lead from from_node to to_node",
        ),
        ('[[emergency]]\nfrom_node = "N"\nto_node = "S"\nlead_s = -3', "lead_s is -3, must be a number >= 0"),
    ],
)
def test_bad_input_is_one_clear_sentence(text, sentence):
    found = faults(text)
    assert len(found) == 1
    assert sentence in found[0]


def test_a_slot_shorter_than_a_change_of_stage_is_refused():
    text = plan("NS", "WE", more='control = "max_pressure"\nslot_s = 5').replace(
        "green_s = 20", "green_s = 20\nintergreen_s = 6"
    )
    assert "slot_s is 5, must be longer than a change of stage at node C takes, 6 s" in faults(text)[0]


def test_signals_do_not_hide_a_gridlock():
    names = "ABCD"
    nodes = [
        {"node_id": n, "x_coord": 120 + x / 960, "y_coord": 30 + y / 1110}
        for n, x, y in zip(names, (0, 1, 1, 0), (0, 0, 1, 1), strict=True)
    ]
    ring = [(names[k], names[(k + 1) % 4]) for k in range(4)]
    links = [
        {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": 40}
        for a, b in ring
    ]
    network = Network.from_tables({"node": nodes, "link": links})
    pairs = [(a, names[(k + 3) % 4]) for k, a in enumerate(names)]
    demand = Demand.of_trips(network, [0.0] * 80, [a for a, _ in pairs] * 20, [b for _, b in pairs] * 20)
    text = "".join(
        f'[[signal]]\nnode = "{b}"\ncycle_s = 30\n[[signal.stage]]\ngreen_s = 15\nmovements = [["{a}{b}", "{b}{c}"]]\n'
        for (a, b), (_, c) in zip(ring, ring[1:] + ring[:1], strict=True)
    )
    run = Simulation(network, demand, scenario=Scenario.parse(text))
    run.advance(1000)
    run.note_gridlock()
    assert [sorted(ring) for ring in run.rings] == [[0, 1, 2, 3]]
