"""The live twin: what a reading changes, what silence and faults change, and what they must not."""

from typing import ClassVar

import numpy as np
import pytest

from sensors import Batch, Reading, Sensor
from sensors.reading import Quality
from twin.compiled import CompiledNetwork
from twin.memory import Memory
from twin.signal import SignalPlan
from twin.state import Snapshot, Source
from twin.twin import Twin

START = 1_700_000_000.0


class Road:
    """A one-way road of ten links, 200 m, two lanes, 50 km/h; sensors as given."""

    sha256 = "road"
    signals: ClassVar[dict[str, SignalPlan]] = {}

    def __init__(self, *sensors: Sensor) -> None:
        self.sensors = sensors

    def compile(self) -> CompiledNetwork:
        n = 10
        link = np.arange(n, dtype=np.int32)
        start = np.append(link, n).astype(np.int32)
        ones = np.ones(n)
        return CompiledNetwork(
            node_ids=tuple(f"N{i}" for i in range(n + 1)),
            link_ids=tuple(f"L{i}" for i in range(n)),
            node_xy=np.stack((200.0 * np.arange(n + 1), np.zeros(n + 1)), axis=1),
            from_node=link,
            to_node=link + 1,
            length=200.0 * ones,
            lanes=np.full(n, 2, np.int32),
            free_speed=50 / 3.6 * ones,
            wave_speed=5.0 * ones,
            jam_density=0.3 * ones,
            capacity=1.0 * ones,
            priority=1.0 * ones,
            link_class=np.full(n, 1, np.int32),
            out_start=np.append(start, n).astype(np.int32),
            out_link=link.copy(),
            in_start=np.insert(start, 0, 0).astype(np.int32),
            in_link=link.copy(),
            movement_start=np.minimum(start, n - 1).astype(np.int32),
            movement_out=link[1:].copy(),
            movement_group=link[:-1].copy(),
            group_start=start,
            group_lanes=2.0 * ones,
            group_pocket=np.full(n, np.inf),
            origin=np.array([120.0, 30.0]),
        )


def detector(name: str = "D5", link: str = "L5", interval_s: float = 60.0, **more: object) -> Sensor:
    return Sensor(name, link_id=link, lanes=2, interval_s=interval_s, **more)  # type: ignore[arg-type]


def reading(time_s: float, *, sensor: str = "D5", received_at: float | None = None, **values: float) -> Batch:
    readings = [Reading(sensor, key, round((START + time_s) * 1000), value) for key, value in values.items()]
    return Batch.of(readings, received_at=START + time_s if received_at is None else received_at)


def speed_kmh(snapshot: Snapshot, link: int = 5) -> float:
    return float(snapshot.speed[link] * 3.6)


def series(snapshot: Snapshot, sensor: str, quantity: str) -> int:
    return list(zip(snapshot.sensors.sensor_ids, snapshot.sensors.quantities, strict=True)).index((sensor, quantity))


def test_a_reading_changes_its_link_in_the_next_snapshot() -> None:
    twin = Twin(Road(detector()), started_at=START)
    before = twin.assimilate(Batch(), now=START)
    after = twin.assimilate(reading(60, flow_veh_h=900, speed_kmh=12), now=START + 61)
    assert before.source[5] == Source.GUESSED
    assert after.source[5] == Source.MEASURED
    assert speed_kmh(after) == pytest.approx(12, abs=2)
    assert after.flow[5] * 3600 == pytest.approx(900, rel=0.1)
    assert after.measured_at[5] == START + 60
    assert np.isnan(after.measured_at[4])
    assert (before.sequence, after.sequence) == (1, 2)


def test_neighbours_of_a_measured_link_are_estimated_and_the_far_end_is_guessed() -> None:
    twin = Twin(Road(detector(link="L0")), started_at=START)
    snapshot = twin.assimilate(reading(60, flow_veh_h=900, speed_kmh=12), now=START + 61)
    assert list(snapshot.source[:2]) == [Source.MEASURED, Source.ESTIMATED]
    assert np.all(np.diff(snapshot.speed) > 0)
    assert np.all(np.diff(snapshot.speed_deviation) > 0)


def test_a_late_reading_does_not_move_the_snapshot_back() -> None:
    twin = Twin(Road(detector()), started_at=START)
    twin.assimilate(reading(60, flow_veh_h=900, speed_kmh=12), now=START + 61)
    snapshot = twin.assimilate(reading(30, flow_veh_h=100, speed_kmh=50), now=START + 62)
    assert speed_kmh(snapshot) == pytest.approx(12, abs=2)
    assert snapshot.measured_at[5] == START + 60
    assert twin.n_late == 2


