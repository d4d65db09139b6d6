"""Power grids and descriptions of devices become equipment of a network."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main
from sensors import InputError
from twin import Network
from twin.gmns import write_tables
from twin.importers import with_equipment
from twin.importers.power import feeders, read_grid

Tables = dict[str, list[dict[str, object]]]
PHASES = [("1", "WC", "CE"), ("2", "NC", "CS")]


def frame(*columns: str, rows: list[list[object]]) -> dict[str, Any]:
    data = json.dumps({"columns": columns, "index": list(range(len(rows))), "data": rows})
    return {"_module": "pandas.core.frame", "_class": "DataFrame", "_object": data, "orient": "split"}


def point(x: float, y: float) -> str:
    return json.dumps({"type": "Point", "coordinates": [120 + x / 96_400, 30 + y / 111_320]})


def grid(path: Path, **changes: object) -> Path:
    """Write a grid: supply 0, transformer with busbar 1, switch to buses 2 and 3, line to bus 4, an open line."""
    content: dict[str, Any] = {
        "bus": frame("name", "vn_kv", "in_service", "geo", rows=[
            ["above", 20.0, True, point(0, 300)], ["bar", 0.4, True, point(0, 250)], ["a", 0.4, True, point(0, 20)],
            ["b", 0.4, True, point(60, 60)], ["c", 0.4, True, point(-150, -20)]]),
        "line": frame("from_bus", "to_bus", rows=[[1, 2], [2, 3], [1, 4], [3, 4]]),
        "trafo": frame("name", "hv_bus", "lv_bus", "in_service", rows=[["T", 0, 1, True]]),
        "load": frame("bus", "in_service", rows=[[2, True], [3, True], [4, True]]),
        "switch": frame("bus", "element", "et", "closed", rows=[[1, 0, "l", True], [3, 3, "l", False]]),
        "ext_grid": frame("bus", "in_service", rows=[[0, True]]),
    }  # fmt: skip
    document = {"_module": "pandapower.auxiliary", "_class": "pandapowerNet", "_object": {**content, **changes}}
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def equipped(crossing: Tables) -> Tables:
    """A lamp near bus c, a camera far away, and a controller that has its supply."""
    crossing["asset"] = [
        {"asset_id": "L", "kind": "lamp", "link_id": "WC", "x_coord": 120 - 0.0015, "y_coord": 30.0},
        {"asset_id": "V", "kind": "camera", "x_coord": 120.1, "y_coord": 30.0},
        {"asset_id": "K", "kind": "cabinet", "node_id": "C"},
        {"asset_id": "S", "kind": "signal", "node_id": "C"},
        {"asset_id": "B", "kind": "bus_stop", "node_id": "C"},
    ]
    crossing["dependency"] = [{"asset_id": "S", "depends_on": "K", "kind": "control"}]
    return crossing


def test_a_grid_becomes_feeders_that_carry_what_stands_near_them(equipped: Tables, tmp_path: Path) -> None:
    tables = with_equipment(equipped, power_grid=[grid(tmp_path / "grid.json")])
    network = Network.from_tables(tables)
    graph = network.assets
    kinds = {name: asset.kind for name, asset in graph.assets.items()}
    assert [name for name in kinds if kinds[name] == "feeder"] == ["feeder-2", "feeder-4"]
    assert graph.upstream("L") == ("grid-0", "transformer-0", "feeder-4")
    assert graph.upstream("S") == ("K", "grid-0", "transformer-0", "feeder-2", "breaker-0")
    assert graph.upstream("V") == ()
    assert graph.upstream("B") == ()
    assert graph.outage({"breaker-0"}).dark() == ("K", "S", "feeder-2", "breaker-0")
    assert graph.time_to_dark("L").because.endswith("which has no power from grid-0, which failed")
    rows = {row["asset_id"]: row for row in tables["dependency"]}
    assert rows["L"]["assumed"] == "depends_on"
    told = " ".join(network.notes)
    assert "1 transformers, 1 outgoing switches and 2 feeders with 3 of 3 loads; 1 lines are open" in told
    assert "2 of 3 pieces of equipment without a supply hang on the feeder" in told


def test_signals_of_a_network_without_equipment_become_assets(crossing: Tables, tmp_path: Path) -> None:
    crossing["signal_controller"] = [{"controller_id": "C"}]
    crossing["signal_timing_plan"] = [{"timing_plan_id": "P", "controller_id": "C", "cycle_length": 60}]
    crossing["signal_timing_phase"] = [
        {"timing_phase_id": f"P{n}", "timing_plan_id": "P", "signal_phase_num": n, "max_green": 25, "clearance": 5,
         "ring": 1, "barrier": 1, "position": n} for n, _, _ in PHASES
    ]  # fmt: skip
    crossing["movement"] = [
        {"mvmt_id": f"{a}{b}", "node_id": "C", "ib_link_id": a, "ob_link_id": b} for _, a, b in PHASES
    ]
    crossing["signal_phase_mvmt"] = [
        {"signal_phase_mvmt_id": f"{a}{b}", "timing_phase_id": f"P{n}", "mvmt_id": f"{a}{b}"} for n, a, b in PHASES
    ]
    assert "C" in Network.from_tables(crossing).signals
    network = Network.from_tables(with_equipment(crossing, power_grid=[grid(tmp_path / "grid.json")]))
    (signal,) = network.assets.outage({"transformer-0"}).signals()
    assert (signal.node_id, signal.mode, signal.asset_id) == ("C", "dark", "signal-C")


def test_a_ring_of_two_transformers_lives_on_one(tmp_path: Path) -> None:
    changes = {
        "trafo": frame("name", "hv_bus", "lv_bus", "in_service", rows=[["T", 0, 1, True], ["U", 0, 4, True]]),
        "switch": frame("bus", "element", "et", "closed", rows=[]),
    }
    supply = feeders(read_grid(grid(tmp_path / "grid.json", **changes)))
    needs = [(row["asset_id"], row["depends_on"], row["need"]) for row in supply.dependencies]
    assert ("feeder-2", "transformer-0", "any") in needs
    assert ("feeder-2", "transformer-1", "any") in needs


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[1]", "no grid of pandapower"),
        ('{"_class": "pandapowerNet", "_object": {"bus": 3}}', "no readable table 'bus'"),
    ],
)
def test_a_file_that_is_no_grid_is_one_sentence_each(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "grid.json"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_grid(path)


def test_faults_of_a_grid_are_told_with_row_and_value(equipped: Tables, tmp_path: Path) -> None:
    lines = frame("from_bus", "to_bus", rows=[[1, 77]])
    with pytest.raises(InputError, match="line 0: to_bus is 77, which is no bus"):
        read_grid(grid(tmp_path / "grid.json", line=lines))
    with pytest.raises(InputError, match="load: has no column bus"):
        read_grid(grid(tmp_path / "grid.json", load=frame("p_mw", rows=[])))
    with pytest.raises(InputError, match="has no transformer"):
        read_grid(grid(tmp_path / "grid.json", trafo=frame("hv_bus", "lv_bus", rows=[])))
    far = frame("vn_kv", "geo", rows=[[0.4, '{"coordinates": [7.8, 48.4], "type": "Point"}']] * 5)
    with pytest.raises(InputError, match="grid of another town"):
        with_equipment(equipped, power_grid=[grid(tmp_path / "grid.json", bus=far)])
    with pytest.raises(InputError, match="there is no such file"):
        read_grid(tmp_path / "nothing.json")


@pytest.mark.data
def test_the_grid_of_a_town_feeds_a_network_on_its_streets(shared_data: Path) -> None:
    source = shared_data / "power" / "lv_schutterwald.pandapower.json.gz"
    supply = feeders(read_grid(source))
    kinds = [str(row["kind"]) for row in supply.assets]
    # As the data's description counts: 14 transformers with a supply each; 60 closed switches stand at their busbars.
    assert (kinds.count("transformer"), kinds.count("grid_supply"), kinds.count("breaker")) == (14, 14, 60)
    buses = json.loads(json.loads(gzip.decompress(source.read_bytes()))["_object"]["bus"]["_object"])
    lons, lats = zip(*(json.loads(row[-1])["coordinates"] for row in buses["data"]), strict=True)
    n = 8
    nodes = [
        {"node_id": f"{i}.{j}", "x_coord": min(lons) + (max(lons) - min(lons)) * i / (n - 1),
         "y_coord": min(lats) + (max(lats) - min(lats)) * j / (n - 1)}
        for i in range(n) for j in range(n)
    ]  # fmt: skip
    ends = [(f"{i}.{j}", f"{i + a}.{j + b}") for i in range(n) for j in range(n) for a, b in ((0, 1), (1, 0))
            if i + a < n and j + b < n]  # fmt: skip
    links = [{"link_id": f"{a}-{b}", "from_node_id": a, "to_node_id": b, "directed": False, "lanes": 1,
              "free_speed": 50} for a, b in ends]  # fmt: skip
    assets = [{"asset_id": f"K{row['node_id']}", "kind": "cabinet", "node_id": row["node_id"]} for row in nodes]
    tables = with_equipment({"node": nodes, "link": links, "asset": assets}, power_grid=[source])
    network = Network.from_tables(tables)
    assert network.assets.cycles() == []
    fed = [a for a in network.assets.assets if a.startswith("K") and network.assets.upstream(a)]
    assert len(fed) > 10
    for name in fed:
        above = [network.assets.assets[a].kind for a in network.assets.upstream(name)]
        assert above.count("transformer") == 1, "the grid is radial: no meshes but one within a feeder"
        assert network.assets.time_to_dark(name).seconds == 0
    points = network.assets.single_points_of_failure()
    assert points[0].kind in ("grid_supply", "transformer")


# --- descriptions of devices ---------------------------------------------------------------------------------------


def of_place(x: float, y: float) -> dict[str, object]:
    return {"type": "Point", "coordinates": [120 + x, 30 + y]}


THING = {
    "@iot.id": 7,
    "name": "loop-7",
    "description": "Loop of West Street",
    "properties": {"owner": "police", "heading": 90, "interval_s": 60, "poweredBy": "K"},
    "Locations": [{"encodingType": "application/geo+json", "location": of_place(-0.001, 0.00002)}],
    "Datastreams": [
        {"@iot.id": 1, "name": "s", "ObservedProperty": {"name": "speed_kmh"}},
        {"@iot.id": 2, "name": "q", "ObservedProperty": {"name": "Traffic Flow"}},
        {"@iot.id": 3, "name": "x", "ObservedProperty": {"name": "loudness"}},
    ],
}
DEVICE = {
    "id": "cam-1",
    "type": "Device",
    "category": {"type": "Property", "value": ["sensor"]},
    "controlledProperty": {"type": "Property", "value": ["intensity", "occupancy"]},
    "location": {"type": "GeoProperty", "value": of_place(0.0, 0.0012)},
    "refGateway": {"type": "Relationship", "object": "gate-1"},
}
GATE = {"id": "gate-1", "type": "Device", "category": ["gateway"], "location": of_place(0.0, 0.001)}


def written(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_things_and_devices_become_assets_and_sensors_with_what_they_hang_on(equipped: Tables, tmp_path: Path) -> None:
    files = [
        written(tmp_path / "things.json", {"value": [THING]}),
        written(tmp_path / "devices.json", [DEVICE, GATE]),
    ]
    network = Network.from_tables(with_equipment(equipped, things_of=files))
    sensors = {sensor.sensor_id: sensor for sensor in network.sensors}
    loop, camera = sensors["loop-7"], sensors["cam-1"]
    assert (loop.link_id, loop.quantities, loop.interval_s) == ("WC", ("speed_kmh", "flow_veh_h"), 60.0)
    assert loop.position_m == pytest.approx(100, abs=5)
    assert (loop.owner, loop.asset_id) == ("police", "loop-7")
    assert camera.link_id in ("NC", "CN")
    assert camera.quantities == ("count_veh", "occupancy")
    graph = network.assets
    assert graph.upstream("loop-7") == ("K",)
    assert graph.outage({"gate-1"}).sensors(network.sensors) == {"cam-1": 0.0}
    assert graph.outage({"gate-1"}).dark() == ("gate-1",)
    told = " ".join(network.notes)
    assert "1 are measured and no quantity here: they are left out: loudness" in told


def test_the_examples_of_smart_data_models_are_read_in_both_forms(crossing: Tables, shared_data: Path) -> None:
    folder = shared_data / "mqtt" / "smart_data_models"
    models = (
        "Streetlight",
        "StreetlightControlCabinet",
        "StreetlightFeeder",
        "TrafficFlowObserved",
        "AirQualityObserved",
    )
    seen = []
    for form in ("example", "example-normalized"):
        files = [folder / f"{model}.{form}.json" for model in models]
        network = Network.from_tables(with_equipment(crossing, things_of=files))
        seen.append((dict(network.assets.assets), network.assets.dependencies, network.sensors))
        kinds = [asset.kind for asset in network.assets.assets.values()]
        assert kinds == ["lamp", "cabinet", "feeder", "detector", "air_station"]
        flow = next(sensor for sensor in network.sensors if sensor.kind == "detector")
        assert flow.link_id == "", "Valladolid is far away"
        assert set(flow.quantities) == {"count_veh", "occupancy", "speed_kmh"}
        assert any("have no link near" in note for note in network.notes)
    # The two forms of AirQualityObserved are examples of different stations.
    assert seen[0][1] == seen[1][1]


def test_a_lamp_hangs_on_its_cabinet_by_group_and_on_its_feeder_by_name(crossing: Tables, tmp_path: Path) -> None:
    lamp = {
        "id": "L1",
        "type": "Streetlight",
        "location": of_place(-0.001, 0),
        "refStreetlightGroup": "g",
        "feederID": "F1",
    }
    cabinet = {"id": "K1", "type": "StreetlightControlCabinet", "refStreetlightGroup": ["g", "h"]}
    feeder = {"id": "F-long-name", "type": "StreetlightFeeder", "deviceInfo": {"deviceName": "F1"}}
    files = [written(tmp_path / "lamps.json", [lamp, cabinet, feeder])]
    network = Network.from_tables(with_equipment(crossing, things_of=files))
    assert set(network.assets.upstream("L1")) == {"K1", "F-long-name"}
    assert network.assets.assets["L1"].link_id in ("WC", "CW")
    assert any("2 have no place" in note for note in network.notes)


def test_descriptions_that_cannot_be_used_are_all_told(equipped: Tables, tmp_path: Path) -> None:
    bad = [5, {"name": "nothing"}, {**GATE, "id": "L"}, GATE, GATE]
    with pytest.raises(InputError) as caught:
        with_equipment(equipped, things_of=[written(tmp_path / "bad.json", bad)])
    assert caught.value.faults == (
        "bad.json: description 1: is '5', must be an object",
        "bad.json: description 2: is no SensorThings Thing (@iot.id, Locations) and no NGSI entity (id, type)",
        "bad.json: description 5: 'gate-1' is described twice",
        "bad.json: 'L': the network has an asset or sensor of this name",
    )
    for text, sentence in (
        ("", "is not JSON"),
        ("[]", "describes nothing"),
        ("[" * 100_000, "nested too deeply|not JSON"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match=sentence):
            with_equipment(equipped, things_of=[tmp_path / "bad.json"])


def test_the_command_imports_a_network_with_its_equipment(
    equipped: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tables(tmp_path / "base", equipped)
    command = ["network", "import", str(tmp_path / "base"), str(tmp_path / "city"), "--power"]
    things = ["--things", str(written(tmp_path / "things.json", THING))]
    assert main([*command, str(grid(tmp_path / "grid.json")), *things]) == 0
    assert "feeders with 3 of 3 loads" in capsys.readouterr().out
    assert "loop-7" in Network.read(tmp_path / "city").assets.outage({"grid-0"}).dark()
    assert main([*command, str(tmp_path / "things.json")]) == 2
    assert "no grid of pandapower" in capsys.readouterr().err
