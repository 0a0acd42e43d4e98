"""Partitions of one projection, whose owners come and go: nothing is lost or doubled, and no stale one writes."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pymysql import connections

from lab.base import Batch, Fenced, Unavailable
from lab.engines import postgres
from lab.place import FolderPlace
from lab.ports import Assignment, KeySlice, partition_of
from lab.projection.projector import Projector
from lab.stores import Store, dump, mariadb_reading
from lab.stores.mariadb_table import MariadbTable
from lab.stores.postgres_schema import FEW, few
from lab.stores.postgres_table import PostgresTable
from lab.testing import store_partitions
from lab.testing.promises import Trial
from lab.testing.sample import IDS, item, items, layout

PARTITIONS, KEYS = 2, 4


class Unfenced(PostgresTable):
    """Lets any owner write."""

    def _compare(self, generation: int, token: str, mine: Assignment) -> None:
        pass


class FencedByNumber(PostgresTable):
    """Takes every owner of a generation for the same one."""

    def _compare(self, generation: int, token: str, mine: Assignment) -> None:
        if generation != mine.generation:
            super()._compare(generation, token, mine)


class PlacedAlike(PostgresTable):
    """Has one checkpoint for all partitions."""

    def checkpoint(self, entity: str) -> int:
        found = self._connection.execute("SELECT MAX(position) FROM lab_partition_checkpoint").fetchall()
        return int(found[0][0] or 0)


class Member:
    """An owner of a partition, which polls behind a position of its own and hears messages."""

    def __init__(self, store: Store, assignment: Assignment) -> None:
        self.assignment, self.projector = assignment, Projector(store, "revision", 100)
        self.position = self.projector.checkpoint("item")


class Owners(RuleBasedStateMachine):
    """Commits, hand-overs, polls, messages, deaths, and a broker that loses what it counted, in any order."""

    store: type[PostgresTable] = PostgresTable

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="lab-owners-")
        self.trial = Trial(self.store, Path(self.folder.name), "records")
        self.whole = self.trial.shared(PARTITIONS)
        self.changes = items()
        # What the broker has counted, and who has claimed each partition last.
        self.generations = [0] * PARTITIONS
        self.owners: dict[int, Member] = {}
        self.members: list[Member] = []
        self.applied = Counter[int]()
        for number in range(PARTITIONS):
            self._given(number)

    def teardown(self) -> None:
        try:
            for number in range(PARTITIONS):
                last = self._given(number)
                while last.position < self._head(number):
                    self._poll(last, 3)
            last_rows = self.changes.unique("key", keep="last").sort("key")
            assert dump(self.whole, "item").equals(last_rows)
        finally:
            self.trial.close()
            self.folder.cleanup()

    def _given(self, partition: int) -> Member:
        """The next owner: what the broker counts is above what a store has refused."""
        while True:
            self.generations[partition] += 1
            assignment = Assignment(partition, self.generations[partition])
            try:
                owner = Member(self.trial.owner(assignment), assignment)
            except Fenced as error:
                self.generations[partition] = error.generation
                continue
            self.members.append(owner)
            self.owners[partition] = owner
            return owner

    def _slice(self, partition: int) -> pl.DataFrame:
        return KeySlice(partition, PARTITIONS).of(self.changes)

    def _head(self, partition: int) -> int:
        mine = self._slice(partition)["position"]
        return int(mine[-1]) if len(mine) else 0

    def _poll(self, member: Member, limit: int) -> None:
        page = self._slice(member.assignment.partition).filter(pl.col("position") > member.position)[:limit]
        if page.height:
            self._apply(member, page, int(page["position"][-1]))

    def _apply(self, member: Member, frame: pl.DataFrame, checkpoint: int | None) -> None:
        stale = self.owners[member.assignment.partition] is not member
        before = dump(self.whole, "item") if stale else None
        try:
            applied = member.projector.apply("item", frame, checkpoint)
        except Fenced:
            assert stale
            self.members.remove(member)
        else:
            self.applied.update(applied.positions.tolist())
            # A stale one may find that there is nothing to write.
            assert not stale or (checkpoint is None and not applied.positions.size)
            member.position = checkpoint or member.position
        assert before is None or dump(self.whole, "item").equals(before)

    @rule(key=st.integers(0, KEYS - 1), deleted=st.booleans())
    def commit(self, key: int, deleted: bool) -> None:
        revision = self.changes.filter(pl.col("key") == key).height + 1
        position = self.changes.height + 1
        row = items(item(key, revision, deleted, label=f"{key}-{revision}"))
        self.changes = pl.concat([self.changes, row.with_columns(position=pl.lit(position, pl.Int64))])

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def hand_over(self, partition: int) -> None:
        self._given(partition)

    @rule(partition=st.integers(0, PARTITIONS - 1), times=st.integers(1, 3))
    def forget(self, partition: int, times: int) -> None:
        """The broker is restarted, and what it had counted last wasn't on disk."""
        self.generations[partition] = max(0, self.generations[partition] - times)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), limit=st.integers(1, 3))
    def poll(self, data: st.DataObject, limit: int) -> None:
        self._poll(data.draw(st.sampled_from(self.members)), limit)

    @precondition(lambda self: self.members and self.changes.height)
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """Messages come in any order, and more than once."""
        member = data.draw(st.sampled_from(self.members))
        mine = self._slice(member.assignment.partition)
        if mine.height:
            rows = data.draw(st.lists(st.integers(0, mine.height - 1), min_size=1, max_size=4))
            self._apply(member, mine[rows], None)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(self.members))
        self.members.remove(member)
        member.projector.store.close()

    @invariant()
    def what_is_below_a_checkpoint_is_in_once(self) -> None:
        shown = {key: (revision, label) for key, revision, label in self._shown().rows()}
        places = [0] * PARTITIONS
        for number, position in self._places():
            places[number] = position
        for position, key, revision in self.changes.select("position", "key", "revision").rows():
            if position <= places[partition_of(key, PARTITIONS)]:
                assert shown[key][0] >= revision
        assert all(label == f"{key}-{revision}" for key, (revision, label) in shown.items())
        assert not self.applied or max(self.applied.values()) == 1

    def _shown(self) -> pl.DataFrame:
        return dump(self.whole, "item").select("key", "revision", "label")

    def _places(self) -> Any:
        asked = "SELECT number, position FROM lab_partition_checkpoint"
        return self.whole._connection.execute(asked).fetchall()  # type: ignore[attr-defined]


