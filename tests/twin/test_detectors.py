"""Detectors of a table find their links by name, place and heading."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.cli import main
from sensors import InputError
from twin import Network
from twin.importers import import_tables, with_detectors
from twin.importers.detector_map import DetectorMap
from twin.importers.detectors import read
from twin.matching import Streets

METRE = 1 / 111_319.49  # degrees of latitude; of longitude too at the equator, where the town lies
MAP = """
[columns]
sensor_id = "id"
lon = "x"
lat = "y"
heading = "way"
link_id = "street"
"""


@pytest.fixture(scope="module")
def town() -> Network:
    """A crossing of two-way streets of 400 m, the two sides of a street 10 m apart, and a bend to the north-east."""
    nodes = {"W": (-400, 0), "E": (400, 0), "N": (0, 400), "S": (0, -400), "M": (0, 0), "B": (800, 400)}
    ends = [(a, b) for a in "WENS" for b in "M"] + [("M", a) for a in "WENS"] + [("E", "B")]
    links = []
    for a, b in ends:
        (x0, y0), (x1, y1) = nodes[a], nodes[b]
        points = [(x0, y0), (800, 0), (x1, y1)] if (a, b) == ("E", "B") else [(x0, y0), (x1, y1)]
        side = np.array([y1 - y0, x0 - x1]) / max(1.0, np.hypot(x1 - x0, y1 - y0)) * 5.0  # traffic keeps right
        shifted = ((np.array(points) + (0 if (a, b) == ("E", "B") else side)) * METRE).tolist()
        line = ", ".join(f"{x:.9f} {y:.9f}" for x, y in shifted)
        links.append({"link_id": a + b, "from_node_id": a, "to_node_id": b, "geometry": f"LINESTRING ({line})"})
    places = [{"node_id": n, "x_coord": x * METRE, "y_coord": y * METRE} for n, (x, y) in nodes.items()]
    return Network.from_tables({"node": places, "link": links})


def at(x: float, y: float) -> str:
    return f"{x * METRE:.9f},{y * METRE:.9f}"


def table(folder: Path, *lines: str, text: str = MAP) -> tuple[Path, Path]:
    source, names = folder / "loops.csv", folder / "map.toml"
    source.write_text("id,x,y,way,street\n" + "".join(line + "\n" for line in lines), "utf-8")
    names.write_text(text, "utf-8")
    return source, names


def test_a_named_link_that_runs_the_same_way_is_believed(town: Network, tmp_path: Path) -> None:
    source, names = table(tmp_path, f"a,{at(-100, 3)},90,WM")  # on the wrong side of the middle, yet named
    (row,), notes = read(source, town, detector_map=names)
    assert (row["link_id"], row["assumed"], notes) == ("WM", "", [])
    assert row["position_m"] == pytest.approx(300, abs=1)


def test_a_named_link_that_runs_another_way_is_replaced_and_that_is_said(town: Network, tmp_path: Path) -> None:
    source, names = table(tmp_path, f"a,{at(-100, -5)},90,MW", f"b,{at(-100, 5)},270,MW")
    (first, second), notes = read(source, town, detector_map=names)
    assert (first["link_id"], first["assumed"], first["named_link_id"]) == ("WM", "link_id", "MW")
    assert (second["link_id"], second["assumed"]) == ("MW", "")
    assert len(notes) == 1
    assert "1 of 2 detectors: each names a link that runs another way" in notes[0]


def test_what_has_no_link_near_stays_without_one(town: Network, tmp_path: Path) -> None:
    source, names = table(
        tmp_path, f"far,{at(-200, 200)},90,", f"across,{at(-200, 0)},0,WM", f"ghost,{at(-200, -5)},80,nowhere"
    )
    rows, notes = read(source, town, detector_map=names)
    assert [row["link_id"] for row in rows] == ["", "WM", "WM"]  # a right angle is not another way
    assert "names no link; 0 were put on" in notes[1]
    assert notes[1].endswith("stay without a link: far")
    assert "names a link that the network has not; 1 were put on" in notes[0]


def test_headings_are_counted_as_the_map_says() -> None:
    def mapped(zero: str, turns: str) -> DetectorMap:
        return DetectorMap.parse("m", MAP + f'[heading]\nzero = "{zero}"\nturns = "{turns}"\n')

    # Towards the south-west, 225 degrees clockwise from north.
    assert mapped("north", "clockwise").clockwise(225) == 225
    assert mapped("north", "anticlockwise").clockwise(135) == 225
    assert mapped("east", "anticlockwise").clockwise(225) == 225
    assert mapped("east", "clockwise").clockwise(135) == 225


def test_a_detector_in_many_rows_is_one(town: Network, tmp_path: Path) -> None:
    source, names = table(tmp_path, *[f"a,{at(-100, -5)},90,WM"] * 3, f"b,{at(-100, 5)},,")
    rows, _ = read(source, town, detector_map=names)
    assert [row["sensor_id"] for row in rows] == ["a", "b"]
    assert rows[1]["link_id"] == "MW"  # no heading: the nearest


def test_every_fault_of_a_table_is_told_at_once(town: Network, tmp_path: Path) -> None:
    source, names = table(tmp_path, "a,1.0,95,0,WM", "b,x,2,0,WM", f"c,{at(0, 0)},north,WM", "d,1", f",{at(0, 0)},1,WM")
    with pytest.raises(InputError) as raised:
        read(source, town, detector_map=names)
    told = "\n".join(raised.value.faults)
    assert "line 5: 2 cells, the header has 5" in told
    assert "line 6: id is empty" in told
    assert "detector a: its place is '95', '1.0'" in told
    assert "detector b: its place is '2', 'x'" in told
    assert "detector c: heading is 'north', must be degrees" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[columns", "is not TOML"),
        ('[columns]\nsensor_id = "id"', "must name sensor_id, and lon and lat or lat_lon"),
        (MAP + "[heading]\nzero = 'south'", "zero is 'south', must be north or east"),
        (MAP.replace('"x"', "7"), "lon must name a column as text"),
        (MAP.replace('"x"', '"xx"'), "has no column 'xx', which the map names for lon; did you mean 'x'"),
        (MAP + "[sensors]\nkind = 'loop'", "unknown key 'sensors', did you mean 'sensor'"),
        (MAP + "[sensor]\nquantities = ['speed_kmm']", "which no quantity is called, did you mean 'speed_kmh'"),
        (MAP + "[sensor]\nquantities = 'speed_kmh'", "must be a list of names"),
        ("columns = 3", "columns must be a table [columns]"),
    ],
)
def test_a_wrong_map_is_refused_in_a_sentence(town: Network, tmp_path: Path, text: str, told: str) -> None:
    source, names = table(tmp_path, f"a,{at(0, 0)},0,WM", text=text)
    with pytest.raises(InputError) as raised:
        read(source, town, detector_map=names)
    assert told in str(raised.value)


def test_a_table_that_no_map_knows_asks_for_one(town: Network, tmp_path: Path) -> None:
    source, _ = table(tmp_path, f"a,{at(0, 0)},0,WM")
    with pytest.raises(InputError, match="fit no built-in map of detectors; name them with --detector-map FILE"):
        read(source, town)


@settings(max_examples=60, deadline=None)
@given(st.floats(-380, 780), st.floats(-380, 380), st.floats(0, 359.9))
def test_the_nearest_link_is_that_of_a_look_at_every_piece(town: Network, x: float, y: float, heading: float) -> None:
    point = np.array([x, y])
    best = (40.0, -1)
    for link, line in enumerate(town.links.geometry):
        points = line / METRE
        for start, end in pairwise(points):
            step = end - start
            share = np.clip(np.dot(point - start, step) / np.dot(step, step), 0, 1)
            away = float(np.hypot(*(point - start - share * step)))
            way = np.degrees(np.arctan2(step[0], step[1]))
            if abs((way - heading + 180) % 360 - 180) <= 45 and away < best[0]:
                best = (away, link)
    found = Streets(town).match(point[None] * METRE, np.array([heading]))
    assert (int(found.link[0]) == -1) == (best[1] == -1)
    if best[1] >= 0:  # the local plane of the town and degrees times metres differ by a few centimetres
        assert found.away_m[0] == pytest.approx(best[0], abs=0.2)


def test_detectors_come_with_an_import(town: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    town.write(tmp_path / "town")
    source, names = table(tmp_path, f"a,{at(-100, -5)},90,MW")
    words = ["network", "import", str(tmp_path / "town"), str(tmp_path / "out")]
    options = ["--detectors", str(source), "--detector-map", str(names)]
    assert main([*words, *options]) == 0
    assert "1 of 1 detectors: each names a link that runs another way" in capsys.readouterr().out
    (sensor,) = Network.read(tmp_path / "out").sensors
    assert (sensor.sensor_id, sensor.link_id, sensor.kind) == ("a", "WM", "loop")
    assert main([*words, "--detector-map", str(names)]) == 2
    assert "--detector-map names the columns of --detectors FILE" in capsys.readouterr().err
    again = ["network", "import", str(tmp_path / "out"), str(tmp_path / "again"), *options]
    assert main(again) == 2
    assert "the network has a sensor of this name already" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("name", "loops", "least_against", "most_against"),
    [
        # 32 of the 84 loops carry the id of an edge that points more than 90 degrees away from them.
        ("loop_counts_hourly_2024-01_2024-03.csv.gz", 84, 30, 34),
        ("as_published_semicolon_mangled_coords_2024-01-01_03.csv.gz", 55, 1, 55),
    ],
)
def test_the_loops_of_bologna_are_put_on_streets_that_run_their_way(
    shared_data: Path, name: str, loops: int, least_against: int, most_against: int
) -> None:
    tables = import_tables(shared_data / "bologna" / "bologna_joined.net.xml.gz")
    network = Network.from_tables(with_detectors(tables, shared_data / "bologna" / name))
    assert len(network.sensors) == loops
    rows = network.tables["sensor"].rows
    against = [row for row in rows if row["assumed"] == "link_id"]
    assert least_against <= len(against) <= most_against
    assert all(row["link_id"] != row["named_link_id"] for row in against)
    assert sum(row["link_id"] != "" for row in rows) >= 0.9 * loops
