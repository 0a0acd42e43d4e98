"""One projection of the lab between arrivals and lags: the real channel, inbox, lane and times, without a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.base import Entity, stream
from lab.channel.simulated import transmit
from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.measure import lag
from lab.place import FolderPlace
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.lane import Lane, Pace
from lab.running.service_times import ServiceTimes, service_times
from lab.running.services import Modelled
from lab.running.simulated import Arrivals, drive, nothing_arrives
from lab.running.worker import Worker
from lab.scenario import ChannelTable, ServiceModel
from lab.stores import Layout, store_class

BARE = Entity("bare", "int", {})
ANY = 10**9
# The first changes find an empty queue, which is not what theory of the steady state speaks of.
WARM_UP = 0.1


def poisson(rate: float, count: int, seed: int) -> np.ndarray:
    """Times of `count` commits by a Poisson law, in seconds."""
    return np.cumsum(stream(seed, "commits").exponential(1 / rate, count))


def published(at: np.ndarray) -> Published:
    """Changes committed at these times, each of a record of its own."""
    number = np.arange(1, at.size + 1)
    columns = {"position": number, "key": number, "revision": 1, "deleted": False, "committed_at": at}
    return Published.of({"bare": pl.DataFrame(columns, schema=BARE.schema)})


def by_messages(
    at: np.ndarray, seed: int, model: dict[str, Any], channel: dict[str, Any] | None = None, **pace: Any
) -> np.ndarray:
    """The lag of each change in seconds, by messages alone; infinity for what was lost. `pace` is that of the lane."""
    options = ChannelTable.model_validate(channel or {})
    changes = published(at)
    sent = transmit(at, changes.record, options, stream(seed, "channel"))
    lags = np.full(at.size, np.inf)
    inbox = Arrivals(sent.message, sent.arrives_at, options.capacity, lambda _: None)
    paced = Pace(pace.pop("batch", 1), pace.pop("linger", 0.0), 1.0, polls=False, capacity=options.capacity)
    assert not pace
    times = service_times(ServiceModel.model_validate(model), stream(seed, "service", "p"))
    drive([Lane(paced, inbox, changes.end, Taker(inbox, times, at, lags))])
    return lags


@dataclass
class Taker:
    """A `Server` without a projector: a message is visible when its batch has taken its time. It fills in `lags`.

    Where each message is a batch of its own, a worker with projector and journal would take most of the time.
    """

    inbox: Arrivals
    times: ServiceTimes
    committed_at: np.ndarray
    lags: np.ndarray

    def take(self, start: float, count: int) -> float:
        """Take these messages for the time that is drawn."""
        seconds, taken = self.times.draw(count), self.inbox.first(count)
        self.lags[taken] = start + seconds - self.committed_at[taken]
        return seconds

    def poll(self, start: float) -> tuple[float, bool]:
        """Not asked for."""
        raise AssertionError("it takes messages alone")

    def unfinished(self, at: float) -> bool:
        """Nothing is kept back."""
        return False

    def quiet_until(self, at: float) -> float:
        """No poll finds anything."""
        return np.inf

    def skip(self, beats: np.ndarray) -> None:
        """No polls are counted."""


def by_polls(at: np.ndarray, seed: int, model: dict[str, Any], every: float, page: int = ANY) -> np.ndarray:
    """The lag of each change in seconds, by polls alone."""
    changes, journal, pace = published(at), Journal(), Pace(page, 0.0, every, polls=True, capacity=1)
    feeds = {"bare": FeedArrays(changes.frames["bare"], every_revision=True)}
    layout = Layout("records", {"bare": BARE})
    projector = Projector(store_class("null")(FolderPlace(Path("unused")), layout), "none", 1)
    service = Modelled(changes, feeds, ServiceModel.model_validate(model), stream(seed, "service", "p"))
    inbox = nothing_arrives()
    worker = Worker(projector, service, inbox, journal, page, pace.batch)
    drive([Lane(pace, inbox, changes.end, worker)])
    worker.carry_out()
    lags: np.ndarray = lag.visible_at(changes, journal, subsumes=True) - changes.committed_at
    return lags


def steady(lags: np.ndarray) -> np.ndarray:
    """The lags after the warm-up."""
    return lags[int(WARM_UP * lags.size) :]


def mean_lag(lags: np.ndarray) -> float:
    """Their mean after the warm-up, in seconds."""
    return float(steady(lags).mean())


def lost(lags: np.ndarray) -> float:
    """The share that never became visible, after the warm-up."""
    return float(np.isinf(steady(lags)).mean())
