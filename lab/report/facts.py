"""A run's findings as plain rows, shared by the page, the terminal and `--json`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lab.base import TRUTH
from lab.checks import CHECKS
from lab.formatting import duration, listed, moments, plural
from lab.measure.figures import figures
from lab.measure.once import once_for_each_run
from lab.measure.typical import typical
from lab.report.words import LINES
from lab.runs import Run
from lab.statistics.quantiles import quantile_of, rank, reached, samples_needed


@dataclass(frozen=True)
class Overview:
    """One projection's findings. `rebuild` and `lag` are rows of their tables, empty if there is none."""

    name: str
    store: str
    guard: str
    subscribe: str
    keeps: str
    expect: str
    verdict: str
    as_expected: bool
    # What was expected instead, in words; empty if it is as expected.
    odd: str
    lag: Mapping[str, Any] = field(default_factory=dict)
    rebuild: Mapping[str, Any] = field(default_factory=dict)
    query_p50_us: float | None = None
    wrong_answers: int = 0
    # Of several repetitions: the 95 % intervals of lag_p50, lag_p99 and rebuild, in words.
    spread: Mapping[str, str] = field(default_factory=dict)
    # How far its store is the system that it is named after.
    level: str = "real"

    @property
    def ranked(self) -> bool:
        """Return whether it may be ranked: it passed, and its store keeps data (`null` doesn't), in no emulator."""
        return self.verdict == "pass" and self.store.partition(".")[0] != "null" and self.level != "emulated"

    @property
    def kept_in(self) -> str:
        """Return its store, and that it is emulated where it is."""
        return f"{self.store} (emulated)" if self.level == "emulated" else self.store

    def waited(self, quantile: str) -> str:
        """Format a quantile of the lag: `never` if too many changes never became visible, `-` of too few changes."""
        return lag_said(self.lag, quantile)


def between(low: float | None, high: float | None, told: Callable[[float], str] = duration) -> str:
    """Format an interval; empty where an end is missing."""
    return "" if low is None or high is None else f"{told(low)} to {told(high)}"


def lag_said(row: Mapping[str, Any], quantile: str) -> str:
    """Format a quantile of a row of `lag_summary`: `never` if it is infinite, `-` if there are too few changes.

    `not stable` if the lag grows without end.
    """
    if row.get("stable") is False:
        return "not stable"
    seconds, share = row.get(f"{quantile}_seconds"), int(quantile.removeprefix("p")) / 100
    if seconds is None and row.get("never_visible"):
        changes, visible = int(row["changes"]), int(row["visible"])
        if changes >= samples_needed(share) and visible < rank(changes, share):
            return "never"
    return duration(seconds)


def overviews(run: Run) -> list[Overview]:
    """Return the findings of all projections, in the manifest's order; of several repetitions, their medians."""
    return _overviews(run.whole)


@once_for_each_run
def _overviews(run: Run) -> list[Overview]:
    run = typical(run)
    found = figures(run) if run.repetitions > 1 else None
    lag = {row["projection"]: row for row in run.table("lag_summary").to_dicts()}
    rebuild = {row["projection"]: row for row in run.table("rebuild").to_dicts()}
    asked = run.table("queries")
    right = asked.filter(pl.col("answer_ok").fill_null(True))
    queried = dict(right.group_by("projection").agg(quantile_of(pl.col("p50_us"), 0.5)).iter_rows())
    wrong = dict(asked.filter(~pl.col("answer_ok")).group_by("projection").len().iter_rows())
    return [
        Overview(
            name=str(entry["name"]),
            store=str(entry.get("store", "")),
            guard=str(entry.get("guard", "")),
            subscribe=str(entry.get("subscribe", "")),
            keeps=str(entry.get("keeps", "")),
            expect=str(entry.get("expect", "pass")),
            verdict=str(entry.get("verdict", "unknown")),
            as_expected=bool(entry.get("as_expected", False)),
            odd=instead(entry),
            lag=lag.get(entry["name"], {}),
            rebuild=rebuild.get(entry["name"], {}),
            query_p50_us=queried.get(entry["name"]),
            wrong_answers=int(wrong.get(entry["name"], 0)),
            spread={} if found is None else _spread(found, str(entry["name"])),
            level=str(entry.get("level", "real")),
        )
        for entry in run.manifest["projections"]
    ]


def _spread(found: pl.DataFrame, projection: str) -> dict[str, str]:
    rows = found.filter(pl.col("projection") == projection, pl.col("quantity").is_in(["lag_p50", "lag_p99", "rebuild"]))
    return {row["quantity"]: between(row["low"], row["high"]) for row in rows.iter_rows(named=True)}


@dataclass(frozen=True)
class TruthAsked:
    """How the source of truth answered the queries that it was asked; `store` is its engine and model."""

    store: str
    verdict: str
    queries: int
    query_p50_us: float | None
    wrong_answers: int


def truth_asked(run: Run) -> TruthAsked | None:
    """Return how the source of truth answered; None if it was asked nothing, or can't answer."""
    asked = run.table("queries").filter(pl.col("projection") == TRUTH)
    verdict = run.manifest.get("truth", {}).get("answers")
    if asked.is_empty() or verdict is None:
        return None
    p50 = reached(asked.filter(pl.col("answer_ok"))["p50_us"].drop_nulls(), 0.5)
    wrong = asked.filter(~pl.col("answer_ok")).height
    return TruthAsked(str(asked["store"][0]), str(verdict), asked.height, p50, wrong)


