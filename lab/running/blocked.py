"""Who holds a reader back: open transactions that are told of, and written down, once each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.ports import Blocker

# The file's name is that of the journal with this suffix.
BLOCKED_SUFFIX = ".blocked"


class BlockedNotes:
    """Tells of each blocker once, and appends it to the file at `path`, if any. `now` is the runner's clock."""

    def __init__(self, now: Callable[[], float], path: Path | None, tell: Callable[[str], None]) -> None:
        self._now, self._tell = now, tell
        self._path = None if path is None else path.with_suffix(BLOCKED_SUFFIX)
        self._told: set[tuple[str, int]] = set()

    def __call__(self, at: float, blocker: Blocker) -> None:
        """Note that this transaction has held the reader back for too long, at `at` seconds of the runner's clock."""
        name = (blocker.owner, round(blocker.since))
        if name in self._told:
            return
        self._told.add(name)
        seconds = at - blocker.since
        self._tell(f"held back at position {blocker.above:,} by {blocker.owner}, open for {seconds:,.1f} s")
        if self._path is not None:
            line = [at + time.time() - self._now(), blocker.owner, seconds, blocker.above]
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def read_blocked(path: Path, projection: str, began: float) -> list[dict[str, Any]]:
    """Rows of the table `blockers` from a file that a projection wrote, if it did."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
    found = []
    for line in lines:
        at, owner, seconds, above = json.loads(line)
        row = {"projection": projection, "at_seconds": at - began, "transaction": owner}
        found.append(row | {"open_seconds": seconds, "above": above})
    return found
