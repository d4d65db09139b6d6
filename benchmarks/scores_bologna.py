"""Bologna: counts of 84 loops on working days of early 2024, each edge (or street) told from the others."""

import csv
import gzip
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from twin import Network
from twin.importers import import_tables, with_detectors

Float = npt.NDArray[np.float64]
Long = npt.NDArray[np.int64]

NETWORK, DEMAND = "bologna_joined.net.xml.gz", "bologna_joined_demand_0800_0900.rou.xml.gz"
LOOPS = "loop_counts_hourly_2024-01_2024-03.csv.gz"
HOURS, LEAST_DAYS, ABREAST_M = range(7, 20), 10, 5.0
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


def read(folder: Path) -> Counts:
    """Return the median working day from 7 to 20 h of every loop with ten of them, put on links by the importer.

    Of several loops of a link, those abreast (within `ABREAST_M` along it) count lanes of one section and add up: so do
    the two of Viale Gandhi, to what the third says upstream. No vehicle vanishes within a link, while a section may lack
    lanes: the fullest section counts.
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
    count = [fullest([(at, usual[name]) for at, name in found[k]]) for k in link]
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
