"""Streets with round numbers, so that theory can be worked out by hand.

Unless a test says otherwise a lane has free speed v = 10 m/s, wave speed w = 5 m/s and jam density k_jam = 0.15
veh/m, so its capacity is v w k_jam / (v + w) = 0.5 veh/s: one vehicle every 2 s.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from simulation import Demand, Result, Scenario, simulate
from twin import Network

HEADWAY_S = 2.0


class Street:
    """A small network made of links given as (id, from, to, {column: value})."""

    def __init__(
        self,
        links: Sequence[tuple[str, str, str, dict[str, object]]],
        movements: Sequence[dict[str, object]] = (),
        places: dict[str, tuple[float, float]] | None = None,
        **tables_more: object,
    ):
        names = sorted({name for _, a, b, _ in links for name in (a, b)})
        nodes = [{"node_id": n, "x_coord": 120 + k / 1000, "y_coord": 30 + (k % 3) / 1000} for k, n in enumerate(names)]
        if places is not None:  # east and north in units of about a kilometre
            nodes = [
                {"node_id": n, "x_coord": 120 + places[n][0] / 96, "y_coord": 30 + places[n][1] / 111} for n in names
            ]
        rows = [
            {"link_id": i, "from_node_id": a, "to_node_id": b, "lanes": 1, "free_speed": 36, "length": 1000, **more}
            for i, a, b, more in links
        ]
        tables: dict[str, object] = {"node": nodes, "link": rows, **tables_more}
        if movements:
            tables["movement"] = [{"mvmt_id": str(k), **row} for k, row in enumerate(movements)]
        self.network = Network.from_tables(tables)

    def trips(
        self, *platoons: tuple[str, str, Sequence[float]], routes: dict[int, Sequence[str]] | None = None
    ) -> Demand:
        """Return the demand of platoons (from, to, times); ``routes`` fixes the links of a platoon by its number."""
        rows = [(time, a, b, k) for k, (a, b, times) in enumerate(platoons) for time in times]
        return Demand.of_trips(
            self.network,
            [r[0] for r in rows],
            [r[1] for r in rows],
            [r[2] for r in rows],
            link_ids=None if routes is None else [list(routes.get(r[3], ())) for r in rows],
        )

    def run(self, demand: Demand, scenario: str = "", **options: object) -> Result:
        """Return the result under a scenario given as TOML."""
        return simulate(self.network, demand, scenario=Scenario.parse(scenario), **options)  # type: ignore[arg-type]


@pytest.fixture
def street() -> Callable[..., Street]:
    return Street


def every(headway: float, n: int, start: float = 0.0) -> list[float]:
    """Return ``n`` departures ``headway`` apart."""
    return (start + headway * np.arange(n)).tolist()


@pytest.fixture(name="every")
def _every() -> Callable[..., list[float]]:
    return every


COMPASS = {"C": (0.0, 0.0), "N": (0.0, 1.0), "E": (1.0, 0.0), "S": (0.0, -1.0), "W": (-1.0, 0.0)}


@pytest.fixture
def picture() -> Callable[..., dict[str, np.ndarray]]:
    """Return what takes a copy of all that stands in a street."""
    return lambda simulation: {name: np.copy(array) for name, array in simulation.roads._asdict().items()}


@pytest.fixture
def changed() -> Callable[..., list[str]]:
    """Return what names the arrays that differ between two pictures; bytes that pad a record do not count."""
    return lambda a, b: [name for name in a if not np.array_equal(a[name], b[name])]


@pytest.fixture
def compass() -> dict[str, tuple[float, float]]:
    return COMPASS


@pytest.fixture
def crossing() -> Callable[..., Street]:
    """Return a junction C of four two-way roads: link ``NC`` comes from the north, ``CN`` leads there."""

    def make(columns: dict[str, dict[str, object]] | None = None, **tables: object) -> Street:
        links = [(a + b, a, b, (columns or {}).get(a + b, {})) for x in "NESW" for a, b in ((x, "C"), ("C", x))]
        return Street(links, places=COMPASS, **tables)

    return make


@pytest.fixture
def two_stages() -> str:
    """Return the usual plan of that junction: 35 s for north and south, 35 s for east and west, all turns with them."""
    return TWO_STAGES


TWO_STAGES = """
[routing]
update = "fixed"
[[signal]]
node = "C"
cycle_s = 80
[[signal.stage]]
green_s = 35
intergreen_s = 5
movements = [["NC", "CS"], ["NC", "CW"], ["NC", "CE"], ["SC", "CN"], ["SC", "CE"], ["SC", "CW"]]
[[signal.stage]]
green_s = 35
intergreen_s = 5
movements = [["EC", "CW"], ["EC", "CN"], ["EC", "CS"], ["WC", "CE"], ["WC", "CS"], ["WC", "CN"]]
"""
