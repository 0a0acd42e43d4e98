"""`lmdb.widecolumn`: tables of partitions, whose rows lie in clustering order; the shape of Cassandra and HBase.

Beside a map of records by key there is a table for each index of an entity: its first column is the partition, the
others are clustering columns. Such a table has whole rows, so one range of it is an answer: a partition in order, a
range within it, its first or last rows. A query that names no partition is refused: it would read every row there is.
"""

from __future__ import annotations

import marshal
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from types import MappingProxyType
from typing import Any

import lmdb

from lab.queries.answers import Row
from lab.queries.model import Query
from lab.stores.clustering import MISSING, TableBounds, TableRange, WideTable, chosen_range, value_end, wide_tables
from lab.stores.keyvalue import KeyValue
from lab.stores.layout import Layout
from lab.stores.lmdb_keyvalue import LmdbKeyvalue
from lab.stores.prepared import Answering

# Bytes of a name, as LMDB is built.
LONGEST = 511
# The classes of query that are answered by a range of a table.
RANGES = ("filter", "aggregate")


class LmdbWidecolumn(LmdbKeyvalue):
    """A map of records by key, and tables of live records by partition and clustering columns."""

    name = "lmdb.widecolumn"
    answers = LmdbKeyvalue.answers | {"filter"}
    gaps = MappingProxyType(
        {
            "join": "never: a table knows no other, and what belongs together is in one row",
            "traverse": "never: each step would be another question",
            "search": "never: a table is asked by its primary key, not by words",
            "sql": "never: its language has neither joins nor conditions on other columns",
        }
    )

    @classmethod
    def can_answer(cls, query: Query, layout: Layout) -> bool:
        """A filter or an aggregate only where it is one range of a partition, or a running aggregate."""
        if query.kind in RANGES and not layout.kept.adds:
            return super(KeyValue, cls).can_answer(query, layout) and not cls.lacks(query, layout)
        return super().can_answer(query, layout)

    @classmethod
    def lacks(cls, query: Query, layout: Layout) -> str:
        """Why a query of a class that it answers is no range of a partition; "" where it is one."""
        if query.kind not in RANGES or layout.kept.adds or query.entity.name not in layout.entities:
            return ""
        found = chosen_range(query, layout.entities[query.entity.name])
        return found if isinstance(found, str) else ""

    # -- writing -------------------------------------------------------------------------------------------------------

    def _further_maps(self) -> list[bytes]:
        return [_map(table) for entity in self.layout.entities for table in self._tables(entity)]

    def _tables(self, entity: str) -> list[WideTable]:
        return [] if self.layout.kept.adds else wide_tables(self.layout.entities[entity])

    def _write(
        self,
        transaction: lmdb.Transaction,
        entity: str,
        rows: list[tuple[bytes, Any]],
        memory: list[tuple[bytes, bytes]],
        checkpoint: bytes | None,
    ) -> None:
        """In one transaction, rows leave the places that they had in tables, and come to those that they have now."""
        if rows and (tables := self._tables(entity)):
            changed = list(self._changed(transaction, entity, rows))
            for table in tables:
                self._place(transaction, table, changed)
        super()._write(transaction, entity, rows, memory, checkpoint)

    def _changed(
        self, transaction: lmdb.Transaction, entity: str, rows: list[tuple[bytes, bytes]]
    ) -> Iterator[tuple[Row | None, Row]]:
        """Of each record, the row that tables have and the one that they get: the last revision."""
        if self.layout.kept.replaces:
            last = dict(rows)
            with transaction.cursor(self._of[entity]) as cursor:
                former = dict(cursor.getmulti(last))
            for name, value in last.items():
                yield marshal.loads(former[name]) if name in former else None, marshal.loads(value)
            return
        revisions = defaultdict[Any, list[Row]](list)
        for _, value in rows:
            row = marshal.loads(value)
            revisions[row[1]].append(row)
        for key, found in revisions.items():
            newest = max(found, key=lambda row: row[2])
            there = self._last(transaction, key, self._of[entity])
            if there is None or there[2] <= newest[2]:
                yield there, newest

    def _place(self, transaction: lmdb.Transaction, table: WideTable, changed: list[tuple[Row | None, Row]]) -> None:
        name, database = table.namer(), self._maps[_map(table)]
        placed = list[tuple[bytes, bytes]]()
        for former, row in changed:
            before, now = None if former is None else name(former), name(row)
            if before is not None and before != now:
                transaction.delete(before, db=database)
            if now is not None:
                placed.append((now, marshal.dumps(row)))
        with transaction.cursor(database) as cursor:
            # In their order: neighbours are in one page.
            cursor.putmulti(sorted(placed))

    # -- reading -------------------------------------------------------------------------------------------------------

    def _answering(self, query: Query) -> Answering:
        """A range of a table; look-ups by key as in a map."""
        if query.kind not in RANGES or self.layout.kept.adds:
            return super()._answering(query)
        found = chosen_range(query, self.layout.entities[query.entity.name])
        assert isinstance(found, TableRange)
        begin, database = self._opened().begin, self._maps[_map(found.table)]

        def answer(parameters: Row) -> list[Row]:
            bounds = found.bounds(query, parameters)
            if bounds is None:
                return []
            with begin(database) as transaction, transaction.cursor() as cursor:
                rows = map(marshal.loads, _scan(cursor, found, bounds))
                if query.kind == "aggregate":
                    return found.summed(query, rows)
                return [(row[1], row[2], *row[5:]) for row in islice(rows, found.limit)]

        return answer


