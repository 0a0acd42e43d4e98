"""Read tables: Parquet and CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from lab.base import BadInput, Kind, NotReadable, Problem
from lab.domain.trace.raw import LINE, SHOWN, Bad, Raw

DELIMITERS = ",;\t|"
# A column of text is of a kind if at least this share of its values is; the others are then malformed.
MOST = 0.9


def read_parquet(path: Path) -> Raw:
    """Read a Parquet file: numbers, text and booleans unchanged, instants as ISO text, nested values as JSON text."""
    try:
        # Rows are numbered while they are read, since no later step guarantees the order of the file.
        return typed_rows(pl.scan_parquet(path, row_index_name=LINE, row_index_offset=1), "parquet")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise NotReadable(str(path), f"not Parquet: {str(error).splitlines()[0]}") from None


def typed_rows(lazy: pl.LazyFrame, form: str) -> Raw:
    """Convert rows of Arrow's types, which are numbered in `LINE`, to the four kinds."""
    schema = pl.Schema({name: dtype for name, dtype in lazy.collect_schema().items() if name != LINE})
    small = _small(lazy, schema)
    columns = [_plain(name, dtype, name in small) for name, dtype in schema.items()]
    frame = lazy.select(*columns, pl.col(LINE).cast(pl.Int64)).collect()
    frame = frame if frame[LINE].is_sorted() else frame.sort(LINE)
    kinds = {name: _kind(frame.schema[name]) for name in schema}
    notes = [
        f"Column `{name}` is {dtype} in the file: its values are {how} here."
        for name, dtype in schema.items()
        if (how := _changed(dtype, name in small))
    ]
    return Raw(frame, kinds, form, notes=tuple(notes))


def _wide(dtype: pl.DataType) -> bool:
    """Return whether the type has whole numbers that may not fit into a signed 64-bit integer."""
    return dtype in (pl.UInt64(), pl.Int128(), pl.UInt128()) or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)


def _small(lazy: pl.LazyFrame, schema: pl.Schema) -> set[str]:
    """Return those of the wide columns whose values all fit into 64 bits."""
    wide = [name for name, dtype in schema.items() if _wide(dtype)]
    if not wide:
        return set()
    fits = [pl.col(name).cast(pl.Int64, strict=False).null_count() == pl.col(name).null_count() for name in wide]
    found = lazy.select(fit.alias(name) for name, fit in zip(wide, fits, strict=True)).collect()
    return {name for name in wide if found[name][0]}


def _changed(dtype: pl.DataType, small: bool) -> str:
    """Describe how values of other types are converted, if it matters."""
    if _wide(dtype):
        return "" if small else "text"
    if isinstance(dtype, pl.Decimal):
        return "floating-point numbers"
    if dtype.is_nested():
        return "JSON text"
    return "text of hexadecimal digits" if isinstance(dtype, pl.Binary) else ""


