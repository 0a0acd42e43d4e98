"""The statements that a projection in a system of SQL would be sent: its tables, how a batch lands, and its queries.

They are written once, as for PostgreSQL, and translated by sqlglot. A batch lands by a staging table that is filled as
the system likes it, then one delete and one insert: an upsert or a MERGE is another one in each system, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.base import BadInput, Entity, MissingDriver, Problem, nearest
from lab.queries.kinds import translate
from lab.queries.model import Query
from lab.queries.sql import columns, quoted

# Bytes of a key and of any other text: keys are indexed, and no index takes as much as a column.
KEY_BYTES, TEXT_BYTES = 400, 4_000
_TYPES = {"int": "BIGINT", "float": "DOUBLE PRECISION", "str": f"VARCHAR({TEXT_BYTES})", "bool": "BOOLEAN"}
_META = {"position": "BIGINT", "revision": "BIGINT", "deleted": "BOOLEAN", "committed_at": "DOUBLE PRECISION"}
STAGED, CHECKPOINT = "lab_staged_", "lab_checkpoint"


@dataclass(frozen=True)
class SqlSystem:
    """A system of SQL: its name in sqlglot, and what of the lab's queries it has no words for, with the reason."""

    system: str
    dialect: str
    lacks: Mapping[str, str]


_WORDS = "never: words are in no index of a table"
_NO_WALK = "not yet: recursion is written in another way there"
SQL_SYSTEMS: dict[str, SqlSystem] = {
    "redshift": SqlSystem(
        "Redshift", "redshift",
        {"search": _WORDS, "near": "never: its recursion has UNION ALL alone, and would go round in circles"},
    ),
    "vertica": SqlSystem("Vertica", "postgres", {"search": _WORDS, "traverse": _NO_WALK}),
    "sqlserver": SqlSystem("SQL Server", "tsql", {"search": _WORDS, "traverse": _NO_WALK}),
    "oracle": SqlSystem("Oracle", "oracle", {"search": _WORDS, "traverse": _NO_WALK}),
}  # fmt: skip
# Systems of other languages, whose statements are in `lab.systems.wide_statements`.
WITHOUT_SQL = ("cassandra", "hbase")


@dataclass(frozen=True)
class SqlStatement:
    """One statement, what it is for, and the name of its entity or query; without a text, why there is none."""

    use: str
    name: str
    text: str = ""
    why: str = ""


def sql_system(name: str) -> SqlSystem:
    """The system of this name. Raises BadInput."""
    if name not in SQL_SYSTEMS:
        raise BadInput([Problem("--system", f"there is no `{name}`", nearest(name, (*SQL_SYSTEMS, *WITHOUT_SQL)))])
    return SQL_SYSTEMS[name]


def statements(entities: Iterable[Entity], queries: Iterable[Query], system: SqlSystem) -> list[SqlStatement]:
    """All statements of a projection that keeps the last revision of each record. Raises MissingDriver."""
    found = [SqlStatement("table", CHECKPOINT, _said(_CHECKPOINT_TABLE, system))]
    for entity in entities:
        found += [SqlStatement("table", entity.name, _said(text, system)) for text in _tables(entity)]
        found += [SqlStatement("load", entity.name, _said(text, system)) for text in _load(entity)]
    return found + [_asked(query, system) for query in queries]


_CHECKPOINT_TABLE = (
    f"CREATE TABLE {quoted(CHECKPOINT)} (entity VARCHAR({KEY_BYTES}) NOT NULL PRIMARY KEY, position BIGINT NOT NULL)"
)


def _tables(entity: Entity) -> list[str]:
    key = "BIGINT" if entity.key == "int" else f"VARCHAR({KEY_BYTES})"
    types = {"key": f"{key} NOT NULL", **{name: f"{kind} NOT NULL" for name, kind in _META.items()}}
    types |= {name: _TYPES[kind] for name, kind in entity.columns.items()}
    defined = ", ".join(f"{quoted(name)} {types[name]}" for name in entity.schema)
    staged = quoted(STAGED + entity.name)
    return [
        f"CREATE TABLE {quoted(entity.name)} ({defined}, PRIMARY KEY ({quoted('key')}))",
        f"CREATE TABLE {staged} ({defined})",
    ]


def _load(entity: Entity) -> list[str]:
    """A batch, in one transaction, from the staging table, where each key is once; its checkpoint is the parameter.

    A row that is older than the one that is there is left out, so what comes again does no harm.
    """
    table, staged, names = quoted(entity.name), quoted(STAGED + entity.name), columns(list(entity.schema))
    same = f"{staged}.key = {table}.key"
    chosen = columns(list(entity.schema), "s")
    return [
        f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM {staged} "
        f"WHERE {same} AND {staged}.revision >= {table}.revision)",
        f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {staged} AS s "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE t.key = s.key)",
        f"DELETE FROM {quoted(CHECKPOINT)} WHERE entity = '{_text(entity.name)}'",
        f"INSERT INTO {quoted(CHECKPOINT)} (entity, position) VALUES ('{_text(entity.name)}', ?)",
        # Not TRUNCATE, which commits in some systems.
        f"DELETE FROM {staged}",
    ]


def _text(name: str) -> str:
    return name.replace("'", "''")


def _asked(query: Query, system: SqlSystem) -> SqlStatement:
    """A query's statement, or why there is none."""
    why = system.lacks.get(query.kind) or (system.lacks.get(query.walk or "") if query.kind == "traverse" else None)
    if query.kind in ("as_of", "history"):
        why = "never: a table of last revisions has no past"
    if why:
        return SqlStatement("query", query.name, why=why)
    text, arguments = translate(query, "records", "postgres")
    values = [value for value in arguments if value != "?"]
    return SqlStatement("query", query.name, _said(text, system), f"with the values {values}" if values else "")


def _said(text: str, system: SqlSystem) -> str:
    """A statement of PostgreSQL in a system's dialect, every name quoted: some are words of a language elsewhere."""
    try:
        import sqlglot
    except ModuleNotFoundError as error:
        raise MissingDriver(f"{error}; get it with: pip install 'polyglot-lab[sql]'") from None
    raised = sqlglot.ErrorLevel.RAISE
    (said,) = sqlglot.transpile(
        text, read="postgres", write=system.dialect, identify=True, unsupported_level=raised, comments=False
    )
    return str(said)


def document(found: Iterable[SqlStatement]) -> list[dict[str, Any]]:
    """The statements as rows of JSON."""
    return [{"use": one.use, "name": one.name, "statement": one.text, "why": one.why} for one in found]
