"""Questions about 100,000 pieces of equipment on arrays, beside networkx and plain Python on the same graph.

A made city: grid supplies, feeders, cabinets (a fifth of them on two feeders, some in rings), switches with two
uplinks, controllers with signals, detectors, cameras and lamps. Both sides give the same answers. The time of ours is
the slowest of several assets after compilation; that of the other the mean of the same assets.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np

from twin.assets import Asset, AssetGraph, Dependency


def made_city(n: int, seed: int = 1) -> AssetGraph:
    """Return a city of about n assets."""
    rng = np.random.default_rng(seed)
    assets: dict[str, Asset] = {}
    needs: list[Dependency] = []

    def add(kind: str, count: int) -> list[str]:
        names = [f"{kind}-{k}" for k in range(count)]
        assets.update((name, Asset(name, kind)) for name in names)
        return names

    def some(names: list[str]) -> str:
        return names[int(rng.integers(len(names)))]

    supplies, feeders = add("supply", max(2, n // 5000)), add("feeder", max(2, n // 500))
    cabinets, switches = add("cabinet", max(4, n // 40)), add("switch", max(3, n // 400))
    controllers = add("controller", n // 50)
    signals = add("signal", len(controllers))
    rest = (n - len(assets)) // 3
    leaves = [name for kind in ("detector", "camera", "lamp") for name in add(kind, rest)]
    needs += [Dependency(name, some(supplies)) for name in feeders]
    for k, name in enumerate(cabinets):
        battery = float(rng.choice([0, 0, 3600, 7200]))
        twice = {"need": "any", "group": "mains"} if rng.random() < 0.2 else {}
        needs += [
            Dependency(name, feeder, autonomy_s=battery, **twice)
            for feeder in dict.fromkeys((some(feeders), some(feeders)))
        ][: 1 + bool(twice)]
        if twice and k:  # a ring: the cabinet before it is a third supply, and the other way round
            needs += [Dependency(name, cabinets[k - 1], autonomy_s=battery, **twice)]
    for k, name in enumerate(switches):
        needs.append(Dependency(name, some(cabinets), autonomy_s=1800.0))
        if k > 1:
            needs += [Dependency(name, switches[c], "comms", "any", "uplink") for c in (0, 1)]
    for controller, signal in zip(controllers, signals, strict=True):
        needs += [Dependency(controller, some(cabinets)), Dependency(controller, some(switches), "comms")]
        needs.append(Dependency(signal, controller, "control"))
    for name in leaves:
        needs.append(Dependency(name, some(cabinets)))
        if not name.startswith("lamp"):
            needs.append(Dependency(name, some(switches), "comms"))
    return AssetGraph(assets, tuple(needs))


class Plain:
    """The same answers from dictionaries and networkx."""

    def __init__(self, graph: AssetGraph) -> None:
        self.graph = nx.DiGraph((need.asset_id, need.depends_on) for need in graph.dependencies)
        self.graph.add_nodes_from(graph.assets)
        self.groups: dict[object, list[tuple[str, float]]] = {}
        self.owner: dict[object, tuple[str, bool]] = {}
        self.used: dict[tuple[str, bool], list[tuple[object, float]]] = {}
        for name in graph.assets:
            self._add(("heard", name), (name, True), (name, False), 0.0)
        for number, need in enumerate(graph.dependencies):
            heard = need.kind == "comms"
            key = number if need.need == "all" else (need.asset_id, need.group, heard)
            self._add(key, (need.asset_id, heard), (need.depends_on, heard), need.autonomy_s)

    def _add(self, key: object, owner: tuple[str, bool], member: tuple[str, bool], autonomy: float) -> None:
        self.owner[key] = owner
        self.groups.setdefault(key, []).append((member, autonomy))  # type: ignore[arg-type]
        self.used.setdefault(member, []).append((key, autonomy))

    def lost(self, asset: str) -> dict[tuple[str, bool], float]:
        """Return when each state is lost after an asset failed at 0; a state at a time, as its members are."""
        time_of = {(asset, False): 0.0}
        waiting = [(asset, False)]
        while waiting:
            later = []
            for member in waiting:
                for key, _ in self.used.get(member, ()):
                    owner = self.owner[key]
                    last = max(time_of.get(m, np.inf) + battery for m, battery in self.groups[key])  # type: ignore[call-overload]
                    if last < time_of.get(owner, np.inf):
                        time_of[owner] = last
                        later.append(owner)
            waiting = later
        return time_of


def spent(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return CPU seconds, and what came out."""
    begin = time.process_time()
    answer = work()
    return time.process_time() - begin, answer


