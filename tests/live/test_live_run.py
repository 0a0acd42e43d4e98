"""Live runs: real processes on the wall clock, judged by the same checks as simulated runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from lab.base import BadInput, stream
from lab.experiment import run as run_simulated
from lab.experiment.progress import Quiet
from lab.live import foretelling, performing
from lab.live.performing import Performance
from lab.live.refusals import refused, too_long
from lab.live.run import run_live
from lab.live.tickets import Tickets
from lab.live.writer import Pauses, Writer
from lab.place import FolderPlace
from lab.running.worker import Worker
from lab.runs import Run, load_run
from lab.scenario import Source
from lab.service.supervisor import ProgramFailed
from lab.service.wire import Reply
from lab.wiring import Plan, plan

TEXT = """
schema = 1
name = "small-live"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
commands = 400
rate = 400.0
deletes = 0.02
[truth]
model = "history"
[catch_up]
every = 0.1
[channel]
delay = { kind = "exponential", mean = 0.01 }
duplicate = 0.2
lose = 0.05
reorder = { share = 0.3, extra = { kind = "exponential", mean = 0.05 } }
[measure]
trials = false
samples = 3
blocks = 2
budget = 0.05
[[projection]]
name = "directory"
store = "sqlite.table"
[[projection]]
name = "keyed"
store = "lmdb.keyvalue"
subscribe = "catch-up"
"""
UNGUARDED = '[[projection]]\nname = "unguarded"\nstore = "sqlite.table"\nguard = "none"\nsubscribe = "channel"\n'


def planned(folder: Path, text: str = TEXT, *overrides: str) -> Plan:
    path = folder / "small-live.toml"
    path.write_text(text)
    return plan(Source(path, (*overrides, "time.mode=live")))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with four writers, and a projection that is not guarded."""
    folder = tmp_path_factory.mktemp("live")
    text = f'{TEXT}{UNGUARDED}expect = "fail"\n[writers]\ncount = 4\n'
    made = planned(folder, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foretelling, "Worker", _Foreteller)
        return run_live(made, folder / "runs")


class _Foreteller(Worker):
    """Counts at each beginning how many of those before it are still held."""

    known: ClassVar[list[weakref.ref[Worker]]] = []
    held: ClassVar[list[int]] = []

    def __init__(self, *arguments: Any) -> None:
        self.held.append(sum(one() is not None for one in self.known))
        self.known.append(weakref.ref(self))
        super().__init__(*arguments)


class TestARun:
    def test_is_judged_as_any_other(self, run: Run) -> None:
        verdicts = {entry["name"]: entry["verdict"] for entry in run.manifest["projections"]}
        assert verdicts == {"directory": "pass", "keyed": "pass", "unguarded": "fail"}
        assert run.manifest["verdict"] == "pass"
        witnessed = run.table("witnesses").filter(pl.col("projection") == "unguarded")
        assert witnessed.height

    def test_says_that_it_is_on_the_wall_clock_and_what_came_of_its_rate(self, run: Run) -> None:
        assert run.manifest["clocks"]["lag"] == "wall, live"
        told = run.manifest["live"]
        assert (told["writers"], told["caught_up"]) == (4, True)
        assert told["restarts"] == {"directory": 0, "keyed": 0, "unguarded": 0}
        (writes,) = run.table("writes").to_dicts()
        assert writes["commands"] == 400
        assert writes["accepted"] + writes["rejected"] + writes["conflicts"] == 400
        assert 0 < told["committed_per_second"] <= 1.5 * told["offered_per_second"]

    def test_has_a_lag_of_every_change_and_parts_that_add_up_to_it_exactly(self, run: Run) -> None:
        lag = run.table("lag").filter(pl.col("projection") != "unguarded")
        assert lag.height == 2 * run.manifest["changes"]
        assert lag["lag_seconds"].null_count() == 0
        assert lag["lag_seconds"].min() >= 0.0  # type: ignore[operator]
        parts = run.table("lag_parts").filter(pl.col("projection") != "unguarded")
        both = lag.join(parts, on=["projection", "position"], how="left", validate="1:1")
        columns = [name for name in parts.columns if name.endswith("_seconds")]
        assert np.array_equal(both.select(pl.sum_horizontal(columns)).to_series(), both["lag_seconds"])

    def test_polls_cost_the_one_that_only_polls_half_an_interval(self, run: Run) -> None:
        summary = {row["projection"]: row for row in run.table("lag_parts_summary").to_dicts() if row["part"] == "wait"}
        # A wait can't be longer than the interval, and is spread over all of it; no timing of the machine is in it.
        assert 0.02 < summary["keyed"]["mean_seconds"] < 0.1

    def test_counts_what_became_of_the_messages(self, run: Run) -> None:
        for name in ("directory", "unguarded"):
            counts = run.manifest["live"]["channel"][name]
            assert counts["sent"] == run.manifest["changes"]
            assert counts["delivered"] == counts["sent"] + counts["duplicated"] - counts["lost"]
            assert counts["lost"]
            assert counts["duplicated"]
        assert "keyed" not in run.manifest["live"]["channel"]

    def test_foretells_with_the_room_of_one_simulation_at_a_time(self, run: Run) -> None:
        assert run.table("foretold").height == 3
        assert _Foreteller.held == [0] * (3 * foretelling.REPETITIONS)

    def test_can_be_reported_and_loaded(self, run: Run) -> None:
        assert run.unreported is None
        assert (run.path / "report.html").stat().st_size
        assert load_run(str(run.path)).manifest["run"] == run.manifest["run"]


