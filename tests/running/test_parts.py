"""What a lag was spent on: the parts add up in every kind of run, and agree with theory where it knows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from manual import Story, followed
from running import run_text, shipped
from test_two_clocks import stories

from lab.base import Entity, stream
from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.measure import lag
from lab.measure.parts import LINGER, PARTS, QUEUE, REFRESH, REPAIR, WAIT, WORK, Arrived, Parts
from lab.place import FolderPlace
from lab.projection.projector import Projector
from lab.running.journal import Journal
from lab.running.lane import Lane, Pace
from lab.running.services import Modelled
from lab.running.simulated import Arrivals, drive, nothing_arrives
from lab.running.worker import Worker
from lab.runs import Run
from lab.scenario import ServiceModel
from lab.stores import Layout, store_class

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick")

BARE = Entity("bare", "int", {})


# They add up


def of_story(story: Story) -> Parts:
    """The parts of the lags of a generated scenario."""
    published, (journal, inbox) = story.published(), followed(story)
    subsumes = story.policy != "dedupe"
    visible = lag.visible_at(published, journal, subsumes)
    arrived = Arrived(inbox.messages, inbox.arrives_at) if story.deliveries else None
    return Parts(published, journal, visible, np.arange(visible.size), subsumes, arrived)


def add_up(parts: Parts) -> None:
    """The parts as computed are the lag but for rounding; as told they are it to the last bit, and none is negative."""
    assert parts.computed().sum(axis=1) == pytest.approx(parts.lag, abs=1e-9)
    assert parts.computed().min(initial=0.0) >= -1e-9
    assert (parts.seconds.sum(axis=1) == parts.lag).all()
    assert (parts.seconds[:, ::-1].cumsum(axis=1)[:, -1] == parts.lag).all()
    assert parts.seconds.min(initial=0.0) >= 0.0


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(story=stories())
def test_the_parts_add_up_to_the_lag_whatever_happens(story: Story) -> None:
    add_up(of_story(story))


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(story=stories())
def test_nothing_is_repaired_where_nothing_goes_wrong(story: Story) -> None:
    every = tuple((change, float(at) + 0.25) for change, at in enumerate(story.committed_at))
    every = tuple(sorted(every, key=lambda one: one[1]))
    calm = replace(
        story, deliveries=every, faults=type(story.faults)(), rebuild=None, hold=1_000,
        pace=replace(story.pace, capacity=1_000),
    )  # fmt: skip
    parts = of_story(calm)
    add_up(parts)
    assert not parts.seconds[:, [REPAIR, REFRESH]].any()


def test_messages_that_found_no_room_are_lost_also_if_they_are_many() -> None:
    lost: list[np.ndarray] = []
    inbox = Arrivals(np.arange(10), np.arange(10) / 10, 2, lost.append)
    assert inbox.waiting(5.0) == 2
    assert np.concatenate(lost).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    first = Arrived(inbox.messages, inbox.arrives_at).first(10)
    assert np.flatnonzero(np.isfinite(first)).tolist() == [0, 1]
    assert inbox.first(2).tolist() == [0, 1]


SHIPPED = {
    "employees": (),
    "messages-only": (),
    "poison": (),
    "torn-checkpoint": (),
    "rebuild-under-fire": (),
    "gaps": (),
}


def in_the_folder(finished: Run) -> None:
    """The tables of a run: the parts of each visible change add up to its lag."""
    lags, parts = finished.table("lag").drop_nulls(), finished.table("lag_parts")
    joined = lags.join(parts, on=["projection", "position"], how="inner")
    assert joined.height == lags.height == parts.height
    total = joined.select(pl.sum_horizontal(f"{name}_seconds" for name in PARTS))
    assert total.to_series().equals(joined["lag_seconds"].rename("sum"), check_names=False)
    summary = finished.table("lag_parts_summary")
    means = dict(lags.group_by("projection").agg(pl.col("lag_seconds").mean()).iter_rows())
    for (name,), rows in summary.group_by("projection"):
        assert rows["part"].to_list() == list(PARTS)
        assert rows["mean_seconds"].sum() == pytest.approx(means[name])
        for column in ("share", "median_share", "slowest_share"):
            if rows[column].null_count() == 0:
                assert rows[column].sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_tables_of_shipped_scenarios_add_up(name: str, tmp_path: Path) -> None:
    in_the_folder(shipped(name, tmp_path, "measure.rebuild=false", *SHIPPED[name]))


def test_a_measured_run_adds_up(tmp_path: Path) -> None:
    in_the_folder(run_text(tmp_path, MEASURED))


MEASURED = """
schema = 1
name = "measured"
seed = 3
[domain]
name = "employees"
records = 50
[workload]
commands = 500
rate = 200.0
[truth]
model = "history"
[catch_up]
every = 0.5
[channel]
delay = { kind = "exponential", mean = 0.02 }
lose = 0.1
[[projection]]
name = "directory"
store = "sqlite.table"
guard = "ordered"
batch = 20
linger = 0.05
[measure]
samples = 1
warm_up = 0
rebuild = false
"""


# They agree with theory


def followed_up(
    pace: Pace, rate: float, count: int, service: ServiceModel, by_messages: bool, page: int = 10**6
) -> tuple[Parts, np.ndarray]:
    """The parts of Poisson commits, each of a record of its own, whose messages arrive at once; and their means."""
    at = np.cumsum(stream(1, "commits").exponential(1.0 / rate, count))
    number = np.arange(1, count + 1)
    columns = {"position": number, "key": number, "revision": 1, "deleted": False, "committed_at": at}
    found = Published.of({"bare": pl.DataFrame(columns, schema=BARE.schema)})
    store = store_class("null")(FolderPlace(Path("unused")), Layout("records", {"bare": BARE}))
    feeds, journal = {"bare": FeedArrays(found.frames["bare"], every_revision=True)}, Journal()
    inbox = Arrivals(np.arange(count), at, pace.capacity, lambda _: None) if by_messages else nothing_arrives()
    worker = Worker(Projector(store, "none", 1), Modelled(found, feeds, service), inbox, journal, page, pace.batch)
    drive([Lane(pace, inbox, float(at[-1]), worker, spans=journal.spans)])
    worker.carry_out()
    visible = lag.visible_at(found, journal, subsumes=True)
    arrived = Arrived(inbox.messages, inbox.arrives_at) if by_messages else None
    parts = Parts(found, journal, visible, np.arange(count), True, arrived)
    add_up(parts)
    return parts, parts.seconds.mean(axis=0)


FREE = ServiceModel(per_batch=0.0, per_row=0.0)


@pytest.mark.parametrize("rate", [100.0, 150.0, 300.0])
def test_linger_and_batch_is_what_the_renewal_formula_says(rate: float) -> None:
    linger, batch = 0.1, 20
    _, means = followed_up(Pace(batch, linger, 1.0, polls=False, capacity=10**6), rate, 200_000, FREE, True)
    assert means[LINGER] == pytest.approx(renewal(rate, linger, batch), rel=0.02)
    assert not means[[WAIT, QUEUE, WORK, REFRESH, REPAIR]].any()


def renewal(rate: float, linger: float, batch: int) -> float:
    """The mean wait of a message where a batch starts once it is full, or its first message has lingered.

    Of each cycle: the first message waits T = min(linger, time of the (batch - 1)-th arrival after it), and each
    arrival after it T less its own time; divided by the mean number of messages in a cycle. By integration over time.
    """
    steps = np.linspace(0.0, linger, 20_001)
    # P(fewer than k arrivals by t), for the batch to be open at t with j = 0, 1, ... messages beyond the first.
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, batch)))])
    terms = np.array(
        [np.exp(-rate * steps + j * np.log(np.maximum(rate * steps, 1e-300)) - logs[j]) for j in range(batch - 1)]
    )
    terms[0] = np.exp(-rate * steps)
    # While the batch is open with j + 1 messages, all of them wait.
    waiting = np.trapezoid((terms * np.arange(1, batch)[:, None]).sum(axis=0), steps)
    size = 1 + rate * np.trapezoid(terms.sum(axis=0), steps)
    return float(waiting / size)


@pytest.mark.parametrize("service", [FREE, ServiceModel(per_batch=0.05, per_row=0.0)])
def test_the_part_of_the_poll_is_half_its_interval(service: ServiceModel) -> None:
    _, means = followed_up(Pace(10**6, 0.0, 0.4, polls=True, capacity=1), 1_000.0, 200_000, service, False)
    assert means[WAIT] == pytest.approx(0.2, rel=0.02)
    assert means[WORK] == pytest.approx(service.per_batch, rel=1e-9)
    assert not means[[QUEUE, LINGER, REFRESH, REPAIR]].any()


def test_the_queue_is_what_pollaczek_and_khinchine_say() -> None:
    seconds = 0.7 / 1_000.0
    service = ServiceModel(per_batch=seconds, per_row=0.0)
    _, means = followed_up(Pace(1, 0.0, 1.0, polls=False, capacity=10**6), 1_000.0, 200_000, service, True)
    assert means[QUEUE] == pytest.approx(0.7 / (2 * 0.3) * seconds, rel=0.03)
    assert means[WORK] == pytest.approx(seconds, rel=1e-9)
    assert not means[[WAIT, LINGER, REFRESH, REPAIR]].any()


def test_batches_of_one_page_wait_for_those_before_them() -> None:
    service = ServiceModel(per_batch=0.01, per_row=0.0)
    _, means = followed_up(Pace(50, 0.0, 0.5, polls=True, capacity=1), 1_000.0, 200_000, service, False)
    assert means[WAIT] == pytest.approx(0.25, rel=0.02)
    # About ten batches a page: the k-th waits for k - 1 others, but for the last that is not full.
    assert means[QUEUE] == pytest.approx(0.045, rel=0.05)
    assert means[WORK] == pytest.approx(0.01, rel=1e-9)
