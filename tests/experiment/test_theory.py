"""Where theory knows the answer, the lab measures it: one delay, one queue and one poll at a time, seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pieces import Clerk, lane

from lab.base import Entity, stream
from lab.channel.simulated import transmit
from lab.experiment import run
from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.measure import lag
from lab.place import FolderPlace
from lab.projection.projector import NONE, Applied, Projector
from lab.running.journal import CHANNEL, Journal
from lab.running.lane import Lane, Pace
from lab.running.services import Modelled
from lab.running.simulated import drive, nothing_arrives
from lab.running.theory import single_server
from lab.running.worker import Worker
from lab.scenario import ChannelTable, ServiceModel, Source
from lab.stores import Layout, store_class
from lab.wiring import plan

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick")

CHANGES = 200_000
RATE = 1_000.0
BARE = Entity("bare", "int", {})


def published(count: int = CHANGES) -> Published:
    """Changes that are committed by a Poisson law, each of a record of its own."""
    at = np.cumsum(stream(1, "commits").exponential(1.0 / RATE, count))
    number = np.arange(1, count + 1)
    columns = {"position": number, "key": number, "revision": 1, "deleted": False, "committed_at": at}
    return Published.of({"bare": pl.DataFrame(columns, schema=BARE.schema)})


def measured(found: Published, journal: Journal) -> pl.DataFrame:
    """t-visibility, by the lab's own measures."""
    shown = lag.visible_at(found, journal, subsumes=True)
    return lag.visibility("p", lag.lags("p", found, shown, np.arange(shown.size)))


def through_channel(seed: int = 1, **options: object) -> pl.DataFrame:
    """t-visibility when a change is visible as soon as its message arrives."""
    found = published()
    sent = transmit(found.committed_at, found.record, ChannelTable.model_validate(options), stream(seed, "channel"))
    journal, positions = Journal(), sent.message + 1
    applied = Applied(positions, np.arange(positions.size), NONE, NONE)
    journal.note("bare", applied, positions, CHANNEL, sent.arrives_at, sent.arrives_at)
    return measured(found, journal)


def farthest(visibility: pl.DataFrame, law: np.ndarray) -> float:
    """The largest difference between what was measured and the law."""
    return float(np.abs(visibility["probability"].to_numpy() - law).max())


@pytest.mark.parametrize("mean", [0.02, 3.0])
def test_an_exponential_delay_alone_gives_its_own_distribution(mean: float) -> None:
    found = through_channel(delay={"kind": "exponential", "mean": mean})
    after = found["after_seconds"].to_numpy()
    assert farthest(found, 1 - np.exp(-after / mean)) < 0.01


def test_what_is_lost_is_missing_from_every_share() -> None:
    found = through_channel(delay={"kind": "exponential", "mean": 0.1}, lose=0.25)
    after = found["after_seconds"].to_numpy()
    assert farthest(found, 0.75 * (1 - np.exp(-after / 0.1))) < 0.01


def test_of_two_copies_the_first_to_come_counts() -> None:
    found = through_channel(delay={"kind": "exponential", "mean": 0.1}, duplicate=1.0)
    after = found["after_seconds"].to_numpy()
    assert farthest(found, 1 - np.exp(-2 * after / 0.1)) < 0.01


def test_a_constant_delay_is_the_lag_of_every_change() -> None:
    found = through_channel(delay={"mean": 0.5})
    after = found["after_seconds"].to_numpy()
    assert farthest(found, after >= 0.5) < 0.01


def wait(load: float) -> float:
    """The mean wait in an M/D/1 queue, in services: A. Y. Khinchine (1932), F. Pollaczek (1930)."""
    return load / (2 * (1 - load))


def test_poisson_arrivals_at_one_server_wait_as_long_as_pollaczek_and_khinchine_say() -> None:
    arrivals = published().committed_at
    seconds = 0.7 / RATE
    clerk = Clerk(per_batch=seconds)
    drive([lane(Pace(1, 0.0, 1.0, polls=False, capacity=CHANGES), arrivals, 0.0, clerk)])
    starts = np.array([start for start, _, _ in clerk.takes])
    assert (starts - arrivals).mean() == pytest.approx(wait(0.7) * seconds, rel=0.03)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_the_closed_form_waits_as_long_at_every_load(load: float) -> None:
    arrivals, seconds = published().committed_at, load / RATE
    waited = single_server(arrivals, seconds) - seconds - arrivals
    assert waited.mean() == pytest.approx(wait(load) * seconds, rel=0.03)


def test_polling_alone_gives_a_lag_that_is_uniform_over_the_interval() -> None:
    found = published()
    projector = Projector(
        store_class("null")(FolderPlace(Path("unused")), Layout("records", {"bare": BARE})), "none", 1
    )
    feeds, journal = {"bare": FeedArrays(found.frames["bare"], every_revision=True)}, Journal()
    service, inbox = Modelled(found, feeds, ServiceModel(per_batch=0.0, per_row=0.0)), nothing_arrives()
    worker = Worker(projector, service, inbox, journal, 10**6, 10**6)
    every = 0.4
    drive([Lane(Pace(10**6, 0.0, every, polls=True, capacity=1), inbox, float(found.committed_at[-1]), worker)])
    worker.carry_out()
    seconds = np.sort(lag.visible_at(found, journal, subsumes=True) - found.committed_at)
    assert seconds[0] >= 0
    assert seconds[-1] <= every + 1e-9
    # Kolmogorov's distance from the uniform law, from above and from below.
    law, steps = seconds / every, np.arange(CHANGES + 1) / CHANGES
    assert max(np.abs(law - steps[1:]).max(), np.abs(law - steps[:-1]).max()) < 0.01


ALONE = """
schema = 1
name = "alone"
seed = 11
[domain]
name = "employees"
records = 100
[workload]
commands = 10_000
rate = 500.0
[truth]
model = "history"
[catch_up]
every = 0.5
[channel]
delay = { kind = "exponential", mean = 0.2 }
[time]
service = "modelled"
model = { per_batch = 0.0, per_row = 0.0 }
[[projection]]
name = "messages"
store = "memory"
keeps = "revisions"
guard = "dedupe"
subscribe = "channel"
batch = 1
[[projection]]
name = "polls"
store = "memory"
keeps = "revisions"
guard = "dedupe"
subscribe = "catch-up"
batch = 100_000
[measure]
samples = 1
warm_up = 0
rebuild = false
"""


def test_a_whole_run_shows_the_delay_of_its_messages_and_the_interval_of_its_polls(tmp_path: Path) -> None:
    path = tmp_path / "alone.toml"
    path.write_text(ALONE)
    finished = run(plan(Source(path)), tmp_path / "runs")
    assert finished.manifest["verdict"] == "pass"
    laws = {
        "messages": lambda after: 1 - np.exp(-after / 0.2),
        "polls": lambda after: np.minimum(after / 0.5, 1.0),
    }
    for name, law in laws.items():
        shown = finished.table("visibility").filter(pl.col("projection") == name)
        assert farthest(shown, law(shown["after_seconds"].to_numpy())) < 0.02, name
