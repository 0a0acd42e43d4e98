"""Try a function that rebuilds a projection in SQLite while its readers look at it and changes keep coming.

The projection is a table `people`; all its names are wrong, as a fault of last week's projector left them. Each time
the function asks for a page, a reader looks on a connection of its own, and then one more change is committed.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.base import stream
from lab.kit.check import Verdict
from lab.kit.history import PLAIN, Change, TrialHistory, draw, live

SETUP = "CREATE TABLE people (key INTEGER PRIMARY KEY, revision INTEGER, deleted INTEGER, name TEXT)"
LOOK = "SELECT key, name FROM people WHERE NOT deleted"
PAGE = 4
PAGES_MAX = 1_000

# `rebuild(connection, changes_since)`: `changes_since(position)` returns the next page, at most PAGE changes.
Rebuild = Callable[[sqlite3.Connection, Callable[[int], list[Change]]], Any]


def try_rebuild(rebuild: Rebuild, seed: int, histories: int) -> list[Verdict]:
    """Return verdicts on `no_partial_reads` and `rebuild_equals_live`, each with the first counter-example found."""
    found = {"no_partial_reads": "", "rebuild_equals_live": ""}
    for number in range(histories):
        history = draw(stream(seed, "rebuild", str(number)), PLAIN, deletes=0.15, longest=24)
        with tempfile.TemporaryDirectory(prefix="lab-rebuild-") as folder:
            trial = _RebuildTrial(history, Path(folder) / "projection.db")
            try:
                for prop, told in trial.run(rebuild).items():
                    found[prop] = found[prop] or told
            finally:
                trial.connection.close()
    return [Verdict(prop, "fail" if told else "pass", told) for prop, told in found.items()]


class _RebuildTrial:
    """One rebuild: half of the changes are committed before, the others while it goes on, one after each page."""

    def __init__(self, history: TrialHistory, path: Path) -> None:
        self.changes, self.path = list(history.changes), path
        self.committed = max(1, len(self.changes) // 2)
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(SETUP)
        self.before = {row["key"] for row in live(self.changes[: self.committed])}
        for change in self.changes[: self.committed]:
            row = (change["key"], change["revision"], change["deleted"], str(change["name"]).upper())
            self.connection.execute("INSERT OR REPLACE INTO people VALUES (?, ?, ?, ?)", row)
        self.connection.commit()
        self.pages, self.partial = 0, ""

    def run(self, rebuild: Rebuild) -> dict[str, str]:
        """Return for each property what is wrong; an empty text if nothing is."""
        try:
            rebuild(self.connection, self.changes_since)
        except Exception as error:
            return {"rebuild_equals_live": f"it raised {type(error).__name__}: {error}"}
        self.connection.commit()
        must = {row["key"]: row["name"] for row in live(self.changes[: self.committed])}
        shown = self.look()
        wrong = sorted(key for key in must.keys() | shown.keys() if must.get(key) != shown.get(key))
        told = ""
        if wrong:
            key = wrong[0]
            told = f"after the rebuild key {key} shows {shown.get(key)!r}, and should show {must.get(key)!r}"
        return {"no_partial_reads": self.partial, "rebuild_equals_live": told}

    def changes_since(self, position: int) -> list[Change]:
        """Return the next page; a reader looks before, and a change is committed afterwards."""
        self.pages += 1
        if self.pages > PAGES_MAX:
            raise RuntimeError(f"it asked for {PAGES_MAX:,} pages: does its position move on?")
        missing = self.before - self.look().keys() - self._deleted()
        if missing and not self.partial:
            self.partial = (
                f"while page {self.pages} is read (after position {position}), a reader looks for key {min(missing)} "
                "and finds nothing; it was there before the rebuild began"
            )
        page = self.changes[position : min(position + PAGE, self.committed)]
        self.committed = min(self.committed + 1, len(self.changes))
        return [dict(change) for change in page]

    def _deleted(self) -> set[Any]:
        """The keys that have been deleted by now: a reader may miss them."""
        return {change["key"] for change in self.changes[: self.committed] if change["deleted"]}

    def look(self) -> dict[Any, Any]:
        """Return what a reader sees now: names by key; nothing if it finds no table, or a locked one."""
        reader = sqlite3.connect(self.path, timeout=0)
        try:
            return dict(reader.execute(LOOK).fetchall())
        except sqlite3.OperationalError:
            return {}
        finally:
            reader.close()
