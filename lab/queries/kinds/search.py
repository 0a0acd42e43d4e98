"""Queries by words. Engines rank matches by rules of their own, so what is checked is the set of matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from lab.queries.answers import ReferenceTable, Row
from lab.queries.kinds.base import Pool, QueryClass, Statement
from lab.queries.model import AnswerColumn, Parameter, Query
from lab.queries.reader import QueryReader
from lab.queries.sql import columns, source
from lab.queries.text import plain, sql_lower, sql_plain

# How many words of a caller's text are searched for.
WORDS_MAX = 20


class TextSearch(QueryClass):
    """`search`: records that have all these words in their texts."""

    name = "search"
    asks = "records by the words in their texts"
    gives = "keys of the live records that have all the words, the best first"
    uses = ("words", "limit")
    texts = True
    ranked = True

    def resolve(self, reader: QueryReader) -> dict[str, Any]:
        """Refuse an entity without texts."""
        if not reader.entity.texts:
            able = ", ".join(other.name for other in reader.entities.values() if other.texts)
            what = f"`{reader.entity.name}` has no texts to search"
            reader.wrong("kind", what, f"texts are in: {able or 'none'}")
        return {}

    def drawn(self, query: Query, pool: Pool, count: int, rng: np.random.Generator) -> list[Row]:
        """Draw words that are together in one record, so that there is a match."""
        texts = pool.frame.select(text=plain(query.entity.texts)).filter(pl.col("text") != "")["text"]
        if not texts.len():
            return []
        drawn = []
        for text in texts.gather(rng.integers(texts.len(), size=count)):
            words = sorted(set(text.split()))
            drawn.append((" ".join(rng.choice(words, size=min(query.words, len(words)), replace=False).tolist()),))
        return drawn

    def parameters(self, query: Query) -> tuple[Parameter, ...]:
        """The words, as one text."""
        return (Parameter("words", "str", meaning="Words that must all be there"),)

    def given(self, query: Query, values: list[Any]) -> Row:
        """Split the text into words as the texts of records are; the first `WORDS_MAX` are used."""
        words = pl.DataFrame({"text": values}).select(plain(("text",))).item().split()
        return (" ".join(words[:WORDS_MAX]),)

    def columns(self, query: Query) -> tuple[AnswerColumn, ...]:
        """The key."""
        return (AnswerColumn("key", query.entity.key, nullable=False),)

    def answer(self, query: Query, parameters: Row, tables: Mapping[str, ReferenceTable]) -> list[Row]:
        """Look each word up; every match is given, by key, whatever the limit."""
        known = tables[query.entity.name].words
        wanted = [known.get(word, set()) for word in parameters[0].split()]
        return [(key,) for key in sorted(set.intersection(*wanted))] if wanted else []

    def agrees(self, query: Query, expected: Sequence[Row], found: Sequence[Row]) -> bool:
        """True if the rows are matches, each once, and as many as there are or as `limit` allows."""
        most = len(expected) if query.limit is None else min(query.limit, len(expected))
        return len(found) == len(set(found)) == most and set(found) <= set(expected)

    def sql(self, query: Query, keeps: str, dialect: str) -> Statement:
        """Compare the words of every record, without an index and without a rank, in DuckDB's functions.

        Only texts in which the first word occurs at all, perhaps within a longer one, are taken apart into words: the
        CASE sees to that, since conditions are evaluated in any order.
        """
        texts = columns(query.entity.texts, "t")
        words, first = sql_plain(texts), f"contains({sql_lower(texts)}, w.first)"
        limit = f" LIMIT {query.limit}" if query.limit else ""
        every = f"list_has_all(string_split({words}, ' '), string_split(w.wanted, ' '))"
        statement = (
            f"SELECT t.key FROM {source(query.entity.name, keeps)} AS t "
            "JOIN (SELECT wanted, split_part(wanted, ' ', 1) AS first FROM (SELECT CAST(? AS VARCHAR) AS wanted)) AS w "
            f"ON w.wanted <> '' WHERE NOT t.deleted AND CASE WHEN {first} THEN {every} ELSE FALSE END "
            f"ORDER BY t.key{limit}"
        )
        return statement, ("?",)
