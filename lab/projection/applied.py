"""What becomes of a frame that is handed to a projector: applied, refused, dropped, parked; or cut off by a crash."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Applied:
    """What became of one frame: positions applied, in order, each with the row of the frame that brought it in.

    `refused` are positions older than what was known, or known already; `dropped` found no room to wait in;
    `parked` are set aside, since their record holds a change that the store can't take.
    """

    positions: np.ndarray
    trigger: np.ndarray
    refused: np.ndarray
    dropped: np.ndarray
    parked: np.ndarray = field(default_factory=lambda: NONE)

    @classmethod
    def joined(cls, parts: list[Applied]) -> Applied:
        """Several as one."""
        if len(parts) == 1:
            return parts[0]
        names = ("positions", "trigger", "refused", "dropped", "parked")
        return cls(*(np.concatenate([NONE, *(getattr(part, name) for part in parts)]) for name in names))


class Crashed(Exception):
    """The process died while it applied: `applied` is what had landed, `moved` whether the checkpoint had.

    `held` are the positions that were held back in memory, and are forgotten.
    """

    def __init__(self, applied: Applied, moved: bool, held: np.ndarray) -> None:
        super().__init__("crashed while applying")
        self.applied, self.moved, self.held = applied, moved, held


NOTHING = Applied(NONE, NONE, NONE, NONE)
