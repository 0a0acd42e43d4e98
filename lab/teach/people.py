"""A small office in which time is part of the business: raises, corrections of typos, and since when something holds.

It is the talk's table of employees with two kinds of time. The *transaction time* of a change is when it was written
(`committed_at`, here a day); its *valid time* is since when it holds in the world (the column `since`). A rule over
history, two questions about the past, and a change of the schema are asked of every write model.
"""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from lab.base import Entity, Key, Totals
from lab.domain import model
from lab.domain.model import Command, Contract, Event, EventType, Options, Outcome, Rejection, Trace, View
from lab.feed.fold import fold
from lab.place import FolderPlace
from lab.teach.experiments import workplace
from lab.truth import Truth, truth_class

ENTITY = "employee"
ALL = 10_000_000
_places = itertools.count()
_NAMES: Mapping[bool, tuple[str, ...]] = {False: ("name",), True: ("first_name", "last_name")}


class PayOffice:
    """The decider: what each command sets is what its event sets. `split`: first and last names have columns."""

    has_trace = False
    contracts: Mapping[str, Contract] = MappingProxyType({})
    totals: Mapping[str, Totals] = MappingProxyType({})
    queries: tuple[dict[str, Any], ...] = ()

    def __init__(self, split: bool = False) -> None:
        self.name = "split-office" if split else "office"
        names = _NAMES[split]
        columns = dict.fromkeys(names, "str") | {"manager": "int", "salary": "int", "since": "int"}
        self.entities: Mapping[str, Entity] = {ENTITY: Entity(name=ENTITY, key="int", columns=columns)}  # type: ignore[arg-type]
        self.events: Mapping[str, Mapping[str, EventType]] = {
            ENTITY: {
                "hired": EventType((*names, "manager", "salary", "since")),
                "name_corrected": EventType((*names, "since")),
                "renamed": EventType((*names, "since")),
                "moved": EventType(("manager", "since")),
                "raise_given": EventType(("salary", "since")),
                "salary_corrected": EventType(("salary", "since")),
            }
        }

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Return the command's event, which has the command's name; an employee is hired first, and once."""
        there = view.get(ENTITY, command.key)
        if (there is None) != (command.name == "hired"):
            return Rejection(("there is no employee with this number" if there is None else "hired already",))
        return (Event(command.name, dict(command.fields)),)

    evolve = staticmethod(model.evolve)

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Raise NotImplementedError: its commands are those of a lesson."""
        raise NotImplementedError

    def trace(self, options: Options) -> Trace:
        """Raise NotImplementedError: it has no trace."""
        raise NotImplementedError


def office(kept: str, split: bool = False) -> Truth:
    """Open an empty office in SQLite; `kept` is the write model: `snapshot`, `history` or `events`."""
    place = FolderPlace(workplace() / f"office-{next(_places)}")
    truth = truth_class("sqlite", kept)(place, PayOffice(split), "normal")
    truth.open()
    atexit.register(truth.close)
    return truth


def write(truth: Truth, day: int, what: str, key: Key, /, *, expected: int | None = None, **fields: Any) -> Outcome:
    """Execute a command on a day, which is its transaction time; `since` is its valid time, the same day unless given.

    `expected` is the revision on which it was decided; another one is a conflict.
    """
    return truth.execute(Command(ENTITY, what, key, {"since": day, **fields}, expected, float(day)))


