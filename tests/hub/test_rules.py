"""Rules: what may be said, what is wrong with it, and what it finds, against a scalar reading of the same text."""

import ast
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.cli import main
from hub.rules import Rule, RuleSet, evaluate, load, parse
from sensors import Batch, InputError, Reading, Sensor
from twin.compiled import CompiledNetwork
from twin.signal import SignalPlan
from twin.state import SensorState, Snapshot, Source
from twin.twin import Twin

ROOT = Path(__file__).resolve().parents[2]
NAN = math.nan
# A Y: links 0 and 1 lead to 2, then 3; link 4 leads nowhere and comes from nowhere.
DOWNSTREAM: dict[int, list[int]] = {0: [2], 1: [2], 2: [3], 3: [], 4: []}
N = len(DOWNSTREAM)


def network() -> CompiledNetwork:
    ones, zeros = np.ones(N), np.zeros(N, np.int32)
    start = np.concatenate(([0], np.cumsum([len(DOWNSTREAM[i]) for i in range(N)]))).astype(np.int32)
    out = np.array([j for i in range(N) for j in DOWNSTREAM[i]], np.int32)
    return CompiledNetwork(
        node_ids=("A", "B"),
        link_ids=tuple(f"L{i}" for i in range(N)),
        node_xy=np.array([[0.0, 0.0], [100.0, 0.0]]),
        from_node=zeros,
        to_node=zeros + 1,
        length=100 * ones,
        lanes=zeros + 2,
        free_speed=15 * ones,
        wave_speed=5 * ones,
        jam_density=0.3 * ones,
        capacity=1 * ones,
        priority=1 * ones,
        link_class=zeros + 1,
        out_start=np.array([0, N, N], np.int32),
        out_link=np.arange(N, dtype=np.int32),
        in_start=np.array([0, 0, N], np.int32),
        in_link=np.arange(N, dtype=np.int32),
        movement_start=start,
        movement_out=out,
        movement_group=np.zeros(len(out), np.int32),
        group_start=np.arange(N + 1, dtype=np.int32),
        group_lanes=2 * ones,
        group_pocket=np.full(N, np.inf),
        origin=np.array([120.0, 30.0]),
    )


def snapshot(
    speed: list[float] | None = None,
    flow: list[float] | None = None,
    *,
    time: float = 1000.0,
    sensors: SensorState | None = None,
) -> Snapshot:
    """A NaN speed or flow is a guessed one."""
    u, q = np.array(speed or [10.0] * N), np.array(flow or [0.5] * N)
    speed_source = np.where(np.isnan(u), Source.GUESSED, Source.MEASURED).astype(np.uint8)
    flow_source = np.where(np.isnan(q), Source.GUESSED, Source.MEASURED).astype(np.uint8)
    u, q = np.where(np.isnan(u), 15.0, u), np.where(np.isnan(q), 0.2, q)
    empty = np.zeros(0)
    return Snapshot(
        time=time,
        sequence=1,
        network_sha256="",
        speed=u,
        speed_deviation=np.full(N, 1.0),
        flow=q,
        flow_deviation=np.full(N, 0.1),
        density=q / np.maximum(u, 0.5),
        source=np.maximum(speed_source, flow_source),
        measured_at=np.where(speed_source == Source.MEASURED, time - 20, np.nan),
        sensors=sensors or SensorState((), (), (), empty, empty, empty, empty, empty),
        speed_source=speed_source,
        flow_source=flow_source,
    )


def rule(when: str, *, on: str = "link", **more: Any) -> Rule:
    return parse({"rule": [{"name": "r", "on": on, "when": when, **more}]}).rules[0]


def truths(when: str, of: Snapshot, *, on: str = "link") -> list[bool | None]:
    finding = evaluate([rule(when, on=on)], of, network()).items[0]
    assert not (finding.when.true & finding.when.false).any()
    return [True if t else False if f else None for t, f in zip(finding.when.true, finding.when.false, strict=True)]


