"""Convert rows to a change frame: typed columns, keys, deletions, times, and revisions from 1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from lab.base import META, REASON, BadInput, Entity, Problem, nearest
from lab.decimals import as_text, scale_of, stored
from lab.domain.trace.history import BY, arranged
from lab.domain.trace.history import GONE as IS_GONE
from lab.domain.trace.history import KEY as ITS_KEY
from lab.domain.trace.instants import Moments, moments
from lab.domain.trace.raw import AT, COMMITTED, DELETED, PLACE, TRUNCATES, TURN, Raw
from lab.domain.trace.typed import typed
from lab.mapped import breathe
from lab.scenario import EntityTable
from lab.spill import ROWS, here, reordered
from lab.statistics.grouped import by_blocks, by_keys, sorted_rows

SEPARATOR = "|"
ESCAPE = "\\"
# Names of the change frame's own columns, and of columns that are added beside them.
TAKEN = (*META, "event", "records", "rowid", "_rowid_", "oid", "lab_words", "lab_body", "lab_newest", REASON)

# In nanoseconds, times from so many seconds before 1970 to as many after it fit into 64 bits.
_FAR = 9_000_000_000
ZERO = "zero dates, which are no time"
GONE = ("deleted", "delete", "removed", "d", "true", "t", "yes", "y", "1")
THERE = (
    "false", "f", "no", "n", "0", "", "active", "live", "present", "c", "u", "r", "i", "insert", "update", "upsert",
)  # fmt: skip


def entity_names(columns: Iterable[str]) -> dict[str, str]:
    """Return the entity's name for each of the file's columns: only letters, digits and _, each unique."""
    names: dict[str, str] = {}
    used = {name.lower() for name in TAKEN}
    for column in columns:
        name = re.sub(r"\W", "_", column)
        name = f"_{name}" if name[:1].isdigit() else name
        while name.lower() in used:
            name += "_"
        used.add(name.lower())
        names[column] = name
    return names


def renamed(columns: Iterable[str]) -> list[str]:
    """Describe which columns were renamed."""
    return [
        f"Column `{column}` is called `{name}` here" + (", as the lab has a column of that name." if name.rstrip("_")
        in TAKEN else ".")
        for column, name in entity_names(columns).items()
        if name != column
    ]  # fmt: skip


def entity(table: EntityTable, kinds: Mapping[str, str]) -> Entity:
    """Return the entity of these columns; a key of one whole number is kept, every other key becomes text."""
    names = entity_names(kinds)
    whole = len(table.key) == 1 and kinds[table.key[0]] == "int"
    return Entity(
        table.name, "int" if whole else "str", {names[column]: stored(kind) for column, kind in kinds.items()},
        indexes=tuple((names[column],) for column in table.indexes), texts=tuple(names[one] for one in table.texts),
        scales={names[column]: scale for column, kind in kinds.items() if (scale := scale_of(kind)) is not None},
    )  # fmt: skip


def check_columns(table: EntityTable, columns: Mapping[str, str], where: str) -> list[Problem]:
    """Return problems with the columns that the table names: missing, or of an unsuitable kind (`columns`)."""
    problems = []
    lists = {"key": table.key, "texts": table.texts, "indexes": table.indexes}
    spoken = [(word, name) for word, names in lists.items() for name in names]
    spoken += [(word, getattr(table, word)) for word in ("time", "deleted", "revision") if getattr(table, word)]
    for word, name in spoken:
        if name not in columns:
            problems.append(Problem(f"{where}.{word}", f"no column is called `{name}`", nearest(name, list(columns))))
    for word, names in lists.items():
        if len(set(names)) < len(names):
            problems.append(Problem(f"{where}.{word}", "a column comes twice", "name each once"))
    for name in table.texts:
        if (kind := columns.get(name, "str")) != "str":
            problems.append(Problem(f"{where}.texts", f"`{name}` is {kind}", "only columns of text are searched"))
    return problems


def gone(values: pl.Series, dates: str | None = None) -> pl.Series:
    """Return whether a record is deleted: by a boolean, a number, a word, or an instant that is not null."""
    if values.dtype == pl.Boolean:
        return values.fill_null(False)
    if values.dtype.is_numeric():
        return (values != 0).fill_null(False)
    text = values.str.strip_chars().str.to_lowercase()
    words = text.is_in(list(GONE)).fill_null(False)
    if words.any() or text.drop_nulls().is_in(list(THERE)).all():
        return words
    when = moments(values, dates)
    return when.second.is_not_null() & ~when.absent


@dataclass(frozen=True)
class Prepared:
    """The changes of one entity in their order, without positions: `AT` (seconds), then the change frame's columns.

    Without a column of time, `AT` counts the rows from 0, and `timed` is false.
    """

    frame: pl.DataFrame
    timed: bool
    bad: Raw
    notes: tuple[str, ...]


def prepare(raw: Raw, table: EntityTable, kinds: Mapping[str, str], where: str) -> Prepared:
    """Convert every row to a change in commit order: by time, then in the order of the file; a log has its own order.

    A revision column orders the changes of one record on the places that the record has. Revisions are counted from 1.
    Raises BadInput for missing columns.
    """
    if problems := check_columns(table, kinds, where):
        raise BadInput(problems)
    raw = typed(raw, kinds)
    whole = raw.frame[TRUNCATES] if raw.is_log else pl.Series([False]).new_from_index(0, raw.frame.height)
    nulls = [(raw.frame[name].is_null() & ~whole, f"the key's `{name}` is null") for name in table.key]
    if table.revision:
        nulls.append((raw.frame[table.revision].is_null() & ~whole, f"the revision `{table.revision}` is null"))
    raw = raw.without(nulls, raw.frame)
    notes = list(raw.notes)
    raw, second, nano = _times(raw, table, kinds, notes)
    raw, deleted = _deletions(raw, table, notes)
    by = _order(raw.frame[table.revision]) if table.revision else pl.lit(None)
    frame = raw.frame.with_columns(_key(table.key, kinds).alias(ITS_KEY), deleted.alias(IS_GONE), by.alias(BY))
    if table.time or not raw.is_log:
        frame = frame.with_columns(_seconds(second, nano))
    if raw.is_log:
        frame = frame.with_columns(pl.lit(True).alias(COMMITTED)) if table.time else frame
        # Of a table's rows, a deletion has its own time also if it tells nothing else but the key.
        told = [name for name in kinds if not raw.container or name != table.time]
        made = arranged(frame, told, table.key)
        raw = replace(raw, counts=(*raw.counts, *made.counts))
        return Prepared(_changes(made.frame, kinds), made.timed, raw, (*notes, *made.notes))
    if not _rising(second, nano):
        frame = reordered(frame, _by_time(second, nano), here())
    if table.revision:
        frame = _by_revision(frame)
    return Prepared(_changes(frame, kinds), bool(table.time), raw, tuple(notes))


def _changes(frame: pl.DataFrame, kinds: Mapping[str, str]) -> pl.DataFrame:
    """Return rows in their order as changes, with revisions counted from 1."""
    names = entity_names(kinds)
    of_log = [name for name in (TURN, PLACE) if name in frame.columns]
    return frame.select(
        AT, *of_log, pl.col(ITS_KEY).alias("key"), _revisions(frame[ITS_KEY]), pl.col(IS_GONE).alias("deleted"),
        *(pl.col(name).alias(names[name]) for name in kinds),
    )  # fmt: skip


def _revisions(keys: pl.Series) -> pl.Series:
    """Return the revision of each row: how many rows there are of its record by then, itself included."""
    found = here().empty(keys.len(), np.int64)
    nth = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("key")
    for some in by_keys(keys.to_frame("key"), here()):
        found[some["row"].to_numpy()] = some.select(nth).to_series().to_numpy()
    return here().series(pl.Series("revision", found))


def _seconds(second: pl.Series, nano: pl.Series) -> pl.Series:
    """Return times in seconds, as floating-point numbers."""
    pieces = (
        pl.DataFrame({AT: second[at : at + ROWS] + nano[at : at + ROWS].cast(pl.Float64) / 1e9})
        for at in range(0, second.len(), ROWS)
    )
    return here().frame(pieces, {AT: pl.Float64()}).to_series()


def _deletions(raw: Raw, table: EntityTable, notes: list[str]) -> tuple[Raw, pl.Series]:
    """Return whether each row is a deletion; say if a column that should say so says so nowhere."""
    if table.deleted is None:
        never = pl.Series("deleted", [False]).new_from_index(0, raw.frame.height)
        return raw, raw.frame[DELETED] if raw.is_log else never
    values = raw.frame[table.deleted]
    deleted = gone(values, table.dates)
    if values.dtype == pl.String and not deleted.any() and values.drop_nulls().len():
        notes.append(f"Column `{table.deleted}` says of no row that it is a deletion.")
    if values.dtype == pl.String and values.str.contains(r"^\s*\d").any():
        when = moments(values, table.dates)
        notes += told(table.deleted, when)
        raw = raw.counting(table.deleted, ZERO, int(when.zero.sum()))
    return raw, deleted


def _times(
    raw: Raw, table: EntityTable, kinds: Mapping[str, str], notes: list[str]
) -> tuple[Raw, pl.Series, pl.Series]:
    """Return the commit time of each row: seconds and nanoseconds. A log has its own.

    A row without a time has that of the row before it in the file.
    """
    frame = raw.frame
    if table.time is None:
        own = pl.int_range(0, frame.height, dtype=pl.Int64, eager=True).cast(pl.Float64)
        never = own.is_null()
        found = Moments(own, pl.Series("nano", [0]).new_from_index(0, frame.height), never, never)
    else:
        found = moments(frame[table.time], table.dates, scale_of(kinds[table.time]) or 0)
        notes += told(table.time, found)
        raw = raw.counting(table.time, ZERO, int(found.zero.sum()))
        if (lost := found.unreadable).any():
            raw = raw.without([(lost, f"`{table.time}` is no time that can be read")], frame)
            found = found.filter(~lost)
    second, nano = found.second, found.nano
    if missing := second.null_count():
        notes.append(f"{missing:,} rows of `{table.name}` have no time: each has that of the row before it (assumed).")
        first = second.min() if second.len() > missing else 0
        nano = (
            pl.select(pl.when(second.is_not_null()).then(nano)).to_series().fill_null(strategy="forward").fill_null(0)
        )
        second = second.fill_null(strategy="forward").fill_null(first)
    return raw, second, nano


def told(column: str, found: Moments) -> list[str]:
    """Describe how the times of a column are read, if the file doesn't make that plain."""
    notes = [f"Column `{column}`: {found.form}."] if found.form else []
    if found.doubt:
        notes = [f"Column `{column}`: {found.form}; it may also be {found.doubt}."]
    zero = int(found.zero.sum())
    return notes + ([f"Column `{column}`: {zero:,} zero dates are no time."] if zero else [])


