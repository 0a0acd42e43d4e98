"""A history of awkward changes for the entities of one projection, and what the projection must then hold.

It is worked out over plain frames: what must be there is computed without projector, guard or store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from lab.base import Entity, Key, stream
from lab.conformance.values import HOSTILE, KEYS, SUMMABLE, USUAL
from lab.feed.reader import with_before
from lab.queries.model import Query
from lab.stores.layout import Layout

# Records with usual values: more than the rows of one statement, of one page, of a small cache.
USUAL_RECORDS = 150
# How many of them are changed or deleted.
CHANGED = 24
# Revisions of one record: more than a byte counts.
REVISIONS = 260
# Where the positions go on after the first batches: behind what 32 bits hold.
FAR = 2**33
# Seconds since 1970: a time that 32 bits of a float don't hold.
BEGAN = 1_700_000_000.0


@dataclass
class AwkwardHistory:
    """The changes of each entity in the order of commits, cut into batches.

    `awkward` are how many records of each entity have awkward values; they are its first ones.
    """

    layout: Layout
    batches: list[tuple[str, pl.DataFrame]] = field(default_factory=list)
    awkward: dict[str, int] = field(default_factory=dict)

    def changes(self, entity: str, parked: Sequence[int] = ()) -> pl.DataFrame:
        """Every change of an entity, but for the parked ones."""
        frames = [frame for name, frame in self.batches if name == entity]
        return pl.concat(frames).filter(~pl.col("position").is_in(list(parked)))

    def expected(self, entity: str, parked: Sequence[int] = ()) -> pl.DataFrame:
        """What a projection must hold of an entity, sorted as a dump is, if these changes are parked."""
        frame = self.changes(entity, parked)
        if self.layout.kept.every_revision:
            return frame.sort("key", "revision")
        last = frame.filter(pl.col("revision") == pl.col("revision").max().over("key")).sort("key")
        if self.layout.totals is None:
            return last
        totals = self.layout.totals
        sums = [pl.col(name).sum().alias(f"sum_{name}") for name in totals.sum]
        live = last.filter(~pl.col("deleted"))
        groups = live.group_by(totals.group_by).agg(pl.len().cast(pl.Int64).alias("records"), *sums)
        return groups.sort(totals.group_by, nulls_last=True)

    def handed(self, entity: str, frame: pl.DataFrame, before: Sequence[str]) -> pl.DataFrame:
        """A batch as it is handed to a projector; `before` are columns whose former values come along."""
        if not before:
            return frame
        whole = with_before(self.changes(entity), before)
        return whole.filter(pl.col("position").is_in(frame["position"].implode()))


def awkward_history(layout: Layout, queries: Sequence[Query], seed: int) -> AwkwardHistory:
    """Draw a history: creations, updates, deletions, re-creations; batches of one row to hundreds."""
    history = AwkwardHistory(layout)
    summed = _summed(layout, queries)
    links = _links(layout, queries)
    position = 0
    for name, entity in layout.entities.items():
        rng = stream(seed, "conformance", name)
        rows = _Rows(entity, summed.get(name, frozenset()), links.get(name, {}), rng)
        history.awkward[name] = rows.awkward
        for planned in rows.batches():
            start = position + 1 if position > FAR or len(planned) < REVISIONS else position + FAR
            wide = [(start + at, *row[:3], BEGAN + (start + at) % FAR / 64, *row[3:]) for at, row in enumerate(planned)]
            position = wide[-1][0]
            history.batches.append((name, pl.DataFrame(wide, schema=entity.schema, orient="row")))
    return history


def _summed(layout: Layout, queries: Sequence[Query]) -> dict[str, frozenset[str]]:
    """The columns that are added up, by entity: a sum of the largest numbers is no number of 64 bits."""
    found: dict[str, set[str]] = {name: set() for name in layout.entities}
    for query in queries:
        found[query.entity.name].update(query.sum)
    if layout.totals is not None:
        found[layout.totals.entity].update(layout.totals.sum)
    return {name: frozenset(columns) for name, columns in found.items()}


def _links(layout: Layout, queries: Sequence[Query]) -> dict[str, dict[str, str]]:
    """The columns that hold keys of other records, by entity: each with the type of those keys."""
    found: dict[str, dict[str, str]] = {name: {} for name in layout.entities}
    for name, entity in layout.entities.items():
        for embed in entity.embeds:
            if embed.entity in layout.entities:
                found[name][embed.on] = layout.entities[embed.entity].key
    for query in queries:
        if query.on and query.other:
            found[query.entity.name][query.on] = query.other.key
    return found


def all_keys(entity: Entity, awkward: int) -> list[Key]:
    """The keys of an entity's records in the order of creation; `awkward` records have awkward values."""
    spare = range(awkward + USUAL_RECORDS)
    return [*KEYS[entity.key], *(f"k{at:04}" if entity.key == "str" else 1_000 + at for at in spare)]


