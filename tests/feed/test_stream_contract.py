"""What every feed must keep by which changes come by themselves: complete whatever the order of commits, and again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from streamed import (
    FED,
    Fed,
    Reader,
    commands,
    dismissed,
    hire,
    made_truth,
    own_server,
    plugin_needed,
    raised,
    rows,
    write,
)

from lab.base import Unavailable
from lab.domain.employees import EMPLOYEES
from lab.feed.streams import Streamed
from lab.truth import Truth
from lab.truth.outlets import LOG, WAL2JSON

WRITERS, COMMANDS = 8, 20
LARGE = "Ünïcödé 🐘 \\ ' \" \n\t \u2028" + "ß" * 2**20
LEAST, MOST = -(2**63), 2**63 - 1


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], object]]:
    """Starts a server of a kind for all tests of this file."""
    with ExitStack() as stack:
        yield cache(lambda engine: stack.enter_context(own_server(engine)))


@pytest.fixture(params=FED.values(), ids=list(FED))
def fed(request: pytest.FixtureRequest, servers: Callable[[str], object]) -> Fed:
    """Each feed, on a server whose log can be read."""
    found: Fed = request.param
    servers(found.engine)
    if found.decoder == WAL2JSON:
        plugin_needed()
    return found


@pytest.fixture(params=["history", "snapshot"])
def truth(request: pytest.FixtureRequest, fed: Fed, tmp_path: Path) -> Iterator[Truth]:
    """An empty source of truth with readers of each kind."""
    found = made_truth(fed.engine, request.param, tmp_path)
    yield found
    found.drop()


@pytest.fixture
def reader(truth: Truth, fed: Fed, tmp_path: Path) -> Iterator[Reader]:
    """A reader whose stream is open."""
    found = Reader(fed, truth, tmp_path)
    found.open()
    yield found
    found.stream.close()


def keys(found: list[Streamed]) -> list[int]:
    return [change.row[1] for change in found]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_stream_brings_every_change_in_the_order_of_its_record_and_again_after_a_crash(
    truth: Truth, reader: Reader, seed: int
) -> None:
    rng = random.Random(seed)
    for key in (1, 2, 3):
        truth.execute(hire(key))
    writers = [
        threading.Thread(target=write, args=(truth, orders, seed + number))
        for number, orders in enumerate(commands(seed, WRITERS, COMMANDS))
    ]
    for writer in writers:
        writer.start()
    crashed = 0
    while any(writer.is_alive() for writer in writers) or not crashed:
        reader.open()
        try:
            found = reader.stream.take(rng.randint(1, 20))
            if rng.random() < 0.2:
                # What was taken and not acknowledged comes again: to the same reader, or to its next process.
                reader.stream.close()
                if rng.random() < 0.5:
                    reader.again()
                crashed += 1
            else:
                reader.keep(found)
        except Unavailable:
            time.sleep(0.005)
    for writer in writers:
        writer.join()
    reader.until_passed()
    first = dict[tuple[int, int], Streamed]()
    for change in reader.seen:
        assert change.entity == "employee"
        first.setdefault((change.row[1], change.row[2]), change)
    if truth.publishes_every_revision:
        assert Counter(tuple(change.row) for change in first.values()) == rows(truth)
    else:
        last = {change.row[1]: tuple(change.row) for change in first.values()}
        assert Counter(last.values()) == rows(truth)
    revisions = dict[int, list[int]]()
    for key, revision in first:
        revisions.setdefault(key, []).append(revision)
    assert all(found == list(range(1, len(found) + 1)) for found in revisions.values())
    assert len(first) >= 3 + WRITERS * COMMANDS // 2


def test_what_was_taken_before_a_store_refused_is_not_acknowledged_by_the_next_connection(
    truth: Truth, reader: Reader
) -> None:
    for key in range(1, 20):
        truth.execute(hire(key))
    taken: set[int] = set()
    until = time.monotonic() + 20
    while len(taken) < 19:
        taken |= set(keys(reader.stream.take(50)))
        assert time.monotonic() < until
    reader.stream.close()
    reader.open()
    assert not reader.stream.passed
    # Before the server has said anything.
    reader.keep(reader.stream.take(0))
    reader.again()
    reader.until_passed()
    assert keys(reader.seen) == list(range(1, 20))


def test_what_was_kept_does_not_come_again_and_what_a_store_lost_does(truth: Truth, reader: Reader, fed: Fed) -> None:
    truth.execute(hire(1))
    assert keys(reader.until_passed()) == [1]
    before = reader.checkpoint
    truth.execute(hire(2))
    assert keys(reader.until_passed()) == [2]
    reader.again()
    assert reader.until_passed() == []
    if fed == FED["binlog"]:
        # A server crash took the store's last commits; a slot or an outbox has nothing more of them: tables have.
        reader.checkpoint = before
        reader.again()
        assert reader.stream.whole
        assert keys(reader.until_passed()) == [2]
    else:
        assert not reader.stream.whole


def test_what_is_rolled_back_comes_by_no_stream(truth: Truth, reader: Reader) -> None:
    class Stop(Exception):
        pass

    def stop(_: object) -> None:
        raise Stop

    truth.committing = stop
    with pytest.raises(Stop):
        truth.execute(hire(1))
    truth.committing = None
    truth.execute(hire(1))
    assert [tuple(change.row[:2]) for change in reader.until_passed()] == [(2, 1)]


def test_large_texts_every_character_nulls_and_tombstones_come_as_they_are(truth: Truth, reader: Reader) -> None:
    truth.execute(hire(1, LARGE))
    truth.execute(raised(1, 9_000))
    truth.execute(hire(2, "\u00e9\U0001f418"))
    truth.execute(dismissed(2))
    found = reader.until_passed()
    names = list(EMPLOYEES.entities["employee"].schema)
    told = [dict(zip(names, change.row, strict=True)) for change in found]
    assert [(row["key"], row["revision"], row["deleted"]) for row in told] == [
        (1, 1, False),
        (1, 2, False),
        (2, 1, False),
        (2, 2, True),
    ]
    assert [row["name"] for row in told[:3]] == [LARGE, LARGE, "\u00e9\U0001f418"]
    assert told[0]["manager"] is None
    assert all(type(row["deleted"]) is bool for row in told)


def test_numbers_at_the_limits_come_as_they_are(truth: Truth, reader: Reader, fed: Fed) -> None:
    if fed.feed != LOG:
        # Only commands are written into an outbox.
        truth.execute(hire(1))
        truth.execute(raised(1, MOST))
        assert [change.row[-1] for change in reader.until_passed()] == [3_001, MOST]
        return
    entity = EMPLOYEES.entities["employee"]
    made = [
        (1, MOST, 1, False, 1.7976931348623157e308, "x", LEAST, "", MOST, "hired"),
        (2**53 + 1, LEAST, 1, False, 5e-324, "", None, "y", LEAST, "hired"),
        (MOST - 1, 0, 1, True, 0.1 + 0.2, "", 0, "", 2**53 + 1, "hired"),
    ]
    truth.load("employee", pl.DataFrame(made, entity.schema | {"event": pl.String()}, orient="row"))
    assert [tuple(change.row) for change in reader.until_passed()] == [row[:-1] for row in made]


def test_pgoutput_and_wal2json_bring_the_same(servers: Callable[[str], object], tmp_path: Path) -> None:
    servers("postgres")
    plugin_needed()
    truth = made_truth("postgres", "snapshot", tmp_path)
    readers = [Reader(FED[name], truth, tmp_path, name) for name in ("pgoutput", WAL2JSON)]
    for one in readers:
        one.open()
    truth.execute(hire(1, LARGE))
    for orders in commands(7, 3, 20):
        for order in orders:
            truth.execute(order)
    truth.execute(dismissed(1))
    found = [one.until_passed() for one in readers]
    for one in readers:
        one.stream.close()
    truth.drop()
    assert found[0] == found[1]
    assert len(found[0]) > 30
