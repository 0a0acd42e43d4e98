"""`opensearch.search`: documents of an index in OpenSearch, refreshed with each batch."""

from __future__ import annotations

from dataclasses import replace

from lab.servers.opensearch import OpensearchPlace
from lab.stores.search_index import SearchIndex


class OpensearchSearch(SearchIndex):
    """A projection in OpenSearch; its emulator has no refresh that could be waited for, so each batch is refreshed."""

    name = "opensearch.search"
    capabilities = replace(SearchIndex.capabilities, refresh=None)
    home = OpensearchPlace
