"""Counter-based random numbers: draws depend on seed and trip alone, so that baseline and scenario share them."""

import numpy as np
import numpy.typing as npt
from numba import njit

_STEP = 0x9E3779B97F4A7C15


@njit(cache=True)
def _mix(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True)
def _draw(key: np.uint64, counter: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    numbers, key = np.empty(len(counter)), _mix(key)
    for k in range(len(counter)):
        mixed = _mix(_mix(np.uint64(counter[k]) * np.uint64(_STEP) + key))
        numbers[k] = np.float64(mixed >> np.uint64(11)) * 2.0**-53
    return numbers


def uniform(seed: int, stream: int, counter: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1), one for each counter.

    Parameters
    ----------
    stream
        Tells the uses of chance apart.
    counter : (n,)
        What the draw belongs to: the number of a trip.

    Notes
    -----
    Source: Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators, OOPSLA: SplitMix64.

    Examples
    --------
    >>> bool((uniform(1, 0, np.arange(5)) == uniform(1, 0, np.arange(9))[:5]).all())
    True
    """
    key = np.uint64((seed + _STEP * (stream + 1)) % 2**64)
    return _draw(key, np.ascontiguousarray(counter, np.int64))
