"""A table as a number of Parquet files: sorted parts that are written once, and one file of what has come since."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import polars as pl

from lab.stores.parquet_disk import FolderDisk
from lab.stores.slices import rows_within

# Rows of a part, of a row group within it (the least that a reader of one key must look at), and of what may have come
# since before it becomes a part, or a quarter of the parts, whichever is more.
PART_ROWS, GROUP_ROWS, RECENT_ROWS, RECENT_MOST = 500_000, 16_384, 20_000, 500_000
# The same for large rows, in bytes before compression.
PART_BYTES, GROUP_BYTES, RECENT_BYTES = 2**29, 2**26, 2**28


@dataclass(frozen=True)
class Part:
    """A sorted file: how many rows, how many bytes, and its first and its last key."""

    file: str
    rows: int
    bytes: int
    first: Any
    last: Any

    def may_have(self, key: Any) -> bool:
        """Whether a key is within the range of this file; no value is in none."""
        return key is not None and bool(self.first <= key <= self.last)


@dataclass(frozen=True)
class Table:
    """A table's files as one manifest has them. `recent` are the rows that have come since the parts were written."""

    schema: Mapping[str, pl.DataType]
    identity: tuple[str, ...]
    recent: pl.DataFrame
    parts: tuple[Part, ...] = ()
    recent_part: Part | None = None

    @classmethod
    def empty(cls, schema: Mapping[str, pl.DataType], identity: tuple[str, ...]) -> Table:
        """Without a row."""
        return cls(schema, identity, pl.DataFrame(schema=schema))

    @property
    def files(self) -> list[Part]:
        """Every file of it, those with the newest rows last."""
        return [*self.parts, *([self.recent_part] if self.recent_part else [])]

    @property
    def limit(self) -> int:
        """How many rows may have come before they become a part."""
        return max(RECENT_ROWS, min(RECENT_MOST, sum(part.rows for part in self.parts) // 4))

    def holds(self, recent: pl.DataFrame) -> bool:
        """True if so many rows may still stand before the parts: few enough, and not too large."""
        return recent.height <= self.limit and recent.estimated_size() <= RECENT_BYTES

    def fit(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the table's columns and types; of two with one identity, the later one."""
        fitting = rows.select(list(self.schema)).cast(dict(self.schema))  # type: ignore[arg-type]
        return fitting.unique(list(self.identity), keep="last", maintain_order=True)


@dataclass
class Landing:
    """Files that are being written, and count from the next manifest on."""

    disk: FolderDisk
    sequence: int
    written: list[str] = field(default_factory=list)

    def write(self, name: str, rows: pl.DataFrame, key: str) -> Part:
        """One file, sorted as the rows are."""
        self.sequence += 1
        file = f"{file_stem(name)}-{self.disk.mark}{self.sequence:08d}.parquet"
        self.written.append(file)
        size = self.disk.write(file, rows, rows_within(rows, GROUP_ROWS, GROUP_BYTES))
        return Part(file, rows.height, size, rows[key].min(), rows[key].max())

    def write_parts(self, name: str, rows: pl.DataFrame, identity: Sequence[str]) -> tuple[Part, ...]:
        """Sorted rows as parts of a bounded size."""
        ordered = rows.sort(identity)
        most = rows_within(ordered, PART_ROWS, PART_BYTES)
        starts = range(0, ordered.height, most)
        return tuple(self.write(name, ordered.slice(start, most), identity[0]) for start in starts)


def file_stem(table: str) -> str:
    """What the names of a table's files begin with; a number follows."""
    return re.sub(r"[^A-Za-z0-9]", "_", table)[:40]


def merged(frames: list[pl.DataFrame], table: Table) -> pl.DataFrame:
    """Frames as one; of rows with one identity, the last one."""
    return pl.concat(frames).unique(list(table.identity), keep="last", maintain_order=True).select(list(table.schema))


def compacted(
    name: str, parts: Sequence[Part], recent: pl.DataFrame, table: Table, landing: Landing
) -> tuple[Part, ...]:
    """Parts with the recent rows in their places: a part at a time, so that no more is in memory than one of them."""
    identity = list(table.identity)
    if not parts:
        return landing.write_parts(name, recent, identity)
    key = identity[0]
    found: list[Part] = []
    bounds = [None, *(part.first for part in parts[1:]), None]
    for part, (low, high) in zip(parts, pairwise(bounds), strict=True):
        own = recent
        if low is not None:
            own = own.filter(pl.col(key) >= low)
        if high is not None:
            own = own.filter(pl.col(key) < high)
        if own.is_empty():
            found.append(part)
            continue
        found += landing.write_parts(name, merged([landing.disk.scan([part.file]).collect(), own], table), identity)
    return tuple(found)
