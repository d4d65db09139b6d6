"""OpenStreetMap: what tags, restrictions and signals of small made maps become, and that no file brings it down."""

import bz2
import gzip
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import osmium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors import InputError
from twin import Network
from twin.importers import guess, import_tables
from twin.importers.osm import tags as words
from twin.importers.osm.arrows import lane_ranges

Way = tuple[int, list[int], Mapping[str, str]]
Relation = tuple[int, list[tuple[str, int, str]], Mapping[str, str]]

STEP = 0.001  # degrees: 111 m north, 56 m east at 60 degrees


def osm(
    places: Mapping[int, tuple[float, float]],
    ways: Iterable[Way],
    relations: Iterable[Relation] = (),
    node_tags: Mapping[int, Mapping[str, str]] | None = None,
) -> str:
    """Return a map as XML; places are steps east and north."""

    def tag(pairs: Mapping[str, str]) -> str:
        return "".join(f"<tag k={quoteattr(k)} v={quoteattr(v)}/>" for k, v in pairs.items())

    of = node_tags or {}
    text = ['<?xml version="1.0" encoding="UTF-8"?>\n<osm version="0.6" generator="by hand">']
    text += [
        f'<node id="{n}" lon="{24 + 2 * x * STEP:.7f}" lat="{60 + y * STEP:.7f}">{tag(of.get(n, {}))}</node>'
        for n, (x, y) in places.items()
    ]
    text += [
        f'<way id="{n}">{"".join(f"<nd ref={quoteattr(str(r))}/>" for r in refs)}{tag(tags)}</way>'
        for n, refs, tags in ways
    ]
    text += [
        f'<relation id="{n}">'
        + "".join(f'<member type="{k}" ref="{r}" role="{role}"/>' for k, r, role in members)
        + tag(tags)
        + "</relation>"
        for n, members, tags in relations
    ]
    return "\n".join([*text, "</osm>\n"])


# A crossroads: 1 west, 2 east, 3 south, 4 north of 0 = node 10.
CROSS = {10: (0, 0), 1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}
STREET = {"highway": "residential"}
CROSS_WAYS: list[Way] = [(101, [1, 10], STREET), (102, [10, 2], STREET), (103, [3, 10], STREET), (104, [10, 4], STREET)]
BAN = {"type": "restriction", "restriction": "no_left_turn"}


def network_of(text: str, folder: Path, **options: bool | str) -> Network:
    (folder / "map.osm").write_text(text, "utf-8")
    return Network.from_tables(import_tables(folder / "map.osm", **options))  # type: ignore[arg-type]


def onward(network: Network, link: str) -> set[str]:
    compiled = network.compile()
    k = network.links.position[link]
    return {compiled.link_ids[i] for i in compiled.movement_out[slice(*compiled.movement_start[k : k + 2])]}


def note(network: Network, words_: str) -> str:
    return next((text for text in network.notes if words_ in text), "")


# Streets


def test_a_way_is_split_where_another_meets_it_and_keeps_its_shape(tmp_path: Path) -> None:
    places = {1: (0, 0), 2: (1, 0), 3: (2, 1), 4: (3, 0), 5: (3, 2)}
    network = network_of(osm(places, [(7, [1, 2, 3, 4], {**STREET, "name": "Long"}), (8, [3, 5], STREET)]), tmp_path)
    assert set(network.links.ids) == {"7.0", "7.0-r", "7.1", "7.1-r", "8.0", "8.0-r"}
    assert network.nodes.position.keys() == {"1", "3", "4", "5"}
    bent = network.links.position["7.0"]
    assert [round(x - 24, 4) for x in network.geometry(bent)[:, 0]] == [0.0, 0.002, 0.004]
    back = network.links.position["7.0-r"]
    assert network.geometry(back).tolist() == network.geometry(bent)[::-1].tolist()
    assert network.links.names[bent] == "Long"
    # 0.002 degrees east at 60 N are 111.6 m, then the hypotenuse with 111.4 m north: on the ellipsoid, to a decimetre
    assert network.compile().length[bent] == pytest.approx(111.55 + math.hypot(111.55, 111.41), abs=0.2)


