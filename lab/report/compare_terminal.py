"""Print a comparison of two runs: verdicts first, then what both share, then one table for each thing measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.formatting import NOTHING, count, duration, microseconds, short_count, size
from lab.measure.temperatures import MEANING
from lab.report.judged import DIFFERENT, NO_DIFFERENCE, ONE_EACH, factor
from lab.report.style import elided
from lab.report.terminal import marked, plain_table
from lab.statistics.quantiles import BOUNDED

# The longest name of a run in a table; and a factor that rounds to more than 1.
_NAME, _SURE = 14, 1.005


def print_compare(result: dict[str, Any], console: Console) -> None:
    """Print a comparison: verdicts, control, lag, rebuild, disk, queries, source of truth."""
    for run in ("a", "b"):
        several = result["repetitions"][run]
        often = f", {several} repetitions" if several > 1 else ""
        console.print(Text(f"{result['names'][run]}  {result[run]}{often}"), soft_wrap=True)
    for text in result["notes"]:
        console.print(Text(f"! {text}", "yellow"))
    for text in result["differs"]:
        console.print(Text(f"! {text}: figures below may differ for that reason alone", "yellow"))
    _print_verdicts(result, console)
    names = (result["names"]["a"], result["names"]["b"])
    if result["control"]["kinds"]:
        console.print(Text("\ncontrol: what both share, and nobody changed", "bold"))
        console.print(_control_table(result["control"]))
    if result["control"]["left_out"]:
        console.print(Text(f"  no control: {'; '.join(result['control']['left_out'])}"))
    how = (
        "ratio of the second to the first with its 95 % interval"
        if result["judged"]
        else "ratio of the second to the first"
    )
    # The columns have what was measured, so a ratio beside the control is not quite that of two columns.
    how += ", of measured times beside the control" if result["judged"] and result["control"]["kinds"] else ""
    console.print(Text(f"\nlag, {how}", "bold"))
    console.print(_lag_table(result["lag"], names, result["judged"]))
    for title, unit, said in (("rebuild", "seconds", duration), ("disk", "bytes", size)):
        if result[title]:
            console.print(Text(f"\n{title}", "bold"))
            console.print(_single_table(result[title], unit, said, names, result["judged"]))
    if result["stores"]:
        console.print(Text("\nall queries of a projection together (geometric mean of their p50)", "bold"))
        console.print(_stores_table(result["stores"], names, result["judged"]))
    for quantile, asked in (("p50", result["queries"]), ("p99", result["queries_p99"])):
        # Tails are not judged of runs of one repetition, and are in their reports.
        for temperature in dict.fromkeys(row["temperature"] for row in asked if quantile == "p50" or result["judged"]):
            rows = [row for row in asked if row["temperature"] == temperature]
            console.print(Text(f"\nqueries, {temperature} ({MEANING[temperature]}), {quantile}", "bold"))
            console.print(_single_table(rows, "us", microseconds, names, result["judged"]))
    _print_writes(result, console)


def _print_verdicts(result: dict[str, Any], console: Console) -> None:
    console.print(Text("\nverdicts", "bold"))
    for change in result["verdict_changes"]:
        what = change["projection"] + ("" if change["check"] == "all" else f", {change['check']}")
        console.print(Text.assemble("  ", (what, "bold"), ": ", marked(change["a"]), " → ", marked(change["b"])))
    if not result["verdict_changes"]:
        console.print("  no verdict changed")
    for run in ("a", "b"):
        if only := result[f"only_in_{run}"]:
            console.print(Text(f"  only in {result['names'][run]}: {', '.join(only)}"))


def _print_writes(result: dict[str, Any], console: Console) -> None:
    writes = result["writes"]
    console.print(Text("\nsource of truth, commands a second", "bold"))
    for run, name in zip(("a", "b"), result["truth"], strict=True):
        rate = short_count(writes[f"{run}_per_second"])
        console.print(Text(f"  {result['names'][run]}: {name}, {rate}"))
    if result["judged"]:
        console.print(Text(f"  {writes['says']}"))


def _control_table(found: dict[str, Any]) -> Table:
    table = plain_table("ratio", "95 % interval", texts=("",))
    for kind, row in {**found["kinds"], "all together": found}.items():
        low, high = row["interval"]
        table.add_row(Text(f"  {kind}"), Text(f"{factor(row['ratio'])}×"), Text(f"{factor(low)} to {factor(high)}"))
    return table


def _says(row: dict[str, Any], before: str = "") -> Text:
    """What is concluded; and where no difference is shown, how large a one would have been called one."""
    if row["says"] == ONE_EACH:
        return Text(before.removesuffix(": "))
    seen = row["seen_from"] if row["verdict"] == NO_DIFFERENCE else None
    tail = f"; {factor(seen)} times would have been seen" if seen is not None and seen > _SURE else ""
    return Text(f"{before}{row['says']}{tail}", "bold" if row["verdict"] == DIFFERENT else "")


def _table(names: tuple[str, str], judged: bool) -> Table:
    """A table of both runs; of judged ones the ratio is in what is said."""
    return plain_table(*(elided(name, _NAME) for name in names), *([] if judged else ["ratio"]), texts=("", ""))


def _ratio(row: dict[str, Any], judged: bool) -> list[Text]:
    return [] if judged else [Text(NOTHING if row["ratio"] is None else f"{factor(row['ratio'])}×")]


def _single_table(
    rows: Sequence[dict[str, Any]],
    unit: str,
    said: Callable[[float | None], str],
    names: tuple[str, str],
    judged: bool,
) -> Table:
    """Return a table with a line for each figure; a projection's queries are below its name."""
    table = _table(names, judged)
    name = None
    for row in rows:
        figures = [Text(said(row[f"a_{unit}"])), Text(said(row[f"b_{unit}"])), *_ratio(row, judged)]
        if "query" not in row:
            table.add_row(Text(row["projection"]), _says(row), *figures)
            continue
        if row["projection"] != name:
            name = row["projection"]
            table.add_row(Text(name), "")
        table.add_row(Text(f"  {row['query']}"), _says(row), *figures)
    return table


def _stores_table(rows: Sequence[dict[str, Any]], names: tuple[str, str], judged: bool) -> Table:
    table = _table(names, judged)
    for row in rows:
        times = [Text(microseconds(row[f"{run}_us"])) for run in ("a", "b")]
        table.add_row(Text(f"{row['projection']}, {row['temperature']}"), _says(row), *times, *_ratio(row, judged))
    return table


def _lag_table(rows: Sequence[dict[str, Any]], names: tuple[str, str], judged: bool) -> Table:
    table = _table(names, judged)
    for row in rows:
        for part in BOUNDED:
            found = row[part]
            table.add_row(
                Text(row["projection"] if part == "p50" else ""),
                _says(found, f"{part}: "),
                *(Text("never" if found[f"never_{run}"] else duration(found[f"{run}_seconds"])) for run in ("a", "b")),
                *_ratio(found, judged),
            )
        never = [row["never_visible_a"], row["never_visible_b"]]
        if any(never):
            table.add_row("", Text("never visible"), Text(count(never[0])), Text(count(never[1])))
    return table
