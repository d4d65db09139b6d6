"""What a configuration says about single values: which quantity a field of a payload is, and in what unit it comes."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from sensors.codecs.units import conversion
from sensors.errors import PayloadError
from sensors.quantity import QUANTITIES
from sensors.toml import unknown_keys

_KEYS = ("quantity", "unit", "factor", "offset")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A field of a payload: its quantity, and value in the quantity's unit = value * factor + offset."""

    quantity: str
    factor: float = 1.0
    offset: float = 0.0


def mapped(value: object, *, where: str, faults: list[str], also: tuple[str, ...] = ()) -> Mapped | None:
    """Return the meaning of a field, given as a quantity's key or as a table; None when it adds to the faults.

    Parameters
    ----------
    where
        File and key, for the faults.
    also
        Further keys that the table may have, for the caller.

    Examples
    --------
    >>> mapped({"quantity": "voltage_v", "unit": "mV"}, where="x", faults=[])
    Mapped(quantity='voltage_v', factor=0.001, offset=0.0)
    >>> faults = []
    >>> mapped("voltage", where="city.toml: Bat_mV", faults=faults), faults
    (None, ["city.toml: Bat_mV: unknown quantity 'voltage', did you mean 'voltage_v'?"])
    """
    table: Mapping[str, object] = value if isinstance(value, dict) else {"quantity": value}
    before = len(faults)
    faults += unknown_keys(table, (*_KEYS, *also), where=where)
    key = table.get("quantity")
    if not isinstance(key, str) or key not in QUANTITIES:
        nearest = difflib.get_close_matches(str(key)[:64], QUANTITIES, n=1, cutoff=0.0)[0]
        faults.append(f"{where}: unknown quantity {key!r}, did you mean {nearest!r}?")
        return None
    factor, offset = (
        _number(table, name, default, where, faults) for name, default in (("factor", 1.0), ("offset", 0.0))
    )
    if "unit" in table:
        if "factor" in table or "offset" in table:
            faults.append(f"{where}: has unit and factor or offset, must have one or the other")
        try:
            factor, offset = conversion(key, table["unit"])
        except PayloadError as error:
            faults.append(f"{where}: {error.detail}")
    if factor == 0.0:
        faults.append(f"{where}: factor is 0, must not be 0")
    return Mapped(key, factor, offset) if len(faults) == before else None


def _number(table: Mapping[str, object], name: str, default: float, where: str, faults: list[str]) -> float:
    value = table.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    faults.append(f"{where}: {name} is {value!r}, must be a number")
    return default
