"""Posterior mean and deviation of a field on the generated city's links: the sparse solve beside dense algebra."""

import argparse
import time
from pathlib import Path

import numpy as np
import psutil
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from twin import Network
from twin.estimate import Estimator, Measurements
from twin.estimate_solve import Precision
from twin.generate import generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--network", type=Path, metavar="DIR", help="a network folder: both fields beside scipy's splu")
    args = parser.parse_args()
    if args.network is not None:
        _real(Network.read(args.network), args.repeats)
        return
    compiled = Network.from_tables(generate(seed=1)).compile()
    n = compiled.n_links
    link = np.repeat(np.arange(n), np.diff(compiled.movement_start))
    joined = sp.coo_array((np.ones(len(link)), (link, compiled.movement_out)), shape=(n, n))
    weight = sp.csc_array(joined + joined.T)
    weight.setdiag(0.0)
    matrix = sp.csc_array(sp.diags_array(weight.sum(axis=0) + 0.1) - weight)
    random = np.random.default_rng(1)
    added = np.where(random.random(n) < 0.3, 4.0, 0.0)  # three in ten links are measured
    information = added * random.normal(size=n)

    precision = Precision(matrix)
    precision.posterior(added, information)  # compiles, or loads what was compiled
    begin = time.perf_counter()
    for _ in range(args.repeats):
        mean, variance = precision.posterior(added, information)
    sparse = (time.perf_counter() - begin) / args.repeats

    full = matrix.toarray()
    begin = time.perf_counter()
    inverse = np.linalg.inv(full + np.diag(added))
    dense = time.perf_counter() - begin
    # Both are exact: what is left is rounding, times a condition number of some hundreds.
    assert np.allclose(inverse @ information, mean, rtol=1e-8, atol=1e-10)
    assert np.allclose(np.diagonal(inverse), variance, rtol=1e-8)
    print(
        f"estimate: {dense / sparse:.0f} x numpy's inverse ({n} links, {1e3 * sparse:.2f} ms and {1e3 * dense:.0f} ms)"
    )


def _real(network: Network, repeats: int) -> None:
    """Print what an update of speed and flow with all deviations takes, beside SuperLU, which gives the mean alone."""
    compiled = network.compile()
    n = compiled.n_links
    before = psutil.Process().memory_info().rss
    estimator = Estimator(compiled)
    random = np.random.default_rng(1)
    measured = random.random(n) < 0.1
    speed = np.where(measured, compiled.free_speed * random.uniform(0.3, 1.0, n), np.nan)
    flow = np.where(measured, compiled.capacity * random.uniform(0.1, 0.8, n), np.nan)
    measurements = Measurements(speed, 0.1 * speed + 0.3, flow, 0.1 * flow + 0.005)
    estimator.estimate(measurements)
    begin = time.process_time()
    for _ in range(repeats):
        estimator.estimate(measurements)
    ours = (time.process_time() - begin) / repeats
    grown = psutil.Process().memory_info().rss - before

    precision, n_levels, _ = estimator.field
    added = np.concatenate((np.where(measured, 4.0, 0.0), np.zeros(n_levels)))
    information = added * random.normal(size=n + n_levels)
    mean, _ = precision.posterior(added, information)
    matrix = sp.csc_matrix(precision.matrix + sp.diags_array(added))
    begin = time.process_time()
    for _ in range(2):  # two fields
        other = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve(
            information
        )
    theirs = time.process_time() - begin
    assert np.allclose(mean, other, rtol=1e-6, atol=1e-8)
    print(
        f"estimate: an update of {n} links with all deviations takes {ours:.3f} s of CPU; "
        f"scipy's splu {theirs:.3f} s for the means alone ({theirs / ours:.1f} x); "
        f"it holds {grown / 1e6:.0f} MB, {grown / n:.0f} bytes a link"
    )


if __name__ == "__main__":
    main()
