"""The model of the city: its network, its equipment and its state. No network traffic, no database."""

from twin.assets import Asset, AssetGraph, Dependency
from twin.compiled import CompiledNetwork
from twin.network import Network
from twin.signal import SignalPlan, Stage
from twin.state import SensorState, Snapshot, Source
from twin.validate import Fault

__all__ = [
    "Asset",
    "AssetGraph",
    "CompiledNetwork",
    "Dependency",
    "Fault",
    "Network",
    "SensorState",
    "SignalPlan",
    "Snapshot",
    "Source",
    "Stage",
]
