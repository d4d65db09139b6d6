"""Nine true values in ten lie within the interval of every link, which says nothing that no street can show."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from sensors import Batch, InputError, Reading, Sensor
from twin import Network
from twin.compiled import CompiledNetwork
from twin.estimate import Estimator, Measurements
from twin.generate import generate
from twin.history import History
from twin.interval import normal_interval
from twin.learned import LearnedField, learn
from twin.neighbours import Neighbours
from twin.twin import Twin

Float = npt.NDArray[np.float64]
STEP_S = 900.0


@pytest.fixture(scope="module")
def town() -> Network:
    return Network.from_tables(generate(seed=2, junctions=60))


@pytest.fixture(scope="module")
def compiled(town: Network) -> CompiledNetwork:
    return town.compile()


def test_an_interval_holds_the_estimate_and_nothing_that_no_street_can_show(compiled: CompiledNetwork) -> None:
    """Some links are measured far above and far below what the map promises; all that is told stays physical."""
    speed = np.full(compiled.n_links, np.nan)
    flow = speed.copy()
    speed[::5], speed[2::5] = 2.0 * compiled.free_speed[::5], 0.1
    flow[::5], flow[2::5] = 1.3 * compiled.capacity[::5], 0.0
    found = Estimator(compiled).estimate(Measurements(speed, 0.1 * speed + 0.3, flow, 0.1 * flow + 0.005))
    for name, usual, measured in (("speed", 1.5 * compiled.free_speed, speed), ("flow", compiled.capacity, flow)):
        low, high = getattr(found, f"{name}_interval")
        middle, top = getattr(found, name), np.fmax(usual, measured)
        assert (low >= 0).all()
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert (high <= top + 1e-9).all()
        # Where nothing is cut it is that of a normal distribution.
        whole = (low > 0) & (high < top - 1e-9)
        assert whole.any()
        width = 2 * 1.645 * getattr(found, f"{name}_deviation")
        np.testing.assert_allclose((high - low)[whole], width[whole], rtol=1e-6)


def test_a_snapshot_says_the_interval_of_the_estimate_also_after_learning(town: Network) -> None:
    compiled = town.compile()
    links = np.arange(0, compiled.n_links, 3)
    random = np.random.default_rng(3)
    # All detectors saw up to 1.8 of what the map allows: the map is wrong, and no interval is cut there.
    past = 1.8 * compiled.free_speed[links] * random.normal(1, 0.05, (60, len(links)))
    estimator = Estimator(compiled)
    estimator.learn(speed=History(STEP_S * np.arange(60), links, past), seed=1)
    sensors = [Sensor(f"S{k}", quantities=("speed_kmh",), link_id=compiled.link_ids[k]) for k in links]
    now = STEP_S * 59
    twin = Twin(replace(town, sensors=tuple(sensors)), started_at=now, estimator=estimator)
    last = zip(links, past[-1], strict=True)
    said = [Reading(f"S{k}", "speed_kmh", int(now) * 1000, float(3.6 * value)) for k, value in last]
    snapshot = twin.assimilate(Batch.of(said, received_at=now), now=now)
    speed = np.full(compiled.n_links, np.nan)
    speed[links] = past[-1]
    told = estimator.learned["speed"].tell(speed, time=now)
    assert told is not None
    others = np.setdiff1d(np.flatnonzero(told.near), links)
    assert len(others) > 10
    np.testing.assert_allclose(snapshot.speed_interval[1, others], told.true_high[others], rtol=0.01)
    assert (snapshot.speed_interval[1] > 1.6 * compiled.free_speed)[others].mean() > 0.8
    assert not snapshot.speed_interval.flags.writeable


def _level_with_noise(noise: Float | None) -> tuple[LearnedField, Float, Float]:
    """Return a field taught on links that differ by a deviation of 1 from a level, seen with noise of 1; a new day."""
    n, n_times = 80, 260
    random = np.random.default_rng(4)
    xy = random.uniform(0, 6000.0, (n, 2))
    air = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    true = 20 + random.normal(0, 1, (n_times, n))
    seen = true + random.normal(0, 1, (n_times, n))
    near = Neighbours.among(1.3 * air, air)
    history = History(STEP_S * np.arange(160), np.arange(n), seen[:160], noise)
    field = learn(history, neighbours=(near, near), unit=np.ones(n), own=np.zeros((n, 0)), seed=1)
    return field, true[160:], seen[160:]


def _share_within(field: LearnedField, true: Float, seen: Float) -> tuple[float, float, float]:
    """Return the shares of true values within the true ends and the others, and of readings within the others."""
    found = []
    for k, (fact, row) in enumerate(zip(true, seen, strict=True)):
        told = field.tell(row, time=STEP_S * (160 + k), far=True)
        assert told is not None
        found.append(
            [
                ((low <= value) & (value <= high)).mean()
                for low, high, value in (
                    (told.true_low, told.true_high, fact),
                    (told.low, told.high, fact),
                    (told.low, told.high, row),
                )
            ]
        )
    return tuple(np.mean(found, axis=0))


def test_where_the_noise_of_detectors_is_known_nine_true_values_in_ten_lie_within_not_nine_readings() -> None:
    field, true, seen = _level_with_noise(np.ones((160, 80)))
    apart, included, readings = _share_within(field, true, seen)
    # 8,000 independent values: three binomial deviations are 0.01; ends of 12,800 others a little more.
    assert apart == pytest.approx(0.9, abs=0.025)
    assert readings == pytest.approx(0.9, abs=0.02)
    assert included > 0.95  # of a normal error sqrt((1 + 1/6 + 1) / (1 + 1/6)) times as wide as needed: 0.97


def test_where_the_noise_is_not_known_it_stays_in_the_interval() -> None:
    field, true, seen = _level_with_noise(None)
    apart, included, _ = _share_within(field, true, seen)
    assert apart == included > 0.95


@pytest.mark.parametrize(
    ("noise", "says"),
    [
        (np.ones((2, 1)), r"history: noise of shape \(2, 1\) for values of shape \(2, 2\)"),
        (np.array([[1.0, 1.0], [-1.0, 1.0]]), "history: noise -1.0 of link 3 at time 1: must be 0 or more"),
        (np.array([[1.0, np.nan], [1.0, 1.0]]), "history: noise nan of link 4 at time 0: must be 0 or more"),
    ],
)
def test_a_noise_that_is_no_deviation_is_refused(noise: Float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        History(np.array([0.0, 1.0]), np.array([3, 4]), np.ones((2, 2)), noise)


def test_the_normal_interval_holds_nine_draws_in_ten() -> None:
    draws = np.random.default_rng(5).normal(30.0, 4.0, 100_000)
    low, high = normal_interval(np.array([30.0]), np.array([4.0]))
    assert ((draws >= low) & (draws <= high)).mean() == pytest.approx(0.9, abs=0.003)  # three binomial deviations
