"""Suspected detectors: series that no longer agree with their neighbours and their own past, with the reason in words.

A stuck or silent sensor shows by itself (`twin.memory`). Here are the faults that only comparison shows: nothing where
the neighbours see traffic, noise, a bias, a scale (a lane that is not counted), a drift, and values of another place.
Every series is compared once in `STEP_S`, all at once; a suspected series is not used as a measurement.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors import Sensor
from twin.agreement import N_PEERS, Agreement, adopt, nearest
from twin.compiled import CompiledNetwork
from twin.finding import Evidence, Finding, Suspicion, scaled
from twin.judgement import LONG, READY, Judgement, Question, Window
from twin.memory import Memory

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# Series are compared so often: long enough to average over the cycles of the signals.
STEP_S = 300.0
# Peers are chosen after so many steps, among the series that have reported by then.
CHOOSE_AFTER = 12
# A suspicion ends when every answer has come below this share of its limit.
RELEASE = 0.6
# So many steps in a row nothing, while the neighbours say something: so many deviations.
EMPTY_STEPS, EMPTY_DEVIATIONS = 5, 3.0
# Counts scatter as their root does: with it their error is the same by day and by night.
ROOTED = frozenset({"flow_veh_h", "count_veh", "queue_veh", "density_veh_km", "occupancy"})
COMPARED = frozenset({"speed_kmh", "travel_time_s"}) | ROOTED
# A drift and another place must explain the readings so much better: with queues around it a step looks like them.
DRIFT_HANDICAP, ELSEWHERE_HANDICAP = 1.1, 1.25


@dataclass(frozen=True, slots=True)
class Explanation:
    """What explains the readings of a series best.

    Parameters
    ----------
    suspicion
        The kind.
    size
        Expected value (empty), how many times as noisy, difference (bias, drift) or ratio (scale).
    like
        Series whose place it resembles (swapped), else -1.
    """

    suspicion: Suspicion
    size: float
    like: int = -1


class _Tests:
    """Agreement and judgement of all series, and their last readings beside what was expected."""

    def __init__(self, agreement: Agreement, judgement: Judgement) -> None:
        n = len(agreement)
        self.agreement, self.judgement = agreement, judgement
        self._values, self._expected = Window(n, LONG), Window(n, LONG)
        self._empty = np.zeros(n, np.int64)
        self._answers = np.zeros((n, 3))
        self.suspected = np.zeros(n, np.bool_)

    def __len__(self) -> int:
        return len(self.suspected)

    def compare(self, scaled: Float, value: Float) -> None:
        """Take one reading of each series, NaN without one: on the scale of its errors, and as it is."""
        trusted = ~self.suspected & ~self.judgement.doubtful()
        expected, spread = self.agreement.predict(scaled, trusted)
        variance = self.agreement.variance
        self._answers = self.judgement.ask(scaled, expected, spread, variance, trusted)
        self.agreement.learn(scaled, trusted)
        rows = np.flatnonzero(np.isfinite(scaled) & np.isfinite(expected))
        self._values.add(rows, scaled[rows])
        self._expected.add(rows, expected[rows])
        nothing = (value <= 0) & (expected > EMPTY_DEVIATIONS * spread) & (self.agreement.readings >= READY)
        self._empty = np.where(nothing, self._empty + 1, np.where(np.isfinite(value), 0, self._empty))
        worst = self._answers.max(axis=1)
        self.suspected = np.where(self.suspected, worst > RELEASE, worst > 1) | (self._empty >= EMPTY_STEPS)

    def last(self, at: int, *, rooted: bool) -> tuple[Float, Float]:
        """Return the last readings of a series and what was expected, oldest first; ``rooted``: they are roots."""
        value, expected = self._values.last(at), self._expected.last(at)
        return (value**2, expected**2) if rooted else (value, expected)

    def evidence(self, at: int, explanation: Explanation, *, rooted: bool) -> Evidence:
        """Return what the suspicion of a series rests on."""
        value, expected = self.last(at, rooted=rooted)
        answer = float(self._answers[at].max())
        if explanation.suspicion == Suspicion.EMPTY:
            value, expected = value[-EMPTY_STEPS:], expected[-EMPTY_STEPS:]
            answer = max(answer, self._empty[at] / EMPTY_STEPS)
        return Evidence(answer, float(np.median(value)), float(np.median(expected)), len(value))

    def explain(self, at: int, *, rooted: bool) -> Explanation:
        """Return what explains a suspected series."""
        value, expected = self.last(at, rooted=rooted)
        if self._empty[at] >= EMPTY_STEPS or not value[-EMPTY_STEPS:].any():
            return Explanation(Suspicion.EMPTY, float(np.median(expected[-EMPTY_STEPS:])))
        question = int(self._answers[at].argmax())
        if question == Question.JUMPS:
            return Explanation(Suspicion.NOISY, self.judgement.jumpiness(at))
        like = self.judgement.resembles(at)
        elsewhere = self._expected.last(like) if like >= 0 else value
        if like < 0 or len(elsewhere) != len(value):
            return explain(value, expected)
        return explain(value, expected, elsewhere=elsewhere**2 if rooted else elsewhere, like=like)


def explain(value: Float, expected: Float, *, elsewhere: Float | None = None, like: int = -1) -> Explanation:
    """Return which of a bias, a scale, a drift and another place, begun at any time, explains readings best.

    Parameters
    ----------
    value, expected : (n,)
        What was read and what should have been, oldest first.
    elsewhere : (n,)
        What another series, ``like``, should have read.

    Examples
    --------
    >>> expected = np.array([40.0, 60.0] * 20)
    >>> found = explain(expected * 0.5, expected)
    >>> found.suspicion.name, round(found.size, 3)
    ('SCALED', 0.5)
    """
    n = len(value)
    error = value - expected
    best, found = np.inf, Explanation(Suspicion.BIASED, float(error.mean()))
    for begin in range(0, 3 * n // 4 + 1, max(1, n // 12)):
        off, should, read = error[begin:], expected[begin:], value[begin:]
        before = float(np.abs(error[:begin]).sum())
        bias = float(np.median(off))
        ramp = np.arange(1.0, n - begin + 1)
        slope = float(off @ ramp / (ramp @ ramp))
        ratio = float(read @ should) / max(float(should @ should), 1e-12)
        for suspicion, size, misfit in (
            (Suspicion.BIASED, bias, np.abs(off - bias).sum()),
            (Suspicion.SCALED, ratio, np.abs(read - ratio * should).sum()),
            (Suspicion.DRIFTING, slope * (n - begin), DRIFT_HANDICAP * np.abs(off - slope * ramp).sum()),
            (
                Suspicion.SWAPPED,
                0.0,
                np.inf if elsewhere is None else ELSEWHERE_HANDICAP * np.abs(read - elsewhere[begin:]).sum(),
            ),
        ):
            if before + misfit < best:
                place = like if suspicion == Suspicion.SWAPPED else -1
                best, found = before + float(misfit), Explanation(suspicion, size, place)
    return found


class Suspects:
    """Compares the series of a network's sensors and says which are suspected, and why.

    Parameters
    ----------
    compiled
        Says where the links are.
    sensors
        The network's table of sensors; those without a link are not compared.
    """

    def __init__(self, compiled: CompiledNetwork, sensors: Iterable[Sensor]) -> None:
        self._compiled = compiled
        self._sensors = {sensor.sensor_id: sensor for sensor in sensors}
        self._position = {link_id: link for link, link_id in enumerate(compiled.link_ids)}
        self._rows = np.zeros(0, np.int64)  # of the memory, by series compared
        self._total, self._count, self._taken = np.zeros(0), np.zeros(0), np.zeros(0)
        self._heard = np.zeros(0, np.bool_)
        self._next, self._steps_until_peers = np.nan, 0
        nobody = np.zeros(0, np.int64)
        self._tests = _Tests(Agreement(nobody.reshape(0, N_PEERS)), Judgement(nobody))
        # By series of the memory.
        self.suspicion = np.zeros(0, np.uint8)
        self.compared = np.zeros(0, np.bool_)
        self.since = np.zeros(0)
        self.findings: tuple[Finding | None, ...] = ()

    def learn(self, memory: Memory, *, now: float) -> None:
        """Take the newest valid values of the memory, and compare all series when a step is over."""
        if len(memory) != len(self.suspicion):
            self._admit(memory)
        time = memory.column("valid_time")[self._rows]
        new = time > self._taken
        self._total[new] += memory.column("valid_value")[self._rows[new]]
        self._count[new] += 1
        self._taken[new] = time[new]
        if np.isnan(self._next):
            self._next = (np.floor(now / STEP_S) + 1) * STEP_S
        if now < self._next:
            return
        self._next = (np.floor(now / STEP_S) + 1) * STEP_S
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(self._count > 0, self._total / self._count, np.nan)
        value[memory.stuck()[self._rows]] = np.nan
        self._heard |= np.isfinite(value)
        self._total[:], self._count[:] = 0.0, 0.0
        if len(self._tests) < len(self._rows):
            self._steps_until_peers -= 1
            if self._steps_until_peers <= 0:
                self._choose_peers(memory)
        n = len(self._tests)
        if n:
            rooted = self._rooted[:n]
            self._tests.compare(np.where(rooted, np.sqrt(np.maximum(value[:n], 0.0)), value[:n]), value[:n])
            self._tell(memory, now=now)

    def _admit(self, memory: Memory) -> None:
        """Take the series that are new in the memory, if they are of sensors on links."""
        first = len(self.suspicion)
        rows = []
        for row in range(first, len(memory)):
            sensor = self._sensors.get(memory.sensor_ids[row])
            if sensor is not None and sensor.link_id in self._position and memory.quantities[row] in COMPARED:
                rows.append(row)
        self._rows = np.concatenate((self._rows, np.array(rows, np.int64)))
        for name, start in (("_total", 0.0), ("_count", 0.0), ("_taken", -np.inf)):
            setattr(self, name, np.concatenate((getattr(self, name), np.full(len(rows), start))))
        self._heard = np.concatenate((self._heard, np.zeros(len(rows), np.bool_)))
        self._rooted = np.array([memory.quantities[row] in ROOTED for row in self._rows.tolist()], np.bool_)
        self._steps_until_peers = CHOOSE_AFTER
        more = len(memory) - first
        self.suspicion = np.concatenate((self.suspicion, np.zeros(more, np.uint8)))
        self.compared = np.concatenate((self.compared, np.zeros(more, np.bool_)))
        self.since = np.concatenate((self.since, np.full(more, np.nan)))
        self.findings += (None,) * more

    @property
    def reason(self) -> tuple[str, ...]:
        """The findings in words, ``""`` of series that are not suspected."""
        return tuple(str(finding or "") for finding in self.findings)

    def _choose_peers(self, memory: Memory) -> None:
        """Find peers for the series that have none yet; the others keep what they have learned."""
        quantity = [memory.quantities[row] for row in self._rows.tolist()]
        group = np.unique(quantity, return_inverse=True)[1].astype(np.int64)
        network = self._compiled
        sensors = [self._sensors[memory.sensor_ids[row]] for row in self._rows.tolist()]
        link = np.array([self._position[sensor.link_id] for sensor in sensors], np.int64)
        along = np.clip([sensor.position_m for sensor in sensors] / np.maximum(network.length[link], 1.0), 0.0, 1.0)
        start, end = network.node_xy[network.from_node[link]], network.node_xy[network.to_node[link]]
        xy = start + (end - start) * along[:, None]
        peers = nearest(xy, group, memory.column("sensor")[self._rows], among=self._heard)
        tests = _Tests(Agreement(peers), Judgement(group))
        kept = self._tests.agreement.peers.copy()
        adopt(tests, self._tests)
        tests.agreement.peers[: len(kept)] = kept
        self._tests = tests

    def _tell(self, memory: Memory, *, now: float) -> None:
        """Write down who is suspected since when and why."""
        tests, rows = self._tests, self._rows[: len(self._tests)]
        self.compared[rows] = tests.judgement.ready()
        before = self.suspicion[rows] != Suspicion.NONE
        self.since[rows[tests.suspected & ~before]] = now
        self.since[rows[~tests.suspected]] = np.nan
        self.suspicion[rows[~tests.suspected]] = Suspicion.NONE
        findings = list(self.findings)
        for at in np.flatnonzero(before & ~tests.suspected).tolist():
            findings[rows[at]] = None
        for at in np.flatnonzero(tests.suspected).tolist():
            found = findings[rows[at]] = self._found(at, memory)
            self.suspicion[rows[at]] = found.suspicion
        self.findings = tuple(findings)

    def _found(self, at: int, memory: Memory) -> Finding:
        row, rooted = int(self._rows[at]), bool(self._rooted[at])
        key, sensor = memory.quantities[row], self._sensors[memory.sensor_ids[row]]
        why = self._tests.explain(at, rooted=rooted)
        parameters: dict[str, float | str] = {}
        match why.suspicion:
            case Suspicion.EMPTY:
                parameters["expected"] = why.size
            case Suspicion.NOISY:
                parameters["times"] = why.size
            case Suspicion.BIASED | Suspicion.DRIFTING:
                parameters["difference"] = why.size
            case Suspicion.SCALED:
                parameters = scaled(why.size, lanes=sensor.lanes if key in ROOTED else 0)
            case _:
                other = self._sensors[memory.sensor_ids[int(self._rows[why.like])]]
                parameters = {"sensor_id": other.sensor_id, "link_id": other.link_id}
        return Finding(why.suspicion, key, parameters, self._tests.evidence(at, why, rooted=rooted))
