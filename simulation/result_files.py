"""A result as files in a folder: all of them, or nothing."""

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensors import InputError, WorkError
from simulation.table_text import Labels, write_rows

if TYPE_CHECKING:
    from simulation.detectors import DetectorTable
    from simulation.od import OdTable
    from simulation.result import LinkTable, Result, TripTable

TRIP_COLUMNS = ("trip_id", "depart_s", "enter_s", "arrive_s", "distance_m", "delay_s")
LINK_COLUMNS = ("link_id", "time_s", "entered", "left", "on_link", "flow_veh_h", "density_veh_km", "speed_kmh")
OD_COLUMNS = (
    *("o_zone_id", "d_zone_id", "start_s", "vehicles", "arrived"),
    *("travel_time_s", "delay_s", "distance_m"),
)
DETECTOR_COLUMNS = ("sensor_id", "time_s", "count_veh", "flow_veh_h", "speed_kmh", "occupancy")
FILES = frozenset({"summary.json", "trips.csv", "links.csv", "run.json", "od.csv", "detectors.csv"})


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot take a result; called before a run, not only after it.

    Raises
    ------
    InputError
        When it is a file, holds other things than a result, or may not be written.
    """
    folder = folder.absolute()
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file, name an empty or new folder")
    try:
        if folder.is_dir() and (strange := sorted({entry.name for entry in folder.iterdir()} - FILES)):
            raise InputError(
                f"--out {folder}: holds other things than a result ({strange[0]}), name an empty or new folder"
            )
        there = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
        with tempfile.TemporaryDirectory(prefix=".citytwin-", dir=there):
            pass
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written: {error.strerror}, check its rights and space") from None


def write(result: "Result", folder: Path, od_period_s: float | None = None) -> None:
    """Write a result; a result that is there already is replaced as a whole.

    Raises
    ------
    InputError
        When the folder cannot take a result.
    WorkError
        When the disk refuses; what was there before is left as it was.
    """
    folder = folder.absolute()
    check_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        inside = folder.is_dir() and not _can_be_renamed(folder)
        # Beside the folder, so that one renaming puts all in place; inside where the folder itself has to stay.
        with tempfile.TemporaryDirectory(prefix=".citytwin-", dir=folder if inside else folder.parent) as scratch:
            made = Path(scratch) / "result"
            made.mkdir()
            _write_files(result, made, od_period_s)
            _exchange_files(made, folder) if inside else _exchange(made, folder, Path(scratch) / "old")
    except OSError as error:
        raise WorkError(f"--out {folder}: cannot be written: {error.strerror}, check its rights and space") from None


def _can_be_renamed(folder: Path) -> bool:
    """Return whether a folder may be put aside: not a mount, not one somebody works in, not where rights forbid it."""
    working = Path.cwd().resolve()
    real = folder.resolve()
    fixed = folder.is_symlink() or os.path.ismount(folder) or real == working or real in working.parents
    return not fixed and os.access(folder.parent, os.W_OK)


def _exchange(made: Path, folder: Path, old: Path) -> None:
    if not folder.exists():
        made.rename(folder)
        return
    folder.rename(old)
    try:
        made.rename(folder)
    except BaseException:
        old.rename(folder)
        raise


def _exchange_files(made: Path, folder: Path) -> None:
    names = {path.name for path in made.iterdir()}
    for name in FILES - names:  # of an older result
        (folder / name).unlink(missing_ok=True)
    for name in sorted(names):
        (made / name).replace(folder / name)


def _write_files(result: "Result", folder: Path, od_period_s: float | None) -> None:
    summary = {key: value for key, value in result.totals.items() if key != "engine_wall_s"}
    (folder / "summary.json").write_text(_json(summary), "utf-8")
    (folder / "run.json").write_text(_json(result.recipe), "utf-8")
    _write_trips(folder / "trips.csv", result.trips)
    _write_links(folder / "links.csv", result.links)
    if od_period_s is not None:
        _write_od(folder / "od.csv", result.od(od_period_s))
    if result.detectors is not None:
        _write_detectors(folder / "detectors.csv", result.detectors)


def _header(columns: tuple[str, ...]) -> bytes:
    return (",".join(columns) + "\n").encode()


def _write_trips(path: Path, trips: "TripTable") -> None:
    columns = (trips.depart, trips.enter, trips.arrive, trips.distance, trips.delay)
    with path.open("wb") as file:
        file.write(_header(TRIP_COLUMNS))
        write_rows(file, Labels.of(trips.ids), np.stack(columns, axis=1))


def _write_links(path: Path, links: "LinkTable") -> None:
    labels, n = Labels.of(links.link_ids), len(links.link_ids)
    values = np.empty((n, len(LINK_COLUMNS) - 1))
    with path.open("wb") as file:
        file.write(_header(LINK_COLUMNS))
        for row, sample in enumerate(links.samples[1:]):
            measure = links.measure(row)
            columns: tuple[Any, ...] = (
                *(sample.time_s, sample.entered, sample.left, sample.on_link),
                *(measure.flow * 3600.0, measure.density * 1000.0, measure.speed * 3.6),
            )
            for k, column in enumerate(columns):
                values[:, k] = column
            write_rows(file, labels, values)


def _write_od(path: Path, od: "OdTable") -> None:
    with path.open("wb") as file:
        file.write(_header(OD_COLUMNS))
        write_rows(file, Labels.of_rows(zip(od.origin, od.destination, strict=True)), od.numbers())


def _write_detectors(path: Path, detectors: "DetectorTable") -> None:
    columns = (
        *(detectors.until_s, detectors.count, detectors.flow * 3600.0),
        *(detectors.speed * 3.6, detectors.occupancy),
    )
    with path.open("wb") as file:
        file.write(_header(DETECTOR_COLUMNS))
        write_rows(file, Labels.of(detectors.sensor_ids), np.stack(columns, axis=1), detectors.sensor)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
