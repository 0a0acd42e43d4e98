"""The report: one self-contained HTML page of a run, with its figures inside as SVG."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lab.report import bars, figures, sentences, words
from lab.report.facts import Overview, failures, headline, matrix, overviews, unaccounted
from lab.report.style import looks, svg
from lab.runs import Run

_WITNESS_LINES_MAX = 40
# A number and its unit stay on one line.
_UNIT = re.compile(r"(\d) (µs|ms|s|min|%|kB|MB|GB|k|M)(?!\w)")


def render(run: Run) -> str:
    """The whole page as text. Everything that comes from data is escaped; nothing is loaded from outside."""
    # A template of the page's own: autoescape is on, so data never becomes markup.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    environment.globals |= {"marks": words.MARKS, "unaccounted": unaccounted}
    manifest = run.manifest
    found = overviews(run)
    checks, cells = matrix(run)
    return environment.get_template("page.html").render(
        run=run,
        manifest=manifest,
        scenario=manifest["scenario"],
        verdict=str(manifest.get("verdict", "unknown")),
        headline=headline(run),
        what_was_run=sentences.what_was_run(manifest),
        overviews=sorted(found, key=lambda each: each.verdict != "pass"),
        sections=_sections(run, found),
        checks=checks,
        cells=cells,
        anomalies=words.ANOMALIES,
        failures=failures(run),
        witness_lines_max=_WITNESS_LINES_MAX,
        queries=_query_rows(run.table("queries"), found),
        writes=run.table("writes").to_dicts(),
        accounting=run.table("accounting").to_dicts(),
        clock=_clock(manifest),
    )


def write_report(run: Run) -> Path:
    """Write `report.html` into the run folder: beside first, then renamed, so never half a page."""
    target = run.path / "report.html"
    partial = run.path / f".report.{os.getpid()}.partial"
    try:
        partial.write_text(render(run), encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _clock(manifest: Mapping[str, Any]) -> Callable[[str], str]:
    """Which clock a table is on: as the manifest says, or as it always is."""
    clocks = manifest.get("clocks", {})

    def clock(table: str) -> str:
        # What follows from the deliveries is on the clock that the lag is on.
        usual = words.CLOCKS.get(table, words.WALL)
        return str(clocks.get(table) or (clocks.get("lag", usual) if usual == words.SIMULATED else usual))

    return clock


def _sections(run: Run, found: list[Overview]) -> dict[str, dict[str, Any]]:
    """Each figure with its words: what it is of, for who can't see it, and what to see in it."""
    manifest = run.manifest
    outages = manifest.get("outages") or []
    known = looks(manifest["projections"])
    tables = {name: run.table(name) for name in ("visibility", "staleness", "rebuild", "queries", "channel")}
    accounting = run.table("accounting")
    # The lag table is the only large one: it is read lazily, one projection at a time.
    quantiles = figures.lag_quantiles(pl.scan_parquet(run.path / "lag.parquet"), list(known))
    drawn: dict[str, tuple[str, Figure, str]] = {
        "lag": (
            "Consistency lag by projection, as a cumulative distribution.",
            figures.lag_ecdf(quantiles, known),
            sentences.on_lag(found),
        ),
        "visibility": (
            "Probability that a change is visible within a time after its commit, by projection.",
            figures.t_visibility(tables["visibility"], known),
            sentences.on_visibility(tables["visibility"], found),
        ),
        "staleness": (
            "Seconds and versions that each projection is behind over the run.",
            figures.staleness(tables["staleness"], known, outages),
            sentences.on_staleness(tables["staleness"], found, outages),
        ),
        "rebuild": (
            "Seconds to rebuild each projection.",
            bars.rebuild(tables["rebuild"], known),
            sentences.on_rebuild(found),
        ),
        "queries": (
            "Time of each query in each projection, p50 and p99.",
            bars.queries(tables["queries"], known),
            sentences.on_queries(tables["queries"], found),
        ),
        "channel": (
            "What became of the channel's messages.",
            bars.channel(tables["channel"]),
            sentences.on_channel(tables["channel"]),
        ),
        "accounting": (
            "Where each projection's committed changes are.",
            bars.accounting(accounting, known),
            sentences.on_accounting(accounting),
        ),
        "writes": ("", Figure(), sentences.on_writes(run.table("writes"))),
    }
    return {name: _section(name, *parts) for name, parts in drawn.items()}


def _section(name: str, spoken: str, figure: Figure, see: str) -> dict[str, Any]:
    """A figure ready for the page. Its markup comes from matplotlib, which has escaped the names in it."""
    drawing = Markup(svg(figure, f"figure-{name}", f"{spoken} {see}")) if spoken else ""
    return {"name": name, "figure": drawing, "see": see}


def _query_rows(queries: pl.DataFrame, found: list[Overview]) -> list[dict[str, Any]]:
    """The rows by query, quickest right answer first; those of projections that don't pass come last."""
    ranked = {each.name for each in found if each.ranked}
    kinds = queries["kind"].unique(maintain_order=True).to_list()
    return sorted(
        queries.to_dicts(),
        key=lambda row: (
            kinds.index(row["kind"]),
            row["query"],
            row["projection"] not in ranked or row["answer_ok"] is False,
            row["p50_us"] or 0.0,
        ),
    )


_FILTERS: dict[str, Callable[..., Any]] = {
    "duration": words.duration,
    "microseconds": words.microseconds,
    "size": words.size,
    "count": words.count,
    "share": words.share,
    "short_count": words.short_count,
    "setting": words.setting,
    "unbroken": lambda text: _UNIT.sub("\\1\u00a0\\2", text),
    # A long name may be broken after an underscore, and is copied whole all the same.
    "breakable": lambda name: Markup("_<wbr>").join(map(escape, name.split("_"))),
    "said": lambda value: value.replace("_", " "),
}
