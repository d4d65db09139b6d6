"""The life of alerts by the city clock, what people add to it, and what a restart must neither lose nor double."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.alerts import AlertBook, AlertEvent, fingerprint
from hub.evidence import NetworkPlaces
from hub.rules import Findings, RuleSet, evaluate, load, parse
from sensors import Batch, Reading
from twin import Network
from twin.twin import Twin

START = 1_700_000_000.0
ROOT = Path(__file__).resolve().parents[2]
NODES = """node_id,name,name_zh,x_coord,y_coord
N0,West Gate,西门,120.000,30.0
N1,Mill Bridge,磨坊桥,120.003,30.0
N2,East Gate,东门,120.006,30.0
"""
LINKS = """link_id,name,name_zh,from_node_id,to_node_id,length,lanes,free_speed,capacity
L0,Long Street,长街,N0,N1,289,2,50,900
L1,Long Street,长街,N1,N2,289,2,50,900
"""
SENSORS = """sensor_id,kind,quantities,link_id,position_m,lanes,interval_s
D0,detector,flow_veh_h;speed_kmh,L0,100,2,60
D1,detector,flow_veh_h;speed_kmh,L1,100,2,60
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("street")
    for name, text in (("node", NODES), ("link", LINKS), ("sensor", SENSORS)):
        (folder / f"{name}.csv").write_text(text, "utf-8")
    return Network.read(folder)


def rules(**more: Any) -> RuleSet:
    table = {
        "name": "slow",
        "on": "link",
        "when": "speed < 25 * kmh and source == measured",
        "clear_when": "speed > 35 * kmh",
        "for_s": 120,
        "keep_firing_for_s": 60,
        "severity": 2,
        "labels": {"department": "traffic-police"},
        "summary": {"en": "{name}: {speed_kmh} of {free_speed_kmh}", "zh": "{name}"},
    }
    return parse({"rule": [{**table, **more}]})


class City:
    """A street whose second link drives at the given speeds, one a minute; None is no reading."""

    def __init__(self, network: Network, rule_set: RuleSet) -> None:
        self.network, self.rules = network, rule_set
        self.twin = Twin(network, started_at=START)
        self.book = AlertBook(rule_set, places=NetworkPlaces(network))
        self.rows: list[dict[str, Any]] = []
        self.minute = 0

    def findings(self, speed_kmh: float | None) -> Findings:
        now = START + 60 * self.minute
        readings = [Reading("D0", "speed_kmh", round(now * 1000), 50.0 + self.minute % 3)]
        if speed_kmh is not None:
            # A little different each minute: a real speed never repeats for long.
            readings.append(Reading("D1", "speed_kmh", round(now * 1000), speed_kmh + 0.01 * (self.minute % 7)))
        snapshot = self.twin.assimilate(Batch.of(readings, received_at=now), now=now)
        return evaluate(self.rules, snapshot, self.twin.compiled)

    def drive(self, *speeds: float | None) -> list[tuple[int, str]]:
        """Return (minute, event) of what happens."""
        events = []
        for speed in speeds:
            for event in self.book.update(self.findings(speed), now=START + 60 * self.minute):
                self.rows.append(stored(event))
                events.append((self.minute, event.event))
            self.minute += 1
        return events

    def restart(self) -> None:
        """Forget everything but the rows."""
        self.book = AlertBook(self.rules, places=NetworkPlaces(self.network))
        self.book.restore(self.rows)

    def restart_twin(self) -> None:
        """Forget everything but the rows and the newest reading of each series, as a hub that was stopped."""
        self.restart()
        known = self.twin.assimilate(Batch(), now=START + 60 * self.minute).sensors
        latest = [
            Reading(sensor_id, quantity, round(time * 1000), value)
            for sensor_id, quantity, time, value in zip(
                known.sensor_ids, known.quantities, known.time, known.value, strict=True
            )
            if time == time  # was ever heard
        ]
        now = START + 60 * self.minute
        self.twin = Twin(self.network, started_at=now)
        self.twin.assimilate(Batch.of(latest, received_at=now), now=now)


def exactly(speed_kmh: float, minute: int) -> float:
    """Return what `City.findings` makes this very speed of."""
    for jittered in (speed_kmh - 0.01 * (minute % 7) + 2.0**-46 * step for step in range(-64, 65)):
        if jittered + 0.01 * (minute % 7) == speed_kmh:
            return jittered
    raise AssertionError("no float becomes it")


