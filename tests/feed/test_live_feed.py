"""Feeds through their port: the contract, real concurrent writers, and the same strategies as in the simulation."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import commands
from test_gaps import timelines

from lab.domain.employees import EMPLOYEES
from lab.feed.gaps import STRATEGIES, Gate, Hold, Horizon, Naive
from lab.feed.live import LiveFeed, OpenTransactions, RegisteredEvidence, TruthSource
from lab.feed.writers import Transactions
from lab.place import FolderPlace
from lab.ports import Feed
from lab.truth import open_truth


@dataclass
class ManualClock:
    """Stands still until it is told to wait."""

    at: float = 0.0

    def now(self) -> float:
        """Where it stands."""
        return self.at

    def wait(self, until: float) -> None:
        """Stand there."""
        self.at = max(self.at, until)


class WallClock:
    """The monotonic clock."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wait(self, until: float) -> None:
        """Sleep."""
        time.sleep(max(0.0, until - time.monotonic()))


class Shown:
    """A source that shows exactly these positions, of one entity."""

    def __init__(self, *positions: int) -> None:
        self.positions = set(positions)

    def evidence(self) -> RegisteredEvidence:
        """What it shows; who writes isn't known."""
        return RegisteredEvidence(self.shown)

    def shown(self, after: int) -> np.ndarray:
        """In order."""
        return np.array(sorted(p for p in self.positions if p > after), np.int64)

    def changes_since(self, entity: str, position: int, limit: int, columns: object) -> pl.DataFrame:
        """The positions alone."""
        return pl.DataFrame({"position": self.shown(position)[:limit]})


class Threads:
    """A table in DuckDB that threads write at once: positions from a sequence, taken before the commit."""

    def __init__(self, path: Path) -> None:
        self.root = duckdb.connect(str(path))
        self.root.execute("CREATE SEQUENCE position; CREATE TABLE change (position BIGINT, writer INTEGER)")
        self.registry = OpenTransactions(lambda: int(self.shown(0).max(initial=0)), WallClock())
        self.known = True

    def evidence(self) -> RegisteredEvidence:
        """What it shows, and who writes unless that is to be hidden."""
        return RegisteredEvidence(self.shown, self.registry if self.known else None)

    def shown(self, after: int) -> np.ndarray:
        """What is committed, in order."""
        return self._read("SELECT position FROM change WHERE position > ? ORDER BY position", after)["position"]

    def changes_since(self, entity: str, position: int, limit: int, columns: object) -> pl.DataFrame:
        """A page of the table."""
        page = "SELECT * FROM change WHERE position > ? ORDER BY position LIMIT ?"
        return pl.DataFrame(self._read(page, position, limit))

    def _read(self, statement: str, *arguments: int) -> dict[str, np.ndarray]:
        with self.root.cursor() as mine:
            return mine.execute(statement, list(arguments)).fetchnumpy()

    def write(self, writer: int, meanwhile: Callable[[], object], end: str = "COMMIT") -> None:
        """One transaction; `meanwhile` happens while its position is taken and not yet seen."""
        with self.registry.writing(f"writer {writer}"), self.root.cursor() as mine:
            mine.execute("BEGIN")
            mine.execute("INSERT INTO change VALUES (nextval('position'), ?)", [writer])
            meanwhile()
            mine.execute(end)


@pytest.fixture
def threads(tmp_path: Path) -> Iterator[Threads]:
    """An empty table."""
    made = Threads(tmp_path / "changes.duckdb")
    yield made
    made.root.close()


def drained(feed: Feed, entity: str = "change", token: bytes = b"", limit: int = 7) -> tuple[list[int], bytes]:
    """Everything that can be read now, page by page."""
    found: list[int] = []
    while True:
        page = feed.page(entity, token, limit)
        found += page.frame["position"].to_list()
        token = page.token
        if page.frame.height < limit:
            return found, token


# --- writers that run at the same time -------------------------------------------------------------------------------


def race(threads: Threads, feed: LiveFeed, rollbacks: bool) -> tuple[list[int], set[int]]:
    """Read while writers write, the first of whom commits only after others were seen. What was read, what is there."""
    taken, go_on = threading.Event(), threading.Event()
    rng = random.Random(1)

    def sleeper() -> None:
        threads.write(0, lambda: (taken.set(), go_on.wait(20)))

    def writer(number: int) -> None:
        for turn in range(12):
            end = "ROLLBACK" if rollbacks and turn % 4 == 0 else "COMMIT"
            threads.write(number, lambda: time.sleep(rng.random() * 0.004), end)

    running = [threading.Thread(target=sleeper)]
    running[0].start()
    assert taken.wait(20)
    running += [threading.Thread(target=writer, args=[number]) for number in (1, 2, 3)]
    for thread in running[1:]:
        thread.start()
    found: list[int] = []
    token = b""
    while any(thread.is_alive() for thread in running):
        more, token = drained(feed, token=token)
        found += more
        if threads.shown(0).size > 10:
            go_on.set()
    for thread in running:
        thread.join(20)
    more, token = drained(feed, token=token)
    assert not feed.wait(token, 0.0)
    return found + more, set(threads.shown(0).tolist())


def test_naive_loses_what_commits_behind_it(threads: Threads) -> None:
    found, there = race(threads, LiveFeed(threads, Naive(), WallClock()), rollbacks=True)
    assert 1 in there - set(found)
    assert found == sorted(found)


@pytest.mark.parametrize("rollbacks", [False, True])
def test_horizon_loses_nothing(threads: Threads, rollbacks: bool) -> None:
    feed = LiveFeed(threads, Horizon(), WallClock())
    found, there = race(threads, feed, rollbacks)
    assert found == sorted(there)


