"""Outages against a slow reference that steps through time, and against what networkx and brute force say."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors import InputError, Sensor
from twin.assets import Asset, AssetGraph, Dependency

HORIZON = 60
SMALL = settings(max_examples=150, deadline=None)


def graph_of(n: int, needs: list[Dependency]) -> AssetGraph:
    return AssetGraph({f"A{i}": Asset(f"A{i}", "signal" if i % 3 == 0 else "cabinet") for i in range(n)}, tuple(needs))


@st.composite
def graphs(draw: st.DrawFn, *, cyclic: bool = False) -> AssetGraph:
    """Draw a graph with every kind of need; without ``cyclic`` an asset needs only those before it."""
    n = draw(st.integers(1, 9))
    needs = []
    for _ in range(draw(st.integers(0, 14))):
        of = draw(st.integers(0, n - 1))
        to = draw(st.integers(0, n - 1 if cyclic else max(0, of - 1)))
        if cyclic or to < of:
            kind = draw(st.sampled_from(["power", "comms", "control", "structure"]))
            need, group = draw(st.sampled_from([("all", kind), ("any", kind), ("any", "x"), ("any", "y")]))
            needs.append(Dependency(f"A{of}", f"A{to}", kind, need, group, draw(st.integers(0, 6))))
    return graph_of(n, needs)


def groups_of(graph: AssetGraph, name: str, *, heard: bool) -> list[list[tuple[str, float]]]:
    """Return the groups of what an asset needs: to work, or beside that to be heard."""
    groups: dict[object, list[tuple[str, float]]] = {}
    for number, need in enumerate(graph.dependencies):
        if need.asset_id == name and need.depends_on != name and (need.kind == "comms") == heard:
            key = number if need.need == "all" else need.group
            groups.setdefault(key, []).append((need.depends_on, need.autonomy_s))
    return list(groups.values())


def slow(graph: AssetGraph, failed: dict[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Step through time, second by second: when each asset is lost, and when unheard."""
    lost: dict[str, float] = {}
    unheard: dict[str, float] = {}
    for t in range(HORIZON):
        changed = True
        while changed:
            changed = False
            for name in graph.assets:
                for heard, gone in ((False, lost), (True, unheard)):
                    if name in gone:
                        continue
                    out = failed.get(name, math.inf) <= t or (heard and name in lost)
                    for group in groups_of(graph, name, heard=heard):
                        out |= all(member in gone and gone[member] + battery <= t for member, battery in group)
                    if out:
                        gone[name], changed = float(t), True
    return lost, unheard


@SMALL
@given(graphs(), st.dictionaries(st.integers(0, 8), st.integers(0, 10), max_size=3))
def test_any_all_groups_and_batteries_agree_with_a_clock_that_ticks(graph: AssetGraph, fails: dict[int, int]) -> None:
    failed = {f"A{i}": float(t) for i, t in fails.items() if i < len(graph)}
    outage = graph.outage(failed)
    lost, unheard = slow(graph, failed)
    assert dict(zip(graph.assets, outage.lost_at.tolist(), strict=True)) == {
        n: lost.get(n, math.inf) for n in graph.assets
    }
    assert dict(zip(graph.assets, outage.unheard_at.tolist(), strict=True)) == {
        n: unheard.get(n, math.inf) for n in graph.assets
    }
    for name in graph.assets:
        assert graph.time_to_dark(name, 3.0, failed=failed).seconds == max(0.0, lost.get(name, math.inf) - 3.0)


@SMALL
@given(graphs(), st.integers(0, 8))
def test_a_reason_path_leads_from_the_failure_to_the_asset(graph: AssetGraph, i: int) -> None:
    cause = f"A{i % len(graph)}"
    outage = graph.outage({cause: 5.0})
    for heard, dark in ((False, outage.dark()), (True, outage.unheard())):
        for name in dark:
            steps = outage.reason(name, heard=heard)
            assert (steps[0].asset_id, steps[0].kind, steps[0].time) == (cause, "failed", 5.0)
            assert steps[-1].asset_id == name
            for before, step in itertools.pairwise(steps):
                assert any(
                    (d.asset_id, d.depends_on, d.kind) == (step.asset_id, before.asset_id, step.kind)
                    for d in graph.dependencies
                )
                # With one failure every supply of a group has the same end, or a longer battery: the last one counts.
                assert step.time == before.time + step.battery_s
    for name in set(graph.assets) - set(outage.unheard()):
        assert outage.reason(name, heard=True) == ()
        assert outage.because(name, heard=True) == ""


