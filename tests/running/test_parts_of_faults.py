"""The parts of a lag where messages are lost, come twice or find no room: closed forms, and what is repaired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_parts import BARE, FREE, add_up

from lab.base import stream
from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.measure import lag
from lab.measure.parts import PARTS, QUEUE, REPAIR, WAIT, Arrived, Parts
from lab.place import FolderPlace
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.lane import Lane, Pace
from lab.running.services import Modelled
from lab.running.simulated import Arrivals, drive
from lab.running.worker import Worker
from lab.scenario import ServiceModel
from lab.stores import Layout, store_class

COUNT, RATE, DELAY, EVERY = 20_000, 1_000.0, 0.02, 0.4
AT = np.cumsum(stream(1, "commits").exponential(1 / RATE, COUNT))


def delivered(copies: np.ndarray, pace: Pace, service: ServiceModel = FREE) -> Parts:
    """The parts of changes of which these copies (indices) arrive, each after a delay of its own."""
    arrives_at = AT[copies] + stream(2, "delays").exponential(DELAY, copies.size)
    order = np.argsort(arrives_at)
    number = np.arange(1, COUNT + 1)
    columns = {"position": number, "key": number, "revision": 1, "deleted": False, "committed_at": AT}
    found = Published.of({"bare": pl.DataFrame(columns, schema=BARE.schema)})
    store = store_class("null")(FolderPlace(Path("unused")), Layout("records", {"bare": BARE}))
    feeds, journal = {"bare": FeedArrays(found.frames["bare"], every_revision=True)}, Journal()
    inbox = Arrivals(copies[order], arrives_at[order], pace.capacity, journal.overflow)
    worker = Worker(Projector(store, "none", 1), Modelled(found, feeds, service), inbox, journal, 10**6, pace.batch)
    drive([Lane(pace, inbox, float(AT[-1]), worker, spans=journal.spans)])
    worker.carry_out()
    visible = lag.visible_at(found, journal, subsumes=True)
    parts = Parts(found, journal, visible, np.arange(COUNT), True, Arrived(inbox.messages, inbox.arrives_at))
    add_up(parts)
    return parts


def test_a_lost_message_is_repaired_by_the_poll_after_half_an_interval() -> None:
    lost = stream(3, "lost").random(COUNT) < 0.3
    parts = delivered(np.flatnonzero(~lost), Pace(1_000, 0.0, EVERY, polls=True, capacity=10**6))
    means = parts.seconds.mean(axis=0)
    assert means[REPAIR] == pytest.approx(lost.mean() * EVERY / 2, rel=0.02)
    assert not parts.seconds[~lost][:, REPAIR].any()
    assert not parts.seconds[lost][:, WAIT].any()
    # A message is waited for until it arrives, or until a poll is due: E min(D, U) with U uniform in an interval.
    shorter = DELAY * (1 - DELAY / EVERY * -np.expm1(-EVERY / DELAY))
    assert means[WAIT] == pytest.approx((1 - lost.mean()) * shorter, rel=0.03)


def test_of_two_copies_the_first_is_waited_for() -> None:
    parts = delivered(np.tile(np.arange(COUNT), 2), Pace(1_000, 0.0, 1.0, polls=False, capacity=10**6))
    means = dict(zip(PARTS, parts.seconds.mean(axis=0), strict=True))
    assert means.pop("wait") == pytest.approx(DELAY / 2, rel=0.02)
    assert not any(means.values())


def test_what_found_no_room_is_repaired() -> None:
    """Half of the messages are more than the store takes in batches of ten: those that are lost wait for a poll."""
    parts = delivered(
        np.arange(COUNT), Pace(10, 0.0, 1.0, polls=True, capacity=10), ServiceModel(per_batch=0.01, per_row=0.0)
    )
    lost = np.unique(np.concatenate(parts.journal.overflowed))
    assert lost.size > 100
    kept = np.setdiff1d(np.arange(COUNT), lost)
    assert not parts.seconds[kept][:, REPAIR].any()
    assert not parts.seconds[lost][:, WAIT].any()
    assert (parts.seconds[lost][:, [REPAIR, QUEUE]].sum(axis=1) > 0).all()
