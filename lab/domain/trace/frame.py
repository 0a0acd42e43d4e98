"""Convert rows to a change frame: typed columns, keys, deletions, times, and revisions from 1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from lab.base import DTYPES, META, REASON, BadInput, Entity, Kind, Problem, nearest
from lab.domain.trace.history import BY, arranged
from lab.domain.trace.history import GONE as IS_GONE
from lab.domain.trace.history import KEY as ITS_KEY
from lab.domain.trace.raw import AT, COMMITTED, DELETED, OWN, PLACE, TRUNCATES, TURN, Raw
from lab.scenario import EntityTable
from lab.statistics.quantiles import reached

SEPARATOR = "|"
ESCAPE = "\\"
# Names of the change frame's own columns, and of columns that are added beside them.
TAKEN = (*META, "event", "records", "rowid", "_rowid_", "oid", "lab_words", "lab_body", "lab_newest", REASON)

GONE = ("deleted", "delete", "removed", "d", "true", "t", "yes", "y", "1")
THERE = (
    "false", "f", "no", "n", "0", "", "active", "live", "present", "c", "u", "r", "i", "insert", "update", "upsert",
)  # fmt: skip
INSTANT = (
    r"^(?<day>\d{4}[-/]\d{2}[-/]\d{2})(?:[T ](?<clock>\d{2}:\d{2})(?::(?<second>\d{2})(?<part>[.,]\d+)?)?)?"
    r"\s*(?<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?$"
)
BLOCK = 200_000  # Values of text that are taken apart together.
# Whole numbers above these are milliseconds, microseconds or nanoseconds since 1970 rather than seconds.
UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


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


def entity(table: EntityTable, kinds: Mapping[str, Kind]) -> Entity:
    """Return the entity of these columns; a key of one whole number is kept, every other key becomes text."""
    names = entity_names(kinds)
    whole = len(table.key) == 1 and kinds[table.key[0]] == "int"
    return Entity(
        table.name, "int" if whole else "str", {names[column]: kind for column, kind in kinds.items()},
        indexes=tuple((names[column],) for column in table.indexes), texts=tuple(names[one] for one in table.texts),
    )  # fmt: skip


def check_columns(table: EntityTable, columns: Mapping[str, Kind], where: str) -> list[Problem]:
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


def instants(values: pl.Series) -> pl.Series:
    """Convert to seconds since 1970 (float); null if there is no time, or none that can be read.

    Text is ISO 8601, in UTC without a zone. Numbers are seconds, milli-, micro- or nanoseconds, recognised by size.
    """
    if values.dtype == pl.Boolean:
        return pl.Series(values.name, [None], pl.Float64).new_from_index(0, values.len())
    if values.dtype.is_numeric():
        size = reached(values.cast(pl.Float64).abs().drop_nulls(), 0.5)
        by = next((unit for least, unit in UNITS if size is not None and size > least), 1.0)
        return values.cast(pl.Float64) / by
    if values.len() > BLOCK:
        # Parsed text is many times as large as the text.
        return pl.concat([instants(values.slice(begin, BLOCK)) for begin in range(0, values.len(), BLOCK)])
    parts = values.to_frame("v").select(pl.col("v").str.strip_chars().str.extract_groups(INSTANT)).unnest("v")
    minute = pl.concat_str(
        pl.col("day").str.replace_all("/", "-"), pl.lit(" "), pl.col("clock").fill_null("00:00"), pl.lit(":"),
        pl.col("second").fill_null("00"),
    )  # fmt: skip
    sign = pl.when(pl.col("zone").str.starts_with("-")).then(-1.0).otherwise(1.0)
    digits = pl.col("zone").str.replace_all(r"\D", "")
    hours = digits.str.slice(0, 2).cast(pl.Float64, strict=False).fill_null(0.0)
    minutes = digits.str.slice(2, 2).cast(pl.Float64, strict=False).fill_null(0.0)
    part = pl.col("part").str.replace(",", ".").cast(pl.Float64, strict=False).fill_null(0.0)
    whole = minute.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s").cast(pl.Float64)
    return parts.select((whole + part - sign * (hours * 3600.0 + minutes * 60.0)).alias(values.name)).to_series()


def gone(values: pl.Series) -> pl.Series:
    """Return whether a record is deleted: by a boolean, a number, a word, or an instant that is not null."""
    if values.dtype == pl.Boolean:
        return values.fill_null(False)
    if values.dtype.is_numeric():
        return (values != 0).fill_null(False)
    text = values.str.strip_chars().str.to_lowercase()
    words = text.is_in(list(GONE)).fill_null(False)
    if words.any() or text.drop_nulls().is_in(list(THERE)).all():
        return words
    return instants(values).is_not_null()


def typed(raw: Raw, kinds: Mapping[str, Kind]) -> Raw:
    """Convert the columns to their kinds. A value that is not of its column's kind makes its row malformed."""
    expressions = [
        _cast(pl.col(name), raw.frame.schema[name], kind).alias(name)
        if name in raw.frame.columns
        else pl.lit(None, DTYPES[kind]).alias(name)
        for name, kind in kinds.items()
    ]
    own = [name for name in OWN if name in raw.frame.columns]
    frame = raw.frame.select(*own, *expressions)
    found = []
    for name, kind in kinds.items():
        if name in raw.frame.columns and frame[name].null_count() > raw.frame[name].null_count():
            lost = frame[name].is_null() & raw.frame[name].is_not_null()
            # Empty text is null in every column that is not text.
            found.append((lost, f"`{name}` is {kind}, and its value is not"))
    return raw.without(found, frame)


