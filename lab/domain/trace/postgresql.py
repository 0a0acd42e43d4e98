"""Read PostgreSQL by psycopg, an extra of the package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lab.base import MissingDriver, NotReadable
from lab.domain.trace.addresses import PAGE, ServerAddress, ServerColumn, identifier
from lab.domain.trace.databases import COUNT, Catalogue, ForeignKey, Relation, quoted, usable

if TYPE_CHECKING:
    import psycopg

INSTALL = "python -m pip install 'polyglot-lab[postgresql]'"
ARRIVES = {
    "smallint": "int", "integer": "int", "bigint": "int", "oid": "int", "real": "float", "double precision": "float",
    "boolean": "bool", "numeric": "decimal", "bytea": "hex",
}  # fmt: skip
TABLES = """
SELECT n.nspname, c.relname, CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END, c.oid
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%' ORDER BY 1, 2
"""
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute AS a
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
KEYS = """
SELECT k.contype, (SELECT array_agg(a.attname::text ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY AS u(num, n)
    JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.num),
    n.nspname, f.relname, (SELECT array_agg(a.attname::text ORDER BY u.n)
    FROM unnest(k.confkey) WITH ORDINALITY AS u(num, n)
    JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.num)
FROM pg_constraint AS k LEFT JOIN pg_class AS f ON f.oid = k.confrelid
LEFT JOIN pg_namespace AS n ON n.oid = f.relnamespace
WHERE k.conrelid = %s AND k.contype IN ('p', 'f') AND k.conparentid = 0 OR k.conrelid = %s AND k.contype = 'p'
ORDER BY k.conname
"""


def _called(schema: str, table: str) -> str:
    return table if schema == "public" else f"{schema}.{table}"


class PostgresSession:
    """An open connection to PostgreSQL, in a transaction that only reads."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._oids: dict[str, int] = {}

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(sql.encode(), values or None).fetchall()
        return rows

    def catalogue(self, count: bool = True) -> Catalogue:
        """List the tables that this user may read; without `count` no rows are counted."""
        import psycopg

        passed, found = dict[str, str](), list[Relation]()
        for schema, table, kind, oid in self._all(TABLES.replace("%%", "%")):
            name = _called(schema, table)
            self._oids[name] = oid
            try:
                # A table that is refused ends no more than its own part of the transaction.
                with self._connection.transaction():
                    rows = self._all(COUNT[count].format(self._path(name))) or [(0,)]
            except psycopg.Error as error:
                passed[name] = str(error).splitlines()[0]
                continue
            key, links = self._declared(oid)
            found.append(Relation(name, int(rows[0][0]), "view" if kind == "view" else "table", key, tuple(links)))
        names = [one.name for one in found]
        return Catalogue(
            tuple(
                Relation(one.name, one.rows, one.kind, one.key, tuple(usable(one.links, names, self._names)))
                for one in found
            ),
            passed,
        )

    def _path(self, name: str) -> str:
        return identifier(name) if "." in name else f"public.{quoted(name)}"

    def _names(self, name: str) -> list[str]:
        return [row[0] for row in self._all(COLUMNS, self._oids[name])]

    def _declared(self, oid: int) -> tuple[tuple[str, ...], list[ForeignKey]]:
        rows = self._all(KEYS, oid, oid)
        key = next((tuple(columns) for kind, columns, *_ in rows if _text(kind) == "p"), ())
        links = [
            ForeignKey(tuple(columns), _called(schema, table), tuple(refers))
            for kind, columns, schema, table, refers in rows
            if _text(kind) == "f"
        ]
        return key, links

    def columns(self, relation: Relation) -> list[ServerColumn]:
        """Return the columns of a table."""
        found = []
        for name, kind in self._all(COLUMNS, self._oids[relation.name]):
            arrives, column = ARRIVES.get(kind, "text"), quoted(name)
            sql = f"encode({column}, 'hex')" if arrives == "hex" else f"{column}::text"
            found.append(ServerColumn(name, column if arrives in ("int", "float", "bool") else sql, arrives, kind))
        return found

    def rows(self, relation: Relation, columns: Sequence[ServerColumn]) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield all rows in pages, in the order of the key if there is one."""
        order = f" ORDER BY {', '.join(map(quoted, relation.key))}" if relation.key else ""
        wanted = ", ".join(column.sql for column in columns)
        with self._connection.cursor("lab_rows") as cursor:
            cursor.execute(f"SELECT {wanted} FROM {self._path(relation.name)}{order}".encode())
            while page := cursor.fetchmany(PAGE):
                yield page


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def session(address: ServerAddress, file: str) -> Iterator[PostgresSession]:
    """Connect. Raises MissingDriver without psycopg, NotReadable for what the server says."""
    try:
        import psycopg
    except ImportError:
        raise MissingDriver(f"{file}: psycopg is not installed, which reads PostgreSQL: {INSTALL}") from None
    try:
        with psycopg.connect(
            host=address.host, port=address.port, user=address.user, dbname=address.database, connect_timeout=10,
            application_name="lab", options="-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO",
        ) as connection:  # fmt: skip
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            yield PostgresSession(connection)
    except psycopg.Error as error:
        raise NotReadable(file, f"PostgreSQL: {str(error).splitlines()[0]}") from None
