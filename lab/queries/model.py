"""A query as every store sees it: its class, the entities it speaks of, and the order of its parameters.

The columns of an answer are fixed by the class, so that answers of unlike stores can be compared row by row:

| kind | parameters | rows, in this order |
| --- | --- | --- |
| get | key | the live record: key, revision, columns |
| get_many | keys | the live records, by key |
| filter | those of `where` | the live records, by `order_by` (nulls last) then key, at most `limit` |
| aggregate | those of `where` | group columns, count, sums (null counts as 0), by group |
| join | those of `where` | as filter, then the columns taken from the other record (null if none is live) |
| traverse | key (of `path`: two keys) | by its `walk`, over live records alone; see below |
| search | words, as one string | keys of the live records that have all these words in their texts, the best first |
| sql | those of `parameters` | whatever the statement gives, in any order |
| as_of | key, seconds on the run's clock | as get, as the record stood at that time |
| history | key | key, revision, deleted, committed_at, columns of every revision |

A traversal `below` gives key and depth of each record below the first, `near` those of each record within `depth`
steps up or down (both by depth, then key), and `path` the step and key of each record on the way from one record up to
the nearest that is above both, and down to the other.

Engines rank the matches of a search by rules of their own. What is right or wrong is the set of matches, and of a
ranked top k that it holds k of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lab.base import Entity, Totals

QueryKind = Literal["get", "get_many", "filter", "aggregate", "join", "traverse", "search", "sql", "as_of", "history"]
KINDS: tuple[str, ...] = get_args(QueryKind)

# What each way of keeping changes lets a store answer, whatever the engine. Who keeps all revisions can say
# what the last one was, at the price of looking for it.
KEEPS: dict[str, frozenset[str]] = {
    "records": frozenset({"get", "get_many", "filter", "aggregate", "join", "traverse", "search", "sql"}),
    "revisions": frozenset(KINDS),
    "totals": frozenset({"aggregate"}),
}

WALKS = ("below", "path", "near")
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
    walk: str = "below"
    depth: int = 2
    words: int = 1
    statement: str = ""
    # Of a statement: the columns that its parameters are drawn from, and the other entities that it names.
    parameters: tuple[tuple[str, str], ...] = ()
    uses: tuple[Entity, ...] = ()

    def __hash__(self) -> int:
        return hash((self.name, self.kind, self.entity.name, self.limit))

    @property
    def entities(self) -> set[str]:
        """The entities that a projection must hold to answer."""
        other = {self.other.name} if self.other else set()
        return {self.entity.name} | other | {entity.name for entity in self.uses}

    @property
    def totals(self) -> Totals:
        """The running aggregate that would answer this aggregate without looking at a record."""
        return Totals(self.entity.name, self.group_by, self.sum)

    def answered_by(self, keeps: str, entities: Sequence[str], totals: Totals | None) -> bool:
        """Whether a projection that keeps this, of these entities, can answer at all."""
        if self.kind not in KEEPS[keeps] or not self.entities <= set(entities):
            return False
        return keeps != "totals" or (self.totals == totals and not self.where)
