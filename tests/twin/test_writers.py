"""One contract for all writers, then what each format holds; judges that are not ours are in test_writers_judged.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from hub.cli import main
from sensors import InputError
from twin import Network
from twin.generate import generate
from twin.gmns import write_tables
from twin.importers import import_tables
from twin.polygon import signed_area
from twin.writers import FORMATS, export, form_of
from twin.writers.gmns import OFFICIAL
from twin.writers.turns import lanes_of

Tables = dict[str, list[dict[str, object]]]
NAMES = {"gmns": "city", "sumo": "city.sumo", "geojson": "city.geojson", "cityjson": "city.city.json"}


@pytest.fixture(scope="module")
def city() -> Network:
    return Network.from_tables(generate(seed=3, junctions=60))


def contents(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (sorted(out.iterdir()) if out.is_dir() else [out])}


@pytest.mark.parametrize("form", FORMATS)
def test_a_writer_is_chosen_by_name_and_writes_the_same_twice(form: str, city: Network, tmp_path: Path) -> None:
    assert form_of(Path(NAMES[form])) == form
    for folder in ("a", "b"):
        export(city, tmp_path / folder / NAMES[form])
    first, second = (contents(tmp_path / folder / NAMES[form]) for folder in ("a", "b"))
    assert first == second
    assert all(first.values())


@pytest.mark.parametrize("form", FORMATS)
def test_what_stands_there_is_replaced_only_on_request(form: str, city: Network, tmp_path: Path) -> None:
    out = tmp_path / NAMES[form]
    export(city, out)
    before = contents(out)
    with pytest.raises(InputError, match="--force"):
        export(city, out)
    assert contents(out) == before
    export(city, out, overwrite=True)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == [out.name]  # nothing half-written is left


@pytest.mark.parametrize("form", FORMATS)
def test_a_network_of_one_street_is_written_too(form: str, tmp_path: Path) -> None:
    street = Network.from_tables(
        {
            "node": [
                {"node_id": "a b", "x_coord": 179.999, "y_coord": -45},
                {"node_id": "<", "x_coord": 180, "y_coord": -45},
            ],
            "link": [{"link_id": 'x"&', "from_node_id": "a b", "to_node_id": "<", "name": "Crosby & Sons <n>"}],
        }
    )
    export(street, tmp_path / NAMES[form])
    assert contents(tmp_path / NAMES[form])


def test_an_unknown_suffix_is_told_what_is_known(city: Network, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"what format is \.dxf\? known are .*\.geojson.*or say --format"):
        export(city, tmp_path / "city.dxf")
    with pytest.raises(InputError, match=r"format is 'dxf', must be one of"):
        export(city, tmp_path / "city", form="dxf")
    (tmp_path / "folder.geojson").mkdir()
    with pytest.raises(InputError, match="is a folder, this format is one file"):
        export(city, tmp_path / "folder.geojson", overwrite=True)


def test_the_command_exports_and_says_what_the_format_cannot(
    crossing: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tables(tmp_path / "city", {**crossing, "sensor": [{"sensor_id": "S", "link_id": "WC"}]})
    command = ["network", "export", str(tmp_path / "city"), str(tmp_path / "out")]
    assert main(command) == 0
    assert "1 sensors have no table in GMNS" in capsys.readouterr().out
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force", "--format", "gmns"]) == 0


# GMNS


def assert_same_roads(one: Network, two: Network) -> None:
    """Links, movements, lane groups and signals are the same, up to the rounding of written numbers."""
    a, b = one.compile(), two.compile()
    assert a.link_ids == b.link_ids
    for name in ("from_node", "to_node", "lanes", "link_class"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist(), name
    for name, step in (("length", 5e-4), ("free_speed", 5e-5), ("capacity", 1e-5)):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=step * 1.01, rel=1e-6), name
    for name in ("movement_start", "movement_out", "movement_group", "group_start", "group_lanes"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist(), name
    assert a.group_pocket == pytest.approx(b.group_pocket, abs=1e-3)
    assert one.signals.keys() == two.signals.keys()
    for name, plan in one.signals.items():
        other = two.signals[name]
        assert (plan.cycle_s, plan.offset_s) == (other.cycle_s, other.offset_s)
        stages = [
            [(s.green_s, s.intergreen_s, sorted(s.movements), sorted(s.permitted)) for s in p.stages]
            for p in (plan, other)
        ]
        assert stages[0] == stages[1]


def test_gmns_comes_back_as_the_same_roads(city: Network, tmp_path: Path) -> None:
    export(city, tmp_path / "out")
    assert_same_roads(city, Network.read(tmp_path / "out"))
    assert_same_roads(city, Network.from_tables(import_tables(tmp_path / "out")))


def test_gmns_has_all_official_columns(city: Network, tmp_path: Path) -> None:
    export(city, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        header = path.read_text("utf-8").split("\n")[0].split(",")
        assert set(header) == set(OFFICIAL[path.stem]), path.name


def test_a_node_that_loads_zones_carries_the_one_that_loads_most(crossing: Tables, tmp_path: Path) -> None:
    crossing["zone"] = [{"zone_id": "big"}, {"zone_id": "small"}]
    shares = [("big", "W", 0.7), ("big", "E", 0.3), ("small", "E", 1.0)]
    crossing["zone_node"] = [{"zone_id": zone, "node_id": node, "share": share} for zone, node, share in shares]
    notes = export(Network.from_tables(crossing), tmp_path / "out")
    nodes = Network.read(tmp_path / "out").nodes
    zones = dict(zip(nodes.ids, nodes.zone_ids, strict=True))
    assert (zones["W"], zones["E"], zones["N"]) == ("big", "small", "")
    assert any("several zones" in note for note in notes)


# GeoJSON


def test_geojson_holds_every_link_with_its_geometry_and_units(city: Network, tmp_path: Path) -> None:
    export(city, tmp_path / "city.geojson")
    document = json.loads((tmp_path / "city.geojson").read_text("utf-8"))
    assert document["network_sha256"] == city.sha256
    layers: dict[str, list[dict[str, object]]] = {}
    for feature in document["features"]:
        layers.setdefault(feature["properties"]["layer"], []).append(feature)
    compiled = city.compile()
    assert [f["properties"]["link_id"] for f in layers["link"]] == list(compiled.link_ids)  # type: ignore[index]
    for k, feature in enumerate(layers["link"]):
        properties, geometry = feature["properties"], feature["geometry"]
        assert properties["length_m"] == pytest.approx(compiled.length[k], abs=5e-4)  # type: ignore[index]
        assert properties["free_speed_kmh"] == pytest.approx(compiled.free_speed[k] * 3.6, abs=5e-4)  # type: ignore[index]
        assert np.array(geometry["coordinates"]) == pytest.approx(city.geometry(k), abs=1e-7)  # type: ignore[index]
    assert len(layers["node"]) == compiled.n_nodes
    assert len(layers["building"]) == len(city.buildings)
    assert len(layers["asset"]) == len(city.assets.assets)
    for feature in layers["building"]:  # RFC 7946, 3.1.6: outer rings run anticlockwise and are closed
        ring = np.array(feature["geometry"]["coordinates"][0])  # type: ignore[index]
        assert ring[0].tolist() == ring[-1].tolist()
        assert signed_area(ring) > 0


# CityJSON


def test_cityjson_blocks_are_closed_and_hold_the_volume_of_their_buildings(tmp_path: Path) -> None:
    # A square of 100 m with a court of 50 m, 20 m high; sizes on the ellipsoid, scale of UTM 0.9996 at its meridian.
    side = np.array([100 / 111_319.49 / np.cos(np.radians(30.0)), 100 / 110_852.4])
    corner = np.array([123.0, 30.0])
    outer = corner + side * [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    inner = corner + side * (0.25 + 0.5 * np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]))
    rings = ", ".join("(" + ", ".join(f"{x:.9f} {y:.9f}" for x, y in ring) + ")" for ring in (outer, inner))
    network = Network.from_tables(
        {
            "node": [
                {"node_id": "a", "x_coord": 123.0, "y_coord": 30.0},
                {"node_id": "b", "x_coord": 123.001, "y_coord": 30.0},
            ],
            "link": [{"link_id": "ab", "from_node_id": "a", "to_node_id": "b"}],
            "building": [{"building_id": "B", "height_m": 20, "geometry": f"POLYGON ({rings})"}],
        }
    )
    export(network, tmp_path / "c.city.json")
    document = json.loads((tmp_path / "c.city.json").read_text("utf-8"))
    points = np.array(document["vertices"]) * document["transform"]["scale"]
    (solid,) = document["CityObjects"]["building:B"]["geometry"]
    (shell,) = solid["boundaries"]
    # The divergence theorem over all faces, outward normals: the volume; a face with a wrong sense would spoil it.
    volume = 0.0
    edges: dict[tuple[int, int], int] = {}
    for face in shell:
        for ring in face:
            p = points[ring]
            volume += sum(np.linalg.det([p[0], p[k], p[k + 1]]) for k in range(1, len(p) - 1)) / 6
            for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
                edges[a, b] = edges.get((a, b), 0) + 1
    assert all(count == 1 and edges.get((b, a)) == 1 for (a, b), count in edges.items())  # closed, each edge both ways
    assert volume == pytest.approx((100**2 - 50**2) * 20, rel=2e-3)


def test_cityjson_roads_have_the_area_of_their_lanes(city: Network, tmp_path: Path) -> None:
    export(city, tmp_path / "c.city.json")
    document = json.loads((tmp_path / "c.city.json").read_text("utf-8"))
    points = np.array(document["vertices"]) * document["transform"]["scale"]
    compiled = city.compile()
    for k, name in enumerate(compiled.link_ids):
        if len(city.geometry(k)) > 2:
            continue  # a bend is wider outside than inside
        surface = document["CityObjects"][f"link:{name}"]["geometry"][-1]
        assert surface["semantics"]["surfaces"][0]["type"] == "TrafficArea"
        area = sum(signed_area(points[ring][:, :2]) for (ring,) in surface["boundaries"])
        assert area > 0  # seen from above
        drawn = np.hypot(
            *np.diff(points[document["CityObjects"][f"link:{name}"]["geometry"][0]["boundaries"][0]], axis=0)[0, :2]
        )
        assert area == pytest.approx(drawn * 3.25 * compiled.lanes[k], rel=0.01)
    assert len({tuple(point) for point in document["vertices"]}) == len(document["vertices"])


# SUMO


def test_lanes_of_a_movement_are_those_of_the_table_and_pockets_the_lane_beside(crossing: Tables) -> None:
    from_west = {"node_id": "C", "ib_link_id": "WC"}
    crossing["movement"] = [
        {"mvmt_id": "l", **from_west, "ob_link_id": "CN", "start_ib_lane": -1, "end_ib_lane": -1, "pocket_m": 40},
        {"mvmt_id": "s", **from_west, "ob_link_id": "CE", "start_ib_lane": 1, "end_ib_lane": 2},
    ]
    network = Network.from_tables(crossing)
    at = network.links.position
    assert lanes_of(network, at["WC"], at["CN"]) == [1]
    assert lanes_of(network, at["WC"], at["CE"]) == [1, 2]
    assert lanes_of(network, at["EC"], at["CW"]) == [1, 2]