def _by_time(second: pl.Series, nano: pl.Series) -> np.ndarray:
    """Return the rows in the order of their times; floating-point seconds would not tell nanoseconds apart."""
    if second.is_between(-_FAR, _FAR).all():
        at = by_blocks(here(), second.len(), np.int64, lambda one: (second[one] * 10**9 + nano[one]).to_numpy())
        return sorted_rows(at, here())
    by_time = pl.DataFrame({"s": second, "n": nano}).select(pl.arg_sort_by("s", "n", maintain_order=True))
    return by_time.to_series().to_numpy()


def _rising(second: pl.Series, nano: pl.Series) -> bool:
    """Return whether no time is before the one of the row before it."""
    if not second.len():
        return True
    for first in range(0, second.len() - 1, ROWS):
        breathe()
        seconds, nanos = (one[first : first + ROWS + 1] for one in (second, nano))
        before, after = seconds[:-1], seconds[1:]
        if ((after < before) | ((after == before) & (nanos[1:] < nanos[:-1]))).any():
            return False
    return True


def _order(revisions: pl.Series) -> pl.Series:
    """Return revisions as they are ordered: whole numbers beyond 64 bits, which are text, as numbers."""
    if revisions.dtype != pl.String or not revisions.str.contains(r"^\d+$").all():
        return revisions
    digits = revisions.str.strip_chars_start("0")
    return digits.str.pad_start(int(digits.str.len_bytes().max() or 0), "0")  # type: ignore[arg-type]


