"""What page and terminal say of the parts of a lag, of recovery, of other settings, and of a lag without end."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_run import fake_run
from pieces import SCENARIO
from rich.console import Console
from running import run_text

from lab.report.facts import overviews
from lab.report.lag_parts import differing
from lab.report.page import render
from lab.report.terminal import print_run
from lab.runs import Run, write_table

FAULTS = """
[[channel.outages]]
at = 1.0
lasts = 0.5
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with an outage, and with settings that are not equal."""
    text = SCENARIO.replace("[time]", f"{FAULTS}\n[time]")
    few = ("measure.rebuild=false", "measure.samples=2", "measure.truth=false", "readers.sessions=0")
    return run_text(tmp_path_factory.mktemp("runs"), text, *few)


def printed(run: Run) -> str:
    """What the terminal shows, without line breaks."""
    out = io.StringIO()
    print_run(run, Console(file=out, width=200))
    return " ".join(out.getvalue().split())


def section(page: str, name: str) -> str:
    return page[page.index(f'<section id="{name}"') :].split("</section>")[0]


def test_the_page_shows_the_parts_with_the_settings_beside_them(run: Run) -> None:
    shown = section(render(run), "lag")
    for text in (
        "What the lag was spent on",
        "linger and batch",
        "repair",
        "batch 1,000, linger 500",
        "mean lag (seconds)",
    ):
        assert text in shown.replace("\u00a0", " "), text
    assert "figure-lag_parts_summary" in shown


def test_the_terminal_has_a_line_for_each_projection(run: Run) -> None:
    shown = printed(run)
    for row in run.table("lag_parts_summary").filter(part="linger").to_dicts():
        assert f"{row['projection']}: mean" in shown
    assert "analytics: mean" in shown
    assert "(batch 1,000, linger 500 ms, every 500 ms)" in shown


def test_unequal_settings_are_named_where_lags_are_ranked(run: Run) -> None:
    said = differing(run.table("lag_parts_summary"), overviews(run))
    assert said == (
        "Settings are not equal: batch (100: directory and payroll, 1,000: analytics) and linger (50 ms: directory and "
        "payroll, 500 ms: analytics). An order by lag is first of all that of these settings."
    )
    assert said in printed(run)
    assert "Settings are not equal" in section(render(run), "lag")


def test_equal_settings_are_not_mentioned(run: Run) -> None:
    table = run.table("lag_parts_summary").with_columns(batch=pl.lit(100), linger_seconds=pl.lit(0.05))
    assert differing(table, overviews(run)) == ""


def test_recovery_has_a_section_and_lines(run: Run) -> None:
    shown = section(render(run), "recovery").replace("\u00a0", " ")
    assert "debt<br>at the peak" in shown
    assert "1 s, for 500 ms" in shown
    for row in run.table("recovery").to_dicts():
        assert f"{row['projection']}, outage at 1 s, for 500 ms: debt {row['debt_peak']:,}" in printed(run)


def test_other_settings_and_utilisation_are_tables(run: Run) -> None:
    shown = section(render(run), "lag")
    for text in (
        "What if",
        "as it is",
        "no linger",
        "every 0.1 s",
        "How busy each projection is",
        "with 25 % more changes",
    ):
        assert text in shown.replace("\u00a0", " "), text


def test_a_lag_without_end_is_said_before_any_figure(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=200)
    row: dict[str, Any] = {
        "stable": False,
        "stable_reason": "not stable at this rate: the lag grows by 0.2 s in each second",
    }
    mine = pl.col("projection") == run.manifest["projections"][0]["name"]
    table = run.table("lag_summary").with_columns(
        *(pl.when(mine).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in row.items())
    )
    write_table(run.path, "lag_summary", table)
    run = replace(run)
    page, shown = render(run), printed(run)
    for text in (page.replace("\u00a0", " "), shown):
        assert "is not stable at this rate: the lag grows by 0.2 s in each second" in text
        assert "not stable" in text
    assert page.index("is not stable at this rate") < page.index('<section id="projections"')
    assert overviews(run)[0].waited("p99") == "not stable"


def test_a_run_of_an_older_version_has_none_of_it(tmp_path: Path) -> None:
    page = render(fake_run(tmp_path, changes=200))
    for text in ("What the lag was spent on", "How busy each", 'id="recovery"', 'id="what-if"'):
        assert text not in page
