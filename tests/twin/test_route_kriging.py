"""Streets are told by those on the same routes: dense algebra, known routes, detectors that lie, refusals."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from sensors import InputError
from twin import route_kriging
from twin.route_kriging import Balance, tell

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

N_LINKS = 80


def city(seed: int, *, n_routes: int = 60) -> tuple[sparse.csr_array, Float, Float]:
    """Return the use by a demand of vehicles on chains of links, lanes, and true flows (3 times, n_links) of others.

    The truth drives the same routes, each with its own factor that the demand does not know.
    """
    random = np.random.default_rng(seed)
    routes = np.zeros((n_routes, N_LINKS))
    for route in routes:
        first = random.integers(N_LINKS)
        route[(first + np.arange(random.integers(5, 15))) % N_LINKS] = 1.0
    vehicles = random.gamma(2.0, 50.0, n_routes)
    truth = (vehicles * random.lognormal(0.0, 0.6, n_routes)) @ routes + 20.0
    use = sparse.csr_array(vehicles[:, None] * routes)
    return use, random.integers(1, 4, N_LINKS).astype(float), np.outer([1.0, 0.4, 0.7], truth) / 3600


def some(seed: int, n: int = 40) -> tuple[Long, Long]:
    counted = np.sort(np.random.default_rng(seed).choice(N_LINKS, n, replace=False))
    return counted, np.setdiff1d(np.arange(N_LINKS), counted)


def test_without_heavy_tails_it_is_the_conditional_mean_of_dense_algebra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_kriging, "TAIL", 1e12)
    use, lanes, flow = city(1)
    counted, hidden = some(1)
    balance = Balance(mean=0.7, shared=1.3, noise=0.2)
    found = tell(flow[:1, counted], counted, use=use, lanes=lanes, balance=balance)
    dense = use.toarray()
    demand = dense.sum(axis=0)
    alike = np.sqrt(dense).T @ np.sqrt(dense) / np.sqrt(np.outer(demand, demand))
    features = np.column_stack((np.sqrt(lanes), np.sqrt(demand)))  # every link is on some route
    features = (features - features[counted].mean(axis=0)) / features[counted].std(axis=0)
    covariance = 10.0 + 0.7 * features @ features.T + 1.3 * alike
    root = np.sqrt(flow[0, counted])
    among = covariance[np.ix_(counted, counted)] + 0.2 * np.eye(len(counted))
    told = root.mean() + covariance[np.ix_(hidden, counted)] @ np.linalg.solve(among, root - root.mean())
    # Two ways of solving the same system, whose condition is about 1e4.
    np.testing.assert_allclose(found.flow[0, hidden], np.maximum(told, 0) ** 2, rtol=1e-9)


def test_hidden_streets_are_told_better_than_by_lanes_or_by_the_scaled_demand_and_intervals_hold() -> None:
    errors: dict[str, list[float]] = {"ours": [], "lanes": [], "demand": []}
    inside = []
    for seed in range(8):
        use, lanes, flow = city(seed)
        counted, hidden = some(seed)
        found = tell(flow[:, counted], counted, use=use, lanes=lanes)
        demand = np.asarray(use.sum(axis=0)).ravel()
        told = {
            "ours": found.flow[:, hidden],
            "lanes": (flow[:, counted] / lanes[counted]).mean(axis=1, keepdims=True) * lanes[hidden],
            "demand": flow[:, counted].sum(axis=1, keepdims=True) / demand[counted].sum() * demand[hidden],
        }
        for name, values in told.items():
            errors[name].append(float(np.abs(values - flow[:, hidden]).sum() / flow[:, hidden].sum()))
        inside.append(((flow >= found.low) & (flow <= found.high))[0, hidden].mean())
    assert max(np.array(errors["ours"]) / np.minimum(errors["lanes"], errors["demand"])) < 1
    # 8 x 40 hidden links and a quantile of 40 counted ones each: a deviation of 0.017 for either, three of both.
    assert np.mean(inside) == pytest.approx(0.9, abs=0.07)


def test_a_detector_that_lies_is_not_believed_and_hardly_moves_the_others() -> None:
    use, lanes, flow = city(3)
    counted, hidden = some(3)
    balance = Balance(mean=3.0, shared=3.0, noise=0.03)
    honest = tell(flow[:, counted], counted, use=use, lanes=lanes, balance=balance)
    seen = flow[:, counted].copy()
    liar = int(np.argmax(seen[0]))
    seen[:, liar] *= 0.05
    found = tell(seen, counted, use=use, lanes=lanes, balance=balance)
    assert honest.belief[liar] > 0.5
    assert found.belief[liar] < 0.1
    assert np.argmin(found.belief) == liar
    # Told without the liar at all is as well as one can do.
    rest = np.delete(counted, liar)
    without = tell(np.delete(seen, liar, axis=1), rest, use=use, lanes=lanes, balance=balance)
    moved = np.abs(found.flow[:, hidden] - without.flow[:, hidden]).sum() / without.flow[:, hidden].sum()
    assert moved < 0.05


def test_neither_the_unit_nor_the_order_nor_how_a_route_is_written_changes_what_is_told() -> None:
    use, lanes, flow = city(4)
    counted, _ = some(4)
    found = tell(flow[:, counted], counted, use=use, lanes=lanes)
    order = np.random.default_rng(4).permutation(len(counted))
    halves = sparse.csr_array(sparse.vstack((0.25 * use, 0.75 * use)))
    for other, factor in (
        (tell(3600 * flow[:, counted], counted, use=use, lanes=lanes), 3600.0),
        (tell(flow[:, counted[order]], counted[order], use=use, lanes=lanes), 1.0),
        (tell(flow[:, counted], counted, use=halves, lanes=lanes), 1.0),
    ):
        assert other.balance == found.balance
        for name in ("flow", "low", "high"):
            # Bounded by rounding alone: the noises are found by eight steps, not to convergence.
            np.testing.assert_allclose(getattr(other, name), factor * getattr(found, name), rtol=1e-6, atol=1e-9)


def test_streets_of_no_route_have_a_level_of_their_own() -> None:
    use, lanes, flow = city(5)
    dense, off = use.toarray(), np.arange(0, N_LINKS, 4)
    dense[:, off] = 0.0  # the demand knows nothing of them, yet they are the busiest
    flow[:, off] = 4 * flow.max(axis=1, keepdims=True)
    counted = np.setdiff1d(np.arange(N_LINKS), off[::5])
    found = tell(flow[:, counted], counted, use=sparse.csr_array(dense), lanes=lanes)
    np.testing.assert_allclose(found.flow[:, off[::5]], flow[:, off[::5]], rtol=0.15)


def test_an_hour_without_any_vehicle_is_told_as_one() -> None:
    use, lanes, flow = city(6)
    counted, _ = some(6)
    flow[1] = 0.0
    found = tell(flow[:, counted], counted, use=use, lanes=lanes)
    assert (found.flow[1] == 0).all()
    assert (found.flow[[0, 2]] > 0).any(axis=1).all()
    quiet = tell(0 * flow[:, counted], counted, use=use, lanes=lanes)
    assert (quiet.flow == 0).all()
    assert (quiet.high == 0).all()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"lanes": np.ones(3)}, r"lanes has shape \(3,\), must be \(80,\): one for each link of the routes"),
        ({"lanes": np.r_[1, -2, np.ones(78)]}, r"link 1 has -2.0 lanes, must be 0 or more"),
        ({"flow": np.ones((2, 3))}, r"flow has shape \(2, 3\), must be \(n_times, 6\): a column for each counted link"),
        ({"flow": np.ones((2, 4)), "counted": np.arange(4)}, r"4 counted links at 2 times, must be 5 or more"),
        ({"counted": np.array([0, 1, 2, 3, 4, 80])}, r"counted links must be different positions from 0 to 79"),
        ({"counted": np.array([0, 1, 2, 3, 4, 4])}, r"counted links must be different positions from 0 to 79"),
        ({"flow": np.r_[[np.ones(6)], [[1, 1, np.nan, 1, 1, 1]]]}, r"flow of link 2 at time 1 is nan, must be 0 or"),
        ({"use": sparse.csr_array(-np.ones((1, 80)))}, r"the use of a link by a route must be a number of vehicles"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(changed: dict[str, Any], sentence: str) -> None:
    use, lanes, flow = city(7)
    given = {"flow": flow[:, :6], "counted": np.arange(6), "use": use, "lanes": lanes} | changed
    with pytest.raises(InputError, match=sentence):
        tell(given.pop("flow"), given.pop("counted"), **given)
