"""Detect stale and wrong answers: compare what a projection answers with the source of truth.

A record that changed recently is queried by its key. The answer is compared with the record's changes, read from the
source of truth's file:

- *right*: the newest revision that had been committed when the question was asked, or a later one;
- *stale*: an earlier revision, as it was, and no earlier than the position that came with the answer promises;
- *wrong*: a revision with another content than it had, one that there never was, or one that is older than the promise;
- *unsure*: the revision is not among the changes that are known here. A snapshot feed keeps no overwritten ones.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from lab.base import Entity
from lab.decimals import visible
from lab.service.problems import encoded

# The number of records kept, of revisions kept for each, and of the most recent records from which one is drawn.
RECORDS_MAX, REVISIONS_MAX, LATE = 2_000, 50, 100

Verdict = Literal["right", "stale", "wrong", "unsure"]


@dataclass(frozen=True)
class Revision:
    """One published revision of a record. Times are seconds since 1970."""

    position: int
    number: int
    deleted: bool
    committed_at: float
    state: Mapping[str, Any]


@dataclass(frozen=True)
class ProbeResult:
    """The result of one probe. `revisions` and `seconds`: how far it was behind, if it was stale."""

    verdict: Verdict
    detail: str = ""
    revisions: int = 0
    seconds: float = 0.0


class Book:
    """The last changes of one entity, record by record, as they are read from the source of truth."""

    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self.position = 0
        self.late: deque[Any] = deque(maxlen=LATE)
        self._records: OrderedDict[Any, deque[Revision]] = OrderedDict()

    def learn(self, frame: pl.DataFrame) -> None:
        """A page of the feed. Through JSON, so that values compare as an answer has them."""
        # Concurrent readers may bring the same page.
        news = frame.filter(pl.col("position") > self.position)
        for row in json.loads(encoded(visible(news, self.entity.scales).rows(named=True))):
            state = {name: row[name] for name in self.entity.columns}
            known = self._records.setdefault(row["key"], deque(maxlen=REVISIONS_MAX))
            known.append(Revision(row["position"], row["revision"], row["deleted"], row["committed_at"], state))
            self._records.move_to_end(row["key"])
            self.late.append(row["key"])
            self.position = max(self.position, row["position"])
        while len(self._records) > RECORDS_MAX:
            self._records.popitem(last=False)

    def known(self, key: Any) -> list[Revision]:
        """Return the known revisions of a record, in order."""
        return list(self._records.get(key, ()))


def judge(
    before: Sequence[Revision], after: Sequence[Revision], promise: int, rows: Sequence[Mapping[str, Any]], now: float
) -> ProbeResult:
    """One answer. `before` was known when it was asked for, `after` when it had come; `promise` is its position."""
    promised = max((one.number for one in after if one.position <= promise), default=0)
    newest = before[-1]
    if len(rows) > 1:
        return ProbeResult("wrong", f"{len(rows)} rows of one record")
    shown = _shown(after, promised, rows)
    if isinstance(shown, ProbeResult):
        return shown
    if shown < promised:
        said = (
            f"everything up to position {promise} is in, it says, and shows {_called(shown)}; {promised} was promised"
        )
        return ProbeResult("wrong", said)
    if shown >= newest.number:
        return ProbeResult("right")
    missed = [one for one in after if one.number > shown]
    return ProbeResult(
        "stale",
        f"{_called(shown)} instead of {newest.number}",
        newest.number - shown,
        max(0.0, now - missed[0].committed_at),
    )


def _called(revision: int) -> str:
    return f"revision {revision}" if revision else "nothing"


def _shown(after: Sequence[Revision], promised: int, rows: Sequence[Mapping[str, Any]]) -> int | ProbeResult:
    """Which revision an answer shows, 0 for one from before the first; or what is to be said at once."""
    if not rows:
        gone = [one.number for one in after if one.deleted]
        if gone and gone[-1] >= promised:
            return gone[-1]
        if promised == 0:
            return 0 if after[0].number == 1 else ProbeResult("unsure", "no record")
        # It may have been deleted in a revision that was overwritten since.
        later = [one.number for one in after if one.number > promised]
        return 0 if after[-1].number - promised == len(later) else ProbeResult("unsure", "no record")
    row = dict(rows[0])
    number = row.get("revision")
    if not isinstance(number, int) or number > after[-1].number:
        return ProbeResult("wrong", f"there is no revision {number}: the newest is {after[-1].number}")
    same = [one for one in after if one.number == number]
    if not same:
        return number if number < promised else ProbeResult("unsure", f"revision {number}")
    if same[0].deleted:
        return ProbeResult("wrong", f"revision {number} is a tombstone, and is shown as a record")
    if different := [name for name, value in same[0].state.items() if row.get(name) != value]:
        name = different[0]
        return ProbeResult(
            "wrong", f"revision {number} has {name} {same[0].state[name]!r}, and is shown with {row.get(name)!r}"
        )
    return number
