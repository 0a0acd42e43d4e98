"""Read CSV files as they are found; every value is kept as it stands in the file until its column's kind is known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from lab.base import NotReadable
from lab.decimals import is_fractional
from lab.domain.trace.dialect import CsvDialect, dialect
from lab.domain.trace.encoding import as_utf8, even_lines
from lab.domain.trace.instants import moments
from lab.domain.trace.numerals import NULLS, SAMPLE, Understood, decided, understand
from lab.domain.trace.raw import LINE, SHOWN, Bad, Raw, SourceCount, as_text_count
from lab.domain.trace.reading import AS_FOUND, CsvReading
from lab.mapped import breathe
from lab.spill import ROWS, here

# MySQL's null, which no other program writes.
ALWAYS_NULL = r"\N"
QUERY = (
    "SELECT * FROM read_csv($path, columns = $columns, auto_detect = false, header = false, delim = $delim,"
    " quote = '\"', escape = '\"', nullstr = $nulls, allow_quoted_nulls = false, store_rejects = true,"
    " rejects_limit = 0, null_padding = false, skip = $skip, hive_partitioning = false)"
)
REJECTS = (
    "SELECT line_byte_position, min(error_type), min(error_message), max(CASE WHEN contains(csv_line, chr(10))"
    " THEN line_byte_position + strlen(csv_line) ELSE 0 END) FROM reject_errors GROUP BY ALL ORDER BY 1"
)
# Errors after which the rest of a file can't be told apart; the first one if it goes on to the end of the file.
OPEN = ("UNQUOTED VALUE", "LINE SIZE OVER MAXIMUM")
SHOWN_BYTES = 9_999  # DuckDB gives no more of a rejected line.
Reject = tuple[int, str, str, int]


def read_csv(path: Path, how: CsvReading = AS_FOUND) -> Raw:
    """Read a CSV file: separated by comma, semicolon, tab or bar, with or without a header, in any encoding.

    An empty field without quotation marks is null, and so is a word that stands for a missing value in the file's
    columns of numbers. The frame holds text, `kinds` says what it represents, and `notations` how its numbers are
    written. Rows with too few or too many columns are malformed.
    """
    with as_utf8(path, how.encoding) as file:
        found = dialect(file, str(path), how)
        raw, rejects = _rows(file, path, found, ())
        columns = _understood(raw.frame, found, how)
        words = sorted({ALWAYS_NULL, *how.null, *(word for one in columns.values() for word in one.nulls)})
        before = {name: _seen(raw.frame[name], words) for name, one in columns.items() if one.kind == "str"}
        if any(one.len() for one in before.values()):
            # Only DuckDB knows which of these words stand within quotation marks, and are text.
            raw, rejects = _rows(file, path, found, words)
        counts = _missing(raw.frame, before, words)
        raw = _numbered(raw, file, path, found, rejects)
    frame, notes = _without_nameless(raw.frame, found)
    columns = {name: one for name, one in columns.items() if name in frame.columns}
    notes += [f"Column `{name}` {one.note}." for name, one in columns.items() if one.note]
    notes += [f"Column `{one.column}`: {one.count:,} {one.what}." for one in counts]
    for name, one in columns.items():
        counts += tuple(as_text_count(name, "numbers", frame[name]) if one.note and one.kind == "str" else ())
    notes += _doubtful(frame, columns, words)
    raw = replace(
        raw, frame=frame, kinds={name: one.kind for name, one in columns.items()}, notes=(*found.notes, *notes),
        notations={name: replace(one, nulls=(*how.null, *NULLS)) for name, one in columns.items()},
        counts=counts, nameless=tuple(name for name in found.unnamed if name in frame.columns),
    )  # fmt: skip
    return _without_headers(raw)


def _seen(values: pl.Series, words: Sequence[str]) -> pl.Series:
    return values.filter(values.is_in(list(words)))


def _missing(frame: pl.DataFrame, before: dict[str, pl.Series], words: Sequence[str]) -> tuple[SourceCount, ...]:
    """Count the words of columns of text that were read as missing values."""
    counts = []
    for name, seen in before.items():
        if count := seen.len() - _seen(frame[name], words).len():
            listed = ", ".join(seen.unique().sort().to_list())
            counts.append(SourceCount(name, f"words that stand for a missing value ({listed})", count))
    return tuple(counts)


def _doubtful(frame: pl.DataFrame, columns: dict[str, Understood], words: Sequence[str]) -> list[str]:
    """Say which columns of text have words that stand for a missing value elsewhere, and not here."""
    notes = []
    for name, one in columns.items():
        if one.kind == "str":
            others = [word for word in NULLS if word not in words]
            seen = frame[name].filter(frame[name].is_in(others)).unique().sort().to_list()
            if seen:
                notes.append(
                    f"Column `{name}` has the word {', '.join(seen)}: it is text here, unless --null says else."
                )
    return notes


def _rows(file: Path, path: Path, found: CsvDialect, nulls: Sequence[str]) -> tuple[Raw, list[Reject]]:
    """Return all rows as text, and the places and reasons of those that DuckDB rejects."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        try:
            return _read(file, found, nulls)
        except duckdb.InvalidInputException as error:
            if "invalid state" not in str(error):
                raise _not_csv(path, error) from None
            # Lines that end in several ways.
            even = even_lines(file, Path(folder))
        except duckdb.Error as error:
            raise _not_csv(path, error) from None
        try:
            return _read(even, found, nulls)
        except duckdb.Error as error:
            raise _not_csv(path, error) from None


def _not_csv(path: Path, error: duckdb.Error) -> NotReadable:
    return NotReadable(str(path), f"not CSV: {str(error).splitlines()[0]}")


