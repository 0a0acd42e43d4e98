"""A scenario from end to end: what a run leaves behind, that it can be repeated, and that no broken piece gets by."""

from __future__ import annotations

import gc
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from pieces import SCENARIO
from running import call, digests, failed, run_text, shipped, verdicts, witness

from lab.base import NotReadable, Unsound
from lab.engines import sqlite
from lab.experiment import once, run
from lab.experiment.progress import Quiet
from lab.feed.arrays import FeedArrays
from lab.feed.gaps import Gate
from lab.measure.accounting import balances
from lab.projection import rebuild as rebuilding
from lab.projection.guards import Admission, Dedupe, HighestRevision
from lab.running.worker import Worker
from lab.runs import Run, load_run
from lab.scenario import Source
from lab.stores.memory import Memory
from lab.tables import ALWAYS, OPTIONAL
from lab.verdict.checks import CHECKS
from lab.verdict.oracle import Oracle
from lab.wiring import plan

SHIPPED = Path(__file__).parents[2] / "scenarios"
# What a seed decides when time is modelled; `writes`, `rebuild` and `queries` are on the wall clock.
SEEDED = ("lag", "lag_summary", "visibility", "staleness", "accounting", "verdicts", "channel", "deliveries")


# One run, looked at from all sides


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Run]:
    """`lab run mine.toml --json`: what it printed, and the run."""
    root = tmp_path_factory.mktemp("whole")
    (root / "mine.toml").write_text(SCENARIO)
    found = call("run", str(root / "mine.toml"), "--runs", str(root / "runs"), "--json")
    return found, load_run("mine", root / "runs")


def test_a_run_as_expected_exits_with_0_and_prints_one_document(whole: tuple[Result, Run]) -> None:
    found, finished = whole
    assert found.exit_code == 0
    assert found.stderr == ""
    document = json.loads(found.stdout)
    for key in ("run", "verdict", "replay", "projections", "lag_summary", "rebuild", "queries", "writes"):
        assert document[key], key
    assert document["verdict"] == "pass"
    assert Path(document["run"]) == finished.path
    assert {row["check"] for row in document["verdicts"]} == set(CHECKS)
    assert [row["projection"] for row in document["accounting"]] == ["directory", "analytics", "payroll"]


# The optional tables of a run without faults that fails nowhere.
WRITTEN = ALWAYS | {
    name: OPTIONAL[name]
    for name in (
        "beside", "deliveries", "lag_parts", "lag_parts_summary", "midrun", "query_samples", "readers", "utilisation",
        "what_if",
    )
}  # fmt: skip


def test_every_table_is_there_with_its_columns_in_order_and_in_their_types(whole: tuple[Result, Run]) -> None:
    _, finished = whole
    for name, schema in WRITTEN.items():
        frame = pl.read_parquet(finished.path / f"{name}.parquet")
        assert list(frame.schema.items()) == list(schema.types.items()), name
        assert frame.height, name


def test_the_folder_holds_nothing_else(whole: tuple[Result, Run]) -> None:
    _, finished = whole
    names = {f"{name}.parquet" for name in WRITTEN} | {"manifest.json", "report.html"}
    assert {path.name for path in finished.path.iterdir()} == names
    assert {path.name for path in finished.path.parent.iterdir()} == {"latest", finished.path.name}


def test_every_committed_change_is_accounted_for(whole: tuple[Result, Run]) -> None:
    _, finished = whole
    for row in finished.table("accounting").rows(named=True):
        assert balances(row) == 0
        assert row["committed"] == finished.manifest["changes"]
    summary = finished.table("lag_summary")
    assert (summary["changes"] == summary["visible"] + summary["never_visible"]).all()


