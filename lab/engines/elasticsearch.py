"""Open Elasticsearch in one way everywhere: by its official client, with its errors as the lab's."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from lab.base import LabError
from lab.engines.mapping import mapping
from lab.engines.search_client import REQUEST_SECONDS, Json, server, told
from lab.engines.urls import ServerUrl

# Errors are raised: without a handler, they would be written to standard error, too.
logging.getLogger("elastic_transport").addHandler(logging.NullHandler())
logging.getLogger("elasticsearch").addHandler(logging.NullHandler())
# By address. A client can be used by several threads.
_clients: dict[str, ElasticsearchClient] = {}


class ElasticsearchClient:
    """The requests of `SearchClient`, through `elasticsearch`."""

    def __init__(self, address: ServerUrl) -> None:
        login = (address.user, address.password) if address.user else None
        self._client = Elasticsearch(
            server(address), basic_auth=login, request_timeout=REQUEST_SECONDS, max_retries=0, retry_on_timeout=False
        )

    def info(self) -> Json:
        return dict(self._client.info())

    def create(self, index: str, settings: Json, mappings: Json) -> None:
        self._client.indices.create(index=index, settings=settings, mappings=mappings)

    def exists(self, index: str) -> bool:
        return bool(self._client.indices.exists(index=index))

    def drop(self, indexes: Sequence[str]) -> None:
        for index in indexes:
            self._client.indices.delete(index=index, ignore_unavailable=True)

    def bytes_of(self, indexes: Sequence[str]) -> int:
        found = self._client.indices.stats(index=list(indexes), metric="store")
        return int(found["_all"]["total"]["store"]["size_in_bytes"])

    def bulk(self, index: str, lines: Sequence[Json]) -> Sequence[Json]:
        found: Sequence[Json] = self._client.bulk(index=index, operations=lines)["items"]
        return found

    def found(self, index: str, ids: Sequence[str], fields: Sequence[str], shown: bool) -> Sequence[Json]:
        answer = self._client.mget(index=index, ids=list(ids), source=list(fields) or False, realtime=not shown)
        found: Sequence[Json] = answer["docs"]
        return found

    def search(self, index: str, asked: Json) -> Sequence[Json]:
        found: Sequence[Json] = self._client.search(index=index, body=asked)["hits"]["hits"]
        return found

    def refresh(self, index: str) -> None:
        self._client.indices.refresh(index=index)


def translated(what: str, error: Exception) -> LabError:
    """Return the lab's error for one that the client raised: see `told`."""
    if isinstance(error, ApiError):
        reason = error.body.get("error") if isinstance(error.body, dict) else error.body
        if isinstance(reason, dict):
            reason = reason.get("reason", reason)
        return told(what, error.status_code, reason or error.message)
    return told(what, None, getattr(error, "message", None) or error)


mapped = mapping((ApiError, TransportError), translated)


def connect(address: ServerUrl) -> ElasticsearchClient:
    """Return the client of a server; one that was made is used again."""
    if address.secret not in _clients:
        _clients[address.secret] = ElasticsearchClient(address)
    return _clients[address.secret]
