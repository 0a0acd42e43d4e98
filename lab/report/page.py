"""Write the report of a run: one self-contained HTML page with its figures as inline SVG."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from lab import formatting
from lab.base import TRUTH
from lab.checks import OF_RUNS
from lab.measure.temperatures import MEANING, queries, temperatures
from lab.measure.typical import typical
from lab.report import fault_texts, lag_parts, loads, pages, recovery, sentences, what_if, words
from lab.report.advice.section import advice_on, texts
from lab.report.caveats import caveats, quietness_said, repetitions_said
from lab.report.claims import claim_rows, on_claims
from lab.report.facts import Overview, failures, headline, matrix, overviews, truth_asked, unaccounted, unknowns
from lab.report.grid import query_grid
from lab.report.repeated import figure_rows
from lab.report.sections import sections, timelines
from lab.runs import Run
from lab.tables import SIMULATED, TABLES

_WITNESS_LINES_MAX = 40
_PARKED_MAX = 12
# The sections that only some runs have, in the page's order.
_TITLES = {
    "load": "Load",
    "faults": "Faults",
    "parked": "Parked changes",
    "gaps": "Gaps",
    "feeds": "Feeds",
    "assignments": "Partitions",
    "readers": "Readers",
    "pages": "Pages made of several stores",
    "page_times": "Pages over time",
    "tombstones": "Tombstones that expire",
    "rebuilds": "Rebuild under fire",
    "recovery": "Recovery",
}
# Of these, the tables that are shown as they are.
_WHOLE = ("gaps", "feeds", "assignments", "readers", "rebuilds")
# The tables whose clock the page states, with their names there.
_ON_A_CLOCK = {
    name: name for name in ("lag", "visibility", "staleness", "channel", *_TITLES, "rebuild", "queries", "writes")
} | {"visibility": "t-visibility", "rebuilds": "rebuild under fire", "page_times": "pages over time"}
# A number and its unit stay on one line.
_UNIT = re.compile(r"(\d) (µs|ms|s|min|%|kB|MB|GB|k|M)(?!\w)")


def render(run: Run) -> str:
    """Return the page as HTML. All data is escaped, and nothing is loaded from outside."""
    run = typical(run)
    manifest = run.manifest
    found = overviews(run)
    advice = advice_on(run)
    drawn = sections(run, found, advice)
    clock = _clock(manifest)
    checks, cells = matrix(run)
    failed = failures(run)
    parked, parked_more = fault_texts.parked_rows(run.table("parked"), _PARKED_MAX)
    return (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            manifest=manifest,
            scenario=manifest["scenario"],
            verdict=str(manifest.get("verdict", "unknown")),
            headline=headline(run),
            caveats=caveats(run),
            quietness=quietness_said(run),
            claims=claim_rows(run),
            repetitions=repetitions_said(run),
            one_of=f"repetition 1 of {run.repetitions}" if run.repetitions > 1 else "",
            figures=figure_rows(run),
            what_was_run=sentences.what_was_run(manifest),
            overviews=sorted(found, key=lambda each: each.verdict != "pass"),
            truth=truth_asked(run),
            sections=drawn,
            checks=checks,
            cells=cells,
            unknowns=unknowns(run),
            anomalies=OF_RUNS,
            failures=failed,
            timelines=timelines(run, failed),
            witness_lines_max=_WITNESS_LINES_MAX,
            queries=_query_rows(queries(run), found),
            temperatures=temperatures(run),
            temperature_meaning=MEANING,
            grid=query_grid(run, found),
            writes=run.table("writes").to_dicts(),
            **_on_lags(run),
            fan_out=sentences.on_fan_out(run.table("fan_out")),
            accounting=run.table("accounting").to_dicts(),
            load=run.table("load").to_dicts(),
            foretold=run.table("foretold").to_dicts(),
            foretelling=loads.on_foretelling(run),
            pages=[(row["page"], row["policy"], pages.cells(row)) for row in run.table("pages").to_dicts()],
            page_witnesses=pages.witnesses(run.table("pages")),
            optional={name: run.table(name).to_dicts() for name in _WHOLE},
            faults=fault_texts.fault_rows(run.table("faults")),
            parked=parked,
            parked_more=parked_more,
            advice=texts(advice) if advice else None,
            set_up=fault_texts.set_up(manifest),
            clock=clock,
            clocks={said: clock(name) for name, said in _ON_A_CLOCK.items() if name not in _TITLES or name in drawn},
        )
    )


def _environment() -> Environment:
    # Autoescape is on, so data never becomes markup.
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= _FILTERS
    found.globals |= {"marks": words.MARKS, "unaccounted": unaccounted, "titles": _TITLES}
    found.globals |= {"quantile_said": loads.quantile_said, "on_claims": on_claims}
    return found


def _on_lags(run: Run) -> dict[str, Any]:
    """Return what the page says of the parts of lags, of what else they could be, and of recovery."""
    return {
        "lag_parts": lag_parts.table_rows(run.table("lag_parts_summary")),
        "busy": what_if.busy_rows(run.table("utilisation")),
        "what_if": what_if.rows(run.table("what_if")),
        "what_if_untold": what_if.unanswered(run.table("what_if")),
        "recovery": recovery.rows(run.table("recovery")),
        "lag_part_names": [name for name, _, _ in lag_parts.PARTS.values()],
    }


def write_report(run: Run) -> Path:
    """Write `report.html` into the run folder atomically: into a file beside it, which is then renamed."""
    target = run.path / "report.html"
    partial = run.path / f".report.{os.getpid()}.partial"
    try:
        partial.write_text(render(run), encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _clock(manifest: Mapping[str, Any]) -> Callable[[str], str]:
    """Return a function from a table to its clock, as the manifest says or as the table's schema does."""
    clocks = manifest.get("clocks", {})

    def clock(table: str) -> str:
        # Tables derived from deliveries are on the clock of the lag.
        usual = TABLES[table].clock
        return str(clocks.get(table) or (clocks.get("lag", usual) if usual == SIMULATED else usual))

    return clock


def _query_rows(frame: pl.DataFrame, found: list[Overview]) -> list[dict[str, Any]]:
    """Return the rows by query, the quickest correct answer first; projections that don't pass come last."""
    ranked = {TRUTH, *(each.name for each in found if each.ranked)}
    kinds = frame["kind"].unique(maintain_order=True).to_list()
    return sorted(
        frame.to_dicts(),
        key=lambda row: (
            kinds.index(row["kind"]),
            row["query"],
            row["projection"] not in ranked or row["answer_ok"] is False,
            row["p50_us"] or 0.0,
        ),
    )


_FILTERS: dict[str, Callable[..., Any]] = {
    "duration": formatting.duration,
    "microseconds": formatting.microseconds,
    "size": formatting.size,
    "count": formatting.count,
    "share": formatting.share,
    "short_count": formatting.short_count,
    "setting": formatting.setting,
    "unbroken": lambda text: _UNIT.sub("\\1\u00a0\\2", text),
    # A long name may wrap after an underscore, and is still copied without a break.
    "breakable": lambda name: Markup("_<wbr>").join(map(escape, name.split("_"))),
    # Backticks become code elements.
    "coded": lambda text: Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(str(text).split("`"))
    ),
    "said": lambda value: value.replace("_", " "),
}
