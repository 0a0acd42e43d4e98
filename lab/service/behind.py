"""The rows behind a projection's position: after a connection was lost, are they still what was read?

At durability `normal` a crash of a server takes commits that a projection has read, and gives their positions again. So
what was read last is remembered, and compared with the source of truth once that has been reached anew. All of it, and
not the newest row alone: the last commits are lost, which needn't be those of the highest positions.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import polars as pl

from lab.base import Key
from lab.running.live import LiveSource, reading
from lab.truth.timeline import Diverged

# So many rows are remembered: a server writes what it has committed to its disk every fifth of a second or sooner.
ROWS = 5_000
_COLUMNS = ["position", "key", "revision", "deleted", "committed_at"]


class ReadRow(NamedTuple):
    """A row as it was read, by what tells it from every other one: the time of its commit is its writer's own."""

    entity: str
    position: int
    key: Key
    revision: int
    deleted: bool
    committed_at: float


class RowsBehind:
    """The rows that were read last, and the connection on which they were."""

    def __init__(self) -> None:
        self._rows: deque[ReadRow] = deque(maxlen=ROWS)
        self._read_on: tuple[int, int] | None = None

    def note(self, entity: str, frame: pl.DataFrame) -> None:
        """Remember what is about to be applied."""
        for row in frame.select(_COLUMNS).tail(ROWS).iter_rows():
            self._rows.append(ReadRow(entity, *row))

    def confirm(self, source: LiveSource) -> None:
        """Compare the rows with the source, if it was connected to anew. Raises Diverged, and Unavailable."""
        assert source.truth is not None
        connection = id(source.truth), getattr(source.truth, "connections", 0)
        if connection == self._read_on:
            return
        for entity in dict.fromkeys(row.entity for row in self._rows):
            self._compare(source, entity)
        self._read_on = connection

    def _compare(self, source: LiveSource, entity: str) -> None:
        mine = [row for row in self._rows if row.entity == entity]
        assert source.reader is not None
        assert source.truth is not None
        with reading():
            found = source.reader.changes_since(entity, min(row.position for row in mine) - 1, 2**62).select(_COLUMNS)
        there = {row[0]: ReadRow(entity, *row) for row in found.iter_rows()}
        newest: dict[Key, int] = dict(found.group_by("key").agg(pl.col("revision").max()).iter_rows())
        for row in mine:
            now = there.get(row.position)
            if now == row:
                continue
            if now is None and not source.truth.publishes_every_revision and newest.get(row.key, 0) > row.revision:
                # Overwritten, as it may be.
                continue
            became = "is gone" if now is None else f"is now revision {now.revision} of {now.key!r}"
            what = f"revision {row.revision} of {entity} {row.key!r}, read at position {row.position:,}, {became}"
            raise Diverged(f"its source of truth went back: {what}")