def test_a_silent_detector_falls_back_to_what_the_prior_says() -> None:
    twin = Twin(Road(detector()), started_at=START)
    twin.assimilate(reading(60, flow_veh_h=900, speed_kmh=12), now=START + 61)
    held = twin.assimilate(Batch(), now=START + 60 + 180)
    silent = twin.assimilate(Batch(), now=START + 60 + 181)
    assert held.source[5] == Source.MEASURED
    assert not held.sensors.silent.any()
    assert silent.source[5] == Source.GUESSED
    assert silent.sensors.silent[series(silent, "D5", "speed_kmh")]
    assert speed_kmh(silent) == pytest.approx(50)


def test_a_detector_that_never_reported_is_silent_only_after_its_intervals() -> None:
    twin = Twin(Road(detector()), started_at=START)
    assert not twin.assimilate(Batch(), now=START + 179).sensors.silent.any()
    assert twin.assimilate(Batch(), now=START + 181).sensors.silent.all()


def test_a_speed_without_vehicles_is_no_speed_and_does_not_make_a_detector_stuck() -> None:
    aarhus = detector(quantities=("count_veh", "speed_kmh", "travel_time_s"), interval_s=300)
    twin = Twin(Road(aarhus), started_at=START)
    snapshot = twin.assimilate(reading(0, count_veh=4, speed_kmh=20, travel_time_s=36), now=START)
    assert speed_kmh(snapshot) == pytest.approx(20, abs=3)
    for i in range(1, 100):
        batch = reading(300.0 * i, count_veh=0, speed_kmh=20, travel_time_s=36)
        snapshot = twin.assimilate(batch, now=START + 300 * i)
    assert not snapshot.sensors.stuck.any()
    assert not snapshot.sensors.silent.any()
    assert snapshot.sensors.repeats.max() == 0
    assert snapshot.flow_source[5] == Source.MEASURED
    assert snapshot.speed_source[5] == Source.GUESSED
    assert snapshot.flow[5] < 0.1 * twin.estimator.prior.flow[5] + 0.01
    assert speed_kmh(snapshot) == pytest.approx(50)


def test_a_count_without_vehicles_that_comes_in_a_batch_of_its_own_still_unmakes_the_speed() -> None:
    twin = Twin(Road(detector(quantities=("count_veh", "speed_kmh"))), started_at=START)
    twin.assimilate(reading(60, speed_kmh=20), now=START + 61)
    snapshot = twin.assimilate(reading(60, count_veh=0), now=START + 62)
    assert snapshot.speed_source[5] == Source.GUESSED


def test_a_detector_with_a_ceiling_is_not_stuck_there_and_elsewhere_as_soon_as_any_other() -> None:
    random = np.random.default_rng(1)
    memory, step = Memory([detector()], started_at=START), 0
    row = memory.quantities.index("speed_kmh")

    def stuck_after(value: float, readings: int) -> int:
        """Return after how many readings of a value the detector is taken for stuck; 0 when it is not."""
        nonlocal step
        for k in range(readings):
            step += 1
            memory.learn(reading(60.0 * step, speed_kmh=value), now=START + 60 * step)
            if memory.stuck()[row]:
                return k + 1
        return 0

    runs = []
    for _ in range(50):  # 70 when the road is empty, short runs and long ones; between them anything
        runs.append(stuck_after(70.0, int(random.geometric(0.2))))
        for value in random.normal(60, 4, 20):
            stuck_after(float(value), 1)
    assert not any(runs[20:]), "the ceiling has become a habit"
    assert not stuck_after(70.0, 20)
    assert 0 < stuck_after(57.1, 20) <= 7  # the first of them repeats nothing
    stuck_after(60.0, 1)
    assert stuck_after(70.0, 400) > 0, "but not for ever"


def test_the_nights_at_a_ceiling_say_nothing_of_how_often_other_values_repeat() -> None:
    random = np.random.default_rng(2)
    memory = Memory([detector()], started_at=START)
    row, step = memory.quantities.index("speed_kmh"), 0
    for _ in range(150):
        values = [70.0] * int(random.geometric(0.1))
        values += np.repeat(random.choice(np.arange(30.0, 66.0), 2, replace=False), 2).tolist()  # half of them repeat
        for value in values:
            step += 1
            memory.learn(reading(60.0 * step, speed_kmh=value), now=START + 60 * step)
    assert memory.column("ceiling")[row] == 70.0
    # Twelve repeats at a chance of a half are not rare enough.
    for _ in range(13):
        step += 1
        memory.learn(reading(60.0 * step, speed_kmh=20.0), now=START + 60 * step)
    assert memory.column("repeats")[row] == 12
    assert not memory.stuck()[row]