@pytest.mark.parametrize(
    ("oneway", "links"),
    [("yes", {"7.0"}), ("-1", {"7.0-r"}), ("no", {"7.0", "7.0-r"}), ("reversible", {"7.0", "7.0-r"})],
)
def test_one_way_streets_run_as_they_say(oneway: str, links: set[str], tmp_path: Path) -> None:
    network = network_of(
        osm({1: (0, 0), 2: (1, 0)}, [(7, [1, 2], {**STREET, "oneway": oneway})]), tmp_path, all_parts=True
    )
    assert set(network.links.ids) == links
    assert bool(note(network, "with the hour")) == (oneway == "reversible")


def test_motorways_and_roundabouts_are_one_way_when_nobody_says_it(tmp_path: Path) -> None:
    ring = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1)}
    text = osm(ring, [(7, [1, 2, 3, 4, 1], {"highway": "primary", "junction": "roundabout"})])
    network = network_of(text, tmp_path)
    assert len(network.links) == 2  # a ring that nothing touches is cut in the middle
    assert not [fault for fault in network.validate() if fault.rule == "loop"]
    assert words.directions({"highway": "motorway"}) == (True, False, False)
    assert words.directions({"highway": "motorway", "oneway": "no"}) == (True, True, False)


def test_the_way_round_a_roundabout_tells_the_side_of_the_road(tmp_path: Path) -> None:
    ring = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1)}
    tags = {"highway": "primary", "junction": "roundabout"}
    right = network_of(osm(ring, [(7, [1, 2, 3, 4, 1], tags)]), tmp_path)
    left = network_of(osm(ring, [(7, [1, 4, 3, 2, 1], tags)]), tmp_path)
    assert (right.drives_left, left.drives_left) == (False, True)
    assert "1 of 1 roundabouts" in note(left, "keeps to the left")
    assert network_of(osm(ring, [(7, [1, 2, 3, 4, 1], tags)]), tmp_path, driving_side="left").drives_left


def test_clipped_ways_are_cut_where_nodes_are_missing_and_said(tmp_path: Path) -> None:
    text = osm({1: (0, 0), 2: (1, 0), 4: (3, 0), 5: (4, 0)}, [(7, [1, 2, 3, 4, 5], STREET), (8, [9, 9], STREET)])
    network = network_of(text, tmp_path, all_parts=True)
    assert set(network.links.ids) == {"7.0", "7.0-r", "7.1", "7.1-r"}
    assert note(network, "does not hold").startswith("2 ways")
    assert note(network, "fewer than two nodes").startswith("1 ways")


def test_what_is_cut_off_is_left_out_and_counted_unless_it_is_wanted(tmp_path: Path) -> None:
    ways = [*CROSS_WAYS, (105, [4, 20], {**STREET, "oneway": "yes"}), (106, [30, 31], STREET)]
    text = osm({**CROSS, 20: (0, 2), 30: (9, 9), 31: (9, 8)}, ways)
    network = network_of(text, tmp_path)
    assert len(network.links) == 8
    assert note(network, "cut off").startswith("3 of 11 links")
    assert len(network_of(text, tmp_path, all_parts=True).links) == 11


def test_nodes_at_one_place_that_a_street_of_no_length_joins_are_one(tmp_path: Path) -> None:
    text = osm(
        {1: (0, 0), 2: (1, 0), 3: (1, 0), 4: (2, 0)}, [(7, [1, 2], STREET), (8, [2, 3], STREET), (9, [3, 4], STREET)]
    )
    network = network_of(text, tmp_path)
    assert set(network.links.ids) == {"7.0", "7.0-r", "9.0", "9.0-r"}
    assert onward(network, "7.0") == {"9.0"}


def test_repeated_nodes_ways_of_one_node_and_ways_there_and_back_are_mended(tmp_path: Path) -> None:
    places = {1: (0, 0), 2: (1, 0), 3: (2, 0)}
    text = osm(places, [(7, [1, 1, 2, 2, 2, 3], STREET), (8, [3], STREET), (9, [], STREET), (10, [1, 2, 1], STREET)])
    network = network_of(text, tmp_path)
    compiled = network.compile()
    assert (compiled.from_node != compiled.to_node).all()
    assert {name.split(".")[0] for name in network.links.ids} == {"7", "10"}
    assert (compiled.length > 50).all()


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        ({"highway": "primary", "access": "private"}, False),
        ({"highway": "primary", "access": "no", "motor_vehicle": "yes"}, True),
        ({"highway": "primary", "motor_vehicle": "no", "motorcar": "designated"}, True),
        ({"highway": "primary", "motor_vehicle": "agricultural;forestry"}, False),
        ({"highway": "residential", "access": "destination"}, True),
        ({"highway": "primary", "access": "no", "bus": "yes"}, False),
        ({"highway": "primary", "route": "ferry"}, False),
        ({"highway": "pedestrian", "area": "yes"}, False),
        ({"highway": "construction"}, False),
        ({"highway": "service"}, False),
    ],
)
def test_private_closed_and_unfinished_ways_are_no_streets(tags: dict[str, str], kept: bool, tmp_path: Path) -> None:
    network = network_of(osm({**CROSS, 50: (1, 1)}, [*CROSS_WAYS, (200, [2, 50], tags)]), tmp_path)
    assert ("200.0" in network.links.position) == kept


