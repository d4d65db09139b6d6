"""How drivers choose among routes."""

import numpy as np

from twin.compiled import Float, Int


def logit_shares(cost: Float, theta: float) -> Float:
    """Return the share of each route: ``exp(-theta c) / sum of exp(-theta c)``.

    Parameters
    ----------
    cost : (n, k) s
        Of the routes of each pair, infinite where there is none.
    theta : 1/s
        0: all are equal; the larger, the more take the cheapest.

    Returns
    -------
    (n, k)
        Rows sum to 1, or are 0 without any route.

    Notes
    -----
    Source: Dial (1971), A probabilistic multipath traffic assignment model which obviates path enumeration,
    Transportation Research 5(2); McFadden (1974), Conditional logit analysis of qualitative choice behavior.

    Examples
    --------
    >>> logit_shares(np.array([[60.0, 60.0, np.inf]]), 0.01).tolist()
    [[0.5, 0.5, 0.0]]
    """
    there = np.isfinite(cost)
    least = np.min(cost, axis=1, keepdims=True, initial=np.inf)
    beyond = np.where(there, cost, 0.0) - np.where(np.isfinite(least), least, 0.0)
    weight = np.where(there, np.exp(-theta * np.where(there, beyond, 0.0)), 0.0)
    whole = weight.sum(axis=1, keepdims=True)
    shares: Float = np.divide(weight, whole, out=np.zeros_like(weight), where=whole > 0)
    return shares


def choose(shares: Float, draw: Float) -> Int:
    """Return the number of the route that each driver takes.

    Parameters
    ----------
    shares : (n, k)
        Of the routes open to each driver.
    draw : (n,)
        In [0, 1): with equal draws a driver changes the route only when the shares do.

    Examples
    --------
    >>> choose(np.array([[0.25, 0.75], [0.25, 0.75]]), np.array([0.2, 0.3])).tolist()
    [0, 1]
    """
    below = np.cumsum(shares, axis=1) <= draw[:, None]
    last = shares.shape[1] - 1 - np.argmax(shares[:, ::-1] > 0, axis=1)  # rounding may leave the sum below 1
    chosen: Int = np.minimum(below.sum(axis=1), last).astype(np.int32)
    return chosen
