"""Look at one table of the user's: guess the roles of its columns, and what can be asked of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import BadInput, Entity, Problem, nearest
from lab.domain.trace.addresses import is_address, parse
from lab.domain.trace.counting import distinct
from lab.domain.trace.files import read, split
from lab.domain.trace.frame import Prepared, entity, entity_names, prepare, renamed
from lab.domain.trace.operations import as_changes, operation_of
from lab.domain.trace.questions import dividing, questions, wordy
from lab.domain.trace.raw import AT, TRUNCATES, Raw, refuse_bad
from lab.domain.trace.reading import AS_FOUND, CsvReading
from lab.domain.trace.typed import typed
from lab.scenario import NAME, EntityTable
from lab.starter.guess import Guesses, guess, unchanging

SKIP = "mend them, or leave them out with --skip-bad-rows; a column that is text after all: --text COLUMN"


@dataclass(frozen=True)
class Looked:
    """What was found in one table: its part of the scenario with the reasons, queries, numbers, and times in seconds.

    `first` and `last` are those of its changes; without a column of time they count rows.
    """

    table: EntityTable
    kinds: Mapping[str, str]
    guesses: Guesses
    asked: Sequence[Mapping[str, Any]]
    format: str
    rows: int
    records: int
    bad_rows: int
    timed: bool
    first: float
    last: float
    notes: tuple[str, ...] = field(default=())

    @property
    def business(self) -> Entity:
        """Return the entity, without the columns that links make."""
        return entity(self.table, self.kinds)

    def document(self) -> dict[str, Any]:
        """Return what `--json` tells of it."""
        guessed = {
            role: {
                "columns": list(found.columns),
                "why": found.why,
                "told": found.told,
                "rival": list(found.rival),
            }
            for role, found in self.guesses.items()
        }
        links = [{"on": list(one.on), "to": one.to} for one in self.table.link]
        return {
            "entity": self.table.name, "format": self.format, "guessed": guessed, "links": links,
            "time_of": self.table.time_of, "rows": self.rows, "records": self.records, "bad_rows": self.bad_rows,
        }  # fmt: skip


def look(
    folder: Path,
    file: str,
    told: Mapping[str, str],
    entity_name: str | None,
    text: Sequence[str],
    skip: bool,
    many: bool = False,
    how: CsvReading = AS_FOUND,
) -> Looked:
    """Read a table and guess. Raises BadInput for malformed rows unless `skip`, and if nothing identifies a record.

    `many`: the columns of `text` may be those of other tables.
    """
    raw = _changes(read(file, folder, how=how), told, text, file)
    kinds = _kinds(raw, [one for one in text if one in raw.kinds] if many else text)
    looked = typed(raw, kinds)
    if not skip:
        refuse_bad(looked, file, SKIP)
    if not looked.frame.height:
        raise BadInput([Problem(file, "every row of it is malformed", str(looked.bad[0]) if looked.bad else "")])
    guesses = guess(looked, _records(looked), kinds, told, file)
    del looked
    if raw.is_log and not raw.container and not set(guesses["key"].columns) <= set(raw.steady):
        raw = read(file, folder, how=how, key=guesses["key"].columns)
    kinds = _keys_as_they_stand(raw, kinds, guesses)
    table = _table(folder, file, raw, kinds, guesses, entity_name, skip).model_copy(update=asdict(how))
    made = prepare(raw, table, kinds, file)
    del raw
    if not skip:
        refuse_bad(made.bad, file, SKIP)
    if not made.frame.height:
        raise BadInput([Problem(file, "no row of it can be used", "see the key, the time and the revision")])
    table = _looked_for(table, made.frame, kinds)
    names = entity_names(kinds)
    key, time = [names[column] for column in table.key], names.get(table.time or "")
    asked = questions(entity(table, kinds), made.frame, key, time)
    notes = [*renamed(kinds), *made.notes]
    if made.frame.height > 1 and made.frame["revision"].max() == 1 and not many:
        rival = made.frame.select(names[column] for column in guesses["key"].rival)
        notes.append(unchanging(guesses, rival.n_unique() < made.frame.height))
    return Looked(
        table, kinds, guesses, asked, made.bad.format, made.frame.height, distinct(made.frame["key"]),
        made.bad.bad_count, made.timed, *_span(made), tuple(notes),
    )  # fmt: skip


def _changes(raw: Raw, told: Mapping[str, str], text: Sequence[str], file: str) -> Raw:
    """Return the rows of a table that say what was done to them as changes, unless the user takes it for another."""
    column = operation_of(raw)
    others = [one.strip() for role, words in told.items() if role != "deleted" for one in words.split(",")]
    if column is None or column in (*others, *text) or told.get("deleted", column) != column:
        return raw
    return as_changes(raw, file)


def _records(raw: Raw) -> pl.DataFrame:
    """Return the rows that are about one record: truncations of a log are about all of them."""
    if not raw.is_log:
        return raw.frame
    time = raw.roles["time"][0] if "time" in raw.roles else ()
    return raw.frame.filter(~pl.col(TRUNCATES)).with_columns(pl.col(AT).alias(name) for name in time)


def _span(made: Prepared) -> tuple[float, float]:
    first, last = made.frame[AT].min(), made.frame[AT].max()
    assert isinstance(first, float)
    assert isinstance(last, float)
    return first, last


def _kinds(raw: Raw, text: Sequence[str]) -> dict[str, str]:
    problems = [Problem("--text", f"no column is called `{one}`", nearest(one, raw.kinds)) for one in text
                if one not in raw.kinds]  # fmt: skip
    if problems:
        raise BadInput(problems)
    return {name: "str" if name in text else kind for name, kind in raw.kinds.items()}


def _keys_as_they_stand(raw: Raw, kinds: dict[str, str], guesses: Guesses) -> dict[str, str]:
    """Return the kinds with fractional numbers of a file of text as text where they are keys: 1.10 is not 1.1."""
    text = {name for name in guesses["key"].columns if kinds[name] == "float" and name in raw.notations}
    return {name: "str" if name in text else kind for name, kind in kinds.items()}


def _table(
    folder: Path, file: str, raw: Raw, kinds: dict[str, str], guesses: Guesses, name: str | None, skip: bool
) -> EntityTable:
    called, place = _called(folder, file)
    # A log's own fields are no columns: they need no role.
    one = {
        role: next((column for column in guesses[role].columns if column in kinds), None)
        for role in ("time", "deleted", "revision")
    }
    return EntityTable.model_validate(
        {
            "name": name or entity_called(called), "file": place,
            "format": raw.format, "key": guesses["key"].columns, **one, "columns": kinds, "skip_bad_rows": skip,
        }
    )  # fmt: skip


def _called(folder: Path, file: str) -> tuple[str, str]:
    """Return what the rows are called where they come from, and the file as the scenario names it."""
    if is_address(file):
        address = parse(file)
        return address.table or address.database, file
    path, table = split(file, folder)
    place = path if Path(file).is_absolute() else Path(os.path.relpath(path.absolute(), folder.absolute()))
    return table or path.name.partition(".")[0], f"{place.as_posix()}:{table}" if table else place.as_posix()


def entity_called(word: str) -> str:
    """Return what a record is called, from the name of a table or a file."""
    word = re.sub(r"[^A-Za-z0-9_]", "_", word).lower()[:40]
    return (
        word if re.fullmatch(NAME, word) and not word.startswith(("lab_", "sqlite_")) and word != "totals" else "record"
    )


def _looked_for(table: EntityTable, frame: pl.DataFrame, kinds: Mapping[str, str]) -> EntityTable:
    """Return the table with the columns to search and to index: texts of several words, and the dividing column."""
    names = entity_names(kinds)
    back = {name: column for column, name in names.items()}
    business = entity(table, kinds)
    but = {names[one] for one in (*table.key, table.time, table.deleted, table.revision) if one is not None}
    by = dividing(business, frame, [names[column] for column in table.key])
    indexes = [back[by]] if by else []
    if table.time and table.time not in (*table.key, *indexes):
        indexes.append(table.time)
    texts = [back[name] for name in wordy(business, frame, but)]
    return table.model_copy(update={"texts": tuple(texts), "indexes": tuple(indexes)})
