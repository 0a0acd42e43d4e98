"""The changes of one partition: pages of the source of truth that have no records but those of a slice of the keys.

The engine leaves the others out, so a page has as many changes as it may, and ends where the feed ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import polars as pl

from lab.base import Entity
from lab.feed.reader import ChangeReader
from lab.ports import KeySlice
from lab.truth import truth_class
from lab.truth.relational import Relational


class SlicedReader(ChangeReader):
    """Reads what `ChangeReader` reads, of the records of one slice."""

    def __init__(self, below: ChangeReader, wanted: KeySlice) -> None:
        super().__init__(below.truth, below.before, below.columns)
        self.wanted = wanted

    def changes_since(self, entity: str, position: int, limit: int) -> pl.DataFrame:
        """Return the next changes of the slice after `position`."""
        with self._cut():
            return super().changes_since(entity, position, limit)

    @contextmanager
    def _cut(self) -> Iterator[None]:
        """What else is asked of the source of truth is about all records: a gap strategy looks at every position."""
        truth = cast(Relational, self.truth)
        truth.wanted = self.wanted
        try:
            yield
        finally:
            truth.wanted = None


def slices(engine: str, model: str, entities: Iterable[Entity]) -> bool:
    """Whether pages of such a source of truth can be cut by the keys of these entities."""
    found = truth_class(engine, model)
    return issubclass(found, Relational) and (
        bool(found.dialect.hashed) or all(entity.key == "int" for entity in entities)
    )
