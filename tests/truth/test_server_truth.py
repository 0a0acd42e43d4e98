"""The source of truth on each server: writers at the same time, crashes, lost connections."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pieces import commands

from lab.base import SourceLost, Unavailable
from lab.domain.employees import EMPLOYEES, Employees
from lab.domain.model import Command, Event, Outcome, Rejection, View
from lab.place import FolderPlace
from lab.truth import EXTRAS, Truth, join_truth, open_beside, open_truth
from lab.truth.server_truth import ServerTruth
from lab.truth.transaction import Transaction

MODELS = ("snapshot", "history", "events")
each_model = pytest.mark.parametrize("model", MODELS)
Joined = Callable[[], ServerTruth]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.server(name)) for name in EXTRAS])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine on a server."""
    return str(request.param)


@pytest.fixture
def model() -> str:
    """The write model, unless a test has several."""
    return "history"


@pytest.fixture
def joined(engine: str, model: str, tmp_path: Path) -> Iterator[Joined]:
    """A source of truth that is open, and a function that joins it: for a writer of its own."""
    place = FolderPlace(tmp_path / "truth")
    first = open_truth(engine, model, place, EMPLOYEES, "normal")
    others: list[Truth] = []

    def join() -> ServerTruth:
        truth = join_truth(engine, model, place, EMPLOYEES, "normal")
        assert isinstance(truth, ServerTruth)
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


def rows(truth: ServerTruth) -> list[tuple[int, int, int]]:
    """Position, key and revision of every row, read by a connection that has nothing to do with the lab's reading."""
    with truth._home.book.session() as other:
        chosen = f'SELECT position, "key", revision FROM {truth.on.named}.employee ORDER BY position'
        return [
            (int(position), int(key), int(revision)) for position, key, revision in other.execute(chosen).fetchall()
        ]


def terminate(truth: ServerTruth) -> None:
    """Have the server end the writer's connection."""
    connection = truth.on.session.connection
    with truth._home.book.session() as other:
        if truth.engine == "postgres":
            other.execute("SELECT pg_terminate_backend(?::integer, 5000)", (connection.info.backend_pid,))
        else:
            other.execute(f"KILL {connection.thread_id()}")


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


class OneOfTwo(Employees):
    """Of the numbers 1 and 2, one is hired at the most."""

    def __init__(self) -> None:
        self.met = threading.Barrier(2)

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Wait until both have looked for the other one, where the engine lets both of them."""
        other = view.get("employee", 3 - command.key)
        with contextlib.suppress(threading.BrokenBarrierError):
            self.met.wait(5)
        self.met.abort()
        return Rejection(("the other one is there",)) if other else super().decide(view, command)


@each_model
def test_what_a_decision_has_not_found_is_still_missing_when_it_is_committed(model: str, joined: Joined) -> None:
    one, other = joined(), joined()
    one.domain = other.domain = OneOfTwo()
    outcomes: dict[int, Outcome] = {}
    threads = [
        threading.Thread(target=lambda truth=truth, order=order: outcomes.update({order.key: truth.execute(order)}))
        for truth, order in ((one, hire(1)), (other, hire(2)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.status for outcome in outcomes.values()) == ["accepted", "rejected"]
    assert len(rows(one)) == 1


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


def test_two_openings_at_once_are_both_noted(engine: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    first = open_truth(engine, "history", place, EMPLOYEES, "normal")
    threads = [
        threading.Thread(target=lambda: open_truth(engine, "history", place, EMPLOYEES, "normal").close())
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

truth = join_truth(sys.argv[3], sys.argv[2], FolderPlace(Path(sys.argv[1])), EMPLOYEES, "full")
truth.committing = lambda changes: (print(changes[0].position, flush=True), time.sleep(60))
truth.execute(Command("employee", "give_raise", 1, {"salary": 9_000}), "raise")
"""


