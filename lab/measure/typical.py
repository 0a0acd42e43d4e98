"""A run of several repetitions in the tables of a plain run: medians with their intervals, and the worst verdicts.

What shows a run as a whole takes this and needs to know nothing of repetitions. Tables that show one history, such as
the lag of each change, are those of repetition 1.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from lab.measure.figures import averaged
from lab.measure.once import once_for_each_run
from lab.runs import Run
from lab.statistics.quantiles import SHARES, samples_needed
from lab.statistics.replicated import interval, middle
from lab.tables import REPETITION, TABLES, Schema
from lab.tables.schema import WHOLE

_WORST = ("fail", "unknown", "pass")
Row = dict[str, Any]


@dataclass(frozen=True)
class TypicalRun(Run):
    """The view that `typical` returns. `table` has medians and worst verdicts, all else is that of repetition 1.

    `seen` is the run of which it is a view.
    """

    seen: Run = field(kw_only=True, compare=False, repr=False)

    @property
    def whole(self) -> Run:
        """The run of which this is a view."""
        return self.seen

    def table(self, name: str) -> pl.DataFrame:
        """One table of the run; see `Run.table`."""
        return self._made[name] if name in self._made else self.whole.first.table(name)

    def has(self, name: str) -> bool:
        """Whether the table has rows."""
        return not self._made[name].is_empty() if name in self._made else self.whole.first.has(name)

    @contextlib.contextmanager
    def scanned(self, name: str) -> Iterator[pl.LazyFrame]:
        """One table, to be read a part at a time."""
        if name in self._made:
            yield self._made[name].lazy()
            return
        with self.whole.first.scanned(name) as rows:
            yield rows

    def repetition(self, number: int) -> Run:
        """One repetition alone; see `Run.repetition`."""
        return self.whole.repetition(number)

    @cached_property
    def _made(self) -> dict[str, pl.DataFrame]:
        whole = self.whole
        made = {
            name: _medians(TABLES[name], whole.table(name), keys, rows) for name, (keys, rows) in _SUMMARISED.items()
        }
        verdicts = whole.table("verdicts")
        worst = _worst(verdicts)
        seeds = [whole.repetition(number).manifest["seed"] for number in range(1, whole.repetitions + 1)]
        made["verdicts"] = TABLES["verdicts"].typed(_said(worst, seeds).drop(REPETITION))
        chosen = worst.select("projection", "check", REPETITION)
        steps = whole.table("witnesses").join(chosen, on=["projection", "check", REPETITION], how="semi")
        made["witnesses"] = TABLES["witnesses"].typed(steps.drop(REPETITION))
        return made


@once_for_each_run
def typical(run: Run) -> Run:
    """Return a run in the tables of a plain run; a run of one repetition is returned as it is."""
    if run.repetitions == 1 or isinstance(run, TypicalRun):
        return run
    return TypicalRun(run.path, run.unreported, seen=run)


def of_first(run: Run, names: Iterable[str]) -> list[str]:
    """Return those tables that show repetition 1 in `typical`; none of a run without repetitions."""
    return [name for name in names if name not in _OF_ALL] if run.repetitions > 1 else []


def _medians(schema: Schema, frame: pl.DataFrame, keys: Sequence[str], prepared: Callable[[Row], Row]) -> pl.DataFrame:
    """A row for each value of `keys`: medians over the repetitions, and the intervals of quantiles."""
    grouped: dict[tuple[Any, ...], list[Row]] = {}
    for row in frame.drop(REPETITION).iter_rows(named=True):
        grouped.setdefault(tuple(row[key] for key in keys), []).append(prepared(averaged(row)))
    return schema.frame(_median(schema, rows) for rows in grouped.values())


def _median(schema: Schema, rows: Sequence[Row]) -> Row:
    found: Row = {}
    for name, dtype in schema.types.items():
        values = [row[name] for row in rows]
        if dtype == pl.Float64:
            found[name] = _finite(middle(values))
        elif dtype == pl.Int64:
            number = middle(values)
            found[name] = None if number is None else round(number)
        elif dtype == pl.Boolean:
            known = [value for value in values if value is not None]
            found[name] = all(known) if known else None
        else:
            found[name] = next((value for value in values if value is not None), None)
    return found | dict(_ends(schema, rows))


def _ends(schema: Schema, rows: Sequence[Row]) -> Iterator[tuple[str, Any]]:
    """The ends of the intervals that the table has columns for, and why they are missing."""
    for low in (name for name in schema.types if "_low_" in name):
        ends = interval([row[low.replace("_low_", "_")] for row in rows])
        yield low, _finite(ends.low)
        yield low.replace("_low_", "_high_"), _finite(ends.high)
        yield low.partition("_low_")[0] + "_interval_reason", ends.reason or None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _as_it_is(row: Row) -> Row:
    return row


def _with_never(row: Row) -> Row:
    """A lag that falls on a change that never became visible is infinite; one that grows without end stays unknown."""
    if row["stable"] is False:
        return row
    untold = {f"{name}_seconds": share for name, share in SHARES.items()} | {"max_seconds": 1.0}
    never = {
        name: math.inf
        for name, share in untold.items()
        if row[name] is None and row["changes"] >= samples_needed(share)
    }
    return row | never


_SUMMARISED: dict[str, tuple[Sequence[str], Callable[[Row], Row]]] = {
    "lag_summary": (("projection",), _with_never),
    "rebuild": (("projection",), _as_it_is),
    "queries": (("projection", "query"), _as_it_is),
    "writes": (("write_model",), _as_it_is),
}


# The tables that are about all repetitions.
_OF_ALL = {*_SUMMARISED, "verdicts", "witnesses", *WHOLE}


def _worst(verdicts: pl.DataFrame) -> pl.DataFrame:
    """For each projection and check, the row of the first repetition with the worst verdict."""
    rank = pl.col("verdict").replace_strict({verdict: place for place, verdict in enumerate(_WORST)}, default=0)
    first = verdicts.with_columns(rank.alias("rank")).sort("rank", REPETITION, maintain_order=True)
    chosen = first.unique(["projection", "check"], keep="first", maintain_order=True).drop("rank")
    order = verdicts.select("projection", "check").unique(maintain_order=True)
    return order.join(chosen, on=["projection", "check"], maintain_order="left").select(verdicts.columns)


def _said(worst: pl.DataFrame, seeds: Sequence[int]) -> pl.DataFrame:
    """A witness says of which repetition it is, and how to see that one alone."""
    of = pl.concat_str(
        pl.lit("repetition "), REPETITION, pl.lit(" (`--repeat 1 --seed "),
        pl.col(REPETITION).replace_strict(dict(enumerate(seeds, 1))), pl.lit("`):\n"), "witness",
    )  # fmt: skip
    return worst.with_columns(witness=pl.when(pl.col("verdict") == "fail").then(of).otherwise("witness"))


def numbered(run: Run, texts: Iterable[str]) -> list[str]:
    """Return texts with "repetition 1 of N" before them, for what shows one history of a run that has several."""
    several = run.repetitions
    return [f"Repetition 1 of {several}. {text}" if several > 1 else text for text in texts]
