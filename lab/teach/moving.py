"""Move the source of truth to another engine beneath projections that go on, and compare engines for the part."""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Sequence
from time import perf_counter

import polars as pl

from lab.domain import domain
from lab.domain.model import Command
from lab.place import FolderPlace
from lab.statistics.quantiles import median
from lab.teach.desk import Reader
from lab.teach.experiments import workplace
from lab.truth import Truth, open_truth

ENTITY = "employee"
ALL = 10_000_000
_places = itertools.count()


def opened(engine: str, model: str = "history") -> Truth:
    """Open an empty source of truth of employees in an engine: `sqlite` or `duckdb`."""
    place = FolderPlace(workplace() / f"moved-{next(_places)}")
    truth = open_truth(engine, model, place, domain("employees"), "normal")
    atexit.register(truth.close)
    return truth


def copied(old: Truth, engine: str, renumbered: bool = False) -> Truth:
    """Copy everything that a source of truth holds into another engine; nobody may write meanwhile.

    Positions are kept, so that checkpoints go on to mean what they meant. `renumbered` is the usual mistake: last
    states alone are exported, and get new positions from 1.
    """
    rows = old.changes_since(ENTITY, 0, ALL)
    if renumbered:
        rows = rows.unique("key", keep="last", maintain_order=True)
        rows = rows.with_columns(position=pl.int_range(1, rows.height + 1, dtype=pl.Int64))
    new = opened(engine, old.model)
    new.load(ENTITY, rows)
    return new


def follow(reader: Reader, truth: Truth) -> None:
    """Point a projection's subscription to another source of truth; its data and its checkpoint stay as they are."""
    reader.truth, reader.feed = truth, reader.plan.subscription(truth)


def card(engines: Sequence[str], rounds: int = 7, commands: int = 8) -> pl.DataFrame:
    """Measure what a source of truth has to do, in rounds in which the engines take their turn; a row for each engine.

    Columns: `engine`; `command_seconds` and `page_seconds` (a command, and a page of everything by enumeration: the
    median of the rounds' medians); `conflict` (whether a command that was decided on an old revision is a conflict),
    `in_order` (whether enumeration shows every change once, in the order of positions); `rounds` (each round's command,
    in seconds).
    """
    truths = {engine: opened(engine) for engine in engines}
    commanded: dict[str, list[float]] = {engine: [] for engine in engines}
    paged: dict[str, list[float]] = {engine: [] for engine in engines}
    for number in range(rounds):
        for engine, truth in truths.items():
            times = []
            for key in range(number * commands, (number + 1) * commands):
                hired = {"name": "Ada Allen", "manager": None, "department": "Sales", "salary": 1_000}
                began = perf_counter()
                truth.execute(Command(ENTITY, "hire", key, hired))
                times.append(perf_counter() - began)
            commanded[engine].append(median(times))
            began = perf_counter()
            truth.changes_since(ENTITY, 0, ALL)
            paged[engine].append(perf_counter() - began)
    rows = []
    for engine, truth in truths.items():
        late = truth.execute(Command(ENTITY, "give_raise", 1, {"salary": 2_000}, expected=7))
        positions = truth.changes_since(ENTITY, 0, ALL)["position"].to_list()
        in_order = positions == list(range(1, rounds * commands + 1))
        rows.append(
            (
                engine,
                median(commanded[engine]),
                median(paged[engine]),
                late.status == "conflict",
                in_order,
                commanded[engine],
            )
        )
    columns = ["engine", "command_seconds", "page_seconds", "conflict", "in_order", "rounds"]
    return pl.DataFrame(rows, schema=columns, orient="row")
