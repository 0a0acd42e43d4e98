"""Measure what readers saw of a rebuild while changes kept coming, on the simulated clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from lab.base import stream
from lab.feed.published import Published
from lab.measure.readers import look
from lab.running.journal import Journal

READS = 2_000


def row(
    name: str,
    mode: str,
    at: float,
    published: Published,
    journal: Journal,
    shown: pl.DataFrame,
    resting_bytes: int,
    seed: int,
) -> dict[str, Any] | None:
    """Return a row of the table `rebuilds`; None if the rebuild did not finish.

    Readers look at records that were there before the rebuild, evenly over its time. A read is partial when the
    record is not there, and backward when it is shown at an older revision than before the rebuild.
    """
    if journal.rebuilt_at is None:
        return None
    began = max((fault.at for fault in journal.faults if fault.kind == "rebuild"), default=at)
    known = shown.filter(pl.col("at") < began)["record"].unique().to_numpy()
    rng = stream(seed, "underfire")
    reads = READS if known.size else 0
    record = rng.choice(np.sort(known), reads) if reads else np.empty(0, np.int64)
    read_at = np.sort(rng.uniform(began, journal.rebuilt_at, reads))
    before = look(shown, record, np.full(reads, np.nextafter(began, 0.0)))
    seen = look(shown, record, read_at)
    return {
        "projection": name,
        "mode": mode,
        "at_seconds": began,
        "seconds": journal.rebuilt_at - began,
        "changes": sum(note.handed.size for note in journal.notes if note.epoch == journal.epoch),
        "reads": reads,
        "partial_reads": int(((seen == 0) & (before > 0)).sum()),
        "backward_reads": int(((seen > 0) & (seen < before)).sum()),
        "behind_max_seconds": _behind(published, record, seen, read_at),
        "peak_bytes": journal.peak_bytes,
        "resting_bytes": resting_bytes,
    }


def _behind(published: Published, record: np.ndarray, seen: np.ndarray, at: np.ndarray) -> float:
    """Return the age of the oldest committed revision that a reader did not see yet."""
    commits = pl.DataFrame(
        {"record": published.record, "revision": published.revision, "committed": published.committed_at}
    )
    asked = pl.DataFrame({"record": record, "revision": seen + 1, "at": at})
    ages = asked.join(commits, on=["record", "revision"], how="inner").select(age=pl.col("at") - pl.col("committed"))
    return max(0.0, float(ages["age"].max() or 0.0))  # type: ignore[arg-type]
