"""Read the keys of one [[query]] table, and collect all problems with them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lab.base import INT_MAX, INT_MIN, Entity, Problem, nearest
from lab.decimals import scale_of, units
from lab.queries.model import DRAWN, OPERATORS, Condition
from lab.scenario import QueryTable
from lab.scenario.text import shown

# Whole units of a decimal from here on may be others than those that stand in the file, where a float is read.
ROUNDED = 10**15


class QueryReader:
    """One table, and the entity that it is about. `where` is the place that problems name.

    `engines` are those that will be asked, beside the reference.
    """

    def __init__(
        self, table: QueryTable, entities: Mapping[str, Entity], where: str, engines: Collection[str] = ()
    ) -> None:
        self.table, self.entities, self.where, self.engines = table, entities, where, engines
        self.problems: list[Problem] = []

    @property
    def entity(self) -> Entity:
        """The table's entity; there must be one of that name."""
        return self.entities[self.table.entity]

    def wrong(self, key: str, what: str, way_out: str = "") -> None:
        """Note a problem of a key."""
        self.problems.append(Problem(f"{self.where}.{key}", what, way_out))

    def missing(self, key: str) -> None:
        """Note that the class needs a key that is not there."""
        self.wrong(key, f"`{self.table.kind}` needs it, and it is missing", "add it")

    def known(self, key: str, word: str | None, valid: Sequence[str], what: str) -> bool:
        """True if the word is a valid one; else a problem is noted, with the nearest valid word."""
        if word is None:
            self.missing(key)
        elif word not in valid:
            self.wrong(key, f"no {what} `{word}`", nearest(word, valid))
        return word in valid

    def all_known(self, key: str, words: Sequence[str], valid: Sequence[str], what: str) -> None:
        """Check that each word of a list is a valid one, and that none occurs twice."""
        for word in dict.fromkeys(words):
            if self.known(key, word, valid, what) and words.count(word) > 1:
                self.wrong(key, f"`{word}` is in it {words.count(word)} times", "name it once")

    def columns(self) -> None:
        """Check every key that names columns of the entity, whether the class uses it or not."""
        table, entity = self.table, self.entity
        if table.order_by is not None:
            self.known("order_by", table.order_by, [*entity.columns, "key"], "column")
        self.all_known("group_by", table.group_by, list(entity.columns), "column")
        numeric = [name for name, kind in entity.columns.items() if kind in ("int", "float")]
        self.all_known("sum", table.sum, numeric, "column of numbers")

    def conditions(self) -> tuple[Condition, ...]:
        """Read `where`: for each column a value, or a value for each operator."""
        conditions = []
        for column, value in self.table.where.items():
            if not self.known("where", column, [*self.entity.columns, "key"], "column"):
                continue
            operators = value if isinstance(value, dict) else {"equals": value}
            if not operators:
                self.wrong(f"where.{column}", "a condition without an operator", f"valid: {', '.join(OPERATORS)}")
            for operator, operand in operators.items():
                if self.known(f"where.{column}", operator, list(OPERATORS), "operator"):
                    found = operand if operand == DRAWN else compared(operand, self.entity.told(column))
                    if found is None:
                        what = f"{shown(operand)} is no value of `{column}`, which is {self.entity.told(column)}"
                        fixed = isinstance(operand, float) and scale_of(self.entity.told(column)) is not None
                        quoted = "in quotation marks, to have all of its digits; " if fixed else ""
                        self.wrong(f"where.{column}", what, f'{quoted}or "?", to draw it from the data')
                    else:
                        conditions.append(Condition(column, OPERATORS[operator], found))
        return tuple(conditions)


def compared(value: object, kind: str) -> Any:
    """Return a value as every engine compares it with a column of this kind; None if that can't be.

    A number of a decimal column may stand in quotation marks, and must where TOML's floating-point numbers round it.
    """
    scale = scale_of(kind)
    if scale is None:
        if not comparable(value, kind):
            return None
        return float(value) if kind == "float" and isinstance(value, int) else value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float) and not abs(value) * 10**scale < ROUNDED:
        return None
    return units(value, scale)


def comparable(value: object, kind: str) -> bool:
    """True if a value can be compared with a column of this kind; a bool, an `int` in Python, is no number here."""
    match value:
        case bool():
            return kind == "bool"
        case int():
            return kind in ("int", "float") and INT_MIN <= value <= INT_MAX
        case float():
            return kind == "float" and math.isfinite(value)
    return isinstance(value, str) and kind == "str"
