"""Read Parquet, and convert Arrow's types to the lab's kinds."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lab.base import NotReadable
from lab.decimals import SCALE_MAX, fitting, kind_of, units
from lab.domain.trace.databases import starts_with
from lab.domain.trace.numerals import DIGITS
from lab.domain.trace.raw import LINE, Raw, SourceCount
from lab.spill import ROWS, here

MAGIC = b"PAR1"


def read_parquet(path: Path) -> Raw:
    """Read a Parquet file: numbers, text and booleans unchanged, instants as ISO text, nested values as JSON text."""
    try:
        # Rows are numbered while they are read, since no later step guarantees the order of the file.
        return typed_rows(pl.scan_parquet(path, row_index_name=LINE, row_index_offset=1), "parquet")
    except (pl.exceptions.PolarsError, OSError) as error:
        kind = "Parquet that can't be read" if starts_with(path, 0, MAGIC) else "not Parquet"
        raise NotReadable(str(path), f"{kind}: {str(error).splitlines()[0]}") from None


def typed_rows(lazy: pl.LazyFrame, form: str) -> Raw:
    """Convert rows of Arrow's types, which are numbered in `LINE`, to the lab's kinds; decimals are text."""
    schema = pl.Schema({name: dtype for name, dtype in lazy.collect_schema().items() if name != LINE})
    small, counts = _fitting(lazy, schema), _not_numbers(lazy, schema)
    scales = _scales(lazy, schema)
    small |= scales.keys()
    columns = [_plain(name, dtype, name in small) for name, dtype in schema.items()]
    wanted = lazy.select(*columns, pl.col(LINE).cast(pl.Int64))
    pieces = wanted.collect_batches(chunk_size=ROWS, maintain_order=True)
    frame = here().frame(pieces, dict(wanted.collect_schema()))
    frame = frame if frame[LINE].is_sorted() else frame.sort(LINE)
    kinds = {name: kind_of(scales[name]) if name in scales else _kind(frame.schema[name]) for name in schema}
    notes = [
        f"Column `{name}` is {dtype} in the file; here its values are {how}."
        for name, dtype in schema.items()
        if (how := _changed(dtype, name in small))
    ]
    notes += [f"Column `{one.column}` has NaN {one.count:,} times: missing values here." for one in counts]
    counts += tuple(
        SourceCount(name, f"{dtype.base_type()} values, read as {how}", there)
        for name, dtype in schema.items()
        if (how := _changed(dtype, name in small)) and (there := frame.height - frame[name].null_count())
    )
    return Raw(frame, kinds, form, notes=tuple(notes), counts=counts)


def _wide(dtype: pl.DataType) -> bool:
    """Return whether the type has whole numbers that may not fit into a signed 64-bit integer."""
    return dtype in (pl.UInt64(), pl.Int128(), pl.UInt128()) or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)


def _fitting(lazy: pl.LazyFrame, schema: pl.Schema) -> set[str]:
    """Return the columns of wide types whose values all fit: whole numbers into 64 bits, durations into floats."""
    fits = {}
    for name, dtype in schema.items():
        column = pl.col(name)
        if _wide(dtype):
            fits[name] = column.cast(pl.Int64, strict=False).null_count() == column.null_count()
        elif isinstance(dtype, pl.Duration):
            fits[name] = column.dt.total_nanoseconds().abs().max().fill_null(0) < 10**DIGITS
    found = lazy.select(fit.alias(name) for name, fit in fits.items()).collect() if fits else pl.DataFrame()
    return {name for name in fits if found[name][0]}


def _scales(lazy: pl.LazyFrame, schema: pl.Schema) -> dict[str, int]:
    """Return the scales of the decimals that fit into 64 bits: the declared one, else the least."""
    found = {}
    for name, dtype in schema.items():
        if not isinstance(dtype, pl.Decimal) or not dtype.scale:
            continue
        ends = lazy.select(pl.col(name).min().alias("low"), pl.col(name).max().alias("high")).collect().row(0)
        if dtype.scale <= SCALE_MAX and all(one is None or units(one, dtype.scale) is not None for one in ends):
            found[name] = dtype.scale
        elif (scale := fitting(lazy.select(pl.col(name).cast(pl.String)).collect()[name])) is not None:
            found[name] = scale
    return found


def _not_numbers(lazy: pl.LazyFrame, schema: pl.Schema) -> tuple[SourceCount, ...]:
    """Count NaN, which is a missing value here."""
    names = [name for name, dtype in schema.items() if dtype.is_float()]
    if not names:
        return ()
    found = lazy.select(pl.col(names).is_nan().sum()).collect()
    return tuple(SourceCount(name, "NaN", int(found[name][0])) for name in names if found[name][0])


def _changed(dtype: pl.DataType, small: bool) -> str:
    """Describe how values of other types are converted, if it matters."""
    if _wide(dtype):
        return "" if small else "text"
    if isinstance(dtype, pl.Decimal):
        return "" if small else "text, as 64 bits don't hold them"
    if isinstance(dtype, pl.Duration):
        return "seconds" if small else "text"
    if isinstance(dtype, pl.Datetime):
        return "in UTC" if dtype.time_zone not in (None, "UTC") else ""
    if dtype.is_nested():
        return "JSON text"
    return "text of hexadecimal digits" if isinstance(dtype, pl.Binary) else ""


def _plain(name: str, dtype: pl.DataType, small: bool) -> pl.Expr:
    """Convert a column to one of the lab's kinds; decimals to text."""
    column = pl.col(name)
    if _wide(dtype):
        return column.cast(pl.Int64 if small else pl.String)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_decimal():
        return column.cast(pl.String)
    if dtype.is_float():
        return column.cast(pl.Float64).fill_nan(None)
    if isinstance(dtype, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else column
        return zoned.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("Z" if dtype.time_zone else ""))
    if isinstance(dtype, pl.Duration):
        return column.dt.total_nanoseconds() / 1e9 if small else column.dt.to_string("iso")
    if isinstance(dtype, pl.Binary):
        return column.bin.encode("hex")
    if dtype.is_nested():
        inner = pl.struct(column.alias("v")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
        return pl.when(column.is_not_null()).then(inner).alias(name)
    return column if dtype in (pl.Boolean, pl.String) else column.cast(pl.String)


def _kind(dtype: pl.DataType) -> str:
    kinds: dict[pl.DataType, str] = {pl.Int64(): "int", pl.Float64(): "float", pl.Boolean(): "bool"}
    return kinds.get(dtype, "str")
