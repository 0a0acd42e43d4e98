"""Processes of their own, and what SIGKILL leaves of them; and that no signal is swallowed."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pieces import commands
from running import call

from lab.base import BadInput, stream
from lab.feed.reader import ChangeReader
from lab.process import torture as tortures
from lab.process.executor import execute
from lab.process.projector import project
from lab.process.running import Stop, owned
from lab.scenario import Source
from lab.stores import dump
from lab.verdict.oracle import Oracle
from lab.wiring import Plan, plan

TEXT = """
schema = 1
name = "torn"
seed = 3
[domain]
name = "employees"
records = 60
[workload]
commands = 20_000
rate = 1_000.0
skew = 0.5
deletes = 0.03
invalid = 0.05
[truth]
model = "MODEL"
[catch_up]
page = 50
[[projection]]
name = "records"
store = "sqlite.table"
batch = 5
[[projection]]
name = "sums"
store = "duckdb.columnar"
keeps = "totals"
guard = "dedupe"
batch = 20
"""


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Plan]:
    """A plan from the text above, with keys set."""

    def make(*overrides: str, model: str = "history") -> Plan:
        path = tmp_path / "torn.toml"
        guard = "revision" if model == "snapshot" else "dedupe"
        path.write_text(TEXT.replace("MODEL", model).replace("dedupe", guard))
        return plan(Source(path, overrides))

    return make


def head(made_plan: Plan, folder: Path) -> int:
    truth = made_plan.truth(folder / "truth")
    try:
        return truth.head("employee")
    finally:
        truth.close()


def contents(made_plan: Plan, folder: Path) -> dict[str, pl.DataFrame]:
    found = {}
    for item in made_plan.projections:
        store = item.store(folder / item.name)
        store.open()
        found[item.name] = dump(store, "employee")
        store.close()
    return found


@pytest.mark.parametrize("model", ["history", "events"])
def test_an_executor_and_its_projectors_end_where_the_oracle_is(
    model: str, made: Callable[..., Plan], tmp_path: Path
) -> None:
    ready = made("workload.commands=400", model=model)
    told: list[dict[str, Any]] = []
    execute(ready, tmp_path / "shop", 0, None, Stop(), told.append)
    assert [row["request"] for row in told] == list(range(400))
    settled: list[dict[str, Any]] = []
    last = head(ready, tmp_path / "shop")
    project(ready, tmp_path / "shop", (), 0.01, last, Stop(), settled.append)
    work = list(ready.domain.workload(ready.options, stream(3, "workload")))
    oracle = Oracle.of_commands(ready.domain, work)
    found = contents(ready, tmp_path / "shop")
    assert found["records"].equals(oracle.expected("records", "employee", None))
    sums = ready.projections[1].layout.totals
    assert found["sums"].filter(pl.col("records") != 0).equals(oracle.expected("totals", "employee", sums))
    assert {row["projection"]: row["position"] for row in settled} == {"records": last, "sums": last}
    assert [row["position"] for row in told if row["position"]] == list(range(1, last + 1))


def test_an_executor_that_begins_again_does_nothing_twice(made: Callable[..., Plan], tmp_path: Path) -> None:
    ready, told = made("workload.commands=200"), []
    for first in (0, 120, 0, 199):
        execute(ready, tmp_path / "shop", first, None, Stop(), told.append)
    answers: dict[int, Any] = {}
    for row in told:
        assert answers.setdefault(row["request"], row) == row
    accepted = sum(row["status"] == "accepted" for row in answers.values())
    assert head(ready, tmp_path / "shop") == accepted


def test_a_folder_has_one_owner_for_each_part(made: Callable[..., Plan], tmp_path: Path) -> None:
    ready = made("workload.commands=60")
    with owned(tmp_path, "truth"), pytest.raises(BadInput, match="another process is at work on `truth`"):
        execute(ready, tmp_path, 0, None, Stop(), lambda _: None)
    with owned(tmp_path, "sums"), pytest.raises(BadInput, match="`sums`"):
        project(ready, tmp_path, (), 0.01, 0, Stop(), lambda _: None)
    execute(ready, tmp_path, 0, None, Stop(), lambda _: None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("project", "torn.toml", "--folder", "shop", "--projection", "record"), "did you mean `records`?"),
        (("project", "torn.toml", "--folder", "shop", "--set", "projection.sums.subscribe=channel",
          "--set", "channel.lose=0"), "none cross from process to process"),
        (("execute", "flights.toml", "--folder", "shop"), "takes no commands"),
        (("torture", "missing.toml"), "no such file"),
        (("torture", "torn.toml", "--set", "truth.model=snapshot", "--set", "projection.sums.guard=revision"),
         "exactly once"),
        (("torture", "torn.toml", "--set", "truth.engine=duckdb"), "one process at a time"),
        (("execute", "torn.toml", "--folder", "shop", "--set", "truth.engine=duckdb"), 'set truth.engine to "sqlite"'),
        (("project", "torn.toml", "--folder", "shop", "--set", "truth.engine=duckdb"), "one process at a time"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(
    words: tuple[str, ...], said: str, made: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    shipped = Path(__file__).parents[2] / "scenarios" / "flights.toml"
    (tmp_path / "flights.toml").write_text(shipped.read_text())
    monkeypatch.chdir(tmp_path)
    found = call(*words)
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("error:") == 1
    assert "Traceback" not in found.stderr


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `lab` as a process; whatever is left at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab", *words],
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_stops_between_two_steps(
    how: signal.Signals, made: Callable[..., Plan], started: Callable[..., Any], tmp_path: Path
) -> None:
    ready = made()
    executor = started("execute", "torn.toml", "--folder", "shop", "--rate", "500", "--json")
    rows = [json.loads(executor.stdout.readline()) for _ in range(3)]
    projector = started("project", "torn.toml", "--folder", "shop", "--every", "0.01", "--json")
    assert json.loads(projector.stdout.readline())["projection"] == "records"
    for process in (executor, projector):
        process.send_signal(how)
        out, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
        assert said == ""
        rows += [json.loads(line) for line in out.splitlines()] if process is executor else []
    positions = [row["position"] for row in rows if row["position"]]
    assert positions[-1] == head(ready, tmp_path / "shop")


@pytest.mark.parametrize("model", ["history", "events"])
def test_a_few_rounds_of_torture(model: str, made: Callable[..., Plan], tmp_path: Path) -> None:
    ready = made(model=model)
    found = tortures.torture(ready, [str(tmp_path / "torn.toml")], 2, 150.0)
    assert found["problems"] == []
    assert found["verdict"] == "pass"
    assert [row["kills"] for row in found["processes"]] == [2, 2, 2]
    assert all(row["lost"] == row["doubled"] == 0 for row in found["processes"])
    assert found["changes"] > 0
    assert found["acknowledged"] <= found["commands"]


CHECKPOINT_FIRST = """
import os, signal, sys
from pathlib import Path
from lab.base import Batch
from lab.process.projector import project
from lab.process.running import Stop
from lab.projection.projector import Projector
from lab.running.trouble import Faults, FaultyStore
from lab.scenario import Source
from lab.wiring import plan

