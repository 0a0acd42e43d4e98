"""The classes of query: one object for each, registered here under the word that a scenario uses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from lab.queries.kinds.base import QueryClass, Statement
from lab.queries.kinds.keyed import AsOf, KeyLookup, KeysLookup, RecordHistory
from lab.queries.kinds.matching import Aggregate, Filter, Join
from lab.queries.kinds.search import TextSearch
from lab.queries.kinds.statement import UserStatement
from lab.queries.kinds.traversal import Traversal
from lab.queries.model import Query

__all__ = ["KINDS", "PAST", "QueryClass", "translate"]

# In the order in which they are listed for readers.
_CLASSES = (
    KeyLookup(), KeysLookup(), Filter(), Aggregate(), Join(), Traversal(), TextSearch(), UserStatement(), AsOf(),
    RecordHistory(),
)  # fmt: skip
KINDS: Mapping[str, QueryClass] = MappingProxyType({one.name: one for one in _CLASSES})
# The names of those that ask for former revisions.
PAST = tuple(name for name, one in KINDS.items() if one.past)


@lru_cache(maxsize=4096)
def translate(query: Query, keeps: str, dialect: str = "sqlite") -> Statement:
    """The query's statement in a dialect (see `QueryClass.sql`), kept for the next time that it is asked for."""
    return KINDS[query.kind].sql(query, keeps, dialect)
