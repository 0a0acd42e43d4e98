"""Ask a projection while it is fed: records by key, the scenario's queries, its whole content, and its checkpoint.

Looks are few, at moments drawn from a stream of their own, and between two pieces of work: they are part of no time and
move no other random draw. What was answered is kept with the length of the journal at that moment, so that the verdict
can work out afterwards what the right answer was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from lab.base import NotAnswered, stream
from lab.feed.published import Published
from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.running.journal import Journal, Recorder
from lab.statistics.grouped import blocks, in_order
from lab.stores.port import Store
from lab.stores.whole import dump

# Moments of a run with so many changes at the most; of a larger one fewer, and so many at the least.
LOOKS, LOOKS_MIN, CHANGES = 24, 8, 50_000
# Further looks at what is no ordinary work: a crash, a rebuild in place that begins, one that takes over.
EVENTS = 12
# Rows of whole contents that are kept of one projection, and rows in all over which the scenario's queries are asked.
ROWS_KEPT, ROWS_ASKED = 60_000, 150_000
# How often the scenario's queries are asked of one projection in all, about; and in a run with more changes than that.
QUESTIONS, QUESTIONS_FEW = 150, 40
# Sets of parameters for each query; each is asked again at every look.
SETS = 2
# Changes that are looked through at once for one that is not committed yet.
AT_ONCE = 100_000
# A key that no record has.
NO_KEY: dict[str, Any] = {"int": -(2**62) - 7, "str": "there has never been such a record"}


@dataclass(frozen=True)
class MidrunRead:
    """One answer. `record` is the number of the record that was asked for by key, -1 if there never was one.

    It is None for the scenario's queries.
    """

    query: Query
    parameters: Row
    rows: list[Row]
    record: int | None = None


@dataclass
class Glance:
    """What readers were shown at `at` seconds, when `notes` notes of the journal were visible, in `epoch`.

    `event` is what had just happened, if it was no ordinary work. `stored` are the checkpoints as readers see them in
    the store, `moved` those to which they were last moved. `contents` are whole contents, at some looks.
    """

    at: float
    event: str
    notes: int
    epoch: int
    stored: dict[str, int]
    moved: dict[str, int]
    reads: list[MidrunRead] = field(default_factory=list)
    contents: dict[str, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Questions:
    """What is asked of the projections of one run. `drawn` are sets of parameters for each query by its name."""

    seed: int
    drawn: Mapping[str, list[Row]]

    @classmethod
    def draw(
        cls,
        seed: int,
        queries: Sequence[Query],
        tables: Mapping[str, ReferenceTable],
        histories: Mapping[str, ReferenceTable],
    ) -> Questions:
        """Draw the parameters from the records as they are at the end, and from all their revisions."""
        drawn = {}
        for query in queries:
            kind, rng = KINDS[query.kind], stream(seed, "midrun", "query", query.name)
            drawn[query.name] = kind.draw(query, histories if kind.past else tables, SETS, rng)
        return cls(seed, drawn)


class Onlooker:
    """Looks at one projection; `looks` is what it has seen. The `Bystander` of its worker.

    `chosen` are the indices of the changes that the projection subscribes to.
    """

    def __init__(
        self, name: str, questions: Questions, queries: Sequence[Query], published: Published, chosen: np.ndarray
    ) -> None:
        self.questions, self.queries, self.published, self.chosen = questions, queries, published, chosen
        self.looks: list[Glance] = []
        self._rng = stream(questions.seed, "midrun", name)
        self._moments = self._drawn_moments()
        self._events = EVENTS
        self._kept, self._asked = ROWS_KEPT, ROWS_ASKED
        # The scenario's queries are asked at every n-th pair of looks.
        most = QUESTIONS if chosen.size <= CHANGES else QUESTIONS_FEW
        self._every = max(1, -(-len(self._moments) * len(queries) * SETS // most))
        self._by_key: dict[str, Query | None] = {}
        self._deleted = -1
        # Queries that came to no answer, which are not asked again.
        self._unanswered: set[str] = set()
        # How much of the journal has been read, how many writes it had, and where it last moved each checkpoint to.
        self._notes = self._checkpoints = self._written = 0
        self._moved: dict[str, int] = {}
        self.due_at = math.inf
        self._next()

    def _drawn_moments(self) -> list[float]:
        """Times at which changes were committed, the last first; each twice, for two pieces of work in a row."""
        size = self.chosen.size
        if not size:
            return []
        many = max(LOOKS_MIN, min(LOOKS, LOOKS * CHANGES // size)) // 2
        places = self._rng.integers(size, size=many)
        # One is early, when there is little to read.
        places[0] = min(size - 1, size // 100)
        times = self.published.committed_at[self.chosen[places]]
        return [float(at) for at in np.sort(np.repeat(times, 2))[::-1]]

    def _next(self) -> None:
        self.due_at = self._moments.pop() if self._moments else math.inf

    def look(self, store: Store, journal: Recorder, at: float, event: str) -> None:
        """Ask the store; an event is looked at while there are few."""
        if event and not self._events:
            return
        if event:
            self._events -= 1
        else:
            self._next()
        assert isinstance(journal, Journal)
        entities = tuple(store.layout.entities)
        if store.name == "null" or not self.chosen.size:
            return
        self._read_on(journal, at)
        moved = {name: self._moved.get(name, 0) for name in entities}
        stored = {name: store.shown_to(name) for name in entities}
        one = Glance(at, event, journal.shown_by(at), journal.epoch, stored, moved)
        # The same records are read before and after the whole content, so that a change between them shows.
        one.reads += self._keyed(store, self._hot)
        # A store of revisions has a row for each, any other one for each record at the most.
        rows = self._written if store.layout.kept.every_revision else min(self._written, self._records)
        if rows <= self._asked and len(self.looks) // 2 % self._every == 0:
            self._asked -= rows
            one.reads += self._queried(store)
        if rows <= self._kept:
            self._kept -= rows
            one.contents = {name: dump(store, name, self.published.frames[name]["key"].unique) for name in entities}
        one.reads += self._keyed(store, [*self._chosen_records(journal, one), *self._hot])
        one.reads += self._never(store)
        self.looks.append(one)

    def _read_on(self, journal: Journal, at: float) -> None:
        """Read what the journal has got since the last look; a checkpoint that is seen after a refresh waits for it."""
        self._written += sum(note.applied.positions.size for note in journal.notes[self._notes :])
        self._notes = len(journal.notes)
        waiting = journal.notes[journal.shown_by(at) :]
        seen_at = min((float(note.visible_at) for note in waiting), default=math.inf)
        while self._checkpoints < len(journal.checkpoints) and journal.checkpoints[self._checkpoints][0] < seen_at:
            _, name, position = journal.checkpoints[self._checkpoints]
            self._moved[name] = position
            self._checkpoints += 1

    @property
    def _records(self) -> int:
        return self._counted[0]

    @cached_property
    def _counted(self) -> tuple[int, int]:
        """Return how many records there are, and the number of the one that changes most."""
        record, spill = self.published.record, self.published.spill
        found = spill.empty(record.size + 1, np.int64)
        for block in blocks(self.chosen.size):
            np.add.at(found, record[self.chosen[block]], 1)
        return int(np.count_nonzero(found)), int(found.argmax())

    @cached_property
    def _hot(self) -> list[int]:
        """A change of the record that changes most, and one of a record that changes often."""
        record, most = self.published.record, self._counted[1]
        first = next(
            int(found[0])
            for block in blocks(self.chosen.size)
            if (found := self.chosen[block][record[self.chosen[block]] == most]).size
        )
        return [first, int(self._rng.choice(self.chosen))]

    @cached_property
    def _committed(self) -> tuple[np.ndarray, np.ndarray]:
        """The changes by index, and when they were committed, in the order of that."""
        whole, kept = self.chosen.size == self.published.committed_at.size, self.published.spill.array
        times = self.published.committed_at if whole else kept(self.published.committed_at[self.chosen])
        if in_order(times):
            return self.chosen, times
        order = np.argsort(times, kind="stable")
        return kept(self.chosen[order]), kept(times[order])

    def _chosen_records(self, journal: Journal, one: Glance) -> Iterator[int]:
        """Changes of the records to ask for: written last, deleted, written at some time, and not committed yet.

        And those that a session may have waited for: committed last, and the last that the store's checkpoint promises.
        """
        written = [note.applied.positions for note in journal.notes[-1:] if note.applied.positions.size]
        for positions in written:
            # Both ends of what was written last, and one between.
            yield int(positions[-1]) - 1
            yield int(positions[0]) - 1
            yield int(self._rng.choice(positions)) - 1
            gone = positions[self.published.deleted[positions - 1]]
            if gone.size:
                self._deleted = int(gone[-1]) - 1
        if self._deleted >= 0:
            yield self._deleted
        for _ in range(2):
            some = journal.notes[int(self._rng.integers(len(journal.notes)))] if journal.notes else None
            if some is not None and some.applied.positions.size:
                yield int(self._rng.choice(some.applied.positions)) - 1
        committed, times = self._committed
        place = int(np.searchsorted(times, one.at, side="right"))
        if place:
            yield int(committed[place - 1])
        for first in range(place, committed.size, AT_ONCE):
            ahead = committed[first : first + AT_ONCE]
            coming = ahead[self.published.revision[ahead] == 1]
            if coming.size:
                yield int(coming[0])
                break
        for checkpoint in sorted(set(one.stored.values())):
            promised = int(np.searchsorted(self.chosen, checkpoint))
            if 0 < promised <= self.chosen.size:
                yield int(self.chosen[promised - 1])

    def _keyed(self, store: Store, indices: Sequence[int]) -> Iterator[MidrunRead]:
        for index in indices:
            name = self.published.entities[int(self.published.entity_of[index])]
            query = self._query(store, name)
            if query is not None:
                key = self.published.frames[name]["key"][int(self.published.row_of[index])]
                yield MidrunRead(query, (key,), store.query(query, (key,)), int(self.published.record[index]))

    def _never(self, store: Store) -> Iterator[MidrunRead]:
        for name, entity in store.layout.entities.items():
            query = self._query(store, name)
            if query is not None:
                parameters = (NO_KEY[entity.key],)
                yield MidrunRead(query, parameters, store.query(query, parameters), -1)

    def _queried(self, store: Store) -> Iterator[MidrunRead]:
        for query in self.queries:
            for parameters in self.questions.drawn[query.name]:
                if query.name in self._unanswered:
                    break
                try:
                    rows = store.query(query, parameters)
                except NotAnswered:
                    # The data can be too much for an engine, and a statement of the user's own can take too long: both
                    # are judged in the end.
                    self._unanswered.add(query.name)
                else:
                    yield MidrunRead(query, parameters, rows)

    def _query(self, store: Store, entity: str) -> Query | None:
        """A question for one record by its key; None for a projection that can't answer it."""
        if entity not in self._by_key:
            query = Query("get", "get", store.layout.entities[entity])
            self._by_key[entity] = query if store.answers_query(query) else None
        return self._by_key[entity]
