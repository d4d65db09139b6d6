"""Equipment that fails in the living city: its sensors go dark, its signals become stops, and all of it comes back."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hub.cli import main
from hub.equipment import Equipment, in_chinese
from ingest.database import DatabaseAway
from sensors import InputError, Reading
from twin import Network, Source
from twin.outage import Step


def feeder_of(town: Network) -> str:
    """Return a feeder that darkens at once some sensor and some signal."""
    for name, asset in town.assets.assets.items():
        if asset.kind == "feeder":
            outage = town.assets.outage({name: 0.0})
            sensors = {s.sensor_id for s in town.sensors if s.link_id and outage.sensors([s]).get(s.sensor_id) == 0}
            if sensors and any(signal.time == 0 for signal in outage.signals()):
                return name
    raise AssertionError("the town has no such feeder")


def settled(hub: Any, until: Any) -> None:
    """Wait for two snapshots more."""
    sequence = hub.app.board.snapshot.sequence
    until(lambda: hub.app.board.snapshot.sequence > sequence + 1, "two snapshots")


def row_of(hub: Any, sensor_id: str) -> dict[str, Any]:
    return next(row for row in hub.get("sensors")["sensors"] if row["sensor_id"] == sensor_id)


def test_a_failed_feeder_darkens_sensors_and_signals_at_once_and_a_restored_one_gives_them_back(
    hub: Any, town: Network, until: Any
) -> None:
    feeder = feeder_of(town)
    outage = town.assets.outage({feeder: 0.0})
    sensor = next(s for s in town.sensors if s.link_id and outage.sensors([s]).get(s.sensor_id) == 0)
    signal = next(s for s in outage.signals() if s.time == 0)
    roads = town.compile()
    link = roads.link_ids.index(sensor.link_id)
    quantity = next(q for q in ("speed_kmh", "flow_veh_h", "count_veh") if q in sensor.quantities)

    def say() -> None:
        now_ms = int(hub.app.clock.now() * 1000)
        hub.say(Reading(sensor.sensor_id, quantity, now_ms, 30.0 + np.random.default_rng(now_ms).random()))

    say()
    before = hub.app.board.snapshot
    assert before.source[link] == Source.MEASURED
    answer = hub.client.post(f"/api/v1/assets/{feeder}/fail", json={"author": "Li", "reason": "digger"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "failed"
    assert answer.json()["failure"]["reason"] == "digger"
    say()  # what is declared dead may send what it likes
    settled(hub, until)
    after = hub.app.board.snapshot
    assert after.source[link] != Source.MEASURED
    row = row_of(hub, sensor.sensor_id)
    assert (row["dark"], row["silent"]) == (True, False)
    assert feeder in row["because"]
    assert row["because"].endswith("failed")
    assert row["because_zh"].startswith(f"{feeder}失效，")
    assert sensor.asset_id in row["because_zh"]
    assets = {asset["asset_id"]: asset for asset in hub.get("assets")["assets"]}
    assert assets[sensor.asset_id]["state"] == "dark"
    assert hub.get("assets")["failed"] == [feeder]
    everything = hub.get("outage")
    out = {asset["asset_id"]: asset for asset in everything["assets"]}
    assert out == {name: asset for name, asset in assets.items() if asset["state"] != "working"}
    assert next(iter(out)) == feeder, "the worst first"
    assert sum(everything["counts"].values()) == len(out)
    assert everything["counts"]["failed"] == 1
    assert everything["dark_sensors"] == sum(row["dark"] for row in hub.get("sensors")["sensors"])
    assert hub.get("outage", limit=1) == {**everything, "assets": [out[feeder]]}
    approach = next(
        roads.link_ids[k]
        for k in range(roads.n_links)
        if roads.node_ids[roads.to_node[k]] == signal.node_id and after.source[k] == Source.GUESSED
    )
    told, told_zh = (hub.get(f"links/{approach}")[name] for name in ("equipment", "equipment_zh"))
    assert len(told) == len(told_zh) == 1
    assert "全向停车" in told_zh[0]
    assert feeder in told_zh[0]
    assert "all-way stop" in told[0]
    k = roads.link_ids.index(approach)
    assert after.speed[k] != pytest.approx(before.speed[k]), "its road is another one"

    assert hub.client.post(f"/api/v1/assets/{feeder}/restore", json={"author": "Li"}).json()["state"] == "working"
    settled(hub, until)
    row = row_of(hub, sensor.sensor_id)
    assert (row["dark"], row["silent"], row["because"], row["because_zh"]) == (False, False, "", "")
    assert hub.get("outage")["assets"] == []
    say()
    assert hub.app.board.snapshot.source[link] == Source.MEASURED
    assert hub.app.board.snapshot.speed[k] == pytest.approx(before.speed[k], rel=0.05)
    history = hub.get(f"assets/{feeder}")["history"]
    assert [(event["event"], event["author"]) for event in history] == [("restored", "Li"), ("failed", "Li")]


def test_failures_are_kept_over_a_restart_and_only_the_last_word_counts(hub: Any, town: Network) -> None:
    one, two = [name for name, asset in town.assets.assets.items() if asset.kind == "cabinet"][:2]
    database, now = hub.app.store.database, hub.app.clock.now
    equipment = Equipment(town, database, now=now)
    assert equipment.fail(one, author="Li", reason="water", since=now() - 600)
    assert not equipment.fail(one, author="Wang"), "saying it twice changes nothing"
    equipment.fail(two, author="Li")
    equipment.restore(two, author="Li")
    assert not equipment.restore(two, author="Li")
    again = Equipment(town, database, now=now)
    again.take_up()
    assert again.failures == equipment.failures
    assert [(f.asset_id, f.author, f.reason) for f in again.failures] == [(one, "Li", "water")]
    assert again.outage is not None
    assert again.outage.failed == {one: pytest.approx(now() - 600, abs=30)}
    again.restore(one, author="Li")


def test_a_battery_is_told_while_it_lasts(hub: Any, town: Network) -> None:
    graph = town.assets
    name = next(d.asset_id for d in graph.dependencies if d.autonomy_s > 0 and d.kind == "power" and d.need == "all")
    supply = next(d.depends_on for d in graph.dependencies if d.asset_id == name and d.kind == "power")
    times = [1_000_000.0]
    equipment = Equipment(town, hub.app.store.database, now=lambda: times[0])
    equipment.fail(supply, author="Li")
    state = equipment.state(name)
    assert state["state"] == "on_battery"
    assert state["dark_at"] > "1970-01-12"
    times[0] += 1e6
    assert equipment.state(name)["state"] == "dark"
    equipment.restore(supply, author="Li")
    assert equipment.state(name)["state"] == "working"


def test_bad_declarations_change_nothing_and_say_why(hub: Any, town: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(town.assets.assets))
    assert hub.client.post("/api/v1/assets/nobody/fail").status_code == 404
    later = hub.client.post(f"/api/v1/assets/{name}/fail", json={"since": "2100-01-01T00:00:00Z"})
    assert later.status_code in (400, 422)
    assert "must not be after" in later.text
    assert hub.client.post(f"/api/v1/assets/{name}/fail", json={"sinse": "x"}).status_code == 422
    assert hub.client.post(f"/api/v1/assets/{name}/fail", json={"since": "yesterday"}).status_code in (400, 422)
    equipment = hub.app.equipment

    def away(*_: object) -> None:
        raise DatabaseAway("the database is away")

    monkeypatch.setattr(equipment, "_write", away)
    with pytest.raises(DatabaseAway):
        equipment.fail(name, author="Li")
    assert equipment.outage is None
    assert equipment.failures == ()
    with pytest.raises(InputError, match="'nobody' is not in this network"):
        equipment.fail("nobody", author="Li")


def test_the_likely_cause_of_silent_sensors_is_asked_for_by_what_reports_and_what_does_not(
    hub: Any, town: Network, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.client.post(f"/api/v1/assets/{feeder_of(town)}/restore")
    cabinet = next(
        name
        for name, asset in town.assets.assets.items()
        if asset.kind == "cabinet" and len(town.assets.outage({name}).sensors(town.sensors)) >= 3
    )
    dark = town.assets.outage({cabinet: 0.0}).sensors(town.sensors)
    monkeypatch.setattr(hub.app.board, "publish", lambda snapshot: None)  # what is asked about stands still
    state = hub.app.board.snapshot.sensors
    silent = np.array([dark.get(sensor_id) == 0.0 for sensor_id in state.sensor_ids])
    named = replace(state, silent=silent, dark=np.zeros(len(silent), bool))
    monkeypatch.setattr(hub.app.board, "snapshot", replace(hub.app.board.snapshot, sensors=named), raising=False)
    found = hub.get("causes")
    assert set(found["silent"]) == {s.asset_id for s in town.sensors if dark.get(s.sensor_id) == 0.0}
    best = found["causes"][0]
    assert set(best["explains"]) == set(found["silent"])
    assert best["contradicted_by"] == []
    assert set(town.assets.outage({best["asset_id"]}).unheard()) >= set(found["silent"])


def test_the_command_declares_lists_and_restores(hub: Any, town: Network, capsys: pytest.CaptureFixture[str]) -> None:
    name, url = feeder_of(town), f"http://{hub.address}"
    assert main(["assets", "fail", name, "--url", url, "--author", "Li", "--reason", "digger"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{name} (feeder) is failed since ")
    assert said.endswith("(says Li: digger)\n")
    assert main(["assets", "status", "--url", url]) == 0
    said = capsys.readouterr().out
    assert "assets do not work as they should" in said
    assert f"from {name}, which failed" in said
    assert main(["assets", "fail", name, "--url", url, "--since", "yesterday"]) == 2
    assert "must be a time with zone" in capsys.readouterr().err
    assert main(["assets", "fail", "nobody", "--url", url]) == 2
    assert "'nobody' is not in this network" in capsys.readouterr().err
    assert main(["assets", "restore", name, "--url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "working"
    assert main(["assets", "status", "--url", url]) == 0
    assert "all equipment works" in capsys.readouterr().out


def test_a_reason_is_told_in_chinese_from_the_cause_on() -> None:
    path = [Step("A", 0.0, "failed"), Step("B", 1800.0, "power", 1800.0), Step("C", 1800.0, "comms")]
    assert in_chinese(path) == "A失效，B失去A的供电且电池（30分钟）耗尽，C失去B的通信"
    ring = [Step("B", 0.0, "power"), Step("C", 0.0, "control")]
    assert in_chinese(ring) == "C失去B的控制", "nobody failed: two that feed each other have lost the rest"
    assert in_chinese([]) == ""
