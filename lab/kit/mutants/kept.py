"""Projectors that keep wrongly: tombstones, values, keys, times, batches, and what was acknowledged."""

from __future__ import annotations

import sqlite3
from typing import Any

from lab.kit.history import META
from lab.kit.mutants.reference import Change, Reference


class ExpiredTombstone(Reference):
    """Forgets a tombstone after twenty batches: a message that comes later brings the record back."""

    applies = 20

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.buried: dict[Any, int] = {}

    def apply(self, changes: list[Change], checkpoint: int | None) -> None:
        self.count += 1
        old = {key for key, since in self.buried.items() if self.count - since > self.applies}
        if old:
            self.disk = {key: row for key, row in self.disk.items() if key not in old or not row["deleted"]}
            self.buried = {key: since for key, since in self.buried.items() if key not in old}
        super().apply(changes, checkpoint)

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        if change["deleted"]:
            self.buried[change["key"]] = self.count
        super().write(staged, change)


class ExpiredLater(ExpiredTombstone):
    """The same after sixty batches."""

    applies = 60


class StickyTombstone(Reference):
    """Deleted means for ever: a record that is created again is not shown."""

    def is_news(self, known: Change | None, change: Change) -> bool:
        return super().is_news(known, change) and not (known is not None and known["deleted"])


def _state(change: Change) -> Change:
    return {name: value for name, value in change.items() if name not in META}


class FalsyForMissing(Reference):
    """Asks `if value` where `is not None` is meant: 0, an empty text and false become null."""

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        super().write(staged, change | {name: value or None for name, value in _state(change).items()})


class TextKeyCollation(Reference):
    """Keys are compared as some databases compare texts: without case, and without blanks at the end."""

    lab_key = "str"

    def apply(self, changes: list[Change], checkpoint: int | None) -> None:
        first: dict[str, str] = {}
        for key in [*self.disk, *(change["key"] for change in changes)]:
            first.setdefault(key.rstrip().casefold(), key)
        folded = [change | {"key": first[change["key"].rstrip().casefold()]} for change in changes]
        super().apply(folded, checkpoint)


class PastedSql(Reference):
    """Pastes texts between quotation marks into a statement instead of binding them."""

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        with sqlite3.connect(":memory:") as connection:
            for name, value in _state(change).items():
                if isinstance(value, str):
                    change = change | {name: connection.execute(f"SELECT '{value}'").fetchone()[0]}
        connection.close()
        super().write(staged, change)


class Truncated32(Reference):
    """Keeps whole numbers in 32 bits, and cuts off what is beyond."""

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        cut = {
            name: (value + 2**31) % 2**32 - 2**31
            for name, value in _state(change).items()
            if isinstance(value, int) and not isinstance(value, bool)
        }
        super().write(staged, change | cut)


class ClockInsteadOfRevision(Reference):
    """The last write by the clock wins; clocks have ties, and one that is behind loses what is newer."""

    def is_news(self, known: Change | None, change: Change) -> bool:
        return known is None or bool(change["committed_at"] > known["committed_at"])


class FirstOfBatchWins(Reference):
    """Merges a batch by key before it writes, and keeps the first change of each."""

    def apply(self, changes: list[Change], checkpoint: int | None) -> None:
        merged: dict[Any, Change] = {}
        for change in changes:
            merged.setdefault(change["key"], change)
        super().apply(list(merged.values()), checkpoint)


class AcknowledgedEarly(Reference):
    """Acknowledges a batch when its snapshot is taken, and stores the snapshot with the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshot: dict[Any, Change] = {}

    def land(self, staged: dict[Any, Change], checkpoint: int | None) -> None:
        before = self.disk
        super().land(staged, checkpoint)
        self.snapshot = before

    def restart(self) -> None:
        self.disk = self.snapshot
