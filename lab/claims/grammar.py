"""Read a claim's text: `lag_p99(directory) < 0.5 * lag_p99(analytics)`.

    claim  := sum ("<" | "<=" | ">" | ">=" | "=") sum
            | sum "~" sum "within" NUMBER [unit]
    sum    := term (("+" | "-") term)*
    term   := factor (("*" | "/") factor)*
    factor := "-" factor | NUMBER [unit] | "(" sum ")" | "ratio" "(" sum "," sum ")" | QUANTITY "(" names ")"

Quantities are those of `lab.claims.quantities`; whether the names between their brackets exist is checked in
`lab.claims.naming`. Length and depth are bounded. Nothing of the text is executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Literal, cast

from lab.base import nearest
from lab.claims.expression import (
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Expression,
    Misstated,
    Statement,
    common,
    dimension,
    is_share,
)
from lab.claims.quantities import QUANTITIES, UNITS
from lab.formatting import plural

LENGTH_MAX = 500
DEPTH_MAX = 20

_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"(?:\d[\d_]*)?\.?\d[\d_]*(?:[eE][+-]?\d{1,3})?")
_WORD = re.compile(r"[A-Za-z_]\w*")
# Names of projections may have hyphens: there are no sums between the brackets of a quantity.
_NAME = re.compile(r"[A-Za-z][\w-]*")
# The Greek letter is another sign than the one for a millionth, and looks the same.
_GREEK, _MICRO = "\u03bc", "\u00b5"
_UNIT = re.compile(rf"%|[A-Za-z{_MICRO}{_GREEK}]+")
_COMPARISON = re.compile(r"<=|>=|==|<|>|=|~")
_RATIO, _WITHIN = "ratio", "within"


def read(text: str) -> Statement:
    """Return the statement of a text. Raises Misstated for what is none, and for units that don't fit."""
    if len(text) > LENGTH_MAX:
        raise Misstated(f"longer than {LENGTH_MAX} characters", LENGTH_MAX, "make two claims of it")
    return _Reader(text).statement()


