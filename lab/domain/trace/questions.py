"""Propose queries for any data: by key, by a column with few values, as of a time, through a record's history."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from lab.base import Entity
from lab.domain.trace.counting import distinct
from lab.domain.trace.instants import moments

# A column divides the data if it has at most this many values, and each occurs at least twice on average.
VALUES_MAX = 1_000
# The maximum number of columns that are searched for words, and of values that are examined for it.
TEXTS = 2
SAMPLE = 10_000

# Whole numbers that no one adds up, by their names: keys of other records.
IDS = r"(?i)(^|_)id$|(?-i:[a-z]I[dD]$)"
# Categories have at most so many characters, on average.
CATEGORY = 30


def dividing(entity: Entity, frame: pl.DataFrame, key: Sequence[str]) -> str | None:
    """Return the text, boolean or whole-number column with the fewest values, but at least two; else None.

    Categories come before times and before free text, whose values are long or of many words.
    """
    found = []
    for place, (name, kind) in enumerate(entity.columns.items()):
        if kind == "float" or name in entity.scales or (name in key and len(key) == 1):
            continue
        values = distinct(frame[name].drop_nulls())
        if 2 <= values <= min(VALUES_MAX, frame.height // 2):
            free = kind == "str" and _free(frame[name].drop_nulls().head(SAMPLE))
            found.append((free, kind == "int", kind == "bool", values, place, name))
    return min(found)[-1] if found else None


def _free(values: pl.Series) -> bool:
    """Return whether text is free, or a time, rather than a category."""
    words = values.str.count_matches(r"\p{L}{2,}").cast(pl.Float64)
    long = float(values.str.len_chars().cast(pl.Float64).sum()) > CATEGORY * values.len()
    return long or float(words.sum()) > 3 * values.len() or int(moments(values).unreadable.sum()) < 0.1 * values.len()


def _ordered(times: pl.Series) -> bool:
    """Return whether times are in order as they stand: numbers, and text that begins with the year."""
    there = times.drop_nulls().head(SAMPLE)
    return times.dtype != pl.String or bool(there.str.contains(r"^\d{4}-\d{2}(-\d{2}|$)").all())


def number(entity: Entity, key: Sequence[str], but: Collection[str | None]) -> str | None:
    """Return a column to sum, preferably of fractional numbers, but no key and none of `but`; None if there is none."""
    names = [
        (kind == "int" and name not in entity.scales, place, name)
        for place, (name, kind) in enumerate(entity.columns.items())
        if kind in ("int", "float") and name not in (*key, *but) and not re.search(IDS, name)
    ]
    return min(names)[-1] if names else None


def wordy(entity: Entity, frame: pl.DataFrame, but: Collection[str]) -> list[str]:
    """Return at most two columns of text whose values mostly have several words, those with the most words first."""
    found = []
    for place, (name, kind) in enumerate(entity.columns.items()):
        if kind != "str" or name in but:
            continue
        values = frame[name].drop_nulls().head(SAMPLE)
        # JSON, which begins with a bracket, doesn't count as words.
        text = values.filter(~values.str.contains(r"^\s*[\[{]"))
        words = text.str.count_matches(r"\p{L}{2,}").cast(pl.Int64)
        share = (words >= 2).sum() / max(1, values.len())
        if share > 0.5:
            found.append((-float(words.sum()) / values.len(), place, name))
    return [name for *_, name in sorted(found)[:TEXTS]]


def questions(entity: Entity, frame: pl.DataFrame, key: Sequence[str], time: str | None = None) -> list[dict[str, Any]]:
    """Return queries with the keys of a scenario's [[query]], for changes like those of `frame`.

    `key` and `time` are the entity's names of those columns. Queries of the past are proposed only if records have
    several revisions.
    """
    name = entity.name
    found: list[dict[str, Any]] = [
        {"name": f"{name}_by_key", "kind": "get", "entity": name, "weight": 5.0},
        {"name": f"{name}_by_keys", "kind": "get_many", "entity": name, "count": 20},
    ]
    by = dividing(entity, frame, key)
    what = number(entity, key, (by, time))
    if by:
        order = {"order_by": what, "descending": True} if what else {}
        found.append(
            {"name": f"{name}_of_{by}", "kind": "filter", "entity": name, "where": {by: "?"}, **order, "limit": 50}
        )
        sums = {"sum": [what]} if what else {}
        found.append({"name": f"{name}_per_{by}", "kind": "aggregate", "entity": name, "group_by": [by], **sums})
    if time and entity.columns[time] != "bool" and frame[time].null_count() < frame.height and _ordered(frame[time]):
        since = {time: {"at_least": "?"}}
        found.append(
            {"name": f"{name}_since", "kind": "filter", "entity": name, "where": since, "order_by": time, "limit": 50}
        )
    if entity.texts and all(frame[text].null_count() < frame.height for text in entity.texts):
        found.append({"name": f"{name}_with_words", "kind": "search", "entity": name, "words": 2, "limit": 20})
    if frame.height and (frame["revision"] > 1).any():
        found.append({"name": f"{name}_as_of", "kind": "as_of", "entity": name})
        found.append({"name": f"{name}_history", "kind": "history", "entity": name})
    return unlike(found)


def link_questions(
    entity: Entity, links: Sequence[tuple[str, str]], entities: Mapping[str, Entity]
) -> list[dict[str, Any]]:
    """Return queries along links, each a column and the entity whose key it holds.

    Along a link to another entity: the records of one of its records, with what that one is called. Along one to the
    same entity: all records below one.
    """
    found: list[dict[str, Any]] = []
    for column, other in links:
        called = re.sub(r"_?(id|key|no|nr)$", "", column, flags=re.IGNORECASE) or column
        if take := telling(entities[other]):
            found.append(
                {"name": f"{entity.name}_with_{called}",
                 "kind": "join", "entity": entity.name, "on": column, "to": other, "take": [take],
                 "where": {column: "?"}, "limit": 50}
            )  # fmt: skip
        if other == entity.name and column == entity.parent:
            found.append({"name": f"{entity.name}_below", "kind": "traverse", "entity": entity.name, "walk": "below"})
    return unlike(found)


def telling(entity: Entity) -> str | None:
    """Return the column that says what a record is called: a name, else the first text, else any; None without one."""
    words = ("name", "title", "label", "description", "email", "code")
    texts = [name for name, kind in entity.columns.items() if kind == "str"]
    for word in words:
        if found := [name for name in texts if word in name.lower()]:
            return found[0]
    return next(iter([*texts[1:], *texts, *list(entity.columns)[1:], *entity.columns]), None)


def unlike(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return queries whose names are valid and unique."""
    named = [{**item, "name": re.sub(r"[^A-Za-z0-9_-]", "_", item["name"])[:64]} for item in found]
    return [
        item if [other["name"] for other in named[:place]].count(item["name"]) == 0 else
        {**item, "name": f"{item['name'][:60]}_{place}"}
        for place, item in enumerate(named)
    ]  # fmt: skip
