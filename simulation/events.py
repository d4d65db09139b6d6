"""What a scenario does to a simulation, on its agenda; and what is wrong with it on a given network."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sensors import InputError
from simulation.adaptive import processes_of
from simulation.agenda import Appointments, Memory, Task
from simulation.conflicts import Junctions
from simulation.demand import Demand
from simulation.departures import Trips
from simulation.emergency import Priority
from simulation.emergency import faults_of as emergency_faults
from simulation.failures import failed_signals, shut_links
from simulation.fixed_routes import FORBIDDEN
from simulation.scenario import Scenario
from simulation.signals import faults_of as signal_faults
from simulation.signals import movement_rows, settle
from simulation.street import MIN_PART_M
from twin import Network
from twin.compiled import CompiledNetwork, Int

if TYPE_CHECKING:
    from simulation.simulation import Simulation


Change = Callable[[float], None]  # what happens at a time


def cuts_of(scenario: Scenario, roads: CompiledNetwork) -> dict[int, list[float]]:
    """Return by link the points at which an incident needs it cut."""
    position = {name: k for k, name in enumerate(roads.link_ids)}
    cuts: dict[int, set[float]] = {}
    for incident in scenario.incident:
        link = position[incident.link]
        if MIN_PART_M <= incident.position_m <= roads.length[link] - MIN_PART_M:
            cuts.setdefault(link, set()).add(incident.position_m)
    return {link: sorted(points) for link, points in cuts.items()}


def faults_of(scenario: Scenario, network: Network, demand: Demand, *, label: str = "") -> list[str]:
    """Return every fault that a scenario has on a network, one sentence each; ``label`` names its file."""
    roads = network.compile()
    position = {name: k for k, name in enumerate(roads.link_ids)}
    faults: list[str] = []

    def check_links(where: str, names: Iterable[str]) -> None:
        faults.extend(f"{where}: link {name!r} is not in link.csv" for name in names if name not in position)

    label = label or scenario.name or "scenario"
    with_links = (
        ("close", [entry.links for entry in scenario.close]),
        ("capacity", [entry.links for entry in scenario.capacity]),
        ("speed_limit", [entry.links for entry in scenario.speed_limit]),
        ("lanes", [entry.links for entry in scenario.lanes]),
    )
    for kind, lists in with_links:
        for number, names in enumerate(lists, 1):
            check_links(f"{label}: [[{kind}]] {number}", names)
    for number, incident in enumerate(scenario.incident, 1):
        where = f"{label}: [[incident]] {number}"
        check_links(where, [incident.link])
        if incident.link not in position:
            continue
        link = position[incident.link]
        if incident.position_m > roads.length[link]:
            faults.append(
                f"{where}: position_m is {incident.position_m:g}, link {incident.link} is {roads.length[link]:g} m long"
            )
        if incident.lanes_blocked > roads.lanes[link]:
            faults.append(
                f"{where}: lanes_blocked is {incident.lanes_blocked:g}, "
                f"link {incident.link} has {roads.lanes[link]} lanes"
            )
    for number, works in enumerate(scenario.lanes, 1):
        for name in works.links:
            if name in position and works.closed > roads.lanes[position[name]]:
                faults.append(
                    f"{label}: [[lanes]] {number}: closed is {works.closed:g}, link {name} has "
                    f"{roads.lanes[position[name]]} lanes"
                )
    nodes = [plan.node_id for plan in scenario.signal]
    rows = movement_rows(roads) if scenario.signal else {}
    junctions = Junctions(network)
    for number, plan in enumerate(scenario.signal, 1):
        where = f"{label}: [[signal]] {number}"
        wrong = signal_faults(plan, roads, where, rows)
        faults += wrong or settle(plan, junctions, rows, where)[1]
        if plan.node_id in nodes[: number - 1]:
            faults.append(f"{where}: node {plan.node_id!r} has a plan already, a node has one")
    if scenario.demand and demand.fixed is not None:
        faults.append(f"{label}: [[demand]] works on demand.csv, this run has trips; leave it out")
    elif scenario.demand:
        for number, surge in enumerate(scenario.demand, 1):
            for zone in dict.fromkeys((*surge.origins, *surge.destinations)):
                if zone not in demand.zones:
                    faults.append(f"{label}: [[demand]] {number}: zone {zone!r} is not a zone of the network")
    with_plan = {*network.signals, *nodes}
    controlled = [control.node_id for control in scenario.control]
    for number, control in enumerate(scenario.control, 1):
        where = f"{label}: [[signal]] of node {control.node_id!r}"
        if control.node_id not in roads.node_ids:
            faults.append(f"{where}: is not in the network")
        elif control.node_id not in with_plan:
            faults.append(f"{where}: has no plan in the network, give its stages as [[signal.stage]]")
        if control.node_id in controlled[: number - 1]:
            faults.append(f"{where}: has a controller already, a node has one")
    try:
        processes_of(scenario.control)
    except InputError as error:
        faults += [f"{label}: {fault}" for fault in error.faults]
    for number, emergency in enumerate(scenario.emergency, 1):
        faults += emergency_faults(emergency, roads, f"{label}: [[emergency]] {number}")
    for number, failure in enumerate(scenario.asset_failure, 1):
        if failure.asset not in network.assets.assets:
            faults.append(f"{label}: [[asset_failure]] {number}: asset {failure.asset!r} is not in asset.csv")
    return faults


def never_green_notes(roads: CompiledNetwork, rows: Int) -> list[str]:
    """Return one sentence for each movement that never has green."""
    inlink = np.repeat(np.arange(roads.n_links), np.diff(roads.movement_start))
    return [
        f"movement {roads.link_ids[inlink[row]]} > {roads.link_ids[roads.movement_out[row]]} is in no stage of node "
        f"{roads.node_ids[roads.to_node[inlink[row]]]}: it is never green, routes avoid it"
        for row in rows.tolist()
    ]


def route_faults(roads: CompiledNetwork, demand: Demand, trips: Trips) -> list[str]:
    """Return a sentence for each turn of a fixed route that is not allowed."""
    faults = []
    for cell in np.flatnonzero(trips.routes.movements(roads) == FORBIDDEN).tolist():
        row = int(np.searchsorted(trips.routes.start, cell, side="right")) - 1
        a, b = (roads.link_ids[link] for link in trips.routes.link[cell : cell + 2])
        place = demand.place(int(trips.key[row, 0]))
        faults.append(f"{place}: link_ids: {a} > {b} is not an allowed movement")
    return faults


@dataclass(frozen=True)
class Lasting(Task):
    """Something that begins at an instant and, when it ends, ends at one."""

    from_s: float
    until_s: float
    begin: Change
    end: Change

    def step(self, simulation: "Simulation", now: float, memory: Memory) -> Appointments:
        """Begin or end it."""
        if memory == END:
            self.end(now)
            return []
        if not memory and self.until_s <= now:
            return []
        if not memory and self.from_s > now:
            return [(self.from_s, BEGIN)]
        self.begin(now)
        return [(self.until_s, END)] if math.isfinite(self.until_s) else []


BEGIN, END = ("begin",), ("end",)


def tasks(simulation: "Simulation") -> list[Task]:
    """Return everything that the scenario holds, for the agenda of the run."""
    scenario, roads, control, lights = simulation.scenario, simulation.city, simulation.control, simulation.lights
    position = {name: k for k, name in enumerate(roads.link_ids)}
    todo: list[Task] = []

    def lasting(from_s: float, until_s: float, begin: Change, end: Change) -> None:
        todo.append(Lasting(from_s, until_s, begin, end))

    for closure in scenario.close:
        links = [position[name] for name in dict.fromkeys(closure.links)]
        begin = partial(close, simulation, links, closure.reroute)
        lasting(closure.from_s, closure.until_s, begin, partial(reopen, simulation, links))
    for incident in scenario.incident:
        at = (position[incident.link], incident.position_m)
        begin, end = (partial(control.block, *at, sign * incident.lanes_blocked) for sign in (1, -1))
        lasting(incident.from_s, incident.until_s, begin, end)
    for change in scenario.capacity:
        for name in dict.fromkeys(change.links):
            begin, end = (partial(control.scale, position[name], change.factor, add=add) for add in (True, False))
            lasting(change.from_s, change.until_s, begin, end)
    for works in scenario.lanes:
        for name in dict.fromkeys(works.links):
            begin, end = (partial(control.narrow, position[name], sign * works.closed) for sign in (1, -1))
            lasting(works.from_s, works.until_s, begin, end)
    for limit in scenario.speed_limit:
        for name in dict.fromkeys(limit.links):
            speed = limit.speed_kmh / 3.6
            begin, end = (partial(control.limit, position[name], speed, add=add) for add in (True, False))
            lasting(limit.from_s, limit.until_s, begin, end)
    todo += processes_of(scenario.control, lights)
    todo += [Priority(number, emergency) for number, emergency in enumerate(scenario.emergency)]
    signalised = {*simulation.network.signals, *(plan.node_id for plan in scenario.signal)}
    for failure in scenario.asset_failure:
        for node_id, mode, from_s, until_s in failed_signals(simulation.network, failure, signalised):
            node = lights.node(node_id)
            lasting(from_s, until_s, partial(lights.fail, node, mode), partial(lights.mend, node, mode))
        for link_id, from_s, until_s in shut_links(simulation.network, failure):
            links = [position[link_id]]
            lasting(from_s, until_s, partial(close, simulation, links, True), partial(reopen, simulation, links))
    return todo


def close(simulation: "Simulation", links: list[int], reroute: bool, now: float) -> None:
    """Close links; with ``reroute`` those who have one of them before them choose again where they stand."""
    for link in links:
        simulation.control.close(link, now)
    simulation.guidance.closures_changed(links if reroute else ())


def reopen(simulation: "Simulation", links: list[int], now: float) -> None:
    """End one closure of links."""
    for link in links:
        simulation.control.reopen(link, now)
    simulation.guidance.closures_changed()