@SMALL
@given(graphs(cyclic=True))
def test_downstream_and_upstream_are_inverse_and_what_networkx_says(graph: AssetGraph) -> None:
    for a in graph.assets:
        assert set(graph.downstream(a)) == nx.ancestors(graph.graph, a)
        assert set(graph.upstream(a)) == nx.descendants(graph.graph, a)
        for b in graph.assets:
            assert (b in graph.downstream(a)) == (a in graph.upstream(b))
            path = graph.path(b, a)
            assert bool(path) == (a != b and a in graph.upstream(b))


@SMALL
@given(graphs(cyclic=True))
def test_a_single_point_of_failure_found_by_brute_force_is_found(graph: AssetGraph) -> None:
    found = {point.asset_id: point for point in graph.single_points_of_failure()}
    for name in graph.assets:
        outage = graph.outage({name})
        lost, unheard = set(outage.dark()) - {name}, set(outage.unheard()) - {name}
        assert (name in found) == bool(unheard)
        if name in found:
            assert (found[name].lost, found[name].unheard) == (len(lost), len(unheard - lost))
            assert found[name].signals == sum(graph.assets[other].kind == "signal" for other in unheard)
    order = [(-point.signals, -point.sensors, -point.lost - point.unheard) for point in found.values()]
    assert order == sorted(order)


@SMALL
@given(graphs(cyclic=True))
def test_what_falls_at_once_is_what_no_battery_bridges(graph: AssetGraph) -> None:
    arrays = graph.arrays
    for i, name in enumerate(graph.assets):
        outage = graph.outage({name})
        times = [*outage.lost_at.tolist(), *outage.unheard_at.tolist()]
        (fallen,), (at_once,) = (arrays.fallen(np.array([i]), at_once=fast) for fast in (False, True))
        assert sorted(fallen.tolist()) == [k for k, t in enumerate(times) if t < math.inf]
        assert sorted(at_once.tolist()) == [k for k, t in enumerate(times) if t == 0]


# --- circles -------------------------------------------------------------------------------------------------------


@st.composite
def rings(draw: st.DrawFn) -> AssetGraph:
    """Draw cabinets that feed each other, each with a feeder of its own among its supplies; no batteries."""
    n, feeders = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    needs = []
    for i in range(feeders, feeders + n):
        needs.append(Dependency(f"A{i}", f"A{draw(st.integers(0, feeders - 1))}", "power", "any", "supply"))
        for other in draw(st.sets(st.integers(feeders, feeders + n - 1), max_size=3)) - {i}:
            needs.append(Dependency(f"A{i}", f"A{other}", "power", "any", "supply"))
        if draw(st.booleans()):
            needs.append(Dependency(f"A{i}", f"A{draw(st.integers(0, feeders - 1))}", "structure"))
    return graph_of(feeders + n, needs)


def fed(graph: AssetGraph, failed: set[str]) -> set[str]:
    """Return what can be switched on from nothing, one after the other."""
    on: set[str] = set()
    while True:
        more = {
            name
            for name in set(graph.assets) - failed - on
            if all(any(member in on for member, _ in group) for group in groups_of(graph, name, heard=False))
        }
        if not more:
            return on
        on |= more


@SMALL
@given(rings(), st.dictionaries(st.integers(0, 7), st.integers(0, 10), max_size=4))
def test_a_ring_is_dark_once_nobody_outside_feeds_it(graph: AssetGraph, fails: dict[int, int]) -> None:
    failed = {f"A{i}": float(t) for i, t in fails.items() if i < len(graph)}
    outage = graph.outage(failed)
    for t in range(12):
        on = fed(graph, {name for name, time in failed.items() if time <= t})
        assert set(outage.dark(at=float(t))) == set(graph.assets) - on
    for name in outage.dark():
        assert outage.because(name).startswith(name)


@SMALL
@given(rings())
def test_a_single_point_of_failure_of_a_ring_is_found(graph: AssetGraph) -> None:
    found = {point.asset_id: point.lost for point in graph.single_points_of_failure()}
    for name in graph.assets:
        assert found.get(name, 0) == len(set(graph.assets) - fed(graph, {name}) - {name})


def test_the_batteries_of_a_ring_count_once() -> None:
    any_of = {"kind": "power", "need": "any", "group": "supply", "autonomy_s": 60.0}
    needs = [Dependency("A1", "A0", **any_of), Dependency("A1", "A2", **any_of), Dependency("A2", "A1", **any_of)]
    outage = graph_of(3, needs).outage({"A0": 10.0})
    assert outage.lost_at.tolist() == [10.0, 70.0, 70.0]


