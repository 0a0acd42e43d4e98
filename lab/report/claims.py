"""Show the claims of a run, ahead of its figures: verdict, text, what its two sides came to, and why it is so."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from lab.claims.telling import sides
from lab.formatting import listed, plural
from lab.report.words import MARKS
from lab.runs import Run

# The verdict of a check that a claim's verdict is shown like.
LIKE = {"verified": "pass", "refuted": "fail", "inconclusive": "unknown"}
_COLOURS = {"verified": "green", "refuted": "red", "inconclusive": "yellow"}


def claim_rows(run: Run) -> list[dict[str, Any]]:
    """Return the rows of the table `claims`, each with what its sides came to (`told`) and the check it is `like`."""
    return [row | {"told": sides(row), "like": LIKE[row["verdict"]]} for row in run.table("claims").to_dicts()]


def on_claims(rows: list[dict[str, Any]], repetitions: int) -> str:
    """Say how many claims there are of each verdict, and how they were judged."""
    found = [row["verdict"] for row in rows]
    told = [f"{found.count(verdict)} {verdict}" for verdict in LIKE if verdict in found]
    head = f"{plural(len(found), 'claim')}: {listed(told)}."
    what = "by the 95 % interval of what is between its two sides, their ratio or their difference"
    if repetitions == 1:
        return f"{head} A claim of counts is judged exactly, any other {what}."
    return f"{head} A claim of counts must hold in each of the {repetitions} repetitions; any other is judged {what}."


def print_claims(run: Run, console: Console) -> None:
    """Print each claim with its verdict; nothing if the scenario makes none."""
    for row in claim_rows(run):
        mark = Text(f"{MARKS[row['like']]} {row['verdict']}", f"bold {_COLOURS[row['verdict']]}")
        console.print(Text.assemble(mark, "  ", (row["claim"], "bold"), "  ", row["that"]))
        for text in filter(None, (row["told"], row["reason"], row["why"])):
            console.print(Padding(Text(text, "dim" if text == row["why"] else ""), (0, 0, 0, 4)))
