"""The decision record in Markdown, and the grid of query times that comes first."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from fake_run import fake_run
from rich.console import Console
from running import call

from lab.advice import advise, read
from lab.report import print_run, render
from lab.report.advice import record
from lab.report.facts import overviews
from lab.report.grid import query_grid
from lab.runs import Run, write_table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which `directory_polled` was not asked one query."""
    made = fake_run(tmp_path_factory.mktemp("fake"), changes=500)
    asked = made.table("queries")
    missing = (pl.col("projection") == "directory_polled") & (pl.col("query") == "payroll")
    write_table(made.path, "queries", asked.filter(~missing))
    return Run(made.path)


def test_a_record_has_its_parts_in_order_and_the_command_that_repeats_its_evidence(run: Run) -> None:
    text = record(advise(read(run)), run)
    titles = [line for line in text.splitlines() if line.startswith("#")]
    parts = ["Context", "Decision", "Options", "Evidence", "Consequences", "What would change it"]
    assert titles == ["# Read models for fake", *(f"## {part}" for part in parts)]
    assert run.manifest["replay"] in text
    assert "| fewest projections, " in text
    assert "`advice.gain`" in text
    # The same run, the same record; and a table's rows all have its columns.
    assert record(advise(read(run)), run) == text
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_a_record_of_nothing_that_meets_the_levels_says_what_prevents_it(run: Run) -> None:
    text = record(advise(read(run, ["levels.lag_p99=0.000001"])), run)
    assert "Nothing meets the levels. lag_p99: the smallest lag p99 that can be had is" in text
    assert "Nothing is built until a level is changed." in text


def test_the_command_that_asks_for_the_record_again_has_the_levels_that_it_was_asked_with(run: Run) -> None:
    asked = ("--set", "levels.query_p99=1.5", "--set", "weights.payroll=3")
    printed = call("advise", str(run.path), *asked, "--adr")
    assert f"\nlab advise fake {' '.join(asked)} --adr\n" in printed.stdout
    assert "\nlab advise fake --adr\n" in call("advise", str(run.path), "--adr").stdout


def test_the_command_writes_a_record_into_a_new_file_or_prints_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "adr.md"
    written = call("advise", str(run.path), "--adr", str(file))
    assert written.exit_code == 0
    assert f"wrote {file}" in written.stdout
    kept = file.read_text()
    assert kept.startswith("# Read models for fake\n")
    again = call("advise", str(run.path), "--adr", str(file))
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert file.read_text() == kept
    printed = call("advise", str(run.path), "--adr")
    assert printed.stdout.strip() == kept.strip()


# --- the grid ---------------------------------------------------------------------------------------------------------


def test_the_grid_has_the_ratio_to_the_best_that_may_be_ranked_and_the_reason_of_each_gap(run: Run) -> None:
    grid = query_grid(run, overviews(run))
    times = {(row["projection"], row["query"]): row["p50_us"] for row in run.table("queries").to_dicts()}
    ranked = ("directory", "directory_polled", "salary_totals")
    for name, cells in grid.rows.items():
        for query, cell in zip(grid.queries, cells, strict=True):
            best = min(times[each, query] for each in ranked if (each, query) in times)
            if name not in ranked:
                assert cell.ratio is None
            elif (name, query) in times:
                assert cell.ratio == pytest.approx(times[name, query] / best)
                assert cell.best == (times[name, query] == best)
    gap = grid.rows["directory_polled"][list(grid.queries).index("payroll")]
    assert gap.p50_us is None
    assert grid.notes[(gap.note or 0) - 1] == gap.why
    # What is there already is not recommended.
    assert gap.why == "directory_polled isn't asked `payroll`; directory is."
    assert gap.lack == "not asked"


def test_a_gap_leads_to_no_projection_that_failed(tmp_path: Path) -> None:
    made = fake_run(tmp_path, changes=200)
    only = pl.col("projection").eq("naive") | pl.col("query").ne("payroll")
    write_table(made.path, "queries", made.table("queries").filter(only))
    grid = query_grid(Run(made.path), overviews(Run(made.path)))
    gap = grid.rows["directory"][list(grid.queries).index("payroll")]
    assert gap.why == "directory isn't asked `payroll`: name it in the projection's `queries`."


def test_a_projection_that_can_answer_nothing_is_in_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake_run(tmp_path, changes=200)
    asked = made.table("queries")
    write_table(made.path, "queries", asked.filter(pl.col("projection") != "directory_polled"))
    reasons = {"directory_polled": dict.fromkeys(asked["query"].unique(), "it is a map")}
    monkeypatch.setattr("lab.report.grid.cannot", lambda _: reasons)
    grid = query_grid(Run(made.path), overviews(Run(made.path)))
    assert {cell.lack for cell in grid.rows["directory_polled"]} == {"can't"}


def test_requests_that_failed_are_not_said_to_be_untimed(tmp_path: Path) -> None:
    made = fake_run(tmp_path, changes=200)
    nothing = [pl.lit(None, pl.Float64).alias(f"p50{end}_us") for end in ("", "_low", "_high")]
    write_table(made.path, "queries", made.table("queries").with_columns(nothing))
    grid = query_grid(Run(made.path), overviews(Run(made.path)))
    whys = {cell.why for cells in grid.rows.values() for cell in cells}
    assert "half of its requests failed or were given up" in whys
    assert "it was not timed" not in whys


def test_the_grid_comes_first_in_the_report_and_its_gaps_can_be_read_without_a_pointer(run: Run) -> None:
    page = render(run)
    assert 0 < page.index('<section id="grid"') < page.index('<section id="projections"')
    section = page[page.index('<section id="grid"') :].split("</section>")[0]
    assert 'title="directory_polled isn&#39;t asked `payroll`; directory is.' in section
    assert '<a href="#grid-1"' in section
    assert '<li id="grid-1">' in section


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_grid_comes_first_in_the_terminal_and_fits(run: Run, width: int) -> None:
    out = io.StringIO()
    print_run(run, Console(file=out, width=width))
    text = out.getvalue()
    assert text.index("query p50, hot") < text.index("never")
    assert "not asked 1" in text
    grid = text[text.index("query p50, hot") :].split("1 directory_polled")[0]
    assert all(len(line) <= width for line in grid.splitlines())
