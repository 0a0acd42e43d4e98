"""Map change frames of the write model to published columns, where changes leave the source of truth."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lab.base import BEFORE
from lab.domain.model import Contract


def needed(contract: Contract | None, columns: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the write model's columns from which these published columns are computed; None for all of them."""
    if contract is None or columns is None:
        return None if columns is None else tuple(columns)
    wanted: dict[str, None] = {}
    for name in columns:
        expression = contract.expressions.get(name)
        wanted.update(dict.fromkeys([name] if expression is None else expression.meta.root_names()))
    return tuple(wanted)


def published(frame: pl.DataFrame, contract: Contract | None, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Map a change frame of the write model to published columns; of the entity's own only `columns`, if given.

    Before-images are left out: see `before_images`.
    """
    if contract is None:
        return frame
    names = [name for name in contract.entity.schema if columns is None or name in columns or _meta(name, contract)]
    return frame.select(
        contract.expressions.get(name, pl.col(name)).cast(contract.entity.schema[name]).alias(name) for name in names
    )


def before_images(frame: pl.DataFrame, contract: Contract, before: Sequence[str]) -> pl.DataFrame:
    """The before-images of published columns: `before_live`, then `before_<column>`, of a frame with the write model's.

    A record's first revision has none, also if an expression maps nulls to a value.
    """
    held = [name for name in frame.columns if name.startswith(BEFORE) and name != f"{BEFORE}live"]
    former = frame.select(pl.col(name).alias(name.removeprefix(BEFORE)) for name in held)
    made = former.select(
        contract.expressions.get(name, pl.col(name)).cast(contract.entity.schema[name]).alias(f"{BEFORE}{name}")
        for name in before
    )
    first = frame["revision"] == 1
    blank = made.select(pl.when(~first).then(pl.col(name)).alias(name) for name in made.columns)
    return pl.concat([frame.select(f"{BEFORE}live"), blank], how="horizontal")


def _meta(name: str, contract: Contract) -> bool:
    return name not in contract.entity.columns
