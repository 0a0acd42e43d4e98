"""`memory`: the reference store. Dictionaries, queried by `lab.queries.kinds`; not durable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from lab.base import Batch, Key
from lab.ports import Capabilities
from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores.parked import parked_frame, with_parked
from lab.stores.port import Store
from lab.stores.whole import dump


class Memory(Store):
    """A dictionary for each entity, keyed by what tells its rows apart."""

    name = "memory"
    answers = frozenset(KINDS)
    durability = "gone with the process"
    capabilities = Capabilities(durability="memory")

    def open(self) -> None:
        """Create the dictionaries, unless they exist."""
        if not hasattr(self, "_rows"):
            self.reset()

    def close(self) -> None:
        """Do nothing: the data lives as long as the object."""

    def reset(self) -> None:
        """Delete everything."""
        entities = self.layout.entities
        self._rows: dict[str, dict[Any, Row]] = {name: {} for name in entities}
        self._memory: dict[str, dict[Any, Row]] = {name: {} for name in entities}
        self._highest: dict[str, dict[Key, int]] = {name: {} for name in entities}
        self._parked = {name: parked_frame(entity) for name, entity in entities.items()}
        self._checkpoints: dict[str, int] = {}
        self._tables: dict[str, ReferenceTable] = {}

    def checkpoint(self, entity: str) -> int:
        """Return the checkpoint of the last batch."""
        return self._checkpoints.get(entity, 0)

    def apply(self, batch: Batch) -> None:
        """Apply the batch: everything is computed before anything is stored, so a bad frame changes nothing."""
        rows = self._added(batch) if self.layout.kept.adds else self._replaced(batch)
        memory = {} if batch.memory is None else {row[0]: row for row in batch.memory.iter_rows()}
        parked = with_parked(self._parked[batch.entity], batch)
        self._rows[batch.entity].update(rows)
        if self.layout.kept.every_revision:
            highest = self._highest[batch.entity]
            for key, revision in rows:
                highest[key] = max(revision, highest.get(key, 0))
        self._parked[batch.entity] = parked
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
            added[group] = (*group, *self.layout.added(former[width:], row[width:]))
        return added

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Apply each batch; there is no quicker way."""
        for batch in frames:
            self.apply(batch)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, computed from frames that are built once after each change."""
        self.refuse(query)
        if self.layout.kept.adds:
            records = dump(self, query.entity.name).filter(pl.col("records") != 0)
            return records.sort(query.group_by, nulls_last=True).rows()
        for name in query.entities - self._tables.keys():
            self._tables[name] = ReferenceTable(self.layout.entities[name], dump(self, name))
        kind = KINDS[query.kind]
        # Where stores rank, every match is right, and a reader gets the first of them.
        return kind.answer(query, parameters, self._tables)[: query.limit if kind.ranked else None]

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Yield the dictionary as frames of at most `page_rows` rows."""
        rows = list(self._rows[entity].values())
        return self.sliced(pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row"))

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """Look each key up in the dictionary."""
        if self.layout.kept.replaces:
            rows = self._rows[entity]
            return {key: row[2] for key in keys if (row := rows.get((key,)))}
        if self.layout.kept.every_revision:
            highest = self._highest[entity]
            return {key: highest[key] for key in keys if key in highest}
        if not self.layout.revisions_in_memory:
            return {}
        return dict(self.memory(entity, keys).select("id", "revision").rows())

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        kept = self._memory[entity]
        rows = list(kept.values()) if keys is None else [kept[key] for key in dict.fromkeys(keys) if key in kept]
        return pl.DataFrame(rows, schema=self.layout.memory, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the frame of parked changes."""
        return self._parked[entity]

    def size_bytes(self) -> int:
        """Return the size of the rows as frames, in bytes."""
        return sum(int(dump(self, name).estimated_size()) for name in self.layout.entities)