def performed(
    made: Plan, folder: Path
) -> tuple[list[tuple[str, int]], list[list[tuple[str, int]]], list[tuple[int, int, int]]]:
    """Perform; return each command's outcome and writer, the changes by writer, and the rows in the database."""
    folder.mkdir()
    found = Performance(made, folder).perform(Quiet())
    outcomes, changes = [], []
    for number, journal in enumerate(found.journals):
        mine = []
        for line in journal.read_text().splitlines():
            *_, status, rows = json.loads(line)
            outcomes.append((status, number))
            mine += [(row[2], row[1], row[3]) for row in rows]
        changes.append(mine)
    database = sqlite3.connect(folder / "truth" / "truth.sqlite")
    rows = database.execute("SELECT key, position, revision FROM employee ORDER BY position").fetchall()
    database.close()
    return outcomes, changes, rows


FLIGHTS = """
schema = 1
name = "flights-live"
seed = 1
[domain]
name = "flights"
records = 1_500
time_scale = 604_800.0
[catch_up]
every = 0.1
[channel]
lose = 0.05
duplicate = 0.1
[measure]
trials = false
samples = 2
blocks = 0
budget = 0.05
[[projection]]
name = "board"
store = "sqlite.table"
[[projection]]
name = "delays"
store = "sqlite.table"
keeps = "totals"
totals = "delays_by_carrier_and_month"
guard = "ordered"
"""


class TestAHistory:
    def test_is_committed_at_its_times_by_one_writer(self, tmp_path: Path) -> None:
        # As much of it as lasts some seconds.
        done = run_live(planned(tmp_path, FLIGHTS, "truth.model=history"), tmp_path / "runs", report=False)
        assert {entry["name"]: entry["verdict"] for entry in done.manifest["projections"]} == {
            "board": "pass",
            "delays": "pass",
        }
        assert done.manifest["live"]["channel"]["board"]["sent"] == done.manifest["changes"]
        (writes,) = done.table("writes").to_dicts()
        assert writes["commands"] == done.manifest["changes"]
        assert writes["p50_us"] is None
        assert done.table("lag")["lag_seconds"].null_count() == 0

    def test_has_no_second_writer(self, tmp_path: Path) -> None:
        made = planned(tmp_path, f"{FLIGHTS}[writers]\ncount = 2\n", "truth.model=history")
        assert [problem.where for problem in refused(made)] == ["small-live.toml: writers"]


# Writers commit out of the order of their positions there, and a naive reader loses some.
SERVER = ("truth.engine=postgres", "catch_up.gaps=horizon")


