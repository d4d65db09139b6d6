"""The estimator: against dense algebra, against the dull alternatives, and honest where it knows nothing."""

import csv
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

import twin.estimate as estimate_module
from twin import Network
from twin.compiled import CompiledNetwork
from twin.estimate import Estimate, Estimator, Measurements
from twin.estimate_solve import Precision
from twin.prior import Prior, free_flow_prior, red_delay
from twin.signal import SignalPlan, Stage
from twin.state import Source

Float = npt.NDArray[np.float64]


def grid(n: int, *, length: float = 200.0) -> CompiledNetwork:
    """Two-way streets between n by n nodes, two lanes, 50 km/h, no U-turns; every fifth street is an arterial."""
    pairs = []
    for i in range(n):
        for j in range(n):
            for di, dj in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                if 0 <= i + di < n and 0 <= j + dj < n:
                    pairs.append((i * n + j, (i + di) * n + j + dj))
    from_node, to_node = np.array(pairs, np.int32).T
    count, nodes = len(pairs), n * n
    out_link, in_link = np.argsort(from_node, kind="stable"), np.argsort(to_node, kind="stable")
    out_start = np.concatenate(([0], np.cumsum(np.bincount(from_node, minlength=nodes))))
    in_start = np.concatenate(([0], np.cumsum(np.bincount(to_node, minlength=nodes))))
    starts, outs = [0], []
    for link in range(count):
        node = to_node[link]
        outs += [o for o in out_link[out_start[node] : out_start[node + 1]] if to_node[o] != from_node[link]]
        starts.append(len(outs))
    ones = np.ones(count)
    row = from_node // n
    return CompiledNetwork(
        node_ids=tuple(map(str, range(nodes))),
        link_ids=tuple(map(str, range(count))),
        node_xy=np.array([(i * length, j * length) for i in range(n) for j in range(n)]),
        from_node=from_node,
        to_node=to_node,
        length=length * ones,
        lanes=np.full(count, 2, np.int32),
        free_speed=50 / 3.6 * ones,
        wave_speed=5 * ones,
        jam_density=0.3 * ones,
        capacity=1 * ones,
        priority=1 * ones,
        link_class=np.where((row % 5 == 0) & (to_node // n == row), 1, 2).astype(np.int32),
        out_start=out_start.astype(np.int32),
        out_link=out_link.astype(np.int32),
        in_start=in_start.astype(np.int32),
        in_link=in_link.astype(np.int32),
        movement_start=np.array(starts, np.int32),
        movement_out=np.array(outs, np.int32),
        movement_group=np.zeros(len(outs), np.int32),
        group_start=np.arange(count + 1, dtype=np.int32),
        group_lanes=2 * ones,
        group_pocket=np.full(count, np.inf),
        origin=np.array([120.0, 30.0]),
    )


@pytest.fixture(scope="module")
def compiled() -> CompiledNetwork:
    return grid(12)


@pytest.fixture(scope="module")
def estimator(compiled: CompiledNetwork) -> Estimator:
    return Estimator(compiled)


def speeds(compiled: CompiledNetwork, at: dict[int, float], *, deviation: float = 0.5) -> Measurements:
    nothing = np.full(compiled.n_links, np.nan)
    speed, spread = nothing.copy(), nothing.copy()
    for link, value in at.items():
        speed[link], spread[link] = value, deviation
    return Measurements(speed, spread, nothing, nothing)


def hops(compiled: CompiledNetwork, link: int) -> Float:
    of = np.repeat(np.arange(compiled.n_links), np.diff(compiled.movement_start))
    ones = np.ones(len(of))
    graph = sp.csr_array((ones, (of, compiled.movement_out)), shape=(compiled.n_links,) * 2)
    return np.asarray(dijkstra(graph, directed=False, unweighted=True, indices=link), np.float64)


def test_mean_and_variance_are_those_of_dense_algebra() -> None:
    generator = np.random.default_rng(3)
    for n, dense in ((1, 0), (2, 1), (40, 0), (60, 3)):
        body = sp.random_array((n, n), density=0.08, rng=generator).toarray()
        body[:, n - dense :] += generator.normal(size=(n, dense))
        matrix = body @ body.T + np.eye(n)
        added = generator.uniform(0, 5, n) * (generator.random(n) < 0.3)
        information = generator.normal(size=n)
        precision = Precision(sp.csc_array(matrix), n_dense=dense)
        mean, variance = precision.posterior(added, information)
        inverse = np.linalg.inv(matrix + np.diag(added))
        # Rounding only: condition numbers here are below 1e4, times machine precision of 1e-16.
        np.testing.assert_allclose(mean, inverse @ information, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(variance, np.diag(inverse), rtol=1e-8)
        iterated = precision.mean(added, information, start=np.zeros(n))
        np.testing.assert_allclose(iterated, mean, atol=1e-3 * np.abs(information).sum())


def test_without_measurements_the_prior_is_returned_and_everything_is_guessed(estimator: Estimator) -> None:
    result = estimator.estimate(speeds(estimator.compiled, {}))
    prior = free_flow_prior(estimator.compiled)
    np.testing.assert_array_equal(result.speed, prior.speed)
    np.testing.assert_array_equal(result.speed_deviation, prior.speed_deviation)
    np.testing.assert_array_equal(result.flow, prior.flow)
    assert (result.speed_source == Source.GUESSED).all()
    assert (result.flow_source == Source.GUESSED).all()


def test_every_link_has_the_same_prior_deviation_whatever_its_place_in_the_graph(estimator: Estimator) -> None:
    """An all but worthless measurement leaves the prior, at corners and in the middle alike."""
    result = estimator.estimate(speeds(estimator.compiled, {0: 5.0}, deviation=1e6))
    np.testing.assert_allclose(result.speed, estimator.prior.speed, rtol=1e-6)
    np.testing.assert_allclose(result.speed_deviation, estimator.prior.speed_deviation, rtol=1e-6)


def test_a_measured_link_has_nearly_its_measured_value_even_beside_a_contrary_one(estimator: Estimator) -> None:
    compiled = estimator.compiled
    link = compiled.n_links // 2
    other = int(compiled.movement_out[compiled.movement_start[link]])
    result = estimator.estimate(speeds(compiled, {link: 3.0, other: 14.0}))
    # A prior deviation of 4.2 m/s, a tenth of its variance the link's own, against a measurement of 0.5 m/s.
    assert result.speed[link] == pytest.approx(3.0, abs=1.5)
    assert result.speed[other] == pytest.approx(14.0, abs=1.5)
    assert result.speed_deviation[link] <= 0.5
    assert result.speed_source[link] == Source.MEASURED


def test_deviation_grows_and_influence_fades_with_distance(estimator: Estimator) -> None:
    compiled = estimator.compiled
    link = compiled.n_links // 2
    result = estimator.estimate(speeds(compiled, {link: 3.0}))
    distance = hops(compiled, link)
    deviation = [result.speed_deviation[distance == d].mean() for d in range(6)]
    speed = [result.speed[distance == d].mean() for d in range(6)]
    assert (np.diff(deviation) > 0).all()
    assert (np.diff(speed) > 0).all()
    assert (result.speed_deviation <= estimator.prior.speed_deviation * (1 + 1e-9)).all()


def test_the_level_of_the_city_alone_never_turns_a_guess_into_an_estimate(estimator: Estimator) -> None:
    compiled = estimator.compiled
    # All links of the lower left quarter are measured; the far corner only hears of it through the levels.
    near = [i for i in range(compiled.n_links) if compiled.node_xy[compiled.from_node[i]].max() < 800]
    result = estimator.estimate(speeds(compiled, dict.fromkeys(near, 5.0)))
    far = np.array([compiled.node_xy[compiled.from_node[i]].min() > 1600 for i in range(compiled.n_links)])
    assert (result.speed_source[far] == Source.GUESSED).all()
    assert (result.speed[far] < estimator.prior.speed[far]).all()


def test_a_closed_ring_of_measurements_makes_an_estimate_of_what_it_encloses(estimator: Estimator) -> None:
    compiled = estimator.compiled
    link = compiled.n_links // 2
    ring = {int(i): 5.0 for i in np.flatnonzero(hops(compiled, link) == 1)}
    result = estimator.estimate(speeds(compiled, ring))
    assert result.speed_source[link] == Source.ESTIMATED
    assert 4 < result.speed[link] < 9


def test_extreme_measurements_give_neither_negative_values_nor_nan(compiled: CompiledNetwork) -> None:
    estimator = Estimator(compiled)
    generator = np.random.default_rng(4)
    n = compiled.n_links
    for _ in range(20):
        known = generator.random(n) < generator.random()
        value = np.where(known, generator.choice([0.0, 1e-9, 70.0, 1e4], n), np.nan)
        spread = np.where(known, generator.choice([1e-6, 0.5, 100.0], n), np.nan)
        result = estimator.estimate(Measurements(value, spread, value, spread))
        for values in (result.speed, result.speed_deviation, result.flow, result.flow_deviation):
            assert np.isfinite(values).all()
            assert (values >= 0).all()


def test_only_a_measurement_can_say_that_a_link_is_faster_than_free_flow(estimator: Estimator) -> None:
    compiled = estimator.compiled
    link = compiled.n_links // 2
    result = estimator.estimate(speeds(compiled, {link: 30.0}))
    assert result.speed[link] > 25
    others = np.arange(compiled.n_links) != link
    assert (result.speed[others] <= 1.1 * compiled.free_speed[others]).all()


def test_the_wait_at_red_is_part_of_what_is_expected_of_a_link_with_a_signal_at_its_end(
    compiled: CompiledNetwork,
) -> None:
    """Arrivals spread evenly over the cycle wait 0 in green and half the red on average in red (Webster 1958)."""
    link = compiled.n_links // 2
    out = compiled.link_ids[_out(compiled, link)[0]]
    stage = Stage(30.0, 5.0, ((compiled.link_ids[link], out),))
    plan = SignalPlan(compiled.node_ids[compiled.to_node[link]], 90.0, (stage,))
    arrivals = np.linspace(0, 90, 90_001)
    waits = np.where(arrivals < 30, 0, 90 - arrivals).mean()
    delay = red_delay(compiled, {plan.node_id: plan, "elsewhere": plan})
    assert delay[link] == pytest.approx(waits, rel=1e-3)
    assert np.count_nonzero(delay) == 1
    prior = free_flow_prior(compiled, {plan.node_id: plan})
    assert prior.speed[link] == pytest.approx(200 / (200 / (50 / 3.6) + 20), rel=1e-3)
    assert np.delete(prior.speed, link) == pytest.approx(50 / 3.6)


def test_a_given_prior_replaces_free_flow(compiled: CompiledNetwork, estimator: Estimator) -> None:
    base = free_flow_prior(compiled)
    profile = Prior(0.6 * base.speed, 0.5 * base.speed_deviation, base.flow, base.flow_deviation)
    result = estimator.estimate(speeds(compiled, {}), prior=profile)
    np.testing.assert_array_equal(result.speed, profile.speed)


def test_a_street_that_runs_straight_on_tells_more_than_one_around_the_corner(estimator: Estimator) -> None:
    compiled = estimator.compiled
    # A local street in the middle: its three ways on are straight, left, right.
    links = [i for i in range(compiled.n_links) if compiled.link_class[i] == 2 and len(_out(compiled, i)) == 3]
    link = links[len(links) // 2]
    result = estimator.estimate(speeds(compiled, {link: 3.0}))
    xy = compiled.node_xy
    heading = xy[compiled.to_node] - xy[compiled.from_node]
    straight = [o for o in _out(compiled, link) if heading[o] @ heading[link] > 0]
    turns = [o for o in _out(compiled, link) if o not in straight and compiled.link_class[o] == 2]
    assert result.speed[straight[0]] < min(result.speed[turns])


def _out(compiled: CompiledNetwork, link: int) -> list[int]:
    return compiled.movement_out[compiled.movement_start[link] : compiled.movement_start[link + 1]].tolist()


def _left_out(estimator: Estimator, measured: Measurements, links: npt.NDArray[np.int64]) -> Estimate:
    """Return the estimate of each link without its own measurement."""
    speed, deviation = np.zeros(len(links)), np.zeros(len(links))
    for k, link in enumerate(links):
        held = measured.speed.copy()
        held[link] = np.nan
        result = estimator.estimate(
            Measurements(held, measured.speed_deviation, measured.flow, measured.flow_deviation)
        )
        speed[k], deviation[k] = result.speed[link], result.speed_deviation[link]
    nothing, none = np.zeros(0), np.zeros(0, np.uint8)
    return Estimate(speed, deviation, nothing, nothing, none, none)


def test_a_hidden_detector_is_told_better_than_by_free_flow_the_mean_or_the_nearest(
    compiled: CompiledNetwork, estimator: Estimator
) -> None:
    """A jam that fades over 600 m around a place, seen by a third of the links with 5 % noise."""
    generator = np.random.default_rng(5)
    xy = compiled.node_xy
    middle = (xy[compiled.from_node] + xy[compiled.to_node]) / 2
    distance = np.hypot(*(middle - np.array([900.0, 1100.0])).T)
    truth = compiled.free_speed * (1 - 0.8 * np.exp(-((distance / 600) ** 2)))
    links = np.flatnonzero(generator.random(compiled.n_links) < 0.33)
    value = truth[links] * generator.normal(1, 0.05, len(links))
    measured = speeds(compiled, dict(zip(links.tolist(), value.tolist(), strict=True)))
    left_out = _left_out(estimator, measured, links)
    error = np.abs(left_out.speed - value).mean()
    nearest = []
    for link in links:
        away = hops(compiled, int(link))[links]
        away[away == 0] = np.inf
        nearest.append(value[int(np.argmin(away))])
    assert error < np.abs(np.array(nearest) - value).mean()
    assert error < 0.6 * np.abs(value.mean() - value).mean()
    assert error < 0.6 * np.abs(compiled.free_speed[links] - value).mean()


@pytest.mark.data
def test_on_real_links_of_aarhus_it_beats_free_flow_mean_and_nearest_and_its_deviations_are_honest(
    shared_data: Path, tmp_path: Path
) -> None:
    network = _aarhus(shared_data / "aarhus" / "traffic_links_metadata.csv", tmp_path)
    compiled = network.compile()
    position = {link_id: i for i, link_id in enumerate(compiled.link_ids)}
    # Two instants of the first working day, morning and afternoon peak (UTC), among rows with vehicles.
    wanted = {"2014-08-04T05:40", "2014-08-04T13:30"}
    rows: dict[str, dict[int, tuple[float, float]]] = {time: {} for time in wanted}
    with gzip.open(shared_data / "aarhus" / "traffic_2014-08.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            if row["timestamp_utc"] in wanted and float(row["vehicle_count"]) > 0:
                link = position[row["report_id"]]
                rows[row["timestamp_utc"]][link] = (float(row["avg_speed_kmh"]) / 3.6, float(row["vehicle_count"]))
    estimator = Estimator(compiled)
    of = np.repeat(np.arange(compiled.n_links), np.diff(compiled.movement_start))
    spacing = (compiled.length[of] + compiled.length[compiled.movement_out]) / 2
    graph = sp.csr_array((spacing, (of, compiled.movement_out)), shape=(compiled.n_links,) * 2)
    away = np.asarray(dijkstra(graph, directed=False))
    np.fill_diagonal(away, np.inf)
    errors: dict[str, list[float]] = {name: [] for name in ("field", "free flow", "mean", "nearest")}
    covered = []
    for found in rows.values():
        links = np.array(sorted(found))
        assert len(links) > 250
        value = np.array([found[i][0] for i in links])
        spread = value * np.hypot(0.07, 0.15 / np.sqrt([found[i][1] for i in links]))
        nothing = np.full(compiled.n_links, np.nan)
        measured = Measurements(nothing.copy(), nothing.copy(), nothing, nothing)
        measured.speed[links], measured.speed_deviation[links] = value, spread
        left_out = _left_out(estimator, measured, links)
        ratio = value / compiled.free_speed[links]
        nearest = ratio[np.argmin(away[np.ix_(links, links)], axis=1)]
        others = (ratio.sum() - ratio) / (len(links) - 1)
        for name, told in (
            ("field", left_out.speed),
            ("free flow", compiled.free_speed[links]),
            ("mean", others * compiled.free_speed[links]),
            ("nearest", nearest * compiled.free_speed[links]),
        ):
            errors[name] += np.abs(told - value).tolist()
        covered += (np.abs(left_out.speed - value) < 1.645 * np.hypot(left_out.speed_deviation, spread)).tolist()
    mean = {name: float(np.mean(values)) * 3.6 for name, values in errors.items()}
    assert mean["field"] < min(mean["free flow"], mean["mean"], mean["nearest"])
    # Nine tenths are meant; single drivers on quiet links have heavier tails than a normal distribution.
    assert 0.8 < np.mean(covered) < 0.97


def _aarhus(metadata: Path, folder: Path) -> Network:
    rows = list(csv.DictReader(metadata.read_text("utf-8-sig").splitlines()))
    nodes = {r[f"POINT_{k}_NAME"]: (r[f"POINT_{k}_LNG"], r[f"POINT_{k}_LAT"]) for r in rows for k in (1, 2)}
    lines = ["node_id,x_coord,y_coord", *(f"{name},{x},{y}" for name, (x, y) in nodes.items())]
    (folder / "node.csv").write_text("\n".join(lines))
    lines = ["link_id,from_node_id,to_node_id,length,lanes,free_speed,capacity"]
    for r in rows:
        ends = f"{r['POINT_1_NAME']},{r['POINT_2_NAME']}"
        lines.append(f"{r['REPORT_ID']},{ends},{r['DISTANCE_IN_METERS']},1,{r['NDT_IN_KMH']},1500")
    (folder / "link.csv").write_text("\n".join(lines))
    return Network.read(folder)


def test_a_big_network_solves_its_mean_at_every_call_and_agrees_with_the_exact_solution(
    compiled: CompiledNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = Estimator(compiled)
    monkeypatch.setattr(estimate_module, "EXACT_WORK", 100.0)
    big = Estimator(compiled)
    for value in (3.0, 6.0, 9.0):
        measured = speeds(compiled, dict.fromkeys(range(0, compiled.n_links, 7), value))
        a, b = exact.estimate(measured), big.estimate(measured)
        np.testing.assert_allclose(b.speed, a.speed, atol=0.01)
        # The same links are measured as at the first call, so that even the old deviations are exact.
        np.testing.assert_allclose(b.speed_deviation, a.speed_deviation, rtol=1e-9)
        np.testing.assert_array_equal(b.speed_source, a.speed_source)
