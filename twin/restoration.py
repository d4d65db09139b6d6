"""In which order to repair what failed: by the vehicle-hours that each repair saves."""

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from sensors import InputError
from twin.compiled import Float
from twin.network import Network
from twin.outage import Outage
from twin.prior import free_flow_prior, red_delay
from twin.stop_control import approaches, facing

REPAIR_S = 7200.0  # assumed, where no repair time is given
# A link that is shut: its vehicles go round, assumed to take so much longer each.
DETOUR_S = 300.0
# A signal whose plan is not known: assumed, the wait of a cycle of 60 s with 45 % of green by Webster.
RED_S = 9.0
EXACT_UP_TO = 9  # failures whose every order is tried, with one crew


@dataclass(frozen=True, slots=True)
class Repair:
    """One repair: which asset, by which crew, and from when until when, s from now.

    Parameters
    ----------
    saves_veh_h_per_h
        How many vehicle-hours an hour less are lost once it is done, those before it done as well.
    restores
        Signals (node ids), sensors' assets and other assets that work or are heard again with it, at most 20.
    because
        What it restores in the street, in words.
    """

    asset_id: str
    crew: int
    begin_s: float
    end_s: float
    saves_veh_h_per_h: float
    restores: tuple[str, ...]
    because: str


class StreetLoss:
    """How many vehicle-hours an hour are lost while assets are out, at given flows.

    Parameters
    ----------
    network
        Roads, signals and equipment.
    flow : (n_links,) veh/s
        What flows, or would; what is expected of each link (`twin.prior`) unless given.
    """

    def __init__(self, network: Network, flow: Float | None = None) -> None:
        self._network, self._compiled = network, network.compile()
        self.flow = free_flow_prior(self._compiled, network.signals).flow if flow is None else np.asarray(flow, float)
        if self.flow.shape != (self._compiled.n_links,):
            raise InputError(f"flow has shape {self.flow.shape}, must have one value for each of the links")
        self._red = red_delay(self._compiled, network.signals)
        self._position = {node_id: k for k, node_id in enumerate(self._compiled.node_ids)}

    def of(self, outage: Outage) -> float:
        """Return the vehicle-hours an hour that an outage costs once all its batteries are empty."""
        return sum(self.by_node(outage).values()) + self._shut(outage)

    def by_node(self, outage: Outage) -> dict[str, float]:
        """Return what each lost signal costs, veh h/h, by node."""
        losses = {}
        for signal in outage.signals():
            node = self._position.get(signal.node_id)
            if node is None:
                continue
            links = self._compiled.in_link[self._compiled.in_start[node] : self._compiled.in_start[node + 1]]
            lines = {int(link): self._network.geometry(int(link)) for link in links} if len(links) == 2 else {}
            stop = approaches(
                self._compiled, node, signal.mode, self.flow,
                opposite=len(links) != 2 or facing(self._compiled, lines, links.astype(np.int64)),
            )  # fmt: skip
            known = signal.node_id in self._network.signals
            extra = stop.delay - (self._red[stop.links] if known else RED_S)
            losses[signal.node_id] = max(0.0, float((extra * self.flow[stop.links]).sum()))
        return losses

    def _shut(self, outage: Outage) -> float:
        position = {link_id: k for k, link_id in enumerate(self._compiled.link_ids)}
        return sum(float(self.flow[position[link]]) * DETOUR_S for link in outage.closed_links() if link in position)


def restoration_order(
    network: Network,
    failed: Collection[str],
    crews: int = 1,
    *,
    flow: Float | None = None,
    repair_s: Mapping[str, float] | None = None,
) -> list[Repair]:
    """Return the repairs in the order in which they should begin, so that few vehicle-hours are lost.

    One crew and at most nine failures: the best order of all. Else the next is always the asset, or the group of assets
    that only together relight something, that saves most per hour of work (Smith's rule, which is best where repairs do
    not wait for each other). A crew that is free takes the next one. What saves no vehicle-hours comes last, the one
    that restores most first.

    Parameters
    ----------
    network
        Roads, signals and equipment.
    failed
        Assets that failed by themselves; what is dark because of them needs no repair.
    crews
        How many work at once.
    flow : (n_links,) veh/s
        Of now; what is expected of each link unless given.
    repair_s
        How long a repair takes, by asset; two hours unless given.

    Raises
    ------
    InputError
        For unknown assets, no crew, or a time that is not positive.

    Notes
    -----
    Source: Smith (1956), Various optimizers for single-stage production, doi:10.1002/nav.3800030106.
    """
    times = dict(repair_s or {})
    faults = [f"asset {name!r} is not in asset.csv" for name in (*failed, *times) if name not in network.assets.assets]
    faults += [f"asset {name}: repair takes {t:g} s, must be > 0" for name, t in times.items() if not t > 0]
    faults += [f"crews is {crews}, must be > 0"] if crews < 1 else []
    if faults:
        raise InputError(faults)
    names = tuple(dict.fromkeys(failed))
    work = {name: times.get(name, REPAIR_S) for name in names}
    costs = _Costs(network, StreetLoss(network, flow))
    exact = crews == 1 and len(names) <= EXACT_UP_TO
    order = _best(names, work, costs) if exact else _greedy(names, work, costs)
    return _schedule(order, work, crews, costs)