def test_service_roads_come_on_request_but_not_those_of_one_house(tmp_path: Path) -> None:
    ways = [
        *CROSS_WAYS,
        (200, [2, 50], {"highway": "service"}),
        (201, [50, 51], {"highway": "service", "service": "driveway"}),
    ]
    text = osm({**CROSS, 50: (1, 1), 51: (1, 2)}, ways)
    assert "200.0" in network_of(text, tmp_path, service=True).links.position
    assert "201.0" not in network_of(text, tmp_path, service=True).links.position
    assert note(network_of(text, tmp_path), "--service keeps them").startswith("2 service roads")


# Attributes


@pytest.mark.parametrize(
    ("text", "kmh"),
    [
        ("50", 50.0),
        ("25 mph", 25 * 1.609344),
        ("25mph", 25 * 1.609344),
        ("50 km/h", 50.0),
        ("10 knots", 18.52),
        ("walk", 7.0),
        ("none", 130.0),
        ("signals", None),
        ("variable", None),
        ("50;30", 30.0),
        ("50 ; 40", 40.0),
        ("80|60|60", 60.0),
        ("DE:urban", 50.0),
        ("de:rural", 100.0),
        ("RU:urban", 60.0),
        ("GB:nsl_single", 60 * 1.609344),
        ("DE:zone30", 30.0),
        ("DE:zone:30", 30.0),
        ("zone:30", 30.0),
        ("IT:urban", 50.0),
    ],
)
def test_speed_limits_are_read_in_the_ways_people_write_them(text: str, kmh: float | None) -> None:
    assert words.speed_kmh(text) == (kmh if kmh is None else pytest.approx(kmh))


@pytest.mark.parametrize(
    "text", ["", ";", "fast", "0", "-50", "1000", "1e9", "50 furlongs", "nan", "inf", "５０ kmh?", "30-50"]
)
def test_a_speed_limit_that_nobody_can_mean_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        words.speed_kmh(text)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["maxspeed", "lanes", "lanes:forward", "oneway", "turn:lanes", "access", "bus:lanes"]),
        st.text(max_size=20),
    )
)
def test_tags_give_a_value_nothing_or_a_value_error_whatever_they_hold(tags: dict[str, str]) -> None:
    road = {"highway": "primary", **tags}
    for read in (words.lanes, lambda tags: words.limit_kmh(tags, "forward")):
        with suppress(ValueError):
            read(road)
    assert words.who_may_drive(road) in ("all", "bus", "nobody")
    assert any(words.directions(road)[:2])
    painted = words.arrows(road, "forward")
    assert lane_ranges(painted, [1.5, 0.0, -1.5]) is None or painted


@pytest.mark.parametrize(
    ("tags", "lanes"),
    [
        ({"oneway": "yes", "lanes": "3"}, (3, None, False)),
        ({"oneway": "-1", "lanes": "2"}, (None, 2, False)),
        ({"lanes": "4"}, (2, 2, False)),
        ({"lanes": "1"}, (1, 1, False)),
        ({"lanes": "3"}, (1, 1, True)),
        ({"lanes": "3", "lanes:backward": "1"}, (2, 1, False)),
        ({"lanes": "5", "lanes:both_ways": "1"}, (2, 2, False)),
        ({"lanes": "2;3", "oneway": "yes"}, (2, None, False)),
        ({"lanes": "3", "oneway": "yes", "lanes:psv": "1"}, (2, None, False)),
        ({"lanes": "3", "oneway": "yes", "bus:lanes": "yes|yes|designated"}, (2, None, False)),
        ({}, (None, None, False)),
    ],
)
def test_lanes_are_shared_out_between_the_directions(tags: dict[str, str], lanes: tuple[object, ...]) -> None:
    assert words.lanes({"highway": "primary", **tags}) == lanes


