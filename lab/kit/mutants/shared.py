"""Projectors that share wrongly: a source with writers, a store with a second owner, a transaction with readers."""

from __future__ import annotations

from typing import Any

from lab.kit.mutants.reference import ByTransaction, Change, Reference


class CeilingReadBeside(Reference):
    """Reads the page first and the ceiling afterwards: what is committed between the two lies below the ceiling."""

    def page(self, feed: Any, limit: int) -> list[Change]:
        page = feed.changes_since(self.position, limit)
        horizon = feed.horizon()
        return [change for change in page if change["position"] <= horizon]


class OwnerWithoutFence(Reference):
    """Keeps the rows in memory and stores all of them: a former owner that goes on stores what it knew."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[Any, Change] | None = None

    def known(self) -> dict[Any, Change]:
        return self.disk if self.memory is None else self.memory

    def land(self, staged: dict[Any, Change], checkpoint: int | None) -> None:
        super().land(staged, checkpoint)
        self.memory = staged

    def restart(self) -> None:
        self.memory = None

    def twin(self) -> Reference:
        other = super().twin()
        other.restart()
        return other


class KeyChangeCut(ByTransaction):
    """Waits for whole transactions, except for deletes: a record that moves is gone for a while."""

    def receive(self, changes: list[Change]) -> None:
        self.apply([change for change in changes if change["deleted"]], None)
        super().receive(changes)


class EntitiesReadApart(ByTransaction):
    """Reads two halves of the records by two cursors, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.cursors = [0, 0]
        self.turn = 0

    def poll(self, feed: Any, limit: int) -> None:
        self.turn = 1 - self.turn
        horizon = feed.horizon()
        page = [item for item in feed.changes_since(self.cursors[self.turn], limit) if item["position"] <= horizon]
        if page:
            self.cursors[self.turn] = page[-1]["position"]
            self.apply([item for item in page if item["key"] % 2 == self.turn], min(self.cursors))
