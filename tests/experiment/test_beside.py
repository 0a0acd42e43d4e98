"""Reads at the source of truth beside its commits: each is timed, a planted slowness is found, and advice says so."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from modelled import MS, US, printed, problem, source, store, told
from pieces import SCENARIO
from running import run_text

from lab.advice import advise
from lab.advice.model import COMMIT, Reading
from lab.truth.sqlite import SqliteHistory, SqliteSnapshot

QUICK = "\n[measure]\nsamples = 4\nblocks = 2\nwarm_up = 1\nbudget = 0.3\nrebuild = false\ntrials = false\n"


def scenario() -> str:
    """The small scenario with quick measurements."""
    return SCENARIO[: SCENARIO.index("[measure]")] + QUICK if "[measure]" in SCENARIO else SCENARIO + QUICK


def test_commits_and_each_query_are_timed_alone_and_beside(tmp_path: Path) -> None:
    run = run_text(tmp_path, scenario())
    found = run.table("beside")
    answered = set(run.table("queries").filter(projection="truth", answer_ok=True)["query"])
    assert set(found["what"]) <= {COMMIT} | answered
    assert COMMIT in set(found["what"])
    for kind in ("alone", "beside"):
        assert (found[f"{kind}_samples"] > 0).all()
        assert (found[f"{kind}_mean_us"] > 0).all()
    # What is committed again is committed elsewhere: every projection is as it was.
    assert run.manifest["verdict"] == "pass"


def test_reads_that_hold_commits_up_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: after a read the next commit takes 3 ms more."""
    held = {"up": False}
    query, load = SqliteSnapshot.query, SqliteSnapshot.load

    def slow_query(self, *given):  # type: ignore[no-untyped-def]
        held["up"] = True
        return query(self, *given)

    def slow_load(self, *given):  # type: ignore[no-untyped-def]
        if held["up"]:
            time.sleep(0.003)
        held["up"] = False
        return load(self, *given)

    for model in (SqliteSnapshot, SqliteHistory):
        monkeypatch.setattr(model, "query", slow_query)
        monkeypatch.setattr(model, "load", slow_load)
    found = run_text(tmp_path, scenario()).table("beside")
    row = found.row(by_predicate=pl.col("what") == COMMIT, named=True)
    assert row["beside_p50_us"] > row["alone_p50_us"] + 2_000


def test_advice_counts_what_reads_take_beside_commits() -> None:
    pairs = {COMMIT: (told(50 * US), told(100 * US)), "get": (told(1 * MS), told(2 * MS))}
    asked = problem(source(get=1 * MS), store("table", "sqlite.table", get=0.5 * MS), reads=100.0)
    alone = advise(asked).answer
    crowded = advise(replace(asked, beside=pairs, write_busy=0.3))
    assert alone is not None
    assert crowded.answer is not None
    assert crowded.answer.truth_reads.value == pytest.approx(2 * alone.truth_reads.value)
    text = printed(crowded)
    assert "With reads between them a commit takes 100 µs instead of 50.0 µs" in text
    assert "beside commits, reads of `get` take longer, `get` 2.0 times" in text
    blurred = {COMMIT: (Reading(50 * US), Reading(60 * US))}
    unsure = printed(advise(replace(asked, beside=blurred)))
    assert "a commit takes 60.0 µs instead of 50.0 µs, no difference shown" in unsure
