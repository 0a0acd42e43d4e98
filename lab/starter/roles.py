"""Guess the columns of time, deletion and revision, by their names and their values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from lab.decimals import scale_of
from lab.domain.trace.frame import GONE, THERE
from lab.domain.trace.instants import moments
from lab.domain.trace.raw import Raw

TIMES = (
    "updated_at", "modified_at", "changed_at", "updated", "modified", "last_modified", "last_updated",
    "system_modstamp", "last_modified_date", "modified_date", "updated_date", "updated_on", "committed_at",
    "event_time", "event_ts", "timestamp", "ts", "ts_ms", "occurred_at", "happened_at", "valid_from", "created_at",
    "inserted_at", "created", "created_date", "created_on", "time", "datetime", "date",
)  # fmt: skip
# Further names of a column of time, if its values are times.
TIME_LIKE = (
    r"(_at|_on|_time|_date|_ts|_ts_[mun]s|time|date|stamp|datum|zeit)$|(?-i:[a-z](At|On|Ts)$)|"
    r"^(ae|er|bu|bl)dat$|^laeda$"  # SAP's.
)
# What is a date with a time of day, whatever else stands there.
CLOCKED = r"\d{4}.*\d\d:\d\d|\d\d:\d\d.*\d{4}"
# Times at which no row was committed.
BIRTHS = r"birth|(^|_)(born|dob)(_|$)"
DELETIONS = (
    "deleted", "is_deleted", "deleted_at", "deleted_on", "removed", "is_removed", "removed_at", "tombstone",
    "_fivetran_deleted", "_ab_cdc_deleted_at", "_sdc_deleted_at", "_peerdb_is_deleted", "_deleted", "__deleted",
)  # fmt: skip
OPERATIONS = (
    "op", "operation", "status", "state", "action", "op_type", "operation_type", "change_type", "event_type",
    "row_kind", "cdc_operation", "cdc_op", "meta_op",
)  # fmt: skip
REVISIONS = ("revision", "rev", "row_version", "version", "lsn", "sequence", "seq")
# The number of values that are examined to find out whether they are times.
SAMPLE = 100_000


@dataclass(frozen=True)
class Guess:
    """The columns of a role (empty: none), the reason, whether an option said so, and the second candidate."""

    columns: tuple[str, ...]
    why: str
    told: bool = False
    rival: tuple[str, ...] = ()


Guesses = dict[str, Guess]


def listed(names: Sequence[str]) -> str:
    """Return names of columns as they are named in a sentence."""
    return " and ".join(f"`{name}`" for name in names)


def plain(name: str) -> str:
    """Return a name in small letters with underscores, as the lists of names have it: `deletedAt`, `Deleted At`."""
    return re.sub(r"[\s.-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).lower()


def _sorted_by(names: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """Return the columns whose names are among these, in the order of these."""
    lower = {plain(name): name for name in reversed(list(kinds))}
    return [lower[name] for name in names if name in lower]


def is_time(values: pl.Series, kind: str) -> bool:
    """Return whether nine values in ten are times; dates that stand for none don't count as such."""
    found = moments(values.head(SAMPLE), scale=scale_of(kind) or 0)
    found = found.filter(~found.absent | found.zero)
    return bool(found.second.len()) and int((found.second.is_null() | found.zero).sum()) <= 0.1 * found.second.len()


def time(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, str]) -> Guess:
    """Guess when a row was committed: a well-known name, then one that ends like a time, then any text of times."""
    if "time" in raw.roles:
        return Guess(*raw.roles["time"])
    named = _sorted_by(TIMES, kinds)
    found = []
    for place, name in enumerate([*named, *(name for name in kinds if name not in named)]):
        values = frame[name].drop_nulls()
        likely = name in named or re.search(TIME_LIKE, plain(name)) is not None
        # Text in the format of a time is recognised by itself; a number needs the name of a time.
        if plain(name) in DELETIONS or values.len() < frame.height / 2 or not (likely or kinds[name] == "str"):
            continue
        if re.search(BIRTHS, plain(name)):
            continue
        if not is_time(values, kinds[name]):
            continue
        share = values.len() / frame.height
        found.append((name not in named, share < 1.0, not likely, place, name, share))
    if found:
        *_, name, share = min(found)
        others = tuple(one[4] for one in sorted(found)[1:2])
        return Guess((name,), f"`{name}` has times, in {_share(share)} of its rows", rival=others)
    strange = _strange_times(frame, kinds)
    return Guess((), f"no column has a name and values of a time{strange}: rows are taken in the order of the file")


def _strange_times(frame: pl.DataFrame, kinds: Mapping[str, str]) -> str:
    """Name a column that seems to have times in a form that can't be read."""
    for name, kind in kinds.items():
        values = frame[name].drop_nulls().head(SAMPLE) if kind == "str" else pl.Series(dtype=pl.String)
        if values.len() and values.str.contains(CLOCKED).all() and not values.str.contains(r"^[\[{]").any():
            return f" that can be read (`{name}` has {values[0]!r} and others)"
    return ""


def deletion(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, str]) -> Guess:
    """Guess what says that a record is gone: a well-known name whose values say yes, no or when; operations."""
    if "deleted" in raw.roles:
        return Guess(*raw.roles["deleted"])
    found = []
    for name in _sorted_by(DELETIONS, kinds):
        values = frame[name].drop_nulls()
        if kinds[name] == "str" and values.len():
            yes_or_no = values.str.strip_chars().str.to_lowercase().is_in([*GONE, *THERE]).all()
            if not yes_or_no and moments(values).unreadable.any():
                continue
        if scale_of(kinds[name]) is not None:
            continue
        if kinds[name] == "int" and not plain(name).endswith(("_at", "_on")) and not values.is_in([0, 1]).all():
            continue
        found.append(Guess((name,), f"called `{name}`, and its values say yes or no, or when"))
    for name in [*_sorted_by(OPERATIONS, kinds), *raw.nameless]:
        if kinds.get(name) == "str":
            words = frame[name].drop_nulls().str.strip_chars().str.to_lowercase()
            if words.is_in(["deleted", "delete", "d"]).any() and words.is_in([*GONE, *THERE]).all():
                found.append(Guess((name,), f"called `{name}`, and some of its values say deleted"))
    if not found:
        return Guess((), "no column says that a record is deleted")
    best, others = found[0], tuple(name for one in found[1:2] for name in one.columns)
    return Guess(best.columns, best.why, rival=others)


def revision(raw: Raw, kinds: Mapping[str, str]) -> Guess:
    """Guess what numbers the revisions of a record: a whole number with a well-known name."""
    if "revision" in raw.roles:
        return Guess(*raw.roles["revision"])
    whole = [name for name in _sorted_by(REVISIONS, kinds) if kinds[name] == "int"]
    if whole:
        return Guess((whole[0],), f"called `{whole[0]}`, and a whole number", rival=tuple(whole[1:2]))
    return Guess((), "no column numbers a record's revisions: order decides")


def _share(share: float) -> str:
    return "all" if share == 1.0 else f"{share:.1%}"
