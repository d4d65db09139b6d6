"""Small edits of a network as TOML files, which stack upon a base and can be reviewed like code.

A patch names what it changes by id: ``[[node]]`` and ``[[link]]`` with the columns of their tables change a row or,
with ``new = true``, add one; ``[[remove]]`` takes links away; ``[[ban]]`` and ``[[allow]]`` change turns;
``[[signal]]`` sets a plan anew. `twin.edit` applies it. See docs/network.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensors import InputError
from sensors.toml import read_toml, unknown_keys
from twin.gmns import COLUMNS

Row = dict[str, Any]

_KEYS = {
    "": ("title", "base", "node", "link", "remove", "ban", "allow", "signal"),
    "node": ("new", *COLUMNS["node"]),
    "link": ("new", *(column for column in COLUMNS["link"] if column != "geometry_id")),
    "remove": ("links",),
    "ban": ("from_link", "to_link"),
    "allow": ("from_link", "to_link"),
    "signal": ("node", "cycle_s", "offset_s", "green_s", "stage"),
}
ID = {"node": "node_id", "link": "link_id"}
LEAST_BASE = 8  # characters of a hash that name a network


@dataclass(frozen=True)
class Patch:
    """The content of one patch file, its form checked; `apply_patches` checks it against the network.

    Parameters
    ----------
    name
        Of the file, in messages.
    tables
        As in the file.
    """

    name: str
    tables: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Patch":
        """Return the patch of a TOML file.

        Raises
        ------
        InputError
            With every fault of its form.
        """
        tables = read_toml(path)
        name, faults = path.name, unknown_keys(tables, _KEYS[""], where=path.name)
        for key in ("title", "base"):
            if not isinstance(tables.get(key, ""), str):
                faults.append(f"{name}: {key} is {tables[key]!r}, must be a text")
        if isinstance(base := tables.get("base"), str) and len(base) < LEAST_BASE:
            faults.append(f"{name}: base is {base!r}, must be {LEAST_BASE} characters of the base's sha256 or more")
        for kind in _KEYS[""][2:]:
            rows = tables.get(kind, [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                faults.append(f"{name}: {kind} must be written as [[{kind}]]")
                continue
            for number, row in enumerate(rows, 1):
                faults += unknown_keys(row, _KEYS[kind], where=f"{name}: [[{kind}]] {number}")
                faults += _form_faults(kind, row, f"{name}: [[{kind}]] {number}")
        if faults:
            raise InputError(faults)
        return cls(name, tables)

    def rows(self, kind: str) -> Sequence[tuple[str, Row]]:
        """Return the tables of one kind, each with its name in messages."""
        return [(f"{self.name}: [[{kind}]] {n}", row) for n, row in enumerate(self.tables.get(kind, []), 1)]


def _form_faults(kind: str, row: Row, where: str) -> list[str]:
    """Return what is wrong with one table whatever the network."""
    texts = {"ban": ("from_link", "to_link"), "allow": ("from_link", "to_link"), "signal": ("node",)}.get(kind, ())
    faults = [
        f"{where}: {key} is {row.get(key)!r}, must be an id in quotes"
        for key in (*texts, *((ID[kind],) if kind in ID else ()))
        if not isinstance(row.get(key), str) or not row[key]
    ]
    if kind in ID:
        if not isinstance(row.get("new", False), bool):
            faults.append(f"{where}: new is {row['new']!r}, must be true or false")
        faults += [
            f"{where}: {key} is {value!r}, must be a text, a number or true or false"
            for key, value in row.items()
            if isinstance(value, list | dict)
        ]
        if not row.keys() - {"new", ID[kind]}:
            faults.append(f"{where}: changes nothing, name a column and its new value")
    if kind == "remove":
        links = row.get("links")
        if not isinstance(links, list) or not links or not all(isinstance(name, str) for name in links):
            faults.append(f"{where}: links is {links!r}, must be a list of link ids")
    return faults
