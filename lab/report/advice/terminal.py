"""Print advice in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from lab.advice.answer import Advice
from lab.advice.model import Candidate
from lab.formatting import duration, listed, size
from lab.report.advice import text
from lab.report.terminal import plain_table


def print_advice(advice: Advice, console: Console) -> None:
    """Print the answer, its figures, ties and runners-up, how far weights can move, and what was left out."""
    console.print(Text(advice.problem.run, "dim"), soft_wrap=True)
    console.print(Text(text.headline(advice), "bold"))
    if tie := text.ties_said(advice):
        console.print(Text(tie))
    console.print(Text(f"Query times: {text.temperature_said(advice)}."))
    _levels(advice, console)
    _queries(advice, console)
    _members(advice, console)
    if advice.runners_up:
        console.print(Text("\nrunners-up", "bold"))
        for each in advice.runners_up:
            said = text.runner_said(advice, each)
            console.print(Text.assemble("  ", (text.portfolio_said(each), "bold"), f": {said}"))
    if weights := text.weights_said(advice):
        console.print(Text("\nhow far a weight can move, all others as they are", "bold"))
        for sentence in weights:
            console.print(Text(f"  {sentence}"))
    if advice.left_out:
        console.print(Text("\nleft out", "bold"))
        for sentence in advice.left_out:
            console.print(Text(f"  {sentence}"))


def _levels(advice: Advice, console: Console) -> None:
    """Print each level: the limit, the answer's value, and how certain it is that the level is met."""
    rows = text.level_rows(advice)
    if rows:
        console.print(Text("\nlevels, with 95 % intervals", "bold"))
        table = plain_table("at the most", texts=("level", "there is", ""))
        for name, asked, had, status in rows:
            table.add_row(Text(name), Text(had), Text(status), Text(asked))
        console.print(table)


def _queries(advice: Advice, console: Console) -> None:
    """Print which candidate answers each query; each line is a row of the table `queries`."""
    rows = text.assignment_rows(advice)
    if rows:
        console.print(Text("\nqueries, as measured in the table queries, with 95 % intervals", "bold"))
        table = plain_table("weight", texts=("query", "goes to", "p50", "p99"))
        for row in rows:
            tied = f"\ntie with {row['tied']}" if row["tied"] else ""
            cells = (row["query"], row["who"] + tied, *(row[part].replace(" (", "\n(") for part in ("p50", "p99")))
            table.add_row(*map(Text, cells), Text(row["weight"]))
        console.print(table)


def _members(advice: Advice, console: Console) -> None:
    """Print the cost of each projection of the answer; lag from `lag_summary`, the rest from `rebuild`."""
    if advice.answer is None or not advice.answer.members:
        return
    console.print(Text("\nprojections, as measured in the tables lag_summary and rebuild", "bold"))
    table = plain_table("rebuild", "disk", texts=("projection", "store", "lag p99"))
    for each in advice.answer.members:
        rebuild, disk = duration(each.rebuild.value), size(each.disk.value)
        table.add_row(Text(each.name), Text(each.store), Text(text.interval_said(each.lag)), rebuild, disk)
    console.print(table)
    console.print(Text(f"  engines to operate: {_engines(advice, advice.answer.members)}"))


def _engines(advice: Advice, members: tuple[Candidate, ...]) -> str:
    assert advice.answer is not None
    new, there = advice.answer.engines, sorted({each.engine for each in members} & advice.problem.operated)
    told = listed(list(new)) if new else "none"
    return told + (f" ({listed(there)} is there already, for the source of truth)" if there else "")
