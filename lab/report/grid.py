"""The grid of query times: a row for each projection, a column for each query, and every temperature in its cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lab.advice.figures import FAILED, UNTIMED
from lab.advice.gaps import NOT_ASKED, cannot, remedy
from lab.base import TRUTH
from lab.formatting import listed, microseconds, number
from lab.measure.temperatures import COLD, queries
from lab.report.facts import Overview
from lab.runs import Run

CANNOT, UNASKED = "can't", "not asked"
# How many times as long as the quickest an answer may take for each shade; above the last it has one more.
SHADES = (1.1, 3.0, 10.0, 100.0)


@dataclass(frozen=True)
class GridCell:
    """The p50 of one query in one projection with the ends of its 95 % interval, in microseconds.

    The first figures of the table are those of `p50_us`; `cold_us` is of single calls, where these aren't the first.
    `ratio`: how many times as long as the quickest projection that may be ranked; None if this one may not. `wrong`: an
    answer was, so there is no time. `why`: the reason why there is none; `note` numbers it, from 1. `lack` is that in
    a word: it can't answer, or isn't asked.
    """

    p50_us: float | None = None
    low_us: float | None = None
    high_us: float | None = None
    cold_us: float | None = None
    ratio: float | None = None
    wrong: bool = False
    why: str = ""
    note: int | None = None
    lack: str = CANNOT

    @property
    def best(self) -> bool:
        """Return whether no projection that may be ranked is quicker."""
        return self.ratio is not None and self.ratio <= 1.0

    @property
    def shade(self) -> int | None:
        """Return the number of its shade by `ratio`, 0 for the quickest; None if it is not ranked."""
        return None if self.ratio is None else sum(self.ratio > end for end in SHADES)

    @property
    def times(self) -> str:
        """Format the ratio: `×3.4`; empty for the quickest and for what is not ranked."""
        return "" if self.ratio is None or self.best else f"×{number(self.ratio, 2)}"

    @property
    def between(self) -> str:
        """Format the interval: `149 to 151 µs`; empty if an end is unknown."""
        if self.low_us is None or self.high_us is None:
            return ""
        low, high = microseconds(self.low_us), microseconds(self.high_us)
        unit = high.rpartition(" ")[2]
        return f"{low.removesuffix(f' {unit}')} to {high}"


@dataclass(frozen=True)
class QueryGrid:
    """The names of the queries in order, and a cell for each of them by projection; the source of truth comes last.

    `notes` has the reasons of empty cells, by their number less 1.
    """

    queries: Sequence[str]
    rows: dict[str, list[GridCell]]
    stores: dict[str, str]
    notes: list[str] = field(default_factory=list)


def query_grid(run: Run, found: Sequence[Overview]) -> QueryGrid:
    """Return the grid of a run's table `queries`."""
    table = queries(run)
    kinds: dict[str, str] = dict(table.select("query", "kind").unique("query", keep="first").iter_rows())
    names = table["query"].unique(maintain_order=True).to_list()
    ranked = {TRUTH, *(each.name for each in found if each.ranked)}
    right = table.filter(pl.col("projection").is_in(list(ranked)), pl.col("answer_ok")).drop_nulls("p50_us")
    best: dict[str, float] = dict(right.group_by("query").agg(pl.col("p50_us").min()).iter_rows())
    reasons = cannot(run)
    given = {(row["projection"], row["query"]): row for row in table.iter_rows(named=True)}
    # One that can't answer any of them is in the grid, too; one that isn't asked any is not.
    unable = {name for name, whys in reasons.items() if any(why != NOT_ASKED for why in whys.values())}
    every = [each.name for each in found if each.name in table["projection"] or (each.ranked and each.name in unable)]
    every += [TRUTH] if TRUTH in table["projection"] and TRUTH not in every else []
    stores = {each.name: each.store for each in found}
    stores |= {name: str(row["store"]) for (name, _), row in given.items() if name == TRUTH}
    able = set(right.select("projection", "query").iter_rows())
    answering = {query: [name for name in every if name != TRUTH and (name, query) in able] for query in names}
    notes: dict[str, int] = {}
    rows: dict[str, list[GridCell]] = {}
    for name in every:
        lacking: dict[str, list[str]] = {}
        for query, why in reasons.get(name, {}).items():
            lacking.setdefault(why, []).append(query)
        told = {
            query: _note(name, several, why, kinds, answering) for why, several in lacking.items() for query in several
        }
        rows[name] = []
        for query in names:
            row = given.get((name, query))
            if row is None:
                note = told.get(query, f"{name} wasn't asked `{query}`")
                lack = UNASKED if reasons.get(name, {}).get(query, NOT_ASKED) == NOT_ASKED else CANNOT
                rows[name].append(GridCell(why=note, note=notes.setdefault(note, len(notes) + 1), lack=lack))
            else:
                rows[name].append(_cell(row, best.get(query) if name in ranked else None))
    return QueryGrid(names, rows, stores, list(notes))


def _cell(row: dict[str, Any], best: float | None) -> GridCell:
    p50, wrong = row["p50_us"], row["answer_ok"] is False
    cold = None if row["temperature"] == COLD else row["cold_p50_us"]
    if p50 is None:
        why = "an answer was wrong" if wrong else FAILED if row["samples"] else UNTIMED
        return GridCell(None, cold_us=cold, wrong=wrong, why=why)
    ratio = p50 / best if best and row["answer_ok"] else None
    return GridCell(p50, row["p50_low_us"], row["p50_high_us"], cold, ratio, wrong)


def _note(name: str, several: Sequence[str], why: str, kinds: dict[str, str], answering: dict[str, list[str]]) -> str:
    """Return why a projection can't answer some queries, and what does: a projection of this run, or one to add."""
    asked = listed([f"`{query}`" for query in several])
    who = "The source of truth" if name == TRUTH else name
    does = [each for each in answering[several[0]] if all(each in answering[query] for query in several)]
    if why == NOT_ASKED:
        told = f"{who} isn't asked {asked}"
        return f"{told}; {does[0]} is." if does else f"{told}: name it in the projection's `queries`."
    told = f"{who} can't answer {asked}: {why}."
    if does:
        return f"{told} {does[0]} does."
    able = listed(list(dict.fromkeys(remedy(kinds[query]) for query in several)))
    return f"{told} A way out: add {able}, or ask what it can answer."
