"""What becomes of a message on its way: lost, delivered twice, delayed, on a detour, or held by an outage.

One sampler draws the fates of many messages at once. The simulated channel uses them as arrays, the live decorator
(`channel/faulty.py`) one message at a time; with the same fates both deliver the same copies at the same times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np
from pydantic import model_validator

from lab.base import stream
from lab.scenario import ChannelFaults, Outage
from lab.scenario.chance import Delay
from lab.scenario.draws import delays
from lab.spill import Spill
from lab.statistics.grouped import blocks, by_blocks

# A live channel draws the fates of so many positions at once.
BLOCK = 1024


class LiveFaults(ChannelFaults):
    """What a live channel does to messages now. `outage` holds back or loses whatever would arrive."""

    outage: Literal["none", "held", "lost"] = "none"

    @model_validator(mode="after")
    def _values_at_hand(self) -> Self:
        laws = [law for one in (self.delay, self.reorder.extra) for law in (one, *(one.parts or ()))]
        if any(law.file is not None for law in laws):
            raise ValueError("a `file` of delays is read with the scenario only: give its `values`")
        return self

    @classmethod
    def of(cls, options: ChannelFaults) -> LiveFaults:
        """The same faults; a scenario's outages are at simulated times, and a live one is switched by hand."""
        return cls(**{name: getattr(options, name) for name in ChannelFaults.model_fields})


class Fate(NamedTuple):
    """What happens to one copy: seconds of delay, further seconds of a detour, and whether it is lost."""

    delay: float
    detour: float
    lost: bool


@dataclass(frozen=True)
class Fates:
    """One entry for each copy: the first copies of all messages, then the second ones. `message` counts from 0.

    `detours` are the copies that take one, `extra` the seconds that each of these takes longer.
    """

    message: np.ndarray
    delay: np.ndarray
    detours: np.ndarray
    extra: np.ndarray
    lost: np.ndarray

    @classmethod
    def draw(cls, options: ChannelFaults, count: int, rng: np.random.Generator, spill: Spill | None = None) -> Fates:
        """The fates of `count` messages. Copies of one message fare independently of each other.

        Block by block the generator gives what it gives at once; many fates are kept in `spill`.
        """
        spill = spill or Spill()

        def less(size: int, share: float) -> np.ndarray:
            return by_blocks(spill, size, np.bool_, lambda block: rng.random(block.stop - block.start) < share)

        twice = np.flatnonzero(less(count, options.duplicate))
        message = spill.empty(count + twice.size, np.int64)
        message[count:] = twice
        for block in blocks(count):
            message[block] = np.arange(block.start, block.stop)
        delay = _delays(options.delay, message.size, rng, spill)
        detours = np.flatnonzero(less(message.size, options.reorder.share))
        lost = less(message.size, options.lose)
        # Last, as only so many are drawn as are wanted: no other draw of a seed shifts with the share.
        return cls(message, delay, detours, _delays(options.reorder.extra, detours.size, rng, spill), lost)

    def arrivals(self, sent_at: np.ndarray, spill: Spill | None = None) -> np.ndarray:
        """When each copy arrives if nothing else holds it up; `sent_at` has an entry for each message. In seconds."""
        arrives = by_blocks(
            spill or Spill(),
            self.message.size,
            np.float64,
            lambda block: self.delay[block] + sent_at[self.message[block]],
        )
        for block in blocks(self.detours.size):
            arrives[self.detours[block]] += self.extra[block]
        return arrives

    @cached_property
    def by_message(self) -> list[list[Fate]]:
        """The fates of each message's copies."""
        detour = np.zeros(self.delay.size)
        detour[self.detours] = self.extra
        found: list[list[Fate]] = [[] for _ in range(int(self.message.max(initial=-1)) + 1)]
        for message, *fate in zip(
            self.message.tolist(), self.delay.tolist(), detour.tolist(), self.lost.tolist(), strict=True
        ):
            found[message].append(Fate(*fate))
        return found


def _delays(options: Delay, count: int, rng: np.random.Generator, spill: Spill) -> np.ndarray:
    if options.kind == "mixture":
        # It draws which of its parts all are of before it draws any.
        return delays(options, count, rng)
    return by_blocks(spill, count, np.float64, lambda block: delays(options, block.stop - block.start, rng))


def through_outages(
    outages: Sequence[Outage], arrives: np.ndarray, lost: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrivals after outages, what is lost by then, and what was held back until one was over."""
    held = np.zeros(arrives.size, dtype=bool)
    lost = lost.copy()
    for outage in sorted(outages, key=lambda item: item.at):
        cut = (arrives >= outage.at) & (arrives < outage.at + outage.lasts) & ~lost
        if outage.loses:
            lost |= cut
        else:
            held |= cut
            arrives = np.where(cut, outage.at + outage.lasts, arrives)
    return arrives, lost, held


class FateSource(Protocol):
    """Where a live channel looks up what becomes of a message."""

    @property
    def options(self) -> ChannelFaults:
        """What the fates were drawn from."""

    def of(self, position: int) -> list[Fate]:
        """The fate of each copy of the message with this position, from 1."""


@dataclass(frozen=True)
class DrawnFates:
    """The fates of a simulated run, for a live run with the same messages."""

    options: ChannelFaults
    fates: Fates

    def of(self, position: int) -> list[Fate]:
        """Message 0 of the simulation has position 1."""
        return self.fates.by_message[position - 1]


class SampledFates:
    """Fates without an end: drawn block by block, from the seed and the position alone, whatever the order of arrival.

    `options` may be changed at any time; what was looked up before keeps its fate.
    """

    def __init__(self, options: ChannelFaults, seed: int) -> None:
        self.options = options
        self._seed = seed
        self._drawn: tuple[ChannelFaults, int] | None = None
        self._fates: list[list[Fate]] = []

    def of(self, position: int) -> list[Fate]:
        """One block is kept: positions rise, but for a few."""
        block, place = divmod(position - 1, BLOCK)
        if self._drawn != (self.options, block):
            rng = stream(self._seed, "fates", str(block))
            self._fates, self._drawn = Fates.draw(self.options, BLOCK, rng).by_message, (self.options, block)
        return self._fates[place]
