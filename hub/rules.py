"""Rules: read from ``rules.toml``, checked as a whole, and evaluated on every link and sensor of a snapshot at once.

A rule names a condition that is to hold for a time; what becomes of it is the business of `hub.alerts`.
"""

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from hub.columns import Truth
from hub.expression import Expression, compile_condition
from hub.rules_tables import TABLES, TEMPLATE_NAMES, VOCABULARIES
from sensors import InputError
from sensors.toml import nearest, read_toml, unknown_keys
from twin.compiled import CompiledNetwork
from twin.state import Snapshot

On = Literal["link", "sensor", "network"]
NoData = Literal["hold", "clear", "fire"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the file.

    Parameters
    ----------
    name
        Unique in the file.
    on
        What its subjects are.
    when, clear_when
        Conditions; between the two an alert stays as it is. Without ``clear_when``: as soon as ``when`` is false.
    for_s, keep_firing_for_s
        How long ``when`` must hold before the alert fires, and ``clear_when`` before it is resolved, s of city time.
    confirm
        A link's alert fires only after a reading newer than the one that began it, however long the interval is.
    severity
        1 act now .. 4 note.
    no_data
        What it means when the condition is not known.
    labels, summary
        Pairs; the summary is by language and names values in braces.
    unless
        Contexts in which the rule is not to alarm.
    """

    name: str
    on: On
    when: Expression
    clear_when: Expression | None
    for_s: float = 0.0
    keep_firing_for_s: float = 0.0
    confirm: bool = False
    severity: int = 3
    no_data: NoData = "hold"
    labels: tuple[tuple[str, str], ...] = ()
    summary: tuple[tuple[str, str], ...] = ()
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one file, in its order."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Where one rule's conditions hold, by row of its subjects.

    Parameters
    ----------
    rule
        The rule.
    subjects
        Ids, in the order of the masks.
    when, clear
        The two conditions; "clear" is the contrary of "when" unless the rule gives its own.
    """

    rule: Rule
    subjects: tuple[str, ...]
    when: Truth
    clear: Truth


@dataclass(frozen=True, slots=True)
class Findings:
    """What the rules find in one snapshot."""

    snapshot: Snapshot
    compiled: CompiledNetwork
    items: tuple[Finding, ...] = field(default_factory=tuple)


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(_text(item) for item in value)


def _pairs(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


# Key -> (whether it must be there, test, what would be right)
_KEYS: dict[str, tuple[bool, Any, str]] = {
    "name": (True, _text, "a text"),
    "on": (True, lambda v: isinstance(v, str) and v in TABLES, "link, sensor or network"),
    "when": (True, _text, "a condition"),
    "clear_when": (False, _text, "a condition"),
    "for_s": (False, _seconds, "seconds >= 0"),
    "keep_firing_for_s": (False, _seconds, "seconds >= 0"),
    "confirm": (False, lambda v: isinstance(v, bool), "true or false"),
    "severity": (False, lambda v: type(v) is int and 1 <= v <= 4, "1 (act now), 2, 3 or 4 (note)"),
    "no_data": (False, lambda v: v in ("hold", "clear", "fire"), "hold, clear or fire"),
    "labels": (False, _pairs, "a table of texts"),
    "summary": (False, _pairs, "a table of texts by language"),
    "unless": (False, _texts, "a list of texts"),
}
_RESERVED_LABELS = frozenset({"rule", "on", "subject"})  # the alert's own identity
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Reader:
    """Reads the tables of one file and gathers every fault."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.faults: list[str] = []

    def _fault(self, where: str, text: str) -> None:
        self.faults.append(f"{self._file}: {where}{text}")

    def rule(self, number: int, table: Mapping[str, Any]) -> Rule | None:
        """Return the rule of a table, or None after noting its faults."""
        before = len(self.faults)
        name = table.get("name")
        where = f"rule {name!r}: " if isinstance(name, str) and name.strip() else f"rule {number}: "
        self.faults += unknown_keys(table, _KEYS, where=f"{self._file}: {where.removesuffix(': ')}")
        for key, (needed, good, right) in _KEYS.items():
            if key in table and not good(table[key]):
                self._fault(where, f"{key} is {table[key]!r}, must be {right}")
            elif needed and key not in table:
                self._fault(where, f"{key} is missing, must be {right}")
        on: Any = table.get("on")
        if not isinstance(on, str) or on not in TABLES:
            return None
        conditions = {key: self._condition(where, key, on, table.get(key)) for key in ("when", "clear_when")}
        self._summary(where, on, table.get("summary"))
        self._labels(where, table.get("labels"))
        when = conditions["when"]
        if when is None or len(self.faults) > before:
            return None
        given = {key: table[key] for key in ("severity", "no_data", "confirm") if key in table}
        return Rule(
            name=table["name"].strip(),
            on=cast(On, on),
            when=when,
            clear_when=conditions["clear_when"],
            for_s=float(table.get("for_s", 0.0)),
            keep_firing_for_s=float(table.get("keep_firing_for_s", 0.0)),
            labels=tuple(sorted(table.get("labels", {}).items())),
            summary=tuple(sorted(table.get("summary", {}).items())),
            unless=tuple(table.get("unless", ())),
            **given,
        )

    def _condition(self, where: str, key: str, on: str, text: object) -> Expression | None:
        if not isinstance(text, str) or not text.strip():
            return None  # noted already
        result = compile_condition(text, VOCABULARIES[on])
        if isinstance(result, Expression):
            return result
        for fault in result:
            self._fault(where, f"{key}, column {fault.column}: {fault.text}")
        return None

    def _summary(self, where: str, on: str, summary: object) -> None:
        for language, text in summary.items() if isinstance(summary, dict) else ():
            if not isinstance(text, str):
                continue
            try:
                parts = list(string.Formatter().parse(text))
            except ValueError as error:
                self._fault(where, f"summary.{language}: {text!r} cannot be read: {error}")
                continue
            for _, name, form, conversion in parts:
                if name is None:
                    continue
                if form or conversion:
                    self._fault(where, f"summary.{language}: write {{{name}}} without a format")
                elif name not in TEMPLATE_NAMES[on]:
                    hint = nearest(name, TEMPLATE_NAMES[on])
                    self._fault(where, f"summary.{language}: unknown name {{{name}}}, {hint}")

    def _labels(self, where: str, labels: object) -> None:
        for label in labels if isinstance(labels, dict) else ():
            if label in _RESERVED_LABELS or not _LABEL.fullmatch(label):
                self._fault(where, f"label {label!r} must be letters, digits and _, and none of rule, on, subject")


def parse(document: Mapping[str, Any], *, file: str = "rules.toml") -> RuleSet:
    """Return the rules of a parsed TOML document.

    Raises
    ------
    InputError
        With every fault of every rule.
    """
    reader = _Reader(file)
    reader.faults += unknown_keys(document, ("rule",), where=file)
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError([*reader.faults, f"{file}: rules are written as [[rule]], not [rule]"])
    rules = [reader.rule(number, table) for number, table in enumerate(tables, 1)]
    names = [table.get("name") for table in tables]
    twice = {name for name in names if isinstance(name, str) and names.count(name) > 1}
    reader.faults += [f"{file}: rule {name!r}: the name stands twice, must be unique" for name in sorted(twice)]
    if reader.faults:
        raise InputError(reader.faults)
    return RuleSet(tuple(rule for rule in rules if rule is not None))


def load(path: Path | str) -> RuleSet:
    """Return the rules of a TOML file.

    Raises
    ------
    InputError
        When the file cannot be read, with every fault of it: file, rule, column and the nearest known name.
    """
    path = Path(path)
    return parse(read_toml(path), file=str(path))


def evaluate(rules: RuleSet | Iterable[Rule], snapshot: Snapshot, compiled: CompiledNetwork) -> Findings:
    """Return where each rule's conditions hold in a snapshot; equal parts of conditions are computed once.

    Parameters
    ----------
    rules
        All or some rules.
    snapshot
        The state of the city.
    compiled
        The network of the snapshot.
    """
    tables: dict[str, Any] = {}
    items = []
    for rule in rules.rules if isinstance(rules, RuleSet) else rules:
        if rule.on not in tables:
            tables[rule.on] = TABLES[rule.on](snapshot, compiled)
        table = tables[rule.on]
        n = len(table.subjects)
        when = Truth(*(np.broadcast_to(mask, n) for mask in rule.when.evaluate(table)))
        if rule.clear_when is None:
            clear = Truth(when.false, when.true)
        else:
            clear = Truth(*(np.broadcast_to(mask, n) for mask in rule.clear_when.evaluate(table)))
        items.append(Finding(rule, table.subjects, when, clear))
    return Findings(snapshot, compiled, tuple(items))
