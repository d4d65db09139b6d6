"""Probes: vehicles that tell where they are, matched to links by distance, heading and continuity, and their speeds.

Each vehicle has a hidden Markov model whose states are the links near its fixes: a link is likely the nearer it is and
the better it runs the vehicle's way, and a step from one to another the less it makes a detour. The fixes are streamed:
a link is decided `LAG` fixes later, when the way that the vehicle took from there is known. A link's speed is the
distance that all vehicles went on it over the time that they took (Edie), of the last minutes.

Notes
-----
Sources: Newson and Krumm (2009), Hidden Markov map matching through noise and sparseness,
doi:10.1145/1653771.1653818; Edie (1963), Discussion of traffic stream measurements and definitions.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensors import Batch
from twin.compiled import CompiledNetwork
from twin.estimate import Measurements
from twin.geometry import to_local
from twin.matching import Streets

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Reached = dict[int, tuple[float, tuple[int, ...]]]  # link: metres to its start, links before it

# Deviation of a position across its street, m, and of a heading, degrees: of buses between houses.
PLACE_M, HEADING_DEG = 10.0, 30.0
# Mean difference of the way along the streets and the straight line between two fixes, m.
DETOUR_M = 20.0
WITHIN_M, LEAST_MOVE_M, LEAST_S, LONGEST_S = 40.0, 3.0, 4.0, 90.0
LAG, N_CANDIDATES = 3, 8
# A fix may lie this much behind the one before on its link: places jitter, vehicles do not reverse.
BACKWARD_M = 12.0
# A vehicle that stands for longer than a red light counts no more: it is parked, or at a stop.
LONGEST_STAND_S = 90.0
FASTEST_M_S = 50.0
# Speeds fade with this time constant; below the least distance and time nothing is said of a link.
FADING_S, LEAST_DISTANCE_M, LEAST_TIME_S = 300.0, 30.0, 3.0
# A bus is not a car: assumed share by which its mean speed differs, and of single vehicles among each other.
KIND_SPREAD, VEHICLE_SPREAD, FLOOR = 0.15, 0.3, 1.0
# Vehicles that have not been heard of for so long are forgotten.
FORGET_S = 600.0


@dataclass(slots=True)
class _State:
    """A vehicle on a link: how likely, and how it came there."""

    link: int
    position: float
    likely: float
    before: "_State | None"
    way: tuple[tuple[int, float], ...] = ()  # links and metres since the state before
    seconds: float = 0.0


@dataclass(slots=True)
class _Vehicle:
    time: float
    place: Float
    states: list[_State]
    standing: float = 0.0


@dataclass(frozen=True, slots=True)
class ProbeSpeeds:
    """What vehicles say of links.

    Parameters
    ----------
    link : (k,)
        Positions of the links on which vehicles went lately.
    speed, deviation : (k,) m/s
        Of all traffic; the deviation is large, because a few vehicles, often buses, speak for it.
    n_vehicles : (k,)
        Passages that the speed rests on, faded.
    time : (k,) s since 1970 UTC
        Of the newest.
    """

    link: Int
    speed: Float
    deviation: Float
    n_vehicles: Float
    time: Float


class Probes:
    """Follows all vehicles of a stream of readings.

    Parameters
    ----------
    streets
        Finds the links near a point.
    compiled
        Says which link leads to which.
    """

    def __init__(self, streets: Streets, compiled: CompiledNetwork) -> None:
        self._streets, self._compiled = streets, compiled
        self._length = compiled.length.tolist()
        self._vehicles: dict[str, _Vehicle] = {}
        n = compiled.n_links
        self._distance, self._seconds, self._count = np.zeros(n), np.zeros(n), np.zeros(n)
        self._faded_at, self._newest = np.zeros(n), np.full(n, np.nan)
        self.n_fixes, self.n_off_road = 0, 0

    def learn(self, batch: Batch) -> None:
        """Take the positions of a batch in the order of their time; readings of anything else are left alone."""
        fixes: dict[tuple[int, str], dict[str, float]] = {}
        wanted = ("longitude_deg", "latitude_deg", "heading_deg")
        times, values = batch.time_ms.tolist(), batch.value.tolist()
        for sensor_id, key, time_ms, value in zip(batch.sensor_id, batch.quantity, times, values, strict=True):
            if key in wanted and math.isfinite(value):
                fixes.setdefault((time_ms, sensor_id), {})[key] = value
        for (time_ms, sensor_id), fix in sorted(fixes.items()):
            if "longitude_deg" in fix and "latitude_deg" in fix:
                place = np.array([fix["longitude_deg"], fix["latitude_deg"]])
                self._fix(sensor_id, time_ms / 1000.0, place, fix.get("heading_deg", math.nan))

    def _fix(self, name: str, time: float, lon_lat: Float, heading: float) -> None:
        """Take one fix of one vehicle."""
        vehicle = self._vehicles.get(name)
        if vehicle is not None and time - vehicle.time < LEAST_S:
            return  # late, repeated, or too soon to have moved more than the place jitters
        place = to_local(lon_lat[None], self._compiled.origin)[0]
        straight = math.inf if vehicle is None else float(np.hypot(*(place - vehicle.place)))
        seconds = math.inf if vehicle is None else time - vehicle.time
        follows = vehicle is not None and seconds <= LONGEST_S and straight <= FASTEST_M_S * seconds
        if follows and vehicle is not None and straight < LEAST_MOVE_M:
            self._stand(vehicle, seconds, time)
            return
        self.n_fixes += 1
        near = self._near(lon_lat, heading)
        if not near:
            self.n_off_road += 1
            self._vehicles.pop(name, None)
            return
        if follows and vehicle is not None:
            states = self._steps(vehicle.states, near, straight, seconds)
            if states:
                self._decide(states, time)
                self._vehicles[name] = _Vehicle(time, place, states)
                return
        self._vehicles[name] = _Vehicle(time, place, near)

    def _near(self, lon_lat: Float, heading: float) -> list[_State]:
        """Return the links near a fix, the likeliest first, as states without a past."""
        match = self._streets.candidates(lon_lat, heading, within_m=WITHIN_M)
        turned = np.nan_to_num(match.turned_deg)
        likely = -0.5 * (match.away_m / PLACE_M) ** 2 - 0.5 * (turned / HEADING_DEG) ** 2
        order = np.argsort(-likely, kind="stable")[:N_CANDIDATES].tolist()
        return [_State(int(match.link[i]), float(match.position_m[i]), float(likely[i]), None) for i in order]

    def _steps(self, old: list[_State], near: list[_State], straight: float, seconds: float) -> list[_State]:
        """Return the states after a fix, each with its likeliest past; empty when no way leads there."""
        limit = 2 * straight + 150.0
        ways = [self._ways(state, limit) for state in old]
        states = []
        for to in near:
            best: _State | None = None
            for state, reached in zip(old, ways, strict=True):
                way = self._way_to(state, to, reached)
                if way is None:
                    continue
                went = sum(metres for _, metres in way)
                if went > FASTEST_M_S * seconds + 2 * PLACE_M:
                    continue
                likely = state.likely + to.likely - abs(went - straight) / DETOUR_M
                if best is None or likely > best.likely:
                    best = _State(to.link, to.position, likely, state, way, seconds)
            if best is not None:
                states.append(best)
        top = max((state.likely for state in states), default=0.0)
        for state in states:
            state.likely -= top  # only differences matter; sums would grow for ever
        return states

    def _ways(self, state: _State, limit: float) -> Reached:
        """Return the links that can be reached within a distance: metres to their start, and the links before."""
        start, out = self._compiled.movement_start, self._compiled.movement_out
        reached: Reached = {}
        heap: list[tuple[float, int, tuple[int, ...]]] = [
            (max(self._length[state.link] - state.position, 0.0), state.link, ())
        ]
        while heap:
            distance, link, before = heapq.heappop(heap)
            if distance > limit:
                break
            for other in out[start[link] : start[link + 1]].tolist():
                if other not in reached:
                    reached[other] = distance, (*before, link)
                    heapq.heappush(heap, (distance + self._length[other], other, (*before, link)))
        return reached

    def _way_to(self, state: _State, to: _State, reached: Reached) -> tuple[tuple[int, float], ...] | None:
        """Return the links and metres from one state to another, None when no way was found."""
        if to.link == state.link and to.position >= state.position - BACKWARD_M:
            return ((to.link, max(to.position - state.position, 0.0)),)
        if to.link not in reached:
            return None
        first, *between = reached[to.link][1]
        rest = max(self._length[first] - state.position, 0.0)
        return (first, rest), *((link, self._length[link]) for link in between), (to.link, to.position)

    def _decide(self, states: list[_State], time: float) -> None:
        """Count the way into the state that lies `LAG` fixes behind the likeliest, and forget what was before it."""
        state = max(states, key=lambda one: one.likely)
        for _ in range(LAG):
            if state.before is None:
                return
            state = state.before
        if state.before is None:
            return
        went = sum(metres for _, metres in state.way)
        if went > 0:
            for link, metres in state.way:
                passed = metres / max(self._length[link], 1.0)
                self._count_in(link, metres, state.seconds * metres / went, passed, time)
        state.before = None

    def _stand(self, vehicle: _Vehicle, seconds: float, time: float) -> None:
        """Count the time of a vehicle that has not moved, as long as it may be waiting for green."""
        vehicle.time = time
        vehicle.standing += seconds
        if vehicle.standing <= LONGEST_STAND_S:
            state = max(vehicle.states, key=lambda one: one.likely)
            self._count_in(state.link, 0.0, seconds, 0.0, time)

    def _count_in(self, link: int, metres: float, seconds: float, passed: float, time: float) -> None:
        keep = math.exp(-max(time - self._faded_at[link], 0.0) / FADING_S)
        self._faded_at[link] = max(time, self._faded_at[link])
        self._distance[link] = keep * self._distance[link] + metres
        self._seconds[link] = keep * self._seconds[link] + seconds
        self._count[link] = keep * self._count[link] + passed
        self._newest[link] = np.fmax(self._newest[link], time)

    def speeds(self, *, now: float) -> ProbeSpeeds:
        """Return the speed of every link on which vehicles went lately, at city time ``now``."""
        for name in [name for name, vehicle in self._vehicles.items() if now - vehicle.time > FORGET_S]:
            del self._vehicles[name]
        keep = np.exp(-np.maximum(now - self._faded_at, 0.0) / FADING_S)
        enough = (keep * self._distance >= LEAST_DISTANCE_M) & (keep * self._seconds >= LEAST_TIME_S)
        link = np.flatnonzero(enough)
        speed = self._distance[link] / self._seconds[link]
        count = keep[link] * self._count[link]
        spread = np.hypot(KIND_SPREAD, VEHICLE_SPREAD / np.sqrt(np.maximum(count, 0.2)))
        return ProbeSpeeds(link, speed, np.hypot(spread * speed, FLOOR), count, self._newest[link])

    def join(self, measurements: Measurements, *, now: float) -> tuple[Measurements, Float, Float]:
        """Return measurements joined with the vehicles' speeds by precision, the vehicles' newest times and passages.

        Both are (n_links,), NaN and 0 where no vehicle went.
        """
        found = self.speeds(now=now)
        speed, deviation = measurements.speed.copy(), measurements.speed_deviation.copy()
        weight = found.deviation**-2
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.where(np.isfinite(speed[found.link]), deviation[found.link] ** -2, 0.0)
        total = weight + known
        speed[found.link] = (weight * found.speed + known * np.nan_to_num(speed[found.link])) / total
        deviation[found.link] = total**-0.5
        newest, passages = np.full(len(speed), np.nan), np.zeros(len(speed))
        newest[found.link], passages[found.link] = found.time, found.n_vehicles
        joined = Measurements(speed, deviation, measurements.flow, measurements.flow_deviation)
        return joined, newest, passages
