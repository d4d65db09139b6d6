"""What the past taught: stored readings of some days teach the links without a detector, through a real PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from hub.experience import Experience
from hub.show import VEH_H
from ingest.database import Database
from ingest.rollup import means, refresh
from ingest.store import Store
from sensors import Batch, InputError, Reading, Sensor
from sensors.clock import CityClock
from twin import Network
from twin.estimate import Estimator, Measurements
from twin.history import BIN_S
from twin.prior import free_flow_prior

NOW = datetime(2026, 11, 2, 5, 0, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


def clock() -> CityClock:
    return CityClock(wall=lambda: NOW, wall_start=NOW, city_start=NOW, factor=1.0)


def watched(town: Network, n: int) -> Network:
    """Return the town with one detector on each of some links, and two on the first."""
    links = town.links.ids[:n]
    sensors = [Sensor(f"V{k}", quantities=("speed_kmh",), link_id=link) for k, link in enumerate(links)]
    return replace(town, sensors=(*sensors, Sensor("twin of V0", quantities=("speed_kmh",), link_id=links[0])))


def write(database: Database, network: Network, *, days: int) -> None:
    """Store a speed every half hour: half of free speed in the night, all links slow in the morning."""
    random, readings = np.random.default_rng(1), []
    for sensor in network.sensors:
        free = 3.6 * network.links.free_speed[network.links.position[sensor.link_id]]
        for step in range(days * 48):
            time = NOW - days * DAY_S + step * 1800
            ratio = (0.5 if step % 48 in (14, 15, 16, 17) else 0.9) + random.normal(0, 0.02)
            readings.append(Reading(sensor.sensor_id, "speed_kmh", int(time) * 1000, round(free * ratio, 1)))
    for begin in range(0, len(readings), 10_000):
        Store(database).write(Batch.of(readings[begin : begin + 10_000], received_at=NOW))
    while refresh(database):
        pass


def test_some_days_of_detectors_teach_the_links_without_one(database: Database, town: Network) -> None:
    n = min(len(town.links), 60) * 3 // 4
    assert n >= 20
    network = watched(town, n)
    write(database, network, days=3)
    experience = Experience(database, network, clock=clock())
    assert experience.errors() == {}
    assert experience.do() == 1
    learned = experience.learned["speed"]
    assert learned.links.tolist() == sorted(network.links.position[link] for link in town.links.ids[:n])
    # Every ratio is the same but for noise of 2 %: whoever is left out is told within a few km/h by the others.
    assert max(experience.errors()["speed_kmh"].values()) < 5.0
    compiled = network.compile()
    estimator = Estimator(compiled, prior=free_flow_prior(compiled, network.signals))
    estimator.learned = experience.learned
    speed = np.full(compiled.n_links, np.nan)
    speed[learned.links] = 0.5 * compiled.free_speed[learned.links]
    nothing = np.full(compiled.n_links, np.nan)
    jam = Measurements(speed, np.where(np.isfinite(speed), 0.5, np.nan), nothing, nothing)
    told = estimator.estimate(jam, time=NOW + 7 * 3600.0 - 5 * 3600.0)
    others = np.setdiff1d(np.arange(compiled.n_links), learned.links)
    assert np.median(told.speed[others] / compiled.free_speed[others]) < 0.8, (
        "a jam everywhere else is one here as well"
    )


def test_a_short_past_or_few_detectors_teach_nothing(database: Database, town: Network) -> None:
    network = watched(town, 10)
    write(database, network, days=2)
    experience = Experience(database, network, clock=clock())
    assert experience.do() == 0
    assert experience.learned == {}


def test_a_flow_is_that_of_all_lanes_of_its_link(database: Database, town: Network) -> None:
    """Half of the lanes are watched: twice as many vehicles pass. 900 veh/h are 0.25 veh/s."""
    wide = [link for link in town.links.ids if town.links.lanes[town.links.position[link]] >= 2][:20]
    assert len(wide) == 20
    lanes = {link: int(town.links.lanes[town.links.position[link]]) for link in wide}
    sensors = [Sensor(f"F{k}", quantities=("flow_veh_h",), link_id=link, lanes=1) for k, link in enumerate(wide)]
    readings = [
        Reading(sensor.sensor_id, "flow_veh_h", int(NOW - 900 * step) * 1000, 900.0 + step % 2)
        for sensor in sensors
        for step in range(1, 60)
    ]
    Store(database).write(Batch.of(readings, received_at=NOW))
    while refresh(database):
        pass
    experience = Experience(database, replace(town, sensors=tuple(sensors)), clock=clock())
    history = experience.history("flow_veh_h", VEH_H, until=NOW)
    assert history is not None
    expected = [0.25 * lanes[town.links.ids[link]] for link in history.links.tolist()]
    assert history.value.mean(axis=0) == pytest.approx(np.array(expected), rel=0.001)


def test_means_are_those_of_whole_quarters_of_an_hour(database: Database, town: Network) -> None:
    network = watched(town, 1)
    begin = NOW - 3600.0
    readings = [Reading("V0", "speed_kmh", int(begin + 60 * k) * 1000, float(k)) for k in range(30)]
    Store(database).write(Batch.of(readings, received_at=NOW))
    while refresh(database):
        pass
    ((name, times, values),) = means(
        database, [s.sensor_id for s in network.sensors], "speed_kmh", since=begin, until=NOW, step_s=int(BIN_S)
    )
    assert name == "V0"
    assert times.tolist() == [begin, begin + BIN_S]
    assert values.tolist() == [7.0, 22.0]
    with pytest.raises(InputError, match="multiple of 300 s"):
        means(database, ["V0"], "speed_kmh", since=begin, until=NOW, step_s=100)