def faults(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "rules.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        load(file)
    assert all(str(file) in fault for fault in caught.value.faults)
    return [fault.removeprefix(f"{file}: ") for fault in caught.value.faults]


# A scalar reading of conditions, written without the code under test: numbers, or None for unknown.


def scalar(text: str, row: int, columns: dict[str, list[float]]) -> bool | None:
    value = _scalar(ast.parse(text, mode="eval").body, row, columns)
    assert value is None or isinstance(value, bool)
    return value


def _neighbours(row: int, direction: str) -> list[int]:
    down = DOWNSTREAM[row]
    up = [i for i in DOWNSTREAM if row in DOWNSTREAM[i]]
    return {"downstream": down, "upstream": up, "neighbours": down + up}[direction]


def _any(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _all(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _scalar(node: ast.AST, row: int, columns: dict[str, list[float]]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        value = columns[node.id][row]
        return None if math.isnan(value) else value
    if isinstance(node, ast.BoolOp):
        parts = [_scalar(value, row, columns) for value in node.values]
        return _all(parts) if isinstance(node.op, ast.And) else _any(parts)
    if isinstance(node, ast.UnaryOp):
        value = _scalar(node.operand, row, columns)
        return None if value is None else not value if isinstance(node.op, ast.Not) else -value
    if isinstance(node, ast.BinOp):
        a, b = _scalar(node.left, row, columns), _scalar(node.right, row, columns)
        if a is None or b is None or (isinstance(node.op, ast.Div) and b == 0):
            return None
        return {"Add": a + b, "Sub": a - b, "Mult": a * b, "Div": a / b if b else None}[type(node.op).__name__]
    if isinstance(node, ast.Compare):
        left = node.left
        if isinstance(left, ast.Call) and left.args[0].id in ("any", "all"):  # type: ignore[attr-defined]
            assert isinstance(left.func, ast.Name)
            right = _scalar(node.comparators[0], row, columns)
            parts = [
                _compare(node.ops[0], _scalar(left.args[1], i, columns), right) for i in _neighbours(row, left.func.id)
            ]
            return (_any if left.args[0].id == "any" else _all)(parts)  # type: ignore[attr-defined]
        return _compare(node.ops[0], _scalar(left, row, columns), _scalar(node.comparators[0], row, columns))
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    how = node.args[0].id  # type: ignore[attr-defined]
    values = [_scalar(node.args[1], i, columns) for i in _neighbours(row, node.func.id)]
    if how in ("any", "all"):
        return (_any if how == "any" else _all)(values)
    if how == "count":
        return values.count(True)
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": sum(known) / len(known), "max": max(known), "min": min(known), "sum": sum(known)}[how]


def _compare(operator: ast.cmpop, a: float | None, b: float | None) -> bool | None:
    if a is None or b is None:
        return None
    return {"Lt": a < b, "LtE": a <= b, "Gt": a > b, "GtE": a >= b, "Eq": a == b, "NotEq": a != b}[
        type(operator).__name__
    ]


# Small whole numbers: sums and means are exact in any order, so that both readings must agree exactly.
_leaf = st.sampled_from(["speed", "flow", "0", "1", "2", "4"])
_directions, _operators = (
    st.sampled_from(["upstream", "downstream", "neighbours"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
)


def _numbers(depth: int) -> st.SearchStrategy[str]:
    if depth == 0:
        return _leaf
    inner = _numbers(depth - 1)
    return st.one_of(
        _leaf,
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner),
        st.builds("-({})".format, inner),
        st.builds("{}({}, {})".format, _directions, st.sampled_from(["mean", "max", "min", "sum"]), inner),
        st.builds("{}(count, {})".format, _directions, _conditions(depth - 1)),
    )


def _conditions(depth: int) -> st.SearchStrategy[str]:
    inner = _numbers(max(depth - 1, 0))
    comparison = st.builds("({} {} {})".format, inner, _operators, inner)
    if depth == 0:
        return comparison
    deeper = _conditions(depth - 1)
    return st.one_of(
        comparison,
        st.builds("({} {} {})".format, deeper, st.sampled_from(["and", "or"]), deeper),
        st.builds("(not {})".format, deeper),
        st.builds("{}({}, {})".format, _directions, st.sampled_from(["any", "all"]), deeper),
        st.builds("({}({}, {}) {} {})".format, _directions, st.sampled_from(["any", "all"]), inner, _operators, inner),
    )


_column = st.lists(st.sampled_from([NAN, 0.0, 1.0, 2.0, 3.0, 4.0]), min_size=N, max_size=N)


@settings(max_examples=300, deadline=None)
@given(text=_conditions(3), speed=_column, flow=_column)
def test_columns_find_what_a_scalar_reading_finds_row_by_row(text: str, speed: list[float], flow: list[float]) -> None:
    expected = [scalar(text, row, {"speed": speed, "flow": flow}) for row in range(N)]
    assert truths(text, snapshot(speed, flow)) == expected


def test_a_guessed_link_is_unknown_and_never_fires() -> None:
    assert truths("speed < 20", snapshot([10, NAN, 10, 10, 10])) == [True, None, True, True, True]
    assert truths("density > 0", snapshot(flow=[NAN, 1, 1, 1, 1])) == [None, True, True, True, True]
    assert truths("source == guessed", snapshot([NAN] * N, [NAN] * N)) == [True] * N


def test_the_queue_rule_of_the_design_reads_the_own_free_flow_speed_beside_the_upstream_links_speeds() -> None:
    text = "speed < 0.3 * free_flow_speed and upstream(any, speed) < 0.5 * free_flow_speed"
    assert truths(text, snapshot([7, 10, 4, 4, 4])) == [False, False, True, True, False]


def test_units_ages_and_extremes() -> None:
    assert truths("speed > 35 * kmh", snapshot([10, 9, 9, 9, 9])) == [True, False, False, False, False]
    assert truths("age(speed) == 20", snapshot([NAN, 9, 9, 9, 9])) == [None, True, True, True, True]
    assert truths("max(speed, 2 * flow, 3) == 3", snapshot([2, 4, 1, 1, 1], [1, 1, 1, 2, 1])) == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert truths("known(speed)", snapshot([NAN, 9, 9, 9, 9])) == [False, True, True, True, True]
    assert truths("abs(speed - 12) < 3 and 5 < speed < 12", snapshot([10, 13, 4, NAN, 8])) == [
        True,
        False,
        False,
        None,
        False,
    ]
    assert truths('link_id == "L2" or link_id != "L2" and speed < 0', snapshot()) == [False, False, True, False, False]


def sensor_snapshot() -> Snapshot:
    """Detector D reports every minute, air station A every ten, E never did, X is unknown to the network."""

    class Two:
        sha256 = ""
        signals: ClassVar[dict[str, SignalPlan]] = {}
        sensors = (
            Sensor("D", link_id="L2", interval_s=60, quantities=("speed_kmh", "flow_veh_h")),
            Sensor("A", kind="air_station", quantities=("pm25_ug_m3",), interval_s=600),
            Sensor("E", link_id="L3", interval_s=60, quantities=("speed_kmh",)),
        )

        def compile(self) -> CompiledNetwork:
            return network()

    twin = Twin(Two(), started_at=0.0)
    readings = [Reading("D", "speed_kmh", 900_000, 30.0), Reading("D", "flow_veh_h", 960_000, 0.0)]
    readings += [Reading("A", "pm25_ug_m3", 600_000, 180.0), Reading("X", "speed_kmh", 990_000, 3.0)]
    return twin.assimilate(Batch.of(readings, received_at=1000.0), now=1000.0)


def test_a_sensor_rule_has_one_row_a_sensor_and_the_quantities_as_columns() -> None:
    of = sensor_snapshot()
    finding = evaluate([rule("age_s > 0", on="sensor")], of, network()).items[0]
    assert finding.subjects == ("D", "A", "E", "X")
    # A sensor is as old as its newest series: no speed comes without vehicles.
    assert truths("age_s == 40", of, on="sensor") == [True, False, False, False]
    assert truths("age_s == 1000 and silent", of, on="sensor") == [False, False, True, False]
    assert truths("pm25_ug_m3 > 150", of, on="sensor") == [None, True, None, None]
    assert truths("registered", of, on="sensor") == [True, True, True, False]
    assert truths("age(speed_kmh) > 50", of, on="sensor") == [True, None, None, False]
    assert truths('link_id == "L2"', of, on="sensor") == [True, False, False, False]
    assert truths("silent_share * 3 == 1", of, on="sensor") == [True] * 4
    assert truths("sensors_total == 3 and sensors_silent == 1", of, on="network") == [True]


def test_equal_parts_of_many_rules_are_computed_once() -> None:
    from hub.rules_tables import LinkTable

    table = LinkTable(snapshot(), network())
    for _ in range(2):
        for r in (rule("speed < 3 and flow > 1"), rule("flow > 1 or speed < 3")):
            r.when.evaluate(table)
    assert sum(key.count("Lt") == 1 and "and" not in key and "or" not in key for key in table.cache) == 1


def test_every_fault_of_a_file_is_named_at_once_with_rule_column_and_nearest_name(tmp_path: Path) -> None:
    text = """
[[rule]]
name = "a"
on = "link"
when = "sped < 3 and density > jam_densty"
for = 3
severity = 9
no_data = "keep"
summary = { en = "{nam} {speed_kmh:.1f}" }
labels = { rule = "x" }
[[rule]]
name = "a"
on = "asset"
when = "speed < 1"
[[rule]]
on = "sensor"
for_s = -1
[rules]
"""
    assert faults(text, tmp_path) == [
        "unknown key 'rules', did you mean 'rule'?",
        "rule 'a': unknown key 'for', did you mean 'for_s'?",
        "rule 'a': severity is 9, must be 1 (act now), 2, 3 or 4 (note)",
        "rule 'a': no_data is 'keep', must be hold, clear or fire",
        "rule 'a': when, column 1: unknown name 'sped', did you mean 'speed'?",
        "rule 'a': when, column 24: unknown name 'jam_densty', did you mean 'jam_density'?",
        "rule 'a': summary.en: unknown name {nam}, did you mean 'name'?",
        "rule 'a': summary.en: write {speed_kmh} without a format",
        "rule 'a': label 'rule' must be letters, digits and _, and none of rule, on, subject",
        "rule 'a': on is 'asset', must be link, sensor or network",
        "rule 3: name is missing, must be a text",
        "rule 3: when is missing, must be a condition",
        "rule 3: for_s is -1, must be seconds >= 0",
        "rule 'a': the name stands twice, must be unique",
    ]


@pytest.mark.parametrize(
    "when",
    [
        "__import__('os').system('true') == 0",
        "speed.__class__ == 1",
        "(lambda: speed)() < 3",
        "[speed for speed in (1,)][0] < 3",
        "speed ** 9 < 3",
        "speed % 2 < 1",
        "speed[0] < 1",
        "speed is flow",
        "speed in (1, 2)",
        "speed < 3 if flow > 1 else flow < 1",
        "(x := speed) < 3",
        "f'{speed}' == 'x'",
        "True",
        "speed < True",
        "speed < 1e999",
        "speed < 3j",
        "speed",
        "speed < 3; flow",
        "import os",
        "speed <",
        "'a' < 'b'",
        "link_id == 3",
        "(speed < 3) + 1 > 0",
        "(speed < 3) == (flow < 3)",
        "upstream(any, speed) + 1 < 3",
        "upstream(any, speed)",
        "not upstream(all, flow)",
        "upstream(any, speed) < downstream(any, speed)",
        "upstream(median, speed) < 3",
        "upstream(speed) < 3",
        "upstream(mean, speed < 3) < 3",
        "upstream(*speed) < 3",
        "min(speed) < 3",
        "abs(speed, flow) < 3",
        "abs(x=speed) < 3",
        "age(lanes) < 3",
        "age() < 3",
        "known(link_id)",
        "profile(speed) < 3",
        "~speed < 3",
        "speed @ flow < 3",
        "-" * 1900 + "speed < 3",
        "(" * 900 + "speed < 3" + ")" * 900,
        "speed < 3 and " * 400 + "flow < 1",
        "speed\x00 < 3",
        "速度 < 3",
    ],
)
def test_what_is_not_on_the_whitelist_is_a_fault_and_never_run(when: str) -> None:
    with pytest.raises(InputError) as caught:
        rule(when)
    assert all(fault.startswith("rules.toml: rule 'r': when, column ") for fault in caught.value.faults)


def test_neighbours_of_sensors_are_a_fault() -> None:
    with pytest.raises(InputError, match='needs a rule on = "link"'):
        rule("upstream(any, age_s > 3)", on="sensor")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[rule]\n", "is not valid TOML"),
        ("rule = 3\n", "rules are written as [[rule]], not [rule]"),
        ("rule = [3]\n", "rules are written as [[rule]], not [rule]"),
        (
            '[[rule]]\nname = "a"\non = ["link"]\nwhen = "speed < 1"\n',
            "on is ['link'], must be link, sensor or network",
        ),
        ('[[rule]]\nname = 3\non = "link"\nwhen = 4\n', "when is 4, must be a condition"),
        ('[[rule]]\nname = "a"\non = "link"\nwhen = "speed < 1"\nfor_s = inf\n', "for_s is inf, must be seconds >= 0"),
        ('[[rule]]\nname = "a"\non = "link"\nwhen = "speed < 1"\nseverity = true\n', "severity is True, must be 1"),
        ('[[rule]]\nname = "a"\non = "link"\nwhen = "speed < 1"\nsummary.en = "{name"\n', "cannot be read"),
        ('[[rule]]\nname = "a"\non = "link"\nwhen = "speed < 1"\nsummary.en = "{name.x}"\n', "unknown name {name.x}"),
    ],
)
def test_a_broken_file_is_one_clear_line(text: str, fault: str, tmp_path: Path) -> None:
    assert any(fault in found for found in faults(text, tmp_path))


def test_a_file_with_bom_and_crlf_and_no_rules_is_good(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes(b'\xef\xbb\xbf[[rule]]\r\nname = "a"\r\non = "link"\r\nwhen = "speed < 1"\r\n')
    assert [r.name for r in load(file).rules] == ["a"]
    assert parse({}) == RuleSet(())


def test_the_rules_that_are_shipped_are_good_and_speak_both_languages() -> None:
    rules = load(ROOT / "config" / "rules.toml").rules
    assert [r.name for r in rules] == [
        "congestion",
        "queue spills back",
        "sensor silent",
        "sensor stuck",
        "sensor suspected",
        "feed silent",
        "heavy rain",
        "bad air",
        "car park full",
        "station crowded",
        "trains far apart",
        "event begins",
    ]
    for r in rules:
        assert {language for language, text in r.summary if text} == {"en", "zh"}


def test_the_command_exits_0_on_a_good_file_and_2_on_a_bad_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rules", "check", str(ROOT / "config" / "rules.toml")]) == 0
    assert "12 rules" in capsys.readouterr().out
    bad = tmp_path / "bad.toml"
    bad.write_text('[[rule]]\nname = "a"\non = "link"\nwhen = "sped < 1"\n')
    assert main(["rules", "check", str(bad)]) == 2
    error = capsys.readouterr().err
    assert "rule 'a': when, column 1: unknown name 'sped', did you mean 'speed'?" in error
    assert "Traceback" not in error
    assert main(["rules", "check", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
