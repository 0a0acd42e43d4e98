"""Correct projectors in plain dictionaries; each mutant breaks one thing in one of them.

They take messages, poll for themselves and keep their own checkpoint. `disk` and `position` are what a crash leaves,
and what two owners share.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

Change = dict[str, Any]


class Killed(Exception):
    """The process dies at the step that a trial armed."""


class Disk:
    """Rows by key and a checkpoint, as a store has them."""

    def __init__(self) -> None:
        self.rows: dict[Any, Change] = {}
        self.position = 0


class Reference:
    """Keeps the highest revision of each key, tombstones included; only catch-up moves the checkpoint."""

    def __init__(self) -> None:
        self.armed: str | None = None
        self.store = Disk()

    @property
    def disk(self) -> dict[Any, Change]:
        """The rows of the store."""
        return self.store.rows

    @disk.setter
    def disk(self, rows: dict[Any, Change]) -> None:
        self.store.rows = rows

    @property
    def position(self) -> int:
        """The checkpoint of the store."""
        return self.store.position

    @position.setter
    def position(self, position: int) -> None:
        self.store.position = position

    def receive(self, changes: list[Change]) -> None:
        """Apply messages, which run ahead of the checkpoint and don't move it."""
        self.apply(changes, None)

    def poll(self, feed: Any, limit: int) -> None:
        """Apply one page of catch-up; data and checkpoint are committed together."""
        page = self.page(feed, limit)
        if page:
            self.apply(page, self.reached(feed, page))

    def page(self, feed: Any, limit: int) -> list[Change]:
        """What comes after the checkpoint, up to the oldest open transaction: beyond it something may commit late."""
        horizon = feed.horizon()
        return [change for change in feed.changes_since(self.position, limit) if change["position"] <= horizon]

    def reached(self, feed: Any, page: list[Change]) -> int:
        """Return the checkpoint after this page."""
        last: int = page[-1]["position"]
        return last

    def apply(self, changes: list[Change], checkpoint: int | None) -> None:
        """Guard the changes, write them, and commit."""
        self.dies("before-apply")
        staged = dict(self.known())
        for change in changes:
            if self.is_news(staged.get(change["key"]), change):
                self.write(staged, change)
        self.land(staged, checkpoint)
        self.dies("after-checkpoint")

    def known(self) -> dict[Any, Change]:
        """Return the rows that a batch is applied to."""
        return self.disk

    def is_news(self, known: Change | None, change: Change) -> bool:
        """Return whether a change has a higher revision than its record: the guard."""
        return known is None or change["revision"] > known["revision"]

    def write(self, staged: dict[Any, Change], change: Change) -> None:
        """Write a change; a tombstone is kept as a row that isn't shown."""
        staged[change["key"]] = change

    def land(self, staged: dict[Any, Change], checkpoint: int | None) -> None:
        """Commit in one transaction: everything or nothing."""
        self.dies("between")
        self.disk = staged
        if checkpoint is not None:
            self.position = max(self.position, checkpoint)

    def restart(self) -> None:
        """Do nothing: everything is on disk."""

    def twin(self) -> Reference:
        """Return a second owner of the same store."""
        return copy.copy(self)

    def rows(self) -> list[Change]:
        """Return the live records."""
        return [dict(row) for row in self.disk.values() if not row["deleted"]]

    def checkpoint(self) -> int:
        """Return the position up to which everything is in."""
        return self.position

    def dies(self, step: str) -> None:
        """Raise Killed if the trial armed this step."""
        if self.armed == step:
            raise Killed(step)


class ByTransaction(Reference):
    """Writes whole transactions only: what a batch or a page cuts off waits for the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.early: dict[int, Change] = {}

    def receive(self, changes: list[Change]) -> None:
        """Apply the messages of transactions that are complete."""
        self.apply(self.whole(changes), None)

    def whole(self, changes: list[Change]) -> list[Change]:
        """Return the changes of transactions that are complete now."""
        self.early |= {change["position"]: change for change in changes}
        count = Counter(change["transaction"] for change in self.early.values())
        done = {place for place, item in self.early.items() if count[item["transaction"]] == item["transaction_size"]}
        complete = [self.early[place] for place in sorted(done)]
        self.early = {place: item for place, item in self.early.items() if place not in done}
        return complete

    def page(self, feed: Any, limit: int) -> list[Change]:
        """Read on until the last transaction of the page is complete."""
        page = super().page(feed, limit)
        for more in range(1, 10):
            if not page or page[-1]["position"] == page[-1]["transaction"] + page[-1]["transaction_size"] - 1:
                break
            page = super().page(feed, limit + more)
        return page
