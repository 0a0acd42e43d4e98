"""Guess which columns of a file are key, time, deletion and revision, each with a reason and a rival."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from lab.base import BadInput, Problem, nearest
from lab.domain.trace.frame import gone
from lab.domain.trace.instants import moments
from lab.domain.trace.raw import Raw
from lab.starter.keys import key, log_key, unique
from lab.starter.roles import Guess, Guesses, deletion, listed, revision, time

__all__ = ["Guess", "Guesses", "guess", "unchanging"]


def guess(raw: Raw, frame: pl.DataFrame, kinds: Mapping[str, str], told: Mapping[str, str], where: str) -> Guesses:
    """Guess key, time, deleted and revision. `frame` has typed columns; `told` overrides, where `none` is no column.

    Raises BadInput for columns that don't exist, and if nothing identifies a record.
    """
    found = _told(raw, kinds, told)
    found.setdefault("time", time(raw, frame, kinds))
    found.setdefault("deleted", deletion(raw, frame, kinds))
    found.setdefault("revision", revision(raw, kinds))
    if "key" not in found:
        found["key"] = (
            log_key(raw, frame, kinds) if raw.is_log and not raw.container else key(raw, frame, kinds, found, where)
        )
    if not raw.is_log:
        found["revision"] = _total(frame, found)
    return {role: found[role] for role in ("key", "time", "deleted", "revision")}


def unchanging(guesses: Guesses, again: bool) -> str:
    """Ask whether each row is a record of its own, if no record has a second change; `again`: the key's rival has."""
    rival = guesses["key"].rival
    other = f" If {listed(rival)} names the record: --key {','.join(rival)}." if rival and again else ""
    return f"No record ever changes: each row is a record of its own. Is it?{other}"


def _told(raw: Raw, kinds: Mapping[str, str], told: Mapping[str, str]) -> Guesses:
    found, problems = {}, []
    for role, words in told.items():
        if raw.container and words in raw.roles.get(role, ((), ""))[0]:
            found[role] = Guess((words,), f"as --{role} says", told=True)
            continue
        names = [] if words == "none" and role != "key" else [name.strip() for name in words.split(",")]
        if words in kinds:
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


def _total(frame: pl.DataFrame, found: Guesses) -> Guess:
    """Return the revision only if it orders all changes of each record: not if it starts again after a deletion."""
    one = found["revision"]
    if one.told or not one.columns:
        return one
    columns, name = [*found["key"].columns, *one.columns], one.columns[0]
    instead = listed(found["time"].columns) if found["time"].columns else "the order of the file"
    if name in found["key"].columns:
        return Guess((), f"`{name}` is a part of the key: {instead} decides", rival=one.columns)
    if not unique(frame, columns):
        why = f"`{name}` comes twice within a record, as if it started again: {instead} decides"
        return Guess((), why, rival=one.columns)
    if _restarts(frame, found):
        return Guess((), f"`{name}` starts again after a deletion: {instead} decides", rival=one.columns)
    return one


def _restarts(frame: pl.DataFrame, found: Guesses) -> bool:
    """Return whether a record that was deleted goes on with a smaller revision."""
    if not found["deleted"].columns:
        return False
    rows = frame.select(
        *found["key"].columns, pl.col(found["revision"].columns[0]).alias("\1by"),
        gone(frame[found["deleted"].columns[0]]).alias("\1gone"),
    )  # fmt: skip
    if found["time"].columns:
        when = moments(frame[found["time"].columns[0]])
        rows = rows.with_columns(when.second.alias("\1s"), when.nano.alias("\1n")).sort(
            "\1s", "\1n", maintain_order=True
        )
    before = pl.struct("\1by", "\1gone").shift(1).over(found["key"].columns)
    again = before.struct.field("\1gone") & (pl.col("\1by") < before.struct.field("\1by"))
    return bool(rows.select(again.any()).item())
