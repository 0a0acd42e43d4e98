"""Projectors and brokers that are killed while commands flow: in the end each row is there, once, as it was committed.

KILLS says how often each is struck; `make nightly` takes 20. What the lab says of itself is not asked: the tables are
read by drivers alone, and the commands that were acknowledged by the writers' own files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from reachable import instance_folder
from test_live_on_brokers import waited
from test_live_run import Quiet, _processes, planned

from lab.base import TRUTH
from lab.live.performing import Performance
from lab.place import FolderPlace, read_file
from lab.servers import Instance, instance, server
from lab.servers.ledger import NAMED
from lab.wiring import Plan

KILLS = int(os.environ.get("KILLS", "2"))
# Commands for each second, and seconds between two strikes; what was struck takes so many more to be there again.
RATE, BETWEEN = 80, 1.0
STARTS = {"redis": 1.0, "nats": 1.0, "rabbitmq": 6.0, "projectors": 2.0}
TEXT = """
schema = 1
name = "killed-live"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
deletes = 0.02
[truth]
engine = "postgres"
model = "history"
durability = "full"
[catch_up]
every = 0.2
[channel]
delay = { kind = "exponential", mean = 0.01 }
duplicate = 0.2
lose = 0.05
[measure]
trials = false
[[projection]]
name = "file"
store = "sqlite.table"
[[projection]]
name = "served"
store = "postgres.table"
"""
CHOSEN = 'SELECT "key", revision, deleted, name, salary FROM {}'
NEWEST = 'revision = (SELECT max(revision) FROM {} AS other WHERE other."key" = one."key")'


def projectors(folder: Path) -> list[int]:
    """The processes that keep projections up to date; none while all are being started again."""
    return [process for process, words in _processes(folder) if "lab.service.part" in words]


def striking(victim: str, own: Instance, folder: Path) -> float:
    """Strike so often, from when the first command has been acknowledged; when the last strike came."""
    at = 0.0
    assert waited(lambda: (folder / "writer-1.journal").exists() and (folder / "writer-1.journal").stat().st_size)
    for _ in range(KILLS):
        time.sleep(BETWEEN)
        if victim == "broker":
            os.kill(own.process, signal.SIGKILL)
            at = time.time()
            time.sleep(0.2)
            own.start()
        else:
            for process in waited(lambda: projectors(folder)):
                os.kill(process, signal.SIGKILL)
            at = time.time()
    return at


def on_server(folder: Path, table: str) -> str:
    """Where a table of this place is on the server."""
    return f'"{(read_file(folder / NAMED) or "").strip()}".{table}'


def dropped(made: Plan, folder: Path) -> None:
    """Leave nothing on the server."""
    made.truth(FolderPlace(folder).within(TRUTH)).drop()
    for item in made.projections:
        store = item.store(FolderPlace(folder).within(item.name).current)
        store.open()
        store.drop()


@pytest.mark.server("postgres")
@pytest.mark.parametrize("broker", ["redis", "nats", "rabbitmq"])
@pytest.mark.parametrize("victim", ["projectors", "broker"])
def test_everything_is_there_once_whoever_is_killed(
    victim: str, broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    commands = int(RATE * (BETWEEN + STARTS[broker if victim == "broker" else victim]) * (KILLS + 2))
    made = planned(
        tmp_path, TEXT, f"workload.commands={commands}", f"workload.rate={RATE}.0", f"channel.broker={broker}"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    with instance_folder(broker) as where:
        # Not bound: it would end with the thread that started it last.
        own = instance(broker, where)
        own.start()
        monkeypatch.setenv(f"LAB_{broker.upper()}", own.url)
        try:
            with ThreadPoolExecutor(1) as other:
                strikes = other.submit(striking, victim, own, folder)
                done = Performance(made, folder).perform(Quiet())
                struck_at = strikes.result()
        finally:
            if own.process:
                own.stop("kill")
    if victim == "projectors":
        assert min(done.restarts.values()) >= 1
    acknowledged, answers, newest = [], 0, 0.0
    for journal in done.journals:
        for line in journal.read_text().splitlines():
            _, _, answered_at, _, rows = json.loads(line)
            newest, answers = max(newest, answered_at), answers + 1
            acknowledged += [(position, key, revision) for _, position, key, revision, *_ in rows]
    database: Any = server("postgres")
    with (
        contextlib.closing(database.connect()) as session,
        contextlib.closing(sqlite3.connect(folder / "file" / "projection.sqlite")) as file,
    ):
        written = on_server(folder / TRUTH, "employee")
        there = session.execute(f"SELECT position, key, revision FROM {written}").fetchall()
        last = session.execute(CHOSEN.format(f"{written} AS one WHERE {NEWEST.format(written)}")).fetchall()
        served = session.execute(CHOSEN.format(on_server(folder / "served", "employee"))).fetchall()
        filed = [
            (key, revision, bool(deleted), *rest)
            for key, revision, deleted, *rest in file.execute(CHOSEN.format("employee"))
        ]
    dropped(made, folder)
    assert done.began < struck_at < newest, "not all strikes came while commands flowed"
    assert answers == commands
    assert sorted(acknowledged) == sorted(there)
    assert sorted(served) == sorted(last)
    assert sorted(filed) == sorted(last)
