"""Faults, gaps, readers, rebuilds and witnesses in the report: what is shown, what isn't, and if it can be read."""

from __future__ import annotations

import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_run import NASTY, RESURRECTION, TROUBLES, fake_run, faults, with_troubles, witness
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console
from test_report import Page, printed

from lab.checks import CHAPTERS, OF_RUNS
from lab.report import fault_texts, figures, print_run, render, shading, summary
from lab.report import faults as drawings
from lab.report.facts import failures, overviews, unknowns
from lab.report.style import BAD, Look, drawing, looks, svg
from lab.report.timelines import timeline
from lab.runs import Run, write_table
from lab.tables import OPTIONAL, SIMULATED, TABLES

LOOK = Look("naive", "duckdb.columnar", "#E69F00", "solid", "fail")
OWN_SECTIONS = ("faults", "parked", "gaps", "readers", "rebuilds")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fake_run(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    set_up: dict[str, Any] = {
        "writers": {"how": "simulated", "count": 8, "sleep": {"share": 0.1}, "abort": 0.0},
        "faults": {"directory": {"crash": 0.01, "slow": []}, "naive": {"poison": 0.001}},
        "readers": {"sessions": 500, "token": "checkpoint"},
    }
    return with_troubles(fake_run(tmp_path_factory.mktemp("runs"), **set_up))


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return render(run)


def frame(name: str, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=OPTIONAL[name].types)


def section(page: str, name: str) -> str:
    return page[page.index(f'<section id="{name}"') :].split("</section>")[0]


def texts(figure: Figure) -> list[Text]:
    """Every text that is drawn, in the figure and in its panels."""
    with drawing():
        figure.draw(FigureCanvasAgg(figure).get_renderer())
    found = [artist for artist in figure.findobj(Text) if artist.get_text() and artist.get_visible()]
    return [artist for artist in found if isinstance(artist, Text)]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that touch each other. Turned texts are compared by their middles' distance alone."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    drawn = [text for text in texts(figure) if text.get_rotation() == 0]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawn]
    pairs = itertools.combinations(boxes, 2)
    return [(a, b) for (a, first), (b, second) in pairs if first.overlaps(second)]


def outside(figure: Figure) -> list[str]:
    """Texts that reach over the edge of the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts(figure)]
    return [name for name, box in boxes if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > width + 1 or box.y1 > height + 1]


def test_an_optional_table_that_a_run_does_not_have_reads_as_empty(bare: Run, run: Run) -> None:
    for name, schema in OPTIONAL.items():
        assert dict(bare.table(name).schema) == schema.types
        assert not bare.has(name)
        assert bare.table(name).is_empty()
    assert run.has("gaps")
    assert run.has("lag")
    assert len(run.gaps) == len(TROUBLES["gaps"])
    with pytest.raises(KeyError, match="readers"):
        bare.table("reader")


def test_sections_and_links_are_there_only_for_what_the_run_has(bare: Run, page: str) -> None:
    without = render(bare)
    for name in OWN_SECTIONS:
        assert f'id="{name}"' in page
        assert f'href="#{name}"' in page
        assert f'id="{name}"' not in without
        assert f'href="#{name}"' not in without


@pytest.mark.parametrize("name", OWN_SECTIONS)
def test_a_table_without_a_row_draws_no_section(name: str, tmp_path: Path) -> None:
    run = with_troubles(fake_run(tmp_path, changes=200), **{name: frame(name)})
    shown = render(run)
    assert f'id="{name}"' not in shown
    assert all(f'id="{other}"' in shown for other in OWN_SECTIONS if other != name)


def test_a_page_with_everything_is_still_sound(page: str) -> None:
    found = Page(page)
    assert len(found.ids) == len(set(found.ids))
    references = {address[1:] for address in found.addresses} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert references <= set(found.ids)
    assert not {"script", "link", "iframe", "img", "object"} & set(found.tags)
    # Eight figures of every run, three of these tables, one timeline.
    assert len(found.svgs) == 12
    assert all(one["role"] == "img" and one["aria-label"] for one in found.svgs)


def test_data_of_faults_parked_changes_and_witnesses_never_becomes_markup(page: str) -> None:
    assert "<script" not in page
    for name in ("faults", "parked", "witnesses"):
        assert "&lt;script&gt;alert" in section(page, name)


@pytest.mark.parametrize("name", OWN_SECTIONS)
def test_every_section_of_its_own_says_its_clock(page: str, name: str) -> None:
    assert "Clock: simulated, service measured" in section(page, name)
    assert TABLES[name].clock == SIMULATED


def test_the_page_says_what_was_set(page: str) -> None:
    body = page[page.index("<main>") :]
    assert "8 writers worked at once (simulated); of their transactions 10\u00a0% slept before the commit." in body
    # What is off is not told.
    assert "Faults were planted at directory (crashes) and naive (poison)." in body
    assert all(f"<h3>{title}</h3>" in section(page, "provenance") for title in ("Writers", "Faults", "Readers"))


def test_writers_one_after_the_other_need_no_words() -> None:
    assert fault_texts.what_was_set({"writers": {"how": "one after the other"}, "faults": {}}) == ""
    assert fault_texts.set_up({"faults": {"a": {"crash": 0.0, "slow": []}}, "writers": None}) == {}


def test_a_failure_links_its_anomaly_which_says_how_to_mend_it(page: str) -> None:
    for name, check in OF_RUNS.items():
        entry = page[page.index(f'<div id="anomaly-{name}">') :].split("</div>")[0]
        assert check.anomaly in entry
        assert check.meaning.replace("'", "&#39;") in entry
        assert "To mend it:" in entry
        assert check.taught_in in entry
    assert '<a href="#anomaly-no_loss">How to mend it</a>: chapter 03, the catch-up subscription.' in page


def test_every_anomaly_can_be_mended_in_one_sentence_and_has_a_chapter() -> None:
    for check in OF_RUNS.values():
        assert check.chapter in CHAPTERS
        assert check.mending.endswith(".")
        assert ". " not in check.mending


def test_the_anomalies_have_the_names_that_people_use() -> None:
    names = {check.anomaly for check in OF_RUNS.values()}
    assert {
        "lost change",
        "double effect",
        "stale overwrite",
        "resurrection",
        "rewind",
        "torn checkpoint",
        "skipped gap",
        "non-monotonic read",
        "unread own write",
        "phantom row",
        "wrong answer",
    } <= names


def test_a_witness_with_steps_is_a_timeline_and_a_table(page: str) -> None:
    article = next(part for part in section(page, "witnesses").split("<article") if "lost change" in part)
    assert "reduced to 2 deliveries" in article
    assert "<svg" in article
    table = article[article.index('<table class="steps">') :].split("</table>")[0]
    assert table.count("<tr") == len(RESURRECTION) + 1
    # Microseconds apart, and told apart.
    assert "1.200000 s" in table
    assert "1.200012 s" in table
    assert '<tr class="wrong">' in table
    assert "✗ r3" in table
    # The text of the terminal is kept, too.
    assert "lost by the channel" in article


def test_a_witness_without_steps_is_its_text(page: str) -> None:
    article = next(part for part in section(page, "witnesses").split("<article") if "diverged" in part)
    assert "record 17" in article
    assert "<svg" not in article
    assert "reduced" not in article


def test_steps_belong_to_the_failure_of_their_projection_and_check(tmp_path: Path) -> None:
    other = witness(*RESURRECTION, projection="directory")
    run = with_troubles(fake_run(tmp_path, changes=200), witnesses=other)
    assert all(failure.steps.is_empty() for failure in failures(run))
    assert '<table class="steps">' not in render(run)


@pytest.mark.parametrize("deliveries", [None, 0, 1, 3])
def test_how_small_a_witness_is_is_said_in_words(deliveries: int | None, run: Run) -> None:
    found = next(failure for failure in failures(run) if failure.check == "no_loss")
    said = {None: "", 0: "no delivery at all", 1: "reduced to 1 delivery", 3: "reduced to 3 deliveries"}
    assert type(found)(**(vars(found) | {"deliveries": deliveries})).reduced == said[deliveries]


def test_verdicts_are_three_valued_and_unknown_says_why(tmp_path: Path) -> None:
    run = fake_run(tmp_path, changes=200)
    why = pl.when(pl.col("verdict") == "unknown").then(pl.lit(f"nothing is kept {NASTY}")).otherwise("witness")
    write_table(run.path, "verdicts", run.table("verdicts").with_columns(witness=why))
    found = unknowns(Run(run.path))
    assert [(reason[:15], [name for name, _ in checked]) for reason, checked in found] == [
        ("nothing is kept", ["nothing"])
    ]
    verdicts = section(render(Run(run.path)), "verdicts")
    assert all(f'class="verdict {verdict}"' in verdicts for verdict in ("pass", "fail", "unknown"))
    assert "nothing is kept &lt;script&gt;" in verdicts
    assert "nothing (converged, no loss" in verdicts


def many_deliveries(apart_seconds: float, by_catch_up: bool = False) -> pl.DataFrame:
    """Twelve changes, committed one after the other; each comes by a message, or all in one poll."""
    steps: list[tuple[Any, ...]] = [
        (1 + apart_seconds * n, "source", f"r{n + 1}" + " †" * (n % 3 == 0), "", n, None, "") for n in range(12)
    ]
    for n in range(12):
        label = f"r{n + 1}" + " †" * (n % 3 == 0)
        if not by_catch_up:
            steps.append((60 + n * apart_seconds, "channel", label, "", n, n, ""))
        at = 70.0 if by_catch_up else 60.1 + n * apart_seconds
        steps.append((at, "projector", label, "", n, n, "wrong" if n == 11 else ""))
    return witness(*steps)


@pytest.mark.parametrize("apart_seconds", [1e-6, 0.5, 4000.0])
@pytest.mark.parametrize("by_catch_up", [False, True])
def test_a_timeline_of_twelve_deliveries_can_be_read(apart_seconds: float, by_catch_up: bool) -> None:
    figure = timeline(many_deliveries(apart_seconds, by_catch_up), LOOK)
    assert overlapping(figure) == []
    assert outside(figure) == []


def test_long_labels_keep_apart() -> None:
    steps = [(float(n), "source", f"a very long label, number {n}", "", n, None, "") for n in range(6)]
    figure = timeline(witness(*steps), LOOK)
    assert overlapping(figure) == []
    assert outside(figure) == []


def test_a_key_with_every_mark_fits() -> None:
    steps = [
        *RESURRECTION,
        (5.0, "projector", "r5", "", 3, 5, "fault"),
        (6.0, "projector", "cp 4", "", 4, None, "read"),
    ]
    figure = timeline(witness(*steps), Look("a projection with a long name", "", "#000000", "solid", "fail"))
    assert overlapping(figure) == []
    assert outside(figure) == []
    assert {"cut off by a fault", "checkpoint", "fault", "lost"} <= {text.get_text() for text in texts(figure)}


def test_turned_times_keep_apart() -> None:
    figure = timeline(many_deliveries(0.5), LOOK)
    labels = [text for text in figure.axes[0].get_xticklabels() if text.get_text()]
    texts(figure)
    starts = [figure.axes[0].transData.transform((text.get_position()[0], 0))[0] for text in labels]
    # Text of 7.5 points turned by 45 degrees needs its height times the square root of two.
    needed = 7.5 * 1.42 / 72 * figure.dpi
    assert min(b - a for a, b in itertools.pairwise(starts)) > needed


def test_a_timeline_has_a_line_each_and_a_reader_only_where_somebody_reads() -> None:
    def lines(*steps: tuple[Any, ...]) -> list[str]:
        return [text.get_text() for text in timeline(witness(*steps), LOOK).axes[0].get_yticklabels()]

    assert lines(*RESURRECTION) == ["source of truth", "channel", "projector", "reader"]
    assert lines(*RESURRECTION[:4]) == ["source of truth", "channel", "projector"]


def test_arrows_lead_from_the_commit_over_the_channel_and_catch_up_is_dashed() -> None:
    figure = timeline(witness(*RESURRECTION), LOOK)
    arrows = [text.arrow_patch for text in figure.axes[0].texts if getattr(text, "arrow_patch", None)]
    # Two messages of two arrows each, one that was lost on its way, and one catch-up.
    assert len(arrows) == 6
    assert sum(arrow.get_linestyle() not in ("-", "solid") for arrow in arrows) == 1


def test_what_is_wrong_differs_by_colour_and_by_shape() -> None:
    drawn = timeline(witness(*RESURRECTION), LOOK).axes[0].get_lines()
    marks = {(line.get_marker(), line.get_color()) for line in drawn if line.get_marker() not in ("None", "", None)}
    assert ("D", BAD) in marks
    assert ("X", BAD) in marks
    others = {shape for shape, colour in marks if colour != BAD}
    assert others.isdisjoint({"D", "X"})


def test_events_microseconds_and_seconds_apart_have_times_of_their_own() -> None:
    figure = timeline(witness(*RESURRECTION), LOOK)
    times = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert times[:3] == ["1.20 s", "+12.0 µs", "1.25 s"]
    # Two steps at 1.25 s share one time.
    assert len(times) == len(RESURRECTION) - 1


def test_a_timeline_escapes_names_and_without_rows_says_so() -> None:
    drawn = svg(timeline(witness((1.0, "source", "<script>", "", 1, None, "")), LOOK), "witness-0", "spoken")
    assert "<script" not in drawn
    assert "nothing to draw" in svg(timeline(witness(), LOOK), "witness-1", "spoken")
    unknown_line = witness((1.0, "elsewhere", "r1", "", 1, None, ""))
    assert "nothing to draw" in svg(timeline(unknown_line, LOOK), "witness-2", "spoken")


def test_a_wide_timeline_scrolls_and_keeps_the_size_of_its_texts(tmp_path: Path) -> None:
    run = with_troubles(fake_run(tmp_path, changes=200), witnesses=many_deliveries(0.5))
    wide = re.search(r'style="--wide: ([\d.]+)"', section(render(run), "witnesses"))
    assert wide
    assert float(wide[1]) > 1.2


@pytest.mark.parametrize("crashes", [1, 7, 600])
def test_any_number_of_crashes_stays_readable(crashes: int, run: Run) -> None:
    known = looks(run.manifest["projections"])
    figure = figures.staleness(run.staleness, known, run.manifest["outages"], faults(crashes))
    assert overlapping(figure) == []
    assert outside(figure) == []
    said = "1 crash" if crashes == 1 else f"{crashes} crashes"
    assert said in [text.get_text() for text in texts(figure)]
    lines = [line for line in figure.axes[0].get_lines() if len(set(line.get_xdata())) == 1]
    # Few are drawn through the curves; hundreds would hide them.
    assert len(lines) == (crashes if crashes < 12 else 0)
    without = figures.staleness(run.staleness, known, run.manifest["outages"])
    assert len(svg(figure, "staleness", "spoken")) < len(svg(without, "staleness", "spoken")) + 120_000


def test_marks_that_would_fall_onto_each_other_are_drawn_once_and_all_are_counted() -> None:
    (strip,) = shading.strips(faults(5000).filter(pl.col("kind") == "crash"), 20.0)
    assert strip.faults.height <= 301
    assert strip.remark == "5.00 k crashes"
    assert shading.strips(None, 20.0) == shading.strips(frame("faults"), 20.0) == []


def test_without_faults_the_staleness_is_as_it_was(run: Run) -> None:
    known = looks(run.manifest["projections"])
    assert len(figures.staleness(run.staleness, known).axes) == 2
    assert len(figures.staleness(run.staleness, known, (), frame("faults")).axes) == 2
    assert len(figures.staleness(run.staleness, known, (), faults(1)).axes) == 3


def test_faults_are_summed_up_the_source_of_truth_first(page: str) -> None:
    rows = fault_texts.fault_rows(faults(7))
    assert [row["projection"] for row in rows[:2]] == ["source of truth", "directory"]
    assert rows[1]["many"] == 7
    assert rows[1]["steps"] == "3 before apply, 2 between data and checkpoint, 2 after checkpoint"
    assert "7 crashes" in section(page, "faults")
    assert "7 crashes" in section(page, "staleness")


def test_parked_changes_are_listed_up_to_a_limit(page: str) -> None:
    assert "40 changes of 40 records" in section(page, "parked")
    assert section(page, "parked").count('<th scope="row">') == 12
    assert "28 more in parked.parquet" in section(page, "parked")


@pytest.mark.parametrize(
    ("draw", "name"), [(drawings.gaps, "gaps"), (drawings.readers, "readers"), (drawings.rebuilds, "rebuilds")]
)
def test_panels_can_be_read_and_name_their_units(draw: Any, name: str, run: Run) -> None:
    figure = draw(run.table(name), looks(run.manifest["projections"]))
    assert overlapping(figure) == []
    assert outside(figure) == []
    for axes in figure.axes:
        assert axes.get_title(loc="left")
        assert re.search(r"\((count|%|µs to s)\)|seconds|bytes", axes.get_xlabel())


def test_loss_stall_and_throughput_stand_side_by_side_with_their_values(run: Run) -> None:
    figure = drawings.gaps(run.gaps, {})
    lost, stall, writes = figure.axes
    assert [text.get_text() for text in lost.texts if text.get_text()[:1].isdigit()] == [
        "412",
        "0",
        "0",
        "31 (31 given up)",
    ]
    assert "420 ms" in [text.get_text() for text in stall.texts]
    assert "31 %" in [text.get_text() for text in writes.texts]
    assert lost.get_ylim() == stall.get_ylim() == writes.get_ylim()


def test_what_is_not_known_has_a_dash_and_no_bar() -> None:
    row = TROUBLES["gaps"][0] | {"lost": None, "stall_p99_seconds": None, "throughput": None}
    figure = drawings.gaps(frame("gaps", row), {})
    assert all("–" in [text.get_text() for text in axes.texts] for axes in figure.axes)
    assert not any(axes.patches for axes in figure.axes)


def test_only_strategies_of_projections_that_pass_are_said_to_be_without_a_loss(run: Run) -> None:
    rows = [*TROUBLES["gaps"], TROUBLES["gaps"][0] | {"strategy": "hold", "lost": 0}]
    told = fault_texts.on_gaps(frame("gaps", *rows), overviews(run))
    assert "412 of 20,000 with naive" in told
    assert "31 with hold (salary_totals)" in told
    without = told[told.index("Without a loss") :]
    assert "serialise (directory)" in without
    assert "naive" not in without


def test_rates_of_readers_are_of_the_reads_that_could_show_them(run: Run, page: str) -> None:
    figure = drawings.readers(run.readers, {})
    shown = {axes.get_title(loc="left"): [text.get_text() for text in axes.texts] for axes in figure.axes}
    # 2,103 of 5,000 first reads, 311 of 20,000 reads.
    assert "42.1 %" in shown["own write unread"]
    assert "1.6 %" in shown["went backward"]
    assert "0.24 %" in shown['said "stale"']
    assert "directory (highest: 0.18\u00a0%) and naive (none: 42.1\u00a0%)" in section(page, "readers")


def test_readers_who_were_never_let_down_are_said_to_be(run: Run) -> None:
    told = fault_texts.on_readers(run.readers.filter(token="checkpoint"))
    assert "No session missed its own write, and none went backward." in told


def test_a_rebuild_tells_what_readers_saw_and_what_it_took(page: str) -> None:
    told = section(page, "rebuilds")
    assert (
        "of 400 reads of directory_polled (in-place) 210 didn&#39;t find the record and 70 found an older revision"
        in told
    )
    assert "5.20\u00a0MB for directory, 2.0 times what it takes at rest" in told


def test_a_run_without_reads_or_sizes_is_drawn_all_the_same() -> None:
    nobody = TROUBLES["readers"][0] | dict.fromkeys(("reads", "answered", "stale", "unread", "backward"), 0)
    assert "–" in svg(drawings.readers(frame("readers", nobody), {}), "readers", "spoken")
    bare = TROUBLES["rebuilds"][0] | {"reads": 0, "peak_bytes": None, "resting_bytes": None}
    assert "–" in svg(drawings.rebuilds(frame("rebuilds", bare), {}), "rebuilds", "spoken")
    fault_texts.on_readers(frame("readers", nobody))
    fault_texts.on_rebuilds(frame("rebuilds", bare))


def test_the_terminal_tells_gaps_readers_and_rebuilds_only_where_there_are_any(run: Run, bare: Run) -> None:
    told, without = printed(run), printed(bare)
    for title in ("gaps", "readers", "rebuild under fire"):
        assert re.search(rf"^{title} *$", told, flags=re.MULTILINE)
        assert not re.search(rf"^{title} *$", without, flags=re.MULTILINE)
    assert re.search(r"naive +none +20,000 +0 +2,103 +311", told)
    assert "no_loss, 400 found, reduced to 2 deliveries" in told
    assert max(map(len, told.splitlines()[:45])) <= 80


def test_names_with_brackets_are_not_markup_in_the_terminal(tmp_path: Path) -> None:
    rows = [TROUBLES["gaps"][0] | {"projection": "[bold]x[/bold]"}]
    run = with_troubles(fake_run(tmp_path, changes=200), gaps=frame("gaps", *rows))
    out = io.StringIO()
    print_run(run, Console(file=out, width=80))
    assert "[bold]x[/bold]" in out.getvalue()


def test_the_summary_has_the_rows_of_what_went_wrong(run: Run, bare: Run) -> None:
    found = json.loads(json.dumps(summary(run), allow_nan=False))
    for name in OWN_SECTIONS:
        assert len(found[name]) == len(run.table(name))
        assert set(OPTIONAL[name].types) == set(found[name][0])
        assert summary(bare)[name] == []
