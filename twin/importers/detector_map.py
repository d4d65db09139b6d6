"""Which column of a table of detectors holds what: a TOML file; those of tables that are known come with citytwin.

``[columns]`` names the table's columns, ``[heading]`` how headings are counted, ``[sensor]`` what all have in common.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from sensors import QUANTITIES, InputError
from sensors.toml import nearest, unknown_keys

ZEROS = {"north": 0.0, "east": 90.0}  # degrees clockwise from north
TURNS = {"clockwise": 1.0, "anticlockwise": -1.0}

_KEYS: dict[str, tuple[str, ...]] = {
    "": ("columns", "heading", "sensor", "attribution", "recognise"),
    "columns": ("sensor_id", "lon", "lat", "lat_lon", "heading", "link_id", "lanes", "owner"),
    "heading": ("zero", "turns"),
    "sensor": ("kind", "quantities", "interval_s", "owner"),
}


@dataclass(frozen=True, slots=True)
class DetectorMap:
    """Which column of a table of detectors holds what.

    Parameters
    ----------
    columns
        The table's columns for each of ours; several are joined with a hyphen.
    heading
        ``zero`` (north, east) and ``turns`` (clockwise, anticlockwise) of the column ``heading``.
    sensor
        What all detectors have in common.
    attribution
        Whose data it is.
    recognise
        Columns by which a table is known to fit this map.
    """

    columns: Mapping[str, tuple[str, ...]]
    heading: Mapping[str, str] = field(default_factory=dict)
    sensor: Mapping[str, object] = field(default_factory=dict)
    attribution: str = ""
    recognise: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, text: str) -> "DetectorMap":
        """Return the map of a TOML text.

        Raises
        ------
        InputError
            With every fault and what would be right.
        """
        try:
            data = tomllib.loads(text)
        except ValueError as error:
            raise InputError(f"{name}: is not TOML: {error}") from None
        faults: list[str] = []
        for table, known in _KEYS.items():
            part = data.get(table, {}) if table else data
            if not isinstance(part, dict):
                faults.append(f"{name}: {table} must be a table [{table}]")
                continue
            faults += unknown_keys(part, known, where=f"{name}: [{table}]" if table else name)
        if faults:
            raise InputError(faults)
        columns = {
            key: (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
            for key, value in data.get("columns", {}).items()
        }
        faults += [
            f"{name}: [columns] {key} must name a column as text, or several in a list"
            for key, value in columns.items()
            if not value or not all(isinstance(column, str) for column in value)
        ]
        if "sensor_id" not in columns or not ({"lon", "lat"} <= set(columns) or "lat_lon" in columns):
            faults.append(f"{name}: [columns] must name sensor_id, and lon and lat or lat_lon")
        heading = data.get("heading", {})
        for key, choices in (("zero", ZEROS), ("turns", TURNS)):
            if heading.get(key, next(iter(choices))) not in choices:
                faults.append(f"{name}: [heading] {key} is {heading[key]!r}, must be {' or '.join(choices)}")
        quantities = data.get("sensor", {}).get("quantities", [])
        if not isinstance(quantities, list):
            faults.append(f"{name}: [sensor] quantities is {quantities!r}, must be a list of names")
        else:
            faults += [
                f"{name}: [sensor] quantities has {key!r}, which no quantity is called, {nearest(str(key), QUANTITIES)}"
                for key in quantities
                if key not in QUANTITIES
            ]
        if faults:
            raise InputError(faults)
        return cls(
            columns,
            heading,
            data.get("sensor", {}),
            str(data.get("attribution", "")),
            tuple(str(column) for column in data.get("recognise", [])),
        )

    def clockwise(self, degrees: float) -> float:
        """Return a heading of the table in degrees clockwise from north."""
        zero, turns = self.heading.get("zero", "north"), self.heading.get("turns", "clockwise")
        return (ZEROS[zero] + TURNS[turns] * degrees) % 360.0


def built_in_maps() -> dict[str, DetectorMap]:
    """Return the maps that come with citytwin, by name."""
    folder = files("twin.importers") / "detector_maps"
    found = sorted((path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)
    return {path.name: DetectorMap.parse(path.name, path.read_text("utf-8")) for path in found}