class _Reader:
    """Reads one text from left to right; `at` is the place that it has come to."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def statement(self) -> Statement:
        left = self.sum()
        at = self._skip()
        sign = self._take(_COMPARISON)
        if sign is None:
            raise Misstated("nothing is compared here", at, "one of < <= > >= = ~")
        comparison = cast(Comparison, "=" if sign == "==" else sign)
        right = self.sum()
        unit = common(dimension(left), dimension(right), at)
        within, absolute = (0.0, False) if comparison != "~" else self._within(unit)
        if (rest := self._skip()) < len(self.text):
            what = "there can be only one comparison" if _COMPARISON.match(self.text, rest) else "not expected here"
            raise Misstated(what, rest, "end the claim here, or make two claims of it")
        found = Statement(left, comparison, right, within, absolute)
        _confirm(found, at)
        return found

    def _within(self, unit: tuple[int, int] | None) -> tuple[float, bool]:
        """How near two sides must be: a share of the right one, or so much in their unit."""
        at = self._skip()
        if self._take(_WORD) != _WITHIN:
            raise Misstated("it isn't said how near the two must be", at, "for example: ~ 1 % within 10 %")
        at = self._skip()
        near = self._constant()
        if near is None or near.value <= 0:
            raise Misstated("not a number above 0", at, "for example: within 10 %, within 5 ms")
        if self.text[: self.at].endswith("%"):
            return near.value, False
        common(unit, near.dimension, at)
        return near.value, True

    def sum(self) -> Expression:
        found = self._term()
        while (at := self._skip()) < len(self.text) and self.text[at] in "+-":
            found = self._operation(found, self._term)
        return found

    def _term(self) -> Expression:
        found = self._factor()
        while (at := self._skip()) < len(self.text) and self.text[at] in "*/":
            found = self._operation(found, self._factor)
        return found

    def _operation(self, left: Expression, operand: Callable[[], Expression]) -> Expression:
        at = self.at
        self.at += 1
        return Arithmetic(cast(Literal["+", "-", "*", "/"], self.text[at]), left, operand(), at)

    def _factor(self) -> Expression:
        at = self._skip()
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise Misstated(f"brackets and signs within each other, more than {DEPTH_MAX} deep", at)
        found = self._inner(at)
        self.depth -= 1
        return found

    def _inner(self, at: int) -> Expression:
        if self._sign("-"):
            return Arithmetic("*", Constant(-1.0, None, at), self._factor(), at)
        if self._sign("("):
            found = self.sum()
            self._expect(")")
            return found
        if (number := self._constant()) is not None:
            return number
        word = self._take(_WORD)
        if word is None:
            raise Misstated("a quantity or a number is missing", at, f"for example {QUANTITIES['lag_p99'].usage}")
        if word == _RATIO:
            self._expect("(")
            left, between = self.sum(), self._expect(",")
            right = self.sum()
            self._expect(")")
            return Arithmetic("/", left, right, between)
        return self._call(word, at)

    def _call(self, word: str, at: int) -> Call:
        if word not in QUANTITIES:
            raise Misstated(f"no quantity is called `{word}`", at, nearest(word, [*QUANTITIES, _RATIO]))
        quantity = QUANTITIES[word]
        self._expect("(", f"it is written {quantity.usage}")
        names: list[str] = []
        places: list[int] = []
        while not self._sign(")"):
            if names and not self._sign(","):
                raise Misstated("a comma or `)` is missing", self.at, f"it is written {quantity.usage}")
            places.append(self._skip())
            name = self._take(_NAME)
            if name is None:
                raise Misstated("a name is missing", self.at, f"it is written {quantity.usage}")
            names.append(name)
        if not quantity.required <= len(names) <= len(quantity.arguments):
            raise Misstated(f"`{word}` with {plural(len(names), 'name')}", at, f"it is written {quantity.usage}")
        return Call(quantity, tuple(names), at, tuple(places))

    def _constant(self) -> Constant | None:
        """A number with its unit; None if there is no number here."""
        at = self._skip()
        digits = self._take(_NUMBER)
        if digits is None:
            return None
        value = float(digits.replace("_", ""))
        if not isfinite(value):
            raise Misstated("too large a number", at)
        place = self._skip()
        unit = _UNIT.match(self.text, place)
        if unit is None or unit[0] == _WITHIN:
            return Constant(value, None, at)
        name = unit[0].replace(_GREEK, _MICRO)
        if name not in UNITS:
            raise Misstated(f"no unit is called `{name}`", place, f"valid: {', '.join(UNITS)}")
        self.at = unit.end()
        scale, of = UNITS[name]
        return Constant(value * scale, of, at)

    def _skip(self) -> int:
        """Go on to the next character that is no space, and return its place."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return self.at

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self._skip())
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def _sign(self, sign: str) -> bool:
        if self.text[self._skip() : self.at + 1] != sign:
            return False
        self.at += 1
        return True

    def _expect(self, sign: str, way_out: str = "") -> int:
        at = self._skip()
        if not self._sign(sign):
            raise Misstated(f"`{sign}` is missing", at, way_out)
        return at


def _confirm(found: Statement, at: int) -> None:
    """Raise Misstated for a statement that says nothing; `at` is the place of its comparison."""
    if not found.calls:
        raise Misstated("nothing that is measured", 0, f"for example {QUANTITIES['lag_p99'].usage} < 2 s")
    measured = [call for call in found.calls if call.quantity.origin != "counted"]
    if found.comparison == "=" and measured:
        way_out = "say how near they must be: left ~ right within 10 %"
        raise Misstated(f"`{measured[0].quantity.name}` is never equal to the last digit", at, way_out)
    for side, other in ((found.left, found.right), (found.right, found.left)):
        if isinstance(side, Constant) and side.value > 1 and isinstance(other, Call) and is_share(other):
            raise Misstated("a share is never above 1", side.at, "a share of five in 100 is written 5 % or 0.05")
    if found.comparison == "~" and not found.absolute and isinstance(found.right, Constant) and not found.right.value:
        way_out = "say it in the unit of both, without %: within 0.001, within 5 ms"
        raise Misstated("a share of 0 is 0, so nothing is near to it", at, way_out)
