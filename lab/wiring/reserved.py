"""Refuse names of entities and columns that a store or a write model has for itself, or can't tell apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from lab.base import META, REASON, Entity, Problem
from lab.domain.model import Domain, published
from lab.scenario.text import cut
from lab.stores import Store
from lab.truth import Truth

# The lab's own tables begin with `lab_`, and SQLite's with `sqlite_`; `totals` is the table of a running aggregate.
OWN, ENGINES_OWN, TOTALS = "lab_", "sqlite_", "totals"
# Columns that a feed, an answer or a store has beside the entity's own.
COLUMNS = (*META, "event", "records", "lab_body", "lab_words", "lab_newest", REASON)
# SQLite gives a subquery's column of such a name another one, and then takes the quoted name for a text.
LITERALS = ("true", "false")
NAME_MAX = 200
INDEX_BYTES = len("lab__") + 2
RENAME = "call it something else"


def names(business: Domain, file: str) -> list[Problem]:
    """Problems with the names of a domain's entities and columns, whatever the store."""
    where = f"{file}: domain `{business.name}`"
    found = [Problem(where, f"entity {what}", RENAME) for what in _tables(business.entities)]
    for one in (*business.entities.values(), *published(business).values()):
        found += [Problem(where, f"`{one.name}`: column {what}", RENAME) for what in _columns(one)]
    return list(dict.fromkeys(found))


def in_store(store: type[Store], entities: Collection[Entity], where: str) -> list[Problem]:
    """Problems with names that this store has for itself."""
    way_out = "take another store, or leave the entity out of the projection's `entities`"
    found = [*_too_long(store, entities, where, way_out)]
    if store.plain_names:
        for name in _beyond(entities):
            said = f"`{store.name}` has names of characters up to U+FFFF, and `{cut(name, 40)}` has others"
            found.append(Problem(f"{where}.store", said, way_out))
    return found + [
        Problem(f"{where}.store", f"`{store.name}` has a column `{name}` of its own, as `{one.name}` has", way_out)
        for one in entities
        for name in one.columns
        if name.lower() in store.reserves
    ]


def in_truth(truth: type[Truth], entities: Iterable[Entity], where: str) -> list[Problem]:
    """Problems with names that the engine of a source of truth has for itself, or cuts off."""
    problems, way_out = list[Problem](), 'call it something else, or set truth.engine to "sqlite"'
    entities = list(entities)
    if truth.plain_names:
        for name in _beyond(entities):
            what = f"`{truth.engine}` has names of characters up to U+FFFF, and `{cut(name, 40)}` has others"
            problems.append(Problem(where, what, way_out))
    for one in entities:
        # An index of an entity is called by the entity's name with some letters more.
        for name, more in ((one.name, INDEX_BYTES), *((column, 0) for column in one.columns)):
            if truth.name_bytes is not None and len(name.encode()) + more > truth.name_bytes:
                what = f"`{truth.engine}` keeps {truth.name_bytes - more} bytes of a name like `{cut(name, 40)}`"
                problems.append(Problem(where, what, way_out))
        problems += [
            Problem(where, f"`{truth.engine}` has a column `{name}` of its own, as `{one.name}` has", way_out)
            for name in one.columns
            if name.lower() in truth.reserves
        ]
    return problems


def _beyond(entities: Iterable[Entity]) -> Iterator[str]:
    """Names with characters that take more than two bytes of UTF-16."""
    for one in entities:
        yield from (name for name in (one.name, *one.columns) if any(ord(letter) > 0xFFFF for letter in name))


def _too_long(store: type[Store], entities: Collection[Entity], where: str, way_out: str) -> Iterator[Problem]:
    for one in entities:
        for what, name, most in (
            ("entity", one.name, store.entity_bytes),
            *(("column", name, store.column_bytes) for name in one.columns),
        ):
            if most is not None and len(name.encode()) > most:
                said = f"`{store.name}` has names of {most} bytes at the most, and {what} `{cut(name, 40)}` is longer"
                yield Problem(f"{where}.store", said, way_out)


def _tables(found: Collection[str]) -> Iterator[str]:
    for name in found:
        if name.lower().startswith(ENGINES_OWN):
            yield f"`{name}`: names that begin with `{ENGINES_OWN}` are SQLite's"
        if name.lower().startswith(OWN):
            yield f"`{name}`: names that begin with `{OWN}` are the lab's own"
        if name.lower() == TOTALS:
            yield f"`{name}`: the table of a running aggregate is called so"
        if not name.replace("-", "").replace("_", "").isalnum():
            yield f"`{cut(name, 40)}`: a name has letters, digits, `_` and `-` only"
    yield from _common(found)


def _columns(entity: Entity) -> Iterator[str]:
    for name in entity.columns:
        if name.lower() in COLUMNS:
            yield f"`{name}`: the lab has a column of this name beside them"
        if name.lower() in LITERALS:
            yield f"`{name}`: SQLite doesn't know a subquery's column by this name"
        if not name.isprintable() or set(name) & set("\"'`\\"):
            yield f"`{cut(name, 40)}`: a name has no quotes, backslashes and control characters"
    yield from _common(entity.columns)


def _common(found: Iterable[str]) -> Iterator[str]:
    """Problems that names of tables and of columns share."""
    seen: dict[str, str] = {}
    for name in found:
        if not name or len(name) > NAME_MAX:
            yield f"`{cut(name, 40)}`: a name has 1 to {NAME_MAX} characters"
        if (other := seen.setdefault(name.lower(), name)) != name:
            yield f"`{name}`: it differs from `{other}` by capital letters alone, which SQL doesn't tell apart"
