"""`parquet.files`: the last revision of each record in Parquet files, sorted by key and asked by Polars.

Parts are cut by ranges of keys: a reader of one key opens one file and looks at one row group, and a compaction writes
anew those parts only whose records have changed. What has come since the last compaction is a file by itself.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import polars as pl

from lab.queries.answers import Row
from lab.queries.model import Query
from lab.stores.lazily import ask
from lab.stores.parquet_folder import ParquetFolder
from lab.stores.parquet_table import Landing, Part, Table, compacted

NO_PAST = "never: files of last revisions have no past; see parquet.log"


class ParquetFiles(ParquetFolder):
    """Sorted parts and one file of what has come since, in one folder."""

    name = "parquet.files"
    answers = frozenset({"get", "get_many", "filter", "aggregate", "join"})
    gaps = MappingProxyType(
        {
            "traverse": "never: files know no links",
            "search": "never: files know no words",
            "sql": "not yet: Polars is asked by expressions; see duckdb.files",
            "as_of": NO_PAST,
            "history": NO_PAST,
        }
    )
    holds = ("records",)

    def _settled(self, name: str, table: Table, recent: pl.DataFrame, landing: Landing) -> tuple[Part, ...]:
        return compacted(name, table.parts, recent, table, landing)

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Point reads by the ranges of the parts; all else by a scan of the live records."""
        self.refuse(query)
        if query.kind == "get":
            return self._get(query, parameters[0])
        return ask(query, parameters, self._live)

    def _get(self, query: Query, key: Any) -> list[Row]:
        table = self._known()[query.entity.name]
        found = table.recent.filter(pl.col("key") == pl.lit(key))
        if not found.height:
            part = next((part for part in table.parts if part.may_have(key)), None)
            if part is None:
                return []
            found = self._disk.scan([part.file]).filter(pl.col("key") == key).collect()
        return found.filter(~pl.col("deleted")).select(query.entity.row).rows()

    def _live(self, entity: str) -> pl.LazyFrame:
        table = self._known()[entity]
        rows = table.recent.lazy()
        if table.parts:
            scan = self._disk.scan([part.file for part in table.parts])
            if table.recent.height:
                scan = scan.join(table.recent.lazy().select("key"), on="key", how="anti")
            rows = pl.concat([scan, rows])
        return rows.filter(~pl.col("deleted"))