def _plain(name: str, dtype: pl.DataType, small: bool) -> pl.Expr:
    """Convert a column to one of the four kinds."""
    column = pl.col(name)
    if _wide(dtype):
        return column.cast(pl.Int64 if small else pl.String)
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_float() or dtype.is_decimal():
        return column.cast(pl.Float64).fill_nan(None)
    if isinstance(dtype, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if dtype.time_zone else column
        return zoned.dt.strftime("%Y-%m-%dT%H:%M:%S%.f" + ("Z" if dtype.time_zone else ""))
    if isinstance(dtype, pl.Duration):
        return column.dt.total_microseconds() / 1e6
    if isinstance(dtype, pl.Binary):
        return column.bin.encode("hex")
    if dtype.is_nested():
        inner = pl.struct(column.alias("v")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
        return pl.when(column.is_not_null()).then(inner).alias(name)
    return column if dtype in (pl.Boolean, pl.String) else column.cast(pl.String)


def _kind(dtype: pl.DataType) -> Kind:
    kinds: dict[pl.DataType, Kind] = {pl.Int64(): "int", pl.Float64(): "float", pl.Boolean(): "bool"}
    return kinds.get(dtype, "str")


def read_csv(path: Path) -> Raw:
    """Read a CSV file with a header, separated by comma, semicolon, tab or bar; an empty field is null.

    The frame holds text, and `kinds` says what it represents. Rows with too few or too many columns are malformed.
    Lines above the header that begin with # are skipped.
    """
    names, delimiter, above = _header(path)
    # DuckDB's names are case-insensitive.
    columns = {f"c{place}": "VARCHAR" for place in range(len(names))}
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "memory_limit": "1GB"}) as connection:
        try:
            table = connection.sql(
                "SELECT * FROM read_csv($path, columns = $columns, auto_detect = false, header = true, delim = $delim,"
                " quote = '\"', escape = '\"', store_rejects = true, rejects_limit = 0, null_padding = false,"
                " skip = $above)",
                params={"path": str(path), "columns": columns, "delim": delimiter, "above": above},
            ).to_arrow_table()
        except duckdb.Error as error:
            raise NotReadable(str(path), f"not CSV: {str(error).splitlines()[0]}") from None
        rejects = connection.execute(
            "SELECT line_byte_position, min(error_type), min(error_message) FROM reject_errors GROUP BY ALL ORDER BY 1"
        ).fetchall()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.columns = names
    kinds = {name: _text_kind(frame[name]) for name in names}
    shown = _lines(path, [start for start, _, _ in rejects[:SHOWN]])
    bad = tuple(Bad(line, why.rstrip(".")) for line, (_, _, why) in zip(shown, rejects, strict=False))
    newlines = frame.select(pl.sum_horizontal(pl.col(names).str.count_matches("\n", literal=True).fill_null(0)))
    before = newlines.to_series().to_numpy().cumsum() - newlines.to_series().to_numpy()
    lines = np.arange(2, frame.height + 2) + above + before
    if rejects:
        ordered = np.array(_lines(path, [start for start, _, _ in rejects])) - np.arange(len(rejects))
        lines = lines + np.searchsorted(ordered, lines, side="right")
    return Raw(frame.with_columns(pl.Series(LINE, lines, pl.Int64)), kinds, "csv", bad, len(rejects))


def _header(path: Path) -> tuple[list[str], str, int]:
    """Return the names of the columns, their separator, and the number of comment lines above them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = [file.readline()]
            while head[-1].startswith("#"):
                head.append(file.readline())
            # A header may also begin with #: then the lines below it have as many columns.
            if len(head) > 1 and _columns(head[-2]) == _columns(head[-1]):
                head.pop()
            text = head[-1]
            delimiter = max(DELIMITERS, key=text.count)
            names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    except UnicodeDecodeError:
        raise NotReadable(str(path), "not text in UTF-8", "a CSV file in UTF-8 is needed") from None
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput([Problem(str(path), f"two columns are called `{name}`", "rename one") for name in twice])
    if "" in names:
        raise NotReadable(str(path), f"column {names.index('') + 1} has no name in the first line", "give it one")
    return names, delimiter, len(head) - 1


def _columns(text: str) -> int:
    """Return how many columns a line seems to have."""
    return 1 + max(text.count(delimiter) for delimiter in DELIMITERS)


def _lines(path: Path, starts: list[int]) -> list[int]:
    """Return the numbers (from 1) of the lines that begin at these ascending byte offsets."""
    found, number, at = [], 1, 0
    with path.open("rb") as file:
        for start in starts:
            while at < start - 1:
                block = file.read(min(1 << 22, start - 1 - at))
                if not block:
                    break
                number += block.count(b"\n")
                at += len(block)
            found.append(number)
    return found


def _text_kind(values: pl.Series) -> Kind:
    """Return the kind of a column of text, by nine values in ten. Digits that begin with 0 are not a number."""
    there = values.drop_nulls().str.strip_chars()
    if not there.len():
        return "str"
    if there.str.contains(r"^[+-]?0\d").any():
        return "str"
    if there.str.contains(r"^[+-]?\d{1,18}$").mean() >= MOST:  # type: ignore[operator]
        return "int"
    if there.str.contains(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$").mean() >= MOST:  # type: ignore[operator]
        return "float"
    return "bool" if there.str.to_lowercase().is_in(["true", "false"]).mean() >= MOST else "str"  # type: ignore[operator]
