"""Advice on run folders: what is read from them, what is told of them, the command, and the section of the report."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_run import PROJECTIONS, QUERIES, fake_run
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import SCENARIO
from repeated import merged
from rich.console import Console
from running import call, run_text

from lab.advice import advise, read
from lab.advice.problem import NOT_ASKED
from lab.base import TRUTH, BadInput
from lab.formatting import number
from lab.measure.temperatures import temperatures
from lab.report import compare, print_compare, render
from lab.report.advice import document, figure, print_advice
from lab.runs import Run, write_table
from lab.statistics.intervals import Interval, intervals

NAMES = [name for name, *_ in PROJECTIONS]
VERDICTS = ("pass", "fail", "unknown")
LEVELS = """
[levels]
lag_p99 = 30.0
rebuild = 600.0
query_p99 = 60.0
engines = 1

[levels.queries]
employee = 50.0

[weights]
employee = 20.0
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return with_intervals(fake_run(tmp_path_factory.mktemp("fake"), changes=2_000))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real run: small, with levels and weights that any machine meets."""
    return run_text(tmp_path_factory.mktemp("real"), SCENARIO + LEVELS)


def with_intervals(run: Run, share: float = 0.05) -> Run:
    """The run with intervals of this share around each p50 and p99."""
    ends = {"low": 1 - share, "high": 1 + share}
    columns = {
        f"{name}_{end}_us": pl.col(f"{name}_us") * factor for name in ("p50", "p99") for end, factor in ends.items()
    }
    write_table(run.path, "queries", run.table("queries").with_columns(weight=pl.lit(1.0)).with_columns(**columns))
    return Run(run.path)


def earlier(run: Run) -> Run:
    """The run as a version wrote it that knew single calls alone."""
    frame = run.table("queries")
    frame.drop([name for name in frame.columns if name.startswith("cold_") or name == "temperature"]).write_parquet(
        run.path / "queries.parquet"
    )
    return Run(run.path)


def with_manifest(run: Run, **entries: Any) -> Run:
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | entries))
    return Run(run.path)


def with_truth(run: Run, microseconds: float = 50.0) -> Run:
    """The run with rows of the source of truth, which answers every query in this time."""
    own = run.table("queries").filter(pl.col("projection") == "directory")
    ends = {f"{name}{end}_us": microseconds for name in ("p50", "p90", "p99") for end in ("", "_low", "_high")}
    times = {name: pl.lit(value) for name, value in ends.items() if name in own.columns}
    rows = own.with_columns(projection=pl.lit(TRUTH), store=pl.lit("sqlite.truth"), answer_ok=pl.lit(True), **times)
    write_table(run.path, "queries", pl.concat([run.table("queries"), rows.select(run.table("queries").columns)]))
    return Run(run.path)


def told(run: Run, *overrides: str) -> dict[str, Any]:
    """The document; and it must be strict JSON."""
    found = document(advise(read(run, overrides)))
    return dict(json.loads(json.dumps(found, allow_nan=False)))


def printed(run: Run, *overrides: str) -> str:
    out = io.StringIO()
    print_advice(advise(read(run, overrides)), Console(file=out, width=80))
    return out.getvalue()


# --- what is read -----------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(VERDICTS), min_size=len(NAMES), max_size=len(NAMES)),
    st.lists(st.sampled_from([True, True, True, False, None]), min_size=15, max_size=15),
    st.booleans(),
)
def test_nothing_that_failed_or_answered_wrongly_is_ever_advised(
    fake: Run, new_folder: Any, verdicts: Sequence[str], right: Sequence[bool | None], strict: bool
) -> None:
    folder = new_folder()
    entries = [entry | {"verdict": found} for entry, found in zip(fake.manifest["projections"], verdicts, strict=True)]
    levels = {"lag_p99": 0.5, "query_p99": 0.001} if strict else {}
    (folder / "manifest.json").write_text(json.dumps(fake.manifest | {"projections": entries, "levels": levels}))
    for name in ("lag", "lag_summary", "rebuild"):
        (folder / f"{name}.parquet").symlink_to(fake.path / f"{name}.parquet")
    asked = fake.table("queries").with_columns(answer_ok=pl.Series(right))
    write_table(folder, "queries", asked)
    found = told(Run(folder))
    passed = {name for name, verdict in zip(NAMES, verdicts, strict=True) if verdict == "pass"}
    wrong = set(asked.filter(pl.col("answer_ok").ne_missing(True)).select("projection", "query").iter_rows())
    rows = [*found["runners_up"], *found["pareto"]]
    named = {name for row in rows for name in row["projections"]} | {row["projection"] for row in found["portfolio"]}
    assert named | {row["row"]["projection"] for row in found["evidence"]} <= passed
    sent = {(row["projection"], query["query"]) for row in found["portfolio"] for query in row["queries"]}
    assert not sent & wrong
    for name in set(NAMES) - passed:
        assert any(reason.startswith(f"{name}: its verdict is") for reason in found["left_out"])
    for name, query in wrong:
        assert name not in passed or any(reason.startswith(f"{name}, {query}: ") for reason in found["left_out"])


def test_a_run_s_figures_become_readings_with_their_rows(fake: Run) -> None:
    asked = read(fake)
    assert [each.name for each in asked.candidates] == ["directory", "directory_polled", "salary_totals"]
    each, summary = asked.candidates[0], fake.table("lag_summary").row(0, named=True)
    assert each.engine == "sqlite"
    assert each.lag.value == summary["p99_seconds"]
    assert each.lag.low is not None
    assert each.lag.high is not None
    assert each.lag.low <= each.lag.value <= each.lag.high
    row = fake.table("queries").row(0, named=True)
    time = each.answers[row["query"]].p99
    assert (time.value, time.low, time.high) == tuple(row[f"p99{end}_us"] / 1e6 for end in ("", "_low", "_high"))
    assert (each.rebuild.table, each.rebuild.column, each.rebuild.once) == ("rebuild", "seconds", True)
    assert each.disk.value == fake.table("rebuild")["size_bytes"][0]


@pytest.mark.parametrize(("chosen", "column"), [("hot", "p50_us"), ("cold", "cold_p50_us")])
def test_advice_takes_the_query_times_that_it_is_told_to_and_says_which(fake: Run, chosen: str, column: str) -> None:
    asked = read(fake, [f"advice.queries={chosen}"])
    assert asked.temperature == chosen
    row = fake.table("queries").row(0, named=True)
    time = asked.candidates[0].answers[row["query"]].p50
    assert (time.value, time.column) == (row[column] / 1e6, column)
    found = document(advise(asked))
    assert found["temperature"] == chosen
    claims = [claim["claim"] for claim in found["evidence"] if claim["table"] == "queries"]
    assert claims
    assert all(f", {chosen})" in claim for claim in claims)
    assert read(fake).temperature == "hot"


def test_the_scenario_says_which_query_times_advice_takes(tmp_path: Path) -> None:
    own = with_manifest(fake_run(tmp_path, changes=200), advice={"queries": "cold"})
    assert read(own).temperature == "cold"
    assert read(own, ["advice.queries=hot"]).temperature == "hot"
    with pytest.raises(BadInput, match="queries"):
        read(own, ["advice.queries=lukewarm"])


def test_a_run_without_the_query_times_that_are_asked_for_is_advised_on_by_those_that_it_has(tmp_path: Path) -> None:
    asked = read(earlier(fake_run(tmp_path, changes=200)))
    assert asked.temperature == "cold"
    assert "hot query times: this run has none, so those that it has are taken" in asked.left_out
    assert asked.candidates[0].answers["by_id"].p50.column == "p50_us"


def test_rebuild_and_disk_of_a_repeated_run_are_medians_with_intervals(tmp_path: Path) -> None:
    """Three rebuilds of 1, 2 and 3 s have a median of 2 s; a level is held against the upper end."""
    parts = [fake_run(tmp_path / "parts", changes=200, seed=seed) for seed in (1, 2, 3)]
    for times, part in enumerate(parts, 1):
        table = part.table("rebuild").with_columns(seconds=pl.lit(float(times)))
        write_table(part.path, "rebuild", table)
    found = read(merged(tmp_path / "fake" / "repeated", parts)).candidates[0].rebuild
    assert found.value == 2.0
    assert found.low is not None
    assert found.high is not None
    assert found.low < 2.0 < found.high
    assert not found.once
    assert not found.meets(2.0)


def test_a_lag_that_is_never_is_infinite_and_bounded_by_nothing(fake: Run) -> None:
    passed = [entry | {"verdict": "pass"} for entry in fake.manifest["projections"]]
    folder = fake.path.parent / "passed"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(fake.manifest | {"projections": passed}))
    for name in ("lag", "lag_summary", "rebuild", "queries"):
        (folder / f"{name}.parquet").symlink_to(fake.path / f"{name}.parquet")
    naive = next(each for each in read(Run(folder)).candidates if each.name == "naive")
    assert math.isinf(naive.lag.value)
    assert naive.lag.high is None


def test_a_lag_that_grew_in_a_repetition_is_infinite_and_said_to_grow(tmp_path: Path) -> None:
    parts = [fake_run(tmp_path / "parts", changes=200, seed=seed) for seed in (1, 2, 3)]
    for place, part in enumerate(parts):
        write_table(part.path, "lag_summary", part.table("lag_summary").with_columns(stable=pl.lit(place != 1)))
    run = merged(tmp_path / "fake" / "repeated", parts)
    lags = [each.lag for each in read(run).projections]
    assert {(lag.value, lag.reason) for lag in lags} == {(math.inf, "not stable at this rate")}
    found = advise(read(run))
    assert found.recommended is not None
    name = found.recommended.names[0]
    assert f"But {name} is no read model to rely on: its lag p99 grows without end." in document(found)["says"]


def test_the_interval_of_a_lag_is_wider_where_changes_share_their_luck() -> None:
    random = np.random.default_rng(5)
    alone = random.exponential(1.0, 4_000)
    batches = np.repeat(random.exponential(1.0, 400), 10)

    def width(lags: np.ndarray) -> float:
        (found,) = intervals(lags, [0.5])
        assert found.low is not None
        assert found.high is not None
        assert found.low <= np.median(lags) <= found.high
        return found.high - found.low

    assert width(batches) > 2 * width(alone)
    assert intervals([], [0.5]) == [Interval(reason="0 samples; 1 are needed")]
    assert intervals(np.full(50, math.inf), [0.5]) == [Interval(reason="the upper end is infinite")]


def test_the_source_of_truth_is_enough_where_it_answers_quickly_enough(tmp_path: Path) -> None:
    run = with_truth(with_intervals(fake_run(tmp_path, changes=200)))
    run = with_manifest(run, levels={"query_p99": 0.001, "lag_p99": 0.01})
    found = told(run)
    assert found["says"] == "The source of truth is enough: no projection is needed."
    assert [row["source_of_truth"] for row in found["portfolio"]] == [True]
    assert found["figures"]["disk_bytes"] == 0
    assert NOT_ASKED not in found["left_out"]
    assert "The source of truth is enough" in printed(run)
    # No projection is as fresh as that, and 10 µs is less than the source of truth can do.
    impossible = told(run, "levels.query_p99=0.000010")
    assert not impossible["feasible"]
    assert impossible["binding_level"].startswith("query_p99: the smallest query p99 that can be had is 50.0 µs")


def test_without_rows_of_it_the_source_of_truth_is_no_candidate_and_that_is_said(fake: Run) -> None:
    assert NOT_ASKED in told(fake)["left_out"]
    assert NOT_ASKED in " ".join(printed(fake).split())


def test_a_projection_that_is_called_truth_is_a_projection(tmp_path: Path) -> None:
    run = with_truth(fake_run(tmp_path, changes=200))
    entries = [entry | ({"name": TRUTH} if entry["name"] == "naive" else {}) for entry in run.manifest["projections"]]
    assert read(with_manifest(run, projections=entries)).truth is None


def test_without_intervals_nothing_is_told_apart(tmp_path: Path) -> None:
    found = told(fake_run(tmp_path, changes=200))
    assert found["feasible"]
    assert len(found["ties"]) == 2
    assert any("no difference can be shown" in reason for reason in found["left_out"])


# --- what is told -----------------------------------------------------------------------------------------------------


def test_the_document_has_the_words_of_the_design(fake: Run) -> None:
    found = told(fake)
    words = {"portfolio", "feasible", "binding_level", "runners_up", "pareto", "evidence", "ties", "weight_ranges"}
    assert words <= set(found)
    assert found["feasible"] is True
    assert found["binding_level"] is None
    (row,) = found["portfolio"]
    assert {query["query"] for query in row["queries"]} == {name for name, *_ in QUERIES}
    for claim in found["evidence"]:
        assert {"claim", "table", "row", "column", "value", "low", "high", "confidence"} <= set(claim)
        table = fake.table(claim["table"])
        kept = table.filter(*(pl.col(name) == value for name, value in claim["row"].items()))
        assert claim["column"] in table.columns
        if claim["table"] == "verdicts":
            assert kept["verdict"].to_list() == ["pass"] * len(kept)
        else:
            assert kept[claim["column"]].to_list() == pytest.approx([claim["value"]])
    once = [claim for claim in found["evidence"] if claim["table"] == "rebuild"]
    assert {claim["confidence"] for claim in once} == {None}
    assert {claim["method"] for claim in once} == {"measured once: no interval"}


def test_an_impossible_level_is_said_with_the_smallest_that_can_be_had(fake: Run) -> None:
    found = told(fake, "levels.lag_p99=0.000001")
    assert found["feasible"] is False
    assert found["portfolio"] == found["evidence"] == []
    least = min(each.lag.high or 0.0 for each in read(fake).projections)
    assert found["binding"]["least"] == [least]
    assert re.match(
        r"lag_p99: the smallest lag p99 that can be had is [\d.]+ ms, and 1\.00 µs is", found["binding_level"]
    )
    assert "misses lag p99" in found["runners_up"][0]["says"]
    said = " ".join(printed(fake, "levels.lag_p99=0.000001").split())
    assert "Nothing meets the levels. lag_p99: the smallest lag p99 that can be had is" in said


def test_a_query_that_only_a_failed_projection_answers_is_said_to_have_no_answer(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=200)
    only = pl.col("projection").eq("naive") | pl.col("query").ne("payroll")
    write_table(run.path, "queries", run.table("queries").filter(only))
    found = told(Run(run.path))
    assert found["binding_level"] == "queries.payroll: no projection that passed answers it"
    assert found["pareto"] == []
    assert "payroll: no projection that passed answers it" in render(Run(run.path))


def test_the_terminal_tells_all_at_80_columns(fake: Run) -> None:
    text = printed(fake, "levels.query_p99=1", "levels.lag_p99=60", "levels.engines=1", "levels.disk_bytes=9000000")
    assert all(len(line) <= 80 for line in text.splitlines()[1:])
    for word in ("levels", "queries", "projections", "runners-up", "left out", "shown", "measured once"):
        assert word in text
    assert "naive: its verdict is fail" in text


def test_the_front_has_a_row_for_each_portfolio_and_units_on_each_axis(fake: Run) -> None:
    found = advise(read(fake, ("levels.lag_p99=0.5", "levels.disk_bytes=2000000")))
    drawn = figure.pareto(found)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["lag p99", "rebuild", "query (weighted)", "disk"]
    assert all(re.fullmatch(r"(µs to s|kB to MB), log scale", axes.get_xlabel()) for axes in drawn.axes)
    rows = len(figure.shown(found))
    assert rows > 1
    for axes in drawn.axes:
        assert len(axes.get_yticks()) == rows
        assert len(axes.get_xticks()) == 2
        low, high = axes.get_xlim()
        assert all(low < tick < high for tick in axes.get_xticks())


def test_a_front_longer_than_the_figure_is_cut_and_that_is_said(fake: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure, "ROWS_MAX", 1)
    assert len(figure.shown(advise(read(fake)))) == 1
    assert "more of the front" in render(fake)


def test_the_report_has_the_section_and_a_run_without_queries_has_none(fake: Run, tmp_path: Path) -> None:
    page = render(fake)
    section = page[page.index('<section id="advice"') :].split("</section>")[0]
    assert '<a href="#advice">' in page
    for word in ("One projection does it", "Pareto front", "Runners-up", "How far a weight can move", "left out"):
        assert word in section
    assert "<svg" in section
    run = fake_run(tmp_path, changes=200)
    write_table(run.path, "queries", run.table("queries").clear())
    assert 'id="advice"' not in render(Run(run.path))
    with pytest.raises(BadInput, match="no query was asked"):
        read(Run(run.path))


# --- the command, on a real run ---------------------------------------------------------------------------------------


def test_advice_on_a_real_run(real: Run) -> None:
    found = call("advise", str(real.path), "--json")
    assert found.exit_code == 0
    made = json.loads(found.stdout)
    # Two samples judge no p99.
    assert made["feasible"] is None
    assert made["levels"]["queries.employee"] == 50.0
    assert made["weights"]["employee"] == 20.0
    assert set(made["weights"]) == set(real.queries["query"])
    names = {row["projection"] for row in made["portfolio"]}
    assert names <= {"directory", "analytics", "payroll", TRUTH}
    text = call("advise", "mine", "--runs", str(real.path.parent.parent))
    assert text.exit_code == 0
    assert "levels, held against the upper end of 95 % intervals" in text.stdout
    assert 'id="advice"' in (real.path / "report.html").read_text()


def test_levels_and_weights_can_be_set_anew_and_nothing_else(real: Run) -> None:
    strict = call("advise", str(real.path), "--json", "--set", "levels.rebuild=0.000001", "--set", "weights.payroll=3")
    made = json.loads(strict.stdout)
    assert made["binding_level"].startswith("rebuild: the smallest rebuild that can be had is")
    assert made["weights"]["payroll"] == 3.0
    wrong = {
        "truth.model=events": "the run is finished",
        "levels.lag_p9=3": "did you mean `lag_p99`?",
        "levels.lag_p99=-1": "greater than or equal to 0.000000001, not -1",
        "levels.queries.employe=1": "did you mean `employee`?",
        "weights.employe=1": "did you mean `employee`?",
    }
    refused = call("advise", str(real.path), *(word for item in wrong for word in ("--set", item)))
    assert refused.exit_code == 2
    assert all(word in refused.stderr for item, word in wrong.items() if "employe=" not in item), refused.stderr
    for item in ("levels.queries.employe=1", "weights.employe=1"):
        assert wrong[item] in call("advise", str(real.path), "--set", item).stderr
    assert call("advise", str(real.path), "--seed", "3").exit_code == 2


@pytest.mark.parametrize("table", ["levels.queries", "weights"])
def test_a_level_or_a_weight_of_no_query_is_refused_with_the_nearest(table: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO + f"\n[{table}]\nemploye = 1.0\n")
    found = call("validate", str(path))
    assert found.exit_code == 2
    assert f"mine.toml: {table}.employe: no query is called `employe` (did you mean `employee`?)" in found.stderr


@pytest.mark.parametrize(("samples", "status"), [(5_000, "missed"), (99, "unknown")])
def test_a_p99_that_never_came_is_missed_and_one_of_few_samples_is_unknown(
    samples: int, status: str, tmp_path: Path
) -> None:
    run = fake_run(tmp_path, changes=2_000)
    never = [
        pl.lit(samples).alias("samples"),
        *(pl.lit(None, pl.Float64).alias(f"p99{end}_us") for end in ("", "_low", "_high")),
    ]
    write_table(run.path, "queries", run.table("queries").with_columns(never))
    found = told(Run(run.path), "levels.query_p99=1")
    assert found["feasible"] is (None if status == "unknown" else False)
    if status == "missed":
        assert found["binding_level"].startswith("query_p99: ")
    else:
        assert any("no p99 of `by_id`, " in said for said in found["left_out"])
        assert found["says"].startswith("Not judged for lack of samples: query p99 (99 samples; 100 are needed; raise ")


def test_the_ends_of_an_interval_lie_around_its_quantile_and_are_unknown_of_few_samples(real: Run) -> None:
    rows = real.table("queries")
    assert rows["cold_samples"].to_list() == [5] * len(rows)
    for column in ("p50_low_us", "p50_high_us", "p99_us", "p99_low_us", "p99_high_us"):
        assert rows[f"cold_{column}"].is_null().all()
    assert set(rows["cold_p50_interval_reason"]) == {"5 samples; 6 are needed for an upper end"}
    assert set(rows["cold_p99_interval_reason"]) == {"5 samples; 100 are needed"}
    # In blocks there are four times as many and more, where the machine leaves time for them.
    assert (rows["samples"] >= 2).all()
    assert rows.filter(pl.col("query") == "employee")["weight"].unique().to_list() == [20.0]


# --- compare ----------------------------------------------------------------------------------------------------------


def test_hot_is_compared_with_hot_and_cold_with_cold(fake: Run, tmp_path: Path) -> None:
    """The other run is as quick in blocks, and twice as slow in single calls."""
    other = fake_run(tmp_path, changes=2_000)
    times = [f"cold_{name}_us" for name in ("p50", "p90", "p99")]
    write_table(other.path, "queries", other.table("queries").with_columns(pl.col(times) * 2))
    result = compare(fake, Run(other.path))
    assert result["differs"] == []
    ratios = {(row["temperature"], row["ratio"]) for row in result["queries"] if row["projection"] == "directory"}
    assert ratios == {("hot", 1.0), ("cold", 2.0)}
    out = io.StringIO()
    print_compare(result, Console(file=out, width=100))
    assert [line.split()[:2] for line in out.getvalue().splitlines() if line.startswith("queries, ")] == [
        ["queries,", "hot"],
        ["queries,", "cold"],
    ]


def test_a_run_of_single_calls_is_compared_by_those_alone_and_one_under_load_by_none(fake: Run, tmp_path: Path) -> None:
    before = earlier(fake_run(tmp_path / "before", changes=2_000))
    result = compare(before, fake)
    assert {row["temperature"] for row in result["queries"]} == {"cold"}
    # What the earlier version told first is compared with what stands beside now.
    assert {row["ratio"] for row in result["queries"] if row["projection"] == "directory"} == {2.0}
    loaded = with_manifest(earlier(fake_run(tmp_path / "loaded", changes=2_000)), load={"void": False})
    assert temperatures(loaded) == ("load",)
    result = compare(loaded, fake, anyway=True)
    assert result["queries"] == []
    assert "different temperatures of query times: load; hot, cold" in result["differs"]


def test_the_source_of_truth_s_own_answers_are_compared_too(tmp_path: Path) -> None:
    runs = [with_truth(with_intervals(fake_run(tmp_path / str(at), changes=200)), at) for at in (50.0, 100.0)]
    found = compare(*runs)["queries"]
    assert {row["ratio"] for row in found if (row["projection"], row["temperature"]) == (TRUTH, "hot")} == {2.0}


def test_changes_of_another_seed_are_not_paired(fake: Run, tmp_path: Path) -> None:
    assert compare(fake, fake)["pairing"] == "by repetition"
    other = fake_run(tmp_path, changes=2_000, seed=2)
    assert compare(fake, other)["pairing"] == "none"


def test_other_domains_and_other_clocks_are_not_compared(fake: Run, tmp_path: Path) -> None:
    clocks = fake.manifest["clocks"] | {"lag": "simulated, service modelled"}
    other = fake_run(tmp_path, changes=2_000, domain="flights", clocks=clocks)
    with pytest.raises(BadInput) as refusal:
        compare(fake, other)
    assert [problem.what for problem in refusal.value.problems] == [
        "different domains: None and flights",
        "different clocks of the lag: simulated, service measured and simulated, service modelled",
    ]


def test_a_history_replayed_faster_than_it_happened_has_rates_of_the_replay_and_says_so(fake: Run) -> None:
    assert "replayed" not in printed_advice(fake)
    lasts, changes = fake.manifest["duration_seconds"], fake.manifest["changes"]
    kept = fake.manifest
    try:
        faster = printed_advice(with_manifest(fake, time_scale=50.0))
        real = changes / lasts / 50
        assert f"was replayed 50.0 times as fast as it happened ({number(real)} changes a second)" in faster
        assert "replayed 4.00 times as slowly" in printed_advice(with_manifest(fake, time_scale=0.25))
    finally:
        with_manifest(fake, time_scale=kept.get("time_scale"))


def printed_advice(run: Run) -> str:
    out = io.StringIO()
    print_advice(advise(read(Run(run.path))), Console(file=out, width=200))
    return " ".join(out.getvalue().split())
