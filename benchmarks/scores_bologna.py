"""Bologna: counts of 84 loops on working days of early 2024, each edge (or street) told from the others."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.peer import geh
from benchmarks.scores import Hidden, dull
from twin import Network
from twin.importers import import_tables, with_detectors
from twin.neighbours import neighbours
from twin.route_kriging import tell

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

NETWORK, DEMAND = "bologna_joined.net.xml.gz", "bologna_joined_demand_0800_0900.rou.xml.gz"
LOOPS = "loop_counts_hourly_2024-01_2024-03.csv.gz"
HOURS, LEAST_DAYS, ABREAST_M = range(7, 20), 10, 5.0
GOOD_GEH, DRAWS = 5.0, 10_000
AFTER = np.datetime64("2024-01-07")  # the holidays


@dataclass(frozen=True)
class Counts:
    """The usual working day of every link with a loop, and the routes of the demand.

    Parameters
    ----------
    link : (n_counted,)
        Positions, ascending.
    street : (n_counted,)
    count : (n_hours, n_counted) veh/h
    use : (n_routes, n_links)
        How often a vehicle of the demand passes a link.
    """

    network: Network
    link: Long
    street: npt.NDArray[np.str_]
    count: Float
    use: sparse.csr_array


def read(folder: Path, *, several: Callable[[list[tuple[float, Float]]], Float] | None = None) -> Counts:
    """Return the median working day from 7 to 20 h of every loop with ten of them, put on links by the importer.

    Of several loops of a link, those abreast (within `ABREAST_M` along it) count lanes of one section and add up: so
    do the two of Viale Gandhi, to what the third says upstream. Of the sections ``several`` is taken: no vehicle
    vanishes within a link, while a section may lack lanes, so the fullest counts.
    """
    tables = with_detectors(import_tables(folder / NETWORK, demand=[folder / DEMAND]), folder / LOOPS)
    network = Network.from_tables(tables)
    place = network.links.position
    days: dict[str, list[list[float]]] = defaultdict(list)
    street: dict[str, str] = {}
    with gzip.open(folder / LOOPS, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = f"{row['loop_code']}-{row['station_id']}"
            day = np.datetime64(row["date"])
            if np.is_busday(day) and day > AFTER:
                days[name].append([float(row[f"h{hour:02d}"]) for hour in HOURS])
                street[name] = row["street"]
    found: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for sensor in tables["sensor"]:
        name = str(sensor["sensor_id"])
        if sensor["link_id"] and len(days[name]) >= LEAST_DAYS:
            found[place[str(sensor["link_id"])]].append((float(str(sensor["position_m"])), name))
    link = sorted(found)
    usual = {name: np.median(days[name], axis=0) for loops in found.values() for _, name in loops}
    of_several = fullest if several is None else several
    count = [
        usual[found[k][0][1]] if len(found[k]) == 1 else of_several([(at, usual[name]) for at, name in found[k]])
        for k in link
    ]
    routes = [[place[name] for name in str(row["link_ids"]).split(";")] for row in tables["trips"]]
    lengths = np.array([len(route) for route in routes])
    use = sparse.csr_array(
        (np.ones(lengths.sum()), np.concatenate(routes), np.concatenate(([0], np.cumsum(lengths)))),
        shape=(len(routes), len(place)),
    )
    return Counts(network, np.array(link), np.array([street[found[k][0][1]] for k in link]), np.array(count).T, use)


def fullest(loops: list[tuple[float, Float]]) -> Float:
    """Return the counts, (n_hours,), of the section of a link that counts most, of loops (place in m, counts).

    Examples
    --------
    >>> fullest([(90.0, np.array([700.0])), (10.0, np.array([500.0])), (12.0, np.array([400.0]))]).tolist()
    [900.0]
    """
    loops = sorted(loops, key=lambda loop: loop[0])
    sections = [[loops[0]]]
    for loop in loops[1:]:
        if loop[0] - sections[-1][0][0] <= ABREAST_M:
            sections[-1].append(loop)
        else:
            sections.append([loop])
    counts = [np.sum([count for _, count in section], axis=0) for section in sections]
    return np.asarray(max(counts, key=np.sum), np.float64)


def score(counts: Counts, groups: npt.NDArray[np.generic]) -> Hidden:
    """Return what is told of every counted link by those of other groups (n_counted,), in veh/h."""
    compiled = counts.network.compile()
    lanes, link_class = compiled.lanes.astype(float), compiled.link_class.astype(np.int64)
    demand = np.asarray(counts.use.sum(axis=0)).ravel()
    road = neighbours(compiled, counts.link)[0].between_road
    told: dict[str, Float] = {}
    ends = np.full((2, *counts.count.shape), np.nan)
    for group in np.unique(groups):
        hidden, seen = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        value, own, others = counts.count[:, seen], counts.link[hidden], counts.link[seen]
        found = dull(value, road[np.ix_(hidden, seen)], link_class[others], link_class[own])
        found["mean per lane"] = (value / lanes[others]).mean(axis=1, keepdims=True) * lanes[own]
        found["scaled demand"] = value.sum(axis=1, keepdims=True) / demand[others].sum() * demand[own]
        ours = tell(value, others, use=counts.use, lanes=lanes)
        found["citytwin"] = ours.flow[:, own]
        for name, flow in found.items():
            told.setdefault(name, np.full(counts.count.shape, np.nan))[:, hidden] = flow
        ends[:, :, hidden] = ours.low[:, own], ours.high[:, own]
    return Hidden(counts.count, told, *ends)


def relative(hidden: Hidden, name: str) -> float:
    """Return the sum of a method's absolute errors over the sum of the counts."""
    return float(np.abs(hidden.told[name] - hidden.truth).sum() / hidden.truth.sum())


