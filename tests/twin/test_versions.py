"""Versions of a network: patches change what they say and nothing else, and a difference says what they changed."""

import json
from pathlib import Path

import pytest

from hub.cli import main
from sensors import InputError
from twin import Network
from twin.difference import differences, to_geojson
from twin.edit import apply_patches
from twin.generate import generate
from twin.patch import Patch

PLACES = {"W": (0, 0), "M": (1, 0), "E": (2, 0), "N": (1, 1), "S": (1, -1)}


@pytest.fixture
def town() -> Network:
    """A crossing: W-M-E is one undirected row each, N and S come in two rows; a signal of two stages at M."""
    base = {"lanes": 2, "free_speed": 50, "length": 500}
    links = [
        {"link_id": "WM", "from_node_id": "W", "to_node_id": "M", "directed": "false", **base},
        {"link_id": "ME", "from_node_id": "M", "to_node_id": "E", "directed": "false", **base, "name": "East Road"},
        *(
            {"link_id": a + b, "from_node_id": a, "to_node_id": b, **base, "lanes": "", "free_speed": ""}
            for a, b in ("NM", "MN", "SM", "MS")
        ),
    ]
    nodes = [{"node_id": n, "x_coord": 120 + x / 200, "y_coord": 30 + y / 200} for n, (x, y) in PLACES.items()]
    sensors = [{"sensor_id": "D1", "link_id": "NM", "position_m": 100}]
    return Network.from_tables({"node": nodes, "link": links, "sensor": sensors})


def patch(folder: Path, text: str, name: str = "a.toml") -> Patch:
    (folder / name).write_text(text, "utf-8")
    return Patch.read(folder / name)


def changed(before: Network, after: Network) -> list[str]:
    return [str(change) for change in differences(before, after)]


SIGNAL = """
[[signal]]
node = "M"
cycle_s = 60
[[signal.stage]]
green_s = 27
intergreen_s = 3
movements = [["NM", "MS"], ["SM", "MN"]]
[[signal.stage]]
green_s = 27
intergreen_s = 3
movements = [["WM", "ME"], ["ME-r", "WM-r"]]
permitted = [["WM", "MN"]]
"""


def test_a_network_is_not_different_from_itself(town: Network) -> None:
    assert differences(town, town) == []


def test_a_link_with_other_lanes_and_speed_says_so_and_is_not_assumed_any_more(town: Network, tmp_path: Path) -> None:
    after = apply_patches(town, [patch(tmp_path, '[[link]]\nlink_id = "NM"\nlanes = 3\nfree_speed = 30\n')])
    assert "lanes" in town.links.assumed[town.links.position["NM"]]
    assert after.links.assumed[after.links.position["NM"]] == ()
    assert changed(town, after) == ["changed link NM: lanes 1 -> 3"]
    assert after.links.lanes[after.links.position["MN"]] == town.links.lanes[town.links.position["MN"]]


def test_both_directions_of_an_undirected_row_change(town: Network, tmp_path: Path) -> None:
    after = apply_patches(town, [patch(tmp_path, '[[link]]\nlink_id = "ME"\nlanes = 1\n')])
    assert changed(town, after) == ["changed link ME: lanes 2 -> 1", "changed link ME-r: lanes 2 -> 1"]


def test_a_new_street_is_driven_at_once(town: Network, tmp_path: Path) -> None:
    text = """
    title = "A bridge"
    [[node]]
    node_id = "B"
    new = true
    x_coord = 120.01
    y_coord = 30.005
    [[link]]
    link_id = "EB"
    new = true
    from_node_id = "E"
    to_node_id = "B"
    length = 600
    lanes = 1
    free_speed = 40
    """
    after = apply_patches(town, [patch(tmp_path, text)])
    assert changed(town, after) == [
        "added node B",
        "added link EB: E to B, 600 m, 1 lane, 40 km/h",
        "removed turn ME > ME-r: no longer allowed",  # E was a dead end, at which one may turn round
    ]
    city = after.compile()
    link = city.link_ids.index("ME")
    outs = city.movement_out[city.movement_start[link] : city.movement_start[link + 1]]
    assert "EB" in [city.link_ids[k] for k in outs]
    assert "patched by a.toml: A bridge" in after.notes


