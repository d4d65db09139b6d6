"""What history teaches: ranges of a known field, honest intervals, the same for the same seed; refusals."""

import builtins
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sensors import Batch, Reading, Sensor
from sensors.errors import InputError
from twin import Network, Source
from twin.estimate import Estimator, Measurements
from twin.history import DayProfile, History
from twin.kriging import NEAREST, Ranges, View, tune
from twin.learned import LearnedField, learn
from twin.neighbours import NO_ROAD_M, Neighbours, neighbours
from twin.surroundings import surroundings
from twin.twin import Twin

Float = npt.NDArray[np.float64]
DAY_S, STEP_S = 86_400.0, 900.0


def places(n: int, *, seed: int, side_m: float = 6000.0) -> tuple[Float, Float]:
    """Return distances of points in a square, by road (as the crow flies times 1.3) and by air."""
    xy = np.random.default_rng(seed).uniform(0, side_m, (n, 2))
    air = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    return 1.3 * air, air


def draws(covariance: Float, n_times: int, *, seed: int) -> Float:
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))
    return np.asarray(np.random.default_rng(seed).normal(size=(n_times, len(covariance))) @ root.T, np.float64)


def left_out_error(values: Float, near: Neighbours, ranges: Ranges) -> float:
    view = View(near, ranges)
    view.look(np.ones(values.shape[1], bool))
    told = np.einsum("nk,tnk->tn", view.weight, values[:, view.index])
    return float(np.abs(told - values).mean())


@pytest.mark.parametrize("true", [Ranges(600.0, 9000.0, 0.95, 0.02), Ranges(4000.0, 9000.0, 0.7, 1.0)])
def test_the_ranges_of_a_gaussian_process_are_found_again_from_its_values(true: Ranges) -> None:
    road, air = places(120, seed=1)
    values = draws(true.correlation(road, air) + true.noise * np.eye(120), 400, seed=2)
    near = Neighbours.among(road, air)
    found = tune(values[:200], near)
    # Ranges cannot be told from few links (Zhang 2004, doi:10.1198/016214504000000241), but what they are for can: on
    # values that were not looked at they tell hidden links within 2 % as well as the true ones; the noise, which can
    # be told, is that of the grid's neighbours.
    best = left_out_error(values[200:], near, true)
    assert left_out_error(values[200:], near, found) < 1.02 * best
    assert true.noise / 4 < found.noise < true.noise * 6


def test_weights_are_those_of_ordinary_kriging_by_dense_algebra() -> None:
    road, air = places(NEAREST + 1, seed=3)
    ranges = Ranges(2000.0, 5000.0, 0.6, 0.1)
    view = View(Neighbours.among(road, air), ranges)
    view.look(np.ones(NEAREST + 1, bool))
    others = view.index[0]
    matrix = ranges.correlation(road, air)[np.ix_(others, others)] + 0.1 * np.eye(NEAREST)
    right = ranges.correlation(road, air)[others, 0]
    bordered = np.block([[matrix, np.ones((NEAREST, 1))], [np.ones((1, NEAREST)), np.zeros((1, 1))]])
    exact = np.linalg.solve(bordered, np.append(right, 1.0))[:-1]  # the level is not known at all
    # Ours gives the level a variance of ten fields: what it adds to the equations is a tenth of what the field has.
    np.testing.assert_allclose(view.weight[0], exact, atol=0.02)
    assert view.weight.sum(axis=1) == pytest.approx(1.0, abs=0.05)


def test_a_sensor_that_falls_silent_changes_only_its_neighbours_and_as_if_looked_at_anew() -> None:
    road, air = places(60, seed=4)
    near, ranges = Neighbours.among(road, air), Ranges(1500.0, 6000.0, 0.7, 0.1)
    reports = np.ones(60, bool)
    kept, fresh = View(near, ranges), View(near, ranges)
    kept.look(reports)
    reports[7] = False
    kept.look(reports)
    fresh.look(reports)
    np.testing.assert_array_equal(kept.weight, fresh.weight)
    np.testing.assert_array_equal(kept.index, fresh.index)
    assert not (kept.index[kept.there] == 7).any()
    reports[:] = False
    kept.look(reports)
    assert not kept.there.any()
    assert (kept.weight == 0).all()


