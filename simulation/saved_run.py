"""What of a run a saved state holds, and the arrays of a run that goes on from one."""

import numpy as np

from simulation.demand import Demand
from simulation.recipe import version_of
from simulation.saved import SavedState, restored
from simulation.scenario import Scenario
from simulation.street import Roads, Traffic, no_vehicles
from twin import Network

# How the threads of a machine share the street: another machine shares it otherwise.
BLOCKS = ("block_start", "meeting", "meeting_start", "heap", "heap_place", "crosses", "block")
# What a saved state does not hold: it is made anew from the inputs, or saved in a form of its own.
MADE_ANEW = frozenset(
    (
        *("network", "scenario", "seed", "_demand", "city", "notes", "chart", "_greens", "repeat_s", "trips"),
        *("unreachable", "guidance", "env", "roster", "control", "roads", "traffic", "_until", "_own_processes"),
        *("agenda", "lights", "threads", "_window_s", "window_s", "inlink", "_junctions", "_plans", "_first", "_last"),
    )
)


def identity(network: Network, demand: Demand, scenario: Scenario, seed: int) -> dict[str, tuple[object, str]]:
    """Return what has to be the same for a state to fit, and what each is called."""
    return {
        "network_sha256": (network.sha256, "network"),
        "demand_sha256": (demand.sha256(), "demand"),
        "scenario_sha256": (scenario.sha256(), "scenario"),
        "seed": (seed, "seed"),
        "version": (version_of("citytwin"), "version of citytwin"),
    }


def roads(state: SavedState, made: Roads) -> Roads:
    """Return the roads of a saved state, in the blocks of those that were ``made`` anew."""
    return made._replace(
        **{
            name: restored(array, state.arrays[f"roads.{name}"], name, keep=BLOCKS)
            for name, array in made._asdict().items()
            if name not in BLOCKS
        }
    )


def traffic(state: SavedState, street: Roads, made: Traffic) -> Traffic:
    """Return the traffic of a saved state on its ``street``; the heap is that of the blocks of ``made``."""
    arrays = {
        name: restored(array, state.arrays[f"traffic.{name}"], name)
        for name, array in made._asdict().items()
        if name not in (*BLOCKS, "vehicle")
    }
    saved = state.arrays["traffic.vehicle"]
    vehicles = no_vehicles(max(len(saved), len(made.vehicle)))
    arrays["vehicle"] = restored(vehicles, saved, "vehicle", into=True)
    # In order of time nodes are a heap, whatever the blocks in which the threads of this machine share them.
    heap = np.lexsort((arrays["wake"], street.node["block"])).astype(np.int32)
    made.heap[:] = heap
    made.heap_place[heap] = np.arange(len(heap))
    return made._replace(**arrays)