def test_a_detector_that_repeats_beyond_its_habit_is_stuck_and_not_used() -> None:
    twin = Twin(Road(detector()), started_at=START)
    values = np.random.default_rng(1).normal(40, 3, 60).round(1)
    for i, value in enumerate(values):
        snapshot = twin.assimilate(reading(60.0 * i, flow_veh_h=600, speed_kmh=value), now=START + 60 * i)
    row = series(snapshot, "D5", "speed_kmh")
    assert not snapshot.sensors.stuck[row]
    since = START + 60 * len(values)
    for i in range(len(values), len(values) + 20):
        snapshot = twin.assimilate(reading(60.0 * i, flow_veh_h=600, speed_kmh=33.3), now=START + 60 * i)
    assert snapshot.sensors.stuck[row]
    assert snapshot.sensors.repeats[row] == 19
    assert snapshot.sensors.unchanged_since[row] == since
    assert snapshot.speed_source[5] == Source.GUESSED
    end = 60 * (len(values) + 20)
    healed = twin.assimilate(reading(end, flow_veh_h=600, speed_kmh=41.0), now=START + end)
    assert healed.speed_source[5] == Source.MEASURED


def test_a_detector_that_always_repeated_now_and_then_needs_a_longer_run() -> None:
    def first_stuck(repeat_share: float) -> int:
        twin = Twin(Road(detector()), started_at=START)
        generator = np.random.default_rng(2)
        value, i = 40.0, 0
        for i in range(400):
            value = value if generator.random() < repeat_share else value + 1
            twin.assimilate(reading(60.0 * i, speed_kmh=20 + value % 50), now=START + 60 * i)
        for run in range(1, 400):
            snapshot = twin.assimilate(reading(60.0 * (i + run), speed_kmh=10), now=START + 60 * (i + run))
            if snapshot.sensors.stuck.any():
                return run
        return 400

    assert first_stuck(0.0) < first_stuck(0.5) < first_stuck(0.8) < 200


@pytest.mark.parametrize("flag", [Quality.RANGE, Quality.STUCK, Quality.CONTRADICTION])
def test_a_flagged_value_is_not_used(flag: Quality) -> None:
    twin = Twin(Road(detector()), started_at=START)
    good = reading(60, flow_veh_h=900, speed_kmh=12)
    flagged = Batch(good.sensor_id, good.quantity, good.time_ms, good.value, np.full(2, flag, np.uint16))
    snapshot = twin.assimilate(flagged, now=START + 60)
    assert snapshot.source[5] == Source.GUESSED
    assert not np.isnan(snapshot.sensors.time).any() or snapshot.sensors.time[0] == START + 60


def test_a_sudden_jam_is_used_although_its_rate_is_doubtful() -> None:
    twin = Twin(Road(detector()), started_at=START)
    good = reading(60, speed_kmh=12)
    flagged = Batch(good.sensor_id, good.quantity, good.time_ms, good.value, np.full(1, Quality.RATE, np.uint16))
    assert twin.assimilate(flagged, now=START + 60).speed_source[5] == Source.MEASURED


def test_a_sensor_unknown_to_the_network_is_kept_without_a_link_and_its_interval_is_learned() -> None:
    twin = Twin(Road(), started_at=START)
    for i in range(6):
        snapshot = twin.assimilate(reading(20.0 * i, sensor="X", pm25_ug_m3=10.0 + i), now=START + 20 * i)
    assert snapshot.sensors.sensor_ids == ("X",)
    assert snapshot.sensors.link_ids == ("",)
    assert snapshot.sensors.interval_s[0] == 20
    assert not snapshot.sensors.registered[0]
    assert snapshot.sensors.value[0] == 15
    assert (snapshot.source == Source.GUESSED).all()


def test_two_detectors_of_a_link_are_weighted_by_their_precision() -> None:
    precise = detector("P", standard_deviation=(0.0, 0.5, 0.0))
    vague = detector("V", standard_deviation=(0.0, 15.0, 0.0))
    twin = Twin(Road(precise, vague), started_at=START)
    twin.assimilate(reading(60, sensor="P", speed_kmh=20), now=START + 60)
    snapshot = twin.assimilate(reading(60, sensor="V", speed_kmh=60), now=START + 61)
    assert 20 < speed_kmh(snapshot) < 26


def test_a_flow_is_the_sum_over_the_detectors_lanes() -> None:
    one_lane = Sensor("D5", link_id="L5", lanes=1, quantities=("flow_veh_h",))
    snapshot = Twin(Road(one_lane), started_at=START).assimilate(reading(60, flow_veh_h=500), now=START + 60)
    assert snapshot.flow[5] * 3600 == pytest.approx(1000, rel=0.1)


def test_counts_become_flows_and_travel_times_become_speeds() -> None:
    sensor = detector(quantities=("count_veh", "travel_time_s"), interval_s=300)
    twin = Twin(Road(sensor), started_at=START)
    snapshot = twin.assimilate(reading(300, count_veh=75, travel_time_s=36), now=START + 300)
    assert snapshot.flow[5] * 3600 == pytest.approx(900, rel=0.1)
    assert speed_kmh(snapshot) == pytest.approx(20, abs=3)


