"""Posterior mean and deviation of a field on the generated city's links: the sparse solve beside dense algebra."""

import argparse
import time

import numpy as np
import scipy.sparse as sp

from twin import Network
from twin.estimate_solve import Precision
from twin.generate import generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
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


if __name__ == "__main__":
    main()