def test_missing_speeds_follow_the_other_roads_of_the_class_and_are_flagged(tmp_path: Path) -> None:
    places = {k: (k, 0) for k in range(30)}
    ways: list[Way] = [
        (100 + k, [k, k + 1], {"highway": "tertiary", "maxspeed": "30 mph", "lanes": "2"}) for k in range(25)
    ]
    ways += [(200, [25, 26], {"highway": "tertiary"}), (201, [26, 27], {"highway": "secondary", "maxspeed": "brisk"})]
    network = network_of(osm(places, ways), tmp_path)
    speed = dict(zip(network.links.ids, (network.compile().free_speed * 3.6).round(1).tolist(), strict=True))
    assert speed["200.0"] == speed["100.0"] == 48.3
    assert speed["201.0"] == 50.0
    assert network.assumed(network.links.position["100.0"]) == ()
    assert network.assumed(network.links.position["200.0"]) == ("lanes", "free_speed")
    assert "tertiary 48.3 (as 25 of 25 tagged)" in note(network, "free_speed of 2 of 27 ways")
    assert "'brisk' is no speed" in note(network, "cannot be read")


def test_chinese_names_are_kept_beside_the_english_ones(tmp_path: Path) -> None:
    tags = {**STREET, "name": "解放路", "name:en": "Jiefang Road"}
    network = network_of(osm({1: (0, 0), 2: (1, 0)}, [(7, [1, 2], tags)]), tmp_path)
    assert (network.links.names[0], network.links.names_zh[0]) == ("Jiefang Road", "解放路")


# Turns


def cross(tmp_path: Path, *relations: Relation) -> Network:
    return network_of(osm(CROSS, CROSS_WAYS, relations), tmp_path)


def turn_ban(kind: str, start: int, goal: int, **tags: str) -> Relation:
    members = [("way", start, "from"), ("node", 10, "via"), ("way", goal, "to")]
    return 900, members, {"type": "restriction", "restriction": kind, **tags}


def test_a_forbidden_turn_is_no_movement_and_the_others_stay(tmp_path: Path) -> None:
    network = cross(tmp_path, turn_ban("no_left_turn", 101, 104))
    assert onward(network, "101.0") == {"102.0", "103.0-r"}
    assert onward(network, "102.0-r") == {"101.0-r", "103.0-r", "104.0"}
    assert note(network, "kept as movements").startswith("1 turn restrictions")


def test_an_only_turn_forbids_all_others_from_its_way(tmp_path: Path) -> None:
    network = cross(tmp_path, turn_ban("only_straight_on", 101, 102))
    assert onward(network, "101.0") == {"102.0"}
    assert len(onward(network, "103.0")) == 3


@pytest.mark.parametrize(
    ("ban", "words_"),
    [
        (turn_ban("no_left_turn", 101, 104, day_on="Monday"), "hold at certain hours"),
        (turn_ban("no_left_turn", 101, 104, **{"except": "psv;motorcar"}), "other vehicles than cars"),
        (turn_ban("no_left_turn", 101, 555), "about roads that are left out"),
        (turn_ban("no_flying", 101, 999), "about roads that are left out"),
        (turn_ban("careful", 101, 104), "unknown kind or lack a member"),
        ((900, [("way", 101, "from")], BAN), "lack a member"),
        ((900, [("way", 101, "from"), ("node", 3, "via"), ("way", 104, "to")], BAN), None),
        ((900, [("way", 101, "from"), ("node", 10, "via"), ("relation", 104, "to")], BAN), "lack a member"),
        (
            (
                900,
                [("way", 101, "from"), ("node", 10, "via"), ("way", 104, "to")],
                {"type": "restriction", "restriction:hgv": "no_left_turn"},
            ),
            "other vehicles",
        ),
        (
            (
                900,
                [("way", 101, "from"), ("node", 10, "via"), ("way", 104, "to")],
                {"type": "restriction", "restriction:conditional": "no_left_turn @ (07:00-09:00)"},
            ),
            "certain hours",
        ),
        ((900, [("way", 101, "x")] * 5000, BAN), "too many members"),
    ],
)
def test_a_ban_that_does_not_hold_for_cars_is_counted_and_not_applied(
    ban: Relation, words_: str | None, tmp_path: Path
) -> None:
    network = cross(tmp_path, ban)
    if words_ is None:  # the ways meet once, so the wrong via node does not matter
        assert onward(network, "101.0") == {"102.0", "103.0-r"}
        return
    assert len(onward(network, "101.0")) == 3
    assert note(network, words_)