def test_the_noise_of_an_occupancy_on_an_empty_road_is_no_queue() -> None:
    """One vehicle in minutes over an occupancy that is nothing but noise would be a speed of 1 km/h."""
    sensor = detector(quantities=("flow_veh_h", "occupancy"), standard_deviation=(60.0, 0.01))
    quiet = Twin(Road(sensor), started_at=START).assimilate(reading(60, flow_veh_h=10, occupancy=0.008), now=START + 60)
    assert quiet.speed_source[5] == Source.GUESSED
    crowded = Twin(Road(sensor), started_at=START).assimilate(reading(60, flow_veh_h=60, occupancy=0.3), now=START + 60)
    assert crowded.speed_source[5] == Source.MEASURED
    assert crowded.speed[5] < 1.0


def test_flow_and_occupancy_give_a_speed_and_a_covered_detector_without_counts_is_a_standing_queue() -> None:
    # k = 0.13 / 6.5 m = 0.02 veh/m per lane, q = 0.2 veh/s per lane, u = 10 m/s.
    twin = Twin(Road(detector(quantities=("flow_veh_h", "occupancy"))), started_at=START)
    derived = twin.assimilate(reading(60, flow_veh_h=1440, occupancy=0.13), now=START + 60)
    assert speed_kmh(derived) == pytest.approx(36, abs=5)
    twin = Twin(Road(detector()), started_at=START)
    standing = twin.assimilate(reading(60, flow_veh_h=0, occupancy=1.0), now=START + 60)
    assert standing.speed_source[5] == Source.MEASURED
    assert speed_kmh(standing) < 3


def test_short_counts_are_averaged_over_a_signal_cycle() -> None:
    twin = Twin(Road(detector(interval_s=10)), started_at=START)
    flows = []
    for i in range(1, 120):
        green = (10 * i) % 90 >= 45
        batch = reading(10.0 * i, flow_veh_h=1440 if green else 0)
        flows.append(twin.assimilate(batch, now=START + 10 * i).flow[5] * 3600)
    settled = np.array(flows[60:])
    assert settled.mean() == pytest.approx(720, rel=0.15)
    assert np.ptp(settled) < 600  # the raw swing is 1440


def test_speeds_of_short_intervals_are_distance_over_time_of_all_vehicles() -> None:
    """Red and green in turn: 600 veh/h at 6 km/h, 1800 veh/h at 45 km/h; 2400 / (100 + 40) = 17.1 km/h (Edie)."""
    twin = Twin(Road(detector(interval_s=20)), started_at=START)
    speeds = []
    for i in range(1, 120):
        batch = reading(
            20.0 * i,
            **(
                {"flow_veh_h": 600, "speed_kmh": 6.0 + i % 3 / 100}
                if i % 2
                else {"flow_veh_h": 1800, "speed_kmh": 45.0 + i % 3 / 100}
            ),
        )
        speeds.append(speed_kmh(twin.assimilate(batch, now=START + 20 * i)))
    assert np.mean(speeds[60:]) == pytest.approx(17.1, abs=1.5)  # the field draws a little towards free flow
    assert np.ptp(speeds[60:]) < 12  # the raw swing is 39


def test_a_jam_shows_at_the_first_reading_of_a_short_interval() -> None:
    twin = Twin(Road(detector(interval_s=20)), started_at=START)
    for i in range(1, 30):
        batch = reading(20.0 * i, flow_veh_h=900, speed_kmh=48 + i % 5)
        free = twin.assimilate(batch, now=START + 20 * i)
    jam = twin.assimilate(reading(600, flow_veh_h=900, speed_kmh=4), now=START + 600)
    assert speed_kmh(free) > 44
    assert speed_kmh(jam) < 20


def test_several_times_of_one_series_in_a_batch_are_taken_in_order() -> None:
    batches = [reading(t, speed_kmh=v) for t, v in ((180, 30.0), (60, 10.0), (120, 20.0))]
    together = Batch(
        sensor_id=("D5",) * 3,
        quantity=("speed_kmh",) * 3,
        time_ms=np.concatenate([b.time_ms for b in batches]),
        value=np.concatenate([b.value for b in batches]),
        quality=np.zeros(3, np.uint16),
    )
    twin = Twin(Road(detector()), started_at=START)
    snapshot = twin.assimilate(together, now=START + 180)
    assert snapshot.sensors.value[series(snapshot, "D5", "speed_kmh")] == 30
    assert twin.n_late == 0


def test_a_snapshot_cannot_be_changed() -> None:
    snapshot = Twin(Road(detector()), started_at=START).assimilate(Batch(), now=START)
    with pytest.raises(ValueError, match="read-only"):
        snapshot.speed[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        snapshot.sensors.time[0] = 1.0
