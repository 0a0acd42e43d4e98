"""A guard is the idempotency policy: it decides which of the arriving changes are applied, and in what order.

It decides row by row in the order of arrival, whatever batches they come in. It counts on a change once its write has
landed; what it must know of changes before is looked up in the projection: in its rows, or in the guard's memory, which
is written with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import polars as pl

from lab.base import Key
from lab.ports import Capabilities
from lab.stores.kept import Kept
from lab.stores.layout import Layout

Schema = dict[str, pl.DataType]


class Lookup(Protocol):
    """What a guard may ask of the projection that it guards. A store answers it."""

    @property
    def capabilities(self) -> Capabilities:
        """What may be relied on."""

    def checkpoint(self, entity: str) -> int:
        """Return the position up to which everything is in."""

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """The highest revision of each of these keys that is there."""

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """Return the guard's memory, of all keys or of these."""

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """Yield all rows, page by page."""


@dataclass
class Admission:
    """A guard's decision about a frame: indices of its rows, in the order in which they are applied.

    A row that had been held back is taken from `held` (by index there) when its gap is filled; `trigger` names
    the row that filled it. `refused` rows are older than what is known, or known already. `known` is what the guard
    knows once the write has landed: for each record or message a pair.
    """

    take: Sequence[int] | np.ndarray = field(default_factory=list)
    trigger: Sequence[int] | np.ndarray = field(default_factory=list)
    refused: Sequence[int] | np.ndarray = field(default_factory=list)
    dropped: Sequence[int] | np.ndarray = field(default_factory=list)
    known: Iterable[tuple[Key, int]] = ()


class Guard(ABC):
    """One policy for one projection: its class says what the policy means, an instance decides.

    `needs_every_revision`: it can't do with a feed that leaves out what was overwritten. `holds_back`: a change may
    have to wait for one before it. `orders_totals`: the changes of a record are added to a running aggregate in the
    order of revisions. `remembers_contributions`: of an aggregate it knows what each record has added to it, so that
    changes need no before-images, and a later one subsumes those before. `goes_by_checkpoint`: what it refuses depends
    on where the checkpoint stands. `expires`: what it knows of a delete is forgotten in time.
    """

    needs_every_revision: ClassVar[bool] = False
    holds_back: ClassVar[bool] = False
    orders_totals: ClassVar[bool] = False
    remembers_contributions: ClassVar[bool] = False
    goes_by_checkpoint: ClassVar[bool] = False
    expires: ClassVar[bool] = False

    def __init__(self, layout: Layout, projected: Lookup, hold: int = 0) -> None:
        self.layout, self.projected, self.hold = layout, projected, hold

    @classmethod
    def over(cls, kept: Kept) -> type[Guard]:
        """Return the class that implements this policy for a projection that keeps changes in this way."""
        return cls

    @classmethod
    def memory_schema(cls, layout: Layout) -> Schema:
        """Return the columns to store beside the data, from which the guard recovers after a crash."""
        return {}

    @abstractmethod
    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Decide about rows in the order of arrival. Rows that were held back come first."""

    def known(self, entity: str, keys: Sequence[Key], revisions: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return which of these changes are superseded: the change itself, or a later one, is in the store."""
        return np.zeros(len(keys), bool)

    def memory(self, taken: pl.DataFrame) -> pl.DataFrame | None:
        """Return the memory to store with these changes, with the columns of `Layout.memory`."""
        return None

    def memory_of(self, last: pl.DataFrame) -> pl.DataFrame | None:
        """Return the memory after every change of a rebuild; `last` has the last revision of each record."""
        return self.memory(last)

    def with_before(self, entity: str, taken: pl.DataFrame) -> pl.DataFrame:
        """Return the changes with the before-images that a running aggregate needs; here they are there already."""
        return taken

    def landed(  # noqa: B027 (the guard `none` remembers nothing)
        self, entity: str, admission: Admission, checkpoint: int | None, memory: pl.DataFrame | None
    ) -> None:
        """Record that the admitted changes were committed, with their memory and the checkpoint, if it moved."""

    def forget(self, entity: str, keys: pl.Series, positions: pl.Series) -> None:  # noqa: B027
        """Record that it is unknown whether these changes were committed; look them up when it matters."""

    def awaits(self, entity: str, positions: Sequence[int]) -> None:  # noqa: B027 (most guards look at revisions)
        """Set which changes are parked: they are not in the store, whatever the checkpoint."""
