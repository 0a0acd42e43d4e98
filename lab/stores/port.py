"""The store port: what a database in one shape must do to hold a projection.

A store writes what it is given. Which changes are given, and in what order, is the projector's and its
guard's business. Data, the guard's memory and the checkpoint land together or not at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import polars as pl

from lab.base import Batch, Damaged, Key, LabError, NotAnswered
from lab.place import FolderPlace
from lab.ports import Capabilities
from lab.queries.answers import Row
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.stores.layout import Layout

# Queries that a store remembers, and keeps prepared; further ones are looked at anew. A scenario has some dozens.
KEPT_MOST = 512


class Store(ABC):
    """One projection in one engine, in a place of its own, which need not exist yet: two stores share nothing."""

    name: ClassVar[str]
    # The classes of query that this store can answer natively; what a projection keeps narrows them further.
    answers: ClassVar[frozenset[str]]
    # The other classes, and why not: `never: ...` (the family can't) or `not yet: ...`.
    gaps: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # What a projection in this store can keep: records, revisions, totals. The first is what it keeps unasked.
    holds: ClassVar[tuple[str, ...]] = ("records", "revisions", "totals")
    # What a crash can take, in a few words.
    durability: ClassVar[str]
    # The names of the files and folders that it makes in its place, as patterns: nothing else there is removed with it.
    files: ClassVar[tuple[str, ...]] = ("*",)
    # Columns, in small letters, that the engine has beside an entity's own: an entity that has one is refused.
    reserves: ClassVar[frozenset[str]] = frozenset()
    # How long, in bytes of UTF-8, the names of entities and of columns can be; None for any length.
    entity_bytes: ClassVar[int | None] = None
    column_bytes: ClassVar[int | None] = None
    # Whether names of entities and columns have characters up to U+FFFF only.
    plain_names: ClassVar[bool] = False
    # The most rows of one page of `pages`.
    page_rows: int = 100_000
    # What the lab may rely on; a scenario that needs more is refused when it is read.
    capabilities: ClassVar[Capabilities] = Capabilities()
    # Documents that `apply` wrote, and those written because of another record alone; 0 in stores of other shapes.
    documents_written, fan_out = 0, 0

    def __init__(self, place: FolderPlace, layout: Layout) -> None:
        self.place = place
        self.path = place.path
        self.layout = layout
        # Queries that it can answer, by identity; at most `KEPT_MOST`.
        self._able: dict[int, Query] = {}

    @classmethod
    def placed(cls, place: FolderPlace) -> FolderPlace:
        """Return the place of data that belong to a folder: the folder itself, or what it names on a server."""
        return place

    @classmethod  # noqa: B027 (most have nothing to prepare)
    def begin(cls) -> None:
        """Prepare this process for others that it starts, which open such stores: called before they start."""

    @abstractmethod
    def open(self) -> None:
        """Open for writing; create an empty projection if there is none."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection and file. Closing twice is allowed."""

    @abstractmethod
    def reset(self) -> None:
        """Delete everything: data, memory and checkpoint."""

    def drop(self) -> None:
        """Close, and remove everything that this store made in its place."""
        self.close()
        self.place.drop()

    @abstractmethod
    def checkpoint(self, entity: str) -> int:
        """Return the catch-up position up to which everything is in; 0 for an empty projection."""

    @abstractmethod
    def apply(self, batch: Batch) -> None:
        """Write one batch in one transaction.

        Records: each row replaces the row of its key. Revisions: each row replaces that of its key and revision, which
        comes with the same position each time. Totals: each row's measures are added to those of its group.
        """

    @abstractmethod
    def bulk(self, entity: str, frames: Iterable[Batch]) -> None:
        """Fill an empty projection from batches that never write one row twice; indexes are built last."""

    @abstractmethod
    def query(self, query: Query, parameters: Row) -> list[Row]:
        """Return the rows, read on a connection that can't write. Raises NotAnswered for a class it doesn't answer."""

    @abstractmethod
    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Read everything of one entity, deleted records included, page by page, sorted by `Layout.order`.

        A page has the columns of `Layout.schema` and at most `page_rows` rows; an empty projection may have no page.
        The projection must not be written to between two pages.
        """

    def rows(self, entity: str, keys: Iterable[Key]) -> Iterator[pl.DataFrame]:
        """Look up the rows of these keys, in pages as those of `pages`: for stores that can't list what they hold."""
        raise NotImplementedError(f"{self.name} lists its rows")

    @abstractmethod
    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """Look up the highest revision of each key that is there, tombstones included, in one read.

        A running aggregate finds them in the guard's memory; without a memory of revisions it returns an empty dict.
        """

    def refresh(self) -> None:  # noqa: B027 (most have nothing to do)
        """Have `query` and `pages` see all that is written; a store that is opened, reset or filled in bulk does so.

        Called so often as the layout's `refresh` says. What a projector reads never waits for it: `checkpoint`,
        `revisions`, `memory` and `parked`.
        """

    def shown_to(self, entity: str) -> int:
        """Return the checkpoint as queries see it: all up to there is in what they show. Here, what is written."""
        return self.checkpoint(entity)

    @abstractmethod
    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Read what the guard asked to have kept, in any order, with the columns of `Layout.memory`.

        With `keys`, only the rows whose `id` is one of them.
        """

    @abstractmethod
    def parked(self, entity: str) -> pl.DataFrame:
        """Read the parked changes: a change frame by position, with the column `REASON` last."""

    @abstractmethod
    def size_bytes(self) -> int:
        """What the projection takes on disk (for a store in memory, an estimate of its frames)."""

    def rest(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Give back the memory of caches, before a while in which this is not used; what is stored is as it was."""

    def settings(self) -> dict[str, Any]:
        """The engine's settings, as read back from it."""
        return {}

    def damaged(self, error: BaseException) -> bool:
        """Return whether an error that a verb raised is one of damaged files, and no trial with them can succeed.

        A full disk, missing rights, a lock that is held and a question that can't be answered are none. A store that
        knows its engine's errors can tell by them; here the files themselves are tried.
        """
        if isinstance(error, LabError | OSError | MemoryError):
            return isinstance(error, Damaged)
        # Ctrl-C and the like are no errors. A panic of an engine in Rust is one, though no Exception.
        return not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit) and not self.readable()

    def readable(self) -> bool:
        """Close, open and read everything that is stored; false if that fails though every file can be opened."""
        try:
            self.close()
            self.open()
            for entity in self.layout.entities:
                self.checkpoint(entity)
                self.parked(entity)
                if self.layout.memory:
                    self.memory(entity)
                for _ in self.pages(entity):
                    pass
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            return (isinstance(error, LabError) and not isinstance(error, Damaged)) or not self.place.within_reach()
        return True

    def sliced(self, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Sort a whole frame and cut it into pages, for an engine that can't read in order."""
        return frame.sort(self.layout.order(), nulls_last=True).iter_slices(self.page_rows)

    def refuse(self, query: Query) -> None:
        """Raise NotAnswered when this projection can't answer the query; one that it can is looked at once."""
        if self._able.get(id(query)) is query:
            return
        if not self.answers_query(query):
            kept = f"a projection of {self.layout.keeps} in {self.name}"
            raise NotAnswered(f"{query.name}: {kept} can't answer `{query.kind}` of `{query.entity.name}`")
        if len(self._able) >= KEPT_MOST:
            self._able.clear()
        self._able[id(query)] = query

    def answers_query(self, query: Query) -> bool:
        """Whether this projection can answer this query at all."""
        return self.can_answer(query, self.layout)

    @classmethod
    def can_answer(cls, query: Query, layout: Layout) -> bool:
        """Whether a projection of this layout in this store could answer; known before there is one."""
        kind = KINDS[query.kind]
        return kind.name in cls.answers and kind.answered_from(query, layout.keeps, layout.entities, layout.totals)

    @classmethod
    def lacks(cls, query: Query, layout: Layout) -> str:
        """Why it can't answer this query though it answers others of its class; "" where `gaps` say all."""
        return ""
