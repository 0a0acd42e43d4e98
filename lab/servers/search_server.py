"""What the kinds of search servers have in common: their ledger of indexes, and what they tell of themselves."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from lab.base import Damaged
from lab.engines import search_client as engine
from lab.engines.search_client import Json, SearchClient
from lab.engines.urls import ServerUrl
from lab.servers.broker import Broker
from lab.servers.disk_ledger import DiskLedger
from lab.servers.place import ServerPlace

# What emulators call their builds and clusters.
EMULATORS = ("noida", "osmem")
# Beside the index of documents: one that is listed as it is written, which is refreshed before each list.
ASIDE = "_aside"
# One shard, so that a refresh shows all of a moment. Refreshed when the lab says so: then it is known when it was.
_SETTINGS: Json = {
    "index": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"},
    # Words come parted by spaces, however long they are.
    "analysis": {
        "tokenizer": {"lab_words": {"type": "whitespace", "max_token_length": 32_000}},
        "analyzer": {"lab_words": {"type": "custom", "tokenizer": "lab_words"}},
    },
}
_MAPPINGS: Json = {
    "dynamic": False,
    "properties": {
        "id": {"type": "keyword"},
        "of": {"type": "keyword"},
        "words": {"type": "text", "analyzer": "lab_words"},
    },
}


class SearchLedger(DiskLedger):
    """The ledger of what the lab made there: indexes."""

    kinds = ("index",)


class SearchServer(Broker):
    """The address of a search server; found and swept as brokers are."""

    schemes, usual = engine.SCHEMES, engine.EXAMPLE

    @abstractmethod
    def client(self, address: ServerUrl | None = None) -> SearchClient:
        """Return the client of the server at an address: of the one that the environment names."""

    @abstractmethod
    def mapped(self, what: str) -> AbstractContextManager[None]:
        """Translate what the client raises in the block."""

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """Its version, and whether it is an emulator. Raises Unavailable."""
        with self.mapped(self.title):
            said = self.client(url).info()
        builds = f"{said['version'].get('build_hash', '')} {said.get('cluster_name', '')}"
        emulator = any(one in builds for one in EMULATORS)
        return {"version": str(said["version"]["number"]), "emulator": emulator}

    def remove(self, thing: str) -> None:
        """Remove the indexes of a place."""
        with suppress(Damaged), self.mapped(self.title):
            self.client().drop([thing, thing + ASIDE])


@dataclass(frozen=True)
class SearchPlace(ServerPlace):
    """One generation of data in two indexes of a search server."""

    kind: ClassVar[str] = "index"
    at: ClassVar[SearchServer]

    @property
    def book(self) -> DiskLedger:
        """What processes of this machine have made at the address that the environment names."""
        return self.at.book

    def is_made(self, session: None, name: str) -> bool:
        """Return whether there are such indexes. Raises Unavailable."""
        with self.at.mapped(self.at.title):
            return all(self.at.client().exists(one) for one in (name, name + ASIDE))

    def make(self, session: None, name: str) -> None:
        """Make both, empty; what is left of former ones goes."""
        with self.at.mapped(self.at.title):
            client = self.at.client()
            client.drop([name, name + ASIDE])
            for one in (name + ASIDE, name):
                client.create(one, _SETTINGS, _MAPPINGS)

    def bytes_of(self, session: None, name: str) -> int:
        """What both take on disk."""
        with self.at.mapped(self.at.title):
            return self.at.client().bytes_of([name, name + ASIDE])
