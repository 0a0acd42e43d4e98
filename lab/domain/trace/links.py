"""Links between tables: columns that hold the key of a record of another table, or of another record of their own.

A link of one column that is of the key's kind is that column; any other one is made as a column beside those of the
file. A link to the own table makes the parent of a record, and rows without times can have those of a linked record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl

from lab.base import Entity, Kind, Problem, nearest
from lab.decimals import as_text, converted
from lab.domain.trace.frame import Prepared, entity, entity_names, joined_key
from lab.domain.trace.raw import AT
from lab.scenario import EntityTable, LinkTable

Tables = Mapping[str, EntityTable]
Kinds = Mapping[str, Mapping[str, str]]


def linked_entity(name: str, tables: Tables, kinds: Kinds) -> Entity:
    """Return the entity of a table with the columns that its links make, and the parent that one of them is."""
    item = tables[name]
    plain = entity(item, kinds[name])
    made = {one.name: _key_kind(one.to, tables, kinds) for one in item.link if one.name}
    indexes = tuple((one,) for one in made)
    parent = next((link_column(one, kinds[name]) for one in item.link if one.to == name), None)
    return replace(plain, columns=plain.columns | made, indexes=plain.indexes + indexes, parent=parent)


def link_column(link: LinkTable, kinds: Mapping[str, str]) -> str:
    """Return the entity's column that holds the other record's key."""
    return link.name or entity_names(kinds)[link.on[0]]


def _key_kind(name: str, tables: Tables, kinds: Kinds) -> Kind:
    return entity(tables[name], kinds[name]).key


def link_problems(tables: Tables, kinds: Kinds, where: Callable[[str], str]) -> list[Problem]:
    """Return problems with links: unknown names, keys that don't fit, times of a table without a link to it."""
    problems = []
    for name, item in tables.items():
        for number, link in enumerate(item.link, start=1):
            problems += _wrong(name, link, tables, kinds, f"{where(name)}.link {number}")
        if item.time_of is not None:
            place = f"{where(name)}.time_of"
            if item.time is not None:
                problems.append(Problem(place, "the rows have times of their own", "leave `time` or `time_of` out"))
            if item.time_of == name or item.time_of not in {link.to for link in item.link}:
                what = f"no link leads to another table `{item.time_of}`"
                problems.append(Problem(place, what, "add a [[domain.entity.link]] to it"))
    return problems


def _wrong(name: str, link: LinkTable, tables: Tables, kinds: Kinds, where: str) -> list[Problem]:
    own = kinds[name]
    problems = [
        Problem(f"{where}.on", f"no column is called `{one}`", nearest(one, own)) for one in link.on if one not in own
    ]
    if link.to not in tables:
        return [*problems, Problem(f"{where}.to", f"no entity is called `{link.to}`", nearest(link.to, tables))]
    key = tables[link.to].key
    if any(one not in kinds[link.to] for one in key):
        return problems
    if len(link.on) != len(key):
        what = f"{len(link.on)} columns, and the key of `{link.to}` has {len(key)}"
        problems.append(Problem(f"{where}.on", what, f"name what holds {', '.join(key)}, in this order"))
    elif link.name is None and not problems:
        kind = _key_kind(link.to, tables, kinds)
        if len(key) > 1 or own[link.on[0]] != kind:
            what = f"{', '.join(link.on)} is not of the kind of the key of `{link.to}`, which is {kind}"
            problems.append(Problem(where, what, 'add name = "COLUMN", and a column of that name is made of it'))
    if link.name is not None and link.name.lower() in {one.lower() for one in entity_names(own).values()}:
        problems.append(Problem(f"{where}.name", f"there is a column `{link.name}` already", "choose another name"))
    return problems


def with_links(frame: pl.DataFrame, name: str, tables: Tables, kinds: Kinds) -> pl.DataFrame:
    """Add the columns that the links of a table make to its changes."""
    names, made = entity_names(kinds[name]), []
    for link in tables[name].link:
        if link.name is None:
            continue
        theirs = [kinds[link.to][one] for one in tables[link.to].key]
        parts = [
            converted(pl.col(names[own]), kinds[name][own], kind) for own, kind in zip(link.on, theirs, strict=True)
        ]
        if _key_kind(link.to, tables, kinds) == "str":
            parts = [joined_key([as_text(part, kind) for part, kind in zip(parts, theirs, strict=True)])]
        made.append(parts[0].alias(link.name))
    return frame.with_columns(made) if made else frame


def on_one_clock(
    prepared: Mapping[str, Prepared], tables: Tables, kinds: Kinds
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Return the changes of all tables on one clock, and what was assumed for those that have no times.

    Rows with a `time_of` have the time of the first revision of that record. The others without times are there from
    the beginning; if no table has times, the rows of each are a second apart.
    """
    frames = {name: with_links(made.frame, name, tables, kinds) for name, made in prepared.items()}
    timed = {name for name, made in prepared.items() if made.timed}
    notes = []
    waiting = [name for name in frames if name not in timed and tables[name].time_of]
    while ready := [name for name in waiting if tables[name].time_of in timed]:
        for name in ready:
            other = str(tables[name].time_of)
            column = next(link_column(one, kinds[name]) for one in tables[name].link if one.to == other)
            frames[name], missing = _as_of_link(frames[name], column, frames[other])
            notes.append(f"`{name}` has no column of time: its rows are as old as their records of `{other}`.")
            if missing:
                what = f"have no record of `{other}`: each is as old as the row before it (assumed)"
                notes.append(f"{missing:,} rows of `{name}` {what}.")
            timed.add(name)
            waiting.remove(name)
    first = min((float(frames[name][AT][0]) for name in timed if frames[name].height), default=None)
    for name in frames:
        if name in timed:
            continue
        if first is None:
            notes.append(f"`{name}` has no column of time: its rows are a second apart, in the order of the file.")
        else:
            frames[name] = frames[name].with_columns(pl.lit(first).alias(AT))
            notes.append(f"`{name}` has no column of time: its rows are there from the beginning.")
    return frames, notes


def _as_of_link(frame: pl.DataFrame, column: str, other: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Give each row the time of the record that it is linked to; return how many have none."""
    began = other.unique("key", keep="first", maintain_order=True).select(pl.col("key").alias(column), AT)
    at = frame.drop(AT).join(began, on=column, how="left", maintain_order="left")[AT]
    missing = at.null_count()
    at = at.fill_null(strategy="forward").fill_null(strategy="backward").fill_null(0.0)
    frame = frame.with_columns(at.alias(AT)).sort(AT, maintain_order=True)
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("key").alias("revision")), missing
