"""Lines with a column map: GeoParquet, shapefiles and GeoJSON, in degrees and in metres, drawn either way."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensors import InputError
from twin import Network
from twin.importers import guess, import_tables
from twin.importers.coordinates import of_projjson, of_text
from twin.importers.wkb import parse_lines
from twin.projection import utm
from twin.writers import export

MAP = """
[columns]
from_node_id = "a"
to_node_id = "b"
lanes = "n"
geometry = "geometry"
[defaults]
directed = true
free_speed = 40
"""
# Three links around the place 3: the second is drawn against its nodes.
ROWS: list[dict[str, Any]] = [
    {"a": 1, "b": 3, "n": 2, "line": [(117.0, 30.5), (117.01, 30.5)]},
    {"a": 3, "b": 2, "n": 1, "line": [(117.02, 30.51), (117.015, 30.505), (117.01, 30.5)]},
    {"a": 4, "b": 3, "n": 3, "line": [(117.01, 30.49), (117.01, 30.5)]},
]


def geojson(rows: list[dict[str, Any]], crs: str = "") -> str:
    features = [
        {
            "type": "Feature",
            "properties": {key: row[key] for key in row if key != "line"},
            "geometry": {"type": "LineString", "coordinates": row["line"]},
        }
        for row in rows
    ]
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    return json.dumps({"type": "FeatureCollection", **named, "features": features})


def wkb(line: list[tuple[float, float]]) -> bytes:
    return struct.pack("<BII", 1, 2, len(line)) + np.array(line, "<f8").tobytes()


def parquet(path: Path, rows: list[dict[str, Any]], crs: object = "none", encoding: str = "WKB") -> Path:
    pa = pytest.importorskip("pyarrow", reason="PARQUET NOT TESTED: pyarrow of the extra 'parquet' is not installed")
    from pyarrow import parquet as pq

    names = [key for key in rows[0] if key != "line"]
    table = pa.table(
        {**{key: [row[key] for row in rows] for key in names}, "geometry": [wkb(row["line"]) for row in rows]}
    )
    column = {"encoding": encoding, **({} if crs == "none" else {"crs": crs})}
    about = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(about)}), path)
    return path


@pytest.fixture
def own_map(tmp_path: Path) -> Path:
    (tmp_path / "map.toml").write_text(MAP)
    return tmp_path / "map.toml"


def check(network: Network) -> None:
    assert network.compile().n_links == 3
    assert network.compile().lanes.tolist() == [2, 1, 3]
    places = {name: network.nodes.lon_lat[k].round(6).tolist() for k, name in enumerate(network.nodes.ids)}
    assert places == {"1": [117.0, 30.5], "3": [117.01, 30.5], "2": [117.02, 30.51], "4": [117.01, 30.49]}
    second = network.geometry(1)
    assert second[0] == pytest.approx([117.01, 30.5], abs=1e-6)  # from its from-node to its to-node
    assert len(second) == 3


def test_geojson_geoparquet_and_csv_of_the_same_lines_are_the_same_network(tmp_path: Path, own_map: Path) -> None:
    (tmp_path / "r.geojson").write_text(geojson(ROWS))
    text = "a,b,n,geometry\n" + "".join(
        f'{row["a"]},{row["b"]},{row["n"]},"LINESTRING({", ".join(f"{x} {y}" for x, y in row["line"])})"\n'
        for row in ROWS
    )
    (tmp_path / "r.csv").write_text(text)
    sources = [tmp_path / "r.geojson", tmp_path / "r.csv", parquet(tmp_path / "r.parquet", ROWS)]
    for source in sources:
        network = Network.from_tables(import_tables(source, column_map=own_map))
        check(network)


def test_metres_become_degrees_by_the_system_that_the_file_names(tmp_path: Path, own_map: Path) -> None:
    system = utm(50, north=True)
    metres = [{**row, "line": [tuple(p) for p in system.to_metres(np.array(row["line"])).tolist()]} for row in ROWS]
    crs = json.loads(PROJJSON)
    check(Network.from_tables(import_tables(parquet(tmp_path / "r.parquet", metres, crs), column_map=own_map)))
    (tmp_path / "r.geojson").write_text(geojson(metres, "urn:ogc:def:crs:EPSG::32650"))
    check(Network.from_tables(import_tables(tmp_path / "r.geojson", column_map=own_map)))
    own_map.write_text(MAP + '[units]\ncrs = "EPSG:32650"\n')
    (tmp_path / "bare.geojson").write_text(geojson(metres))
    check(Network.from_tables(import_tables(tmp_path / "bare.geojson", column_map=own_map)))


PROJJSON = """{"type": "ProjectedCRS", "name": "unknown", "base_crs": {"type": "GeographicCRS", "name": "unknown",
 "datum": {"type": "GeodeticReferenceFrame", "name": "World Geodetic System 1984"}},
 "conversion": {"name": "UTM zone 50N", "method": {"name": "Transverse Mercator"}, "parameters": [
  {"name": "Latitude of natural origin", "value": 0}, {"name": "Longitude of natural origin", "value": 117},
  {"name": "Scale factor at natural origin", "value": 0.9996}, {"name": "False easting", "value": 500000},
  {"name": "False northing", "value": 0}]},
 "coordinate_system": {"axis": [{"name": "Easting", "unit": "metre"}, {"name": "Northing", "unit": "metre"}]}}"""


@pytest.mark.parametrize("driver", ["ESRI Shapefile", "GeoJSON", "parquet"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32650", "EPSG:4548"])
def test_files_that_gdal_writes_are_read(driver: str, crs: str, tmp_path: Path, own_map: Path) -> None:
    reason = "NO JUDGE: geopandas is not installed (extra 'peers')"
    geopandas = pytest.importorskip("geopandas", reason=reason)
    shapely = pytest.importorskip("shapely", reason=reason)
    columns = {key: [row[key] for row in ROWS] for key in ("a", "b", "n")}
    frame = geopandas.GeoDataFrame(columns, geometry=[shapely.LineString(row["line"]) for row in ROWS], crs="EPSG:4326")
    frame = frame.to_crs(crs)
    if driver == "parquet":
        source = tmp_path / "r.parquet"
        frame.to_parquet(source)
    else:
        source = tmp_path / ("r.shp" if driver == "ESRI Shapefile" else "r.geojson")
        frame.to_file(source, driver=driver)
    assert guess(source) == "table"
    check(Network.from_tables(import_tables(source, column_map=own_map)))


def test_links_whose_nodes_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text(
        "link_id,from_node_id,to_node_id,length_m,free_speed_kmh,lanes\nL1,1,2,960,50,2\nL2,2,1,960,50,2\n"
    )
    (tmp_path / "nodes.csv").write_text("node_id,x_lon,y_lat,signalised\n1,120.0,30.0,1\n2,120.01,30.0,0\n")
    assert guess(tmp_path / "links.csv") == "table"
    network = Network.from_tables(import_tables(tmp_path / "links.csv", additional=[tmp_path / "nodes.csv"]))
    assert network.nodes.lon_lat.tolist() == [[120.0, 30.0], [120.01, 30.0]]
    assert network.compile().length.tolist() == [960.0, 960.0]
    with pytest.raises(
        InputError, match=r"table of their own \(node_id, x_lon, y_lat\); give it with --additional FILE"
    ):
        import_tables(tmp_path / "links.csv")
    (tmp_path / "nodes.csv").write_text("node_id,x_lon,y_lat\n1,120.0,30.0\n")
    with pytest.raises(InputError, match=r"links.csv: line 2: link L1: node '2' is not in the table of nodes"):
        import_tables(tmp_path / "links.csv", additional=[tmp_path / "nodes.csv"])


@pytest.mark.data
@pytest.mark.parametrize(
    ("links", "nodes", "source"),
    [
        ("hangzhou/shangcheng_links.csv", "hangzhou/shangcheng_nodes.csv", "hangzhou/shangcheng_roadnet.cbengine.txt"),
        ("nanchang/nanchang_links.csv.gz", "nanchang/nanchang_nodes.csv", "nanchang/nanchang_roadnet.cbengine.txt.gz"),
    ],
)
def test_derived_tables_are_the_networks_they_come_from(links: str, nodes: str, source: str, shared_data: Path) -> None:
    network = Network.from_tables(import_tables(shared_data / links, additional=[shared_data / nodes]))
    original = Network.from_tables(import_tables(shared_data / source))
    assert set(network.links.ids) == set(original.links.ids)
    order = [network.links.position[name] for name in original.links.ids]
    for name in ("length", "free_speed", "lanes"):
        theirs, ours = getattr(original.compile(), name), getattr(network.compile(), name)[order]
        assert ours == pytest.approx(theirs, rel=1e-3), name  # the tables are rounded


def test_undirected_streets_of_openstreetmap_need_no_map(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"u": 3, "v": 1, "key": 0, "highway": "motorway", "line": ROWS[0]["line"]},  # drawn from 1 to 3: that way
        {"u": 3, "v": 2, "key": 0, "highway": "residential", "line": ROWS[1]["line"]},
        {"u": 4, "v": 3, "key": 0, "highway": "primary", "line": ROWS[2]["line"]},
    ]
    network = Network.from_tables(import_tables(parquet(tmp_path / "streets.parquet", rows)))
    ends = [
        (network.nodes.ids[a], network.nodes.ids[b])
        for a, b in zip(network.links.from_node, network.links.to_node, strict=True)
    ]
    assert ends == [("1", "3"), ("3", "2"), ("2", "3"), ("4", "3"), ("3", "4")]
    assert network.compile().link_class.tolist() == [0, 3, 3, 1, 1]
    assert {"lanes", "free_speed", "length"} <= set(network.assumed(0))
    assert any("motorways are and all other streets are open both ways" in note for note in network.notes)


def test_our_own_geojson_comes_back(tmp_path: Path, own_map: Path) -> None:
    (tmp_path / "r.geojson").write_text(geojson(ROWS))
    network = Network.from_tables(import_tables(tmp_path / "r.geojson", column_map=own_map))
    export(network, tmp_path / "out.geojson")
    tables = import_tables(tmp_path / "out.geojson")
    back = Network.from_tables(tables)
    assert back.compile().link_ids == network.compile().link_ids
    assert back.compile().length == pytest.approx(network.compile().length, abs=1e-3)
    assert any("4 things of the source that are no lines are left out" in str(row["text"]) for row in tables["note"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"line": [(117.0, 30.5)]}, "row 2: geometry must be a line of two points or more"),
        ({"line": [(117.0, float("nan")), (117.1, 30.5)]}, "row 2: geometry must be a line"),
        ({"n": 0}, ""),
        ({"line": [(500.0, 30.5), (501.0, 30.5)]}, "(500, 30.5) lies nowhere on the globe"),
    ],
)
def test_a_bad_row_is_told(change: dict[str, Any], sentence: str, tmp_path: Path, own_map: Path) -> None:
    source = parquet(tmp_path / "r.parquet", [ROWS[0], {**ROWS[1], **change}, ROWS[2]])
    with pytest.raises(InputError) as caught:
        Network.from_tables(import_tables(source, column_map=own_map))
    assert sentence in caught.value.faults[0]


def test_files_that_hold_something_else_are_told(tmp_path: Path, own_map: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="PARQUET NOT TESTED: pyarrow of the extra 'parquet' is not installed")
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(InputError, match="is Parquet without a geometry column"):
        import_tables(tmp_path / "plain.parquet", column_map=own_map)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "plain.parquet").read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read as GeoParquet"):
        import_tables(tmp_path / "cut.parquet", column_map=own_map)
    with pytest.raises(InputError, match=r"its columns \(a, b, n, geometry\) fit no built-in map"):
        import_tables(parquet(tmp_path / "r.parquet", ROWS))
    lambert = {"type": "ProjectedCRS", "name": "Lambert-93", "conversion": {"method": {"name": "Lambert Conic"}}}
    with pytest.raises(
        InputError, match=r"'Lambert-93' \(Lambert Conic\) is not transverse Mercator; name one in the map"
    ):
        import_tables(parquet(tmp_path / "l.parquet", ROWS, lambert), column_map=own_map)
    with pytest.raises(InputError, match="it states no coordinate system"):
        import_tables(parquet(tmp_path / "n.parquet", ROWS, None), column_map=own_map)
    (tmp_path / "cut.geojson").write_text(geojson(ROWS)[:300])
    with pytest.raises(InputError, match=r"cut.geojson: line 1: is not complete JSON"):
        import_tables(tmp_path / "cut.geojson", column_map=own_map)


def test_a_shapefile_that_is_cut_off_or_alone_is_told(tmp_path: Path, own_map: Path) -> None:
    header = struct.pack(">i", 9994) + bytes(96)
    (tmp_path / "r.shp").write_bytes(header)
    with pytest.raises(InputError, match=r"r.dbf: is missing; a shapefile is .shp, .dbf and .prj side by side"):
        import_tables(tmp_path / "r.shp", column_map=own_map)
    (tmp_path / "r.dbf").write_bytes(b"\x03abc")
    with pytest.raises(InputError, match=r"r.dbf: is cut off or no dBASE table"):
        import_tables(tmp_path / "r.shp", column_map=own_map)


def test_wkb_of_any_sort_is_a_line() -> None:
    flat = struct.pack(">BII4d", 0, 2, 2, 0.0, 1.0, 2.0, 3.0)
    high = struct.pack("<BII6d", 1, 1002, 2, 0.0, 1.0, 9.0, 2.0, 3.0, 9.0)
    ewkb = struct.pack("<BIII6d", 1, 2 | 0x80000000 | 0x20000000, 4326, 2, 0.0, 1.0, 9.0, 2.0, 3.0, 9.0)
    many = struct.pack("<BII", 1, 5, 1) + struct.pack("<BII4d", 1, 2, 2, 0.0, 1.0, 2.0, 3.0)
    for data in (flat, high, ewkb, many):
        assert parse_lines(data)[0].tolist() == [[0.0, 1.0], [2.0, 3.0]]
    for data, sentence in (
        (flat[:20], "cut off"),
        (b"\x01", "cut off"),
        (b"", "empty"),
        (struct.pack("<BI2d", 1, 1, 0, 0), "a point"),
    ):
        with pytest.raises(ValueError, match=sentence):
            parse_lines(data)


def test_coordinate_systems_in_words_are_read() -> None:
    esri = (
        'PROJCS["WGS_1984_UTM_Zone_50N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
        'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
        'PARAMETER["False_Easting",500000.0],PARAMETER["False_Northing",0.0],PARAMETER["Central_Meridian",117.0],'
        'PARAMETER["Scale_Factor",0.9996],PARAMETER["Latitude_Of_Origin",0.0],UNIT["Meter",1.0]]'
    )
    assert of_text(esri) == utm(50, north=True)
    assert of_projjson(json.loads(PROJJSON)) == utm(50, north=True)
    assert of_projjson(None) is None
    for text, sentence in (
        (esri.replace("Transverse_Mercator", "Lambert_Conformal_Conic"), "not transverse Mercator"),
        (esri.replace('UNIT["Meter",1.0]', 'UNIT["Foot_US",0.3048006]'), "not in metres"),
        (esri.replace("WGS", "Xian"), "not known to be near WGS84"),
        ("rubbish", "none that is read"),
    ):
        with pytest.raises(ValueError, match=sentence):
            of_text(text)


@pytest.mark.data
@pytest.mark.slow
def test_wuhan_is_read_with_its_counts(shared_data: Path) -> None:
    network = Network.from_tables(import_tables(shared_data / "wuhan/wuhan_osm_streets.geo.parquet"))
    compiled = network.compile()
    assert (compiled.n_nodes, compiled.n_links, len(network.tables["link"])) == (82_902, 180_375, 92_667)
    # Its description: 7,185 km, in UTM metres, at most 0.1 % from those of the ellipsoid.
    both = np.array([name.endswith("-r") for name in compiled.link_ids])
    assert compiled.length[~both].sum() / 1000 == pytest.approx(7_185, rel=1.5e-3)
    # Every line ends at its nodes.
    off = [
        np.abs(network.geometry(k)[[0, -1]] - network.nodes.lon_lat[[compiled.from_node[k], compiled.to_node[k]]]).max()
        for k in range(0, compiled.n_links, 7)
    ]
    assert max(off) < 2e-7
