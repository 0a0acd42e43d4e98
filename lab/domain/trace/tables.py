"""Read Parquet, and convert Arrow's types to the lab's kinds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lab.base import NotReadable
from lab.decimals import SCALE_MAX, fitting, kind_of, units
from lab.domain.trace.databases import starts_with
from lab.domain.trace.numerals import DIGITS
from lab.domain.trace.raw import LINE, Raw, SourceCount
from lab.spill import ROWS, here

MAGIC = b"PAR1"
# Polars reads zones like +05:30, which Arrow knows, if it doesn't look them up; the times are in UTC all the same.
OFFSETS = "POLARS_IGNORE_TIMEZONE_PARSE_ERROR"
DIGITS_MAX = 38  # Of a decimal.
# Seconds since 1970 of the years that Polars writes.
YEARS = (-8_334_601_228_800, 8_210_266_876_799)


def read_parquet(path: Path) -> Raw:
    """Read a Parquet file: numbers, text and booleans unchanged, instants as ISO text, nested values as JSON text."""
    try:
        rows = _expected(path)
        os.environ.setdefault(OFFSETS, "1")
        # Rows are numbered while they are read, since no later step guarantees the order of the file.
        raw = typed_rows(pl.scan_parquet(path, row_index_name=LINE, row_index_offset=1), "parquet", str(path))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
        kind = "Parquet that can't be read" if starts_with(path, 0, MAGIC) else "not Parquet"
        raise NotReadable(str(path), f"{kind}: {str(error).splitlines()[0]}") from None
    if raw.frame.height != rows:
        what = f"Parquet that can't be read: {rows:,} rows are in it, and {raw.frame.height:,} could be taken out"
        raise NotReadable(str(path), what, "write it again with plain types, or as CSV")
    return raw


def _expected(path: Path) -> int:
    """Return how many rows the file says it has. Raises NotReadable for a column of decimals that are too wide."""
    with pq.ParquetFile(path) as file:
        for field in file.schema_arrow:
            if pa.types.is_decimal(field.type) and field.type.precision > DIGITS_MAX:
                what = f"column `{field.name}` is {field.type}, and {DIGITS_MAX} digits are the most"
                raise NotReadable(str(path), what, "write it as text")
        return int(file.metadata.num_rows)


def typed_rows(lazy: pl.LazyFrame, form: str, where: str = "") -> Raw:
    """Convert rows of Arrow's types, which are numbered in `LINE`, to the lab's kinds; decimals are text.

    Raises NotReadable, which speaks of `where`, for times that can't be written.
    """
    own = [name for name, dtype in lazy.collect_schema().items() if isinstance(dtype, pl.datatypes.BaseExtension)]
    lazy = lazy.with_columns(pl.col(name).ext.storage() for name in own) if own else lazy
    schema = pl.Schema({name: dtype for name, dtype in lazy.collect_schema().items() if name != LINE})
    _refuse_far_times(lazy, schema, where)
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


def _refuse_far_times(lazy: pl.LazyFrame, schema: pl.Schema, where: str) -> None:
    """Raise NotReadable for times in years that can't be written, which would take their rows with them."""
    units = {"ms": 10**3, "us": 10**6, "ns": 10**9}
    names = {name: units[dtype.time_unit] for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)}
    if not names:
        return
    low, high = YEARS
    seconds = (pl.col(name).to_physical().floordiv(by) for name, by in names.items())
    far = lazy.select((~one.is_between(low, high)).fill_null(False).sum() for one in seconds).collect()
    for name in names:
        if far[name][0]:
            what = f"column `{name}` has {far[name][0]:,} times more than 262,000 years away"
            raise NotReadable(where, what, "write them as null, or the column as text or numbers")


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
        value = _for_json(column, dtype).alias("v")
        inner = pl.struct(value).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
        return pl.when(column.is_not_null()).then(inner).alias(name)
    return column if dtype in (pl.Boolean, pl.String) else column.cast(pl.String)


def _for_json(value: pl.Expr, dtype: Any) -> pl.Expr:
    """Return a nested value with bytes, which JSON hasn't got, as hexadecimal digits."""
    if isinstance(dtype, pl.Binary):
        return value.bin.encode("hex")
    if "Binary" not in str(dtype):
        return value
    if isinstance(dtype, pl.List):
        return value.list.eval(_for_json(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Struct):
        parts = [_for_json(value.struct.field(one.name), one.dtype).alias(one.name) for one in dtype.fields]
        return pl.when(value.is_not_null()).then(pl.struct(parts))
    return value


def _kind(dtype: pl.DataType) -> str:
    kinds: dict[pl.DataType, str] = {pl.Int64(): "int", pl.Float64(): "float", pl.Boolean(): "bool"}
    return kinds.get(dtype, "str")
