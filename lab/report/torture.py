"""Print what `lab torture` found."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from lab.formatting import count, duration
from lab.report.terminal import marked, plain_table


def print_torture(found: dict[str, Any], console: Console) -> None:
    """Print the verdict, a line for each process, and every violation."""
    kills = sum(row["kills"] for row in found["processes"])
    told = f": {count(kills)} kills in {duration(found['tortured_seconds'])}"
    told += f"; {count(found['acknowledged'])} commands acknowledged, {count(found['changes'])} changes committed"
    console.print(Text.assemble(marked(found["verdict"], upper=True), told))
    texts = ("process", "store")
    table = plain_table(
        "kills", "while\nstarting", "rows", "lost", "doubled", "back\np50", "back\nat most", texts=texts
    )
    for row in found["processes"]:
        table.add_row(
            Text.assemble((row["process"], "bold"), (f"\n{row['store']}", "dim")),
            *(Text(count(row[name])) for name in ("kills", "early_kills", "rows", "lost", "doubled")),
            Text(duration(row["recovery_p50_seconds"])),
            Text(duration(row["recovery_max_seconds"])),
        )
    console.print(table)
    console.print(Text("back: from the kill until the next process answers, on the wall clock", "dim"))
    for problem in found["problems"]:
        console.print(Text(problem, "red"))
