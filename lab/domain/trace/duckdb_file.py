"""Read a DuckDB database: its tables with their declared keys and links, and the rows of one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb

from lab.base import NotReadable
from lab.domain.trace.databases import COUNT, Catalogue, ForeignKey, Relation, numbered, quoted, usable
from lab.domain.trace.raw import Raw
from lab.domain.trace.tables import typed_rows

MAGIC = b"DUCK"  # At the ninth byte.
MAIN = "main"
# Types that Arrow has none for, or that lose something on the way; their text is exact.
AS_TEXT = ("TIME", "INTERVAL", "UUID", "ENUM", "BIT", "JSON", "BIGNUM", "VARINT", "GEOMETRY", "VARIANT", "UNION")
NESTED = ("STRUCT", "MAP")
HUGE = ("HUGEINT", "UHUGEINT")


@contextmanager
def _opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database for reading. Raises NotReadable for DuckDB's errors."""
    config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": "false"}
    try:
        with closing(duckdb.connect(str(path), read_only=True, config=config)) as connection:
            yield connection
    except duckdb.Error as error:
        what = str(error).splitlines()[0]
        way_out = "close what writes it, or take a copy" if "lock" in what else ""
        raise NotReadable(str(path), f"DuckDB can't read it: {what}", way_out) from None


def duckdb_catalogue(path: Path) -> Catalogue:
    """List the tables and views of a database."""
    with _opened(path) as connection:
        return _listed(connection)


def _listed(connection: duckdb.DuckDBPyConnection, count: bool = True) -> Catalogue:
    every = connection.execute(
        "SELECT schema_name, table_name, 'table' FROM duckdb_tables() "
        "WHERE NOT internal AND NOT temporary AND database_name = current_database() UNION ALL "
        "SELECT schema_name, view_name, 'view' FROM duckdb_views() "
        "WHERE NOT internal AND NOT temporary AND database_name = current_database() ORDER BY ALL"
    ).fetchall()
    passed, found = dict[str, str](), list[Relation]()
    for schema, table, kind in every:
        name = _called(schema, table)
        try:
            rows = connection.execute(COUNT[count].format(_path(name, schema))).fetchall() or [(0,)]
        except duckdb.Error as error:
            passed[name] = str(error).splitlines()[0]
            continue
        key, links = _declared(connection, schema, table)
        found.append(Relation(name, int(rows[0][0]), "view" if kind == "view" else "table", key, tuple(links)))

    def columns(name: str) -> list[str]:
        return [row[0] for row in connection.execute(f"DESCRIBE {_path(name)}").fetchall()]

    names = [one.name for one in found]
    return Catalogue(tuple(replace(one, links=tuple(usable(one.links, names, columns))) for one in found), passed)


def _called(schema: str, table: str) -> str:
    return table if schema == MAIN else f"{schema}.{table}"


def _path(name: str, schema: str | None = None) -> str:
    """Return a table's name in SQL; what stands before a point is its schema."""
    before, point, table = name.partition(".")
    if schema == MAIN or not point:
        return f"{MAIN}.{quoted(name)}"
    return f"{quoted(before)}.{quoted(table)}"


def _declared(
    connection: duckdb.DuckDBPyConnection, schema: str, table: str
) -> tuple[tuple[str, ...], list[ForeignKey]]:
    """Return the primary key and the foreign keys of a table."""
    rows = connection.execute(
        "SELECT constraint_type, constraint_column_names, referenced_table, referenced_column_names "
        "FROM duckdb_constraints() WHERE database_name = current_database() AND schema_name = $schema "
        "AND table_name = $table ORDER BY constraint_index",
        {"schema": schema, "table": table},
    ).fetchall()
    key = next((tuple(columns) for kind, columns, _, _ in rows if kind == "PRIMARY KEY"), ())
    links = [
        ForeignKey(tuple(columns), _called(schema, other), tuple(refers))
        for kind, columns, other, refers in rows
        if kind == "FOREIGN KEY" and other
    ]
    return key, links


def read_duckdb(path: Path, table: str | None) -> Raw:
    """Read a table of a DuckDB database: the one of that name, or the one with the most rows."""
    with _opened(path) as connection:
        found = _listed(connection, table is None).chosen(str(path), table)
        inside = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = $schema AND table_name = $name",
            {"schema": MAIN, "name": found.name},
        ).fetchall()
        source = _path(found.name, MAIN if inside[0][0] else None)
        types = [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {source}").fetchall()]
        odd = _odd(connection, source, types)
        wanted = ", ".join(f"{_as_read(name, kind, name in odd)} AS {quoted(name)}" for name, kind in types)
        frame = connection.sql(f"SELECT {wanted} FROM {source}").pl()
    raw = typed_rows(numbered(frame).lazy(), "duckdb")
    notes = [
        f"Column `{name}` is {kind} in the file: its values are {'JSON text' if _nested(kind) else 'text'} here."
        for name, kind in types
        if name in odd or _nested(kind)
    ]
    return replace(raw, keys=found.key, unit="row", notes=(*notes, *raw.notes))


def _nested(kind: str) -> bool:
    return kind.startswith(NESTED) or kind.endswith("]")


def _odd(connection: duckdb.DuckDBPyConnection, source: str, types: Sequence[tuple[str, str]]) -> set[str]:
    """Return the columns with values that their type in Arrow can't hold: whole numbers too large, endless times."""
    tests = {
        name: f"bool_or(TRY_CAST({quoted(name)} AS BIGINT) IS NULL AND {quoted(name)} IS NOT NULL)"
        for name, kind in types
        if kind in HUGE
    }
    tests |= {
        name: f"bool_or(NOT isfinite({quoted(name)}))"
        for name, kind in types
        if kind.startswith(("DATE", "TIMESTAMP")) and not _nested(kind)
    }
    if not tests:
        return set()
    (row,) = connection.execute(f"SELECT {', '.join(tests.values())} FROM {source}").fetchall()
    return {name for name, there in zip(tests, row, strict=True) if there}


def _as_read(name: str, kind: str, odd: bool) -> str:
    column = quoted(name)
    if _nested(kind):
        return f"CAST(to_json({column}) AS VARCHAR)"
    if odd or (kind.startswith(AS_TEXT) and not kind.startswith("TIMESTAMP")):
        return f"CAST({column} AS VARCHAR)"
    return f"CAST({column} AS BIGINT)" if kind in HUGE else column