@each_model
def test_a_writer_that_is_killed_leaves_nothing_but_a_gap(
    model: str, engine: str, joined: Joined, tmp_path: Path
) -> None:
    truth = joined()
    truth.execute(hire(1))
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "truth"), model, engine], stdout=subprocess.PIPE, text=True
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
    assert evidence.settled() == (3 if "horizon" in truth.strategies else 0)
    assert evidence.newest() == 3


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
    once, published = iter([True]), list[int]()
    truth.publish = lambda change: published.append(change.revision)
    truth.committing = lambda _: terminate(truth) if next(once, False) else None
    outcome = truth.execute(hire(1), "one")
    assert (outcome.status, outcome.revision) == ("accepted", 1)
    assert truth.execute(hire(1), "one") == outcome
    assert len(rows(truth)) == 1
    assert published == [1]
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
            raise self.truth.on.errors[0]("the connection is lost")

    monkeypatch.setattr(Transaction, "_commit", broken)
    published = list[int]()
    truth.publish = lambda change: published.append(change.position)
    orders = [(hire(1), "one"), (hire(2, 1), "two")]
    outcomes = truth.execute_together(orders)
    assert [(one.status, one.position) for one in outcomes] == [("accepted", 1), ("accepted", 2)]
    assert truth.tried_again == 1
    assert [row[0] for row in rows(truth)] == [1, 2]
    # Messages of it are sent all the same, and once.
    assert published == [1, 2]
    assert truth.execute_together(orders) == outcomes
    assert published == [1, 2]


def test_a_place_that_is_gone_is_missed(engine: str, tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "truth")
    truth = open_truth(engine, "history", place, EMPLOYEES, "normal")
    assert isinstance(truth, ServerTruth)
    truth.execute(hire(1))
    assert truth.lost() is None
    with truth._home.book.session() as other:
        truth._home.book.remove(other, truth.home.kind, truth.on.named)
    assert truth.lost() == f"{truth.home.kind} {truth.on.named} was dropped"
    truth.close()
    for again in (open_truth, join_truth, open_beside):
        with pytest.raises(SourceLost, match=f"the source of truth was here, and its {truth.home.kind} is gone"):
            again(engine, "history", place, EMPLOYEES, "normal")
    truth.drop()


@each_model
@pytest.mark.parametrize("when", ["before the commit", "after it", "and asked too early"])
def test_a_slice_of_a_history_is_loaded_once_where_its_connection_is_lost(
    model: str, when: str, joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, breaks, asks = joined(), iter([True]), iter([when == "and asked too early"])
    for key in (1, 2, 3):
        truth.execute(hire(key, None if key == 1 else 1))
    slices = [
        truth.changes_since("employee", 0, 10).with_columns(
            pl.col("position") + turn, pl.col("key") + turn, event=pl.lit("hired")
        )
        for turn in (10, 20)
    ]
    commit, head = truth.commit, truth.head

    def breaking() -> None:
        if next(breaks, False):
            if when == "before the commit":
                terminate(truth)
            else:
                commit()
                truth.on.session.close()
                raise Unavailable("the answer is lost")
        commit()

    monkeypatch.setattr(truth, "commit", breaking)
    monkeypatch.setattr(truth, "head", lambda entity: 0 if next(asks, False) else head(entity))
    for one in slices:
        truth.load_once("employee", one)
    assert [position for position, *_ in rows(truth)] == [1, 2, 3, 11, 12, 13, 21, 22, 23]
    # A snapshot takes the same rows a second time.
    assert truth.tried_again == (2 if when == "and asked too early" and model != "snapshot" else 1)


@pytest.mark.parametrize("model", ["history", "events"])
def test_a_slice_that_can_not_be_loaded_is_refused_at_once(model: str, joined: Joined) -> None:
    truth = joined()
    truth.execute(hire(1))
    again = truth.changes_since("employee", 0, 10).with_columns(event=pl.lit("hired"))
    with pytest.raises(Exception, match=r"(?i)duplicate"):
        truth.load_once("employee", again)
    assert truth.tried_again == 0
