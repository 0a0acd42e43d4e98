"""What arrives at one projection of a live run: the scenario's faults around its subscription, by the run's own seed.

A fate depends on the seed, the projection's name, the message's position and the copy alone: whatever brings the
messages, the same ones are lost, doubled and delayed.
"""

from __future__ import annotations

from lab.base import stream
from lab.channel.fates import LiveFaults, SampledFates
from lab.channel.faulty import Faulty
from lab.ports import Clock, Subscription
from lab.scenario import ChannelTable

_SEEDS = 2**31


def arriving(
    table: ChannelTable, seed: int, name: str, below: Subscription, clock: Clock, at: float, real: bool = False
) -> Faulty:
    """Decorate a projection's subscription. The scenario begins at `at` on the clock: by it outages come and go."""
    # Where the link fails, nothing else need.
    outages = [item.model_copy(update={"at": item.at + at}) for item in table.outages if item.link is None]
    drawn = () if table.draws == "shared" else (name,)
    fates = SampledFates(LiveFaults.of(table), int(stream(seed, "live channel", *drawn).integers(_SEEDS)))
    return Faulty(below, fates, clock, outages, table.capacity, real=real)
