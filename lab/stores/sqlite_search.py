"""`sqlite.search`: records with an index of their words, by SQLite's FTS5.

sqlite-utils makes the index and the triggers that keep it beside the records, so that both change in one transaction.
What a word is, is said by `lab.queries.text`: the engine's own splitting has nothing left to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

import polars as pl
import sqlite_utils

from lab.base import Batch, Entity
from lab.engines import sqlite
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.queries.text import plain, plain_ascii
from lab.stores.prepared import Answering
from lab.stores.slices import FEW, tuples
from lab.stores.sqlite_table import SqliteTable, at_once

WORDS = "lab_words"
NOT_ITS_TRADE = "not yet: an index of words is asked for words; see sqlite.table"


def _with_words(rows: list[Row], names: list[str], texts: tuple[str, ...]) -> list[Row] | None:
    """Rows with their words as one more column, if there are texts; None if one isn't in ASCII."""
    if not texts:
        return rows
    places, deleted = [names.index(one) for one in texts], names.index("deleted")
    made = []
    for row in rows:
        words = None if row[deleted] else plain_ascii([row[place] for place in places])
        if words is None and not row[deleted]:
            return None
        made.append((*row, words))
    return made


class SqliteSearch(SqliteTable):
    """A relational table of records whose words are indexed; a record without texts is only kept."""

    name = "sqlite.search"
    answers = frozenset({"get", "get_many", "search"})
    gaps = MappingProxyType(
        dict.fromkeys(("filter", "aggregate", "join", "traverse", "sql"), NOT_ITS_TRADE)
        | dict.fromkeys(("as_of", "history"), "never: an index is of what is now")
    )
    holds = ("records",)
    # An index of words points at a row's number, which a column of that name would hide.
    reserves = frozenset({"rowid"})

    def _make_entity(self, name: str) -> None:
        entity = self.layout.entities[name]
        if not entity.texts:
            super()._make_entity(name)
            return
        # An index of words points at a row's number, which a table that is its own index doesn't have.
        columns = {column: sqlite.TYPES[dtype] for column, dtype in entity.schema.items()} | {WORDS: "TEXT"}
        declared = ", ".join(f"{sql.quoted(column)} {kind}" for column, kind in columns.items())
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {sql.quoted(name)} ({declared}, PRIMARY KEY (key))")
        self._index(name)

    def _index(self, name: str) -> None:
        table = sqlite_utils.Database(self._connection).table(name)
        if table.detect_fts() is None:
            table.enable_fts([WORDS], tokenize="unicode61 remove_diacritics 0", create_triggers=True)

    def _indexes(self, entity: Entity) -> list[tuple[str, ...]]:
        """None: only words are looked for."""
        return []

    def _columns(self, entity: str) -> list[str]:
        names = list(self.layout.schema(entity))
        return [*names, WORDS] if self.layout.entities[entity].texts else names

    def _rows(self, batch: Batch) -> Iterator[Row]:
        texts, names = self.layout.entities[batch.entity].texts, list(self.layout.schema(batch.entity))
        if batch.rows.height <= FEW and (few := _with_words(tuples(batch.rows, names), names, texts)) is not None:
            return iter(few)
        rows = batch.rows.select(names)
        if texts:
            rows = rows.with_columns(pl.when(pl.col("deleted")).then(None).otherwise(plain(texts)).alias(WORDS))
        return rows.iter_rows(buffer_size=at_once(rows))

    def _prepare(self, entity: str) -> None:
        if self.layout.entities[entity].texts:
            sqlite_utils.Database(self._connection).table(entity).disable_fts()

    def _settle(self, entity: str) -> None:
        if self.layout.entities[entity].texts:
            # Over what is there already: quicker than word by word as the rows came.
            self._index(entity)

    def _answering(self, query: Query) -> Answering:
        """A search is ranked by the engine's BM25, equals by key."""
        if query.kind != "search":
            return super()._answering(query)
        name, index = sql.quoted(query.entity.name), sql.quoted(f"{query.entity.name}_fts")
        limit = f" LIMIT {query.limit}" if query.limit else ""
        run = self._selecting(
            f"SELECT t.key FROM {index} AS f JOIN {name} AS t ON t.rowid = f.rowid "
            f"WHERE f.{index} MATCH ? ORDER BY f.rank, t.key{limit}"
        )

        def matching(parameters: Row) -> list[Row]:
            words = " ".join(f'"{word}"' for word in str(parameters[0]).split())
            return run((words,)) if words else []

        return matching
