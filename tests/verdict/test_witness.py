"""Witnesses: small, true, and about the thing that the check found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.dataframe.group_by import GroupBy
from running import run_text
from texts import BASE, STRATEGIES, WRITERS

from lab.checks import OF_RUNS
from lab.shrink import ddmin
from lab.verdict import contents
from lab.verdict.checks import CHECKS
from lab.verdict.replay import Rerun, deliveries
from lab.verdict.runcheck import RunCheck

GUARDS = "".join(
    f'[[projection]]\nname = "{keeps}-{guard}"\nstore = "memory"\nkeeps = "{keeps}"\nguard = "{guard}"\nbatch = 25\n'
    for keeps, guard in (("records", "none"), ("records", "dedupe"), ("totals", "none"))
)
TORN = (
    '[[projection]]\nname = "torn"\nstore = "memory"\nsubscribe = "catch-up"\ncheckpoint = "before-data"\nbatch = 25\n'
)
TROUBLED = (
    (BASE + GUARDS, ("channel.reorder.share=0.5",)),
    (BASE + WRITERS + STRATEGIES, ("catch_up.every=0.05",)),
    (BASE + TORN, ("faults.crash=0.2",)),
    (BASE + GUARDS.replace('"none"', '"revision"'), ("faults.poison=0.1", "truth.model=events")),
)


@given(items=st.lists(st.integers(0, 9), max_size=30), needed=st.sets(st.integers(0, 29), max_size=4))
def test_what_is_left_fails_and_nothing_more_can_be_left_out(items: list[int], needed: set[int]) -> None:
    numbered = list(enumerate(items))
    wanted = {place for place in needed if place < len(items)}

    def fails(kept: list[Any]) -> bool:
        return wanted <= {place for place, _ in kept}

    assert {place for place, _ in ddmin(numbered, fails)} == wanted


def test_trials_are_bounded() -> None:
    asked = []

    def fails(kept: list[int]) -> bool:
        asked.append(kept)
        return len(kept) > 90

    assert len(ddmin(list(range(100)), fails, trials=7)) >= 91
    assert len(asked) <= 7


@pytest.mark.parametrize(("text", "settings"), TROUBLED)
def test_every_witness_is_small_true_and_minimal(
    text: str, settings: tuple[str, ...], tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[Any, ...]] = []

    reduced = RunCheck.witness

    def kept(check: RunCheck, evidence: Any, finding: Any) -> Any:
        result = reduced(check, evidence, finding)
        found.append((evidence, check, finding, result))
        return result

    monkeypatch.setattr(RunCheck, "witness", kept)
    finished = run_text(tmp_path, text, *settings)
    assert len(found) > 2
    told = [item for item in found if item[-1] is not None]
    of_changes = {check.about.name for _, check, finding, _ in found if finding.focus is not None}
    assert {check.about.name for _, check, *_ in told} >= of_changes
    for evidence, check, finding, result in told:
        assert finding.witness.startswith(f"{check.about.anomaly}: ")
        assert result.deliveries <= 12
        record = evidence.published.record
        rows = result.frame(evidence.name, check.about.name)
        # It speaks of the record that the check found, and of nothing that did not happen.
        assert finding.focus + 1 in rows["position"].to_list()
        if not check.story.by_checkpoint:
            assert set(record[rows["position"].to_numpy() - 1]) == {record[finding.focus]}
        commits = rows.filter(line="source").filter(pl.col("label") != "begin")
        assert np.allclose(commits["at_seconds"], evidence.published.committed_at[commits["position"].to_numpy() - 1])
        assert rows["at_seconds"].is_sorted()
        assert rows.select(pl.col("delivery").drop_nulls().n_unique()).item() == result.deliveries
    table = finished.table("witnesses")
    assert table.height == sum(len(result.steps) for *_, result in told)


def test_a_replay_of_all_deliveries_of_a_record_shows_what_the_run_showed(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(RunCheck, "witness", lambda _, evidence, finding: seen.append(evidence))
    run_text(tmp_path, BASE + GUARDS, "channel.reorder.share=0.5")
    for evidence in {item.name: item for item in seen if item.layout.keeps == "records"}.values():
        record = evidence.published.record
        for one in np.unique(record)[:20]:
            wanted = record == one
            after = Rerun(evidence, np.flatnonzero(wanted)).after(deliveries(evidence, wanted))
            key = evidence.published.change(int(np.flatnonzero(wanted)[0]))[1]["key"]
            shows = evidence.dumps["employee"].filter(pl.col("key") == key).drop("position")
            assert after.dumps["employee"].drop("position").equals(shows)


def test_of_equally_simple_records_that_differ_the_witness_is_always_about_the_first(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(RunCheck, "witness", lambda check, evidence, _: seen.append((check.about.name, evidence)))
    unheard = GUARDS.replace("batch", 'subscribe = "channel"\nbatch')
    run_text(tmp_path, BASE + unheard, "channel.lose=0.3", "domain.records=300")
    diverged = [evidence for name, evidence in seen if name == "converged" and evidence.layout.keeps == "records"]
    assert diverged
    in_some_order = GroupBy.agg
    # Groups come in whatever order the engine's threads leave them in.
    monkeypatch.setattr(
        GroupBy, "agg", lambda *given, **named: in_some_order(*given, **named).sample(fraction=1.0, shuffle=True)
    )
    for evidence in diverged:
        findings = [contents.converged(evidence) for _ in range(20)]
        assert findings[0].count > 20, "too few to choose from"
        assert {finding.witness for finding in findings} == {findings[0].witness}


def test_every_check_of_runs_is_described_once_and_has_one_function() -> None:
    assert list(CHECKS) == list(OF_RUNS)
    assert all(check.about is OF_RUNS[name] for name, check in CHECKS.items())
