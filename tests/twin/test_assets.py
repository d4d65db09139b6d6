"""Equipment and what it depends on."""

import pytest

from sensors import InputError
from twin import Network

Tables = dict[str, list[dict[str, object]]]


@pytest.fixture
def powered(crossing: Tables) -> Tables:
    """Return a signal in a cabinet with two feeders, and a camera on the same cabinet."""
    crossing["asset"] = [
        {"asset_id": "F1", "kind": "Feeder", "x_coord": 120.0, "y_coord": 30.0, "owner": "grid"},
        {"asset_id": "F2", "kind": "feeder"},
        {"asset_id": "K1", "kind": "cabinet", "autonomy_s": 3600},
        {"asset_id": "S1", "kind": "signal", "node_id": "C", "degraded_mode": "all_way_stop"},
        {"asset_id": "V1", "kind": "camera", "link_id": "WC", "name": "Camera", "name_zh": "摄像机"},
    ]
    crossing["dependency"] = [
        {"asset_id": "K1", "depends_on": "F1", "kind": "power", "need": "any", "group": "mains"},
        {"asset_id": "K1", "depends_on": "F2", "kind": "power", "need": "any", "group": "mains"},
        {"asset_id": "S1", "depends_on": "K1", "kind": "control"},
        {"asset_id": "V1", "depends_on": "K1", "kind": "power", "autonomy_s": 60},
    ]
    return crossing


def test_downstream_and_upstream_follow_the_chain(powered: Tables) -> None:
    assets = Network.from_tables(powered).assets
    assert assets.downstream("F1") == ("K1", "S1", "V1")
    assert assets.upstream("S1") == ("F1", "F2", "K1")
    assert assets.upstream("F1") == ()
    assert assets.served("F1") == (("C",), ("WC",))


def test_columns_become_attributes(powered: Tables) -> None:
    assets = Network.from_tables(powered).assets
    assert assets.assets["F1"].kind == "feeder"
    assert assets.assets["F1"].lon_lat == (120.0, 30.0)
    assert assets.assets["F2"].lon_lat is None
    first = assets.dependencies[0]
    assert (first.need, first.group, first.autonomy_s) == ("any", "mains", 3600.0)  # the cabinet's own battery
    control, camera = assets.dependencies[2:]
    assert (control.need, control.autonomy_s) == ("all", 0.0)
    assert camera.autonomy_s == 60.0  # stated for this supply
    assert assets.graph.edges["K1", "F1", 0]["kind"] == "power"


def test_an_unknown_asset_is_a_key_error(powered: Tables) -> None:
    with pytest.raises(KeyError):
        Network.from_tables(powered).assets.downstream("nobody")


def test_circles_are_found_and_do_not_stop_the_queries(powered: Tables) -> None:
    powered["dependency"].append({"asset_id": "F1", "depends_on": "S1", "kind": "control"})
    powered["dependency"].append({"asset_id": "F2", "depends_on": "F2", "kind": "power"})
    network = Network.from_tables(powered)
    assert network.assets.cycles() == [("F1", "K1", "S1"), ("F2",)]
    assert network.assets.downstream("F1") == ("K1", "S1", "V1")
    assert [fault.id for fault in network.validate() if fault.rule == "circle"] == ["F1", "F2"]


def test_a_ring_of_feeders_is_a_note_and_lines_that_stand_in_for_supplies_a_warning(powered: Tables) -> None:
    mains = {"kind": "power", "need": "any", "group": "mains"}
    powered["asset"].append({"asset_id": "K2", "kind": "cabinet", "autonomy_s": 60})
    powered["dependency"] += [
        {"asset_id": "K2", "depends_on": "F2", **mains},
        {"asset_id": "K2", "depends_on": "K1", **mains},
        {"asset_id": "K1", "depends_on": "K2", **mains},
        {"asset_id": "V1", "depends_on": "F1", "kind": "power", "need": "any", "group": "x"},
        {"asset_id": "V1", "depends_on": "F2", "kind": "comms", "need": "any", "group": "x"},
    ]
    network = Network.from_tables(powered)
    found = {(fault.rule, fault.severity): fault.text for fault in network.validate()}
    assert "K1, K2 feed each other in a ring" in found["ring", "note"]
    assert "asset V1: group x holds lines and supplies" in found["group", "warning"]
    assert network.assets.outage({"F1"}).dark() == ("F1", "V1")
    assert network.assets.outage({"F1", "F2"}).lost_at[network.assets.position["K2"]] == 60.0


def test_dependencies_without_assets_are_a_fault(crossing: Tables) -> None:
    crossing["dependency"] = [{"asset_id": "A", "depends_on": "B"}]
    with pytest.raises(InputError, match=r"no asset\.csv"):
        Network.from_tables(crossing)