def _key(columns: Sequence[str], kinds: Mapping[str, str]) -> pl.Expr:
    """Return the key: a single whole number unchanged, anything else as text."""
    if len(columns) == 1 and kinds[columns[0]] == "int":
        return pl.col(columns[0])
    return joined_key([as_text(pl.col(name), kinds[name]) for name in columns])


def joined_key(columns: Sequence[pl.Expr]) -> pl.Expr:
    """Return a key of text: a single column unchanged, several joined by `|`, which is escaped within them."""
    if len(columns) == 1:
        return columns[0].cast(pl.String)
    parts = [
        column.cast(pl.String)
        .str.replace_all(ESCAPE, ESCAPE * 2, literal=True)
        .str.replace_all(SEPARATOR, ESCAPE + SEPARATOR, literal=True)
        for column in columns
    ]
    return pl.concat_str(parts, separator=SEPARATOR)


def _by_revision(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort each record's rows by revision, on the places that the record has."""
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("\1place"))
    nth = pl.int_range(pl.len(), dtype=pl.Int64).over(ITS_KEY).alias("\1nth")
    places = frame.select(ITS_KEY, "\1place", AT, nth)
    rows = frame.sort(BY, "\1place").drop("\1place", AT).with_columns(nth)
    return rows.join(places, on=[ITS_KEY, "\1nth"]).sort("\1place")
