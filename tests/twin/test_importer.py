"""One contract for all importers, then what is special to each format, on small made files and the real ones."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors import InputError
from twin import Network
from twin.gmns import COLUMNS, write_tables
from twin.importers import guess, import_tables
from twin.importers.column_map import ColumnMap
from twin.importers.detector_map import DetectorMap
from twin.projection import projection, utm

CBENGINE = """3
30.25 120.10 n1 1
30.25 120.11 n2 0
30.26 120.11 n3 0
2
n1 n2 963.0 13.888889 3 2 r1 r2
1 0 0 0 1 0 0 0 1
1 0 0 0 1 0
n2 n3 1109.0 8.333333 1 1 r3 r4
1 1 1
1 1 1
1
n1 r1 -1 -1 -1
"""

SUMO = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<net version="1.20">
    <location netOffset="-685000.00,-4928000.00" convBoundary="0,0,400,400" origBoundary="0,0,1,1"
              projParameter="+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"/>
    <type id="highway.primary" disallow="tram rail"/>
    <type id="rails" allow="tram"/>
    <edge id=":b_0" function="internal"><lane id=":b_0_0" index="0" speed="9" length="5" shape="0,0 1,1"/></edge>
    <edge id="ab" from="a" to="b" type="cycleway.lane|highway.primary" name="Via Emilia" shape="0,0 100,5 200,0">
        <lane id="ab_0" index="0" allow="bicycle" speed="5" length="190" shape="0,0 200,0"/>
        <lane id="ab_1" index="1" speed="13.89" length="190" shape="0,0 200,0"/>
        <lane id="ab_2" index="2" speed="13.89" length="190" shape="0,0 200,0"/>
    </edge>
    <edge id="bc" from="b" to="c"><lane id="bc_0" index="0" speed="13.89" length="190" shape="200,0 400,0"/></edge>
    <edge id="bd" from="b" to="d"><lane id="bd_0" index="0" speed="8.33" length="190" shape="200,0 200,200"/></edge>
    <edge id="eb" from="e" to="b"><lane id="eb_0" index="0" speed="8.33" length="190" shape="200,-200 200,0"/></edge>
    <edge id="bus" from="b" to="e"><lane id="bus_0" index="0" allow="bus" speed="9" length="9" shape="0,0 1,1"/></edge>
    <edge id="tram" from="b" to="e" type="rails"><lane id="tram_0" index="0" speed="9" length="9"/></edge>
    <tlLogic id="TL" type="static" programID="0" offset="7">
        <phase duration="30" state="GGr"/>
        <phase duration="3" state="yGr"/>
        <phase duration="2" state="rrr"/>
        <phase duration="25" state="rrg"/>
    </tlLogic>
    <junction id="a" type="dead_end" x="0" y="0"/>
    <junction id="b" type="traffic_light" x="200" y="0"/>
    <junction id="c" type="dead_end" x="400" y="0"/>
    <junction id="d" type="dead_end" x="200" y="200"/>
    <junction id="e" type="dead_end" x="200" y="-200"/>
    <junction id=":b_0" type="internal" x="200" y="0"/>
    <connection from="ab" to="bc" fromLane="1" toLane="0" tl="TL" linkIndex="0" dir="s" state="o"/>
    <connection from="ab" to="bd" fromLane="2" toLane="0" tl="TL" linkIndex="1" dir="l" state="o"/>
    <connection from="ab" to="bus" fromLane="1" toLane="0" tl="TL" linkIndex="1" dir="r" state="o"/>
    <connection from="eb" to="bc" fromLane="0" toLane="0" tl="TL" linkIndex="2" dir="r" state="o"/>
    <connection from=":b_0" to="bc" fromLane="0" toLane="0" dir="s" state="M"/>
</net>
"""

GMNS = {
    "config.csv": "dataset_name,short_length,long_length,speed,crs\nTest_Town,foot,mile,mph,32619\n",
    "node.csv": "\ufeffnode_id,x_coord,y_coord,ctrl_type\n"
    "1,322754,4698346,\n2,322854,4698346,signal\n9,322854,4698400,\n",
    "link.csv": "link_id,from_node_,to_node_id,length,free_speed,lanes,facility_t,allowed_us,geometry\n"
    '10,1,2,0.0625,25,2,ARTERIAL,ALL,"LINESTRING(322754 4698346,322854 4698346)"\n'
    '11,2,1,0.0625,25,2,ARTERIAL,"auto, bike","LINESTRING(322754 4698346,322854 4698346)"\n'
    '12,2,9,0.05,12,0,SIDEWALK,WALK,"LINESTRING(322854 4698346,322854 4698400)"\n',
}

