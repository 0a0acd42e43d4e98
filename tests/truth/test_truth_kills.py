"""Writers and servers that are killed while commands flow: what was acknowledged is there, and nothing is there twice.

KILLS says how often each is struck; `make nightly` takes 20. The tables are read by a driver alone.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from reachable import own_instance

from lab.domain.employees import EMPLOYEES
from lab.place import FolderPlace
from lab.servers import Instance
from lab.servers.processes import ends_with_parent
from lab.truth import EXTRAS, open_truth

KILLS = int(os.environ.get("KILLS", "2"))
WRITERS = 3
# Commands that are acknowledged between two strikes, by each writer.
BETWEEN = 4
SECONDS = 120.0
# A writer: hires one and raises its salary, again and again, each command under the id of its request until it is
# answered. What it prints has been acknowledged.
WRITER = """
import sys, time
from pathlib import Path
from lab.base import Unavailable
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.place import FolderPlace
from lab.truth import join_truth

folder, engine, model, writer, number = sys.argv[1:4] + [int(each) for each in sys.argv[4:]]

def answered(ask):
    while True:
        try:
            return ask()
        except Unavailable:
            time.sleep(0.05)

truth = answered(lambda: join_truth(engine, model, FolderPlace(Path(folder)), EMPLOYEES, "full"))
while True:
    key, first = writer + 1_000 * (number // 3), number % 3 == 0
    fields = {"name": "N", "manager": None, "department": "Sales", "salary": 3_000}
    command = Command("employee", "hire", key, fields) if first else (
        Command("employee", "give_raise", key, {"salary": 3_000 + number}))
    found = answered(lambda: truth.execute(command, f"{writer}:{number}"))
    print(number, key, found.position, found.revision, found.status, flush=True)
    number += 1
"""


@dataclass
class WriterProcess:
    """A writer, and what was acknowledged to it: number, key, position, revision."""

    folder: Path
    engine: str
    model: str
    number: int
    told: list[tuple[int, int, int, int]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    hearing: Thread | None = None

    def start(self) -> None:
        """Go on with the first command that was not acknowledged; whether it was done is not known."""
        since = str(self.told[-1][0] + 1 if self.told else 0)
        words = [str(self.folder), self.engine, self.model, str(self.number), since]
        bound = ends_with_parent(signal.SIGKILL)
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, *words], stdout=subprocess.PIPE, text=True, preexec_fn=bound
        )
        self.hearing = Thread(target=self._hear, daemon=True)
        self.hearing.start()

    def _hear(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            *numbers, status = line.split()
            assert line.endswith("\n")
            assert status == "accepted"
            number, key, position, revision = map(int, numbers)
            self.told.append((number, key, position, revision))

    def kill(self) -> None:
        """End it as a crash does, and hear what it had said."""
        assert self.process is not None
        assert self.process.poll() is None, "a writer ended by itself"
        self.end()

    def end(self) -> None:
        """Have it end, if it hasn't."""
        assert self.process is not None
        assert self.hearing is not None
        self.process.kill()
        self.process.wait()
        self.hearing.join()
        self.process.stdout.close()  # type: ignore[union-attr]


def wait_for(writers: list[WriterProcess], more: int) -> None:
    """Wait until each writer has been told of so many more commands."""
    wanted, ends = [len(writer.told) + more for writer in writers], time.monotonic() + SECONDS
    while any(len(writer.told) < count for writer, count in zip(writers, wanted, strict=True)):
        assert time.monotonic() < ends, [len(writer.told) for writer in writers]
        time.sleep(0.005)


def in_the_table(engine: str, url: str) -> list[tuple[int, int, int]]:
    """Key, position and revision of every row, by the driver alone."""
    where = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'employee'"
    if engine == "postgres":
        import psycopg

        with psycopg.connect(url) as session:
            ((schema,),) = session.execute(where).fetchall()
            return session.execute(f'SELECT key, position, revision FROM "{schema}".employee').fetchall()  # type: ignore[arg-type]
    import pymysql

    found = urlsplit(url)
    with (
        pymysql.connect(host=found.hostname, port=found.port or 3306, user=found.username) as other,
        other.cursor() as cursor,
    ):
        cursor.execute(where)
        ((schema,),) = cursor.fetchall()
        cursor.execute(f"SELECT `key`, position, revision FROM `{schema}`.employee")
        return list(cursor.fetchall())


def strike_down(own: Instance) -> None:
    """End the server's main process as a crash does, and start it again."""
    os.kill(own.process, signal.SIGKILL)
    while own.process:
        time.sleep(0.01)
    own.start()


@pytest.fixture
def struck() -> random.Random:
    """When the strikes come."""
    return random.Random(int(os.environ.get("KILLS_SEED", "1")))


@pytest.mark.parametrize("victim", ["writer", "server"])
@pytest.mark.parametrize("engine", [pytest.param(name, marks=pytest.mark.server(name)) for name in EXTRAS])
def test_what_was_acknowledged_is_there_once_whoever_is_killed(
    engine: str, victim: str, struck: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_instance(engine) as own, ExitStack() as ends:
        monkeypatch.setenv(f"LAB_{engine.upper()}", own.url)
        truth = open_truth(engine, "history", FolderPlace(tmp_path / "truth"), EMPLOYEES, "full")
        ends.callback(truth.drop)
        writers = [WriterProcess(tmp_path / "truth", engine, "history", number) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
            ends.callback(writer.end)
        for strike in range(KILLS):
            wait_for(writers, BETWEEN)
            time.sleep(struck.uniform(0.0, 0.02))
            if victim == "writer":
                writers[strike % WRITERS].kill()
                writers[strike % WRITERS].start()
            else:
                strike_down(own)
        wait_for(writers, BETWEEN)
        for writer in writers:
            writer.kill()
        rows = in_the_table(engine, own.url)
    there = {(key, position, revision) for key, position, revision in rows}
    told = [each[1:] for writer in writers for each in writer.told]
    assert len(told) > KILLS * BETWEEN
    assert [each for each in told if each not in there] == []
    # Each command once: a hiring and two raises make three revisions of a record, one after the other.
    assert len({position for _, position, _ in rows}) == len(rows)
    assert max(Counter((key, revision) for key, _, revision in rows).values()) == 1
    assert max(revision for _, _, revision in rows) <= 3
    # The last command of each writer may have been done without an answer, and no other.
    assert len(rows) - len(told) in range(WRITERS + 1)
