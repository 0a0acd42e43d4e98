"""A follower of a slice of the records: its checkpoint passes changes of others: a quiet slice holds up none."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from lab.projection.applied import NOTHING, Applied
from lab.running.follower import Follower
from lab.running.journal import Journal
from lab.running.live import LiveService, LiveSource, Waiting
from lab.running.worklog import WorkLog
from lab.testing.sample import item, items


class Slice:
    """A slice with changes at these positions, of a source of truth with positions up to `head`."""

    def __init__(self, *positions: int, head: int, every_revision: bool = True) -> None:
        self.positions, self.bound = [*positions], math.inf
        self.truth: Any = SimpleNamespace(head=lambda _: head, publishes_every_revision=every_revision)
        self.checkpoints: list[tuple[int, int | None]] = []

    def changes_since(self, entity: str, position: int, limit: int) -> pl.DataFrame:
        found = [one for one in self.positions if one > position][:limit]
        return items(*(item(one, 1) for one in found)).with_columns(position=pl.Series(found, dtype=pl.Int64))

    def checkpoint(self, entity: str) -> int:
        return next((to for _, to in reversed(self.checkpoints) if to is not None), 0)

    def apply(self, entity: str, frame: pl.DataFrame, checkpoint: int | None = None) -> Applied:
        self.checkpoints.append((frame.height, checkpoint))
        return NOTHING

    def follower(self, sliced: bool, gate: Any = None) -> Follower:
        domain: Any = SimpleNamespace(entities={"item": None}, contracts={})
        source = LiveSource(lambda: self.truth, lambda _: self, domain)  # type: ignore[arg-type, return-value]
        service = LiveService(source, ("item",), WorkLog(lambda: 0.0), None)
        projector: Any = SimpleNamespace(
            layout=domain, checkpoint=self.checkpoint, apply=self.apply, parked=lambda _: []
        )
        found = Follower(projector, service, Waiting(1, lambda _: None), Journal(), 10, 10, gate)
        found.sliced = sliced
        return found


def polled(follower: Follower, times: int = 3) -> list[int]:
    for _ in range(times):
        follower.poll(0.0)
    assert isinstance(follower.journal, Journal)
    return [to for _, _, to in follower.journal.checkpoints]


def test_the_checkpoint_of_a_slice_moves_to_the_head_once_it_has_nothing_more() -> None:
    none, some = Slice(head=9), Slice(2, 4, head=9)
    assert polled(none.follower(sliced=True)) == [9]
    assert polled(some.follower(sliced=True)) == [4, 9]
    # Once, and with no rows: a poll that finds the same head writes nothing.
    assert (none.checkpoints, some.checkpoints) == ([(0, 9)], [(2, 4), (0, 9)])
    assert polled(Slice(2, 4, head=4).follower(sliced=True)) == [4]


def test_the_checkpoint_of_all_records_stays_at_the_last_of_them() -> None:
    assert polled(Slice(2, 4, head=9).follower(sliced=False)) == [4]


@pytest.mark.parametrize("every_revision", [True, False])
def test_what_a_gate_keeps_back_is_not_passed(every_revision: bool) -> None:
    gate = SimpleNamespace(look=lambda _: 6, keeps_back=True)
    # Position 8 is committed, and something below it is still open: the head is asked of the gate itself in a run.
    one = Slice(2, 8, head=6, every_revision=every_revision)
    follower = one.follower(sliced=True, gate=gate)
    assert polled(follower) == ([2] if every_revision else [])
    one.positions, one.truth.head = [2], lambda _: 8
    assert polled(follower)[-1] == 8


def test_a_page_that_may_go_on_is_not_passed() -> None:
    one = Slice(*range(1, 11), 12, head=14)
    assert polled(one.follower(sliced=True)) == [10, 12, 14]
