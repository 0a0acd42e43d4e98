"""`duckdb.files`: the files of `parquet.files`, queried by DuckDB through in-memory views."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import duckdb
import polars as pl

from lab.base import ReadOnly
from lab.engines import budget
from lab.engines import duckdb as engine
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.kinds import KINDS, PAST, translate
from lab.queries.model import Query
from lab.stores.parquet_files import NO_PAST, ParquetFiles
from lab.stores.parquet_table import Table


class DuckdbFiles(ParquetFiles):
    """Queries a view for each entity over the files of the last manifest."""

    name = "duckdb.files"
    answers = frozenset(KINDS).difference(PAST)
    gaps = MappingProxyType(dict.fromkeys(PAST, NO_PAST))

    _connection: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Close the connection with the views."""
        super().close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, by the same SQL as for tables."""
        self.refuse(query)
        statement, arguments = translate(query, self.layout.keeps, "duckdb")
        values = sql.bind(arguments, parameters)
        if KINDS[query.kind].own:
            return budget.answer(self._reading(), statement, values)
        with engine.answering(query.name):
            return self._reading().execute(statement, list(values)).fetchall()

    def read(self, statement: str, arguments: Sequence[Any] = ()) -> list[Row]:
        """The rows of any statement that only reads. Raises ReadOnly for one that tries to write."""
        connection = self._reading()
        if not engine.only_reads(connection, statement):
            raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}")
        try:
            return connection.execute(statement, list(arguments)).fetchall()
        except duckdb.PermissionException:
            raise ReadOnly(f"{self.name}: a query may not change a projection: {statement[:80]}") from None

    def _reading(self) -> duckdb.DuckDBPyConnection:
        """A connection whose views are those of the last manifest."""
        tables = self._known()
        if self._connection is None:
            self._connection, self._seen = engine.connect_memory(self.path), dict[str, Table]()
        for name in self.layout.entities:
            if self._seen.get(name) is not tables[name]:
                self._make_view(self._connection, name, tables[name])
                self._seen[name] = tables[name]
        return self._connection

    def _make_view(self, connection: duckdb.DuckDBPyConnection, name: str, table: Table) -> None:
        files = [_files(self, [part.file for part in table.parts])] if table.parts else []
        if table.recent_part:
            recent = _files(self, [table.recent_part.file])
            files = [f"{scan} AS p WHERE NOT EXISTS (FROM {recent} AS r WHERE r.key = p.key)" for scan in files]
            files.append(recent)
        if files:
            body = " UNION ALL ".join(f"SELECT {sql.columns(list(table.schema))} FROM {scan}" for scan in files)
        else:
            nothing = ", ".join(
                f"NULL::{engine.TYPES[kind]} AS {sql.quoted(one)}" for one, kind in table.schema.items()
            )
            body = f"SELECT {nothing} WHERE FALSE"
        connection.execute(f"CREATE OR REPLACE VIEW {sql.quoted(name)} AS {body}")

    def settings(self) -> dict[str, Any]:
        """Return the settings of the files and of the engine."""
        return {"polars": pl.__version__} | super().settings() | engine.settings(self._reading())


def _files(store: DuckdbFiles, files: list[str]) -> str:
    listed = ", ".join("'" + str(store.path.absolute() / file).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}])"
