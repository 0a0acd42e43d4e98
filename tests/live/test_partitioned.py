"""One projection in several processes: killed and frozen members lose and double nothing; what can't be is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from kafkas import kafka_brokers
from test_live_on_brokers import left_on
from test_live_run import planned

from lab.base import BadInput, Fenced
from lab.channel.memory import MemoryChannel
from lab.channel.spread import SpreadChannel, names
from lab.domain.employees import EMPLOYEES
from lab.experiment.progress import Quiet
from lab.experiment.write import as_published
from lab.feed.published import Published
from lab.live.connections import needed, too_few
from lab.live.run import run_live
from lab.live.sharing import shared_journal
from lab.load.driving import Order
from lab.load.knee import knee
from lab.load.run import load
from lab.measure import lag
from lab.measure.parts import PARTS, Parts
from lab.place import FolderPlace
from lab.ports import Assignment, partition_of
from lab.projection.applied import NONE, Applied
from lab.running.journal import CATCH_UP
from lab.running.notes import BoundedJournal
from lab.running.spans import POLL, Spans
from lab.scenario import Source
from lab.servers import server
from lab.service import member
from lab.service.partition import GroupFiles, PartitionOwner, claimed
from lab.service.serve import Address, serve
from lab.service.torture import torture
from lab.testing.taking import messages
from lab.wiring import Plan, plan

TEXT = """
schema = 1
name = "small-partitioned"
seed = 5
[domain]
name = "employees"
records = 60
[workload]
commands = 700
rate = 100.0
deletes = 0.02
[truth]
model = "history"
engine = "postgres"
[writers]
count = 2
[catch_up]
every = 0.1
gaps = "horizon"
[channel]
broker = "redis"
delay = { kind = "exponential", mean = 0.01 }
duplicate = 0.2
lose = 0.05
[measure]
trials = false
samples = 2
blocks = 0
budget = 0.05
[[projection]]
name = "shared"
store = "postgres.table"
partitions = 4
members = 2
"""


@pytest.fixture(scope="module", autouse=True)
def kafka() -> Iterator[None]:
    """A broker within this process."""
    with kafka_brokers():
        yield


@pytest.mark.server("postgres")
@pytest.mark.parametrize(
    ("broker", "members", "more"),
    [
        pytest.param("redis", 2, "kills = [0.5, 5.5]\nfreezes = [2.5]\n", marks=pytest.mark.server("redis")),
        pytest.param("nats", 4, "kills = [0.5, 1.0]\nsubscribe = 'catch-up'\n", marks=pytest.mark.server("nats")),
        ("kafka", 2, "kills = [0.5, 5.5]\nfreezes = [2.5]\n"),
    ],
)
def test_members_that_are_killed_and_frozen_leave_what_one_process_would(
    broker: str, members: int, more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    text = TEXT.replace("members = 2", f"members = {members}\n{more}")
    done = run_live(planned(tmp_path, text, f"channel.broker={broker}"), tmp_path / "runs", report=False)
    assert done.manifest["verdict"] == "pass"
    assert done.manifest["live"]["caught_up"]
    assert done.manifest["live"]["restarts"]["shared"] >= 1
    # Each change is visible once, and accounted for.
    assert done.table("lag")["lag_seconds"].null_count() == 0
    (account,) = done.table("accounting").to_dicts()
    assert account["committed"] == account["applied"] + account["superseded"]
    found = done.table("assignments")
    assert set(found["partition"]) == {0, 1, 2, 3}
    assert found.select("partition", "generation").is_unique().all()
    assert {"killed"} <= set(found["ended"]) <= {"killed", "given away", "refused as stale", "stopped"}
    # What a killed one had has another owner, or the same one anew. What is given away last, and has come to the head,
    # may find the run over before it has another.
    last = found.group_by("partition").last()
    assert set(last["ended"]) <= {"stopped", "given away"}, found.rows()
    assert set(found["member"]) <= {f"shared.{number}" for number in range(1, members + 1)}
    # Each lag is the sum of its parts.
    parts = done.table("lag_parts").with_columns(whole=pl.sum_horizontal(f"{part}_seconds" for part in PARTS))
    both = parts.join(done.table("lag"), on=["projection", "position"])
    assert both.height == done.table("lag").height
    assert both["whole"].to_numpy() == pytest.approx(both["lag_seconds"].to_numpy())
    # What an owner was killed over, before it could write it down, is told all the same.
    assert found["applied"].sum() <= account["applied"]
    if broker != "redis":
        assert left_on(broker) == []


def refused(folder: Path, text: str, *overrides: str) -> str:
    try:
        planned(folder, text, *overrides)
    except BadInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("change", "where", "what", "way_out"),
    [
        (('broker = "redis"\n', ""), "partitions", "the scenario has none", 'channel.broker = "redis"'),
        (('"redis"', '"rabbitmq"'), "partitions", "`rabbitmq` has nothing that expires", "leave partitions out"),
        (("postgres.table", "sqlite.table"), "partitions", "`sqlite.table` has one writer at a time", "postgres.table"),
        (("members = 2", 'keeps = "totals"\ntotals = "by_department"'), "keeps", "a group is the sum", "records"),
        (("members = 2", 'keeps = "revisions"'), "keeps", "told apart by positions", "records"),
        (("members = 2", 'guard = "ordered"'), "guard", "`ordered` goes by positions or gaps", "revision"),
        (("members = 2", 'subscribe = "channel"'), "subscribe", "taken over at its checkpoint", "both"),
        (("members = 2", 'feed = "outbox"'), "feed", "to one reader", "poll"),
        (("members = 2", 'checkpoint = "after-data"'), "checkpoint", "the fence is in the transaction", "with-data"),
        (("members = 2", "members = 5"), "members", "some would have none", "members = 4"),
        (("partitions = 4\n", ""), "members", "one process keeps the projection", "partitions = 4"),
        (
            ("[measure]", '[[projection]]\nname = "two"\nstore = "postgres.table"\npartitions = 2\n[measure]'),
            "partitions", "spread messages once", "the same number",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_partitioned_is_refused_when_it_is_read(
    change: tuple[str, str], where: str, what: str, way_out: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, TEXT) == ""
    said = refused(tmp_path, TEXT.replace(*change, 1))
    assert f"projection.shared.{where}: " in said
    assert what in said
    assert way_out in said


@pytest.mark.parametrize("number", [0, 1, 33])
def test_a_wrong_number_of_partitions_is_one_mistake(number: int, tmp_path: Path) -> None:
    wrong = TEXT.replace("partitions = 4", f"partitions = {number}\nkills = [1.0]\nfreezes = [2.0]")
    (said,) = refused(tmp_path, wrong).splitlines()
    assert "projection.shared.partitions: input should be" in said
    # Also beside another, which is right.
    (said,) = refused(tmp_path, wrong + '[[projection]]\nname = "other"\nstore = "sqlite.table"\n').splitlines()
    assert "projection.shared.partitions: input should be" in said


def test_a_run_that_needs_more_connections_than_are_left_is_refused_with_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(tmp_path, TEXT + '[[projection]]\nname = "other"\nstore = "mariadb.table"\n')
    # Two writers; to write and to read for four partitions, and for the other one; a hand-over of each member.
    assert needed(made) == {"postgres": 2 + 4 + 4 + 2 + 1 + 4, "mariadb": 1 + 1 + 4}
    left = {"postgres": (100, 0, 83), "mariadb": (151, 0, 145)}
    for name in left:
        monkeypatch.setattr(server(name), "connections", lambda name=name: left[name], raising=False)
    assert too_few(made) == []
    left["postgres"] = 100, 3, 81
    (problem,) = too_few(made)
    said = str(problem)
    assert "17 connections to PostgreSQL, which has 100 (max_connections), 3 of them reserved, 81 in use" in said
    left["postgres"] = 100, 0, 84
    (problem,) = too_few(made)
    assert "17 connections to PostgreSQL, which has 100 (max_connections), 84 in use" in str(problem)
    assert "fewer partitions" in str(problem)


@pytest.mark.parametrize("name", [pytest.param(one, marks=pytest.mark.server(one)) for one in ("postgres", "mariadb")])
def test_a_server_says_how_many_connections_it_has(name: str) -> None:
    asked: Any = server(name)
    most, reserved, used = asked.connections()
    assert 0 <= used < most - reserved
    held = asked.connect()
    try:
        assert asked.connections()[0] == most
    finally:
        held.close()


def test_what_serves_a_scenario_refuses_partitions_by_name(tmp_path: Path) -> None:
    made = planned(tmp_path, TEXT)
    for serves in (
        lambda: serve(made, None, Address("127.0.0.1", 0), print),
        lambda: torture(made, [], 1, 1.0),
        lambda: load(made, [], Order(), tmp_path, Quiet()),
        lambda: knee(made, [], Order(), tmp_path, Quiet()),
    ):
        with pytest.raises(BadInput, match=r"projection\.shared\.partitions: a service keeps each projection in one"):
            serves()


def test_on_the_simulated_clock_there_are_no_processes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    with pytest.raises(BadInput, match="on the simulated clock there is one for all projections"):
        plan(Source(path))


def test_text_keys_can_not_be_cut_in_sqlite(tmp_path: Path) -> None:
    text = TEXT.replace('name = "employees"\nrecords = 60', 'name = "marketing"\nrecords = 100')
    said = refused(tmp_path, text.replace('engine = "postgres"', 'engine = "sqlite"').replace("horizon", "naive"))
    assert "`sqlite` can't hash a key that is a text" in said
    assert refused(tmp_path, text) == ""


def test_a_message_is_in_the_channel_of_its_records_partition_and_in_that_of_all() -> None:
    made = SpreadChannel.made(lambda _: MemoryChannel(), 3, whole=True)
    made.declare("single", split=False)
    made.declare("shared", split=True)
    sent = messages(range(1, 20))
    made.publish(sent)
    assert made.whole is not None
    assert [one.message for one in made.whole.subscribe("single", "one").take(99, 0.0)] == sent
    parts = [[one.message for one in part.subscribe("shared", "one").take(99, 0.0)] for part in made.parts]
    assert parts == [[one for one in sent if partition_of(one.record[1], 3) == number] for number in range(3)]
    assert made.backlog("shared", split=True) == made.backlog("single", split=False) == len(sent)
    assert names(made.name) == ["", "", "", ""]
    alone = SpreadChannel.made(lambda _: MemoryChannel(), 2, whole=False)
    alone.declare("shared", split=True)
    alone.publish(sent)
    assert alone.backlog("shared", split=True) == len(sent)
    made.drop()


class Beats:
    """A group of one member, which counts how often it is heard of."""

    name, heard = "group", 0

    def join(self, member: str) -> Beats:
        return self

    def assigned(self, refused: object, working: object) -> list[Assignment]:
        self.heard += 1
        return []

    def leave(self) -> None:
        """Nothing is to be given back."""

    close = leave


def test_work_that_takes_long_costs_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beats, made = Beats(), planned(tmp_path, TEXT)
    monkeypatch.setattr(member, "GROUPS", {"redis": lambda *_: beats})
    monkeypatch.setattr(member, "BEAT", 0.02)

    async def work() -> None:
        shared = member.PartitionMember(
            made, made.projections[0], tmp_path, 0.0, "shared.1", "group", [], lambda: None, print
        )
        working, until = asyncio.create_task(shared.work()), time.monotonic() + 20
        await asyncio.sleep(0)
        before = beats.heard
        while beats.heard < before + 5 and time.monotonic() < until:
            # The loop stands still, as during a large batch.
            time.sleep(0.01)
        assert beats.heard >= before + 5
        await shared.stop()
        await working

    asyncio.run(work())
    assert (tmp_path / "shared.1.assignments").exists()


@pytest.mark.server("postgres")
def test_two_owners_of_one_generation_never_share_a_journal(tmp_path: Path) -> None:
    """As where both the broker and the projection's server have lost the claim of the first."""
    made = planned(tmp_path, TEXT)
    item, assignment = made.projections[0], Assignment(1, 2)
    whole = item.store(FolderPlace(tmp_path).within(item.name).current)
    whole.open()
    try:
        first = GroupFiles(tmp_path, item.name).begun(assignment)
        with pytest.raises(Fenced, match=r"shared.1-2: another owner has written a journal") as refused:
            PartitionOwner(made, item, tmp_path, 0.0, assignment, lambda: None, "", claimed(item, tmp_path, assignment))
        assert refused.value.generation == 2
        assert first.read_bytes() == b""
    finally:
        whole.drop()


