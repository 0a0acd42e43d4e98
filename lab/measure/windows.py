"""The whiles between which a projection was thrown away, or replaced by what was built beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab.feed.published import Published
from lab.measure import lag
from lab.running.journal import Journal
from lab.statistics.grouped import blocks


class Window(NamedTuple):
    """A while in which the projection was not thrown away: its times, and when each change was visible, by index."""

    since: float
    until: float
    visible: np.ndarray


def windows(published: Published, journal: Journal, visible: np.ndarray, subsumes: bool) -> list[Window]:
    """Return the windows of a run in order, up to its end; `visible` and `subsumes` as for `lag.visible_at`."""
    begins = [0.0, *sorted([*journal.resets, *([] if journal.swapped_at is None else [journal.swapped_at])])]
    shown = [visible] if len(begins) == 1 else [
        lag.visible_at(published, journal, subsumes, epoch) for epoch in range(len(begins))
    ]  # fmt: skip
    lasts = (each[block] for each in shown for block in blocks(each.size))
    end = max([published.end, begins[-1], *(float(some[np.isfinite(some)].max(initial=0.0)) for some in lasts)])
    return [Window(*one) for one in zip(begins, [*begins[1:], end], shown, strict=True)]
