"""A projection as a member of its group on a broker: what it takes, and when that counts as done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.ports import Delivery
from lab.running.live import Heard
from lab.service.listening import BrokerListener, ChannelFiles
from lab.service.projection import Projection


def member_of(projection: Projection, channel: str, folder: Path) -> BrokerListener:
    """Take a projection's messages from the broker's channel of this name; `folder` has the live run's files.

    They are done once they have left the inbox, for the store, and aren't held back by the guard.
    """
    item, table = projection.item, projection.plan.scenario.channel
    assert table is not None

    def hear(deliveries: Sequence[Delivery]) -> None:
        began = projection.log.now()
        mine = [one for one in deliveries if one.message.record[0] in item.layout.entities]
        listener.refused([one for one in deliveries if one.message.record[0] not in item.layout.entities])
        took = projection.arrived([Heard(*one.message.body) for one in mine], began)
        listener.arrived(mine[:took])
        # Counted as lost for want of room: the broker isn't to deliver them again.
        listener.refused(mine[took:])

    def held() -> set[int]:
        worker = projection.worker
        return {int(one) for name in worker.entities for one in worker.projector.held(name)}

    def room() -> int:
        return projection.inbox.capacity - len(projection.inbox)

    seed = projection.plan.scenario.seed
    listener = BrokerListener(table, channel, seed, item.name, ChannelFiles(folder), room, hear)
    projection.inbox.taken = lambda count: listener.taken(count, held)
    return listener