class Owners:
    """Writes journals as owners do, at times that the test says."""

    def __init__(self, made: Plan, folder: Path) -> None:
        self.item, self.files = made.projections[0], GroupFiles(folder, "shared")
        self.at = 100.0

    def began(self, assignment: Assignment, start: int) -> BoundedJournal:
        journal = BoundedJournal(0.0, lambda: self.at, self.files.journal(assignment), ("employee",))
        journal._converted = (self.at, self.at)
        journal.checkpoint(self.at, "employee", start)
        return journal

    def writes(self, journal: BoundedJournal, *positions: int, to: int | None = None, refused: Any = NONE) -> None:
        journal._converted = (self.at, self.at)
        handed, refused = np.array(positions, np.int64), np.array(refused, np.int64)
        applied = Applied(handed, NONE, refused, NONE)
        journal.note("employee", applied, np.concatenate([handed, refused]), CATCH_UP, self.at, self.at)
        if to is not None:
            journal.checkpoint(self.at, "employee", to)


def test_what_owners_did_not_come_to_write_down_is_told_by_what_the_next_one_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.running.notes.time", SimpleNamespace(time=lambda: owners.at))
    made = planned(tmp_path, TEXT.replace("partitions = 4", "partitions = 2"))
    # Revision 1 of keys 0 to 5, then revision 2: even keys are partition 0.
    keys = [*range(6), *range(6)]
    rows = {"position": range(1, 13), "key": keys, "revision": [1] * 6 + [2] * 6}
    whole = pl.DataFrame(rows).with_columns(deleted=False, committed_at=pl.lit(0.0))
    entity = EMPLOYEES.entities["employee"]
    frame = whole.with_columns(**{name: pl.lit(None, entity.schema[name]) for name in entity.columns})
    changes = as_published(made, {"employee": frame.select(list(entity.schema))})
    owners = Owners(made, tmp_path)
    first, other = owners.began(Assignment(0, 1), 0), owners.began(Assignment(1, 1), 0)
    owners.at = 101.0
    owners.writes(first, 1, 3, to=3)
    owners.writes(other, 2, 4, 6, 8, 10, 12, to=12)
    # The first one commits 5 and 7, and is killed before it can write that down. So is it told when the next begins.
    owners.at = 104.0
    second = owners.began(Assignment(0, 2), 7)
    owners.at = 105.0
    owners.writes(second, 9, to=9)
    # It commits 11, which a message had brought, and is killed: its checkpoint stands at 9, so the next one reads it.
    owners.at = 107.0
    third = owners.began(Assignment(0, 3), 9)
    owners.at = 109.0
    owners.writes(third, refused=[11], to=11)
    for journal in (first, second, third, other):
        journal.close()
    found = shared_journal(made.projections[0], changes, tmp_path, 100.0)
    visible = lag.visible_at(changes, found, made.projections[0].subsumes)
    assert dict(zip(range(1, 13), visible.tolist(), strict=True)) == {
        1: 1.0, 3: 1.0, 5: 4.0, 7: 4.0, 9: 5.0, 11: 9.0, 2: 1.0, 4: 1.0, 6: 1.0, 8: 1.0, 10: 1.0, 12: 1.0,
    }  # fmt: skip
    assert sorted(found.all("positions").tolist()) == [*range(1, 13)]
    # The whole has come as far as the partition that is furthest behind.
    assert found.checkpoints == [
        (1.0, "employee", 3),
        (4.0, "employee", 7),
        (5.0, "employee", 9),
        (9.0, "employee", 11),
    ]


