"""A source of truth that loses commits in mid-run: at durability `normal` a crash does, and a run is sound."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from reachable import own_instance

from lab.live.run import run_live
from lab.runs import Run
from lab.scenario import Source
from lab.servers import Instance
from lab.wiring import plan

TEXT = """
schema = 1
name = "went-back"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
commands = 300
rate = 100.0
[truth]
engine = "postgres"
model = "history"
durability = "normal"
[catch_up]
every = 0.02
[measure]
trials = false
samples = 2
blocks = 0
budget = 0.05
[[projection]]
name = "mine"
store = "sqlite.table"
"""
# The same in several processes, which have their partitions on another server.
PARTITIONED = (
    TEXT.partition("[[projection]]")[0]
    + """
[channel]
broker = "redis"
[[projection]]
name = "mine"
store = "mariadb.table"
subscribe = "catch-up"
partitions = 4
members = {}
"""
)
LOG_WRITER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
# Executed by each process as it starts: none compares any more what it has read with what is there.
UNHEALED = """
from lab.service.projection import Projection
Projection._confirm = lambda self: False
"""


def crashed_in_mid_run(folder: Path, own: Instance, text: str) -> Run:
    """Run, and have the server crash while commands flow: what it hadn't written to its disk is gone."""
    scenario = folder / "went-back.toml"
    scenario.write_text(text)

    def executed(commands: int) -> None:
        ends, journal = time.monotonic() + 300, "runs/*/.*/work/served/writer-1.journal"
        while not any(file.read_bytes().count(b"\n") >= commands for file in folder.glob(journal)):
            assert time.monotonic() < ends
            time.sleep(0.01)

    def crash() -> None:
        executed(200)
        with psycopg.connect(own.url) as session:
            (log_writer,) = session.execute(LOG_WRITER).fetchone() or ()
        # From here on no commit comes to the disk.
        os.kill(log_writer, signal.SIGSTOP)
        executed(220)
        # The server ends all connections, and begins anew from what is on the disk.
        os.kill(log_writer, signal.SIGKILL)

    with ThreadPoolExecutor(1) as other:
        crashing = other.submit(crash)
        done = run_live(plan(Source(scenario, ("time.mode=live",))), folder / "runs", report=False)
        crashing.result()
    return done


def run_that_loses_commits(folder: Path, patch: pytest.MonkeyPatch, text: str = TEXT) -> Run:
    """A run in which the crash took the commits of some twenty commands."""
    with own_instance("postgres") as own:
        patch.setenv("LAB_POSTGRES", own.url)
        done = crashed_in_mid_run(folder, own, text)
    assert done.manifest["live"]["lost_commits"]
    return done


def failed(done: Run) -> dict[str, str]:
    """The checks that failed, with their witnesses."""
    return dict(done.table("verdicts").filter(verdict="fail").select("check", "witness").iter_rows())


@pytest.mark.server("postgres")
def test_what_went_back_is_noticed_and_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run_that_loses_commits(tmp_path, monkeypatch)
    verdicts = dict(done.table("verdicts").select("check", "verdict").iter_rows())
    assert verdicts["no_phantom"] == verdicts["converged"] == verdicts["no_loss"] == "pass"
    # Readers had seen what was then gone, and nobody can undo that.
    assert set(failed(done)) <= {"monotonic_reads"}
    assert done.manifest["live"]["caught_up"]
    assert any("commits that writers were told of" in note for note in done.manifest["notes"])
    said = capfd.readouterr().err
    assert "its source of truth " in said
    assert "it is built anew" in said
    assert "Traceback" not in said


@pytest.mark.server("postgres")
@pytest.mark.server("mariadb")
@pytest.mark.server("redis")
@pytest.mark.parametrize("members", [2, 4])
def test_what_went_back_is_noticed_by_each_of_several_processes(
    members: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    done = run_that_loses_commits(tmp_path, monkeypatch, PARTITIONED.format(members))
    verdicts = dict(done.table("verdicts").select("check", "verdict").iter_rows())
    assert verdicts["no_phantom"] == verdicts["converged"] == verdicts["no_loss"] == "pass"
    # As of one process: readers had seen what was then gone.
    assert set(failed(done)) <= {"monotonic_reads"}, failed(done)
    assert done.manifest["live"]["caught_up"]
    found = done.table("assignments")
    emptied = found.filter(ended="built anew")
    assert emptied.height >= 1
    # Nothing but what went back is built anew, and its next owner, of whichever process, reads it.
    last = found.group_by("partition").last()
    assert set(last["ended"]) <= {"stopped", "given away"}
    assert emptied.height == emptied["partition"].n_unique()
    said = capfd.readouterr().err
    assert said.count("is built anew") == emptied.height
    assert "Traceback" not in said


@pytest.mark.server("postgres")
def test_unhealed_it_shows_what_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(UNHEALED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = run_that_loses_commits(tmp_path, monkeypatch)
    assert done.manifest["verdict"] == "fail"
    assert "employee has never been like this" in failed(done)["no_phantom"]
