"""Recognise the format of a change log, and read the changes of one of its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import NotReadable, nearest
from lab.domain.trace.history import counted
from lab.domain.trace.logs.avro import OF_UNIONS
from lab.domain.trace.logs.canal import Canal
from lab.domain.trace.logs.change import Format, LoggedChange, Table
from lab.domain.trace.logs.cloudevents import CloudEvents
from lab.domain.trace.logs.debezium import Debezium, without_change
from lab.domain.trace.logs.dms import Dms
from lab.domain.trace.logs.flattened import Flattened, is_row
from lab.domain.trace.logs.gather import Gathered, Turns
from lab.domain.trace.logs.maxwell import DEFINITIONS, MARKS, Maxwell
from lab.domain.trace.logs.messages import TopicMessage, messages
from lab.domain.trace.logs.singer import Singer
from lab.domain.trace.logs.unsupported import unknown_changes, unsupported, unsupported_connector
from lab.domain.trace.logs.values import Malformed
from lab.domain.trace.logs.wal2json import Wal2json
from lab.domain.trace.raw import AT, COMMITTED, LINE, ORDER, SHOWN, Bad, Raw, SourceCount, as_text_note

# The first that recognises a message decides; rows of a topic are the least distinctive.
FORMATS: Mapping[str, type[Format]] = {
    one.name: one for one in (CloudEvents, Debezium, Maxwell, Canal, Wal2json, Singer, Dms, Flattened)
}
LOOKED_AT = 200  # Messages.
UNNAMED = "rows"


def is_mark(value: Any) -> bool:
    """Return whether a message is one that logs have beside their changes: of transactions, heartbeats, definitions."""
    if not isinstance(value, dict):
        return value is None
    kind = value.get("type")
    if isinstance(kind, str) and (kind in MARKS or DEFINITIONS.fullmatch(kind)):
        return "database" in value or "table" in value
    return bool(without_change(value)) or (value.get("action") == "M" and "prefix" in value)


def recognise(path: Path) -> str | None:
    """Return the format of a change log in JSON lines; None for lines that are records.

    Raises NotReadable for a format that is known and not supported.
    """
    seen: list[TopicMessage] = []
    marks = 0
    for found in messages(path):
        if isinstance(found, TopicMessage):
            # A log may begin with any number of messages without a change.
            marks += is_mark(found.value)
            if len(seen) < LOOKED_AT or not is_mark(found.value):
                seen.append(found)
            if len(seen) - min(marks, LOOKED_AT) >= LOOKED_AT:
                break
        elif found[1].startswith("a value ") and not seen:
            raise NotReadable(str(path), f"messages of a topic: line {found[0]} has {found[1]}", "write them as JSON")
    for one in seen:
        if told := unsupported_connector(one.value):
            raise NotReadable(str(path), f"{told[0]}, which the lab doesn't read", told[1])
    for name, form in FORMATS.items():
        if form is not Flattened and any(form.recognises(one) for one in seen):
            return name
    # Other changes in a topic would be its rows.
    if not any(is_row(one.value) for one in seen):
        for one in seen:
            if told := unsupported(one):
                raise NotReadable(str(path), f"{told[0]}, which the lab doesn't read", told[1])
        if told := unknown_changes([one.value for one in seen]):
            raise NotReadable(str(path), *told)
    return Flattened.name if any(Flattened.recognises(one) for one in seen) else None


@dataclass
class Log:
    """What was read of a log: each wanted table's changes, the number of changes of every table, malformed lines."""

    tables: dict[Table, Gathered] = field(default_factory=dict)
    changes: Counter[Table] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    converted: dict[tuple[Table, str], str] = field(default_factory=dict)
    translator: Format | None = None
    bad: list[Bad] = field(default_factory=list)
    bad_count: int = 0


def labels(tables: Sequence[Table]) -> dict[Table, str]:
    """Return the shortest name of each table that is another one's in no case: `orders`, else `public.orders`."""
    found = {}
    for table in tables:
        for length in range(1, len(table) + 1):
            ends = table[-length:]
            if sum(other[-length:] == ends for other in tables) == 1:
                break
        found[table] = ".".join(table[-length:]) if table else UNNAMED
    return found


def _fits(table: Table, name: str) -> bool:
    whole = ".".join(table) or UNNAMED
    return whole == name or whole.endswith(f".{name}")


