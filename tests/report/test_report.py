"""The report room on a synthetic run: the page, the figures, the terminal, and two runs compared."""

from __future__ import annotations

import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from fake_run import CHECKS, FAILED, NASTY, PROJECTIONS, fake_run
from rich.console import Console

from lab.base import BadInput
from lab.checks import OF_RUNS
from lab.report import bars, compare, figures, print_compare, print_run, render, summary, write_report
from lab.report.style import looks, store_colour, svg
from lab.runs import Run, load_run, write_table
from lab.tables import ALWAYS

NAMES = [name for name, *_ in PROJECTIONS]


class Page(HTMLParser):
    """What a browser would see: tags, ids, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.svgs: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag == "svg":
            self.svgs.append(dict(attrs))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fake_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return render(run)


@pytest.fixture
def empty(tmp_path: Path) -> Run:
    """A run in which nothing was measured: every table without a row, no channel."""
    run = fake_run(tmp_path, changes=200, channel=None, outages=[])
    for name, schema in ALWAYS.items():
        write_table(run.path, name, schema.frame())
    return run


def printed(run: Run, columns: int = 80) -> str:
    out = io.StringIO()
    print_run(run, Console(file=out, width=columns))
    return out.getvalue()


def test_the_fake_run_is_a_run(run: Run) -> None:
    assert load_run(run.path).manifest["seed"] == 1


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    found = Page(page)
    assert all(address.startswith("#") for address in found.addresses)
    assert not {"script", "link", "iframe", "img", "object"} & set(found.tags)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_data_never_becomes_markup(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page


def test_names_in_figures_are_escaped(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=200)
    frame = run.table("rebuild").with_columns(projection=pl.lit("<script>$x^$</script>"))
    drawn = svg(bars.rebuild(frame, {}), "rebuild", 'spoken <&">')
    assert "<script" not in drawn
    assert "$x^$" in drawn


def test_every_id_is_unique_and_every_reference_leads_somewhere(page: str) -> None:
    found = Page(page)
    assert len(found.ids) == len(set(found.ids))
    references = {address[1:] for address in found.addresses} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert references <= set(found.ids)


def test_every_figure_speaks_to_who_cannot_see_it(page: str) -> None:
    assert len(Page(page).svgs) == 8
    assert all(one["role"] == "img" and one["aria-label"] for one in Page(page).svgs)


def test_the_page_shows_every_projection_and_every_failed_witness(page: str) -> None:
    assert all(f"{name}<small>" in page.replace("<wbr>", "") for name in NAMES)
    for check in FAILED:
        assert f"naive: {OF_RUNS[check].anomaly}" in page
        assert OF_RUNS[check].meaning.replace("'", "&#39;") in page
    assert "lost by the channel" in page


def test_the_page_opens_with_the_verdict_and_how_to_replay(page: str, run: Run) -> None:
    body = page[page.index("<body>") :]
    assert body.index("unknown") < body.index(run.manifest["replay"]) < body.index("<main>")
    assert "not as expected: nothing (unknown, expected pass)" in page


def test_a_change_that_was_never_visible_is_counted_in_words(page: str) -> None:
    assert "400 never visible" in page
    assert "naive never showed 400" in page


def test_every_measured_section_says_its_clock(page: str) -> None:
    for name in ("lag", "visibility", "staleness", "rebuild", "queries", "channel", "accounting"):
        section = page[page.index(f'<section id="{name}"') :].split("</section>")[0]
        assert re.search(r'class="clock">Clock: (simulated|wall)', section), name


def test_a_projection_that_fails_is_never_called_the_quickest(page: str) -> None:
    told = re.findall(r"<figcaption>(.*?)</figcaption>", page, flags=re.DOTALL)
    quickest = [
        sentence
        for text in told
        for sentence in text.split(". ")
        if re.search("quickest|sooner|back after|furthest", sentence)
    ]
    assert len(quickest) == 4
    # `naive` and `nothing` have the shortest lags of all, and are not spoken of.
    assert not any(name in sentence for sentence in quickest for name in ("naive", "nothing"))


def test_a_wrong_answer_has_no_time(page: str) -> None:
    assert "✗ wrong answer, no time" in page
    row = re.search(r"by_<wbr>department<small>filter</small></th><td>naive.*?</tr>", page)
    assert row
    assert "µs" not in row[0]


def test_the_report_is_written_whole(run: Run) -> None:
    written = write_report(run)
    assert written == run.path / "report.html"
    assert written.read_text(encoding="utf-8").endswith("</html>")
    assert not list(run.path.glob("*.partial"))


def test_a_run_without_measurements_has_a_page_all_the_same(empty: Run) -> None:
    assert "No lag was measured." in render(empty)
    assert "There was no channel" in render(empty)
    assert "projection" in printed(empty)


def test_every_axis_has_a_label_with_its_unit(run: Run) -> None:
    known = looks(run.manifest["projections"])
    drawn = [
        figures.lag_ecdf(run.lag, known),
        figures.t_visibility(run.visibility, known),
        figures.staleness(run.staleness, known, run.manifest["outages"]),
        bars.rebuild(run.rebuild, known),
        bars.queries(run.queries, known),
        bars.channel(run.channel),
        bars.accounting(run.accounting, known),
    ]
    for figure in drawn:
        assert re.search(r"\((µs|seconds|%|count|versions)|, the time|µs", figure.axes[-1].get_xlabel())
    # Where the y axis has names of rows it needs no label; where it has numbers, it has a unit.
    for figure in drawn[:3]:
        for axes in figure.axes:
            assert re.search(r"\((seconds|versions|%).*\)", axes.get_ylabel())


def test_a_lag_of_zero_is_drawn_and_a_curve_ends_at_its_visible_share(run: Run) -> None:
    figure = figures.lag_ecdf(run.lag, looks(run.manifest["projections"]))
    curves = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert all((curves[name].get_xdata() > 0).all() for name in NAMES)
    assert curves["naive"].get_ydata()[-1] == pytest.approx(0.98)
    assert curves["directory"].get_ydata()[-1] == 1.0


def test_lags_that_are_all_zero_or_all_censored_are_drawn() -> None:
    lag = pl.DataFrame(
        {
            "projection": ["zero"] * 3 + ["never"] * 3,
            "position": [1, 2, 3] * 2,
            "lag_seconds": [0.0] * 3 + [None] * 3,
        }
    )
    assert "3 never visible" in svg(figures.lag_ecdf(lag, {}), "lag", "spoken")


def test_a_million_lags_become_a_few_hundred_points() -> None:
    lag = pl.DataFrame({"lag_seconds": pl.Series(range(1_000_000)).cast(pl.Float64)}).with_columns(
        projection=pl.lit("a")
    )
    quantiles = figures.lag_quantiles(lag.lazy())
    assert len(quantiles) < 300
    assert quantiles.filter(pl.col("share") == 0.5)["lag_seconds"][0] == pytest.approx(500_000, abs=1)


def test_a_store_has_one_colour_and_its_projections_differ_by_line(run: Run) -> None:
    known = looks(run.manifest["projections"])
    assert known["directory"].colour == known["directory_polled"].colour == store_colour("sqlite.table")
    assert known["directory"].line != known["directory_polled"].line
    assert len({store_colour(f"sqlite.{shape}") for shape in ("table", "document", "search", "graph")}) == 4
    assert store_colour("sqlite.table") != store_colour("duckdb.columnar")


def test_every_check_is_explained_in_two_sentences() -> None:
    assert set(CHECKS) <= set(OF_RUNS)
    assert all(check.meaning.count(". ") == 1 and check.meaning.endswith(".") for check in OF_RUNS.values())


def test_the_summary_is_strict_json(run: Run) -> None:
    found = json.loads(json.dumps(summary(run), allow_nan=False))
    tables = {"lag_summary", "rebuild", "queries", "writes", "accounting", "verdicts", "channel"}
    tables |= {"gaps", "readers", "rebuilds", "parked", "faults", "replicas", "pages", "tombstones"}
    tables |= {"lag_parts_summary", "recovery", "utilisation", "what_if", "feeds", "blockers", "slots", "assignments"}
    assert set(found) == {"run", "verdict", "replay", "repetitions", "claims", "projections"} | tables
    assert [row["projection"] for row in found["lag_summary"]] == NAMES


def test_a_figure_that_is_no_number_becomes_null(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=200)
    write_table(run.path, "rebuild", run.table("rebuild").with_columns(seconds=pl.lit(float("nan")), size_bytes=None))
    assert {row["seconds"] for row in summary(run)["rebuild"]} == {None}
    json.dumps(summary(run), allow_nan=False)


def test_the_terminal_tells_all_at_80_columns(run: Run) -> None:
    text = printed(run)
    assert max(map(len, text.splitlines()[:20])) <= 80
    assert all(re.search(rf"^{name} ", text, flags=re.MULTILINE) for name in NAMES)
    assert text.startswith("? UNKNOWN: not as expected: nothing")
    assert "lost by the channel" in text
    assert run.manifest["replay"] in text
    assert NASTY in text


def test_names_with_brackets_are_not_markup_in_the_terminal(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "fake" / "copy"
    shutil.copytree(run.path, copy)
    write_table(copy, "verdicts", run.table("verdicts").with_columns(witness=pl.lit("[bold]row[/bold] [/]")))
    assert "[bold]row[/bold] [/]" in printed(Run(copy))


def test_runs_of_other_machines_changes_or_durability_are_not_compared(run: Run, tmp_path: Path) -> None:
    machine = run.manifest["machine"] | {"cpu": "Other CPU"}
    other = fake_run(tmp_path, changes=10_000, machine=machine, durability="full")
    with pytest.raises(BadInput) as refusal:
        compare(run, other)
    assert len(refusal.value.problems) == 3
    assert all(word in str(refusal.value) for word in ("Other CPU", "10000", "full"))
    result = compare(run, other, anyway=True)
    assert len(result["differs"]) == 3
    assert result["pairing"] == "none"


def test_a_run_beside_itself_has_no_ratio_but_1(run: Run) -> None:
    result = compare(run, run)
    assert result["verdict_changes"] == []
    assert all(row["p50"]["difference_seconds"] == 0 for row in result["lag"])
    assert {row["ratio"] for row in result["rebuild"]} == {1.0}
    assert {row["says"] for row in result["rebuild"]} == {
        "not judged: one repetition each",
        "withheld: fail in both",
    }


def test_too_many_censored_changes_leave_no_difference_to_tell(run: Run) -> None:
    naive = next(row for row in compare(run, run)["lag"] if row["projection"] == "naive")
    assert naive["never_visible_a"] == 400
    assert naive["p99"]["never_a"]
    assert naive["p99"]["difference_seconds"] is None
    assert naive["p99"]["ratio"] is None


def test_changed_verdicts_come_first(run: Run, tmp_path: Path) -> None:
    entries = [
        entry | ({"verdict": "fail"} if entry["name"] == "directory" else {}) for entry in run.manifest["projections"]
    ]
    other = fake_run(tmp_path, projections=entries)
    changed = pl.col("projection").eq("directory") & pl.col("check").eq("no_loss")
    verdict = pl.when(changed).then(pl.lit("fail")).otherwise("verdict")
    write_table(other.path, "verdicts", other.table("verdicts").with_columns(verdict=verdict))
    result = compare(run, other)
    assert result["verdict_changes"] == [
        {"projection": "directory", "check": "all", "a": "pass", "b": "fail"},
        {"projection": "directory", "check": "no_loss", "a": "pass", "b": "fail"},
    ]
    out = io.StringIO()
    print_compare(result, Console(file=out, width=80))
    assert out.getvalue().index("✗ fail") < out.getvalue().index("\nlag")
    assert "withheld: fail in run-1 again" in out.getvalue()


def test_a_comparison_is_strict_json(run: Run) -> None:
    assert json.loads(json.dumps(compare(run, run), allow_nan=False))["differs"] == []
