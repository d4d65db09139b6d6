"""A workload in UXsim, the mesoscopic solver of Seo (2025), Journal of Open Source Software 10(106), 7617,
doi 10.21105/joss.07617.

UXsim moves platoons of ``deltan`` vehicles by Newell's simplified car following, in steps of ``deltan`` seconds; its
C++ engine is switched on with ``cpp=True``. Vehicles are handed to that engine directly: its Python wrapper would make
an object for drawing of each. Its log of every vehicle at every step, on as it comes, can be turned off: that makes it
two to four times as fast.
"""

import time
from importlib.metadata import version

import numpy as np
import uxsim
from uxsim import uxsim_cpp

from benchmarks.peer import Run
from benchmarks.workload import Float, Long, Workload

DRIVER_S = 1.0  # time that a driver takes to react, per lane
PAST_ROUNDING_S = 1e-6  # so that a departure on a step is not rounded down to the step before


def run(workload: Workload, *, platoon: int = 1, threads: int = 1, seed: int = 1, log: bool = False) -> Run:
    """Return the run of a workload in UXsim; drivers choose anew every 600 s, half of their preference at a time.

    Parameters
    ----------
    platoon
        Vehicles that move as one. Those of one pair of nodes that leave one after the other are put together; what is
        left of a pair becomes a platoon with the probability that keeps the number of vehicles.
    log
        Keep the place of every vehicle at every step, as UXsim does unless told otherwise.

    Raises
    ------
    ValueError
        When a link's diagram is not the triangle of a driver who takes 1 s.
    """
    roads, step = workload.network.compile(), platoon * DRIVER_S
    react = roads.lanes / (roads.wave_speed * roads.jam_density)
    top = roads.free_speed * roads.wave_speed * roads.jam_density / (roads.free_speed + roads.wave_speed)
    for link in np.flatnonzero((np.abs(react - DRIVER_S) > 1e-6) | (np.abs(roads.capacity / top - 1.0) > 1e-6)):
        raise ValueError(f"link {roads.link_ids[link]}: UXsim needs a triangle with w k = 1 / s and lane")
    world = uxsim.World(
        cpp=True,
        deltan=platoon,
        reaction_time=DRIVER_S,
        tmax=workload.horizon_s,
        random_seed=seed,
        threads=threads,
        vehicle_logging_timestep_interval=int(log),
        print_mode=0,
        save_mode=0,
        show_progress=0,
    )
    for name, (x, y) in zip(roads.node_ids, roads.node_xy.tolist(), strict=True):
        world.addNode(name, x, y)
    for k, name in enumerate(roads.link_ids):
        world.addLink(
            name,
            roads.node_ids[roads.from_node[k]],
            roads.node_ids[roads.to_node[k]],
            float(roads.length[k]),
            free_flow_speed=float(roads.free_speed[k]),
            jam_density=float(roads.jam_density[k]),
            number_of_lanes=int(roads.lanes[k]),
            merge_priority=float(roads.priority[k]),
        )
    engine = world._cpp_world
    vehicles, depart = _platoons(workload, platoon, seed)
    for vehicle, time_s in zip(vehicles.tolist(), depart.tolist(), strict=True):
        ends = (roads.node_ids[workload.origin[vehicle]], roads.node_ids[workload.destination[vehicle]])
        begin = time_s // step * step + PAST_ROUNDING_S
        uxsim_cpp.add_demand(engine, *ends, begin, begin + step, 1.0, [])
    world.finalize_scenario()
    if workload.routes is not None:
        links = [link._cpp_link for link in world.LINKS]
        for place, vehicle in enumerate(vehicles.tolist()):
            engine.get_vehicle_by_index(place).enforce_route([links[k] for k in workload.routes[vehicle]])
    start, clock = time.process_time(), time.perf_counter()
    engine.main_loop(-1.0, float(workload.horizon_s // step * step))
    spent, wall = time.process_time() - start, time.perf_counter() - clock
    curves = [(link.cum_arrival, link.cum_departure) for link in world.LINKS]
    on_links = sum(float((into - out).sum()) for into, out in curves) * step
    entered, left = (np.array([round(curve[side][-1]) for curve in curves], np.int64) for side in (0, 1))
    arrive = np.full(len(workload), np.nan)  # of a platoon, that of its first vehicle alone
    # UXsim counts arrivals in steps.
    done = [engine.get_vehicle_by_index(place) for place in range(len(vehicles))]
    arrive[vehicles] = [v.arrival_time * step if v.arrival_time > 0 else np.nan for v in done]
    total = np.where(np.isnan(arrive[vehicles]), workload.horizon_s, arrive[vehicles]) - depart
    return Run(
        solver=f"UXsim {version('uxsim')} C++, deltan={platoon}, log {'on' if log else 'off'}",
        spent_s=spent,
        wall_s=wall,
        arrive=arrive,
        entered=entered,
        left=left,
        vehicle_seconds=on_links,
        waiting_s=max(0.0, float(total.sum()) * platoon - on_links),
        distance_m=float((left * roads.length).sum()),
    )


def _platoons(workload: Workload, size: int, seed: int) -> tuple[Long, Float]:
    """Return a vehicle of each platoon and when the platoon leaves, in order of departure."""
    if size == 1:
        order = np.argsort(workload.depart, kind="stable")
        return order, workload.depart[order]
    random = np.random.default_rng(seed)
    pair = workload.origin * len(workload.network.nodes) + workload.destination
    order = np.lexsort((workload.depart, pair))
    edges = np.flatnonzero(np.diff(pair[order], prepend=-1, append=-1))
    place = np.arange(len(order)) - np.repeat(edges[:-1], np.diff(edges))
    left = np.repeat(edges[1:], np.diff(edges)) - np.arange(len(order))
    first = place % size == 0
    keep = first & (random.random(len(order)) * size < left)
    last = np.flatnonzero(keep) + np.minimum(size, left[keep]) - 1
    vehicles, depart = order[last], workload.depart[order[last]]
    sort = np.argsort(depart, kind="stable")
    return vehicles[sort], depart[sort]