def test_the_lag_table_has_each_change_of_each_projection_once(whole: tuple[Result, Run]) -> None:
    _, finished = whole
    lag, changes = finished.table("lag"), finished.manifest["changes"]
    for name in verdicts(finished):
        assert lag.filter(pl.col("projection") == name)["position"].to_list() == list(range(1, changes + 1))
    assert (lag["lag_seconds"] >= 0).all()
    shares = finished.table("visibility")["probability"]
    assert shares.is_between(0, 1).all()


def test_the_writes_are_those_of_the_workload(whole: tuple[Result, Run]) -> None:
    _, finished = whole
    row = finished.table("writes").row(0, named=True)
    assert row["commands"] == 3_000
    assert row["accepted"] + row["rejected"] + row["conflicts"] == 3_000
    assert row["accepted"] == finished.manifest["changes"]
    assert row["rejected"] > 0


def test_every_answer_is_right_and_only_right_answers_have_times(whole: tuple[Result, Run]) -> None:
    _, finished = whole
    queries = finished.table("queries")
    assert queries["answer_ok"].all()
    assert queries["p50_us"].is_not_null().all()
    assert set(queries.filter(pl.col("projection") == "payroll")["query"]) == {"payroll"}


def test_the_manifest_says_where_every_figure_comes_from(whole: tuple[Result, Run]) -> None:
    _, finished = whole
    manifest = finished.manifest
    assert manifest["seed"] == 1087
    assert manifest["scenario"]["text"] == SCENARIO
    assert manifest["clocks"]["lag"] == "simulated, service modelled"
    assert manifest["engines"]["truth"]["durability"] == manifest["durability"] == "normal"
    assert set(manifest["engines"]) == {"truth", "directory", "analytics", "payroll"}
    assert manifest["machine"]["cores"] >= 1


def test_the_replay_command_does_the_same_again(whole: tuple[Result, Run], tmp_path: Path) -> None:
    _, finished = whole
    words = shlex.split(finished.manifest["replay"])
    assert words[:2] == ["lab", "run"]
    assert call(*words[1:], "--runs", str(tmp_path)).exit_code == 0
    again = load_run("mine", tmp_path)
    assert digests(again) == digests(finished)
    for name in SEEDED:
        assert again.table(name).equals(finished.table(name)), name
        assert (again.path / f"{name}.parquet").read_bytes() == (finished.path / f"{name}.parquet").read_bytes()


def test_another_seed_is_another_run(whole: tuple[Result, Run], tmp_path: Path, quick: None) -> None:
    _, finished = whole
    other = run_text(tmp_path, seed=1088)
    assert other.manifest["seed"] == 1088
    assert other.manifest["verdict"] == "pass"
    assert not other.table("lag").equals(finished.table("lag"))
    assert digests(other) != digests(finished)


