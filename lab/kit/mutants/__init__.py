"""Projectors with one deliberate mistake each, which prove that the checks can fail.

`MUTANTS` names the check that must catch each. Those that read the feed wrongly override `page` or `reached`.
"""

from __future__ import annotations

from typing import Any

from lab.kit.mutants.kept import (
    AcknowledgedEarly,
    ClockInsteadOfRevision,
    ExpiredLater,
    ExpiredTombstone,
    FalsyForMissing,
    FirstOfBatchWins,
    PastedSql,
    StickyTombstone,
    TextKeyCollation,
    Truncated32,
)  # fmt: skip
from lab.kit.mutants.reference import ByTransaction, Change, Killed, Reference
from lab.kit.mutants.shared import CeilingReadBeside, EntitiesReadApart, KeyChangeCut, OwnerWithoutFence


class Insert(Reference):
    """Double counting: a plain INSERT, so that a change that comes twice is there twice."""

    def is_news(self, known: Change | None, change: Change) -> bool:
        return known is None or change["revision"] >= known["revision"]

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        known = staged.get(change["key"], {"copies": 0, "revision": change["revision"]})
        # What is inserted twice is updated twice from then on.
        again = known["revision"] == change["revision"]
        staged[change["key"]] = change | {"copies": known["copies"] + 1 if again else known["copies"]}

    def rows(self) -> list[Change]:
        return [row for row in super().rows() for _ in range(row["copies"])]


class SmallWindow(Insert):
    """A plain INSERT behind a window that remembers the last three messages only."""

    size = 3

    def __init__(self) -> None:
        super().__init__()
        self.window: list[int] = []

    def apply(self, changes: list[Change], checkpoint: int | None) -> None:
        fresh: list[Change] = []
        for change in changes:
            if change["position"] not in self.window:
                fresh.append(change)
                self.window = [*self.window, change["position"]][-self.size :]
        super().apply(fresh, checkpoint)


class WindowOf10(SmallWindow):
    """The same, and it remembers ten."""

    size = 10


class WindowOf100(SmallWindow):
    """The same, and it remembers a hundred."""

    size = 100


class PageEdgeTwice(Insert):
    """Off by one: the last change of each page is the first of the next one, and only messages are guarded."""

    def receive(self, changes: list[Change]) -> None:
        for change in changes:
            if Reference.is_news(self, self.disk.get(change["key"]), change):
                super().receive([change])

    def page(self, feed: Any, limit: int) -> list[Change]:
        page: list[Change] = feed.changes_since(max(self.position - 1, 0), limit + 1)
        new = [change for change in page if self.position < change["position"] <= feed.horizon()]
        return page if new and new[-1] is page[-1] else new


class PageEdgeSkipped(Reference):
    """Off by one: takes the last position read for the next one to read, and leaves out what comes right after it."""

    def page(self, feed: Any, limit: int) -> list[Change]:
        horizon, after = feed.horizon(), self.position + 1 if self.position else 0
        return [change for change in feed.changes_since(after, limit) if change["position"] <= horizon]


class LastArrivalWins(Reference):
    """No guard: the last arrival is written."""

    def is_news(self, known: Change | None, change: Change) -> bool:
        return True


class RevisionAsText(Reference):
    """Revisions are compared as text, where 10 comes before 9."""

    def is_news(self, known: Change | None, change: Change) -> bool:
        return known is None or str(change["revision"]) > str(known["revision"])


class TombstoneForgotten(Reference):
    """A delete removes the row, and with it all memory of the revision: a late message brings the record back."""

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        if change["deleted"]:
            staged.pop(change["key"], None)
        else:
            staged[change["key"]] = change


class DeletesIgnored(Reference):
    """A delete is taken for an update like any other."""

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        staged[change["key"]] = change | {"deleted": False}


class LateSnapshotRow(Reference):
    """A row of a page is taken as proof that the record lives, although the page was read before the delete."""

    def poll(self, feed: Any, limit: int) -> None:
        page = self.page(feed, limit)
        if page:
            back = {change["key"] for change in page if not change["deleted"]}
            self.disk = {key: row for key, row in self.disk.items() if not (row["deleted"] and key in back)}
            self.apply(page, self.reached(feed, page))


class PageOverwrites(Reference):
    """Catch-up is trusted more than messages: a page goes around the guard, and writes old states over new ones."""

    def poll(self, feed: Any, limit: int) -> None:
        page = self.page(feed, limit)
        self.disk = self.disk | {change["key"]: change for change in page}
        if page:
            self.apply(page, self.reached(feed, page))


class CheckpointBeforeData(Reference):
    """The checkpoint is stored first, and the data afterwards: a crash in between loses the batch."""

    def land(self, staged: dict[Any, Change], checkpoint: int | None) -> None:
        self.position = max(self.position, checkpoint or 0)
        super().land(staged, checkpoint)


class CheckpointBeyond(Reference):
    """A message moves the checkpoint too, beyond changes whose messages were lost."""

    def receive(self, changes: list[Change]) -> None:
        self.apply(changes, max(change["position"] for change in changes))


