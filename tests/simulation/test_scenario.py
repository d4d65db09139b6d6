import re

import pytest

from sensors import InputError
from simulation import Demand, Flow, Scenario, simulate

WHOLE = """
name = "burst main"
[[close]]
links = ["MC"]
from_s = 600
until_s = 5400
[[incident]]
link = "AM"
position_m = 120
lanes_blocked = 1
[[capacity]]
links = ["MD"]
factor = 0.6
[[demand]]
factor = 1.2
[[signal]]
node = "M"
cycle_s = 90
offset_s = 10
[[signal.stage]]
green_s = 40
intergreen_s = 5
movements = [["AM", "MC"], ["AM", "MD"], ["CM", "MA"]]
[[asset_failure]]
asset = "feeder"
from_s = 0
[routing]
update = "periodic"
interval_s = 300
share = 0.3
"""


def test_every_table_is_read():
    scenario = Scenario.parse(WHOLE)
    assert scenario.name == "burst main"
    assert scenario.close[0].from_s == 600
    assert scenario.incident[0].until_s == float("inf")
    assert scenario.signal[0].stages[0].movements[0] == ("AM", "MC")
    assert (scenario.routing.update, scenario.routing.share) == ("periodic", 0.3)


def test_the_name_does_not_count_in_the_hash_but_what_happens_does():
    assert Scenario.parse('name = "a"').sha256() == Scenario.parse('name = "b"').sha256()
    assert Scenario.parse(WHOLE).sha256() != Scenario().sha256()


def test_all_faults_are_told_at_once_with_the_nearest_valid_key():
    text = """
    nmae = "x"
    [[close]]
    link = ["L"]
    from_s = 100
    until_s = 100
    [[incident]]
    link = "L"
    position_m = "far"
    lanes_blocked = 0
    [[capacity]]
    links = []
    factor = -1
    [routing]
    update = "never"
    share = 2
    [[signal]]
    node = "N"
    cycle_s = 0
    """
    with pytest.raises(InputError) as error:
        Scenario.parse(text, "my.toml")
    told = error.value.faults
    assert all(fault.startswith("my.toml: ") for fault in told)
    for part in (
        "unknown key 'nmae', the nearest valid one is 'name'",
        "unknown key 'link', the nearest valid one is 'links'",
        "until_s is 100, must be > from_s",
        "position_m is 'far'",
        "lanes_blocked is 0",
        "links is []",
        "factor is -1",
        "update is 'never'",
        "share is 2",
        "cycle_s is 0",
        "at least one [[signal.stage]]",
    ):
        assert any(part in fault for fault in told), part


def test_faults_against_the_network_are_told_at_once(network):
    text = """
    [[close]]
    links = ["nowhere"]
    [[incident]]
    link = "AM"
    position_m = 1001
    lanes_blocked = 2
    [[signal]]
    node = "M"
    cycle_s = 30
    [[signal.stage]]
    green_s = 40
    movements = [["AM", "DC"]]
    [[asset_failure]]
    asset = "nothing"
    [[demand]]
    factor = 1
    origins = ["north"]
    """
    demand = Demand.of_flows(network, [Flow("west", "east", 5, 0, 100)])
    with pytest.raises(InputError) as error:
        simulate(network, demand, scenario=Scenario.parse(text))
    told = "\n".join(error.value.faults)
    for part in (
        "'nowhere'",
        "position_m is 1001",
        "lanes_blocked is 2",
        "stages take 40 s",
        "['AM', 'DC']",
        "'nothing'",
        "'north'",
    ):
        assert part in told, part


def test_demand_tables_and_trips_do_not_go_together(network):
    demand = Demand.of_trips(network, [0.0], ["A"], ["C"])
    with pytest.raises(InputError, match="works on demand"):
        simulate(network, demand, scenario=Scenario.parse("[[demand]]\nfactor = 2"))


def test_a_dark_feeder_turns_the_signal_into_an_all_way_stop_when_the_battery_is_empty(network):
    stage = 'green_s = 10\nmovements = [["AM", "MC"]]\n'
    signal = f'[[signal]]\nnode = "M"\ncycle_s = 100\n[[signal.stage]]\n{stage}'
    text = signal + '[[asset_failure]]\nasset = "feeder"\nfrom_s = 200\nuntil_s = 5000\n'
    failed = simulate(
        network, Demand.of_trips(network, [0.0] * 60, ["A"] * 60, ["C"] * 60), scenario=Scenario.parse(text)
    )
    at_line = failed.trips.arrive - 50
    before = at_line[at_line < 260]  # the cabinet's battery lasts 60 s
    assert ((before % 100) < 10).all()
    dark = at_line[(at_line > 262) & (at_line < 5000)]
    assert dark[1:] - dark[:-1] == pytest.approx(4.7)  # two approaches


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = " + "[" * 5000, "its lists or tables are nested too deeply"),
        ("a = 1" + "0" * 5000, "is not TOML: Exceeds the limit"),
        ('[[close]]\nlinks = ["MC"]\nfrom_s = 1e18', r"from_s is 1e\+18, must be a number >= 0 and <= 1e\+12"),
        ('[[close]]\nlinks = ["MC"]\nfrom_s = nan', "from_s is nan, must be a number >= 0$"),
        ('[[capacity]]\nlinks = ["MC"]\nfactor = inf', r"factor is inf, must be a number >= 0 and <= 1e\+12"),
        ('[[signal]]\nnode = "M"\noffset_s = -1e300', r"offset_s is -1e\+300, must be a number >= -1e\+12"),
        ('[[signal]]\nnode = "M"\noffset_s = 1e300', r"offset_s is 1e\+300, must be a number <= 1e\+12"),
    ],
)
def test_what_no_scenario_holds_is_one_sentence_that_says_what_would_be_right(text, sentence):
    with pytest.raises(InputError) as caught:
        Scenario.parse(text)
    assert any(re.search(sentence, fault) for fault in caught.value.faults)
