"""A SimPy process of your own: a lane breaks down, a patrol clears it ten minutes later.

python examples/patrol.py NETWORK LINK
"""

import sys

from simulation import simulate
from twin import Network


def patrol(env, simulation):
    yield env.timeout(900)
    breakdown = simulation.add_incident(LINK, position_m=120, lanes_blocked=1)
    yield env.timeout(600)
    simulation.remove_incident(breakdown)


if __name__ == "__main__":
    network, LINK = Network.read(sys.argv[1]), sys.argv[2]
    usual, with_patrol = simulate(network), simulate(network, processes=[patrol])
    more = with_patrol.summary()["total_delay_s"] - usual.summary()["total_delay_s"]
    print(f"the breakdown on {LINK} costs {more / 60:.0f} vehicle-minutes")