@pytest.mark.parametrize("rollbacks", [False, True])
def test_hold_loses_nothing_while_it_waits_long_enough(threads: Threads, rollbacks: bool) -> None:
    """With rollbacks it asks the registry: else each of them would cost the whole limit."""
    threads.known = rollbacks
    feed = LiveFeed(threads, Hold(60.0, asks=rollbacks), WallClock())
    found, there = race(threads, feed, rollbacks)
    assert found == sorted(there)
    assert feed.skipped == []


def test_who_holds_a_feed_back_is_named(threads: Threads) -> None:
    feed = LiveFeed(threads, Horizon(), WallClock())
    threads.write(1, lambda: None)
    told = []
    threads.write(2, lambda: (threads.write(3, lambda: None), told.extend(feed.blockers()), drained(feed)[0]))
    assert [(item.owner, item.above) for item in told] == [("writer 2", 1)]
    assert feed.blockers() == []
    assert drained(feed)[0] == [1, 2, 3]


# --- the strategies, on a clock that is set by hand ------------------------------------------------------------------


def test_hold_waits_for_a_gap_at_most_its_limit_and_tells_what_it_skipped() -> None:
    source, clock = Shown(1, 2, 4, 6), ManualClock()
    feed = LiveFeed(source, Hold(2.0), clock)
    assert feed.complete_to() == 2
    assert [(item.since, item.above) for item in feed.blockers()] == [(0.0, 2), (0.0, 4)]
    clock.at = 1.9
    source.positions.add(5)
    assert drained(feed) == ([1, 2], b"2")
    clock.at = 2.0
    assert drained(feed, token=b"2") == ([4, 5, 6], b"6")
    assert feed.skipped == [(2.0, 3)]
    source.positions.add(3)
    assert drained(feed, token=b"6") == ([], b"6")


def test_a_gap_that_is_filled_in_time_is_read_in_order() -> None:
    source, clock = Shown(1, 3), ManualClock()
    feed = LiveFeed(source, Hold(2.0), clock)
    assert drained(feed) == ([1], b"1")
    clock.at, source.positions = 1.0, {1, 2, 3}
    assert drained(feed, token=b"1") == ([2, 3], b"3")
    assert feed.skipped == []


@given(work=timelines(), every=st.sampled_from([0.05, 0.5]), limit=st.sampled_from([0.2, 2.0]))
def test_a_live_feed_goes_as_far_as_the_simulated_one(work: Transactions, every: float, limit: float) -> None:
    """The same timeline, once as arrays, once as the numbers that a feed shows from moment to moment."""
    timeline = work.concurrent()
    gate, source, clock = Gate.of("hold", timeline, limit), Shown(), ManualClock()
    feed = LiveFeed(source, Hold(limit), clock)
    up_to = np.concatenate([[0], np.maximum.accumulate(timeline.position)])
    while clock.at < timeline.ended_at.max(initial=0.0) + 3 * limit:
        ended = (timeline.ended_at <= clock.at) & (timeline.position > 0)
        source.positions = set((np.flatnonzero(ended) + 1).tolist())
        assert gate.look(clock.at) == up_to[feed.complete_to()]
        clock.at += every
    assert [(at, int(timeline.position[number - 1])) for at, number in feed.skipped] == gate.given_up


# --- the contract ----------------------------------------------------------------------------------------------------

Made = tuple[Feed, str, Callable[[int], None]]


@pytest.fixture(params=["sqlite.snapshot", "sqlite.history", "sqlite.events", "duckdb.history", "threads"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    """An empty feed, its entity, and a function that commits so many changes."""
    if request.param == "threads":
        table = Threads(tmp_path / "changes.duckdb")

        def commit(changes: int) -> None:
            for _ in range(changes):
                table.write(1, lambda: None)

        yield LiveFeed(table, Horizon(), WallClock()), "change", commit
        table.root.close()
        return
    engine, _, model = request.param.partition(".")
    truth = open_truth(engine, model, FolderPlace(tmp_path / "truth"), EMPLOYEES, "normal")
    orders = iter(commands(400, invalid=0.0))

    def execute(changes: int) -> None:
        for _ in range(changes):
            truth.execute(next(orders))

    yield LiveFeed(TruthSource(truth), STRATEGIES["serialise"](1.0), WallClock()), "employee", execute
    truth.drop()


def test_an_empty_feed_is_complete_to_0(made: Made) -> None:
    feed, entity, _ = made
    page = feed.page(entity, b"", 10)
    assert (page.frame.height, page.token, page.ended) == (0, b"", True)
    assert feed.complete_to() == 0
    assert not feed.wait(b"", 0.02)
    assert feed.blockers() == []


def test_pages_follow_each_other_and_depend_on_the_token_alone(made: Made) -> None:
    feed, entity, commit = made
    commit(23)
    whole = feed.page(entity, b"", 1_000)
    assert whole.ended
    assert whole.frame["position"].is_sorted()
    assert int(whole.frame["position"][-1]) == feed.complete_to() == 23
    for limit in (1, 5, 23):
        found, token = drained(feed, entity, limit=limit)
        assert found == whole.frame["position"].to_list()
        assert token == whole.token
    first = feed.page(entity, b"", 5)
    assert not first.ended
    assert feed.page(entity, b"", 5).frame.equals(first.frame)


def test_what_is_committed_later_comes_after_the_token(made: Made) -> None:
    feed, entity, commit = made
    commit(4)
    _, token = drained(feed, entity)
    assert not feed.wait(token, 0.0)
    commit(3)
    assert feed.wait(token, 5.0)
    assert drained(feed, entity, token)[0] == [5, 6, 7]
