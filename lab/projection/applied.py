"""The result of handing a frame to a projector: rows applied, refused, dropped or parked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

NONE = np.empty(0, np.int64)
_ARRAYS = ("positions", "trigger", "refused", "dropped", "parked")


@dataclass(frozen=True)
class Applied:
    """The result for one frame: positions applied, in order, each with the row of the frame that caused it.

    `refused` are positions older than what was known, or known already; `dropped` found no room to wait in;
    `parked` are set aside, since their record holds a change that the store can't take.
    """

    positions: np.ndarray
    trigger: np.ndarray
    refused: np.ndarray
    dropped: np.ndarray
    parked: np.ndarray = field(default_factory=lambda: NONE)

    @property
    def told(self) -> np.ndarray:
        """The positions of which it is known what became of them."""
        return np.concatenate([self.positions, self.refused, self.dropped, self.parked])

    def mapped(self, kept: Callable[[np.ndarray], np.ndarray]) -> Applied:
        """Return the same with each array as `kept` returns it."""
        return Applied(*(kept(getattr(self, name)) for name in _ARRAYS))

    @classmethod
    def joined(cls, parts: list[Applied]) -> Applied:
        """Join several results into one."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([NONE, *(getattr(part, name) for part in parts)]) for name in _ARRAYS))


NOTHING = Applied(NONE, NONE, NONE, NONE)


@dataclass
class Attempt:
    """How far the last `apply` or `retry` of a projector came, readable after it raised.

    `landed` are the parts that are in the store, or parked, for certain. `in_flight` is the one write of which that is
    unknown since the store raised in the midst of it: it landed whole or not at all. None when no write was cut off.
    """

    landed: list[Applied] = field(default_factory=list)
    in_flight: Applied | None = None

    def applied(self, with_in_flight: bool = False) -> Applied:
        """All that landed as one; with the write in flight when the caller knows that it landed too."""
        if with_in_flight and self.in_flight is not None:
            return Applied.joined([*self.landed, self.in_flight])
        return Applied.joined(self.landed)