TABLE = """REPORT_ID,POINT_1_NAME,POINT_1_STREET,POINT_1_LAT,POINT_1_LNG,POINT_2_NAME,POINT_2_STREET,POINT_2_LAT,\
POINT_2_LNG,DISTANCE_IN_METERS,NDT_IN_KMH,ROAD_TYPE
158895,4364,Søftenvej,56.2150,10.1397,4349,Søftenvej,56.2085,10.1610,1505,70,MAJOR_ROAD
158896,4349,Søftenvej,56.2085,10.1610,4364,Søftenvej,56.2150,10.1397,1505,70,STREET
"""


OSM = """<?xml version="1.0" encoding="UTF-8"?>
<osm version="0.6">
  <node id="1" lat="60.0" lon="24.0"/>
  <node id="2" lat="60.0" lon="24.002"><tag k="highway" v="traffic_signals"/></node>
  <node id="3" lat="60.0" lon="24.004"/>
  <node id="4" lat="60.001" lon="24.002"/>
  <way id="10"><nd ref="1"/><nd ref="2"/><nd ref="3"/><tag k="highway" v="primary"/><tag k="maxspeed" v="25 mph"/></way>
  <way id="11"><nd ref="2"/><nd ref="4"/><tag k="highway" v="residential"/><tag k="lanes" v="2"/></way>
  <relation id="20">
    <member type="way" ref="10" role="from"/><member type="node" ref="2" role="via"/>
    <member type="way" ref="11" role="to"/>
    <tag k="type" v="restriction"/><tag k="restriction" v="no_left_turn"/>
  </relation>
</osm>
"""


CITYFLOW = """{"intersections": [
 {"id": "w", "point": {"x": -300, "y": 0}, "width": 0, "roads": ["wm", "mw"], "roadLinks": [], "virtual": true},
 {"id": "e", "point": {"x": 300, "y": 0}, "width": 0, "roads": ["me", "em"], "roadLinks": [], "virtual": true},
 {"id": "s", "point": {"x": 0, "y": -300}, "width": 0, "roads": ["ms", "sm"], "roadLinks": [], "virtual": true},
 {"id": "m", "point": {"x": 0, "y": 0}, "width": 10, "roads": ["wm", "em", "sm", "me", "mw", "ms"], "virtual": false,
  "roadLinks": [
   {"type": "go_straight", "startRoad": "wm", "endRoad": "me", "laneLinks": [{"startLaneIndex": 0, "endLaneIndex": 0}]},
   {"type": "turn_right", "startRoad": "wm", "endRoad": "ms", "laneLinks": [{"startLaneIndex": 1, "endLaneIndex": 0}]},
   {"type": "go_straight", "startRoad": "em", "endRoad": "mw", "laneLinks": [{"startLaneIndex": 0, "endLaneIndex": 0}]},
   {"type": "turn_left", "startRoad": "em", "endRoad": "ms", "laneLinks": [{"startLaneIndex": 0, "endLaneIndex": 0}]},
   {"type": "turn_right", "startRoad": "sm", "endRoad": "me", "laneLinks": [{"startLaneIndex": 0, "endLaneIndex": 0}]},
   {"type": "turn_left", "startRoad": "sm", "endRoad": "mw", "laneLinks": [{"startLaneIndex": 0, "endLaneIndex": 0}]}],
  "trafficLight": {"roadLinkIndices": [0, 2, 3, 4, 5], "lightphases": [
   {"time": 5, "availableRoadLinks": []}, {"time": 30, "availableRoadLinks": [0, 2, 3, 4]},
   {"time": 20, "availableRoadLinks": [4, 5]}]}}],
 "roads": [
 {"id": "wm", "points": [{"x": -300, "y": 0}, {"x": 0, "y": 0}], "startIntersection": "w", "endIntersection": "m",
  "lanes": [{"width": 3, "maxSpeed": 11.11}, {"width": 3, "maxSpeed": 11.11}]},
 {"id": "mw", "points": [{"x": 0, "y": 0}, {"x": -300, "y": 0}], "startIntersection": "m", "endIntersection": "w",
  "lanes": [{"width": 3, "maxSpeed": 11.11}]},
 {"id": "me", "points": [{"x": 0, "y": 0}, {"x": 150, "y": 20}, {"x": 300, "y": 0}], "startIntersection": "m",
  "endIntersection": "e", "lanes": [{"width": 3, "maxSpeed": 11.11}]},
 {"id": "em", "points": [{"x": 300, "y": 0}, {"x": 0, "y": 0}], "startIntersection": "e", "endIntersection": "m",
  "lanes": [{"width": 3, "maxSpeed": 11.11}]},
 {"id": "ms", "points": [{"x": 0, "y": 0}, {"x": 0, "y": -300}], "startIntersection": "m", "endIntersection": "s",
  "lanes": [{"width": 3, "maxSpeed": 8}]},
 {"id": "sm", "points": [{"x": 0, "y": -300}, {"x": 0, "y": 0}], "startIntersection": "s", "endIntersection": "m",
  "lanes": [{"width": 3, "maxSpeed": 8}]}]}
"""


