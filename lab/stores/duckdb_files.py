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
from lab.stores.prepared import Answering, PreparedQueries, binding


class DuckdbFiles(PreparedQueries, ParquetFiles):
    """Queries a view for each entity over the files of the last manifest."""

    name = "duckdb.files"
    answers = frozenset(KINDS).difference(PAST)
    gaps = MappingProxyType(dict.fromkeys(PAST, NO_PAST))

    _connection: duckdb.DuckDBPyConnection | None = None
    # Whether there is a thread for each core: once a table is large enough for several.
    _several: bool | None = None

    def close(self) -> None:
        """Close the connection with the views."""
        PreparedQueries.close(self)
        ParquetFiles.close(self)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, by the same SQL as for tables. Raises NotAnswered for a value out of range."""
        with engine.answering(query.name):
            return super().query(query, parameters)

    def _answering(self, query: Query) -> Answering:
        """A statement of the lab's own is parsed once; views are looked at whenever it is run."""
        statement, arguments = translate(query, self.layout.keeps, "duckdb")
        if KINDS[query.kind].own:
            return binding(arguments, lambda values: budget.answer(self._reading(), statement, values))
        (parsed,) = self._reading().extract_statements(statement)
        return binding(arguments, lambda values: self._reading().execute(parsed, values).fetchall())

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
            self._several = None
        if any(self._seen.get(name) is not tables[name] for name in self.layout.entities):
            several = any(sum(part.rows for part in table.files) > engine.ROW_GROUP for table in tables.values())
            if several is not self._several:
                self._connection.execute("RESET threads" if several else "SET threads = 1")
                self._several = several
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
