"""What was in a projection at any moment of its run, worked out from the journal and the oracle's history alone.

The journal says which changes had been written by then, and in what order; the oracle says what each of them was. No
store, projector or guard has a part in it.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.mapped import breathe
from lab.measure.midrun import Glance, MidrunRead
from lab.queries.answers import ReferenceTable, Row, same
from lab.queries.kinds import KINDS
from lab.running.journal import Journal
from lab.spill import taken
from lab.statistics.grouped import blocks
from lab.stores.layout import Layout
from lab.verdict.oracle import Oracle


class WrittenHistory:
    """The writes of one projection in their order, and the oracle's row of each change.

    `adds_once`: a running aggregate whose guard knows what each record has added; elsewhere each write of a change adds
    what the change made of the record before it.
    """

    def __init__(self, published: Published, journal: Journal, oracle: Oracle, layout: Layout, adds_once: bool) -> None:
        self.published, self.journal, self.layout, self.adds_once = published, journal, layout, adds_once
        kept = journal.spill.array
        # How many writes there were after each number of notes, and in which epoch each note was.
        self._after = np.append(0, np.cumsum([note.applied.positions.size for note in journal.notes], dtype=np.int64))
        self.written, self.written_at = (journal.spill.empty(int(self._after[-1]), of) for of in (np.int64, np.float64))
        for number, note in enumerate(journal.notes):
            breathe()
            mine = slice(int(self._after[number]), int(self._after[number + 1]))
            self.written[mine], self.written_at[mine] = note.applied.positions - 1, note.written_at
        self._epochs = np.array([note.epoch for note in journal.notes], np.int64)
        self.frames = {name: oracle.revisions[name] for name in layout.entities}
        # Of one entity whose positions have no gap, a row is the index of its change.
        self._rows = {
            name: None if _gapless(frame["position"]) else kept(frame["position"].to_numpy())
            for name, frame in self.frames.items()
        }
        self._of_record: dict[int, np.ndarray] = {}
        self._shown = {name: frame.select(layout.entities[name].row) for name, frame in self.frames.items()}

    def span(self, look: Glance) -> tuple[int, int]:
        """Return the first write of the look's epoch, and the first write after the look, as places in `written`."""
        first = int(np.searchsorted(self._epochs[: look.notes], look.epoch, side="left"))
        return int(self._after[first]), int(self._after[look.notes])

    def rows(self, entity: str, indices: np.ndarray) -> np.ndarray:
        """Return where these changes stand in the oracle's frame of the entity."""
        positions = self._rows[entity]
        found: np.ndarray = indices if positions is None else np.searchsorted(positions, indices + 1)
        return found

    def row(self, index: int) -> Row:
        """Return a change as a reader of its record sees it."""
        name = self.published.entities[int(self.published.entity_of[index])]
        return self._shown[name].row(int(self.rows(name, np.array([index]))[0]))

    def of_record(self, record: int) -> np.ndarray:
        """Return the changes of a record, by index, in the order of their positions."""
        if record not in self._of_record:
            self._of_record[record] = np.flatnonzero(self.published.record == record)
        return self._of_record[record]

    @cached_property
    def following(self) -> np.ndarray:
        """Return the next change of each change's record, by index; -1 for the last one."""
        record = self.published.record
        order = np.lexsort((self.published.revision, record))
        after: np.ndarray = np.full(record.size, -1)
        same = record[order][1:] == record[order][:-1]
        after[order[:-1][same]] = order[1:][same]
        return after


def _gapless(positions: pl.Series) -> bool:
    """Return whether positions are 1, 2, 3 and so on."""
    return all(
        np.array_equal(positions[block].to_numpy(), np.arange(block.start + 1, block.stop + 1))
        for block in blocks(positions.len())
    )


