"""Suspected detectors: faults planted in the last two days of METR-LA, the twin's comparison beside an own z-score."""

import argparse
import copy
import csv
import gzip
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensors import Batch, Sensor
from twin import Network
from twin.finding import Suspicion
from twin.memory import Memory
from twin.suspect import STEP_S, Suspects

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

NO_DATA = "NO REAL INPUT DATA: set CITYTWIN_TEST_DATA to the shared data folder, or give --data"
KMH_PER_MPH = 1.609344
DAY = 288  # steps
PAST_DAYS, TEST_DAYS = 5, 2
FAULT_STEPS, SOON_STEPS = 144, 6  # 12 h, and 30 min
GROUPS, PER_GROUP = 8, 10
START = 1_330_560_000.0  # 2012-03-01
# Kinds, the least share to be found, and whether within half an hour.
WANTED = {"stuck": (1.0, True), "zero": (1.0, True), "noise": (0.95, False), "swapped": (0.65, False)}
WANTED |= {"+15 mph": (0.45, False), "x 0.7": (0.45, False)}
EXTRA = {"drift to +20 mph": (0.0, False)}
FALSE_ALARMS = 0.1


@dataclass(frozen=True)
class City:
    """Speeds and sensors of METR-LA.

    Parameters
    ----------
    speed : (n_steps, n) km/h
    """

    speed: Float
    network: Network
    sensors: tuple[Sensor, ...]


def load(folder: Path) -> City:
    """Return the week of METR-LA, each sensor on a short link of its own."""
    with gzip.open(folder / "speed_mph_5min_7days.csv.gz", "rt", encoding="utf-8") as file:
        rows = csv.reader(file)
        ids = next(rows)
        speed = np.array([[float(value) for value in row] for row in rows]) * KMH_PER_MPH
    with (folder / "sensor_locations.csv").open(encoding="utf-8") as file:
        place = {row["sensor_id"]: (float(row["longitude"]), float(row["latitude"])) for row in csv.DictReader(file)}
    nodes, links = [], []
    for name in ids:
        x, y = place[name]
        nodes += [{"node_id": f"{name}a", "x_coord": x, "y_coord": y}]
        nodes += [{"node_id": f"{name}b", "x_coord": x, "y_coord": y + 0.0005}]
        links += [{"link_id": name, "from_node_id": f"{name}a", "to_node_id": f"{name}b"}]
    network = Network.from_tables({"node": nodes, "link": links})
    sensors = tuple(Sensor(name, link_id=name, quantities=("speed_kmh",), interval_s=STEP_S) for name in ids)
    return City(speed, network, sensors)


class Watch:
    """Memory and suspects of one run."""

    def __init__(self, city: City) -> None:
        self._ids = tuple(sensor.sensor_id for sensor in city.sensors)
        self.memory = Memory(city.sensors, started_at=START)
        self.suspects = Suspects(city.network.compile(), city.sensors)
        self.step = 0

    def take(self, speed: Float) -> Bool:
        """Take the readings of a step and return (n,) who is stuck or suspected."""
        self.step += 1
        now = START + STEP_S * self.step
        n = len(speed)
        batch = Batch(
            sensor_id=self._ids,
            quantity=("speed_kmh",) * n,
            time_ms=np.full(n, round(now * 1000), np.int64),
            value=speed,
            quality=np.zeros(n, np.uint16),
            received_at=now,
        )
        self.memory.learn(batch, now=now)
        self.suspects.learn(self.memory, now=now)
        return np.asarray(self.memory.stuck() | (self.suspects.suspicion != Suspicion.NONE), np.bool_)


