"""Reads of several projections as replicas, with quorums: the model WARS of "Probabilistically Bounded Staleness".

A write reaches each replica (W), each confirms it (A), and it is acknowledged when `write` of them have been heard. A
read that begins t later is sent to every replica (R), each answers (S), and the first `read` answers count. It is
consistent if one of them shows the write: P. Bailis, S. Venkataraman, M. J. Franklin, J. M. Hellerstein, I. Stoica,
"Probabilistically Bounded Staleness for Practical Partial Quorums", PVLDB 5(8), 2012, section 4.1.

Here W is whatever a change takes until a projection shows it: channel, queue and store. The other three are delays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lab.base import stream
from lab.measure.lag import POINTS
from lab.scenario import ReadersTable, ReplicasTable
from lab.scenario.draws import delays
from lab.statistics.quantiles import told
from lab.tables import TABLES

# The quantiles in the summary: of when reads are consistent, and of how long reads and writes take.
SHARES = {"99": 0.99, "999": 0.999}


@dataclass(frozen=True)
class QuorumReads:
    """One write and one read each; arrays have an entry for each read, in seconds.

    `fresh_after`: the read is consistent if it begins so long after the acknowledgement, or later; negative or 0 if it
    always is, infinite if it never is. `write_seconds` and `read_seconds` are what the two took, the write from its
    commit at the source of truth to the acknowledgement. `unacknowledged` counts writes that never were; they are not
    read.
    """

    fresh_after: np.ndarray
    write_seconds: np.ndarray
    read_seconds: np.ndarray
    unacknowledged: int

    def consistent(self, after: float) -> float:
        """The share of reads that are consistent if they begin `after` seconds after the acknowledgement."""
        return float((self.fresh_after <= after).mean())


def quorum_reads(
    visible_after: Sequence[np.ndarray], options: ReplicasTable, readers: ReadersTable, rng: np.random.Generator
) -> QuorumReads:
    """Acknowledge and read each of some writes once.

    `visible_after` has an array for each replica: how long after its commit each write became visible there, in
    seconds; infinity for never. Replicas that answer at the same time count in random order.
    """
    reached = np.column_stack(visible_after)
    count, replicas = reached.shape
    assert max(options.read, options.write) <= replicas

    def leg(law: Any) -> np.ndarray:
        return delays(law, count * replicas, rng).reshape(count, replicas)

    heard = np.sort(reached + leg(options.acknowledgement), axis=1)[:, options.write - 1]
    asked = leg(readers.delay)
    answered = asked + leg(readers.answer)
    # Of answers that come at the same time any may be first. Drawn last, so that no other draw depends on it.
    first = np.lexsort((rng.random(answered.shape), answered), axis=1)[:, : options.read]
    acknowledged = np.isfinite(heard)
    with np.errstate(invalid="ignore"):
        # A replica shows the write to a read that comes by when it is visible there.
        needed = np.take_along_axis(reached - heard[:, None] - asked, first, axis=1).min(axis=1)
    slowest = np.take_along_axis(answered, first, axis=1).max(axis=1)
    return QuorumReads(needed[acknowledged], heard[acknowledged], slowest[acknowledged], int((~acknowledged).sum()))


def sample(
    committed_at: np.ndarray, visible: Sequence[np.ndarray], chosen: np.ndarray, count: int, seed: int
) -> tuple[list[np.ndarray], np.random.Generator]:
    """How long `count` of the chosen changes, or all if there are fewer, took to each replica; each once."""
    rng = stream(seed, "replicas")
    written = rng.choice(chosen, min(count, chosen.size), replace=False)
    return [shown[written] - committed_at[written] for shown in visible], rng


def summary(options: ReplicasTable, replicas: int, found: QuorumReads) -> dict[str, Any]:
    """The row of the table `replicas`."""
    row: dict[str, Any] = {
        "replicas": replicas,
        "read": options.read,
        "write": options.write,
        "reads": found.fresh_after.size,
        "unacknowledged": found.unacknowledged,
        "never": int(np.isinf(found.fresh_after).sum()),
        "consistent_at_once": found.consistent(0.0) if found.fresh_after.size else None,
    }
    for name, share in SHARES.items():
        fresh = told(found.fresh_after, share)
        row[f"fresh_p{name}_seconds"] = None if fresh is None else max(0.0, fresh)
    for what, seconds in (("write", found.write_seconds), ("read", found.read_seconds)):
        row |= {f"{what}_p{name}_seconds": told(seconds, share) for name, share in SHARES.items()}
    return row


def visibility(found: QuorumReads) -> pl.DataFrame:
    """The table `replica_visibility`: the share of consistent reads by when after the acknowledgement they begin.

    Empty if no write was acknowledged.
    """
    if not found.fresh_after.size:
        return TABLES["replica_visibility"].frame()
    seconds = np.sort(found.fresh_after)
    finite = seconds[np.isfinite(seconds) & (seconds > 0)]
    low, high = (finite[0], finite[-1]) if finite.size else (0.001, 1.0)
    after = np.concatenate([[0.0], np.geomspace(max(low, high * 1e-6), high * 1.05, POINTS - 1)])
    share = np.searchsorted(seconds, after, side="right") / seconds.size
    return pl.DataFrame({"after_seconds": after, "probability": share})