def stored(event: AlertEvent) -> dict[str, Any]:
    """A row as it comes back from a database: the payload has been JSON."""
    row = event.to_row()
    return {**row, "payload": json.loads(json.dumps(row["payload"], allow_nan=False))}


def test_an_alert_is_pending_for_its_time_then_fires_and_is_resolved_after_it_stayed_clear(network: Network) -> None:
    city = City(network, rules())
    assert city.drive(50, 10, 10) == [(1, "pending")]
    assert city.book.alerts("all") == []
    assert len(city.book.alerts("pending")) == 1
    assert city.drive(10) == [(3, "firing")]
    assert city.drive(10, 50) == []
    assert city.drive(50) == [(6, "resolved")]
    assert city.drive(50, 50) == []
    assert [alert.state for alert in city.book.alerts("all")] == ["resolved"]


def test_a_pending_alert_whose_condition_ends_comes_to_nothing(network: Network) -> None:
    city = City(network, rules())
    assert city.drive(10, 10, 50, 10, 10) == [(0, "pending"), (2, "inactive"), (3, "pending")]
    assert city.drive(10) == [(5, "firing")]


def test_between_the_two_conditions_an_alert_stays_as_it_is(network: Network) -> None:
    city = City(network, rules())
    city.drive(10, 10, 10)
    assert city.drive(30, 30, 30, 50, 30, 50) == []  # the wait for "clear" starts again
    assert city.drive(50) == [(9, "resolved")]


def test_without_a_time_a_rule_fires_and_is_resolved_at_once(network: Network) -> None:
    city = City(network, rules(for_s=0, keep_firing_for_s=0))
    assert city.drive(10, 50, 10) == [(0, "firing"), (1, "resolved"), (2, "firing")]
    first, second = (row["alert_id"] for row in city.rows if row["event"] == "firing")
    assert first != second
    assert len({row["fingerprint"] for row in city.rows}) == 1


GAP = [None] * 8  # the speed of minute 2 is used until minute 5; then the link is only guessed or estimated


@pytest.mark.parametrize(("no_data", "firing"), [("hold", True), ("clear", False), ("fire", True)])
def test_a_data_gap_means_what_the_rule_says(network: Network, no_data: str, firing: bool) -> None:
    guessed = "speed < 25 * kmh and speed_source == measured"
    city = City(network, rules(when=f"age(speed) < 1000 and {guessed}", clear_when="age(speed) < 0", no_data=no_data))
    city.drive(10, 10, 10, *GAP)
    assert [alert.state for alert in city.book.alerts("all")] == ["firing" if firing else "resolved"]


def test_a_gap_fires_an_alert_only_when_the_rule_says_so(network: Network) -> None:
    for no_data, fires in (("hold", False), ("clear", False), ("fire", True)):
        city = City(network, rules(when="age(speed) < 0", no_data=no_data))
        city.drive(50, 50, *GAP)
        assert bool(city.book.alerts("firing")) == fires


def test_a_pending_alert_does_not_ripen_without_data(network: Network) -> None:
    city = City(network, rules(when="age(speed) >= 0 and speed < 25 * kmh", for_s=240, no_data="hold"))
    events = city.drive(10, *GAP, 10)
    assert [event for _, event in events] == ["pending", "inactive", "pending"]


def test_the_api_shows_what_where_since_when_and_why(network: Network) -> None:
    city = City(network, rules())
    city.drive(50, 10, 10, 10)
    shown = json.loads(json.dumps(city.book.alerts()[0].to_json(), allow_nan=False))
    evidence = shown.pop("evidence")
    readings = evidence.pop("readings")
    assert shown == {
        "id": f"{shown['fingerprint']}-{round((START + 60) * 1000):x}",
        "fingerprint": fingerprint("slow", "link", "L1", {"department": "traffic-police"}),
        "rule": "slow",
        "severity": 2,
        "state": "firing",
        "handling": "new",
        "on": "link",
        "subject": "L1",
        "link_id": "L1",
        "lon": pytest.approx(120.0045),
        "lat": pytest.approx(30.0),
        "since": "2023-11-14T22:14:20Z",
        "updated": "2023-11-14T22:16:20Z",
        "resolved_at": None,
        "summary": {
            "en": f"Long Street, Mill Bridge → East Gate: {evidence['speed_kmh']:.0f} of 50",
            "zh": "长街，磨坊桥 → 东门",
        },
        "where": {"en": "Long Street, Mill Bridge → East Gate", "zh": "长街，磨坊桥 → 东门"},
        "labels": {"department": "traffic-police"},
        "acknowledged": None,
    }
    assert evidence["speed_kmh"] == pytest.approx(10, abs=2)
    assert (evidence["source"], evidence["free_speed_kmh"], evidence["upstream_link_id"]) == ("measured", 50.0, "L0")
    assert readings[1]["sensor_id"] == "D1"
    assert readings[1]["value"] == pytest.approx(10.03)


