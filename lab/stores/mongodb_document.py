"""`mongodb.document`: one document for each record, found by its key, and asked by aggregation pipelines.

A document has the columns of its record and those that the lab adds, by their names; that of a deleted record has its
columns below another name, where no index and no link of a walk finds them. Whole numbers are integers of 64
bits, and sums of them decimals of 34 digits: no float is in between. Another record is joined when it is asked for
(`$lookup`), so a change fans out to no other document.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import isnan
from types import MappingProxyType
from typing import Any

import bson
import polars as pl
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from lab.base import META, Batch, CannotTake, Entity, Key, LabError, NotAnswered
from lab.engines.mongodb import DOCUMENT_BYTES, plain
from lab.queries.answers import Row, sought
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores import mongodb_pipelines as pipelines
from lab.stores.key_bytes import key_bytes
from lab.stores.mongodb_database import CHECKPOINT, MEMORY, PARKED, ROW, MongodbDatabase
from lab.stores.mongodb_pipelines import TOMBSTONE, field
from lab.stores.parked import changed, decoded
from lab.stores.prepared import Answering
from lab.stores.slices import fitting, rows_within, tuples

# Rows of a rebuild in one transaction: no more are advised, and the server ends one after a minute.
AT_ONCE, AT_ONCE_BYTES = 1_000, 2**23
GAPS = MappingProxyType(
    {
        "search": "not yet: its index of words drops the commonest and cuts endings; no emulator of it has one",
        "sql": "never: it is asked by pipelines",
    }
    | dict.fromkeys(
        ("as_of", "history"), "not yet: a document is the record as it stands; former revisions aren't kept"
    )
)


class MongodbDocument(MongodbDatabase):
    """A collection of documents for each entity."""

    name = "mongodb.document"
    answers = frozenset(KINDS) - GAPS.keys()
    gaps = GAPS
    holds = ("records",)

    def _indexes(self, entity: str) -> list[list[tuple[str, int]]]:
        found = self.layout.entities[entity]
        sought_by = [*found.indexes, *([(found.parent,)] if found.parent else [])]
        return [[(field(name), 1) for name in dict.fromkeys([*columns, "key"])] for columns in sought_by]

    # -- writing -------------------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> None:
        """Write documents, the guard's memory, what is parked and the checkpoint in one transaction."""
        # All that can be refused is refused before anything is sent.
        rows = self._documents(batch)
        self._commit(self._beside(batch), self._named(batch.entity), rows)

    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Some documents at a time; a rebuild that is interrupted is begun anew."""
        self._marked()
        try:
            for batch in frames:
                for rows in batch.rows.iter_slices(rows_within(batch.rows, AT_ONCE, AT_ONCE_BYTES)):
                    self._commit({}, self._named(entity), self._documents(Batch(entity, rows)), empty=True)
                self._remember(batch)
                self._commit(self._beside(Batch(entity, batch.rows.clear(), batch.checkpoint, None, batch.park)))
        except BaseException:
            # What can't be emptied now is emptied when it is opened.
            with suppress(LabError):
                self.reset()
            raise
        self._marked(False)

    def _remember(self, batch: Batch) -> None:
        """Write the guard's memory of a rebuild: inserted, which takes a part of the time, where all of it is new."""
        if batch.memory is None:
            return
        name = self._collection(MEMORY, batch.entity)
        for some in batch.memory.iter_slices(AT_ONCE):
            found = self._memory(some)
            try:
                self._commit({name: [InsertOne({"_id": key, **one}) for key, one in found.items()]})
            except BulkWriteError:
                self._commit({name: [_put(key, one) for key, one in found.items()]})

    def _memory(self, memory: pl.DataFrame | None) -> dict[bytes, dict[str, Any]]:
        """The documents of the guard's memory, by their keys."""
        if memory is None or not memory.height or not self.layout.memory:
            return {}
        return {key_bytes(row[0]): {"value": marshal.dumps(row)} for row in fitting(memory, self.layout.memory).rows()}

    def _documents(self, batch: Batch) -> dict[Key, tuple[int, RawBSONDocument]]:
        """The last revision of each record in a batch, as it travels."""
        entity = self.layout.entities[batch.entity]
        names, floats = list(entity.schema), [at for at, kind in enumerate(entity.schema.values()) if kind.is_float()]
        made, fields, added = dict[Key, tuple[int, RawBSONDocument]](), [field(name) for name in names], len(META)
        with self._mapped():
            for row in tuples(batch.rows, names):
                if any(row[at] is not None and isnan(row[at]) for at in floats):
                    raise CannotTake(f"{self.name}: a number that is none (NaN), which it would sort before all others")
                values = dict(zip(fields, row, strict=True))
                if values["deleted"]:
                    own = {name: values.pop(name) for name in fields[added:]}
                    values[TOMBSTONE] = own
                document = bson.encode(values)
                if len(document) > DOCUMENT_BYTES:
                    said = f"a document of {len(document):,} bytes, and MongoDB takes up to {DOCUMENT_BYTES:,}"
                    raise CannotTake(f"{self.name}: {said}")
                made[row[1]] = row[2], RawBSONDocument(document)
        return made

    def _beside(self, batch: Batch) -> dict[str, list[Any]]:
        """What is written of the guard's memory, of what is parked, and of the checkpoint, by collection."""
        memory, (added, removed) = self._memory(batch.memory), changed(self, batch)
        parts: dict[str, list[Any]] = {
            self._collection(MEMORY, batch.entity): [_put(key, one) for key, one in memory.items()]
        }
        parts[self._collection(PARKED, batch.entity)] = [
            *(DeleteOne({"_id": position}) for position in removed),
            *(_put(one.position, {"value": one.change}) for one in added),
        ]
        if batch.checkpoint is not None:
            parts[CHECKPOINT] = [_put(batch.entity, {"position": self._position(batch.checkpoint)})]
        return parts

    # -- answers -------------------------------------------------------------------------------------------------------

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows. Raises NotAnswered for a value that MongoDB has no word for."""
        try:
            return super().query(query, parameters)
        except CannotTake as error:
            raise NotAnswered(f"{query.name}: {error}") from None

    def _answering(self, query: Query) -> Answering:
        if query.kind in ("get", "get_many"):
            return self._looked_up(query.entity)
        named, collection = self._named, self._read(self._named(query.entity.name))

        def answer(parameters: Row) -> list[Row]:
            asked = pipelines.pipeline(query, parameters, named)
            if asked is None:
                return []
            with self._mapped():
                return pipelines.rows(query, parameters, collection.aggregate(asked).to_list())

        return answer

    def _looked_up(self, entity: Entity) -> Answering:
        collection = self._read(self._named(entity.name))
        chosen = {field(name): 1 for name in entity.row}

        def answer(keys: Row) -> list[Row]:
            wanted = {"_id": {"$in": sought(keys)}, "deleted": False}
            with self._mapped():
                return pipelines.records(entity, collection.find(wanted, chosen).sort("_id", 1).to_list())

        return answer

    def _named(self, entity: str) -> str:
        return self._collection(ROW, entity)

    # -- whole ---------------------------------------------------------------------------------------------------------

    def checkpoint(self, entity: str) -> int:
        """Return the position in the checkpoint's document."""
        with self._mapped():
            found = self._read(CHECKPOINT).find_one({"_id": entity})
        return int(found["position"]) if found else 0

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Each page is found by the last key of the page before it."""
        schema, collection = self.layout.schema(entity), self._read(self._named(entity))
        fields, height = [field(name) for name in schema], self.page_rows
        after: dict[str, Any] = {}
        while height == self.page_rows:
            with self._mapped():
                found = collection.find(after, sort=[("_id", 1)], limit=self.page_rows).to_list()
            height = len(found)
            if height:
                after = {"_id": {"$gt": found[-1]["_id"]}}
                whole = (one | one[TOMBSTONE] if one["deleted"] else one for one in found)
                rows = [tuple([plain(one[name]) for name in fields]) for one in whole]
                yield pl.DataFrame(rows, schema=schema, orient="row")

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """All keys, some thousand in a question."""
        return self._revisions_in(self._named(entity), list(dict.fromkeys(keys)))

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory."""
        name = self._collection(MEMORY, entity)
        if keys is None:
            with self._mapped():
                found = self._read(name).find({}).to_list()
        else:
            found = self._documents_of(name, [key_bytes(key) for key in dict.fromkeys(keys)])
        rows = [marshal.loads(one["value"]) for one in found]
        return pl.DataFrame(rows, schema=self.layout.memory, orient="row")

    def parked(self, entity: str) -> pl.DataFrame:
        """Return the parked changes, decoded from their documents."""
        with self._mapped():
            found = self._read(self._collection(PARKED, entity)).find({}).to_list()
        return decoded((one["value"] for one in found), self.layout.entities[entity])


def _put(key: Any, document: dict[str, Any]) -> ReplaceOne[Any]:
    """Write a document, whatever is there."""
    return ReplaceOne({"_id": key}, document, upsert=True)