def _read(file: Path, found: CsvDialect, nulls: Sequence[str]) -> tuple[Raw, list[Reject]]:
    # DuckDB's names are case-insensitive.
    columns = {f"c{place}": "VARCHAR" for place in range(len(found.names))}
    settings = {
        "path": str(file), "columns": columns, "delim": found.delimiter, "skip": found.skip, "nulls": ["", *nulls],
    }  # fmt: skip
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "memory_limit": "1GB"}) as connection:
        pieces = _pieces(connection.sql(QUERY, params=settings).to_arrow_reader(ROWS))
        frame = here().frame(pieces, dict.fromkeys(columns, pl.String()))
        rejects = connection.execute(REJECTS).fetchall()
    frame.columns = found.names
    return Raw(frame, {}, "csv"), rejects


def _pieces(batches: pa.RecordBatchReader) -> Iterator[pl.DataFrame]:
    """Yield a result piece by piece. Raises DuckDB's error for what Arrow makes of it when it comes in the midst."""
    try:
        for batch in batches:
            piece = pl.from_arrow(batch)
            assert isinstance(piece, pl.DataFrame)
            yield piece
    except (pa.ArrowException, OSError) as error:
        raise duckdb.InvalidInputException(str(error)) from None


def _understood(frame: pl.DataFrame, found: CsvDialect, how: CsvReading) -> dict[str, Understood]:
    """Return what each column is; where a number's decimal point is in doubt, the other columns decide."""
    columns = {}
    for name in found.names:
        breathe()
        columns[name] = understand(frame[name], how.null)
    for name, one in columns.items():
        if one.kind == "str" and not one.nulls and (words := _among_times(frame[name])):
            columns[name] = replace(one, nulls=words)
    sure = [one for one in columns.values() if (is_fractional(one.kind) or one.notation.between) and not one.rivals]
    points = {one.notation.decimal for one in sure}
    decimal = how.decimal or (points.pop() if len(points) == 1 else None)
    for name, one in columns.items():
        if one.rivals and decimal and (one.kind == "str" or decimal == ","):
            columns[name] = decided(frame[name], one, decimal)
        elif one.rivals and one.kind == "str":
            example = frame[name].drop_nulls().filter(frame[name].drop_nulls().str.contains("[.,]")).head(1).to_list()
            note = f"may be of decimals or of thousands ({', '.join(example)}): it is text here, unless --decimal says"
            columns[name] = replace(one, note=f"{note} `.` or `,`")
    return columns


def _among_times(values: pl.Series) -> tuple[str, ...]:
    """Return the words for a missing value in a column whose other values are all times."""
    missing = values.is_in(list(NULLS))
    if not missing.any():
        return ()
    others = values.filter(~missing).drop_nulls().head(SAMPLE)
    return () if not others.len() or moments(others).unreadable.any() else tuple(values.filter(missing).unique().sort())


def _numbered(raw: Raw, file: Path, path: Path, found: CsvDialect, rejects: list[Reject]) -> Raw:
    """Add each row's line, and the rows that were rejected as malformed."""
    frame = raw.frame
    for start, kind, _, until in rejects:
        if kind in OPEN and (kind != OPEN[0] or until > min(file.stat().st_size - 2, start + SHOWN_BYTES)):
            what = "a quotation mark is opened here and not closed, or the line is longer than 2 MB"
            raise NotReadable(f"{path}, line {_lines(file, [start])[0]}", what, "mend it: the rows after it are lost")
    shown = _lines(file, [start for start, *_ in rejects[:SHOWN]])
    bad = tuple(Bad(line, why.rstrip(".")) for line, (_, _, why, _) in zip(shown, rejects, strict=False))
    count = pl.sum_horizontal(pl.col(found.names).str.count_matches("\n", literal=True).fill_null(0))
    ordered = np.array(_lines(file, [start for start, *_ in rejects]), np.int64) - np.arange(len(rejects))
    lines, line = here().empty(frame.height, np.int64), found.line
    for begin in range(0, frame.height, ROWS):
        breathe()
        newlines = frame[begin : begin + ROWS].select(count).to_series().to_numpy().astype(np.int64)
        own = line + np.arange(newlines.size) + newlines.cumsum() - newlines
        line += newlines.size + int(newlines.sum())
        lines[begin : begin + ROWS] = own + np.searchsorted(ordered, own, side="right")
    return replace(raw, frame=frame.with_columns(pl.Series(LINE, lines, pl.Int64)), bad=bad, bad_count=len(rejects))


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


def _without_nameless(frame: pl.DataFrame, found: CsvDialect) -> tuple[pl.DataFrame, list[str]]:
    """Leave out columns that have neither a name nor a value; say how the others are called."""
    notes = []
    for name in found.unnamed:
        place = found.names.index(name) + 1
        if len(found.names) > 1 and frame[name].null_count() == frame.height:
            frame = frame.drop(name)
            notes.append(f"Column {place} has neither a name nor a value: it is left out.")
        elif len(found.unnamed) < len(found.names):
            notes.append(f"Column {place} has no name: it is called `{name}` here.")
    if len(found.unnamed) == len(found.names):
        notes.append("The file has no header: its columns are called `column_1`, `column_2`, ... here.")
    return frame, notes


def _without_headers(raw: Raw) -> Raw:
    """Count rows that are the header again as malformed, as in files that were put together."""
    names = [name for name in raw.kinds if name not in raw.nameless]
    if not names:
        return raw
    again = raw.frame[names[0]] == names[0]
    if not again.any():
        return raw
    again = raw.frame.select(pl.all_horizontal(pl.col(name).eq_missing(name) for name in names)).to_series()
    return raw.without([(again, "it is the header again")], raw.frame)