def test_of_a_ring_that_falls_at_once_the_reason_is_told_from_outside() -> None:
    any_of = {"kind": "power", "need": "any", "group": "supply"}
    needs = [Dependency(f"A{i}", other, **any_of) for i in (1, 2) for other in ("A0", "A1", "A2") if other != f"A{i}"]
    outage = graph_of(3, needs).outage({"A0": 10.0})
    for name in ("A1", "A2"):
        assert [(step.asset_id, step.kind) for step in outage.reason(name)] == [("A0", "failed"), (name, "power")]


def test_assets_that_need_each_other_run_until_something_fails() -> None:
    graph = graph_of(3, [Dependency("A0", "A1"), Dependency("A1", "A0", kind="control"), Dependency("A2", "A1")])
    assert graph.outage({}).dark() == ()
    assert graph.outage({"A0"}).dark() == ("A0", "A1", "A2")
    assert graph.outage({"A2"}).dark() == ("A2",)


# --- what it does to the street -------------------------------------------------------------------------------------


@pytest.fixture
def junction() -> AssetGraph:
    """A feeder, a cabinet with an hour of battery, a controller with its head, a camera behind a switch, a bridge."""
    assets = (
        Asset("F", "feeder"),
        Asset("K", "cabinet", autonomy_s=3600),
        Asset("C", "controller", node_id="N", degraded_mode="flashing"),
        Asset("S", "signal", node_id="N", degraded_mode="all_way_stop"),
        Asset("W", "switch"),
        Asset("V", "camera", link_id="L"),
        Asset("B", "bridge", link_id="L", degraded_mode="closed"),
    )
    needs = (
        Dependency("K", "F", autonomy_s=3600),
        Dependency("C", "K"),
        Dependency("C", "W", kind="comms"),
        Dependency("S", "C", kind="control"),
        Dependency("V", "K"),
        Dependency("V", "W", kind="comms"),
        Dependency("V", "B", kind="structure"),
    )
    return AssetGraph({asset.asset_id: asset for asset in assets}, needs)


def test_a_battery_delays_and_the_sentence_says_so(junction: AssetGraph) -> None:
    answer = junction.time_to_dark("S", at=100.0)
    assert answer.seconds == 3600.0
    assert answer.because == (
        "S has no control from C, which has no power from K, which has no power from F and an empty battery (60 min), "
        "which failed"
    )
    assert [step.asset_id for step in answer.reason] == ["F", "K", "C", "S"]
    assert junction.time_to_dark("S", at=2000.0, failed={"F": 0.0}).seconds == 1600.0
    assert junction.time_to_dark("S", failed={"W"}).seconds == math.inf


def test_a_lost_line_makes_a_camera_unheard_and_leaves_the_signal_working(junction: AssetGraph) -> None:
    outage = junction.outage({"W"})
    assert outage.dark() == ("W",)
    assert outage.unheard() == ("C", "W", "V")
    assert outage.signals() == ()
    sensors = [Sensor("V1", asset_id="V"), Sensor("V"), Sensor("D", asset_id="K"), Sensor("X", asset_id="of nobody")]
    assert outage.sensors(sensors) == {"V1": 0.0, "V": 0.0}


def test_a_controller_that_fails_flashes_and_one_without_power_cannot(junction: AssetGraph) -> None:
    flashing = junction.outage({"C": 5.0}).signals()
    assert [(s.node_id, s.mode, s.time, s.asset_id) for s in flashing] == [("N", "flashing", 5.0, "C")]
    (dark,) = junction.outage({"F": 5.0}).signals()
    assert (dark.mode, dark.time) == ("dark", 3605.0)
    assert junction.outage({"F"}).signals(signalised=["elsewhere"]) == ()


def test_a_bridge_that_fails_shuts_its_link(junction: AssetGraph) -> None:
    assert junction.outage({"B": 7.0}).closed_links() == {"L": 7.0}
    assert junction.outage({"F": 7.0}).closed_links() == {}


def test_unknown_assets_and_times_that_are_none_are_told_at_once(junction: AssetGraph) -> None:
    with pytest.raises(InputError) as caught:
        junction.outage({"X": 1.0, "F": math.nan})
    assert caught.value.faults == (
        "asset 'X' is not in asset.csv",
        "asset F: fails at nan, must be a time in seconds",
    )
    with pytest.raises(InputError, match="'Y' is not in"):
        junction.common_cause(["Y"])
