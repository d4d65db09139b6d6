"""The network as the API tells it is the network of the folder: ids, metres, background, equipment."""

import struct
from typing import Any

import numpy as np
import pytest

from twin import Network


def test_the_description_names_every_link_in_array_order(hub: Any, town: Network) -> None:
    said = hub.get("network")
    compiled = town.compile()
    assert said["link_ids"] == list(compiled.link_ids)
    assert (said["n_links"], said["n_nodes"]) == (compiled.n_links, compiled.n_nodes)
    assert said["network_sha256"] == town.sha256
    assert said["link_names_zh"] == [town.link_names(link)["zh"] for link in range(compiled.n_links)]
    assert said["link_class"] == compiled.link_class.tolist()
    assert (said["demo"], said["timezone"], said["clock_factor"]) == (False, "Asia/Shanghai", 1.0)
    points = np.concatenate([town.geometry(link) for link in range(compiled.n_links)])
    west, south, east, north = said["bounds"]
    assert (west, east) == (points[:, 0].min(), points[:, 0].max())
    assert (south, north) == (points[:, 1].min(), points[:, 1].max())


def test_the_binary_geometry_is_the_geometry_of_the_network_in_metres(hub: Any, town: Network) -> None:
    answer = hub.client.get("/api/v1/network/geometry")
    assert answer.headers["content-type"] == "application/octet-stream"
    data = answer.content
    magic, n_links, n_points, zero = struct.unpack_from("<4sIII", data)
    offsets = np.frombuffer(data, "<u4", n_links + 1, 16)
    at = 16 + 4 * (n_links + 1)
    xy = np.frombuffer(data, "<f4", 2 * n_points, at).reshape(-1, 2)
    classes = np.frombuffer(data, np.uint8, n_links, at + 8 * n_points)
    assert (magic, zero, n_links) == (b"CTG1", 0, len(town.links.ids))
    assert len(data) == at + 8 * n_points + n_links
    assert offsets[0] == 0
    assert offsets[-1] == n_points
    assert classes.tolist() == town.compile().link_class.tolist()
    lon0, lat0 = hub.get("network")["origin"]
    for link in range(n_links):
        lon, lat = town.geometry(link).T
        metres = np.column_stack(
            [(lon - lon0) * np.cos(np.radians(lat0)) * 111319.49, (lat - lat0) * 111319.49]
        )  # fmt: skip
        # float32 holds 10 km to a millimetre; the network itself is written to about a decimetre.
        np.testing.assert_allclose(xy[offsets[link] : offsets[link + 1]], metres, atol=0.01)


def test_links_are_geojson_with_attributes_in_field_units(hub: Any, town: Network) -> None:
    collection = hub.get("network/links")
    assert collection["type"] == "FeatureCollection"
    assert [feature["id"] for feature in collection["features"]] == list(town.links.ids)
    feature, links = collection["features"][5], town.links
    assert feature["geometry"]["type"] == "LineString"
    assert feature["geometry"]["coordinates"] == town.geometry(5).tolist()
    properties = feature["properties"]
    assert properties["length_m"] == pytest.approx(links.length[5], abs=0.05)
    assert properties["free_speed_kmh"] == pytest.approx(3.6 * links.free_speed[5], abs=0.05)
    assert properties["capacity_veh_h"] == pytest.approx(3600 * town.compile().capacity[5], abs=0.5)
    assert properties["lanes"] == links.lanes[5]
    assert properties["from_node_id"] == town.nodes.ids[links.from_node[5]]


def test_the_background_is_closed_polygons_of_known_kinds(hub: Any, town: Network) -> None:
    features = hub.get("network/base")["features"]
    assert len(features) == len(town.areas) + len(town.buildings)
    assert {feature["properties"]["kind"] for feature in features} == {area.kind for area in town.areas} | {"building"}
    for feature in features:
        assert feature["properties"]["kind"] in ("water", "park", "building")
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
        if feature["properties"]["kind"] == "building":
            assert feature["properties"]["height_m"] > 0


def test_assets_tell_what_depends_on_them_and_what_they_hang_on(hub: Any, town: Network) -> None:
    said = hub.get("assets")
    assert [asset["asset_id"] for asset in said["assets"]] == list(town.assets.assets)
    assert len(said["dependencies"]) == len(town.assets.dependencies) > 0
    for asset_id in list(town.assets.assets)[:10]:
        one = hub.get(f"assets/{asset_id}")
        assert one["asset_id"] == asset_id
        assert one["downstream"] == list(town.assets.downstream(asset_id))
        assert one["upstream"] == list(town.assets.upstream(asset_id))
        for hanging in one["downstream"]:
            assert asset_id in hub.get(f"assets/{hanging}")["upstream"]


@pytest.mark.parametrize("path", ["assets/none", "assets/%00", "links/none", "runs/none", "alerts/none", "nothing"])
def test_what_does_not_exist_is_a_problem_document_with_404(hub: Any, path: str) -> None:
    answer = hub.client.get(f"/api/v1/{path}")
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert (answer.status_code, said["status"], said["title"], said["type"]) == (404, 404, "Not Found", "about:blank")
    assert said["detail"]


def test_a_long_answer_is_compressed_for_whoever_asks(hub: Any) -> None:
    plain = hub.client.get("/api/v1/network/links", headers={"Accept-Encoding": "identity"})
    packed = hub.client.get("/api/v1/network/links", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.json() == packed.json()
