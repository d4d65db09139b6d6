"""Expressions of rules: parsed by `ast` with a whitelist, checked, and compiled once to operations on whole columns.

An expression is a truth, a number or a text for every row. What is not known (NaN in a column) makes a comparison
unknown, and unknown goes through ``and``, ``or`` and ``not`` as in Kleene's logic: false and unknown is false, true or
unknown is true.

Notes
-----
Source: Kleene (1938), On notation for ordinal numbers, doi:10.2307/2267778.
"""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hub.columns import (
    OF_NUMBER,
    OF_TRUTH,
    Each,
    Kind,
    Number,
    Table,
    Truth,
    compare_each,
    divide,
    equal,
    equal_text,
    over_number,
    over_truth,
)
from sensors.toml import nearest


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names that expressions on one kind of row may use.

    Parameters
    ----------
    columns
        Kind of each column.
    constants
        Value of each constant.
    ages
        Columns that `age` knows.
    has_neighbours
        Whether rows have neighbours.
    """

    columns: Mapping[str, Kind]
    constants: Mapping[str, float]
    ages: frozenset[str] = frozenset()
    has_neighbours: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an expression, and at which column of it (from 1)."""

    column: int
    text: str


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; ``evaluate`` takes a `Table`."""

    kind: Kind
    key: str
    evaluate: Callable[[Table], Any]


DIRECTIONS = ("upstream", "downstream", "neighbours")
FUNCTIONS = (*DIRECTIONS, "age", "known", "abs", "min", "max")
LONGEST = 2000


_ARITHMETIC: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
}
# The comparison and its contrary; both are false where a side is NaN, which is what makes the result unknown there.
_COMPARISONS: dict[type[ast.cmpop], tuple[Any, Any]] = {
    ast.Lt: (np.less, np.greater_equal),
    ast.LtE: (np.less_equal, np.greater),
    ast.Gt: (np.greater, np.less_equal),
    ast.GtE: (np.greater_equal, np.less),
}


def _comparison(operator: ast.cmpop, *, text: bool) -> Callable[[Any, Any], Truth]:
    """Return the comparison of an operator."""
    if type(operator) in _COMPARISONS:
        holds, contrary = _COMPARISONS[type(operator)]
        return lambda left, right: Truth(holds(left, right), contrary(left, right))
    same = equal_text if text else equal
    if isinstance(operator, ast.Eq):
        return same
    return lambda left, right: Truth(*reversed(same(left, right)))


class _Compiler:
    """Walks the tree once; a fault ends its branch, and the walk goes on so that every fault is found."""

    def __init__(self, vocabulary: Vocabulary, text: str) -> None:
        self._words = vocabulary
        self._text = text.encode()
        self.faults: list[Fault] = []

    def _fault(self, node: ast.AST, text: str) -> None:
        offset = getattr(node, "col_offset", 0)  # counts bytes
        self.faults.append(Fault(len(self._text[:offset].decode(errors="ignore")) + 1, text))

    def compile(self, node: ast.expr) -> Expression | None:
        """Return the compiled node, or None after noting why not."""
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            self._fault(node, f"{ast.unparse(node)!r} is not allowed in a rule")
            return None
        result: Expression | None = method(node)
        if result is None or result.key.startswith("'"):
            return result
        inner, key = result.evaluate, result.key

        def cached(table: Table) -> Any:
            if key not in table.cache:
                table.cache[key] = inner(table)
            return table.cache[key]

        return Expression(result.kind, key, cached)

    def _need(self, node: ast.expr, kind: Kind) -> Expression | None:
        result = self.compile(node)
        if result is not None and result.kind != kind:
            what = "not compared with anything" if result.kind == "each" else f"a {result.kind}"
            self._fault(node, f"{ast.unparse(node)!r} is {what}, a {kind} is needed here")
            return None
        return result

    def _constant(self, node: ast.Constant) -> Expression | None:
        value = node.value
        if isinstance(value, str):
            return Expression("text", repr(value), lambda table: value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self._fault(node, f"{value!r} is not a number")
            return None
        array = np.float64(value)
        return Expression("number", repr(float(value)), lambda table: array)

    def _name(self, node: ast.Name) -> Expression | None:
        name = node.id
        if name in self._words.columns:
            return Expression(self._words.columns[name], name, lambda table: table.column(name))
        if name in self._words.constants:
            array = np.float64(self._words.constants[name])
            return Expression("number", name, lambda table: array)
        known = (*self._words.columns, *self._words.constants, *FUNCTIONS)
        self._fault(node, f"unknown name {name!r}, {nearest(name, known)}")
        return None

    def _binop(self, node: ast.BinOp) -> Expression | None:
        operation = divide if isinstance(node.op, ast.Div) else _ARITHMETIC.get(type(node.op))
        left, right = self._need(node.left, "number"), self._need(node.right, "number")
        if operation is None:
            self._fault(node, f"{ast.unparse(node)!r}: only + - * / are allowed")
            return None
        if left is None or right is None:
            return None
        a, b, f = left.evaluate, right.evaluate, operation
        key = f"({left.key} {type(node.op).__name__} {right.key})"
        return Expression("number", key, lambda table: f(a(table), b(table)))

    def _unaryop(self, node: ast.UnaryOp) -> Expression | None:
        if isinstance(node.op, ast.Not):
            operand = self._need(node.operand, "truth")
            if operand is None:
                return None
            a = operand.evaluate
            return Expression("truth", f"(not {operand.key})", lambda table: Truth(*reversed(a(table))))
        operand = self._need(node.operand, "number")
        if isinstance(node.op, ast.Invert):
            self._fault(node, "'~' is not allowed, write 'not'")
            return None
        if operand is None or isinstance(node.op, ast.UAdd):
            return operand
        b = operand.evaluate
        return Expression("number", f"(-{operand.key})", lambda table: np.negative(b(table)))

    def _boolop(self, node: ast.BoolOp) -> Expression | None:
        parts = [self._need(value, "truth") for value in node.values]
        good = [part for part in parts if part is not None]
        if len(good) < len(parts):
            return None
        conjunction = isinstance(node.op, ast.And)
        key = f"({(' and ' if conjunction else ' or ').join(part.key for part in good)})"

        def evaluate(table: Table) -> Truth:
            true, false = good[0].evaluate(table)
            for part in good[1:]:
                other = part.evaluate(table)
                if conjunction:
                    true, false = true & other.true, false | other.false
                else:
                    true, false = true | other.true, false & other.false
            return Truth(true, false)

        return Expression("truth", key, evaluate)

    def _compare(self, node: ast.Compare) -> Expression | None:
        sides = [self.compile(side) for side in (node.left, *node.comparators)]
        good = [side for side in sides if side is not None]
        if len(good) < len(sides):
            return None
        pairs = []
        for operator, left, right in zip(node.ops, good[:-1], good[1:], strict=True):
            pair = self._pair(node, operator, left, right)
            if pair is None:
                return None
            pairs.append(pair)
        key = " ".join(
            f"({a.key} {type(o).__name__} {b.key})" for o, a, b in zip(node.ops, good, good[1:], strict=False)
        )

        def evaluate(table: Table) -> Truth:
            results = [pair(table) for pair in pairs]
            true, false = results[0]
            for other in results[1:]:  # a < b < c
                true, false = true & other.true, false | other.false
            return Truth(true, false)

        return Expression("truth", key, evaluate)

    def _pair(
        self, node: ast.Compare, operator: ast.cmpop, left: Expression, right: Expression
    ) -> Callable[[Table], Truth] | None:
        a, b, kinds = left.evaluate, right.evaluate, {left.kind, right.kind}
        equality = isinstance(operator, ast.Eq | ast.NotEq)
        if kinds not in ({"number"}, {"number", "each"}) and not (equality and kinds == {"text"}):
            self._fault(node, f"{ast.unparse(node)!r} compares a {left.kind} with a {right.kind}, which has no sense")
            return None
        if not equality and type(operator) not in _COMPARISONS:
            self._fault(node, f"{ast.unparse(node)!r}: only < <= > >= == != are allowed")
            return None
        compare = _comparison(operator, text=kinds == {"text"})
        if "each" in kinds:
            return lambda table: compare_each(compare, a(table), b(table))
        return lambda table: compare(a(table), b(table))

    def _call(self, node: ast.Call) -> Expression | None:
        if not isinstance(node.func, ast.Name):
            self._fault(node, f"{ast.unparse(node.func)!r} cannot be called in a rule")
            return None
        name = node.func.id
        if name not in FUNCTIONS:
            self._fault(node, f"unknown function {name!r}, {nearest(name, FUNCTIONS)}")
            return None
        if node.keywords or any(isinstance(value, ast.Starred) for value in node.args):
            self._fault(node, f"{name}(...) takes no named or starred values")
            return None
        if name in DIRECTIONS:
            return self._neighbours(node, name)
        if name == "age":
            return self._age(node)
        if name == "known":
            return self._known(node)
        return self._extreme(node, name)

    def _neighbours(self, node: ast.Call, direction: str) -> Expression | None:
        if not self._words.has_neighbours:
            self._fault(node, f'{direction}(...) needs a rule on = "link"')
            return None
        how = node.args[0].id if node.args and isinstance(node.args[0], ast.Name) else ""
        if len(node.args) != 2 or how not in (*OF_TRUTH, *OF_NUMBER):
            kinds = ", ".join((*OF_TRUTH, *OF_NUMBER))
            self._fault(node, f"write {direction}(how, x) with how one of {kinds}")
            return None
        operand = self.compile(node.args[1])
        wanted = ("truth", "number") if how in ("any", "all") else ("truth",) if how == "count" else ("number",)
        if operand is None or operand.kind not in wanted:
            if operand is not None:
                self._fault(node.args[1], f"{ast.unparse(node.args[1])!r} is a {operand.kind}, not a {wanted[0]}")
            return None
        a, over = operand.evaluate, operand.kind

        def evaluate(table: Table) -> Any:
            adjacent = table.adjacent(direction)
            n = len(adjacent.start) - 1
            if over == "truth":
                sides = (np.broadcast_to(side, n)[adjacent.row] for side in a(table))
                return over_truth(how, Truth(*sides), adjacent.start)
            number = np.broadcast_to(a(table), n)
            return Each(how, number, adjacent) if how in OF_TRUTH else over_number(how, number, adjacent)

        kind: Kind = "number" if how not in ("any", "all") else "truth" if over == "truth" else "each"
        return Expression(kind, f"{direction}({how}, {operand.key})", evaluate)

    def _age(self, node: ast.Call) -> Expression | None:
        name = node.args[0].id if len(node.args) == 1 and isinstance(node.args[0], ast.Name) else ""
        if name not in self._words.ages:
            self._fault(node, f"age(...) takes one of {', '.join(sorted(self._words.ages)) or 'nothing here'}")
            return None
        return Expression("number", f"age({name})", lambda table: table.age(name))

    def _known(self, node: ast.Call) -> Expression | None:
        operand = self.compile(node.args[0]) if len(node.args) == 1 else None
        if operand is None or operand.kind not in ("number", "truth"):
            self._fault(node, "known(x) takes one number or truth")
            return None
        a, is_number = operand.evaluate, operand.kind == "number"

        def evaluate(table: Table) -> Truth:
            unknown = np.isnan(a(table)) if is_number else a(table).unknown
            return Truth(np.asarray(~unknown), np.asarray(unknown))

        return Expression("truth", f"known({operand.key})", evaluate)

    def _extreme(self, node: ast.Call, name: str) -> Expression | None:
        parts = [self._need(value, "number") for value in node.args]
        good = [part for part in parts if part is not None]
        if len(good) < len(parts):
            return None
        if len(good) < 2 if name != "abs" else len(good) != 1:
            self._fault(node, f"{name}(...) takes {'one number' if name == 'abs' else 'two numbers or more'}")
            return None
        key = f"{name}({', '.join(part.key for part in good)})"
        if name == "abs":
            return Expression("number", key, lambda table: np.abs(good[0].evaluate(table)))
        operation = np.minimum if name == "min" else np.maximum

        def evaluate(table: Table) -> Number:
            result = good[0].evaluate(table)
            for part in good[1:]:
                result = operation(result, part.evaluate(table))
            return np.asarray(result)

        return Expression("number", key, evaluate)


def compile_condition(text: str, vocabulary: Vocabulary) -> Expression | list[Fault]:
    """Return the compiled condition, or every fault of it.

    Examples
    --------
    >>> words = Vocabulary(columns={"speed": "number"}, constants={})
    >>> compile_condition("speed < 3", words).kind
    'truth'
    >>> compile_condition("sped < 3 and speed", words)[0]
    Fault(column=1, text="unknown name 'sped', did you mean 'speed'?")
    """
    text = " ".join(text.split())
    if not text or len(text) > LONGEST:
        return [Fault(1, f"a condition has 1 to {LONGEST} characters, this one {len(text)}")]
    try:
        tree = ast.parse(text, mode="eval")
        compiler = _Compiler(vocabulary, text)
        result = compiler._need(tree.body, "truth")
    except SyntaxError as error:
        return [Fault(error.offset or 1, f"{text!r} cannot be read: {error.msg}")]
    except (RecursionError, MemoryError, ValueError):
        return [Fault(1, "the condition is nested too deeply")]
    return compiler.faults if result is None or compiler.faults else result