def test_an_acknowledged_alert_stays_so_after_a_restart_and_until_it_is_resolved(network: Network) -> None:
    city = City(network, rules())
    city.drive(10, 10, 10)
    alert_id = city.book.alerts()[0].alert_id
    event = city.book.acknowledge(alert_id, author="Wang", comment="on my way", at=START + 150)
    assert (event.event, event.author, event.comment, event.time) == ("acknowledged", "Wang", "on my way", START + 150)
    city.rows.append(stored(event))
    city.restart()
    shown = city.book.get(alert_id).to_json()
    assert shown["handling"] == "acknowledged"
    assert shown["acknowledged"] == {"by": "Wang", "at": "2023-11-14T22:15:50Z", "comment": "on my way"}
    assert city.drive(10, 50, 50) == [(5, "resolved")]
    assert city.book.get(alert_id).acknowledged is not None
    with pytest.raises(KeyError):
        city.book.acknowledge("nobody", author="Wang", at=START)


def test_a_removed_rule_and_a_lost_subject_resolve_their_alerts(network: Network) -> None:
    city = City(network, rules())
    city.drive(10, 10, 10)
    city.rules = rules(name="other")
    city.restart()
    assert city.drive(10) == [(3, "resolved"), (3, "pending")]
    assert city.rows[-2]["comment"] == "the rule was removed"
    sensor = City(network, rules(on="sensor", when="speed_kmh < 25", clear_when="speed_kmh > 30", for_s=0, summary={}))
    sensor.drive(10)
    findings = sensor.findings(10)
    item = findings.items[0]
    gone = Findings(findings.snapshot, findings.compiled, (type(item)(item.rule, ("D0", "D2"), item.when, item.clear),))
    events = sensor.book.update(gone, now=START + 60)
    first = events[0]
    assert (first.event, first.subject, first.comment) == ("resolved", "D1", "the subject is gone")


_speeds = st.lists(st.sampled_from([10.0, 30.0, 50.0, None]), min_size=1, max_size=25)


