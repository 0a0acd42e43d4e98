"""Print a run in the terminal, and return it as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.base import TRUTH
from lab.formatting import NOTHING, count, duration, microseconds, share, size
from lab.measure.figures import figures
from lab.measure.temperatures import temperatures
from lab.measure.typical import of_first, typical
from lab.report import lag_parts, pages, recovery, what_if
from lab.report.caveats import caveats, repetitions_said
from lab.report.claims import print_claims
from lab.report.facts import Overview, TruthAsked, failures, headline, overviews, plain, rows, truth_asked
from lab.report.grid import query_grid
from lab.report.grid_terminal import print_grid
from lab.report.loads import quantile_said, worth_a_line
from lab.report.partitions import shared_rows
from lab.report.words import MARKS
from lab.runs import Run

COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}
# Witnesses of expected failures are cut shorter.
_WITNESS_LINES_MAX, _EXPECTED_LINES_MAX = 12, 8
# From this width on, store and guard have columns of their own.
_WIDE_COLUMNS = 110

_SUMMARY_TABLES = (
    "claims",
    "lag_summary",
    "lag_parts_summary",
    "recovery",
    "utilisation",
    "what_if",
    "rebuild",
    "queries",
    "writes",
    "accounting",
    "verdicts",
    "channel",
    "gaps",
    "feeds",
    "assignments",
    "slots",
    "blockers",
    "readers",
    "replicas",
    "pages",
    "tombstones",
    "rebuilds",
    "parked",
    "faults",
)


def summary(run: Run) -> dict[str, Any]:
    """Return the run for `--json` in strict JSON types; NaN and infinity become null.

    Of several repetitions the tables have the medians, and `figures` has every figure with its interval;
    `of_repetition_1` has the names of the tables that show one history, which is that of repetition 1.
    """
    manifest, several = run.manifest, run.repetitions
    head = {
        "run": str(run.path),
        "verdict": manifest["verdict"],
        "replay": manifest["replay"],
        "repetitions": several,
        "projections": plain(manifest["projections"]),
    }
    shown = typical(run)
    found = {name: rows(shown.table(name)) for name in _SUMMARY_TABLES}
    if several > 1:
        found["figures"] = rows(figures(run))
        head["of_repetition_1"] = of_first(run, _SUMMARY_TABLES)
    return head | found


def print_run(run: Run, console: Console) -> None:
    """Print the verdict, the projections, failed checks with witnesses, the report's path and the replay command."""
    run = typical(run)
    verdict = str(run.manifest["verdict"])
    line = Text.assemble(marked(verdict, upper=True), f": {headline(run)}")
    console.print(line, highlight=False)
    for caveat in caveats(run):
        console.print(Text(f"! {caveat}", "yellow"))
    if said := repetitions_said(run):
        console.print(Text(said, "dim"))
    print_claims(run, console)
    print_grid(query_grid(run, overviews(run)), "".join(temperatures(run)[:1]), console)
    console.print(_projections(overviews(run), truth_asked(run), "".join(temperatures(run)[:1]), console.width))
    _explain(run, console)
    for title, table in _optional_tables(run):
        console.print(Text(title + _first(run), "bold"))
        console.print(Padding(table, (0, 0, 1, 0)))
    for failure in failures(run):
        expected = "as expected" if failure.expected else "not expected"
        told = [failure.check, f"{count(failure.count)} found" if failure.count else "", failure.reduced]
        title = f"{failure.projection}: {failure.anomaly} ({', '.join(filter(None, told))}), {expected}"
        console.print(Text.assemble((f"{MARKS['fail']} ", "" if failure.expected else "red"), (title, "bold")))
        for text in failure.lines(_EXPECTED_LINES_MAX if failure.expected else _WITNESS_LINES_MAX):
            console.print(Padding(Text(text), (0, 0, 0, 4)))
    console.print()
    # Paths and commands are copied by readers, so they are never wrapped.
    report = run.path / "report.html"
    if report.is_file():
        console.print(Text(f"report  {report}"), soft_wrap=True)
    console.print(Text(f"replay  {run.manifest['replay']}"), soft_wrap=True)


