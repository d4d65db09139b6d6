"""Compile every kernel ahead of the first start: ``python -m hub.warmup``; the results are kept beside the sources."""

from sensors import Batch
from simulation import compile_kernels
from twin import Network
from twin.twin import Twin


def main() -> None:
    """Run the engine and the estimator once on a street of two links."""
    compile_kernels()
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


if __name__ == "__main__":
    main()
