"""Memcached: found by the URL in LAB_MEMCACHED, in the file that LAB_MEMCACHED_FILE names, or at port 11211."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab.engines import memcached as engine
from lab.engines.memcached import MemcachedClient
from lab.engines.urls import ServerUrl
from lab.servers.broker import Broker
from lab.servers.disk_ledger import DiskLedger


class MemcachedLedger(DiskLedger):
    """The ledger of Memcached, where nothing can be written down that stays. A `prefix` is of names of entries."""

    variable = "LAB_MEMCACHED_OWNER"
    kinds = ("prefix",)


class MemcachedServer(Broker):
    """The Memcached server that the environment names, or the one on this machine; found and swept as brokers are."""

    name, title, variable = "memcached", "Memcached", "LAB_MEMCACHED"
    schemes, usual = engine.SCHEMES, engine.EXAMPLE
    ledger_class = MemcachedLedger
    start = (
        "apt-get install memcached && lab servers start memcached, "
        "or docker run --rm -p 127.0.0.1:11211:11211 memcached:1.6"
    )

    def parsed(self, text: str, where: str) -> ServerUrl:
        """A URL without parameters. Raises BadInput."""
        return engine.url(text, where)

    def connect(self, lasting: bool = False) -> MemcachedClient:
        """Return a client: see `MemcachedClient`. Raises BadInput; an absent server shows at its first command."""
        return MemcachedClient(self.url(), lasting)

    @contextmanager
    def session(self, url: ServerUrl | None = None) -> Iterator[MemcachedClient]:
        """A client for a few commands. Raises Unavailable."""
        client, address = MemcachedClient(url or self.url()), url or self.url()
        try:
            with engine.mapped(f"{self.title} at {address}", address):
                yield client
        finally:
            client.close()

    def ask(self, url: ServerUrl) -> dict[str, Any]:
        """Its version, its memory, the largest entry, and whether it evicts. Raises Unavailable."""
        with self.session(url) as client:
            found = engine.settings(client)
        return {"version": found.pop("server_version"), **found}

    def remove(self, thing: str) -> None:
        """Delete the entries below a prefix, as far as the server lists them; the rest goes when memory is needed."""
        with self.session() as client:
            client.delete_many([name for name, _ in client.listed(f"{thing}:".encode())])


SERVER = MemcachedServer()
