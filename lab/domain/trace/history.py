"""Put the changes of a log in their order, and complete them: what was sent again, truncated, unchanged or not told.

A record's changes are in the order of the database's log, else of the topic, else of the file. They stand at the times
of their commits, those of a transaction together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from lab.domain.trace.raw import (
    AT,
    COMMITTED,
    IDENTITY,
    KNOWN,
    LINE,
    ORDER,
    PLACE,
    RUN,
    SENT,
    TOMBSTONE,
    TRUNCATES,
    TURN,
    UNCHANGED,
    SourceCount,
)

KEY, GONE, BY = "\1key", "\1gone", "\1by"
_NUMBER, _INDEX, _SEQUENCE, _NTH, _OLD = "\1number", "\1index", "\1sequence", "\1nth", "\1old"


def counted(what: str, number: int, column: str = "") -> str:
    """Say how often something was done."""
    return f"{f'`{column}`: {what}' if column else what[:1].upper() + what[1:]}: {number:,}."


@dataclass
class Arranged:
    """The changes of a log in commit order. Without times (`timed` is false), transactions are a second apart."""

    frame: pl.DataFrame
    timed: bool = True
    notes: list[str] = field(default_factory=list)
    counts: list[SourceCount] = field(default_factory=list)

    def count(self, what: str, number: int, column: str = "") -> None:
        """Count what was done and say it, unless nothing was."""
        if number:
            self.counts.append(SourceCount(column, what, number))
            self.notes.append(counted(what, number, column))


def arranged(frame: pl.DataFrame, columns: Sequence[str], key: Sequence[str]) -> Arranged:
    """Return the history of rows with the log's columns, `KEY`, `GONE` and `BY` (a revision, or null).

    `columns` are those of the file, `key` those of the key among them.
    """
    made = Arranged(frame)
    _without_resent(made)
    _times(made)
    _order(made)
    rest = [name for name in columns if name not in key]
    _carried(made, rest)
    _truncated(made)
    _without_effect(made)
    return made


def _without_resent(made: Arranged) -> None:
    """Leave out changes that were sent again."""
    frame = made.frame
    if frame[IDENTITY].null_count() == frame.height:
        return
    again = frame.select(
        (pl.col(RUN) > pl.col(RUN).min().over(IDENTITY)) & pl.col(IDENTITY).is_not_null()
    ).to_series()  # fmt: skip
    if number := int(again.sum()):
        made.frame = frame.filter(~again)
        made.count("changes that were sent again, and left out", number)


def _times(made: Arranged) -> None:
    """Give every row a time: the commit's, the one at which it was read, or that of the row before it."""
    frame = _as_sent(made.frame)
    at = frame[AT]
    if at.null_count() == at.len():
        made.timed = False
        turn = frame[TURN].rank("dense").cast(pl.Float64) - 1.0
        made.frame = frame.with_columns(turn.alias(AT))
        return
    beside = frame[TOMBSTONE]
    missing = int((at.is_null() & ~beside).sum())
    made.count("changes without a time, which have that of the change before them (assumed)", missing)
    at = at.fill_null(strategy="forward").fill_null(strategy="backward")
    if not frame.filter(~beside)[COMMITTED].any():
        what = "changes that were read earlier than one above them, in a log without commit times: they have its time"
        made.count(what, int((at < at.cum_max()).sum()))
        at = at.cum_max()
    made.frame = frame.with_columns(at.alias(AT))


def _as_sent(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort by the places in the topic if the file has its messages in another order, and number the rows."""
    sent = pl.col(SENT)
    if frame.height and not frame[SENT].null_count():
        before = sent.shift().over(sent.str.slice(0, 20))
        if not frame.select((sent >= before).fill_null(True).all()).item():
            frame = frame.sort(SENT, maintain_order=True)
    return frame.with_row_index(_NUMBER)


def _order(made: Arranged) -> None:
    """Sort by commit; each record's changes come in their own order on the places that the record has."""
    frame = made.frame.with_columns(_sequence(made).alias(_SEQUENCE))
    # Lines are places over all tables of the file, if it has its messages in their order.
    place = pl.col(LINE if frame[LINE].is_sorted() else _NUMBER).cast(pl.Int64).alias(PLACE)
    frame = frame.with_columns(place).sort(AT, TURN, _NUMBER)
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(_INDEX))
    forward = (pl.col(_SEQUENCE) >= pl.col(_SEQUENCE).shift().over(KEY)).fill_null(True)
    if not frame.select(forward.all()).item():
        nth = pl.int_range(pl.len(), dtype=pl.Int64).over(KEY).alias(_NTH)
        places = frame.select(KEY, AT, TURN, PLACE, _INDEX, nth)
        rows = frame.sort(_SEQUENCE, _NUMBER).drop(AT, TURN, PLACE, _INDEX).with_columns(nth)
        moved = frame.select(_NUMBER, pl.col(AT).alias(_OLD))
        frame = rows.join(places, on=[KEY, _NTH], nulls_equal=True).sort(_INDEX)
        late = frame.join(moved, on=_NUMBER).filter(pl.col(AT) != pl.col(_OLD)).height
        made.count("times that contradict the order of their record, and were exchanged", late)
    made.frame = frame


