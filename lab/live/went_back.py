"""A source of truth that went back under a live run: which of the changes that it had acknowledged it still has.

At durability `normal` a crash of a server takes commits, and it gives their positions and revisions again. A row is
told from every other one by the time of its commit, which is its writer's own.
"""

from __future__ import annotations

import polars as pl

from lab.truth import Truth

_ROW = ["position", "key", "revision", "deleted", "committed_at"]


def surviving(truth: Truth, entity: str, written: pl.DataFrame) -> pl.DataFrame:
    """Return of what was written down and acknowledged the rows that are there, in the order of their positions."""
    found = truth.changes_since(entity, 0, 2**62).select(_ROW)
    if truth.publishes_every_revision:
        return written.join(found, on=_ROW, how="semi").sort("position")
    # What was overwritten is not there to be looked at: of each revision the last one was there at some time.
    last = found.group_by("key").agg(pl.col("revision").max().alias("last"))
    there = written.join(last, on="key", how="inner")
    older = there.filter(pl.col("revision") < pl.col("last")).drop("last").sort("committed_at")
    kept = older.unique(["key", "revision"], keep="last")
    return pl.concat([kept, written.join(found, on=_ROW, how="semi")]).sort("position")
