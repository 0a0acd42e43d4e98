"""Gather the changes of a table into frames of text, a block of rows at a time, with what the log says of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lab.decimals import fitting, kind_of
from lab.domain.trace.logs.change import LoggedChange, State
from lab.domain.trace.logs.values import KINDS, as_text
from lab.domain.trace.numerals import inexact
from lab.domain.trace.raw import (
    AT,
    COMMITTED,
    DELETED,
    IDENTITY,
    KNOWN,
    LINE,
    ORDER,
    RUN,
    SENT,
    TOMBSTONE,
    TRUNCATES,
    TURN,
    UNCHANGED,
)

BLOCK = 50_000  # Rows.
OWN_TYPES: dict[str, pl.DataType] = {
    LINE: pl.Int64(), AT: pl.Int64(), COMMITTED: pl.Boolean(), DELETED: pl.Boolean(), KNOWN: pl.Boolean(),
    TRUNCATES: pl.Boolean(), TOMBSTONE: pl.Boolean(), UNCHANGED: pl.List(pl.String()), ORDER: pl.String(),
    SENT: pl.String(), IDENTITY: pl.Int64(), RUN: pl.Int64(), TURN: pl.Int64(),
}  # fmt: skip
# Values that a column of a connector has by default: of a deletion without its former state, every one is.
DEFAULTS = (None, 0, "", False)


class Turns:
    """The first line and the commit time of each transaction, so that its changes stay together."""

    KEPT = 1_000_000

    def __init__(self) -> None:
        self._known: dict[Any, tuple[int, int | None]] = {}
        self._last: Any = None
        self.run = 0

    def of(self, change: LoggedChange, line: int) -> tuple[int, int | None]:
        """Return the line with which the change's transaction begins, and its time."""
        if change.group is None:
            self._last = None
            self.run += 1
            return line, change.at
        if change.group != self._last:
            self._last = change.group
            self.run += 1
        found = self._known.get(change.group)
        if found is None:
            if len(self._known) >= self.KEPT:
                del self._known[next(iter(self._known))]
            found = self._known[change.group] = (line, change.at)
        return found


@dataclass
class Gathered:
    """The changes of one table."""

    key: tuple[str, ...] = ()
    keys: dict[str, None] = field(default_factory=dict)
    altered: set[str] = field(default_factory=set)
    images: bool = False
    changes: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: dict[str, set[type]] = field(default_factory=dict)
    frames: list[pl.DataFrame] = field(default_factory=list)
    _own: list[tuple[Any, ...]] = field(default_factory=list)
    _states: list[State] = field(default_factory=list)

    def add(self, change: LoggedChange, line: int, turns: Turns) -> None:
        """Add a change; one that gives a record another key deletes the record of the former key."""
        if change.keys and not self.keys:
            self.keys.update(dict.fromkeys(change.keys))
        begins, at = turns.of(change, line)
        state, former = change.state, change.former
        if former is not None:
            self.images = True
            names = [name for name, value in former.items() if name in state and state[name] != value]
            self.altered.update(name for name in names if name not in change.unchanged)
            key = self.key or tuple(self.keys)
            if any(name in names for name in key):
                self.counts["updates that gave a record another key, each a deletion and a new record", ""] += 1
                old = {name: former.get(name, state.get(name)) for name in key}
                gone = LoggedChange(change.table, "delete", old, told=False, order=change.order, sent=change.sent)
                gone.identity, gone.weak, gone.committed = change.identity, change.weak, change.committed
                self._append(gone, line, begins, at, turns.run)
        self._append(change, line, begins, at, turns.run)

    def _append(self, change: LoggedChange, line: int, begins: int, at: int | None, run: int) -> None:
        state, operation = change.state, change.operation
        gone = operation in ("delete", "tombstone")
        unchanged: tuple[str, ...] = change.unchanged
        told = change.told
        if gone and told:
            told = not self._defaults(state, change)
        if not told and not gone:
            unchanged = (*unchanged, *(name for name in self.kinds if name not in state))
        identity = None
        if change.identity is not None:
            identity = hash((operation, change.identity, repr(state)))
        self._own.append((
            line, at, change.committed, gone, told, operation == "truncate", operation == "tombstone",
            unchanged or None, change.order or None, change.sent or None, identity, run if change.weak else line,
            begins,
        ))  # fmt: skip
        self._states.append(state)
        self.changes += 1
        kinds = self.kinds
        for name, value in state.items():
            if value is not None:
                seen = kinds.get(name)
                if seen is None:
                    kinds[name] = {type(value)}
                else:
                    seen.add(type(value))
            elif name not in kinds:
                kinds[name] = set()
        if len(self._states) >= BLOCK:
            self.flush()

    def _defaults(self, state: State, change: LoggedChange) -> bool:
        """Return whether a deletion tells nothing but its key: every other value is null, 0 or empty."""
        key = self.key or change.keys or tuple(self.keys)
        rest = [value for name, value in state.items() if name not in key]
        if not key:
            # Without a known key, one value at least is not a default: the key's.
            return len(rest) > 1 and sum(isinstance(one, dict | list) or one not in DEFAULTS for one in rest) <= 1
        return bool(rest) and not any(isinstance(one, dict | list) or one not in DEFAULTS for one in rest)

    def flush(self) -> None:
        """Turn the rows into a frame."""
        if not self._states:
            return
        own = pl.DataFrame(self._own, schema=OWN_TYPES, orient="row")
        names = list(self.kinds)
        columns = [
            pl.Series(name, [as_text(state.get(name)) for state in self._states], pl.String) for name in names
        ]  # fmt: skip
        self.frames.append(own.hstack(columns))
        self._own, self._states = [], []

    def frame(self) -> pl.DataFrame:
        """Return all rows, as text, with the log's own columns."""
        self.flush()
        return pl.concat(self.frames, how="diagonal") if self.frames else pl.DataFrame(schema=OWN_TYPES)

    def kind(self, name: str, values: pl.Series, declared: bool) -> tuple[str, str, int]:
        """Return the kind of a column, what its values are called if they become text, and how many do.

        `declared`: its type in the database is a decimal one.
        """
        found = self.kinds.get(name, set())
        if found & {dict, list}:
            return "str", "nested values", int(values.str.contains(r"^[\[{]").sum())
        kinds = {KINDS.get(one, "str") for one in found}
        if kinds == {"int"}:
            beyond = values.cast(pl.Int64, strict=False).null_count() - values.null_count()
            return ("int", "", 0) if not beyond else ("str", "whole numbers beyond 64 bits", beyond)
        if kinds and kinds <= {"int", "float"}:
            rounded = bool(inexact(values))
            if (declared or rounded) and (scale := fitting(values)) is not None:
                whole = not scale and not values.str.contains(".", literal=True).any()
                return "int" if whole else kind_of(scale), "", 0
            what = "numbers with more digits than a float keeps"
            return ("str", what, values.len() - values.null_count()) if rounded else ("float", "", 0)
        if kinds == {"bool"}:
            return "bool", "", 0
        mixed = " and ".join(sorted(kinds))
        return "str", f"{mixed} values" if len(kinds) > 1 else "", values.len() - values.null_count()
