"""Feeds of PostgreSQL by which changes come by themselves: slots, the outbox's table, notifications, messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from reachable import logical_server, own_instance
from streamed import hire, raised

from lab.base import Unavailable, Unsound
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.engines.pgoutput import PgOutput
from lab.engines.postgres import Session
from lab.engines.replication import lsn
from lab.feed.opening import open_stream
from lab.feed.postgres_streams import Notices
from lab.feed.streams import Streamed
from lab.place import FolderPlace
from lab.servers.postgres import LEDGER, SERVER
from lab.truth import open_truth, slots
from lab.truth.outlets import FeedOutlets
from lab.truth.postgres import Postgres
from lab.truth.postgres_outbox import PostgresOutboxRows
from lab.truth.timeline import Diverged

OUTLETS = FeedOutlets(notifies=True, outboxes=("reader", "other"))


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


def test_the_outbox_has_the_record_as_it_was_before(truth: Postgres, tmp_path: Path) -> None:
    stream = open_stream("outbox", truth, "reader", tmp_path)
    stream.open({})
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
            stream.open({})
            truth.execute(replace(hire(1), at=exact))
            seen: list[Streamed] = []
            stream.mark()
            until = time.monotonic() + 20
            while not stream.passed:
                seen += stream.take(10)
                assert time.monotonic() < until
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
        mine, others = PostgresOutboxRows(session, "reader", "outbox"), PostgresOutboxRows(session, "other", "outbox")
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
    stream.open({})
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
    with SERVER.connect(application_name="somebody else") as connection:
        session = Session(connection)
        session.execute("BEGIN")
        session.execute(f"INSERT INTO {truth.on.schema}.lab_requests VALUES ('x', '', '{{}}')")
        said = r"can't be made while a transaction writes: somebody else \(pid \d+, "
        with monkeypatch.context() as patch:
            patch.setattr(slots, "MAKES_SECONDS", 0.5)
            with pytest.raises(Unavailable, match=said):
                open_stream("log", truth, "reader", tmp_path).open({})
        session.execute("ROLLBACK")
    stream = open_stream("log", truth, "reader", tmp_path)
    stream.open({})
    stream.close()


def test_a_slot_that_is_lost_is_told_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_instance("postgres", {"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB"}) as one:
        monkeypatch.setenv("LAB_POSTGRES", one.url)
        truth = open_truth("postgres", "history", FolderPlace(tmp_path / "truth"), EMPLOYEES, "full")
        assert isinstance(truth, Postgres)
        stream = open_stream("log", truth, "reader", tmp_path)
        assert stream.open({})
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
            stream.open({})
        assert slots.states([name]) == []
        # The projection is built anew, from the tables and a new slot.
        assert stream.open({})
        stream.close()
        truth.drop()


def test_places_in_the_log_are_numbers() -> None:
    assert lsn("0/0") == 0
    assert lsn("1/A0") == (1 << 32) + 160
    assert lsn("FFFFFFFF/FFFFFFFF") == 2**64 - 1


def test_a_value_that_the_log_does_not_have_is_no_value() -> None:
    decoder = PgOutput("p")
    relation = b"R" + (7).to_bytes(4) + b"s\0t\0d" + (1).to_bytes(2) + b"\0x\0" + bytes(8)
    assert decoder.message(relation) is None
    with pytest.raises(Unsound, match="not the value itself"):
        decoder.message(b"U" + (7).to_bytes(4) + b"N" + (1).to_bytes(2) + b"u")
