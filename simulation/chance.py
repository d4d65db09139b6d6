"""Counter-based random numbers: draws depend on seed and trip alone, so that baseline and scenario share them."""

import numpy as np
import numpy.typing as npt

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX[0]
    x = (x ^ (x >> np.uint64(27))) * _MIX[1]
    return x ^ (x >> np.uint64(31))


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
    key = _mix(np.array([(seed + int(_STEP) * (stream + 1)) % 2**64], np.uint64))
    mixed = _mix(_mix(counter.astype(np.uint64) * _STEP + key))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