class PartitionedTrial(Trial):
    """A store that keeps the ids of changes, too."""

    def _partitioned(self) -> Store:
        of_two = replace(layout("records", dict(IDS)), partitions=PARTITIONS)
        made = self.store(FolderPlace(self.folder / "shared"), of_two)
        self._opened.append(made)
        return made


def of(store: type[PostgresTable]) -> type[Owners]:
    return type(f"OwnersOf{store.__name__}", (Owners,), {"store": store})


@pytest.mark.server("postgres")
def test_nothing_is_lost_or_doubled_or_stale_however_owners_take_turns() -> None:
    run_state_machine_as_test(
        Owners, settings=settings(max_examples=examples(6), stateful_step_count=25, deadline=None)
    )


@pytest.mark.server("postgres")
@pytest.mark.parametrize("broken", [Unfenced, FencedByNumber])
def test_a_store_without_fences_is_found_out(broken: type[PostgresTable]) -> None:
    # The first counter-example is enough.
    known = settings(
        max_examples=100, stateful_step_count=20, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], report_multiple_bugs=False,
    )  # fmt: skip
    with pytest.raises(AssertionError):
        run_state_machine_as_test(of(broken), settings=known)


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(PostgresTable, marks=pytest.mark.server("postgres")),
        pytest.param(MariadbTable, marks=pytest.mark.server("mariadb")),
    ],
)
def test_a_transaction_that_a_former_owner_has_left_open_is_told_to_the_next_one(
    store: type[PostgresTable | MariadbTable], tmp_path: Path
) -> None:
    trial = Trial(store, tmp_path, "records")
    try:
        trial.shared(PARTITIONS)
        former: Any = trial.owner(Assignment(0, 1))
        former._connection.execute("BEGIN")
        former._owner(0)
        with pytest.raises(Unavailable, match="partition 0 is locked by a transaction that its former owner has left"):
            trial.owner(Assignment(0, 2))
        # Another partition isn't.
        trial.owner(Assignment(1, 2))
        former._connection.execute("ROLLBACK")
        trial.owner(Assignment(0, 2))
        with pytest.raises(Fenced):
            former.apply(Batch("item", items(item(1)), 1))
    finally:
        trial.close()


