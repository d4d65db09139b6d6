"""Los Angeles: 207 detectors of motorways, 5 min, no map but the distances between them; the last two days of seven."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

from benchmarks.scores import Hidden, dull, hide, table
from twin.history import History
from twin.learned import learn
from twin.neighbours import NO_ROAD_M, Neighbours

Float = npt.NDArray[np.float64]

FILES = ("speed_mph_5min_7days.csv.gz", "sensor_locations.csv", "adjacency_207x207.csv.gz")
TEST_DAYS, STEP_S, SLOW_MPH = 2, 300.0, 40.0
# The table of distances is published as exp(-(d / scale)^2); the scale, which only stretches all of them, is what makes
# most roads as long as the way by air.
SCALE_M = 2600.0


def read(folder: Path) -> tuple[Float, Float, Float]:
    """Return speeds (n_times, 207) mph, and distances by road and by air (207, 207) m."""
    with gzip.open(folder / FILES[0], "rt") as file:
        ids, *rows = list(csv.reader(file))
    with (folder / FILES[1]).open() as file:
        place = {row["sensor_id"]: (float(row["longitude"]), float(row["latitude"])) for row in csv.DictReader(file)}
    with gzip.open(folder / FILES[2], "rt") as file:
        closeness = np.loadtxt(file, delimiter=",")
    lon, lat = np.array([place[name] for name in ids]).T
    x, y = lon * 111_200 * np.cos(np.radians(34.0)), lat * 111_200
    air = np.hypot(x[:, None] - x, y[:, None] - y)
    step = np.where(closeness > 0, SCALE_M * np.sqrt(-np.log(np.clip(closeness, 1e-9, 0.999999))), 0.0)
    np.fill_diagonal(step, 0.0)
    road = np.asarray(dijkstra(sp.csr_array(step), directed=False), np.float64)
    return np.array(rows, float), np.where(np.isfinite(road), road, NO_ROAD_M + air), air


def score(share: float, seed: int, data: tuple[Float, Float, Float]) -> Hidden:
    """Return what is told of hidden detectors in the last two days by those that are visible."""
    speed, road, air = data
    n = speed.shape[1]
    hidden, seen = hide(n, share, seed=seed)
    n_test = int(TEST_DAYS * 86_400 / STEP_S)
    time = 1_330_560_000.0 + STEP_S * np.arange(
        len(speed), dtype=np.float64
    )  # 1 March 2012; only the time of the day counts
    # Visible ones first; from here on nothing of the hidden ones is at hand but where they are.
    between = np.ix_(seen, seen)
    own = np.eye(len(seen), dtype=bool)
    by_road, by_air = (
        np.concatenate((np.where(own, np.inf, far[between]), far[np.ix_(hidden, seen)])) for far in (road, air)
    )
    neighbours = (
        Neighbours.of_distances(by_road, by_air, road[between], air[between]),
        Neighbours.among(road[between], air[between]),
    )
    past, now = speed[:-n_test, seen], speed[-n_test:, seen]
    learned = learn(
        History(time[:-n_test], np.arange(len(seen)), past),
        neighbours=neighbours,
        unit=np.full(n, 65.0),  # the usual limit: no map says what is free
        own=np.zeros((n, 0)),
        seed=seed,
    )
    ours = np.full((3, n_test, len(hidden)), np.nan)
    for k, row in enumerate(now):
        told = learned.tell(np.concatenate((row, np.full(len(hidden), np.nan))), time=float(time[k - n_test]), far=True)
        assert told is not None
        ours[:, k] = told.middle[len(seen) :], told.low[len(seen) :], told.high[len(seen) :]
    one_class = np.zeros(n, np.int64)  # all of them stand on motorways
    others = dull(now, road[np.ix_(hidden, seen)], one_class[seen], one_class[hidden])
    return Hidden(speed[-n_test:, hidden], {**others, "citytwin": ours[0]}, ours[1], ours[2])


def lines(folder: Path, seeds: Sequence[int]) -> list[str]:
    """Return the table of both shares."""
    data = read(folder)
    found = []
    for share, owed in ((0.25, "5.7"), (0.5, "6.3")):
        found.append(f"  METR-LA, {share:.0%} of 207 hidden, mean absolute error")
        found += table(seeds, lambda seed, s=share: score(s, seed, data), unit="mph", owed=owed, slow=SLOW_MPH)  # type: ignore[misc]
    return found
