"""The timeline of a source of truth: by it a reader finds out that its source is no longer the one that it read.

Each opening for writing adds a random id and the position at that moment, in the database itself. A reader keeps the
id of the last opening with its checkpoint, read after the page that the checkpoint stands for, since a writer may have
been started again meanwhile. An id that is missing later, or a later opening that began below the checkpoint, mean that
an older state was put back, or that commits were lost; what was written since has taken the same positions.
PostgreSQL's timelines serve the same purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Diverged(Exception):
    """A projection was read from another history than that which the source of truth has now."""


class Opening(NamedTuple):
    """One opening of a source of truth for writing: a random id, and the newest position at that moment."""

    id: str
    head: int


def follows(openings: Sequence[Opening], last: str, position: int, head: int) -> bool:
    """Return whether what was read up to `position` is still there; `last` is the opening that was the last one then.

    `openings` is the timeline now, and `head` the newest position now.
    """
    here = [number for number, one in enumerate(openings) if one.id == last]
    if not here:
        return False
    later = openings[here[0] + 1 :]
    return position <= (later[0].head if later else head)