def _cast(column: pl.Expr, dtype: pl.DataType, kind: Kind) -> pl.Expr:
    if dtype == DTYPES[kind]:
        return column
    if dtype == pl.String and kind != "str":
        column = column.str.strip_chars()
        if kind == "bool":
            return column.str.to_lowercase().replace_strict(
                {"true": True, "false": False, "1": True, "0": False}, default=None, return_dtype=pl.Boolean
            )
    return column.cast(DTYPES[kind], strict=False)


@dataclass(frozen=True)
class Prepared:
    """The changes of one entity in their order, without positions: `AT` (seconds), then the change frame's columns.

    Without a column of time, `AT` counts the rows from 0, and `timed` is false.
    """

    frame: pl.DataFrame
    timed: bool
    bad: Raw
    notes: tuple[str, ...]


def prepare(raw: Raw, table: EntityTable, kinds: Mapping[str, Kind], where: str) -> Prepared:
    """Convert every row to a change in commit order: by time, then in the order of the file.

    The changes of a log are in the log's own order (`history`).
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
    if raw.is_log:
        return _of_log(raw, table, kinds)
    raw, at = _times(raw, table, notes)
    deleted = gone(raw.frame[table.deleted]) if table.deleted else pl.lit(False)
    frame = raw.frame.with_columns(
        _key(table.key, kinds).alias(ITS_KEY), deleted.alias(IS_GONE), at.alias(AT), pl.lit(None).alias(BY)
    )
    if table.revision:
        frame = frame.with_columns(pl.col(table.revision).alias(BY))
    if not frame[AT].is_sorted():
        frame = frame.sort(AT, maintain_order=True)
    if table.revision:
        frame = _by_revision(frame)
    return Prepared(_changes(frame, kinds), bool(table.time), raw, tuple(notes))


def _changes(frame: pl.DataFrame, kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """Return rows in their order as changes, with revisions counted from 1."""
    names = entity_names(kinds)
    order = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(ITS_KEY)
    of_log = [name for name in (TURN, PLACE) if name in frame.columns]
    return frame.select(
        AT, *of_log, pl.col(ITS_KEY).alias("key"), order.alias("revision"), pl.col(IS_GONE).alias("deleted"),
        *(pl.col(name).alias(names[name]) for name in kinds),
    )  # fmt: skip


def _of_log(raw: Raw, table: EntityTable, kinds: Mapping[str, Kind]) -> Prepared:
    """Return the changes of a log, whose own order, times and deletions hold where the table names no column."""
    if table.time:
        at = instants(raw.frame[table.time])
        lost = at.is_null() & raw.frame[table.time].is_not_null()
        raw = raw.without([(lost, f"`{table.time}` is no time that can be read (ISO 8601, or a number)")], raw.frame)
        raw = replace(raw, frame=raw.frame.with_columns(at.filter(~lost).alias(AT), pl.lit(True).alias(COMMITTED)))
    deleted = gone(raw.frame[table.deleted]) if table.deleted else raw.frame[DELETED]
    by = pl.col(table.revision) if table.revision else pl.lit(None)
    frame = raw.frame.with_columns(_key(table.key, kinds).alias(ITS_KEY), deleted.alias(IS_GONE), by.alias(BY))
    made = arranged(frame, list(kinds), table.key)
    raw = replace(raw, counts=(*raw.counts, *made.counts))
    return Prepared(_changes(made.frame, kinds), made.timed, raw, (*raw.notes, *made.notes))


def _times(raw: Raw, table: EntityTable, notes: list[str]) -> tuple[Raw, pl.Series]:
    """Return the commit time of each row. A row without a time has that of the row before it in the file."""
    frame = raw.frame
    if table.time is None:
        return raw, pl.int_range(0, frame.height, dtype=pl.Int64, eager=True).cast(pl.Float64).alias(AT)
    at = instants(frame[table.time])
    if at.null_count() > frame[table.time].null_count():
        lost = at.is_null() & frame[table.time].is_not_null()
        raw = raw.without([(lost, f"`{table.time}` is no time that can be read (ISO 8601, or a number)")], frame)
        at = at.filter(~lost)
    if missing := at.null_count():
        notes.append(f"{missing:,} rows of `{table.name}` have no time: each has that of the row before it (assumed).")
        at = at.fill_null(strategy="forward").fill_null(at.min() if at.len() > missing else 0.0)
    return raw, at.alias(AT)


def _key(columns: Sequence[str], kinds: Mapping[str, Kind]) -> pl.Expr:
    """Return the key: a single whole number unchanged, anything else as text."""
    if len(columns) == 1 and kinds[columns[0]] == "int":
        return pl.col(columns[0])
    return joined_key([pl.col(name) for name in columns])


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
