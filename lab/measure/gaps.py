"""Measure a gap strategy: changes lost, stall between commit and feed, write throughput."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.feed.gaps import Gate
from lab.feed.published import Published
from lab.feed.writers import Timeline
from lab.projection.applied import NONE
from lab.running.journal import CATCH_UP, Journal
from lab.statistics.quantiles import told


def simulated(
    name: str,
    gate: Gate,
    published: Published,
    journal: Journal,
    chosen: np.ndarray,
    visible: np.ndarray,
    unrestricted: Timeline,
) -> dict[str, Any]:
    """A row of the table `gaps` of a simulated run.

    `unrestricted` are the same writers when nothing makes them take turns.
    """
    found, whole = row(name, gate.strategy.name, published, journal, chosen, visible), unrestricted.per_second
    found |= {"writers": "simulated", "given_up": len(gate.given_up), "per_second": gate.timeline.per_second}
    return found | {"throughput": gate.timeline.per_second / whole if whole else None}


def row(
    name: str, strategy: str, published: Published, journal: Journal, chosen: np.ndarray, visible: np.ndarray
) -> dict[str, Any]:
    """What readers saw of a strategy for gaps: changes lost, and the stall.

    The stall is the time from the first poll that could have returned a change, having begun after its commit, to the
    poll that did: what the strategy adds to the interval of polling.
    """
    polled = np.array(sorted(journal.polled_at))
    stall = np.empty(0)
    # A note of several batches can have messages among them, which no poll returned.
    read = [np.broadcast_to(np.asarray(note.source) == CATCH_UP, note.handed.shape) for note in journal.notes]
    positions = np.concatenate([NONE, *(note.handed[mine] for note, mine in zip(journal.notes, read, strict=True))])
    if positions.size and polled.size:
        began_at = np.concatenate(
            [
                np.broadcast_to(np.asarray(note.began_at), note.handed.shape)[mine]
                for note, mine in zip(journal.notes, read, strict=True)
            ]
        )
        positions, first = np.unique(positions, return_index=True)
        offered = polled[np.searchsorted(polled, began_at[first], side="right") - 1]
        due = np.searchsorted(polled, published.committed_at[positions - 1], side="left")
        stall = np.maximum(offered - polled[np.minimum(due, polled.size - 1)], 0.0)
    return {
        "projection": name,
        "strategy": strategy,
        "changes": int(chosen.size),
        "lost": int((~np.isfinite(visible[chosen])).sum()),
        "stall_p50_seconds": told(stall, 0.5),
        "stall_p99_seconds": told(stall, 0.99),
        "stall_max_seconds": told(stall, 1.0),
    }
