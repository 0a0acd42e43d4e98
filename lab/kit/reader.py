"""Compare what a projector showed in a trial with the committed history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lab.kit.history import Change, Row
from lab.kit.outcome import Seen, TrialOutcome
from lab.kit.telling import state


@dataclass(frozen=True)
class Violation:
    """A violation: what, at which step, of which record, and the shown and the expected state."""

    step: int
    text: str
    key: Any
    shows: list[Row]
    should: str


_PLAIN = (int, str, bool)


def missing(value: Any) -> bool:
    """Whether a value stands for none: None, and what frames have for it (NaN, NaT, `pandas.NA`)."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same; a number may come back from a database in another type."""
    if type(one) in _PLAIN and type(other) in _PLAIN:
        return bool(one == other)
    if missing(one) or missing(other):
        return missing(one) and missing(other)
    if isinstance(one, Decimal) and isinstance(other, float):
        return float(one) == other
    return bool(one == other)


class Observer:
    """Compares what was shown in a trial with the committed history."""

    def __init__(self, outcome: TrialOutcome) -> None:
        self.outcome = outcome
        self.history = outcome.case.history
        self._changes: dict[Any, list[Change]] = {}
        for position in sorted(outcome.committed):
            change = self.history.at(position)
            self._changes.setdefault(change["key"], []).append(change)
        self._handed = set(outcome.handed)
        self._rows: dict[int, dict[Any, list[Row]]] = {}
        self._told: dict[int, set[int]] = {}
        self._matches: dict[int, list[int]] = {}

    def records(self) -> list[Any]:
        """Every key that was ever committed."""
        return list(self._changes)

    def changes(self, key: Any) -> list[Change]:
        """A record's committed changes by revision."""
        return self._changes.get(key, [])

    def rows(self, seen: Seen, key: Any) -> list[Row]:
        """The rows that are shown of a record."""
        found = self._rows.get(id(seen))
        if found is None:
            found = self._rows[id(seen)] = {}
            for row in seen.rows:
                found.setdefault(row["key"], []).append(row)
        return found.get(key, [])

    def matches(self, row: Row) -> list[int]:
        """The revisions of the row's record that look like this row. Columns that no change has are ignored."""
        found = self._matches.get(id(row))
        if found is None:
            changes = self.changes(row["key"])
            own = row.get("revision")
            if type(own) is int and 0 < own <= len(changes):
                # A row that says its revision can be no other one.
                changes = changes[own - 1 : own]
            found = self._matches[id(row)] = [
                change["revision"]
                for change in changes
                if not change["deleted"] and all(same(row[name], change[name]) for name in row if name in change)
            ]
        return found

    def revisions(self, seen: Seen, key: Any) -> tuple[int, int] | None:
        """The lowest and highest revision that the record's rows may be showing; None when it isn't shown."""
        found = [revision for row in self.rows(seen, key) for revision in self.matches(row)]
        return (min(found), max(found)) if found else None

    def told_by(self, seen: Seen) -> set[int]:
        """The positions that had been acknowledged by then."""
        if seen.told not in self._told:
            self._told[seen.told] = set(self.outcome.told[: seen.told])
        return self._told[seen.told]

    def told(self, seen: Seen, key: Any) -> list[Change]:
        """The record's changes that had been acknowledged by then."""
        by_then = self.told_by(seen)
        return [change for change in self.changes(key) if change["position"] in by_then]

    def violation(self, seen: Seen, text: str, key: Any, must: Change | None = None) -> Violation:
        """A violation about one record, with what is shown of it and what should be."""
        should = "nothing" if must is None or must["deleted"] else f"{state(must)} (revision {must['revision']})"
        return Violation(seen.step, text, key, self.rows(seen, key), should)

    def has(self, seen: Seen, change: Change) -> bool:
        """Whether this change, or a later one, is what is shown of its record."""
        shown = self.revisions(seen, change["key"])
        if change["deleted"]:
            return shown is None or shown[1] > change["revision"]
        gone = any(later["deleted"] and later["revision"] > change["revision"] for later in self.told_or_handed(change))
        return shown[1] >= change["revision"] if shown else gone

    def told_or_handed(self, change: Change) -> list[Change]:
        """Changes of the same record that were handed over at any time."""
        return [other for other in self.changes(change["key"]) if other["position"] in self._handed]


def of(reader: Observer, positions: list[int], key: Any) -> list[int]:
    return [position for position in positions if reader.history.at(position)["key"] == key]


def went_back(reader: Observer) -> Iterator[tuple[Seen, Any, int, int]]:
    """Where a record was shown at an earlier revision than before, or not at all although it was not deleted."""
    highest: dict[Any, int] = {}
    for seen in reader.outcome.seen:
        for key in reader.records():
            shown = reader.revisions(seen, key)
            if shown is None:
                deleted = any(change["deleted"] for change in reader.told(seen, key))
                if key in highest and not deleted:
                    yield seen, key, highest[key], 0
            elif shown[1] < highest.get(key, 0):
                yield seen, key, highest[key], shown[1]
            else:
                highest[key] = max(highest.get(key, 0), shown[0])
