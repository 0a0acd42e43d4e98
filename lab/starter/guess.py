"""Guess which columns of a file are key, time, deletion and revision, each with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from lab.base import BadInput, Kind, Problem, nearest
from lab.domain.trace.frame import GONE, THERE, instants
from lab.domain.trace.raw import DELETED, Raw

TIMES = (
    "updated_at", "modified_at", "changed_at", "updated", "modified", "last_modified", "last_updated", "committed_at",
    "event_time", "event_ts", "timestamp", "ts", "ts_ms", "occurred_at", "happened_at", "valid_from", "created_at",
    "inserted_at", "created", "time", "datetime", "date",
)  # fmt: skip
# Further names of a column of time, if its values are times.
TIME_LIKE = r"(_at|_on|_time|_date|_ts|time|date|stamp)$"
DELETIONS = ("deleted", "is_deleted", "deleted_at", "deleted_on", "removed", "is_removed", "removed_at", "tombstone")
REVISIONS = ("revision", "rev", "row_version", "version", "lsn", "sequence", "seq")
# The most columns of a composite key, and the most columns that are tried for one.
WIDEST = 4
TRIED = 8
# The number of values that are examined to find out whether they are times.
SAMPLE = 100_000


@dataclass(frozen=True)
class Guess:
    """The columns of a role (empty: none), the reason, and whether an option said so."""

    columns: tuple[str, ...]
    why: str
    told: bool = False


Guesses = dict[str, Guess]


def guess(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, Kind], told: Mapping[str, str], where: str) -> Guesses:
    """Guess key, time, deleted and revision. `frame` has typed columns; `told` overrides, where `none` is no column.

    Raises BadInput for columns that don't exist, and if nothing identifies a record.
    """
    found = _told(kinds, told)
    found.setdefault("time", _time(raw, frame, kinds))
    found.setdefault("deleted", _deleted(raw, frame, kinds))
    found.setdefault("revision", _revision(raw, kinds))
    if "key" not in found:
        found["key"] = _declared_key(raw, frame) or (
            _log_key(raw, frame, kinds) if raw.is_log else _key(frame, kinds, found, where)
        )
    return {role: found[role] for role in ("key", "time", "deleted", "revision")}


def _told(kinds: Mapping[str, Kind], told: Mapping[str, str]) -> Guesses:
    found, problems = {}, []
    for role, words in told.items():
        names = [] if words == "none" and role != "key" else [name.strip() for name in words.split(",")]
        if role != "key" and words in kinds:
            names = [words]
        for name in names:
            if name not in kinds:
                problems.append(Problem(f"--{role}", f"no column is called `{name}`", nearest(name, kinds)))
        if role == "key" and len(set(names)) < len(names):
            problems.append(Problem("--key", "a column comes twice", "name each once"))
        if role != "key" and len(names) > 1:
            problems.append(Problem(f"--{role}", "more than one column", "name one"))
        found[role] = Guess(tuple(names), f"as --{role} says", told=True)
    if problems:
        raise BadInput(problems)
    return found


def _sorted_by(names: Sequence[str], kinds: Mapping[str, Kind]) -> list[str]:
    """Return the columns whose names are among these, in the order of these."""
    lower = {name.lower(): name for name in kinds}
    return [lower[name] for name in names if name in lower]


def _time(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, Kind]) -> Guess:
    if raw.is_log:
        return Guess(*raw.roles["time"])
    named = _sorted_by(TIMES, kinds)
    found = []
    for place, name in enumerate([*named, *(name for name in kinds if name not in named)]):
        values = frame[name].drop_nulls()
        likely = name in named or re.search(TIME_LIKE, name.lower()) is not None
        # Text in the format of a time is recognised by itself; a number needs the name of a time.
        if name.lower() in DELETIONS or values.len() < frame.height / 2 or not (likely or kinds[name] == "str"):
            continue
        if not values.len() or instants(values.head(SAMPLE)).null_count() > 0.1 * min(values.len(), SAMPLE):
            continue
        share = values.len() / frame.height
        found.append((name not in named, share < 1.0, not likely, place, name, share))
    if found:
        *_, name, share = min(found)
        return Guess((name,), f"`{name}` has times, in {_share(share)} of its rows")
    return Guess((), "no column has a name and values of a time: rows are taken in the order of the file")


def _deleted(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, Kind]) -> Guess:
    if raw.is_log:
        return Guess(*raw.roles["deleted"])
    for name in _sorted_by(DELETIONS, kinds):
        values = frame[name].drop_nulls()
        if kinds[name] == "str" and values.len():
            yes_or_no = values.str.strip_chars().str.to_lowercase().is_in([*GONE, *THERE]).all()
            if not yes_or_no and instants(values).null_count():
                continue
        if kinds[name] == "int" and not name.lower().endswith(("_at", "_on")) and not values.is_in([0, 1]).all():
            continue
        return Guess((name,), f"called `{name}`, and its values say yes or no, or when")
    for name in _sorted_by(("op", "operation", "status", "state", "action"), kinds):
        if kinds[name] == "str":
            words = frame[name].drop_nulls().str.strip_chars().str.to_lowercase()
            if words.is_in(["deleted", "delete", "d"]).any() and words.is_in([*GONE, *THERE]).all():
                return Guess((name,), f"called `{name}`, and some of its values say deleted")
    return Guess((), "no column says that a record is deleted")


def _revision(raw: Raw, kinds: Mapping[str, Kind]) -> Guess:
    if raw.is_log:
        return Guess(*raw.roles["revision"])
    for name in _sorted_by(REVISIONS, kinds):
        if kinds[name] == "int":
            return Guess((name,), f"called `{name}`, and a whole number")
    return Guess((), "no column numbers a record's revisions: order decides")


def _share(share: float) -> str:
    return "all" if share == 1.0 else f"{share:.1%}"


def _rank(name: str) -> int:
    """Rank a name by how much it looks like a key; 0 is the best."""
    lower = name.lower()
    if lower in ("id", "key", "uuid", "guid", "pk", "_id"):
        return 0
    if re.search(r"(id|key|_no|_nr|_number|_code)$", lower) or lower in ("code", "sku", "line", "number"):
        return 1
    return 2


def _candidates(kinds: Mapping[str, Kind], but: Sequence[str]) -> list[str]:
    """Return columns that may be a key or a part of one, the likeliest first, fractional numbers last."""
    names = [name for name, kind in kinds.items() if kind != "bool" and name not in but]
    return sorted(names, key=lambda name: (kinds[name] == "float", _rank(name)))


def _declared_key(raw: Raw, frame: pl.DataFrame) -> Guess | None:
    """Return the key that a table declares, unless a part of it is null somewhere."""
    if raw.is_log or not raw.keys or any(frame[name].null_count() for name in raw.keys):
        return None
    return Guess(raw.keys, "the table declares it")


def _key(frame: pl.DataFrame, kinds: Mapping[str, Kind], found: Guesses, where: str) -> Guess:
    """Choose the first of: a unique column; an id whose rows differ in time or revision; a combination; a time."""
    order = [name for role in ("revision", "time") for name in found[role].columns]
    likely = _candidates(kinds, [*order, *found["deleted"].columns])
    whole = [name for name in likely if not frame[name].null_count()]
    unique = {name: frame[name].n_unique() for name in whole}
    rows = frame.height
    if single := [name for name in whole if unique[name] == rows]:
        # A single column of text is unlikely to be a key if a column that is named like a key is not unique.
        named = [name for name in single if _rank(name) < 2] or single
        sounding = [name for name in whole if _rank(name) == 0 and name not in single]
        if not (order and sounding and _rank(named[0]) == 2):
            return Guess((named[0],), f"the values of `{named[0]}` are unique and never null")
    for name in [name for name in whole if _rank(name) == 0] if order else []:
        if _unique(frame, [name, *order]):
            return Guess((name,), f"`{name}` comes again with another {' and '.join(f'`{one}`' for one in order)}")
    for width in range(2, WIDEST + 1):
        for names in combinations(whole[:TRIED], width):
            if pl.Series([unique[name] for name in names]).product() >= rows and _unique(frame, names):
                together = " and ".join(f"`{name}`" for name in names)
                return Guess(names, f"no column is unique by itself; {together} are, together")
    for name in [name for name in whole if _rank(name) < 2] if order else []:
        if _unique(frame, [name, *order]):
            return Guess((name,), f"`{name}` comes again with another {' and '.join(f'`{one}`' for one in order)}")
    for name in found["time"].columns:
        if not frame[name].null_count() and frame[name].n_unique() == rows:
            return Guess((name,), f"nothing else tells the rows apart; the times of `{name}` are unique and never null")
    nearest_one = max(whole, key=lambda name: unique[name], default=None)
    if nearest_one is None:
        what = "no column without nulls is there to tell the records apart"
    else:
        share = unique[nearest_one] / rows
        what = f"no column or combination is unique; `{nearest_one}` comes nearest: {unique[nearest_one]:,} values in "
        what += f"{rows:,} rows ({share:.1%})"
    example = nearest_one or next(iter(kinds), "COLUMN")
    way_out = f"say it: --key {example}, or several: --key a,b; rows with the same key are revisions of one record"
    raise BadInput([Problem(where, what, way_out)])


def _unique(frame: pl.DataFrame, names: Sequence[str]) -> bool:
    """Return whether no two rows have the same values in all of these columns."""
    # Most are not, which the first rows already show.
    first = frame.select(names).head(SAMPLE)
    if first.n_unique() < first.height:
        return False
    # Hashes take less memory than rows; if two of them are equal, the rows decide.
    hashes = frame.select(names).hash_rows()
    if hashes.n_unique() == frame.height:
        return True
    alike = frame.select(names).filter(hashes.is_duplicated())
    return alike.n_unique() == alike.height


def _log_key(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, Kind]) -> Guess:
    """Return the key that the log's records name; else a column that is named like a key and never null."""
    if raw.keys and set(raw.keys) <= set(kinds):
        return Guess(raw.keys, "the log's records name it as their key")
    likely = [name for name in _candidates(kinds, ()) if not frame[name].null_count()]
    if not likely:
        raise BadInput([Problem("--key", "no column of this log is never null", "say the key: --key a,b")])
    rows = frame.filter(~pl.col(DELETED)).height
    steady = [name for name in likely if name in raw.steady]

    def fits(name: str) -> tuple[float, ...]:
        # Without a named key: an id is repeated by several changes, and still has many values.
        counts = bool(steady) or _rank(name) == 2
        return -_rank(name), frame[name].n_unique() if counts else 0, -list(kinds).index(name)

    best = max(steady or likely, key=fits)
    if steady:
        return Guess((best,), f"`{best}` is never null, no update altered it, and {_because(best)}")
    if _rank(best) == 2 and frame[best].n_unique() < 0.1 * rows:
        what = f"no column of this log sounds like a key; `{best}` has the most values"
        raise BadInput([Problem("--key", what, f"say it: --key {best}")])
    return Guess((best,), f"`{best}` is never null, and {_because(best)}")


def _because(name: str) -> str:
    return "it sounds like a key" if _rank(name) < 2 else "it tells most apart"
