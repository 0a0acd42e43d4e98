"""Convert columns of text to their kinds; what is read as something else than it stands in the file is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from lab.decimals import dtype_of, parsed, scale_of, spelt
from lab.domain.trace.numerals import POINT, Understood, rounded
from lab.domain.trace.raw import OWN, Raw, SourceCount
from lab.spill import breathe, here

BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
# How JSON and other formats without null among numbers write that there is none.
NOT_A_NUMBER = ("NaN", "nan", "-nan", "-NaN")
OF_JSON = Understood("float", nulls=NOT_A_NUMBER)


def typed(raw: Raw, kinds: Mapping[str, str]) -> Raw:
    """Convert the columns to their kinds. A value that is not of its column's kind makes its row malformed.

    Numbers are rewritten from the notation of the file, and words that stand for a missing value are null: both are
    noted and counted.
    """
    columns, found = [raw.frame[name] for name in OWN if name in raw.frame.columns], []
    counts, notes = list(raw.counts), list(raw.notes)
    for name, kind in kinds.items():
        if name not in raw.frame.columns:
            columns.append(pl.Series(name, [None], dtype_of(kind)).new_from_index(0, raw.frame.height))
            continue
        breathe()
        values, absent = raw.frame[name], None
        if scale_of(kind) is not None and values.dtype != pl.String:
            values = spelt(values)
        if values.dtype == pl.String and kind != "str":
            values, absent, more = _from_text(values, kind, raw.notations.get(name, OF_JSON), raw.kinds.get(name))
            counts += [SourceCount(name, what, count) for what, count, _ in more if count]
            notes += [f"Column `{name}`: {note}." for _, _, note in more]
        else:
            values = values.cast(dtype_of(kind), strict=False)
        columns.append(here().series(values))
        if values.null_count() > raw.frame[name].null_count():
            lost = values.is_null() & raw.frame[name].is_not_null()
            lost = lost & ~absent if absent is not None else lost
            if lost.any():
                found.append((lost, f"`{name}` is {kind}, and its value is not"))
    made = replace(raw, counts=tuple(counts), notes=tuple(notes))
    return made.without(found, pl.DataFrame(columns))


def _from_text(
    values: pl.Series, kind: str, known: Understood, found: str | None
) -> tuple[pl.Series, pl.Series, list[tuple[str, int, str]]]:
    """Convert text; also return which values stand for a missing one, and what was converted: (what, count, note).

    `found` is the kind that the column has by its values.
    """
    text = values.str.strip_chars()
    absent = text.is_in(["", *known.nulls]).fill_null(True)
    more = []
    words = text.filter(absent & (text != "")).drop_nulls()
    if words.len():
        seen = ", ".join(words.unique().sort().to_list())
        what = f"words that stand for a missing value ({seen})"
        more.append((what, words.len(), f"{words.len():,} values {seen} are missing values"))
        text = text.to_frame("v").select(pl.when(~absent).then("v")).to_series()
    if kind == "bool":
        made = text.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.Boolean)
        return made.alias(values.name), absent, more
    plain = text
    if known.notation != POINT:
        plain = text.to_frame("v").select(known.notation.plain(pl.col("v"))).to_series()
        changed = plain != text
        if count := int(changed.sum()):
            before, after = text.filter(changed)[0], plain.filter(changed)[0]
            note = f"numbers are written like {before}, and read as {after}"
            more.append(("numbers in another notation", count, note))
    if (scale := scale_of(kind)) is not None:
        made = plain.to_frame("v").select(parsed(pl.col("v"), scale)).to_series()
        return made.alias(values.name), absent, more
    made = plain.cast(dtype_of(kind), strict=False)
    if found != "float" and kind == "float" and (lost := rounded(plain.filter(made.is_not_null()))).len():
        note = f"{lost.len():,} numbers like {lost[0]} are rounded to floating-point numbers"
        more.append(("rounded numbers", lost.len(), note))
    return made.alias(values.name), absent, more