TNTP = """<NUMBER OF ZONES> 2
<NUMBER OF NODES> 4
<FIRST THRU NODE> 3
<NUMBER OF LINKS> 7
<END OF METADATA>


~ \tinit_node\tterm_node\tcapacity\tlength\tfree_flow_time\tb\tpower\tspeed\ttoll\tlink_type\t;
\t1\t3\t99999\t0.5\t0.5\t0.15\t4\t0\t0\t1\t;
\t3\t1\t99999\t0.5\t0.5\t0.15\t4\t0\t0\t1\t;
\t3\t4\t3600\t2\t2\t0.15\t4\t0\t0\t1\t;
\t4\t3\t1800\t2\t2\t0.15\t4\t0\t0\t1\t;
\t4\t2\t5000\t0\t0\t0.15\t4\t0\t0\t2\t;
\t2\t4\t5000\t0\t0\t0.15\t4\t0\t0\t2\t;
\t1\t2\t1000\t3\t4\t0.15\t4\t0\t0\t2\t;
"""


GRAPHML = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="d0" for="node" attr.name="y" attr.type="string"/><key id="d1" for="node" attr.name="x" attr.type="string"/>
<key id="d2" for="edge" attr.name="length" attr.type="string"/>
<key id="d3" for="edge" attr.name="highway" attr.type="string"/>
<key id="d5" for="graph" attr.name="crs" attr.type="string"/>
<graph edgedefault="directed"><data key="d5">epsg:4326</data>
<node id="1"><data key="d0">60.0</data><data key="d1">24.0</data></node>
<node id="2"><data key="d0">60.0</data><data key="d1">24.002</data></node>
<edge source="1" target="2" id="0"><data key="d2">111.5</data><data key="d3">primary</data></edge>
<edge source="2" target="1" id="0"><data key="d2">111.5</data><data key="d3">primary</data></edge>
</graph></graphml>
"""


def made_source(form: str, folder: Path) -> Path:
    if form == "gmns":
        for name, text in GMNS.items():
            (folder / name).write_text(text, "utf-8")
        return folder
    text, name = {
        "cbengine": (CBENGINE, "city.txt"),
        "cityflow": (CITYFLOW, "city.json"),
        "osm": (OSM, "city.osm"),
        "sumo": (SUMO, "city.net.xml"),
        "tntp": (TNTP, "city_net.tntp"),
        "osmnx": (GRAPHML, "city.graphml"),
        "table": (TABLE, "city.csv"),
    }[form]
    (folder / name).write_text(text, "utf-8")
    return folder / name


FORMS = ("cbengine", "cityflow", "osm", "sumo", "gmns", "tntp", "osmnx", "table")
REAL = {  # source: format, nodes, links, lanes, a box that holds it (W, S, E, N)
    "hangzhou/shangcheng_roadnet.cbengine.txt": ("cbengine", 269, 896, 2688, (120.154, 30.241, 120.183, 30.261)),
    "nanchang/nanchang_roadnet.cbengine.txt.gz": ("cbengine", 2048, 6024, 18072, (115.7, 28.4, 116.1, 28.9)),
    "hangzhou/gudang_4x4_roadnet.cityflow.json.gz": ("cityflow", 32, 80, 240, (-0.01, -0.01, 0.03, 0.03)),
    "hangzhou/junction_1x1_roadnet.cityflow.json": ("cityflow", 5, 8, 16, (-0.01, -0.01, 0.01, 0.01)),
    "bologna/bologna_joined.net.xml.gz": ("sumo", 158, 267, 411, (11.30, 44.48, 11.34, 44.51)),
    "sumo/hamburg_tavf.net.xml.gz": ("sumo", 422, 617, 1315, (9.94, 53.53, 10.03, 53.59)),
    "sumo/cologne8.net.xml.gz": ("sumo", 78, 149, 157, (6.9, 50.9, 7.0, 51.0)),
    "gmns/arlington_signals": ("gmns", 6, 10, 18, (-71.16, 42.41, -71.14, 42.42)),
    "gmns/cambridge_intersection": ("gmns", 11, 18, 19, (-71.10, 42.35, -71.07, 42.37)),
    # The description of the data says what a map holds; tests/twin/test_import_osm.py counts the links in another way.
    "osm/helsinki_centre.osm.pbf": ("osm", None, None, None, (24.93, 60.16, 24.96, 60.18)),
    "osm/porto_alegre_centre.osm.pbf": ("osm", None, None, None, (-51.3, -30.2, -51.0, -29.9)),
    "osm/lower_saxony_main_roads.osm.gz": ("osm", None, None, None, (9.2, 51.3, 11.6, 53.1)),
    "osm/columbus_ohio.osm.pbf": ("osm", None, None, None, (-83.3, 39.7, -82.7, 40.3)),
    "aarhus/traffic_links_metadata.csv": ("table", 136, 449, None, (9.9, 55.9, 10.4, 56.4)),
}


def check_contract(source: Path, form: str, out: Path) -> Network:
    """What holds for every importer and source."""
    assert guess(source) == form
    tables = import_tables(source)
    write_tables(out, tables)
    network = Network.read(out)
    assert network.sha256 == Network.from_tables(import_tables(source, form=form)).sha256  # twice the same
    assert any(source.name.split(".")[0] in note for note in network.notes)  # where it comes from
    compiled = network.compile()
    for values in (compiled.length, compiled.free_speed, compiled.capacity, compiled.lanes):
        assert np.isfinite(values).all()
        assert (values > 0).all()
    touched = np.zeros(compiled.n_nodes, bool)
    touched[compiled.from_node] = touched[compiled.to_node] = True
    assert touched.all()
    assert not [fault for fault in network.validate() if fault.severity == "error"]
    return network


@pytest.mark.parametrize("form", FORMS)
def test_importer_keeps_the_contract_on_a_made_source(form: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    check_contract(made_source(form, tmp_path / "in"), form, tmp_path / "out")


@pytest.mark.data
@pytest.mark.parametrize("source", REAL)
def test_importer_keeps_the_contract_on_real_sources(source: str, shared_data: Path, tmp_path: Path) -> None:
    form, n_nodes, n_links, n_lanes, (west, south, east, north) = REAL[source]
    network = check_contract(shared_data / source, form, tmp_path / "out")
    compiled = network.compile()
    assert n_links is None or (compiled.n_nodes, compiled.n_links) == (n_nodes, n_links)
    assert n_lanes is None or compiled.lanes.sum() == n_lanes
    lon, lat = network.nodes.lon_lat.T
    assert west < lon.min()
    assert lon.max() < east
    assert south < lat.min()
    assert lat.max() < north


@pytest.mark.parametrize("form", [form for form in FORMS if form != "gmns"])
def test_gzip_reads_as_the_plain_file_does(form: str, tmp_path: Path) -> None:
    source = made_source(form, tmp_path)
    packed = tmp_path / (source.name + ".gz")
    packed.write_bytes(gzip.compress(source.read_bytes()))
    plain, unpacked = (Network.from_tables(import_tables(path)) for path in (source, packed))
    assert plain.sha256 == unpacked.sha256


@pytest.mark.parametrize("form", ["cbengine", "cityflow", "osm", "sumo"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_one_sentence_with_its_place(form: str, share: float, tmp_path: Path) -> None:
    source = made_source(form, tmp_path)
    text = source.read_text()
    source.write_text(text[: int(len(text) * share)])
    with pytest.raises(InputError, match="line ") as caught:
        Network.from_tables(import_tables(source))
    assert len(caught.value.faults) == 1
    assert source.name in caught.value.faults[0]
    assert "cut off" in caught.value.faults[0] or "must be" in caught.value.faults[0]


def test_a_gzip_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    noise = "".join(f'<junction id="{i * 7919}" x="1" y="2"/>' for i in range(20_000))
    whole = gzip.compress(SUMO.replace("</net>", noise + "</net>").encode())
    (tmp_path / "city.net.xml.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"broken gzip|cut off"):
        import_tables(tmp_path / "city.net.xml.gz")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.zip", b"PK\x03\x04rest", "is a zip archive"),
        ("a.json", b'{"junctions": []}', "is JSON"),
        ("b.json", b'{"intersections": []}', "roads must be a list of objects"),
        ("a.osm", b'<?xml version="1.0"?><osm version="0.6"/>', "has no road for motor vehicles"),
        ("a.pbf", b"\x00\x00\x00\x0e\x0a\x09OSMHeader\x18", "cannot be read as OpenStreetMap"),
        ("a.rou.xml", b"<routes><vehicle id='1'/></routes>", "is a <routes> file of SUMO, not a network"),
        ("a.csv", b"u,v,metres\n1,2,3\n", "needs --map FILE"),
        ("a.txt", b"", "is empty"),
        ("a.bin", bytes(range(256)), "is none of the networks that are read"),
        ("a.net.xml", b"<net/>", "has no edge for motor vehicles"),
    ],
)
def test_foreign_files_are_told_what_they_are(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        import_tables(tmp_path / name)
    assert sentence in caught.value.faults[0]


def test_a_folder_that_is_no_network_and_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder without node\.csv and link\.csv"):
        import_tables(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        import_tables(tmp_path / "nowhere")


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_source_becomes_a_network_or_sentences_and_nothing_else(
    form: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    source = made_source(form, folder)
    victim = data.draw(st.sampled_from(sorted(folder.iterdir())))
    text = victim.read_text("utf-8")
    at = data.draw(st.integers(0, len(text) - 1))
    width = data.draw(st.sampled_from([0, 1, 3, 30]))
    scrap = st.sampled_from(["", "-", "9", "nan", "1e400", ",", '"', "<", "\n", "\x00", "é", "(", " "])
    victim.write_text(text[:at] + data.draw(scrap) + text[at + width :], "utf-8")
    faults: tuple[str, ...] = ()
    try:
        network = Network.from_tables(import_tables(source))
        network.compile()
        network.validate()
    except InputError as error:
        faults = error.faults or ("",)
    assert all(fault and "\n" not in fault and len(fault) < 1000 for fault in faults)


# CBEngine


def test_cbengine_puts_latitude_first_and_speeds_in_metres_per_second(tmp_path: Path) -> None:
    network = Network.from_tables(import_tables(made_source("cbengine", tmp_path)))
    assert network.nodes.lon_lat[0].tolist() == [120.10, 30.25]
    compiled = network.compile()
    assert compiled.link_ids == ("r1", "r2", "r3", "r4")
    assert compiled.lanes.tolist() == [3, 2, 1, 1]
    assert (compiled.free_speed * 3.6).round(3).tolist() == [50.0, 50.0, 30.0, 30.0]
    assert compiled.length.tolist() == [963.0, 963.0, 1109.0, 1109.0]


def test_cbengine_lane_permissions_become_lane_ranges_by_the_angle_of_the_turn(tmp_path: Path) -> None:
    tables = {name: list(rows) for name, rows in import_tables(made_source("cbengine", tmp_path)).items()}
    rows = {row["mvmt_id"]: row for row in tables["movement"]}
    # n1 -> n2 goes east, n2 -> n3 north: a left turn, which only the first lane of r1 allows
    assert (rows["r1>r3"]["type"], rows["r1>r3"]["start_ib_lane"], rows["r1>r3"]["end_ib_lane"]) == ("left", 1, 1)
    assert "r4>r2" in rows  # from the north to the west: right


def test_cbengine_swapped_coordinates_and_unknown_nodes_name_the_line(tmp_path: Path) -> None:
    source = tmp_path / "city.txt"
    source.write_text(CBENGINE.replace("30.25 120.10 n1", "120.10 30.25 n1"))
    with pytest.raises(InputError, match=r"city\.txt: line 2: .*latitude comes first"):
        import_tables(source)
    source.write_text(CBENGINE.replace("n2 n3 1109", "n2 n7 1109"))
    with pytest.raises(InputError, match=r"line 9: road 2 of 2 ends at node n7"):
        import_tables(source)


@pytest.mark.data
def test_hangzhou_says_that_lanes_and_signals_are_placeholders(shared_data: Path) -> None:
    network = Network.from_tables(import_tables(shared_data / "hangzhou/shangcheng_roadnet.cbengine.txt"))
    assert all("lanes" in columns for columns in network.links.assumed)
    assert any("3 lanes" in note and "assumed" in note for note in network.notes)
    assert any("247 of 269 nodes are flagged as signalised" in note for note in network.notes)
    assert network.compile().length.sum() == pytest.approx(2 * 65_200, rel=1e-3)  # 448 roads, 65.2 km


# SUMO


def network_of_sumo(tmp_path: Path, change: Callable[[str], str] = str) -> Network:
    (tmp_path / "city.net.xml").write_text(change(SUMO))
    return Network.from_tables(import_tables(tmp_path / "city.net.xml"))


def test_sumo_places_nodes_by_offset_and_projection(tmp_path: Path) -> None:
    network = network_of_sumo(tmp_path)
    b = network.nodes.position["b"]
    expected = utm(32, north=True).to_degrees(np.array([[685_200.0, 4_928_000.0]]))[0]
    assert network.nodes.lon_lat[b] == pytest.approx(expected, abs=2e-7)
    # between the true ellipsoid and the map lies the scale of UTM: 0.9996 to 1.0004 within the zone
    middle = network.geometry(network.links.position["ab"])
    assert len(middle) == 3


def test_a_sumo_edge_is_as_fast_as_its_fastest_lane_for_motors(tmp_path: Path) -> None:
    slow = 'id="ab_1" index="1" speed="13.89"'
    network = network_of_sumo(tmp_path, lambda text: text.replace(slow, slow.replace("13.89", "8.33")))
    assert network.compile().free_speed[network.links.position["ab"]] == pytest.approx(13.89)


def test_sumo_lanes_are_those_of_motors_counted_from_the_left(tmp_path: Path) -> None:
    network = network_of_sumo(tmp_path)
    ab = network.links.position["ab"]
    assert network.compile().lanes[ab] == 2
    assert network.links.names[ab] == "Via Emilia"
    assert network.compile().link_class[ab] == 1
    rows = {row["mvmt_id"]: row for row in network.tables["movement"].rows}
    assert (rows["ab>bd"]["start_ib_lane"], rows["ab>bd"]["end_ib_lane"], rows["ab>bd"]["type"]) == ("1", "1", "left")
    assert (rows["ab>bc"]["start_ib_lane"], rows["ab>bc"]["end_ib_lane"], rows["ab>bc"]["type"]) == ("2", "2", "thru")
    assert "ab>bus" not in rows  # general traffic does not turn into a street of buses
    assert "tram" not in network.links.position


def test_sumo_program_becomes_stages_of_green_movements(tmp_path: Path) -> None:
    plan = network_of_sumo(tmp_path).signals["b"]
    both, left, other = (("ab", "bc"), ("ab", "bd")), (("ab", "bd"),), (("eb", "bc"),)
    stages = [(stage.green_s, stage.intergreen_s, stage.movements) for stage in plan.stages]
    assert stages == [(30.0, 0.0, both), (3.0, 2.0, left), (25.0, 0.0, other)]
    assert (plan.cycle_s, plan.offset_s) == (60.0, 7.0)


def test_sumo_without_geographic_coordinates_says_so(tmp_path: Path) -> None:
    network = network_of_sumo(
        tmp_path,
        lambda text: text.replace("+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs", "!"),
    )
    assert any("no geographic coordinates" in note for note in network.notes)
    assert network.compile().node_xy.max() - network.compile().node_xy.min() == pytest.approx(400.0, rel=0.01)


def test_sumo_in_an_unknown_projection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"projParameter is '\+proj=lcc"):
        network_of_sumo(tmp_path, lambda text: text.replace("+proj=utm +zone=32", "+proj=lcc +lat_1=4"))


@pytest.mark.data
def test_bologna_keeps_its_thirteen_signal_programs(shared_data: Path) -> None:
    network = Network.from_tables(import_tables(shared_data / "bologna/bologna_joined.net.xml.gz"))
    assert len(network.tables["signal_controller"]) == 13
    assert len(network.signals) == 28  # nodes: a program runs several
    for plan in network.signals.values():
        assert sum(stage.green_s + stage.intergreen_s for stage in plan.stages) == pytest.approx(plan.cycle_s)
    assert not [fault for fault in network.validate() if fault.rule == "never green" and "bus" not in fault.text][10:]


@pytest.mark.data
def test_bologna_lies_where_its_loops_do(shared_data: Path) -> None:
    import csv

    network = Network.from_tables(import_tables(shared_data / "bologna/bologna_joined.net.xml.gz"))
    with gzip.open(shared_data / "bologna/loop_counts_hourly_2024-01_2024-03.csv.gz", "rt", encoding="utf-8") as file:
        loops = {(row["lon"], row["lat"]): row["sumo_edge_id"] for row in csv.DictReader(file)}
    # The data's description: every loop lies within 24 m of its edge, the median at 5.8 m.
    scale = np.array([np.cos(np.radians(44.5)), 1.0]) * 111_319.49
    distances = []
    for (lon, lat), edge in loops.items():
        line = (network.geometry(network.links.position[edge]) - [float(lon), float(lat)]) * scale
        a, b = line[:-1], line[1:]
        share = np.clip(-(a * (b - a)).sum(axis=1) / np.maximum(((b - a) ** 2).sum(axis=1), 1e-9), 0, 1)
        distances.append(np.hypot(*(a + share[:, None] * (b - a)).T).min())
    assert max(distances) < 30
    assert np.median(distances) < 10


# GMNS


def test_gmns_of_others_comes_in_metres_with_whole_column_names(tmp_path: Path) -> None:
    network = Network.from_tables(import_tables(made_source("gmns", tmp_path)))
    compiled = network.compile()
    assert compiled.link_ids == ("10", "11")
    assert compiled.length.tolist() == pytest.approx([100.584, 100.584])  # 0.0625 miles
    assert compiled.free_speed.tolist() == pytest.approx([25 * 0.44704] * 2)
    assert compiled.link_class.tolist() == [1, 1]
    assert network.geometry(1)[0] == pytest.approx(network.nodes.lon_lat[1])  # drawn against its direction
    assert network.units.projection is None
    assert any("1 links without motor vehicles" in note for note in network.notes)


@pytest.mark.data
def test_arlington_signals_follow_their_rings(shared_data: Path) -> None:
    network = Network.from_tables(import_tables(shared_data / "gmns/arlington_signals"))
    # Plan 1 shows node 7 by phases 12 (30 + 7 s, barrier 1) and 15 (31 + 7 s, barrier 2); what is left of 120 s is red.
    # The offset is that of signal phase 2, which is phase 12, the first.
    plan = network.signals["7"]
    assert [(stage.green_s, stage.intergreen_s) for stage in plan.stages] == [(30.0, 7.0), (31.0, 52.0)]
    assert [stage.movements for stage in plan.stages] == [(("32", "72"),), (("71", "31"),)]
    assert (plan.cycle_s, plan.offset_s) == (120.0, 104.0)


@pytest.mark.data
def test_cambridge_lengths_are_feet_whatever_its_config_says(shared_data: Path) -> None:
    network = Network.from_tables(import_tables(shared_data / "gmns/cambridge_intersection"))
    broadway = network.links.position["311"]
    assert network.compile().length[broadway] == pytest.approx(708 * 0.3048, abs=0.001)
    assert any("feet" in note for note in network.notes)
    assert [fault for fault in network.validate() if fault.rule in ("length", "length unit")] == []


# Tables with a column map


def test_aarhus_table_makes_one_travel_time_sensor_a_link(tmp_path: Path) -> None:
    network = Network.from_tables(import_tables(made_source("table", tmp_path)))
    (sensor, _) = network.sensors
    assert (sensor.sensor_id, sensor.link_id, sensor.kind) == ("158895", "158895", "travel_time")
    assert sensor.quantities == ("count_veh", "speed_kmh", "travel_time_s")
    assert sensor.interval_s == 300.0
    assert network.compile().free_speed[0] == pytest.approx(70 / 3.6)
    assert network.compile().link_class.tolist() == [1, 3]
    assert "lanes" in network.assumed(0)
    assert network.timezone == "Europe/Copenhagen"


def test_own_map_reads_semicolons_miles_and_places_without_node_names(tmp_path: Path) -> None:
    (tmp_path / "roads.csv").write_text(
        "x1;y1;x2;y2;mi;limit\n10.0;50.0;10.01;50.0;0.45;30\n10.01;50.0;10.0;50.0;0.45;30\n10.01;50;10.01;50.01;;30\n"
    )
    (tmp_path / "map.toml").write_text(
        '[columns]\nfrom_lon="x1"\nfrom_lat="y1"\nto_lon="x2"\nto_lat="y2"\nlength="mi"\nfree_speed="limit"\n'
        '[units]\nlength="mile"\nspeed="mph"\n[defaults]\nlanes=2\n'
    )
    network = Network.from_tables(import_tables(tmp_path / "roads.csv", column_map=tmp_path / "map.toml"))
    compiled = network.compile()
    assert (compiled.n_nodes, compiled.n_links) == (3, 3)
    assert compiled.length[0] == pytest.approx(0.45 * 1609.344)
    assert compiled.length[2] == pytest.approx(1112.4, abs=0.5)  # a hundredth of a degree of latitude at 50 north
    assert network.assumed(2) == ("lanes", "length")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[columns]\nfrom_lng="a"\n', "[columns] has an unknown key 'from_lng', did you mean 'from_lon'?"),
        ('[colums]\nx="a"\n', "has an unknown key 'colums', did you mean 'columns'?"),
        ('[columns]\nname="a"\n', "must name from_lon, from_lat, to_lon and to_lat, or geometry"),
        ("[columns\n", "is not TOML"),
        (
            '[columns]\nfrom_lon="x"\nfrom_lat="y"\nto_lon="z"\nto_lat="w"\n',
            "has no column 'x', which the map names for from_lon",
        ),
    ],
)
def test_bad_maps_are_told_what_would_be_right(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "roads.csv").write_text("a,b\n1,2\n")
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        import_tables(tmp_path / "roads.csv", column_map=tmp_path / "map.toml")
    assert any(sentence in fault for fault in caught.value.faults)


# Coordinates


def test_utm_agrees_with_published_coordinates() -> None:
    # Karney (2011) and GeographicLib's example: 33.3 N, 44.4 E (Baghdad) is 38N 444140.54 3684706.36
    east_north = projection("EPSG:32638")
    assert east_north is not None
    there = east_north.to_metres(np.array([[44.4, 33.3]]))
    assert there[0] == pytest.approx([444_140.54, 3_684_706.36], abs=0.01)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32733", "EPSG:25832", "EPSG:4509", "EPSG:4549", "EPSG:4528"])
def test_projections_are_their_own_inverse_to_a_tenth_of_a_millimetre(crs: str) -> None:
    if crs == "EPSG:4509":  # Gauss-Krüger in 6-degree zones is not known, and says so
        with pytest.raises(ValueError, match="must be EPSG:4326"):
            projection(crs)
        return
    system = projection(crs)
    assert system is not None
    lon, lat = np.meshgrid(system.meridian + np.linspace(-3, 3, 7), np.linspace(-79, 79, 9))
    places = np.column_stack([lon.ravel(), lat.ravel()])
    assert np.abs(system.to_degrees(system.to_metres(places)) - places).max() < 1e-9


# Documentation


def test_the_documented_column_maps_are_some() -> None:
    page = (Path(__file__).parents[2] / "docs" / "network.md").read_text("utf-8")
    texts = re.findall(r"```toml\n(.*?)```", page, re.S)
    text, of_detectors = (next(t for t in texts if column in t) for column in ("from_node_id", "[heading]"))
    assert DetectorMap.parse("docs/network.md", of_detectors).columns["lat"]
    mapping = ColumnMap.parse("docs/network.md", text)
    assert mapping.columns["from_lon"] == "POINT_1_LNG"
    assert mapping.defaults["lanes"] == 2


def test_every_table_and_column_that_is_read_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "network.md").read_text("utf-8")
    from_gmns = ("signal_", "lane", "segment", "geometry")  # "as in GMNS"
    for name, columns in COLUMNS.items():
        assert f"`{name}`" in page
        missing = [column for column in columns if column not in page]
        assert name.startswith(from_gmns) or not missing, (name, missing)
