"""Prepare a query once: what it is translated to doesn't depend on its parameters, and takes as long as a point read.

A prepared query holds on to what it needs of the open engine: a connection, a compiled statement. So all of them are
dropped when the store closes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from lab.place import FolderPlace
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.queries.sql import bind
from lab.stores.layout import Layout
from lab.stores.port import KEPT_MOST, Store

# Returns the rows for one set of parameters.
Answering = Callable[[Row], list[Row]]


class PreparedQueries(Store):
    """Base of stores that answer a query by what they made of it when it was first asked."""

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        super().__init__(place, layout)
        # By identity: to compare two queries takes as long as a point read. Kept, a query has its id for itself.
        self._prepared: dict[int, tuple[Query, Answering]] = {}

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, by what was prepared for this query. Raises NotAnswered as `refuse` does."""
        found = self._prepared.get(id(query))
        if found is None or found[0] is not query:
            self.refuse(query)
            if len(self._prepared) >= KEPT_MOST:
                self._prepared.clear()
            found = self._prepared[id(query)] = query, self._answering(query)
        return found[1](parameters)

    def close(self) -> None:
        """Forget what was prepared: it holds on to what is closed now. Each store closes the rest."""
        self._prepared.clear()

    @abstractmethod
    def _answering(self, query: Query) -> Answering:
        """Return what answers this query, which this projection can answer, until the store is closed."""


def binding(arguments: tuple[object, ...], run: Answering) -> Answering:
    """Return `run` with a statement's arguments filled in by the parameters."""
    if all(value == "?" for value in arguments):
        return run
    return lambda parameters: run(bind(arguments, parameters))