class CheckpointFollowsSource(Reference):
    """The checkpoint is what the source said that it had: read from a replica that is behind, it goes back."""

    def poll(self, feed: Any, limit: int) -> None:
        super().poll(feed, limit)
        self.position = min(self.position, feed.horizon())


class ClockInsteadOfPosition(Reference):
    """Remembers when it last asked, not how far it came: what did not fit into the page is never asked for."""

    def reached(self, feed: Any, page: list[Change]) -> int:
        return int(feed.horizon())


class GapSkipped(Reference):
    """Reads whatever is committed: what commits late takes a position that the cursor has passed."""

    def page(self, feed: Any, limit: int) -> list[Change]:
        return list(feed.changes_since(self.position, limit))


class HighWaterMark(Reference):
    """Ignores whatever lies below the highest position seen, of whichever record."""

    def is_news(self, known: Change | None, change: Change) -> bool:
        return bool(change["position"] > max((row["position"] for row in self.disk.values()), default=0))


class NullsSkipped(Reference):
    """Writes only what is given: a column that has become null keeps its former value."""

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        given = {name: value for name, value in change.items() if value is not None}
        staged[change["key"]] = {**change, **staged.get(change["key"], {}), **given}


class LateWriter(Reference):
    """Says that a batch is in, and writes it when the next one comes."""

    def __init__(self) -> None:
        super().__init__()
        self.late: dict[Any, Change] = {}

    def land(self, staged: dict[Any, Change], checkpoint: int | None) -> None:
        shown, self.late = self.late or self.disk, staged
        super().land(shown, checkpoint)

    def is_news(self, known: Change | None, change: Change) -> bool:
        return super().is_news(self.late.get(change["key"], known), change)


class PartialBatch(Reference):
    """Marks a batch as done before it has written all of it: what a failure cut off is refused when it comes again."""

    def __init__(self) -> None:
        super().__init__()
        self.done: set[int] = set()

    def apply(self, changes: list[Change], checkpoint: int | None) -> None:
        fresh = [change for change in changes if change["position"] not in self.done]
        self.done |= {change["position"] for change in changes}
        super().apply(fresh, checkpoint)


class MemoryOnly(Reference):
    """Keeps the checkpoint on disk and the data in memory."""

    def restart(self) -> None:
        self.disk = {}


# Each with the check that must catch it.
MUTANTS: dict[str, tuple[type[Reference], str]] = {
    "double counting": (Insert, "no_double_effect"),
    "a window that is too small": (SmallWindow, "no_double_effect"),
    "off by one: a page's edge twice": (PageEdgeTwice, "no_double_effect"),
    "off by one: a page's edge skipped": (PageEdgeSkipped, "no_loss"),
    "clock instead of position": (ClockInsteadOfPosition, "no_loss"),
    "high-water mark": (HighWaterMark, "no_loss"),
    "last arrival wins": (LastArrivalWins, "per_key_order"),
    "revision compared as text": (RevisionAsText, "per_key_order"),
    "tombstone forgotten": (TombstoneForgotten, "no_resurrection"),
    "resurrection by a late snapshot row": (LateSnapshotRow, "no_resurrection"),
    "deletes ignored": (DeletesIgnored, "converged"),
    "catch-up overwrites": (PageOverwrites, "monotonic_reads"),
    "checkpoint before data": (CheckpointBeforeData, "checkpoint_sound"),
    "checkpoint beyond what was applied": (CheckpointBeyond, "checkpoint_sound"),
    "checkpoint follows the source": (CheckpointFollowsSource, "no_rewind"),
    "gap skipped": (GapSkipped, "no_skipped_gap"),
    "nulls skipped": (NullsSkipped, "no_phantom"),
    "written late": (LateWriter, "read_your_writes"),
    "partial batch on failure": (PartialBatch, "survives_crash"),
    "data in memory only": (MemoryOnly, "survives_crash"),
    "a window of 10": (WindowOf10, "no_double_effect"),
    "a window of 100": (WindowOf100, "no_double_effect"),
    "tombstones that expire after 20 applies": (ExpiredTombstone, "no_resurrection"),
    "tombstones that expire after 60 applies": (ExpiredLater, "no_resurrection"),
    "sticky tombstone": (StickyTombstone, "created_again"),
    "falsy for missing": (FalsyForMissing, "values_preserved"),
    "text key collation": (TextKeyCollation, "values_preserved"),
    "a value pasted into SQL": (PastedSql, "values_preserved"),
    "32-bit truncation": (Truncated32, "values_preserved"),
    "clock instead of revision": (ClockInsteadOfRevision, "converged"),
    "page ceiling read beside the page": (CeilingReadBeside, "no_skipped_gap"),
    "first of a batch wins": (FirstOfBatchWins, "batch_independent"),
    "source acknowledged between snapshot and checkpoint": (AcknowledgedEarly, "survives_crash"),
    "two owners without a fence": (OwnerWithoutFence, "one_owner"),
    "key change cut by a batch's edge": (KeyChangeCut, "no_torn_transaction"),
    "two entities of one transaction read apart": (EntitiesReadApart, "no_torn_transaction"),
}

__all__ = ["MUTANTS", "ByTransaction", "Killed", "Reference"]