def better_by(hidden: Hidden, other: str, groups: npt.NDArray[np.generic], *, seed: int) -> tuple[float, float, float]:
    """Return by how much our `relative` error is less, and the ends of its 95 % interval.

    Groups are drawn with replacement, all hours of their links together, the same for both methods (paired bootstrap:
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13, ISBN 0412042312).
    """
    names, of = np.unique(groups, return_inverse=True)
    gain = np.abs(hidden.told[other] - hidden.truth) - np.abs(hidden.told["citytwin"] - hidden.truth)
    by_group, counted = (np.bincount(of, part.sum(axis=0), len(names)) for part in (gain, hidden.truth))
    drawn = np.random.default_rng(seed).integers(len(names), size=(DRAWS, len(names)))
    low, high = np.quantile(by_group[drawn].sum(axis=1) / counted[drawn].sum(axis=1), (0.025, 0.975))
    return float(gain.sum() / hidden.truth.sum()), float(low), float(high)


def lines(folder: Path, *, seed: int = 0) -> list[str]:
    """Return the tables of edges and of streets left out."""
    counts = read(folder)
    edges = np.arange(len(counts.link))
    found = [
        f"  Bologna, {len(edges)} edges of {len(np.unique(counts.street))} streets with loops, working days from "
        f"{HOURS.start} to {HOURS.stop} h; each left out: sum of errors / sum of counts, share of GEH < {GOOD_GEH:g}"
    ]
    for what, groups, owed in (("edge", edges, "  (owed: 0.30, 45 %)"), ("street", counts.street, "")):
        hidden = score(counts, groups)
        found.append(f"   one {what} left out")
        for name, flow in hidden.told.items():
            good = (geh(flow, hidden.truth) < GOOD_GEH).mean()
            mark = owed if name == "citytwin" else ""
            found.append(f"    {name:<18} {relative(hidden, name):5.3f} {good:6.1%}{mark}")
        gain, low, high = better_by(hidden, "mean per lane", groups, seed=seed)
        found += [
            f"    less than mean per lane by {gain:.3f}, 95 % interval {low:.3f} to {high:.3f} ({DRAWS:,} draws)",
            f"    90 % interval: {hidden.covered():.1%} of counts, {(hidden.high - hidden.low).mean():.0f} veh/h wide",
        ]
    mean = read(folder, several=lambda loops: np.mean([count for _, count in loops], axis=0))
    single = read(folder, several=lambda loops: np.full(len(HOURS), np.nan))
    keep = np.isfinite(single.count[0])
    alone = Counts(counts.network, counts.link[keep], counts.street[keep], counts.count[:, keep], counts.use)
    for what, other in (
        ("the mean of all loops of a link instead", mean),
        (f"the {keep.sum()} edges with a single loop alone", alone),
    ):
        hidden = score(other, np.arange(len(other.link)))
        found.append(f"   one edge left out, {what}")
        for name in ("mean per lane", "scaled demand", "citytwin"):
            good = (geh(hidden.told[name], hidden.truth) < GOOD_GEH).mean()
            found.append(f"    {name:<18} {relative(hidden, name):5.3f} {good:6.1%}")
    return found
