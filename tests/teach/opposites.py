"""Plant the opposite of each claim: in a chapter that is executed, each `claim` is asked again with an operand changed.

A claim that holds whatever its operands are says nothing. `planted` rewrites the cells of a chapter; its first cell is
the text of this module, so the kernel needs nothing else of the tests.
"""

import ast
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

ASKED = "_opposites_of"
CHANGED = "_changed"
# How often a value can be changed into another one.
WAYS = 3


class VacuousClaim(AssertionError):
    """A claim that holds with every operand changed."""


class _Everything:
    """Holds whatever is looked for, and is equal to nothing else."""

    def __contains__(self, item: object) -> bool:
        return True


class _Nothing:
    """Holds nothing of what is looked for, and is equal to nothing else."""

    def __contains__(self, item: object) -> bool:
        return False


def _changed(value: Any, way: int) -> Any:
    """Return another value: a truth value turned, a number far above or below, or other contents."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, str):
        return (f"{value}?", "", _Everything())[way]
    if isinstance(value, set | frozenset):
        return (value ^ {"?"}, set(), _Everything())[way]
    if isinstance(value, list | tuple):
        return ([*value, "?"], [], _Everything())[way]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return (_Everything(), _Nothing(), {})[way]
    return (1e18, -1e18, number + 1)[way]


def _opposites_of(text: str, mutants: "list[Callable[[int], Any]]") -> None:
    """Raise VacuousClaim unless some operand, changed in some way, makes the claim untrue."""
    for mutant in mutants:
        for way in range(WAYS):
            try:
                if not mutant(way):
                    return
            except Exception:  # another value may not fit: that is no claim that holds
                continue
    raise VacuousClaim(f"holds whatever its operands are: {text}")


def turned(that: str) -> str:
    """Return the opposite of a claim about figures: the comparison turned, or a figure a thousand times as large."""
    if "~" in that:
        return re.sub(r"~ *([0-9.]+)", lambda found: f"~ {float(found[1]) * 1000:g}", that)
    return that.translate(str.maketrans("<>", "><"))


def _refuted(text: str, that: str, run: Any) -> None:
    """Raise VacuousClaim if the opposite of a claim about figures holds of the same run."""
    from lab.claims import VERIFIED, judge
    from lab.measure.figures import figures
    from lab.scenario import ClaimTable

    (row,) = judge([ClaimTable(that=turned(that))], run, figures).to_dicts()
    if row["verdict"] == VERIFIED:
        raise VacuousClaim(f"its opposite holds as well: {text}")


def operands(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of a condition that decide it: sides of comparisons, and what is true or false by itself."""
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from operands(value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from operands(node.operand)
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if len({ast.dump(side) for side in sides}) == len(sides):
            yield from (side for side in sides if not _literal(side))
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("all", "any") and _comprehends(node):
        yield from operands(node.args[0].elt)  # type: ignore[attr-defined]
    elif not _literal(node):
        yield node


def _comprehends(node: ast.Call) -> bool:
    return len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp | ast.ListComp)


def _literal(node: ast.expr) -> bool:
    """Return whether an expression names nothing and calls nothing."""
    return not any(isinstance(part, ast.Name | ast.Call | ast.Attribute) for part in ast.walk(node))


class _Planter(ast.NodeTransformer):
    """Puts a question after each claim: does it still hold if an operand is another?"""

    def visit_Expr(self, node: ast.Expr) -> Any:
        call = node.value
        if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "claim"):
            return node
        given = {item.arg: item.value for item in call.keywords}
        text, holds = call.args[0], call.args[1] if len(call.args) > 1 else given["holds"]
        run = call.args[2] if len(call.args) > 2 else given.get("run")
        if run is not None:
            asked = f"_refuted({ast.unparse(text)}, {ast.unparse(holds)}, {ast.unparse(run)})"
        else:
            changed = ", ".join(f"lambda _way: {mutant}" for mutant in mutants(holds))
            asked = f"{ASKED}({ast.unparse(text)}, [{changed}])"
        return [node, *ast.parse(asked).body]


def mutants(condition: ast.expr) -> list[str]:
    """Return the condition as often as it has operands, each time with another one changed."""
    found = []
    for number in range(len(list(operands(condition)))):
        copy = deepcopy(condition)
        operand = list(operands(copy))[number]
        inner = ast.Call(ast.Name(CHANGED), [deepcopy(operand), ast.Name("_way")], [])
        found.append(ast.unparse(_Swap(operand, inner).visit(copy)))
    return found


class _Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def planted(source: str) -> str:
    """Return the source of a cell with a question after each claim."""
    return ast.unparse(ast.fix_missing_locations(_Planter().visit(ast.parse(source))))
