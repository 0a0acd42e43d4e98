"""Runs of several repetitions: seeds, processes, one folder, the worst verdict, and nothing left of what fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.base import BadInput
from lab.cli import lab
from lab.experiment import run
from lab.experiment.repeating import merged, seeds
from lab.measure.figures import figure, figures
from lab.measure.typical import typical
from lab.report import print_run, render, summary
from lab.report.facts import instead
from lab.runs import Run, load_run
from lab.scenario import Source
from lab.tables import REPETITION, TABLES
from lab.wiring import plan

SCENARIO = """
schema = 1
name = "often"
seed = 11
repeat = 3
[domain]
name = "employees"
records = 50
[workload]
commands = 400
rate = 200.0
[truth]
model = "history"
[channel]
delay = { kind = "exponential", mean = 0.02 }
lose = 0.02
[time]
service = "modelled"
[measure]
samples = 5
blocks = 2
warm_up = 1
trials = false
[[projection]]
name = "directory"
store = "sqlite.table"
[[projection]]
name = "naive"
store = "memory"
guard = "none"
subscribe = "channel"
expect = "fail"
"""
# What is on the simulated clock, or a count: the same in each run of one seed.
SAME = ("lag", "lag_summary", "visibility", "staleness", "accounting", "channel", "deliveries", "verdicts", "readers")


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(plan(Source.of_text(SCENARIO, "often.toml")), tmp_path_factory.mktemp("runs"))


def test_each_repetition_is_the_run_of_its_seed_to_the_last_bit(repeated: Run, tmp_path: Path) -> None:
    assert load_run(repeated.path).repetitions == 3
    chosen = [repeated.repetition(number).manifest["seed"] for number in (1, 2, 3)]
    assert chosen == seeds(11, 3)
    assert chosen[0] == 11
    assert len({*chosen}) == 3
    for number, seed in enumerate(chosen, 1):
        alone = run(plan(Source(Path("often.toml"), ("repeat=1",), seed, SCENARIO)), tmp_path, report=False)
        view = repeated.repetition(number)
        for name in SAME:
            assert view.table(name).equals(alone.table(name)), (number, name)
        timed = {
            "wall_seconds",
            "phases",
            "started_at",
            "run",
            "activity",
            "clock_seconds",
            "peak_rss_bytes",
            "scenario",
        }
        assert view.manifest.keys() == alone.manifest.keys()
        for key in alone.manifest.keys() - timed:
            assert view.manifest[key] == alone.manifest[key], key
        assert view.manifest["replay"] == f"lab run often.toml --seed {seed} --repeat 1"


def test_the_folder_is_that_of_a_run(repeated: Run) -> None:
    assert {path.name for path in repeated.path.iterdir()} <= {f"{name}.parquet" for name in TABLES} | {
        "manifest.json",
        "report.html",
    }
    manifest = repeated.manifest
    each = [repeated.repetition(number).manifest for number in (1, 2, 3)]
    assert manifest["wall_seconds"] == pytest.approx(sum(one["wall_seconds"] for one in each))
    assert manifest["replay"] == "lab run often.toml --seed 11"
    assert manifest["verdict"] == "pass"
    assert [len(one["clock_seconds"]) for one in each] == [4, 4, 4]
    assert all(sorted(one["order"]["rebuild"]) == ["directory", "naive"] for one in each)
    assert repeated.table("rebuild")[REPETITION].to_list() == [1, 1, 2, 2, 3, 3]


def test_terminal_page_and_json_tell_medians_with_intervals(repeated: Run) -> None:
    import io

    from rich.console import Console

    out = io.StringIO()
    print_run(repeated, Console(file=out, width=120))
    assert "median of 3 repetitions" in out.getvalue()
    row = figure(figures(repeated), "lag_p50", "directory")
    document = summary(repeated)
    json.dumps(document, allow_nan=False)
    shown = next(one for one in document["lag_summary"] if one["projection"] == "directory")
    assert row is not None
    assert shown["p50_seconds"] == row["value"]
    assert shown["p50_low_seconds"] == row["low"]
    assert document["repetitions"] == 3
    assert document["figures"]
    # What shows one history; medians, worst verdicts and claims are of all.
    assert {"lag_parts_summary", "accounting", "channel"} <= {*document["of_repetition_1"]} <= {*document}
    assert not {"lag_summary", "rebuild", "queries", "writes", "verdicts", "claims"} & {*document["of_repetition_1"]}
    assert "what the lag was spent on, of repetition 1 of 3" in out.getvalue()
    page = render(repeated)
    assert "median of 3 repetitions" in page
    assert "Of repetition 1 of 3" in page


def test_the_worst_verdict_counts_and_its_witness_says_where(repeated: Run) -> None:
    shown = typical(repeated)
    entry = next(entry for entry in repeated.manifest["projections"] if entry["name"] == "naive")
    assert entry["verdict"] == "fail"
    assert entry["as_expected"]
    lost = shown.table("verdicts").filter(projection="naive", check="no_loss").row(0, named=True)
    number = next(n for n in (1, 2, 3) if fails(repeated.repetition(n)))
    seed = repeated.repetition(number).manifest["seed"]
    assert lost["witness"].startswith(f"repetition {number} (`--repeat 1 --seed {seed}`):\n")


def fails(view: Run) -> bool:
    return bool(view.table("verdicts").filter(projection="naive", check="no_loss", verdict="fail").height)


def manifest(verdict: str, expect: str = "pass", answers: str | None = "pass") -> dict[str, object]:
    entry = {"name": "one", "verdict": verdict, "expect": expect, "as_expected": verdict == expect}
    quiet = {
        "quiet": verdict != "unknown",
        "others_share": 0.01,
        "steal_share": None,
        "why": ["busy"] * (verdict == "unknown"),
    }
    quiet |= {"load_average_began": [1.0], "load_average_ended": [2.0]}
    return {
        "projections": [entry], "truth": {"answers": answers}, "phases": {"write": 1.0}, "wall_seconds": 2.0,
        "peak_rss_bytes": 5, "activity": quiet, "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "expect", "answers", "whole"),
    [
        (["pass", "pass", "pass"], "pass", "pass", "pass"),
        (["pass", "fail", "unknown"], "pass", "pass", "fail"),
        (["pass", "unknown", "pass"], "pass", "pass", "unknown"),
        (["fail", "fail", "fail"], "fail", "pass", "pass"),
        (["pass", "fail", "pass"], "fail", "pass", "fail"),
        (["fail", "fail", "unknown"], "fail", "pass", "unknown"),
        (["unknown", "unknown", "unknown"], "unknown", "pass", "pass"),
        (["pass", "pass", "pass"], "pass", "fail", "fail"),
    ],
)
def test_the_verdict_is_the_worst_of_all_repetitions(
    verdicts: list[str], expect: str, answers: str, whole: str
) -> None:
    found = merged([manifest(verdict, expect, answers) for verdict in verdicts])
    assert found["verdict"] == whole
    # What was not quiet is told of each repetition, also of those whose verdict doesn't decide.
    busy = [number for number, verdict in enumerate(verdicts, 1) if verdict == "unknown"]
    assert found["activity"]["why"] == [f"repetition {number}: busy" for number in busy]
    assert found["wall_seconds"] == 6.0


def test_what_is_expected_to_fail_has_to_in_each_repetition() -> None:
    found = merged([manifest(verdict, "fail") for verdict in ("pass", "fail", "pass")])
    (entry,) = found["projections"]
    # It is not ranked: it failed once.
    assert (entry["verdict"], entry["repetition"]) == ("fail", 2)
    assert (entry["as_expected"], entry["unexpected"]) == (False, [1, 3])
    assert instead(entry) == "expected fail in each repetition, and not in 1 and 3"
    (entry,) = merged([manifest("pass"), manifest("unknown")])["projections"]
    assert instead(entry) == "expected pass"
    (entry,) = merged([manifest("fail", "fail")] * 2)["projections"]
    assert (entry["as_expected"], entry["unexpected"], instead(entry)) == (True, [], "")


def test_the_option_wins_over_the_file_and_both_have_limits(tmp_path: Path) -> None:
    file = tmp_path / "often.toml"
    file.write_text(SCENARIO)
    found = CliRunner().invoke(lab, ["run", str(file), "--repeat", "1", "--runs", str(tmp_path / "runs"), "--json"])
    assert found.exit_code == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["repetitions"] == 1
    assert document["replay"].endswith("--seed 11 --repeat 1")
    for words in (["--repeat", "0"], ["--set", "repeat=0"], ["--set", "repeat=1001"], ["--set", "repeat=1.5"]):
        assert CliRunner().invoke(lab, ["validate" if "--set" in words else "run", str(file), *words]).exit_code == 2


def test_what_a_repetition_refuses_is_refused_in_the_same_words(tmp_path: Path) -> None:
    made = plan(Source.of_text(SCENARIO, "often.toml"))
    made.source.text = made.source.text.replace("records = 50", "records = -1")
    with pytest.raises(BadInput) as refused:
        run(made, tmp_path)
    assert "domain.records" in str(refused.value)
    assert refused.value.exit_status == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["often"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_stops_a_run_ends_its_repetition_too(tmp_path: Path, number: signal.Signals) -> None:
    mark = str(tmp_path)
    (tmp_path / "often.toml").write_text(SCENARIO.replace("commands = 400", "commands = 40_000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "lab", "run", "often.toml"], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"LAB_TEST_MARK": mark},
    )  # fmt: skip
    end = time.monotonic() + 120
    while not set(marked(mark)) - {process.pid}:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    while list(marked(mark)):
        assert time.monotonic() < end, "a repetition outlives its run"
        time.sleep(0.05)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "nothing was left behind" in said
        assert list((tmp_path / "runs" / "often").iterdir()) == []
        return
    (tmp_path / "often.toml").write_text(SCENARIO.replace("commands = 400", "commands = 100"))
    subprocess.run(
        [sys.executable, "-m", "lab", "run", "often.toml", "--repeat", "1"], cwd=tmp_path, capture_output=True
    )
    assert [path.name for path in (tmp_path / "runs").rglob(".*")] == []


def marked(mark: str) -> list[int]:
    """The processes that have the mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"LAB_TEST_MARK={mark}\0".encode() in environment:
                found.append(int(entry.name))
    return found
