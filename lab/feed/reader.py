"""The catch-up subscription: a projection's own view of the source of truth, as change frames of states.

It is stateless: a page depends on the position alone, so that a projector that crashes and starts again at its
checkpoint gets the same pages. An event-sourced feed is folded here: the page's records are read from their
first event on. What leaves here is what is published: where an entity has a contract, its columns and no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from lab.base import BEFORE
from lab.feed.contracts import before_images, needed, published
from lab.feed.fold import fold
from lab.feed.source import TruthReader


class ChangeReader:
    """Reads `changes_since` as published states, whatever the write model.

    `before` are the published columns whose before-images are wanted, `columns` those of the entity's own that are
    read at all; None reads every one.
    """

    def __init__(self, truth: TruthReader, before: Sequence[str] = (), columns: Sequence[str] | None = None) -> None:
        self.truth = truth
        self.before = tuple(before)
        self.columns = columns

    def changes_since(self, entity: str, position: int, limit: int) -> pl.DataFrame:
        """Return the next change frame after `position`, with before-images if they were asked for."""
        if self.truth.model == "events":
            return self._states(entity, position, limit)
        contract = self.truth.domain.contracts.get(entity)
        before, columns = needed(contract, self.before) or (), needed(contract, self.columns)
        page = self.truth.changes_since(entity, position, limit, before, columns)
        states = published(page, contract, self.columns)
        if contract is None or not self.before:
            return states
        return pl.concat([states, before_images(page, contract, self.before)], how="horizontal")

    def pages(self, entity: str, limit: int) -> Iterator[pl.DataFrame]:
        """Every change from the first on, in pages of `limit`, the last one shorter: as `changes_since` gives them.

        Each event is read once, since the last state of each record is carried from page to page.
        """
        position, carried = 0, pl.DataFrame()
        while True:
            if self.truth.model == "events":
                page, carried = self._folded(entity, position, limit, carried)
            else:
                page = self.changes_since(entity, position, limit)
            if page.height:
                position = int(page["position"][-1])
                yield page
            if page.height < limit:
                return

    def _folded(
        self, entity: str, position: int, limit: int, carried: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the next page of states, and the last state of every record after it, as rows without an event."""
        truth, contract = self.truth, self.truth.domain.contracts.get(entity)
        page = truth.changes_since(entity, position, limit, columns=needed(contract, self.columns))
        known = carried.filter(pl.col("key").is_in(page["key"].unique().implode())) if carried.height else carried
        folded = fold(
            pl.concat([known, page]) if known.height else page,
            truth.domain.entities[entity],
            truth.domain.events[entity],
        )
        last = folded.unique("key", keep="last", maintain_order=True).with_columns(
            pl.lit(None, pl.String).alias("event")
        )
        if carried.height:
            last = pl.concat([carried.join(last.select("key"), on="key", how="anti"), last])
        states = published(folded.drop("event"), contract, self.columns)
        if self.before:
            states = with_before(states, self.before)
        return states.filter(pl.col("position") > position).sort("position"), last

    def _states(self, entity: str, position: int, limit: int) -> pl.DataFrame:
        truth, contract = self.truth, self.truth.domain.contracts.get(entity)
        columns = needed(contract, self.columns)
        page = truth.changes_since(entity, position, limit, columns=columns)
        if page.height and position:
            page = pl.concat([truth.earlier(entity, position, limit, columns), page])
        folded = fold(page, truth.domain.entities[entity], truth.domain.events[entity]).drop("event")
        states = published(folded, contract, self.columns)
        if self.before:
            states = with_before(states, self.before)
        return states.filter(pl.col("position") > position).sort("position")


def with_before(frame: pl.DataFrame, before: Sequence[str]) -> pl.DataFrame:
    """Before-images from the frame itself, which must hold each record's revisions without a gap, in order."""
    live = (~pl.col("deleted")).shift(1).over("key").fill_null(value=False).alias(f"{BEFORE}live")
    images = (pl.col(name).shift(1).over("key").alias(f"{BEFORE}{name}") for name in before)
    return frame.with_columns(live, *images)
