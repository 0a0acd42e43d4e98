"""The live faulty channel: a decorator around a subscription of any live channel."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from lab.channel.fates import FateSource, LiveFaults, through_outages
from lab.ports import Clock, Delivery, Subscription
from lab.scenario import Outage

_Copy = tuple[float, int, int, Delivery]


class MonotonicClock:
    """The computer's monotonic clock: setting the time of day doesn't move it."""

    def now(self) -> float:
        """Seconds since an unspecified moment."""
        return time.monotonic()

    def wait(self, until: float) -> None:
        """Sleep."""
        time.sleep(max(0.0, until - time.monotonic()))


class Faulty:
    """Hands on what a subscription takes as its fates say: lost, twice, late, out of order. A `Subscription` itself.

    A lost copy is acknowledged below and never handed on. A message is acknowledged below once all of its copies are,
    so the broker should wait for longer than the longest delay; what it repeats meanwhile is ignored. What it repeats
    later, since nobody had acknowledged it, fares as it did the first time. `repeated` counts both. At most `capacity`
    copies are on their way; one that finds no room is dropped, and counted. With `real`, the clock is the computer's,
    and a wait for messages is left to the subscription.
    """

    def __init__(
        self,
        subscription: Subscription,
        fates: FateSource,
        clock: Clock,
        outages: Sequence[Outage] = (),
        capacity: int = 1_000_000,
        every_seconds: float = 0.005,
        real: bool = False,
    ) -> None:
        self.fates = fates
        self.counts = dict.fromkeys(("sent", "delivered", "duplicated", "lost", "overflowed"), 0)
        self.repeated = 0
        self._subscription, self._clock, self._outages = subscription, clock, outages
        self._capacity, self._every, self._real = capacity, every_seconds, real
        # By arrival; at one moment first copies before second ones, as the simulated channel has it.
        self._on_the_way: list[_Copy] = []
        self._held: list[_Copy] = []
        self._ready: list[_Copy] = []
        self._last: dict[tuple[str, int | str], float] = {}
        # What was taken below and isn't acknowledged there, by position: each delivery, by its tag, as a message that
        # was published twice has two; and how many copies are open.
        self._open: dict[int, tuple[dict[int, Delivery], int]] = {}
        self._handed: dict[int, tuple[int, _Copy]] = {}
        self._tags = count(1)

    @property
    def waiting(self) -> int:
        """How many copies are on their way, or held back by an outage."""
        return len(self._on_the_way) + len(self._held) + len(self._ready)

    def next_at(self) -> float | None:
        """When the next copy arrives, on the clock's time; None when none is on its way."""
        return self._on_the_way[0][0] if self._on_the_way else None

    @property
    def open(self) -> int:
        """How many messages are not acknowledged below."""
        return len(self._open)

    def pull(self, seconds: float = 0.0) -> None:
        """Take everything that is ready below, and decide what becomes of it; wait so long for the first one."""
        taken = self._subscription.take(sys.maxsize, seconds)
        while taken:
            for delivery in taken:
                position = delivery.message.position
                self.repeated += position in self._open or delivery.attempt > 1
                if position in self._open:
                    # The broker waits for an acknowledgement of each.
                    self._open[position][0][delivery.tag] = delivery
                else:
                    self._send(delivery)
            taken = self._subscription.take(sys.maxsize, 0.0)

    def take(self, most: int, seconds: float) -> list[Delivery]:
        """At most `most` copies that have arrived, in the order of their arrival; waits for the first one."""
        until = self._clock.now() + seconds
        waits = 0.0
        while True:
            self.pull(waits)
            self._arrive()
            now = self._clock.now()
            if self._ready or now >= until:
                chosen, self._ready = self._ready[:most], self._ready[most:]
                return [self._hand_over(copy) for copy in chosen]
            if self._real:
                waits = max(0.0, min(until, self.next_at() or until) - now)
            else:
                self._clock.wait(min(until, now + self._every, self.next_at() or until))

    def acknowledge(self, done: Sequence[Delivery]) -> None:
        """Acknowledge below what has no other copy open."""
        for delivery in done:
            if delivery.tag in self._handed:
                below, _ = self._handed.pop(delivery.tag)
                self._close_copy(below)

    def refuse(self, given_back: Sequence[Delivery]) -> None:
        """Hand these copies over again, before all others."""
        again = []
        for delivery in given_back:
            if delivery.tag in self._handed:
                _, (at, number, position, below) = self._handed.pop(delivery.tag)
                again.append((at, number, position, replace(below, attempt=delivery.attempt + 1)))
        self._ready = again + self._ready

    def close(self) -> None:
        """Leave the group below; what was not acknowledged goes to its other members."""
        for copies in (self._on_the_way, self._held, self._ready):
            copies.clear()
        self._subscription.close()

    def _send(self, delivery: Delivery) -> None:
        message, fates = delivery.message, self.fates.of(delivery.message.position)
        self.counts["sent"] += 1
        self.counts["duplicated"] += len(fates) - 1
        arrives = [message.published_at + fate.delay + fate.detour for fate in fates]
        lost = [fate.lost for fate in fates]
        if self.fates.options.ordered_by_key and not lost[0]:
            # As in a partition: behind the earlier messages of its record. A second copy keeps to no order.
            arrives[0] = self._last[message.record] = max(arrives[0], self._last.get(message.record, 0.0))
        if self._outages:
            after, gone, _ = through_outages(self._outages, np.array(arrives), np.array(lost))
            arrives, lost = after.tolist(), gone.tolist()
        kept = [number for number, is_lost in enumerate(lost) if not is_lost]
        self.counts["lost"] += len(fates) - len(kept)
        room = max(0, self._capacity - self.waiting)
        self.counts["overflowed"] += len(kept[room:])
        for number in kept[:room]:
            heapq.heappush(self._on_the_way, (arrives[number], number, message.position, delivery))
        self._open[message.position] = {delivery.tag: delivery}, len(kept[:room])
        if not kept[:room]:
            self._close_copy(message.position, 0)

    def _arrive(self) -> None:
        now, arrived = self._clock.now(), []
        while self._on_the_way and self._on_the_way[0][0] <= now:
            arrived.append(heapq.heappop(self._on_the_way))
        if not self._on_the_way:
            # What an outage has lost is not on its way, and those behind it would still have come after it.
            self._last = {record: at for record, at in self._last.items() if at > now}
        options = self.fates.options
        match options.outage if isinstance(options, LiveFaults) else "none":
            case "held":
                self._held += arrived
            case "lost":
                self.counts["lost"] += len(arrived)
                for *_, delivery in arrived:
                    self._close_copy(delivery.message.position)
            case _:
                self.counts["delivered"] += len(self._held) + len(arrived)
                self._ready += self._held + arrived
                self._held = []

    def _hand_over(self, copy: _Copy) -> Delivery:
        _, number, _, below = copy
        tag = next(self._tags)
        self._handed[tag] = below.message.position, copy
        return replace(below, tag=tag, copy=number)

    def _close_copy(self, position: int, copies: int = 1) -> None:
        deliveries, still = self._open[position]
        self._open[position] = deliveries, still - copies
        if still <= copies:
            del self._open[position]
            self._subscription.acknowledge([*deliveries.values()])