def owned_by_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Published, Owners]:
    """A plan, two revisions of one record, and what writes the journals of the owners of its partition."""
    made = planned(tmp_path, TEXT.replace("partitions = 4", "partitions = 2"))
    owners = Owners(made, tmp_path)
    monkeypatch.setattr("lab.running.notes.time", SimpleNamespace(time=lambda: owners.at))
    entity = EMPLOYEES.entities["employee"]
    rows = [(at, 0, at, False, 0.0, *[None] * len(entity.columns)) for at in (1, 2)]
    return made, as_published(made, {"employee": pl.DataFrame(rows, schema=entity.schema, orient="row")}), owners


def test_what_a_frozen_owner_wrote_down_late_was_there_when_the_next_one_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, changes, owners = owned_by_two(tmp_path, monkeypatch)
    former = owners.began(Assignment(0, 1), 0)
    owners.at = 103.0
    later = owners.began(Assignment(0, 2), 1)
    owners.writes(later, 2, to=2)
    owners.at = 108.0
    owners.writes(former, 1, to=1)
    for journal in (former, later):
        journal.close()
    found = shared_journal(made.projections[0], changes, tmp_path, 100.0)
    assert lag.visible_at(changes, found, True).tolist() == [3.0, 3.0]
    # In the order in which they were written.
    assert found.all("positions").tolist() == [1, 2]


