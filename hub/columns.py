"""Whole columns under three-valued logic: what comparisons, neighbours and unknown values mean in a rule."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Kind = Literal["number", "truth", "text", "each"]  # "each": any or all of the neighbours' numbers, to be compared
Number = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Offsets = npt.NDArray[np.intp]


class Truth(NamedTuple):
    """Where a condition is known to hold and where it is known not to; elsewhere it is unknown."""

    true: Mask
    false: Mask

    @property
    def unknown(self) -> Mask:
        """Where it is neither."""
        return np.asarray(~(self.true | self.false))


class Adjacent(NamedTuple):
    """Neighbours of each row: those of row i are ``row[start[i]:start[i + 1]]``."""

    start: Offsets
    row: Offsets


class Each(NamedTuple):
    """A number of each neighbour, before any or all of them are compared with something of the row's own."""

    how: str
    number: Number
    adjacent: Adjacent


class Table(Protocol):
    """Rows that an expression is evaluated on."""

    cache: dict[str, Any]

    def column(self, name: str) -> Any:
        """Return a column: floats with NaN for unknown, `Truth`, or an array of text."""

    def age(self, name: str) -> Number:
        """Return the age of a column's values, s."""

    def adjacent(self, direction: str) -> Adjacent:
        """Return the neighbours in a direction."""


OF_TRUTH = ("any", "all", "count")
OF_NUMBER = ("mean", "max", "min", "sum")


def divide(left: Number, right: Number) -> Number:
    """Return the quotient; what is divided by 0 is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.divide(left, right)
    return np.where(np.isfinite(quotient), quotient, np.nan)  # x / 0 is not known


def equal(left: Number, right: Number) -> Truth:
    """Return where two numbers are equal; unknown where one of them is."""
    known = ~(np.isnan(left) | np.isnan(right))
    same = np.equal(left, right)
    return Truth(np.asarray(same & known), np.asarray(~same & known))


def _segments(operation: np.ufunc, values: Any, start: Offsets, empty: Any) -> Any:
    """Reduce each segment of values; an empty one gives ``empty``."""
    filled = np.diff(start) > 0
    result = np.full(len(start) - 1, empty)
    if filled.any():
        result[filled] = operation.reduceat(values, start[:-1][filled])
    return result


def over_truth(how: str, truth: Truth, start: Offsets) -> Any:
    """Reduce a condition on each row's neighbours: any, all, or the count of those where it is known to hold."""
    true, false = truth
    if how == "any":
        return Truth(_segments(np.logical_or, true, start, False), _segments(np.logical_and, false, start, True))
    if how == "all":
        return Truth(_segments(np.logical_and, true, start, True), _segments(np.logical_or, false, start, False))
    return _segments(np.add, true.astype(np.float64), start, 0.0)


def compare_each(compare: Callable[[Any, Any], Truth], left: Any, right: Any) -> Truth:
    """Compare any or all of the neighbours' numbers with the row's own."""
    each: Each = left if isinstance(left, Each) else right
    start, row = each.adjacent

    def spread(side: Any) -> Number:
        if isinstance(side, Each):
            return side.number[row]
        return np.repeat(np.broadcast_to(side, len(start) - 1), np.diff(start))

    truth: Truth = over_truth(each.how, compare(spread(left), spread(right)), start)
    return truth


def over_number(how: str, number: Number, adjacent: Adjacent) -> Number:
    """Reduce what is known of the neighbours; without anything known the result is unknown."""
    start, row = adjacent
    value = number[row]
    known = ~np.isnan(value)
    count = _segments(np.add, known.astype(np.float64), start, 0.0)
    if how in ("max", "min"):
        operation, neutral = (np.maximum, -np.inf) if how == "max" else (np.minimum, np.inf)
        result = _segments(operation, np.where(known, value, neutral), start, neutral)
    else:
        result = _segments(np.add, np.where(known, value, 0.0), start, 0.0)
        if how == "mean":
            result = result / np.maximum(count, 1.0)
    return np.where(count > 0, result, np.nan)


def equal_text(left: Any, right: Any) -> Truth:
    """Return where two texts are equal."""
    same = np.asarray(np.equal(np.asarray(left, object), np.asarray(right, object)), np.bool_)
    return Truth(same, ~same)
