"""How a page of the feed is cut into batches, and where: anywhere, or only where transactions end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lab.base import BadInput, Problem
from lab.feed.published import Published


def batches(
    rows: int, ended: bool, batch: int, every_revision: bool, ends: np.ndarray | None = None
) -> Iterator[tuple[int, int, bool]]:
    """Yield the batches of a page: from, to (exclusive), and whether the checkpoint moves with the batch.

    "Everything up to here" is true after each batch where the feed shows every revision. A snapshot feed
    leaves out what has been overwritten, and the newer revision stands further on: there it is only true
    when the page has come to the feed's end (`ended`). Until then a crash reads the same pages again.

    `ends` marks the rows that end a transaction: no batch ends elsewhere, and one may be larger for it.
    """
    first = 0
    while True:
        last = min(rows, first + batch)
        if ends is not None and 0 < last < rows:
            last += int(ends[last - 1 :].argmax())
        yield first, last, every_revision or (last == rows and ended)
        first = last
        # An empty page ends a full one that happened to be the last.
        if first >= rows:
            return


def transaction_ends(published: Published, positions: np.ndarray) -> np.ndarray:
    """Return which of some changes, in the order of their positions, end a transaction of the run's history."""
    of = published.transaction
    if of is None:
        return np.ones(positions.size, bool)
    index = positions - 1
    found: np.ndarray = (positions >= of.size) | (of[index] != of[np.minimum(positions, of.size - 1)])
    return found


def without_rest(page: Any, ends: np.ndarray, entity: str) -> Any:
    """Return a full page without the transaction that goes on in the next one. Raises BadInput if nothing is left."""
    places = np.flatnonzero(ends)
    if not places.size:
        what = f"a transaction changes more records of `{entity}` than a page holds, which is {len(page):,}"
        raise BadInput([Problem("catch_up.page", what, "a larger page")])
    return page[: int(places[-1]) + 1]
