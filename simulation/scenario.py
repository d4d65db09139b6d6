"""A scenario: what happens to the street, read from TOML with every fault at once. Times are seconds of the run."""

import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from sensors import InputError
from simulation.departures import Surge
from simulation.scenario_signal import SIGNAL_KEYS, SignalControl, read_signal
from twin.signal import SignalPlan


@dataclass(frozen=True, slots=True)
class Closure:
    """Links that nothing enters from ``from_s`` until ``until_s``; vehicles already on them leave."""

    links: tuple[str, ...]
    from_s: float = 0.0
    until_s: float = math.inf
    reroute: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """A point of a link at which lanes are blocked; what passes is the other lanes' share of the capacity."""

    link: str
    position_m: float
    lanes_blocked: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class CapacityChange:
    """A factor on what enters and leaves links: works, weather."""

    links: tuple[str, ...]
    factor: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class SpeedLimit:
    """A lower free speed on links; it applies to the distance still to go."""

    links: tuple[str, ...]
    speed_kmh: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class LaneClosure:
    """Lanes of links that are closed over their whole length: their share of capacity and storage is gone."""

    links: tuple[str, ...]
    closed: float
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class AssetFailure:
    """An asset that fails, with all that depends on it."""

    asset: str
    from_s: float = 0.0
    until_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Emergency:
    """A vehicle with priority: signals on its way turn green for it ``lead_s`` before it arrives."""

    from_node: str
    to_node: str
    depart_s: float = 0.0
    links: tuple[str, ...] = ()
    lead_s: float = 30.0


UPDATES = ("fixed", "departure", "periodic", "logit", "equilibrium")
KEY_OF_UPDATES = {  # what else a key says nothing with
    "times": ("departure", "logit"),
    "paths": ("logit",),
    "theta": ("logit",),
    "iterations": ("equilibrium",),
    "gap": ("equilibrium",),
}


