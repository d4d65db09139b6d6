"""Where nine in ten of the true values lie, and what no street can show."""

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

# Half of the 90 % interval of a normal distribution, in deviations.
NINE_TENTHS = 1.645


def normal_interval(mean: Float, deviation: Float) -> Float:
    """Return the ends (2, n) of the 90 % interval of a normal distribution that knows no negative values.

    Parameters
    ----------
    mean, deviation : (n,) any unit

    Examples
    --------
    >>> normal_interval(np.array([10.0, 1.0]), np.array([1.0, 1.0])).round(1).tolist()
    [[8.4, 0.0], [11.6, 2.6]]
    """
    half = NINE_TENTHS * deviation
    return np.stack((np.maximum(mean - half, 0.0), mean + half))


def within(interval: Float, mean: Float, top: Float) -> Float:
    """Return the interval cut at nought and at what is physical, and holding the mean all the same.

    Parameters
    ----------
    interval : (2, n)
        Low and high ends.
    mean, top : (n,)
        What the interval is about, and the most that can be there.

    Examples
    --------
    >>> within(np.array([[-1.0, 9.0], [4.0, 20.0]]), np.array([3.0, 10.0]), np.array([8.0, 12.0])).tolist()
    [[0.0, 9.0], [4.0, 12.0]]
    """
    low = np.minimum(np.clip(interval[0], 0.0, top), mean)
    return np.stack((low, np.maximum(np.minimum(interval[1], top), mean)))
