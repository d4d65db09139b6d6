"""Speed of the traffic engine: a grid with single vehicles, with and without signals; asserts what was done."""

import argparse
import time

import numpy as np

from simulation import Demand, Scenario, Simulation, compile_kernels
from twin import Network


def grid(n: int, lanes: int = 2, length: float = 400.0) -> Network:
    """Return an n x n grid of two-way streets."""
    nodes = [
        {"node_id": f"{i},{j}", "x_coord": 120 + i * 0.004, "y_coord": 30 + j * 0.004}
        for i in range(n)
        for j in range(n)
    ]
    links = []
    for i in range(n):
        for j in range(n):
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                if 0 <= i + di < n and 0 <= j + dj < n:
                    a, b = f"{i},{j}", f"{i + di},{j + dj}"
                    row = {"link_id": f"{a}>{b}", "from_node_id": a, "to_node_id": b, "lanes": lanes, "length": length}
                    links.append({**row, "free_speed": 50})
    return Network.from_tables({"node": nodes, "link": links})


def signals(n: int) -> str:
    """Return a scenario with a two-stage signal at every inner node of the grid."""
    text = ""
    for i in range(1, n - 1):
        for j in range(1, n - 1):
            here = f"{i},{j}"
            arms = {(di, dj): f"{i + di},{j + dj}" for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1))}
            text += f'[[signal]]\nnode = "{here}"\ncycle_s = 60\noffset_s = {(i + j) * 10 % 60}\n'
            for axis in (0, 1):
                pairs = [
                    f'["{arms[a]}>{here}", "{here}>{arms[b]}"]' for a in arms if (a[axis] != 0) for b in arms if b != a
                ]
                text += f"[[signal.stage]]\ngreen_s = 27\nintergreen_s = 3\nmovements = [{', '.join(pairs)}]\n"
    return text


def trips(network: Network, vehicles: int, period_s: float) -> Demand:
    """Return trips between random nodes, spread evenly over a period."""
    rng = np.random.default_rng(1)
    ids = network.compile().node_ids
    start = rng.integers(0, len(ids), vehicles)
    end = (start + rng.integers(1, len(ids), vehicles)) % len(ids)
    depart = np.linspace(0, period_s, vehicles, endpoint=False)
    return Demand.of_trips(network, depart.tolist(), [ids[k] for k in start], [ids[k] for k in end])


def measure(name: str, network: Network, demand: Demand, scenario: Scenario, horizon_s: float) -> None:
    """Run once and print what was done and how fast."""
    simulation = Simulation(network, demand, scenario=scenario)
    begin = time.process_time()
    simulation.advance(horizon_s)
    spent = time.process_time() - begin
    counts = simulation.counts()
    crossings = int(simulation.cumulative().entered.sum())
    assert counts.demanded == len(demand.trips()), "not everyone was demanded"
    assert crossings >= counts.arrived, "vehicles arrived without driving"
    print(
        f"{name:<28} {counts.demanded:>9,} vehicles {counts.arrived:>9,} arrived {crossings:>10,} crossings "
        f"{spent:>7.2f} s CPU {crossings / spent / 1e6:>6.2f} M/s {horizon_s / spent:>8,.0f} x real time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=11, help="nodes along a side of the grid")
    parser.add_argument("--vehicles", type=int, default=40_000)
    parser.add_argument("--period", type=float, default=3600.0, help="s over which they depart")
    args = parser.parse_args()
    begin = time.process_time()
    compile_kernels()
    print(f"kernels compiled or loaded in {time.process_time() - begin:.1f} s")
    network = grid(args.size)
    demand = trips(network, args.vehicles, args.period)
    horizon = args.period + 3600.0
    fixed = '[routing]\nupdate = "fixed"\n'
    measure("fixed routes", network, demand, Scenario.parse(fixed), horizon)
    measure("routes at departure", network, demand, Scenario(), horizon)
    measure("fixed routes, signals", network, demand, Scenario.parse(fixed + signals(args.size)), horizon)


if __name__ == "__main__":
    main()
