"""Virtual sensors: seeded, staggered, noisy as told, faulty as told."""

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors import InputError, Sensor
from sensors.daily_profile import typical
from sensors.fault import Fault, FaultKind, draw_faults
from sensors.fleet import Fleet
from sensors.payload import decoder

TRUTH = {"flow_veh_h": 600.0, "speed_kmh": 50.0, "occupancy": 0.1}
DECODE = decoder()
FLEET = [Sensor(f"D{number}", standard_deviation=(30.0, 2.0, 0.01)) for number in range(40)]


def steady(sensor: Sensor, from_s: float, until_s: float) -> Mapping[str, float | None]:
    return TRUTH


def values(payloads: list[tuple[str, bytes]], quantity: str) -> list[float]:
    return [json.loads(payload)[quantity] for _, payload in payloads if quantity in json.loads(payload)]


def run(fleet: Fleet, until_s: float, step_s: float = 60.0, measure=steady) -> list[tuple[str, bytes]]:
    return [m for now in np.arange(0.0, until_s + step_s / 2, step_s) for m in fleet.payloads(float(now), measure)]


def test_every_sensor_publishes_once_an_interval_at_its_own_phase():
    messages = run(Fleet(FLEET, seed=1, start_s=0.0), 3600.0)
    by_topic: dict[str, list[int]] = {}
    for topic, payload in messages:
        by_topic.setdefault(topic, []).append(json.loads(payload)["t"])
    assert set(by_topic) == {f"city/centre/D{number}" for number in range(40)}
    for times in by_topic.values():
        assert len(times) in (59, 60)  # the first interval began before the start for most
        assert set(np.diff(times)) == {60_000}
    phases = {times[0] % 60_000 for times in by_topic.values()}
    assert len(phases) > 30
    assert [json.loads(p)["t"] for _, p in messages] == sorted(json.loads(p)["t"] for _, p in messages)


def test_due_names_the_sensors_whose_interval_ended_and_payloads_ends_that():
    fleet = Fleet(FLEET, seed=1)
    assert fleet.due(0.0).tolist() == []  # the first call sets the start
    due = fleet.due(30.0)
    assert 0 < len(due) < 40
    assert {topic for topic, _ in fleet.payloads(30.0, steady)} == {fleet.topics[p] for p in due}
    assert fleet.due(30.0).tolist() == []


def test_results_depend_on_the_seed_and_not_on_how_often_one_asks():
    once = sorted(Fleet(FLEET, seed=7, start_s=0.0).payloads(1800.0, steady))
    often = sorted(run(Fleet(FLEET, seed=7, start_s=0.0), 1800.0, step_s=1.7))
    some = sorted(Fleet(FLEET[::-1][:10], seed=7, start_s=0.0).payloads(1800.0, steady))
    assert [m for m in often if json.loads(m[1])["t"] <= 1_800_000] == once
    assert [m for m in once if m in set(some)] == some
    assert sorted(Fleet(FLEET, seed=8, start_s=0.0).payloads(1800.0, steady)) != once


def test_measure_is_asked_for_the_interval_that_ended():
    asked = []
    fleet = Fleet([Sensor("D1", interval_s=300.0)], seed=3, start_s=0.0)

    def measure(sensor: Sensor, from_s: float, until_s: float) -> Mapping[str, float | None]:
        asked.append((from_s, until_s))
        return TRUTH

    times = [json.loads(payload)["t"] for _, payload in fleet.payloads(1000.0, measure)]
    assert [round(until * 1000) for _, until in asked] == times
    assert [until - start for start, until in asked] == pytest.approx([300.0] * len(asked))


def test_noise_has_the_standard_deviation_of_the_sensor():
    messages = run(Fleet(FLEET, seed=5, start_s=0.0), 6 * 3600.0)
    n = len(messages)
    for key, sd in (("flow_veh_h", 30.0), ("speed_kmh", 2.0), ("occupancy", 0.01)):
        errors = np.array(values(messages, key)) - TRUTH[key]
        # 14,000 independent numbers: their mean is within 4 standard errors, their deviation within 4 sd / sqrt(2 n)
        assert abs(errors.mean()) < 4 * sd / math.sqrt(n)
        assert abs(errors.std() - sd) < 4 * sd / math.sqrt(2 * n)
    flow, speed = np.array(values(messages, "flow_veh_h")), np.array(values(messages, "speed_kmh"))
    assert abs(np.corrcoef(flow, speed)[0, 1]) < 4 / math.sqrt(n)
    one = np.array(values([m for m in messages if m[0].endswith("/D3")], "speed_kmh"))
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 4 / math.sqrt(len(one))


