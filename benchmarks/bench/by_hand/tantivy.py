"""Tantivy by hand: a document for each record, found by the term of its key or by its words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import tantivy

from benchmarks.bench.by_hand import Answer, Ask


class Words:
    """One index; a commit is a transaction."""

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("key", stored=True, indexed=True)
        builder.add_text_field("words", stored=False, tokenizer_name="whitespace", index_option="freq")
        builder.add_bytes_field("row", stored=True)
        self.schema = builder.build()
        self.index = tantivy.Index(self.schema, path=str(folder))
        self.index.config_reader("manual")
        self.writer = self.index.writer(heap_size=50_000_000, num_threads=1)
        self._add(rows.rows())
        self._commit()
        self.asks: dict[str, Ask] = {
            "employee": self._records, "team_sheet": self._records, "named": self._search,
        }  # fmt: skip

    def _commit(self) -> None:
        self.writer.commit()
        self.index.reload()

    def _add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in rows:
            document = tantivy.Document()
            document.add_integer("key", row[1])
            document.add_bytes("row", json.dumps(row).encode())
            if not row[3]:
                document.add_text("words", f"{row[5]} {row[7]}".lower())
            self.writer.add_document(document)

    def _records(self, parameters: tuple[Any, ...]) -> Answer:
        keys = list(dict.fromkeys(parameters))
        query = tantivy.Query.term_set_query(self.schema, "key", keys)
        searcher = self.index.searcher()
        hits = searcher.search(query, len(keys), count=False).hits
        rows = [json.loads(searcher.doc(address)["row"][0]) for _, address in hits]
        return sorted((row[1], row[2], *row[5:]) for row in rows if not row[3])

    def _search(self, parameters: tuple[Any, ...]) -> Answer:
        terms = [tantivy.Query.term_query(self.schema, "words", word) for word in str(parameters[0]).split()]
        query = tantivy.Query.boolean_query([(tantivy.Occur.Must, term) for term in terms])
        searcher = self.index.searcher()
        return [(searcher.doc(address)["key"][0],) for _, address in searcher.search(query, 10, count=False).hits]

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """One commit; the position would be in the commit's payload, which the library doesn't offer."""
        for row in rows:
            self.writer.delete_documents_by_term("key", row[1])
        self._add(rows)
        self._commit()

    def close(self) -> None:
        """Let go of the writer."""
        self.writer.wait_merging_threads()
