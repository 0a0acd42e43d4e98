"""Commands on a source of truth in PostgreSQL, by one writer and by eight, beside bare psycopg.

Each writer is a process of its own, and has records of its own. Run as a module it is such a process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from benchmarks.bench.data import COLUMNS, ENTITY, Bench
from benchmarks.bench.harness import Attempt, Contestant, Row
from benchmarks.bench.writes import compare, raises_in_turn, staff_for
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.engines.postgres import SYNCHRONOUS
from lab.place import FolderPlace
from lab.ports import Missing
from lab.servers import server
from lab.servers.postgres import SERVER
from lab.truth import join_truth, open_truth
from lab.truth.postgres import Postgres
from lab.truth.transaction import SEQUENCE

WRITERS = 8
ROOT = Path(__file__).parent.parent.parent


def rows(bench: Bench) -> Iterator[Row]:
    """`postgres_commands`: none where no server is reached."""
    if left_out():
        return
    for writers, durability in ((1, "full"), (1, "normal"), (WRITERS, "full"), (WRITERS, "normal")):
        commands = bench.size.commands * (1 if durability == "full" else 2)
        yield Row(
            "postgres_commands",
            f"{writers} writer{'s' if writers > 1 else ''}, {durability}",
            "commands/s",
            commands,
            [
                _contestant("lab", "lab", commands, writers, durability),
                _contestant("limit", "bare", commands, writers, durability),
            ],
            {"vs_limit": ("least", 0.7)},
            "The limit reads the record, inserts and commits, without a lock and without a gate for readers.",
        )


def left_out() -> dict[str, str]:
    """The rows that need a server, and why there is none."""
    found = server("postgres").find()
    return {"postgres_commands": f"{found.reason}; {found.way_out}"} if isinstance(found, Missing) else {}


def _contestant(name: str, who: str, commands: int, writers: int, durability: str) -> Contestant:
    return Contestant(name, commands, lambda folder: _attempt(folder, who, commands, writers, durability))


def _attempt(folder: Path, who: str, commands: int, writers: int, durability: str) -> Attempt:
    truth = open_truth("postgres", "history", FolderPlace(folder), EMPLOYEES, "normal")
    assert isinstance(truth, Postgres)
    truth.load(ENTITY, staff_for(commands).frame)
    with SERVER.connect(truth.on.schema) as connection:
        connection.execute("ANALYZE")
    words = [sys.executable, "-m", "benchmarks.bench.server_writes", who, str(folder), str(commands), durability]
    crew = [
        subprocess.Popen(
            [*words, str(number), str(writers)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(writers)
    ]
    for process in crew:
        assert process.stdout is not None
        process.stdout.readline()

    def run() -> None:
        for process in crew:
            assert process.stdin is not None
            process.stdin.close()
        for process in crew:
            if process.wait():
                raise RuntimeError("a writer failed")

    def check() -> str | None:
        statement = f"SELECT key, MAX(revision), MAX(salary) FROM {ENTITY} GROUP BY key"
        return compare(truth._ask(statement, ()), commands)

    def close() -> None:
        for process in crew:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        truth.drop()

    return Attempt(run, check, close)


def _lab(folder: Path, durability: str) -> Callable[[Command], None]:
    truth = join_truth("postgres", "history", FolderPlace(folder), EMPLOYEES, durability)

    def execute(order: Command) -> None:
        assert truth.execute(order).status == "accepted"

    return execute


def _bare(folder: Path, durability: str) -> Callable[[Command], None]:
    """By hand, as psycopg's guides do it: read the record, write the revision at the next position, commit."""
    truth = join_truth("postgres", "history", FolderPlace(folder), EMPLOYEES, durability)
    assert isinstance(truth, Postgres)
    options = f"-c search_path={truth.on.schema} -c synchronous_commit={SYNCHRONOUS[durability]}"
    truth.close()
    connection = psycopg.connect(SERVER.dsn().secret, options=options)
    state = "revision, deleted, name, manager, department, salary"
    read = f"SELECT {state} FROM {ENTITY} WHERE key = %s ORDER BY revision DESC LIMIT 1"
    marks = ", ".join(["%s"] * (len(COLUMNS) - 1))
    write = f"INSERT INTO {ENTITY} ({', '.join(COLUMNS)}) VALUES (nextval('{SEQUENCE}'), {marks}) RETURNING position"

    def execute(order: Command) -> None:
        key, salary = order.key, order.fields["salary"]
        revision, deleted, name, manager, department, former = connection.execute(read, (key,)).fetchall()[0]
        assert not deleted
        assert salary > former
        row = (key, revision + 1, False, order.at, name, manager, department, salary)
        connection.execute(write, row).fetchall()
        connection.commit()

    return execute


def main(who: str, folder: str, commands: str, durability: str, number: str, writers: str) -> None:
    """Execute one writer's share of the commands, once standard input ends."""
    execute = {"lab": _lab, "bare": _bare}[who](Path(folder), durability)
    mine = [order for order in raises_in_turn(int(commands)) if int(order.key) % int(writers) == int(number)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    for order in mine:
        execute(order)


if __name__ == "__main__":
    main(*sys.argv[1:])
