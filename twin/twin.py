"""The live twin: takes each interval's batch and returns the state of the whole city, silence included."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sensors import Batch, Sensor
from twin.compiled import CompiledNetwork
from twin.estimate import Estimator
from twin.finding import Suspicion
from twin.measure import LinkSensors
from twin.memory import Memory
from twin.outage import Outage
from twin.prior import Prior, free_flow_prior
from twin.probes import Probes
from twin.signal import SignalPlan
from twin.state import Snapshot
from twin.stop_control import degraded_prior
from twin.suspect import Kept, Suspects

# A value serves as a measurement for this many of its intervals and at least so long; then the sensor is silent.
MAXIMUM_AGE_INTERVALS, MAXIMUM_AGE_S = 3.0, 60.0
# Below this speed a density is no longer flow over speed, but a standing queue.
SLOWEST_SPEED = 0.5


class TwinNetwork(Protocol):
    """What the twin needs of a network; `twin.network.Network` has it."""

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The table of sensors."""

    @property
    def signals(self) -> Mapping[str, SignalPlan]:
        """Fixed plans by node id."""

    @property
    def sha256(self) -> str:
        """Which network this is."""

    def compile(self) -> CompiledNetwork:
        """Return the arrays of the network."""


class Twin:
    """Holds what is known of each sensor, and turns it into snapshots.

    Parameters
    ----------
    network
        Links and sensors.
    started_at
        City time, s since 1970 UTC: from then on the network's sensors are expected to report.
    estimator
        Fills what is not measured; a new one for the network unless given.
    probes
        Matches the positions of vehicles to links; without it they are no measurements.
    maximum_age_intervals
        A value older than this many intervals of its sensor, and older than a minute, is no measurement any more.
    kept
        What an earlier twin of this city learned of its sensors, from `keep`.

    Raises
    ------
    InputError
        When ``kept`` is of another version.

    Examples
    --------
    ::

        twin = Twin(network, started_at=clock.now())
        snapshot = twin.assimilate(batch, now=clock.now())
    """

    def __init__(
        self,
        network: TwinNetwork,
        *,
        started_at: float,
        estimator: Estimator | None = None,
        probes: Probes | None = None,
        maximum_age_intervals: float = MAXIMUM_AGE_INTERVALS,
        kept: Kept | None = None,
    ) -> None:
        self.compiled = network.compile()
        self.estimator = estimator or Estimator(self.compiled, prior=free_flow_prior(self.compiled, network.signals))
        self._sha256 = network.sha256
        self._sensors, self._signals = network.sensors, network.signals
        self._outage: Outage | None = None
        self._dark_at: dict[str, float] = {}
        self._was_dark = np.zeros(0, np.bool_)
        self._degraded: tuple[Prior, object, Prior] | None = None
        self._memory = Memory(network.sensors, started_at=started_at)
        self.probes = probes
        self._suspects = Suspects(self.compiled, network.sensors)
        if kept is not None:
            self._suspects.resume(kept)
        self._links = LinkSensors(self.compiled, network.sensors)
        self._maximum_age_intervals = maximum_age_intervals
        self._sequence = itertools.count(1)

    @property
    def n_late(self) -> int:
        """How many readings came too late to change the snapshot."""
        return self._memory.late

    def keep(self) -> Kept:
        """Return what was learned of the sensors, for a twin that goes on after a restart."""
        return self._suspects.keep(self._memory)

    def assimilate(
        self, batch: Batch, *, now: float, prior: Prior | None = None, outage: Outage | None = None
    ) -> Snapshot:
        """Take a batch, which may be empty, and return the state of the city at city time ``now``.

        A reading that is not newer than the last one of its series changes nothing. A speed without vehicles, a flagged
        value, and the values of stuck, suspected or silent sensors are not measurements; their links fall back to what
        the neighbours say.

        Parameters
        ----------
        batch, now
            What is new, and the city time.
        prior
            Replaces the estimator's own, for example the profile of this time of the week.
        outage
            What is failed, with times in city time: its sensors are dark and no measurements, whatever they send; its
            signals are all-way stops or priority roads, its bridges shut. Without it everything works again.
        """
        memory = self._memory
        memory.learn(batch, now=now)
        dark = self._dark(outage, now)
        suspects = self._suspects
        suspects.learn(memory, now=now)
        sensors = replace(
            memory.state(now=now, silent_intervals=self._maximum_age_intervals, silent_s=MAXIMUM_AGE_S, dark=dark),
            suspicion=suspects.suspicion.copy(),
            compared=suspects.compared.copy(),
            suspected_since=suspects.since.copy(),
            findings=suspects.findings,
        )
        limit = np.maximum(self._maximum_age_intervals * sensors.interval_s, MAXIMUM_AGE_S)
        fresh = now - memory.column("valid_time") <= limit  # false before the first valid value
        healthy = ~sensors.stuck & (sensors.suspicion == Suspicion.NONE) & ~memory.contradicted() & ~dark
        measurements, measured_at = self._links.measure(memory, fresh & healthy)
        passages = np.zeros(self.compiled.n_links)
        if self.probes is not None:
            self.probes.learn(batch)
            measurements, heard_at, passages = self.probes.join(measurements, now=now)
            measured_at = np.fmax(measured_at, heard_at)
        if outage is not None:
            prior = self._without(outage, now, prior or self.estimator.prior)
        estimate = self.estimator.estimate(measurements, prior=prior, time=now)
        density = estimate.flow / np.maximum(estimate.speed, SLOWEST_SPEED)
        return Snapshot(
            time=now,
            sequence=next(self._sequence),
            network_sha256=self._sha256,
            speed=estimate.speed,
            speed_deviation=estimate.speed_deviation,
            flow=estimate.flow,
            flow_deviation=estimate.flow_deviation,
            density=np.minimum(density, self.compiled.jam_density),
            source=np.maximum(estimate.speed_source, estimate.flow_source),
            measured_at=measured_at,
            sensors=sensors,
            speed_source=estimate.speed_source,
            flow_source=estimate.flow_source,
            probes=passages,
            speed_interval=estimate.speed_interval,
            flow_interval=estimate.flow_interval,
        )

    def _dark(self, outage: Outage | None, now: float) -> npt.NDArray[np.bool_]:
        """Return which series are of dark sensors; those that come back are expected to report from now on."""
        memory = self._memory
        if outage is not self._outage:
            self._outage, self._dark_at = outage, {} if outage is None else outage.sensors(self._sensors)
        dark = np.zeros(len(memory), np.bool_)
        if self._dark_at:
            dark[:] = [self._dark_at.get(sensor_id, np.inf) <= now for sensor_id in memory.sensor_ids]
        back = self._was_dark & ~dark[: len(self._was_dark)]
        if back.any():
            memory.expect(np.concatenate([back, np.zeros(len(dark) - len(back), np.bool_)]), now=now)
        self._was_dark = dark
        return dark

    def _without(self, outage: Outage, now: float, prior: Prior) -> Prior:
        """Return what is expected of the links without the signals and bridges that are lost by now."""
        modes = {signal.node_id: signal.mode for signal in outage.signals() if signal.time <= now}
        shut = tuple(link for link, time in outage.closed_links().items() if time <= now)
        if not modes and not shut:
            return prior
        key = (tuple(modes.items()), shut)
        if self._degraded is None or self._degraded[0] is not prior or self._degraded[1] != key:
            signals = self._signals
            without = degraded_prior(self.compiled, prior, signals=signals, modes=modes, shut=shut)
            self._degraded = (prior, key, without)
        return self._degraded[2]
