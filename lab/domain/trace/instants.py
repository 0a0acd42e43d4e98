"""Times as they are written: ISO 8601, German and US dates, names of months, YYYYMMDD, numbers since 1970, Excel's.

They are exact to the nanosecond: whole seconds since 1970 and nanoseconds, in UTC. Text without a zone is UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from lab.domain.trace.calendar import DayOrder, amount, parts
from lab.domain.trace.numerals import NULLS
from lab.mapped import breathe
from lab.spill import here
from lab.statistics.quantiles import rank

BLOCK = 200_000  # Values of text that are taken apart together.
# Whole numbers above these are milliseconds, microseconds or nanoseconds since 1970 rather than seconds.
UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
DAY = 86_400
# Excel's serial numbers of 1982 to 2119, and the day that they count from, in days since 1970.
EXCEL = (30_000, 80_000)
EXCEL_ZERO = -25_569
EARLY = 10**8  # Seconds since 1970 below this one are before 1973: rather a counter, or days of another calendar.
# What is found of each value of text.
SCHEMA = {"second": pl.Int64(), "nano": pl.Int64(), "absent": pl.Boolean(), "zero": pl.Boolean()}
# No time at all: MySQL's zero date, the smallest and the largest date that databases know.
NEVER = r"^(?:0000-00-00|0001-01-01|9999-12-31)(?:[T ]|$)"


@dataclass(frozen=True)
class Moments:
    """The times of a column: `second` (int64 since 1970) and `nano` (int64), null where there is none.

    `absent` are values that stand for no time: null, a zero date, a word like NA; `zero` of these are dates.
    `form` says how the values are read if that is not plain from them, and `doubt` what else they might be.
    """

    second: pl.Series
    nano: pl.Series
    absent: pl.Series
    zero: pl.Series
    form: str = ""
    doubt: str = ""

    def filter(self, mask: pl.Series) -> Moments:
        """Return the times of these rows alone."""
        second, nano = self.second.filter(mask), self.nano.filter(mask)
        return Moments(second, nano, self.absent.filter(mask), self.zero.filter(mask), self.form, self.doubt)

    @property
    def seconds(self) -> pl.Series:
        """Return seconds since 1970 as floating-point numbers."""
        return (self.second.cast(pl.Float64) + self.nano.cast(pl.Float64) / 1e9).rename(self.second.name)

    @property
    def unreadable(self) -> pl.Series:
        """Return which values are neither a time nor stand for none."""
        return self.second.is_null() & ~self.absent


def instants(values: pl.Series, dates: str | None = None) -> pl.Series:
    """Convert to seconds since 1970 (float); null if there is no time, or none that can be read."""
    return moments(values, dates).seconds


def moments(values: pl.Series, dates: str | None = None, scale: int = 0) -> Moments:
    """Convert a column to times. `dates` says how they are written, as `dates` of `[[domain.entity]]` does.

    Whole numbers stand for decimals with so many digits after the point as `scale` says.
    """
    nothing = values.is_null()
    if values.dtype == pl.Boolean:
        none = pl.Series(values.name, [None], pl.Int64).new_from_index(0, values.len())
        return Moments(none, none, nothing, ~nothing & False)
    if values.dtype.is_numeric():
        return _numbers(values, dates, scale)
    written = DayOrder.of(values, dates)
    blocks = (_block(values.slice(begin, BLOCK), written) for begin in range(0, max(1, values.len()), BLOCK))
    found = here().frame(blocks, SCHEMA)
    second = found["second"].rename(values.name)
    return Moments(second, found["nano"], found["absent"], found["zero"], written.form, written.doubt)


def _block(values: pl.Series, written: DayOrder) -> pl.DataFrame:
    """Return `second`, `nano` and `absent` of a block of text; parsed text is many times as large as the text."""
    text = values.str.strip_chars()
    zero = text.str.contains(NEVER).fill_null(False)
    absent = text.is_null() | text.is_in(["", *NULLS]).fill_null(False) | zero
    far = text.str.contains(r"^9999-12-31")
    found = parts(text, written)
    kept = (far | ~absent).alias("kept")
    second = pl.when(pl.col("kept")).then("second").alias("second")
    return found.with_columns(kept, absent.alias("absent"), zero.alias("zero")).select(second, "nano", "absent", "zero")


def _numbers(whole: pl.Series, dates: str | None, scale: int) -> Moments:
    # What they are is seen from them as floating-point numbers; the times come of the whole ones. A block at a time:
    # what is worked out takes many times the room of the column.
    cuts = range(0, max(1, whole.len()), BLOCK)

    def values(begin: int) -> pl.Series:
        block = whole.slice(begin, BLOCK)
        return block.cast(pl.Float64) / 10**scale if scale else block

    def there() -> Iterator[pl.Series]:
        for begin in cuts:
            breathe()
            block = values(begin)
            yield block.filter(~_nothing(block))

    read, form, doubt = _reading(there, dates, scale)
    pieces = (pl.DataFrame(read(values(begin), whole.slice(begin, BLOCK))) for begin in cuts)
    found = here().frame(pieces, {"second": pl.Int64(), "nano": pl.Int64()})
    nothing = pl.concat([_nothing(values(begin)) for begin in cuts])
    return Moments(found["second"].rename(whole.name), found["nano"], nothing, nothing & False, form, doubt)


def _nothing(values: pl.Series) -> pl.Series:
    return values.is_null() | (values.is_nan() if values.dtype.is_float() else False)


# What a block of numbers is as times, by its values and by the numbers that they were made of.
_Read = Callable[[pl.Series, pl.Series], dict[str, pl.Series]]


def _reading(there: Callable[[], Iterator[pl.Series]], dates: str | None, scale: int) -> tuple[_Read, str, str]:
    """Return how numbers are read, and what is said of it; `there` yields those that are no missing values, again."""
    some = any(block.len() for block in there())
    if dates == "ymd" or (dates is None and some and all(map(_is_calendar, there()))):
        return _calendar, "read as YYYYMMDD", ""
    low, high = EXCEL
    if dates == "excel" or (dates is None and some and all(block.is_between(low, high).all() for block in there())):
        doubt = "" if dates else "seconds since 1970: --dates seconds"
        return _excel, "read as Excel's days since 1899-12-30", doubt
    by = 1 if dates == "seconds" else _unit(there)
    if dates is None and some and by == 1 and all(block.abs().max() < EARLY for block in there()):  # type: ignore[operator]
        return lambda _, whole: _split(whole, 10**scale), "read as seconds, which begin in 1970", ""
    return lambda _, whole: _split(whole, by * 10**scale), "", ""


def _unit(there: Callable[[], Iterator[pl.Series]]) -> int:
    """Return how many units there are in a second, by the median."""
    count, finite, at_most = 0, 0, dict.fromkeys((least for least, _ in UNITS), 0)
    for block in there():
        size = block.cast(pl.Float64).abs()
        count += size.len()
        finite += int(size.is_finite().sum())
        for least in at_most:
            at_most[least] += int((size <= least).sum())
    middle = rank(count, 0.5)
    return next((unit for least, unit in UNITS if at_most[least] < middle <= finite), 1)


def _split(values: pl.Series, by: int) -> dict[str, pl.Series]:
    return dict(zip(("second", "nano"), amount(values, by), strict=True))


def _calendar(values: pl.Series, _: pl.Series) -> dict[str, pl.Series]:
    found = parts(values.cast(pl.Int64, strict=False).cast(pl.String), DayOrder("ymd"))
    return {name: found[name] for name in ("second", "nano")}


def _excel(values: pl.Series, _: pl.Series) -> dict[str, pl.Series]:
    days = values.cast(pl.Float64) + EXCEL_ZERO
    # A day in a floating-point number is exact to about a microsecond; Excel shows milliseconds.
    return _split((days * DAY * 1e3).round(), 1_000)


def _is_calendar(values: pl.Series) -> bool:
    """Return whether all numbers are dates like 20240131, with or without the time of day, of 1800 to 2199."""
    if values.dtype.is_float() and (values != values.floor()).any():
        return False
    text = values.cast(pl.Int64, strict=False).cast(pl.String)
    if not text.str.contains(r"^(?:1[89]|20|21)\d{6}(?:\d{4}|\d{6})?$").fill_null(False).all():
        return False
    return parts(text, DayOrder("ymd"))["second"].null_count() == 0