def test_a_ban_that_would_leave_no_way_on_is_left_out(tmp_path: Path) -> None:
    network = network_of(osm(CROSS, CROSS_WAYS[:2], [turn_ban("no_straight_on", 101, 102)]), tmp_path)
    assert onward(network, "101.0") == {"102.0"}
    assert "900" in note(network, "no way on")


# Two carriageways, west on the upper, east on the lower, joined by a short way at 5 - 6.
DUAL = {1: (0, 0), 5: (1, 0), 2: (2, 0), 3: (2, 1), 6: (1, 1), 4: (0, 1), 7: (1, -1), 8: (1, 2)}
ONE_WAY = {"highway": "primary", "oneway": "yes"}
DUAL_WAYS: list[Way] = [
    (11, [1, 5], ONE_WAY),
    (12, [5, 2], ONE_WAY),
    (13, [3, 6], ONE_WAY),
    (14, [6, 4], ONE_WAY),
    (15, [5, 6], STREET),
    (16, [2, 3], ONE_WAY),
    (17, [4, 1], ONE_WAY),
]
NO_U_TURN: Relation = (
    901,
    [("way", 11, "from"), ("way", 15, "via"), ("way", 14, "to")],
    {"type": "restriction", "restriction": "no_u_turn"},
)


def test_a_ban_over_a_way_holds_where_nobody_else_comes_over_it(tmp_path: Path) -> None:
    network = network_of(osm(DUAL, DUAL_WAYS, [NO_U_TURN]), tmp_path)
    # 15 leads to 14 alone: whoever may not go there from 11 may not enter it
    assert onward(network, "11.0") == {"12.0"}
    assert onward(network, "13.0") == {"14.0", "15.0-r"}
    assert note(network, "kept as movements").startswith("1 turn")


def test_a_ban_over_a_way_that_others_use_is_named_and_not_applied(tmp_path: Path) -> None:
    ways = [*DUAL_WAYS, (18, [7, 5], STREET), (19, [6, 8], STREET)]
    network = network_of(osm(DUAL, ways, [NO_U_TURN]), tmp_path)
    assert "15.0" in onward(network, "11.0")
    assert onward(network, "15.0") == {"14.0", "19.0"}
    assert "901" in note(network, "others use too")


def test_arrows_become_lane_groups_at_the_end_of_their_way(tmp_path: Path) -> None:
    ways: list[Way] = [
        (101, [1, 10], {"highway": "primary", "lanes": "3", "oneway": "yes", "turn:lanes": "left|through|right"}),
        *CROSS_WAYS[1:],
        (105, [4, 1], STREET),
    ]
    network = network_of(osm(CROSS, ways), tmp_path)
    compiled = network.compile()
    k = network.links.position["101.0"]
    outs = [compiled.link_ids[i] for i in compiled.movement_out[slice(*compiled.movement_start[k : k + 2])]]
    groups = compiled.movement_group[slice(*compiled.movement_start[k : k + 2])] - compiled.group_start[k]
    assert dict(zip(outs, groups.tolist(), strict=True)) == {"104.0": 0, "102.0": 1, "103.0-r": 2}
    assert note(network, "lane groups")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["left", "through", "right", "through;right", "left;through", "none", "", "reverse", "slight_left", "junk"]
        ),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.floats(-math.pi, math.pi), min_size=1, max_size=5),
)
def test_every_lane_has_a_movement_and_every_movement_a_lane(painted: list[str], angles: list[float]) -> None:
    ranges = lane_ranges(painted, angles)
    if ranges is None:
        return
    assert len(ranges) == len(angles)
    assert all(1 <= first <= last <= len(painted) for first, last in ranges)
    assert {lane for first, last in ranges for lane in range(first, last + 1)} == set(range(1, len(painted) + 1))


# Signals and furniture


