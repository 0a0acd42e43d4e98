"""Histories in plain Python: what the source of truth committed, as a list of dicts.

Values are unique to a revision wherever their type allows it, so that a row tells which revision it shows. Those of
`lab.kit.wild` are not: they are awkward to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lab.base import Kind

Change = dict[str, Any]
Row = dict[str, Any]

# The columns of a state, unless a projector says which ones it wants. The first is never null.
COLUMNS: dict[str, Kind] = {"name": "str", "amount": "int", "price": "float"}
META = ("position", "key", "revision", "deleted", "event", "committed_at", "transaction", "transaction_size")
NAMES = ("ada", "bea", "cyd", "dan", "eve", "fay", "gus", "hal")
# The groups of aggregates, and the regions of keys with several parts.
GROUPS = ("north", "south", "west")
# Seconds since 1970 at which histories begin.
BEGIN = 1_700_000_000.0


@dataclass(frozen=True)
class Shape:
    """What the changes of a history look like: the type of the keys, and the columns of a state.

    Whole numbers have at most so many `bits`, with their sign. A key of several `parts` is a tuple, and the parts are
    columns too. For an aggregate, `by` is the column of its groups and `sums` are those that it adds up. In a `join`,
    records are customers and orders, which name a customer.
    """

    key: str = "int"
    columns: tuple[tuple[str, Kind], ...] = tuple(COLUMNS.items())
    bits: int = 64
    parts: tuple[tuple[str, Kind], ...] = ()
    by: str = ""
    sums: tuple[str, ...] = ()
    join: bool = False

    @property
    def view(self) -> bool:
        """Whether the rows that are wanted are no copy of the records."""
        return bool(self.by) or self.join


PLAIN = Shape()


class Planned(NamedTuple):
    """A change before it has a position and a revision.

    `nulls`: the columns that may be null are. `values` and `key` replace those that a record would have. `at` is the
    time of its commit. Neighbours of one `transaction`, if it is not 0, are committed together.
    """

    record: int
    deleted: bool = False
    nulls: bool = False
    values: tuple[tuple[str, Any], ...] = ()
    key: Any = None
    at: float | None = None
    transaction: int = 0


@dataclass(frozen=True)
class TrialHistory:
    """Changes by position, from 1 and without a gap, and the order in which they were committed."""

    changes: tuple[Change, ...]
    commits: tuple[int, ...]
    shape: Shape = PLAIN
    plan: tuple[Planned, ...] = ()

    def at(self, position: int) -> Change:
        """The change at a position."""
        return self.changes[position - 1]

    def last(self, positions: Iterable[int]) -> dict[Any, Change]:
        """The last of these changes for each key, tombstones included."""
        return _last(map(self.at, positions))


def _last(changes: Iterable[Change]) -> dict[Any, Change]:
    found: dict[Any, Change] = {}
    for change in changes:
        if change["key"] not in found or change["revision"] > found[change["key"]]["revision"]:
            found[change["key"]] = change
    return found


def committed_late(positions: Iterable[int]) -> set[int]:
    """Those of the positions that come after a later one."""
    highest, found = 0, set()
    for position in positions:
        if position < highest:
            found.add(position)
        highest = max(highest, position)
    return found


def live(changes: Iterable[Change]) -> list[Row]:
    """The live records that these changes amount to, whatever their order: key and state, sorted by key."""
    last = _last(changes)
    rows = [{name: change[name] for name in change if name not in META or name == "key"} for change in last.values()]
    return sorted((row for row in rows if not last[row["key"]]["deleted"]), key=lambda row: str(row["key"]))


def build(plan: Sequence[Planned], shape: Shape, commits: Sequence[int] = ()) -> TrialHistory:
    """A history from what is planned for each position."""
    revisions: dict[int, int] = {}
    alive: dict[int, bool] = {}
    changes: list[Change] = []
    for index, item in enumerate(plan):
        revisions[item.record] = revision = revisions.get(item.record, 0) + 1
        event = "deleted" if item.deleted else "changed" if alive.get(item.record) else "created"
        alive[item.record] = not item.deleted
        key, parts = _key(shape, item.record)
        meta = {
            "position": index + 1, "key": key if item.key is None else item.key, "revision": revision,
            "deleted": item.deleted, "event": event, "committed_at": item.at or _time(index),
        }  # fmt: skip
        changes.append(meta | _transaction(plan, index) | parts | _state(shape, item, revision))
    return TrialHistory(tuple(changes), tuple(commits) or tuple(range(1, len(plan) + 1)), shape, tuple(plan))


def _key(shape: Shape, record: int) -> tuple[Any, dict[str, Any]]:
    """The key of a record, and its parts: two records may have all parts but one in common."""
    if not shape.parts:
        return (f"key-{record}" if shape.key == "str" else record), {}
    parts: dict[str, Any] = {}
    for index, (name, kind) in enumerate(shape.parts):
        number = record % 2 if index == 0 else (record + 1) // 2 if index == 1 else 0
        parts[name] = GROUPS[number % len(GROUPS)] if kind == "str" and index == 0 else number
        if kind == "str" and index:
            parts[name] = f"key-{number}"
    return tuple(parts.values()), parts


def _state(shape: Shape, item: Planned, revision: int) -> dict[str, Any]:
    """The columns of a change."""
    if shape.join:
        if item.record % 3 == 1:
            return {"entity": "customer", "name": _value("str", item.record, revision)}
        customer = 1 + 3 * ((item.record + revision) % 2)
        return {"entity": "order", "customer": customer, "amount": _value("int", item.record, revision)}
    state = {name: _value(kind, item.record, revision) for name, kind in shape.columns}
    if item.nulls:
        # What is added up or makes groups is there.
        names = [name for number, (name, _) in enumerate(shape.columns) if number % 2]
        state |= {name: None for name in names if name not in (shape.by, *shape.sums)}
    if shape.by:
        state[shape.by] = GROUPS[(item.record + revision // 2) % len(GROUPS)]
    return state | dict(item.values)


def _time(index: int) -> float:
    """When a change is committed, in seconds: two at the same time, and every seventh by a clock that is behind."""
    return BEGIN + index // 2 - (3.0 if index % 7 == 5 else 0.0)


def _transaction(plan: Sequence[Planned], index: int) -> dict[str, int]:
    """The transaction of a change: the position of its first change, and how many it has."""
    own = plan[index].transaction
    if not own:
        return {"transaction": index + 1, "transaction_size": 1}
    first = last = index
    while first > 0 and plan[first - 1].transaction == own:
        first -= 1
    while last + 1 < len(plan) and plan[last + 1].transaction == own:
        last += 1
    return {"transaction": first + 1, "transaction_size": last - first + 1}


def _value(kind: Kind, record: int, revision: int) -> Any:
    if kind == "str":
        return f"{NAMES[record % len(NAMES)]}-{revision}"
    if kind == "bool":
        return revision % 2 == 1
    number = record * 1000 + revision
    return number if kind == "int" else number + 0.5


def draw(
    rng: np.random.Generator,
    shape: Shape,
    *,
    deletes: float = 0.0,
    nulls: float = 0.1,
    recreate: bool = False,
    late: bool = False,
    longest: int = 24,
) -> TrialHistory:
    """A history from a random stream. With `recreate`, a record may come back after its tombstone.

    Every fourth one is about a single record with more than nine revisions: 10 is behind 9 when they are compared as
    text.
    """
    long = rng.random() < 0.25
    count = int(rng.integers(11, 15)) if long else int(rng.integers(2, longest + 1))
    records = 1 if long else int(rng.integers(1, 7))
    drawn: list[tuple[int, bool]] = []
    dead: set[int] = set()
    seen: set[int] = set()
    for _ in range(count):
        able = [record for record in range(1, records + 1) if recreate or record not in dead]
        if not able:
            records += 1
            able = [records]
        record = able[int(rng.integers(len(able)))]
        # A tombstone needs something to delete; a record of one revision only shows little.
        deleted = record in seen and record not in dead and rng.random() < (deletes / 4 if long else deletes)
        dead = dead | {record} if deleted else dead - {record}
        seen.add(record)
        drawn.append((record, deleted))
    blanks = (rng.random(count) < nulls).tolist()
    plan = [Planned(record, deleted, null) for (record, deleted), null in zip(drawn, blanks, strict=True)]
    return build(plan, shape, _late(rng, plan) if late else ())


def _late(rng: np.random.Generator, plan: Sequence[Planned]) -> list[int]:
    """A commit order in which some changes come late; one record's changes stay in their order."""
    order = list(range(1, len(plan) + 1))
    for position in range(1, len(plan)):
        if rng.random() > 0.3:
            continue
        start = order.index(position)
        record, place = plan[position - 1].record, start
        for _ in range(int(rng.integers(1, 4))):
            if place + 1 < len(order) and plan[order[place + 1] - 1].record != record:
                place += 1
        order.insert(place, order.pop(start))
    return order
