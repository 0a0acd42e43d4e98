"""A projection as a member of its group on a broker: what it takes, and when that counts as done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lab.ports import Delivery
from lab.running.follower import Follower
from lab.running.live import Heard, Waiting
from lab.running.notes import BoundedJournal
from lab.running.wall import WallRunner
from lab.running.worklog import HEARD, WorkLog
from lab.service.listening import BrokerListener, ChannelFiles
from lab.wiring import Plan, ProjectionPlan


class Listening(Protocol):
    """What takes messages: a projection, or one partition of it."""

    plan: Plan
    item: ProjectionPlan
    inbox: Waiting
    journal: BoundedJournal
    log: WorkLog
    runner: WallRunner

    @property
    def worker(self) -> Follower:
        """What keeps it up to date."""


def arrived(on: Listening, heard: Sequence[Heard], began: float) -> int:
    """Put messages into the inbox, which began to be read at `began` on the runner's clock; how many had room."""
    on.journal.counts["messages"] += len(heard)
    at = on.log.now()
    took = on.inbox.arrive(heard, at)
    on.runner.wake()
    for one in heard:
        on.log.note(HEARD, one.row[0], began, (at - began) / len(heard), at)
    return took


def member_of(on: Listening, channel: str, folder: Path, part: str = "", generation: int = 0) -> BrokerListener:
    """Take messages from the broker's channel of this name; `folder` has the live run's files.

    They are done once they have left the inbox, for the store, and aren't held back by the guard. `part` is the name of
    one partition's assignment, and `generation` its generation; "" for a projection as a whole.
    """
    item, table = on.item, on.plan.scenario.channel
    assert table is not None

    def hear(deliveries: Sequence[Delivery]) -> None:
        began = on.log.now()
        mine = [one for one in deliveries if one.message.record[0] in item.layout.entities]
        listener.refused([one for one in deliveries if one.message.record[0] not in item.layout.entities])
        took = arrived(on, [Heard(*one.message.body) for one in mine], began)
        listener.arrived(mine[:took])
        # Counted as lost for want of room: the broker isn't to deliver them again.
        listener.refused(mine[took:])

    def held() -> set[int]:
        return {int(one) for name in on.worker.entities for one in on.worker.projector.held(name)}

    def room() -> int:
        return on.inbox.capacity - len(on.inbox)

    seed = on.plan.scenario.seed
    listener = BrokerListener(table, channel, seed, item.name, ChannelFiles(folder), room, hear, part, generation)
    on.inbox.taken = lambda count: listener.taken(count, held)
    return listener
