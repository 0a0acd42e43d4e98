"""What a reader beside writers can know of their transactions: the evidence that strategies for gaps go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from lab.ports import Blocker

if TYPE_CHECKING:
    from lab.truth.port import Truth


class GapEvidence(Protocol):
    """What can be known at one moment of the numbers that transactions took from a sequence, from 1 on."""

    def newest(self) -> int:
        """Return the highest number that a reader can see."""

    def settled(self) -> int:
        """The highest number at or below which no open transaction will write; 0 where that can't be known."""

    def shown(self, after: int) -> np.ndarray:
        """Return the committed numbers above `after`, ascending."""


class LiveEvidence(GapEvidence, Protocol):
    """Evidence of an engine that is written now, and who keeps `settled` below the newest number."""

    def blockers(self, at: float) -> list[Blocker]:
        """The open transactions that keep a reader back, the oldest first; `at` is the time on the reader's clock."""


@dataclass(frozen=True)
class QueuedEvidence:
    """Of a source of truth whose writers queue: what is committed has no gap, so all of it is settled."""

    truth: Truth

    def newest(self) -> int:
        """Return the newest position of all entities."""
        return max(self.truth.head(name) for name in self.truth.domain.entities)

    def settled(self) -> int:
        """Return the newest position: none is taken before all below it are committed."""
        return self.newest()

    def shown(self, after: int) -> np.ndarray:
        """Return the positions of all entities' changes; of a snapshot, those that have not been overwritten."""
        names = self.truth.domain.entities
        found = [self.truth.changes_since(name, after, 2**62, columns=())["position"] for name in names]
        numbers: np.ndarray = pl.concat(found).sort().to_numpy()
        return numbers

    def blockers(self, at: float) -> list[Blocker]:
        """Return an empty list."""
        return []
