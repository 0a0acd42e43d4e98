"""The page's figures with their captions, for the tables that the run has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from markupsafe import Markup
from matplotlib.figure import Figure

from lab.advice import Advice
from lab.base import TRUTH
from lab.measure.temperatures import queries
from lab.report import (
    bars,
    fault_texts,
    faults,
    feeds,
    figures,
    lag_parts,
    loads,
    pages,
    partitions,
    recovery,
    sentences,
)
from lab.report import tombstones as expiring
from lab.report.advice.section import drawn as advised
from lab.report.facts import Failure, Overview, truth_asked
from lab.report.style import WIDTH_INCHES, look_of, looks, svg, truth_look
from lab.report.timelines import timeline
from lab.runs import Run


def sections(run: Run, found: list[Overview], advice: Advice | None = None) -> dict[str, dict[str, Any]]:
    """Return each section's figure with its alternative text and its caption."""
    manifest = run.manifest
    outages = manifest.get("outages") or []
    known = looks(manifest["projections"])
    truth = truth_asked(run)
    answering = known | ({TRUTH: truth_look(truth.store, truth.verdict)} if truth else {})
    tables = {name: run.table(name) for name in ("visibility", "staleness", "rebuild", "channel")}
    tables["queries"] = queries(run)
    accounting = run.table("accounting")
    shaded = fault_texts.in_staleness(run.table("faults"))
    # Only the lag table is large, so it is read lazily, one projection at a time.
    with run.scanned("lag") as lag:
        quantiles = figures.lag_quantiles(lag, list(known))
    drawn: dict[str, tuple[str, Figure | None, str]] = {
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
            figures.staleness(tables["staleness"], known, outages, run.table("faults")),
            " ".join(filter(None, (sentences.on_staleness(tables["staleness"], found, outages), shaded))),
        ),
        "rebuild": (
            "Seconds to rebuild each projection.",
            bars.rebuild(tables["rebuild"], known),
            sentences.on_rebuild(found),
        ),
        "queries": (
            "Time of each query in each projection, and at the source of truth where it can answer; p50 and p99. "
            "A p99 is shown from 100 samples on, and has no upper bound below 368.",
            bars.queries(tables["queries"], answering),
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
        "writes": ("", None, sentences.on_writes(run.table("writes"))),
    }
    if advice:
        drawn["advice"] = advised(advice)
    return {name: _section(name, *parts) for name, parts in (drawn | _optional(run, found)).items()}


def _optional(run: Run, found: list[Overview]) -> dict[str, tuple[str, Figure | None, str]]:
    """Return the sections of optional tables that have a row."""
    known = looks(run.manifest["projections"])
    names = (
        "lag_parts_summary", "recovery", "load", "gaps", "feeds", "assignments", "readers", "pages",
        "page_times", "tombstones", "rebuilds", "faults", "parked",
    )  # fmt: skip
    tables = {name: run.table(name) for name in names}
    drawn: dict[str, Callable[[pl.DataFrame], tuple[str, Figure | None, str]]] = {
        "lag_parts_summary": lambda table: (
            "Mean lag of each projection, and what it was spent on.",
            lag_parts.lag_parts(table, known),
            lag_parts.on_lag_parts(table, found),
        ),
        "recovery": lambda table: ("", None, recovery.on_recovery(table)),
        "load": lambda _: loads.on_load(run),
        "gaps": lambda table: (
            "Changes lost, stall and write throughput of each gap strategy.",
            faults.gaps(table, known),
            fault_texts.on_gaps(table, found),
        ),
        "feeds": lambda table: (
            "Lag of each feed, and what it costs the source of truth.",
            feeds.feeds(table, known),
            feeds.on_feeds(table, run.table("slots")),
        ),
        "assignments": lambda table: ("", None, partitions.on_sharing(table)),
        "readers": lambda table: (
            "What readers' sessions saw in each projection, as shares of their reads.",
            faults.readers(table, known),
            fault_texts.on_readers(table),
        ),
        "pages": lambda table: (
            "Of each page and policy: visits whose parts show no one cut, ids that dangle, waiting and age.",
            pages.pages(table),
            pages.on_pages(table),
        ),
        "page_times": lambda table: (
            "Mixed cuts and dangling ids over the run, of pages that are read without a policy.",
            pages.over_time(table),
            pages.on_times(table),
        ),
        "tombstones": lambda table: (
            "What came back for want of tombstones, how many were kept, and what they take.",
            expiring.tombstones(table, known),
            expiring.on_tombstones(table),
        ),
        "rebuilds": lambda table: (
            "Rebuilds while changes kept coming: what readers saw, and what each took.",
            faults.rebuilds(table, known),
            fault_texts.on_rebuilds(table),
        ),
        "faults": lambda table: ("", None, fault_texts.on_faults(table)),
        "parked": lambda table: ("", None, fault_texts.on_parked(table)),
    }
    return {name: drawn[name](table) for name, table in tables.items() if not table.is_empty()}


def timelines(run: Run, failed: Sequence[Failure]) -> dict[str, dict[str, Any]]:
    """Return the timeline of each failure that has steps, by the failure's key."""
    known = looks(run.manifest["projections"])
    return {
        failure.key: _section(
            f"witness-{place}",
            f"Timeline of {failure.anomaly} in {failure.projection}, step by step. The table below says the same.",
            timeline(failure.steps, look_of(known, failure.projection)),
            "",
        )
        for place, failure in enumerate(failed)
        if not failure.steps.is_empty()
    }


def _section(name: str, spoken: str, figure: Figure | None, see: str) -> dict[str, Any]:
    """Return a figure ready for the template. Its markup comes from matplotlib, which escapes the names in it.

    `wide` is its width relative to the page's other figures; a phone scrolls a wide one instead of shrinking its texts.
    """
    drawing = "" if figure is None else Markup(svg(figure, f"figure-{name}", f"{spoken} {see}".rstrip()))
    wide = 1.0 if figure is None else figure.get_figwidth() / WIDTH_INCHES
    return {"name": name, "figure": drawing, "see": see, "wide": f"{wide:.2f}"}