def test_a_signal_on_its_stop_line_steers_the_junction_downstream(tmp_path: Path) -> None:
    places = {**CROSS, 60: (-0.2, 0), 61: (0, -0.3)}  # 22 m before the junction, and 33 m
    ways: list[Way] = [
        (101, [1, 60, 10], {**STREET, "oneway": "yes"}),
        (102, [10, 2], STREET),
        (103, [3, 61, 10], STREET),
        (104, [10, 4], STREET),
        (105, [4, 1], STREET),
    ]
    light = {"highway": "traffic_signals"}
    network = network_of(
        osm(places, ways, (), {60: light, 61: {**light, "traffic_signals:direction": "forward"}}), tmp_path
    )
    assert network.nodes.ctrl_types[network.nodes.position["10"]] == "signal"
    assert {asset.node_id for asset in network.assets.assets.values()} == {"10"}
    assert note(network, "no timing").startswith("2 signals of the map stand at 1 junctions")


@pytest.mark.parametrize(("at", "steered"), [(0.3, "10"), (0.4, "20")])
def test_a_signal_between_two_junctions_steers_the_nearer_one(at: float, steered: str, tmp_path: Path) -> None:
    places = {**CROSS, 20: (0.7, 0), 21: (0.7, 1), 22: (0.7, -1), 60: (at, 0)}  # junctions 78 m apart
    ways: list[Way] = [*CROSS_WAYS[:1], *CROSS_WAYS[2:], (102, [10, 60, 20, 2], STREET), (105, [21, 20, 22], STREET)]
    network = network_of(osm(places, ways, (), {60: {"highway": "traffic_signals"}}), tmp_path)
    assert {asset.node_id for asset in network.assets.assets.values()} == {steered}


def test_a_signal_between_junctions_is_an_asset_of_its_link(tmp_path: Path) -> None:
    places = {**CROSS, 5: (5, 0), 60: (3, 0)}
    ways: list[Way] = [*CROSS_WAYS, (105, [2, 60, 5], STREET)]
    network = network_of(osm(places, ways, (), {60: {"highway": "traffic_signals"}}), tmp_path)
    assert set(network.nodes.ctrl_types) == {""}
    (asset,) = network.assets.assets.values()
    assert (asset.kind, asset.node_id, asset.link_id) == ("signal", "", "105.0")


@pytest.mark.parametrize(("steps", "beside"), [(0.3, True), (0.42, False)])
def test_furniture_farther_than_40_m_from_any_street_has_no_link(steps: float, beside: bool, tmp_path: Path) -> None:
    places = {**CROSS, 70: (0.5, steps)}  # 33 and 47 m north of a street
    network = network_of(osm(places, CROSS_WAYS, (), {70: {"highway": "street_lamp"}}), tmp_path)
    (lamp,) = network.assets.assets.values()
    assert bool(lamp.link_id) == beside


def test_furniture_beside_a_street_is_an_asset_with_its_link_and_buildings_have_heights(tmp_path: Path) -> None:
    places = {**CROSS, 70: (0.5, 0.1), 71: (3, 3), 80: (1, 1), 81: (1.5, 1), 82: (1.5, 1.5)}
    furniture = {70: {"highway": "street_lamp"}, 71: {"man_made": "surveillance"}}
    house: Way = (300, [80, 81, 82, 80], {"building": "yes", "building:levels": "4"})
    network = network_of(osm(places, [*CROSS_WAYS, house], (), furniture), tmp_path)
    lamp, camera = network.assets.assets["lamp-70"], network.assets.assets["camera-71"]
    assert lamp.link_id.startswith("102.0")
    assert camera.link_id == ""
    assert [building.height_m for building in network.buildings] == [12.0]


# Files


def made_map() -> str:
    furniture = {10: {"highway": "traffic_signals"}, 2: {"highway": "street_lamp"}}
    tags = {"highway": "primary", "maxspeed": "25 mph", "lanes": "2", "name": "Søndergade"}
    ways: list[Way] = [(101, [1, 10], tags), *CROSS_WAYS[1:]]
    return osm(CROSS, ways, [turn_ban("no_left_turn", 101, 104)], furniture)


def as_pbf(folder: Path) -> Path:
    (folder / "plain.osm").write_text(made_map(), "utf-8")
    target = folder / "map.osm.pbf"
    target.unlink(missing_ok=True)
    with osmium.SimpleWriter(str(target)) as writer:
        for item in osmium.FileProcessor(str(folder / "plain.osm")):
            writer.add(item)
    return target


