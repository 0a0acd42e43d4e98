"""A query as every store sees it: its class, the entities it speaks of, and the order of its parameters.

The columns of an answer are fixed by the class, so that answers of unlike stores can be compared row by row:

| kind | parameters | rows, in this order |
| --- | --- | --- |
| get | key | the live record: key, revision, columns |
| get_many | keys | the live records, by key |
| filter | those of `where` | the live records, by `order_by` (nulls last) then key, at most `limit` |
| aggregate | those of `where` | group columns, count, sums (null counts as 0), by group |
| join | those of `where` | as filter, then the columns taken from the other record (null if none is live) |
| traverse | key | key and depth of each live record below a live record, by depth then key |
| as_of | key, seconds on the run's clock | as get, as the record stood at that time |
| history | key | key, revision, deleted, committed_at, columns of every revision |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lab.base import Entity, Problem, Totals, nearest
from lab.scenario import QueryTable

QueryKind = Literal["get", "get_many", "filter", "aggregate", "join", "traverse", "as_of", "history"]
KINDS: tuple[str, ...] = get_args(QueryKind)

# What each way of keeping changes lets a store answer, whatever the engine. Who keeps all revisions can say
# what the last one was, at the price of looking for it.
KEEPS: dict[str, frozenset[str]] = {
    "records": frozenset({"get", "get_many", "filter", "aggregate", "join", "traverse"}),
    "revisions": frozenset(KINDS),
    "totals": frozenset({"aggregate"}),
}

OPERATORS = {"equals": "=", "at_least": ">=", "less_than": "<"}
DRAWN = "?"
# What a column of each kind can be compared with. (A bool is an int in Python, and no number here.)
VALUES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


@dataclass(frozen=True)
class Condition:
    """`column operator value`; a value of `?` is a parameter."""

    column: str
    operator: str
    value: Any

    @property
    def drawn(self) -> bool:
        """Whether the value is a parameter, drawn from the data."""
        return bool(self.value == DRAWN)


@dataclass(frozen=True)
class Query:
    """One question with its entities resolved. Hashable: stores keep their translation of it by identity."""

    name: str
    kind: str
    entity: Entity
    where: tuple[Condition, ...] = ()
    order_by: str | None = None
    descending: bool = False
    limit: int | None = None
    count: int = 20
    group_by: tuple[str, ...] = ()
    sum: tuple[str, ...] = ()
    on: str | None = None
    other: Entity | None = None
    take: tuple[str, ...] = ()
    weight: float = 1.0

    def __hash__(self) -> int:
        return hash((self.name, self.kind, self.entity.name))

    @property
    def entities(self) -> set[str]:
        """The entities that a projection must hold to answer."""
        return {self.entity.name} | ({self.other.name} if self.other else set())

    @property
    def totals(self) -> Totals:
        """The running aggregate that would answer this aggregate without looking at a record."""
        return Totals(self.entity.name, self.group_by, self.sum)

    def answered_by(self, keeps: str, entities: Sequence[str], totals: Totals | None) -> bool:
        """Whether a projection that keeps this, of these entities, can answer at all."""
        if self.kind not in KEEPS[keeps] or not self.entities <= set(entities):
            return False
        return keeps != "totals" or (self.totals == totals and not self.where)


def resolve(table: QueryTable, entities: Mapping[str, Entity], file: str) -> tuple[Query | None, list[Problem]]:
    """A scenario's [[query]] as a Query, or every problem of it."""
    where = f"{file}: query.{table.name}"
    problems: list[Problem] = []

    def known(key: str, word: str | None, valid: Sequence[str], what: str) -> bool:
        if word is None:
            problems.append(Problem(f"{where}.{key}", f"`{table.kind}` needs it, and it is missing", "add it"))
        elif word not in valid:
            problems.append(Problem(f"{where}.{key}", f"no {what} `{word}`", nearest(word, valid)))
        return word in valid

    known("kind", table.kind, KINDS, "class of query")
    if not known("entity", table.entity, list(entities), "entity"):
        return None, problems
    entity = entities[table.entity]
    columns = list(entity.columns)
    conditions = []
    for column, value in table.where.items():
        if known("where", column, [*columns, "key"], "column"):
            operators = value if isinstance(value, dict) else {"equals": value}
            for operator, operand in operators.items():
                if not known(f"where.{column}", operator, list(OPERATORS), "operator"):
                    continue
                if operand != DRAWN and not isinstance(operand, VALUES[entity.kind(column)]):
                    what = f"{operand!r} is no value of `{column}`, which is {entity.kind(column)}"
                    problems.append(Problem(f"{where}.where.{column}", what, 'or "?", to draw it from the data'))
                else:
                    conditions.append(Condition(column, OPERATORS[operator], operand))
    if table.order_by is not None:
        known("order_by", table.order_by, [*columns, "key"], "column")
    for column in table.group_by:
        known("group_by", column, columns, "column")
    for column in table.sum:
        numeric = [name for name, kind in entity.columns.items() if kind in ("int", "float")]
        known("sum", column, numeric, "column of numbers")
    other = None
    if table.kind == "join":
        known("on", table.on, columns, "column")
        if known("to", table.to, list(entities), "entity"):
            other = entities[str(table.to)]
            if table.on in columns and entity.kind(str(table.on)) != other.key:
                what = f"`{table.on}` is {entity.kind(str(table.on))}, and the key of `{other.name}` is {other.key}"
                problems.append(Problem(f"{where}.on", what, "join on a column that holds the other's key"))
            for column in table.take:
                known("take", column, list(other.columns), "column")
    if table.kind == "aggregate" and not table.group_by:
        problems.append(Problem(f"{where}.group_by", "`aggregate` needs it, and it is missing", "add it"))
    if table.kind == "traverse" and entity.parent is None:
        problems.append(Problem(f"{where}.kind", f"`{entity.name}` has no parent column to traverse"))
    if problems:
        return None, problems
    query = Query(
        name=table.name,
        kind=table.kind,
        entity=entity,
        where=tuple(conditions),
        order_by=table.order_by,
        descending=table.descending,
        limit=table.limit,
        count=table.count,
        group_by=table.group_by,
        sum=table.sum,
        on=table.on,
        other=other,
        take=table.take,
        weight=table.weight,
    )
    return query, []
