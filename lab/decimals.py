"""Exact decimals in fixed point: a column of kind `decimal(s)` holds whole units of 10^-s, in 64 bits.

To stores, guards and queries it is a column of whole numbers, so all of them keep, compare, sort and sum it exactly.
The scale stands in `Entity.scales`. What a person or a client sees is written as a decimal, here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from lab.base import DTYPES, INT_MAX, INT_MIN, Entity, Kind

SCALE_MAX = 18
_KINDS: dict[str, Kind] = {"int": "int", "float": "float", "str": "str", "bool": "bool"}
KINDS = tuple(_KINDS)
# A number without an exponent, as it stands in text.
PLAIN = r"^-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)$"
_KIND = re.compile(r"decimal\(([0-9]|1[0-8])\)")
_SUM = "sum_"


class Fixed(Decimal):
    """A decimal that is shown as it is written: `10.50`."""

    def __repr__(self) -> str:
        return format(self, "f")

    __str__ = __repr__


def kind_of(scale: int) -> str:
    """Return the kind of a column with so many digits after the point."""
    return f"decimal({scale})"


def scale_of(kind: str | None) -> int | None:
    """Return the digits after the point of `decimal(s)`; None for any other kind."""
    found = _KIND.fullmatch(kind or "")
    return int(found[1]) if found else None


def stored(kind: str) -> Kind:
    """Return the kind that stores keep a column in. Raises KeyError for a word that is no kind."""
    if scale_of(kind) is not None:
        return "int"
    return _KINDS[kind]


def dtype_of(kind: str) -> pl.DataType:
    """Return the type of a column in the change frame."""
    return DTYPES[stored(kind)]


def is_number(kind: str) -> bool:
    """Return whether values of this kind are numbers."""
    return kind in ("int", "float") or scale_of(kind) is not None


def is_fractional(kind: str) -> bool:
    """Return whether values of this kind can have digits after the point."""
    return kind == "float" or scale_of(kind) is not None


# --- single values ---------------------------------------------------------------------------------------------------


def fixed(units: int, scale: int) -> Fixed:
    """Return whole units as the decimal that they are. Sums may need more than 64 bits."""
    return Fixed((int(units < 0), tuple(map(int, str(abs(int(units))))), -scale))


def units(value: str | int | float | Decimal, scale: int) -> int | None:
    """Return a number in whole units; None if it has more digits after the point, or needs more than 64 bits.

    A floating-point number is taken for the shortest decimal that is told from all others by it.
    """
    value = Decimal(repr(value)) if isinstance(value, float) else value
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if not re.fullmatch(PLAIN[1:-1], text):
        return None
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    found = int(f"{whole}{part.ljust(scale, '0')}") if len(part) <= scale and len(text) < 100 else None
    return found if found is not None and INT_MIN <= found <= INT_MAX else None


def readable(entity: Entity, row: Mapping[str, Any], sums: bool = False) -> dict[str, Any]:
    """Return a row with its decimals as such. `sums`: columns called `sum_...` are sums of the entity's."""
    return {name: _readable(value, _scale(entity, name, sums)) for name, value in row.items()}


def readable_row(kinds: Sequence[str | None], row: Sequence[Any]) -> tuple[Any, ...]:
    """Return a row whose columns are of these kinds with its decimals as such."""
    scales = [scale_of(kind) for kind in kinds]
    return tuple(_readable(value, scale) for value, scale in zip(row, [*scales, *[None] * len(row)], strict=False))


def _scale(entity: Entity, name: str, sums: bool) -> int | None:
    if sums and name.startswith(_SUM):
        name = name.removeprefix(_SUM)
    return entity.scales.get(name)


def _readable(value: Any, scale: int | None) -> Any:
    return fixed(value, scale) if scale is not None and isinstance(value, int) else value


# --- columns ---------------------------------------------------------------------------------------------------------


def parsed(text: pl.Expr, scale: int) -> pl.Expr:
    """Return text in whole units; null where it is no plain decimal, has more digits, or needs more than 64 bits."""
    bare = text.str.strip_prefix("-")
    part = bare.str.extract(r"\.([0-9]*)$", 1).fill_null("").str.strip_chars_end("0")
    digits = pl.concat_str(bare.str.extract(r"^([0-9]*)", 1), part.str.pad_end(scale, "0")).str.strip_chars_start("0")
    sign = pl.when(text.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
    whole = pl.when(digits == "").then(pl.lit("0")).otherwise(pl.concat_str(sign, digits))
    fits = text.str.contains(PLAIN) & (part.str.len_bytes() <= scale)
    return pl.when(fits).then(whole).cast(pl.Int64, strict=False)


def texts(whole: pl.Expr, scale: int) -> pl.Expr:
    """Return whole units as text with all of their digits after the point."""
    if not scale:
        return whole.cast(pl.String)
    digits = whole.cast(pl.String).str.strip_prefix("-").str.zfill(scale + 1)
    sign = pl.when(whole < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.concat_str(sign, digits.str.head(-scale), pl.lit("."), digits.str.tail(scale))


def as_text(column: pl.Expr, kind: str) -> pl.Expr:
    """Return a column of a kind as text: of decimals the digits that stand for them."""
    scale = scale_of(kind)
    return column.cast(pl.String) if scale is None else texts(column, scale)


def converted(column: pl.Expr, own: str, other: str) -> pl.Expr:
    """Return a column in another kind; null where a value of that kind isn't exactly the same."""
    mine, theirs = scale_of(own), scale_of(other)
    if theirs is not None:
        return parsed(as_text(column, own), theirs)
    if mine is None:
        made = column.cast(dtype_of(other), strict=False)
        if {own, other} != {"int", "float"}:
            return made
        return pl.when(made.cast(dtype_of(own), strict=False) == column).then(made)
    if other == "int":
        return pl.when(column % 10**mine == 0).then(column // 10**mine)
    return texts(column, mine).cast(dtype_of(other), strict=False)


def visible(frame: pl.DataFrame, scales: Mapping[str, int], arrow: bool = False) -> pl.DataFrame:
    """Return a frame with its decimals as text, or in Arrow's type of decimals."""
    made = []
    for name, scale in scales.items():
        if name in frame.columns:
            text = texts(pl.col(name), scale)
            made.append((text.cast(pl.Decimal(38, scale)) if arrow else text).alias(name))
    return frame.with_columns(made) if made else frame


def spelt(numbers: pl.Series) -> pl.Series:
    """Return numbers as text, floating-point ones by their shortest decimals, none with an exponent."""
    text = numbers.cast(pl.String)
    odd = text.str.contains("[eE]").fill_null(False).arg_true()
    if not odd.len():
        return text
    return text.scatter(odd, [format(Decimal(one), "f") for one in text.gather(odd)])


def fitting(values: pl.Series, declared: int | None = None) -> int | None:
    """Return the scale at which every number fits into 64 bits; None if there is none, or if one has an exponent.

    It is the declared one, else the most digits that stand after a point, else the fewest that lose nothing.
    """
    values = values.drop_nulls()
    if not values.str.contains(PLAIN).all():
        return None
    part = values.str.extract(r"\.(\d*)$", 1).fill_null("")
    most = [found.str.len_bytes().max() or 0 for found in (part, part.str.strip_chars_end("0"))]
    for scale in dict.fromkeys([*([] if declared is None else [declared]), *most]):
        if isinstance(scale, int) and scale <= SCALE_MAX:
            made = values.to_frame("v").select(parsed(pl.col("v"), scale)).to_series()
            if not made.null_count():
                return scale
    return None
