"""The tables of readers: sessions of one projection, and reads of several projections as replicas with quorums."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.scenario.chance import Delay
from lab.scenario.limits import PROJECTIONS_MAX
from lab.scenario.values import ScenarioTable, Seconds, Set


class ReadersTable(ScenarioTable):
    """Sessions that commit a change, wait for it with a token, and read it: their number, reads and limits.

    `delay` is a read's way to the projection, `answer` the way back.
    """

    sessions: int = Field(500, ge=0, le=1_000_000)
    reads: int = Field(4, ge=1, le=1_000)
    think: Delay = Delay(kind="exponential", mean=0.05)
    delay: Delay = Delay()
    answer: Delay = Delay()
    token: Literal["checkpoint", "revision", "highest", "none"] = "checkpoint"
    wait: Seconds = 2.0


class ReplicasTable(ScenarioTable):
    """Projections that are replicas of each other: how many answer a read, and how many confirm a write."""

    projections: Set | None = None
    read: int = Field(1, ge=1, le=PROJECTIONS_MAX)
    write: int = Field(1, ge=1, le=PROJECTIONS_MAX)
    acknowledgement: Delay = Delay()
