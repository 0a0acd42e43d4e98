"""Tries whether a store keeps awkward values as they are: what it holds, what it answers, what it holds when reopened.

A change that the store declares that it can't take is parked, which is no fault; to alter it in silence is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lab.base import Key, Totals, stream
from lab.conformance.history import AwkwardHistory, all_keys, awkward_history, awkward_keys
from lab.conformance.values import shown, told
from lab.projection.guards import former_columns
from lab.projection.projector import Projector
from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores.layout import Layout
from lab.stores.port import Store
from lab.stores.whole import dump

# How many records with awkward values queries of a class are asked about; and with usual ones.
ASKED_AWKWARD = {"get": 14, "filter": 8, "as_of": 4, "history": 4}
ASKED_OTHERWISE, ASKED_USUAL = 2, 2


@dataclass
class ValueTrial:
    """One store, not yet open, whose projection is to be fed an awkward history and looked at."""

    store: Store
    policy: str
    hold: int
    queries: Sequence[Query]
    seed: int

    def faults(self) -> list[str]:
        """What the store altered, one line each; the first are the easiest to follow. Leaves the store closed."""
        self.queries = [query for query in self.queries if self.store.answers_query(query)]
        history = awkward_history(self.store.layout, self.queries, self.seed)
        try:
            return self._faults(history)
        finally:
            self.store.close()

    def _faults(self, history: AwkwardHistory) -> list[str]:
        layout = self.store.layout
        projector = Projector(self.store, self.policy, self.hold)
        before = former_columns(self.policy, layout)
        last: dict[str, int] = {}
        for entity, frame in history.batches:
            last[entity] = int(frame["position"][-1])
            try:
                projector.apply(entity, history.handed(entity, frame, before), last[entity])
            except Exception as error:
                return [f"{frame.height} changes of `{entity}` stopped it: {told(error)}{self._where()}"]
        parked = {name: projector.parked(name).tolist() for name in layout.entities}
        must = {name: history.expected(name, parked[name]) for name in layout.entities}
        found = self._refused(history, parked) or self._compared(must, "")
        found = found or self._looked_up(history, must) or self._asked(history, parked)
        if found or self.store.capabilities.durability == "memory":
            return found
        self.store.close()
        self.store.open()
        checkpoints = [
            f"the checkpoint of `{name}` came back as {at:,} and was {position:,}{self._where()}, reopened"
            for name, position in last.items()
            if (at := self.store.checkpoint(name)) != position
        ]
        return self._compared(must, ", reopened") or checkpoints

    def _refused(self, history: AwkwardHistory, parked: dict[str, list[int]]) -> list[str]:
        """Changes with usual values that the store would not take: it can't refuse everything."""
        lines = []
        for name, entity in self.store.layout.entities.items():
            usual = all_keys(entity, history.awkward[name])[history.awkward[name] :]
            changes = history.changes(name)
            refused = changes.filter(pl.col("key").is_in(usual) & pl.col("position").is_in(parked[name]))
            if refused.height:
                first = key_text(refused["key"][0])
                lines.append(f"{refused.height} changes with usual values were refused: {first}{self._where(name)}")
        return lines

    def _where(self, place: str = "") -> str:
        return f" ({place}{', ' if place else ''}{self.store.name})"

    def _compared(self, must: dict[str, pl.DataFrame], when: str) -> list[str]:
        return [
            line + when
            for name, expected in must.items()
            for line in differences(self.store, name, expected, self.store.layout)
        ]

    def _looked_up(self, history: AwkwardHistory, must: dict[str, pl.DataFrame]) -> list[str]:
        """Revisions by key, as guards look them up."""
        if self.store.layout.totals is not None:
            return []
        lines = []
        for name, expected in must.items():
            highest = dict(expected.group_by("key").agg(pl.col("revision").max()).sort("key").rows())
            # Keys that were never there stand among those that were.
            absent: list[Key] = [3, 2**40] if self.store.layout.entities[name].key == "int" else ["nu", "P" * 64]
            found = self.store.revisions(name, [*highest, *absent])
            lines += [
                f"{key_text(key)} is looked up at revision {found.get(key, 'none')}, and is at "
                f"{highest.get(key, 'none')}{self._where(name)}"
                for key in [*highest, *absent]
                if found.get(key) != highest.get(key)
            ]
        return lines

    def _asked(self, history: AwkwardHistory, parked: dict[str, list[int]]) -> list[str]:
        """Queries with the values and keys of single records."""
        entities = self.store.layout.entities
        every = {name: history.changes(name, parked[name]) for name in entities}
        newest = pl.col("revision") == pl.col("revision").max().over("key")
        histories = {name: ReferenceTable(entities[name], frame) for name, frame in every.items()}
        tables = {name: ReferenceTable(entities[name], frame.filter(newest)) for name, frame in every.items()}
        lines: list[str] = []
        for query in self.queries:
            # A statement of the user's own may compute what awkward values have no result for.
            if not KINDS[query.kind].own:
                mine = histories if KINDS[query.kind].past else tables
                for parameters in self._parameters(query, mine, history.awkward[query.entity.name]):
                    lines += self._answered(query, parameters, mine)
        return lines

    def _parameters(self, query: Query, tables: dict[str, ReferenceTable], awkward: int) -> list[Row]:
        """Parameters that a single record gives, in the order of the lists of values; of keys, some of several."""
        table, kind = tables[query.entity.name], KINDS[query.kind]
        rng = stream(self.seed, "conformance", query.name)
        if not kind.parameters(query):
            return [()]
        keys = awkward_keys(table.entity, awkward, ASKED_AWKWARD.get(query.kind, ASKED_OTHERWISE), ASKED_USUAL)
        found: dict[Row, None] = {}
        for key in keys:
            if query.kind == "get":
                found[(key,)] = None
                continue
            one = ReferenceTable(table.entity, table.frame.filter(pl.col("key") == key))
            found |= dict.fromkeys(kind.draw(query, tables | {query.entity.name: one}, 1, rng))
        if kind.parameters(query)[0].most > 1:
            few = ReferenceTable(table.entity, table.frame.filter(pl.col("key").is_in(keys)))
            found |= dict.fromkeys(kind.draw(query, tables | {query.entity.name: few}, 1, rng))
        return list(found)

    def _answered(self, query: Query, parameters: Row, tables: dict[str, ReferenceTable]) -> list[str]:
        kind = KINDS[query.kind]
        expected = kind.answer(query, parameters, tables)
        asked = ", ".join(map(shown, dict.fromkeys(parameters))) or "nothing"
        try:
            found = self.store.query(query, parameters)
        except Exception as error:
            return [f"query `{query.name}`, asked with {asked}, failed: {told(error)}{self._where()}"]
        if kind.agrees(query, expected, found):
            return []
        return [f"query `{query.name}`, asked with {asked}, {_answer(expected, found)}{self._where()}"]


