"""Shared by document stores: a JSON body for each record, with embedded parts of other records.

A body holds the record's own columns and, below `_embedded`, what the entity embeds: columns of the live record that
one of its columns points to. A join is thereby done when a record is written, and done again when the other record
changes: its change fans out to every document that holds a part of it, a tombstone's too. Both sides repair what they
find, so that records may come in any order.

Every column that is asked for is computed by the engine from the body. What is asked is SQL as for any table.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

from lab.base import META, Batch, Embed, Entity, Key
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.sql import columns, quoted
from lab.stores.bodies import EMBEDDED, Part, few_bodies, in_json, with_parts
from lab.stores.layout import Layout
from lab.stores.sql_file import Connection, SqlFile

GAPS = MappingProxyType(
    {
        "as_of": "not yet: a document is the record as it stands; its former revisions are not kept",
        "history": "not yet: a document is the record as it stands; its former revisions are not kept",
        "search": "not yet: the words within a body are in no index",
        "sql": "not yet: a user's own statement is written for tables",
    }
)


class Documents(SqlFile[Connection]):
    """Base of document stores: answers from single documents, and by walking from one to another."""

    answers = frozenset(KINDS) - GAPS.keys()
    gaps = GAPS
    holds = ("records",)
    json: ClassVar[Dialect]

    _written = _fanned_out = 0

    @classmethod
    def can_answer(cls, query: Query, layout: Layout) -> bool:
        """Answer a join only if each document embeds the other record's columns."""
        return super().can_answer(query, layout) and (query.other is None or embed_for(query) is not None)

    def _asked(self, query: Query) -> Query:
        return query if query.other is None else within(query)

    def apply(self, batch: Batch) -> None:
        """Write documents, those that embed parts of them, the memory and the checkpoint in one transaction."""
        self._written = self._fanned_out = 0
        super().apply(batch)
        # Counted only now that it is committed.
        self.documents_written += self._written + self._fanned_out
        self.fan_out += self._fanned_out

    def _settle(self, entity: str) -> None:
        """Write documents again that came before the records that they hold parts of."""
        for child, embed in holders(self.layout, entity):
            self._connection.execute(self.json.fan_out(child, embed, quoted(entity)))

    def _put_few(self, rows: list[Row], entity: Entity, replace: bool) -> None:
        """Write a few documents, put together here: what they embed is looked up, once for each entity that it is of.

        A part that stays what it was is not looked for in the documents that hold it.
        """
        held_by = holders(self.layout, entity.name) if replace else []
        embedded = embeds(self.layout, entity)
        place = {name: number for number, name in enumerate(entity.schema)}
        # Of each entity that parts are taken of: the columns, and the records.
        wanted: dict[str, tuple[dict[str, None], dict[Key, None]]] = {}
        if held_by:
            taken = dict.fromkeys(name for _, embed in held_by for name in embed.take)
            wanted[entity.name] = taken, dict.fromkeys(row[place["key"]] for row in rows)
        for embed in embedded:
            names, keys = wanted.setdefault(embed.entity, ({}, {}))
            names.update(dict.fromkeys(embed.take))
            keys.update((key, None) for row in rows if (key := row[place[embed.on]]) is not None)
        there = {name: self._parts(name, list(names), list(keys)) for name, (names, keys) in wanted.items()}
        before, now = there.get(entity.name, {}), dict[Key, Part]()
        if entity.name in wanted:
            names, _ = wanted[entity.name]
            now = {
                row[place["key"]]: {} if row[place["deleted"]] else self._part({one: row[place[one]] for one in names})
                for row in rows
            }
            there[entity.name] = {**before, **now}
        made = few_bodies(rows, entity, self.name, self._readable)
        if embedded:
            for number, row in enumerate(rows):
                parts = {one.name: (one.take, there[one.entity].get(row[place[one.on]], {})) for one in embedded}
                made[number] = (*made[number][:-1], with_parts(made[number][-1], parts))
        self._insert_documents(entity, made, replace)
        changed = [key for key, part in now.items() if part != before.get(key, {})]
        for child, embed in held_by if changed else ():
            self._fan_out(child, embed, changed)

    def _parts(self, entity: str, names: list[str], keys: list[Key]) -> dict[Key, Part]:
        """These columns of live records, as they stand in their bodies, by key; without those that are null."""
        if not keys:
            return {}
        chosen = "".join(f", CASE WHEN NOT deleted THEN {self.json.written(name)} END" for name in names)
        found = self._parts_found(f"SELECT key{chosen} FROM {quoted(entity)} WHERE key IN {{}}", keys)
        return {
            key: {name: value for name, value in zip(names, values, strict=True) if value not in (None, "null")}
            for key, *values in found
        }

    def _part(self, values: Mapping[str, Any]) -> Part:
        """These columns in JSON; without those that are null."""
        return {
            name: in_json(self._readable(value) if isinstance(value, str) else value)
            for name, value in values.items()
            if value is not None
        }

    @staticmethod
    def _readable(text: str) -> str:
        """A text as it is written into a body, so that the engine can read it."""
        return text

    @abstractmethod
    def _parts_found(self, statement: str, keys: list[Key]) -> list[Row]:
        """Return the rows of a statement that has a list of keys in the place of `{}`."""

    @abstractmethod
    def _insert_documents(self, entity: Entity, rows: list[Row], replace: bool) -> None:
        """Write rows of `STORED`; those that are there already are replaced, if there can be any."""

    @abstractmethod
    def _fan_out(self, child: Entity, embed: Embed, keys: list[Key]) -> None:
        """Write documents again that hold parts of these records, and count them."""