def test_nothing_a_hidden_sensor_says_reaches_its_own_surroundings() -> None:
    road, air = places(40, seed=5)
    view = View(Neighbours.among(road, air), Ranges(1500.0, 6000.0, 0.7, 0.1))
    value, usual = np.random.default_rng(6).uniform(5, 15, 40), np.full(40, 10.0)
    before = surroundings(value, usual, view)
    value[11], usual[11] = 400.0, 900.0
    after = surroundings(value, usual, view)
    # The last column is the median of all, whose own share is one in forty.
    np.testing.assert_array_equal(after[11, :-1], before[11, :-1])
    assert (after[:, 0] != before[:, 0]).any()


def grid(n: int = 9) -> Network:
    """Return a grid of two-way streets of 200 m."""
    nodes = [
        {"node_id": f"{x}-{y}", "x_coord": 120 + x * 0.00208, "y_coord": 30 + y * 0.0018}
        for x in range(n)
        for y in range(n)
    ]
    links: list[dict[str, Any]] = []
    for x in range(n):
        for y in range(n):
            for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                if 0 <= x + dx < n and 0 <= y + dy < n:
                    ends = {"from_node_id": f"{x}-{y}", "to_node_id": f"{x + dx}-{y + dy}"}
                    links.append({"link_id": f"{x}-{y}>{x + dx}-{y + dy}", **ends, "length": 200, "free_speed": 50})
    return Network.from_tables({"node": nodes, "link": links})


@pytest.fixture(scope="module")
def city() -> Network:
    return grid()


def streets(network: Network, n_days: int, *, seed: int) -> tuple[Float, Float]:
    """Return times and speeds (n_times, n_links) m/s of days with a peak and a jam that wanders."""
    compiled, random = network.compile(), np.random.default_rng(seed)
    middle = (compiled.node_xy[compiled.from_node] + compiled.node_xy[compiled.to_node]) / 2
    time = STEP_S * np.arange(int(n_days * DAY_S / STEP_S))
    peak = np.exp(-(((time % DAY_S / 3600 - 8) / 2) ** 2))
    centre = np.cumsum(random.normal(0, 80, (len(time), 2)), axis=0) + middle.mean(axis=0)
    distance = np.hypot(*(middle[None] - centre[:, None]).transpose(2, 0, 1))
    jam = 0.6 * np.exp(-((distance / 500) ** 2))
    ratio = (1 - 0.3 * peak[:, None]) * (1 - jam) * random.normal(1, 0.05, (len(time), compiled.n_links))
    return time, ratio * compiled.free_speed


def measured(network: Network, links: Sequence[int] | npt.NDArray[np.int64], speed: Float) -> Measurements:
    nothing = np.full(network.compile().n_links, np.nan)
    value, deviation = nothing.copy(), nothing.copy()
    value[links], deviation[links] = speed[links], 0.05 * speed[links]
    return Measurements(value, deviation, nothing, nothing)


@pytest.fixture(scope="module")
def taught(city: Network) -> tuple[Estimator, npt.NDArray[np.int64]]:
    time, speed = streets(city, 2, seed=7)
    links = np.sort(np.random.default_rng(8).choice(city.compile().n_links, 110, replace=False))
    estimator = Estimator(city.compile())
    estimator.learn(speed=History(time[::3], links, speed[::3, links]), seed=1)
    return estimator, links


def test_hidden_links_are_told_better_than_without_history_and_nine_in_ten_lie_in_the_interval(
    city: Network, taught: tuple[Estimator, npt.NDArray[np.int64]]
) -> None:
    estimator, links = taught
    time, speed = streets(city, 1, seed=9)
    hidden = np.setdiff1d(np.arange(speed.shape[1]), links)
    errors: dict[str, list[float]] = {"with": [], "without": []}
    covered = []
    for k in range(0, len(time), 4):
        seen = measured(city, links, speed[k])
        after = estimator.estimate(seen, time=float(time[k]))
        plain = estimator.estimate(seen)
        errors["with"].append(float(np.abs(after.speed - speed[k])[hidden].mean()))
        errors["without"].append(float(np.abs(plain.speed - speed[k])[hidden].mean()))
        low, high = after.speed_interval[:, hidden]
        covered.append(float(((speed[k, hidden] >= low) & (speed[k, hidden] <= high)).mean()))
        assert (after.speed_source[links] == Source.MEASURED).all()
    assert np.mean(errors["with"]) < np.mean(errors["without"])
    # 24 times of 178 links: as if of 24 independent cities, whose share within has a deviation of at most
    # sqrt(0.9 * 0.1 / 24) = 0.06 were each of one opinion; that of the calibrating 22 sensors a fold comes on top.
    assert 0.8 < np.mean(covered) < 0.98


