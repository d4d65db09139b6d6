"""What the neighbours of each link say now: the columns that history teaches to read."""

import numpy as np
import numpy.typing as npt

from twin.kriging import View

Float = npt.NDArray[np.float64]

NEAR_M = 200.0  # added to distances, so that a sensor next door is not everything
# Columns of `surroundings`.
KRIGED, NEAREST_FIVE, SPREAD_OF_TEN = 0, 2, 7


def surroundings(value: Float, usual: Float, view: View) -> Float:
    """Return what the neighbours of each link say now, (n, 18).

    Kriged value and kriged usual value; mean of the nearest 5, weighted by distance; means and spreads of the nearest 3
    and 10, spread of the nearest 5, least and most of the nearest 4, the nearest three and how unusual each is, the
    nearest two by air, median of all. NaN where there is none, except in the first three.

    Parameters
    ----------
    value, usual : (s,)
        Of the sensed links; NaN where nothing is known.
    view
        Is made to look at what reports now.
    """
    view.look(np.isfinite(value))
    median = float(np.nanmedian(value))
    near = np.where(view.there, value[view.index], np.nan)
    filled = np.where(view.there, near, 0.0)
    some = view.there[:, 0]
    closeness = np.where(view.there, 1 / (np.where(view.there, view.road, 0.0) + NEAR_M), 0.0)
    means, spreads = {}, {}
    for k in (3, 5, 10):
        weight = closeness[:, :k] / np.maximum(closeness[:, :k].sum(axis=1, keepdims=True), 1e-12)
        means[k] = (weight * filled[:, :k]).sum(axis=1)
        spreads[k] = np.sqrt((weight * (filled[:, :k] - means[k][:, None]) ** 2).sum(axis=1))
    first = [near[:, k] if k < near.shape[1] else np.full(len(near), np.nan) for k in range(3)]
    unusual = [column - usual[view.index[:, k]] if k < near.shape[1] else column for k, column in enumerate(first)]
    air = [
        np.where(view.beside_there[:, k], value[view.beside[:, k]], np.nan) if k < view.beside.shape[1] else first[2]
        for k in range(2)
    ]
    columns = (
        np.where(some, (view.weight * filled).sum(axis=1), median),
        np.where(some, (view.weight * usual[view.index]).sum(axis=1), median),
        np.where(some, means[5], median),
        np.where(some, means[3], np.nan),
        np.where(some, means[10], np.nan),
        *(np.where(some, spreads[k], np.nan) for k in (3, 5, 10)),
        np.where(some, np.min(np.where(view.there, near, np.inf)[:, :4], axis=1), np.nan),
        np.where(some, np.max(np.where(view.there, near, -np.inf)[:, :4], axis=1), np.nan),
        *first,
        *unusual,
        *air,
        np.full(len(near), median),
    )
    return np.column_stack(columns)


def base(features: Float) -> Float:
    """Return the middle before any tree: half kriging, half the nearest five."""
    return np.asarray((features[:, KRIGED] + features[:, NEAREST_FIVE]) / 2, np.float64)


def plain_spread(features: Float) -> Float:
    """Return how much the nearest ten differ, and never less than a twentieth of the middle."""
    return np.asarray(
        np.nan_to_num(features[:, SPREAD_OF_TEN], nan=1.0) + 0.05 * np.abs(base(features)) + 1e-9, np.float64
    )