def tables_of(path: Path, form: str) -> dict[str, int]:
    """Return the names of a log's tables with their numbers of changes, the largest first."""
    found = _read(path, form, None, ()).changes
    names = labels(list(found))
    return {names[table]: count for table, count in found.most_common()}


def read_log(path: Path, form: str, table: str | None = None, key: Sequence[str] = ()) -> Raw:
    """Read the changes of a table; it must be named if the log has several. The frame holds text.

    `key` has the key's columns, if they are known: an update that changes one is then a deletion and a new record.
    Raises NotReadable if the table isn't named or isn't there.
    """
    log = _read(path, form, table or "", key)
    names = labels(list(log.changes))
    found = [one for one in log.changes if not table or _fits(one, table)]
    if len(found) > 1:
        each = ", ".join(f"`{names[one]}` ({log.changes[one]:,} changes)" for one in found)
        what = f"a log of several tables: {each}"
        raise NotReadable(str(path), what, f"name one: {path.name}:{names[found[0]]}")
    if table and not found:
        near = nearest(table, list(names.values()))
        raise NotReadable(f"{path}:{table}", f"no table of this log is called `{table}`", near)
    gathered = log.tables.get(found[0], Gathered()) if found else Gathered()
    return _raw(log, form, found[0] if found else (), gathered)


def _read(path: Path, form: str, wanted: str | None, key: Sequence[str]) -> Log:
    """Read a log. `wanted` is the table whose changes are gathered; empty: the first one; None: none."""
    log, turns, translator = Log(), Turns(), FORMATS[form]()
    for number, found in _changes(path, translator, log):
        table = found.table
        log.changes[table] += 1
        if wanted is None or (wanted and not _fits(table, wanted)):
            turns.of(found, number)
            continue
        gathered = log.tables.get(table)
        if gathered is None:
            if not wanted and log.tables:
                turns.of(found, number)
                continue
            gathered = log.tables[table] = Gathered(tuple(key))
        gathered.add(found, number, turns)
    log.passed, log.converted, log.translator = translator.passed, translator.converted, translator
    return log


def _changes(path: Path, translator: Format, log: Log) -> Iterator[tuple[int, LoggedChange]]:
    """Yield changes with their lines; malformed lines are put into the log."""
    for found in messages(path):
        if isinstance(found, TopicMessage):
            try:
                for one in translator.changes(found):
                    yield found.line, one
                continue
            except Malformed as error:
                found = (found.line, str(error))
        log.bad_count += 1
        if len(log.bad) < SHOWN:
            log.bad.append(Bad(*found))


def _raw(log: Log, form: str, table: Table, gathered: Gathered) -> Raw:
    frame = gathered.frame()
    counts = [SourceCount("", f"passed over: {what}", number) for what, number in log.passed.items()]
    notes = [counted(f"passed over: {what}", number) for what, number in log.passed.items()]
    counts += [SourceCount(column, what, number) for (what, column), number in gathered.counts.items()]
    notes += [counted(what, number, column) for (what, column), number in gathered.counts.items()]
    others = sum(log.changes.values()) - log.changes[table]
    if others:
        counts.append(SourceCount("", "changes of other tables", others))
    assert log.translator is not None
    kinds = {}
    for name in gathered.kinds:
        kinds[name], what, number = gathered.kind(name, frame[name], (table, name) in log.translator.decimals)
        if what:
            notes.append(as_text_note(name, what))
            counts.append(SourceCount(name, f"{what}, as text", number))
        if how := log.converted.get((table, name)):
            why = "" if how == OF_UNIONS else ", as the log's schema says"
            notes.append(f"Column `{name}` has {how}{why}.")
            counts.append(SourceCount(name, f"read as {how}", frame.height - frame[name].null_count()))
    timed, placed = frame.filter(pl.col(AT).is_not_null()), frame[ORDER].null_count() < frame.height
    roles = log.translator.roles(bool(timed.height), bool(timed[COMMITTED].any()), placed)
    whole, part = pl.col(AT) // 10**9, pl.col(AT) % 10**9
    frame = frame.with_columns((whole.cast(pl.Float64) + part.cast(pl.Float64) / 1e9).alias(AT))
    steady = tuple(name for name in kinds if name not in gathered.altered) if gathered.images else ()
    return Raw(
        frame.sort(LINE, maintain_order=True), kinds, form, tuple(log.bad), log.bad_count, tuple(gathered.keys),
        tuple(notes), steady=steady, counts=tuple(counts), roles=roles, table=".".join(table),
    )  # fmt: skip