def main() -> None:
    """Ask both sides and print a line a question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=12, help="assets of which each question is asked")
    args = parser.parse_args()
    small = made_city(200)  # the kernels are compiled, or read
    small.single_points_of_failure()
    small.common_cause(small.outage({"cabinet-0"}).unheard())
    graph = made_city(args.assets)
    compile_s, _ = spent(
        lambda: (
            graph.arrays,
            graph.downstream("supply-0"),
            graph.names,
            graph.position,
            graph.ids,
            graph.signal_heads,
            graph.kind_numbers,
        )
    )
    plain = Plain(graph)
    rng = np.random.default_rng(2)
    asked = ["supply-0", "feeder-0", "cabinet-0", *(str(n) for n in rng.choice(list(graph.assets), args.asked - 3))]

    def compare(name: str, ours: Callable[[str], Any], theirs: Callable[[str], Any], beside: str) -> None:
        times, others = [], []
        for asset in asked:
            seconds, mine = spent(lambda asset=asset: ours(asset))
            times.append(seconds)
            seconds, other = spent(lambda asset=asset: theirs(asset))
            others.append(seconds)
            assert mine == other, f"{name} of {asset}"
        slow, mean = 1000 * max(times), sum(others) / sum(times)
        print(f"assets: {mean:.1f} x {name} beside {beside}, the slowest {slow:.1f} ms of CPU, {len(graph):,} assets")

    compare("downstream", lambda a: set(graph.downstream(a)), lambda a: nx.ancestors(plain.graph, a), "networkx")
    compare("upstream", lambda a: set(graph.upstream(a)), lambda a: nx.descendants(plain.graph, a), "networkx")

    def outage(asset: str) -> int:
        found = graph.outage({asset})
        return int(np.isfinite(found.lost_at).sum() + np.isfinite(found.unheard_at).sum())

    compare("outage", outage, lambda a: len(plain.lost(a)), "a queue in Python")
    points_s, points = spent(graph.single_points_of_failure)
    found = {point.asset_id: point.lost + point.unheard for point in points}
    theirs_s, theirs = spent(lambda: {a: len({name for name, _ in plain.lost(a)}) - 1 for a in asked})
    assert {a: found.get(a, 0) for a in asked} == theirs, "single points of failure"
    ratio = theirs_s / len(asked) * len(graph) / points_s
    spof = f"{1000 * points_s:.1f} ms of CPU"
    print(f"assets: {ratio:.1f} x single points of failure beside a queue in Python for each, {spof}")
    planted = ["supply-0", "feeder-0", "cabinet-1", "switch-0", graph.names[-1]]
    slowest, ours_s, theirs_s = 0.0, 0.0, 0.0
    for failed in planted:
        out = set(graph.outage({failed}).unheard())
        works = sorted(set(graph.assets) - out)
        for dark, working in ((out, works), (out, []), (sorted(out)[:2], []), (list(graph.assets)[::2], [])):
            seconds, causes = spent(lambda dark=dark, working=working: graph.common_cause(dark, working=working))
            slowest, ours_s = max(slowest, seconds), ours_s + seconds
            seconds, dark_with = spent(
                lambda causes=causes: {c.asset_id: {n for n, _ in plain.lost(c.asset_id)} for c in causes if c.asset_id}
            )
            theirs_s += seconds
            for cause in causes:
                assert not cause.asset_id or set(cause.explains) == set(dark) & dark_with[cause.asset_id]
            assert set(working) != set(works) or causes[0].unexplained == ()
    spent_ms = f"the slowest {1000 * slowest:.1f} ms of CPU"
    print(f"assets: {theirs_s / ours_s:.1f} x common cause beside what its causes darken, {spent_ms}")
    print(f"assets: compiled in {compile_s:.2f} s of CPU")


if __name__ == "__main__":
    main()
