"""`lab new --from`: inspect files, guess the roles of their columns, and write a scenario that runs on them."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.domain.trace.databases import Catalogue
from lab.domain.trace.files import whole_database
from lab.domain.trace.reading import AS_FOUND, CsvReading
from lab.formatting import printable
from lab.scenario import NAME
from lab.spill import Spill, spilling
from lab.starter.linking import linked
from lab.starter.looking import Looked, entity_called, look
from lab.starter.place import free_path, write_valid
from lab.starter.text import scenario_text

TABLES_MAX = 60  # The tables of one scenario; a database may have more.


@dataclass(frozen=True)
class WrittenScenario:
    """The result of `lab new --from`: what was found in each table, with the reasons of the guesses."""

    path: Path
    found: tuple[Looked, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def largest(self) -> Looked:
        """Return the table with the most rows, the one that a file of one table has."""
        return max(self.found, key=lambda one: one.rows)

    def document(self) -> dict[str, Any]:
        """Return the result for `--json`: what is found in the largest table, and in each."""
        return {
            "scenario": str(self.path), **self.largest.document(),
            **{name: sum(getattr(one, name) for one in self.found) for name in ("rows", "records", "bad_rows")},
            "notes": list(self.notes), "entities": [one.document() for one in self.found],
        }  # fmt: skip

    def text(self) -> str:
        """Return the result as text."""
        lines = []
        for one in self.found:
            of = f" `{one.table.name}`" if len(self.found) > 1 else ""
            skipped = f"; {one.bad_rows:,} malformed ones are skipped" if one.bad_rows else ""
            rows = f"{one.rows:,} rows are changes of" if one.rows != 1 else "1 row is a change of"
            lines.append(f"{one.format}{of}: {rows} {one.records:,} record{'s' * (one.records != 1)}{skipped}")
            for role, guess in one.guesses.items():
                rival = f"; or {', '.join(guess.rival)}" if guess.rival else ""
                lines.append(f"  {role + ':':<10}{', '.join(guess.columns) or '-'} ({guess.why}{rival})")
            lines += [f"  {'link:':<10}{', '.join(link.on)} (the key of `{link.to}`)" for link in one.table.link]
        lines += [f"  note: {note}" for note in self.notes]
        choice = "--key a,b --time COLUMN --deleted COLUMN --revision COLUMN, or `none`."
        of = f" of one table: --from {self.largest.table.file}" if len(self.found) > 1 else ":"
        lines.append(f"  Another choice{of} {choice}")
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
    how: CsvReading = AS_FOUND,
) -> WrittenScenario:
    """Write `name`.toml, a scenario on the data of `file`. `told` has the columns of roles that are not guessed.

    `text` names columns that are text whatever their values look like, `how` says how a file of text is
    read. A database is taken with all of its tables, unless `file` or `entity_name` names one, or `told` has columns of
    one. Raises BadInput if the scenario exists already, or for malformed rows unless `skip_bad_rows` is set.
    """
    path = free_path(folder, name, overrides)
    with tempfile.TemporaryDirectory(prefix="lab-") as place, spilling(Spill(Path(place))):
        found, notes = _looked(folder, file, told, entity_name, text, skip, how)
    drawn = secrets.randbelow(100_000) if seed is None else seed
    write_valid(path, scenario_text(name, drawn, found))
    notes += [note if len(found) == 1 else f"`{one.table.name}`: {note}" for one in found for note in one.notes]
    return WrittenScenario(path, tuple(found), tuple(notes))


def _looked(
    folder: Path,
    file: str,
    told: Mapping[str, str],
    entity_name: str | None,
    text: Sequence[str],
    skip: bool,
    how: CsvReading,
) -> tuple[list[Looked], list[str]]:
    """Look at the tables that are meant; also return what is to be said of them."""
    if entity_name is not None and not re.fullmatch(NAME, entity_name):
        raise BadInput([Problem(f"--entity {entity_name!r}", "not a name: a letter, then letters, digits, - and _")])
    catalogue = whole_database(file, folder)
    if catalogue and entity_name in {one.name for one in catalogue.relations}:
        file, catalogue = f"{file}:{entity_name}", None
    if catalogue and len(catalogue.tables) > 1 and not told and entity_name is None:
        return _every_table(folder, file, catalogue, text, skip)
    notes = _which_table(file, catalogue) if catalogue else []
    file = f"{file}:{catalogue.largest}" if catalogue and catalogue.tables else file
    return [look(folder, file, told, entity_name, text, skip, how=how)], notes


def _which_table(called: str, catalogue: Catalogue) -> list[str]:
    """Say which table of a database was taken for columns, or a name, that no table is named for."""
    others = [f"`{called}:{one.name}`" for one in catalogue.relations if one.name != catalogue.largest]
    if not catalogue.tables or not others:
        return catalogue.notes
    return [
        f"The largest table, `{catalogue.largest}`, was taken; the others are {', '.join(others)}.",
        *catalogue.notes,
    ]


def _every_table(
    folder: Path, file: str, catalogue: Catalogue, text: Sequence[str], skip: bool
) -> tuple[list[Looked], list[str]]:
    """Look at all tables; one that can't be used is passed over. Raises BadInput if none can."""
    tables = sorted(catalogue.tables, key=lambda one: -one.rows)
    notes = catalogue.notes + [f"`{one.name}` is passed over: no rows." for one in tables if not one.rows]
    tables = [one for one in tables if one.rows]
    if more := tables[TABLES_MAX:]:
        notes.append(f"{len(more):,} smaller tables are left out: a scenario has {TABLES_MAX} at the most.")
    found, names, problems = dict[str, Looked](), dict[str, str](), list[Problem]()
    for one in catalogue.tables:
        if one not in tables[:TABLES_MAX]:
            continue
        try:
            looked = look(folder, f"{file}:{one.name}", {}, _unique(one.name, names), text, skip, many=True)
        except BadInput as error:
            problems += error.problems
            notes.append(f"`{one.name}` is passed over: {error.problems[0].what}.")
            continue
        names[one.name] = looked.table.name
        found[one.name] = looked
    if not found:
        raise BadInput(problems or [Problem(file, "no table of it has rows")])
    unknown = [word for word in text if not any(word in one.kinds for one in found.values())]
    if unknown:
        raise BadInput([Problem("--text", f"no column is called `{word}`") for word in unknown])
    keys = {names[one.name]: one.links for one in catalogue.relations if one.name in names}
    return linked(list(found.values()), keys, names), notes


def _unique(table: str, names: Mapping[str, str]) -> str:
    """Return what the records of a table are called, unlike those of the tables before it."""
    called, number = entity_called(table), 1
    while (name := called if number == 1 else f"{called}_{number}") in names.values():
        number += 1
    return name
