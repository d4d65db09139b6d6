"""What the failure of an asset does to the street of a run: signals that are lost, links that are shut."""

from collections.abc import Container

from simulation.happening import AssetFailure
from twin import Network


def failed_signals(
    network: Network, failure: AssetFailure, signalised: Container[str]
) -> list[tuple[str, str, float, float]]:
    """Return the signals that fail with an asset: (node id, mode, from, until); `twin.outage` says how and when."""
    outage = network.assets.outage({failure.asset: failure.from_s})
    return [
        (signal.node_id, signal.mode, signal.time, failure.until_s)
        for signal in outage.signals()
        if signal.node_id in signalised and signal.time < failure.until_s
    ]


def shut_links(network: Network, failure: AssetFailure) -> list[tuple[str, float, float]]:
    """Return the links that are shut with an asset (a bridge): (link id, from, until)."""
    closed = network.assets.outage({failure.asset: failure.from_s}).closed_links()
    return [(link, time, failure.until_s) for link, time in closed.items() if time < failure.until_s]
