"""Parquet files by hand, asked by Polars: one sorted file, or all revisions in another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.bench.by_hand import CHOSEN, Answer, Ask
from benchmarks.bench.by_hand.duckdb import merged


class Files:
    """The last revisions, sorted by key."""

    order: tuple[str, ...] = ("key",)

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        self.file, self.rows = folder / "by_hand.parquet", rows.sort(self.order)
        self._written()
        self.asks: dict[str, Ask] = {
            "employee": lambda parameters: self._keys(parameters),
            "team_sheet": lambda parameters: self._keys(sorted(set(parameters))),
            "best_paid_of_department": self._best_paid,
            "payroll": self._payroll,
            "with_manager": self._with_manager,
        }

    def _written(self) -> None:
        beside = self.file.with_suffix(".next")
        self.rows.write_parquet(beside, compression="zstd", compression_level=1, row_group_size=16_384)
        beside.replace(self.file)

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.file)

    def _last(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        return scan.filter(~pl.col("deleted"))

    def _keys(self, keys: Sequence[Any]) -> Answer:
        test = pl.col("key") == keys[0] if len(keys) == 1 else pl.col("key").is_in(list(keys))
        return self._last(self._scan().filter(test)).select(CHOSEN).sort("key").collect().rows()

    def _of_department(self, parameters: tuple[Any, ...]) -> pl.LazyFrame:
        return self._last(self._scan()).filter(pl.col("department") == parameters[0])

    def _best_paid(self, parameters: tuple[Any, ...]) -> Answer:
        found = self._of_department(parameters).select(CHOSEN)
        return found.sort("salary", "key", descending=[True, False], nulls_last=True).head(50).collect().rows()

    def _payroll(self, parameters: tuple[Any, ...]) -> Answer:
        groups = self._last(self._scan()).group_by("department").agg(pl.len().cast(pl.Int64), pl.col("salary").sum())
        return groups.sort("department", nulls_last=True).collect().rows()

    def _with_manager(self, parameters: tuple[Any, ...]) -> Answer:
        rows = self._of_department(parameters).select(CHOSEN).sort("key").head(50).collect()
        keys = rows["manager"].drop_nulls().unique().implode()
        above = self._last(self._scan().filter(pl.col("key").is_in(keys)))
        names = above.select(manager="key", above="name").collect()
        return rows.join(names, on="manager", how="left", maintain_order="left").rows()

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """The file is written anew, and replaces the other one; there is no checkpoint."""
        self.rows = merged(self.rows, rows)
        self._written()

    def close(self) -> None:
        """Nothing is open."""


class Log(Files):
    """All revisions, sorted by key and revision."""

    order = ("key", "revision")

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        super().__init__(folder, rows)
        past = ["key", "revision", "deleted", "committed_at", *CHOSEN[2:]]
        one = pl.col("key")
        self.asks |= {
            "employee_as_of": lambda p: (
                self._scan().filter(one == p[0], pl.col("committed_at") <= p[1]).sort("revision").tail(1)
                .filter(~pl.col("deleted")).select(CHOSEN).collect().rows()
            ),
            "career": lambda p: self._scan().filter(one == p[0]).select(past).sort("revision").collect().rows(),
        }  # fmt: skip

    def _last(self, scan: pl.LazyFrame) -> pl.LazyFrame:
        return scan.filter(pl.col("revision") == pl.col("revision").max().over("key")).filter(~pl.col("deleted"))

    def write(self, rows: Sequence[tuple[Any, ...]], position: int) -> None:
        """The file is written anew."""
        new = pl.DataFrame(rows, schema=self.rows.schema, orient="row")
        self.rows = pl.concat([self.rows, new]).sort(self.order)
        self._written()
