"""The oracle: computes the expected source of truth and projections independently of the pipeline.

For commands it decides them all again in memory; for a trace it folds the trace. It uses the domain and plain
frames, and no feed, channel, projector or store. What is published of a record it makes of each state by itself, by
the contract's plain function, and not by the expressions that the feed goes by.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import polars as pl

from lab.base import INT_MAX, INT_MIN, META, Key, Totals, Unsound
from lab.domain.model import Command, Domain, Record, Rejection, published
from lab.queries.answers import ReferenceTable
from lab.spill import ROWS, Spill, reordered
from lab.statistics.grouped import by_key_and_revision, by_keys


class _Model:
    """A write model in memory: the records in a dictionary."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, Key], Record] = {}

    def get(self, entity: str, key: Key) -> Record | None:
        """Return the record, if there is or was one."""
        return self.records.get((entity, key))


class Oracle:
    """The expected history: for each entity a change frame of every revision, by position.

    `revisions` have the published columns; `written` those of the write model, where they are not the same.
    """

    def __init__(
        self,
        domain: Domain,
        revisions: dict[str, pl.DataFrame],
        outcomes: dict[str, int],
        written: dict[str, pl.DataFrame] | None = None,
        spill: Spill | None = None,
    ) -> None:
        self.domain = domain
        self.entities = published(domain)
        self.revisions = revisions
        self.written = revisions if written is None else written
        self.outcomes = outcomes
        self._totals: dict[Totals, pl.DataFrame] = {}
        self._sorted: dict[str, pl.DataFrame] = {}
        self._spill = spill or Spill()

    @classmethod
    def of_commands(cls, domain: Domain, commands: Iterable[Command]) -> Oracle:
        """Decide every command again, in their order."""
        model = _Model()
        rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in domain.entities}
        outcomes = {"accepted": 0, "rejected": 0, "conflict": 0}
        position = 0
        for command in commands:
            record = model.get(command.entity, command.key)
            if command.expected is not None and command.expected != (record.revision if record else 0):
                outcomes["conflict"] += 1
                continue
            decision = domain.decide(model, command)
            if isinstance(decision, Rejection):
                outcomes["rejected"] += 1
                continue
            outcomes["accepted"] += 1
            for event in decision:
                entity, key = event.about or (command.entity, command.key)
                record = model.get(entity, key)
                state = domain.evolve(record.state if record else None, event)
                deleted = domain.events[entity][event.name].deletes
                record = Record(state, (record.revision if record else 0) + 1, deleted)
                model.records[entity, key] = record
                position += 1
                values = (state[name] for name in domain.entities[entity].columns)
                rows[entity].append((position, key, record.revision, deleted, command.at, *values))
        frames = {
            name: pl.DataFrame(rows[name], schema=entity.schema, orient="row")
            for name, entity in domain.entities.items()
        }
        return cls(domain, _as_published(domain, frames), outcomes, frames)

    @classmethod
    def of_trace(cls, domain: Domain, frames: dict[str, pl.DataFrame], spill: Spill | None = None) -> Oracle:
        """Take a trace as the history, all of which was accepted when it happened; large frames go to `spill`."""
        revisions = {name: frame.select(list(domain.entities[name].schema)) for name, frame in frames.items()}
        count = sum(frame.height for frame in frames.values())
        outcomes = {"accepted": count, "rejected": 0, "conflict": 0}
        return cls(domain, _as_published(domain, revisions), outcomes, revisions, spill)

    @cached_property
    def states(self) -> dict[str, pl.DataFrame]:
        """Return the last revision of each record, deleted ones included, by key."""
        spill = self._spill
        return {name: reordered(frame, _last_rows(frame, spill), spill) for name, frame in self.revisions.items()}

    @cached_property
    def tables(self) -> dict[str, ReferenceTable]:
        """Return the last revisions, for queries of current records."""
        return {
            name: ReferenceTable(self.entities[name], frame, self._live(frame)) for name, frame in self.states.items()
        }

    @cached_property
    def histories(self) -> dict[str, ReferenceTable]:
        """Return all revisions, for queries of the past."""
        return {name: ReferenceTable(self.entities[name], frame) for name, frame in self.revisions.items()}

    def _live(self, states: pl.DataFrame) -> pl.DataFrame:
        """Return the records that are not deleted, on disk if they are many."""
        if not states["deleted"].any():
            return states
        pieces = (states[first : first + ROWS].filter(~pl.col("deleted")) for first in range(0, states.height, ROWS))
        return self._spill.frame(pieces, dict(states.schema))

    def totals(self, totals: Totals) -> pl.DataFrame:
        """What a running aggregate must show: the live records counted and summed, once."""
        if totals not in self._totals:
            live = self.states[totals.entity].filter(~pl.col("deleted"))
            # A sum of whole numbers may need more than 64 bits, and is right all the same.
            whole = {name for name in totals.sum if live.schema[name].is_integer()}
            sums = [
                (pl.col(name).cast(pl.Int128) if name in whole else pl.col(name)).sum().alias(f"sum_{name}")
                for name in totals.sum
            ]
            grouped = live.group_by(totals.group_by).agg(pl.len().cast(pl.Int64).alias("records"), *sums)
            narrow = [f"sum_{name}" for name in whole if grouped[f"sum_{name}"].is_between(INT_MIN, INT_MAX).all()]
            grouped = grouped.with_columns(pl.col(narrow).cast(pl.Int64))
            self._totals[totals] = grouped.sort(totals.group_by, nulls_last=True)
        return self._totals[totals]

    def expected(self, keeps: str, entity: str, totals: Totals | None) -> pl.DataFrame:
        """What a projection must hold of an entity, sorted as a store's dump is."""
        if keeps == "totals":
            assert totals is not None
            return self.totals(totals)
        if keeps == "revisions":
            if entity not in self._sorted:
                frame = self.revisions[entity]
                rows = by_key_and_revision(frame, self.states[entity]["key"], self._spill)
                self._sorted[entity] = reordered(frame, rows, self._spill)
            return self._sorted[entity]
        return self.states[entity]

    def committed(self, entities: Iterable[str]) -> int:
        """Return the number of changes of these entities."""
        return sum(self.revisions[name].height for name in entities)

    def confirm(self, written: dict[str, pl.DataFrame]) -> None:
        """Raise Unsound unless the source of truth has written the expected history."""
        _same(self.written, written, "wrote")

    def confirm_published(self, found: dict[str, pl.DataFrame]) -> None:
        """Raise Unsound unless its feed publishes every revision as expected."""
        _same(self.revisions, found, "published")


