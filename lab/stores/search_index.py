"""What both search servers keep and answer: a document for each record, found by its key or by its words.

A document has its row in Python's `marshal` format: exact, and only readable by the lab. Words are those of
`lab.queries.text`, which the index only has to part at spaces.
"""

from __future__ import annotations

import marshal
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import polars as pl

from lab.base import Batch, CannotTake, Key, LabError
from lab.engines.search_client import Json
from lab.queries.answers import Row, sought
from lab.queries.model import Query
from lab.queries.text import plain
from lab.stores.keyvalue import seen
from lab.stores.parked import decoded, encoded, with_parked
from lab.stores.prepared import Answering
from lab.stores.search_documents import DOCUMENT_BYTES, ID_BYTES, PAGE, SearchDocuments
from lab.stores.slices import fitting, tuples
from lab.stores.tantivy_search import NOT_ITS_TRADE

_WORDS = "lab_words"


class SearchIndex(SearchDocuments):
    """Documents of records, with an inverted index of their words."""

    answers = frozenset({"get", "get_many", "search"})
    gaps = MappingProxyType(
        dict.fromkeys(("filter", "aggregate"), NOT_ITS_TRADE)
        | dict.fromkeys(("join", "traverse", "sql"), "never: an index knows no other record")
        | dict.fromkeys(("as_of", "history"), "never: an index is of what is now")
    )
    holds = ("records",)

    # -- writing -------------------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Write the rows that are not older than what is there; then memory and what is parked; last the checkpoint."""
        # All that can be refused is refused before anything is written.
        rows, aside = self._rows(batch), self._beside(batch)
        last = [] if batch.checkpoint is None else self._checkpoint(batch.entity, batch.checkpoint)
        self._check_owner()
        self._send(rows)
        self._send(aside, aside=True)
        self._send(last)
        if not self.layout.refresh:
            self.refresh()

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Batch by batch; a rebuild that is interrupted is begun anew. Searches see it when it is whole."""
        self._check_owner()
        self._mark()
        try:
            for batch in frames:
                self.apply(batch)
        except BaseException:
            # What can't be emptied now is emptied when it is opened.
            with suppress(LabError):
                self.reset()
            raise
        self._unmark()
        self.refresh()

    def _rows(self, batch: Batch) -> list[Json]:
        entity = self.layout.entities[batch.entity]
        names = list(self.layout.schema(batch.entity))
        if not batch.rows.height:
            batch.rows.select(names)
            return []
        words: list[str | None] = [None] * batch.rows.height
        if entity.texts:
            only = pl.when(pl.col("deleted")).then(None).otherwise(plain(entity.texts))
            words = batch.rows.select(only.alias(_WORDS))[_WORDS].to_list()
        lines = []
        for row, text in zip(tuples(batch.rows, names), words, strict=True):
            name = self._name(batch.entity, row[1])
            document = {"id": name, "of": f"row:{batch.entity}", "key": row[1], "row": self._value(row)}
            # Equal ones come again: what is written a second time is the same.
            lines += [
                {"index": {"_id": name, "version": row[2], "version_type": "external_gte"}},
                document | {"words": text} if text else document,
            ]
        return lines

    def _beside(self, batch: Batch) -> list[Json]:
        lines: list[Json] = []
        if batch.memory is not None and batch.memory.height and self.layout.memory:
            for row in fitting(batch.memory, self.layout.memory).rows():
                name = self._name(batch.entity, row[0])
                lines += [
                    {"index": {"_id": name}},
                    {"id": name, "of": f"memory:{batch.entity}", "row": self._value(row)},
                ]
        if batch.park is not None or batch.release:
            parked = [b64encode(one.change).decode() for one in encoded(with_parked(self.parked(batch.entity), batch))]
            if sum(map(len, parked)) > DOCUMENT_BYTES:
                raise CannotTake(f"{self.name}: what is parked takes more than {DOCUMENT_BYTES:,} bytes")
            lines += [{"index": {"_id": f"parked:{batch.entity}"}}, {"of": "parked", "rows": parked}]
        return lines

    def _checkpoint(self, entity: str, checkpoint: int) -> list[Json]:
        name = f"checkpoint:{entity}"
        return [{"index": {"_id": name}}, {"of": "checkpoint", "number": self._position(checkpoint)}]

    def _value(self, row: Row) -> str:
        value = b64encode(marshal.dumps(row)).decode()
        if len(value) > DOCUMENT_BYTES:
            raise CannotTake(f"{self.name}: a row of {len(value):,} bytes, and it takes up to {DOCUMENT_BYTES:,}")
        return value

    def _name(self, entity: str, key: Key) -> str:
        """The id of a document: readable, but for one that would be too long, which is a digest."""
        name = f"{entity}:{key}"
        if len(written := name.encode(errors="surrogatepass")) > ID_BYTES:
            # No name of an entity begins so.
            return f"#{sha256(written).hexdigest()}"
        return name

    # -- answers -------------------------------------------------------------------------------------------------------

    def _answering(self, query: Query) -> Answering:
        """A search is ranked by the engine's BM25; a record is looked up by its key, as searches see it."""
        entity = query.entity.name
        if query.kind == "search":
            return lambda words: self._search(entity, str(words[0]).split(), query.limit)

        def records(keys: Row) -> list[Row]:
            found = [_row(one) for one in self._documents(entity, sought(keys), shown=True)]
            return [one for row in sorted(found, key=lambda row: row[1]) for one in seen(row)]

        return records

    def _search(self, entity: str, words: Sequence[str], limit: int | None) -> list[Row]:
        if not words:
            return []
        # Which entity it is of must not count as a reason to be better.
        wanted = {
            "must": [{"term": {"words": word}} for word in words], "filter": [{"term": {"of": f"row:{entity}"}}],
        }  # fmt: skip
        order = [{"_score": "desc"}, {"id": "asc"}]
        found: list[Row] = []
        after: Json = {}
        while limit is None or len(found) < limit:
            most = PAGE if limit is None else min(PAGE, limit - len(found))
            asked = {"query": {"bool": wanted}, "sort": order, "size": most, "_source": ["key"]}
            with self._mapped():
                page = self._client.search(self._index(), asked | {"track_total_hits": False} | after)
            found += [(one["_source"]["key"],) for one in page]
            if len(page) < most:
                break
            after = {"search_after": page[-1]["sort"]}
        return found

    def _documents(self, entity: str, keys: Sequence[Key], shown: bool = False) -> list[Json]:
        return self._looked_up([self._name(entity, key) for key in keys], ("row",), shown)

    # -- reading -------------------------------------------------------------------------------------------------------

    def checkpoint(self, entity: str) -> int:
        """The number in the checkpoint's document, as it is written."""
        return self._number(entity, shown=False)

    def shown_to(self, entity: str) -> int:
        """The same as searches see it: it was written after what it stands for."""
        return self._number(entity, shown=True)

    def _number(self, entity: str, shown: bool) -> int:
        found = self._looked_up([f"checkpoint:{entity}"], ("number",), shown)
        return int(found[0]["_source"]["number"]) if found else 0

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Every record's document, as searches see them."""
        rows = [marshal.loads(b64decode(value)) for value in self._all_of(f"row:{entity}", "row")]
        return self.sliced(pl.DataFrame(rows, schema=self.layout.schema(entity), orient="row"))

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """The versions of these documents, as they are written."""
        names = {self._name(entity, key): key for key in keys}
        return {names[one["_id"]]: int(one["_version"]) for one in self._looked_up(list(names), ())}

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """What the guard asked to have kept: looked up, or listed after a refresh of what is beside the rows."""
        if keys is None:
            with self._mapped():
                self._client.refresh(self._index(aside=True))
            found = [marshal.loads(b64decode(value)) for value in self._all_of(f"memory:{entity}", "row", aside=True)]
        else:
            names = list(dict.fromkeys(self._name(entity, key) for key in keys))
            found = [_row(one) for one in self._looked_up(names, ("row",), aside=True)]
        return pl.DataFrame(found, schema=self.layout.memory, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Decoded from the one document that has them."""
        found = self._looked_up([f"parked:{entity}"], ("rows",), aside=True)
        changes = found[0]["_source"]["rows"] if found else ()
        return decoded(map(b64decode, changes), self.layout.entities[entity])


def _row(document: Json) -> Any:
    return marshal.loads(b64decode(document["_source"]["row"]))
