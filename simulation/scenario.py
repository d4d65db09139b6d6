"""A scenario: what happens to the street, read from TOML with every fault at once. Times are seconds of the run."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
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
from simulation.scenario_signal import SignalControl
from simulation.scenario_toml import ScenarioReader, toml_lines, toml_value
from twin.signal import SignalPlan


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
        return cls(**ScenarioReader(name).fields(tables))

    @classmethod
    def of(cls, tables: Mapping[str, Any], name: str = "scenario") -> "Scenario":
        """Return the scenario of tables as they stand in TOML or JSON, with the same checks as `read`."""
        return cls(**ScenarioReader(name).fields(tables))

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
        lines = toml_lines(replace(self, control=()), "")
        for control in self.control:  # tables of their own: those of the plans say all of them
            settings = (("node", control.node_id), ("control", control.kind), *control.settings)
            lines += ["[[signal]]", *(f"{key} = {toml_value(value)}" for key, value in settings)]
        return "\n".join(lines) + "\n"

    def sha256(self) -> str:
        """Hash of what happens; the name does not count."""
        return hashlib.sha256(repr(replace(self, name="")).encode()).hexdigest()
