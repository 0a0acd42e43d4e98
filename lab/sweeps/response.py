"""How figures answer to what is varied: at each point, for each projection, the middle of its repetitions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import polars as pl

from lab.statistics.replicated import interval, middle
from lab.sweeps.folder import Sweep

# In the order in which a reader asks for them.
FIRST = ("wrong_share", "never_visible_share", "lag_p99", "lag_p50", "lag_mean", "rebuild", "writes_per_second")
TITLES = {
    "wrong_share": "rows that are wrong at the end",
    "never_visible_share": "changes that were never visible",
    "lag_p99": "lag, p99",
    "lag_p50": "lag, p50",
    "lag_mean": "lag, mean",
    "rebuild": "rebuild",
    "writes_per_second": "writes per second",
    "violations": "violations of checks",
}


@dataclass(frozen=True)
class Response:
    """The results of a sweep, one row for each point, projection and quantity.

    Columns: the varied keys, `projection`, `store`, `guard`, `quantity`, `unit`, `value` (the middle of the
    repetitions), `low` and `high` (its 95 % interval; null of one repetition), `repetitions`. `untold` has the points,
    projections and quantities that some repetitions know and others don't (a quantile that falls on a change which was
    never visible, a lag that grows without end): a middle of the others would be too small.
    """

    keys: list[str]
    frame: pl.DataFrame
    untold: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def quantities(self) -> list[str]:
        """The quantities that differ between points, in the order of `FIRST`, and those of checks last."""
        spread = self.frame.group_by("quantity").agg((pl.col("value").max() - pl.col("value").min()).alias("spread"))
        moved = set(spread.filter(pl.col("spread") > 0)["quantity"])
        return [name for name in FIRST if name in moved] or sorted(moved)[:3] or list(FIRST[:1])

    def of(self, quantity: str) -> pl.DataFrame:
        """The rows of one quantity."""
        return self.frame.filter(pl.col("quantity") == quantity)

    @property
    def projections(self) -> list[str]:
        """The projections, in the order of the scenario."""
        return self.frame["projection"].unique(maintain_order=True).to_list()

    def numeric(self, key: str) -> bool:
        """Whether the values of a key are numbers."""
        return self.frame.schema[key] == pl.Float64

    def values(self, key: str) -> list[float] | list[str]:
        """The values of a key, in order."""
        return self.frame[key].unique().sort().to_list()


def response(sweep: Sweep) -> Response:
    """Return how the figures of a sweep answer; of a point of which no run came to anything there is no row."""
    keys = sweep.keys
    frame = sweep.frame
    if frame.is_empty() or (frame := frame.filter(pl.col("error").is_null())).is_empty():
        return Response(keys, pl.DataFrame())
    by = [*keys, "projection", "store", "guard", "quantity", "unit"]
    found = frame.group_by(by, maintain_order=True).agg(pl.col("value"))
    ran = frame.group_by([*keys, "projection"]).agg(pl.col("run").n_unique().alias("ran"))
    found = found.join(ran, [*keys, "projection"], how="left", maintain_order="left")
    partly = pl.col("value").list.len() < pl.col("ran")
    untold, found = found.filter(partly).select(*keys, "projection", "quantity"), found.filter(~partly).drop("ran")
    rows = []
    for row in found.iter_rows(named=True):
        values = row.pop("value")
        ends = interval(values)
        rows.append(row | {"value": middle(values), "low": ends.low, "high": ends.high, "repetitions": len(values)})
    types = {name: frame.schema[name] for name in by} | {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return Response(keys, pl.DataFrame(rows, schema=types | {"repetitions": pl.Int64}), untold)


def label(key: str, value: float | str) -> str:
    """Return a value of a key as figures and sentences say it."""
    short = key.removeprefix("projection.")
    return f"{short} {value:g}" if isinstance(value, float) else f"{short} {value}"


def logarithmic(values: list[float]) -> bool:
    """Whether values are better drawn on a logarithmic axis: all above 0, over more than a power of ten."""
    return min(values) > 0 and math.log10(max(values) / min(values)) > 1
