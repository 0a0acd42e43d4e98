"""Read MySQL and MariaDB by PyMySQL, an extra of the package."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lab.base import MissingDriver, NotReadable
from lab.domain.trace.addresses import PAGE, ServerAddress, ServerColumn
from lab.domain.trace.databases import COUNT, Catalogue, ForeignKey, Relation, usable

INSTALL = "python -m pip install 'polyglot-lab[mysql]'"
WHOLE = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry")
TABLES = """
SELECT table_name, CASE WHEN table_type LIKE '%%VIEW%%' THEN 'view' ELSE 'table' END FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type NOT LIKE '%%SEQUENCE%%' ORDER BY 1
"""
COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position
"""
KEYS = """
SELECT constraint_name, column_name, referenced_table_name, referenced_column_name
FROM information_schema.key_column_usage WHERE table_schema = DATABASE() AND table_name = %s
AND (constraint_name = 'PRIMARY' OR referenced_table_schema = DATABASE()) ORDER BY constraint_name, ordinal_position
"""


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


class MysqlSession:
    """An open connection to MySQL or MariaDB, in a transaction that only reads."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def catalogue(self, count: bool = True) -> Catalogue:
        """List the tables that this user may read; without `count` no rows are counted."""
        import pymysql

        passed, found = dict[str, str](), list[Relation]()
        for name, kind in self._all(TABLES):
            try:
                rows = self._all(COUNT[count].format(_quoted(name).replace("%", "%%"))) or [(0,)]
            except pymysql.Error as error:
                passed[name] = str(error.args[-1])
                continue
            key, links = self._declared(name)
            found.append(Relation(name, int(rows[0][0]), "view" if kind == "view" else "table", key, tuple(links)))
        names = [one.name for one in found]
        return Catalogue(
            tuple(
                Relation(one.name, one.rows, one.kind, one.key, tuple(usable(one.links, names, self._names)))
                for one in found
            ),
            passed,
        )

    def _names(self, name: str) -> list[str]:
        return [row[0] for row in self._all(COLUMNS, name)]

    def _declared(self, table: str) -> tuple[tuple[str, ...], list[ForeignKey]]:
        by_name: dict[str, list[tuple[Any, ...]]] = {}
        for row in self._all(KEYS, table):
            by_name.setdefault(row[0], []).append(row)
        key = tuple(row[1] for row in by_name.pop("PRIMARY", []))
        links = [
            ForeignKey(tuple(row[1] for row in rows), rows[0][2], tuple(row[3] for row in rows))
            for rows in by_name.values()
        ]
        return key, links

    def columns(self, relation: Relation) -> list[ServerColumn]:
        """Return the columns of a table."""
        return [self._column(name, kind.lower()) for name, kind in self._all(COLUMNS, relation.name)]

    def _column(self, name: str, kind: str) -> ServerColumn:
        column = _quoted(name)
        if kind in WHOLE:
            return ServerColumn(name, column, "int", kind)
        if kind in ("float", "double"):
            return ServerColumn(name, f"CAST({column} AS DOUBLE)", "float", kind)
        if kind == "bit":
            return ServerColumn(name, f"CAST({column} AS UNSIGNED)", "int", kind)
        if kind in BYTES:
            return ServerColumn(name, f"hex({column})", "hex", kind)
        sql = f"CAST({column} AS CHAR)"
        return ServerColumn(name, sql, "decimal" if kind == "decimal" else "text", kind)

    def rows(self, relation: Relation, columns: Sequence[ServerColumn]) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield all rows in pages, in the order of the key if there is one."""
        from pymysql.cursors import SSCursor

        order = f" ORDER BY {', '.join(map(_quoted, relation.key))}" if relation.key else ""
        wanted = ", ".join(column.sql for column in columns)
        with self._connection.cursor(SSCursor) as cursor:
            cursor.execute(f"SELECT {wanted} FROM {_quoted(relation.name)}{order}")
            while page := cursor.fetchmany(PAGE):
                yield page


@contextmanager
def session(address: ServerAddress, file: str) -> Iterator[MysqlSession]:
    """Connect. Raises MissingDriver without PyMySQL, NotReadable for what the server says."""
    try:
        import pymysql
    except ImportError:
        raise MissingDriver(f"{file}: PyMySQL is not installed, which reads MySQL: {INSTALL}") from None
    options = Path.home() / ".my.cnf"
    try:
        connection = pymysql.connect(
            host=address.host, port=address.port or 0, user=address.user, database=address.database, charset="utf8mb4",
            password=os.environ.get("MYSQL_PWD", ""), connect_timeout=10,
            read_default_file=str(options) if options.is_file() else None,
            init_command="SET SESSION time_zone = '+00:00', sql_mode = ''",
        )  # fmt: skip
        with closing(connection):
            with connection.cursor() as cursor:
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            yield MysqlSession(connection)
    except pymysql.Error as error:
        raise NotReadable(file, f"MySQL: {error.args[-1]}") from None
