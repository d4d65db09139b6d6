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
    """

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._routing = simulation.scenario.routing
        self._map = simulation.chart
        self.used = 0  # of the store of routes
        self.next_dispatch = simulation.time_s
        self._moved = False  # routes in the store, or vehicles to other ones, since the kernel last looked
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
            yield env.timeout(until(env, self.next_dispatch))
            yield Late(env, 0.0)
            self._refresh_costs()
            riders = self._routing.update == "periodic"
            now = self._simulation.time_s
            self.dispatch(now, now + self._routing.interval_s, riders=riders)

    def dispatch(self, begin_s: float, end_s: float, *, riders: bool = False) -> None:
        """Send off the vehicles due in ``[begin_s, end_s)``; with ``riders`` the informed under way choose again."""
        self._make_room()
        choosing = self._choosing_riders() if riders else None
        self._plan_and_send(self._simulation.admit(begin_s, end_s, self._routing.share), choosing)
        self.next_dispatch = end_s

    def state(self) -> dict[str, object]:
        """Return what a saved state holds; the routes are among the kernel's arrays."""
        return {"cost": self.cost, "costed": self._costed, "used": self.used, "next_dispatch": self.next_dispatch}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.cost, self._costed = state["cost"], state["costed"]
        self.used, self.next_dispatch = state["used"], state["next_dispatch"]

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
            hit = np.zeros(len(vehicles), np.bool_)
            engine_guidance.passes(traffic, self._map.movement_to, vehicles, marked, hit)
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
        if not len(self.fixed.link):
            return vehicles, queues
        free = ~self._given[self._simulation.roster.trip[vehicles]]
        return vehicles[free], queues[free]

    def _choosing_riders(self) -> tuple[Int, Int]:
        """Return the informed drivers under way, who choose again from the end of the link they are on."""
        simulation = self._simulation
        vehicles, queues = engine_riders.riders(simulation.roads, simulation.traffic)
        if self._routing.share < 1.0:
            choose = simulation.roster.informed[vehicles]
            vehicles, queues = vehicles[choose], queues[choose]
        return self._free(vehicles, queues)

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
            self._moved = True
        if self._moved:
            engine_riders.look_again(simulation.roads, simulation.traffic)
            self._moved = False
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
        """Go on with this store of routes."""
        self.used = used
        if path is not self._simulation.traffic.path:
            self._simulation.use(self._simulation.traffic._replace(path=path))

    def _make_room(self) -> None:
        """Forget old routes once they may be half of the store."""
        if self.used > len(self._simulation.traffic.path) // 2:
            self._forget_routes()

    def forget_routes(self) -> None:
        """Keep only what is left of the routes of vehicles that have not arrived."""
        self._forget_routes()
        engine_riders.look_again(self._simulation.roads, self._simulation.traffic)
        self._moved = False

    def _forget_routes(self) -> None:
        """Keep only what is left of the routes of vehicles that have not arrived."""
        simulation, traffic = self._simulation, self._simulation.traffic
        size = len(traffic.path)
        path = np.full(size, -1, np.int32)
        vehicles, _ = engine_riders.riders(simulation.roads, traffic)
        used = engine_guidance.compact(simulation.roads, traffic, vehicles, self.used, path)
        if used > size // 2:
            path = np.concatenate([path, np.full(size, -1, np.int32)])
        self.keep_path(path, used)
        self._moved = True

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
