"""Frames as text with a field after each tab and a row in each line: what servers of SQL take in bulk."""

from __future__ import annotations

import polars as pl

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def as_text(rows: pl.DataFrame, nul: str) -> bytes:
    """Return rows as text: a null is `\\N`, and what would end a field or a row is escaped by a backslash.

    `nul` stands in the place of a NUL character. Raises ValueError for a text that has one, where that is "".
    """
    written = _written(rows)
    if b"\x00" in written and not nul:
        raise ValueError("a text with a NUL character")
    # Whatever is more than the ends of fields and rows, and the marks of nulls, is within a text.
    height, width = rows.shape
    nulls = sum(column.null_count() for column in rows.get_columns())
    expected = ((b"\n", height), (b"\t", height * (width - 1)), (b"\\", nulls), (b"\r", 0), (b"\x00", 0))
    if all(written.count(mark) == count for mark, count in expected):
        return written
    escapes = _ESCAPES | ({"\x00": nul} if nul else {})
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String()]
    escaped = (pl.col(name).str.replace_many(list(escapes), list(escapes.values())) for name in texts)
    return _written(rows.with_columns(*escaped))


def _written(rows: pl.DataFrame) -> bytes:
    return rows.write_csv(
        include_header=False, separator="\t", quote_style="never", null_value="\\N", line_terminator="\n"
    ).encode()