class ZScore:
    """The dull alternative: the mean of three hours of each sensor's own z-scores by hour of day, and six repeats."""

    def __init__(self, past: Float, limit: float) -> None:
        by_hour = past.reshape(-1, 24, 12, past.shape[1])
        self._mean, self._deviation = by_hour.mean(axis=(0, 2)), by_hour.std(axis=(0, 2)) + 1.0
        self._limit = limit

    def find(self, speed: Float, first: int) -> Bool:
        """Return (n_steps, n) who is suspected, of speeds whose first step is ``first``."""
        hour = (np.arange(first, first + len(speed)) // 12) % 24
        z = (speed - self._mean[hour]) / self._deviation[hour]
        total = np.cumsum(np.concatenate((np.zeros((36, z.shape[1])), z)), axis=0)
        same = np.zeros(z.shape, np.int64)
        for step in range(1, len(z)):
            same[step] = np.where(speed[step] == speed[step - 1], same[step - 1] + 1, 0)
        return np.asarray((np.abs(total[36:] - total[:-36]) / 36 > self._limit) | (same >= SOON_STEPS), np.bool_)


def plant(kind: str, speed: Float, sensors: npt.NDArray[np.int64], before: Float, random: np.random.Generator) -> Float:
    """Return speeds with a fault of some sensors from the first step on; ``before`` is the step before it."""
    faulty = speed.copy()
    n = speed.shape[1]
    for i in sensors.tolist():
        other = int((i + random.integers(1, n)) % n)
        true = speed[:, i]
        faulty[:, i] = {
            "stuck": np.full(len(true), before[i]),
            "zero": np.zeros(len(true)),
            "noise": np.maximum(true + random.normal(0.0, 10 * KMH_PER_MPH, len(true)), 0.0),
            "swapped": speed[:, other],
            "+15 mph": true + 15 * KMH_PER_MPH,
            "x 0.7": 0.7 * true,
            "drift to +20 mph": true + np.linspace(0.0, 20 * KMH_PER_MPH, len(true)),
        }[kind]
    return faulty


def onsets(suspected: Bool) -> int:
    """Return how often a suspicion began."""
    return int(np.count_nonzero(suspected[1:] & ~suspected[:-1]) + np.count_nonzero(suspected[0]))


@dataclass
class Score:
    """What was found of one kind."""

    found: int = 0
    dull: int = 0
    planted: int = 0


def run(city: City, *, seed: int, past_days: int = PAST_DAYS, test_days: int = TEST_DAYS) -> dict[str, object]:
    """Plant every kind of fault after some days, and return shares found, false alarms and the time a step takes."""
    random = np.random.default_rng(seed)
    speed = city.speed[: (past_days + test_days) * DAY]
    past = past_days * DAY
    n = speed.shape[1]
    starts = np.sort(past + random.integers(1, test_days * DAY - FAULT_STEPS + 1, GROUPS))
    limits = np.arange(1.0, 12.0, 0.25)
    # It is given the limit that is right on the very days of the test.
    tested = speed[past - 36 :]
    alarms_at = [onsets(ZScore(speed[:past], limit).find(tested, past - 36)[36:]) for limit in limits.tolist()]
    fits = np.array(alarms_at) <= FALSE_ALARMS * n * test_days
    dull = ZScore(speed[:past], float(limits[fits][0]))
    watch, clean, kept = Watch(city), np.zeros(speed.shape, np.bool_), {}
    spent = time.process_time()
    for step in range(len(speed)):
        if step in starts:
            kept[step] = copy.deepcopy(watch)
        clean[step] = watch.take(speed[step])
    spent = (time.process_time() - spent) / len(speed)
    shares, reasons = {}, {}
    for kind, (_, soon) in {**WANTED, **EXTRA}.items():
        score, named = Score(), {}
        order = random.permutation(n)[: GROUPS * PER_GROUP].reshape(GROUPS, PER_GROUP)
        length = SOON_STEPS if soon else FAULT_STEPS
        for start, sensors in zip(starts.tolist(), order, strict=True):
            faulty = plant(kind, speed[start : start + length], sensors, speed[start - 1], random)
            trial = copy.deepcopy(kept[start])
            found = np.zeros(len(sensors), np.bool_)
            for row in faulty:
                now = trial.take(row)[sensors]
                for i in np.flatnonzero(now & ~found):
                    name = Suspicion(trial.suspects.suspicion[sensors[i]]).name.lower()
                    named[name] = named.get(name, 0) + 1
                found |= now
            score.found += int(found.sum())
            history = np.concatenate((speed[start - 36 : start], faulty))
            score.dull += int(dull.find(history, start - 36)[36:, sensors].any(axis=0).sum())
            score.planted += len(sensors)
        shares[kind] = score
        reasons[kind] = named
    alarms = onsets(clean[past:]) / n / test_days
    dull_alarms = onsets(dull.find(tested, past - 36)[36:]) / n / test_days
    return {"shares": shares, "alarms": alarms, "dull_alarms": dull_alarms, "step_s": spent, "reasons": reasons}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    given = os.environ.get("CITYTWIN_TEST_DATA")
    parser.add_argument("--data", type=Path, default=given and Path(given), help="the shared data folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rehearse", action="store_true", help="plant in the fifth day, on which limits are chosen")
    args = parser.parse_args()
    folder = args.data / "metr_la" if args.data else None
    if folder is None or not folder.is_dir():
        print(f"suspects: {NO_DATA}")
        return
    city = load(folder)
    result = run(city, seed=args.seed, past_days=4, test_days=1) if args.rehearse else run(city, seed=args.seed)
    print(
        f"suspects: {result['alarms']:.3f} false alarms per sensor and day (own z-score {result['dull_alarms']:.3f}), "
        f"{1e3 * result['step_s']:.1f} ms of CPU for a step of {len(city.sensors)} sensors"
    )
    for kind, score in result["shares"].items():
        assert score.planted == GROUPS * PER_GROUP
        least, soon = {**WANTED, **EXTRA}[kind]
        print(
            f"  {kind:<20} {100 * score.found / score.planted:5.1f} % found within {'30 min' if soon else '12 h'} "
            f"(wanted {100 * least:.0f} %; own z-score {100 * score.dull / score.planted:.1f} %); "
            f"{result['reasons'][kind]}"
        )


if __name__ == "__main__":
    main()
