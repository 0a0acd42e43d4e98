"""Define words in one way for every engine: runs of letters and digits in lower case.

A store that indexes words indexes the text that is normalised here, so engines differ in speed and ranking but not in
their words. Two capitals whose lower case depends on the engine or on their position are unified.

One difference is left: 5,006 characters that are not in Unicode 14 are letters or digits to Polars 2.1 and none to
DuckDB 2.0. A `search` for a word with one of them, in a DuckDB table without an index of words, finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

NOT_A_WORD = r"[^\p{L}\p{N}]+"
_ASCII_WORDS = re.compile("[a-z0-9]+")


def plain(columns: tuple[str, ...]) -> pl.Expr:
    """The words of these columns together, a space between two; null counts as nothing."""
    text = pl.concat_str([pl.col(name) for name in columns], separator=" ", ignore_nulls=True)
    lower = (
        text.str.to_lowercase()
        .str.replace_all("i\u0307", "i", literal=True)
        .str.replace_all("\u03c2", "\u03c3", literal=True)
    )
    return lower.str.replace_all(NOT_A_WORD, " ").str.strip_chars(" ")


def plain_ascii(texts: Iterable[str | None]) -> str | None:
    """The same of one record's texts, if they are in ASCII; None for others: engines decide what a letter is.

    For a few records: an expression takes milliseconds however few rows there are.
    """
    text = " ".join([one for one in texts if one is not None])
    return " ".join(_ASCII_WORDS.findall(text.lower())) if text.isascii() else None


def sql_lower(columns: str) -> str:
    """The texts in DuckDB's SQL with the letters of `plain`; `columns` is a list of expressions."""
    return f"replace(replace(lower(concat_ws(' ', {columns})), 'i\u0307', 'i'), '\u03c2', '\u03c3')"


def sql_plain(columns: str) -> str:
    """The same as `plain` in DuckDB's SQL."""
    return f"trim(regexp_replace({sql_lower(columns)}, '{NOT_A_WORD}', ' ', 'g'))"