def _life(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    life: dict[str, list[str]] = {}
    for row in events:
        life.setdefault(row["alert_id"], []).append(row["event"])
    return life


@settings(max_examples=60, deadline=None)
@given(speeds=_speeds, at=st.integers(0, 25))
def test_a_restart_at_any_point_of_a_life_neither_loses_nor_doubles_an_event(
    network: Network, speeds: list[float | None], at: int
) -> None:
    steady, restarted = (City(network, rules(keep_firing_for_s=0)) for _ in range(2))
    steady.drive(*speeds)
    restarted.drive(*speeds[:at])
    restarted.restart()
    restarted.drive(*speeds[at:])
    assert restarted.rows == steady.rows
    assert [a.alert_id for a in restarted.book.alerts("all")] == [a.alert_id for a in steady.book.alerts("all")]


@settings(max_examples=60, deadline=None)
@given(speeds=_speeds)
def test_every_life_is_pending_then_firing_then_resolved_and_restarts_change_nothing(
    network: Network, speeds: list[float | None]
) -> None:
    city = City(network, rules())
    for speed in speeds:  # a restart before every single update
        city.restart()
        city.drive(speed)
    whole = ["pending", "firing", "resolved"]
    for life in _life(city.rows).values():
        assert life in (whole[:1], whole[:2], whole, ["pending", "inactive"])
    firing = {alert.alert_id for alert in city.book.alerts("firing")}
    assert firing == {alert_id for alert_id, life in _life(city.rows).items() if life[-1] == "firing"}


def test_the_shipped_rules_tell_a_silent_sensor_once(network: Network) -> None:
    city = City(network, load(ROOT / "config" / "rules.toml"))
    city.drive(50, 50, 50, *[None] * 12)
    assert [alert.rule for alert in city.book.alerts()] == ["sensor silent"]
    assert city.book.alerts()[0].summary["en"] == "Sensor D1 has not reported for 7 min (every 60 s expected)"
    city.drive(50, 50)
    assert city.book.alerts() == []


def test_a_restart_neither_resolves_nor_renews_the_alert_of_a_sensor_that_stays_silent(network: Network) -> None:
    city = City(network, load(ROOT / "config" / "rules.toml"))
    city.drive(50, 50, 50, *[None] * 12)
    (before,) = city.book.alerts()
    city.restart_twin()
    assert city.drive(*[None] * 12) == []
    assert city.book.alerts()[0].alert_id == before.alert_id
    assert [event for _, event in city.drive(50, 50)] == ["resolved"]


def test_a_restart_neither_resolves_nor_renews_the_alert_of_a_sensor_that_stays_stuck(network: Network) -> None:
    city = City(network, load(ROOT / "config" / "rules.toml"))
    city.drive(*[exactly(44.0, minute) for minute in range(30)])
    (before,) = city.book.alerts()
    assert before.rule == "sensor stuck"
    city.restart_twin()
    assert city.drive(*[exactly(44.0, 30 + minute) for minute in range(30)]) == []
    assert city.book.alerts()[0].alert_id == before.alert_id
    assert [event for _, event in city.drive(50, 51)] == ["resolved"]


def test_after_a_restart_a_sensor_that_does_not_come_back_is_told_as_soon_as_any_other(network: Network) -> None:
    city = City(network, load(ROOT / "config" / "rules.toml"))
    city.drive(50, 50)
    city.restart_twin()
    assert city.drive(*[None] * 9) == [(8, "pending"), (9, "firing")]


def test_a_feed_that_is_still_silent_after_a_restart_keeps_its_alert_however_rarely_sensors_report(
    town: Network,
) -> None:
    slow = replace(town, sensors=tuple(replace(sensor, interval_s=300.0) for sensor in town.sensors))
    series = [(s.sensor_id, q) for s in slow.sensors for q in s.quantities]
    watched = load(ROOT / "config" / "rules.toml")
    only = replace(watched, rules=tuple(rule for rule in watched.rules if rule.name == "feed silent"))
    book = AlertBook(only, places=NetworkPlaces(slow))

    def minutes(first: int, end: int, last_heard: int) -> list[tuple[int, str]]:
        """Run a twin that begins with readings of one minute, and hears no others; return what happens when."""
        heard = [Reading(*key, round((START + 60 * last_heard) * 1000), 30.0) for key in series]
        twin = Twin(slow, started_at=START + 60 * first)
        twin.assimilate(Batch.of(heard, received_at=START + 60 * first), now=START + 60 * first)
        events = []
        for minute in range(first, end):
            now = START + 60 * minute
            snapshot = twin.assimilate(Batch(), now=now)
            events += [(minute, e.event) for e in book.update(evaluate(only, snapshot, twin.compiled), now=now)]
        return events

    assert [event for _, event in minutes(0, 60, last_heard=0)] == ["pending", "firing"]
    (alert,) = book.alerts()
    assert minutes(60, 120, last_heard=0) == []
    assert [a.alert_id for a in book.alerts()] == [alert.alert_id]


def test_rows_may_come_back_with_json_text_and_seconds(network: Network) -> None:
    city = City(network, rules(for_s=0))
    city.drive(10)
    row = dict(city.rows[0])
    row["payload"] = json.dumps(row["payload"])
    row["time"] = row["time"].timestamp()
    book = AlertBook(city.rules)
    book.restore([row])
    assert book.alerts()[0] == city.book.alerts()[0]


def test_alerts_of_another_city_end_when_this_one_takes_over(network: Network, tmp_path: Path) -> None:
    city = City(network, rules())
    city.drive(5.0, 5.0, 5.0, 5.0)
    [alert] = city.book.alerts()
    elsewhere = {
        "node": NODES.replace("120.00", "121.00"),
        "link": LINKS,
        "sensor": SENSORS,
    }
    for name, text in elsewhere.items():
        (tmp_path / f"{name}.csv").write_text(text, "utf-8")
    book = AlertBook(city.rules, places=NetworkPlaces(Network.read(tmp_path)))
    book.restore(city.rows)
    [event] = book.reconcile(now=START + 300.0, recorded_at=START + 300.0)
    assert (event.alert_id, event.event, event.comment) == (alert.alert_id, "resolved", "another network is served")
    assert book.alerts() == []
    same = AlertBook(city.rules, places=NetworkPlaces(network))
    same.restore(city.rows)
    assert same.reconcile(now=START + 300.0, recorded_at=START + 300.0) == []
    assert len(same.alerts()) == 1
