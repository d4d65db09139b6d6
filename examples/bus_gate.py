"""A signal controller of your own: stage 1 rests, and every second minute the others get ten seconds each.

python examples/bus_gate.py NETWORK NODE
"""

import sys

from simulation import simulate
from twin import Network


def bus_gate(env, simulation):
    lights, node = simulation.lights, simulation.lights.node(NODE)
    while True:
        for stage in range(1, len(lights.plan(node).stages)):
            lights.show(node, stage, env.now)
            yield env.timeout(10)
            lights.red(node, env.now)
            yield env.timeout(5)
        lights.show(node, 0, env.now)
        yield env.timeout(120)


if __name__ == "__main__":
    network, NODE = Network.read(sys.argv[1]), sys.argv[2]
    print(simulate(network, processes=[bus_gate]))
