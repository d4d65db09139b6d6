"""Emergency vehicles: signals on their way turn green for them, other traffic pays.

Such a vehicle drives in the traffic like any other and keeps its route; its time is that of its trip ``emergency-<n>``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulation.agenda import Appointments, Memory, Task
from simulation.departures import Trips
from simulation.fixed_routes import FixedRoutes
from simulation.happening import Emergency
from simulation.lights import Showing
from twin.compiled import CompiledNetwork

if TYPE_CHECKING:
    from simulation.simulation import Simulation

LOOK_S = 1.0  # how often its place is looked up
LOOK, RELEASE = "look", "release"


def with_emergencies(trips: Trips, emergencies: Sequence[Emergency], city: CompiledNetwork, *, until_s: float) -> Trips:
    """Return the trips with those of emergency vehicles due until a time among them, in order of departure."""
    due = [(k, one) for k, one in enumerate(emergencies) if one.depart_s <= until_s]
    if not due:
        return trips
    node = {name: k for k, name in enumerate(city.node_ids)}
    link = {name: k for k, name in enumerate(city.link_ids)}
    depart = np.concatenate([trips.depart, [one.depart_s for _, one in due]])
    order = np.argsort(depart, kind="stable")
    place = {int(old): new for new, old in enumerate(order)}
    routes = {place[row]: links for row, links in trips.routes.items()}
    for row, (_, one) in enumerate(due, len(trips)):
        if one.links:
            routes[place[row]] = tuple(link[name] for name in one.links)
    key = np.concatenate([trips.key, [[-1 - k, 0] for k, _ in due]])
    origin = np.concatenate([trips.origin, [node[one.from_node] for _, one in due]]).astype(np.int32)
    destination = np.concatenate([trips.destination, [node[one.to_node] for _, one in due]]).astype(np.int32)
    fixed = FixedRoutes.of(len(order), routes)
    return Trips(key[order], depart[order], origin[order], destination[order], fixed, trips.names)


def faults_of(emergency: Emergency, city: CompiledNetwork, where: str) -> list[str]:
    """Return every fault of an emergency vehicle as a sentence that begins with ``where``."""
    faults = [
        f"{where}: {name} {value!r} is not in the network"
        for name, value in (("from_node", emergency.from_node), ("to_node", emergency.to_node))
        if value not in city.node_ids
    ]
    if emergency.from_node == emergency.to_node:
        faults.append(f"{where}: to_node is {emergency.to_node!r}, must differ from from_node")
    unknown = [name for name in emergency.links if name not in city.link_ids]
    faults += [f"{where}: link {name!r} is not in link.csv" for name in unknown]
    if emergency.links and not unknown and not faults:
        first, last = (city.link_ids.index(emergency.links[k]) for k in (0, -1))
        ends = (city.node_ids[city.from_node[first]], city.node_ids[city.to_node[last]])
        if ends != (emergency.from_node, emergency.to_node):
            faults.append(f"{where}: links lead from {ends[0]} to {ends[1]}, must lead from from_node to to_node")
    return faults


@dataclass(frozen=True)
class Priority(Task):
    """What clears the way of emergency vehicle ``number`` (from 0) of a scenario.

    A signal is held for it from ``lead_s`` before it can reach the stop line until it has passed; then all is red for
    the signal's longest intergreen, and the signal runs on by its own clock. It remembers by node the movement for
    which it holds it, and what `Lights.release` takes.
    """

    number: int
    emergency: Emergency

    def step(self, simulation: "Simulation", now: float, memory: Memory) -> Appointments:
        """Look where the vehicle is, or release a signal."""
        if not memory:
            return [(max(now, self.emergency.depart_s), (LOOK, {}))]
        if memory[0] == RELEASE:
            simulation.lights.release(memory[1], memory[2], now)
            return []
        places = np.flatnonzero(simulation.trips.key[:, 0] == -1 - self.number)
        if not len(places):  # it is not demanded: it has no way, or leaves after the end
            return []
        held: dict[int, tuple[int, Showing]] = dict(memory[1])
        made: list[tuple[float, Memory]] = []
        lights, vehicle = simulation.lights, simulation.roster.place_of(int(places[0]))
        ahead = _signals_ahead(simulation, vehicle, now, self.emergency.lead_s) if vehicle >= 0 else {}
        for node, (movement, showing) in list(held.items()):
            if ahead.get(node) != movement:
                del held[node]
                red = lights.clear(node, showing, now)
                made.append((now + lights.clearance(node), (RELEASE, node, red)))
        for node, movement in ahead.items():
            if node not in held:
                held[node] = (movement, lights.hold(node, movement, now))
        if vehicle >= 0 and np.isfinite(simulation.traffic.vehicle["arrive"][vehicle]):
            return made
        return [*made, (now + LOOK_S, (LOOK, held))]


def _signals_ahead(simulation: "Simulation", vehicle: int, now: float, lead_s: float) -> dict[int, int]:
    """Return the signals, and its movement at each, whose stop line a vehicle can reach within a time."""
    state, city = simulation.traffic.vehicle[vehicle], simulation.city
    if np.isfinite(state["arrive"]) or not np.isfinite(state["enter"]):
        return {}
    path, step, inlink = simulation.traffic.path, int(state["step"]), simulation.inlink
    found: dict[int, int] = {}
    if path[step] < 0:
        return found
    time = max(0.0, float(state["link_enter"]) + _travel(simulation, int(inlink[path[step]])) - now)
    while path[step] >= 0 and time <= lead_s:
        movement = int(path[step])
        node = int(city.to_node[inlink[movement]])
        if simulation.lights.has(node):
            found.setdefault(node, movement)
        time += _travel(simulation, int(city.movement_out[movement]))
        step += 1
    return found


def _travel(simulation: "Simulation", link: int) -> float:
    """Return the free-flow time of a link under the speed limits in force (s)."""
    part = simulation.roads.part
    return float(part["travel"][part["link"] == link].sum())