def test_pbf_xml_gzip_and_bzip2_give_the_same_network(tmp_path: Path) -> None:
    pbf = as_pbf(tmp_path)
    plain = tmp_path / "plain.osm"
    (tmp_path / "a.osm.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "a.osm.bz2").write_bytes(bz2.compress(plain.read_bytes()))
    hashes = set()
    for path in (pbf, plain, tmp_path / "a.osm.gz", tmp_path / "a.osm.bz2"):
        assert guess(path) == "osm"
        tables = {**import_tables(path), "config": []}
        hashes.add(Network.from_tables(tables).sha256)
    assert len(hashes) == 1


def test_order_of_the_file_and_negative_ids_do_not_matter(tmp_path: Path) -> None:
    text = made_map()
    lines = text.splitlines()
    shuffled = "\n".join([*lines[:2], *reversed(lines[2:-1]), lines[-1]])
    plain, other = network_of(text, tmp_path), network_of(shuffled, tmp_path)
    assert set(plain.links.ids) == set(other.links.ids)
    assert (
        len(network_of(text.replace('node id="', 'node id="-').replace('nd ref="', 'nd ref="-'), tmp_path).links) == 8
    )


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("form", ["pbf", "osm", "osm.gz", "osm.bz2"])
def test_a_file_that_is_cut_off_is_one_sentence(form: str, share: float, tmp_path: Path) -> None:
    data = as_pbf(tmp_path).read_bytes() if form == "pbf" else made_map().encode()
    data = gzip.compress(data) if form.endswith("gz") else bz2.compress(data) if form.endswith("bz2") else data
    (tmp_path / f"cut.{form}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError) as caught:
        import_tables(tmp_path / f"cut.{form}")
    assert len(caught.value.faults) == 1
    assert "cut." in caught.value.faults[0]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.osm", b"<osm version='0.6'></osm>", "has no road for motor vehicles"),
        ("a.osc", b"<?xml version='1.0'?><osmChange version='0.6'></osmChange>", "holds changes"),
        ("a.osm.gz", gzip.compress(bytes(range(256)) * 9, mtime=0), "none of the networks"),
        ("a.osm", osm({1: (0, 0)}, [(7, [1], STREET)]).encode(), "not the nodes"),
        ("a.osm", osm({1: (0, 0), 2: (1, 0)}, [(7, [1, 2], ONE_WAY)]).encode(), "--all-parts"),
        (
            "a.osm",
            osm({1: (0, 0), 2: (1, 0)}, [(7, [1, 2], STREET)]).encode("utf-8").replace(b"residential", b"resid\xff"),
            "cannot be read as OpenStreetMap",
        ),
        (
            "a.osm",
            osm({1: (0, 0)}, [(7, [1], STREET)]).encode().replace(b'lat="60', b'lat="6000'),
            "cannot be read as OpenStreetMap",
        ),
    ],
)
def test_files_that_hold_no_streets_are_told_why(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        import_tables(tmp_path / name)
    assert len(caught.value.faults) == 1
    assert sentence in caught.value.faults[0]


def test_nodes_beyond_the_globe_are_left_out_and_counted(tmp_path: Path) -> None:
    text = osm({**CROSS, 50: (0, 0)}, [*CROSS_WAYS, (200, [2, 50], STREET)]).replace(
        '<node id="50" lon="24.0000000"', '<node id="50" lon="190.0"'
    )
    network = network_of(text, tmp_path)
    assert len(network.links) == 8
    assert note(network, "nowhere on the globe")


def test_tags_that_are_not_utf_8_lose_their_object_and_nothing_else(tmp_path: Path) -> None:
    source = as_pbf(tmp_path)
    raw = tmp_path / "raw.osm.pbf"
    with osmium.SimpleWriter(osmium.io.File(str(raw), "pbf,pbf_compression=none")) as writer:
        for item in osmium.FileProcessor(str(source)):
            writer.add(item)
    data = raw.read_bytes()
    assert "ø".encode() in data
    raw.write_bytes(data.replace("ø".encode(), b"\xff\xfe"))
    network = Network.from_tables(import_tables(raw))
    assert note(network, "not UTF-8").startswith("1 objects")
    assert "101.0" not in network.links.position


@pytest.mark.skipif(sys.platform == "win32", reason="files are not limited in size there")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    nodes = {n: (n, n % 7) for n in range(1, 3000)}
    (tmp_path / "wide.osm").write_text(osm(nodes, [(n, [n, n + 1], STREET) for n in range(1, 2999)]))
    program = (
        "import resource, signal, sys, tempfile; from pathlib import Path; from sensors import WorkError\n"
        "from twin.importers import import_tables\n"
        f"tempfile.tempdir = {str(tmp_path / 'scrap')!r}\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: import_tables(Path(sys.argv[1]))\n"
        "except WorkError as error: print(error)\n"
    )
    (tmp_path / "scrap").mkdir()
    words = [sys.executable, "-c", program, str(tmp_path / "wide.osm")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cannot write to the temporary folder")
    assert not list((tmp_path / "scrap").iterdir())


def test_words_of_the_map_come_through_as_they_are(tmp_path: Path) -> None:
    strange = 'Smith & Sons <"O\'Neill">\nRoad\t&amp; </way><nd ref="1"/> ü 路'
    network = network_of(osm(CROSS, [(n, refs, {**tags, "name": strange}) for n, refs, tags in CROSS_WAYS]), tmp_path)
    assert set(network.links.names) == {strange}


def test_ids_beyond_what_floats_hold_are_told_apart(tmp_path: Path) -> None:
    far = 2**53
    text = osm(
        {far + k: place for k, place in enumerate([(0, 0), (1, 0), (2, 0), (1, 1)])},
        [(7, [far, far + 1, far + 2], STREET), (8, [far + 1, far + 3], STREET)],
    )
    network = network_of(text, tmp_path)
    assert sorted(network.nodes.ids) == [str(far + k) for k in range(4)]
    assert set(network.links.ids) == {"7.0", "7.0-r", "7.1", "7.1-r", "8.0", "8.0-r"}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_pbf_becomes_a_network_or_one_sentence(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Packed, as files of this kind are: libosmium itself crashes on some damaged ones without compression.
    raw = as_pbf(tmp_path_factory.mktemp("damaged"))
    content = bytearray(raw.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    raw.write_bytes(bytes(content))
    faults: tuple[str, ...] = ("a sentence",)
    try:
        network = Network.from_tables(import_tables(raw))
        network.compile()
        network.validate()
    except InputError as error:
        faults = error.faults
    assert faults
    assert all("\n" not in fault and len(fault) < 1000 for fault in faults)


# Real cities


def counted(path: Path, *, private: bool) -> tuple[int, int]:
    """Return directed links and streets that come back to themselves, counted the plain way with dictionaries."""
    ways = []
    known = set()
    for item in osmium.FileProcessor(str(path)):
        if item.is_node():
            known.add(item.id)
        elif item.is_way():
            tags = dict(item.tags)
            road = "highway" in tags and words.is_road(tags, service=False)
            if road and (private or words.who_may_drive(tags) == "all"):
                ways.append((tags, [node.ref for node in item.nodes]))
    use: Counter[int] = Counter()
    for _, refs in ways:
        use.update([*refs, refs[0], refs[-1]])
    links = loops = 0
    for tags, refs in ways:
        lanes = sum(words.directions(tags)[:2])
        at = [ref for k, ref in enumerate(refs) if use[ref] > 1 and ref in known and (k == 0 or refs[k - 1] != ref)]
        links += lanes * (len(at) - 1)
        loops += lanes * sum(a == b for a, b in pairwise(at))
    return links, loops


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "described"),
    [("porto_alegre_centre.osm.pbf", 20_208), ("columbus_ohio.osm.pbf", 41_713)],
)
def test_links_of_a_real_city_are_those_of_a_plain_count(name: str, described: int, shared_data: Path) -> None:
    path = shared_data / "osm" / name
    # The description of the data counts private ways too, and motorways as one-way whatever they say.
    assert counted(path, private=True)[0] == pytest.approx(described, rel=0.002)
    links, loops = counted(path, private=False)
    network = Network.from_tables(import_tables(path, all_parts=True))
    # Loops are split in two; streets of no length, and those there and back over one node, are the few others.
    assert len(network.links) == pytest.approx(links + loops, abs=20)


@pytest.mark.data
def test_helsinki_keeps_its_furniture_and_fills_its_gaps_in_words(shared_data: Path) -> None:
    network = Network.from_tables(import_tables(shared_data / "osm" / "helsinki_centre.osm.pbf"))
    kinds = Counter(asset.kind for asset in network.assets.assets.values())
    assert (kinds["lamp"], kinds["bus_stop"], kinds["cabinet"]) == (586, 92, 8)  # as the data's description counts
    assert kinds["camera"] >= 220  # two of its speed cameras are counted with them here
    assert not network.drives_left
    assert sum("free_speed" in columns for columns in network.links.assumed) < 0.01 * len(network.links)
    assert np.isfinite(network.compile().length).all()
