"""What one class of query is: an object with everything that the lab knows of the class.

A new class is a subclass here, in a module of this package, and an entry in `KINDS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl

from lab.base import Entity, Totals
from lab.queries.answers import ReferenceTable, Row, same
from lab.queries.model import AnswerColumn, Parameter, Query
from lab.queries.reader import QueryReader

# A statement, and its arguments with `?` where a parameter goes.
Statement = tuple[str, tuple[object, ...]]

# Names that a request over HTTP gives a meaning of its own: no parameter of a query is called like these.
RESERVED = ("at_least", "timeout", "limit")


class Pool(NamedTuple):
    """What parameters are drawn from: live records by key, or all revisions by position; and every entity's table."""

    frame: pl.DataFrame
    tables: Mapping[str, ReferenceTable]


class QueryClass(ABC):
    """One class of query. Objects have no state: the question itself is in a `Query`."""

    # The word for it in a scenario.
    name: ClassVar[str]
    # What it asks for and what its rows are, each in a few words: both are shown in the documentation.
    asks: ClassVar[str]
    gives: ClassVar[str]
    # The keys of [[query]] that it uses, beside `name`, `kind`, `entity` and `weight`.
    uses: ClassVar[tuple[str, ...]] = ()
    # True if it asks for former revisions: only a projection that keeps all of them can answer.
    past: ClassVar[bool] = False
    # True if it searches for words: an entity without texts can't be asked, and a write model has no index of words.
    texts: ClassVar[bool] = False
    # True if stores rank by rules of their own: the reference gives every match, and a store any `limit` of them.
    ranked: ClassVar[bool] = False
    # True if a user has written the statement: it can take for ever, or fail on the data.
    own: ClassVar[bool] = False

    def resolve(self, reader: QueryReader) -> dict[str, Any]:
        """Check the keys that only this class uses; return the fields of `Query` that aren't copied from the table."""
        return {}

    def answered_from(self, query: Query, keeps: str, entities: Collection[str], totals: Totals | None) -> bool:
        """True if a projection that keeps this, of these entities, holds what the answer is made of."""
        if not query.entities <= set(entities):
            return False
        return self.in_totals(query, totals) if keeps == "totals" else keeps == "revisions" or not self.past

    def in_totals(self, query: Query, totals: Totals | None) -> bool:
        """True if this running aggregate is the answer."""
        return False

    def draw(
        self, query: Query, tables: Mapping[str, ReferenceTable], count: int, rng: np.random.Generator
    ) -> list[Row]:
        """Draw `count` sets of parameters from the data.

        Each value occurs in a record, and half of the keys come from a hot hundredth of the records. `tables` hold the
        last revision of each record, or all revisions if the class asks for the `past`. The list is empty if there is
        no record to draw from.
        """
        table = tables[query.entity.name]
        frame = table.frame if not self.past or table.frame["position"].is_sorted() else table.frame.sort("position")
        pool = Pool(frame if self.past else table.live, tables)
        return self.drawn(query, pool, count, rng) if pool.frame.height else []

    @abstractmethod
    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw `count` sets of parameters from a pool that has a row at least."""

    @abstractmethod
    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """The query's parameters, in the order in which stores take their values."""

    def given(self, query: Query, values: list[Any]) -> Row:
        """Values as a caller gave them, in the order of `parameters`, as a store takes them."""
        return tuple(values)

    @abstractmethod
    def columns(self, query: Query) -> tuple[AnswerColumn, ...] | None:
        """The columns of an answer; None for a statement that doesn't name all of them."""

    @abstractmethod
    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """The right rows, worked out over plain frames; for a ranked class every match, by key."""

    def agrees(self, query: Query, expected: Sequence[Row], found: Sequence[Row]) -> bool:
        """True if rows that a store found are right, given those of `answer`."""
        return same(expected, found)

    @abstractmethod
    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """The statement in the dialect of `sqlite` or `duckdb`, in the order that the class promises.

        `keeps` is what a projection keeps, or `history`: all revisions without a gap, as only the source of truth has
        them.
        """


def record_columns(entity: Entity) -> tuple[AnswerColumn, ...]:
    """The columns of a record as a reader sees it."""
    own = (AnswerColumn(name, entity.told(name)) for name in entity.columns)
    return (AnswerColumn("key", entity.key, nullable=False), AnswerColumn("revision", "int", nullable=False), *own)


def key_of(query: Query, name: str = "key", most: int = 1) -> Parameter:
    """A parameter that is a key of the query's entity."""
    return Parameter(name, query.entity.key, key=True, most=most)


def apart(named: Sequence[tuple[str, str]]) -> tuple[Parameter, ...]:
    """Make parameters of names and kinds; one whose name is taken or reserved gets a number."""
    names = unlike([name for name, _ in named], RESERVED)
    return tuple(Parameter(free, kind, key=name == "key") for free, (name, kind) in zip(names, named, strict=True))


def apart_columns(columns: Sequence[AnswerColumn]) -> tuple[AnswerColumn, ...]:
    """The columns, each with a name of its own."""
    names = unlike([column.name for column in columns])
    return tuple(replace(column, name=name) for column, name in zip(columns, names, strict=True))


def unlike(names: Sequence[str], reserved: Sequence[str] = ()) -> list[str]:
    """The names, with a number after each that is reserved or occurs before: `name_2` and so on."""
    found: list[str] = []
    for name in names:
        free, number = name, 2
        while free in found or free in reserved:
            free, number = f"{name}_{number}", number + 1
        found.append(free)
    return found


def draw_keys(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> list[Any]:
    """Draw `count` keys: each from the first hundredth of the rows with probability 1/2, else from all of them."""
    cold = rng.integers(frame.height, size=count)
    hot = rng.integers(max(1, frame.height // 100), size=count)
    rows = np.where(rng.random(count) < 0.5, hot, cold)
    return frame["key"].gather(rows).to_list()
