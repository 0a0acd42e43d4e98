"""The bodies of documents: records as JSON, with the parts of other records that they embed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from lab.base import META, CannotTake, Entity
from lab.queries.answers import Row

EMBEDDED = "_embedded"
# Columns of a live record in JSON, by name, without those that are null.
Part = Mapping[str, str]
# The columns that a document's table stores; all others are computed.
STORED = (*META, "lab_body")
_NOT_FINITE = "{}: JSON has no word for a number that is not finite"
# A value in JSON. Raises ValueError for a number that is not finite.
in_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def bodies(rows: pl.DataFrame, entity: Entity, store: str) -> pl.DataFrame:
    """The rows with their own columns as one more column: `body`, in JSON.

    Raises CannotTake for a number that JSON has no word for.
    """
    reals = [pl.col(name) for name, kind in entity.columns.items() if kind == "float"]
    finite = pl.all_horizontal(pl.lit(True), *(real.is_finite().fill_null(True) for real in reals))
    if reals and not rows.select(finite.all()).item():
        raise CannotTake(_NOT_FINITE.format(store))
    own = pl.struct(list(entity.columns)).struct.json_encode() if entity.columns else pl.lit("{}")
    return rows.with_columns(lab_body=own)


def few_bodies(rows: Sequence[Row], entity: Entity, store: str, readable: Callable[[str], str]) -> list[Row]:
    """The same of a few rows of the entity's schema, as tuples of `STORED`. Raises CannotTake as `bodies` does.

    `readable` writes a text with a NUL or U+0001 in it so that the engine can read it.
    """
    names, start, made = tuple(entity.columns), len(META), []
    for row in rows:
        values = row[start:]
        try:
            body = in_json(dict(zip(names, values, strict=True)))
        except ValueError:
            raise CannotTake(_NOT_FINITE.format(store)) from None
        if "\\u0000" in body or "\\u0001" in body:
            values = tuple(readable(one) if isinstance(one, str) else one for one in values)
            body = in_json(dict(zip(names, values, strict=True)))
        made.append((*row[:start], body))
    return made


def with_parts(body: str, parts: Mapping[str, tuple[Sequence[str], Part]]) -> str:
    """A body with what it embeds: for each embedding its columns and where they are from. Nulls are left out."""
    embedded = (
        f"{in_json(name)}:{{{','.join(f'{in_json(one)}:{part[one]}' for one in take if one in part)}}}"
        for name, (take, part) in parts.items()
    )
    own = body[:-1] + ("," if len(body) > 2 else "")
    return f"{own}{in_json(EMBEDDED)}:{{{','.join(embedded)}}}}}"
