"""Queries along the links of records to their parents: below one, near one, the way between two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds.base import Pool, QueryClass, Statement, draw_keys, key_of
from lab.queries.model import AnswerColumn, Parameter, Query
from lab.queries.reader import QueryReader
from lab.queries.sql import DEPTH_MAX, MEETING, quoted, source


class Traversal(QueryClass):
    """`traverse`: records by their place in the tree of parents, over live records only.

    `below` gives key and depth of each record below the first, `near` those of each record within `depth` steps up or
    down (both by depth, then key). `path` gives the step and key of each record on the way from one record up to the
    nearest one that is above both, and down to the other.
    """

    name = "traverse"
    asks = "records by their place below or near another, where an entity has a parent"
    gives = "`below`, `near`: key and depth of each record, by both; `path`: step and key of each record on the way"
    uses = ("walk", "depth")

    def resolve(self, reader: QueryReader) -> dict[str, Any]:
        """Refuse an entity without a parent column."""
        if reader.entity.parent is None:
            reader.wrong("kind", f"`{reader.entity.name}` has no parent column to traverse")
        return {}

    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw one key, or two for a path."""
        return list(zip(*(draw_keys(pool.frame, count, rng) for _ in self.parameters(query)), strict=True))

    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """The key; of a path also the other one."""
        return (key_of(query), key_of(query, "other")) if query.walk == "path" else (key_of(query),)

    def columns(self, query: Query) -> tuple[AnswerColumn, ...]:
        """Key and depth; of a path step and key."""
        key = AnswerColumn("key", query.entity.key, nullable=False)
        if query.walk == "path":
            return AnswerColumn("step", "int", nullable=False), key
        return key, AnswerColumn("depth", "int", nullable=False)

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Walk from record to record, level by level."""
        table = tables[query.entity.name]
        match query.walk:
            case "below":
                return _reached(parameters[0], table, DEPTH_MAX, lambda key: table.children.get(key, ()))
            case "near":
                return _reached(parameters[0], table, query.depth, lambda key: _beside(key, table))
        return _way(*(_line(key, table) for key in parameters))

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """A recursive statement."""
        return _WALKS[query.walk](query, source(query.entity.name, keeps), quoted(str(query.entity.parent)))


def _beside(key: Any, table: ReferenceTable) -> list[Any]:
    """The records one step down or up."""
    above = table.parents.get(key)
    return [*table.children.get(key, ()), *([above] if above in table.parents else [])]


def _reached(start: Any, table: ReferenceTable, most: int, steps: Callable[[Any], Iterable[Any]]) -> list[Row]:
    """Key and depth of each record that is reached from the first within `most` steps."""
    if start not in table.parents:
        return []
    depth_of: dict[Any, int] = {start: 0}
    level, depth = [start], 0
    while level and depth < most:
        depth += 1
        level = [other for key in level for other in steps(key) if other not in depth_of]
        depth_of.update((key, depth) for key in level)
    del depth_of[start]
    return sorted(depth_of.items(), key=lambda item: (item[1], item[0]))


def _line(key: Any, table: ReferenceTable) -> list[Any]:
    """From a record upwards, itself first; a cycle, which a projection that has diverged can hold, ends it."""
    line: list[Any] = []
    while key in table.parents and key not in line and len(line) <= DEPTH_MAX:
        line.append(key)
        key = table.parents[key]
    return line


def _way(one: list[Any], other: list[Any]) -> list[Row]:
    """Step and key from the first record of one line to the first of the other, by way of where the lines meet."""
    depth = {key: place for place, key in reversed(list(enumerate(other)))}
    meet = [(up + depth[key], up, depth[key]) for up, key in enumerate(one) if key in depth]
    if not meet:
        return []
    _, up, down = min(meet)
    return list(enumerate([*one[: up + 1], *reversed(other[:down])]))


def _below(query: Query, table: str, parent: str) -> Statement:
    # Each record has one parent, so no level has a record twice: nothing is to be compared with what is there already.
    return _reached_in_sql(
        f"SELECT key, 0 FROM {table} AS t WHERE key = ? AND NOT deleted UNION ALL SELECT c.key, w.depth + 1 "
        f"FROM lab_walk AS w JOIN {table} AS c ON c.{parent} = w.key WHERE NOT c.deleted AND w.depth < {DEPTH_MAX}",
        "key, depth",
    )


def _near(query: Query, table: str, parent: str) -> Statement:
    """A step up or down at a time."""
    return _reached_in_sql(
        f"SELECT key, {parent}, 0 FROM {table} AS t WHERE key = ? AND NOT deleted "
        f"UNION SELECT o.key, o.{parent}, w.depth + 1 FROM lab_walk AS w JOIN {table} AS o "
        f"ON o.{parent} = w.key OR o.key = w.above WHERE NOT o.deleted AND w.depth < {query.depth}",
        "key, above, depth",
    )


def _reached_in_sql(steps: str, columns: str) -> Statement:
    """Each record with the least depth at which the steps reach it, but for the first."""
    statement = (
        f"WITH RECURSIVE lab_walk({columns}) AS ({steps}) SELECT key, MIN(depth) AS depth FROM lab_walk "
        "GROUP BY key HAVING MIN(depth) > 0 ORDER BY 2, 1"
    )
    return statement, ("?",)


def _path(query: Query, table: str, parent: str) -> Statement:
    """Both lines upwards; where they meet first is the top of the path."""
    return f"{_lines(table, parent)}, {MEETING}", ("?", "?")


def _lines(table: str, parent: str) -> str:
    def line(name: str) -> str:
        return (
            f"{name}(key, above, depth) AS (SELECT key, {parent}, 0 FROM {table} AS t WHERE key = ? AND NOT deleted "
            f"UNION ALL SELECT o.key, o.{parent}, w.depth + 1 FROM {name} AS w JOIN {table} AS o ON o.key = w.above "
            f"WHERE NOT o.deleted AND w.depth < {DEPTH_MAX})"
        )

    return f"WITH RECURSIVE {line('lab_one')}, {line('lab_other')}"


def lines(query: Query, keeps: str) -> str:
    """The definitions of both lines of a path, `lab_one` and `lab_other`: see `BOTH` and `meeting`."""
    return _lines(source(query.entity.name, keeps), quoted(str(query.entity.parent)))


# The end of a statement that gives both lines, for an engine that is part of this process: to join them takes it longer
# than to hand them over.
BOTH = "SELECT 0, depth, key FROM lab_one UNION ALL SELECT 1, depth, key FROM lab_other"


def meeting(found: Iterable[Row]) -> list[Row]:
    """The path, from the rows of `BOTH`."""
    both: tuple[list[Any], list[Any]] = [], []
    for side, _, key in sorted(found):
        both[side].append(key)
    return _way(*both)


_WALKS: dict[str, Callable[[Query, str, str], Statement]] = {"below": _below, "near": _near, "path": _path}
# The walks by name, as a scenario says them.
WALKS = tuple(_WALKS)