@dataclass(frozen=True, slots=True)
class Routing:
    """How vehicles choose their way.

    Parameters
    ----------
    update
        ``fixed``: the shortest at free flow; ``departure``: the shortest of now; ``periodic``: also again under way,
        for a share; ``logit``: one of several at departure; ``equilibrium``: so that nobody gains by another.
    interval_s
        Between two looks at the times on the links.
    share
        Of the drivers who choose again under way.
    times
        ``instantaneous``: the times of the last interval; ``experienced``: those that a vehicle will meet, from a run
        before this one.
    paths, theta
        For ``logit``: how many, and how much a second counts (1/s).
    iterations, gap
        For ``equilibrium``: at most so many runs, fewer once the relative gap is no larger.
    """

    update: str = "departure"
    interval_s: float = 300.0
    share: float = 1.0
    times: str = "instantaneous"
    paths: int = 3
    theta: float = 0.01
    iterations: int = 20
    gap: float = 0.01


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that happens in a run beside its demand; the empty scenario is an ordinary day."""

    name: str = ""
    close: tuple[Closure, ...] = ()
    incident: tuple[Incident, ...] = ()
    capacity: tuple[CapacityChange, ...] = ()
    speed_limit: tuple[SpeedLimit, ...] = ()
    lanes: tuple[LaneClosure, ...] = ()
    demand: tuple[Surge, ...] = ()
    signal: tuple[SignalPlan, ...] = ()
    control: tuple[SignalControl, ...] = ()
    emergency: tuple[Emergency, ...] = ()
    asset_failure: tuple[AssetFailure, ...] = ()
    routing: Routing = field(default_factory=Routing)

    @classmethod
    def read(cls, path: Path | str) -> "Scenario":
        """Return the scenario of a TOML file.

        Raises
        ------
        InputError
            With every fault of the file; an unknown key names the nearest valid one.
        """
        path = Path(path)
        try:
            text = path.read_text("utf-8-sig")  # which also makes CRLF and CR line feeds
        except UnicodeDecodeError as error:
            raise InputError(f"{path.name}: byte {error.start} is not UTF-8, save the file as UTF-8") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        return cls.parse(text, path.name)

    @classmethod
    def parse(cls, text: str, name: str = "scenario") -> "Scenario":
        r"""Return the scenario of a TOML text; ``name`` stands in messages.

        Examples
        --------
        >>> Scenario.parse('[[close]]\nlinks = ["L12"]\nuntil_s = 600').close[0].until_s
        600.0
        """
        try:
            tables = tomllib.loads(text)
        except ValueError as error:  # that of TOML, or of numbers with thousands of digits
            raise InputError(f"{name}: is not TOML: {error}") from None
        except RecursionError:
            raise InputError(f"{name}: its lists or tables are nested too deeply for a scenario") from None
        return _Reader(name).scenario(tables)

    @classmethod
    def of(cls, tables: Mapping[str, Any], name: str = "scenario") -> "Scenario":
        """Return the scenario of tables as they stand in TOML or JSON, with the same checks as `read`."""
        return _Reader(name).scenario(tables)

    def __add__(self, other: "Scenario") -> "Scenario":
        """Return both scenarios at once; name and routing of the later one, where it has its own."""
        return Scenario(
            name=" + ".join(name for name in (self.name, other.name) if name),
            close=self.close + other.close,
            incident=self.incident + other.incident,
            capacity=self.capacity + other.capacity,
            speed_limit=self.speed_limit + other.speed_limit,
            lanes=self.lanes + other.lanes,
            demand=self.demand + other.demand,
            signal=self.signal + other.signal,
            control=self.control + other.control,
            emergency=self.emergency + other.emergency,
            asset_failure=self.asset_failure + other.asset_failure,
            routing=other.routing if other.routing != Routing() else self.routing,
        )

    def to_toml(self) -> str:
        r"""Return the scenario as a TOML text that reads back as the same scenario; defaults are left out.

        Examples
        --------
        >>> print(Scenario.parse('[[close]]\nlinks = ["L12"]\nuntil_s = 600').to_toml(), end="")
        [[close]]
        links = ["L12"]
        until_s = 600.0
        """
        lines = _toml_lines(replace(self, control=()), "")
        for control in self.control:  # tables of their own: those of the plans say all of them
            settings = (("node", control.node_id), ("control", control.kind), *control.settings)
            lines += ["[[signal]]", *(f"{key} = {_toml_value(value)}" for key, value in settings)]
        return "\n".join(lines) + "\n"

    def sha256(self) -> str:
        """Hash of what happens; the name does not count."""
        return hashlib.sha256(repr(replace(self, name="")).encode()).hexdigest()


_KEY_OF = {"node_id": "node", "stages": "stage"}  # where the key of the file is not the name of the field


def _toml_lines(record: Any, path: str) -> list[str]:
    """Return the lines of a record: its plain values first, then its tables."""
    plain, tables = [], []
    for entry in fields(record):
        value, key = getattr(record, entry.name), _KEY_OF.get(entry.name, entry.name)
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        if value == default:
            continue
        below = f"{path}.{key}" if path else key
        if is_dataclass(value):
            tables += [f"[{below}]", *_toml_lines(value, below)]
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            for item in value:
                tables += [f"[[{below}]]", *_toml_lines(item, below)]
        else:
            plain.append(f"{key} = {_toml_value(value)}")
    return plain + tables


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
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


class _Reader:
    """Reads the tables of one file and gathers its faults."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[str] = []

    def fault(self, where: str, sentence: str) -> None:
        self.faults.append(f"{self.name}: {where}: {sentence}" if where else f"{self.name}: {sentence}")

    def keys(self, where: str, table: Mapping[str, Any], known: Sequence[str] | set[str]) -> None:
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
        value = table.get(key)
        if not isinstance(value, str) or not value:
            self.fault(
                where, f"{key} is missing, must be an id" if value is None else f"{key} is {value!r}, must be an id"
            )
            return ""
        return value

    def texts(self, where: str, table: Mapping[str, Any], key: str, *, required: bool = True) -> tuple[str, ...]:
        value = table.get(key, [] if not required else None)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or (required and not value):
            shown = "missing" if value is None else repr(value)
            self.fault(where, f"{key} is {shown}, must be a list of ids")
            return ()
        return tuple(value)

    def times(self, where: str, table: Mapping[str, Any]) -> tuple[float, float]:
        start = self.number(where, table, "from_s", 0.0)
        end = self.number(where, table, "until_s", math.inf)
        if end <= start:
            self.fault(where, f"until_s is {end:g}, must be > from_s, which is {start:g}")
        return start, end

    def tables(self, root: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
        value = root.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.fault("", f"{key} must be written as [[{key}]]")
            return []
        found = [(f"[[{key}]] {number}", table) for number, table in enumerate(value, 1)]
        for where, table in found:
            self.keys(where, table, KEYS[key])
        return found

    def scenario(self, root: Mapping[str, Any]) -> Scenario:
        self.keys("", root, [*KEYS, "name", "routing"])
        name = root.get("name", "")
        if not isinstance(name, str):
            self.fault("", f"name is {name!r}, must be a text")
        signals = [read_signal(self, where, table) for where, table in self.tables(root, "signal")]
        result = Scenario(
            name=str(name),
            close=tuple(
                Closure(self.texts(w, t, "links"), *self.times(w, t), self.flag(w, t, "reroute"))
                for w, t in self.tables(root, "close")
            ),
            incident=tuple(
                Incident(
                    self.text(w, t, "link"),
                    self.number(w, t, "position_m"),
                    self.number(w, t, "lanes_blocked", rule="> 0"),
                    *self.times(w, t),
                )
                for w, t in self.tables(root, "incident")
            ),
            capacity=tuple(
                CapacityChange(self.texts(w, t, "links"), self.number(w, t, "factor"), *self.times(w, t))
                for w, t in self.tables(root, "capacity")
            ),
            speed_limit=tuple(
                SpeedLimit(self.texts(w, t, "links"), self.number(w, t, "speed_kmh", rule="> 0"), *self.times(w, t))
                for w, t in self.tables(root, "speed_limit")
            ),
            lanes=tuple(
                LaneClosure(self.texts(w, t, "links"), self.number(w, t, "closed", rule="> 0"), *self.times(w, t))
                for w, t in self.tables(root, "lanes")
            ),
            demand=tuple(self.surge(w, t) for w, t in self.tables(root, "demand")),
            signal=tuple(plan for plan, _ in signals if plan is not None),
            control=tuple(control for _, control in signals if control is not None),
            emergency=tuple(self.emergency(w, t) for w, t in self.tables(root, "emergency")),
            asset_failure=tuple(
                AssetFailure(self.text(w, t, "asset"), *self.times(w, t)) for w, t in self.tables(root, "asset_failure")
            ),
            routing=self.routing(root.get("routing", {})),
        )
        if self.faults:
            raise InputError(self.faults)
        return result

    def flag(self, where: str, table: Mapping[str, Any], key: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            self.fault(where, f"{key} is {value!r}, must be true or false")
            return False
        return value

    def surge(self, where: str, table: Mapping[str, Any]) -> Surge:
        factor = self.number(where, table, "factor")
        origins = self.texts(where, table, "origins", required=False)
        return Surge(
            factor, origins, self.texts(where, table, "destinations", required=False), *self.times(where, table)
        )

    def emergency(self, where: str, table: Mapping[str, Any]) -> Emergency:
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
