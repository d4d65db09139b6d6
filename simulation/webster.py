"""Webster's settings of a fixed-time signal: the cycle of least delay, and greens that load all stages alike.

Source: Webster (1958), Traffic signal settings, Road Research Technical Paper 39.
"""

import math
from collections.abc import Sequence

BUSY = 0.95  # sum of flow ratios from which on the formula's cycle is of no use: the longest allowed is


def optimum_cycle(lost_s: float, ratios: Sequence[float], *, shortest_s: float, longest_s: float) -> float:
    """Return the cycle of about least delay, (1.5 L + 5) / (1 - Y), kept between two limits (s).

    Parameters
    ----------
    lost_s
        Time L of a cycle in which no stage is green.
    ratios
        Flow ratio y of each stage: the largest flow / saturation flow of its lane groups; Y is their sum.

    Examples
    --------
    >>> optimum_cycle(10, [0.3, 0.3], shortest_s=30, longest_s=120)
    50.0
    """
    total = math.fsum(ratios)
    cycle = longest_s if total >= BUSY else (1.5 * lost_s + 5.0) / (1.0 - total)
    return min(longest_s, max(shortest_s, cycle))


def equal_saturation(green_s: float, ratios: Sequence[float], *, least_s: float) -> list[float]:
    """Return the green of each stage: in proportion to the flow ratios, none below ``least_s``, ``green_s`` in all.

    Examples
    --------
    >>> equal_saturation(40, [0.3, 0.1], least_s=5), equal_saturation(40, [0.4, 0.01], least_s=5)
    ([30.0, 10.0], [35.0, 5.0])
    """
    n = len(ratios)
    least_s = float(min(least_s, green_s / n))
    greens, free = [least_s] * n, set(range(n))
    while free:
        total = math.fsum(ratios[k] for k in free)
        rest = green_s - least_s * (n - len(free))
        wish = {k: rest * ratios[k] / total if total > 0 else rest / len(free) for k in free}
        short = {k for k, green in wish.items() if green < least_s}
        if not short:
            for k, green in wish.items():
                greens[k] = green
            break
        free -= short
    return greens
