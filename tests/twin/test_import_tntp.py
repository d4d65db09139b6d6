"""What is special to TNTP: units that nobody states, centroids, places in a file beside, trips between zones."""

from pathlib import Path

import numpy as np
import pytest

from hub.cli import main
from sensors import InputError
from simulation import simulate
from twin import Network
from twin.importers import import_tables
from twin.importers.tntp import TntpUnits

HEAD = "<NUMBER OF ZONES> 2\n<NUMBER OF NODES> 4\n<FIRST THRU NODE> {first}\n<NUMBER OF LINKS> {n}\n<END OF METADATA>\n"
ROWS = (
    "1 3 4000 1.0 1.0 0.15 4 0 0 1 ;",
    "3 1 4000 1.0 1.0 0.15 4 0 0 1 ;",
    "3 4 1800 2.0 2.0 0.15 4 0 0 1 ;",
    "4 3 1800 2.0 2.0 0.15 4 0 0 1 ;",
    "4 2 4000 0 0 0.15 4 0 0 1 ;",
    "2 4 4000 0 0 0.15 4 0 0 1 ;",
    "1 2 900 9.0 60 0.15 4 0 0 1 ;",
    "2 1 900 9.0 60 0.15 4 0 0 1 ;",
)
NODES = "Node\tX\tY\t;\n1\t0\t0\t;\n3\t1000\t0\t;\n4\t3000\t0\t;\n2\t3500\t0\t;\n"
TRIPS = """<NUMBER OF ZONES> 2
<TOTAL OD FLOW> 75.0
<END OF METADATA>

Origin \t1
    1 : 5.0;    2 : 60.0;
Origin  2
    1 : 10;
"""


def made(
    folder: Path, *, rows: tuple[str, ...] = ROWS, first: int = 3, n: int | None = None, nodes: str = NODES
) -> Path:
    text = HEAD.format(first=first, n=len(rows) if n is None else n)
    (folder / "Town_net.tntp").write_text(text + "~ init_node term_node ...\n" + "\n".join(rows) + "\n")
    if nodes:
        (folder / "Town_node.tntp").write_text(nodes)
    return folder / "Town_net.tntp"


def test_lengths_and_speeds_follow_the_units_that_the_user_names(tmp_path: Path) -> None:
    source = made(tmp_path)
    network = Network.from_tables(import_tables(source, units=TntpUnits(length="mile", time="min")))
    at = network.links.position["3-4"]
    assert network.compile().length[at] == pytest.approx(2 * 1609.344)
    assert network.compile().free_speed[at] == pytest.approx(2 * 1609.344 / 120)
    assert network.assumed(at) == ("lanes",)
    assert not any("states no units" in note for note in network.notes)


def test_units_that_nobody_names_are_assumed_and_said(tmp_path: Path) -> None:
    network = Network.from_tables(import_tables(made(tmp_path)))
    at = network.links.position["3-4"]
    assert network.compile().length[at] == 2000.0
    assert set(network.assumed(at)) == {"lanes", "length", "free_speed"}
    assert any("states no units: lengths are taken as km, times as min" in note for note in network.notes)


def test_units_that_give_no_speed_of_a_road_are_refused_with_those_that_would(tmp_path: Path) -> None:
    rows = tuple(row.replace(" 1.0 1.0 ", " 1000 60 ").replace(" 2.0 2.0 ", " 2000 120 ") for row in ROWS)
    source = made(tmp_path, rows=rows)
    with pytest.raises(InputError, match=r"half of the links are driven at 1000 km/h.*--length-unit m --time-unit s"):
        import_tables(source)
    assert import_tables(source, units=TntpUnits(length="m", time="s"))["link"][0]["free_speed"] == 60.0


def test_no_trip_passes_a_centroid(tmp_path: Path) -> None:
    # From 3 to 4 there is a way over the centroids 1 and 2 that is ten times as fast as the road.
    rows = tuple(row.replace("9.0 60", "9.0 6").replace(" 2.0 2.0 ", " 2.0 20 ") for row in ROWS)
    network = Network.from_tables(import_tables(made(tmp_path, rows=rows)))
    compiled = network.compile()
    reserved = set(network.movements.reserved.tolist())
    into_centroid = network.links.position["3-1"]
    movements = range(compiled.movement_start[into_centroid], compiled.movement_start[into_centroid + 1])
    assert set(movements) <= reserved
    assert not [fault for fault in network.validate() if fault.rule == "no movement"]
    free = Network.from_tables(import_tables(made(tmp_path, rows=rows, first=1)))
    assert not len(free.movements.reserved)


