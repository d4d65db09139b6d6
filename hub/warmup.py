"""Compile kernels ahead of the first start: ``python -m hub.warmup [engine] [moves] [estimator]``, all without a word.

Two processes at once, one for ``engine`` and one for ``moves estimator``, take about two thirds of the time of one.

The results are kept beside the sources. What the first start imports is imported here, so that its bytecode is there
too.
"""

import sys

import hub.running
import hub.street  # noqa: F401
from sensors import Batch
from simulation import compile_kernels
from simulation.warm_up import compile_moves
from twin import Asset, AssetGraph, Dependency, Network
from twin.twin import Twin


def compile_estimator() -> None:
    """Estimate the state of a street of two links, and ask about two pieces of equipment."""
    network = Network.from_tables(
        {
            "node": [{"node_id": name, "x_coord": 120.0 + k / 100, "y_coord": 30.0} for k, name in enumerate("ABC")],
            "link": [
                {"link_id": a + b, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 50}
                for a, b in ("AB", "BC", "BA", "CB")
            ],
        }
    )
    Twin(network, started_at=0.0).assimilate(Batch(), now=1.0)
    equipment = AssetGraph({name: Asset(name, "cabinet") for name in "FK"}, (Dependency("K", "F"),))
    equipment.common_cause(["K"])
    equipment.single_points_of_failure()


def main() -> None:
    """Compile what was asked for."""
    parts = {"engine": compile_kernels, "moves": compile_moves, "estimator": compile_estimator}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
