"""The city in a few numbers, from one snapshot; effect is measured in people's time."""

from dataclasses import dataclass

import numpy as np

from twin.compiled import CompiledNetwork
from twin.state import Snapshot

# Below half of free-flow speed a link counts as congested; level of service F of urban streets starts at 30 % and E at
# 40 % of base free-flow speed. Source: HCM 7th ed. (2022), exhibit 18-1.
CONGESTED_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of the whole network.

    Parameters
    ----------
    speed_ratio
        Speed over free-flow speed, averaged over vehicles.
    congested_km
        Length of links below half of their free-flow speed.
    delay_veh_h_per_h
        Vehicle-hours lost in one hour if it stays as it is: vehicles times the share of time they lose.
    vehicles
        Vehicles on all links, density times length.
    """

    speed_ratio: float
    congested_km: float
    delay_veh_h_per_h: float
    vehicles: float


def summarise(snapshot: Snapshot, compiled: CompiledNetwork) -> Summary:
    """Return the summary of a snapshot.

    Examples
    --------
    A link with 10 vehicles at half of its free-flow speed loses five vehicle-hours an hour.
    """
    ratio = np.clip(np.nan_to_num(snapshot.speed / compiled.free_speed, nan=1.0), 0.0, 1.0)
    vehicles = np.nan_to_num(snapshot.density) * compiled.length
    total = float(vehicles.sum())
    return Summary(
        speed_ratio=float((vehicles * ratio).sum() / total) if total > 0 else 1.0,
        congested_km=float(compiled.length[ratio < CONGESTED_RATIO].sum() / 1000),
        delay_veh_h_per_h=float((vehicles * (1 - ratio)).sum()),
        vehicles=total,
    )
