"""A projector that shows whole transactions only: what a batch cuts off waits until the rest has come."""

from __future__ import annotations

from typing import Any


class Transfers:
    """Keeps the highest revision of each key, and applies a transaction when all of it is there."""

    def __init__(self) -> None:
        self.known: dict[Any, dict[str, Any]] = {}
        self.early: dict[int, dict[int, dict[str, Any]]] = {}

    def apply(self, changes: list[dict[str, Any]]) -> None:
        """Hold the changes of a transaction back until it is complete."""
        for change in changes:
            parts = self.early.setdefault(change["transaction"], {})
            parts[change["position"]] = change
            if len(parts) == change["transaction_size"]:
                for part in self.early.pop(change["transaction"]).values():
                    self.write(part)

    def write(self, change: dict[str, Any]) -> None:
        """Write a change that is newer than what is known of its record."""
        known = self.known.get(change["key"])
        if known is None or change["revision"] > known["revision"]:
            self.known[change["key"]] = change

    def rows(self) -> list[dict[str, Any]]:
        """Return the live records."""
        return [row for row in self.known.values() if not row["deleted"]]