class TestOnAServer:
    """The same with the source of truth on PostgreSQL, where writers really commit at the same time."""

    pytestmark = pytest.mark.server("postgres")

    @pytest.mark.parametrize("model", ["snapshot", "history", "events"])
    def test_a_run_is_judged_as_any_other(self, tmp_path: Path, model: str) -> None:
        text = f"{TEXT}[writers]\ncount = 4\nabort = 0.05\n"
        done = run_live(planned(tmp_path, text, *SERVER, f"truth.model={model}"), tmp_path / "runs", report=False)
        assert {entry["name"]: entry["verdict"] for entry in done.manifest["projections"]} == {
            "directory": "pass",
            "keyed": "pass",
        }
        lag = done.table("lag")
        # Positions that were rolled back are those of no change.
        assert lag.height == 2 * done.manifest["changes"]
        assert lag["position"].max() > done.manifest["changes"]  # type: ignore[operator]
        assert lag["lag_seconds"].null_count() == 0


class TestWriters:
    @pytest.mark.parametrize("model", ["history", "events"])
    def test_share_the_commands_and_commit_side_by_side(self, tmp_path: Path, model: str) -> None:
        made = planned(tmp_path, f"{TEXT}[writers]\ncount = 5\n", f"truth.model={model}", "workload.rate=2000.0")
        outcomes, changes, rows = performed(made, tmp_path / "run")
        assert len(outcomes) == 400
        assert len({number for _, number in outcomes}) > 1
        # Counted in the database, not by the lab.
        assert [position for _, position, _ in rows] == list(range(1, len(rows) + 1))
        assert sorted(rows) == sorted(change for mine in changes for change in mine)
        revisions: dict[int, list[int]] = {}
        for key, _, revision in rows:
            revisions.setdefault(key, []).append(revision)
        assert all(found == list(range(1, len(found) + 1)) for found in revisions.values())

    def test_sleep_in_their_transactions_and_roll_some_back_as_the_scenario_says(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writers = "[writers]\ncount = 2\nabort = 0.3\nsleep = { share = 0.2, lasts = { mean = 0.5 } }\n"
        made = planned(tmp_path, TEXT + writers, "workload.commands=100", "domain.records=20")
        commands = list(made.domain.workload(made.options, stream(made.scenario.seed, "workload")))
        pauses = Pauses.draw(made.scenario.writers, len(commands), made.scenario.seed)
        assert 0 < pauses.aborted.sum() < 100
        assert 0 < (pauses.seconds > 0).sum() < 50
        truth, slept, rolled_back = made.truth(FolderPlace(tmp_path / "truth")), list[float](), list[int]()
        rollback = truth.rollback
        monkeypatch.setattr(truth, "rollback", lambda: (rolled_back.append(truth.head("employee")), rollback()))
        monkeypatch.setattr(time, "sleep", slept.append)
        journal = StringIO()
        writer = Writer(made, truth, None, journal, pauses)
        changed, waited = 0, list[float]()
        for number, command in enumerate(commands):
            before, backs = truth.head("employee"), len(rolled_back)
            writer.execute(number, command, 0.0)
            accepted = truth.head("employee") > before
            changed += accepted
            pause = float(pauses.seconds[number])
            waited += [pause] if accepted and pause else []
            # A first attempt is rolled back after it has taken its position; a command that is rejected takes none.
            attempts = int(pauses.aborted[number])
            assert len(rolled_back) - backs == (attempts if accepted else attempts + 1)
        assert slept == waited
        assert waited
        assert len(journal.getvalue().splitlines()) == 100
        assert changed == truth.head("employee")
        truth.close()

    def test_one_that_dies_ends_the_run_with_one_line_and_leaves_nothing(self, tmp_path: Path) -> None:
        # Its transaction can't be committed: nothing may be written to the file any more.
        made = planned(tmp_path, TEXT, "workload.rate=100.0")
        folder = tmp_path / "run"
        folder.mkdir()
        performance = Performance(made, folder)
        with ThreadPoolExecutor(1) as other:
            failing = other.submit(_kill_the_writer, folder)
            with pytest.raises(ProgramFailed, match="writer 1 ended before its time"):
                performance.perform(Quiet())
            failing.result()
        assert not _processes(folder)


def test_a_projection_that_is_killed_is_started_again_and_goes_on_at_its_checkpoint(tmp_path: Path) -> None:
    made = planned(tmp_path, TEXT, "workload.rate=150.0")
    with ThreadPoolExecutor(1) as other:
        killing = other.submit(_kill_the_projections, tmp_path)
        done = run_live(made, tmp_path / "runs", report=False)
        killing.result()
    assert all(restarts >= 1 for restarts in done.manifest["live"]["restarts"].values())
    assert {entry["verdict"] for entry in done.manifest["projections"]} == {"pass"}
    assert done.table("lag")["lag_seconds"].null_count() == 0


def _kill_the_projections(folder: Path) -> None:
    while not any(file.stat().st_size for file in folder.glob("runs/*/.*/work/served/writer-1.journal")):
        time.sleep(0.01)
    time.sleep(0.5)
    for process, arguments in _processes(folder):
        if "lab.service.part" in arguments:
            os.kill(process, signal.SIGKILL)


def _kill_the_writer(folder: Path) -> None:
    journal = folder / "writer-1.journal"
    while not journal.exists() or not journal.stat().st_size:
        time.sleep(0.01)
    for process in _processes(folder):
        if "lab.live.writer" in process[1]:
            os.kill(process[0], signal.SIGKILL)


def _processes(folder: Path) -> list[tuple[int, str]]:
    """The processes that have this folder among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in arguments:
                found.append((int(entry.name), arguments))
    return found


def test_a_projection_that_lives_on_messages_alone_is_waited_for_until_it_has_taken_them() -> None:
    left = [3, 1, 0]

    class Taking:
        async def ask(self, _: object) -> Reply:
            return Reply(200, json.dumps({"counts": {"inbox": left.pop(0)}}).encode())

    assert asyncio.run(performing._emptied(Taking(), time.monotonic() + 10))  # type: ignore[arg-type]
    assert not left
    assert not asyncio.run(performing._emptied(Taking(), time.monotonic()))  # type: ignore[arg-type]


class TestRefusals:
    def test_what_would_take_more_than_a_day_is_refused(self, tmp_path: Path) -> None:
        made = planned(tmp_path)
        assert not too_long(made, 3_600.0)
        (problem,) = too_long(made, 10 * 86_400.0)
        assert problem.where == "small-live.toml: workload.rate"
        assert "10.0 days" in problem.what

    def test_a_live_scenario_is_not_simulated_unasked(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="this is a live run"):
            run_simulated(planned(tmp_path), tmp_path / "runs")

    def test_writers_take_turns_for_all_or_for_none(self, tmp_path: Path) -> None:
        text = f'{TEXT}gaps = "serialise"\n[writers]\ncount = 2\n'
        (problem,) = refused(planned(tmp_path, text, "truth.engine=postgres"))
        assert problem.where == "small-live.toml: catch_up.gaps"
        assert not refused(planned(tmp_path, text, "truth.engine=postgres", "catch_up.gaps=serialise"))

    def test_each_has_its_place_and_a_way_out(self, tmp_path: Path) -> None:
        more = 'faults = { crash = 0.1 }\nrebuild = { at = 1.0 }\n[[projection]]\nname = "gone"\nstore = "memory"\n'
        made = planned(tmp_path, TEXT + more, "truth.engine=duckdb", "time.service=modelled")
        where = [problem.where.partition(": ")[2] for problem in refused(made)]
        assert where == [
            "truth.engine",
            "time.service",
            "projection.keyed.faults",
            "projection.keyed.rebuild",
            "projection.gone.store",
        ]
        assert all(problem.way_out for problem in refused(made))
        with pytest.raises(BadInput):
            run_live(made, tmp_path / "runs")
        assert not list(tmp_path.glob("runs/small-live/*"))


def test_tickets_are_given_once_each_to_processes_that_share_a_file(tmp_path: Path) -> None:
    script = "from lab.live.tickets import Tickets; import sys, pathlib; t = Tickets(pathlib.Path(sys.argv[1]))\n"
    script += "print(*(t.next() for _ in range(2000)))"
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "tickets")], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    given = Counter(int(number) for child in children for number in child.communicate()[0].split())
    assert given == Counter(range(6_000))
    tickets = Tickets(tmp_path / "tickets")
    assert tickets.given == 6_000
    tickets.close()


def test_ctrl_c_ends_every_process_and_leaves_no_run(tmp_path: Path) -> None:
    planned(tmp_path, TEXT, "workload.rate=20.0")
    arguments = ["-m", "lab", "run", "small-live.toml", "--live", "--set", "workload.rate=20.0", "--runs", "runs"]
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/small-live/.*/work/served/writer-1.journal")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not _processes(tmp_path)
    assert not list(tmp_path.glob("runs/small-live/2*"))
