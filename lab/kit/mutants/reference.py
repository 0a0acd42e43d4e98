"""A correct projector in plain dictionaries; each mutant breaks one thing in it.

It takes messages, polls for itself and keeps its own checkpoint. `disk` and `position` are what a crash leaves.
"""

from __future__ import annotations

from typing import Any

Change = dict[str, Any]


class Killed(Exception):
    """The process dies at the step that a trial armed."""


class Reference:
    """Keeps the highest revision of each key, tombstones included; only catch-up moves the checkpoint."""

    def __init__(self) -> None:
        self.armed: str | None = None
        self.disk: dict[Any, Change] = {}
        self.position = 0

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
        staged = dict(self.disk)
        for change in changes:
            if self.is_news(staged.get(change["key"]), change):
                self.write(staged, change)
        self.land(staged, checkpoint)
        self.dies("after-checkpoint")

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
