"""Every case gives what the table says of it, and every value of it is what another reading of the file has."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import other_readings as other
import polars as pl
import pytest
from known_cases import ACCEPTED, CASES, LOGS, REFUSED, Case
from owndata import new, readable, refused, sound, trace

from lab.base import Entity
from lab.domain.trace.frame import entity_names

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")


@dataclass(frozen=True)
class Taken:
    """What came of a case: what `lab new` said, the changes of its entity with decimals as such, and that entity."""

    told: Mapping[str, Any]
    frame: pl.DataFrame
    entity: Entity

    @property
    def guessed(self) -> Mapping[str, Any]:
        """The guesses of roles."""
        (found,) = (one["guessed"] for one in self.told["entities"] if one["entity"] == self.entity.name)
        return found  # type: ignore[no-any-return]

    @property
    def gaps(self) -> list[float]:
        """The seconds between its changes."""
        scale = float(re.findall(r"time_scale = ([0-9.e+-]+)", Path("mine.toml").read_text())[0])
        return (self.frame.sort("position")["committed_at"].diff().drop_nulls() * scale).to_list()

    def rows(self, columns: list[str]) -> list[tuple[Any, ...]]:
        """The changes in these columns of the file."""
        names = entity_names(columns)
        return [tuple(row[name] for name in names.values()) for row in readable(self.frame, self.entity)]

    def kinds(self, columns: list[str]) -> list[str]:
        """The kinds of columns of the file."""
        return [self.entity.told(name) for name in entity_names(columns).values()]


def taken(case: Case) -> Taken:
    lay(case)
    told = new(case.file, *case.options)
    made, entities = trace()
    sound(made)
    name = case.entity or next(iter(entities))
    assert case.entity or len(entities) == 1
    return Taken(told, made.frames[name], entities[name])


def lay(case: Case) -> None:
    copied = shutil.copytree if (CASES / case.file).is_dir() else shutil.copy
    copied(CASES / case.file, case.file)


def test_every_case_has_its_row() -> None:
    assert {one.file for one in (*ACCEPTED, *REFUSED)} == {path.name for path in CASES.iterdir()}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_cannot_be_read_for_certain_is_refused_with_its_place(case: Case) -> None:
    lay(case)
    assert case.refused in refused(case.file)


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_a_case_gives_what_it_must_and_every_value_is_what_it_was(case: Case) -> None:
    found = taken(case)
    as_it_must(case, found)
    if case in LOGS:
        as_the_log_tells(case, found)
        return
    columns, rows = as_another_reader_has_it(case, found)
    convert = as_compared(case, columns)
    mine = [tuple(how(one) for how, one in zip(convert, row, strict=True)) for row in found.rows(columns)]
    # Values and their types, whatever the order of the rows.
    assert with_types(mine) == with_types(rows)


def as_it_must(case: Case, found: Taken) -> None:
    """What came of it is what its row of the table says."""
    frame = found.frame
    counted = frame["key"].n_unique(), frame.height, int(frame["deleted"].sum())
    assert counted == (case.records, case.changes, case.deletions)
    assert found.guessed["key"]["columns"] == case.key.split(",")
    assert not case.form or found.told["format"] == case.form
    for role, column in case.roles.items():
        assert found.guessed[role]["columns"] == [column]
    told = dict.fromkeys([*case.types, *(name for values in case.last.values() for name in values or ())])
    names = entity_names(told)
    for column, kind in case.types.items():
        assert found.entity.told(names[column]) == kind, column
    last = {row["key"]: row for row in readable(frame.sort("position"), found.entity)}
    for key, values in case.last.items():
        assert last[key]["deleted"] == (values is None), key
        for column, value in (values or {}).items():
            assert last[key][names[column]] == value, column
    if case.states:
        states = {
            key: (row["revision"], row["deleted"], {name: row[name] for name in found.entity.columns})
            for key, row in last.items()
        }
        assert states == case.states
    if case.gaps:
        assert found.gaps == pytest.approx(list(case.gaps), abs=1e-3)
    if case.lasts is not None:
        assert sum(found.gaps) == pytest.approx(case.lasts, abs=1e-6)
    said = "\n".join([*found.told["notes"], *(one["why"] for one in found.guessed.values())])
    for words in case.said:
        assert re.search(words, said), said


def as_another_reader_has_it(case: Case, found: Taken) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns, and the rows that must be there."""
    if case.file.endswith(".db"):
        columns, _ = other.stored(case)
        return columns, other.of_database(case, found.kinds(columns))
    if case.form == "ndjson":
        columns = list(other.objects(case)[0])
        return columns, other.of_json(case, columns)
    if case.file.endswith(".parquet") or (CASES / case.file).is_dir():
        schema = other.parquet_schema(case)
        columns = _named(case, list(schema))
        return columns, other.of_parquet(case, columns, found.kinds(columns))
    columns = _named(case, other.header_and_lines(case)[0])
    return columns, other.of_text(case, found.kinds(columns))


def as_compared(case: Case, columns: list[str]) -> list[Callable[[Any], Any]]:
    """How values of these columns are compared: times of Parquet as nanoseconds, nested JSON in one form."""
    if case.form == "ndjson":
        row = other.objects(case)[0]
        nested = [isinstance(row[name], dict | list) for name in columns]
        return [(lambda one: other.canonical(json.loads(one))) if deep else _as_it_is for deep in nested]
    schema = other.parquet_schema(case) if case.file.endswith(".parquet") else {}
    return [other.nanoseconds if isinstance(schema.get(name), pl.Datetime) else _as_it_is for name in columns]


def _as_it_is(value: Any) -> Any:
    return value


def with_types(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted((tuple((type(one), one) for one in row) for row in rows), key=repr)


def _named(case: Case, header: list[str]) -> list[str]:
    return [name for place, one in enumerate(header) if (name := case.names.get(place, one)) is not None]


def as_the_log_tells(case: Case, found: Taken) -> None:
    """Every state of a log is there, and no other; deletions have the last state of their record."""
    wanted = other.log_states(case, case.key)
    assert wanted
    columns = list(dict.fromkeys(name for state in wanted for name in state))
    rows = list(zip(found.frame["deleted"], found.rows(columns), strict=True))
    alive = {tuple(map(exact, row)) for gone, row in rows if not gone}
    assert alive == {tuple(exact(state.get(name)) for name in columns) for state in wanted}
    assert {tuple(map(exact, row)) for gone, row in rows if gone} <= alive


def exact(value: Any) -> Any:
    """Numbers as decimals, which compare exactly; a floating-point number by its shortest text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
