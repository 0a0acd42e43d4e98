"""An owner of a partition that can't begin, or can't go on: nothing of it is left, and its process is told."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_live_run import planned
from test_partitioned import TEXT

from lab.base import Unavailable
from lab.live.members import mishaps, not_done
from lab.live.refusals import too_late
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
    mine: Any = SimpleNamespace(
        projector=SimpleNamespace(store=store, layout=store.layout, checkpoint=store.checkpoint), behind={}
    )

    async def own() -> None:
        before = sorted(tmp_path.iterdir())
        for _ in range(2):
            with pytest.raises(Unavailable):
                PartitionOwner(made, made.projections[0], tmp_path, 0.0, FIRST, lambda: None, "", mine)
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


def test_what_befalls_members_waits_for_one_between_two_lives_and_is_counted(tmp_path: Path) -> None:
    made = planned(tmp_path, TEXT.replace("members = 2", "members = 1\nkills = [0.5, 2.0, 99.0]"))
    done = Counter[str]()

    async def strike() -> list[int]:
        struck = []
        child: Any = SimpleNamespace(pid=None)
        for _ in range(2):
            process = await asyncio.create_subprocess_exec("sleep", "60")
            first, *others = mishaps(made, {"shared.1": child}, 0.0, done)
            for one in others:
                one.close()
            task = asyncio.create_task(first)
            await asyncio.sleep(0.1)
            child.pid = process.pid
            await task
            struck.append(await asyncio.wait_for(process.wait(), 20))
            child.pid = None
        return struck

    assert asyncio.run(strike()) == [-signal.SIGKILL, -signal.SIGKILL]
    assert done == {"shared": 2}
    assert not_done(made, done) == [
        "Of 3 kills and freezes of shared's members 2 happened: the run was over before the others."
    ]
    assert not_done(made, {"shared": 3}) == []
    (problem,) = too_late(made, 7.0)
    assert f"{problem}".endswith(
        "projection.shared.kills: the last command is due at 7.0 s, and 99 s is after that (earlier, or more commands)"
    )
