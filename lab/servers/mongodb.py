"""MongoDB: found by the URL in LAB_MONGODB, in the file that LAB_MONGODB_FILE names, or at port 27017 of 127.0.0.1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient

from lab.base import BadInput, Problem
from lab.engines import mongodb as engine
from lab.engines.urls import ServerUrl
from lab.servers.broker import Broker
from lab.servers.disk_ledger import DiskLedger


class MongodbLedger(DiskLedger):
    """The ledger of what the lab made there: databases."""

    variable = "LAB_MONGODB_OWNER"
    kinds = ("database",)


class MongodbServer(Broker):
    """The MongoDB server that the environment names, or the one on this machine; found and swept as brokers are."""

    name, title, variable = "mongodb", "MongoDB", "LAB_MONGODB"
    schemes, usual = engine.SCHEMES, engine.EXAMPLE
    ledger_class = MongodbLedger
    start = (
        "docker run --rm -p 127.0.0.1:27017:27017 mongo:8 --replSet lab --bind_ip_all, "
        'then once: mongosh --eval "rs.initiate()"'
    )

    def parsed(self, text: str, where: str) -> ServerUrl:
        """A URL whose parameters are known. Raises BadInput."""
        return engine.url(text, where)

    def connect(self) -> MongoClient[dict[str, Any]]:
        """Return a client, to be closed. Raises BadInput; an absent server shows at its first command."""
        return engine.connect(self.url())

    def transacting(self, client: MongoClient[dict[str, Any]], who: str) -> None:
        """Refuse a server that is in no replica set, for it has no transactions. Raises BadInput, Unavailable."""
        with engine.mapped(f"{self.title} at {self.url()}", self.url()):
            found = engine.told(client)
        if not found["set"] and not found["sharded"]:
            what = f"the MongoDB server at {self.url()} is in no replica set, and so has no transactions"
            way_out = 'start it with --replSet, then once: mongosh --eval "rs.initiate()"'
            raise BadInput([Problem(who, what, way_out)])

    @contextmanager
    def session(self, url: ServerUrl | None = None) -> Iterator[MongoClient[dict[str, Any]]]:
        """A client for a few commands. Raises Unavailable."""
        address = url or self.url()
        with engine.mapped(f"{self.title} at {address}", address), engine.connect(address) as client:
            yield client

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """Its version, and the name of its replica set. Raises Unavailable."""
        with self.session(url) as client:
            return engine.told(client)

    def remove(self, thing: str) -> None:
        """Drop a database with all that is in it; nothing if it is gone. Raises Unavailable."""
        with self.session() as client:
            client.drop_database(thing)


SERVER = MongodbServer()