def _map(table: WideTable) -> bytes:
    return f"wide_{table.entity.name}_{len(table.entity.name)}_{'/'.join(table.columns)}".encode()


def _scan(cursor: lmdb.Cursor, found: TableRange, bounds: TableBounds) -> Iterator[bytes]:
    """The rows of a range in the order of its query, read as far as they are taken."""
    if not found.descending:
        return _forwards(cursor, bounds.low, bounds.high)
    return _backwards(cursor, bounds.low, bounds.high) if found.by is None else _downwards(cursor, found, bounds)


def _forwards(cursor: lmdb.Cursor, low: bytes, high: bytes) -> Iterator[bytes]:
    there = _at(cursor, low)
    while there and bytes(cursor.key()) < high:
        yield bytes(cursor.value())
        there = cursor.next()


def _backwards(cursor: lmdb.Cursor, low: bytes, high: bytes) -> Iterator[bytes]:
    there = _before(cursor, high)
    while there and bytes(cursor.key()) >= low:
        yield bytes(cursor.value())
        there = cursor.prev()


def _downwards(cursor: lmdb.Cursor, found: TableRange, bounds: TableBounds) -> Iterator[bytes]:
    """From the greatest value down, records of one value by key, those without one last: a jump for each value."""
    assert found.by is not None
    kind, start = found.table.entity.kind(found.by), len(bounds.prefix)
    high = min(bounds.high, bounds.prefix + MISSING)
    while _before(cursor, high) and (name := bytes(cursor.key())) >= bounds.low:
        value = name[: value_end(name, start, kind)]
        yield from _forwards(cursor, value, high)
        high = value
    yield from _forwards(cursor, bounds.prefix + MISSING, bounds.high)


def _at(cursor: lmdb.Cursor, name: bytes) -> bool:
    """Go to the first row from a name on; the engine can't be asked for a name that is longer than one can be."""
    there = cursor.set_range(name[:LONGEST])
    while there and bytes(cursor.key()) < name:
        there = cursor.next()
    return bool(there)


def _before(cursor: lmdb.Cursor, name: bytes) -> bool:
    """Go to the last row before a name."""
    return bool(cursor.prev() if _at(cursor, name) else cursor.last())
