"""`lab new --from`: inspect a file, guess the roles of its columns, and write a scenario that runs on it."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import BadInput, Kind, Problem, nearest
from lab.domain.trace.files import database_of, read, split
from lab.domain.trace.frame import entity, entity_names, prepare, renamed, typed
from lab.domain.trace.questions import dividing, wordy
from lab.domain.trace.raw import Raw, refuse_bad
from lab.domain.trace.sqlite_catalogue import catalogue
from lab.formatting import printable
from lab.scenario import NAME, EntityTable
from lab.starter.guess import Guesses, guess
from lab.starter.place import free_path, write_valid
from lab.starter.text import scenario_text

SKIP = "mend them, or leave them out with --skip-bad-rows"


@dataclass(frozen=True)
class WrittenScenario:
    """The result of `lab new --from`: the guesses with their reasons, and the number of rows."""

    path: Path
    entity: str
    format: str
    guesses: Guesses
    rows: int
    records: int
    bad_rows: int
    notes: tuple[str, ...] = field(default=())

    def document(self) -> dict[str, Any]:
        """Return the result for `--json`."""
        guessed = {
            role: {"columns": list(found.columns), "why": found.why, "told": found.told}
            for role, found in self.guesses.items()
        }
        return {
            "scenario": str(self.path), "entity": self.entity, "format": self.format, "guessed": guessed,
            "rows": self.rows, "records": self.records, "bad_rows": self.bad_rows, "notes": list(self.notes),
        }  # fmt: skip

    def text(self) -> str:
        """Return the result as text."""
        skipped = f"; {self.bad_rows:,} malformed ones are skipped" if self.bad_rows else ""
        lines = [f"{self.format}: {self.rows:,} rows are changes of {self.records:,} records{skipped}"]
        for role, found in self.guesses.items():
            lines.append(f"  {role + ':':<10}{', '.join(found.columns) or '-'} ({found.why})")
        lines += [f"  note: {note}" for note in self.notes]
        lines.append("  Another choice: --key a,b --time COLUMN --deleted COLUMN --revision COLUMN, or `none`.")
        lines.append(f"wrote {self.path.name}; next: lab run {self.path.name}")
        return "\n".join(map(printable, lines))


def write_own(
    folder: Path,
    name: str,
    file: str,
    told: Mapping[str, str],
    entity_name: str | None = None,
    text: Sequence[str] = (),
    skip: bool = False,
    seed: int | None = None,
    overrides: Sequence[str] = (),
) -> WrittenScenario:
    """Write `name`.toml, a scenario on the data of `file`. `told` has the columns of roles that are not guessed.

    `text` names columns that are text whatever their values look like. Raises BadInput if the scenario exists already,
    or for malformed rows unless `skip_bad_rows` is set.
    """
    path = free_path(folder, name, overrides)
    if entity_name is not None and not re.fullmatch(NAME, entity_name):
        raise BadInput([Problem(f"--entity {entity_name!r}", "not a name: a letter, then letters, digits, - and _")])
    file = _named_table(folder, file, entity_name)
    raw = read(file, folder)
    kinds = _kinds(raw, text)
    looked = typed(raw, kinds)
    if not skip:
        refuse_bad(looked, file, SKIP)
    if not looked.frame.height:
        raise BadInput([Problem(file, "every row of it is malformed", str(looked.bad[0]) if looked.bad else "")])
    guesses = guess(looked, _records(looked), kinds, told, file)
    del looked
    if raw.is_log and not set(guesses["key"].columns) <= set(raw.steady):
        raw = read(file, folder, key=guesses["key"].columns)
    table = _table(folder, file, raw, kinds, guesses, entity_name, skip)
    made = prepare(raw, table, kinds, file)
    del raw
    if not skip:
        refuse_bad(made.bad, file, SKIP)
    if not made.frame.height:
        raise BadInput([Problem(file, "no row of it can be used", "see the key, the time and the revision")])
    table = _looked_for(table, made.frame, kinds)
    business = entity(table, kinds)
    notes = [*_which_table(folder, file), *renamed(kinds), *made.notes]
    written = WrittenScenario(
        path, table.name, made.bad.format, guesses, made.frame.height, made.frame["key"].n_unique(),
        made.bad.bad_count, tuple(notes),
    )  # fmt: skip
    drawn = secrets.randbelow(100_000) if seed is None else seed
    write_valid(path, scenario_text(name, drawn, table, guesses, made, business, kinds))
    return written


def _records(raw: Raw) -> pl.DataFrame:
    """Return the rows that are about one record: truncations of a log are about all of them."""
    return raw.frame.filter(~pl.col(TRUNCATES)) if raw.is_log else raw.frame


def _looked_for(table: EntityTable, frame: pl.DataFrame, kinds: Mapping[str, Kind]) -> EntityTable:
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


def _named_table(folder: Path, file: str, entity_name: str | None) -> str:
    """Return the path with the table named like the entity, if the file is a database and no table is named."""
    path, table = split(file, folder)
    if entity_name is None or table is not None or not path.is_file() or not database_of(path):
        return file
    return (
        f"{file}:{entity_name}"
        if path.stat().st_size and entity_name in {one.name for one in catalogue(path).relations}
        else file
    )


def _kinds(raw: Raw, text: Sequence[str]) -> dict[str, Kind]:
    problems = [Problem("--text", f"no column is called `{one}`", nearest(one, raw.kinds)) for one in text
                if one not in raw.kinds]  # fmt: skip
    if problems:
        raise BadInput(problems)
    return {name: "str" if name in text else kind for name, kind in raw.kinds.items()}


def _which_table(folder: Path, file: str) -> list[str]:
    """Say which table of a database with several tables was taken."""
    path, table = split(file, folder)
    if table is not None or not database_of(path):
        return []
    found = catalogue(path)
    most = found.largest
    others = ", ".join(f"`{path.name}:{one.name}`" for one in found.relations if one.name != most)
    said = [f"The largest table, `{most}`, was taken; the others are {others}."] if others else []
    return said + found.notes


def _table(
    folder: Path, file: str, raw: Raw, kinds: dict[str, Kind], guesses: Guesses, name: str | None, skip: bool
) -> EntityTable:
    path, table = split(file, folder)
    if raw.format == "sqlite" and table is None:
        table = catalogue(path).largest
    word = re.sub(r"[^A-Za-z0-9_]", "_", table or path.name.partition(".")[0]).lower()
    own = name or (word[:40] if re.fullmatch(NAME, word[:40]) else "record")
    place = os.path.relpath(path.absolute(), folder.absolute()) if not Path(file).is_absolute() else str(path)
    # A log's own fields are no columns: they need no role.
    one = {
        role: next((name for name in guesses[role].columns if name in kinds), None)
        for role in ("time", "deleted", "revision")
    }
    return EntityTable.model_validate(
        {
            "name": own, "file": f"{Path(place).as_posix()}:{table}" if table else Path(place).as_posix(),
            "format": raw.format, "key": guesses["key"].columns, **one, "columns": kinds, "skip_bad_rows": skip,
        }
    )  # fmt: skip