def test_no_vehicles_no_speed():
    sensor = Sensor("D1", quantities=("flow_veh_h", "speed_kmh", "occupancy", "travel_time_s"))
    empty = {"flow_veh_h": 0.0, "speed_kmh": 50.0, "occupancy": 0.0, "travel_time_s": 3.0}
    for _, payload in Fleet([sensor], seed=1, start_s=0.0).payloads(3600.0, lambda *_: empty):
        assert set(json.loads(payload)) == {"t", "flow_veh_h", "occupancy"}
        assert json.loads(payload)["flow_veh_h"] == 0


def test_noise_that_hides_all_vehicles_hides_their_speed_too():
    sensor = Sensor("D1", standard_deviation=(1000.0, 1.0, 0.1))
    payloads = Fleet([sensor], seed=1, start_s=0.0).payloads(36_000.0, steady)
    decoded = [json.loads(payload) for _, payload in payloads]
    assert any(values["flow_veh_h"] == 0 for values in decoded)
    assert all(("speed_kmh" in values) == (values["flow_veh_h"] > 0) for values in decoded)


@given(st.floats(0, 300), st.floats(0, 1), st.floats(0, 50_000))
def test_values_stay_within_their_physical_range_and_decode(speed: float, occupancy: float, flow: float):
    sensor = Sensor("D1", standard_deviation=(5000.0, 80.0, 0.5))
    truth = {"flow_veh_h": flow, "speed_kmh": speed, "occupancy": occupancy}
    for topic, payload in Fleet([sensor], seed=1, start_s=0.0).payloads(600.0, lambda *_: truth):
        readings, rejected = DECODE(topic, payload)
        assert rejected == []
        assert all(0 <= reading.value <= 48_000 for reading in readings)


def test_what_is_not_measured_is_absent_and_nothing_measured_is_not_published():
    fleet = Fleet([Sensor("D1")], seed=1, start_s=0.0)
    truth = {"flow_veh_h": 60.0, "speed_kmh": None, "occupancy": math.nan}
    assert set(json.loads(fleet.payloads(120.0, lambda *_: truth)[0][1])) == {"t", "flow_veh_h"}
    assert fleet.payloads(240.0, lambda *_: {}) == []


def faulty(kind: FaultKind, **options: float) -> list[dict[str, float]]:
    sensor = Sensor("D1", standard_deviation=(30.0, 2.0, 0.01))
    fault = Fault("D1", kind, from_s=3600.0, until_s=7200.0, **options)
    fleet = Fleet([sensor], seed=2, faults=[fault], start_s=0.0)
    return [json.loads(payload) for _, payload in run(fleet, 10_800.0)]


def during(messages: list[dict[str, float]]) -> list[dict[str, float]]:
    return [m for m in messages if 3_600_000 <= m["t"] < 7_200_000]


def test_dead_sensor_is_silent_from_start_to_end_and_lives_again():
    messages = faulty(FaultKind.DEAD)
    assert during(messages) == []
    assert len(messages) in (119, 120)
    assert max(m["t"] for m in messages) > 10_700_000


def test_lossy_sensor_loses_its_share():
    lost = 60 - len(during(faulty(FaultKind.DROPOUT, share=0.5)))
    assert 15 < lost < 45  # binomial(60, 0.5): four standard deviations are 15.5


def test_stuck_sensor_repeats_what_it_last_published_with_new_times():
    messages = faulty(FaultKind.STUCK)
    before = [m for m in messages if m["t"] < 3_600_000][-1]
    stuck = during(messages)
    assert len(stuck) == 60
    assert {m["speed_kmh"] for m in stuck} == {before["speed_kmh"]}
    assert {m["flow_veh_h"] for m in stuck} == {before["flow_veh_h"]}
    assert len({m["t"] for m in stuck}) == 60
    assert len({m["speed_kmh"] for m in messages if m["t"] > 7_200_000}) > 50


