"""Visits to pages whose parts are read from several projections, one after the other, at moments of a finished run.

The parts show one cut if there is a position such that each part shows all changes up to it that it subscribes to, and
none beyond it. Three policies are followed, with the same visits:

- `none`: each part is read when it is its turn.
- `slowest`: all parts are asked for their checkpoints, and then read as of the lowest. It costs no waiting but for the
  question, and shows older data. Each part must keep every revision.
- `each`: each answer brings its checkpoints along; while those of two parts differ for an entity that both have, the
  page is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.base import stream
from lab.feed.published import Published
from lab.measure.cuts import NOTHING, RecordsShown, ShownCut, Tokens
from lab.scenario.draws import delays
from lab.scenario.pages import PageTable
from lab.statistics.quantiles import told

# Times over the run at which visits are counted together.
BINS = 40
# So many more records are drawn than a page shows: some are not there, or deleted, or drawn twice.
_DRAWN = 4


@dataclass(frozen=True)
class PagePart:
    """One part of a page: which projection answers which query, and what that projection showed when.

    `tokens` is None if it tells no checkpoint. `records` are those of the entity whose ids are found; None if this part
    shows no records of it. `past`: it can be read as of a position.
    """

    projection: str
    query: str
    cut: ShownCut
    tokens: Tokens | None
    records: RecordsShown | None
    past: bool


@dataclass(frozen=True)
class PageReads:
    """The visits to a page under one policy. Arrays have a row for each visit, and a column for each part.

    `read_at` are the times in seconds at which the parts were read, `waited` seconds beyond what the reads took
    themselves. `token` is the position as of which all was read; None if each part showed its newest. `highest` and
    `missing` say what each part showed, as in `ShownCut`. `found` are the changes by which the first part showed what
    it found, `shown` those that each later part that looks records up showed of the same; `NOTHING` for none.
    """

    begun_at: np.ndarray
    read_at: np.ndarray
    waited: np.ndarray
    answered: np.ndarray
    token: np.ndarray | None
    highest: np.ndarray
    missing: np.ndarray
    found: np.ndarray
    shown: dict[int, np.ndarray]

    @property
    def mixed(self) -> np.ndarray:
        """Return which visits were answered with parts that show no one cut."""
        # Read as of a position, a part shows nothing beyond it.
        upto: np.ndarray = self.highest.max(axis=1) + 1 if self.token is None else self.token
        apart: np.ndarray = (self.missing.min(axis=1) < upto) & self.answered
        return apart

    @property
    def dangling(self) -> np.ndarray:
        """Return for each visit how many ids were found that a later part didn't show."""
        none = np.zeros(self.begun_at.size, np.int64)
        return sum((((self.found >= 0) & (shown < 0)).sum(axis=1) for shown in self.shown.values()), none)

    def apart(self, revision: np.ndarray) -> np.ndarray:
        """Return for each record that two parts showed how many revisions they were apart."""
        several = [np.empty(0, np.int64)]
        for shown in self.shown.values():
            both = (self.found >= 0) & (shown >= 0)
            several.append(np.abs(revision[self.found[both]] - revision[shown[both]]))
        return np.concatenate(several)