class _Costs:
    """What is lost an hour, and how much is dark, while a set of assets is broken; each set is looked at once."""

    def __init__(self, network: Network, loss: StreetLoss) -> None:
        self._graph, self._loss = network.assets, loss
        self._known: dict[frozenset[str], tuple[float, int]] = {}

    def outage(self, broken: Iterable[str]) -> Outage:
        return self._graph.outage(dict.fromkeys(broken, 0.0))

    def of(self, broken: frozenset[str]) -> tuple[float, int]:
        if broken not in self._known:
            outage = self.outage(broken)
            self._known[broken] = (self._loss.of(outage), len(outage.unheard()))
        return self._known[broken]


def _best(names: tuple[str, ...], work: Mapping[str, float], costs: _Costs) -> list[str]:
    """Return the order of least loss: by dynamic programming over what is still broken."""
    best: dict[frozenset[str], tuple[float, float, tuple[str, ...]]] = {frozenset(): (0.0, 0.0, ())}
    for count in range(1, len(names) + 1):
        for chosen in itertools.combinations(names, count):
            broken = frozenset(chosen)
            lost, dark = costs.of(broken)
            best[broken] = min(
                (lost * work[name] + rest[0], dark * work[name] + rest[1], (name, *rest[2]))
                for name in chosen
                for rest in (best[broken - {name}],)
            )
    return list(best[frozenset(names)][2])


def _greedy(names: tuple[str, ...], work: Mapping[str, float], costs: _Costs) -> list[str]:
    broken, order = set(names), list[str]()
    while broken:
        here = costs.of(frozenset(broken))
        bundles = {frozenset({name}) for name in broken}
        outage = costs.outage(broken)
        for signal in outage.signals():  # what only relights together
            above = {*costs.outage(()).graph.upstream(signal.asset_id), signal.asset_id}
            bundles.add(frozenset(broken & above))
        bundles.discard(frozenset())

        def gain(bundle: frozenset[str], here: tuple[float, int] = here) -> tuple[float, float]:
            after, hours = costs.of(frozenset(broken - bundle)), sum(work[name] for name in bundle)
            return (here[0] - after[0]) / hours, (here[1] - after[1]) / hours

        chosen = max(sorted(bundles, key=sorted), key=gain)
        for name in sorted(chosen, key=lambda name: (-gain(frozenset({name}))[0], work[name], name)):
            order.append(name)
            broken.remove(name)
    return order


def _schedule(order: list[str], work: Mapping[str, float], crews: int, costs: _Costs) -> list[Repair]:
    free = [0.0] * min(crews, max(1, len(order)))
    slots = []
    for name in order:
        crew = min(range(len(free)), key=lambda k: (free[k], k))
        slots.append((name, crew, free[crew], free[crew] + work[name]))
        free[crew] += work[name]
    broken, told = set(order), dict[str, tuple[float, tuple[str, ...], str]]()
    for name, _, _, _ in sorted(slots, key=lambda slot: (slot[3], order.index(slot[0]))):
        before, outage = costs.of(frozenset(broken)), costs.outage(broken)
        broken.remove(name)
        after, later = costs.of(frozenset(broken)), costs.outage(broken)
        back = tuple(sorted(set(outage.unheard()) - set(later.unheard())))
        lit = sorted({s.node_id for s in outage.signals()} - {s.node_id for s in later.signals()})
        told[name] = (before[0] - after[0], back[:20], _words(lit, len(back)))
    return [Repair(name, crew + 1, begin, end, *told[name]) for name, crew, begin, end in slots]


def _words(nodes: list[str], n_assets: int) -> str:
    if nodes:
        more = f" and {len(nodes) - 5} more" if len(nodes) > 5 else ""
        return f"relights the signals of {', '.join(nodes[:5])}{more}; {n_assets} assets work again"
    return f"relights no signal by itself; {n_assets} assets work again"
