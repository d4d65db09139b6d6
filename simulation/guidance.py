"""Which way vehicles go: routes at departure, on the way, and when links close."""

import math
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from simulation import engine, engine_guidance, engine_riders, routing
from simulation.fixed_routes import FixedRoutes
from simulation.instants import Late, until
from simulation.measure import Cumulative
from simulation.street import Long
from twin.compiled import Float, Int

if TYPE_CHECKING:
    from simulation.simulation import Simulation


class Guidance:
    """Gives the vehicles of a simulation their routes.

    Routes stand in ``traffic.path``, each as the movements at the ends of its links; ``vehicle.step`` is the place of
    the next one. Vehicles with the same start and destination share one.

    Attributes
    ----------
    cost : (n_links,) s
        What a link costs now, closures left out.
    next_s
        When the vehicles of the next interval are sent off.
    used
        How much of the store is in use.
    """

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._routing = simulation.scenario.routing
        self._map = simulation.chart
        self.used = 0
        self.next_s = simulation.time_s
        self._costed: Cumulative | None = None
        self.cost: Float = simulation.roads.link["free_time"].copy()
        self.assign(simulation.trips.routes)
        self.roads_changed()

    def roads_changed(self) -> None:
        """Look up anew where links begin: one was cut."""
        self._first_part = np.flatnonzero(self._simulation.roads.part["first"]).astype(np.int32)

    def assign(self, routes: FixedRoutes) -> None:
        """Let each trip take its route; those without one choose."""
        self.fixed, self._given = routes, routes.given
        self._fixed_movement = routes.movements(self._simulation.city)

    def dispatching(self) -> Generator[simpy.Event, object, None]:
        """Send off the vehicles of each interval on routes that are good now."""
        env = self._simulation.env
        while True:
            yield env.timeout(until(env, self.next_s))
            yield Late(env, 0.0)
            self._refresh_costs()
            self._make_room()
            riders = self._choosing_riders() if self._routing.update == "periodic" else None
            self.send_due(self.next_s, self.next_s + self._routing.interval_s, riders)

    def send_due(self, begin_s: float, end_s: float, riders: tuple[Int, Int] | None = None) -> None:
        """Send off the vehicles due in ``[begin_s, end_s)``, and give riders their way."""
        simulation = self._simulation
        vehicles = simulation.admit(*simulation.roster.due(begin_s, end_s), self._routing.share)
        self._plan_and_send(vehicles, riders)
        self.next_s = end_s

    def lead(self, vehicles: Int, links: Long, node: Int) -> Int:
        """Give vehicles on links free-flow routes to nodes, else to the ends of their links; return where they go."""
        simulation, cost = self._simulation, self._simulation.roads.link["free_time"]
        start, threads = (-1 - links).astype(np.int32), simulation.threads
        for _ in range(2):
            path = simulation.traffic.path
            routes = routing.plan_routes(self._map, cost, start, node, path, self.used, threads=threads)
            node = np.where(routes.first < 0, simulation.city.to_node[links], node).astype(np.int32)
        self.keep_path(routes.path, routes.used)
        simulation.traffic.vehicle["step"][vehicles] = routes.step
        return node

    def state(self) -> dict[str, object]:
        """Return what changes while it runs."""
        return {"used": self.used, "next_s": self.next_s, "cost": self.cost, "_costed": self._costed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)
        self.roads_changed()

    def closures_changed(self, reroute: Sequence[int] = ()) -> None:
        """Plan anew those who have not left yet; with ``reroute`` also those with one of these links before them."""
        simulation, traffic = self._simulation, self._simulation.traffic
        now, vehicle = simulation.time_s, traffic.vehicle
        held = (simulation.roster.trip >= 0) & ~np.isfinite(vehicle["enter"])
        since, riders = now, None
        if reroute:
            since = -math.inf
            marked = np.zeros(simulation.city.n_links, np.bool_)
            marked[list(reroute)] = True
            vehicles, queues = engine_riders.riders(simulation.roads, traffic)
            hit = engine_guidance.passes(traffic, self._map.movement_to, vehicles, marked)
            riders = self._free(vehicles[hit], queues[hit])
        pending = np.flatnonzero(held & (vehicle["depart"] >= since)).astype(np.int32)
        pending = pending[np.argsort(vehicle["depart"][pending], kind="stable")]
        if len(pending):
            engine.withdraw(traffic, since)
        self._make_room()
        self._plan_and_send(pending, riders)

    # --- routes -----------------------------------------------------------------------------------------------------

    def _free(self, vehicles: Int, queues: Int) -> tuple[Int, Int]:
        """Return those of the vehicles, with their queues, that may choose."""
        free = ~self._given[self._simulation.roster.trip[vehicles]]
        return vehicles[free], queues[free]

    def _choosing_riders(self) -> tuple[Int, Int]:
        """Return the informed drivers under way, who choose again from the end of the link they are on."""
        simulation = self._simulation
        vehicles, queues = engine_riders.riders(simulation.roads, simulation.traffic)
        choose = simulation.roster.informed[vehicles]
        return self._free(vehicles[choose], queues[choose])

    def _plan_and_send(self, vehicles: Int, riders: tuple[Int, Int] | None) -> None:
        """Give routes to vehicles that set off, in order of departure, and to riders: one tree per destination."""
        simulation = self._simulation
        rows = simulation.roster.trip[vehicles]
        free = np.flatnonzero(~self._given[rows])
        start, node = simulation.trips.origin[rows[free]], simulation.trips.destination[rows[free]]
        n_riders = 0
        if riders is not None:
            n_riders = len(riders[0])
            links = simulation.roads.part["link"][simulation.roads.queue["part"][riders[1]]]
            start = np.concatenate([(-1 - links).astype(np.int32), start])
            node = np.concatenate([simulation.trips.destination[simulation.roster.trip[riders[0]]], node])
        cost = self.cost + routing.CLOSED_S * (simulation.control.closed > 0)
        routes = routing.plan_routes(
            self._map, cost, start, node, simulation.traffic.path, self.used, threads=simulation.threads
        )
        self.keep_path(routes.path, routes.used)
        if riders is not None and n_riders:
            traffic = simulation.traffic
            new, total = routes.step[:n_riders], routes.total[:n_riders]
            limit = routing.CLOSED_S
            engine_guidance.adopt(simulation.roads, traffic, *riders, new, total, limit, simulation.time_s)
            engine_riders.look_again(simulation.roads, traffic)
        if len(vehicles):
            first = np.empty(len(vehicles), np.int32)
            first[free] = routes.first[n_riders:]
            simulation.traffic.vehicle["step"][vehicles[free]] = routes.step[n_riders:]
            if len(free) < len(vehicles):
                fixed = np.flatnonzero(self._given[rows])
                first[fixed] = self._follow(vehicles[fixed], rows[fixed])
            engine.join_origins(simulation.roads, simulation.traffic, vehicles, self._first_part[first])

    def _follow(self, vehicles: Int, rows: Long) -> Int:
        """Give vehicles their fixed routes and return their first links."""
        cells, length = self.fixed.cells(rows)
        path, used = self._simulation.traffic.path, self.used
        if used + len(cells) > len(path):
            path = np.concatenate([path, np.full(max(len(path), len(cells)), -1, np.int32)])
        path[used : used + len(cells)] = self._fixed_movement[cells]
        self._simulation.traffic.vehicle["step"][vehicles] = used + np.cumsum(length) - length
        self.keep_path(path, used + len(cells))
        return self.fixed.link[self.fixed.start[rows]]

    # --- store ------------------------------------------------------------------------------------------------------

    def keep_path(self, path: Int, used: int) -> None:
        """Go on with a store of routes, ``used`` of it."""
        self.used = used
        if path is not self._simulation.traffic.path:
            self._simulation.use(self._simulation.traffic._replace(path=path))

    def _make_room(self) -> None:
        """Forget old routes once they may be half of the store."""
        if self.used > len(self._simulation.traffic.path) // 2:
            self.forget_routes()

    def forget_routes(self) -> None:
        """Keep only what is left of the routes of vehicles that have not arrived."""
        traffic = self._simulation.traffic
        alive = self._simulation.roster.under_way_or_waiting(traffic.vehicle)
        step, size = traffic.vehicle["step"].copy(), len(traffic.path)
        path = np.full(size, -1, np.int32)
        used = engine_guidance.compact(traffic.path, self.used, step, alive, path)
        if used > size // 2:
            path = np.concatenate([path, np.full(size, -1, np.int32)])
        traffic.vehicle["step"][alive] = step[alive]
        self.keep_path(path, used)
        engine_riders.look_again(self._simulation.roads, self._simulation.traffic)

    # --- costs ------------------------------------------------------------------------------------------------------

    def _refresh_costs(self) -> None:
        """Set link costs to the travel times of the last interval: vehicle-seconds per vehicle that passed."""
        if self._routing.update == "fixed":
            return
        now = self._simulation.cumulative()
        if self._costed is not None:
            passed = 0.5 * ((now.entered - self._costed.entered) + (now.left - self._costed.left))
            spent = now.vehicle_seconds - self._costed.vehicle_seconds
            self.cost = np.maximum(self._simulation.roads.link["free_time"], spent / np.maximum(passed, 0.5))
        self._costed = now