class PageVisits:
    """The visits to one page of a finished run, at random over its time."""

    def __init__(self, page: PageTable, parts: Sequence[PagePart], published: Published, seed: int) -> None:
        self.page, self.parts, self.published = page, parts, published
        rng = stream(seed, "pages", page.name)
        self.begun_at = np.sort(rng.uniform(0.0, published.end, page.visits))
        self.ways = delays(page.delay, page.visits * len(parts), rng).reshape(page.visits, -1)
        finder = parts[0].records
        several = finder is not None and any(part.records for part in parts[1:])
        self._drawn = None
        if several and finder is not None and page.finds == "any":
            self._drawn = finder.any(page.visits, page.ids * _DRAWN, seed, page.name)
        self._finds = several
        self._subscribed = np.unique(np.concatenate([part.cut.chosen for part in parts]))

    def follow(self, policy: str) -> PageReads | str:
        """Visit the page under a policy; the reason if its parts can't follow it."""
        if policy == "none":
            return self._reads(self.begun_at, np.ones(self.begun_at.size, bool))
        for part in self.parts:
            if part.tokens is None:
                return f"`{part.projection}` tells no checkpoint: it is fed by messages alone"
            if policy == "slowest" and not part.past:
                return f"`{part.projection}` keeps no revisions, so it can't be read as of a position"
        return self._slowest() if policy == "slowest" else self._each()

    def _times(self, begun_at: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """When the parts are read, one after the other."""
        times: np.ndarray = begun_at[:, None] + np.cumsum(self.ways[chosen], axis=1)
        return times

    def _slowest(self) -> PageReads:
        """Ask all parts for their checkpoints at once, and read them as of the lowest."""
        asked = self.ways.max(axis=1)
        begun_at = self.begun_at + asked
        told = [
            part.tokens.at(entity, begun_at)
            for part in self.parts
            if part.tokens is not None
            for entity in part.tokens.entities
        ]
        return self._reads(begun_at, np.ones(begun_at.size, bool), np.min(told, axis=0))

    def _each(self) -> PageReads:
        """Read the parts again until their checkpoints are the same, or the time is over."""
        begun_at = self.begun_at.copy()
        answered = np.zeros(begun_at.size, bool)
        waits = np.arange(begun_at.size)
        while waits.size:
            same = self._same(self._times(begun_at[waits], waits))
            answered[waits[same]] = True
            waits = waits[~same]
            # The next try begins after the last answer of this one.
            begun_at[waits] += self.ways[waits].sum(axis=1) + self.page.retry
            waits = waits[begun_at[waits] - self.begun_at[waits] <= self.page.wait]
        return self._reads(begun_at, answered)

    def _same(self, times: np.ndarray) -> np.ndarray:
        """Return where all parts that have an entity told the same checkpoint of it."""
        same = np.ones(times.shape[0], bool)
        first: dict[str, np.ndarray] = {}
        for number, part in enumerate(self.parts):
            assert part.tokens is not None
            for entity in part.tokens.entities:
                told = part.tokens.at(entity, times[:, number])
                same &= told == first.setdefault(entity, told)
        return same

    def _reads(self, begun_at: np.ndarray, answered: np.ndarray, token: np.ndarray | None = None) -> PageReads:
        times = self._times(begun_at)
        highest, missing = (
            np.column_stack([each(part.cut)(times[:, number]) for number, part in enumerate(self.parts)])
            for each in _EXTREMES
        )
        found, shown = self._ids(times, token)
        return PageReads(
            self.begun_at, times, begun_at - self.begun_at, answered, token, highest, missing, found, shown
        )

    def _ids(self, times: np.ndarray, token: np.ndarray | None) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """Return what the first part found, and what the later ones show of it, by visit."""
        finder = self.parts[0].records
        if not self._finds or finder is None:
            return np.empty((times.shape[0], 0), np.int64), {}
        drawn = self._drawn
        if drawn is None:
            drawn = finder.newest(times[:, 0], self.page.ids * _DRAWN)
        drawn = _once(drawn)
        found = self._looked_up(finder, drawn, times[:, 0], token)
        kept = (found >= 0) & (np.cumsum(found >= 0, axis=1) <= self.page.ids)
        found, drawn = np.where(kept, found, NOTHING), np.where(kept, drawn, NOTHING)
        return found, {
            number: self._looked_up(part.records, drawn, times[:, number], token)
            for number, part in enumerate(self.parts)
            if number and part.records is not None
        }

    def _looked_up(
        self, records: RecordsShown, drawn: np.ndarray, at: np.ndarray, token: np.ndarray | None
    ) -> np.ndarray:
        record, times = drawn.ravel(), np.repeat(at, drawn.shape[1])
        if token is None:
            shown = records.at(record, times)
        else:
            shown = records.as_of(record, times, np.repeat(token, drawn.shape[1]))
        return np.where(drawn >= 0, shown.reshape(drawn.shape), NOTHING)

    def ages(self, reads: PageReads) -> np.ndarray:
        """Return for how long the first change had been committed that a visit doesn't show, in seconds; 0 for none."""
        committed = np.append(self.published.committed_at, np.inf)
        if reads.token is not None:
            following = np.searchsorted(self._subscribed, reads.token)
            first = np.append(self._subscribed, committed.size - 1)[following][:, None]
            seen = reads.read_at.max(axis=1)[:, None]
        else:
            first, seen = reads.missing, reads.read_at
        found: np.ndarray = np.maximum(seen - committed[first], 0.0).max(axis=1)
        return found

    def row(self, policy: str, reads: PageReads | str, witness: str = "") -> dict[str, Any]:
        """Return the row of the table `pages` of a policy."""
        row: dict[str, Any] = {"page": self.page.name, "policy": policy, "visits": self.page.visits}
        if isinstance(reads, str):
            return row | dict.fromkeys(_FIGURES) | {"reason": reads, "witness": None}
        answered, mixed, apart = reads.answered, reads.mixed, self._answered(reads).apart(self.published.revision)
        waited, ages = reads.waited[answered], self.ages(reads)[answered]
        count = int(answered.sum())
        figures = {
            "answered": count,
            "mixed": int(mixed.sum()),
            "mixed_share": float(mixed.sum() / count) if count else None,
            "ids": int((reads.found[answered] >= 0).sum()),
            "dangling": int(reads.dangling[answered].sum()),
            "versions_apart": float(apart.mean()) if apart.size else None,
            "versions_apart_max": int(apart.max()) if apart.size else None,
            "wait_p50_seconds": told(waited, 0.5) if count else None,
            "wait_p99_seconds": told(waited, 0.99) if count else None,
            "age_p50_seconds": told(ages, 0.5) if count else None,
            "age_p99_seconds": told(ages, 0.99) if count else None,
        }
        return row | figures | {"reason": None, "witness": witness or None}

    def _answered(self, reads: PageReads) -> PageReads:
        """Return the reads with no ids for visits that were not answered."""
        found = np.where(reads.answered[:, None], reads.found, NOTHING)
        return PageReads(**{**vars(reads), "found": found})

    def over_time(self, policy: str, reads: PageReads | str) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table `page_times`: visits by when they began."""
        if isinstance(reads, str):
            return
        edges = np.linspace(0.0, self.published.end, BINS + 1)
        of = np.clip(np.searchsorted(edges, self.begun_at, side="right") - 1, 0, BINS - 1)
        columns = {"visits": np.ones(of.size, bool), "answered": reads.answered, "mixed": reads.mixed}
        counted = {name: np.bincount(of, values, BINS).astype(int) for name, values in columns.items()}
        dangling = np.bincount(of, np.where(reads.answered, reads.dangling, 0), BINS).astype(int)
        for number in range(BINS):
            yield {
                "page": self.page.name,
                "policy": policy,
                "at_seconds": float(edges[number]),
                **{name: int(values[number]) for name, values in counted.items()},
                "dangling": int(dangling[number]),
            }


_EXTREMES: tuple[Callable[[ShownCut], Callable[[np.ndarray], np.ndarray]], ...] = (
    lambda cut: cut.highest,
    lambda cut: cut.missing,
)
# The columns of `pages` that are null where a policy can't be followed.
_FIGURES = (
    "answered", "mixed", "mixed_share", "ids", "dangling", "versions_apart", "versions_apart_max",
    "wait_p50_seconds", "wait_p99_seconds", "age_p50_seconds", "age_p99_seconds",
)  # fmt: skip


def _once(drawn: np.ndarray) -> np.ndarray:
    """Return each visit's records with `NOTHING` in the place of those that were drawn before."""
    order = np.argsort(drawn, axis=1, kind="stable")
    rows = np.take_along_axis(drawn, order, axis=1)
    again = np.zeros(drawn.shape, bool)
    np.put_along_axis(again, order[:, 1:], rows[:, 1:] == rows[:, :-1], axis=1)
    return np.where(again, NOTHING, drawn)
