"""The generated city, whose truth is known everywhere: a day of other trips, a fifth of the links sensed."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.scores import dull
from simulation import Demand, Flow, simulate
from twin import Network
from twin.estimate import Estimator, Measurements
from twin.generate import generate
from twin.history import History
from twin.links import CLASS_NAMES
from twin.neighbours import neighbours
from twin.prior import free_flow_prior

Float = npt.NDArray[np.float64]

FROM_S, UNTIL_S, STEP_S = 6 * 3600.0, 11 * 3600.0, 300.0
SENSED, NOISE, DAYS = 0.2, 0.05, 4
DAY_S = 86_400.0


def day(network: Network, flows: list[Flow], seed: int) -> tuple[Float, Float, Float]:
    """Return times from 6 to 11 h, speeds (NaN without vehicles) and flows of every link, on a day of its own trips."""
    random = np.random.default_rng(seed)
    factor = random.uniform(0.85, 1.05) * np.exp(random.normal(-0.045, 0.3, len(flows)))
    varied = [
        Flow(flow.origin, flow.destination, flow.volume * float(share), flow.start_s, flow.end_s)
        for flow, share in zip(flows, factor, strict=True)
        if flow.start_s < UNTIL_S
    ]
    result = simulate(
        network, Demand.of_flows(network, varied), seed=seed, horizon_s=UNTIL_S, sample_every_s=STEP_S, threads=1
    )
    use = result.links.time > FROM_S
    return seed * DAY_S + result.links.time[use], result.links.speed[use], result.links.flow[use]


def lines(*, seed: int = 1, junctions: int = 300) -> list[str]:
    """Return errors of speed and flow on links without a sensor, by class, beside the dull alternatives."""
    tables = generate(seed=seed, junctions=junctions)
    network = Network.from_tables(tables)
    compiled = network.compile()
    n = compiled.n_links
    columns = ("volume", "start_s", "end_s")
    flows = [
        Flow(str(row["o_zone_id"]), str(row["d_zone_id"]), *(float(row[name] or 0) for name in columns))
        for row in tables["demand"]
    ]
    random = np.random.default_rng(seed)
    sensed = np.sort(random.choice(n, int(SENSED * n), replace=False))
    hidden = np.setdiff1d(np.arange(n), sensed)
    days = [day(network, flows, k) for k in range(DAYS)]
    time, speed, flow = (np.concatenate(part) for part in zip(*days[:-1], strict=True))
    noisy = [part[:, sensed] * random.normal(1, NOISE, (len(time), len(sensed))) for part in (speed, flow)]
    estimator = Estimator(compiled, prior=free_flow_prior(compiled, network.signals))
    past = [History(time, sensed, value, NOISE * value) for value in noisy]
    estimator.learn(speed=past[0], flow=past[1], seed=seed)
    road = neighbours(compiled, np.arange(n))[0].between_road[np.ix_(hidden, sensed)]
    time, speed, flow = days[-1]
    seen = {"speed": speed[:, sensed] * random.normal(1, NOISE, (len(time), len(sensed)))}
    seen["flow"] = flow[:, sensed] * random.normal(1, NOISE, (len(time), len(sensed)))
    prior = estimator.prior
    told: dict[str, dict[str, Float]] = {}
    for name, unit, expected in (
        ("speed", prior.speed, prior.speed),
        ("flow", compiled.capacity, prior.flow),
    ):
        link_class = compiled.link_class.astype(np.int64)
        others = dull(seen[name] / unit[sensed], road, link_class[sensed], link_class[hidden])
        told[name] = {"prior": np.broadcast_to(expected[hidden], (len(time), len(hidden)))}
        told[name] |= {method: values * unit[hidden] for method, values in others.items()}
    for method, learned in (("field alone", False), ("citytwin", True)):
        both = list(_ours(estimator, time, sensed, seen, learned))
        told["speed"][method] = np.array([one[0][hidden] for one in both])
        told["flow"][method] = np.array([one[1][hidden] for one in both])
    inside = {
        name: np.array([(t >= low) & (t <= high) for t, (low, high) in zip(truth, ends, strict=True)])
        for name, truth, ends in (
            ("speed", speed[:, hidden], [one[2][:, hidden] for one in both]),
            ("flow", flow[:, hidden], [one[3][:, hidden] for one in both]),
        )
    }
    return [
        f"  generated city, {n} links, {SENSED:.0%} sensed with {NOISE:.0%} noise; {DAYS - 1} days taught, one told",
        *_by_class(
            "speed, mean absolute error km/h", told["speed"], speed[:, hidden], compiled.link_class[hidden], 3.6
        ),
        f"    90 % interval: {inside['speed'][np.isfinite(speed[:, hidden])].mean():.1%} of hidden speeds",
        *_by_class(
            "flow, sum of errors / sum of flows", told["flow"], flow[:, hidden], compiled.link_class[hidden], 0.0
        ),
        f"    90 % interval: {inside['flow'].mean():.1%} of hidden flows",
    ]


def _ours(
    estimator: Estimator, time: Float, sensed: npt.NDArray[np.int64], seen: dict[str, Float], learned: bool
) -> Iterator[tuple[Float, Float, Float, Float]]:
    n = estimator.compiled.n_links
    for k, at in enumerate(time):
        columns = []
        for name, least in (("speed", 0.5), ("flow", 0.005)):
            value, deviation = np.full(n, np.nan), np.full(n, np.nan)
            value[sensed] = seen[name][k]
            deviation[sensed] = np.maximum(NOISE * seen[name][k], least)
            columns += [value, deviation]
        found = estimator.estimate(Measurements(*columns), time=float(at) if learned else None)
        yield found.speed, found.flow, found.speed_interval, found.flow_interval


def _by_class(
    title: str, told: dict[str, Float], truth: Float, link_class: npt.NDArray[np.int32], factor: float
) -> list[str]:
    """Return a line for each method: all classes, then each; without a factor errors are shares of the sum."""
    classes = np.unique(link_class).tolist()
    found = [f"    {title:<36} {'all':>10} " + " ".join(f"{CLASS_NAMES[one]:>10}" for one in classes)]
    for method, values in told.items():
        cells = []
        for some in (np.ones(len(link_class), bool), *(link_class == one for one in classes)):
            error = np.abs(values - truth)[:, some]
            scale = 1 / factor if factor else float(np.nanmean(truth[:, some]))
            cells.append(f"{float(np.nanmean(error)) / scale:10.2f}")
        found.append(f"      {method:<34} {' '.join(cells)}")
    return found
