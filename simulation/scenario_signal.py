"""The ``[[signal]]`` tables of a scenario: fixed plans, and controllers that answer the traffic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.signal import SignalPlan, Stage

if TYPE_CHECKING:
    from simulation.scenario_toml import ScenarioReader

# Settings of each controller, with the rule of each number.
CONTROL_SETTINGS: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "actuated": ("min_green_s", "max_green_s", "gap_s"),
    "max_pressure": ("slot_s",),
    "webster": ("interval_s", "min_cycle_s", "max_cycle_s", "min_green_s"),
}
_PLAN_KEYS = ("node", "control", "cycle_s", "offset_s", "stage")
SIGNAL_KEYS = {*_PLAN_KEYS, *(key for keys in CONTROL_SETTINGS.values() for key in keys)}
STAGE_KEYS = {"green_s", "intergreen_s", "movements", "permitted"}
USUAL_GREEN_S = 20.0  # of a stage whose green its controller decides


@dataclass(frozen=True, slots=True)
class SignalControl:
    """A controller of one signal: ``kind`` is actuated, max_pressure or webster, ``settings`` are its parameters."""

    node_id: str
    kind: str
    settings: tuple[tuple[str, float], ...] = ()


def read_signal(
    reader: "ScenarioReader", where: str, table: Mapping[str, Any]
) -> tuple[SignalPlan | None, SignalControl | None]:
    """Return plan and controller of one table; faults go to the reader.

    A controller may do without stages (it then uses those of the network's plan), without greens and without a cycle.
    """
    node = reader.text(where, table, "node")
    kind = table.get("control", "fixed")
    if kind not in CONTROL_SETTINGS:
        reader.fault(where, f"control is {kind!r}, must be one of {', '.join(CONTROL_SETTINGS)}")
        return None, None
    for key in table:
        if key in SIGNAL_KEYS and key not in (*_PLAN_KEYS, *CONTROL_SETTINGS[kind]):
            reader.fault(where, f"{key} is no setting of control = {kind!r}")
    settings = [(key, reader.number(where, table, key, rule="> 0")) for key in CONTROL_SETTINGS[kind] if key in table]
    control = None if kind == "fixed" else SignalControl(node, kind, tuple(settings))
    if control is not None and "stage" not in table:
        for key in ("cycle_s", "offset_s"):
            if key in table:
                reader.fault(where, f"{key} belongs to a plan, give its [[signal.stage]] as well")
        return None, control
    return _plan(reader, where, table, node, adaptive=control is not None), control


def _plan(reader: "ScenarioReader", where: str, table: Mapping[str, Any], node: str, *, adaptive: bool) -> SignalPlan:
    value = table.get("stage", [])
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        reader.fault(where, "has no stage, at least one [[signal.stage]] is needed")
        value = []
    stages = []
    for number, stage in enumerate(value, 1):
        place = f"{where} stage {number}"
        reader.keys(place, stage, STAGE_KEYS)
        green = reader.number(place, stage, "green_s", USUAL_GREEN_S if adaptive else None, rule="> 0")
        between = reader.number(place, stage, "intergreen_s", 0.0)
        movements = _pairs(reader, place, stage, "movements", required="permitted" not in stage)
        permitted = _pairs(reader, place, stage, "permitted", required=False)
        stages.append(Stage(green, between, tuple(dict.fromkeys((*movements, *permitted))), permitted))
    used = math.fsum(stage.green_s + stage.intergreen_s for stage in stages)
    cycle = reader.number(where, table, "cycle_s", used if adaptive and used > 0 else None, rule="> 0")
    return SignalPlan(node, cycle, tuple(stages), reader.number(where, table, "offset_s", 0.0, rule=""))


def _pairs(
    reader: "ScenarioReader", where: str, stage: Mapping[str, Any], key: str, *, required: bool
) -> tuple[tuple[str, str], ...]:
    pairs = stage.get(key, None if required else [])
    right = isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(item, str) for item in pair) for pair in pairs
    )
    if not right:
        reader.fault(where, f"{key} is {pairs!r}, must be a list of [in-link, out-link]")
        return ()
    return tuple((a, b) for a, b in pairs or ())
