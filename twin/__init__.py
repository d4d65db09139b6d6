"""The model of the city: its network, its equipment and its state. No network traffic, no database."""

from twin.assets import Asset, AssetGraph, Dependency
from twin.compiled import CompiledNetwork
from twin.network import Network
from twin.signal import SignalPlan, Stage
from twin.state import SensorState, Snapshot, Source

__all__ = [
    "Asset",
    "AssetGraph",
    "CompiledNetwork",
    "Dependency",
    "Network",
    "SensorState",
    "SignalPlan",
    "Snapshot",
    "Source",
    "Stage",
]
