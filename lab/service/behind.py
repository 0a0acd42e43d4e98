"""The rows behind a projection's position: after a connection was lost, are they still what was read?

At durability `normal` a crash of a server takes commits that a projection has read, and gives their positions again. So
what was read last is remembered, and compared with the source of truth once that has been reached anew. All of it, and
not the newest row alone: the last commits are lost, which needn't be those of the highest positions.

Of a partition, its records themselves are what was read last, whichever process did: a new owner compares those. They
may all be there while others' commits are gone, whose positions it has passed, and which its own records get then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, cast

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
    """The rows that were read last, and the connection on which they were.

    `passed` says of a partition up to where its reader has gone, by entity: what it has not read can't lie below that.
    """

    passed: Callable[[], Mapping[str, int]] = staticmethod(dict)

    def __init__(self) -> None:
        self._rows: dict[str, deque[ReadRow]] = {}
        # Up to here, by entity, rows that were read are forgotten: what is there can't be told from what came since.
        self._forgotten: dict[str, int] = {}
        # The source itself: another one may get the number of one that was closed.
        self._read_on: tuple[object, int] | None = None

    def note(self, entity: str, frame: pl.DataFrame) -> None:
        """Remember what is about to be applied."""
        rows = self._rows.setdefault(entity, deque())
        rows.extend(ReadRow(entity, *row) for row in frame.select(_COLUMNS).tail(ROWS).iter_rows())
        # Not the lowest ones where rows came out of order.
        forgotten = [rows.popleft().position for _ in range(len(rows) - ROWS)]
        if frame.height > ROWS:
            forgotten.append(cast("int", frame["position"].head(frame.height - ROWS).max()))
        self._forgotten[entity] = max([self._forgotten.get(entity, 0), *forgotten])

    def confirm(self, source: LiveSource) -> None:
        """Compare the rows with the source, if it was connected to anew. Raises Diverged, and Unavailable."""
        assert source.truth is not None
        connection = source.truth, getattr(source.truth, "connections", 0)
        if self._read_on is not None and self._read_on[0] is connection[0] and self._read_on[1] == connection[1]:
            return
        passed = self.passed()
        for entity in dict.fromkeys([*self._rows, *passed]):
            self._compare(source, entity, passed.get(entity, 0))
        self._read_on = connection

    def _compare(self, source: LiveSource, entity: str, passed: int) -> None:
        forgotten = self._forgotten.get(entity, 0)
        mine = [row for row in self._rows.get(entity, ()) if row.position > forgotten]
        if not mine and not passed:
            return
        assert source.reader is not None
        assert source.truth is not None
        since = min((row.position for row in mine), default=forgotten + 1) - 1
        with reading():
            found = source.reader.changes_since(entity, since, 2**62).select(_COLUMNS)
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
        self._none_below(there.values(), mine, passed)

    def _none_below(self, there: Iterable[ReadRow], mine: Iterable[ReadRow], passed: int) -> None:
        """Raise Diverged for a row at a position that was passed when it had none, or another's."""
        known = dict[Key, int]()
        for row in mine:
            known[row.key] = max(row.revision, known.get(row.key, 0))
        for row in there:
            if row.position <= passed and known.get(row.key, 0) < row.revision:
                what = f"revision {row.revision} of {row.entity} {row.key!r} is at position {row.position:,}"
                raise Diverged(f"its source of truth went back: {what}, and that was passed without it")
