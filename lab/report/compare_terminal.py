"""Print a comparison of two runs: verdicts first, then one table for each thing that was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.formatting import NOTHING, count, duration, microseconds, short_count
from lab.measure.temperatures import MEANING
from lab.report.compare import ONE_EACH, QUANTILES
from lab.report.terminal import marked, plain_table


def print_compare(result: dict[str, Any], console: Console) -> None:
    """Print a comparison: verdicts, commands a second, lag, rebuild, queries."""
    console.print(Text(f"a  {result['a']}\nb  {result['b']}"), soft_wrap=True)
    for text in result["differs"]:
        console.print(Text(f"! {text}: figures below may differ for that reason alone", "yellow"))
    console.print(Text("\nverdicts", "bold"))
    for change in result["verdict_changes"]:
        what = change["projection"] + ("" if change["check"] == "all" else f", {change['check']}")
        console.print(Text.assemble("  ", (what, "bold"), ": ", marked(change["a"]), " → ", marked(change["b"])))
    if not result["verdict_changes"]:
        console.print("  no verdict changed")
    for run in ("a", "b"):
        if only := result.get(f"only_in_{run}"):
            console.print(Text(f"  only in {run}: {', '.join(only)}"))
    console.print(Text("\nsource of truth, commands a second", "bold"))
    writes = result["writes"]
    for run, name in zip(("a", "b"), result["truth"], strict=True):
        console.print(Text(f"  {run}: {name}, {short_count(writes[f'{run}_per_second'])}"))
    console.print(Text("\nlag, with 95 % intervals of the difference", "bold"))
    console.print(_lag_table(result["lag"]))
    if result["rebuild"]:
        console.print(Text(f"\nrebuild, {ONE_EACH}", "bold"))
        console.print(_single_table(result["rebuild"], "seconds", duration))
    for temperature in dict.fromkeys(row["temperature"] for row in result["queries"]):
        rows = [row for row in result["queries"] if row["temperature"] == temperature]
        how = f"{temperature} ({MEANING[temperature]}), p50: a difference where the 95 % intervals lie apart"
        console.print(Text(f"\nqueries, {how}", "bold"))
        console.print(_single_table(rows, "us", microseconds))


def _single_table(rows: list[dict[str, Any]], unit: str, said: Callable[[float | None], str]) -> Table:
    """Return a table with a line for each figure; a projection's queries are below its name."""
    table = plain_table("a", "b", "b/a", texts=("projection", ""))
    name = None
    for row in rows:
        says = Text("" if row["says"] == ONE_EACH else row["says"])
        ratio = NOTHING if row["ratio"] is None else f"{row['ratio']:.2f}×"
        figures = [Text(said(row[f"a_{unit}"])), Text(said(row[f"b_{unit}"])), Text(ratio)]
        if "query" not in row:
            table.add_row(Text(row["projection"]), says, *figures)
            continue
        if row["projection"] != name:
            name = row["projection"]
            table.add_row(Text(name), "")
        table.add_row(Text(f"  {row['query']}"), says, *figures)
    return table


def _lag_table(rows: list[dict[str, Any]]) -> Table:
    table = plain_table("a", "b", "difference", texts=("projection", ""))
    for row in rows:
        for part in QUANTILES:
            found = row[part]
            interval = found["interval_seconds"]
            between = "" if interval is None else f"\n{duration(interval[0])} to {duration(interval[1])}"
            table.add_row(
                Text(row["projection"] if part == "p50" else ""),
                Text(f"{part}: {found['says']}"),
                *(Text("never" if found[f"never_{run}"] else duration(found[f"{run}_seconds"])) for run in ("a", "b")),
                Text(duration(found["difference_seconds"]) + between),
            )
        never = [row["never_visible_a"], row["never_visible_b"]]
        if any(never):
            table.add_row("", Text("never visible"), Text(count(never[0])), Text(count(never[1])), "")
    return table