def key_text(key: Any) -> str:
    """A record, by its key."""
    return f"the record with key {shown(key)}"


def differences(store: Store, entity: str, expected: pl.DataFrame, layout: Layout) -> list[str]:
    """Differences between what a store holds of an entity and what it must hold, one line each."""
    found = layout.shown(dump(store, entity))
    where = f"{entity}, {store.name}"
    if dict(found.schema) != layout.schema(entity):
        wrong = [f"{name} {found.schema.get(name)}" for name, kind in layout.schema(entity).items()
                 if found.schema.get(name) != kind]  # fmt: skip
        return [f"columns come back in another type: {', '.join(wrong)} ({where})"]
    expected = layout.shown(expected)
    if found.equals(expected):
        return []
    identity = layout.totals.group_by if layout.totals else layout.identity
    return _by_row(expected, found, identity, layout.totals, where) or [f"rows come in another order ({where})"]


def _by_row(
    expected: pl.DataFrame, found: pl.DataFrame, identity: Sequence[str], totals: Totals | None, where: str
) -> list[str]:
    places = [expected.columns.index(name) for name in identity]

    def name_of(row: Row) -> Row:
        return tuple(row[place] for place in places)

    def record(row: Row) -> str:
        if totals is not None:
            return f"the group of {', '.join(shown(value) for value in name_of(row))}"
        return key_text(row[1]) + (f" and revision {row[2]}" if len(places) > 1 else "")

    shows: dict[Row, list[Row]] = {}
    for row in found.rows():
        shows.setdefault(name_of(row), []).append(row)
    altered, missing, other = [], [], []
    for row in expected.rows():
        mine = shows.pop(name_of(row), [])
        if not mine:
            missing.append(f"{record(row)} is not there ({where})")
        elif len(mine) > 1:
            other.append(f"{record(row)} is there {len(mine)} times ({where})")
        elif totals is None and mine[0][0] != row[0]:
            # Another change took its place: that of a record whose key became the same.
            other.append(f"{record(row)} holds the change at position {mine[0][0]:,}, not {row[0]:,} ({where})")
        else:
            altered += [
                f"{shown(value)} came back as {shown(given)} (column {name}, {where})"
                for name, value, given in zip(expected.columns, row, mine[0], strict=True)
                if value != given
            ]
    extra = [f"{record(rows[0])} is there, and was never written ({where})" for rows in shows.values()]
    # The first are the easiest to follow.
    return [*altered, *missing, *other, *extra]


def _answer(expected: Sequence[Row], found: Sequence[Row]) -> str:
    if len(expected) != len(found):
        return f"gives {len(found)} rows and must give {len(expected)}"
    for one, other in zip(expected, found, strict=True):
        differs = [(value, given) for value, given in zip(one, other, strict=False) if value != given]
        if differs:
            return f"gives {shown(differs[0][1])} for {shown(differs[0][0])}"
    return "gives another answer"
