"""The queueing model of a projection: one server that polls and takes messages in batches, as the lab's lanes do.

Changes are committed by a Poisson law. The channel, the inbox and the lane are those of a run; of the projector there
is only the time that it takes, `per_batch + per_row * rows` for each batch. `benchmarks/validity` holds the same lanes
against theory, tests hold this model against the same formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lab.base import stream
from lab.channel.simulated import transmit
from lab.running.lane import Lane, Pace
from lab.running.simulated import Arrivals, drive, nothing_arrives
from lab.scenario import ChannelTable
from lab.statistics.quantiles import told

# Changes that are simulated at least, intervals of polling that are, and changes at the most.
COUNT, POLLS, COUNT_MAX = 20_000, 30, 400_000
# The first changes find an empty queue.
WARM_UP = 0.1
# A server that is at work for this share of the time has a queue that grows without end, or nearly.
SATURATED = 0.985


@dataclass(frozen=True)
class QueueSettings:
    """How a projection is fed: its pace, the changes of a page, and the channel, None if it takes no messages."""

    pace: Pace
    page: int
    channel: ChannelTable | None


@dataclass(frozen=True)
class QueueFigures:
    """What the model shows: the share of the time at work, and quantiles of the lag in seconds, None if unknown."""

    busy: float
    p50: float | None
    p99: float | None

    @property
    def keeps_up(self) -> bool:
        """Whether the queue doesn't grow without end."""
        return self.busy < SATURATED


def enough(settings: QueueSettings, rate: float) -> int:
    """Return how many changes are simulated, so that many polls are among them."""
    polled = POLLS * settings.pace.every * rate if settings.pace.polls else 0.0
    return int(min(max(COUNT, polled), COUNT_MAX))


def queue(
    settings: QueueSettings, rate: float, per_batch: float, per_row: float, seed: int, count: int | None = None
) -> QueueFigures:
    """Simulate the queue at `rate` changes a second, batches taking these seconds.

    With `count`, so many changes from an empty queue on, as a run has them; without, the steady state.
    """
    number = enough(settings, rate) if count is None else count
    at = np.cumsum(stream(seed, "plan", "commits").exponential(1 / rate, number))
    server = _QueueServer(at, settings, per_batch, per_row)
    inbox = nothing_arrives()
    if settings.channel is not None:
        sent = transmit(at, np.arange(number), settings.channel, stream(seed, "plan", "channel"))
        inbox = Arrivals(sent.message, sent.arrives_at, settings.channel.capacity, lambda _: None)
    server.inbox = inbox
    drive([Lane(settings.pace, inbox, float(at[-1]), server)])
    first = 0 if count is not None else int(WARM_UP * number)
    lags = (server.visible - at)[first:]
    return QueueFigures(server.busy / float(at[-1]), told(lags, 0.5), told(lags, 0.99))


@dataclass
class _QueueServer:
    """Takes what it is handed for the time that the formula says, and notes when each change is visible."""

    at: np.ndarray
    settings: QueueSettings
    per_batch: float
    per_row: float
    inbox: Arrivals = field(default_factory=nothing_arrives)
    busy: float = 0.0
    seen: int = 0

    def __post_init__(self) -> None:
        self.visible = np.full(self.at.size, np.inf)

    def _applied(self, start: float, changes: np.ndarray | slice, rows: int) -> float:
        end = start + self.per_batch + self.per_row * rows
        self.visible[changes] = np.minimum(self.visible[changes], end)
        # What is done after the last commit belongs to no rate.
        self.busy += max(min(end, float(self.at[-1])) - start, 0.0)
        return end

    def take(self, start: float, count: int) -> float:
        """Take these messages."""
        return self._applied(start, self.inbox.first(count), count) - start

    def poll(self, start: float) -> tuple[float, bool]:
        """Read the next page, and apply it in batches."""
        last = min(int(np.searchsorted(self.at, start, side="right")), self.seen + self.settings.page)
        full, end = last - self.seen == self.settings.page, start
        while self.seen < last:
            rows = min(last - self.seen, self.settings.pace.batch)
            end = self._applied(end, slice(self.seen, self.seen + rows), rows)
            self.seen += rows
        return end - start, full

    def unfinished(self, at: float) -> bool:
        """Nothing is kept back."""
        return False

    def quiet_until(self, at: float) -> float:
        """Before the next commit that it hasn't read, a poll finds nothing."""
        return float(self.at[self.seen]) if self.seen < self.at.size else np.inf

    def skip(self, beats: np.ndarray) -> None:
        """Polls that find nothing take no time."""
