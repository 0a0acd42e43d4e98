"""OpenSearch: found by the URL in LAB_OPENSEARCH, by that in LAB_OPENSEARCH_FILE, or at port 9200."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from lab.engines import opensearch as engine
from lab.engines.opensearch import OpensearchClient
from lab.engines.urls import ServerUrl
from lab.servers.search_server import SearchLedger, SearchPlace, SearchServer


class OpensearchLedger(SearchLedger):
    """The ledger of indexes in OpenSearch."""

    variable = "LAB_OPENSEARCH_OWNER"


class OpensearchServer(SearchServer):
    """A server of OpenSearch, or an emulator of one."""

    name, title, variable = "opensearch", "OpenSearch", "LAB_OPENSEARCH"
    ledger_class = OpensearchLedger
    start = "pip install 'polyglot-lab[opensearch]' && lab servers start opensearch"

    def client(self, address: ServerUrl | None = None) -> OpensearchClient:
        """Return the client; an absent server shows in use."""
        return engine.connect(address or self.url())

    def mapped(self, what: str) -> AbstractContextManager[None]:
        """Translate what the client raises in the block."""
        return engine.mapped(what, self.url())


SERVER = OpensearchServer()


@dataclass(frozen=True)
class OpensearchPlace(SearchPlace):
    """One generation of data in OpenSearch."""

    at = SERVER
