"""The source of truth in PostgreSQL: writers at the same time, crashes, lost connections, and what it can't hold."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from pieces import commands

from lab.base import BadInput, CannotTake, ReadOnly, SourceLost, Unavailable
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command, Outcome
from lab.place import FolderPlace
from lab.servers.postgres import SERVER
from lab.truth import Truth, join_truth, open_beside, open_truth
from lab.truth.postgres import Postgres
from lab.truth.transaction import Transaction

pytestmark = pytest.mark.server("postgres")
MODELS = ("snapshot", "history", "events")
each_model = pytest.mark.parametrize("model", MODELS)
Joined = Callable[[], Postgres]


@pytest.fixture
def model() -> str:
    """The write model, unless a test has several."""
    return "history"


@pytest.fixture
def joined(model: str, tmp_path: Path) -> Iterator[Joined]:
    """A source of truth that is open, and a function that joins it: for a writer of its own."""
    place = FolderPlace(tmp_path / "truth")
    first = open_truth("postgres", model, place, EMPLOYEES, "normal")
    others: list[Truth] = []

    def join() -> Postgres:
        truth = join_truth("postgres", model, place, EMPLOYEES, "normal")
        assert isinstance(truth, Postgres)
        others.append(truth)
        return truth

    yield join
    for other in others:
        other.close()
    first.drop()


def hire(key: int, manager: int | None = None, **more: Any) -> Command:
    fields = {"name": f"Number {key}", "manager": manager, "department": "Sales", "salary": 3_000}
    return Command("employee", "hire", key, fields | more)


def move(key: int, manager: int) -> Command:
    return Command("employee", "move", key, {"manager": manager, "department": "Legal"})


def rows(truth: Postgres) -> list[tuple[int, int, int]]:
    """Position, key and revision of every row, read by a connection that has nothing to do with the lab's reading."""
    with SERVER.connect() as other:
        found = other.execute(f"SELECT position, key, revision FROM {truth.on.schema}.employee ORDER BY position")
        return [(int(position), int(key), int(revision)) for position, key, revision in found.fetchall()]


def terminate(truth: Postgres) -> None:
    """Have the server end the writer's connection."""
    with SERVER.connect() as other:
        process = truth.on.session.connection.info.backend_pid
        other.execute("SELECT pg_terminate_backend($1::integer, 5000)", [process])


# Writers at the same time


@each_model
def test_eight_writers_lose_and_double_nothing_and_keep_each_record_in_order(model: str, joined: Joined) -> None:
    """They share twenty records; half of their transactions are groups, and some have ids of requests."""
    accepted = list[Outcome]()
    failed = list[BaseException]()

    def write(number: int) -> None:
        truth = joined()
        work = commands(45, seed=number, records=20, deletes=0.02)
        try:
            for turn in range(0, 45, 3):
                orders = [(order, f"{number}-{turn}-{at}") for at, order in enumerate(work[turn : turn + 3])]
                if turn % 2:
                    found = truth.execute_together([(order, None) for order, _ in orders])
                else:
                    found = [truth.execute(*order) for order in orders]
                    assert [truth.execute(*order) for order in orders] == found
                accepted.extend(one for one in found if one.position is not None)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    written = rows(joined())
    times = Counter(outcome.key for outcome in accepted)
    assert len({outcome.position for outcome in accepted}) == len(accepted)
    if model == "snapshot":
        newest = {outcome.key: outcome for outcome in sorted(accepted, key=lambda one: one.position or 0)}
        assert {key: (position, revision) for position, key, revision in written} == {
            key: (outcome.position, outcome.revision) for key, outcome in newest.items()
        }
        assert {key: revision for _, key, revision in written} == times
        return
    assert written == sorted((one.position, one.key, one.revision) for one in accepted)
    for key, count in times.items():
        # In the order of their positions, and without a hole.
        assert [revision for _, one, revision in written if one == key] == list(range(1, count + 1))


