"""`parquet.log`: every revision, in segments of a log that are written once and never again.

What has come is appended as one more segment when it is enough for one. Within a segment a record's revisions lie
together, so that a reader of one key looks at one row group of each segment. No segment is ever merged with another: a
revision that comes again is in two of them, and the later one is read.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import polars as pl

from lab.queries.answers import Row
from lab.queries.model import Query
from lab.stores.lazily import ask
from lab.stores.parquet_folder import ParquetFolder
from lab.stores.parquet_table import Landing, Part, Table


class ParquetLog(ParquetFolder):
    """Segments in the order of their arrival, each sorted by key and revision."""

    name = "parquet.log"
    answers = frozenset({"get", "get_many", "filter", "aggregate", "join", "as_of", "history"})
    gaps = MappingProxyType(
        {
            "traverse": "never: a log knows no links",
            "search": "never: a log knows no words",
            "sql": "not yet: Polars is asked by expressions; see sqlite.log",
        }
    )
    holds = ("revisions",)

    def _settled(self, name: str, table: Table, recent: pl.DataFrame, landing: Landing) -> tuple[Part, ...]:
        return (*table.parts, *landing.write_parts(name, recent, table.identity))

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """One record's past, or the last revisions of all."""
        self.refuse(query)
        match query.kind:
            case "get":
                last = self._revisions(query, parameters[0]).tail(1)
                return last.filter(~pl.col("deleted")).select(query.entity.row).rows()
            case "as_of":
                key, at = parameters
                newest = self._revisions(query, key).filter(pl.col("committed_at") <= at).tail(1)
                return newest.filter(~pl.col("deleted")).select(query.entity.row).rows()
            case "history":
                names = ["key", "revision", "deleted", "committed_at", *query.entity.columns]
                return self._revisions(query, parameters[0]).select(names).rows()
        return ask(query, parameters, self._live)

    def _revisions(self, query: Query, key: Any) -> pl.DataFrame:
        """One record's revisions, oldest first, from the segments that may have some."""
        table = self._known()[query.entity.name]
        files = [part.file for part in table.parts if part.may_have(key)]
        frames = [table.recent.filter(pl.col("key") == pl.lit(key))]
        if files:
            scans = [self._disk.scan([file]).filter(pl.col("key") == key) for file in files]
            frames = [*pl.collect_all(scans), *frames]
        return pl.concat(frames).unique("revision", keep="last", maintain_order=True).sort("revision")

    def _live(self, entity: str) -> pl.LazyFrame:
        """The last revision of each record, found by looking through all of them.

        One that is in two segments is sought among the last ones only: of all revisions that takes five times as long.
        """
        table = self._known()[entity]
        scans = [self._disk.scan([part.file]) for part in table.parts]
        every = pl.concat([*scans, table.recent.lazy()])
        newest = every.filter(pl.col("revision") == pl.col("revision").max().over("key"))
        once = newest.unique("key", keep="last", maintain_order=True) if scans else newest
        return once.filter(~pl.col("deleted"))