def test_what_a_frozen_owner_finds_known_once_it_goes_on_is_the_work_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, changes, owners = owned_by_two(tmp_path, monkeypatch)
    former = owners.began(Assignment(0, 1), 0)
    owners.at = 103.0
    later = owners.began(Assignment(0, 2), 0)
    for at in (1, 2):
        owners.at = 103.0 + at
        owners.writes(later, at, to=at)
    owners.at = 108.0
    owners.writes(former, refused=[1, 2])
    for journal in (former, later):
        journal.close()
    found = shared_journal(made.projections[0], changes, tmp_path, 100.0)
    assert lag.visible_at(changes, found, True).tolist() == [4.0, 5.0]
    assert found.all("positions").tolist() == [1, 2]


def test_the_time_in_which_a_partition_had_no_owner_is_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, changes, owners = owned_by_two(tmp_path, monkeypatch)
    former = owners.began(Assignment(0, 1), 0)
    owners.at = 101.0
    owners.writes(former, 1, to=1)
    owners.at = 106.0
    later = owners.began(Assignment(0, 2), 1)
    owners.at = 107.0
    owners.writes(later, 2, to=2)
    for journal in (former, later):
        journal.close()
    # The former goes on when it wakes: that keeps up nothing.
    did = {"shared.0-1": [(0.0, 0.5, 1.0), (6.5, 6.5, 9.0)], "shared.0-2": [(6.0, 6.5, 7.0), (7.5, 7.5, 7.6)]}

    def read(path: Path, began: float) -> Spans:
        found = Spans()
        for each in did.get(path.stem, []):
            found.note(POLL, *each)
        return found

    monkeypatch.setattr("lab.live.sharing.read_spans", read)
    changes = changes.committed(np.array([0.0, 2.0]))
    journal, item = shared_journal(made.projections[0], changes, tmp_path, 100.0), made.projections[0]
    assert journal.lanes is not None
    assert journal.lanes.lane_of.tolist() == [0, 0]
    assert journal.lanes.spans[0].times.tolist() == [[0, 0.5, 1], [1, 1, 6], [1, 6.5, 7], [7.5, 7.5, 7.6]]
    visible = lag.visible_at(changes, journal, item.subsumes)
    parts = Parts(changes, journal, visible, np.arange(2), item.subsumes, None)
    assert parts.lag.tolist() == [1.0, 5.0]
    assert parts.seconds.sum(axis=1).tolist() == [1.0, 5.0]
    assert parts.seconds[1, PARTS.index("repair")] == 4.0
    assert parts.seconds[0, PARTS.index("repair")] == 0.0