def test_what_a_decision_has_read_holds_when_it_is_committed(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two employees is put below the other at the same time: only one of the commands may be accepted."""
    one, other = joined(), joined()
    one.execute_together([(hire(1), None), (hire(2, 1), None), (hire(3, 1), None)])
    met = threading.Barrier(2)
    straight = Transaction.get

    def together(self: Transaction, entity: str, key: Any) -> Any:
        found = straight(self, entity, key)
        # Both have locked their own record before either reads the other's.
        if len(self._records) == 1:
            with contextlib.suppress(threading.BrokenBarrierError):
                met.wait(5)
            met.abort()
        return found

    monkeypatch.setattr(Transaction, "get", together)
    outcomes: dict[int, Outcome] = {}
    threads = [
        threading.Thread(target=lambda truth=truth, order=order: outcomes.update({order.key: truth.execute(order)}))
        for truth, order in ((one, move(2, 3)), (other, move(3, 2)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.status for outcome in outcomes.values()) == ["accepted", "rejected"]
    assert one.tried_again + other.tried_again >= 1


@each_model
def test_a_writer_waits_for_another_one_only_where_they_have_a_record_in_common(model: str, joined: Joined) -> None:
    one, other, third = joined(), joined(), joined()
    one.execute_together([(hire(1), None), (hire(2, 1), None)])
    taken, go_on = threading.Event(), threading.Event()
    one.committing = lambda _: (taken.set(), go_on.wait(20))
    raising = [Command("employee", "give_raise", key, {"salary": 4_000 + at}) for at, key in enumerate((2, 1, 2))]
    found: dict[str, Outcome] = {}
    threads = [
        threading.Thread(target=lambda: found.update(first=one.execute(raising[0]))),
        threading.Thread(target=lambda: found.update(last=third.execute(raising[2]))),
    ]
    threads[0].start()
    assert taken.wait(20)
    # Position 3 is taken and not committed; another record's command goes on meanwhile.
    assert other.execute(raising[1]).position == 4
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert (found["first"].position, found["first"].revision) == (3, 2)
    assert (found["last"].position, found["last"].revision) == (5, 3)


def test_two_openings_at_once_are_both_noted(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    first = open_truth("postgres", "history", place, EMPLOYEES, "normal")
    threads = [
        threading.Thread(target=lambda: open_truth("postgres", "history", place, EMPLOYEES, "normal").close())
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in first.timeline()}) == 5
    first.drop()


# Crashes and lost connections

KILLED = """
import sys, time
from pathlib import Path
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.place import FolderPlace
from lab.truth import join_truth

truth = join_truth("postgres", sys.argv[2], FolderPlace(Path(sys.argv[1])), EMPLOYEES, "full")
truth.committing = lambda changes: (print(changes[0].position, flush=True), time.sleep(60))
truth.execute(Command("employee", "give_raise", 1, {"salary": 9_000}), "raise")
"""


@each_model
def test_a_writer_that_is_killed_leaves_nothing_but_a_gap(model: str, joined: Joined, tmp_path: Path) -> None:
    truth = joined()
    truth.execute(hire(1))
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "truth"), model], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "2"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    # Its lock on the record goes with it.
    outcome = truth.execute(Command("employee", "give_raise", 1, {"salary": 5_000}), "raise")
    assert (outcome.status, outcome.revision, outcome.position) == ("accepted", 2, 3)
    assert [position for position, _, _ in rows(truth)] == ([3] if model == "snapshot" else [1, 3])
    evidence = truth.evidence()
    evidence.settled()
    assert evidence.settled() == 3


@each_model
def test_a_connection_that_is_lost_before_the_commit_is_renewed_and_the_command_done(
    model: str, joined: Joined
) -> None:
    truth = joined()
    truth.execute(hire(1))
    terminate(truth)
    assert truth.execute(hire(2, 1)).status == "accepted"
    assert truth.tried_again == 1
    terminate(truth)
    with pytest.raises(Unavailable):
        truth.head("employee")
    assert truth.head("employee") == 2


@each_model
def test_a_connection_that_is_lost_at_the_commit_is_asked_about_under_the_requests_id(
    model: str, joined: Joined
) -> None:
    """The commit is not sent to a connection that has been ended: nothing was committed, and it is done again."""
    truth = joined()
    once = iter([True])
    truth.committing = lambda _: terminate(truth) if next(once, False) else None
    outcome = truth.execute(hire(1), "one")
    assert (outcome.status, outcome.revision) == ("accepted", 1)
    assert truth.execute(hire(1), "one") == outcome
    assert len(rows(truth)) == 1
    truth.committing = lambda _: terminate(truth)
    with pytest.raises(Unavailable, match="without the id of a request it can't be found out"):
        truth.execute(hire(2, 1))


@each_model
def test_an_answer_that_was_lost_after_the_commit_is_the_first_one(
    model: str, joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit happened, and the connection broke before the writer heard so: the command isn't done twice."""
    truth, straight = joined(), Transaction._commit
    breaks = iter([True])

    def broken(self: Transaction, kept: Any) -> None:
        straight(self, kept)
        if next(breaks, False):
            self.session.close()
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(Transaction, "_commit", broken)
    published = list[int]()
    truth.publish = lambda change: published.append(change.position)
    orders = [(hire(1), "one"), (hire(2, 1), "two")]
    outcomes = truth.execute_together(orders)
    assert [(one.status, one.position) for one in outcomes] == [("accepted", 1), ("accepted", 2)]
    assert truth.tried_again == 1
    assert [row[0] for row in rows(truth)] == [1, 2]
    assert truth.execute_together(orders) == outcomes


def test_a_schema_that_is_gone_or_another_is_missed(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    truth = open_truth("postgres", "history", place, EMPLOYEES, "normal")
    assert isinstance(truth, Postgres)
    truth.execute(hire(1))
    assert truth.lost() is None
    schema = truth.on.schema
    with SERVER.connect() as other:
        other.execute(f"ALTER SCHEMA {schema} RENAME TO {schema}x")
        assert truth.lost() == f"schema {schema} was dropped"
        other.execute(f"ALTER SCHEMA {schema}x RENAME TO {schema}")
        assert truth.lost() is None
        terminate(truth)
        assert truth.lost() is None
        other.execute(f"DROP SCHEMA {schema} CASCADE")
        assert truth.lost() == f"schema {schema} was dropped"
        truth.close()
        for again in (open_truth, join_truth, open_beside):
            with pytest.raises(SourceLost, match="the source of truth was here, and its schema is gone"):
                again("postgres", "history", place, EMPLOYEES, "normal")
        other.execute(f"CREATE SCHEMA {schema}")
    with pytest.raises(SourceLost):
        open_truth("postgres", "history", place, EMPLOYEES, "normal")
    truth.drop()
    assert not place.path.exists()


def test_another_ones_schema_is_refused(tmp_path: Path) -> None:
    place, other = FolderPlace(tmp_path / "truth"), FolderPlace(tmp_path / "other")
    truths = [open_truth("postgres", "history", one, EMPLOYEES, "normal") for one in (place, other)]
    (place.path / ".lab-on-server").write_text((other.path / ".lab-on-server").read_text())
    with pytest.raises(SourceLost, match="another source of truth"):
        open_truth("postgres", "history", place, EMPLOYEES, "normal")
    with pytest.raises(BadInput, match=r"was made with truth\.model = history, and events was asked for"):
        join_truth("postgres", "events", place, EMPLOYEES, "normal")
    for truth in truths:
        truth.drop()


# What it holds


@each_model
def test_values_come_back_as_they_were(model: str, joined: Joined) -> None:
    truth, long = joined(), "\u00e4\U0001f986 'quoted' \\ \t\n" * 60_000
    salaries = (2**63 - 1, 1, 3_000, 4_000)
    names = (long, "e\u0301", "\u00e9", "\uffff\U00010000")
    for key, (name, salary) in enumerate(zip(names, salaries, strict=True), 1):
        assert truth.execute(hire(key, None if key == 1 else 1, name=name, salary=salary)).status == "accepted"
    for key, (name, salary) in enumerate(zip(names, salaries, strict=True), 1):
        record = truth.get("employee", key)
        assert record is not None
        assert (record.state["name"], record.state["salary"]) == (name, salary)
    small = truth.changes_since("employee", 0, 10)
    assert small["name"].to_list() == list(names)
    assert small["manager"].to_list() == [None, 1, 1, 1]
    # A large page goes another way.
    copied = truth.on.frame(truth._page("employee", small.columns), (0, 10**6), dict(small.schema))
    assert copied.equals(small)
    beside = truth.beside()
    assert beside.changes_since("employee", 0, 10).equals(small)
    with pytest.raises(ReadOnly):
        beside.execute(hire(9, 1))
    beside.close()


@each_model
def test_what_it_cannot_hold_is_one_clear_error_and_leaves_nothing(model: str, joined: Joined) -> None:
    truth = joined()
    truth.execute(hire(1))
    with pytest.raises(CannotTake, match=r"employee 2: `name`: PostgreSQL holds no text with a NUL.* truth\.engine"):
        truth.execute_together([(hire(3, 1), "three"), (hire(2, 1, name="a\0b"), "two")])
    with pytest.raises(CannotTake):
        truth.execute(hire(2, 1, salary=2**63), "two")
    assert truth.answered("three") is None
    assert truth.head("employee") == 1
    assert truth.execute(hire(2, 1), "two").status == "accepted"


def test_a_page_reads_through_large_loads_and_positions_go_on_above(joined: Joined) -> None:
    truth = joined()
    made = [truth.execute(order) for order in commands(40, invalid=0.0)]
    whole = truth.changes_since("employee", 0, 100)
    many = pl.concat(
        whole.with_columns(pl.col("position") + 100 * turn, pl.col("key") + 1_000 * turn) for turn in range(1, 40)
    ).with_columns(event=pl.lit("hired"))
    truth.load("employee", many)
    found = truth.changes_since("employee", 100, 10**6)
    assert found.equals(many.drop("event"))
    newest = int(many["position"].max())  # type: ignore[arg-type]
    assert truth.execute(replace(hire(10**6), fields=hire(10**6, 1).fields)).position in (newest + 1, None)
    assert made
