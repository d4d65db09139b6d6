"""Which way vehicles go: routes at departure, on the way, and when links close."""

import math
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from simulation import engine, engine_guidance, engine_paths, engine_riders, routing
from simulation.fixed_routes import FixedRoutes
from simulation.instants import Late, until
from simulation.link_times import LinkTimes
from simulation.measure import Cumulative
from simulation.roster import ROUTE
from simulation.route_choice import choose, logit_shares
from simulation.street import Long
from twin.compiled import Float, Int

if TYPE_CHECKING:
    from simulation.simulation import Simulation


NOBODY: tuple[Int, Int] = (np.zeros(0, np.int32), np.zeros(0, np.int32))


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
        self._fixed = (0, 0)  # where in the store the given routes stand, which are never forgotten
        self.next_dispatch = simulation.time_s
        self._moved = False  # routes in the store, or vehicles to other ones, since the kernel last looked
        self._costed: Cumulative | None = None
        self.cost: Float = simulation.roads.link["free_time"].copy()
        self.times: LinkTimes | None = None
        self.first_links: Int | None = None
        self._bound = simulation.trips.routes.given  # to their own route, whatever happens
        self.assign(simulation.trips.routes)
        self.roads_changed()

    def roads_changed(self) -> None:
        """Look up anew where links begin: one was cut."""
        self._first_part = np.flatnonzero(self._simulation.roads.part["first"]).astype(np.int32)

    def note_first_links(self) -> None:
        """Remember from now on by which link each vehicle sets off."""
        self.first_links = np.full(len(self._simulation.roster.trip), -1, np.int32)

    def use_times(self, times: LinkTimes) -> None:
        """Choose by what vehicles met in another run; who leaves by the shortest way then has it from the start."""
        self.times = times
        if self._routing.update == "departure":
            simulation = self._simulation
            rows = np.flatnonzero(~self._bound)
            found = times.fastest(simulation.city, self._map, simulation.trips, rows, threads=simulation.threads)
            self.assign(self.routes.replaced(rows, found))

    def assign(self, routes: FixedRoutes) -> None:
        """Let each trip set off on its route; those without one choose."""
        self.routes, self._given = routes, routes.given
        cells = routes.movements(self._simulation.city)
        begin, end, path = self.used, self.used + len(cells), self._simulation.traffic.path
        if end > len(path) // 2:
            path = routing.lengthened(path, 2 * end)
        path[begin:end] = cells
        self._fixed = (begin, end)
        self.keep_path(path, end)

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
        choosing = self._choosing_riders() if riders else NOBODY
        self._plan_and_send(self._simulation.admit(begin_s, end_s, self._routing.share), choosing)
        self.next_dispatch = end_s

    def state(self) -> dict[str, object]:
        """Return what a saved state holds; the routes are among the kernel's arrays."""
        state = {"cost": self.cost, "costed": self._costed, "next_dispatch": self.next_dispatch}
        return state | {"used": self.used, "fixed": self._fixed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, whose routes are in the store."""
        self.cost, self._costed = state["cost"], state["costed"]
        self.used, self._fixed, self.next_dispatch = state["used"], state["fixed"], state["next_dispatch"]
        begin, end = self._fixed
        if end - begin < len(self.routes.link):  # the saved run had a nearer horizon, and so fewer trips
            self.assign(self.routes)

    def closures_changed(self, reroute: Sequence[int] = ()) -> None:
        """Plan anew those who have not left yet; with ``reroute`` also those with one of these links before them."""
        simulation, traffic = self._simulation, self._simulation.traffic
        now, vehicle = simulation.time_s, traffic.vehicle
        held = (simulation.roster.trip >= 0) & ~np.isfinite(vehicle["enter"])
        since, riders = now, NOBODY
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
        self._plan_and_send(pending, riders, anew=bool(reroute))

    # --- routes -----------------------------------------------------------------------------------------------------

    def _free(self, vehicles: Int, queues: Int) -> tuple[Int, Int]:
        """Return those of the vehicles, with their queues, that may leave their route."""
        if not self._bound.any():
            return vehicles, queues
        free = ~self._bound[self._simulation.roster.trip[vehicles]]
        return vehicles[free], queues[free]

    def _choosing_riders(self) -> tuple[Int, Int]:
        """Return the informed drivers under way, who choose again from the end of the link they are on."""
        simulation = self._simulation
        vehicles, queues = engine_riders.riders(simulation.roads, simulation.traffic)
        if self._routing.share < 1.0:
            choose = simulation.roster.informed[vehicles]
            vehicles, queues = vehicles[choose], queues[choose]
        return self._free(vehicles, queues)

    def _plan_and_send(self, vehicles: Int, riders: tuple[Int, Int], *, anew: bool = False) -> None:
        """Give routes to vehicles that set off, in order of departure, and to riders: one tree per destination.

        ``anew``: those who set off do not keep the route that they were assigned.
        """
        simulation, trips = self._simulation, self._simulation.trips
        rows = simulation.roster.trip[vehicles]
        keeps = self._bound[rows] if anew else self._given[rows]
        free, kept = np.flatnonzero(~keeps), np.flatnonzero(keeps)
        first, n_riders = np.empty(len(vehicles), np.int32), len(riders[0])
        links = simulation.roads.part["link"][simulation.roads.queue["part"][riders[1]]]
        cost = self.cost + routing.CLOSED_S * (simulation.control.closed > 0)
        start, node = (-1 - links).astype(np.int32), trips.destination[simulation.roster.trip[riders[0]]]
        if self._routing.update == "logit":
            first[free] = self._draw(vehicles[free], cost)
        else:
            start = np.concatenate([start, trips.origin[rows[free]]])
            node = np.concatenate([node, trips.destination[rows[free]]])
        routes = routing.plan_routes(
            self._map, cost, start, node, simulation.traffic.path, self.used, threads=simulation.threads
        )
        self.keep_path(routes.path, routes.used)
        traffic = simulation.traffic
        if self._routing.update != "logit":
            first[free] = routes.first[n_riders:]
            traffic.vehicle["step"][vehicles[free]] = routes.step[n_riders:]
        first[kept] = self._follow(vehicles[kept], rows[kept])
        traffic = simulation.traffic
        if n_riders:
            new, total = routes.step[:n_riders], routes.total[:n_riders]
            limit = routing.CLOSED_S
            engine_guidance.adopt(simulation.roads, traffic, *riders, new, total, limit, simulation.time_s)
            self._moved = True
        if self._moved:
            engine_riders.look_again(simulation.roads, traffic)
            self._moved = False
        if self.first_links is not None:
            self.first_links[vehicles] = first
        engine.join_origins(simulation.roads, traffic, vehicles, self._first_part[first])

    def _draw(self, vehicles: Int, cost: Float) -> Int:
        """Let vehicles draw one of the cheapest routes, and return their first links."""
        simulation, trips, roster = self._simulation, self._simulation.trips, self._simulation.roster
        rows, times = roster.trip[vehicles], simulation.traffic.vehicle["depart"][vehicles]
        pair = trips.origin[rows].astype(np.int64) * simulation.city.n_nodes + trips.destination[rows]
        pairs, of_vehicle = np.unique(pair, return_inverse=True)
        ends = ((pairs // simulation.city.n_nodes).astype(np.int32), (pairs % simulation.city.n_nodes).astype(np.int32))
        found = engine_paths.plan_alternatives(
            self._map,
            cost,
            *ends,
            self._routing.paths,
            simulation.traffic.path,
            self.used,
            threads=simulation.threads,
        )
        self.keep_path(found.path, found.used)
        total = found.total
        if self.times is not None:
            total = self.times.along(found, self._map.movement_to, simulation.time_s + 0.5 * self._routing.interval_s)
            total = np.where(found.total < routing.CLOSED_S, total, found.total)
        shares = logit_shares(total, self._routing.theta)
        chosen = choose(shares[of_vehicle], roster.chance(ROUTE, rows, times))
        simulation.traffic.vehicle["step"][vehicles] = found.step[of_vehicle, chosen]
        first: Int = found.first[of_vehicle, chosen]
        return first

    def _follow(self, vehicles: Int, rows: Long) -> Int:
        """Give vehicles their fixed routes and return their first links."""
        if not len(vehicles):
            return np.zeros(0, np.int32)
        start = self.routes.start[rows]
        self._simulation.traffic.vehicle["step"][vehicles] = self._fixed[0] + start
        return self.routes.link[start]

    # --- store ------------------------------------------------------------------------------------------------------

    def keep_path(self, path: Int, used: int) -> None:
        """Go on with this store of routes."""
        self.used = used
        if path is not self._simulation.traffic.path:
            self._simulation.use(self._simulation.traffic._replace(path=path))

    def _make_room(self) -> None:
        """Forget old routes once they may be half of the store."""
        begin, end = self._fixed
        fixed = end - begin
        if self.used - fixed > (len(self._simulation.traffic.path) - fixed) // 2:
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
        path = np.zeros(size, np.int32)
        vehicles, _ = engine_riders.riders(simulation.roads, traffic)
        begin, end = self._fixed
        fixed = end - begin
        path[:fixed] = traffic.path[begin:end]
        used = engine_guidance.compact(simulation.roads, traffic, vehicles, self.used, begin, end, path)
        self._fixed = (0, fixed)
        if used - fixed > (size - fixed) // 4:  # else it would be full again soon
            path = routing.lengthened(path, 2 * size)
        self.keep_path(path, used)
        self._moved = True

    # --- costs ------------------------------------------------------------------------------------------------------

    def _refresh_costs(self) -> None:
        """Set link costs to the travel times of the last interval: vehicle-seconds per vehicle that passed."""
        if self._routing.update in ("fixed", "equilibrium"):
            return
        now = self._simulation.cumulative()
        if self._costed is not None:
            passed = 0.5 * ((now.entered - self._costed.entered) + (now.left - self._costed.left))
            spent = now.vehicle_seconds - self._costed.vehicle_seconds
            self.cost = np.maximum(self._simulation.roads.link["free_time"], spent / np.maximum(passed, 0.5))
        self._costed = now
        if self.times is not None:
            self.cost = self.times.at(now.time_s + 0.5 * self._routing.interval_s)