def test_a_removed_link_takes_its_turns_along_and_leaves_its_sensor(town: Network, tmp_path: Path) -> None:
    signalled = apply_patches(town, [patch(tmp_path, SIGNAL)])
    after = apply_patches(signalled, [patch(tmp_path, '[[remove]]\nlinks = ["NM", "ME"]\n')])
    assert set(signalled.links.ids) - set(after.links.ids) == {"NM", "ME", "ME-r"}
    assert [sensor.link_id for sensor in after.sensors] == [""]
    pairs = {pair for stage in after.signals["M"].stages for pair in stage.movements}
    assert pairs == {("SM", "MN"), ("WM", "MN")}
    assert [c for c in changed(signalled, after) if "turn" in c] == []  # they go with their links


def test_a_banned_turn_is_the_only_one_that_goes(town: Network, tmp_path: Path) -> None:
    ban = patch(tmp_path, '[[ban]]\nfrom_link = "WM"\nto_link = "MN"\n')
    after = apply_patches(town, [ban])
    assert changed(town, after) == ["removed turn WM > MN: no longer allowed"]
    again = patch(tmp_path, '[[allow]]\nfrom_link = "WM"\nto_link = "MN"\n', "b.toml")
    back = apply_patches(after, [again])
    assert changed(town, back) == []
    assert changed(after, back) == ["added turn WM > MN: allowed now"]
    assert changed(town, apply_patches(town, [ban, again])) == []


def test_a_banned_turn_has_no_green_any_more(town: Network, tmp_path: Path) -> None:
    signalled = apply_patches(town, [patch(tmp_path, SIGNAL)])
    after = apply_patches(signalled, [patch(tmp_path, '[[ban]]\nfrom_link = "WM"\nto_link = "MN"\n')])
    assert ("WM", "MN") not in {pair for stage in after.signals["M"].stages for pair in stage.movements}
    assert after.signals["M"].stages[0] == signalled.signals["M"].stages[0]


def test_a_plan_is_set_and_then_retimed(town: Network, tmp_path: Path) -> None:
    one = apply_patches(town, [patch(tmp_path, SIGNAL)])
    assert changed(town, one) == ["added signal M: cycle 60 s, 2 stages with 27, 27 s of green"]
    assert one.signals["M"].stages[1].permitted == (("WM", "MN"),)
    retimed = '[[signal]]\nnode = "M"\ncycle_s = 90\noffset_s = 12.5\ngreen_s = [50, 34]\n'
    two = apply_patches(one, [patch(tmp_path, retimed)])
    assert changed(one, two) == [
        "changed signal M: cycle 60 s -> 90 s, offset 0 s -> 12.5 s, "
        "2 stages with 27, 27 s of green -> 2 stages with 50, 34 s of green"
    ]


def test_a_retimed_signal_of_a_city_leaves_every_other_plan_as_it_was(tmp_path: Path) -> None:
    city = Network.from_tables(generate(seed=3, junctions=60))
    node, plan = next(iter(city.signals.items()))
    greens = [stage.green_s + 1 for stage in plan.stages]
    used = sum(greens) + sum(stage.intergreen_s for stage in plan.stages)
    text = f'[[signal]]\nnode = "{node}"\ncycle_s = {used}\ngreen_s = {greens}\n'
    after = apply_patches(city, [patch(tmp_path, text)])
    assert [(c.kind, c.what, c.id) for c in differences(city, after)] == [("changed", "signal", node)]


