"""Results as pandas and xarray objects, for those who have these libraries: the extra ``notebook`` brings both."""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from sensors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import Dataset

    from simulation.detectors import DetectorTable
    from simulation.od import OdTable
    from simulation.result import LinkTable, TripTable


def extra(module: str) -> Any:
    """Return a module of the extra ``notebook``.

    Raises
    ------
    InputError
        When it is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.split(".")[0]
        raise InputError(f"this needs {name}, which is not installed: pip install 'citytwin[notebook]'") from None


def links_frame(links: "LinkTable") -> "DataFrame":
    """Return one row per sample and link, as in ``links.csv``."""
    pandas = extra("pandas")
    n_times, n_links = links.entered.shape
    frame: DataFrame = pandas.DataFrame(
        {
            "link_id": pandas.Categorical.from_codes(np.tile(np.arange(n_links), n_times), list(links.link_ids)),
            "time_s": np.repeat(links.time, n_links),
            "entered": links.entered.ravel(),
            "left": links.left.ravel(),
            "on_link": links.on_link.ravel(),
            "flow_veh_h": links.flow.ravel() * 3600.0,
            "density_veh_km": links.density.ravel() * 1000.0,
            "speed_kmh": links.speed.ravel() * 3.6,
        }
    )
    return frame


def links_dataset(links: "LinkTable") -> "Dataset":
    """Return the measures on the axes ``time`` (s) and ``link`` in SI."""
    xarray = extra("xarray")
    units = {
        "entered": "veh",
        "left": "veh",
        "flow": "veh/s",
        "density": "veh/m",
        "speed": "m/s",
        "vehicle_seconds": "veh s",
    }
    data: Dataset = xarray.Dataset(
        {name: (("time", "link"), getattr(links, name), {"units": unit}) for name, unit in units.items()},
        coords={
            "time": ("time", links.time, {"units": "s"}),
            "link": ("link", list(links.link_ids)),
            "length": ("link", links.length, {"units": "m"}),
        },
    )
    return data


def trips_frame(trips: "TripTable") -> "DataFrame":
    """Return one row per vehicle, as in ``trips.csv``, with its origin and destination."""
    pandas = extra("pandas")
    places = list(trips.places)
    frame: DataFrame = pandas.DataFrame(
        {
            "trip_id": trips.ids,
            "depart_s": trips.depart,
            "enter_s": trips.enter,
            "arrive_s": trips.arrive,
            "distance_m": trips.distance,
            "delay_s": trips.delay,
            "origin": pandas.Categorical.from_codes(trips.origin, places),
            "destination": pandas.Categorical.from_codes(trips.destination, places),
        }
    )
    return frame


def od_frame(od: "OdTable") -> "DataFrame":
    """Return one row per origin, destination and period, as in ``od.csv``."""
    pandas = extra("pandas")
    frame: DataFrame = pandas.DataFrame(
        {
            "origin": od.origin,
            "destination": od.destination,
            "start_s": od.start,
            "vehicles": od.vehicles,
            "arrived": od.arrived,
            "travel_time_s": od.travel_time,
            "delay_s": od.delay,
            "distance_m": od.distance,
        }
    )
    return frame


def detectors_frame(detectors: "DetectorTable") -> "DataFrame":
    """Return one row per sensor and interval, as in ``detectors.csv``."""
    pandas = extra("pandas")
    frame: DataFrame = pandas.DataFrame(
        {
            "sensor_id": pandas.Categorical.from_codes(detectors.sensor, list(detectors.sensor_ids)),
            "time_s": detectors.until_s,
            "count_veh": detectors.count,
            "flow_veh_h": detectors.flow * 3600.0,
            "speed_kmh": detectors.speed * 3.6,
            "occupancy": detectors.occupancy,
        }
    )
    return frame
