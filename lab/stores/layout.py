"""What a projection keeps: which entities, in which form, with what beside the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from lab.base import INT_MAX, INT_MIN, CannotTake, Entity, Totals
from lab.decimals import readable
from lab.stores.kept import KEPT, Kept


@dataclass(frozen=True)
class Layout:
    """What a projection keeps: the last revision of each record, all revisions, or a running aggregate.

    `memory` are the columns that the guard wants kept with the data, `id` first; without any, it wants none.
    `partitions`: how many parts of the records are written by processes of their own; 0: one process writes all.
    `refresh`: queries see a batch once `Store.refresh` was called, which is done so often, in seconds; 0: at once.
    """

    keeps: str
    entities: dict[str, Entity]
    totals: Totals | None = None
    memory: dict[str, pl.DataType] = field(default_factory=dict)
    durability: str = "normal"
    partitions: int = 0
    refresh: float = 0.0

    @cached_property
    def kept(self) -> Kept:
        """Return the properties of `keeps`."""
        return KEPT[self.keeps]

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell one row of a projection from another: a second write of it replaces the first."""
        return self.kept.identity

    def readable(self, entity: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of an entity, or of its totals, as a person reads it: decimals as such."""
        return readable(self.entities[entity], row, self.totals is not None)

    def embedded_first(self) -> list[str]:
        """The entities, each after those whose parts its records embed, as far as they go round in no circle."""
        ordered: dict[str, None] = {}

        def visit(name: str, above: frozenset[str]) -> None:
            if name in ordered or name in above or name not in self.entities:
                return
            for embed in self.entities[name].embeds:
                visit(embed.entity, above | {name})
            ordered[name] = None

        for name in self.entities:
            visit(name, frozenset())
        return list(ordered)

    def totals_schema(self) -> dict[str, pl.DataType]:
        """The columns of a running aggregate's frame."""
        assert self.totals is not None
        entity = self.entities[self.totals.entity]
        schema = {name: entity.schema[name] for name in self.totals.group_by}
        schema["records"] = pl.Int64()
        return schema | {f"sum_{name}": entity.schema[name] for name in self.totals.sum}

    def schema(self, entity: str) -> dict[str, pl.DataType]:
        """The columns of `pages(entity)`."""
        return self.totals_schema() if self.kept.adds else self.entities[entity].schema

    def shown(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that readers see: of a running aggregate not the groups that nothing is left of."""
        if self.totals is None:
            return rows
        return rows.filter(pl.any_horizontal(pl.col(self.totals.measures) != 0))

    def added(self, former: tuple[Any, ...], more: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add the measures of one group. Raises CannotTake for a sum of whole numbers that needs more than 64 bits."""
        sums = tuple(a + b for a, b in zip(former, more, strict=True))
        if any(isinstance(one, int) and not INT_MIN <= one <= INT_MAX for one in sums):
            raise CannotTake("a sum of its group would need more than 64 bits")
        return sums

    def order(self) -> tuple[str, ...]:
        """The columns that `pages` is sorted by, nulls last: key and revision, or the groups of an aggregate."""
        return self.totals.group_by if self.totals else ("key", "revision")

    @property
    def revisions_in_memory(self) -> bool | None:
        """Whether revisions are found in the guard's memory (True), in the rows (False), or nowhere (None)."""
        if not self.kept.adds:
            return False
        return True if "revision" in self.memory else None
