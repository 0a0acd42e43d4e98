"""The evidence that checks examine: a projection's dump, rebuild, journal and answers, and the expected content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from lab.conformance.job import Conformance
from lab.feed.published import Published
from lab.formatting import printable
from lab.measure import lag
from lab.measure.asked import Asked
from lab.measure.midrun import Glance
from lab.measure.windows import Window, windows
from lab.projection.guard import Guard
from lab.projection.guards import guard_class
from lab.running.journal import Journal
from lab.statistics.grouped import blocks
from lab.stores.layout import Layout
from lab.verdict.halves import TornTransactions, impossible, impossible_again, legs_of, numbers_of, parts
from lab.verdict.midrun import MidrunAnswers
from lab.verdict.moments import WrittenHistory
from lab.verdict.oracle import Oracle


@dataclass
class Evidence:
    """One projection, seen from outside. `dumps` and `rebuilt` are its contents by entity; None without any."""

    name: str
    layout: Layout
    policy: str
    oracle: Oracle
    published: Published
    journal: Journal
    chosen: np.ndarray
    visible: np.ndarray
    dumps: dict[str, pl.DataFrame] | None
    rebuilt: dict[str, pl.DataFrame] | None
    checkpoints: dict[str, int]
    accounting: dict[str, Any]
    subsumes: bool
    # The queries with their answers; empty for a store that keeps nothing.
    asked: Sequence[Asked] = ()
    # What it showed while it was fed.
    looks: Sequence[Glance] = ()
    # Whether the checkpoint is committed with the data, or before or after it.
    order: str = "with-data"
    # Changes that are set aside since the store can't take them: position and reason.
    parked: dict[int, str] = field(default_factory=dict)
    # With concurrent writers: when each change's position was taken, by index.
    taken_at: np.ndarray | None = None
    # Positions whose messages were lost on the way, and when they were sent.
    lost_messages: dict[int, float] = field(default_factory=dict)
    # Positions that the reader of the feed stopped waiting for, and when.
    given_up: dict[int, float] = field(default_factory=dict)
    # What came of the trials of the store before the run; None if there were none.
    conformance: Conformance | None = None
    _passing: dict[str, lag.Passing] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def guard(self) -> type[Guard]:
        """What the projection's guard is like."""
        return guard_class(self.policy, self.layout.kept)

    @cached_property
    def in_order(self) -> bool:
        """Return whether every record's revisions were written in ascending order, which is quick to check."""
        # The last revision that was written of each record; records are numbered by the positions of first changes.
        last, epoch = self.journal.spill.empty(self.published.record.size + 1, np.int64), 0
        # Where parts were emptied, the others' notes lie between those of two of their epochs.
        for note in sorted(self.journal.notes, key=lambda one: one.epoch):
            if note.epoch != epoch:
                # A projection that was emptied starts again.
                last[:], epoch = 0, note.epoch
            index = note.applied.positions - 1
            record, revision = self.published.record[index], self.published.revision[index]
            # A stable sort by record keeps each record's writes in the order in which they were made.
            order = np.argsort(record, kind="stable")
            record, revision = record[order], revision[order]
            first = np.append(True, record[1:] != record[:-1])[: record.size]
            before = np.where(first, last[record], np.append(0, revision[:-1])[: record.size])
            if np.any(revision <= before):
                return False
            last[record] = revision
        return True

    @cached_property
    def writes(self) -> pl.DataFrame:
        """Every write in its order: change index, record, revision, deleted, epoch, and when it was visible.

        `before` is the highest revision that had been written of the record in that epoch, `tombstone` its highest
        deleted one; both 0 at first.
        """
        index = self.journal.all("positions") - 1
        frame = pl.DataFrame(
            {
                "index": index,
                "record": self.published.record[index],
                "revision": self.published.revision[index],
                "deleted": self.published.deleted[index],
                "epoch": self.journal.epochs,
                "at": self.journal.written_at,
            }
        )
        tombstone = pl.when("deleted").then("revision").otherwise(0)
        return frame.with_columns(
            pl.col("revision").cum_max().shift(1).over("epoch", "record").fill_null(0).alias("before"),
            tombstone.cum_max().shift(1).over("epoch", "record").fill_null(0).alias("tombstone"),
        )

    @cached_property
    def shown(self) -> pl.DataFrame:
        """Return what readers see of each record from which time on: record, at, revision (0: none), index."""
        return lag.shown(self.published, self.journal)

    @cached_property
    def _handed(self) -> np.ndarray:
        """Return the number of deliveries of each record."""
        counts = np.zeros(self.published.record.size + 2, np.int64)
        for handed in self.journal.each("handed"):
            np.add.at(counts, self.published.record[handed - 1], 1)
        return counts

    def simplest(self, indices: np.ndarray) -> int:
        """Return the change, of these, whose record had the fewest deliveries, since that is the easiest to follow."""
        return int(indices[np.argmin(self._handed[self.published.record[indices]])])

    @cached_property
    def parked_marks(self) -> np.ndarray:
        """Return which changes are parked, by index."""
        marks = np.zeros(self.published.committed_at.size, bool)
        marks[np.fromiter(self.parked, np.int64, len(self.parked)) - 1] = True
        return marks

    @cached_property
    def ever_parked(self) -> np.ndarray:
        """Return which changes were parked at some time, by index: the projection reported them as missing then."""
        marks = self.parked_marks.copy()
        for parked in self.journal.each("parked"):
            marks[parked - 1] = True
        return marks

    @cached_property
    def windows(self) -> list[Window]:
        """The whiles between which it was thrown away, or replaced by what was built beside it."""
        return windows(self.published, self.journal, self.visible, self.subsumes)

    @cached_property
    def transactions(self) -> TornTransactions | None:
        """What readers saw of transactions that change several records; None if none does."""
        of, spill = self.published.transaction, self.journal.spill
        legs = None if of is None else legs_of(of, self.chosen, spill)
        if of is None or legs is None or not legs.size:
            return None
        windows, numbers = self.windows, numbers_of(of, legs, spill)
        seconds = windows[-1].until
        if self.layout.kept.replaces and not self.in_order:
            impossible_seconds = impossible_again(self.shown, self.published, legs, numbers, seconds)
        else:
            impossible_seconds = sum(impossible(window, legs, numbers) for window in windows)
        return TornTransactions(of, legs, windows, parts(of, legs, windows), impossible_seconds, seconds)

    @cached_property
    def answered(self) -> MidrunAnswers:
        """What it answered while it was fed, judged by what had been written by then."""
        adds_once = self.guard.remembers_contributions
        history = WrittenHistory(self.published, self.journal, self.oracle, self.layout, adds_once)
        return MidrunAnswers(history, self.looks, self.ever_parked)

    def passing(self, entity: str) -> lag.Passing:
        """When the checkpoint first stood at or beyond each of the entity's changes."""
        if entity not in self._passing:
            self._passing[entity] = lag.Passing(self.journal, entity)
        return self._passing[entity]

    def changes(self, entity: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the entity's changes by index, and when the checkpoint first reached each, a block at a time."""
        chosen, passing = self.published.of_entities((entity,)), self.passing(entity)
        for block in blocks(chosen.size):
            yield chosen[block], passing.at(chosen[block])

    def asked_at(self, passed_at: np.ndarray) -> np.ndarray:
        """When the feed was asked for the page that moved the checkpoint at these times.

        What is committed while the page is being applied can't be in it; with writers that take turns, it stands
        beyond the page.
        """
        polled = np.array(sorted(self.journal.polled_at))
        if not polled.size:
            return passed_at
        asked = np.append(-np.inf, polled)[np.searchsorted(polled, passed_at, side="right")]
        return np.where(np.isfinite(passed_at), asked, np.inf)

    def contents(self) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
        """Yield each entity with its expected and its actual content."""
        assert self.dumps is not None
        for entity, found in self.dumps.items():
            expected = self.oracle.expected(self.layout.keeps, entity, self.layout.totals)
            if found is expected and self.layout.totals is None:
                # As `lab.experiment.dumped` leaves it where nothing differs.
                yield entity, expected, expected
                continue
            shows = self.layout.shown(found)
            # A sum that is expected may be wider than one that a store can hold. No other type is adapted: another
            # type is a difference.
            wide = [
                name
                for name, kind in expected.schema.items()
                if kind == pl.Int128 and shows.schema.get(name) == pl.Int64
            ]
            yield entity, expected, shows.cast(dict.fromkeys(wide, pl.Int128))

    def label(self, index: int, with_revision: bool = True) -> str:
        """Return the name of a change by its index: `employee 17 revision 3`."""
        entity, row = self.published.change(index)
        named = f"{entity} {printable(str(row['key']))}"
        return f"{named} revision {row['revision']}" if with_revision else named
