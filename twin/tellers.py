"""How the middle and the spread of a hidden link are told from its surroundings: by boosted trees, or plainly.

Without scikit-learn (extra ``learn``) kriging and the nearest links stand alone, and the spread is how much the
neighbours differ.

Notes
-----
Source: Friedman (2001), Greedy function approximation: a gradient boosting machine, doi:10.1214/aos/1013203451; the
middle is a median: what makes the mean absolute error least.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from twin.surroundings import base, plain_spread

Float = npt.NDArray[np.float64]

# Chosen on sensed links of Los Angeles and Aarhus, each fifth hidden from the trees that told it.
TREES: dict[str, Any] = {
    "max_iter": 120,
    "learning_rate": 0.06,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 200,
    "l2_regularization": 10.0,
    "early_stopping": False,
}

# Tells from what `surroundings` gives, and what the map says beside it: (rows, columns) -> (rows,).
Teller = Callable[[Float], Float]


# How much of what the neighbours say is believed, at most all of it.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def _lean(features: Float, truth: Float) -> Teller:
    """Return the middle before any tree: as much of `base` as helps, and a level; where nothing helps, the level."""
    said = base(features)
    tried = [(share, float(np.median(truth - share * said))) for share in SHARES]
    share, level = min(tried, key=lambda one: float(np.abs(truth - one[0] * said - one[1]).mean()))
    return lambda rows: np.asarray(level + share * base(rows), np.float64)


class Plain:
    """Kriging and the nearest links alone."""

    def middle(self, features: Float, truth: Float) -> Teller:
        """Return what tells the median of ``truth``, (rows,)."""
        return _lean(features, truth)

    def spread(self, features: Float, off: Float) -> Teller:
        """Return what tells the mean size of ``off``, (rows,): truth less what was told of it."""
        return plain_spread


class Boosted:
    """Boosted trees on top of them.

    On one thread: this happens beside a live twin, and threads that wait for each other on a busy machine take ten
    times as long.
    """

    def __init__(self, regressor: Any, threads: Any, seed: int) -> None:
        self._regressor, self._threads, self._seed = regressor, threads, seed

    def middle(self, features: Float, truth: Float) -> Teller:
        """Return what tells the median of ``truth``, (rows,)."""
        model = self._regressor(loss="absolute_error", random_state=self._seed, **TREES)
        lean = _lean(features, truth)
        self._fit(model, features, truth - lean(features))
        return lambda rows: np.asarray(lean(rows) + self._told(model, rows), np.float64)

    def spread(self, features: Float, off: Float) -> Teller:
        """Return what tells the mean size of ``off``, (rows,): truth less what was told of it."""
        least = 0.05 * float(np.mean(np.abs(off))) + 1e-9
        model = self._regressor(loss="squared_error", random_state=self._seed, **TREES)
        self._fit(model, features, np.abs(off))
        return lambda rows: np.maximum(self._told(model, rows), least)

    def _fit(self, model: Any, features: Float, wanted: Float) -> None:
        with self._threads.limit(limits=1, user_api="openmp"):
            model.fit(features, wanted)

    def _told(self, model: Any, rows: Float) -> Float:
        with self._threads.limit(limits=1, user_api="openmp"):
            return np.asarray(model.predict(rows), np.float64)


def tellers(seed: int) -> Plain | Boosted:
    """Return what fits tellers: boosted trees where scikit-learn is installed."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import ThreadpoolController  # comes with it
    except ImportError:
        return Plain()
    return Boosted(HistGradientBoostingRegressor, ThreadpoolController(), seed)
