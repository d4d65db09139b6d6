"""Pictures of what the engine keeps to: the fundamental diagram, a bottleneck's curves, a shock wave.

python examples/first_principles.py FOLDER
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from simulation import Demand, Scenario, simulate
from simulation.plot import cumulative_curves, fundamental_diagram, time_space
from twin import Network

V, W, K_JAM, Q_MAX = 10.0, 5.0, 0.15, 0.5  # m/s, m/s, veh/m, veh/s of a lane


def corridor(pieces, length_m, capacity_veh_h):
    """Return a road of pieces of one length, and a narrower road behind it."""
    names = [f"N{k:02d}" for k in range(pieces + 2)]
    link = {"lanes": 1, "free_speed": V * 3.6, "length": length_m}
    return Network.from_tables(
        {
            "node": [{"node_id": name, "x_coord": 120 + k / 200, "y_coord": 30} for k, name in enumerate(names)],
            "link": [
                {**link, "link_id": f"L{k:02d}", "from_node_id": names[k], "to_node_id": names[k + 1]}
                | ({"capacity": capacity_veh_h, "length": 1000} if k == pieces else {})
                for k in range(pieces + 1)
            ],
        }
    )


def trips(network, departures):
    """Return vehicles that drive the whole corridor."""
    ids, n = network.compile().node_ids, len(departures)
    return Demand.of_trips(network, list(departures), [ids[0]] * n, [ids[-1]] * n)


def diagram():
    """Throttle the road behind a link more and more: the samples of the link trace the triangle."""
    network = corridor(1, 1000, 1800)
    text = "".join(
        f'[[capacity]]\nlinks = ["L01"]\nfactor = {factor}\nfrom_s = {start}\nuntil_s = {start + 1200}\n'
        for start, factor in ((1200, 0.8), (2400, 0.6), (3600, 0.4), (4800, 0.2))
    )
    growing = np.concatenate([np.arange(0, 400, 8.0), np.arange(400, 800, 4.0), np.arange(800, 6000, 1 / Q_MAX)])
    demand = trips(network, growing)
    result = simulate(network, demand, scenario=Scenario.parse(text), horizon_s=6000, sample_every_s=200)
    return fundamental_diagram(result, "L00")


def curves():
    """Let 600 vehicles come at 0.4 veh/s to a bottleneck of 0.25 veh/s: the area between the curves is their delay."""
    network = corridor(1, 12000, 900)
    return cumulative_curves(simulate(network, trips(network, np.arange(600) / 0.4)), "L00")


def shock_wave():
    """Draw the same along the road: the tail of the queue moves at the slope between the two states (dashed)."""
    network = corridor(24, 500, 900)
    result = simulate(network, trips(network, np.arange(600) / 0.4), sample_every_s=30, horizon_s=2400)
    axes = time_space(result, [f"L{k:02d}" for k in range(24)])
    speed = (0.25 - 0.4) / ((K_JAM - 0.25 / W) - 0.4 / V)
    when = np.array([12000 / V, 2000.0])
    axes.plot(when / 60, (12000 + speed * (when - when[0])) / 1000, "k--", label=f"theory: {speed:.2f} m/s")
    axes.legend(loc="lower right")
    return axes


if __name__ == "__main__":
    mpl.use("Agg")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (diagram, curves, shock_wave):
        draw().figure.savefig(folder / f"{draw.__name__}.png", dpi=80, metadata={"Software": None})
        print(folder / f"{draw.__name__}.png")
