"""Writers that commit out of order on a server, and readers beside them: what tests of strategies for gaps share."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lab.channel.faulty import MonotonicClock
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.feed.live import LiveFeed, TruthSource, live_strategy
from lab.place import FolderPlace
from lab.truth import join_truth, open_beside, open_truth
from lab.truth.server_truth import ServerTruth

WRITERS = 8


class Table:
    """A source of truth on the server: writers join it, and readers read beside."""

    def __init__(self, folder: Path, engine: str, model: str = "history") -> None:
        self.kind = (engine, model, FolderPlace(folder), EMPLOYEES, "normal")
        self.first = open_truth(*self.kind)
        assert isinstance(self.first, ServerTruth)
        self.home, self.named = self.first._home, self.first.on.named

    @contextmanager
    def writer(self, gaps: str = "naive") -> Iterator[ServerTruth]:
        """A connection of its own."""
        truth = join_truth(*self.kind, gaps=gaps)
        assert isinstance(truth, ServerTruth)
        with closing(truth):
            yield truth

    @contextmanager
    def feed(self, gaps: str, limit: float = 60.0) -> Iterator[LiveFeed]:
        """A reader with this strategy."""
        truth = open_beside(*self.kind)
        assert truth is not None
        truth.gaps = gaps
        with closing(truth):
            yield LiveFeed(TruthSource(truth), live_strategy(gaps, limit), MonotonicClock())


def hire(key: int) -> Command:
    fields = {"name": f"Number {key}", "manager": None if key == 1 else 1, "department": "Sales", "salary": 3_000}
    return Command("employee", "hire", key, fields)


def read(feed: LiveFeed, token: bytes = b"") -> tuple[list[int], bytes]:
    """Everything that can be read now."""
    found: list[int] = []
    while True:
        page = feed.page("employee", token, 500)
        found, token = found + page.frame["position"].to_list(), page.token
        if page.frame.height < 500:
            return found, token


class Slow(threading.Thread):
    """A writer whose transaction has its positions, and commits when it is told to."""

    def __init__(self, table: Table, gaps: str, *orders: Command) -> None:
        super().__init__()
        self.table, self.gaps, self.orders = table, gaps, orders
        self.taken, self.go_on = threading.Event(), threading.Event()
        self.start()
        assert self.taken.wait(20)

    def run(self) -> None:
        """Execute the commands in one transaction."""
        with self.table.writer(self.gaps) as truth:
            truth.committing = lambda _: (self.taken.set(), self.go_on.wait(20))
            truth.execute_together([(order, None) for order in self.orders])

    def end(self) -> None:
        """Commit."""
        self.go_on.set()
        self.join(20)


def race(table: Table, gaps: str, seconds: float, until_lost: bool) -> tuple[list[int], set[int]]:
    """Read while eight writers write groups, and sleep before some commits. What was read, and what is there."""
    stopped, failed, ready = threading.Event(), list[BaseException](), threading.Barrier(WRITERS + 1)

    def write(number: int) -> None:
        rng = random.Random(number)
        keys = iter(range(1_000 * number + 2, 10**6))
        try:
            with table.writer(gaps) as truth:
                truth.committing = lambda _: time.sleep(0.03 if rng.random() < 0.1 else 0.0)
                ready.wait(60)
                while not stopped.is_set():
                    truth.execute_together([(hire(next(keys)), None) for _ in range(rng.randrange(1, 4))])
        except BaseException as error:
            failed.append(error)

    table.first.execute(hire(1))
    threads = [threading.Thread(target=write, args=[number]) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    # To connect may take longer than all that follows.
    ready.wait(60)
    found, token, until = list[int](), b"", time.monotonic() + seconds
    with table.feed(gaps) as feed:
        while time.monotonic() < until:
            more, token = read(feed, token)
            found += more
            if until_lost and token and behind(table, set(found), int(token)):
                break
            time.sleep(0.005)
        stopped.set()
        for thread in threads:
            thread.join()
        assert not failed
        # All writers have ended: what isn't seen by now never is.
        for _ in range(2):
            more, token = read(feed, token)
            found += more
        assert feed.skipped == []
    return found, behind(table, set(), 10**9)


def behind(table: Table, seen: set[int], position: int) -> set[int]:
    """The committed positions up to this one that are not among these, read by itself."""
    with table.home.book.session() as other:
        rows = other.execute(f"SELECT position FROM {table.named}.employee WHERE position <= ?", (position,)).fetchall()
    return {int(row[0]) for row in rows} - seen