def test_the_interval_of_known_noise_covers_nine_in_ten() -> None:
    """A level that all share and independent noise: nothing but the noise is left to tell, and it is normal."""
    n, n_times = 60, 300
    road, air = places(n, seed=10)
    random = np.random.default_rng(11)
    value = 10 + random.normal(0, 1, (n_times, n))
    time = STEP_S * np.arange(n_times)
    near = Neighbours.among(road, air)
    field = learn(
        History(time[:200], np.arange(n), value[:200]),
        neighbours=(near, near),
        unit=np.ones(n),
        own=np.zeros((n, 0)),
        seed=1,
    )
    within = []
    for row, at in zip(value[200:], time[200:], strict=True):
        told = field.tell(row, time=float(at), far=True)
        assert told is not None
        within.append((row >= told.low) & (row <= told.high))
    # 6,000 independent values: three binomial deviations are 0.012; the ends were read from 12,000, 0.008 more.
    assert np.mean(within) == pytest.approx(0.9, abs=0.02)
    assert np.average(field.leave_out.covered) == pytest.approx(0.9, abs=0.001)  # of these the quantiles are
    # The mean of |x| of noise of deviation 1, told from twelve others, is sqrt(2 / pi (1 + 1 / 12)) = 0.83.
    assert np.mean(field.leave_out.mean_error) == pytest.approx(0.83, rel=0.05)


def _field(seed: int) -> LearnedField:
    road, air = places(30, seed=12)
    near = Neighbours.among(road, air)
    value = 10 + draws(np.exp(-road / 2000), 100, seed=13)
    history = History(STEP_S * np.arange(100), np.arange(30), np.clip(value, 0, None))
    return learn(history, neighbours=(near, near), unit=np.ones(30), own=np.zeros((30, 0)), seed=seed)


def test_the_same_history_and_seed_teach_the_same_to_the_last_bit() -> None:
    now = np.random.default_rng(14).uniform(5, 15, 30)
    one, same, other = (_field(seed).tell(now, time=0.0) for seed in (1, 1, 2))
    assert one is not None
    assert same is not None
    assert other is not None
    np.testing.assert_array_equal(one.middle, same.middle)
    np.testing.assert_array_equal(one.low, same.low)
    assert (one.low != other.low).any()


def test_without_any_report_nothing_is_told_and_far_links_only_when_asked_for() -> None:
    field = _field(1)
    assert field.tell(np.full(30, np.nan), time=0.0) is None
    now = np.full(30, 10.0)
    told, everywhere = field.tell(now, time=0.0), field.tell(now, time=0.0, far=True)
    assert told is not None
    assert everywhere is not None
    np.testing.assert_array_equal(np.isfinite(told.middle), told.near)
    assert 0 < told.near.sum() < 30  # the one in twenty that is farther from others than the rest
    assert np.isfinite(everywhere.middle).all()


