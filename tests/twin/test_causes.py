"""Common causes: against every explanation weighed by hand, and what an operator would say first."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors import InputError
from tests.twin.test_outage import SMALL, graphs
from twin.assets import Asset, AssetGraph, Dependency
from twin.causes import FAILURES_PER_YEAR, HOURS_PER_YEAR, ODD, common_causes


def weighed(
    graph: AssetGraph, dark: set[str], works: set[str], watched: set[str]
) -> dict[str, tuple[float, set[str], set[str]]]:
    """Return each explanation's logarithm, what it explains and what contradicts it, from outages one by one."""

    def rarity(names: set[str]) -> float:
        return sum(math.log(FAILURES_PER_YEAR[graph.assets[name].kind] / HOURS_PER_YEAR) for name in names)

    found = {"": (rarity(dark), set[str](), set[str]())} if len(dark) > 1 else {}
    for name in graph.assets:
        outage = graph.outage({name: 0.0})
        ever, at_once = set(outage.unheard()), set(outage.unheard(at=0.0))
        explained, wrong = ever & dark, at_once & works
        if not explained or (explained == {name} and len(dark) > 1):
            continue
        untold = len(at_once & watched - dark - works)
        sample = len(dark) * math.log(len(dark) / (len(dark) + untold))
        found[name] = (rarity({name} | dark - ever) + math.log(ODD) * len(wrong) + sample, explained, wrong)
    return found


@SMALL
@given(graphs(cyclic=True), st.data())
def test_causes_are_ranked_as_every_explanation_weighed_one_by_one(graph: AssetGraph, data: st.DataObject) -> None:
    some = st.sets(st.sampled_from(sorted(graph.assets)))
    dark, works, watched = data.draw(some), data.draw(some), data.draw(some | st.just(set(graph.assets)))
    causes = common_causes(graph, sorted(dark), working=sorted(works), watched=watched, at_most=50)
    wanted = weighed(graph, dark, works - dark, watched)
    total = sum(math.exp(score) for score, _, _ in wanted.values())
    for cause in causes:
        score, explained, wrong = wanted[cause.asset_id]
        assert cause.likelihood == pytest.approx(math.exp(score) / total, rel=1e-9)
        assert (set(cause.explains), set(cause.contradicted_by)) == (explained, wrong)
        assert set(cause.unexplained) == dark - explained
        if cause.asset_id:
            ever = set(graph.outage({cause.asset_id: 0.0}).unheard())
            assert cause.also == len(ever - dark - works - {cause.asset_id})
    # Nothing that counts is missing, and the order is that of the likelihood.
    assert sum(cause.likelihood for cause in causes) == pytest.approx(float(bool(wanted)))
    assert all(a.likelihood >= b.likelihood for a, b in itertools.pairwise(causes))
    assert [c.asset_id for c in common_causes(graph, dark, working=works, watched=watched, at_most=2)] == [
        cause.asset_id for cause in causes[:2]
    ]


def junction() -> AssetGraph:
    """A feeder over ten cabinets, each with a controller and its signal."""
    kinds = {"F": "feeder"}
    needs = []
    for k in range(10):
        kinds |= {f"K{k}": "cabinet", f"C{k}": "controller", f"S{k}": "signal"}
        needs += [Dependency(f"K{k}", "F"), Dependency(f"C{k}", f"K{k}"), Dependency(f"S{k}", f"C{k}", "control")]
    return AssetGraph({name: Asset(name, kind) for name, kind in kinds.items()}, tuple(needs))


def test_of_one_dark_signal_its_own_failure_comes_first_and_the_feeder_of_all_last() -> None:
    causes = junction().common_cause(["S3"])
    assert [cause.asset_id for cause in causes] == ["S3", "C3", "K3", "F"]
    # Rates 0.5, 0.3, 0.1 and 0.2 a year, each shared by the assets that would be dark with it.
    weights = [0.5, 0.3 / 2, 0.1 / 3, 0.2 / 31]
    assert [cause.likelihood for cause in causes] == pytest.approx([w / sum(weights) for w in weights])
    assert [cause.failures_per_year for cause in causes] == [0.5, 0.3, 0.1, 0.2]
    watched = junction().common_cause(["S3"], watched=["S3"])
    assert [cause.asset_id for cause in watched] == ["S3", "C3", "F", "K3"], "of the others nothing could be known"


def test_signals_of_several_cabinets_are_explained_by_their_feeder() -> None:
    first, second, *_ = junction().common_cause(["S1", "S3", "S5"])
    assert (first.asset_id, second.asset_id) == ("F", "")
    assert first.likelihood > 0.999


def test_a_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(InputError, match="failures of a signal a year are 0, must be > 0"):
        junction().common_cause(["S1"], failures_per_year={"signal": 0})


@SMALL
@given(graphs(cyclic=True), st.integers(0, 8))
def test_a_cause_that_explains_all_that_is_known_comes_first(graph: AssetGraph, i: int) -> None:
    planted = f"A{i % len(graph)}"
    outage = graph.outage({planted})
    dark = set(outage.unheard())
    causes = graph.common_cause(dark, working=set(graph.assets) - dark)
    assert sum(cause.likelihood for cause in causes) == pytest.approx(1.0)
    first = graph.outage({causes[0].asset_id}).unheard()
    assert dark <= set(first), "the first one darkens all that is dark"
    assert causes[0].unexplained == ()
    # What it darkens beside that only dies when a battery is empty.
    assert causes[0].contradicted_by == ()


def test_a_feeder_is_likelier_than_many_lamps_at_once_and_less_so_when_another_of_its_lamps_burns() -> None:
    lamps = [f"L{i}" for i in range(5)]
    assets = {name: Asset(name, "lamp" if name[0] == "L" else "feeder") for name in ("F", "G", *lamps)}
    graph = AssetGraph(assets, tuple(Dependency(name, "F" if name < "L3" else "G") for name in lamps))
    first, *others = graph.common_cause(["L0", "L1", "L2"])
    assert (first.asset_id, first.also) == ("F", 0)
    assert first.likelihood > 0.99
    assert first.reason["L0"] == "L0 has no power from F, which failed"
    assert [cause.asset_id for cause in others] == [""]
    assert others[0].unexplained == ("L0", "L1", "L2")
    burns = graph.common_cause(["L0", "L1"], working=["L2"])
    assert burns[0].contradicted_by == ("L2",)
    assert burns[0].likelihood < graph.common_cause(["L0", "L1"])[0].likelihood
    often = graph.common_cause(["L0", "L1"], working=["L2"], failures_per_year={"lamp": 2000.0, "feeder": 1e-3})
    assert often[0].asset_id == ""
    assert graph.common_cause([]) == []


def test_nearly_all_that_work_are_read_as_well_as_a_few_and_an_unknown_one_is_told() -> None:
    graph = junction()
    works = [name for name in graph.assets if name != "S3"]
    against = {cause.asset_id: cause.contradicted_by for cause in graph.common_cause(["S3"], working=works)}
    assert against == {"S3": (), "C3": ("C3",), "K3": ("K3", "C3")}, "that of all is out of the question"
    # One is named twice and C3 is not: nothing is known of it.
    twice = graph.common_cause(["S3"], working=["F" if name == "C3" else name for name in works])
    assert {cause.asset_id: cause.contradicted_by for cause in twice} == {"S3": (), "C3": (), "K3": ("K3",)}
    with pytest.raises(InputError, match="'nobody' is not in"):
        graph.common_cause(["S3"], working=[*works[:-1], "nobody"])
