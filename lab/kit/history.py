"""Small histories in plain Python: what the source of truth committed, as a list of dicts.

Values are unique to a revision wherever their type allows it, so that a row tells which revision it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.base import Kind

Change = dict[str, Any]
Row = dict[str, Any]

# The columns of a state, unless a projector says which ones it wants. The first is never null.
COLUMNS: dict[str, Kind] = {"name": "str", "amount": "int", "price": "float"}
META = ("position", "key", "revision", "deleted")
NAMES = ("ada", "bea", "cyd", "dan", "eve", "fay", "gus", "hal")


@dataclass(frozen=True)
class Shape:
    """What the changes of a history look like: the type of the keys, and the columns of a state."""

    key: str = "int"
    columns: tuple[tuple[str, Kind], ...] = tuple(COLUMNS.items())


@dataclass(frozen=True)
class TrialHistory:
    """Changes by position, from 1 and without a gap, and the order in which they were committed."""

    changes: tuple[Change, ...]
    commits: tuple[int, ...]
    shape: Shape = Shape()

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


def build(
    plan: Sequence[tuple[int, bool]], shape: Shape, nulls: Sequence[bool] = (), commits: Sequence[int] = ()
) -> TrialHistory:
    """A history from (record, deleted) for each change. `nulls` says in which changes the later columns are null."""
    revisions: dict[int, int] = {}
    changes: list[Change] = []
    for index, (record, deleted) in enumerate(plan):
        revisions[record] = revision = revisions.get(record, 0) + 1
        key: Any = f"key-{record}" if shape.key == "str" else record
        state = {name: _value(kind, record, revision) for name, kind in shape.columns}
        if index < len(nulls) and nulls[index]:
            state |= {name: None for number, (name, _) in enumerate(shape.columns) if number % 2}
        changes.append({"position": index + 1, "key": key, "revision": revision, "deleted": deleted} | state)
    return TrialHistory(tuple(changes), tuple(commits) or tuple(range(1, len(plan) + 1)), shape)


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
    plan: list[tuple[int, bool]] = []
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
        plan.append((record, deleted))
    blanks = (rng.random(count) < nulls).tolist()
    return build(plan, shape, blanks, _late(rng, plan) if late else ())


def _late(rng: np.random.Generator, plan: Sequence[tuple[int, bool]]) -> list[int]:
    """A commit order in which some changes come late; one record's changes stay in their order."""
    order = list(range(1, len(plan) + 1))
    for position in range(1, len(plan)):
        if rng.random() > 0.3:
            continue
        start = order.index(position)
        record, place = plan[position - 1][0], start
        for _ in range(int(rng.integers(1, 4))):
            if place + 1 < len(order) and plan[order[place + 1] - 1][0] != record:
                place += 1
        order.insert(place, order.pop(start))
    return order
