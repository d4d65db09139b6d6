"""Small network folders that tests of demand, scenarios and commands read."""

import pytest

from twin import Network

TABLES = {
    "node": [
        {"node_id": n, "x_coord": 120 + x / 100, "y_coord": 30 + y / 100}
        for n, x, y in (("A", 0, 0), ("M", 1, 0), ("C", 2, 0), ("D", 1, 1))
    ],
    "link": [
        {"link_id": i, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": length}
        for i, a, b, length in (
            ("AM", "A", "M", 1000),
            ("MC", "M", "C", 500),
            ("MD", "M", "D", 1000),
            ("DC", "D", "C", 1000),
            ("CM", "C", "M", 500),
            ("MA", "M", "A", 1000),
        )
    ],
    "zone": [{"zone_id": z} for z in ("west", "east")],
    "zone_node": [
        {"zone_id": "west", "node_id": "A", "share": 1},
        {"zone_id": "east", "node_id": "C", "share": 3},
        {"zone_id": "east", "node_id": "D", "share": 1},
    ],
    "asset": [
        {"asset_id": "feeder", "kind": "feeder"},
        {"asset_id": "cabinet", "kind": "cabinet", "autonomy_s": 60},
        {"asset_id": "signal-M", "kind": "signal", "node_id": "M"},
    ],
    "dependency": [
        {"asset_id": "cabinet", "depends_on": "feeder", "kind": "power"},
        {"asset_id": "signal-M", "depends_on": "cabinet", "kind": "control"},
    ],
}


@pytest.fixture(scope="session")
def tables():
    return TABLES


@pytest.fixture
def network():
    return Network.from_tables(TABLES)


@pytest.fixture
def folder(tmp_path, network):
    path = tmp_path / "net"
    network.write(path)
    (path / "demand.csv").write_text(
        "o_zone_id,d_zone_id,volume,start_s,end_s\nwest,east,100,0,1000\neast,west,40.5,0,1000\n", "utf-8"
    )
    return path
