"""Reads the keys of one [[query]] table, and collects everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.base import Entity, Problem, nearest
from lab.queries.model import DRAWN, OPERATORS, Condition
from lab.scenario import QueryTable

# What a column of each kind can be compared with.
VALUES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


class QueryReader:
    """One table, and the entity that it is about. `where` is the place that problems name."""

    def __init__(self, table: QueryTable, entities: Mapping[str, Entity], where: str) -> None:
        self.table, self.entities, self.where = table, entities, where
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

    def columns(self) -> None:
        """Check every key that names columns of the entity, whether the class uses it or not."""
        table, entity = self.table, self.entity
        if table.order_by is not None:
            self.known("order_by", table.order_by, [*entity.columns, "key"], "column")
        for column in table.group_by:
            self.known("group_by", column, list(entity.columns), "column")
        numeric = [name for name, kind in entity.columns.items() if kind in ("int", "float")]
        for column in table.sum:
            self.known("sum", column, numeric, "column of numbers")

    def conditions(self) -> tuple[Condition, ...]:
        """Read `where`: for each column a value, or a value for each operator."""
        conditions = []
        for column, value in self.table.where.items():
            if not self.known("where", column, [*self.entity.columns, "key"], "column"):
                continue
            operators = value if isinstance(value, dict) else {"equals": value}
            for operator, operand in operators.items():
                if self.known(f"where.{column}", operator, list(OPERATORS), "operator") and self._fits(column, operand):
                    conditions.append(Condition(column, OPERATORS[operator], operand))
        return tuple(conditions)

    def _fits(self, column: str, operand: object) -> bool:
        """True if a column can be compared with a value."""
        kind = self.entity.kind(column)
        if operand == DRAWN or isinstance(operand, VALUES[kind]):
            return True
        what = f"{operand!r} is no value of `{column}`, which is {kind}"
        self.wrong(f"where.{column}", what, 'or "?", to draw it from the data')
        return False
