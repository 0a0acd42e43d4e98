"""AWS DMS as it writes CSV and Parquet: rows of a table, and in the first column `Op` what was done to each (I, U, D).

`Op`, and a time that DMS adds, are about the change and no columns of the record; a deletion may tell its key alone.
"""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl

from lab.base import NotReadable
from lab.domain.trace.instants import moments
from lab.domain.trace.logs.gather import OWN_TYPES
from lab.domain.trace.raw import AT, COMMITTED, DELETED, KNOWN, LINE, RUN, TOMBSTONE, TRUNCATES, TURN, Raw

OP, FORMAT = "Op", "dms"
LETTERS = ["I", "U", "D"]
# What the times are called that DMS is told to add (TimestampColumnName, and headers like AR_H_COMMIT_TIMESTAMP).
TIMES = r"^_*(dms|cdc|ar_h)_"


def operation_of(raw: Raw, told: bool = False) -> str | None:
    """Return the column that says what was done to each row; None if no column does.

    Without a header it is the first one, if it has more than insertions, or if the format is `told`. Rows of a full
    load may have no letter.
    """
    first = next(iter(raw.kinds), None)
    if raw.is_log or first is None or raw.kinds[first] != "str":
        return None
    nameless = len(raw.nameless) == len(raw.kinds)
    if first != OP and not nameless:
        return None
    seen = raw.frame[first].drop_nulls().unique()
    fits = seen.len() > 0 and bool(seen.is_in(LETTERS).all())
    return first if fits and (told or not nameless or seen.is_in(LETTERS[1:]).any()) else None


def as_changes(raw: Raw, where: str) -> Raw:
    """Return the rows as the changes of a log. Raises NotReadable if no column says what was done to them."""
    column = operation_of(raw, True)
    if column is None:
        what = f"no column `{OP}` with {', '.join(LETTERS)}, as AWS DMS writes it"
        raise NotReadable(where, what, 'for a table as it is: format = "csv" or "parquet"')
    time = next((name for name in raw.kinds if _is_time(raw, name)), None)
    frame, nothing = raw.frame, pl.lit(None)
    at = moments(frame[time]).seconds if time else pl.Series([None], dtype=pl.Float64).new_from_index(0, frame.height)
    own = {name: nothing.cast(dtype) for name, dtype in OWN_TYPES.items() if name not in (LINE, AT)}
    own |= {
        DELETED: (pl.col(column) == "D").fill_null(False), KNOWN: pl.lit(True), TRUNCATES: pl.lit(False),
        TOMBSTONE: pl.lit(False), COMMITTED: pl.lit(True), TURN: pl.col(LINE), RUN: pl.col(LINE),
    }  # fmt: skip
    beside = [name for name in (column, time) if name is not None]
    frame = frame.with_columns(at.alias(AT), *(value.alias(name) for name, value in own.items())).drop(beside)
    roles = {
        "deleted": ((column,), f"`{column}` says what was done to the row; it is no column of the record"),
        "revision": ((), "the log's own order"),
    }
    if time:
        roles["time"] = ((time,), f"`{time}` says when it was committed; it is no column of the record")
    return replace(
        raw, frame=frame, kinds={name: kind for name, kind in raw.kinds.items() if name not in beside}, format=FORMAT,
        roles=roles, container=raw.format, nameless=tuple(name for name in raw.nameless if name not in beside),
    )  # fmt: skip


def _is_time(raw: Raw, name: str) -> bool:
    """Return whether a column is a time that DMS added: by its name, if every value of it is one."""
    if not re.search(TIMES, name.lower()) or raw.kinds[name] != "str":
        return False
    found = moments(raw.frame[name])
    return found.second.len() > found.second.null_count() and not found.unreadable.any()