def test_capacities_make_lanes_and_hours_divide_them(tmp_path: Path) -> None:
    network = Network.from_tables(import_tables(made(tmp_path), units=TntpUnits(hours=2.0)))
    at = network.links.position["1-3"]
    assert network.compile().lanes[at] == 2  # 2,000 veh/h
    assert network.compile().capacity[at] * 3600 == pytest.approx(2000.0, abs=0.01)


def test_places_of_the_file_beside_are_degrees_a_named_system_or_scaled_to_the_lengths(tmp_path: Path) -> None:
    source = made(tmp_path)
    network = Network.from_tables(import_tables(source))
    x = network.compile().node_xy[[network.nodes.position[name] for name in ("1", "3", "4")], 0]
    assert np.diff(x) == pytest.approx([1000.0, 2000.0], rel=0.01)
    assert any("0° N, 0° E" in note for note in network.notes)
    utm = NODES.replace("\t0\t;", "\t3400000\t;").replace("\t0\t3400000", "\t500000\t3400000")
    source = made(tmp_path, nodes=utm.replace("\t1000\t", "\t501000\t").replace("\t3000\t", "\t503000\t"))
    network = Network.from_tables(import_tables(source, units=TntpUnits(crs="EPSG:32650")))
    assert network.nodes.lon_lat[network.nodes.position["1"]] == pytest.approx([117.0, 30.73], abs=0.01)
    network = Network.from_tables(
        import_tables(made(tmp_path, nodes="1 116.3 39.9 ;\n2 116.4 39.9\n3 116.31 39.9\n4 116.33 39.9"))
    )
    assert network.nodes.lon_lat[network.nodes.position["2"]].tolist() == [116.4, 39.9]


def test_without_places_the_network_is_drawn_and_says_so(tmp_path: Path) -> None:
    network = Network.from_tables(import_tables(made(tmp_path, nodes="")))
    assert any("they are drawn" in note for note in network.notes)
    assert len({tuple(place) for place in network.nodes.lon_lat.tolist()}) == 4


def test_trips_become_demand_between_zones_and_are_driven(tmp_path: Path) -> None:
    source = made(tmp_path)
    (tmp_path / "Town_trips.tntp").write_text(TRIPS)
    tables = import_tables(source, demand=[tmp_path / "Town_trips.tntp"])
    assert [tuple(row.values()) for row in tables["demand"]] == [
        ("1", "2", 60.0, 0, 3600.0),
        ("2", "1", 10.0, 0, 3600.0),
    ]
    assert any("5 trips within a zone are left out" in str(row["text"]) for row in tables["note"])
    out = str(tmp_path / "city")
    assert (
        main(["network", "import", str(source), out, "--demand", str(tmp_path / "Town_trips.tntp"), "--hours", "1"])
        == 0
    )
    result = simulate(Network.read(out))
    assert (result.summary()["vehicles"]["demanded"], result.summary()["vehicles"]["arrived"]) == (70, 70)


@pytest.mark.parametrize(
    ("rows", "n", "sentence"),
    [
        (ROWS[:-1], 8, "has 7 rows of links, <NUMBER OF LINKS> says 8; the file is cut off"),
        ((*ROWS[:-1], "2 1 900 ;"), None, "line 14: is '2 1 900 ;', must be init_node, term_node, capacity"),
        ((*ROWS[:-1], "2 1 900 nan 60 ;"), None, "line 14: is '2 1 900 nan 60 ;'"),
        ((*ROWS[:-1], "2 1.5 900 9 60 ;"), None, "line 14"),
    ],
)
def test_a_damaged_network_is_told_by_line(rows: tuple[str, ...], n: int | None, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        import_tables(made(tmp_path, rows=rows, n=n))
    assert sentence in caught.value.faults[0]


def test_other_files_of_the_collection_are_told_what_they_are(tmp_path: Path) -> None:
    source = made(tmp_path)
    (tmp_path / "Town_trips.tntp").write_text(TRIPS)
    with pytest.raises(InputError, match=r"is a table of trips .*give net\.tntp, and trips with --demand"):
        import_tables(tmp_path / "Town_trips.tntp")
    (tmp_path / "cut.tntp").write_text(TRIPS.replace("Origin  2\n    1 : 10;\n", ""))
    with pytest.raises(InputError, match=r"cut.tntp: has 65 trips, <TOTAL OD FLOW> says 75"):
        import_tables(source, demand=[tmp_path / "cut.tntp"])
    (tmp_path / "zone.tntp").write_text(TRIPS.replace("2 : 60.0", "7 : 60.0"))
    with pytest.raises(InputError, match=r"zone.tntp: line 6: has '7 : 60.0', must be a zone of the network"):
        import_tables(source, demand=[tmp_path / "zone.tntp"])
    with pytest.raises(InputError, match="they have no meaning for table"):
        import_tables(source, form="table", units=TntpUnits(length="m"))
