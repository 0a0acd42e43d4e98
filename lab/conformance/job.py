"""One store to be tried, in a form that another process can make it from, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from lab.conformance.listing import listing
from lab.place import FolderPlace
from lab.queries.model import Query
from lab.stores.layout import Layout
from lab.stores.port import Store

# In the folder of the trials: the jobs, pickled, and what came of each, in their order.
JOBS, RESULTS = "jobs.pickle", "results.json"


@dataclass(frozen=True)
class ConformanceJob:
    """A store's class by its module and name there, and the projection that it is to hold.

    `thorough`: a process dies in every operation of the store, and not in some of them.
    """

    module: str
    qualname: str
    layout: Layout
    policy: str
    hold: int
    queries: tuple[Query, ...]
    seed: int
    thorough: bool = False

    @property
    def store_class(self) -> type[Store]:
        """The class, imported. Raises ImportError or AttributeError."""
        module: Any = import_module(self.module)
        found: type[Store] = reduce(getattr, self.qualname.split("."), module)
        return found

    def store(self, folder: Path) -> Store:
        """The store in a folder of its own, not yet open."""
        return listing(self.store_class)(FolderPlace(folder), self.layout)


@dataclass(frozen=True)
class TrialResult:
    """What a trial found: lines, the first the easiest to follow; or in `unknown` why it could not be made.

    `transient`: the reason may not hold the next time.
    """

    faults: Sequence[str] = ()
    unknown: str = ""
    transient: bool = False


@dataclass(frozen=True)
class Conformance:
    """What both trials of a store found."""

    values: TrialResult
    crashes: TrialResult

    @classmethod
    def unknown(cls, reason: str, transient: bool = False) -> Conformance:
        """Neither could be made."""
        neither = TrialResult(unknown=reason, transient=transient)
        return cls(neither, neither)
