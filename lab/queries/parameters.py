"""Parameters for queries, drawn from the data by a seeded stream: every drawn value occurs in a live record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from lab.queries.answers import Row, Table
from lab.queries.model import Query
from lab.queries.text import plain


def draw(query: Query, tables: Mapping[str, Table], count: int, rng: np.random.Generator) -> list[Row]:
    """`count` sets of parameters. Half of the drawn keys come from a hot hundredth of the records.

    `tables` hold the last revision of each record; for `as_of` and `history` all revisions. Without a
    single live record there is nothing to ask, and the list is empty.
    """
    table = tables[query.entity.name]
    frame = table.frame.sort("position") if query.kind in ("as_of", "history") else table.live
    if not frame.height:
        return []
    match query.kind:
        case "traverse" if query.walk == "path":
            return list(zip(_keys(frame, count, rng), _keys(frame, count, rng), strict=True))
        case "search":
            return _words(query, frame, count, rng)
        case "sql":
            return _columns(query, tables, count, rng)
        case "get" | "traverse" | "history":
            return [(key,) for key in _keys(frame, count, rng)]
        case "get_many":
            drawn = _keys(frame, count * query.count, rng)
            return [tuple(drawn[start : start + query.count]) for start in range(0, len(drawn), query.count)]
        case "as_of":
            times = frame["committed_at"].to_numpy()
            moments = rng.uniform(times.min(), times.max(), count)
            return list(zip(_keys(frame, count, rng), map(float, moments), strict=True))
    return [_conditions(query, frame, rng) for _ in range(count)]


def _keys(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> list[Any]:
    cold = rng.integers(frame.height, size=count)
    hot = rng.integers(max(1, frame.height // 100), size=count)
    rows = np.where(rng.random(count) < 0.5, hot, cold)
    return frame["key"].gather(rows).to_list()


def _words(query: Query, frame: pl.DataFrame, count: int, rng: np.random.Generator) -> list[Row]:
    """Words that are together in one drawn record, so that there is a match."""
    texts = frame.select(text=plain(query.entity.texts)).filter(pl.col("text") != "")["text"]
    if not texts.len():
        return []
    drawn = []
    for text in texts.gather(rng.integers(texts.len(), size=count)):
        words = sorted(set(text.split()))
        drawn.append((" ".join(rng.choice(words, size=min(query.words, len(words)), replace=False).tolist()),))
    return drawn


def _columns(query: Query, tables: Mapping[str, Table], count: int, rng: np.random.Generator) -> list[Row]:
    """Values of drawn records for a statement's parameters; without a value to draw there is nothing to ask."""
    drawn = []
    for entity, column in query.parameters:
        values = tables[entity].live[column].drop_nulls()
        if not values.len():
            return []
        drawn.append(values.gather(rng.integers(values.len(), size=count)).to_list())
    return list(zip(*drawn, strict=True)) if drawn else [()] * count


def _conditions(query: Query, frame: pl.DataFrame, rng: np.random.Generator) -> Row:
    """Values of one drawn record, so that equalities hold together; a range lies between two records."""
    drawn = [condition for condition in query.where if condition.drawn]
    rows = rng.integers(frame.height, size=2)
    values = []
    for condition in drawn:
        usable = frame[condition.column].gather(rows).drop_nulls().sort().to_list()
        if not usable:
            usable = frame[condition.column].drop_nulls().head(1).to_list() or [None]
        both = sum(other.column == condition.column for other in drawn) == 2
        if both:
            values.append(usable[0] if condition.operator == ">=" else usable[-1])
        else:
            one = frame[condition.column][int(rows[0])]
            values.append(usable[0] if one is None else one)
    return tuple(values)