def test_a_run_is_found_by_its_folder_and_by_its_scenarios_name(
    whole: tuple[Result, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, finished = whole
    root = finished.path.parent.parent
    for way in (finished.path, finished.path.parent, finished.path.parent / "latest", str(finished.path)):
        assert load_run(way).path == finished.path
    for way in ("mine", finished.name):
        assert load_run(way, root).path == finished.path
    monkeypatch.chdir(root.parent)
    assert load_run("mine").path == finished.path


def test_a_run_that_is_not_there_is_told_with_the_nearest_that_is(whole: tuple[Result, Run], tmp_path: Path) -> None:
    _, finished = whole
    root = finished.path.parent.parent
    with pytest.raises(NotReadable, match=r"neither a run folder nor a scenario with runs.*did you mean `mine`"):
        load_run("mien", root)
    with pytest.raises(NotReadable, match="there are no runs in"):
        load_run("mine", tmp_path / "none")
    with pytest.raises(AttributeError, match="did you mean `queries`"):
        finished.querys  # noqa: B018
    with pytest.raises(KeyError, match="did you mean `verdicts`"):
        finished.table("verdict")


def test_half_a_run_is_refused(whole: tuple[Result, Run], tmp_path: Path) -> None:
    _, finished = whole
    copy = shutil.copytree(finished.path, tmp_path / "copy")
    (copy / "lag.parquet").unlink()
    with pytest.raises(NotReadable, match="tables are missing: lag"):
        load_run(copy)
    assert call("report", str(copy)).exit_code == 4
    for text, word in (("{}", "not a run of format"), ("{", "not a manifest"), ("[]", "not a run of format")):
        (copy / "manifest.json").write_text(text)
        with pytest.raises(NotReadable, match=word):
            load_run(copy)


def test_reports_and_comparisons_of_no_run_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (("report", "nothing"), ("compare", "nothing", "nothing")):
        found = call(*arguments)
        assert found.exit_code == 2
        assert "lab run SCENARIO" in found.stderr


# Write models, feeds, stores


def test_three_write_models_end_in_the_same_content(tmp_path: Path, quick: None) -> None:
    found = {}
    for model in ("snapshot", "history", "events"):
        finished = run_text(
            tmp_path,
            SCENARIO,
            f"truth.model={model}",
            "projection.payroll.guard=revision",
            "time.service=measured",
            "workload.commands=1200",
        )
        assert finished.manifest["verdict"] == "pass", model
        assert finished.table("writes")["write_model"].to_list() == [model]
        found[model] = digests(finished)
    assert found["snapshot"] == found["history"] == found["events"]


TOTALS = (
    SCENARIO.partition("[[projection]]")[0]
    + """
[[projection]]
name = "one-by-one"
store = "memory"
keeps = "totals"
subscribe = "catch-up"
batch = 1
[[projection]]
name = "all-at-once"
store = "memory"
keeps = "totals"
subscribe = "catch-up"
every = 100.0
batch = 100_000
[measure]
samples = 1
"""
)


def test_the_same_totals_have_the_same_digest_however_they_came_about(tmp_path: Path, quick: None) -> None:
    # With so few people, departments empty; a group that nothing is left of is shown to no reader.
    finished = run_text(
        tmp_path,
        TOTALS,
        "time.service=measured",
        "domain.records=4",
        "workload.commands=400",
        "workload.deletes=0.2",
    )
    assert finished.manifest["verdict"] == "pass"
    assert len(set(digests(finished).values())) == 1


def test_a_run_may_keep_every_revision_and_ask_about_the_past(tmp_path: Path, quick: None) -> None:
    finished = run_text(
        tmp_path,
        SCENARIO,
        "projection.analytics.keeps=revisions",
        "projection.directory.keeps=revisions",
        "projection.directory.guard=dedupe",
        "workload.commands=1000",
    )
    assert finished.manifest["verdict"] == "pass"
    assert {"as_of", "history"} <= set(finished.table("queries")["kind"])


MINIMAL = (
    SCENARIO.partition("[[projection]]")[0]
    + """
[[projection]]
name = "reference"
store = "memory"
[[projection]]
name = "sums"
store = "memory"
keeps = "totals"
guard = "dedupe"
batch = 10
[measure]
samples = 5
"""
)

NULL = '[[projection]]\nname = "harness"\nstore = "null"\nexpect = "unknown"\n'


def test_the_memory_and_the_null_store_run(tmp_path: Path, quick: None) -> None:
    finished = run_text(tmp_path, MINIMAL + NULL)
    assert finished.manifest["verdict"] == "pass"
    assert verdicts(finished) == {"reference": "pass", "sums": "pass", "harness": "unknown"}
    assert digests(finished)["harness"] is None
    queries = finished.table("queries").filter(pl.col("projection") == "harness")
    assert queries["answer_ok"].is_null().all()
    assert queries["p50_us"].is_not_null().all()


def test_what_can_not_be_judged_is_no_pass(tmp_path: Path, quick: None) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL + NULL.replace("unknown", "pass"))
    found = call("run", str(path), "--runs", str(tmp_path / "runs"), "--json", "--set", "workload.commands=400")
    assert found.exit_code == 3
    assert json.loads(found.stdout)["verdict"] == "unknown"


@pytest.mark.parametrize("wrong", ["directory", "payroll"])
def test_an_expectation_that_does_not_come_true_exits_with_1(wrong: str, tmp_path: Path, quick: None) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    options = ["--set", f"projection.{wrong}.expect=fail", "--set", "workload.commands=400"]
    found = call("run", str(path), "--runs", str(tmp_path / "runs"), "--json", *options)
    assert found.exit_code == 1
    document = json.loads(found.stdout)
    assert document["verdict"] == "fail"
    assert [item["name"] for item in document["projections"] if not item["as_expected"]] == [wrong]


def test_a_scenario_may_lie_anywhere_and_run_from_anywhere(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("far/away", "here"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(SHIPPED / "employees.toml", tmp_path / "far/away/copy.toml")
    monkeypatch.chdir(tmp_path / "here")
    options = ["--set", "workload.commands=500", "--set", "domain.records=50", "--set", "measure.samples=2"]
    assert call("run", "../far/away/copy.toml", *options).exit_code == 0
    assert (tmp_path / "here/runs/employees/latest/manifest.json").is_file()
    assert [path.name for path in (tmp_path / "far/away").iterdir()] == ["copy.toml"]


# The shipped scenarios, scaled down


def test_of_four_guards_under_duplicates_and_disorder_the_right_ones_fail(tmp_path: Path, quick: None) -> None:
    finished = shipped("duplicates-and-disorder", tmp_path, "workload.commands=6000")
    assert finished.manifest["verdict"] == "pass"
    caught = {name for name, verdict in verdicts(finished).items() if verdict == "fail"}
    assert caught == {"records-none", "records-dedupe", "totals-none"}
    overwritten = {"converged", "per_key_order", "no_resurrection", "monotonic_reads", "rebuild_equals_live"}
    assert failed(finished, "records-none") >= overwritten
    assert failed(finished, "records-dedupe") >= overwritten
    assert failed(finished, "totals-none") >= {"converged", "no_double_effect", "rebuild_equals_live", "answers_right"}
    assert witness(finished, "records-none", "per_key_order").startswith("stale overwrite: employee ")
    told = witness(finished, "records-none", "per_key_order").splitlines()
    assert [line.split()[2] for line in told[1:3]] == ["source", "source"]
    assert sum("writes it" in line for line in told) == 2
    assert "was written over the tombstone" in witness(finished, "records-dedupe", "no_resurrection")
    assert "was added 2 times" in witness(finished, "totals-none", "no_double_effect")
    rows = {row["projection"]: row for row in finished.table("accounting").rows(named=True)}
    assert all(row["duplicates"] > 0 for row in rows.values())
    # A wrong answer has no time.
    queries = finished.table("queries").filter(~pl.col("answer_ok"))
    assert queries.height
    assert queries["p50_us"].is_null().all()


def test_messages_alone_lose_and_both_is_quicker_than_catch_up(tmp_path: Path, quick: None) -> None:
    finished = shipped("messages-only", tmp_path, "workload.commands=6000")
    assert finished.manifest["verdict"] == "pass"
    rows = {row["projection"]: row for row in finished.table("lag_summary").rows(named=True)}
    assert rows["messages-only"]["never_visible"] > 0
    assert rows["messages-only"]["max_seconds"] is None
    assert "no_loss" in failed(finished, "messages-only")
    assert witness(finished, "messages-only", "no_loss").startswith("lost change: employee ")
    assert not failed(finished, "both") | failed(finished, "catch-up-only")
    assert rows["both"]["never_visible"] == rows["catch-up-only"]["never_visible"] == 0
    assert rows["both"]["p50_seconds"] < rows["catch-up-only"]["p50_seconds"]
    lost = finished.table("lag").filter(pl.col("lag_seconds").is_null())
    assert lost.height == rows["messages-only"]["never_visible"]


def test_the_interval_of_catch_up_is_its_lag(tmp_path: Path, quick: None) -> None:
    finished = shipped("catch-up-only", tmp_path, "workload.commands=12000", "measure.rebuild=false")
    rows = {row["projection"]: row for row in finished.table("lag_summary").rows(named=True)}
    for name, every in (("every-tenth", 0.1), ("every-second", 1.0), ("every-five", 5.0)):
        assert every * 0.4 < rows[name]["p50_seconds"] < every * 0.75


def test_three_days_of_flights_pass_end_to_end(tmp_path: Path, quick: None) -> None:
    finished = run(
        plan(Source(SHIPPED / "flights.toml", ("domain.days=3", "measure.samples=3", "measure.warm_up=0"))), tmp_path
    )
    assert finished.manifest["verdict"] == "pass"
    assert set(verdicts(finished).values()) == {"pass"}
    assert finished.manifest["changes"] > 8_000
    assert finished.table("rebuild")["changes"].min() > 0


# What waits at the end


def test_what_never_becomes_visible_is_parked_skipped_or_pending(tmp_path: Path, quick: None) -> None:
    """A change that is held back to the end is parked, even if a duplicate of it was refused meanwhile."""
    finished = run_text(
        tmp_path,
        MINIMAL,
        "projection.reference.guard=ordered",
        "projection.reference.subscribe=channel",
        "projection.reference.expect=fail",
        "channel.lose=0.1",
        "channel.duplicate=0.5",
        "workload.commands=1000",
    )
    row = finished.table("accounting").filter(pl.col("projection") == "reference").row(0, named=True)
    summary = finished.table("lag_summary").filter(pl.col("projection") == "reference").row(0, named=True)
    assert row["parked"] > 0
    assert balances(row) == 0
    assert summary["never_visible"] == row["parked"] + row["skipped"] + row["pending"]


def test_what_finds_the_hold_full_is_skipped_and_told(tmp_path: Path, quick: None) -> None:
    options = ("projection.reference.guard=ordered", "projection.reference.subscribe=channel")
    finished = run_text(
        tmp_path, MINIMAL, *options, "projection.reference.hold=3", "channel.lose=0.1", "workload.commands=1000"
    )
    row = finished.table("accounting").filter(pl.col("projection") == "reference").row(0, named=True)
    assert row["skipped"] > 0
    assert row["parked"] <= 3
    assert balances(row) == 0
    assert verdicts(finished)["reference"] == "fail"


def test_a_queue_that_is_full_loses_messages_and_catch_up_brings_them(tmp_path: Path, quick: None) -> None:
    slow = ("time.model.per_batch=0.05", "projection.reference.batch=5", "channel.capacity=10")
    finished = run_text(tmp_path, MINIMAL, *slow, "workload.commands=1000")
    assert finished.manifest["verdict"] == "pass"


# Runs that end early


def start(root: Path, *options: str) -> subprocess.Popen[str]:
    """A run that takes a while, in a process of its own; returns when it has begun to write."""
    (root / "mine.toml").write_text(SCENARIO)
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "run", "mine.toml", "--set", "workload.commands=200000", *options],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(SHIPPED.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not list(root.glob("runs/mine/.*.partial/work")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def test_a_run_that_is_killed_leaves_no_half_a_run_and_the_next_one_sweeps(tmp_path: Path, quick: None) -> None:
    small = ("workload.commands=300",)
    before = run_text(tmp_path, MINIMAL, *small)
    process = start(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    home = tmp_path / "runs" / "mine"
    left = [path.name for path in home.iterdir() if path.name.startswith(".")]
    assert len(left) == 1
    assert {path.name for path in home.iterdir()} - set(left) == {before.path.name, "latest"}
    assert load_run("mine", tmp_path / "runs").path == before.path
    after = run_text(tmp_path, MINIMAL, *small)
    assert {path.name for path in home.iterdir()} == {before.path.name, after.path.name, "latest"}
    assert load_run("mine", tmp_path / "runs").path == after.path


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_leaves_nothing_and_says_so(how: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, "--json")
    process.send_signal(how)
    printed, said = process.communicate(timeout=30)
    assert process.returncode == 128 + how
    assert printed == ""
    assert "nothing was left behind" in said
    assert "Traceback" not in said
    assert list((tmp_path / "runs" / "mine").iterdir()) == []


def test_collections_between_the_steps_leave_out_what_was_there_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out: list[int] = []
    monkeypatch.setattr(once, "_run", lambda *_: left_out.append(gc.get_freeze_count()))
    made = plan(Source.of_text(MINIMAL, "mine.toml"))
    try:
        gc.unfreeze()
        once.run_once(made, tmp_path, "one", Quiet())
        assert left_out[0] > 0
        assert gc.get_freeze_count() == 0
        # What a program has frozen itself stays frozen.
        gc.freeze()
        frozen = gc.get_freeze_count()
        once.run_once(made, tmp_path, "two", Quiet())
        # But for those few that nothing refers to any more.
        assert 0 <= frozen - left_out[1] < frozen / 100
        assert abs(gc.get_freeze_count() - frozen) < frozen / 100
    finally:
        gc.freeze()


def test_a_run_that_fails_half_way_leaves_nothing(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_text(tmp_path, MINIMAL, "workload.commands=300")

    def breaking(self: Memory, batch: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Memory, "apply", breaking)
    with pytest.raises(OSError, match="the disk is full"):
        run_text(tmp_path, MINIMAL, "workload.commands=300")
    assert {path.name for path in (tmp_path / "runs" / "mine").iterdir()} == {before.path.name, "latest"}


# Broken pieces, and the checks that are named for them

Patch = Callable[[pytest.MonkeyPatch], None]


def store_that_drops_a_row(patch: pytest.MonkeyPatch) -> None:
    right, dropped = Memory._replaced, dict[str, Any]()

    def wrong(self: Memory, batch: Any) -> Any:
        rows = right(self, batch)
        # One record of the first store that is written to, whatever comes of it later.
        if dropped.setdefault("by", self) is self:
            rows.pop(dropped.setdefault("record", next(iter(rows))), None)
        return rows

    patch.setattr(Memory, "_replaced", wrong)


def store_that_drops_a_row_once(patch: pytest.MonkeyPatch) -> None:
    right, calls = Memory._replaced, iter(range(10**9))

    def wrong(self: Memory, batch: Any) -> Any:
        rows = right(self, batch)
        if next(calls) == 0:
            rows.pop(next(iter(rows)))
        return rows

    patch.setattr(Memory, "_replaced", wrong)


def store_that_holds_a_row_twice(patch: pytest.MonkeyPatch) -> None:
    right = Memory.pages

    def wrong(self: Memory, entity: str) -> Iterator[pl.DataFrame]:
        for page in right(self, entity):
            yield pl.concat([page.head(1), page])

    patch.setattr(Memory, "pages", wrong)


def store_that_adds_twice(patch: pytest.MonkeyPatch) -> None:
    right, calls = Memory._added, iter(range(10**9))

    def wrong(self: Memory, batch: Any) -> Any:
        if next(calls) == 0:
            batch = type(batch)(batch.entity, pl.concat([batch.rows, batch.rows]), batch.checkpoint, batch.memory)
        return right(self, batch)

    patch.setattr(Memory, "_added", wrong)


def store_that_answers_without_the_last_row(patch: pytest.MonkeyPatch) -> None:
    right = Memory.query
    patch.setattr(Memory, "query", lambda self, query, parameters: right(self, query, parameters)[:-1])


def store_that_moves_its_checkpoint_too_far(patch: pytest.MonkeyPatch) -> None:
    right = Memory.checkpoint
    patch.setattr(Memory, "checkpoint", lambda self, entity: right(self, entity) + 5)


def guard_that_admits_everything(patch: pytest.MonkeyPatch) -> None:
    def wrong(self: Any, entity: str, keys: Any, revisions: Any, positions: Any) -> Admission:
        rows = list(range(len(positions)))
        return Admission(rows, rows)

    for guard in (HighestRevision, Dedupe):
        patch.setattr(guard, "admit", wrong)


def guard_that_loses_a_row_in_silence(patch: pytest.MonkeyPatch) -> None:
    right = Dedupe.admit

    def wrong(self: Any, entity: str, keys: Any, revisions: Any, positions: Any) -> Admission:
        found = right(self, entity, keys, revisions, positions)
        found.take = [row for row in found.take if positions[row] != 17]
        found.trigger = found.take
        return found

    patch.setattr(Dedupe, "admit", wrong)


def feed_that_skips_a_change(patch: pytest.MonkeyPatch) -> None:
    right = FeedArrays.page

    def wrong(self: FeedArrays, position: int, limit: int, at: float) -> Any:
        rows = right(self, position, limit, at)
        return rows[rows != 17]

    patch.setattr(FeedArrays, "page", wrong)


def projector_that_takes_the_last_batch_of_a_page_first(patch: pytest.MonkeyPatch) -> None:
    right = Worker.pieces
    patch.setattr(Worker, "pieces", lambda self, *page: reversed(list(right(self, *page))))


def gate_that_is_always_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "look", lambda self, at: 10**9)
    # It keeps nothing back, so no further poll is waited for.
    patch.setattr(Gate, "keeps_back", False)


def store_that_makes_a_row_up(patch: pytest.MonkeyPatch) -> None:
    right = Memory.pages

    def wrong(self: Memory, entity: str) -> Iterator[pl.DataFrame]:
        for page in right(self, entity):
            column = "salary" if "salary" in page.columns else "department"
            made_up = pl.lit(-1) if column == "salary" else pl.lit("Nowhere")
            yield pl.concat([page, page.head(1).with_columns(made_up.cast(page.schema[column]).alias(column))])

    patch.setattr(Memory, "pages", wrong)


def rebuild_that_takes_the_first_revision(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rebuilding, "_reduced", lambda pile: pl.concat(pile).unique("key", keep="first", maintain_order=True))


# Each broken piece, with the checks that must catch it, by projection.
BROKEN: dict[str, tuple[Patch, dict[str, set[str]]]] = {
    "a store that drops a row": (store_that_drops_a_row, {"reference": {"converged", "rebuild_equals_live"}}),
    "a store that drops a row once": (
        store_that_drops_a_row_once,
        {"reference": {"midrun_reads", "read_your_writes"}},
    ),
    "a store that holds a row twice": (
        store_that_holds_a_row_twice,
        {"reference": {"converged", "no_double_effect"}},
    ),
    "a store that adds twice": (store_that_adds_twice, {"sums": {"converged", "rebuild_equals_live"}}),
    "a store that answers wrong": (
        store_that_answers_without_the_last_row,
        {"reference": {"answers_right", "midrun_reads"}, "sums": {"answers_right", "midrun_reads"}},
    ),
    "a checkpoint that is moved too far": (
        store_that_moves_its_checkpoint_too_far,
        {"reference": {"checkpoint_sound"}, "sums": {"checkpoint_sound"}},
    ),
    "a guard that admits everything": (
        guard_that_admits_everything,
        {
            "reference": {"per_key_order", "no_resurrection", "monotonic_reads"},
            "sums": {"no_double_effect", "converged"},
        },
    ),
    "a guard that loses a row in silence": (
        guard_that_loses_a_row_in_silence,
        {"polled": {"accounting", "no_loss", "converged"}},
    ),
    "a feed that skips a change": (
        feed_that_skips_a_change,
        {"polled": {"no_loss", "checkpoint_sound", "read_your_writes", "converged"}},
    ),
    "a projector that takes the last batch first": (
        projector_that_takes_the_last_batch_of_a_page_first,
        {"polled": {"no_rewind"}},
    ),
    "a gate that is always open": (gate_that_is_always_open, {"polled": {"no_skipped_gap", "read_your_writes"}}),
    "a store that makes a row up": (store_that_makes_a_row_up, {"reference": {"no_phantom"}, "sums": {"no_phantom"}}),
    "a rebuild that takes the first revision": (
        rebuild_that_takes_the_first_revision,
        {"reference": {"rebuild_equals_live"}, "sums": {"rebuild_equals_live"}},
    ),
}

PLANTED = MINIMAL.replace(
    "[measure]", '[[projection]]\nname = "polled"\nstore = "memory"\nsubscribe = "catch-up"\n[measure]'
)
# Few records and much disorder; a poll that comes when everything has been said.
PLANTED_OPTIONS = (
    "domain.records=40",
    "workload.commands=800",
    "workload.deletes=0.05",
    "channel.reorder.share=0.5",
    # All projections hear the same story, whose disorder is what a piece below needs to do harm in.
    "channel.draws=shared",
    "projection.reference.batch=20",
    "projection.polled.keeps=revisions",
    "projection.polled.guard=dedupe",
    "projection.polled.batch=50",
    # Writers that commit out of order, and a reader who knows.
    "writers.hold={ kind = 'exponential', mean = 0.02 }",
    "catch_up.gaps=horizon",
)


def test_without_a_broken_piece_nothing_fails(tmp_path: Path, quick: None) -> None:
    finished = run_text(tmp_path, PLANTED, *PLANTED_OPTIONS)
    assert failed(finished) == set()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_piece_is_caught_by_the_checks_that_are_there_for_it(
    name: str, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, caught = BROKEN[name]
    breaking(monkeypatch)
    finished = run_text(tmp_path, PLANTED, *PLANTED_OPTIONS, accounted=False)
    assert finished.manifest["verdict"] == "fail"
    for projection, checks in caught.items():
        assert failed(finished, projection) >= checks
        for check in checks:
            assert witness(finished, projection, check)


def test_every_check_has_a_broken_piece_that_it_catches() -> None:
    caught = {check for _, found in BROKEN.values() for checks in found.values() for check in checks}
    # Those of trials before the run are in tests/conformance, and torn transactions, of which this domain has none,
    # in tests/verdict.
    assert caught | {"values_preserved", "survives_crash", "no_torn_transaction"} == set(CHECKS)


def test_a_source_of_truth_that_is_not_the_oracles_makes_every_figure_worthless(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Oracle.of_commands
    monkeypatch.setattr(Oracle, "of_commands", lambda domain, commands: right(domain, list(commands)[:-7]))
    with pytest.raises(Unsound, match="no figure of this run means anything"):
        run_text(tmp_path, MINIMAL, "workload.commands=300")
    found = call("run", str(tmp_path / "mine.toml"), "--runs", str(tmp_path / "runs"), "--json")
    assert found.exit_code == 3
    assert "no figure of this run means anything" in json.loads(found.stdout)["error"][0]["what"]
    assert list((tmp_path / "runs" / "mine").iterdir()) == []


def test_what_only_a_large_run_does_works_in_the_folder_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    # The folder of runs is a relative path there, and slices are large enough to be loaded and read with Arrow.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sqlite, "ROWS_FOR_INGEST", 1)
    monkeypatch.setattr(sqlite, "ROWS_FOR_ARROW", 1)
    few = [f"--set={setting}" for setting in ("domain.days=1", "time.service=modelled", "measure.samples=2")]
    found = call("run", str(SHIPPED / "flights.toml"), *few, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["verdict"] == "pass"
