"""`sqlite.graph`: records as nodes, and their links in a list of neighbours of its own, walked by recursive SQL.

A link is there while its lower end is live, so that a walk downwards touches links alone; upwards, the node above is
looked up, because it may have been deleted.
"""

from __future__ import annotations

from types import MappingProxyType

import sqlite_utils

from lab.base import Batch, Entity
from lab.engines import sqlite
from lab.queries import sql
from lab.queries.model import Query
from lab.stores.prepared import Answering
from lab.stores.sqlite_table import SqliteTable

NOT_ITS_TRADE = "not yet: a graph is asked for nodes and the ways between them; see sqlite.table"


class SqliteGraph(SqliteTable):
    """A table of nodes for each entity, and one of links for each entity whose records hang below others."""

    name = "sqlite.graph"
    answers = frozenset({"get", "get_many", "traverse"})
    gaps = MappingProxyType(
        dict.fromkeys(("filter", "aggregate", "join", "sql"), NOT_ITS_TRADE)
        | {"search": "never: words have an index of their own; see sqlite.search"}
        | dict.fromkeys(("as_of", "history"), "never: a graph is of what is now")
    )
    holds = ("records",)

    def _make_shape(self) -> None:
        super()._make_shape()
        for entity in self.layout.entities.values():
            if entity.parent:
                kind = sqlite.TYPES[entity.schema["key"]]
                columns = f"child {kind} PRIMARY KEY, above {kind} NOT NULL"
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {_links(entity.name)} ({columns}) WITHOUT ROWID")

    def _indexes(self, entity: Entity) -> list[tuple[str, ...]]:
        """None of the nodes': what is looked for is in the links."""
        return []

    def _make_indexes(self) -> None:
        for entity in self.layout.entities.values():
            if entity.parent:
                table = sqlite_utils.Database(self._connection).table(f"lab_links_{entity.name}")
                table.create_index(["above", "child"], index_name=f"{entity.name}_below", if_not_exists=True)

    def _put(self, batch: Batch, replace: bool) -> None:
        super()._put(batch, replace)
        parent = self.layout.entities[batch.entity].parent
        if parent is None or not batch.rows.height:
            return
        links, connection = _links(batch.entity), self._connection
        # Column by column: a query of the frame costs as much as to write a small batch.
        keys, deleted, above = (batch.rows[name].to_list() for name in ("key", "deleted", parent))
        last = {key: None if gone else other for key, gone, other in zip(keys, deleted, above, strict=True)}
        if replace:
            connection.executemany(f"DELETE FROM {links} WHERE child = ?", [(key,) for key in last])
        live = [(key, other) for key, other in last.items() if other is not None]
        connection.executemany(f"INSERT INTO {links} (child, above) VALUES (?, ?)", live)

    def _answering(self, query: Query) -> Answering:
        """A traversal walks the links; all else is a look-up of nodes."""
        if query.kind != "traverse" or query.walk == "path":
            return super()._answering(query)
        return self._selecting(_WALKS[query.walk](query))

    def _lines(self, query: Query) -> str:
        links = _links(query.entity.name)

        def line(name: str) -> str:
            return (
                f"{name}(key, depth) AS ({_live(query, 'key, 0')} UNION ALL SELECT l.above, depth + 1 FROM {name} "
                f"JOIN {links} AS l ON l.child = {name}.key "
                f"WHERE depth < {sql.DEPTH_MAX} AND {_is_live(query, 'l.above')})"
            )

        return f"WITH RECURSIVE {line('lab_one')}, {line('lab_other')}"


def _links(entity: str) -> str:
    return sql.quoted(f"lab_links_{entity}")


def _live(query: Query, columns: str) -> str:
    return f"SELECT {columns} FROM {sql.quoted(query.entity.name)} WHERE key = ? AND NOT deleted"


def _is_live(query: Query, key: str) -> str:
    return f"EXISTS (SELECT 1 FROM {sql.quoted(query.entity.name)} WHERE key = {key} AND NOT deleted)"


def _reached(walk: str) -> str:
    return (
        f"WITH RECURSIVE {walk} SELECT key, MIN(depth) AS depth FROM lab_walk "
        "GROUP BY key HAVING MIN(depth) > 0 ORDER BY 2, 1"
    )


def _below(query: Query) -> str:
    links = _links(query.entity.name)
    return _reached(
        f"lab_walk(key, depth) AS ({_live(query, 'key, 0')} UNION ALL SELECT l.child, depth + 1 "
        f"FROM lab_walk JOIN {links} AS l ON l.above = lab_walk.key WHERE depth < {sql.DEPTH_MAX})"
    )


def _near(query: Query) -> str:
    links = _links(query.entity.name)
    return _reached(
        f"lab_walk(key, depth) AS ({_live(query, 'key, 0')} UNION SELECT l.child, depth + 1 "
        f"FROM lab_walk JOIN {links} AS l ON l.above = lab_walk.key WHERE depth < {query.depth} "
        f"UNION SELECT l.above, depth + 1 FROM lab_walk JOIN {links} AS l ON l.child = lab_walk.key "
        f"WHERE depth < {query.depth} AND {_is_live(query, 'l.above')})"
    )


_WALKS = {"below": _below, "near": _near}
