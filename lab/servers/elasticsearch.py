"""Elasticsearch: found by the URL in LAB_ELASTICSEARCH, by that in LAB_ELASTICSEARCH_FILE, or at port 9200."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from lab.engines import elasticsearch as engine
from lab.engines.elasticsearch import ElasticsearchClient
from lab.engines.urls import ServerUrl
from lab.servers.search_server import SearchLedger, SearchPlace, SearchServer


class ElasticsearchLedger(SearchLedger):
    """The ledger of indexes in Elasticsearch."""

    variable = "LAB_ELASTICSEARCH_OWNER"


class ElasticsearchServer(SearchServer):
    """A server of Elasticsearch, or an emulator of one."""

    name, title, variable = "elasticsearch", "Elasticsearch", "LAB_ELASTICSEARCH"
    ledger_class = ElasticsearchLedger
    start = "pip install 'polyglot-lab[elasticsearch]' && lab servers start elasticsearch"

    def client(self, address: ServerUrl | None = None) -> ElasticsearchClient:
        """Return the client; an absent server shows in use."""
        return engine.connect(address or self.url())

    def mapped(self, what: str) -> AbstractContextManager[None]:
        """Translate what the client raises in the block."""
        return engine.mapped(what, self.url())


SERVER = ElasticsearchServer()


@dataclass(frozen=True)
class ElasticsearchPlace(SearchPlace):
    """One generation of data in Elasticsearch."""

    at = SERVER
