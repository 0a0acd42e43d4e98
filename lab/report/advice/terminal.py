"""Print advice in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.advice.answer import Advice
from lab.report.advice import answers, sensitivity, text
from lab.report.terminal import plain_table

# From this width on the answers stand side by side; below, one after the other.
_SIDE_BY_SIDE_COLUMNS = 100


def print_advice(advice: Advice, console: Console) -> None:
    """Print the answers with what each costs, why, how sure it is, and what was left out."""
    console.print(Text(advice.problem.run, "dim"), soft_wrap=True)
    console.print(Text(text.headline(advice), "bold"))
    for note in text.notes(advice):
        console.print(Text(f"- {note}"))
    if tie := sensitivity.ties_said(advice):
        console.print(Text(tie))
    _answers(advice, console)
    _levels(advice, console)
    _queries(advice, console)
    _list("what each candidate is good for", text.standings_said(advice), console)
    runners = [(answers.portfolio_said(each), text.runner_said(advice, each)) for each in advice.runners_up]
    _list("runners-up", [f"{name}: {said}" for name, said in runners], console)
    _list("how far a weight can move before the fewest are others", sensitivity.weights_said(advice), console)
    _list("left out", list(advice.left_out), console)


def _list(title: str, sentences: list[str], console: Console) -> None:
    if sentences:
        console.print(Text(f"\n{title}", "bold"))
        for sentence in sentences:
            console.print(Text(f"  {sentence}"))


def _answers(advice: Advice, console: Console) -> None:
    """Print the different answers with what each costs: side by side, or one after the other if that doesn't fit."""
    found = answers.answers(advice)
    if not found:
        return
    console.print(Text("\nthe answers, and what each costs", "bold"))
    titles = ["\n".join(answers.NAMES[name] for name in names) for names, _ in found]
    rows = answers.cost_rows(advice)
    if console.width >= _SIDE_BY_SIDE_COLUMNS or len(found) == 1:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
        table.add_column("", style="dim", max_width=24)
        for title in titles:
            table.add_column(title, overflow="fold", vertical="top")
        for name, cells in rows:
            table.add_row(Text(name), *map(Text, cells))
        console.print(table)
    else:
        for place, title in enumerate(titles):
            console.print(Text(f"  {title.replace(chr(10), ', ')}", "bold"))
            for name, cells in rows:
                console.print(Text.assemble("    ", (f"{name}: ", "dim"), cells[place]))
    if said := answers.reads_said(advice):
        console.print(Text(f"  {said}", "dim"))


def _levels(advice: Advice, console: Console) -> None:
    """Print each level: the limit, the answer's value, and how certain it is that the level is met."""
    rows = text.level_rows(advice)
    if rows:
        console.print(Text("\nlevels, held against the upper end of 95 % intervals", "bold"))
        table = plain_table("at the most", texts=("level", "there is", ""))
        for name, asked, had, status in rows:
            table.add_row(Text(name), Text(had), Text(status), Text(asked))
        console.print(table)


def _queries(advice: Advice, console: Console) -> None:
    """Print which candidate answers each query; each line is a row of the table `queries`."""
    rows = text.assignment_rows(advice)
    if rows:
        console.print(Text(f"\nqueries, {text.temperature_said(advice)}, with 95 % intervals", "bold"))
        table = plain_table("weight", texts=("query", "goes to", "p50", "p99"))
        for row in rows:
            tied = f"\ntie with {row['tied']}" if row["tied"] else ""
            cells = (row["query"], row["who"] + tied, *(row[part].replace(" (", "\n(") for part in ("p50", "p99")))
            table.add_row(*map(Text, cells), Text(row["weight"]))
        console.print(table)