def test_a_patch_for_another_base_is_refused(town: Network, tmp_path: Path) -> None:
    text = '[[link]]\nlink_id = "NM"\nlanes = 3\n'
    apply_patches(town, [patch(tmp_path, f'base = "{town.sha256[:12]}"\n{text}')])
    with pytest.raises(InputError, match="is for a network whose sha256 begins with 0123456789"):
        apply_patches(town, [patch(tmp_path, f'base = "0123456789"\n{text}')])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[links]]\nlink_id = 'NM'", "a.toml: unknown key 'links', did you mean 'link'?"),
        ("[[link]]\nlink_id = 'NM'\nlane = 3", "[[link]] 1: unknown key 'lane', did you mean 'lanes'?"),
        ("[[link]]\nlanes = 3", "link_id is None, must be an id in quotes"),
        ("[[link]]\nlink_id = 'NM'", "changes nothing, name a column and its new value"),
        ("[[link]]\nlink_id = 'NM'\nlanes = [1]", "lanes is [1], must be a text, a number or true or false"),
        ("[[link]]\nlink_id = 'NM'\nnew = 'yes'\nlanes = 1", "new is 'yes', must be true or false"),
        ("link = 3", "link must be written as [[link]]"),
        ("base = 'abc'", "must be 8 characters of the base's sha256 or more"),
        ("title = 3", "title is 3, must be a text"),
        ("[[remove]]\nlinks = 'NM'", "links is 'NM', must be a list of link ids"),
        (
            "[[link]]\nlink_id = 'NX'\nlanes = 1",
            "link_id 'NX' is not in link.csv; new = true adds one",
        ),
        ("[[link]]\nlink_id = 'WM-r'\nlanes = 1", "it is the other direction of 'WM', whose row has both"),
        ("[[link]]\nlink_id = 'NM'\nnew = true\nlanes = 1", "is there already, leave new out to change it"),
        ("[[link]]\nlink_id = 'NM'\nlanes = -1", "a.toml: leaves link.csv"),
        ("[[remove]]\nlinks = ['XX']", "link 'XX' is not in link.csv"),
        ("[[ban]]\nfrom_link = 'NM'\nto_link = 'WM'", "link 'NM' ends at node 'M', but 'WM' begins at node 'W'"),
        ("[[ban]]\nfrom_link = 'NM'\nto_link = 'MN'", "the turn from 'NM' to 'MN' is forbidden already"),
        ("[[allow]]\nfrom_link = 'NM'\nto_link = 'MS'", "the turn from 'NM' to 'MS' is allowed already"),
        ("[[ban]]\nfrom_link = 'nm'\nto_link = 'MS'", "link 'nm' is not in the network, did you mean 'NM'?"),
        ("[[signal]]\nnode = 'M'\ncycle_s = 60", "has no plan whose times could change, give its [[signal.stage]]"),
        ("[[signal]]\nnode = 'Q'\ncycle_s = 60", "node 'Q' is not in node.csv"),
        (SIGNAL.replace("cycle_s = 60", ""), "cycle_s is missing, a plan with stages needs it"),
        (SIGNAL.replace("cycle_s = 60", "cycle_s = 50"), "the stages take 60 s, the cycle has 50 s"),
        (SIGNAL.replace('["NM", "MS"]', '["NM", "MN"]'), "gives green to the turn from 'NM' to 'MN', which is none"),
        (SIGNAL.replace("green_s = 27", "green_s = 0", 1), "green_s is 0 and intergreen_s 3, must be > 0 and >= 0"),
        (SIGNAL + "[[signal]]\nnode = 'M'\ngreen_s = [1]", "green_s is [1], must be 2 numbers > 0, one a stage"),
        ("[[signal]", "is not valid TOML"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_in_a_sentence(
    town: Network, tmp_path: Path, text: str, told: str
) -> None:
    before = town.sha256
    with pytest.raises(InputError) as raised:
        apply_patches(town, [patch(tmp_path, text)])
    assert told in str(raised.value)
    assert town.sha256 == before


def test_the_map_of_a_difference_is_geojson(town: Network, tmp_path: Path) -> None:
    text = '[[link]]\nlink_id = "NM"\nlanes = 3\n[[ban]]\nfrom_link = "WM"\nto_link = "MN"\n'
    made = to_geojson(differences(town, apply_patches(town, [patch(tmp_path, text)])))
    kinds = [(f["properties"]["what"], f["geometry"]["type"]) for f in made["features"]]
    assert kinds == [("link", "LineString"), ("turn", "Point")]
    assert json.loads(json.dumps(made)) == made


def test_commands_patch_a_folder_and_tell_the_difference(
    town: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    town.write(tmp_path / "base")
    (tmp_path / "base" / "demand.csv").write_text("o_zone_id,d_zone_id,volume,start_s,end_s\n", "utf-8")
    patch(tmp_path, 'title = "Narrower"\n[[link]]\nlink_id = "ME"\nlanes = 1\n')
    patch(tmp_path, SIGNAL, "b.toml")
    words = ["network", "patch", str(tmp_path / "base"), str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]
    assert main([*words, str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert "changed link ME: lanes 2 -> 1" in out
    assert "lane km" in out
    assert (tmp_path / "new" / "demand.csv").is_file()
    assert "patched by a.toml: Narrower" in Network.read(tmp_path / "new").notes
    diff = ["network", "diff", str(tmp_path / "base"), str(tmp_path / "new")]
    assert main([*diff, "--geojson", str(tmp_path / "d.geojson")]) == 0
    assert "added signal M" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "d.geojson").read_text("utf-8"))["features"]) == 3
    assert main([*diff, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["network", "diff", str(tmp_path / "new"), str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.startswith("no difference; sha256")
    assert main([*words, str(tmp_path / "base")]) == 2
    assert "is not empty" in capsys.readouterr().err
    (tmp_path / "a.toml").write_text('[[link]]\nlink_id = "ME"\nlanes = "many"\n', "utf-8")
    assert main([*words, str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
