"""Caveats: a void load and a machine that was not quiet are told before any figure, and void loads are not used."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from fake_run import fake_run
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from running import call

from lab.advice import read
from lab.base import BadInput
from lab.measure import quiet
from lab.measure.quiet import OTHERS_MAX, STEAL_MAX, MachineActivity, activity, quietness
from lab.report import compare, print_run, render
from lab.report.caveats import caveats, quietness_said
from lab.runs import Run, write_table
from lab.tables import TABLES

WHY = "the generator was late: 0.129 s at p99, 0.05 s are allowed"
LOAD = {
    "void": False, "why": None, "rate": 50.0, "users": 8, "seconds": 20.0, "processes": 2, "commands": 0.5,
    "generator_delay_p99_seconds": 0.01, "drain": 10.0, "knee": None,
}  # fmt: skip


def quiet_or_not(others: float, stolen: float = 0.0) -> dict[str, Any]:
    """What is in the manifest of ten seconds on two processors, of which others had such a share."""
    before = MachineActivity((0.5, 0.5, 0.5), 100.0, 0.0, 1_000.0, 7.0)
    after = MachineActivity((4.25, 1.0, 0.5), 100.0 + 8.0 + 20.0 * others, 20.0 * stolen, 1_020.0, 7.0 + 8.0)
    return quietness(before, after)


def loaded(root: Path, seed: int = 1, **load: Any) -> Run:
    run = fake_run(root, changes=500, seed=seed, load=LOAD | load, activity=quiet_or_not(0.2))
    row = dict.fromkeys(TABLES["load"].types) | {"row": "RYW/directory", "offered": 40, "answered": 30}
    row |= {"failed": 0, "censored": 10, "p50_seconds": 0.25}
    write_table(run.path, "load", TABLES["load"].frame([row]))
    return run


def printed(run: Run) -> str:
    to = io.StringIO()
    print_run(run, Console(file=to, width=200))
    return to.getvalue()


def test_a_void_load_says_so_before_anything_else(tmp_path: Path) -> None:
    run = loaded(tmp_path, void=True, why=WHY)
    page = render(run)
    said = f"This load is void, and its figures don't mean what they say: {WHY}."
    assert said.replace("'", "&#39;").split(":")[0] in page.split("<main>")[0]
    assert said in " ".join(printed(run).split("projection ")[0].split())
    assert caveats(fake_run(tmp_path, changes=500, seed=2)) == []


def test_a_void_load_is_neither_compared_nor_advised_on_unless_anyway(tmp_path: Path) -> None:
    void, good = loaded(tmp_path, 1, void=True, why=WHY), loaded(tmp_path, 2)
    for one, other in ((void, good), (good, void)):
        with pytest.raises(BadInput, match="is void: the generator was late"):
            compare(one, other)
        assert compare(one, other, anyway=True)["differs"]
    assert compare(good, good)["differs"] == []
    with pytest.raises(BadInput, match="the load is void: the generator was late"):
        read(void)
    assert WHY in " ".join(read(void, anyway=True).left_out)
    assert read(good).left_out == read(fake_run(tmp_path, changes=500, seed=3)).left_out
    refused = call("advise", str(void.path), "--json")
    assert refused.exit_code == 2
    [problem] = json.loads(refused.stdout)["error"]
    assert "--anyway" in json.dumps(problem)
    assert call("advise", str(void.path), "--anyway", "--json").exit_code == 0


def test_loads_are_compared_by_what_was_asked_for_and_not_by_how_many_commands_were_accepted(tmp_path: Path) -> None:
    one, other = loaded(tmp_path, 1), loaded(tmp_path, 2, rate=60.0)
    manifest = json.loads((one.path / "manifest.json").read_text())
    (one.path / "manifest.json").write_text(json.dumps(manifest | {"changes": 501}))
    assert compare(Run(one.path), loaded(tmp_path, 3))["differs"] == []
    with pytest.raises(BadInput, match=r"different loads: rate is 50\.0 and 60\.0"):
        compare(one, other)


def test_the_terminal_has_the_rows_of_a_load(tmp_path: Path) -> None:
    row = next(line for line in printed(loaded(tmp_path)).splitlines() if line.startswith("RYW/directory"))
    assert row.split(maxsplit=6)[:6] == ["RYW/directory", "40", "0", "10", "250", "ms"]
    assert "too few (40)" in row
    assert "too few (40)" in render(loaded(tmp_path, 2)).replace("\u00a0", " ")


def test_a_machine_that_was_not_quiet_is_told_in_terminal_and_report(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=500, activity=quiet_or_not(0.2))
    for said in (render(run), printed(run)):
        assert "This machine was not quiet: other processes used 20" in said
        assert "load average 4.25 at the end" in said
    assert "Other processes had 20.0" in render(run)
    calm = fake_run(tmp_path, changes=500, seed=2, activity=quiet_or_not(0.02))
    assert "not quiet" not in render(calm) + printed(calm)
    assert "Other processes had 2.0" in render(calm)


@given(others=st.floats(0, 0.6), stolen=st.floats(0, 0.3))
def test_shares_are_of_what_neither_the_lab_nor_its_children_used(others: float, stolen: float) -> None:
    found = quiet_or_not(others, stolen)
    assert found["others_share"] == pytest.approx(others, abs=1e-9)
    assert found["steal_share"] == pytest.approx(stolen, abs=1e-9)
    assert found["quiet"] == (not found["why"])
    if abs(others - OTHERS_MAX) > 1e-6 and abs(stolen - STEAL_MAX) > 1e-6:
        assert len(found["why"]) == (others > OTHERS_MAX) + (stolen > STEAL_MAX)


def test_where_the_system_doesn_t_tell_it_is_unknown_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "STAT", tmp_path / "none")
    monkeypatch.setattr(quiet, "LOAD_AVERAGE", tmp_path / "none")
    found = quietness(activity(), activity())
    assert found["why"] == []
    assert {found[name] for name in ("load_average_began", "others_share", "steal_share", "quiet")} == {None}
    run = fake_run(tmp_path, changes=500, activity=found)
    assert "unknown on this system" in quietness_said(run)
    assert "unknown on this system" in render(run)
    assert caveats(run) == []


@pytest.mark.skipif(not quiet.STAT.exists(), reason="this system has no /proc/stat")
def test_the_time_of_this_machine_is_read() -> None:
    before = activity()
    assert before.load_average is not None
    assert len(before.load_average) == 3
    sum(range(3_000_000))
    after = activity()
    assert after.own > before.own
    assert None not in (before.all, after.all, after.busy)
    assert after.all >= after.busy >= before.busy  # type: ignore[operator]
