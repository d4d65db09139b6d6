"""The result of a run: totals, links on a time grid and trips; as the object of ``--json`` and as files."""

import itertools
import json
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensors import InputError, WorkError
from simulation.measure import Cumulative, LinkMeasure
from twin.compiled import Float
from twin.tables import Row, write_table

Long = npt.NDArray[np.int64]
TRIP_COLUMNS = ("trip_id", "depart_s", "enter_s", "arrive_s", "distance_m", "delay_s")
LINK_COLUMNS = ("link_id", "time_s", "entered", "left", "on_link", "flow_veh_h", "density_veh_km", "speed_kmh")
FILES = frozenset({"summary.json", "trips.csv", "links.csv", "run.json"})


@dataclass(frozen=True)
class LinkTable:
    """Every link at every sample; the row at time t covers the interval that ends there.

    Parameters
    ----------
    time : (n_times,) s
    entered, left : (n_times, n_links)
        Vehicles since the start of the run.
    flow, density, speed : (n_times, n_links) veh/s, veh/m, m/s
        By Edie's definitions; the speed is NaN without vehicles.
    vehicle_seconds : (n_times, n_links) veh s
        Spent on the link since the start of the run.
    """

    link_ids: tuple[str, ...]
    time: Float
    entered: Long
    left: Long
    flow: Float
    density: Float
    speed: Float
    vehicle_seconds: Float

    @property
    def on_link(self) -> Long:
        """Vehicles on each link, (n_times, n_links)."""
        return self.entered - self.left

    @classmethod
    def of(cls, link_ids: tuple[str, ...], samples: list[Cumulative], length: Float) -> "LinkTable":
        """Return the table of counts, of which the first is the start."""
        measures = [LinkMeasure.between(a, b, length) for a, b in itertools.pairwise(samples)]
        shape = (len(measures), len(length))

        def stack(rows: Iterable[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
            return np.array(list(rows), dtype=dtype).reshape(shape)

        return cls(
            link_ids,
            np.array([m.until_s for m in measures]),
            stack((s.entered for s in samples[1:]), np.int64),
            stack((s.left for s in samples[1:]), np.int64),
            stack((m.flow for m in measures), np.float64),
            stack((m.density for m in measures), np.float64),
            stack((m.speed for m in measures), np.float64),
            stack((s.vehicle_seconds for s in samples[1:]), np.float64),
        )


@dataclass(frozen=True)
class TripTable:
    """Every vehicle that was demanded; NaN where something did not happen.

    Parameters
    ----------
    depart, enter, arrive : (n,) s
    distance : (n,) m
        Of the links that it has travelled to their end.
    delay : (n,) s
        Time above the free-flow time, waiting at the origin included; NaN before the arrival.
    """

    ids: tuple[str, ...]
    depart: Float
    enter: Float
    arrive: Float
    distance: Float
    delay: Float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Result:
    """What a run gave."""

    links: LinkTable = field(repr=False)
    trips: TripTable = field(repr=False)
    totals: dict[str, Any]
    notes: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict, repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the object of ``--json``."""
        return dict(self.totals)

    def __repr__(self) -> str:
        vehicles = self.totals["vehicles"]
        return (
            f"Result({vehicles['arrived']} of {vehicles['demanded']} vehicles arrived in "
            f"{self.totals['horizon_s']:g} s, total delay {self.totals['total_delay_s'] / 3600:.1f} veh h)"
        )

    def write(self, folder: Path | str) -> None:
        """Write ``summary.json``, ``trips.csv``, ``links.csv`` and ``run.json``: all of them or nothing.

        Raises
        ------
        InputError
            When the folder holds other things than a result.
        WorkError
            When the disk refuses.
        """
        folder = Path(folder).absolute()
        if folder.exists() and (not folder.is_dir() or {entry.name for entry in folder.iterdir()} - FILES):
            raise InputError(f"--out {folder}: holds other things than a result, name an empty or new folder")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
                made = Path(scratch) / "result"
                made.mkdir()
                self._write_files(made)
                if folder.exists():
                    folder.rename(Path(scratch) / "old")
                made.rename(folder)
        except OSError as error:
            raise WorkError(
                f"--out {folder}: cannot be written: {error.strerror}, check its rights and space"
            ) from None

    def _write_files(self, folder: Path) -> None:
        summary = {key: value for key, value in self.totals.items() if key != "engine_wall_s"}
        (folder / "summary.json").write_text(_json(summary), "utf-8")
        (folder / "run.json").write_text(_json(self.recipe), "utf-8")
        write_table(folder / "trips.csv", TRIP_COLUMNS, self._trip_rows())
        write_table(folder / "links.csv", LINK_COLUMNS, self._link_rows())

    def _trip_rows(self) -> Iterator[Row]:
        trips = self.trips
        arrays = [_rounded(a) for a in (trips.depart, trips.enter, trips.arrive, trips.distance, trips.delay)]
        for row in zip(trips.ids, *arrays, strict=True):
            yield dict(zip(TRIP_COLUMNS, row, strict=True))

    def _link_rows(self) -> Iterator[Row]:
        links = self.links
        for k, time in enumerate(_rounded(links.time)):
            arrays = [
                links.entered[k].tolist(),
                links.left[k].tolist(),
                links.on_link[k].tolist(),
                _rounded(links.flow[k] * 3600.0),
                _rounded(links.density[k] * 1000.0),
                _rounded(links.speed[k] * 3.6),
            ]
            for link_id, *values in zip(links.link_ids, *arrays, strict=True):
                yield dict(zip(LINK_COLUMNS, (link_id, time, *values), strict=True))


def _rounded(values: Float) -> list[float | None]:
    """Return numbers to a millionth, NaN as None: below that they say nothing, and the files stay small."""
    return [None if math.isnan(value) else round(value, 6) for value in values.tolist()]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
