"""Sums that need more than 64 bits, from SQLite, whose whole numbers have 64.

The engine raises an error for such a sum. The aggregate is then asked again, with each column of whole numbers summed
in two halves, which are put together here: exact, and at no cost for all other sums.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from lab.queries.answers import Row
from lab.queries.kinds.matching import grouped_sql
from lab.queries.model import Query
from lab.queries.sql import bind, quoted

# 2^31 values of the lower half are less than 64 bits.
HALF = 32


def in_halves(
    error: sqlite3.OperationalError,
    query: Query,
    parameters: Row,
    keeps: str,
    ask: Callable[[str, Row], list[Row]],
) -> list[Row]:
    """Ask an aggregate again whose sum had more than 64 bits; raises any other error of the engine again."""
    if query.kind != "aggregate" or "integer overflow" not in str(error):
        raise error
    statement, arguments = _in_halves(query, keeps)
    return [_whole(query, row) for row in ask(statement, bind(arguments, parameters))]


def _in_halves(query: Query, keeps: str) -> tuple[str, tuple[object, ...]]:
    sums: list[str] = []
    for name in query.sum:
        column = f"t.{quoted(name)}"
        halves = (f"{column} >> {HALF}", f"{column} & {2**HALF - 1}")
        sums += halves if query.entity.columns[name] == "int" else [column]
    return grouped_sql(query, keeps, sums)


def _whole(query: Query, row: Row) -> Row:
    """A row with each pair of halves as one number."""
    place = len(query.group_by) + 1
    values = list(row[:place])
    for name in query.sum:
        if query.entity.columns[name] == "int":
            values.append((row[place] << HALF) + row[place + 1])
            place += 2
        else:
            values.append(row[place])
            place += 1
    return tuple(values)
