"""How a wide-column table names its rows, and which queries are one range of these names.

A table has a partition column and clustering columns, as in the primary key of CQL. A row's name is made of the values
of both and of the record's key, in bytes that sort as these do: the rows of a partition are neighbours, in clustering
order. HBase's row keys are made in the same way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from lab.base import INT_MIN, Entity
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.queries.sql import bind
from lab.stores.key_bytes import key_bytes, record_prefix

# What a value begins with, so that a missing one is the last of all.
_THERE, MISSING = b"\x01", b"\x02"
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_WHOLE, _REAL, _BITS = struct.Struct(">Q"), struct.Struct(">d"), struct.Struct(">Q")
_WIDTHS = {"int": 9, "float": 9, "bool": 2}


def value_bytes(value: Any, kind: str) -> bytes:
    """A value's bytes, in the order of values, a missing one last; none begins with those of another.

    Both zeros are one value, and so is everything that is no number, which comes after infinity.
    """
    if value is None:
        return MISSING
    match kind:
        case "int":
            return _THERE + _WHOLE.pack(value - INT_MIN)
        case "bool":
            return _THERE + (b"\x01" if value else b"\x00")
        case "float":
            return _THERE + _real(float(value))
    return _THERE + record_prefix(value.encode("utf-8", "surrogatepass"))


def _real(value: float) -> bytes:
    if value != value:
        return b"\xff" * 8
    # To add zero makes a negative zero a positive one.
    (bits,) = _BITS.unpack(_REAL.pack(value + 0.0))
    return _BITS.pack(~bits & _ALL if bits & _SIGN else bits | _SIGN)


def value_end(name: bytes, start: int, kind: str) -> int:
    """Where the value that begins at a place of a name ends."""
    if name[start : start + 1] == MISSING:
        return start + 1
    return start + _WIDTHS[kind] if kind in _WIDTHS else name.index(b"\x00\x01", start + 1) + 2


def after(prefix: bytes) -> bytes:
    """The first bytes that are greater than all that begin with these; they must not all be 255."""
    whole = prefix.rstrip(b"\xff")
    return whole[:-1] + bytes([whole[-1] + 1])


@dataclass(frozen=True)
class WideTable:
    """The live records of an entity by a primary key: the partition column first, then the clustering columns."""

    entity: Entity
    columns: tuple[str, ...]

    def namer(self) -> Callable[[Row], bytes | None]:
        """What names rows of the entity's schema; None for a row that is in no partition: deleted, or without one."""
        places = self.places(self.columns)
        partition = places[0][0]

        def name(row: Row) -> bytes | None:
            if row[3] or row[partition] is None:
                return None
            return b"".join(value_bytes(row[place], kind) for place, kind in places) + key_bytes(row[1])

        return name

    def places(self, columns: Sequence[str]) -> list[tuple[int, str]]:
        """The place of each column in a row of the entity's schema, and its kind."""
        schema = list(self.entity.schema)
        return [(schema.index(name), self.entity.kind(name)) for name in columns]

    def range_for(self, query: Query) -> TableRange | str:
        """The range of this table that has a query's rows in their order, or why there is none."""
        equal, between, free = list[int](), list(range(len(query.where))), list(self.columns)
        while free:
            found = [place for place in between if query.where[place].column == free[0]]
            if [query.where[place].operator for place in found] != ["="]:
                break
            equal += found
            between.remove(found[0])
            free.pop(0)
        if not equal:
            return f"it names no `{self.columns[0]}`, which is the partition"
        rest = [query.where[place] for place in between]
        if any(one.operator == "=" or free[:1] != [one.column] for one in rest):
            return f"its conditions are no range within a partition of {self._told}"
        made = TableRange(self, tuple(equal), tuple(between), None, query.descending, query.limit)
        if query.kind == "aggregate":
            groups = [name for name in query.group_by if name not in self.columns[: len(equal)]]
            if groups != free[: len(groups)]:
                return f"its groups aren't neighbours in a partition of {self._told}"
            return replace(made, descending=False, limit=None)
        by = query.order_by
        if by is None or by == "key" or by in self.columns[: len(equal)]:
            if free:
                return f"rows of a partition come in the order of `{free[0]}`, and it wants that of keys"
            return replace(made, descending=query.descending and by == "key")
        if free != [by]:
            return f"`{by}` is not the order of rows within a partition of {self._told}"
        return replace(made, by=by)

    @property
    def _told(self) -> str:
        return ", ".join(f"`{name}`" for name in self.columns)


@dataclass(frozen=True)
class TableRange:
    """A range of one table, for one query.

    `equal` and `between` are the places in the query's `where` of what is equal, and of what bounds the next column.
    `by` is the clustering column that rows come in the order of, None for keys alone.
    """

    table: WideTable
    equal: tuple[int, ...]
    between: tuple[int, ...]
    by: str | None
    descending: bool
    limit: int | None

    def bounds(self, query: Query, parameters: Row) -> TableBounds | None:
        """Where the range begins and ends for these parameters; None if nothing can be in it."""
        values: Row = bind(tuple(one.value for one in query.where), parameters)
        if any(value is None for value in values):
            # As in SQL: nothing equals null, or is more or less than it.
            return None
        named = [
            value_bytes(value, self.table.entity.kind(one.column))
            for one, value in zip(query.where, values, strict=True)
        ]
        prefix = b"".join(named[place] for place in self.equal)
        low, high = prefix, after(prefix)
        for place in self.between:
            high = min(high, prefix + MISSING)
            if query.where[place].operator == ">=":
                low = max(low, prefix + named[place])
            else:
                high = min(high, prefix + named[place])
        return TableBounds(prefix, low, high)

    def summed(self, query: Query, rows: Iterator[Row]) -> list[Row]:
        """The groups of an aggregate, from rows in clustering order, where groups are neighbours."""
        groups, sums = self.table.places(query.group_by), self.table.places(query.sum)
        found = []
        for _, alike in groupby(rows, lambda row: [value_bytes(row[place], kind) for place, kind in groups]):
            first, count, measures = None, 0, [0] * len(sums)
            for row in alike:
                first, count = first or row, count + 1
                measures = [had + (row[place] or 0) for had, (place, _) in zip(measures, sums, strict=True)]
            assert first is not None
            found.append((*(first[place] for place, _ in groups), count, *measures))
        return found


class TableBounds(NamedTuple):
    """Names from `low` up to `high`, which is not among them; all begin with `prefix`."""

    prefix: bytes
    low: bytes
    high: bytes


def wide_tables(entity: Entity) -> list[WideTable]:
    """A table for each index of an entity: a table answers one kind of question, so there are as many as those."""
    return [WideTable(entity, columns) for columns in dict.fromkeys(entity.indexes)]


def chosen_range(query: Query, entity: Entity) -> TableRange | str:
    """The range that answers a query, of the first table that has it; or why none has."""
    reasons = []
    for table in wide_tables(entity):
        found = table.range_for(query)
        if isinstance(found, TableRange):
            return found
        reasons.append(found)
    return "; ".join(dict.fromkeys(reasons)) or f"`{entity.name}` has no primary key with a partition"
