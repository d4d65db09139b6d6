"""What may have failed when several assets are dark at once: common causes, ranked by likelihood."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sensors import InputError
from twin.asset_arrays import Int

if TYPE_CHECKING:
    from twin.assets import AssetGraph

# Assumed, where the caller knows no better; only the ratio to the other explanations counts.
FAILURES_PER_YEAR = 0.5
# Assumed: how long ago failures may lie that are seen at once, and how often an asset that must be dark seems to work
# (a battery that the table does not know, a generator, a wrong row).
WINDOW_H = 1.0
ODD = 0.02
HOURS_PER_YEAR = 8766.0


@dataclass(frozen=True)
class Cause:
    """An asset whose failure alone may be why others are dark.

    Parameters
    ----------
    asset_id
        What may have failed; ``""`` for "each of them by itself".
    likelihood
        Share of this explanation among all of the list, 0 to 1.
    explains
        Which of the dark assets go dark with it.
    unexplained
        Which of them must then have failed by themselves.
    contradicted_by
        Assets that are said to work, and would be dark at once.
    also
        How many other assets go dark or unheard with it, of which nothing is said.
    """

    asset_id: str
    likelihood: float
    explains: tuple[str, ...]
    unexplained: tuple[str, ...]
    contradicted_by: tuple[str, ...]
    also: int
    _graph: "AssetGraph" = field(repr=False, compare=False)

    @cached_property
    def reason(self) -> dict[str, str]:
        """One sentence an explained asset: how it hangs on the cause."""
        if not self.asset_id:
            return {}
        outage = self._graph.outage({self.asset_id: 0.0})
        explained = [name for name in self.explains if name != self.asset_id]
        return {name: outage.because(name) or outage.because(name, heard=True) for name in explained}

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as commands and API show it."""
        told = ("asset_id", "likelihood", "explains", "unexplained", "contradicted_by", "also", "reason")
        return {name: getattr(self, name) for name in told}


def common_causes(
    graph: "AssetGraph",
    dark: Collection[str],
    *,
    working: Collection[str] = (),
    failures_per_year: Mapping[str, float] | None = None,
    at_most: int = 10,
) -> list[Cause]:
    """Return what may have failed, the most likely first.

    An explanation is one failure, and failures of their own of the dark assets that it does not darken. Its likelihood
    is the product of how often these fail within an hour, and of 0.02 for each asset that works though it would be dark
    at once; one behind a battery says nothing. Dark is what does not work or is not heard.

    Parameters
    ----------
    graph
        Assets and dependencies.
    dark
        Ids of assets that do not work or are not heard.
    working
        Ids of assets that are known to work, and to be heard.
    failures_per_year
        How often an asset fails, by its kind; 0.5 for kinds that are not named.
    at_most
        How many explanations are returned.

    Raises
    ------
    InputError
        When no asset has an id.

    Notes
    -----
    A single cause with independent rest, the leading term of noisy-or diagnosis: Pearl (1988), Probabilistic reasoning
    in intelligent systems, chapter 4.
    """
    arrays, names = graph.arrays, graph.names
    position = graph.position
    works, known = np.zeros(arrays.n, np.bool_), np.zeros(arrays.n, np.bool_)
    try:
        works[[*map(position.__getitem__, working)]] = True
        known[[*map(position.__getitem__, dark)]] = True
    except KeyError:
        wrong_ids = [name for name in (*dark, *working) if name not in position]
        raise InputError([f"asset {name!r} is not in asset.csv" for name in wrong_ids]) from None
    works &= ~known
    seen = set(np.flatnonzero(known).tolist())
    if not seen:
        return []
    rates = failures_per_year or {}

    def chance(i: int) -> float:
        return min(rates.get(graph.kinds[i], FAILURES_PER_YEAR) * WINDOW_H / HOURS_PER_YEAR, 0.5)

    def alone(assets: Collection[int]) -> float:
        return sum(math.log(max(chance(i), 1e-300)) for i in assets)

    found: list[tuple[float, int, frozenset[int], frozenset[int], int]] = []
    maybe = candidates(graph, np.flatnonzero(known))
    both = zip(maybe.tolist(), arrays.fallen(maybe), arrays.fallen(maybe, at_once=True), strict=True)
    for i, eventually, at_once in both:
        falls = eventually[eventually >= arrays.n] - arrays.n  # who does not work is not heard
        explained = frozenset(falls[known[falls]].tolist())
        if explained == {i} and len(seen) > 1:
            continue  # explains itself alone: that is "each by itself"
        fast = at_once[at_once >= arrays.n] - arrays.n
        wrong = frozenset(fast[works[fast]].tolist())
        score = alone({i}) + alone(seen - explained - {i}) + math.log(ODD) * len(wrong)
        found.append((score, i, explained, wrong, len(falls) - len(explained | {i})))
    if len(seen) > 1:
        found.append((alone(seen), -1, frozenset(), frozenset(), 0))
    found.sort(key=lambda entry: (-entry[0], entry[4], entry[1]))
    scores = np.array([entry[0] for entry in found])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    return [
        Cause(
            asset_id=names[i] if i >= 0 else "",
            likelihood=float(share),
            explains=tuple(names[k] for k in sorted(explained)),
            unexplained=tuple(names[k] for k in sorted(seen - explained)),
            contradicted_by=tuple(names[k] for k in sorted(wrong)),
            also=also,
            _graph=graph,
        )
        for (_, i, explained, wrong, also), share in zip(found[:at_most], shares, strict=False)
    ]


def candidates(graph: "AssetGraph", dark: Int) -> Int:
    """Return the assets that each of some dark ones is, or needs directly or not; those that many need first."""
    reached = np.zeros(graph.arrays.n, np.int64)
    for i in dark.tolist():
        reached[graph.needed(i)] += 1
        reached[i] += 1
    order = np.argsort(-reached, kind="stable")
    return np.asarray(order[: np.count_nonzero(reached)], np.int64)
