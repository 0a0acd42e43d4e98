"""Sources of truth with streams, for tests: on servers of their own whose logs can be read, and their readers."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from reachable import absent, own_instance

from lab.base import Unavailable
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.feed.opening import open_stream
from lab.feed.streams import ChangeStream, Streamed
from lab.place import FolderPlace
from lab.servers.instances import Instance
from lab.truth import Truth, join_truth, open_truth
from lab.truth.outlets import LOG, WAL2JSON, FeedOutlets

OUTLETS = FeedOutlets(outboxes=("reader", "other"))


class Fed(NamedTuple):
    """An engine, a feed of it, and what decodes it."""

    engine: str
    feed: str
    decoder: str = "pgoutput"

    def stream(self, truth: Truth, folder: Path, reader: str = "reader") -> ChangeStream:
        """The stream of a reader whose folder is in this one."""
        return open_stream(self.feed, truth, reader, folder / reader, self.decoder)


FED = {
    "outbox": Fed("postgres", "outbox"),
    "pgoutput": Fed("postgres", LOG),
    "wal2json": Fed("postgres", LOG, WAL2JSON),
    "mariadb-outbox": Fed("mariadb", "outbox"),
    "binlog": Fed("mariadb", LOG),
}


@contextmanager
def own_server(engine: str, settings: Mapping[str, str] | None = None) -> Iterator[Instance]:
    """A server of the test's own for this engine, which the environment names while it lasts."""
    with own_instance(engine, settings) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"LAB_{engine.upper()}", one.url)
        yield one


def plugin_needed() -> None:
    """Skip the test where the server that the environment names can't have wal2json; fail it where it is required."""
    from lab.truth import slots

    if (found := slots.no_plugin(exact=False)) is not None:
        absent(WAL2JSON, ": ".join(found))


def made_truth(engine: str, model: str, folder: Path) -> Truth:
    """An empty source of truth of employees, with an outbox for each of two readers."""
    return open_truth(engine, model, FolderPlace(folder / "truth"), EMPLOYEES, "full", outlets=OUTLETS)


def hire(key: int, name: str | None = None) -> Command:
    """Hire an employee."""
    fields = {"name": name or f"Nº {key} 'x'", "manager": None if key == 1 else 1}
    return Command("employee", "hire", key, fields | {"department": "Sales", "salary": 3_000 + key}, at=0.1 + key)


def raised(key: int, salary: int) -> Command:
    """Give a raise."""
    return Command("employee", "give_raise", key, {"salary": salary})


def dismissed(key: int) -> Command:
    """Dismiss an employee: what remains is a tombstone."""
    return Command("employee", "dismiss", key, {})


def commands(seed: int, writers: int, count: int) -> list[list[Command]]:
    """What each writer does: all of them on the same few records, and on some of their own."""
    rng = random.Random(seed)
    found = []
    for writer in range(writers):
        own = [hire(100 * (writer + 1) + number) for number in range(count // 2)]
        shared = [raised(rng.randint(1, 3), rng.randint(3_001, 99_000)) for _ in range(count // 2)]
        orders = own + shared
        rng.shuffle(orders)
        found.append(orders)
    return found


def write(truth: Truth, orders: list[Command], seed: int) -> None:
    """Execute them as one of several writers, whose transactions are open for moments of different length."""
    rng = random.Random(seed)
    kind = (truth.engine, truth.model, truth.place, EMPLOYEES, "full")
    with closing(join_truth(*kind, outlets=OUTLETS)) as writer:
        writer.committing = lambda _: time.sleep(rng.random() * 0.01)
        for order in orders:
            writer.execute(order)


def rows(truth: Truth) -> Counter[tuple[Any, ...]]:
    """What the tables have."""
    return Counter(truth.changes_since("employee", 0, 10_000).rows())


class Reader:
    """What a projection does with a stream: it keeps what came, and its checkpoint grows with that."""

    def __init__(self, fed: Fed, truth: Truth, folder: Path, named: str = "reader") -> None:
        self._made = truth, folder, named
        self._fed, self.stream = fed, fed.stream(*self._made)
        self.checkpoint, self.seen = 0, list[Streamed]()

    @property
    def checkpoints(self) -> dict[str, int]:
        """Its checkpoint, by entity."""
        return {"employee": self.checkpoint}

    def open(self) -> None:
        """Connect, as soon as the server has noticed that a former connection is gone."""
        until = time.monotonic() + 20
        while not self.stream.opened:
            try:
                self.stream.open(self.checkpoints)
            except Unavailable:
                assert time.monotonic() < until
                time.sleep(0.01)
        if not self.checkpoint:
            self.keep([])

    def again(self) -> None:
        """Go on in the reader's next process."""
        self.stream.close()
        self.stream = self._fed.stream(*self._made)
        self.open()

    def keep(self, found: list[Streamed]) -> None:
        """Keep what was taken, and say so."""
        self.seen += found
        self.checkpoint += 1
        self.stream.acknowledge(self.checkpoints)

    def until_passed(self, page: int = 7) -> list[Streamed]:
        """Take and keep everything that had been committed by now."""
        until, before = time.monotonic() + 30, len(self.seen)
        self.open()
        self.stream.mark()
        while time.monotonic() < until:
            self.keep(self.stream.take(page))
            if self.stream.passed:
                return self.seen[before:]
            time.sleep(0.005)
        raise AssertionError("the stream didn't come to its mark")
