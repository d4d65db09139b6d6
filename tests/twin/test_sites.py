"""What detectors are worth: against the estimator itself with one detector more or less, link by link."""

import numpy as np
import numpy.typing as npt
import pytest

from sensors import InputError
from tests.twin.test_estimate import grid
from twin.estimate import Estimator, Measurements
from twin.measure import SPEED_FLOOR, SPEED_SPREAD
from twin.sites import next_sites, value

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
CITY = grid(5)
N = CITY.n_links
MEASURED = np.zeros(N, np.bool_)
MEASURED[[3, 4, 17, 40, 55]] = True


def uncertainty(estimator: Estimator, measured: Bool) -> float:
    """Return the weighted mean variance by asking the estimator for every link."""
    prior = estimator.prior
    speed = np.where(measured, prior.speed, np.nan)
    deviation = np.hypot(SPEED_SPREAD * prior.speed, SPEED_FLOOR)
    nothing = np.full(N, np.nan)
    found = estimator.estimate(Measurements(speed, deviation, nothing, nothing))
    weight = prior.flow * estimator.compiled.length
    return float(np.average(found.speed_deviation**2, weights=weight))


def test_the_value_of_a_detector_is_what_the_estimator_loses_without_it() -> None:
    estimator = Estimator(CITY)
    worth = value(estimator, MEASURED)
    now = uncertainty(estimator, MEASURED)
    assert worth.deviation == pytest.approx(np.sqrt(now), rel=1e-9)  # both are exact
    assert set(worth.link.tolist()) == set(np.flatnonzero(MEASURED).tolist())
    assert (np.diff(worth.share) <= 0).all()
    for link, share in zip(worth.link.tolist(), worth.share.tolist(), strict=True):
        without = MEASURED.copy()
        without[link] = False
        assert share == pytest.approx(uncertainty(estimator, without) / now - 1, rel=1e-6)


def best_by_force(estimator: Estimator, measured: Bool) -> tuple[int, float]:
    after = {}
    for link in np.flatnonzero(~measured).tolist():
        with_it = measured.copy()
        with_it[link] = True
        after[link] = uncertainty(estimator, with_it)
    best = min(after, key=after.__getitem__)
    return best, after[best]


@pytest.mark.parametrize("exact", [True, False])
def test_the_next_sites_are_those_that_brute_force_finds(exact: bool) -> None:
    estimator = Estimator(CITY)
    found = next_sites(estimator, MEASURED, 3, random=np.random.default_rng(1), exact=exact)
    have, before = MEASURED.copy(), uncertainty(estimator, MEASURED)
    now = before
    for link, share in zip(found.link.tolist(), found.share.tolist(), strict=True):
        _, after = best_by_force(estimator, have)
        have[link] = True
        reached = uncertainty(estimator, have)
        assert share == pytest.approx((now - reached) / before, rel=1e-6)
        if exact:
            # Links of a symmetric grid tie; the choice must be as good.
            assert reached == pytest.approx(after, rel=1e-9)
        else:  # random signs may miss the very best among equals, not by much
            assert now - reached >= 0.95 * (now - after)
        now = reached


def test_a_second_detector_beside_a_first_is_worth_less_than_one_far_away() -> None:
    estimator = Estimator(CITY)
    near_only = np.zeros(N, np.bool_)
    near_only[[3, 4]] = True
    alone = value(estimator, MEASURED)
    share = dict(zip(alone.link.tolist(), alone.share.tolist(), strict=True))
    only = np.zeros(N, np.bool_)
    only[3] = True
    first = value(estimator, only)
    assert share[3] < float(first.share[0])


def test_no_detector_and_no_site_are_answers_too() -> None:
    estimator = Estimator(CITY)
    nobody = np.zeros(N, np.bool_)
    assert len(value(estimator, nobody).link) == 0
    assert len(next_sites(estimator, nobody, 0, random=np.random.default_rng(1)).link) == 0
    everywhere = np.ones(N, np.bool_)
    assert len(next_sites(estimator, everywhere, 3, random=np.random.default_rng(1)).link) == 0
    few = np.zeros(N, np.bool_)
    few[7] = True
    assert next_sites(estimator, nobody, 3, random=np.random.default_rng(1), allowed=few).link.tolist() == [7]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"measured": np.zeros(3, np.bool_)}, f"measured has 3 links, the network has {N}"),
        ({"weight": np.full(N, -1.0)}, "weight must be finite, nowhere negative"),
        ({"weight": np.zeros(N)}, "somewhere positive"),
    ],
)
def test_columns_that_do_not_fit_are_refused(wrong: dict[str, Float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        value(Estimator(CITY), **{"measured": MEASURED, **wrong})  # type: ignore[arg-type]
