"""An owner of a partition that can't begin, or can't go on: nothing of it is left, and its process is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_live_run import planned
from test_partitioned import TEXT

from lab.base import Unavailable
from lab.ports import Assignment
from lab.running.wall import WallClock, WallRunner
from lab.service.partition import PartitionOwner, claimed
from lab.wiring import Plan

FIRST = Assignment(0, 1)


class Refusing:
    """A store that knows no checkpoint: its server is away. `closed` counts."""

    closed = 0

    def __init__(self, made: Plan, opens: bool) -> None:
        self.layout, self._opens = made.projections[0].layout, opens

    def claim(self, assignment: Assignment) -> None:
        """Nothing is written."""

    def open(self) -> None:
        if not self._opens:
            raise Unavailable("the server is away")

    def close(self) -> None:
        self.closed += 1

    def checkpoint(self, entity: str) -> int:
        raise Unavailable("the server is away")


def test_an_owner_whose_store_is_away_leaves_no_store_open(tmp_path: Path) -> None:
    made = planned(tmp_path, TEXT)
    store: Any = Refusing(made, opens=False)
    item: Any = SimpleNamespace(name="shared", store=lambda _: store, table=made.projections[0].table)
    with pytest.raises(Unavailable):
        claimed(item, tmp_path, FIRST)
    assert store.closed == 1


def test_an_owner_whose_checkpoint_can_not_be_asked_leaves_nothing(tmp_path: Path) -> None:
    made = planned(tmp_path, TEXT)
    store: Any = Refusing(made, opens=True)
    projector: Any = SimpleNamespace(store=store, layout=store.layout, checkpoint=store.checkpoint)

    async def own() -> None:
        before = sorted(tmp_path.iterdir())
        for _ in range(2):
            with pytest.raises(Unavailable):
                PartitionOwner(made, made.projections[0], tmp_path, 0.0, FIRST, lambda: None, "", projector)
        assert sorted(tmp_path.iterdir()) == before

    asyncio.run(own())
    assert store.closed == 2


def test_a_partition_whose_messages_can_not_be_taken_any_more_is_no_longer_worked_on(tmp_path: Path) -> None:
    async def work() -> None:
        owner = object.__new__(PartitionOwner)
        owner.runner = WallRunner(SimpleNamespace(next_at=lambda: float("inf")), WallClock())  # type: ignore[arg-type]
        failed = asyncio.get_running_loop().create_future()
        owner.listener = SimpleNamespace(failed=failed)  # type: ignore[assignment]
        working = asyncio.create_task(owner.work())
        await asyncio.sleep(0)
        failed.set_exception(RuntimeError("a defect"))
        with pytest.raises(RuntimeError, match="a defect"):
            await asyncio.wait_for(working, 20)

    asyncio.run(work())
