"""Compile kernels ahead of the first start: ``python -m hub.warmup engine`` or ``estimator``, or both without a word.

The results are kept beside the sources. What the first start imports is imported here, so that its bytecode is there
too.
"""

import sys

import hub.running
import hub.street  # noqa: F401
from sensors import Batch
from simulation import compile_kernels
from twin import Network
from twin.twin import Twin

PARTS = ("engine", "estimator")


def compile_estimator() -> None:
    """Estimate the state of a street of two links."""
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


def main() -> None:
    """Compile what was asked for."""
    wanted = sys.argv[1:] or PARTS
    if "engine" in wanted:
        compile_kernels()
    if "estimator" in wanted:
        compile_estimator()


if __name__ == "__main__":
    main()
