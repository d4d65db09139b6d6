"""Nodes of a network: their places in WGS84 degrees, names and zones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from twin.tables import Table, Unreadable
from twin.units import Units

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Nodes:
    """The rows of ``node.csv`` in their order.

    Parameters
    ----------
    ids
        In the order of the rows.
    position
        Row of each id.
    lon_lat : (n_nodes, 2) degrees
    names, names_zh
        ``""`` where there is none.
    zone_ids, ctrl_types
        As written, ``""`` where there is none.
    """

    ids: tuple[str, ...]
    position: dict[str, int]
    lon_lat: Float
    names: tuple[str, ...]
    names_zh: tuple[str, ...]
    zone_ids: tuple[str, ...]
    ctrl_types: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lon_lat)


def to_degrees(table: Table, x: Float, y: Float, units: Units) -> Float:
    """Return coordinates of a table's rows as degrees; rows outside the globe are faults.

    Returns
    -------
    (n, 2) degrees, NaN where x or y is
    """
    points = np.column_stack([x, y])
    if units.projection is not None:
        known = np.isfinite(points).all(axis=1)
        if (np.abs(points[known]) <= 180).all() and known.any():
            table.faults.append(
                f"{table.name}.csv: coordinates look like degrees, but config.csv names a crs in metres; "
                "correct crs or the coordinates"
            )
            return points
        degrees = points.copy()
        degrees[known] = units.projection.to_degrees(points[known])
        for index in np.flatnonzero(known & np.isnan(degrees).any(axis=1)):
            table.fault(int(index), f"({x[index]:g}, {y[index]:g}) lies nowhere on the globe in the crs of config.csv")
        return degrees
    projected = np.flatnonzero((np.abs(x) > 360) | (np.abs(y) > 360))
    if len(projected):
        table.fault(
            int(projected[0]),
            f"coordinates ({x[projected[0]]:g}, {y[projected[0]]:g}) are no degrees ({len(projected)} such rows); "
            "if they are metres, name their crs in config.csv, for example EPSG:32632",
        )
        return points
    for index in np.flatnonzero((np.abs(y) > 90) & (np.abs(x) <= 90)):
        table.fault(
            int(index),
            f"y_coord is {y[index]:g}, a latitude must be -90 to 90; longitude and latitude look swapped "
            "(x_coord is the longitude)",
        )
    for index in np.flatnonzero((np.abs(y) > 90) & (np.abs(x) > 90)):
        table.fault(int(index), f"y_coord is {y[index]:g}, a latitude must be -90 to 90")
    for index in np.flatnonzero((np.abs(x) > 180) & (np.abs(y) <= 90)):
        table.fault(int(index), f"x_coord is {x[index]:g}, a longitude must be -180 to 180")
    return points


def read_nodes(table: Table, units: Units) -> Nodes:
    """Return the nodes of ``node.csv``; every fault is noted in the table."""
    if not table.requires("node_id", "x_coord", "y_coord"):
        return Nodes((), Unreadable(), np.zeros((0, 2)), (), (), (), ())
    if not len(table):
        table.faults.append("node.csv: has no rows, a network needs nodes")
        return Nodes((), Unreadable(), np.zeros((0, 2)), (), (), (), ())
    x, y = table.numbers("x_coord", required=True), table.numbers("y_coord", required=True)
    position = table.ids("node_id")
    return Nodes(
        ids=tuple(position),
        position=position,
        lon_lat=to_degrees(table, x, y, units),
        names=tuple(table.text("name")),
        names_zh=tuple(table.text("name_zh")),
        zone_ids=tuple(table.text("zone_id")),
        ctrl_types=tuple(table.text("ctrl_type")),
    )