def embed_for(query: Query) -> Embed | None:
    """Return the embedding that answers this join; None if there is none."""
    assert query.other is not None
    for embed in query.entity.embeds:
        if (embed.on, embed.entity) == (query.on, query.other.name) and set(query.take) <= set(embed.take):
            return embed
    return None


@lru_cache(maxsize=1024)
def within(query: Query) -> Query:
    """A join as a filter over documents alone: what is taken from the other record is a column of the document."""
    embed = embed_for(query)
    assert embed is not None
    assert query.other is not None
    taken = {column_of(embed, column): query.other.columns[column] for column in query.take}
    entity = replace(query.entity, columns={**query.entity.columns, **taken})
    return replace(query, kind="filter", entity=entity, on=None, other=None, take=())


def embeds(layout: Layout, entity: Entity) -> list[Embed]:
    """What an entity's documents embed in this projection: nothing of an entity that it doesn't hold."""
    return [embed for embed in entity.embeds if embed.entity in layout.entities]


def column_of(embed: Embed, column: str) -> str:
    """Return the name of the computed column of an embedded column."""
    return f"{EMBEDDED}.{embed.name}.{column}"


@dataclass(frozen=True)
class Dialect:
    """Where two engines say the same in JSON differently.

    `merge` is the function that lays one object over another (RFC 7396); `extract` turns a path within a body into a
    value of each kind.
    """

    merge: str
    types: Mapping[str, str]
    extract: Mapping[str, str]

    def extracted(self, layout: Layout, entity: Entity) -> dict[str, tuple[str, str]]:
        """Of each column its kind, and the value within a body: the entity's own, then what it embeds."""
        paths = {name: (kind, self.path(name)) for name, kind in entity.columns.items()}
        for embed in embeds(layout, entity):
            for name in embed.take:
                kind = layout.entities[embed.entity].columns[name]
                paths[column_of(embed, name)] = kind, self.path(EMBEDDED, embed.name, name)
        return {name: (kind, self.extract[kind].format(path)) for name, (kind, path) in paths.items()}

    def computed(self, layout: Layout, entity: Entity) -> list[str]:
        """The definitions of all computed columns."""
        return [
            f"{quoted(name)} {self.types[kind]} GENERATED ALWAYS AS ({value}) VIRTUAL"
            for name, (kind, value) in self.extracted(layout, entity).items()
        ]

    def path(self, *names: str) -> str:
        """A path within a body, as a literal of SQL."""
        return literal("$" + "".join(f'."{name}"' for name in names))

    def member(self, name: str, table: str = "") -> str:
        """A column as it stands in a body, in JSON."""
        return f"{table}lab_body -> {self.path(name)}"

    def written(self, name: str) -> str:
        """The same, as the driver gives it as text."""
        return self.member(name)

    def object_of(self, values: Mapping[str, str]) -> str:
        """An object of these values in JSON."""
        # `json` says that it is JSON already: what comes out of a CASE may have forgotten it.
        return f"json_object({', '.join(f'{literal(name)}, json({value})' for name, value in values.items())})"

    def embedding(self, body: str, parts: Mapping[str, str]) -> str:
        """A body in which these objects are embedded, in the place of those of the same names."""
        written = ", ".join(f"{literal(name)}, {value}" for name, value in parts.items())
        return f"{self.merge}({body}, json_object({literal(EMBEDDED)}, json_object({written})))"

    def live(self, table: str, column: str) -> str:
        """A column of a live record as it stands in its body, so that no number is written anew."""
        return f"CASE WHEN NOT {table}.deleted THEN {self.member(column, f'{table}.')} END"

    def whole(self, layout: Layout, entity: Entity, incoming: str) -> str:
        """Select what comes in as whole documents. A record that comes along counts before one that is there."""
        parts, joins = dict[str, str](), list[str]()
        for number, embed in enumerate(embeds(layout, entity)):
            there, along = f"p{number}", f"q{number}"
            on = f"i.{quoted(embed.on)}"
            joins.append(f"LEFT JOIN {quoted(embed.entity)} AS {there} ON {there}.key = {on}")
            if embed.entity == entity.name:
                joins.append(f"LEFT JOIN {incoming} AS {along} ON {along}.key = {on}")
                of = {name: (self.live(there, name), self.live(along, name)) for name in embed.take}
                taken = {
                    name: f"CASE WHEN {along}.key IS NULL THEN {one} ELSE {other} END"
                    for name, (one, other) in of.items()
                }
            else:
                taken = {name: self.live(there, name) for name in embed.take}
            parts[embed.name] = self.object_of(taken)
        body = self.embedding("i.lab_body", parts) if parts else "i.lab_body"
        source = " ".join([f"{incoming} AS i", *joins])
        # An upsert from a join needs a condition, or else its ON is read as the join's.
        return f"SELECT {columns(META, 'i')}, {body} AS lab_body FROM {source} WHERE TRUE"

    def fan_out(self, child: Entity, embed: Embed, changed: str, pin: str = "") -> str:
        """Write anew those documents whose part of a record in `changed` is not what the record says.

        `pin` before a column keeps a planner from looking through all documents for the few that hold such a part.
        """
        taken = self.object_of({name: self.live("p", name) for name in embed.take})
        differs = " OR ".join(
            f"c.{quoted(column_of(embed, name))} IS DISTINCT FROM CASE WHEN NOT p.deleted THEN p.{quoted(name)} END"
            for name in embed.take
        )
        return (
            f"UPDATE {quoted(child.name)} AS c SET lab_body = {self.embedding('c.lab_body', {embed.name: taken})} "
            f"FROM {changed} AS p "
            f"WHERE c.{quoted(embed.on)} = {pin}p.key AND ({differs})"
        )


def followed(layout: Layout, entity: Entity) -> list[tuple[str, ...]]:
    """The columns along which a change of another record fans out to this entity's documents."""
    return [(embed.on,) for embed in embeds(layout, entity)]


def holders(layout: Layout, entity: str) -> list[tuple[Entity, Embed]]:
    """Who embeds parts of this entity, and which."""
    every = layout.entities.values()
    return [(child, embed) for child in every for embed in embeds(layout, child) if embed.entity == entity]


def literal(text: str) -> str:
    """A text as it is written in SQL."""
    return "'" + text.replace("'", "''") + "'"
