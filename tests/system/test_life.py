"""A demo's life as its user sees it: the address, the last words, and nothing left behind."""

import re

import pytest


@pytest.mark.slow
def test_a_demo_that_stops_by_itself_says_what_went_through_and_leaves_nothing_behind(start, until):
    hub = start("demo", "--for", "25", "--speed", "20", "--port", "0")
    state = until(lambda: hub.get("/api/v1/state"), "a first state")
    assert len(state["link_ids"]) == len(state["speed_kmh"]) > 800
    until(lambda: "measured" in (hub.get("/api/v1/state") or {"source": ()})["source"], "a measured link")
    family = hub.family()
    assert len(family) >= 4, "hub, broker, street, database"
    assert hub.wait() == 0, "\n".join(hub.err)

    hour = [line for line in hub.out if "the street starts at 07:30 of its typical day" in line]
    assert hour, "the newcomer must not take it for the city outside"
    (readings,) = [line for line in hub.out if line.startswith("readings:")]
    received, stored, duplicate, conflict, rejected = (int(word) for word in re.findall(r"\d+", readings))
    assert received == stored + duplicate + conflict + rejected
    assert stored > 1000
    assert (conflict, rejected) == (0, 0)
    (street,) = [line for line in hub.out if line.startswith("street:")]
    published, acknowledged = (int(word) for word in re.findall(r"\d+", street))
    assert published == acknowledged > 0
    assert any(re.match(r"incidents injected [1-9]", line) for line in hub.out)
    assert any(line.startswith("alerts raised") for line in hub.out)
    assert not [process for process in family if process.is_running() and process.status() != "zombie"]
    assert hub.family() == []
    assert not (hub.state / "ports.json").exists()


@pytest.mark.slow
def test_ctrl_c_stops_the_demo_in_order_with_its_last_words(start, until, city_folder):
    hub = start("demo", "--network", str(city_folder), "--speed", "20", "--port", "0")
    until(lambda: "measured" in (hub.get("/api/v1/state") or {"source": ()})["source"], "a measured link")
    hub.interrupt()
    assert hub.wait() == 0, "\n".join(hub.err)
    assert not [line for line in hub.err if "INFO" not in line], "nothing is wrong about being stopped"
    (street,) = [line for line in hub.out if line.startswith("street:")]
    published, acknowledged = (int(word) for word in re.findall(r"\d+", street))
    assert published == acknowledged > 0
    assert hub.family() == []


@pytest.mark.slow
@pytest.mark.parametrize("child", ["hub.street", "postgres", "ingest.broker"])
def test_ctrl_c_while_it_starts_leaves_nothing_behind(start, until, city_folder, child):
    hub = start("demo", "--network", str(city_folder), "--port", "0")
    until(lambda: hub.named(child), "a child")
    hub.interrupt()
    assert hub.wait() in (0, 130)
    assert "Traceback" not in "\n".join(hub.err)
    assert hub.started() == []
    assert hub.family() == []


@pytest.mark.slow
def test_a_second_demo_goes_on_from_what_the_first_stored_without_conflicts(start, until):
    first = start("demo", "--for", "12", "--speed", "60", "--port", "0")
    assert first.wait() == 0, "\n".join(first.err)
    second = start("demo", "--for", "12", "--speed", "60", "--port", "0", state=first.state)
    assert second.wait() == 0, "\n".join(second.err)
    (readings,) = [line for line in second.out if line.startswith("readings:")]
    assert "conflict 0" in readings, "its clock must not run through times that are stored already"


@pytest.mark.slow
def test_a_network_without_sensors_and_demand_gets_virtual_ones(start, until, tmp_path):
    from twin import Network
    from twin.generate import generate

    tables = generate(seed=5, junctions=60)
    for name in ("sensor", "demand", "asset", "dependency"):
        tables.pop(name)
    Network.from_tables(tables).write(tmp_path / "bare")
    hub = start("demo", "--network", str(tmp_path / "bare"), "--speed", "20", "--port", "0")
    until(lambda: "measured" in (hub.get("/api/v1/state") or {"source": ()})["source"], "a measured link")
    sensors = hub.get("/api/v1/sensors")["sensors"]
    assert any(sensor["sensor_id"].startswith("VD-") for sensor in sensors)