def year(truths: list[Truth], people: int = 40, days: int = 365, seed: int = 1087) -> dict[Key, int]:
    """Let the same year pass in several offices, and return the plain account: the day of each one's last raise.

    Each month an employee may get a raise, have a typo in their salary corrected, or be renamed. Without a raise there
    is no entry.
    """
    rng, raised = np.random.default_rng(seed), dict[Key, int]()
    salaries = {}
    for key in range(1, people + 1):
        salaries[key] = int(rng.integers(3_000, 6_000))
        for truth in truths:
            write(truth, 0, "hired", key, name=f"Ada Allen {key}", manager=1, salary=salaries[key])
    for day in range(1, days + 1):
        for key in rng.choice(np.arange(1, people + 1), max(1, people // 30), replace=False).tolist():
            what = str(rng.choice(["raise_given", "salary_corrected", "renamed"], p=[0.25, 0.25, 0.5]))
            fields: dict[str, Any] = {"name": f"Ada Allen-{day} {key}"}
            if what != "renamed":
                salaries[key] += int(rng.integers(50, 500)) * (1 if what == "raise_given" else rng.choice([-1, 1]))
                fields = {"salary": int(salaries[key])}
            if what == "raise_given":
                raised[key] = day
            for truth in truths:
                write(truth, day, what, key, **fields)
    return raised


def history_of(truth: Truth, key: Key | None = None) -> pl.DataFrame:
    """Return what the write model keeps of an employee, or of all of them, in the order of commits."""
    rows = truth.changes_since(ENTITY, 0, ALL)
    return rows if key is None else rows.filter(pl.col("key") == key)


def states_of(truth: Truth) -> pl.DataFrame:
    """Return every state that the write model can show: events are folded."""
    rows = history_of(truth)
    return fold(rows, truth.domain.entities[ENTITY], truth.domain.events[ENTITY]) if truth.model == "events" else rows


def may_have_raise(truth: Truth, key: Key, day: int, apart: int = 90) -> bool | None:
    """Decide the rule "no two raises within `apart` days" from what the write model keeps; None if it can't tell.

    Events say which change was a raise. With every state it is guessed: a salary that has risen. The last state has
    neither.
    """
    if truth.model == "snapshot":
        return None
    rows = history_of(truth, key)
    if truth.model == "events":
        days = rows.filter(event="raise_given")["committed_at"]
    else:
        days = rows.filter(pl.col("salary") > pl.col("salary").shift(1))["committed_at"]
    return days.is_empty() or day - float(days[-1]) >= apart


def as_known(truth: Truth, key: Key, known: int) -> dict[str, Any] | None:
    """Return the employee as the office had it at the end of the day `known`: transaction time alone.

    None if it can't be told, or there was nobody yet.
    """
    if truth.model == "snapshot":
        return None
    rows = states_of(truth).filter((pl.col("key") == key) & (pl.col("committed_at") <= known))
    return rows.select("name", "manager", "salary").row(-1, named=True) if rows.height else None


def as_was(truth: Truth, key: Key, valid: int) -> dict[str, Any] | None:
    """Return the employee as of the day `valid` in the world, by all that is known today: valid time.

    Each column has the value of the latest change that set it and holds since then; of two since the same day, the one
    written later. None if it can't be told. Every state says what holds since a day, but not which columns it is about.
    So the state with the latest `since` is taken as a whole.
    """
    if truth.model == "snapshot":
        return None
    rows = history_of(truth, key).filter(pl.col("since") <= valid).sort("since", "position")
    if truth.model == "history":
        return rows.select("name", "manager", "salary").row(-1, named=True) if rows.height else None
    return _latest(rows, truth.domain.events[ENTITY])


def as_was_by_differences(truth: Truth, key: Key, valid: int) -> dict[str, Any] | None:
    """Answer `as_was` from every state in the way that is right: a change is about the columns that differ."""
    own = ("name", "manager", "salary")
    rows = history_of(truth, key)
    changed = rows.with_columns(
        pl.when((pl.col(name) != pl.col(name).shift(1)) | (pl.col("revision") == 1)).then(pl.col(name)).alias(name)
        for name in own
    )
    valid_rows = changed.filter(pl.col("since") <= valid).sort("since", "position")
    found = {name: valid_rows[name].drop_nulls() for name in own}
    return {name: values[-1] if len(values) else None for name, values in found.items()}


def _latest(rows: pl.DataFrame, types: Mapping[str, EventType]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("name", "manager", "salary"))
    for row in rows.iter_rows(named=True):
        found |= {name: row[name] for name in types[row["event"]].sets if name in found}
    return found


def upcast(rows: pl.DataFrame) -> pl.DataFrame:
    """Return events of one name as events of first and last names: what a reader does with the old ones as it reads.

    The first word is the first name; all others are the last name. A row that sets no name stays without.
    """
    words = pl.col("name").str.splitn(" ", 2).struct
    split = [words.field("field_0").alias("first_name"), words.field("field_1").alias("last_name")]
    before = rows.columns[: rows.columns.index("name")]
    return rows.with_columns(split).select(*before, "first_name", "last_name", *rows.columns[len(before) + 1 :])


def copied(truth: Truth) -> Truth:
    """Copy an office of events to one of first and last names, each event upcast once and for all; return the copy.

    Positions, revisions and times are those of the original.
    """
    other = office("events", split=True)
    other.load(ENTITY, upcast(history_of(truth)))
    return other
