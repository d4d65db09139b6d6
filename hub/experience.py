"""What the past of the detectors taught of links without one: learned from the store now and then, beside the twin."""

import logging

import numpy as np
import numpy.typing as npt

from hub.show import KMH, VEH_H
from ingest.chore import Chore
from ingest.database import Database
from ingest.rollup import means
from sensors import InputError
from sensors.clock import CityClock
from twin import Network
from twin.estimate import Estimator
from twin.history import BIN_S, History
from twin.learned import FEWEST_SENSORS, FEWEST_TIMES, LearnedField
from twin.links import CLASS_NAMES
from twin.measure import flow_noise, speed_noise
from twin.prior import free_flow_prior

log = logging.getLogger(__name__)
Float = npt.NDArray[np.float64]

# Two weeks show every day twice; older traffic is of another season sooner or later.
PAST_S, EVERY_S = 14 * 86_400.0, 12 * 3600.0
FIRST_S = 120.0  # a hub that starts has better to do
AT_ONCE = 100  # sensors of one question
SEED = 1
UNITS = {"speed": ("speed_kmh", KMH), "flow": ("flow_veh_h", VEH_H)}


class Experience(Chore):
    """Teaches an estimator from the rollups, and keeps what it learned for the twin's.

    Attributes
    ----------
    learned
        By quantity, for `Estimator.learned`; empty while there is too little of a past.
    """

    def __init__(self, database: Database, network: Network, *, clock: CityClock) -> None:
        super().__init__("experience", every_s=EVERY_S, undone="links without detectors are told as before")
        self._database, self._network, self._clock = database, network, clock
        self.learned: dict[str, LearnedField] = {}

    def begin(self) -> object:
        """Learn soon after the start."""
        return self._stop.wait(FIRST_S) or self.do()

    def do(self) -> int:
        """Learn, and return of how many quantities."""
        until = self._clock.now() // BIN_S * BIN_S
        histories = {}
        for name, (key, unit) in UNITS.items():
            history = self.history(key, unit, until=until)
            if history is not None:
                histories[name] = history
        if not histories or self.stopping:
            return 0
        network = self._network.compile()
        estimator = Estimator(network, prior=free_flow_prior(network, self._network.signals))
        for name, history in histories.items():
            try:
                estimator.learn(**{name: history}, seed=SEED)
            except InputError as error:  # too few of them report at the same times
                log.debug("%s is not learned: %s", name, error)
        self.learned = estimator.learned
        for name, learned in self.learned.items():
            told = ", ".join(f"{kind} {error:.1f}" for kind, error in self._errors(name, learned).items())
            log.info(
                "%s learned from %d links; left out they are told with an error of %s", name, len(learned.links), told
            )
        return len(self.learned)

    def errors(self) -> dict[str, dict[str, float]]:
        """Return the leave-one-out error of each quantity by class of links, in the units of the quantities' keys."""
        return {UNITS[name][0]: self._errors(name, learned) for name, learned in self.learned.items()}

    def _errors(self, name: str, learned: LearnedField) -> dict[str, float]:
        by_class = learned.leave_out.by_class(self._network.compile().link_class)
        return {
            CLASS_NAMES[min(kind, len(CLASS_NAMES) - 1)]: error * UNITS[name][1] for kind, error in by_class.items()
        }

    def history(self, key: str, unit: float, *, until: float) -> History | None:
        """Return what the detectors of a quantity saw, by link and quarter of an hour; None when that is too little."""
        position, lanes = self._network.links.position, self._network.links.lanes
        sensors = {s.sensor_id: s for s in self._network.sensors if s.link_id in position and key in s.quantities}
        n_times = round(PAST_S / BIN_S)
        total: dict[int, Float] = {}
        count: dict[int, Float] = {}
        names = list(sensors)
        for first in range(0, len(names), AT_ONCE):
            if self.stopping:
                return None
            part = names[first : first + AT_ONCE]
            some = means(self._database, part, key, since=until - PAST_S, until=until, step_s=int(BIN_S))
            for name, times, values in some:
                link = position[sensors[name].link_id]
                row = np.round((times - (until - PAST_S)) / BIN_S).astype(np.intp)
                scale = lanes[link] / max(sensors[name].lanes, 1) if key == "flow_veh_h" else 1.0
                np.add.at(total.setdefault(link, np.zeros(n_times)), row, values / unit * scale)
                np.add.at(count.setdefault(link, np.zeros(n_times)), row, 1.0)
        links = np.array(sorted(total), np.int64)
        if len(links) < FEWEST_SENSORS:
            return None
        with np.errstate(invalid="ignore"):
            value = np.array([total[link] / count[link] for link in links.tolist()], np.float64).T
        time = np.linspace(until - PAST_S, until, n_times, endpoint=False, dtype=np.float64)
        some_report = np.isfinite(value).any(axis=1)
        if np.count_nonzero(some_report) < FEWEST_TIMES:
            return None
        seen = value[some_report]
        seen[seen < 0.0] = 0.0
        noise = flow_noise(seen, lanes[links].astype(np.float64)) if key == "flow_veh_h" else speed_noise(seen)
        return History(time[some_report], links, seen, noise)
