"""Gap strategies on PostgreSQL itself: writers that commit out of order, and what a reader beside them loses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from beside import Slow, Table, hire, race, read

from lab.domain.model import Event, Record
from lab.engines.postgres import Session
from lab.feed.live import LiveFeed
from lab.servers.postgres import SERVER
from lab.truth.postgres import Postgres

pytestmark = pytest.mark.server("postgres")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """An empty one."""
    made = Table(tmp_path / "truth", "postgres")
    yield made
    made.first.drop()


def read_in_time(feed: LiveFeed, wanted: list[int]) -> bytes:
    """Read until these positions have come: others on the server may hold `xmin` back for a moment."""
    found, token = read(feed)
    until = time.monotonic() + 30
    while found != wanted and time.monotonic() < until:
        time.sleep(0.02)
        more, token = read(feed, token)
        found += more
    assert found == wanted
    return token


def test_naive_loses_what_commits_behind_it_and_the_others_wait(table: Table) -> None:
    table.first.execute(hire(1))
    slow = Slow(table, "naive", hire(2))
    table.first.execute(hire(3))
    found = {}
    with table.feed("naive") as naive, table.feed("horizon") as horizon, table.feed("hold") as hold:
        feeds = {"naive": naive, "horizon": horizon, "hold": hold}
        for name, feed in feeds.items():
            found[name] = read(feed)
        assert {name: seen for name, (seen, _) in found.items()} == {
            "naive": [1, 3], "horizon": [], "hold": [1],
        }  # fmt: skip
        slow.end()
        seen = {name: found[name][0] + read(feed, found[name][1])[0] for name, feed in feeds.items()}
        assert seen == {"naive": [1, 3], "horizon": [1, 2, 3], "hold": [1, 2, 3]}
        assert hold.skipped == []
        assert horizon.blockers() == []


def test_a_reader_that_was_there_before_a_writer_goes_up_to_it(table: Table) -> None:
    """What was taken before the writer came is settled, however many come and go."""
    table.first.execute(hire(1))
    with table.feed("horizon") as feed:
        assert read(feed)[0] == [1]
        slow = Slow(table, "naive", hire(2))
        table.first.execute(hire(3))
        assert feed.complete_to() == 1
        (blocker,) = feed.blockers()
        assert blocker.above == 1
        assert f"lab writes {table.first.on.schema} (pid " in blocker.owner  # type: ignore[attr-defined]
        assert blocker.owner.endswith(", database postgres)")
        assert -5 < feed.clock.now() - blocker.since < 30
        second = Slow(table, "naive", hire(4))
        assert feed.complete_to() == 1
        slow.end()
        # The second one came when the sequence stood at 3.
        assert feed.complete_to() == 3
        assert [one.above for one in feed.blockers()] == [3]
        assert read(feed, b"1")[0] == [2, 3]
        second.end()
        assert feed.complete_to() == 4


def test_a_writer_that_comes_between_the_two_looks_is_not_passed_over(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader looks at the sequence and then at the holders; the other way round it would take 2 for settled."""
    table.first.execute(hire(1))
    reader, straight = threading.current_thread(), Session.execute
    looks, slow = list[str](), list[Slow]()

    def execute(self: Session, statement: str, arguments: Any = (), /, prepare: bool | None = None) -> Any:
        if threading.current_thread() is reader and not slow:
            looks.append(statement)
            if len(looks) == 2:
                # The first look has been sent, and is over by then.
                time.sleep(0.1)
                slow.append(Slow(table, "naive", hire(2)))
        return straight(self, statement, arguments, prepare=prepare)

    with table.feed("horizon") as feed:
        assert feed.complete_to() == 1
        monkeypatch.setattr(Session, "execute", execute)
        assert feed.complete_to() == 1
        assert "lab_position" in looks[0]
        assert "pg_locks" in looks[1]
        slow[0].end()
        assert feed.complete_to() == 2


def test_with_serialise_a_writer_has_the_gate_for_itself(table: Table) -> None:
    table.first.execute(hire(1))
    slow = Slow(table, "serialise", hire(2))
    done = threading.Event()

    def other() -> None:
        with table.writer("serialise") as truth:
            truth.execute(hire(3))
            done.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert not done.wait(0.3)
    slow.end()
    thread.join(20)
    with table.feed("serialise") as feed:
        assert read(feed)[0] == [1, 2, 3]


def test_what_was_rolled_back_is_no_gap_for_those_who_ask(table: Table) -> None:
    table.first.execute(hire(1))

    def rolls_back(_: object) -> None:
        raise KeyError("on purpose")

    with table.writer() as truth:
        truth.committing = rolls_back
        with pytest.raises(KeyError, match="on purpose"):
            truth.execute(hire(2))
    table.first.execute(hire(3))
    for name in ("horizon", "hold"):
        with table.feed(name) as feed:
            assert read(feed)[0] == [1, 3], name
            assert feed.skipped == []


def test_xmin_loses_what_got_its_id_later_and_its_position_earlier(table: Table) -> None:
    """A transaction that writes twice has positions on both sides of another one's, and the older id."""
    table.first.execute(hire(1))
    with table.writer() as one, table.writer() as other, table.feed("xmin") as feed, table.feed("horizon") as sound:

        def append(truth: Postgres, key: int) -> int:
            state = hire(key).fields
            return truth.append("employee", key, Record(state, 1, False), Event("hired", state), 0.0)

        one.begin()
        assert append(one, 2) == 2
        other.begin()
        assert append(other, 3) == 3
        assert append(one, 4) == 4
        one.commit()
        token = read_in_time(feed, [1, 2, 4])
        assert any(one.owner.startswith("lab writes ") for one in feed.blockers())
        assert read(sound)[0] == []
        other.commit()
        assert read(feed, token)[0] == []
        assert read(sound)[0] == [1, 2, 3, 4]


def test_a_transaction_elsewhere_freezes_xmin_and_no_other_strategy_and_is_named(table: Table) -> None:
    """It has written, in another database of the server, and stays open."""
    elsewhere = {"dbname": "template1", "application_name": "somebody else's"}
    with closing(SERVER.connect(**elsewhere)) as idle:
        idle.execute("BEGIN")
        idle.execute("SELECT pg_current_xact_id()")
        table.first.execute(hire(1))
        with table.feed("xmin") as frozen, table.feed("horizon") as horizon, table.feed("hold") as hold:
            assert read(frozen)[0] == []
            told = [one.owner for one in frozen.blockers()]
            process = idle.info.backend_pid
            assert f"somebody else's (pid {process}, database template1)" in told
            for feed in (horizon, hold):
                assert read(feed)[0] == [1]
                assert feed.blockers() == []
            idle.execute("ROLLBACK")
            read_in_time(frozen, [1])


@pytest.mark.parametrize("gaps", ["serialise", "horizon", "hold"])
def test_of_eight_writers_at_once_nothing_is_lost(gaps: str, table: Table) -> None:
    found, there = race(table, gaps, 1.5, until_lost=False)
    assert found == sorted(there)
    assert len(there) > 20


@pytest.mark.parametrize("gaps", ["naive", "xmin"])
def test_of_eight_writers_at_once_a_change_is_lost_within_seconds(gaps: str, table: Table) -> None:
    """Each reads until it has lost a change."""
    found, there = race(table, gaps, 20.0, until_lost=True)
    lost = there - set(found)
    assert lost
    assert min(lost) < max(found)
