"""A scenario as TOML: read with every fault at once, and written so that it reads back as the same scenario."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from sensors import InputError
from simulation.departures import Surge
from simulation.happening import (
    AssetFailure,
    CapacityChange,
    Closure,
    Emergency,
    Incident,
    LaneClosure,
    Routing,
    SpeedLimit,
)
from simulation.scenario_signal import SIGNAL_KEYS, read_signal

UPDATES = ("fixed", "departure", "periodic", "logit", "equilibrium")
KEY_OF_UPDATES = {  # what else a key says nothing with
    "times": ("departure", "logit"),
    "paths": ("logit",),
    "theta": ("logit",),
    "iterations": ("equilibrium",),
    "gap": ("equilibrium",),
}
_KEY_OF = {"node_id": "node", "stages": "stage"}  # where the key of the file is not the name of the field


def toml_lines(record: Any, path: str) -> list[str]:
    """Return the lines of a record: its plain values first, then its tables."""
    plain, tables = [], []
    for entry in fields(record):
        value, key = getattr(record, entry.name), _KEY_OF.get(entry.name, entry.name)
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        if value == default:
            continue
        below = f"{path}.{key}" if path else key
        if is_dataclass(value):
            tables += [f"[{below}]", *toml_lines(value, below)]
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            for item in value:
                tables += [f"[[{below}]]", *toml_lines(item, below)]
        else:
            plain.append(f"{key} = {toml_value(value)}")
    return plain + tables


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


LARGEST = 1e12  # of any number: beyond it, adding a second to a time changes nothing
_TIMES = {"from_s", "until_s"}
KEYS = {
    "close": {"links", "reroute"} | _TIMES,
    "incident": {"link", "position_m", "lanes_blocked"} | _TIMES,
    "capacity": {"links", "factor"} | _TIMES,
    "speed_limit": {"links", "speed_kmh"} | _TIMES,
    "lanes": {"links", "closed"} | _TIMES,
    "demand": {"factor", "origins", "destinations"} | _TIMES,
    "signal": SIGNAL_KEYS,
    "asset_failure": {"asset"} | _TIMES,
    "emergency": {"from_node", "to_node", "depart_s", "links", "lead_s"},
}


class ScenarioReader:
    """Reads the tables of one file and gathers its faults."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[str] = []

    def fault(self, where: str, sentence: str) -> None:
        """Note a fault of a table (``where``), or of the file."""
        self.faults.append(f"{self.name}: {where}: {sentence}" if where else f"{self.name}: {sentence}")

    def keys(self, where: str, table: Mapping[str, Any], known: Sequence[str] | set[str]) -> None:
        """Note the keys of a table that nothing knows, with the nearest one that is known."""
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, sorted(known), 1, 0.0)
                self.fault(where, f"unknown key {key!r}, the nearest valid one is {near[0]!r}")

    def number(
        self, where: str, table: Mapping[str, Any], key: str, default: float | None = None, rule: str = ">= 0"
    ) -> float:
        """Return a number that keeps ``rule``; a missing one without default is a fault."""
        if key not in table:
            if default is None:
                self.fault(where, f"{key} is missing, must be a number {rule}".rstrip())
            return math.nan if default is None else default
        value = table[key]
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if right and abs(value) > LARGEST:
            bound = f"{rule} and <= {LARGEST:g}" if value > 0 else rule or f">= {-LARGEST:g}"
            self.fault(where, f"{key} is {value!r}, must be a number {bound.removeprefix(' and ')}")
            return math.nan
        right = right and value == value  # nan is none
        least = {">= 0": value >= 0, ">= 1": value >= 1, "> 0": value > 0} if right else {}
        if not right or not least.get(rule, True):
            self.fault(where, f"{key} is {value!r}, must be a number {rule}".rstrip())
            return math.nan
        return float(value)

    def text(self, where: str, table: Mapping[str, Any], key: str) -> str:
        """Return a text that must be there."""
        value = table.get(key)
        if not isinstance(value, str) or not value:
            self.fault(
                where, f"{key} is missing, must be an id" if value is None else f"{key} is {value!r}, must be an id"
            )
            return ""
        return value

    def texts(self, where: str, table: Mapping[str, Any], key: str, *, required: bool = True) -> tuple[str, ...]:
        """Return a list of texts."""
        value = table.get(key, [] if not required else None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or (required and not value):
            shown = "missing" if value is None else repr(value)
            self.fault(where, f"{key} is {shown}, must be a list of ids")
            return ()
        return tuple(value)

    def times(self, where: str, table: Mapping[str, Any]) -> tuple[float, float]:
        """Return from when until when."""
        start = self.number(where, table, "from_s", 0.0)
        end = self.number(where, table, "until_s", math.inf)
        if end <= start:
            self.fault(where, f"until_s is {end:g}, must be > from_s, which is {start:g}")
        return start, end

    def tables(self, root: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the tables of an array and what each is called in messages."""
        value = root.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.fault("", f"{key} must be written as [[{key}]]")
            return []
        found = [(f"[[{key}]] {number}", table) for number, table in enumerate(value, 1)]
        for where, table in found:
            self.keys(where, table, KEYS[key])
        return found

    def fields(self, root: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a `simulation.scenario.Scenario`; with any fault, all of them are raised."""
        self.keys("", root, [*KEYS, "name", "routing"])
        name = root.get("name", "")
        if not isinstance(name, str):
            self.fault("", f"name is {name!r}, must be a text")
        signals = [read_signal(self, where, table) for where, table in self.tables(root, "signal")]
        result: dict[str, Any] = {
            "name": str(name),
            "close": tuple(
                Closure(self.texts(w, t, "links"), *self.times(w, t), self.flag(w, t, "reroute"))
                for w, t in self.tables(root, "close")
            ),
            "incident": tuple(
                Incident(
                    self.text(w, t, "link"),
                    self.number(w, t, "position_m"),
                    self.number(w, t, "lanes_blocked", rule="> 0"),
                    *self.times(w, t),
                )
                for w, t in self.tables(root, "incident")
            ),
            "capacity": tuple(
                CapacityChange(self.texts(w, t, "links"), self.number(w, t, "factor"), *self.times(w, t))
                for w, t in self.tables(root, "capacity")
            ),
            "speed_limit": tuple(
                SpeedLimit(self.texts(w, t, "links"), self.number(w, t, "speed_kmh", rule="> 0"), *self.times(w, t))
                for w, t in self.tables(root, "speed_limit")
            ),
            "lanes": tuple(
                LaneClosure(self.texts(w, t, "links"), self.number(w, t, "closed", rule="> 0"), *self.times(w, t))
                for w, t in self.tables(root, "lanes")
            ),
            "demand": tuple(self.surge(w, t) for w, t in self.tables(root, "demand")),
            "signal": tuple(plan for plan, _ in signals if plan is not None),
            "control": tuple(control for _, control in signals if control is not None),
            "emergency": tuple(self.emergency(w, t) for w, t in self.tables(root, "emergency")),
            "asset_failure": tuple(
                AssetFailure(self.text(w, t, "asset"), *self.times(w, t)) for w, t in self.tables(root, "asset_failure")
            ),
            "routing": self.routing(root.get("routing", {})),
        }
        if self.faults:
            raise InputError(self.faults)
        return result

    def flag(self, where: str, table: Mapping[str, Any], key: str) -> bool:
        """Return true or false, false when it is not there."""
        value = table.get(key, False)
        if not isinstance(value, bool):
            self.fault(where, f"{key} is {value!r}, must be true or false")
            return False
        return value

    def surge(self, where: str, table: Mapping[str, Any]) -> Surge:
        """Return a factor on the demand of some zones."""
        factor = self.number(where, table, "factor")
        origins = self.texts(where, table, "origins", required=False)
        return Surge(
            factor, origins, self.texts(where, table, "destinations", required=False), *self.times(where, table)
        )

    def emergency(self, where: str, table: Mapping[str, Any]) -> Emergency:
        """Return an emergency vehicle."""
        return Emergency(
            self.text(where, table, "from_node"),
            self.text(where, table, "to_node"),
            self.number(where, table, "depart_s", 0.0),
            self.texts(where, table, "links", required=False),
            self.number(where, table, "lead_s", 30.0),
        )

    def whole(self, where: str, table: Mapping[str, Any], key: str, default: int, most: int) -> int:
        """Return a whole number from 1 to ``most``."""
        value = table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            self.fault(where, f"{key} is {value!r}, must be a whole number from 1 to {most}")
            return default
        return value

    def routing(self, table: Any) -> Routing:
        """Return how drivers choose."""
        if not isinstance(table, dict):
            self.fault("", "routing must be written as [routing]")
            return Routing()
        where, default = "[routing]", Routing()
        self.keys(where, table, [field.name for field in fields(Routing)])
        update = table.get("update", default.update)
        if not isinstance(update, str) or update not in UPDATES:
            self.fault(where, f"update is {update!r}, must be {', '.join(UPDATES[:-1])} or {UPDATES[-1]}")
            update = default.update
        else:
            for key, kinds in KEY_OF_UPDATES.items():
                if key in table and update not in kinds:
                    self.fault(where, f"{key} says nothing with update {update!r}, it belongs to {' and '.join(kinds)}")
        share = self.number(where, table, "share", default.share)
        if share > 1:
            self.fault(where, f"share is {share:g}, must be at most 1")
        times = table.get("times", default.times)
        if times not in ("instantaneous", "experienced"):
            self.fault(where, f"times is {times!r}, must be instantaneous or experienced")
        return Routing(
            update,
            self.number(where, table, "interval_s", default.interval_s, rule=">= 1"),
            share,
            str(times),
            self.whole(where, table, "paths", default.paths, 20),
            self.number(where, table, "theta", default.theta),
            self.whole(where, table, "iterations", default.iterations, 1000),
            self.number(where, table, "gap", default.gap),
        )
