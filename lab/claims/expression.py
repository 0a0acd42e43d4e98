"""What a claim is made of, and how its two sides are worked out: as numbers, as intervals, and as units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from lab.claims.quantities import BYTES, NUMBER, SECONDS, Dimension, Quantity

Bounds = tuple[float, float]


class Misstated(ValueError):
    """A claim that can't be read: `what` is wrong with its text from `at` on (from 0), and the way out."""

    def __init__(self, what: str, at: int, way_out: str = "") -> None:
        super().__init__(what)
        self.what, self.at, self.way_out = what, at, way_out


@dataclass(frozen=True)
class Constant:
    """A number in seconds, bytes or as a share; without a unit (`dimension` is None) it takes its neighbour's."""

    value: float
    dimension: Dimension | None
    at: int


@dataclass(frozen=True)
class Call:
    """A quantity with its arguments; `places` are where these stand in the text."""

    quantity: Quantity
    arguments: tuple[str, ...]
    at: int
    places: tuple[int, ...] = ()

    def argument(self, kind: str) -> str | None:
        """Return the argument of a kind; None if it was left out, or if the quantity has none of it."""
        kinds = (each.rstrip("?") for each in self.quantity.arguments)
        return next((value for value, each in zip(self.arguments, kinds, strict=False) if each == kind), None)

    def __str__(self) -> str:
        return f"{self.quantity.name}({', '.join(self.arguments)})"


@dataclass(frozen=True)
class Arithmetic:
    """Two expressions with a sign between them: + - * /."""

    sign: Literal["+", "-", "*", "/"]
    left: Expression
    right: Expression
    at: int


Expression = Constant | Call | Arithmetic
Comparison = Literal["<", "<=", ">", ">=", "=", "~"]


@dataclass(frozen=True)
class Statement:
    """A claim's text, read: two sides and how they compare.

    With `~`, `within` is how far they may be apart: a share of the right side, or with `absolute` in the sides' unit.
    """

    left: Expression
    comparison: Comparison
    right: Expression
    within: float = 0.0
    absolute: bool = False

    @property
    def calls(self) -> tuple[Call, ...]:
        """Return the quantities that it names, each once."""
        return tuple(dict.fromkeys([*calls(self.left), *calls(self.right)]))


def calls(expression: Expression) -> Iterator[Call]:
    """Yield the quantities of an expression."""
    if isinstance(expression, Call):
        yield expression
    elif isinstance(expression, Arithmetic):
        yield from calls(expression.left)
        yield from calls(expression.right)


def written(expression: Expression) -> str:
    """Return an expression as a text: as short as it can be read, with brackets where they are needed."""
    if isinstance(expression, Constant):
        unit = {SECONDS: " s", BYTES: " B"}.get(expression.dimension or NUMBER, "")
        return f"{expression.value:g}{unit}"
    if isinstance(expression, Call):
        return str(expression)
    left, right = written(expression.left), written(expression.right)
    if expression.sign in "*/":
        left = f"({left})" if _is_sum(expression.left) else left
        right = f"({right})" if isinstance(expression.right, Arithmetic) else right
    elif expression.sign == "-" and _is_sum(expression.right):
        right = f"({right})"
    return f"{left} {expression.sign} {right}"


def _is_sum(expression: Expression) -> bool:
    return isinstance(expression, Arithmetic) and expression.sign in "+-"


def value(expression: Expression, told: Callable[[Call], float]) -> float:
    """Return the value of an expression, in seconds, bytes and shares.

    NaN where it has none, for which `undefined` has the reason: a division by 0, infinities that cancel each other.
    """
    if isinstance(expression, Constant):
        return expression.value
    if isinstance(expression, Call):
        return told(expression)
    return _worked_out(expression.sign, value(expression.left, told), value(expression.right, told))


def _worked_out(sign: str, left: float, right: float) -> float:
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right if right else math.nan


def undefined(expression: Expression, told: Callable[[Call], float]) -> str:
    """Return why an expression has no value; nothing if it has one."""
    if not isinstance(expression, Arithmetic) or not math.isnan(value(expression, told)):
        return ""
    inner = undefined(expression.left, told) or undefined(expression.right, told)
    if inner:
        return inner
    if expression.sign == "/" and value(expression.right, told) == 0:
        return f"`{written(expression)}` divides by 0"
    return f"`{written(expression)}` has no value where both are infinite, or one infinite and the other 0"


def bounds(expression: Expression, told: Callable[[Call], Bounds]) -> Bounds:
    """Return the smallest and the largest value that an expression has for quantities within their bounds.

    Without end where a divisor's bounds hold 0, and where a value at the bounds is none.
    """
    if isinstance(expression, Constant):
        return expression.value, expression.value
    if isinstance(expression, Call):
        return told(expression)
    left, right = bounds(expression.left, told), bounds(expression.right, told)
    if expression.sign == "/" and right[0] <= 0 <= right[1]:
        return -math.inf, math.inf
    corners = [_worked_out(expression.sign, one, other) for one in left for other in right]
    if any(map(math.isnan, corners)):
        return -math.inf, math.inf
    return min(corners), max(corners)


def is_share(expression: Expression) -> bool:
    """Return whether an expression is a share of something: a sum of shares, or so many times one."""
    if isinstance(expression, Constant):
        return False
    if isinstance(expression, Call):
        return expression.quantity.shown == "share"
    left, right = expression.left, expression.right
    if expression.sign == "/":
        return is_share(left) and isinstance(right, Constant)
    if expression.sign == "*":
        return is_share(left) if isinstance(right, Constant) else isinstance(left, Constant) and is_share(right)
    return all(is_share(side) or isinstance(side, Constant) for side in (left, right))


def dimension(expression: Expression) -> Dimension | None:
    """Return the unit of an expression; None for plain numbers. Raises Misstated for units that don't fit."""
    if isinstance(expression, Constant):
        return expression.dimension
    if isinstance(expression, Call):
        return expression.quantity.dimension
    left, right = dimension(expression.left), dimension(expression.right)
    if expression.sign in "+-":
        return common(left, right, expression.at)
    if left is None and right is None:
        return None
    (seconds, size), (per_seconds, per_size) = left or NUMBER, right or NUMBER
    way = 1 if expression.sign == "*" else -1
    return seconds + way * per_seconds, size + way * per_size


def common(left: Dimension | None, right: Dimension | None, at: int) -> Dimension | None:
    """Return the unit that two expressions share. Raises Misstated if they have none in common."""
    if left is not None and right is not None and left != right:
        way_out = "a number without a unit takes that of its neighbour"
        raise Misstated(f"{named(left)} can't be set against {named(right)}", at, way_out)
    return right if left is None else left


def named(unit: Dimension) -> str:
    """Return the name of a unit: `seconds`, `bytes/s`."""
    if unit == NUMBER:
        return "a share or a plain number"
    over = [_power(name, power) for name, power in zip(("seconds", "bytes"), unit, strict=True) if power > 0]
    under = [_power(name, -power) for name, power in zip(("s", "byte"), unit, strict=True) if power < 0]
    return " * ".join(over or ["a number"]) + "".join(f" per {name}" for name in under)


def _power(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{power}"
