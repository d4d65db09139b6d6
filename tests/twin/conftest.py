"""A small crossing as tables, which tests of the network change."""

import pytest

Tables = dict[str, list[dict[str, object]]]


@pytest.fixture
def crossing() -> Tables:
    """Return node C with arms W, E, N, S of two-way streets: links WC, CW, ... of 200 m, two lanes, 50 km/h."""
    arms = {"W": (-0.002, 0.0), "E": (0.002, 0.0), "N": (0.0, 0.002), "S": (0.0, -0.002)}
    nodes: list[dict[str, object]] = [{"node_id": "C", "x_coord": 120.0, "y_coord": 30.0}]
    links: list[dict[str, object]] = []
    for arm, (x, y) in arms.items():
        nodes.append({"node_id": arm, "x_coord": 120.0 + x, "y_coord": 30.0 + y})
        for name, ends in ((f"{arm}C", (arm, "C")), (f"C{arm}", ("C", arm))):
            row = {"link_id": name, "from_node_id": ends[0], "to_node_id": ends[1]}
            links.append({**row, "length": 200, "lanes": 2, "free_speed": 50, "capacity": 1800})
    return {"node": nodes, "link": links}