class Moment:
    """What is in at one look: moved forward from look to look."""

    def __init__(self, history: WrittenHistory) -> None:
        self.history = history
        # Records are numbered by the positions of their first changes.
        size, empty = history.published.record.size, history.journal.spill.empty
        # The change that is shown of each record, by the record's number; -1 for none.
        self.last = empty(size + 1, np.int64)
        self.last[:] = -1
        # How often each change has been written.
        self.times = empty(size, np.int64)
        self._at = (0, 0)
        self._tables: dict[str, ReferenceTable] = {}
        self._contents: dict[str, pl.DataFrame] = {}

    def move(self, look: Glance) -> None:
        """Add what has been written since the last look; begin again where the projection was thrown away."""
        first, end = self.history.span(look)
        former = self._at
        if (first, end) == former:
            return
        if first != former[0]:
            self.last[:], self.times[:] = -1, 0
            former = (first, first)
        written = self.history.written[former[1] : end]
        for block in blocks(written.size):
            index = written[block]
            record = self.history.published.record[index]
            if self.history.layout.kept.replaces:
                # In their order, so that the last write of a record is kept.
                self.last[record] = index
            else:
                np.maximum.at(self.last, record, index)
            np.add.at(self.times, index, 1)
        self._at = (first, end)
        self._tables, self._contents = {}, {}

    @property
    def writes(self) -> int:
        """How many writes there have been in this epoch."""
        return self._at[1] - self._at[0]

    @property
    def last_at(self) -> float:
        """When the last write became visible; 0 if there was none."""
        return float(self.history.written_at[self._at[1] - 1]) if self.writes else 0.0

    def since(self, index: int) -> tuple[float, int]:
        """When the last write of a change became visible, and how many writes have followed it."""
        first, end = self._at
        place = first + int(np.flatnonzero(self.history.written[first:end] == index)[-1])
        return float(self.history.written_at[place]), end - place - 1

    def content(self, entity: str) -> pl.DataFrame:
        """Return the whole content that must be there, sorted as a store's dump is."""
        if entity not in self._contents:
            self._contents[entity] = self._content(entity)
        return self._contents[entity]

    def _content(self, entity: str) -> pl.DataFrame:
        history = self.history
        if history.layout.kept.adds:
            return self._totals(entity)
        kept = self.last[self.last >= 0] if history.layout.kept.replaces else np.flatnonzero(self.times)
        mine = kept[history.published.entity_of[kept] == history.published.entities.index(entity)]
        return taken(history.frames[entity], history.rows(entity, mine)).sort(history.layout.order())

    def _totals(self, entity: str) -> pl.DataFrame:
        """Add up what each change counts for: itself, less what followed it and took its contribution back."""
        history, totals = self.history, self.history.layout.totals
        assert totals is not None
        if history.adds_once:
            weight = np.zeros_like(self.times)
            weight[self.last[self.last >= 0]] = 1
        else:
            # A write of a change takes back what the change before it made of the record.
            weight = self.times - np.append(self.times, 0)[history.following]
        counts = np.flatnonzero((weight != 0) & ~history.published.deleted)
        counts = counts[history.published.entity_of[counts] == history.published.entities.index(entity)]
        frame = taken(history.frames[entity], history.rows(entity, counts))
        sums = [(pl.col(name).fill_null(0) * pl.col("lab_weight")).sum().alias(f"sum_{name}") for name in totals.sum]
        records = pl.col("lab_weight").sum().alias("records")
        found = (
            frame.with_columns(pl.Series("lab_weight", weight[counts])).group_by(totals.group_by).agg(records, *sums)
        )
        return history.layout.shown(found).sort(totals.group_by, nulls_last=True)

    def answer(self, read: MidrunRead) -> list[Row]:
        """Return the right answer at this moment."""
        if read.record is not None:
            index = int(self.last[read.record]) if read.record >= 0 else -1
            gone = index < 0 or bool(self.history.published.deleted[index])
            return [] if gone else [self.history.row(index)]
        query, layout = read.query, self.history.layout
        if layout.kept.adds:
            return self.content(query.entity.name).filter(pl.col("records") != 0).rows()
        for name in query.entities - self._tables.keys():
            self._tables[name] = ReferenceTable(layout.entities[name], self.content(name))
        return KINDS[query.kind].answer(query, read.parameters, self._tables)


def equal(read: MidrunRead, expected: list[Row]) -> bool:
    """Whether an answer is right, given the right rows."""
    if read.rows == expected:
        return True
    return KINDS[read.query.kind].agrees(read.query, expected, read.rows)


def same_content(expected: pl.DataFrame, shows: pl.DataFrame, layout: Layout) -> bool:
    """Whether a whole content is the expected one; floats that were added up in another order may differ a little."""
    shows = shows.select(expected.columns)
    if expected.equals(shows):
        return True
    return layout.kept.adds and same(expected.rows(), shows.rows())
