"""`tantivy.search`: an inverted index of the Lucene family; rows and checkpoint are documents of one index.

A searcher sees the index as it was when it was made. Queries ask one that is made anew at each refresh; what a
projector reads is always of the last commit.

A commit of the index is its transaction, so what must land together is added together: records, the guard's memory and
the checkpoint are documents, told apart by their owner, and replaced by their id. Words are those of
`lab.queries.text`, which the index only has to part at spaces.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from io import BytesIO
from types import MappingProxyType
from typing import Any

import polars as pl
import tantivy

from lab.base import Batch, Key
from lab.ports import Capabilities
from lab.queries.answers import Row, sought
from lab.queries.model import Query
from lab.queries.text import plain
from lab.stores.parked import changed, decoded
from lab.stores.prepared import Answering, PreparedQueries

HEAP_BYTES = 50_000_000
CHECKPOINT, MEMORY, PARKED = "checkpoint", "memory:", "parked:"
NO_WORDS = pl.lit(None, pl.String())
NOT_ITS_TRADE = "not yet: an index of words is asked for words"


class TantivySearch(PreparedQueries):
    """A projection in one index."""

    name = "tantivy.search"
    answers = frozenset({"get", "get_many", "search"})
    gaps = MappingProxyType(
        dict.fromkeys(("filter", "aggregate"), NOT_ITS_TRADE)
        | dict.fromkeys(("join", "traverse", "sql"), "never: an index knows no other record")
        | dict.fromkeys(("as_of", "history"), "never: an index is of what is now")
    )
    holds = ("records",)
    durability = "full; data and checkpoint in one commit of the index"
    capabilities = Capabilities(concurrent_readers=True, refresh=0.0)
    # Segments are called by 32 hexadecimal digits.
    files = ("meta.json", ".managed.json", ".tantivy-*.lock", ".tmp??????", f"{'[0-9a-f]' * 32}.*")

    _index: tantivy.Index | None = None
    _writer: tantivy.IndexWriter | None = None
    # What queries ask.
    _shown: tantivy.Searcher | None = None

    def open(self) -> None:
        """Open the index, or make an empty one."""
        if self._index is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._index = tantivy.Index(_schema(), path=str(self.path))
            self._index.config_reader("manual")
            self._index.reload()
            self.refresh()

    def close(self) -> None:
        """Give up the writer's lock and the files."""
        super().close()
        if self._writer is not None:
            self._writer.wait_merging_threads()
        self._writer = self._index = self._shown = None

    def refresh(self) -> None:
        """Ask the last commit from now on."""
        self._shown = self._opened().searcher()

    def _opened(self) -> tantivy.Index:
        if self._index is None:
            self.open()
        assert self._index is not None
        return self._index

    def _writing(self) -> tantivy.IndexWriter:
        if self._writer is None:
            self._writer = self._opened().writer(heap_size=HEAP_BYTES, num_threads=1)
        return self._writer

    def _commit(self) -> None:
        self._writing().commit()
        self._opened().reload()
        if not self.layout.refresh:
            self.refresh()

    def reset(self) -> None:
        """Delete every document, for queries at once."""
        self._writing().delete_all_documents()
        self._commit()
        self.refresh()

    def checkpoint(self, entity: str) -> int:
        """The number in the checkpoint's document."""
        return _number(self._documents([f"{CHECKPOINT}:{entity}"]))

    def shown_to(self, entity: str) -> int:
        """The same document as queries see it: it was committed with what it stands for."""
        return _number(self._documents([f"{CHECKPOINT}:{entity}"], shown=True))

    def apply(self, batch: Batch) -> None:
        """One commit; a document that replaces another deletes it first."""
        self._land(batch.entity, [batch], replace=True)

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """One commit for all, and nothing to delete; queries see it at once."""
        self._land(entity, frames, replace=False)
        self.refresh()

    def _land(self, entity: str, batches: Iterable[Batch], replace: bool) -> None:
        writer = self._writing()
        try:
            for batch in batches:
                self._write(writer, batch, replace)
            self._commit()
        except BaseException:
            writer.rollback()
            raise

    def _write(self, writer: tantivy.IndexWriter, batch: Batch, replace: bool) -> None:
        schema, texts = self.layout.schema(batch.entity), self.layout.entities[batch.entity].texts
        rows = batch.rows.select(list(schema))
        if rows.height:
            words = (
                pl.when(pl.col("deleted")).then(None).otherwise(plain(texts)) if texts else pl.lit(None, pl.String())
            )
            self._put(writer, batch.entity, _encoded(rows, "key", words), replace)
        if batch.memory is not None and batch.memory.height:
            memory = batch.memory.select(list(self.layout.memory)).cast(self.layout.memory)  # type: ignore[arg-type]
            self._put(writer, MEMORY + batch.entity, _encoded(memory, "id", NO_WORDS), True)
        if batch.checkpoint is not None:
            document = tantivy.Document()
            document.add_integer("number", batch.checkpoint)
            self._add(writer, CHECKPOINT, batch.entity, document, True)
        added, removed = changed(self, batch)
        for position in removed:
            writer.delete_documents_by_term("id", f"{PARKED}{batch.entity}:{position}")
        for row in added:
            document = tantivy.Document()
            document.add_bytes("row", row.change)
            self._add(writer, PARKED + batch.entity, row.position, document, True)

    def _put(self, writer: tantivy.IndexWriter, owner: str, rows: pl.DataFrame, replace: bool) -> None:
        for key, row, words in rows.iter_rows():
            document = tantivy.Document()
            document.add_bytes("row", row.encode())
            if words:
                document.add_text("words", words)
            self._add(writer, owner, key, document, replace)

    def _add(
        self, writer: tantivy.IndexWriter, owner: str, key: Any, document: tantivy.Document, replace: bool
    ) -> None:
        name = f"{owner}:{key}"
        document.add_text("id", name)
        document.add_text("owner", owner)
        if replace:
            writer.delete_documents_by_term("id", name)
        writer.add_document(document)

    def _answering(self, query: Query) -> Answering:
        """A search is ranked by the engine's BM25; a record is found by the term of its key."""
        entity = query.entity
        if query.kind == "search":
            return lambda words: self._search(entity.name, str(words[0]).split(), query.limit, entity.key)
        reals = {name for name, kind in entity.columns.items() if kind == "float"}

        def records(keys: Row) -> list[Row]:
            found = self._documents([f"{entity.name}:{key}" for key in sought(keys)], shown=True)
            # A frame would take longer to make than the engine to find a few records.
            rows = sorted((json.loads(one["row"][0]) for one in found), key=lambda row: row["key"])
            return [
                tuple(_real(row[n]) if n in reals else row[n] for n in entity.row) for row in rows if not row["deleted"]
            ]

        return records

    def _search(self, entity: str, words: Sequence[str], limit: int | None, kind: str) -> list[Row]:
        if not words:
            return []
        terms = [_term("words", word) for word in words]
        # Which entity it is of must not count as a reason to be better.
        mine = tantivy.Query.const_score_query(_term("owner", entity), 0.0)
        wanted = tantivy.Query.boolean_query([(tantivy.Occur.Must, term) for term in (*terms, mine)])
        names = [document["id"][0] for document in self._found(wanted, limit, shown=True)]
        keys = [name.partition(":")[2] for name in names]
        return [(int(key) if kind == "int" else key,) for key in keys]

    def _found(self, wanted: tantivy.Query, limit: int | None = None, shown: bool = False) -> list[Any]:
        """Documents of the last commit; or, with `shown`, of what queries see."""
        index = self._opened()
        searcher = self._shown if shown and self._shown is not None else index.searcher()
        most = limit or max(1, searcher.num_docs)
        return [searcher.doc(address) for _, address in searcher.search(wanted, most, count=False).hits]

    def _documents(self, names: list[str], shown: bool = False) -> list[Any]:
        wanted = tantivy.Query.term_set_query(_schema(), "id", names)
        return self._found(wanted, len(names), shown) if names else []

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Every record's document, as queries see them."""
        return self.sliced(_decoded(self._found(_term("owner", entity), shown=True), self.layout.schema(entity)))

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """From the documents of these keys."""
        found = self._documents([f"{entity}:{key}" for key in dict.fromkeys(keys)])
        schema = {name: self.layout.schema(entity)[name] for name in ("key", "revision")}
        return dict(_decoded(found, schema).rows())

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """What the guard asked to have kept."""
        if keys is None:
            found = self._found(_term("owner", MEMORY + entity))
        else:
            found = self._documents([f"{MEMORY}{entity}:{key}" for key in dict.fromkeys(keys)])
        return _decoded(found, self.layout.memory)

    def parked(self, entity: str) -> pl.DataFrame:
        """Decoded from their documents."""
        found = self._found(_term("owner", PARKED + entity))
        return decoded((document["row"][0] for document in found), self.layout.entities[entity])

    def size_bytes(self) -> int:
        """All files of the index."""
        return self.place.size_bytes()

    def settings(self) -> dict[str, Any]:
        """The library, and what a commit is: synced to disk, with no other class to choose."""
        return {"library": version("tantivy"), "heap_bytes": HEAP_BYTES, "threads": 1, "durability": "full"}


def _number(documents: list[Any]) -> int:
    return int(documents[0]["number"][0]) if documents else 0


@cache
def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("owner", stored=False, tokenizer_name="raw", index_option="basic")
    builder.add_text_field("words", stored=False, tokenizer_name="whitespace", index_option="freq")
    builder.add_bytes_field("row", stored=True)
    builder.add_integer_field("number", stored=True)
    return builder.build()


def _term(field: str, value: str) -> tantivy.Query:
    return tantivy.Query.term_query(_schema(), field, value)


def _encoded(rows: pl.DataFrame, key: str, words: pl.Expr) -> pl.DataFrame:
    """Of each row its key, itself as JSON, and its words."""
    return rows.select(
        pl.col(key).alias("name"), pl.struct(pl.all()).struct.json_encode().alias("row"), words.alias("words")
    )


def _real(value: float | None) -> float | None:
    return None if value is None else float(value)


def _decoded(documents: list[Any], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    if not documents:
        return pl.DataFrame(schema=schema)
    lines = b"\n".join(document["row"][0] for document in documents)
    return pl.read_ndjson(BytesIO(lines), schema=schema)