class CheckpointFirst(FaultyStore):
    def apply(self, batch):
        if batch.checkpoint is not None and batch.checkpoint > 270:
            self.store.apply(Batch(batch.entity, batch.rows[:0], batch.checkpoint))
            os.kill(os.getpid(), signal.SIGKILL)
        self.store.apply(batch)

ready, folder = plan(Source(Path(sys.argv[1]))), Path(sys.argv[2])
def make(item, path):
    return Projector(CheckpointFirst(item.store(path), Faults(), "with-data"), item.table.guard, item.table.hold)

project(ready, folder, ("records",), 0.01, None, Stop(), lambda _: None, make)
"""


def executed(ready: Plan, folder: Path, count: int) -> tortures.Ledger:
    """So many commands executed and acknowledged; the workload has more."""
    ledger, stop = tortures.Ledger(), Stop()

    def hear(row: dict[str, Any]) -> None:
        ledger.hear(row)
        if len(ledger.rows) == count:
            stop()

    execute(ready, folder, 0, None, stop, hear)
    return ledger


def counted(ready: Plan, folder: Path, ledger: tortures.Ledger) -> dict[str, Any]:
    scenario = [str(folder.parent / "torn.toml"), "--set", "workload.commands=400"]
    victims = [tortures._projector(item.name, [], lambda _: None) for item in ready.projections]
    executor = tortures.Victim("truth", lambda: [], lambda _: None)
    place = ["--folder", str(folder), "--json"]
    return tortures._judge(ready, folder, scenario, place, executor, victims, ledger)


def test_what_a_kill_tears_is_counted(made: Callable[..., Plan], tmp_path: Path) -> None:
    """A projector that is killed between its checkpoint and its data, beside one that is not."""
    ready = made("workload.commands=400")
    for name, verdict in (("whole", "pass"), ("torn", "fail")):
        folder = tmp_path / name
        ledger = executed(ready, folder, 300)
        if name == "torn":
            words = [sys.executable, "-c", CHECKPOINT_FIRST, str(tmp_path / "torn.toml"), str(folder)]
            assert subprocess.run(words, timeout=60, check=False).returncode == -signal.SIGKILL
        found = counted(ready, folder, ledger)
        rows = {row["process"]: row for row in found["processes"]}
        assert found["verdict"] == verdict, found["problems"]
        assert (rows["records"]["lost"] > 0) == (name == "torn")
        assert rows["sums"]["lost"] == rows["truth"]["lost"] == 0
        assert any("records is not what" in problem for problem in found["problems"]) == (name == "torn")


LIES: dict[str, Callable[[tortures.Ledger], Any]] = {
    "a change that is not there": lambda ledger: ledger.rows[7].update(position=9_999),
    "two with one position": lambda ledger: ledger.rows[7].update(position=ledger.rows[8]["position"]),
    "another status": lambda ledger: ledger.rows[7].update(status="rejected"),
    "another answer the second time": lambda ledger: ledger.hear(ledger.rows[7] | {"position": 7_777}),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_acknowledgement_that_is_not_so_is_told(lie: str, made: Callable[..., Plan], tmp_path: Path) -> None:
    ready, folder = made("workload.commands=400"), tmp_path / "shop"
    ledger = executed(ready, folder, 120)
    LIES[lie](ledger)
    found = counted(ready, folder, ledger)
    assert found["verdict"] == "fail"
    assert all(row["lost"] == row["doubled"] == 0 for row in found["processes"])


def test_a_torture_that_is_stopped_takes_its_victims_along(
    made: Callable[..., Plan], started: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    process = started("torture", "torn.toml", "--kills", "50", "--json")
    while not list((tmp_path / "tmp").glob("torture-*/.*.lock")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert list((tmp_path / "tmp").glob("torture-*")) == []
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in found


def test_a_process_that_cannot_start_ends_the_torture(made: Callable[..., Plan], tmp_path: Path) -> None:
    found = tortures.torture(made(), [str(tmp_path / "torn.toml"), "--set", "truth.model=snapshots"], 50, 100.0)
    assert found["verdict"] == "fail"
    assert any("ended with 2" in problem and "snapshots" in problem for problem in found["problems"])


def test_a_snapshot_is_refused(made: Callable[..., Plan]) -> None:
    with pytest.raises(BadInput, match="keeps the last one"):
        tortures.torture(made(model="snapshot"), [], 1, 1.0)


@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_pages_are_whole_while_another_process_writes(
    model: str, made: Callable[..., Plan], started: Callable[..., Any], tmp_path: Path
) -> None:
    ready = made("workload.commands=1500", model=model)
    writer = started("execute", "torn.toml", "--folder", "shop", "--set", "workload.commands=1500")
    truth = None
    while truth is None:
        truth = ready.truth_beside(tmp_path / "shop" / "truth")
    feed, position, pages, seen = ChangeReader(truth), 0, 0, []
    while writer.poll() is None or truth.head("employee") > position:
        page = feed.changes_since("employee", position, 7)
        if not page.height:
            continue
        pages += 1
        positions = page["position"].to_list()
        assert positions == sorted(positions)
        assert positions[0] > position
        position = positions[-1]
        seen += page.select("position", "key", "revision").rows()
    truth.close()
    assert writer.returncode == 0
    assert pages > 10
    whole = ready.truth(tmp_path / "shop" / "truth")
    states = ChangeReader(whole).changes_since("employee", 0, 10_000)
    whole.close()
    if model == "snapshot":
        assert set(states.select("position", "key", "revision").rows()) <= set(seen)
    else:
        assert seen == states.select("position", "key", "revision").rows()


def test_no_signal_is_swallowed_while_commands_are_made() -> None:
    """NumPy clears an interrupt that comes while it makes a string of an array's element."""

    def stopping(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    # As in a run, the collector keeps out of it: what is raised in one of its callbacks is lost by right.
    gc.disable()
    rng, before = stream(1, "alarms"), signal.signal(signal.SIGALRM, stopping)
    try:
        for seconds in rng.uniform(0.005, 0.03, 40):
            signal.setitimer(signal.ITIMER_REAL, seconds)
            with pytest.raises(KeyboardInterrupt):
                commands(50_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
