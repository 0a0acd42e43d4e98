"""A question with its names resolved, and how its parameters and the columns of its answer are typed.

What a class of query means (its parameters, right answer, SQL) is in one object for each class: `lab.queries.kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.base import Entity, Totals

# The operators of `where`, as a scenario writes them and as SQL does.
OPERATORS = {"equals": "=", "at_least": ">=", "less_than": "<"}
DRAWN = "?"


@dataclass(frozen=True)
class Condition:
    """`column operator value`, with the operator as in SQL; a value of `?` is a parameter."""

    column: str
    operator: str
    value: Any

    @property
    def drawn(self) -> bool:
        """True if the value is a parameter, drawn from the data."""
        return bool(self.value == DRAWN)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a query, as a caller names it.

    `kind` is int, float, str, bool or `decimal(s)`; `key` says that it is a record's key. It may be given `most` times,
    once at least; each value given counts as one of the query's parameters.
    """

    name: str
    kind: str
    key: bool = False
    most: int = 1
    meaning: str = ""


@dataclass(frozen=True)
class AnswerColumn:
    """One column of an answer. `kind` is int, float, str, bool or `decimal(s)`; None where only the engine knows it.

    A `wide` one can hold whole numbers of more than 64 bits: sums do.
    """

    name: str
    kind: str | None
    nullable: bool = True
    wide: bool = False


@dataclass(frozen=True)
class Query:
    """One question with its entities resolved. Hashable: stores keep their translation of it by identity.

    `kind` is the name of its class in `lab.queries.kinds.KINDS`. Fields that the class doesn't use have their defaults.
    """

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
    walk: str = "below"
    depth: int = 2
    words: int = 1
    statement: str = ""
    # Of a statement: the entity, column and kind of what each parameter is drawn from; the other entities it names.
    parameters: tuple[tuple[str, str, str], ...] = ()
    uses: tuple[Entity, ...] = ()

    def __hash__(self) -> int:
        return hash((self.name, self.kind, self.entity.name, self.limit))

    @property
    def entities(self) -> set[str]:
        """The names of the entities that a projection must hold to answer."""
        other = {self.other.name} if self.other else set()
        return {self.entity.name} | other | {entity.name for entity in self.uses}

    @property
    def totals(self) -> Totals:
        """The running aggregate with these groups and sums: it would answer this query without reading a record."""
        return Totals(self.entity.name, self.group_by, self.sum)
