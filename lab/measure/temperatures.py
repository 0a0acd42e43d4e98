"""The temperatures of query times, and the figures of one of them.

A query's time is `hot` in blocks of calls, `cold` among single calls of all others (`lab.measure.asking`), and `load`
where clients asked over HTTP under load. The first figures in a row of the table `queries` are those of its column
`temperature`; those of single calls stand beside them, in columns that begin with `cold_`.
"""

from __future__ import annotations

import polars as pl

from lab.runs import Run

HOT, COLD, LOAD = "hot", "cold", "load"
MEANING = {
    HOT: "in blocks of calls, caches warm",
    COLD: "single calls among those of all others",
    LOAD: "under load, over HTTP",
}
_BESIDE = f"{COLD}_"


def temperatures(run: Run) -> tuple[str, ...]:
    """Return what the run has figures of: that of the first columns, then the other one if there is one."""
    return told_at(queries(run))


def told_at(queries: pl.DataFrame) -> tuple[str, ...]:
    """Return what rows of `queries` have figures of; see `temperatures`."""
    first = queries["temperature"].unique(maintain_order=True).to_list()
    return (*first, COLD) if first == [HOT] else (*first,)


def queries(run: Run, temperature: str | None = None) -> pl.DataFrame:
    """Return the table `queries` with the figures of one temperature in its first columns; by default, as it is.

    Runs of versions that knew single calls alone say so: cold, or under load. A row without figures of the temperature
    has nulls.
    """
    usual = LOAD if "load" in run.manifest else COLD
    found = run.table("queries").with_columns(pl.col("temperature").fill_null(usual))
    return found if temperature is None else of(found, temperature)


def of(queries: pl.DataFrame, temperature: str) -> pl.DataFrame:
    """Return rows of `queries` with the figures of one temperature in the first columns; null where there are none."""
    first = pl.col("temperature") == temperature
    chosen = []
    for beside in (name for name in queries.columns if name.startswith(_BESIDE)):
        name = beside.removeprefix(_BESIDE)
        other = pl.col(beside) if temperature == COLD else pl.lit(None, queries.schema[name])
        chosen.append(pl.when(first).then(name).otherwise(other).alias(name))
    return queries.with_columns(*chosen, temperature=pl.lit(temperature))


def under_load(queries: pl.DataFrame) -> pl.DataFrame:
    """Return rows whose first figures were taken under load: there is no other temperature."""
    nothing = (pl.lit(None, queries.schema[name]).alias(name) for name in queries.columns if name.startswith(_BESIDE))
    return queries.with_columns(*nothing, temperature=pl.lit(LOAD))
