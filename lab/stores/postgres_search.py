"""`postgres.search`: records with an inverted index (GIN) of their words.

What a word is, is said by `lab.queries.text`. The server's own parser would split them otherwise: so the words of a
record are handed over, and its vector is made of them as they are, without a parser or a dictionary.
"""

from __future__ import annotations

from types import MappingProxyType

import polars as pl

from lab.base import Batch, Entity
from lab.queries import sql
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.queries.text import plain
from lab.stores.postgres_table import PostgresTable
from lab.stores.prepared import Answering
from lab.stores.sqlite_search import NOT_ITS_TRADE

WORDS, VECTOR = "lab_words", "lab_vector"
# A longer word is in no vector: a record that has one is refused.
WORD_BYTES = 2_046


class PostgresSearch(PostgresTable):
    """A table of records, with the words of their texts as a vector; a record without texts is only kept."""

    name = "postgres.search"
    answers = frozenset({"get", "get_many", "search"})
    gaps = MappingProxyType(
        dict.fromkeys(("filter", "aggregate", "join", "traverse", "sql"), NOT_ITS_TRADE)
        | dict.fromkeys(("as_of", "history"), "never: an index is of what is now")
    )
    holds = ("records",)

    def _stored(self, entity: str) -> dict[str, pl.DataType]:
        schema = self.layout.schema(entity)
        return schema | {WORDS: pl.String()} if self.layout.entities[entity].texts else schema

    def _computed(self, entity: str) -> list[str]:
        made = f"array_to_tsvector(string_to_array({WORDS}, ' '))"
        texts = self.layout.entities[entity].texts
        return [f"{VECTOR} tsvector GENERATED ALWAYS AS ({made}) STORED"] if texts else []

    def _indexes(self, entity: Entity) -> list[str]:
        """Of words alone; new ones are added to the index at once, so that no reader looks through a list of them."""
        return [f"USING gin ({VECTOR}) WITH (fastupdate = off)"] if entity.texts else []

    def _rows(self, batch: Batch) -> pl.DataFrame:
        texts = self.layout.entities[batch.entity].texts
        if not texts:
            return batch.rows
        words = pl.when(pl.col("deleted")).then(None).otherwise(plain(texts)).alias(WORDS)
        return batch.rows.select(list(self.layout.schema(batch.entity))).with_columns(words)

    def _answering(self, query: Query) -> Answering:
        """A search is ranked by the engine's `ts_rank`, equals by key."""
        if query.kind != "search":
            return super()._answering(query)
        limit = f" LIMIT {query.limit}" if query.limit else ""
        run = self._selecting(
            f"SELECT t.key FROM {sql.quoted(query.entity.name)} AS t WHERE t.{VECTOR} @@ ?::tsquery "
            f"ORDER BY ts_rank(t.{VECTOR}, ?::tsquery) DESC, t.key{limit}"
        )

        def matching(parameters: Row) -> list[Row]:
            words = str(parameters[0]).split()
            if not words or any("\x00" in word or len(word.encode()) > WORD_BYTES for word in words):
                return []
            wanted = " & ".join("'" + word.replace("\\", "\\\\").replace("'", "''") + "'" for word in words)
            return run((wanted, wanted))

        return matching
