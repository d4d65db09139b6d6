"""Suspected detectors: found with the right reason, neighbours left alone, jams believed."""

import copy
import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from sensors import Batch, Sensor
from tests.twin.test_twin import Road
from twin import Network
from twin.finding import Suspicion
from twin.memory import Memory
from twin.signal import SignalPlan
from twin.suspect import STEP_S, Suspects, explain
from twin.twin import Twin

Float = npt.NDArray[np.float64]
START = 1_700_006_400.0  # midnight
DAY = 288
N = 36
DAYS = 4


def city() -> tuple[Network, tuple[Sensor, ...]]:
    """Six by six short links, 500 m apart, each with a detector over two lanes."""
    nodes, links = [], []
    for i in range(N):
        x, y = 120 + 0.005 * (i % 6), 30 + 0.005 * (i // 6)
        nodes += [{"node_id": f"{i}a", "x_coord": x, "y_coord": y}]
        nodes += [{"node_id": f"{i}b", "x_coord": x, "y_coord": y + 0.001}]
        links += [{"link_id": f"L{i}", "from_node_id": f"{i}a", "to_node_id": f"{i}b", "lanes": 2}]
    network = Network.from_tables({"node": nodes, "link": links})
    keys = ("speed_kmh", "flow_veh_h")
    sensors = tuple(Sensor(f"D{i}", link_id=f"L{i}", quantities=keys, interval_s=STEP_S, lanes=2) for i in range(N))
    return network, sensors


def traffic(days: int, random: np.random.Generator) -> dict[str, Float]:
    """Speeds and flows whose rush hours and jams move smoothly over the city; (n_steps, N) each."""
    step = np.arange(days * DAY)
    hour = step * 24 / DAY % 24
    rush = np.exp(-(((hour - 8) / 1.5) ** 2)) + np.exp(-(((hour - 17) / 2) ** 2))
    x, y = np.arange(N) % 6, np.arange(N) // 6
    shape = np.stack([np.ones(N), np.cos(np.pi * x / 5), np.cos(np.pi * y / 5), np.sin(np.pi * x / 5)])
    wander = np.zeros((len(step), len(shape)))
    for k in range(1, len(step)):  # memory of three hours
        wander[k] = 0.97 * wander[k - 1] + 0.24 * random.normal(size=len(shape))
    level = rush[:, None] * (1 + 0.3 * wander @ shape)
    free = random.uniform(50, 80, N)
    share = random.uniform(0.6, 1.0, N)
    speed = free * np.clip(1 - 0.5 * share * np.maximum(level, 0), 0.1, 1.1) + random.normal(0, 1.5, (len(step), N))
    flow = random.uniform(600, 1500, N) * np.clip(0.15 + 0.7 * np.maximum(level, 0) + 0.1 * (wander @ shape), 0.05, 2)
    counted = random.poisson(flow * STEP_S / 3600) * 3600 / STEP_S
    return {"speed_kmh": np.maximum(speed, 1.0), "flow_veh_h": counted}


class Watch:
    def __init__(self) -> None:
        network, sensors = city()
        self.memory = Memory(sensors, started_at=START)
        self.suspects = Suspects(network.compile(), sensors)
        self.step = 0

    def take(self, values: dict[str, Float]) -> None:
        self.step += 1
        now = START + STEP_S * self.step
        self.memory.learn(batch(values, now), now=now)
        self.suspects.learn(self.memory, now=now)

    def of(self, sensor: str, key: str = "speed_kmh") -> Suspicion:
        return Suspicion(self.suspects.suspicion[self.row(sensor, key)])

    def row(self, sensor: str, key: str = "speed_kmh") -> int:
        return list(zip(self.memory.sensor_ids, self.memory.quantities, strict=True)).index((sensor, key))


def batch(values: dict[str, Float], now: float) -> Batch:
    ids = [f"D{i}" for i in range(N)]
    n = len(values) * N
    return Batch(
        sensor_id=tuple(ids * len(values)),
        quantity=tuple(key for key in values for _ in ids),
        time_ms=np.full(n, round(now * 1000), np.int64),
        value=np.concatenate(list(values.values())),
        quality=np.zeros(n, np.uint16),
        received_at=now,
    )


@pytest.fixture(scope="module")
def week() -> dict[str, Float]:
    return traffic(DAYS + 1, np.random.default_rng(5))


@pytest.fixture(scope="module")
def trained(week: dict[str, Float]) -> Watch:
    watch = Watch()
    for step in range(DAYS * DAY + DAY // 4):  # the fifth day begins at six for the tests
        watch.take({key: value[step] for key, value in week.items()})
    return watch


def play(trained: Watch, week: dict[str, Float], hours: float, **faults: object) -> Watch:
    """Go on for some hours with ``key=function(values of a step)``."""
    watch = copy.deepcopy(trained)
    for step in range(watch.step, watch.step + round(hours * 12)):
        values = {key: value[step].copy() for key, value in week.items()}
        for key, change in faults.items():
            values[key] = change(values[key])  # type: ignore[operator]
        watch.take(values)
    return watch


def others(watch: Watch, *but: str) -> int:
    names = watch.memory.sensor_ids
    return sum(bool(s) and names[i] not in but for i, s in enumerate(watch.suspects.suspicion))


def test_a_healthy_city_has_hardly_a_suspect(trained: Watch, week: dict[str, Float]) -> None:
    # 72 series for half a day; one false alarm in ten days of a series is the limit: 3.6.
    assert others(play(trained, week, 12)) <= 4


def changed(at: int, function: object) -> object:
    def change(values: Float) -> Float:
        values[at] = function(values)  # type: ignore[operator]
        return values

    return change


@pytest.mark.parametrize(
    ("key", "function", "wanted", "words"),
    [
        ("speed_kmh", lambda v: v[14] + 24, {Suspicion.BIASED}, "above what the neighbours imply"),
        ("flow_veh_h", lambda v: 0.5 * v[14], {Suspicion.SCALED}, "as if it counted 1 of 2 lanes"),
        ("flow_veh_h", lambda v: 0.0, {Suspicion.EMPTY}, "flow_veh_h is 0 while the neighbours imply"),
    ],
)
def test_a_fault_is_found_within_half_a_day_with_its_reason(
    trained: Watch, week: dict[str, Float], key: str, function: object, wanted: set[Suspicion], words: str
) -> None:
    watch = play(trained, week, 12, **{key: changed(14, function)})
    assert watch.of("D14", key) in wanted
    assert words in watch.suspects.reason[watch.row("D14", key)]
    assert others(watch, "D14") <= 4
    since = watch.suspects.since[watch.row("D14", key)]
    assert START + STEP_S * trained.step < since <= START + STEP_S * watch.step


def test_noise_is_found_within_three_hours(trained: Watch, week: dict[str, Float]) -> None:
    random = np.random.default_rng(1)
    watch = play(trained, week, 3, speed_kmh=changed(7, lambda v: max(v[7] + random.normal(0, 16), 0.0)))
    assert watch.of("D7") == Suspicion.NOISY
    assert "times as much as it used to" in watch.suspects.reason[watch.row("D7")]


def test_a_counter_that_dies_by_day_is_found_within_half_an_hour(trained: Watch, week: dict[str, Float]) -> None:
    morning = play(trained, week, 2)
    watch = play(morning, week, 0.5, flow_veh_h=changed(3, lambda v: 0.0))
    assert watch.of("D3", "flow_veh_h") == Suspicion.EMPTY


def test_a_jam_that_the_neighbours_see_too_is_believed(trained: Watch, week: dict[str, Float]) -> None:
    jam = [0, 1, 2, 6, 7, 8, 12, 13, 14]

    def slow(values: Float) -> Float:
        values[jam] *= 0.4
        return values

    watch = play(trained, week, 3, speed_kmh=slow)
    assert not any(watch.of(f"D{i}") for i in jam)


def test_a_sensor_that_recovers_is_believed_again(trained: Watch, week: dict[str, Float]) -> None:
    broken = play(trained, week, 9, speed_kmh=changed(14, lambda v: v[14] + 30))
    assert broken.of("D14")
    healed = play(broken, week, 9)
    assert not healed.of("D14")
    assert healed.suspects.reason[healed.row("D14")] == ""
    assert np.isnan(healed.suspects.since[healed.row("D14")])


def test_nothing_is_suspected_before_a_day_has_been_seen(week: dict[str, Float]) -> None:
    watch = Watch()
    for step in range(DAY):
        values = {key: value[step].copy() for key, value in week.items()}
        values["speed_kmh"][4] = 200.0 + step % 2
        watch.take(values)
    assert not watch.suspects.suspicion.any()
    assert not watch.suspects.compared.any()


def test_a_new_sensor_does_not_make_the_others_forget(trained: Watch, week: dict[str, Float]) -> None:
    watch = copy.deepcopy(trained)
    sensors = city()[1]
    late = dataclasses.replace(sensors[0], sensor_id="late")
    watch.suspects._sensors["late"] = late
    now = START + STEP_S * watch.step + 1
    one = batch({"speed_kmh": week["speed_kmh"][0]}, now)
    watch.memory.learn(dataclasses.replace(one.take(np.arange(N) == 0), sensor_id=("late",)), now=now)
    before = watch.suspects.compared.copy()
    watch = play(watch, week, 8, speed_kmh=changed(14, lambda v: v[14] + 30))
    assert watch.suspects.compared[: len(before)].all()
    assert watch.of("D14")


def test_a_network_without_sensors_or_with_one_is_compared_without_fault() -> None:
    for sensors in ((), (Sensor("D1", link_id="L1", quantities=("speed_kmh",)),)):
        twin = Twin(Road(*sensors), started_at=START)
        for step in range(40):
            snapshot = twin.assimilate(Batch(), now=START + STEP_S * step)
        assert not snapshot.sensors.suspicion.any()


class Sensed:
    """The city of `city` with its sensors."""

    sha256 = "sensed"
    signals: ClassVar[dict[str, SignalPlan]] = {}

    def __init__(self) -> None:
        self._network, self.sensors = city()
        self.compile = self._network.compile


def test_a_suspected_detector_is_not_a_measurement(week: dict[str, Float]) -> None:
    twin = Twin(Sensed(), started_at=START)
    for step in range(DAYS * DAY + DAY // 2):
        speed = week["speed_kmh"][step].copy()
        if step >= DAYS * DAY:
            speed[14] += 30
        snapshot = twin.assimilate(
            batch({"speed_kmh": speed}, START + STEP_S * (step + 1)), now=START + STEP_S * (step + 1)
        )
    row = snapshot.sensors.sensor_ids.index("D14")
    assert snapshot.sensors.suspicion[row]
    assert "speed_kmh" in str(snapshot.sensors.findings[row])
    assert np.isnan(snapshot.measured_at[14])
    assert np.isfinite(snapshot.measured_at[13])


def test_readings_are_explained_by_what_fits_them_best() -> None:
    random = np.random.default_rng(2)
    expected = 40 + 30 * random.random(108)
    noise = random.normal(0, 1, 108)
    late = np.where(np.arange(108) < 40, 0.0, 1.0)
    assert explain(expected + noise + 12, expected).suspicion == Suspicion.BIASED
    assert explain(expected + noise - 12 * late, expected).suspicion == Suspicion.BIASED
    assert explain(0.6 * expected + noise, expected).suspicion == Suspicion.SCALED
    drift = explain(expected + noise + np.linspace(0, 25, 108), expected)
    assert drift.suspicion == Suspicion.DRIFTING
    assert drift.size == pytest.approx(25, abs=3)
