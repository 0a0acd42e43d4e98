"""Feeds by which changes come by themselves: complete whatever the order of commits, and again after a crash."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reachable import logical_server, own_instance

from lab.base import Unavailable, Unsound
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.engines.pgoutput import PgOutput
from lab.engines.postgres import Session
from lab.engines.replication import lsn
from lab.feed.streams import ChangeStream, Notices, Streamed, open_stream
from lab.place import FolderPlace
from lab.servers.postgres import LEDGER, SERVER
from lab.truth import join_truth, open_truth, slots
from lab.truth.outbox import OutboxRows
from lab.truth.outlets import FeedOutlets
from lab.truth.postgres import Postgres
from lab.truth.timeline import Diverged

OUTLETS = FeedOutlets(notifies=True, outboxes=("reader", "other"))
WRITERS, COMMANDS = 4, 40


@pytest.fixture(scope="module")
def logical() -> Iterator[None]:
    """One server for all tests of this file."""
    with logical_server():
        yield


@pytest.fixture(params=["history", "snapshot"])
def truth(request: pytest.FixtureRequest, tmp_path: Path, logical: None) -> Iterator[Postgres]:
    """An empty source of truth with readers of each kind."""
    kind = ("postgres", request.param, FolderPlace(tmp_path / "truth"), EMPLOYEES, "full")
    found = open_truth(*kind, outlets=OUTLETS)
    assert isinstance(found, Postgres)
    yield found
    found.drop()


def hire(key: int) -> Command:
    fields = {"name": f"Nº {key} 'x'", "manager": None if key == 1 else 1, "department": "Sales", "salary": 3_000 + key}
    return Command("employee", "hire", key, fields, at=0.1 + key)


def raised(key: int, salary: int) -> Command:
    return Command("employee", "give_raise", key, {"salary": salary})


def commands(seed: int) -> list[list[Command]]:
    """What each writer does: all of them on the same few records, and on some of their own."""
    rng = random.Random(seed)
    found = []
    for writer in range(WRITERS):
        own = [hire(100 * (writer + 1) + number) for number in range(COMMANDS // 2)]
        shared = [raised(rng.randint(1, 3), rng.randint(3_001, 99_000)) for _ in range(COMMANDS // 2)]
        orders = own + shared
        rng.shuffle(orders)
        found.append(orders)
    return found


def write(truth: Postgres, orders: list[Command], seed: int) -> None:
    """Execute them as one of several writers, whose transactions are open for moments of different length."""
    rng = random.Random(seed)
    kind = ("postgres", truth.model, truth.place, EMPLOYEES, "full")
    with closing(join_truth(*kind, outlets=OUTLETS)) as writer:
        writer.committing = lambda _: time.sleep(rng.random() * 0.01)
        for order in orders:
            writer.execute(order)


def rows(truth: Postgres) -> Counter[tuple[Any, ...]]:
    return Counter(truth.changes_since("employee", 0, 10_000).rows())


def until_passed(stream: ChangeStream, seen: list[Streamed]) -> None:
    """Take everything that had been committed by now."""
    until = time.monotonic() + 30
    stream.mark()
    while time.monotonic() < until:
        seen += stream.take(7)
        stream.acknowledge()
        if stream.passed:
            return
        time.sleep(0.005)
    raise AssertionError("the stream didn't come to its mark")


def reopened(stream: ChangeStream) -> None:
    """Connect again, as soon as the server has noticed that the former connection is gone."""
    until = time.monotonic() + 20
    while True:
        try:
            assert stream.open()
            return
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.parametrize("feed", ["outbox", "log"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_stream_brings_every_change_in_the_order_of_its_record_and_again_after_a_crash(
    truth: Postgres, feed: str, seed: int, tmp_path: Path
) -> None:
    rng, seen = random.Random(seed), list[Streamed]()
    stream = open_stream(feed, truth, "reader", tmp_path)
    assert stream.open()
    for key in (1, 2, 3):
        truth.execute(hire(key))
    writers = [
        threading.Thread(target=write, args=(truth, orders, seed + number))
        for number, orders in enumerate(commands(seed))
    ]
    for writer in writers:
        writer.start()
    crashed = 0
    while any(writer.is_alive() for writer in writers):
        try:
            stream.open()
            found = stream.take(rng.randint(1, 20))
            if rng.random() < 0.2:
                # What was taken and not acknowledged comes again: to the same reader, or to its next process.
                stream.close()
                if rng.random() < 0.5:
                    stream = open_stream(feed, truth, "reader", tmp_path)
                crashed += 1
            else:
                stream.acknowledge()
                seen += found
        except Unavailable:
            # The server has not noticed yet that the former connection is gone.
            time.sleep(0.005)
    for writer in writers:
        writer.join()
    until = time.monotonic() + 20
    while True:
        try:
            stream.open()
            break
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.01)
    until_passed(stream, seen)
    stream.close()
    first = dict[tuple[int, int], Streamed]()
    for change in seen:
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
    assert crashed
    if feed == "outbox":
        left = Session(SERVER.connect(truth.on.schema))
        counts = dict(left.execute("SELECT reader, count(*) FROM lab_outbox GROUP BY reader").fetchall())
        left.close()
        # Each reader has rows of its own.
        assert counts == {"other": len(first)}


@pytest.mark.parametrize("feed", ["outbox", "log"])
def test_what_was_taken_before_a_store_refused_is_not_acknowledged_by_the_next_connection(
    truth: Postgres, feed: str, tmp_path: Path
) -> None:
    stream = open_stream(feed, truth, "reader", tmp_path)
    stream.open()
    for key in range(1, 20):
        truth.execute(hire(key))
    taken: set[int] = set()
    until = time.monotonic() + 20
    while len(taken) < 19:
        taken |= {change.row[1] for change in stream.take(50)}
        assert time.monotonic() < until
    stream.close()
    reopened(stream)
    assert not stream.passed
    # Before the server has said anything.
    found = stream.take(0)
    stream.acknowledge()
    stream.close()
    seen = list(found)
    stream = open_stream(feed, truth, "reader", tmp_path)
    reopened(stream)
    until_passed(stream, seen)
    stream.close()
    assert [change.row[1] for change in seen] == list(range(1, 20))


def test_the_outbox_has_the_record_as_it_was_before(truth: Postgres, tmp_path: Path) -> None:
    stream = open_stream("outbox", truth, "reader", tmp_path)
    stream.open()
    truth.execute(hire(1))
    truth.execute(raised(1, 4_000))
    first, second = stream.take(10)
    columns = list(EMPLOYEES.entities["employee"].columns)
    assert first.before[0] is False
    assert second.before[0] is True
    assert dict(zip(columns, second.before[1:], strict=True))["salary"] == 3_001
    stream.close()


def test_floats_keep_all_their_digits_where_the_database_is_set_to_round_them(truth: Postgres, tmp_path: Path) -> None:
    exact = 0.1 + 0.2
    with SERVER.connect() as connection:
        session = Session(connection)
        (base,) = session.execute("SELECT current_database()").fetchone()
        session.execute(f"ALTER DATABASE {base} SET extra_float_digits = 0")
        try:
            stream = open_stream("log", truth, "reader", tmp_path)
            stream.open()
            truth.execute(replace(hire(1), at=exact))
            seen: list[Streamed] = []
            until_passed(stream, seen)
            stream.close()
            with SERVER.connect(truth.on.schema) as other:
                found = Session(other).frame("SELECT committed_at FROM employee", {"committed_at": pl.Float64()})
        finally:
            session.execute(f"ALTER DATABASE {base} RESET extra_float_digits")
    assert [change.row[4] for change in seen] == [exact]
    assert found["committed_at"].to_list() == [exact]


def test_a_reader_finds_its_rows_of_the_outbox_by_the_key_and_deletes_no_others(truth: Postgres) -> None:
    for key in (1, 2, 3):
        truth.execute(hire(key))
    with SERVER.connect(truth.on.schema) as connection:
        session = Session(connection)
        for otherwise in ("seqscan", "bitmapscan"):
            session.execute(f"SET enable_{otherwise} = off")
        asked = "EXPLAIN SELECT id FROM lab_outbox WHERE reader = 'reader' ORDER BY id LIMIT 10"
        plan = "\n".join(row[0] for row in session.execute(asked).fetchall())
        assert "Sort" not in plan
        assert "Index Cond: (reader = 'reader'" in plan
        mine, others = OutboxRows(session, "reader", "outbox"), OutboxRows(session, "other", "outbox")
        mine.delete([number for number, *_ in others.read(10)])
        assert [len(rows.read(10)) for rows in (mine, others)] == [3, 3]
        mine.delete([number for number, *_ in mine.read(2)])
        assert [len(rows.read(10)) for rows in (mine, others)] == [1, 3]


def test_rows_of_a_reader_that_was_taken_out_go_with_the_next_opening(truth: Postgres) -> None:
    truth.execute(hire(1))
    kind = ("postgres", truth.model, truth.place, EMPLOYEES, "full")
    with SERVER.connect(truth.on.schema) as connection:
        session = Session(connection)
        open_truth(*kind, outlets=FeedOutlets(outboxes=("reader",))).close()
        assert session.execute("SELECT reader, count(*) FROM lab_outbox GROUP BY reader").fetchall() == [("reader", 1)]
        open_truth(*kind).close()
        assert session.execute("SELECT to_regclass('lab_outbox')").fetchone() == (None,)


def test_what_is_rolled_back_comes_by_no_stream(truth: Postgres, tmp_path: Path) -> None:
    streams = [open_stream(feed, truth, "reader", tmp_path) for feed in ("outbox", "log")]
    for stream in streams:
        stream.open()

    class Stop(Exception):
        pass

    def stop(_: object) -> None:
        raise Stop

    truth.committing = stop
    with pytest.raises(Stop):
        truth.execute(hire(1))
    truth.committing = None
    truth.execute(hire(1))
    for stream in streams:
        seen: list[Streamed] = []
        until_passed(stream, seen)
        assert [(change.row[0], change.row[1]) for change in seen] == [(2, 1)]
        stream.close()


def test_a_commit_notifies_and_a_rollback_does_not(truth: Postgres) -> None:
    notices = Notices(truth.on.schema)
    notices.open()
    assert not notices.heard()
    truth.execute(hire(1))
    until = time.monotonic() + 20
    while not notices.heard():
        assert time.monotonic() < until
    assert not notices.heard()
    truth.execute(Command("employee", "hire", 1, {}))
    assert not notices.heard()
    notices.close()


def test_slot_and_publication_are_in_the_ledger_and_dropped_with_their_folder(truth: Postgres, tmp_path: Path) -> None:
    stream = open_stream("log", truth, "reader", tmp_path / "reader")
    stream.open()
    name = slots.slot_name(truth.on.schema, "reader")
    with LEDGER.session() as session:
        lines = {(line.kind, line.folder) for line in LEDGER.lines(session) if line.name == name}
    assert lines == {("slot", str(tmp_path / "reader")), ("publication", str(tmp_path / "reader"))}
    assert slots.states([name])[0].active
    # The stream is still open: its session is ended.
    assert set(LEDGER.forget(tmp_path / "reader")) == {name}
    assert slots.states([name]) == []
    time.sleep(0.2)
    with pytest.raises(Unavailable, match="slot"):
        stream.take(10)


def test_a_slot_waits_for_who_writes_and_names_them(
    truth: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "MAKES_SECONDS", 0.5)
    with SERVER.connect(application_name="somebody else") as connection:
        session = Session(connection)
        session.execute("BEGIN")
        session.execute(f"INSERT INTO {truth.on.schema}.lab_requests VALUES ('x', '', '{{}}')")
        with pytest.raises(Unavailable, match=r"can't be made while a transaction writes: somebody else \(pid \d+, "):
            open_stream("log", truth, "reader", tmp_path).open()
        session.execute("ROLLBACK")
    stream = open_stream("log", truth, "reader", tmp_path)
    stream.open()
    stream.close()


def test_a_slot_that_is_lost_is_told_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_instance("postgres", {"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB"}) as one:
        monkeypatch.setenv("LAB_POSTGRES", one.url)
        truth = open_truth("postgres", "history", FolderPlace(tmp_path / "truth"), EMPLOYEES, "full")
        assert isinstance(truth, Postgres)
        stream = open_stream("log", truth, "reader", tmp_path)
        assert stream.open()
        stream.close()
        name = slots.slot_name(truth.on.schema, "reader")
        with SERVER.connect() as connection:
            session = Session(connection)
            for _ in range(4):
                session.execute("SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000)), pg_switch_wal()")
            session.execute("CHECKPOINT")
        (state,) = slots.states([name])
        assert (state.status, state.active) == ("lost", False)
        with pytest.raises(Diverged, match=rf"slot {name} is lost: .* max_slot_wal_keep_size, 1MB"):
            stream.open()
        assert slots.states([name]) == []
        # The projection is built anew, from the tables and a new slot.
        assert stream.open()
        stream.close()
        truth.drop()


def test_places_in_the_log_are_numbers() -> None:
    assert lsn("0/0") == 0
    assert lsn("1/A0") == (1 << 32) + 160
    assert lsn("FFFFFFFF/FFFFFFFF") == 2**64 - 1


def test_a_value_that_the_log_does_not_have_is_no_value() -> None:
    decoder = PgOutput()
    relation = b"R" + (7).to_bytes(4) + b"s\0t\0d" + (1).to_bytes(2) + b"\0x\0" + bytes(8)
    assert decoder.message(relation) is None
    with pytest.raises(Unsound, match="not the value itself"):
        decoder.message(b"U" + (7).to_bytes(4) + b"N" + (1).to_bytes(2) + b"u")
