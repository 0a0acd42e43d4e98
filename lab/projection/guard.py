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
from lab.stores.kept import Kept
from lab.stores.port import Layout

Schema = dict[str, pl.DataType]


class Lookup(Protocol):
    """What a guard may ask of the projection that it guards. A store answers it."""

    def checkpoint(self, entity: str) -> int:
        """The position up to which everything is in."""

    def revisions(self, entity: str, keys: Sequence[Key]) -> dict[Key, int]:
        """The highest revision of each of these keys that is there."""

    def memory(self, entity: str, keys: Sequence[Key] | None = None) -> pl.DataFrame:
        """The guard's memory, of all keys or of these."""

    def pages(self, entity: str) -> Iterator[pl.DataFrame]:
        """All rows, page by page."""


@dataclass
class Admission:
    """What a guard makes of a frame: indices of its rows, in the order in which they are to be applied.

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
    on where the checkpoint stands.
    """

    needs_every_revision: ClassVar[bool] = False
    holds_back: ClassVar[bool] = False
    orders_totals: ClassVar[bool] = False
    remembers_contributions: ClassVar[bool] = False
    goes_by_checkpoint: ClassVar[bool] = False

    def __init__(self, layout: Layout, projected: Lookup, hold: int = 0) -> None:
        self.layout, self.projected, self.hold = layout, projected, hold

    @classmethod
    def over(cls, kept: Kept) -> type[Guard]:
        """The guard that this policy amounts to where changes are kept in this way."""
        return cls

    @classmethod
    def memory_schema(cls, layout: Layout) -> Schema:
        """The columns that must be kept beside the data, so that a crash makes the guard forget nothing."""
        return {}

    @abstractmethod
    def admit(self, entity: str, keys: pl.Series, revisions: pl.Series, positions: pl.Series) -> Admission:
        """Decide on rows in the order of arrival. Rows that are held back come first, as they were left."""

    def known(self, entity: str, keys: Sequence[Key], revisions: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Which of these changes would be refused whatever comes before them: it, or a later one, is in."""
        return np.zeros(len(keys), bool)

    def memory(self, taken: pl.DataFrame) -> pl.DataFrame | None:
        """What must be kept with these changes, with the columns of `Layout.memory`."""
        return None

    def memory_of(self, last: pl.DataFrame) -> pl.DataFrame | None:
        """The memory as it would be had the guard seen every change; `last` has the last revision of each record."""
        return self.memory(last)

    def with_before(self, entity: str, taken: pl.DataFrame) -> pl.DataFrame:
        """The changes with the before-images that a running aggregate needs: here they came with the changes."""
        return taken

    def landed(  # noqa: B027 (the guard `none` remembers nothing)
        self, entity: str, admission: Admission, checkpoint: int | None, memory: pl.DataFrame | None
    ) -> None:
        """The write of what was admitted is in, with the memory that was kept and the checkpoint, if it moved."""

    def forget(self, entity: str, keys: pl.Series, positions: pl.Series) -> None:  # noqa: B027
        """Whether the write of these changes is in is not known: look in the projection when it matters."""

    def awaits(self, entity: str, positions: Sequence[int]) -> None:  # noqa: B027 (most guards look at revisions)
        """These changes, and no others, are parked: they are not in, wherever the checkpoint stands."""
