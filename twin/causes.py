"""What may have failed when several assets are dark at once: common causes, ranked by likelihood."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sensors import InputError
from twin.asset_arrays import Bool, Float

if TYPE_CHECKING:
    from twin.assets import AssetGraph

# How often an asset fails in a year, by its kind. Assumed orders of magnitude, where the caller knows no better: what
# is guarded fails less than what stands in the street or under its wheels. Only the ratios count.
FAILURES_PER_YEAR = {
    "supply": 0.05, "substation": 0.05, "transformer": 0.05, "bridge": 0.05, "feeder": 0.2, "cabinet": 0.1,
    "switch": 0.2, "gateway": 0.3, "controller": 0.3, "camera": 0.3, "lamp": 0.3, "signal": 0.5, "detector": 0.5,
}  # fmt: skip
OF_OTHER_KINDS = 0.3
# Assumed: how long ago failures may lie that are seen at once, and how often an asset that must be dark seems to work
# (a battery that the table does not know, a generator, a wrong row).
WINDOW_H = 1.0
ODD = 0.02
HOURS_PER_YEAR = 8766.0
LEAST_CHANCE = 1e-300


@dataclass(frozen=True)
class Cause:
    """An asset whose failure alone may be why others are dark.

    Parameters
    ----------
    asset_id
        What may have failed; ``""`` for "each of them by itself".
    likelihood
        Share of this explanation among all of the list, 0 to 1.
    failures_per_year
        How often the asset is taken to fail; 0 for "each of them by itself".
    """

    asset_id: str
    likelihood: float
    failures_per_year: float
    _graph: "AssetGraph" = field(repr=False, compare=False)
    _dark: Bool = field(repr=False, compare=False)
    _works: Bool = field(repr=False, compare=False)

    @cached_property
    def _falls(self) -> Bool:
        """Which assets go dark or unheard with it, ever, (n_assets,)."""
        return self._fallen(at_once=False)

    def _fallen(self, *, at_once: bool) -> Bool:
        arrays = self._graph.arrays
        falls = np.zeros(arrays.n, np.bool_)
        if self.asset_id:
            (states,) = arrays.fallen(np.array([self._graph.position[self.asset_id]]), at_once=at_once)
            falls[states[states >= arrays.n] - arrays.n] = True  # who does not work is not heard
        return falls

    @cached_property
    def explains(self) -> tuple[str, ...]:
        """Which of the dark assets go dark with it."""
        return self._graph.named(np.flatnonzero(self._falls & self._dark))

    @cached_property
    def unexplained(self) -> tuple[str, ...]:
        """Which of them must then have failed by themselves."""
        return self._graph.named(np.flatnonzero(self._dark & ~self._falls))

    @cached_property
    def contradicted_by(self) -> tuple[str, ...]:
        """Assets that are said to work, and would be dark at once."""
        return self._graph.named(np.flatnonzero(self._fallen(at_once=True) & self._works))

    @cached_property
    def also(self) -> int:
        """How many other assets go dark or unheard with it, of which nothing is said."""
        others = self._falls & ~self._dark & ~self._works
        return int(np.count_nonzero(others)) - int(bool(self.asset_id) and others[self._graph.position[self.asset_id]])

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
        told = ("asset_id", "likelihood", "failures_per_year", "explains", "unexplained", "contradicted_by", "also",
                "reason")  # fmt: skip
        return {name: getattr(self, name) for name in told}


def common_causes(
    graph: "AssetGraph",
    dark: Collection[str],
    *,
    working: Collection[str] = (),
    watched: Collection[str] | None = None,
    failures_per_year: Mapping[str, float] | None = None,
    at_most: int = 10,
) -> list[Cause]:
    """Return what may have failed, the most likely first.

    An explanation is one failure, and failures of their own of the dark assets that it does not darken. Its likelihood
    is the product of

    - how often these fail within an hour,
    - 0.02 for each asset that works though it would be dark at once; one behind a battery says nothing,
    - (k / n) ** k, where k assets are said to be dark of the n watched ones that would be at once: who is named is
      taken as a sample of what is dark, so that of two causes that explain as much the smaller one counts more.

    Dark is what does not work or is not heard. What explains nothing beside itself is "each of them by itself". What is
    less likely than the first by sixteen digits is left out.

    Parameters
    ----------
    graph
        Assets and dependencies.
    dark
        Ids of assets that do not work or are not heard.
    working
        Ids of assets that are known to work, and to be heard.
    watched
        Ids of assets of which it would be known if they were dark; all unless given.
    failures_per_year
        How often an asset fails, by its kind; `FAILURES_PER_YEAR` for kinds that are not named.
    at_most
        How many explanations are returned.

    Raises
    ------
    InputError
        When no asset has an id, or a rate is not positive.

    Notes
    -----
    Sources: a single cause with independent rest is the leading term of noisy-or diagnosis, Pearl (1988), Probabilistic
    reasoning in intelligent systems, chapter 4; the size principle, Tenenbaum and Griffiths (2001), Generalization,
    similarity, and Bayesian inference, doi:10.1017/S0140525X01000061.
    """
    known, works, seen = _masks(graph, dark, working, watched)
    n_dark = int(np.count_nonzero(known))
    if not n_dark:
        return []
    rate = _rates(graph, failures_per_year or {})
    rarity = np.log(np.clip(rate * WINDOW_H / HOURS_PER_YEAR, LEAST_CHANCE, 0.5))
    from twin.asset_falls import NOTHING, explained_by, weigh

    arrays = graph.arrays
    within = arrays.above(known)
    maybe = np.flatnonzero(within[: arrays.n])
    explained, saved = explained_by(maybe, known, within, rarity, arrays.columns)
    every = float(rarity[known].sum())
    bound = rarity[maybe] + every - saved
    itself = known[maybe] & (explained == 1) & (n_dark > 1)
    some = np.flatnonzero((explained > 0) & ~itself)
    some = some[np.lexsort((maybe[some], -bound[some]))]
    asset, rival = maybe[some], every if n_dark > 1 else -math.inf
    score = weigh(asset, bound[some], rival, known, works, seen, math.log(ODD), arrays.columns)
    if n_dark > 1:
        asset, score = np.append(asset, -1), np.append(score, every)
    some = np.flatnonzero(score >= score.max(initial=-np.inf) - NOTHING)
    asset, score = asset[some], score[some]
    share = np.exp(score - score.max(initial=-np.inf))
    share /= share.sum()
    first = np.lexsort((asset, -score))[:at_most]
    return [
        Cause(
            asset_id=graph.names[i] if i >= 0 else "",
            likelihood=float(share[k]),
            failures_per_year=float(rate[i]) if i >= 0 else 0.0,
            _graph=graph,
            _dark=known,
            _works=works,
        )
        for k, i in zip(first.tolist(), asset[first].tolist(), strict=True)
    ]


def _masks(
    graph: "AssetGraph", dark: Collection[str], working: Collection[str], watched: Collection[str] | None
) -> tuple[Bool, Bool, Bool]:
    """Return which assets are dark, which work, and of which it would be known if they were dark."""
    names = (dark, working, () if watched is None else watched)
    try:
        known, works, seen = (_mask(graph, some) for some in names)
    except KeyError:
        wrong = [name for some in names for name in some if name not in graph.position]
        raise InputError([f"asset {name!r} is not in asset.csv" for name in wrong]) from None
    return known, works & ~known, np.ones(len(graph), np.bool_) if watched is None else seen


def _mask(graph: "AssetGraph", names: Collection[str]) -> Bool:
    """Return which assets are named; KeyError when one is none."""
    position, n = graph.position, len(graph)
    if 2 * len(names) > n:  # of all but a few the few are found in half the time
        left = graph.ids.difference(names)
        if n - len(left) == len(names):  # each once, and none unknown
            return ~_mask(graph, left)
    mask = np.zeros(n, np.bool_)
    mask[np.fromiter(map(position.__getitem__, names), np.int64, len(names))] = True
    return mask


def _rates(graph: "AssetGraph", given: Mapping[str, float]) -> Float:
    """Return how often each asset fails, 1/year."""
    faults = [f"failures of a {kind} a year are {rate}, must be > 0" for kind, rate in given.items() if not rate > 0]
    if faults:
        raise InputError(faults)
    kinds, at = graph.kind_numbers
    rates = {**FAILURES_PER_YEAR, **given}
    return np.array([rates.get(kind, OF_OTHER_KINDS) for kind in kinds], np.float64)[at]