def awkward_keys(entity: Entity, awkward: int, count: int, usual: int) -> list[Key]:
    """The keys of the first so many records with awkward values, and of so many with usual ones."""
    keys = all_keys(entity, awkward)
    return [*keys[: min(count, awkward)], *keys[awkward + 1 : awkward + 1 + usual]]


# key, revision, deleted, and the entity's own columns.
PlannedRow = tuple[Any, ...]


class _Rows:
    """The planned rows of one entity, batch by batch."""

    def __init__(
        self, entity: Entity, summed: frozenset[str], links: Mapping[str, str], rng: np.random.Generator
    ) -> None:
        self.entity, self.rng = entity, rng
        self._revisions: dict[int, int] = {}
        self._lists = {
            name: SUMMABLE[kind] if name in summed else KEYS[links[name]] if name in links else HOSTILE[kind]
            for name, kind in entity.columns.items()
        }
        self._usual = {name: SUMMABLE[kind] if name in summed else USUAL[kind] for name, kind in entity.columns.items()}
        self.awkward = max([len(KEYS[entity.key]), *map(len, self._lists.values())])
        self._keys = all_keys(entity, self.awkward)

    def batches(self) -> Iterator[list[PlannedRow]]:
        """Batches of awkward records, one of usual ones, one of many revisions of a record."""
        numbers = range(self.awkward)
        created = [self._row(at) for at in numbers]
        yield created[:7]
        yield created[7:8]
        yield created[8:]
        # Values become null, and null becomes a value.
        changed = [at for at in numbers if at % 3 == 0]
        yield [self._row(at, shift=1, empty=at % 2 == 0) for at in changed]
        deleted = [at for at in numbers if at % 5 == 1]
        yield [self._row(at, deleted=True, shift=at % 2) for at in deleted]
        yield [self._row(at, shift=2) for at in deleted[::2]] + [self._row(at) for at in changed[::2]]
        first = self.awkward
        usual = [self._row(at) for at in range(first, first + USUAL_RECORDS)]
        many = [self._row(first) for _ in range(REVISIONS)]
        yield usual + many
        yield [self._row(at, deleted=at % 2 == 0) for at in range(first + 1, first + 1 + CHANGED)]

    def _row(self, number: int, deleted: bool = False, shift: int = 0, empty: bool = False) -> PlannedRow:
        revision = self._revisions[number] = self._revisions.get(number, 0) + 1
        values = (None if empty else self._value(number, name, shift) for name in self.entity.columns)
        return (self._keys[number], revision, deleted, *values)

    def _value(self, number: int, name: str, shift: int) -> Any:
        if name == self.entity.parent:
            # Below a former record, so that links go round in no circle.
            return None if number % 4 == 0 else self._keys[number // 2]
        if number >= self.awkward:
            options = self._usual[name]
            return options[int(self.rng.integers(len(options)))]
        options = self._lists[name]
        return options[(number + shift) % len(options)]