def _sequence(made: Arranged) -> pl.Series:
    """Return numbers that order each record's changes."""
    frame = made.frame
    if frame[BY].null_count() < frame.height:
        return _ranked(frame, BY)
    number = frame[_NUMBER].cast(pl.Int64)
    if frame[ORDER].null_count() == frame.height:
        return number
    # A change without a place in the log, such as a tombstone, follows the one before it.
    frame = frame.with_columns(pl.col(ORDER).forward_fill().fill_null(""))
    if frame[ORDER].is_sorted():
        return number
    ranks = _ranked(frame, ORDER)
    each = frame.with_columns(ranks.alias(_SEQUENCE)).sort(_SEQUENCE)
    alike = each.select((pl.col(_NUMBER) >= pl.col(_NUMBER).shift().over(KEY)).fill_null(True).all()).item()
    if alike:
        return number
    if each.select((pl.col(AT) >= pl.col(AT).shift().over(KEY)).fill_null(True).all()).item():
        made.count("changes that the file has in another order than the database's log", _displaced(each))
        return ranks
    made.notes.append(
        "The places in the database's log contradict its commit times, as after a restore: the file's order decides."
    )
    return number


def _displaced(each: pl.DataFrame) -> int:
    return each.filter((pl.col(_NUMBER) < pl.col(_NUMBER).shift().over(KEY)).fill_null(False)).height


def _ranked(frame: pl.DataFrame, by: str) -> pl.Series:
    """Return each row's place in the order of a column, then of the file."""
    order = frame.select(pl.struct(by, _NUMBER).rank("ordinal")).to_series()
    return order.cast(pl.Int64)


def _carried(made: Arranged, rest: Sequence[str]) -> None:
    """Fill in what a change doesn't tell, by its record's last state: unchanged columns, and a deletion's state."""
    frame = made.frame
    told = pl.col(KNOWN)
    if rest:
        told = told & (~pl.col(GONE) | pl.any_horizontal(pl.col(name).is_not_null() for name in rest))
    silent = pl.col(GONE) & ~told & ~pl.col(TOMBSTONE)
    # Truncations stand beside the records.
    rows = frame.filter(~pl.col(TRUNCATES)).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(_OLD))
    unchanged = set(rows[UNCHANGED].drop_nulls().explode().drop_nulls().unique().to_list())
    whole = rows.select(pl.when(told | ~pl.col(GONE)).then(_OLD).forward_fill().over(KEY)).to_series()
    if whole.null_count() or not (whole == rows[_OLD]).all() or unchanged:
        before = int(rows.select(silent.sum()).item())
        made.count("deletions that tell their key alone: the record's last state was taken", before)
        rows = rows.with_columns(_filled(rows, name, whole, name in unchanged, made) for name in rest)
    made.frame = pl.concat([rows.drop(_OLD), frame.filter(pl.col(TRUNCATES))], how="diagonal").sort(_INDEX)


def _filled(rows: pl.DataFrame, name: str, whole: pl.Series, unchanged: bool, made: Arranged) -> pl.Series:
    """Return a column with the values that its rows don't tell; `whole` has the last row with a state for each row."""
    if not unchanged:
        return rows[name].gather(whole.fill_null(rows[_OLD]))
    missing = rows.select(pl.col(UNCHANGED).list.contains(name).fill_null(False)).to_series()
    known = rows.with_columns(missing.alias("\1missing"), whole.alias("\1whole")).select(
        pl.when(~pl.col("\1missing") & (pl.col("\1whole") == pl.col(_OLD)))
        .then(_OLD).forward_fill().over(KEY)
    ).to_series()  # fmt: skip
    filled = rows[name].gather(known)
    values = pl.select(pl.when(known.is_null() & ~missing).then(rows[name]).otherwise(filled).alias(name)).to_series()
    what = "values that the log leaves out as unchanged"
    made.count(f"{what}: the record's last was taken", int((missing & known.is_not_null()).sum()), name)
    made.count(f"{what}, of records without an earlier one: null", int((missing & known.is_null()).sum()), name)
    return values


def _truncated(made: Arranged) -> None:
    """Delete every record that is alive when its table is truncated."""
    frame = made.frame
    number = int(frame[TRUNCATES].sum())
    if not number:
        return
    each = pl.col(TRUNCATES).cast(pl.Int64).cum_sum().alias(_NTH)
    frame = frame.with_columns(each)
    cuts = frame.filter(TRUNCATES).select((pl.col(_NTH) - 1).alias(_NTH), _INDEX, PLACE, AT, TURN, LINE)
    rows = frame.filter(~pl.col(TRUNCATES))
    alive = rows.group_by(_NTH, KEY, maintain_order=True).last().filter(~pl.col(GONE))
    alive = alive.drop(_INDEX, PLACE, AT, TURN, LINE).join(cuts, on=_NTH, maintain_order="left")
    gone = alive.with_columns(pl.lit(True).alias(GONE))
    made.count("truncations of the table", number)
    made.count("records that a truncation deleted", gone.height)
    made.frame = pl.concat([rows, gone.select(rows.columns)]).sort(_INDEX, maintain_order=True).drop(_NTH)


def _without_effect(made: Arranged) -> None:
    """Leave out tombstones of records that are deleted already, or that never were there."""
    frame = made.frame
    if not frame[TOMBSTONE].any():
        return
    # Tombstones in a row have no effect but for the first one.
    alive = (~pl.col(GONE).shift().over(KEY)).fill_null(False)
    idle = frame.select(pl.col(TOMBSTONE) & ~alive).to_series()
    made.count("tombstones of records that are gone already, or never were there", int(idle.sum()))
    made.count("tombstones that deleted a record", int((frame[TOMBSTONE] & ~idle).sum()))
    made.frame = frame.filter(~idle)
