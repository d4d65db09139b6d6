"""Which supply a piece of equipment hangs on where nobody says it: assumed to be the nearest one, and flagged so."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import KDTree

from twin.geometry import METRES_PER_DEGREE

Row = Mapping[str, object]

# Assumed: no cable in the street from a box to what it feeds is longer.
WITHIN_M = 200.0
# What needs power, by kind; a signal head hangs on its controller where there is one.
CONSUMERS = frozenset({"signal", "controller", "cabinet", "lamp", "camera", "detector", "switch", "air_station"})


def place_of(row: Row) -> tuple[float, float] | None:
    """Return the longitude and latitude of a row of ``asset.csv`` in degrees, None without a place."""
    try:
        place = float(str(row.get("x_coord", ""))), float(str(row.get("y_coord", "")))
    except ValueError:
        return None
    return place if all(map(math.isfinite, place)) else None


def nearest_supply(
    consumers: Sequence[Row], suppliers: Sequence[tuple[str, float, float]], *, within_m: float = WITHIN_M
) -> list[Row]:
    """Return a row of ``dependency.csv`` for each consumer that has a supplier within reach: power of the nearest.

    Parameters
    ----------
    consumers
        Rows of ``asset.csv`` in degrees; those without a place are passed over.
    suppliers
        Asset, longitude and latitude in degrees of each place from which an asset supplies; it may have many.
    """
    placed = [(row, place) for row in consumers if (place := place_of(row)) is not None]
    if not placed or not suppliers:
        return []
    scale = METRES_PER_DEGREE * np.array([math.cos(math.radians(suppliers[0][2])), 1.0])
    tree = KDTree(np.array([place for _, *place in suppliers]) * scale)
    far, near = tree.query(np.array([place for _, place in placed]) * scale)
    rows: list[Row] = []
    for (row, _), metres, which in zip(placed, np.atleast_1d(far).tolist(), np.atleast_1d(near).tolist(), strict=True):
        name = suppliers[which][0]
        if metres <= within_m and name != row["asset_id"]:
            rows.append({"asset_id": row["asset_id"], "depends_on": name, "kind": "power", "assumed": "depends_on"})
    return rows


def supplied_by_boxes(assets: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return assumed rows of ``dependency.csv`` for furniture near cabinets and transformers, and a note about them."""
    boxes = [row for row in assets if row["kind"] == "cabinet"]
    stations = [row for row in assets if row["kind"] in ("transformer", "substation")]
    rows: list[Row] = []
    for consumers, suppliers in (
        ([row for row in assets if row["kind"] in CONSUMERS - {"cabinet"}], boxes),
        (boxes, stations),
    ):
        places = [(str(row["asset_id"]), *place) for row in suppliers if (place := place_of(row)) is not None]
        rows += nearest_supply(consumers, places)
    if not rows:
        return [], []
    text = (
        f"{len(rows):,} supplies are assumed: power comes from the nearest cabinet or transformer within {WITHIN_M:g} m"
    )
    return rows, [text]
