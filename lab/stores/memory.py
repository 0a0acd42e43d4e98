"""`memory`: the reference. Plain dictionaries, answered by `lab.queries.answers`; gone when the process ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from lab.base import Batch
from lab.queries.answers import Row, Table, answer
from lab.queries.model import KINDS, Query
from lab.stores.port import Store


class Memory(Store):
    """A dictionary for each entity, keyed by what tells its rows apart."""

    name = "memory"
    shape = "dictionary"
    family = "reference"
    answers = frozenset(KINDS)
    durability = "gone with the process"

    def open(self) -> None:
        """Make the dictionaries, unless they are there."""
        if not hasattr(self, "_rows"):
            self.reset()

    def close(self) -> None:
        """Nothing to give up: the data lives as long as the object."""

    def reset(self) -> None:
        """Forget everything."""
        entities = self.layout.entities
        self._rows: dict[str, dict[Any, Row]] = {name: {} for name in entities}
        self._memory: dict[str, dict[Any, Row]] = {name: {} for name in entities}
        self._checkpoints: dict[str, int] = {}
        self._tables: dict[str, Table] = {}

    def checkpoint(self, entity: str) -> int:
        """The position that the last batch brought."""
        return self._checkpoints.get(entity, 0)

    def apply(self, batch: Batch) -> None:
        """Everything is computed before anything is put in place, so that a bad frame changes nothing."""
        rows = self._added(batch) if self.layout.keeps == "totals" else self._replaced(batch)
        memory = {} if batch.memory is None else {row[0]: row for row in batch.memory.iter_rows()}
        self._rows[batch.entity].update(rows)
        self._memory[batch.entity].update(memory)
        if batch.checkpoint is not None:
            self._checkpoints[batch.entity] = batch.checkpoint
        self._tables.clear()

    def _replaced(self, batch: Batch) -> dict[Any, Row]:
        frame = batch.rows.select(list(self.layout.schema(batch.entity)))
        places = [frame.columns.index(name) for name in self.layout.identity]
        return {tuple(row[place] for place in places): row for row in frame.iter_rows()}

    def _added(self, batch: Batch) -> dict[Any, Row]:
        assert self.layout.totals is not None
        width = len(self.layout.totals.group_by)
        rows = self._rows[batch.entity]
        added: dict[Any, Row] = {}
        for row in batch.rows.select(list(self.layout.totals_schema())).iter_rows():
            group = row[:width]
            former = added.get(group) or rows.get(group) or (*group, *(0 for _ in row[width:]))
            added[group] = (*group, *(a + b for a, b in zip(former[width:], row[width:], strict=True)))
        return added

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """There is no quicker way than to apply."""
        for batch in frames:
            self.apply(batch)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Answered from frames that are made once after each change."""
        self.refuse(query)
        if self.layout.keeps == "totals":
            records = self.dump(query.entity.name).filter(pl.col("records") != 0)
            return records.sort(query.group_by, nulls_last=True).rows()
        for name in query.entities - self._tables.keys():
            self._tables[name] = Table(self.layout.entities[name], self.dump(name))
        # Of a search every match is right, and a reader gets the first of them.
        return answer(query, parameters, self._tables)[: query.limit if query.kind == "search" else None]

    def dump(self, entity: str) -> pl.DataFrame:
        """The dictionary as a frame."""
        rows = list(self._rows[entity].values())
        frame = pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row")
        keys = self.layout.totals.group_by if self.layout.totals else ("key", "revision")
        return frame.sort(keys, nulls_last=True)

    def memory(self, entity: str) -> pl.DataFrame:
        """What the guard asked to have kept."""
        return pl.DataFrame(list(self._memory[entity].values()), schema=self.layout.memory, orient="row")

    def size_bytes(self) -> int:
        """The size that the rows have as frames."""
        return sum(int(self.dump(name).estimated_size()) for name in self.layout.entities)
