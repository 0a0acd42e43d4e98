"""What a projection in Cassandra or HBase would be sent: CQL, and commands of HBase's shell. None of it has been run.

The tables are those of `lmdb.widecolumn`. Each write has the revision as its timestamp, so that an older revision never
replaces a newer one. No transaction holds several writes: the checkpoint is the last, and what comes again is written
again as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from lab.base import Entity
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.sql import columns, quoted
from lab.stores.clustering import TableRange, WideTable, chosen_range, wide_tables
from lab.systems.statements import CHECKPOINT, SqlStatement

_TYPES = {"int": "bigint", "float": "double", "str": "text", "bool": "boolean"}
_NEVER = "never: a table is asked by its primary key"
_HIDDEN = "the client leaves out a row that is deleted"
_FORMER = "where the row was, if the record's former row, which is read by key, has another place"
_LAST = "after all rows of its batch"
# The timestamps keep an older row out of its own place, and of no other: it would stay where the record never is again.
_NEWER = "which is newer than the row that was read by key: an older one would stay in the place that it had then"
# A table, and whether its rows fall by the last clustering column.
_Ordered = tuple[WideTable, bool]


def _called(table: WideTable, falls: bool) -> str:
    return "_".join([table.entity.name, "by", *table.columns, *(["down"] if falls else [])])


def _needed(entity: Entity, queries: Sequence[Query]) -> list[_Ordered]:
    """The tables that queries are ranges of, each in the orders that they want; in the plain one without any."""
    ranges = [chosen_range(query, entity) for query in queries if query.entity.name == entity.name and _ranged(query)]
    wanted = {(found.table.columns, found.descending) for found in ranges if isinstance(found, TableRange)}
    return [
        (table, falls)
        for table in wide_tables(entity)
        for falls in (False, True)
        if (table.columns, falls) in wanted or (not falls and (table.columns, True) not in wanted)
    ]


def _ranged(query: Query) -> bool:
    return query.kind in ("filter", "aggregate")


def _past(query: Query) -> SqlStatement:
    past = KINDS[query.kind].past
    return SqlStatement("query", query.name, why="never: a table of last revisions has no past" if past else _NEVER)


# -- Cassandra ---------------------------------------------------------------------------------------------------------


def cassandra(entities: Iterable[Entity], queries: Sequence[Query]) -> list[SqlStatement]:
    """The statements in CQL; `?` are the parameters of prepared ones, a timestamp is a revision."""
    found = [
        SqlStatement("table", CHECKPOINT, f"CREATE TABLE {CHECKPOINT} (entity text PRIMARY KEY, position bigint)"),
    ]
    known = {entity.name: entity for entity in entities}
    for entity in known.values():
        tables = _needed(entity, queries)
        typed = {name: f"{quoted(name)} {_TYPES[entity.kind(name)]}" for name in entity.schema}
        by_key = f"CREATE TABLE {quoted(entity.name)} ({', '.join(typed.values())}, PRIMARY KEY ({quoted('key')}))"
        found += [SqlStatement("table", entity.name, by_key)]
        found += [SqlStatement("table", entity.name, _cql_table(one, typed)) for one in tables]
        found += _cql_load(entity, tables)
    return [*found, *(_cql_query(query, known[query.entity.name]) for query in queries)]


def _cql_table(one: _Ordered, typed: Mapping[str, str]) -> str:
    table, falls = one
    partition, *clustering = map(quoted, table.columns)
    key = ", ".join([f"({partition})", *clustering, quoted("key")])
    # What falls is the last column that rows are sorted by before their keys; keys themselves where there is none.
    falling = clustering[-1] if clustering else quoted("key")
    orders = [f"{name} {'DESC' if falls and name == falling else 'ASC'}" for name in (*clustering, quoted("key"))]
    defined = f"{', '.join(typed.values())}, PRIMARY KEY ({key})"
    return f"CREATE TABLE {quoted(_called(table, falls))} ({defined}) WITH CLUSTERING ORDER BY ({', '.join(orders)})"


def _cql_load(entity: Entity, tables: Sequence[_Ordered]) -> list[SqlStatement]:
    names, marks = columns(list(entity.schema)), ", ".join("?" * len(entity.schema))
    found = [SqlStatement("load", entity.name, f"SELECT {names} FROM {quoted(entity.name)} WHERE {quoted('key')} = ?")]
    for table, falls in tables:
        place = " AND ".join(f"{quoted(name)} = ?" for name in (*table.columns, "key"))
        text = f"DELETE FROM {quoted(_called(table, falls))} USING TIMESTAMP ? WHERE {place}"
        found.append(SqlStatement("load", entity.name, text, _FORMER))
    for name in (*(_called(*one) for one in tables), entity.name):
        text = f"INSERT INTO {quoted(name)} ({names}) VALUES ({marks}) USING TIMESTAMP ?"
        live = f"of a live record with a value in each column of the primary key, {_NEWER}"
        why = "" if name == entity.name else live
        found.append(SqlStatement("load", entity.name, text, why))
    entity_text = entity.name.replace("'", "''")
    text = f"INSERT INTO {CHECKPOINT} (entity, position) VALUES ('{entity_text}', ?)"
    return [*found, SqlStatement("load", entity.name, text, _LAST)]


def _cql_query(query: Query, entity: Entity) -> SqlStatement:
    asked = f"SELECT {columns([*entity.row, 'deleted'])} FROM {quoted(entity.name)} WHERE {quoted('key')}"
    match query.kind:
        case "get":
            return SqlStatement("query", query.name, f"{asked} = ?", _HIDDEN)
        case "get_many":
            return SqlStatement("query", query.name, f"{asked} IN ?", f"{_HIDDEN}, and sorts the others by key")
        case "filter" | "aggregate":
            return _cql_range(query, entity)
    return _past(query)


def _cql_range(query: Query, entity: Entity) -> SqlStatement:
    found = chosen_range(query, entity)
    if isinstance(found, str):
        return SqlStatement("query", query.name, why=f"never: {found}; it would read every row (ALLOW FILTERING)")
    tests = " AND ".join(f"{quoted(one.column)} {one.operator} ?" for one in query.where)
    values = [one.value for one in query.where if not one.drawn]
    why = f"with the values {values}" if values else ""
    table = quoted(_called(found.table, found.descending))
    if query.kind == "filter":
        limit = f" LIMIT {query.limit}" if query.limit else ""
        chosen = columns(list(entity.row))
        return SqlStatement("query", query.name, f"SELECT {chosen} FROM {table} WHERE {tests}{limit}", why)
    # Groups are a beginning of the primary key there; what is equal is one group however it is named.
    fixed = [query.where[place].column for place in found.equal]
    groups = columns([*fixed, *(name for name in query.group_by if name not in fixed)])
    sums = "".join(f", sum({quoted(name)})" for name in query.sum)
    text = f"SELECT {columns(query.group_by)}, count(*){sums} FROM {table} WHERE {tests} GROUP BY {groups}"
    return SqlStatement("query", query.name, text, why)


# -- HBase -------------------------------------------------------------------------------------------------------------


def hbase(entities: Iterable[Entity], queries: Sequence[Query]) -> list[SqlStatement]:
    """Commands of the shell; `?` are row keys (the names of `lab.stores.clustering`), rows and revisions."""
    found = [SqlStatement("table", CHECKPOINT, f"create '{CHECKPOINT}', 'c'")]
    known = {entity.name: entity for entity in entities}
    for entity in known.values():
        # A scan can go backwards, so one table has both orders.
        tables = [_called(table, False) for table in wide_tables(entity)]
        found += [SqlStatement("table", entity.name, f"create '{name}', 'c'") for name in (entity.name, *tables)]
        found.append(SqlStatement("load", entity.name, f"get '{entity.name}', ?"))
        found += [SqlStatement("load", entity.name, f"deleteall '{name}', ?, 'c:row', ?", _FORMER) for name in tables]
        put = "put '{}', ?, 'c:row', ?, ?"
        found += [SqlStatement("load", entity.name, put.format(name), f"of a live record, {_NEWER}") for name in tables]
        found.append(SqlStatement("load", entity.name, put.format(entity.name)))
        found.append(SqlStatement("load", entity.name, f"put '{CHECKPOINT}', '{entity.name}', 'c:position', ?", _LAST))
    return [*found, *(_scan(query, known[query.entity.name]) for query in queries)]


def _scan(query: Query, entity: Entity) -> SqlStatement:
    match query.kind:
        case "get":
            return SqlStatement("query", query.name, f"get '{entity.name}', ?", _HIDDEN)
        case "get_many":
            return SqlStatement("query", query.name, f"get '{entity.name}', ?", f"once for each key; {_HIDDEN}")
        case "filter" | "aggregate":
            found = chosen_range(query, entity)
            if isinstance(found, str):
                return SqlStatement("query", query.name, why=f"never: {found}; it would read every row")
            way = "STARTROW => ?, STOPROW => ?" + (f", LIMIT => {query.limit}" if query.limit else "")
            way += ", REVERSED => true" if found.descending else ""
            why = "the client counts and sums" if query.kind == "aggregate" else ""
            if found.descending and found.by:
                why = "rows of one value come by key downwards; a client that wants them upwards reads to its end"
            return SqlStatement("query", query.name, f"scan '{_called(found.table, False)}', {{{way}}}", why)
    return _past(query)


WIDE_SYSTEMS: Mapping[str, Callable[[Iterable[Entity], Sequence[Query]], list[SqlStatement]]] = MappingProxyType(
    {"cassandra": cassandra, "hbase": hbase}
)
