"""What a channel promises of members that are replaced by others of their name, where it knows them by their names."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from lab.testing.taking import PATIENCE, ROOM, MakeChannel, messages, positions, taken


def a_member_that_was_replaced_while_it_waits_takes_nothing_more(make: MakeChannel) -> None:
    channel = make(ROOM, "")
    if not channel.promises.replaces:
        return
    former, waits = channel.subscribe("group", "one"), ThreadPoolExecutor(1)
    waiting = waits.submit(former.take, ROOM, 1.0)
    # Until it waits; where it has not begun to by then, the promise is kept the more easily.
    time.sleep(0.1)
    again = channel.subscribe("group", "one")
    channel.publish(messages([1, 2, 3]))
    assert positions(taken(again, 3)) == [1, 2, 3]
    assert waiting.result(PATIENCE) == []
    waits.shutdown()


def a_member_of_a_lower_generation_replaces_none(make: MakeChannel) -> None:
    """As an owner of a partition that was given on, and whose connection breaks afterwards."""
    channel = make(ROOM, "")
    if not channel.promises.replaces:
        return
    former, owner = (channel.subscribe("group", "one", generation) for generation in (1, 2))
    channel.publish(messages([1, 2, 3]))
    found = taken(owner, 2)
    former.close()
    former = channel.subscribe("group", "one", 1)
    assert former.take(ROOM, 0.0) == []
    former.close()
    assert positions(found + taken(owner, 1)) == [1, 2, 3]
    owner.acknowledge(found)
    assert positions(taken(channel.subscribe("group", "one", 2), 1)) == [3]