@dataclass(frozen=True)
class Failure:
    """A failed check with its number of violations and its witness.

    `steps` are the witness's rows of the table `witnesses`; `deliveries` is the number that it was reduced to.
    """

    projection: str
    check: str
    count: int | None
    witness: str
    expected: bool
    deliveries: int | None = None
    steps: pl.DataFrame = field(default_factory=pl.DataFrame, compare=False)

    @property
    def anomaly(self) -> str:
        """Return the anomaly's name."""
        known = CHECKS.get(self.check)
        return known.anomaly if known else self.check.replace("_", " ")

    @property
    def explanation(self) -> str:
        """Return two sentences on what the anomaly means."""
        known = CHECKS.get(self.check)
        return known.meaning if known else ""

    @property
    def key(self) -> str:
        """Return the failure's anchor on the page, unique in the run."""
        return f"{self.projection}-{self.check}"

    @property
    def chapter(self) -> str:
        """Return the chapter of the course about it; empty for an unknown check."""
        known = CHECKS.get(self.check)
        return known.taught_in if known else ""

    @property
    def reduced(self) -> str:
        """Return to how many deliveries the witness was reduced, in words."""
        if self.deliveries is None:
            return ""
        many = plural(self.deliveries, "delivery", "deliveries")
        return f"reduced to {many}" if self.deliveries else "no delivery at all"

    def told(self) -> list[dict[str, Any]]:
        """Return the steps as rows of texts: time, line, what happened, mark."""
        rows = self.steps.to_dicts()
        times = moments([row["at_seconds"] for row in rows])
        return [
            {"at": at, "line": LINES.get(row["line"], row["line"]), "what": row["detail"] or ""}
            | {"label": row["label"] or "", "mark": row["mark"] or ""}
            for at, row in zip(times, rows, strict=True)
        ]

    def lines(self, lines_max: int) -> list[str]:
        """Return the witness's lines, cut after `most` with a line that counts the rest."""
        lines = self.witness.rstrip().splitlines()
        if len(lines) <= lines_max:
            return lines
        return [*lines[:lines_max], f"… {len(lines) - lines_max} more lines in verdicts.parquet"]


def failures(run: Run) -> list[Failure]:
    """Return every failed check; those of projections that were expected to pass come first."""
    expected = {entry["name"]: bool(entry.get("as_expected", False)) for entry in run.manifest["projections"]}
    rows = run.table("verdicts").filter(pl.col("verdict") == "fail").to_dicts()
    drawn = run.table("witnesses").sort("step", maintain_order=True)
    found = [
        Failure(
            str(row["projection"]),
            str(row["check"]),
            row["count"],
            row["witness"] or "",
            expected.get(row["projection"], False),
            row.get("deliveries"),
            drawn.filter(projection=row["projection"], check=row["check"]),
        )
        for row in rows
    ]
    return sorted(found, key=lambda failure: failure.expected)


def unknowns(run: Run) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Return each reason why checks are `unknown`, with the projections and checks that it applies to."""
    rows = run.table("verdicts").filter(pl.col("verdict") == "unknown")
    found: dict[str, dict[str, list[str]]] = {}
    for name, check, reason in rows.select("projection", "check", pl.col("witness").fill_null("")).iter_rows():
        reason = " ".join(reason.split()) or "no reason was kept"
        found.setdefault(reason, {}).setdefault(name, []).append(check)
    return [(reason, list(checks.items())) for reason, checks in found.items()]


def matrix(run: Run) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Return the names of the checks, and each projection's verdicts on them."""
    verdicts = run.table("verdicts")
    made = verdicts["check"].unique(maintain_order=True).to_list()
    order = list(CHECKS)
    checks = sorted(made, key=lambda check: order.index(check) if check in order else len(order))
    cells: dict[str, dict[str, str]] = {str(entry["name"]): {} for entry in run.manifest["projections"]}
    for name, check, verdict in verdicts.select("projection", "check", "verdict").iter_rows():
        cells.setdefault(name, {})[check] = verdict
    return checks, cells


def instead(entry: Mapping[str, Any]) -> str:
    """Say what was expected of a projection that is not as expected, and of several repetitions in which it is not."""
    if entry.get("as_expected", False):
        return ""
    said = f"expected {entry.get('expect', 'pass')}"
    if entry["verdict"] != entry.get("expect", "pass") or not (odd := entry.get("unexpected")):
        return said
    return f"{said} in each repetition, and not in {listed([str(number) for number in odd])}"


def headline(run: Run) -> str:
    """Return the run's verdict in a sentence that names every projection that is not as expected."""
    entries = run.manifest["projections"]
    odd = [entry for entry in entries if not entry.get("as_expected", False)]
    astray = run.manifest.get("truth", {}).get("answers") == "fail"
    if not odd and astray:
        return "not as expected: the source of truth itself gave wrong answers"
    if not odd:
        caught = [str(entry["name"]) for entry in entries if entry.get("expect") == "fail"]
        does = "fail, as they should" if len(caught) > 1 else "fails, as it should"
        rest = f" ({listed(caught)} {does})" if caught else ""
        many = f"all {len(entries)} projections are" if len(entries) != 1 else "the projection is"
        return f"{many} as expected{rest}"
    told = [f"{entry['name']} ({entry['verdict']}, {instead(entry)})" for entry in odd]
    return f"not as expected: {listed([*told, *(['the source of truth itself (wrong answers)'] if astray else [])])}"


def unaccounted(row: Mapping[str, Any]) -> int:
    """Return how many committed changes are in no part of a row of `accounting`; negative if some are in two."""
    parts = ("applied", "superseded", "parked", "skipped", "pending")
    return int(row["committed"]) - sum(int(row[part] or 0) for part in parts)


def plain(value: Any) -> Any:
    """Convert a value to strict JSON types: NaN and infinity to null, unknown types to text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows in strict JSON types."""
    return [plain(row) for row in frame.to_dicts()]
