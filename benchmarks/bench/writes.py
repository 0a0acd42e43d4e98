"""Commands, each decided on the record as it stands and committed: singly, with and without a sync, and in groups."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.bench import peer
from benchmarks.bench.data import COLUMNS, ENTITY, Bench, History
from benchmarks.bench.harness import Attempt, Contestant, Row
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.engines import sqlite
from lab.place import FolderPlace
from lab.truth import Truth, open_truth

GROUP = 100
SALARY = 1_000_000
SAME = "The peer's default is one transaction a command with a sync, as here: both figures are of one durability class."


def rows(bench: Bench) -> Iterator[Row]:
    """`execute_full`, `execute_normal`, `execute_grouped`."""
    size = bench.size
    targets = {"vs_peer": ("least", 2.0), "vs_limit": ("least", 0.85)}
    yield _row("execute_full", size.commands, "full", 1, size, targets, SAME)
    note = "The peer has no class without a sync; for `peer_equal` its connections are opened with NORMAL by hand."
    yield _row("execute_normal", 5 * size.commands, "normal", 1, size, {"vs_limit": ("least", 0.6)}, note)
    if hasattr(Truth, "execute_together"):
        targets = {"vs_peer": ("least", 15.0), "vs_limit": ("least", 0.7)}
        note = f"{GROUP} commands a transaction; `peer_equal` saves {GROUP} aggregates in one."
        yield _row("execute_grouped", 10 * size.commands, "full", GROUP, size, targets, note)


def left_out() -> dict[str, str]:
    """Rows that this version of the lab has nothing to measure for, and why."""
    return {} if hasattr(Truth, "execute_together") else {"execute_grouped": "there is no group commit in this version"}


def _row(
    name: str, commands: int, durability: str, group: int, size: Any, targets: dict[str, tuple[str, float]], note: str
) -> Row:
    singly = size.commands
    contestants = [
        Contestant("lab", commands, lambda folder: _lab(folder, commands, durability, group)),
        Contestant("limit", commands, lambda folder: _bare(folder, commands, durability, group)),
        Contestant("peer", singly, lambda folder: _peer(folder, singly, "full", 1)),
    ]
    if (durability, group) != ("full", 1):
        contestants.append(Contestant("peer_equal", singly, lambda folder: _peer(folder, singly, durability, group)))
    return Row(name, "", "commands/s", commands, contestants, targets, note)


def staff_for(commands: int) -> History:
    """Employees to give raises to: a fifth as many as there are commands, and enough for no group to meet one twice."""
    count = max(GROUP, commands // 5)
    return History(count, count, seed=5)


def raises_in_turn(commands: int) -> list[Command]:
    """Raises for everybody in turn, each higher than all before."""
    keys = staff_for(commands).last["key"].to_list()
    return [
        Command(ENTITY, "give_raise", keys[number % len(keys)], {"salary": SALARY + number}, at=float(number))
        for number in range(commands)
    ]


def _must(commands: int) -> pl.DataFrame:
    """What every employee's revision and salary must be in the end."""
    orders = raises_in_turn(commands)
    raised = pl.DataFrame(
        {"key": [order.key for order in orders], "salary": [order.fields["salary"] for order in orders]}
    )
    grouped = raised.group_by("key").agg((pl.len() + 1).cast(pl.Int64).alias("revision"), pl.col("salary").max())
    return grouped.select("key", "revision", "salary").sort("key")


def compare(found: list[Any], commands: int) -> str | None:
    """What is wrong with the employees' keys, revisions and salaries after so many commands; None if nothing is."""
    must = _must(commands)
    mine = pl.DataFrame(found, schema=must.schema, orient="row").sort("key")
    staff = mine.filter(pl.col("key").is_in(must["key"].implode()))
    return None if staff.equals(must) else "the employees' revisions and salaries are not what the commands amount to"


def _fill(folder: Path, commands: int) -> None:
    truth = open_truth("sqlite", "history", FolderPlace(folder), EMPLOYEES, "normal")
    truth.load(ENTITY, staff_for(commands).frame)
    truth.close()


def _salaries(connection: sqlite3.Connection) -> list[Any]:
    statement = f"SELECT key, MAX(revision), salary FROM {ENTITY} GROUP BY key"
    return connection.execute(statement).fetchall()


def _lab(folder: Path, commands: int, durability: str, group: int) -> Attempt:
    _fill(folder, commands)
    truth = open_truth("sqlite", "history", FolderPlace(folder), EMPLOYEES, durability)
    orders = raises_in_turn(commands)
    outcomes: list[Any] = []
    together: Callable[..., list[Any]] | None = getattr(truth, "execute_together", None)

    def run() -> None:
        if group == 1:
            outcomes.extend(truth.execute(order) for order in orders)
            return
        assert together is not None
        for first in range(0, commands, group):
            outcomes.extend(together([(order, None) for order in orders[first : first + group]]))

    def check() -> str | None:
        if refused := sum(outcome.status != "accepted" for outcome in outcomes):
            return f"{refused} commands were not accepted"
        connection = sqlite3.connect(folder / "truth.sqlite")
        found = _salaries(connection)
        connection.close()
        return compare(found, commands)

    return Attempt(run, check, truth.close)


def _bare(folder: Path, commands: int, durability: str, group: int) -> Attempt:
    """By hand: take the lock, read the record, write the revision at the next position, commit."""
    _fill(folder, commands)
    connection = sqlite.connect(folder / "truth.sqlite", durability)
    execute = connection.execute
    orders = [(order.key, order.fields["salary"], order.at) for order in raises_in_turn(commands)]
    state = "revision, deleted, name, manager, department, salary"
    read = f"SELECT {state} FROM {ENTITY} WHERE key = ? ORDER BY revision DESC LIMIT 1"
    position = f"(SELECT 1 + MAX(position) FROM {ENTITY})"
    write = (
        f"INSERT INTO {ENTITY} ({', '.join(COLUMNS)}) VALUES ({position}, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING position"
    )

    def run() -> None:
        for first in range(0, commands, group):
            execute("BEGIN IMMEDIATE")
            for key, salary, at in orders[first : first + group]:
                revision, deleted, name, manager, department, former = execute(read, (key,)).fetchall()[0]
                assert not deleted
                assert salary > former
                execute(write, (key, revision + 1, False, at, name, manager, department, salary)).fetchall()
            execute("COMMIT")

    return Attempt(run, lambda: compare(_salaries(connection), commands), connection.close)


def _peer(folder: Path, commands: int, durability: str, group: int) -> Attempt:
    """As the library's guides do it: get the aggregate, call its method, save it."""
    with peer.synchronous_normal() if durability == "normal" else nullcontext():
        application = peer.in_sqlite(folder)
    staff = staff_for(commands)
    peer.fill(application, staff)
    orders = [
        (peer.employee_id(int(order.key)), order.fields["salary"], order.at) for order in raises_in_turn(commands)
    ]
    get, save = application.repository.get, application.save

    def run() -> None:
        for first in range(0, commands, group):
            # Commands on one aggregate must see each other, within a group too.
            changed: dict[Any, Any] = {}
            for name, salary, at in orders[first : first + group]:
                if name not in changed:
                    changed[name] = get(name)
                assert salary > changed[name].salary
                changed[name].give_raise(at, salary)
            save(*changed.values())

    def check() -> str | None:
        people: list[Any] = [get(peer.employee_id(key)) for key in staff.last["key"].to_list()]
        return compare([(one.key, one.version, one.salary) for one in people], commands)

    return Attempt(run, check, application.close)
