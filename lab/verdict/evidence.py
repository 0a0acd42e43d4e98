"""What the checks look at: one projection's dump, rebuild, journal and answers, beside what must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from lab.feed.published import Published
from lab.measure.queries import Wrong
from lab.projection.workers import Journal
from lab.stores.port import Layout
from lab.verdict.oracle import Oracle

# A witness is for reading: so many commits and so many writes of a record, around the one that matters.
COMMITS, WRITES = 2, 4


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
    asked: int
    wrong: list[Wrong]

    @cached_property
    def in_order(self) -> bool:
        """Whether every record's revisions were written in rising order: then nothing went back. Quick to see."""
        index = np.concatenate(self.journal.written) - 1 if self.journal.written else np.empty(0, np.int64)
        record = self.published.record[index]
        # A stable sort by record keeps each record's writes in the order in which they were made.
        order = np.argsort(record, kind="stable")
        record, revision = record[order], self.published.revision[index][order]
        return bool(np.all((record[1:] != record[:-1]) | (revision[1:] > revision[:-1])))

    @cached_property
    def writes(self) -> pl.DataFrame:
        """Every write in its order: change index, record, revision, deleted, and when it was visible.

        `before` is the highest revision that had been written of the record, `tombstone` its highest
        deleted one; both 0 at first.
        """
        journal = self.journal
        index = np.concatenate(journal.written) - 1 if journal.written else np.empty(0, np.int64)
        at = np.concatenate(journal.visible_at) if journal.visible_at else np.empty(0)
        revision = self.published.revision[index]
        frame = pl.DataFrame(
            {
                "index": index,
                "record": self.published.record[index],
                "revision": revision,
                "deleted": self.published.deleted[index],
                "at": at,
            }
        )
        tombstone = pl.when("deleted").then("revision").otherwise(0)
        return frame.with_columns(
            pl.col("revision").cum_max().shift(1).over("record").fill_null(0).alias("before"),
            tombstone.cum_max().shift(1).over("record").fill_null(0).alias("tombstone"),
        )

    def contents(self) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
        """Each entity with what must be there and what is."""
        assert self.dumps is not None
        for entity, found in self.dumps.items():
            if self.layout.keeps == "totals":
                found = found.filter(pl.any_horizontal(pl.col(self.layout.totals.measures) != 0))  # type: ignore[union-attr]
            yield entity, self.oracle.expected(self.layout.keeps, entity, self.layout.totals), found

    def label(self, index: int) -> str:
        """`employee 17 revision 3`, for a change by its index."""
        entity, row = self.published.change(index)
        return f"{entity} {row['key']} revision {row['revision']}"

    def story(self, index: int) -> list[str]:
        """What was committed and written of a change's record, around the change: in a few lines."""
        record = int(self.published.record[index])
        committed = np.flatnonzero(self.published.record == record)
        place = int(np.searchsorted(committed, index))
        first = max(0, min(place, committed.size - COMMITS))
        lines = [
            f"  committed at {self.published.committed_at[index]:.3f} s: {self._short(int(index))}"
            for index in committed[first : first + COMMITS]
        ]
        writes = self.writes.filter(pl.col("record") == record)
        # The write that is spoken of is the one that went back, if one did; what led to it comes before.
        own = (writes["index"] == index).to_numpy()
        back = own & (writes["revision"] < writes["before"]).to_numpy()
        mine = np.flatnonzero(back if back.any() else own)
        after = np.flatnonzero((writes["index"] > index).to_numpy())
        centre = int(mine[0]) if mine.size else int(after[0]) if after.size else writes.height
        writes = writes[max(0, centre - WRITES + 2) :][:WRITES]
        lines += [
            f"  written at   {at:.3f} s: {self._short(index)}" for index, at in writes.select("index", "at").rows()
        ]
        return lines if writes.height else [*lines, "  written: never"]

    def _short(self, index: int) -> str:
        tombstone = " (tombstone)" if self.published.deleted[index] else ""
        return f"revision {self.published.revision[index]}, position {index + 1}{tombstone}"
