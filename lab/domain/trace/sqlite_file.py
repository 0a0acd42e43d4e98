"""Read a table of an SQLite database, with its values as they are stored."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import polars as pl
import pyarrow as pa

from lab.base import DTYPES, NotReadable
from lab.decimals import SCALE_MAX, is_number, kind_of, parsed, spelt, texts
from lab.domain.trace.databases import numbered, quoted
from lab.domain.trace.raw import LINE, SHOWN, Bad, Raw, SourceCount
from lab.domain.trace.sqlite_catalogue import columns_of, listed, opened

PAGE = 100_000  # Rows that are converted together.
WIDEST = 200  # Columns whose types are counted in one statement.
EXACT = 2**53  # Whole numbers up to this one are exact as floating-point numbers.
TYPES = ("integer", "real", "text", "blob")
# Declared types, in capitals, with the digits after the point.
DECIMALS = r"\s*(?:DECIMAL|NUMERIC|NUMBER|DEC)\s*\(\s*\d+\s*,\s*(\d+)\s*\)"


def read_sqlite(path: Path, table: str | None) -> Raw:
    """Read a table of an SQLite database: the one of that name, or the one with the most rows."""
    with opened(path) as (connection, address):
        for _ in range(5):
            version = connection.execute("PRAGMA data_version").fetchone()
            raw = _read(connection, address, path, table)
            if connection.execute("PRAGMA data_version").fetchone() == version:
                return raw
    raise NotReadable(str(path), "another program keeps writing to it", "stop that program, or take a copy")


def _read(connection: sqlite3.Connection, address: str, path: Path, table: str | None) -> Raw:
    found = listed(connection, table is None).chosen(str(path), table)
    # Without an index: rows come in the order of the table.
    source = f"{quoted(found.name)} NOT INDEXED" if found.kind == "table" else quoted(found.name)
    declared = columns_of(connection, found.name)
    counted, notes = _counted(connection, source, list(declared))
    kinds = {name: _kind(types, wide, declared[name]) for name, (types, wide) in counted.items()}
    if not kinds:
        raise NotReadable(f"{path}:{found.name}", "a table without a column that can be read", " ".join(notes))
    slow = any(kind == "str" and "real" in counted[name][0] for name, kind in kinds.items())
    frame = None if slow else _arrow(address, source, kinds, {name: types for name, (types, _) in counted.items()})
    bad: list[Bad] = []
    if frame is None:
        frame, bad = _rows(connection, source, kinds)
    broken = {one.line for one in bad}
    frame = _fixed(frame, kinds, declared)
    notes += [
        f"Column `{name}` holds {' and '.join(sorted(types))} values: they are {how} here."
        for name, (types, _) in counted.items()
        if (how := _how(types, kinds[name]))
    ]
    frame = numbered(frame)
    if broken:
        frame = frame.filter(~pl.col(LINE).is_in(list(broken)))
    shown = tuple(sorted(bad)[:SHOWN])
    # SQLite lets a key be null unless it is said otherwise; then it is none.
    key = found.key if all(one in kinds and not frame[one].null_count() for one in found.key) else ()
    counts = tuple(
        SourceCount(name, f"{' and '.join(sorted(types))} values, read as {how}", there)
        for name, (types, _) in counted.items()
        if (how := _how(types, kinds[name]).strip(",")) and (there := frame.height - frame[name].null_count())
    )
    return Raw(frame, kinds, "sqlite", shown, len(broken), key, tuple(notes), unit="row", counts=counts)


def _counted(
    connection: sqlite3.Connection, source: str, names: Sequence[str]
) -> tuple[dict[str, tuple[set[str], bool]], list[str]]:
    """Return the types of each column's values, and whether whole numbers are among them that no float can hold.

    A column that can't be computed is left out, and the notes say so.
    """
    found, notes = dict[str, tuple[set[str], bool]](), list[str]()
    for place in range(0, len(names), WIDEST):
        some = names[place : place + WIDEST]
        try:
            found |= _types(connection, source, some)
        except sqlite3.Error:
            for name in some:
                try:
                    found |= _types(connection, source, [name])
                except sqlite3.Error as error:
                    notes.append(f"Column `{name}` is left out: {error}.")
    return found, notes


def _types(connection: sqlite3.Connection, source: str, names: Sequence[str]) -> dict[str, tuple[set[str], bool]]:
    tests = [f"max(typeof({quoted(name)}) = '{kind}')" for name in names for kind in TYPES]
    tests += [
        f"max(typeof({quoted(name)}) = 'integer' AND {quoted(name)} NOT BETWEEN {-EXACT} AND {EXACT})" for name in names
    ]
    row = connection.execute(f"SELECT {', '.join(tests)} FROM {source}").fetchone()
    count = len(TYPES)
    return {
        name: (
            {kind for kind, there in zip(TYPES, row[place * count :], strict=False) if there},
            bool(row[count * len(names) + place]),
        )
        for place, name in enumerate(names)
    }


def _kind(types: set[str], wide: bool, declared: str) -> str:
    """Return the kind of a column from the types of its values; without any, from its affinity."""
    if types == {"integer"} or (not types and "INT" in declared):
        return "int"
    if not types and not any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return "float" if any(word in declared for word in ("REAL", "FLOA", "DOUB")) else "str"
    return "float" if types == {"real"} or (types == {"integer", "real"} and not wide) else "str"


def _fixed(frame: pl.DataFrame, kinds: dict[str, str], declared: Mapping[str, str]) -> pl.DataFrame:
    """Turn numbers that are declared as decimals, and are such, into text, and say so in `kinds`."""
    for name, kind in kinds.items():
        told = re.match(DECIMALS, declared[name])
        scale = int(told[1]) if told else 0
        empty = frame[name].null_count() == frame.height
        if not (is_number(kind) or empty) or not 0 < scale <= SCALE_MAX:
            continue
        numbers = spelt(frame[name])
        whole = parsed(pl.col(name), scale)
        if numbers.to_frame().select(whole).to_series().null_count() == numbers.null_count():
            frame = frame.with_columns(numbers.to_frame().select(texts(whole, scale)).to_series().alias(name))
            kinds[name] = kind_of(scale)
    return frame


def _how(types: set[str], kind: str) -> str:
    """Describe how values are converted, if they are."""
    if kind == "float" and types == {"integer", "real"}:
        return "floating-point numbers"
    if kind != "str" or types <= {"text"}:
        return ""
    if types == {"blob"}:
        return "text of hexadecimal digits"
    return "text, of blobs hexadecimal digits," if "blob" in types else "text"


def _arrow(address: str, source: str, kinds: dict[str, str], types: dict[str, set[str]]) -> pl.DataFrame | None:
    """Read all rows by Arrow; None if a text is not in UTF-8."""
    casts = {"int": "CAST({0} AS INTEGER)", "float": "CAST({0} AS REAL)"}
    text = "CASE typeof({0}) WHEN 'blob' THEN hex({0}) ELSE CAST({0} AS TEXT) END"
    wanted = [
        (casts.get(kinds[name], "{0}" if types[name] <= {"text"} else text)).format(quoted(name)) for name in kinds
    ]
    # Arrow's types are those of the first rows, which may be null: a row of the right types goes ahead.
    ahead = {"int": "0", "float": "0.0", "str": "''"}
    first = ", ".join(f"{ahead[kind]} AS c{place}" for place, kind in enumerate(kinds.values()))
    pages = []
    with adbc.connect(address) as reader, reader.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(PAGE)})
        cursor.execute(f"SELECT {first} UNION ALL SELECT {', '.join(wanted)} FROM {source}")
        for batch in cursor.fetch_record_batch():
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid:
                return None
            page = pl.from_arrow(batch)
            assert isinstance(page, pl.DataFrame)
            pages.append(page)
    frame = pl.concat(pages)
    frame.columns = list(kinds)
    return frame.slice(1).cast({name: DTYPES[kind] for name, kind in kinds.items()})


def _rows(connection: sqlite3.Connection, source: str, kinds: dict[str, str]) -> tuple[pl.DataFrame, list[Bad]]:
    """Read all rows one by one, for values that SQL can't turn into exact text; return malformed ones beside them."""
    convert: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": _text}
    by = [convert[kind] for kind in kinds.values()]
    schema = {name: DTYPES[kind] for name, kind in kinds.items()}
    pages, bad, line = [pl.DataFrame(schema=schema)], list[Bad](), 0
    connection.text_factory = _decoded
    cursor = connection.execute(f"SELECT {', '.join(map(quoted, kinds))} FROM {source}")
    while rows := cursor.fetchmany(PAGE):
        page = []
        for row in rows:
            line += 1
            if any(one is _NO_TEXT for one in row):
                bad.append(Bad(line, "a text in it is not in UTF-8", "row"))
                row = (None,) * len(row)
            page.append([None if one is None else as_kind(one) for one, as_kind in zip(row, by, strict=True)])
        pages.append(pl.DataFrame(page, schema=schema, orient="row"))
    connection.text_factory = str
    return pl.concat(pages), bad


_NO_TEXT = object()


def _decoded(text: bytes) -> object:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return _NO_TEXT


def _text(value: Any) -> str:
    """Return a value as text: exact for numbers, hexadecimal for a blob."""
    return value.hex().upper() if isinstance(value, bytes) else value if isinstance(value, str) else repr(value)
