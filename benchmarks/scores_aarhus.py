"""Aarhus: 449 links of one map with a stated normal speed; quarters of an hour, the last week of August 2014."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.scores import Hidden, dull, hide, table
from twin import Network
from twin.estimate import Estimator, Measurements
from twin.history import History
from twin.neighbours import neighbours

Float = npt.NDArray[np.float64]

LINKS, TRAFFIC = "traffic_links_metadata.csv", "traffic_2014-08.csv.gz"
BIN_S, FIRST_HOUR, LAST_HOUR, SLOW_KMH = 900, 4, 20, 20.0
TEST_FROM = datetime(2014, 8, 25, tzinfo=UTC).timestamp()
KMH = 3.6


@dataclass(frozen=True)
class City:
    """Speeds (n_times, n_links) m/s, NaN without a vehicle, and vehicles that each is the mean of."""

    network: Network
    time: Float
    speed: Float
    vehicles: Float


def read(folder: Path) -> City:
    """Return the month from 04 to 20 h UTC: mean of the speeds of intervals with vehicles, by quarter of an hour."""
    rows = list(csv.DictReader((folder / LINKS).read_text("utf-8-sig").splitlines()))
    nodes = {
        row[f"POINT_{k}_NAME"]: {
            "node_id": row[f"POINT_{k}_NAME"],
            "x_coord": float(row[f"POINT_{k}_LNG"]),
            "y_coord": float(row[f"POINT_{k}_LAT"]),
        }
        for row in rows
        for k in (1, 2)
    }
    links = [
        {
            "link_id": row["REPORT_ID"],
            "from_node_id": row["POINT_1_NAME"],
            "to_node_id": row["POINT_2_NAME"],
            "length": float(row["DISTANCE_IN_METERS"]),
            "lanes": 1,
            "free_speed": float(row["NDT_IN_KMH"]),
            "facility_type": "arterial" if row["ROAD_TYPE"] == "MAJOR_ROAD" else "local",
        }
        for row in rows
    ]
    network = Network.from_tables({"node": list(nodes.values()), "link": links})
    place = network.links.position
    start = datetime(2014, 8, 1, tzinfo=UTC).timestamp()
    n_bins = 31 * 86_400 // BIN_S
    total, count, vehicles = (np.zeros((n_bins, len(rows))) for _ in range(3))
    bins: dict[str, int] = {}
    seen = set()
    with gzip.open(folder / TRAFFIC, "rt") as file:
        reader = csv.reader(file)
        next(reader)
        for link, at, n_vehicles, speed, _ in reader:
            if n_vehicles == "0" or (link, at) in seen:  # no vehicle: the last speed is repeated
                continue
            seen.add((link, at))
            if at not in bins:
                bins[at] = int((datetime.fromisoformat(at + "+00:00").timestamp() - start) // BIN_S)
            where = bins[at], place[link]
            total[where] += float(speed) / KMH
            count[where] += 1
            vehicles[where] += float(n_vehicles)
    time = start + BIN_S * np.arange(n_bins, dtype=float)
    hour = time % 86_400 / 3600
    # Whole-city gaps of the feed are no times: at most a few links report in their margins.
    use = (hour >= FIRST_HOUR) & (hour < LAST_HOUR) & ((count > 0).sum(axis=1) > 100)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return City(network, time[use], mean[use], vehicles[use])


def score(city: City, share: float, seed: int) -> Hidden:
    """Return what the estimator tells of hidden links in the last week, in km/h."""
    compiled = city.network.compile()
    n = compiled.n_links
    hidden, seen = hide(n, share, seed=seed)
    past = city.time < TEST_FROM
    estimator = Estimator(compiled)
    estimator.learn(speed=History(city.time[past], seen, city.speed[past][:, seen]), seed=seed)
    times = np.flatnonzero(~past)
    ours = np.full((3, len(times), len(hidden)), np.nan)
    nothing = np.full(n, np.nan)
    for k, row in enumerate(times):
        speed, deviation = nothing.copy(), nothing.copy()
        speed[seen] = city.speed[row, seen]
        deviation[seen] = speed[seen] * np.hypot(0.07, 0.15 / np.sqrt(np.maximum(city.vehicles[row, seen], 1.0)))
        found = estimator.estimate(Measurements(speed, deviation, nothing, nothing), time=float(city.time[row]))
        ours[:, k] = found.speed[hidden], *found.speed_interval[:, hidden]
    free = compiled.free_speed
    road = _between(city.network, np.concatenate((seen, hidden)))[len(seen) :, : len(seen)]
    link_class = compiled.link_class.astype(np.int64)
    ratio = (city.speed / free)[times][:, seen]
    others = dull(ratio, road, link_class[seen], link_class[hidden])
    told = {"stated speed": np.ones((len(times), len(hidden))), **others}
    told = {name: values * free[hidden] * KMH for name, values in told.items()}
    return Hidden(city.speed[times][:, hidden] * KMH, {**told, "citytwin": ours[0] * KMH}, ours[1] * KMH, ours[2] * KMH)


def _between(network: Network, links: npt.NDArray[np.int64]) -> Float:
    return neighbours(network.compile(), links)[0].between_road


def lines(folder: Path, seeds: Sequence[int]) -> list[str]:
    """Return the table."""
    city = read(folder)
    return [
        f"  Aarhus, 20 % of {city.network.compile().n_links} links hidden, mean absolute error; speed over stated one",
        *table(seeds, lambda seed: score(city, 0.2, seed), unit="km/h", owed="7.8", slow=SLOW_KMH),
    ]