def _explain(run: Run, console: Console) -> None:
    """Print what each lag was spent on, and how projections recovered from faults."""
    parts = run.table("lag_parts_summary")
    differs = lag_parts.differing(parts, overviews(run))
    told = {"what the lag was spent on": lag_parts.lines(parts), "recovery": recovery.lines(run.table("recovery"))}
    told["close to the limit"] = what_if.lines(run.table("utilisation"))
    for title, lines in told.items():
        if lines:
            console.print(Text(title + _first(run), "bold"))
            for text in lines:
                console.print(Text(text), highlight=False)
            if differs:
                console.print(Text(f"! {differs}", "yellow"))
                differs = ""
            console.print()


def _first(run: Run) -> str:
    """What is added to the title of a table that shows one history."""
    return f", of repetition 1 of {run.repetitions}" if run.repetitions > 1 else ""


def marked(verdict: str, upper: bool = False) -> Text:
    """Return a verdict with its mark, its colour and its word."""
    word = verdict.upper() if upper else verdict
    return Text(f"{MARKS.get(verdict, '?')} {word}", style=f"bold {COLOURS.get(verdict, 'yellow')}")


def plain_table(*numbers: str, texts: tuple[str, ...]) -> Table:
    """Return a table without a border: columns of text, which may wrap, then columns of numbers, which may not."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for text in texts:
        table.add_column(text, overflow="fold", vertical="top")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True, vertical="top")
    return table


def _feed_tables(run: Run) -> Iterator[tuple[str, Table]]:
    """Yield what feeds cost, and who held readers back, each only if the run has it."""
    if rows := run.table("feeds").to_dicts():
        numbers = ("lag\np50", "lag\np99", "reads\n/change", "command\np50", "ratio", "log\n/command")
        table = plain_table(*numbers, texts=("projection", "feed"))
        for row in rows:
            read = f"{row['reads_per_change'] or 0:.2g}"
            lags = (duration(row["lag_p50_seconds"]), duration(row["lag_p99_seconds"]), read)
            costs = (duration(row["command_p50_us"] / 1e6), f"{row['command_ratio']:.2f}")
            table.add_row(Text(row["projection"]), Text(row["feed"]), *lags, *costs, size(row["wal_bytes_per_command"]))
        yield "feeds, and what they cost the source of truth", table
    if rows := run.table("blockers").to_dicts():
        table = plain_table("at", "open for", texts=("projection", "transaction that held it back"))
        for row in rows:
            when = (duration(row["at_seconds"]), duration(row["open_seconds"]))
            table.add_row(Text(row["projection"]), Text(row["transaction"]), *when)
        yield "held back", table


def _optional_tables(run: Run) -> Iterator[tuple[str, Table]]:
    """Yield load, gaps, readers, replicas and rebuilds as small tables, each only if the run has it."""
    if rows := [row for row in run.table("load").to_dicts() if worth_a_line(row)]:
        table = plain_table("offered", "failed", "censored", "p50", "p99", texts=("row",))
        for row in rows:
            bad = [_violations(row["failed"]), _violations(row["censored"])]
            said = [quantile_said(row, name) for name in ("p50", "p99")]
            table.add_row(Text(row["row"]), count(row["offered"]), *bad, *said)
        yield "load, of queries those that were not all answered", table
    if rows := run.table("gaps").to_dicts():
        table = plain_table("lost", "given\nup", "stall\np99", "writes", texts=("projection", "strategy"))
        for row in rows:
            rest = (count(row["given_up"]), duration(row["stall_p99_seconds"]), share(row["throughput"]))
            table.add_row(Text(row["projection"]), Text(row["strategy"]), _violations(row["lost"]), *rest)
        yield "gaps", table
    yield from _feed_tables(run)
    if rows := shared_rows(run.table("assignments")):
        counts = ("mem-\nbers", "hand-\novers", "killed", "stale\nowners", "changes\nrefused")
        table = plain_table("parts", *counts, texts=("projection",))
        for row in rows:
            counted = ("partitions", "members", "handovers", "killed", "stale_owners", "stale")
            table.add_row(Text(row["projection"]), *(count(row[name]) for name in counted))
        yield "partitions", table
    if rows := run.table("readers").to_dicts():
        table = plain_table("reads", "stale", "unread", "back-\nward", "wait\np99", texts=("projection", "token"))
        for row in rows:
            bad = [_violations(row["unread"]), _violations(row["backward"])]
            reads = (count(row["reads"]), count(row["stale"]))
            table.add_row(Text(row["projection"]), Text(row["token"]), *reads, *bad, duration(row["wait_p99_seconds"]))
        yield "readers", table
    if rows := run.table("replicas").to_dicts():
        numbers = ("fresh\nat once", "fresh\np99", "fresh\np99.9", "write\np99.9", "read\np99.9")
        table = plain_table("reads", *numbers, texts=("replicas",))
        for row in rows:
            quorums = f"read {row['read']}, write {row['write']} of {row['replicas']}"
            times = ("fresh_p99", "fresh_p999", "write_p999", "read_p999")
            shown = (duration(row[f"{name}_seconds"]) for name in times)
            table.add_row(Text(quorums), count(row["reads"]), share(row["consistent_at_once"]), *shown)
        yield "replicas", table
    if rows := run.table("pages").to_dicts():
        figures_told = (
            "answered",
            "mixed\ncuts",
            "dang-\nling",
            "versions\napart",
            "wait\np50",
            "wait\np99",
            "age\np50",
        )
        table = plain_table(*figures_told, texts=("page", "policy"))
        for row in rows:
            table.add_row(Text(row["page"]), Text(row["policy"]), *pages.cells(row))
        yield "pages made of several stores", table
    if rows := run.table("rebuilds").to_dicts():
        table = plain_table("time", "partial", "back-\nward", "behind", "disk\npeak", texts=("projection", "mode"))
        for row in rows:
            bad = [_violations(row["partial_reads"]), _violations(row["backward_reads"])]
            cost = [duration(row["behind_max_seconds"]), size(row["peak_bytes"])]
            table.add_row(Text(row["projection"]), Text(row["mode"]), duration(row["seconds"]), *bad, *cost)
        yield "rebuild under fire", table


def _violations(number: int | None) -> Text:
    """Return a count of what should not be, in red unless it is 0."""
    return Text(count(number), "red" if number else "")


def _with_spread(figure: str, spread: str | None, style: str) -> Text:
    """A figure, and below it the interval that it has over several repetitions."""
    low, _, high = (spread or "").partition(" to ")
    return Text.assemble((figure, style), (f"\n{low} to\n{high}" if spread else "", "dim"))


def _projections(found: list[Overview], truth: TruthAsked | None, temperature: str, width: int) -> Padding:
    """Return a table with a line for each projection, and for the source of truth if it was queried."""
    wide = width >= _WIDE_COLUMNS
    texts = ("projection", "store", "guard", "verdict") if wide else ("projection", "verdict")
    # Of query times the first figures of the table are shown; the report has those of both temperatures.
    query = f"query\np50, {temperature}" if temperature else "query\np50"
    table = plain_table("lag\np50", "lag\np99", "never\nvisible", "rebuild", query, texts=texts)
    for each in found:
        # Projections that don't pass are dim, since their figures are not comparable.
        style = "" if each.ranked else "dim"
        names = [Text(each.name, "bold"), Text(each.kept_in), Text(each.guard)]
        odd = each.odd and f"\n{each.odd}"
        if not wide:
            names = [Text.assemble((each.name, "bold"), (f"\n{each.kept_in} {each.guard}", "dim"), odd)]
        table.add_row(
            *names,
            Text.assemble(marked(each.verdict), odd if wide else ""),
            _with_spread(each.waited("p50"), each.spread.get("lag_p50"), style),
            _with_spread(each.waited("p99"), each.spread.get("lag_p99"), style),
            Text(count(each.lag.get("never_visible")), style),
            _with_spread(duration(each.rebuild.get("seconds")), each.spread.get("rebuild"), style),
            Text(microseconds(each.query_p50_us), style),
        )
    if truth is not None:
        names = [Text(TRUTH, "bold"), Text(truth.store), Text("")]
        if not wide:
            names = [Text.assemble((TRUTH, "bold"), (f"\n{truth.store}", "dim"))]
        table.add_row(*names, marked(truth.verdict), *[NOTHING] * 4, microseconds(truth.query_p50_us))
    return Padding(table, (1, 0))
