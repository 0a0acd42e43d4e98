"""Put the tables of a database together: links by foreign keys, the times of tables without any, and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from lab.domain.trace.databases import ForeignKey
from lab.domain.trace.frame import entity_names
from lab.scenario import LinkTable
from lab.starter.looking import Looked


def linked(found: Sequence[Looked], keys: Mapping[str, Sequence[ForeignKey]], names: Mapping[str, str]) -> list[Looked]:
    """Return the tables with their links, those that are linked to before those that link to them.

    `keys` has the foreign keys by entity, and `names` the entity of each table of the database.
    """
    by_name = {one.table.name: one for one in found}
    tied = {name: _tie(one, keys.get(name, ()), by_name, names) for name, one in by_name.items()}
    order = _parents_first(list(tied.values()))
    return _with_times([tied[name] for name in order])


def _tie(one: Looked, keys: Sequence[ForeignKey], by_name: Mapping[str, Looked], names: Mapping[str, str]) -> Looked:
    links, notes, indexes = list[LinkTable](), list(one.notes), list(one.table.indexes)
    taken = {name.lower() for name in entity_names(one.kinds).values()}
    for key in keys:
        other = by_name.get(names.get(key.table, ""))
        if other is None or any(column not in one.kinds for column in key.columns):
            continue
        holds = dict(zip(key.refers, key.columns, strict=True))
        if set(holds) != set(other.table.key):
            what = f"refers to {_listed(key.refers)} of `{other.table.name}`, which is identified by"
            notes.append(f"The link by {_listed(key.columns)} {what} {_listed(other.table.key)}: it isn't used.")
            continue
        on = tuple(holds[column] for column in other.table.key)
        made = None
        if len(on) > 1 or one.kinds[on[0]] != other.business.key:
            made = f"{other.table.name}_key"[:60]
            while made.lower() in taken:
                made += "_"
            taken.add(made.lower())
        elif on[0] not in indexes and on != one.table.key:
            indexes.append(on[0])
        links.append(LinkTable(on=on, to=other.table.name, name=made))
    table = one.table.model_copy(update={"link": tuple(links), "indexes": tuple(indexes)})
    return replace(one, table=table, notes=tuple(notes))


def _listed(columns: Sequence[str]) -> str:
    return " and ".join(f"`{column}`" for column in columns)


def _parents_first(found: Sequence[Looked]) -> list[str]:
    """Sort topologically; tables that are linked in a circle keep their order."""
    links = {one.table.name: [link.to for link in one.table.link if link.to != one.table.name] for one in found}
    while True:
        try:
            return list(TopologicalSorter(links).static_order())
        except CycleError as error:
            circle = error.args[1]
            # The last one waits for the one before it.
            links[circle[-1]].remove(circle[-2])


def _with_times(tied: Sequence[Looked]) -> list[Looked]:
    """Let tables without times have those of the largest table that they are linked to and that has any."""
    timed = {one.table.name: one.timed for one in tied}
    records = {one.table.name: one.records for one in tied}
    since: dict[str, str] = {}
    changed = True
    while changed:
        changed = False
        for one in tied:
            name = one.table.name
            parents = [link.to for link in one.table.link if link.to != name and timed[link.to]]
            if parents and not timed[name]:
                since[name] = max(parents, key=lambda parent: records[parent])
                timed[name] = changed = True
    return [_since(one, since.get(one.table.name), any(timed.values())) for one in tied]


def _since(one: Looked, parent: str | None, others: bool) -> Looked:
    """Return a table with the times of another one, if it has that of its rows; say where those without times stand."""
    guess = one.guesses["time"]
    why = f"its rows are as old as the records of `{parent}` that they link to"
    if parent is None:
        why = "no column has a name and values of a time: its rows are there from the beginning"
    if not one.timed and not guess.told and others:
        guess = replace(guess, why=why)
    table = one.table.model_copy(update={"time_of": parent})
    return replace(one, table=table, guesses={**one.guesses, "time": guess})
