"""What a scenario is made of: closures, incidents, changed capacities and speeds, failures, and how drivers choose."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Closure:
    """Links that nothing enters from ``from_s`` until ``until_s``; vehicles already on them leave."""

    links: tuple[str, ...]
    from_s: float = 0.0
    until_s: float = math.inf
    reroute: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """A point of a link at which lanes are blocked; what passes is the other lanes' share of the capacity."""

    link: str
    position_m: float
    lanes_blocked: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class CapacityChange:
    """A factor on what enters and leaves links: works, weather."""

    links: tuple[str, ...]
    factor: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class SpeedLimit:
    """A lower free speed on links; it applies to the distance still to go."""

    links: tuple[str, ...]
    speed_kmh: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class LaneClosure:
    """Lanes of links that are closed over their whole length: their share of capacity and storage is gone."""

    links: tuple[str, ...]
    closed: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class AssetFailure:
    """An asset that fails, with all that depends on it."""

    asset: str
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Emergency:
    """A vehicle with priority: signals on its way turn green for it ``lead_s`` before it arrives."""

    from_node: str
    to_node: str
    depart_s: float = 0.0
    links: tuple[str, ...] = ()
    lead_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Routing:
    """How vehicles choose their way.

    Parameters
    ----------
    update
        ``fixed``: the shortest at free flow; ``departure``: the shortest of now; ``periodic``: also again under way,
        for a share; ``logit``: one of several at departure; ``equilibrium``: so that nobody gains by another.
    interval_s
        Between two looks at the times on the links.
    share
        Of the drivers who choose again under way.
    times
        ``instantaneous``: the times of the last interval; ``experienced``: those that a vehicle will meet, from a run
        before this one.
    paths, theta
        For ``logit``: how many, and how much a second counts (1/s).
    iterations, gap
        For ``equilibrium``: at most so many runs, fewer once the relative gap is no larger.
    """

    update: str = "departure"
    interval_s: float = 300.0
    share: float = 1.0
    times: str = "instantaneous"
    paths: int = 3
    theta: float = 0.01
    iterations: int = 20
    gap: float = 0.01
