"""The state of the city at one instant: a snapshot of every link and sensor, frozen so that readers need no lock."""

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twin.finding import Finding
from twin.interval import normal_interval

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class Source(enum.IntEnum):
    """Where a link's state comes from; nothing is ever shown without it."""

    GUESSED = 0  # the prior is all there is
    ESTIMATED = 1  # its neighbours say so: posterior deviation at most 0.7 of the prior's
    MEASURED = 2  # a healthy detector of this link reported within its interval


@dataclass(frozen=True, slots=True)
class SensorState:
    """What is known of each sensor, by quantity: series are (sensor, quantity) pairs.

    Parameters
    ----------
    sensor_ids, quantities, link_ids
        (n_series,); the link is ``""`` for a sensor without one.
    time : (n_series,) s since 1970 UTC
        End of the last measured interval, NaN before the first.
    value : (n_series,) unit of the quantity
    interval_s : (n_series,) s
    unchanged_since : (n_series,) s since 1970 UTC
        Since when the value repeats; readings without vehicles do not count as repeats.
    expected_since : (n_series,) s since 1970 UTC
        Since when the sensor is expected to report: the start of the twin or the sensor's first sight.
    repeats : (n_series,)
        How many readings in a row repeated the value before them.
    silent, stuck : (n_series,)
        No reading for several intervals; more repeats than this series' own past makes likely. Neither is used as a
        measurement.
    suspicion : (n_series,) uint8 of `twin.finding.Suspicion`
        Why its neighbours and its own past contradict it; not used as a measurement either. 0: they do not.
    compared : (n_series,)
        Enough is known of it and of its neighbours to suspect it.
    suspected_since : (n_series,) s since 1970 UTC, NaN where not suspected
    findings
        (n_series,) the suspicion with its figures, None without one.
    registered : (n_series,)
        The network's table of sensors has this sensor; others are admitted as unverified.
    reported : (n_series,)
        A reading is newer than the start of the twin; what is known of others was stored by an earlier run.
    dark : (n_series,)
        The sensor is part of equipment that does not work, or that nobody hears, since an asset failed: it is not
        expected to report, hence not silent, and not used as a measurement if it does.
    first_time : (n_series,) s since 1970 UTC
        Of the first reading that this twin was given, NaN before it: what repeats since then may repeat for longer.
    """

    sensor_ids: tuple[str, ...]
    quantities: tuple[str, ...]
    link_ids: tuple[str, ...]
    time: Float
    value: Float
    interval_s: Float
    unchanged_since: Float
    expected_since: Float
    repeats: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    silent: Bool = field(default_factory=lambda: np.zeros(0, np.bool_))
    stuck: Bool = field(default_factory=lambda: np.zeros(0, np.bool_))
    suspicion: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    compared: Bool = field(default_factory=lambda: np.zeros(0, np.bool_))
    suspected_since: Float = field(default_factory=lambda: np.zeros(0))
    findings: tuple[Finding | None, ...] = ()
    registered: Bool = field(default_factory=lambda: np.zeros(0, np.bool_))
    reported: Bool = field(default_factory=lambda: np.zeros(0, np.bool_))
    first_time: Float = field(default_factory=lambda: np.zeros(0))
    dark: Bool = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __post_init__(self) -> None:
        n = len(self.sensor_ids)
        defaults = {
            "repeats": 0,
            "silent": False,
            "stuck": False,
            "suspicion": 0,
            "compared": False,
            "registered": True,
            "reported": True,
            "dark": False,
        }
        if len(self.findings) != n:
            object.__setattr__(self, "findings", (None,) * n)
        for name, value in {**defaults, "first_time": np.nan, "suspected_since": np.nan}.items():
            given = getattr(self, name)
            if len(given) != n:  # left out
                object.__setattr__(self, name, np.full(n, value, given.dtype))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of all links and sensors at one city time.

    Parameters
    ----------
    time : s since 1970 UTC, city clock
    sequence
        Counts snapshots of this run from 1.
    network_sha256
        Which network the arrays belong to; link order is that of `CompiledNetwork.link_ids`.
    speed, speed_deviation : (n_links,) m/s
    flow, flow_deviation : (n_links,) veh/s
    speed_interval, flow_interval : (2, n_links)
        Low and high end of the 90 % interval of what is true there; a detector's reading has its own noise on top.
        Not always the middle plus and minus 1.645 deviations: jams lie below, and no street runs backwards.
    density : (n_links,) veh/m, flow / speed
    source : (n_links,) uint8 of `Source`
        The better one of speed and flow.
    measured_at : (n_links,) s since 1970 UTC of the newest reading used, NaN without one
    sensors
        What is known of each sensor.
    speed_source, flow_source : (n_links,) uint8 of `Source`
        A detector that saw no vehicle measures a flow of 0 and no speed, so that the two may differ.
    probes : (n_links,)
        How many passages of vehicles that tell where they are the speed rests on, of the last minutes and fading.
    """

    time: float
    sequence: int
    network_sha256: str
    speed: Float
    speed_deviation: Float
    flow: Float
    flow_deviation: Float
    density: Float
    source: npt.NDArray[np.uint8]
    measured_at: Float
    sensors: SensorState
    speed_source: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    flow_source: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    probes: Float = field(default_factory=lambda: np.zeros(0))
    speed_interval: Float = field(default_factory=lambda: np.zeros((2, 0)))
    flow_interval: Float = field(default_factory=lambda: np.zeros((2, 0)))

    def __post_init__(self) -> None:
        for name in ("speed_source", "flow_source"):
            if len(getattr(self, name)) != len(self.source):  # left out
                object.__setattr__(self, name, self.source)
        if len(self.probes) != len(self.source):
            object.__setattr__(self, "probes", np.zeros(len(self.source)))
        for name in ("speed", "flow"):
            if getattr(self, f"{name}_interval").shape[1] != len(self.source):
                ends = normal_interval(getattr(self, name), getattr(self, f"{name}_deviation"))
                object.__setattr__(self, f"{name}_interval", ends)
        for holder in (self, self.sensors):
            for name in holder.__slots__:
                value = getattr(holder, name)
                if isinstance(value, np.ndarray):
                    value.flags.writeable = False
