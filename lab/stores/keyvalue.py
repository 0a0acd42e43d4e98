"""What the key/value shapes answer: look-ups by key, and walks over the revisions of one record.

A row is a tuple with the columns of the entity's schema: position, key, revision, deleted, time of commit, and its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import polars as pl

from lab.base import NotAnswered
from lab.queries.answers import Row, sought
from lab.queries.model import Query
from lab.stores.layout import Layout
from lab.stores.prepared import Answering, PreparedQueries

# The revisions of the record with a key, the last first.
Backwards = Callable[[Any], Iterator[Row]]


class KeyValue(PreparedQueries):
    """Base of the stores that are maps: each looks keys up, and walks over what else it holds."""

    answers = frozenset({"get", "get_many", "aggregate", "as_of", "history"})
    gaps = MappingProxyType(
        {
            "filter": "never: a map is asked by key; each other way in would be a map of its own",
            "join": "never: a map knows no other",
            "traverse": "never: a map knows no links",
            "search": "never: a map knows no words",
            "sql": "never: a map has no language",
        }
    )

    @classmethod
    def can_answer(cls, query: Query, layout: Layout) -> bool:
        """An aggregate is only looked up, where it is what the projection keeps."""
        return super().can_answer(query, layout) and (query.kind != "aggregate" or layout.kept.adds)

    @abstractmethod
    def _get(self, entity: str) -> Answering:
        """Return what looks one record up."""

    @abstractmethod
    def _get_many(self, entity: str) -> Answering:
        """Return what looks several records up, in the order of their keys."""

    def _within(self, entity: str, answer: Callable[[Backwards, Row], list[Row]]) -> Answering:
        """Return what answers by the revisions of records, all of them seen at one moment where the engine can."""
        raise NotAnswered(f"{self.name} keeps the last revision of each record alone")

    def _totals(self, entity: str) -> pl.DataFrame:
        """The groups of a running aggregate, in any order."""
        raise NotAnswered(f"{self.name} keeps no running aggregate")

    def _answering(self, query: Query) -> Answering:
        """Look up by key, and walk over the revisions of one record."""
        name = query.entity.name
        match query.kind:
            case "get" if self.layout.kept.replaces:
                return self._get(name)
            case "get_many" if self.layout.kept.replaces:
                return self._get_many(name)
            case "aggregate":
                return lambda _: (
                    self._totals(name).filter(pl.col("records") != 0).sort(query.group_by, nulls_last=True).rows()
                )
            case "history":
                return self._within(name, lambda found, parameters: [row[1:] for row in found(parameters[0])][::-1])
            case "as_of":
                return self._within(
                    name, lambda found, p: seen(next((row for row in found(p[0]) if row[4] <= p[1]), None))
                )
        return self._within(
            name, lambda found, keys: [row for key in sought(keys) for row in seen(next(found(key), None))]
        )


def seen(row: Row | None) -> list[Row]:
    """Return a row as readers see it; nothing if it isn't there or is deleted."""
    return [] if row is None or row[3] else [(row[1], row[2], *row[5:])]
