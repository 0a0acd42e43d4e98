"""What the lab asks of a search server, whichever it is: Elasticsearch, or OpenSearch, which comes from it.

An adapter for each official client is a class of its own, since the two name their arguments differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lab.base import CannotTake, Damaged, LabError, Unavailable
from lab.engines.urls import ServerUrl
from lab.formatting import first_line

SCHEMES, EXAMPLE = ("http", "https"), "http://127.0.0.1:9200"
# Seconds until a request is given up. An answer that was lost is not asked for again: what it wrote comes again anyway.
REQUEST_SECONDS = 15.0
_CONFLICT, _GONE, _TOO_MANY = 409, 404, 429
_WRONG = (400, 413)

Json = dict[str, Any]


class SearchClient(Protocol):
    """The requests of a search server that the lab makes. Each raises as its client does."""

    def info(self) -> Json:
        """The server's name, version and build."""

    def create(self, index: str, settings: Json, mappings: Json) -> None:
        """Make an index."""

    def exists(self, index: str) -> bool:
        """Whether there is such an index."""

    def drop(self, indexes: Sequence[str]) -> None:
        """Remove indexes, as far as they are there."""

    def bytes_of(self, indexes: Sequence[str]) -> int:
        """What indexes take on disk."""

    def bulk(self, index: str, lines: Sequence[Json]) -> Sequence[Json]:
        """Carry out many actions, in their order; returns what became of each: its `status`, and an `error`."""

    def found(self, index: str, ids: Sequence[str], fields: Sequence[str], shown: bool) -> Sequence[Json]:
        """Look documents up as they are written; with `shown`, as of the last refresh. Absent ones say so."""

    def search(self, index: str, asked: Json) -> Sequence[Json]:
        """The hits of a search, as of the last refresh."""

    def refresh(self, index: str) -> None:
        """Have searches see all that is written."""


def url(text: str, where: str) -> ServerUrl:
    """Return the address of a server. Raises BadInput."""
    return ServerUrl(text, where, SCHEMES, EXAMPLE)


def server(address: ServerUrl) -> str:
    """The URL of a server without anything that is secret."""
    return f"{address.scheme}://{address.host or '127.0.0.1'}:{address.port or 9200}"


def told(what: str, status: Any, reason: Any) -> LabError:
    """Return the lab's error for an answer with this status; anything but a number stands for none.

    Damaged: what was there is gone. CannotTake: the request itself, such as a document that is too large. Unavailable:
    everything else, which may succeed later: away, silent, overloaded, no rights, another one was there first.
    """
    said = f"{what}: {first_line(reason) or 'no reason was given'}"
    if status == _GONE:
        return Damaged(said)
    return CannotTake(said) if status in _WRONG else Unavailable(said)


def refused(what: str, items: Sequence[Json], newer: bool) -> LabError | None:
    """Return the error for actions that failed, the worst first; with `newer`, a conflict of versions is none."""
    worst: LabError | None = None
    for item in items:
        (did,) = item.values()
        status, error = int(did["status"]), did.get("error")
        if error is None or (newer and status == _CONFLICT):
            continue
        reason = error.get("reason", error) if isinstance(error, Mapping) else error
        found = told(what, status, reason)
        if isinstance(found, Damaged):
            return found
        # One that never succeeds counts before one that may.
        worst = found if worst is None or isinstance(found, CannotTake) else worst
    return worst
