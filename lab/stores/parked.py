"""Parked changes as rows that any engine can keep: position, key, reason, and the change in Python's binary form.

A parked change is one that the store can't take. So its values go into no typed column: they are encoded by `marshal`,
which is exact for numbers, texts and booleans.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from lab.base import BEFORE, DTYPES, REASON, Batch, Entity, Key
from lab.stores.port import Store


class ParkedRow(NamedTuple):
    """One parked change; `change` is the encoded row, its key and reason included."""

    position: int
    key: Key
    reason: str
    change: bytes


def encoded(park: pl.DataFrame | None) -> list[ParkedRow]:
    """Encode the changes of a batch's `park`."""
    rows = [] if park is None else park.iter_rows(named=True)
    return [ParkedRow(row["position"], row["key"], row[REASON], marshal.dumps(row)) for row in rows]


def decoded(changes: Iterable[bytes], entity: Entity) -> pl.DataFrame:
    """Decode changes into a frame, sorted by position; its columns are those that they were parked with."""
    rows = [marshal.loads(change) for change in changes]
    names = dict.fromkeys([*(name for row in rows for name in row if name != REASON), REASON])
    if not rows:
        return parked_frame(entity)
    return pl.DataFrame(rows, schema={name: _type(entity, name) for name in names}).sort("position")


def parked_frame(entity: Entity) -> pl.DataFrame:
    """A frame of parked changes without rows."""
    return pl.DataFrame(schema={**entity.schema, REASON: pl.String()})


def parked_table(entity: Entity) -> dict[str, pl.DataType]:
    """The columns of a table of `ParkedRow`."""
    return {"position": pl.Int64(), "key": DTYPES[entity.key], "reason": pl.String(), "change": pl.Binary()}


def with_parked(there: pl.DataFrame, batch: Batch) -> pl.DataFrame:
    """What is parked after a batch: its `release` goes, its `park` comes, a position that is there stays as it is."""
    frame = there.filter(~pl.col("key").is_in(list(batch.release))) if batch.release else there
    if batch.park is None or not batch.park.height:
        return frame
    frame = pl.concat([frame, batch.park], how="diagonal") if frame.height else batch.park
    return frame.unique("position", keep="first").sort("position")


def changed(store: Store, batch: Batch) -> tuple[list[ParkedRow], list[int]]:
    """What a batch adds to the parked changes, and the positions that it removes from them.

    For engines that find a parked change by its position alone. Reads what is parked, unless the batch leaves it alone.
    """
    if batch.park is None and not batch.release:
        return [], []
    before = store.parked(batch.entity)
    after = with_parked(before, batch)
    added = after.filter(~pl.col("position").is_in(before["position"].implode()))
    removed = before.filter(~pl.col("position").is_in(after["position"].implode()))
    return encoded(added), removed["position"].to_list()


def _type(entity: Entity, name: str) -> pl.DataType:
    if name == REASON:
        return pl.String()
    if name == f"{BEFORE}live":
        return pl.Boolean()
    return DTYPES[entity.kind(name if name in entity.schema else name.removeprefix(BEFORE))]