def _last_rows(frame: pl.DataFrame, spill: Spill) -> np.ndarray:
    """Return which rows are the last revisions of their records, by key."""
    found = []
    for some in by_keys(frame.select("key", "revision"), spill):
        found.append(some.filter(pl.col("revision") == pl.col("revision").max().over("key")).drop("revision"))
    return pl.concat(found).sort("key")["row"].to_numpy()


def _same(must: dict[str, pl.DataFrame], found: dict[str, pl.DataFrame], did: str) -> None:
    for name, frame in must.items():
        rows = found[name].select(frame.columns).sort("position")
        if not rows.equals(frame.sort("position")):
            raise Unsound(
                f"the source of truth {did} {rows.height} changes of `{name}` that are not the "
                f"{frame.height} that its commands amount to; no figure of this run means anything"
            )


def _as_published(domain: Domain, written: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """What is published of the write model's revisions: state by state, where there is a contract."""
    frames = dict(written)
    for name, contract in domain.contracts.items():
        meta = written[name].select(META).rows()
        states = map(contract.publish, written[name].select(list(domain.entities[name].columns)).iter_rows(named=True))
        rows = [
            (*row, *(state[column] for column in contract.entity.columns))
            for row, state in zip(meta, states, strict=True)
        ]
        frames[name] = pl.DataFrame(rows, schema=contract.entity.schema, orient="row")
    return frames
