"""`elasticsearch.search`: documents of an index in Elasticsearch, seen by searches after a refresh."""

from __future__ import annotations

from lab.servers.elasticsearch import ElasticsearchPlace
from lab.stores.search_index import SearchIndex


class ElasticsearchSearch(SearchIndex):
    """A projection in Elasticsearch."""

    name = "elasticsearch.search"
    home = ElasticsearchPlace
