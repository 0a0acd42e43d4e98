"""Convert columns of text to their kinds; what is read as something else than it stands in the file is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from lab.decimals import dtype_of, parsed, scale_of, spelt
from lab.domain.trace.numerals import POINT, Understood, rounded
from lab.domain.trace.raw import OWN, Raw, SourceCount
from lab.spill import ROWS, here

BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
# How JSON and other formats without null among numbers write that there is none.
NOT_A_NUMBER = ("NaN", "nan", "-nan", "-NaN")
OF_JSON = Understood("float", nulls=NOT_A_NUMBER)


def typed(raw: Raw, kinds: Mapping[str, str]) -> Raw:
    """Convert the columns to their kinds. A value that is not of its column's kind makes its row malformed.

    Numbers are rewritten from the notation of the file, and words that stand for a missing value are null: both are
    noted and counted. Some rows are converted at a time, into one frame that goes to the spill of the block.
    """
    frame, own = raw.frame, [name for name in OWN if name in raw.frame.columns]
    columns = [
        _Column(name, kind, raw.notations.get(name, OF_JSON), raw.kinds.get(name)) for name, kind in kinds.items()
    ]
    if all(frame.schema.get(one.name) == one.dtype for one in columns):
        return raw.without([], frame.select(*own, *kinds))
    pieces = (
        pl.DataFrame([*some.select(own), *(one.converted(some) for one in columns)])
        for some in (frame[first : first + ROWS] for first in range(0, max(frame.height, 1), ROWS))
    )
    schema = {name: frame.schema[name] for name in own} | {one.name: one.dtype for one in columns}
    made = here().frame(pieces, schema)
    counts, notes = list(raw.counts), list(raw.notes)
    for one in columns:
        counts += one.counts()
        notes += one.notes()
    found = [(lost, f"`{one.name}` is {one.kind}, and its value is not") for one in columns if (lost := one.lost())]
    return replace(raw, counts=tuple(counts), notes=tuple(notes)).without(
        [(pl.concat(lost), why) for lost, why in found], made
    )


@dataclass
class _Column:
    """One column while it is converted, some rows at a time, and what is to be said of it.

    `found` is the kind that the column has by its values. `words` stand for a missing value, `changed` are the first
    number in another notation as it was and as it is, and `rounded` the first one that a float doesn't hold.
    """

    name: str
    kind: str
    known: Understood
    found: str | None
    words: set[str] = field(default_factory=set)
    words_count: int = 0
    changed: tuple[str, str] | None = None
    changed_count: int = 0
    rounded: str | None = None
    rounded_count: int = 0
    _lost: list[pl.Series] = field(default_factory=list)

    @property
    def dtype(self) -> pl.DataType:
        """The type of the converted column."""
        return dtype_of(self.kind)

    def converted(self, frame: pl.DataFrame) -> pl.Series:
        """Convert the column's values in some rows, which follow those before; all null if there is no such column."""
        if self.name not in frame.columns:
            return pl.Series(self.name, [None], self.dtype).new_from_index(0, frame.height)
        values, absent = frame[self.name], None
        was_null = values.is_null()
        if scale_of(self.kind) is not None and values.dtype != pl.String:
            values = spelt(values)
        if values.dtype == pl.String and self.kind != "str":
            values, absent = self._from_text(values)
        else:
            values = values.cast(self.dtype, strict=False)
        lost = values.is_null() & ~was_null
        self._lost.append(lost & ~absent if absent is not None else lost)
        return values

    def lost(self) -> list[pl.Series]:
        """Return which rows have a value that is not of the kind, in pieces; nothing if none has."""
        return self._lost if any(lost.any() for lost in self._lost) else []

    def counts(self) -> list[SourceCount]:
        """Return the numbers for the run's table `source`."""
        seen = ", ".join(sorted(self.words))
        found = (
            (f"words that stand for a missing value ({seen})", self.words_count),
            ("numbers in another notation", self.changed_count),
            ("rounded numbers", self.rounded_count),
        )
        return [SourceCount(self.name, what, count) for what, count in found if count]

    def notes(self) -> list[str]:
        """Say what was read as something else than it stands in the file."""
        found = []
        if self.words:
            found.append(f"{self.words_count:,} values {', '.join(sorted(self.words))} are missing values")
        if self.changed:
            found.append("numbers are written like {}, and read as {}".format(*self.changed))
        if self.rounded is not None:
            found.append(f"{self.rounded_count:,} numbers like {self.rounded} are rounded to floating-point numbers")
        return [f"Column `{self.name}`: {one}." for one in found]

    def _from_text(self, values: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Convert text; also return which values stand for a missing one."""
        text = values.str.strip_chars()
        absent = text.is_in(["", *self.known.nulls]).fill_null(True)
        words = text.filter(absent & (text != "")).drop_nulls()
        if words.len():
            self.words.update(words.unique())
            self.words_count += words.len()
            text = text.to_frame("v").select(pl.when(~absent).then("v")).to_series()
        if self.kind == "bool":
            made = text.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.Boolean)
            return made.alias(values.name), absent
        plain = text
        if self.known.notation != POINT:
            plain = text.to_frame("v").select(self.known.notation.plain(pl.col("v"))).to_series()
            changed = plain != text
            if count := int(changed.sum()):
                self.changed = self.changed or (text.filter(changed)[0], plain.filter(changed)[0])
                self.changed_count += count
        if (scale := scale_of(self.kind)) is not None:
            made = plain.to_frame("v").select(parsed(pl.col("v"), scale)).to_series()
            return made.alias(values.name), absent
        made = plain.cast(self.dtype, strict=False)
        if self.found != "float" and self.kind == "float":
            lost = rounded(plain.filter(made.is_not_null()))
            if lost.len():
                self.rounded = lost[0] if self.rounded is None else self.rounded
                self.rounded_count += lost.len()
        return made.alias(values.name), absent
