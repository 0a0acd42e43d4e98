"""How a projection stands in a database of MongoDB: collections, transactions, one writer at a time.

A batch is one transaction of a replica set, with its checkpoint. Each transaction writes the owner's document if that
still names this writer: a former one is refused, and two at a time are in each other's way. A document is replaced only
by one whose revision is not lower; where it is, the server tries to insert that beside it, and finds the key taken.
That ends the whole transaction, so it is tried again without the rows that are older.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pymongo
from pymongo import DeleteMany, DeleteOne, InsertOne, MongoClient, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from lab.base import INT_MAX, INT_MIN, CannotTake, Damaged, Unavailable
from lab.engines import mongodb as engine
from lab.place import FolderPlace
from lab.ports import Capabilities
from lab.servers.ledger import NAMED
from lab.servers.mongodb import SERVER
from lab.servers.mongodb_place import OWNER, MongodbPlace
from lab.stores.layout import Layout
from lab.stores.prepared import PreparedQueries

Document = dict[str, Any]
# The names of collections, before that of an entity where each has its own; and bytes left for a name.
CHECKPOINT, MEMORY, PARKED, ROW = "checkpoint", "memory", "parked", "row"
_NAME_BYTES = engine.NAMESPACE_BYTES - MongodbPlace.name_bytes - 1
# It is there while everything is deleted or filled: what it meets when it is opened is deleted.
_MARK = {"_id": "unfinished"}
# How often a batch is tried again without rows that turn out to be older; how many documents are deleted at a time; and
# how many keys are looked up at a time.
_TRIES, _AT_ONCE, LISTED = 10, 5_000, 1_000


class MongodbDatabase(PreparedQueries):
    """A projection in the collections of one database."""

    durability = "confirmed by a majority of the replica set, in their logs; data and checkpoint in one transaction"
    capabilities = Capabilities(guards=True, concurrent_readers=True, level="emulated")
    files = (NAMED,)

    _client: MongoClient[Document] | None = None
    # The database, once it was looked up; the token by which this writer is the owner.
    _known, _token = "", ""

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self._on = MongodbPlace.of(place)
        super().__init__(self._on, layout)

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """The database that belongs to a folder."""
        return MongodbPlace.of(place)

    @classmethod
    def begin(cls) -> None:
        """Become the owner of what this process and those that it starts make there."""
        SERVER.begin()

    # -- whole ---------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Become the writer: whoever was it before is refused from its next batch on.

        Raises BadInput where the server has no transactions.
        """
        if self._token:
            return
        self._known, token = self._on.claim(), secrets.token_hex(8)
        try:
            client = self._connected()
            SERVER.transacting(client, self.name)
            with self._mapped():
                self._make(client[self._known])
                owner = self._written(OWNER)
                owner.replace_one({"_id": OWNER}, {"token": token}, upsert=True)
                unfinished = owner.find_one(_MARK) is not None
        except BaseException:
            self.close()
            raise
        self._token = token
        if unfinished:
            self._empty()

    def close(self) -> None:
        """Close the connections. What was written is on the server."""
        super().close()
        if self._client is not None:
            self._client.close()
            self._client = None
        self._known = self._token = ""

    def reset(self) -> None:
        """Delete every document; what is interrupted is gone on with when it is opened."""
        self._marked()
        self._empty()

    def _marked(self, there: bool = True) -> None:
        """Say that what is there is not whole, or that it is again."""
        self._commit({OWNER: [ReplaceOne(_MARK, {}, upsert=True) if there else DeleteOne(_MARK)]})

    def _empty(self) -> None:
        self._prepared.clear()
        for name in self._collections():
            while True:
                with self._mapped():
                    some = self._written(name).find({}, {"_id": 1}, sort=[("_id", 1)], limit=_AT_ONCE).to_list()
                if not some:
                    break
                # A range: there may be too many for one transaction.
                self._commit({name: [DeleteMany({"_id": {"$lte": some[-1]["_id"]}})]})
        self._marked(False)

    def damaged(self, error: BaseException) -> bool:
        """By what the server said: the database is gone."""
        return isinstance(error, Damaged)

    def size_bytes(self) -> int:
        """What documents and indexes take, before the server compresses them."""
        return self._on.size_bytes()

    def settings(self) -> dict[str, Any]:
        """The library, the address, what answers there, and what writes wait for."""
        return {
            "library": "pymongo",
            "address": str(SERVER.url()),
            **SERVER.settings(),
            "writes": "majority, journaled",
        }

    # -- collections ---------------------------------------------------------------------------------------------------

    def _collection(self, kind: str, entity: str) -> str:
        """The name of a collection: readable, but for one that would be too long, which is a digest."""
        name = f"{kind}:{quote(entity, ' ', errors='surrogatepass')}"
        return name if len(name) <= _NAME_BYTES else f"{kind}:#{sha256(name.encode()).hexdigest()}"

    def _collections(self) -> list[str]:
        """All collections but that of the owner."""
        kinds = [ROW, PARKED, *([MEMORY] if self.layout.memory else [])]
        return [CHECKPOINT, *(self._collection(kind, entity) for entity in self.layout.entities for kind in kinds)]

    def _make(self, database: Database[Document]) -> None:
        """Make the collections that are missing, outside of any transaction, and the indexes that readers want."""
        there = set(database.list_collection_names())
        for name in self._collections():
            if name not in there:
                database.create_collection(name)
        for entity in self.layout.entities:
            for keys in self._indexes(entity):
                database[self._collection(ROW, entity)].create_index(keys)

    def _indexes(self, entity: str) -> list[list[tuple[str, int]]]:
        """The fields of each index of an entity's documents, with their directions."""
        return []

    def _connected(self) -> MongoClient[Document]:
        if self._client is None:
            self._client = SERVER.connect()
        return self._client

    def _mapped(self) -> Any:
        return engine.mapped(self.name, SERVER.url())

    def _written(self, name: str) -> Any:
        """A collection to write to, whose documents are read as they stand at the primary."""
        return self._connected()[self._known].get_collection(name, write_concern=engine.WRITES)

    def _read(self, name: str) -> Any:
        """A collection to read. Raises Damaged where no database is named."""
        if not self._known:
            self._known = self._on.named
        if not self._known:
            raise Damaged(f"{self.name}: no database is named in {self.path}")
        return self._connected()[self._known].get_collection(name, read_concern=engine.READS)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _commit(
        self,
        parts: Mapping[str, Sequence[Any]],
        rows: str = "",
        guarded: Mapping[Any, tuple[int, Any]] | None = None,
        empty: bool = False,
    ) -> None:
        """Write parts to their collections in one transaction, and rows with their revisions to theirs.

        Where it is known to be `empty`, rows are inserted, which takes the server a part of the time.

        Raises Unavailable where another process is the writer, Damaged where the database is gone.
        """
        if not self._token:
            self.open()
        guarded = guarded or {}
        for _ in range(_TRIES):
            puts = [
                InsertOne(document) if empty else _newer(key, revision, document)
                for key, (revision, document) in guarded.items()
            ]
            sent = {name: some for name, some in {rows: puts, **parts}.items() if some}
            try:
                with self._mapped(), pymongo.timeout(engine.TRANSACTION_SECONDS):
                    self._transact(sent)
                return
            except BulkWriteError:
                if not guarded:
                    raise
                # Keys are taken by newer rows: the others are wanted all the same.
                empty, former = False, self._revisions_in(rows, list(guarded))
                guarded = {key: one for key, one in guarded.items() if former.get(key, one[0]) <= one[0]}
        raise Unavailable(f"{self.name}: other transactions are in the way all the time")

    def _transact(self, sent: Mapping[str, Sequence[Any]]) -> None:
        with self._connected().start_session() as session:
            session.with_transaction(
                lambda session: self._write(session, sent), engine.SNAPSHOT, write_concern=engine.WRITES
            )

    def _write(self, session: ClientSession, sent: Mapping[str, Sequence[Any]]) -> None:
        database = self._connected()[self._known]
        mine = {"_id": OWNER, "token": self._token}
        # Written, and not only read: so no other writer can become the owner before this is committed.
        if not database[OWNER].update_one(mine, {"$inc": {"batches": 1}}, session=session).matched_count:
            if database[OWNER].find_one({"_id": OWNER}, session=session) is None:
                raise Damaged(f"{self.name}: the database {self._known} is gone from the server")
            raise Unavailable(f"{self.name}: another process writes this projection now")
        for name, some in sent.items():
            database[name].bulk_write(some, ordered=False, session=session)

    def _revisions_in(self, collection: str, keys: Sequence[Any]) -> dict[Any, int]:
        """The revisions of the documents of these keys that are there."""
        found = self._documents_of(collection, keys, {"revision": 1})
        return {engine.plain(one["_id"]): int(one["revision"]) for one in found}

    def _documents_of(self, collection: str, keys: Sequence[Any], fields: Document | None = None) -> list[Document]:
        """The documents of these keys that are there, with these fields of them."""
        found: list[Document] = []
        asked = self._read(collection)
        with self._mapped():
            for first in range(0, len(keys), LISTED):
                found += asked.find({"_id": {"$in": list(keys[first : first + LISTED])}}, fields)
        return found

    def _position(self, checkpoint: int) -> int:
        if not INT_MIN <= checkpoint <= INT_MAX:
            raise CannotTake(f"{self.name}: a position of more than 64 bits")
        return checkpoint


def _newer(key: Any, revision: int, document: Any) -> ReplaceOne[Any]:
    """Write a document unless one with a higher revision is there: then its key is taken."""
    return ReplaceOne({"_id": key, "revision": {"$lte": revision}}, document, upsert=True)