# So many rows travel by COPY, or as a file.
MANY = 300


class Stopping:
    """What a client sends of a large batch, up to where it is to stop."""

    def __init__(self) -> None:
        self.stopped, self.goes_on = threading.Event(), threading.Event()

    def instead(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def send(*given: Any) -> Any:
            self.stopped.set()
            assert self.goes_on.wait(60)
            return real(*given)

        return send


def many(label: str) -> pl.DataFrame:
    return items(*(item(2 * key, label=label) for key in range(MANY)))


@pytest.mark.server("postgres")
@pytest.mark.parametrize("large", ["rows", "memory"])
def test_an_owner_that_stops_in_the_midst_of_a_copy_holds_up_no_other(
    large: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server waits for more of a COPY, none of its time limits ends that."""
    trial, stopping = PartitionedTrial(PostgresTable, tmp_path, "records"), Stopping()
    rows, memory = many("former"), pl.DataFrame({"id": range(MANY)})
    sent = Batch("item", rows if large == "rows" else rows[:1], 1, None if large == "rows" else memory)
    try:
        whole, former = trial.shared(PARTITIONS), trial.owner(Assignment(0, 1))
        with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
            patch.setattr(postgres, "as_text", stopping.instead(postgres.as_text))
            writing = pool.submit(former.apply, sent)
            try:
                assert stopping.stopped.wait(60)
                later = trial.owner(Assignment(0, 2))
            finally:
                stopping.goes_on.set()
            with pytest.raises(Fenced, match="generation 2 has it"):
                writing.result(60)
        assert (dump(whole, "item").height, whole.memory("item").height) == (0, 0)
        # What was sent in vain is not in a later batch of either.
        with pytest.raises(Fenced):
            former.apply(Batch("item", many("stale"), 1))
        later.apply(Batch("item", many("later"), 1, memory))
        later.apply(Batch("item", items(item(0, 2, label="last")), 2))
        assert whole.memory("item").height == memory.height
        assert dump(whole, "item")["label"].to_list() == ["last", *["later"] * (MANY - 1)]
    finally:
        trial.close()


@pytest.mark.server("mariadb")
def test_an_owner_that_stops_in_the_midst_of_a_file_is_ended_by_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, stopping = Trial(MariadbTable, tmp_path, "records"), Stopping()
    monkeypatch.setattr(mariadb_reading, "IDLE_SECONDS", 1)
    try:
        whole, former = trial.shared(PARTITIONS), trial.owner(Assignment(0, 1))
        with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
            patch.setattr(connections, "_send_local_file", stopping.instead(connections._send_local_file))
            writing = pool.submit(former.apply, Batch("item", many("former"), 1))
            try:
                assert stopping.stopped.wait(60)
                later = had(lambda: trial.owner(Assignment(0, 2)))
            finally:
                stopping.goes_on.set()
            with pytest.raises(Unavailable):
                writing.result(60)
        assert dump(whole, "item").height == 0
        later.apply(Batch("item", many("later"), 1))
        assert dump(whole, "item")["label"].unique().to_list() == ["later"]
    finally:
        trial.close()


def had(claim: Callable[[], Store]) -> Store:
    """What a claim gives once the server has ended the former owner, well before its usual 30 s."""
    ends = time.monotonic() + 20
    while True:
        try:
            return claim()
        except Unavailable:
            assert time.monotonic() < ends


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(PostgresTable, marks=pytest.mark.server("postgres")),
        pytest.param(MariadbTable, marks=pytest.mark.server("mariadb")),
    ],
)
def test_an_owner_whose_claim_the_server_has_lost_is_refused_until_it_claims_again(
    kind: type[Store], tmp_path: Path
) -> None:
    """As after a crash of a server that confirms a transaction before it is on disk: what was written then is gone."""
    trial = Trial(kind, tmp_path, "records")
    try:
        whole, former = trial.shared(PARTITIONS), trial.owner(Assignment(1, 3))
        former.apply(Batch("item", items(item(1, 1, label="former")), checkpoint=1))
        later = trial.owner(Assignment(1, 4))
        session = whole._connection  # type: ignore[attr-defined]
        lost = "UPDATE lab_partition SET generation = 2, token = 'earlier' WHERE number = 1"
        session.execute(lost)
        for owner in (former, later):
            with pytest.raises(Fenced, match="has lost that partition 1 was claimed: it knows of generation 2"):
                owner.apply(Batch("item", items(item(1, 2, label="stale")), checkpoint=2))
        assert dump(whole, "item")["label"].to_list() == ["former"]
        # Opened again, it goes on from what is there.
        later.close()
        later.open()
        assert later.checkpoint("item") == 1
        later.apply(Batch("item", items(item(1, 2, label="again")), checkpoint=2))
        assert dump(whole, "item")["label"].to_list() == ["again"]
    finally:
        trial.close()


@pytest.mark.server("postgres")
def test_one_checkpoint_for_all_partitions_breaks_the_contract(tmp_path: Path) -> None:
    trial = Trial(PlacedAlike, tmp_path, "records")
    try:
        with pytest.raises(AssertionError):
            store_partitions.a_take_over_goes_on_at_the_checkpoint_of_its_partition(trial)
    finally:
        trial.close()


@pytest.mark.server("postgres")
def test_without_the_fence_a_stale_write_goes_through_and_the_contract_says_so(tmp_path: Path) -> None:
    trial = Trial(Unfenced, tmp_path, "records")
    try:
        with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
            store_partitions.what_an_owner_that_was_replaced_writes_is_refused_as_a_whole(trial)
        assert dump(trial._opened[0], "item")["label"].to_list() == ["stale"]
    finally:
        trial.close()


def test_a_record_is_in_one_partition_and_in_the_same_one_everywhere() -> None:
    rows = items(*(item(key) for key in range(-5, 20)))
    slices = [KeySlice(number, 3).of(rows) for number in range(3)]
    assert sorted(key for one in slices for key in one["key"]) == sorted(rows["key"])
    # The remainder of a number; of a text's hash, which is the same on every machine.
    assert [partition_of(key, 4) for key in (5, -1, 2**62)] == [1, 3, 0]
    assert [partition_of(key, 16) for key in ("a", "ü", "")] == [9, 5, 9]


@pytest.mark.server("postgres")
def test_a_few_rows_that_are_large_are_copied_before_the_row_of_the_owner_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, stopping = Trial(PostgresTable, tmp_path, "records"), Stopping()
    large = items(item(0, label="x" * 40_000), item(2, label="y" * 40_000))
    try:
        whole, former = trial.shared(PARTITIONS), trial.owner(Assignment(0, 1))
        with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
            patch.setattr(postgres, "as_text", stopping.instead(postgres.as_text))
            writing = pool.submit(former.apply, Batch("item", large, 1))
            try:
                assert stopping.stopped.wait(60)
                # It waits for no lock.
                later = trial.owner(Assignment(0, 2))
            finally:
                stopping.goes_on.set()
            with pytest.raises(Fenced, match="generation 2 has it"):
                writing.result(60)
            patch.undo()
        later.apply(Batch("item", large, 1))
        assert dump(whole, "item").select("key", "label").equals(large.select("key", "label"))
        # Small ones are parameters.
        assert not few(large)
        assert few(items(*(item(key) for key in range(FEW))))
        assert not few(items(*(item(key) for key in range(FEW + 1))))
    finally:
        trial.close()