def test_sensor_stuck_from_the_start_repeats_its_first_values():
    fleet = Fleet(FLEET[:1], seed=1, start_s=0.0, faults=[Fault("D0", FaultKind.STUCK, 0.0)])
    assert len(set(values(run(fleet, 3600.0), "speed_kmh"))) == 1


def test_drifting_sensor_reads_more_and_more():
    ratio = [m["speed_kmh"] / 50 for m in during(faulty(FaultKind.DRIFT, drift_per_h=1.0))]
    slope = np.polyfit(np.arange(60) / 60, ratio, 1)[0]
    # noise of 4 to 8 % of the truth over 60 points: the slope is known to 0.06 * sqrt(12 / 60) = 0.027
    assert slope == pytest.approx(1.0, abs=4 * 0.027)


def test_faults_may_be_injected_while_the_fleet_runs():
    fleet = Fleet(FLEET[:1], seed=1, start_s=0.0)
    fleet.payloads(600.0, steady)
    fleet.inject(Fault("D0", FaultKind.DEAD, 600.0, 1200.0))
    assert [fault.kind for fault in fleet.faults(700.0)] == [FaultKind.DEAD]
    assert fleet.payloads(1199.0, steady) == []
    with pytest.raises(InputError, match="fault of X: the fleet has no sensor"):
        fleet.inject(Fault("X", FaultKind.DEAD, 0.0))


def test_district_is_named_or_the_owner_or_the_centre():
    sensors = [Sensor("A"), Sensor("B", owner="traffic police"), Sensor("C", owner="x/y"), Sensor("D", owner="west")]
    topics = Fleet(sensors, districts={"D": "东城"}).topics
    assert topics == ("city/centre/A", "city/traffic police/B", "city/x-y/C", "city/东城/D")


def test_sensors_that_cannot_publish_are_all_named_at_once():
    sensors = [
        Sensor("a/b"), Sensor("ok"), Sensor("ok"), Sensor("", interval_s=0), Sensor("q", quantities=("speed",)),
        Sensor("s", standard_deviation=(1.0,)), Sensor("n", quantities=("speed_kmh",), standard_deviation=(-1.0,)),
    ]  # fmt: skip
    with pytest.raises(InputError) as caught:
        Fleet(sensors)
    text = "\n".join(caught.value.faults)
    for part in (
        "'a/b'",
        "'ok': the id stands twice",
        "interval_s is 0",
        "unknown quantity 'speed'",
        "1 standard",
        "-1.0",
    ):
        assert part in text
    assert len(caught.value.faults) == 7


@pytest.mark.parametrize("options", [{"until_s": 0.0}, {"share": 1.5}, {"share": math.nan}, {"drift_per_h": math.inf}])
def test_impossible_faults_are_refused(options: dict[str, float]):
    with pytest.raises(InputError, match="fault of D1"):
        Fault("D1", FaultKind.DROPOUT, from_s=0.0, **options)


def test_drawn_faults_come_at_the_rate_asked_for():
    ids = [f"D{number}" for number in range(200)]
    faults = draw_faults(ids, rng=np.random.default_rng(4), from_s=100.0, until_s=86_500.0, per_sensor_day=2.0)
    assert abs(len(faults) - 400) < 4 * math.sqrt(400)  # Poisson
    assert all(100 <= fault.from_s < 86_500 for fault in faults)
    assert faults == draw_faults(ids, rng=np.random.default_rng(4), from_s=100.0, until_s=86_500.0, per_sensor_day=2.0)


def test_typical_day_has_two_peaks_a_night_and_consistent_traffic():
    sensor = Sensor(
        "D1", lanes=2, quantities=("flow_veh_h", "speed_kmh", "occupancy", "density_veh_km", "temperature_c")
    )
    day = [typical(sensor, hour * 3600.0, hour * 3600.0 + 300) for hour in range(24)]
    flow = [values["flow_veh_h"] for values in day]
    assert max(flow[7:10]) > flow[11] < max(flow[16:19])
    assert max(flow[1:5]) < 0.2 * max(flow)
    for values_of_hour in day:
        if values_of_hour["speed_kmh"] is not None:
            assert values_of_hour["density_veh_km"] == pytest.approx(
                values_of_hour["flow_veh_h"] / values_of_hour["speed_kmh"]
            )
    shifted = typical(sensor, 0.0, 300.0, utc_offset_s=8 * 3600)
    assert shifted == day[8]
