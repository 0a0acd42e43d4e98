"""`lmdb.keyvalue`: a sorted map from key to row, in one memory-mapped file.

Keys are encoded so that their bytes sort as they do; a projection of revisions puts the revision behind the key, so
that a record's revisions are neighbours. A value is a row in Python's `marshal` format: quick, exact, and only readable
by the lab.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import lmdb
import polars as pl

from lab.base import Batch, Key
from lab.queries.answers import Row, sought
from lab.stores.key_bytes import integer_keys, key_bytes, record_prefix
from lab.stores.keyvalue import Backwards, KeyValue, seen
from lab.stores.lmdb_file import CHECKPOINTS, MEMORY, PARKED, TOTALS, LmdbFile
from lab.stores.parked import ParkedRow, changed, decoded
from lab.stores.prepared import Answering
from lab.stores.slices import fitting, rows_within, tuples

AT_ONCE, AT_ONCE_BYTES = 20_000, 2**26


class LmdbKeyvalue(KeyValue, LmdbFile):
    """A map for each entity: rows by key, or by key and revision."""

    name = "lmdb.keyvalue"

    def apply(self, batch: Batch) -> None:
        """Write rows, the guard's memory and the checkpoint in one transaction."""
        # Everything is encoded before the transaction begins, so that one that starts again costs no more.
        parts, parked = self._encoded(batch), changed(self, batch)

        def write(transaction: lmdb.Transaction) -> None:
            self._write(transaction, batch.entity, *parts)
            self._park(transaction, batch.entity, *parked)

        self._commit(write)

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """One transaction for all. What comes in the order of keys is appended by the engine without a search."""
        batches = list(frames)

        def write(transaction: lmdb.Transaction) -> None:
            for batch in batches:
                # Some rows at a time: as Python objects they take ten times the memory that they take in a frame.
                for rows in batch.rows.iter_slices(rows_within(batch.rows, AT_ONCE, AT_ONCE_BYTES)):
                    self._write(transaction, entity, *self._encoded(Batch(entity, rows)))
                self._write(transaction, entity, *self._encoded(replace(batch, rows=batch.rows.clear())))

        self._commit(write)

    def _encoded(self, batch: Batch) -> tuple[list[tuple[bytes, Any]], list[tuple[bytes, bytes]], bytes | None]:
        """Names and values; of a running aggregate names and rows, to which what is there is still to be added."""
        layout = self.layout
        schema, named = layout.schema(batch.entity), list[tuple[bytes, Any]]()
        if layout.kept.adds:
            named = [(self._name(row), row) for row in fitting(batch.rows, schema).rows()]
        elif batch.rows.height:
            rows = tuples(batch.rows, list(schema))
            short = layout.kept.replaces and layout.entities[batch.entity].key == "int"
            names = integer_keys([row[1] for row in rows]) if short else map(self._name, rows)
            named = list(zip(names, map(marshal.dumps, rows), strict=True))
        memory: list[tuple[bytes, bytes]] = []
        if batch.memory is not None and layout.memory:
            kept = fitting(batch.memory, layout.memory)
            memory = [(key_bytes(row[0]), marshal.dumps(row)) for row in kept.rows()]
        # As wide as every other engine's integers: a larger number is refused here, not kept and misread elsewhere.
        checkpoint = None if batch.checkpoint is None else struct.pack(">q", batch.checkpoint)
        return named, memory, checkpoint

    def _name(self, row: Row) -> bytes:
        if self.layout.totals:
            return marshal.dumps(row[: len(self.layout.totals.group_by)], 2)
        key = key_bytes(row[1])
        return key if self.layout.kept.replaces else record_prefix(key) + key_bytes(row[2])

    def _write(
        self,
        transaction: lmdb.Transaction,
        entity: str,
        rows: list[tuple[bytes, Any]],
        memory: list[tuple[bytes, bytes]],
        checkpoint: bytes | None,
    ) -> None:
        database = self._of[entity]
        if self.layout.kept.adds:
            self._add(transaction, rows)
        elif rows:
            with transaction.cursor(database) as cursor:
                cursor.putmulti(rows)
        if memory:
            with transaction.cursor(self._maps[(MEMORY + entity).encode()]) as cursor:
                cursor.putmulti(memory)
        if checkpoint is not None:
            transaction.put(entity.encode(), checkpoint, db=self._maps[CHECKPOINTS])

    def _park(self, transaction: lmdb.Transaction, entity: str, added: list[ParkedRow], removed: list[int]) -> None:
        database = self._maps[(PARKED + entity).encode()]
        for position in removed:
            transaction.delete(key_bytes(position), db=database)
        for row in added:
            transaction.put(key_bytes(row.position), row.change, db=database)

    def _add(self, transaction: lmdb.Transaction, rows: list[tuple[bytes, Row]]) -> None:
        assert self.layout.totals is not None
        width, database = len(self.layout.totals.group_by), self._maps[TOTALS]
        for name, row in rows:
            former = transaction.get(name, db=database)
            if former is not None:
                before = marshal.loads(former)
                row = (*row[:width], *self.layout.added(before[width:], row[width:]))
            transaction.put(name, marshal.dumps(row), db=database)

    def _get(self, entity: str) -> Answering:
        """One look-up. The library keeps a read transaction that has ended, and the next one renews it."""
        begin, database, loads = self._opened().begin, self._of[entity], marshal.loads

        def answer(parameters: Row) -> list[Row]:
            transaction = begin(database)
            try:
                found = transaction.get(key_bytes(parameters[0]))
            finally:
                transaction.abort()
            return [] if found is None else seen(loads(found))

        return answer

    def _get_many(self, entity: str) -> Answering:
        """All keys in one call, in their order."""
        begin, database, loads = self._opened().begin, self._of[entity], marshal.loads

        def answer(parameters: Row) -> list[Row]:
            with begin(database) as transaction, transaction.cursor() as cursor:
                found = cursor.getmulti(map(key_bytes, sought(parameters)))
            rows = [loads(value) for _, value in found]
            return [(row[1], row[2], *row[5:]) for row in rows if not row[3]]

        return answer

    def _within(self, entity: str, answer: Callable[[Backwards, Row], list[Row]]) -> Answering:
        """Answer in one transaction by a record's revisions, the last first."""
        begin, database = self._opened().begin, self._of[entity]

        def answering(parameters: Row) -> list[Row]:
            with begin(database) as transaction:
                return answer(lambda key: self._backwards(transaction, key), parameters)

        return answering

    def _last(self, transaction: lmdb.Transaction, key: Any, database: Any = None) -> Row | None:
        return next(self._backwards(transaction, key, database), None)

    def _backwards(self, transaction: lmdb.Transaction, key: Any, database: Any = None) -> Iterator[Row]:
        """The revisions of one record, the last first, in a map, or in the one that the transaction is of."""
        name = record_prefix(key_bytes(key))
        with transaction.cursor(database) as cursor:
            there = cursor.prev() if cursor.set_range(name + b"\xff" * 9) else cursor.last()
            while there and bytes(cursor.key()).startswith(name):
                yield marshal.loads(cursor.value())
                there = cursor.prev()

    def _values(self, database: Any) -> list[bytes]:
        with self._opened().begin() as transaction, transaction.cursor(database) as cursor:
            return list(cursor.iternext(keys=False))

    def _totals(self, entity: str) -> pl.DataFrame:
        rows = [marshal.loads(value) for value in self._values(self._of[entity])]
        return pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row")

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """The map from its first key to its last; each page is a transaction, so that none stays open."""
        if self.layout.totals:
            yield from self.sliced(self._totals(entity))
            return
        last = b""
        while True:
            with self._opened().begin() as transaction, transaction.cursor(self._of[entity]) as cursor:
                # From the first key on, or from the one after the last one seen.
                there = cursor.set_range(last) and (not last or cursor.next())
                values = islice(cursor.iternext(keys=False), self.page_rows) if there else ()
                rows = [marshal.loads(value) for value in values]
            if rows:
                yield pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row")
            if len(rows) < self.page_rows:
                return
            last = self._name(rows[-1])

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """By the maps' keys, all of them in one transaction."""
        match self.layout.revisions_in_memory:
            case None:
                return {}
            case True:
                return dict(self.memory(entity, keys).select("id", "revision").rows())
        with self._opened().begin(db=self._of[entity]) as transaction:
            if self.layout.kept.replaces:
                with transaction.cursor() as cursor:
                    found = map(marshal.loads, (value for _, value in cursor.getmulti(map(key_bytes, keys))))
                    return {row[1]: row[2] for row in found}
            return {key: row[2] for key in keys if (row := self._last(transaction, key))}

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        database = self._maps[(MEMORY + entity).encode()]
        if keys is None:
            values = self._values(database)
        else:
            with self._opened().begin() as transaction, transaction.cursor(database) as cursor:
                values = [value for _, value in cursor.getmulti(map(key_bytes, dict.fromkeys(keys)))]
        return pl.DataFrame(list(map(marshal.loads, values)), schema=self.layout.memory, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their map."""
        return decoded(self._values(self._maps[(PARKED + entity).encode()]), self.layout.entities[entity])