def test_without_scikit_learn_kriging_stands_alone_with_an_interval_as_honest(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    field = _field(1)
    n = float(field.leave_out.n_values.sum())
    # The ends are quantiles of these very values: all that is missing is one value at either end.
    assert np.average(field.leave_out.covered, weights=field.leave_out.n_values) == pytest.approx(0.9, abs=2 / n + 1e-3)


def test_links_far_from_every_sensor_or_of_a_class_without_one_keep_what_the_field_says(
    city: Network, taught: tuple[Estimator, npt.NDArray[np.int64]]
) -> None:
    estimator, links = taught
    compiled = city.compile()
    some = links[:3]  # all others are silent now
    time, speed = streets(city, 1, seed=15)
    seen = measured(city, some, speed[40])
    after, plain = estimator.estimate(seen, time=float(time[40])), estimator.estimate(seen)
    # Nineteen in twenty sensed links have another one within reach: far links are those beyond.
    far = neighbours(compiled, some)[0].road.min(axis=1) > estimator.learned["speed"].reach_m
    assert far.sum() > 100
    np.testing.assert_array_equal(after.speed[far], plain.speed[far])
    np.testing.assert_array_equal(after.speed_source[far], plain.speed_source[far])


def test_the_leave_one_out_error_of_every_sensor_and_class_is_published(
    city: Network, taught: tuple[Estimator, npt.NDArray[np.int64]]
) -> None:
    estimator, links = taught
    published = estimator.learned["speed"].leave_out
    np.testing.assert_array_equal(published.links, links)
    assert (published.n_values > 0).all()
    assert (published.mean_error > 0).all()
    assert (np.abs(published.bias) <= published.mean_error + 1e-12).all()
    classes = published.by_class(city.compile().link_class)
    assert set(classes) == set(np.unique(city.compile().link_class[links]).tolist())
    assert min(published.mean_error) <= min(classes.values()) <= max(published.mean_error)


def test_distances_of_a_network_are_those_along_its_movements_and_lost_links_are_far(city: Network) -> None:
    compiled = city.compile()
    links = np.array([0, 5, 40])
    every, among = neighbours(compiled, links)
    assert np.isinf(every.road[5]).sum() == 1  # itself
    np.testing.assert_array_equal(among.between_road, among.between_road.T)
    out = compiled.movement_out[compiled.movement_start[5]]
    column = every.index[out].tolist().index(1)
    assert every.road[out, column] == pytest.approx((compiled.length[5] + compiled.length[out]) / 2)
    # Two streets that nothing joins.
    nodes = [{"node_id": n, "x_coord": 120 + k / 1000, "y_coord": 30.0} for k, n in enumerate("ABCD")]
    pairs = [{"link_id": a + b, "from_node_id": a, "to_node_id": b} for a, b in ("AB", "CD")]
    lost = Network.from_tables({"node": nodes, "link": pairs}).compile()
    assert neighbours(lost, np.array([0]))[0].road[1, 0] > NO_ROAD_M


def test_a_profile_is_the_mean_of_its_quarter_of_the_day_and_of_the_sensor_where_nothing_is_known() -> None:
    time = STEP_S * np.arange(96 * 4)
    hour = time % DAY_S / 3600
    value = np.column_stack((np.where(hour < 12, 10.0, 20.0), np.full(len(time), np.nan)))
    profile = DayProfile.of(time, value)
    assert profile.at(6 * 3600.0)[0] == pytest.approx(10.0, abs=1.0)
    assert profile.at(DAY_S * 9 + 18 * 3600.0)[0] == pytest.approx(20.0, abs=1.0)
    assert profile.at(0.0)[1] == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("time", "links", "value", "says"),
    [
        ([0, 1], [3], [[1.0]], "history: 1 x 1 values for 2 times and 1 links"),
        ([0], [3, 3], [[1.0, 1.0]], "history: link 3 stands there twice"),
        ([5, 5], [3], [[1.0], [1.0]], r"history: time 1 \(5 s\) is not after the one before it"),
        ([0], [3], [[-1.0]], "history: value -1.0 of link 3 at time 0: nought or more, or NaN"),
        ([0], [3], [[np.inf]], "history: value inf of link 3 at time 0"),
    ],
)
def test_a_history_that_cannot_be_is_refused(time: list[float], links: list[int], value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        History(np.array(time, float), np.array(links), np.array(value, float))


def test_too_little_history_and_links_that_are_not_there_are_refused_and_change_nothing(city: Network) -> None:
    estimator = Estimator(city.compile())
    few = History(STEP_S * np.arange(60), np.arange(5), np.ones((60, 5)))
    with pytest.raises(InputError, match="of 5 sensed links are too few to learn from: at least 48 times at which 20"):
        estimator.learn(speed=few, seed=1)
    strange = History(STEP_S * np.arange(60), np.arange(30) + 10_000, np.ones((60, 30)))
    with pytest.raises(InputError, match="history: link 10029 of a network that has 288"):
        estimator.learn(speed=strange, seed=1)
    assert estimator.learned == {}


def test_the_twin_shows_what_was_learned_at_the_time_of_its_clock(
    city: Network, taught: tuple[Estimator, npt.NDArray[np.int64]]
) -> None:
    estimator, links = taught
    ids, (time, speed) = city.links.ids, streets(city, 1, seed=16)
    sensors = [Sensor(f"D{link}", link_id=ids[link], lanes=1, interval_s=STEP_S) for link in links.tolist()]
    network = SimpleNamespace(sensors=tuple(sensors), signals={}, sha256="", compile=city.compile)
    now = float(time[36])
    readings = [
        Reading(sensor.sensor_id, "speed_kmh", round(now * 1000), 3.6 * float(speed[36, link]))
        for sensor, link in zip(sensors, links.tolist(), strict=True)
    ]
    hidden = np.setdiff1d(np.arange(speed.shape[1]), links)
    taught_twin = Twin(network, started_at=now - 60, estimator=estimator)
    plain = Twin(network, started_at=now - 60).assimilate(Batch.of(readings, received_at=now), now=now)
    found = taught_twin.assimilate(Batch.of(readings, received_at=now), now=now)
    error, plain_error = (np.abs(one.speed - speed[36])[hidden].mean() for one in (found, plain))
    assert error < plain_error
    assert (found.speed_source[links] == Source.MEASURED).all()
