"""Two runs compared: judged with repetitions, shown side by side without; against chance, and against the control."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import fake_run
from repeated import noisy
from rich.console import Console
from test_sharing import SCENARIO

from lab.base import TRUTH, stream
from lab.report import compare, print_compare
from lab.report.compare import called
from lab.report.controls import ControlMovement, SharedTimes, beside, settled
from lab.report.judged import CONTROL, DIFFERENT, NO_DIFFERENCE, NOT_JUDGED, TOGETHER, Compared, judge
from lab.runs import Run


def row(result: dict[str, Any], table: str, projection: str, **more: str) -> dict[str, Any]:
    wanted = {"projection": projection} | more
    return next(one for one in result[table] if wanted.items() <= one.items())


def printed(result: dict[str, Any]) -> str:
    out = io.StringIO()
    print_compare(result, Console(file=out, width=120))
    return out.getvalue()


def test_a_planted_slowdown_is_found_and_nothing_else(tmp_path: Path) -> None:
    result = compare(noisy(tmp_path, "before"), noisy(tmp_path, "after", slower={"directory": 1.2}))
    assert result["judged"]
    assert result["names"] == {"a": "before", "b": "after"}
    slower = row(result, "rebuild", "directory")
    assert slower["verdict"] == DIFFERENT
    assert slower["says"].startswith(("after: 1.19 ", "after: 1.2"))
    assert " times slower (" in slower["says"]
    assert row(result, "queries", "directory", query="by_id")["verdict"] == DIFFERENT
    others = [one for one in [*result["rebuild"], *result["queries"]] if one["projection"] != "directory"]
    assert not any(one["verdict"] == DIFFERENT for one in others)
    same = row(result, "rebuild", "directory_polled")
    assert same["verdict"] == NO_DIFFERENCE
    assert same["says"].startswith("no difference shown: ")
    assert same["seen_from"] is not None
    assert 1.01 < same["seen_from"] < 1.2
    text = printed(result)
    assert "times would have been seen" in text
    assert "before" in text
    assert "control" in text
    json.dumps(result, allow_nan=False)


def test_who_is_faster_is_so_many_times_faster(tmp_path: Path) -> None:
    result = compare(noisy(tmp_path, "before", slower={"directory": 16.0}), noisy(tmp_path, "after"))
    found = row(result, "rebuild", "directory")
    assert found["says"].startswith("after: 16 times faster (1")
    assert found["ratio"] == pytest.approx(1 / 16, rel=0.05)


def test_a_machine_that_is_slower_as_a_whole_makes_no_difference_of_any_figure(tmp_path: Path) -> None:
    result = compare(noisy(tmp_path, "before"), noisy(tmp_path, "after", slowness=1.3))
    assert result["control"]["moved"]
    assert any("this machine was not quiet" in note for note in result["notes"])
    assert set(result["control"]["kinds"]) == {
        "clock",
        "commands of the source of truth",
        "queries of the source of truth",
        "null",
    }
    found = [one for table in ("rebuild", "queries") for one in result[table] if one["verdict"] == DIFFERENT]
    assert found == []
    assert "no more than the control" in row(result, "rebuild", "directory")["says"]


def test_two_machines_are_not_one_that_was_not_quiet(tmp_path: Path) -> None:
    other = {"cpu": "Another CPU", "cores": 2, "memory_bytes": 8 * 2**30}
    result = compare(noisy(tmp_path, "before"), noisy(tmp_path, "after", slowness=1.3, machine=other), anyway=True)
    assert any(note.startswith("these are two machines: what nobody changed took 1.") for note in result["notes"])


def test_a_run_compared_with_itself_says_so_and_differs_in_nothing(tmp_path: Path) -> None:
    run = noisy(tmp_path, "alone")
    result = compare(run, Run(run.path))
    assert result["notes"] == ["this is one run, compared with itself: name two runs"]
    assert not any(one["verdict"] == DIFFERENT for table in ("rebuild", "queries") for one in result[table])
    assert "compared with itself" in printed(result)


@pytest.mark.parametrize("seeds", [(3, 7), (7, 3)])
def test_runs_of_different_numbers_of_repetitions_are_compared_unpaired(tmp_path: Path, seeds: tuple[int, int]) -> None:
    before, after = noisy(tmp_path, "before", seeds[0]), noisy(tmp_path, "after", seeds[1], slower={"directory": 2.0})
    result = compare(before, after)
    assert result["pairing"] == "none"
    assert row(result, "rebuild", "directory")["verdict"] == DIFFERENT
    assert printed(result)
    alone = compare(before, after.repetition(1))
    assert not alone["judged"]
    assert row(alone, "rebuild", "directory")["verdict"] == NOT_JUDGED
    assert alone["notes"][0].startswith("one of the runs has one repetition")
    assert printed(alone)


def test_what_moves_by_much_more_than_the_machine_is_still_found(tmp_path: Path) -> None:
    result = compare(noisy(tmp_path, "before"), noisy(tmp_path, "after", slowness=1.3, slower={"directory": 2.0}))
    assert row(result, "rebuild", "directory")["verdict"] == DIFFERENT


def test_the_source_of_truth_is_no_control_if_it_is_another_one(tmp_path: Path) -> None:
    truth = {"model": "history", "engine": "duckdb", "answers": "pass"}
    result = compare(noisy(tmp_path, "before"), noisy(tmp_path, "after", truth=truth))
    # A rebuild in `null` reads the source of truth too.
    assert set(result["control"]["kinds"]) == {"clock"}
    assert row(result, "queries", TRUTH, query="by_id")["verdict"] != CONTROL
    why = "commands of the source of truth, since source of truth and scenario changed"
    assert why in result["control"]["left_out"]
    assert "  no control: " in printed(result)
    versions = compare(noisy(tmp_path, "former"), noisy(tmp_path, "later", versions={"duckdb": "9"}))
    assert set(versions["control"]["kinds"]) == {"clock"}


def test_what_was_changed_is_no_control_and_is_said(tmp_path: Path) -> None:
    def scenario(skew: float) -> dict[str, Any]:
        return {"text": SCENARIO, "overrides": [f"workload.skew={skew}"], "file": "x.toml"}

    same = [noisy(tmp_path, name, scenario=scenario(0.5)) for name in ("one", "other")]
    kinds = {"clock", "commands of the source of truth", "queries of the source of truth", "null"}
    assert set(compare(*same)["control"]["kinds"]) == kinds
    changed = compare(same[0], noisy(tmp_path, "changed", scenario=scenario(0.9)))
    assert set(changed["control"]["kinds"]) == {"clock"}
    assert {said.partition(",")[2] for said in changed["control"]["left_out"]} == {" since [workload] changed"}
    assert changed["writes"]["verdict"] != CONTROL


def test_without_anything_in_common_it_is_said(tmp_path: Path) -> None:
    versions = [{"python": "3.11"}, {"python": "3.12"}]
    result = compare(*(noisy(tmp_path, each["python"][-2:], versions=each) for each in versions))
    assert result["control"]["kinds"] == {}
    assert any("there is no control" in note for note in result["notes"])
    assert "clock, since versions changed" in result["control"]["left_out"]


def test_one_repetition_each_is_shown_and_not_judged(tmp_path: Path) -> None:
    one, other = fake_run(tmp_path, 2_000, 1), fake_run(tmp_path, 2_000, 2, {"directory": 30.0})
    result = compare(one, other)
    assert not result["judged"]
    assert "`lab run … --repeat 10`" in result["notes"][0]
    judged = [*result["rebuild"], *result["queries"], *(lag[part] for lag in result["lag"] for part in ("p50", "p99"))]
    assert {one["says"] for one in judged} <= {
        "not judged: one repetition each", "withheld: fail in both", "withheld: unknown in both",
    }  # fmt: skip
    assert row(result, "lag", "directory")["p50"]["ratio"] > 100
    assert "times slower" not in printed(result)
    assert "--repeat" in printed(result)


def test_runs_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    def named(scenario: str, run: str) -> Run:
        folder = tmp_path / scenario / run
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"scenario": {"name": scenario}}))
        return Run(folder)

    first, second = named("shop", "20261128T000000-ad6bda"), named("shop", "20261128T000100-ffe210")
    assert called(first, named("stall", "20261128T000000-ad6bda")) == ("shop", "stall")
    assert called(first, second) == ("ad6bda", "ffe210")
    assert called(first, first) == ("ad6bda", "ad6bda again")


def noted(spread: float, drift: float) -> bool:
    """Whether the note on spread belongs to a figure that varies so much, beside a control that moved so far."""
    rng = stream(1, "noted")
    a, b = np.exp(spread * rng.standard_normal((2, 10)))
    quiet = np.exp(1e-4 * rng.standard_normal((2, 10)))
    moved = settled(
        [SharedTimes("clock", ("clock", None), (quiet[0].tolist(), (quiet[1] * drift).tolist()))], pairs=True
    )
    ratios = beside((a.tolist(), b.tolist()), moved, ("rebuild", None), pairs=True)
    found = [Compared("rebuild", "one", None, None, figure(a), figure(b), ratios)]
    return judge(found, moved, [None], "b")[0].limited_by_spread


def test_the_spread_is_named_only_where_it_is_what_limits() -> None:
    assert noted(0.1, 1.0)
    assert not noted(0.01, 1.0)
    # The machine was half as fast: no number of repetitions would help.
    assert not noted(0.1, 2.0)
    assert not noted(0.01, 2.0)


def test_few_repetitions_that_hardly_vary_are_not_called_few(tmp_path: Path) -> None:
    quiet = compare(noisy(tmp_path, "before", 4, noise=0.001), noisy(tmp_path, "after", 4, noise=0.001))
    loud = compare(noisy(tmp_path, "one", 4, noise=0.2), noisy(tmp_path, "other", 4, noise=0.2))
    assert not [note for note in quiet["notes"] if "more repetitions" in note]
    (note,) = [note for note in loud["notes"] if "more repetitions" in note]
    assert "vary so much between the 4 repetitions that only a difference of more than 10 %" in note


def figure(values: np.ndarray) -> dict[str, Any]:
    return {"values": values.tolist(), "repetitions": len(values), "reason": ""}


def experiment(number: int, repetitions: int, figures: int, spread: float, drift: float, planted: float) -> list[bool]:
    """Compare two synthetic runs: which figures are called different. Only the first two are slower by `planted`.

    Each figure varies between repetitions by `spread`, a repetition as a whole by as much, and the second run as a
    whole by `drift`, which the control sees in its own way.
    """
    rng = stream(number, "compared")
    runs = []
    for run in range(2):
        whole = np.exp(spread * rng.standard_normal(repetitions)) * np.exp(drift * rng.standard_normal() * run)
        own = np.exp(spread * rng.standard_normal((figures + 3, repetitions)))
        own[:2] *= planted if run else 1.0
        runs.append(whole * own)
    controls = settled(
        [
            SharedTimes(str(place), (str(place), None), (runs[0][place].tolist(), runs[1][place].tolist()))
            for place in range(figures, figures + 3)
        ],
        pairs=True,
    )
    found = []
    for place in range(figures):
        a, b = runs[0][place], runs[1][place]
        ratios = beside((a.tolist(), b.tolist()), controls, ("rebuild", None), pairs=True)
        found.append(Compared("rebuild", "one", None, None, figure(a), figure(b), ratios))
    judged = judge(found, controls, [None] * figures, "b")
    return [one.verdict == DIFFERENT for one in judged]


@pytest.mark.parametrize("drift", [0.0, 0.1])
@pytest.mark.parametrize("repetitions", [5, 10])
def test_a_run_against_itself_is_flagged_in_at_most_5_percent_of_comparisons(repetitions: int, drift: float) -> None:
    found = [experiment(number, repetitions, 32, 0.04, drift, 1.0) for number in range(200)]
    assert np.mean(found) <= 0.05
    # Of Benjamini and Hochberg: one list in twenty has anything in it. Of 200 that is 10, and in 98 of 100 cases no
    # more than 16.
    assert np.mean([any(one) for one in found]) <= 0.08


def test_a_slowdown_of_10_percent_is_found_with_ten_repetitions() -> None:
    found = np.array([experiment(number, 10, 16, 0.025, 0.0, 1.1) for number in range(60)])
    assert found[:, :2].mean() >= 0.9
    assert found[:, 2:].mean() <= 0.05


def test_a_store_as_a_whole_is_no_needle_among_single_figures() -> None:
    rng = stream(7, "needle")
    found = []
    for place in range(101):
        a, b = np.exp(0.05 * rng.standard_normal((2, 10)))
        # A slowdown that one in a hundred figures shows by chance.
        values = (a.tolist(), (b * (1.07 if place == 0 else 1.0)).tolist())
        quantity = TOGETHER if place == 0 else "query_p50"
        ratios = beside(values, ControlMovement(), (quantity, "hot"), pairs=False)
        found.append(Compared(quantity, "one", None, "hot", figure(a), figure(b), ratios))
    nothing: list[str | None] = [None] * len(found)
    assert 0.001 < (found[0].ratio.p or 0.0) < 0.05
    judged = judge(found, ControlMovement(), nothing, "b")
    assert [one.compared.quantity for one in judged if one.verdict == DIFFERENT] == [TOGETHER]
    alone = [replace(one, quantity="query_p50") for one in found]
    assert not any(one.verdict == DIFFERENT for one in judge(alone, ControlMovement(), nothing, "b"))


def test_without_a_control_nothing_has_to_be_exceeded() -> None:
    assert settled([], pairs=True) == ControlMovement()
    alone = beside(([1.0, 1.1, 1.2], [2.0, 2.1, 2.3]), ControlMovement(), ("rebuild", None), pairs=True)
    assert alone.ratio == alone.measured
