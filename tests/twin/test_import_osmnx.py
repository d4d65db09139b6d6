"""Graphs of osmnx, in Python and as GraphML: made by hand, and by osmnx itself where it is installed."""

from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from sensors import InputError
from twin import Network
from twin.importers import import_tables
from twin.importers.osmnx_graph import tables_of_graph

ROADS = """<?xml version="1.0" encoding="UTF-8"?>
<osm version="0.6">
  <node id="1" lat="60.0" lon="24.0"/><node id="2" lat="60.0" lon="24.002"><tag k="highway" v="traffic_signals"/></node>
  <node id="3" lat="60.0" lon="24.004"/><node id="4" lat="60.001" lon="24.002"/>
  <node id="5" lat="60.0005" lon="24.0025"/>
  <way id="10"><nd ref="1"/><nd ref="2"/><nd ref="3"/><tag k="highway" v="primary"/><tag k="maxspeed" v="25 mph"/>
    <tag k="lanes" v="4"/></way>
  <way id="11"><nd ref="2"/><nd ref="5"/><nd ref="4"/><tag k="highway" v="residential"/><tag k="oneway" v="yes"/>
    <tag k="lanes" v="2"/></way>
</osm>
"""


def graph(**edge: Any) -> "nx.MultiDiGraph[int]":
    made: nx.MultiDiGraph[int] = nx.MultiDiGraph(crs="epsg:4326")
    made.add_node(1, x=24.0, y=60.0)
    made.add_node(2, x=24.002, y=60.0, highway="traffic_signals")
    made.add_node(9, x=24.1, y=60.0)
    tags = {"length": 111.6, "highway": "primary", "oneway": False, "lanes": "4", "maxspeed": "50", "reversed": False}
    made.add_edge(1, 2, **{**tags, **edge})
    made.add_edge(2, 1, **{**tags, "reversed": True, **edge})
    return made


def test_lanes_are_those_of_each_direction_and_signals_those_of_nodes() -> None:
    network = Network.from_tables(tables_of_graph(graph(), name="town"))
    assert (network.name, network.compile().link_ids) == ("town", ("1-2", "2-1"))
    assert network.compile().lanes.tolist() == [2, 2]  # the tag counts both directions
    assert network.compile().length.tolist() == [111.6, 111.6]
    assert network.nodes.ctrl_types == ("", "signal")
    assert network.assumed(0) == ()
    assert any("1 nodes that no link touches" in note for note in network.notes)


def test_a_one_way_street_drawn_against_its_traffic_has_all_its_lanes() -> None:
    network = Network.from_tables(tables_of_graph(graph(oneway=True, reversed=True, lanes="3")))
    assert network.compile().lanes.tolist() == [3, 3]
    assert network.assumed(0) == ()


def test_lists_of_merged_ways_take_the_least_and_what_is_imputed_is_flagged() -> None:
    network = Network.from_tables(tables_of_graph(graph(maxspeed=["50", "30 mph", "none?"], lanes=["6", "4"])))
    assert network.compile().free_speed[0] * 3.6 == pytest.approx(30 * 1.609344)
    assert network.compile().lanes[0] == 2
    network = Network.from_tables(tables_of_graph(graph(maxspeed=None, speed_kph=41.5, lanes=None)))
    assert network.compile().free_speed[0] * 3.6 == pytest.approx(41.5)
    assert set(network.assumed(0)) == {"free_speed", "lanes"}
    network = Network.from_tables(tables_of_graph(graph(lanes="3")))
    assert network.assumed(0) == ("lanes",)  # the third lane is of neither direction


def test_graphs_in_metres_become_degrees() -> None:
    made = graph()
    made.graph["crs"] = "epsg:32635"
    for node, (x, y) in {
        1: (332_705.18, 6_655_205.48),
        2: (332_816.69, 6_655_200.94),
        9: (338_269.1, 6_654_986.4),
    }.items():
        made.nodes[node].update(x=x, y=y)
    places = Network.from_tables(tables_of_graph(made)).nodes.lon_lat
    assert places[0] == pytest.approx([24.0, 60.0], abs=1e-4)
    made.graph["crs"] = "epsg:2154"
    with pytest.raises(InputError, match=r"crs is 'epsg:2154', must be.*project_graph\(graph, to_latlong=True\)"):
        tables_of_graph(made)


def test_every_fault_of_a_graph_is_told() -> None:
    made = graph(length=None, geometry="POINT (1 2)")
    made.add_node(7)
    made.add_edge(7, 1, length=3)
    with pytest.raises(InputError) as caught:
        tables_of_graph(made)
    assert caught.value.faults[0] == "a graph of osmnx: node 7: x is None and y None, must be numbers"
    assert "a graph of osmnx: edge 1 to 2: length is None, must be a number > 0" in caught.value.faults
    assert any("geometry must be LINESTRING" in fault for fault in caught.value.faults)
    with pytest.raises(InputError, match="has no edges"):
        tables_of_graph(nx.MultiDiGraph())


def test_graphml_that_osmnx_writes_is_the_graph_and_our_own_import(tmp_path: Path) -> None:
    osmnx = pytest.importorskip("osmnx", reason="NO SECOND SOLVER: osmnx is not installed (extra 'peers')")
    (tmp_path / "roads.osm").write_text(ROADS)
    made = osmnx.graph_from_xml(tmp_path / "roads.osm", simplify=True, retain_all=True)
    osmnx.save_graphml(made, tmp_path / "roads.graphml")
    from_file = Network.from_tables(import_tables(tmp_path / "roads.graphml"))
    from_graph = Network.from_tables(tables_of_graph(made, name="roads"))
    assert from_file.sha256 == from_graph.sha256
    ours = Network.from_tables(import_tables(tmp_path / "roads.osm", all_parts=True))
    for name in ("lanes", "free_speed"):
        assert sorted(getattr(from_file.compile(), name)) == sorted(getattr(ours.compile(), name)), name
    # osmnx measures on the sphere, we on the ellipsoid.
    assert sorted(from_file.compile().length) == pytest.approx(sorted(ours.compile().length), rel=0.006)


@pytest.mark.data
@pytest.mark.slow
def test_porto_alegre_of_osmnx_has_its_edges_and_kilometres(shared_data: Path, tmp_path: Path) -> None:
    osmnx = pytest.importorskip("osmnx", reason="NO SECOND SOLVER: osmnx is not installed (extra 'peers')")
    from benchmarks.bench_osm import as_xml

    as_xml(shared_data / "osm/porto_alegre_centre.osm.pbf", tmp_path / "roads.osm")
    made = osmnx.graph_from_xml(tmp_path / "roads.osm", simplify=True, retain_all=True)
    network = Network.from_tables(tables_of_graph(made))
    assert len(network.links) == len(made.edges)
    assert network.compile().length.sum() == pytest.approx(sum(length for *_, length in made.edges(data="length")))
