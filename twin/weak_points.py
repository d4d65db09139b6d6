"""Single points of failure: assets whose failure alone takes others along, more than one supply or not."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from twin.assets import AssetGraph


@dataclass(frozen=True, slots=True)
class WeakPoint:
    """An asset and what fails with it when every battery is empty.

    Parameters
    ----------
    asset_id, kind
        Which.
    lost
        How many other assets stop to work.
    unheard
        How many others work on, unheard.
    signals, sensors
        How many signal heads, and how many detectors, cameras and other assets of sensors, are among both.
    """

    asset_id: str
    kind: str
    lost: int
    unheard: int
    signals: int
    sensors: int


def single_points_of_failure(graph: "AssetGraph") -> list[WeakPoint]:
    """Return the assets that take others along, those with most signals first, then most sensors, then most assets.

    Batteries are taken as empty: they delay, they do not save. An asset that only stands at the end of a chain is none.
    """
    arrays = graph.arrays
    # An asset in the street at the end of a chain that is no signal is taken for a sensor: lamps count as such too.
    ends = np.diff(arrays.used_start)[: arrays.n] <= 1  # used by nothing but its own "is heard"
    ends &= np.diff(arrays.used_start)[arrays.n :] == 0
    signal = graph.signal_heads
    sensor = ends & ~signal
    # Two counts in one pass: there are fewer than 2**26 assets.
    lost, unheard, worth = arrays.falls(np.asarray(signal * float(1 << 26) + sensor, np.float64))
    signals, sensors = np.divmod(worth.astype(np.int64), 1 << 26)
    some = np.flatnonzero(lost + unheard)
    order = some[np.lexsort((some, -(lost + unheard)[some], -sensors[some], -signals[some]))]
    names = graph.names
    columns = (column[order].tolist() for column in (lost, unheard, signals, sensors))
    return [WeakPoint(names[i], graph.kinds[i], *counts) for i, *counts in zip(order.tolist(), *columns, strict=True)]
