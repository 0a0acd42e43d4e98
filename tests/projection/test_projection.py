"""Projectors end where the source of truth is, whatever the messages did; and a lane is a queue with one server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import commands, remembering

from lab.base import Batch, stream
from lab.channel.simulated import transmit
from lab.domain.employees import EMPLOYEES
from lab.experiment.write import Replay
from lab.feed.arrays import FeedArrays
from lab.feed.published import Published
from lab.feed.reader import ChangeReader, with_before
from lab.place import FolderPlace
from lab.projection import rebuild as rebuilding
from lab.projection.guards import guarded_layout
from lab.projection.projector import Projector
from lab.projection.revisions import HighestRevision
from lab.running import services
from lab.running.journal import Journal
from lab.running.lane import Lane, Pace
from lab.running.services import Measured, Modelled
from lab.running.simulated import Arrivals, drive
from lab.running.worker import Worker
from lab.scenario import ChannelTable, ServiceModel
from lab.stores import Layout, Store, dump, store_class
from lab.testing.sample import BY_SHELF, ITEM, item, items, layout
from lab.truth import Truth, open_truth
from lab.verdict.oracle import Oracle

ALL = 10**6
POLICIES = ("none", "dedupe", "revision", "ordered")


def guarded(keeps: str, policy: str) -> Layout:
    """A layout of items with the memory that the guard wants."""
    return guarded_layout(policy, keeps, {"item": ITEM}, BY_SHELF if keeps == "totals" else None)


NUMBERED = guarded("records", "revision")


def projector(
    keeps: str, policy: str, store: str = "memory", path: Path = Path("unused"), hold: int = ALL
) -> Projector:
    return Projector(store_class(store)(FolderPlace(path), guarded(keeps, policy)), policy, hold)


# Histories, and what they must amount to


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """Up to 25 changes of four items, in commit order, with before-images. What is deleted stays so."""
    rows: list[tuple[Any, ...]] = []
    revision: dict[int, int] = defaultdict(int)
    dead: set[int] = set()
    for key in draw(st.lists(st.integers(1, 4), min_size=1, max_size=25)):
        if key in dead:
            continue
        revision[key] += 1
        deleted = revision[key] > 1 and draw(st.integers(0, 5)) == 0
        dead |= {key} if deleted else set()
        columns = {
            "shelf": draw(st.sampled_from([None, "a", "b"])),
            "fragile": draw(st.sampled_from([None, True])),
            "amount": draw(st.sampled_from([None, -2, 1, 5])),
        }
        rows.append(item(key, revision[key], deleted, **columns))
    return with_before(items(*rows), BY_SHELF.columns).sort("position")


def last_states(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("revision") == pl.col("revision").max().over("key")).sort("key")


def expected(keeps: str, frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """The rows of a right projection, by another path than the lab's own."""
    columns = list(ITEM.schema)
    if keeps == "records":
        return last_states(frame).select(columns).rows()
    if keeps == "revisions":
        return frame.sort("key", "revision").select(columns).rows()
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for row in last_states(frame).rows(named=True):
        if not row["deleted"]:
            groups[row["shelf"], row["fragile"]][0] += 1
            groups[row["shelf"], row["fragile"]][1] += row["amount"] or 0
    schema = guarded("totals", "none").totals_schema()
    rows = [(*group, *measures) for group, measures in groups.items()]
    return pl.DataFrame(rows, schema=schema, orient="row").sort(BY_SHELF.group_by, nulls_last=True).rows()


def shown(keeps: str, store: Store) -> list[tuple[Any, ...]]:
    """The rows of the projection; of totals, those of groups that still count."""
    found = dump(store, "item")
    if keeps == "totals":
        found = found.filter((pl.col("records") != 0) | (pl.col("sum_amount") != 0))
    return found.rows()


# What happens to a projection: messages come, in any order and number; pages are polled; it stops, starts, fails.

Happening = tuple[str, Any]
messages = st.tuples(st.just("messages"), st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
polls = st.tuples(st.just("poll"), st.tuples(st.integers(1, 6), st.integers(0, 10)))
crashes = st.tuples(st.just("crash"), st.none())
failures = st.tuples(st.just("fail"), st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
happenings = st.lists(st.one_of(messages, polls), max_size=12)
troubles = st.lists(st.one_of(messages, polls, crashes, failures), max_size=14)


class Trouble(Exception):
    """What a store raises when it is made to."""


@dataclass
class Driver:
    """Does to a projector what a lane would do, and worse. The feed shows every revision, or only the last ones."""

    keeps: str
    policy: str
    frame: pl.DataFrame
    every_revision: bool = True
    store: str = "memory"
    path: Path = Path("unused")
    committed: int = 0
    position: int = 0
    projector: Projector = field(init=False)

    def __post_init__(self) -> None:
        self.projector = projector(self.keeps, self.policy, self.store, self.path)

    def run(self, happened: Sequence[Happening]) -> None:
        """Let it all happen; then catch up to the end."""
        for what, how in happened:
            getattr(self, what)(how)
        self.committed = self.frame.height
        while self.poll((5, 0)):
            pass

    def messages(self, drawn: list[int]) -> None:
        rows = [index % self.frame.height for index in drawn]
        self.committed = max(self.committed, max(rows) + 1)
        self.projector.apply("item", self.frame[rows])

    def poll(self, how: tuple[int, int]) -> int:
        """A page of at most so many changes, after so many more were committed."""
        limit, more = how
        self.committed = min(self.frame.height, self.committed + more)
        feed = self.frame[: self.committed]
        if not self.every_revision:
            feed = last_states(feed).sort("position")
        page = feed.filter(pl.col("position") > self.position).head(limit)
        if page.height:
            self.position = int(page["position"][-1])
        ended = page.height < limit
        if page.height or ended:
            # A snapshot's page says "everything up to here" only where the feed ends.
            moves = self.every_revision or ended
            self.projector.apply("item", page, self.position if moves else None)
        return page.height

    def crash(self, _: None) -> None:
        """Stop between two batches, and start again on what is on disk; `memory` lives as long as its store."""
        if self.store == "memory":
            self.projector.start()
        else:
            self.projector.store.close()
            self.projector = projector(self.keeps, self.policy, self.store, self.path)
        self.position = self.projector.checkpoint("item")

    def fail(self, drawn: list[int]) -> None:
        """The store raises, and may have written all the same; what came is tried again at the checkpoint."""
        store: Any = self.projector.store
        before, write, lands = shown(self.keeps, store), store.apply, drawn[0] % 2 == 1

        def raising(batch: Batch) -> None:
            if lands:
                write(batch)
            raise Trouble

        store.apply = raising
        rows = [index % self.frame.height for index in drawn]
        self.committed = max(self.committed, max(rows) + 1)
        with pytest.raises(Trouble):
            self.projector.apply("item", self.frame[rows], self.position)
        del store.apply
        assert lands or shown(self.keeps, store) == before
        self.position = self.projector.checkpoint("item")
        self.projector.apply("item", self.frame[rows])


RIGHT = [
    ("records", "revision"),
    ("records", "ordered"),
    ("totals", "revision"),
    ("totals", "ordered"),
    ("totals", "dedupe"),
    ("revisions", "dedupe"),
    ("revisions", "revision"),
    ("revisions", "ordered"),
]
each_right = pytest.mark.parametrize(("keeps", "policy"), RIGHT)


@each_right
@settings(max_examples=examples(12))
@given(frame=histories(), happened=happenings)
def test_whatever_the_messages_did_catch_up_ends_where_the_truth_is(
    keeps: str, policy: str, frame: pl.DataFrame, happened: list[Happening]
) -> None:
    driver = Driver(keeps, policy, frame)
    driver.run(happened)
    assert shown(keeps, driver.projector.store) == expected(keeps, frame)
    assert driver.projector.checkpoint("item") == frame.height
    assert not driver.projector.held("item").size


@pytest.mark.parametrize("keeps", ["records", "totals"])
@settings(max_examples=examples(12))
@given(frame=histories(), happened=troubles)
def test_a_snapshot_feed_is_enough_for_the_highest_revision(
    keeps: str, frame: pl.DataFrame, happened: list[Happening]
) -> None:
    driver = Driver(keeps, "revision", frame, every_revision=False)
    driver.run(happened)
    assert shown(keeps, driver.projector.store) == expected(keeps, frame)


@each_right
@settings(max_examples=examples(12))
@given(frame=histories(), happened=troubles, size=st.sampled_from([1, 2, 3, ALL]))
def test_stopping_starting_and_failing_between_any_two_batches_changes_nothing(
    keeps: str, policy: str, frame: pl.DataFrame, happened: list[Happening], size: int
) -> None:
    with remembering(size):
        driver = Driver(keeps, policy, frame)
        driver.run(happened)
    assert shown(keeps, driver.projector.store) == expected(keeps, frame)


@pytest.mark.parametrize(("keeps", "policy"), [("records", "revision"), ("totals", "dedupe"), ("totals", "ordered")])
@settings(max_examples=examples(6))
@given(frame=histories(), happened=troubles)
def test_a_new_process_on_the_same_file_goes_on_where_the_last_one_stopped(
    keeps: str, policy: str, frame: pl.DataFrame, happened: list[Happening], new_folder: Callable[[], Path]
) -> None:
    driver = Driver(keeps, policy, frame, store="sqlite.table", path=new_folder())
    driver.run(happened)
    assert shown(keeps, driver.projector.store) == expected(keeps, frame)
    driver.projector.store.close()


@pytest.mark.parametrize("keeps", ["records", "totals", "revisions"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_feed_without_trouble_is_projected_right_by_every_guard(keeps: str, policy: str) -> None:
    rows = [item(1, shelf="a", amount=1), item(2, shelf="b", amount=2), item(1, 2, shelf="b", amount=5)]
    frame = with_before(items(*rows, item(2, 2, True, shelf="b", amount=2)), BY_SHELF.columns).sort("position")
    driver = Driver(keeps, policy, frame)
    driver.run([])
    assert shown(keeps, driver.projector.store) == expected(keeps, frame)


# Guards, one by one

STORY = with_before(
    items(item(1, shelf="a", amount=1), item(2, shelf="a", amount=10), item(1, 2, shelf="b", amount=3)),
    BY_SHELF.columns,
).sort("position")


def test_without_a_guard_what_comes_twice_is_added_twice() -> None:
    one = projector("totals", "none")
    for _ in range(2):
        one.apply("item", STORY)
    assert shown("totals", one.store) == [
        (*group, 2 * records, 2 * amount) for *group, records, amount in expected("totals", STORY)
    ]


@pytest.mark.parametrize("policy", ["none", "dedupe"])
def test_without_an_order_an_old_revision_overwrites_a_new_one(policy: str) -> None:
    one = projector("records", policy)
    one.apply("item", STORY[[2]])
    one.apply("item", STORY[[0]])
    assert dump(one.store, "item")["revision"].to_list() == [1]


def test_a_tombstone_is_not_overwritten_by_what_was_before_it() -> None:
    frame = items(item(1, shelf="a"), item(1, 2, True))
    for policy in ("revision", "ordered"):
        one = projector("records", policy)
        for rows in ([1], [0], [1], [0]):
            one.apply("item", frame[rows])
        assert dump(one.store, "item").select("revision", "deleted").rows() == [(2, True)]


def test_a_projector_says_what_it_applied_refused_and_held() -> None:
    one = projector("records", "ordered")
    early = one.apply("item", STORY[[2, 1]])
    assert early.positions.tolist() == [2]
    assert one.held("item").tolist() == [3]
    filled = one.apply("item", STORY[[1, 0]])
    # The held change became visible through the row that filled its gap.
    assert filled.positions.tolist() == [1, 3]
    assert filled.trigger.tolist() == [1, 1]
    assert filled.refused.tolist() == [2]
    assert not one.held("item").size


def test_what_does_not_fit_into_the_hold_is_dropped_and_told() -> None:
    frame = items(*(item(1, revision) for revision in range(1, 7)))
    one = projector("records", "ordered", hold=2)
    early = one.apply("item", frame[[2, 3, 4]])
    assert early.dropped.tolist() == [5]
    assert one.held("item").tolist() == [3, 4]
    assert one.apply("item", frame[[5]]).dropped.tolist() == [6]
    assert one.apply("item", frame[[0, 1]]).positions.tolist() == [1, 2, 3, 4]
    assert one.apply("item", frame, 6).positions.tolist() == [5, 6]
    assert one.checkpoint("item") == 6


@given(frame=histories(), drawn=st.lists(st.integers(0, 10**6), min_size=1, max_size=40), hold=st.integers(1, 3))
def test_a_bounded_hold_accounts_for_every_row_it_is_given(frame: pl.DataFrame, drawn: list[int], hold: int) -> None:
    one, held = projector("records", "ordered", hold=hold), np.empty(0, np.int64)
    for start in range(0, len(drawn), 7):
        rows = [index % frame.height for index in drawn[start : start + 7]]
        done = one.apply("item", frame[rows])
        given_rows = sorted([*held, *frame["position"].gather(rows)])
        held = one.held("item")
        assert held.size <= hold
        assert sorted([*done.positions, *done.refused, *done.dropped, *held]) == given_rows


def test_messages_never_move_the_checkpoint() -> None:
    for policy in POLICIES:
        one = projector("records", policy)
        one.apply("item", STORY)
        assert one.checkpoint("item") == 0
        one.apply("item", STORY[:2], 2)
        one.apply("item", STORY)
        assert one.checkpoint("item") == 2


def test_a_guard_that_had_counted_on_rows_forgets_them_when_the_store_fails() -> None:
    for keeps, policy in RIGHT:
        one = projector(keeps, policy)
        store: Any = one.store

        def raising(batch: Batch) -> None:
            raise Trouble

        store.apply = raising
        with pytest.raises(Trouble):
            one.apply("item", STORY, 3)
        del store.apply
        assert one.apply("item", STORY, 3).positions.size == 3
        assert shown(keeps, store) == expected(keeps, STORY)


def test_each_entity_has_a_guard_and_a_checkpoint_of_its_own() -> None:
    one = Projector(store_class("memory")(FolderPlace(Path("unused")), layout()), "revision", ALL)
    one.apply("item", items(item(1, 5)), 1)
    assert (one.checkpoint("item"), one.checkpoint("shelf")) == (1, 0)


# Rebuilding

EMPLOYEE = EMPLOYEES.entities["employee"]
PAYROLL = EMPLOYEES.totals["payroll"]


def staff(keeps: str, policy: str) -> Layout:
    """A layout of employees."""
    return guarded_layout(policy, keeps, {"employee": EMPLOYEE}, PAYROLL if keeps == "totals" else None)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle.of_commands(EMPLOYEES, commands())


def trace(oracle: Oracle) -> pl.DataFrame:
    """The oracle's history with the events' names, which the columns that changed give away."""
    frame = oracle.revisions["employee"].sort("key", "revision")
    moved = (
        pl.struct("manager", "department").ne_missing(pl.struct("manager", "department").shift(1)).alias("moved"),
        pl.col("salary").ne(pl.col("salary").shift(1)).alias("raised"),
    )
    event = (
        pl.when(pl.col("revision") == 1)
        .then(pl.lit("hired"))
        .when("deleted")
        .then(pl.lit("dismissed"))
        .when("raised")
        .then(pl.lit("raise_given"))
        .when("moved")
        .then(pl.lit("moved"))
        .otherwise(pl.lit("renamed"))
    )
    return frame.with_columns(moved).with_columns(event=event).drop("moved", "raised").sort("position")


@pytest.fixture(scope="module")
def truths(tmp_path_factory: pytest.TempPathFactory, oracle: Oracle) -> Iterator[dict[str, Truth]]:
    """The same history in each write model."""
    found = {}
    for model in ("snapshot", "history", "events"):
        found[model] = open_truth("sqlite", model, FolderPlace(tmp_path_factory.mktemp(model)), EMPLOYEES, "normal")
        found[model].load("employee", trace(oracle))
    yield found
    for truth in found.values():
        truth.close()


@pytest.mark.parametrize("store", ["memory", "sqlite.table", "duckdb.columnar"])
@pytest.mark.parametrize(("keeps", "policy"), [*RIGHT, ("records", "dedupe")])
def test_a_rebuild_equals_live_and_goes_on_like_it(
    store: str,
    keeps: str,
    policy: str,
    truths: dict[str, Truth],
    oracle: Oracle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rebuilding, "PAGE", 53)
    monkeypatch.setattr(rebuilding, "PILE", 120)
    monkeypatch.setattr(rebuilding, "ROWS_AT_ONCE", 7)
    before = tuple(PAYROLL.columns) if keeps == "totals" else ()
    live = Projector(store_class(store)(FolderPlace(tmp_path / "live"), staff(keeps, policy)), policy, ALL)
    pages = ChangeReader(truths["history"], before).changes_since("employee", 0, ALL)
    for start in range(0, pages.height, 100):
        page = pages[start : start + 100]
        live.apply("employee", page, int(page["position"][-1]))
    again = store_class(store)(FolderPlace(tmp_path / "again"), staff(keeps, policy))
    again.open()
    read = rebuilding.rebuild(again, ChangeReader(truths["events"]), policy)
    assert read == pages.height
    both = (live, Projector(again, policy, ALL))
    more = live_more(pages)
    for _ in range(2):
        dumps = [dump(one.store, "employee") for one in both]
        if keeps == "totals":
            dumps = [dump.filter(pl.col("records") != 0) for dump in dumps]
        assert dumps[0].equals(dumps[1])
        assert both[0].checkpoint("employee") == both[1].checkpoint("employee")
        for one in both:
            # What came before comes again as late messages, and then something new.
            one.apply("employee", pages[-20:])
            one.apply("employee", more, int(more["position"][-1]))
    for one in both:
        one.store.close()


def live_more(pages: pl.DataFrame) -> pl.DataFrame:
    """One more change of the record that changed last and is still there."""
    last = pages.filter(pl.col("revision") == pl.col("revision").max().over("key")).filter(~pl.col("deleted"))
    after = last.sort("position").tail(1)
    images = {name: name.removeprefix("before_") for name in pages.columns if name.startswith("before_")}
    former = [pl.col(own).alias(name) for name, own in images.items() if own != "live"]
    former += [pl.lit(value=True).alias("before_live")] if images else []
    return after.with_columns(
        *former, position=pages.height + 1, revision=pl.col("revision") + 1, salary=pl.col("salary") + 7
    ).select(pages.columns)


def test_a_rebuild_from_a_snapshot_is_the_same_rebuild(truths: dict[str, Truth], tmp_path: Path) -> None:
    dumps = []
    for model, truth in truths.items():
        store = store_class("sqlite.table")(FolderPlace(tmp_path / model), staff("records", "revision"))
        store.open()
        rebuilding.rebuild(store, ChangeReader(truth), "revision")
        dumps.append(dump(store, "employee"))
        store.close()
    assert dumps[0].equals(dumps[1])
    assert dumps[0].equals(dumps[2])


def test_a_rebuild_of_nothing_is_empty(tmp_path: Path) -> None:
    truth = open_truth("sqlite", "history", FolderPlace(tmp_path / "truth"), EMPLOYEES, "normal")
    for keeps in ("records", "revisions", "totals"):
        store = store_class("sqlite.table")(FolderPlace(tmp_path / keeps), staff(keeps, "revision"))
        store.open()
        assert rebuilding.rebuild(store, ChangeReader(truth), "revision") == 0
        assert dump(store, "employee").height == 0
        assert store.checkpoint("employee") == 0
        store.close()
    truth.close()


# Measured and modelled


# On a snapshot feed, what wiring lets through; `totals` under `revision` needs no before-images.
FEEDS = [
    *(("snapshot", keeps, policy) for keeps, policy in (("records", "none"), ("records", "dedupe"), *RIGHT[:3:2])),
    *(("history", keeps, policy) for keeps, policy in (("records", "none"), ("records", "dedupe"), *RIGHT[:6])),
    ("events", "records", "dedupe"),
    ("events", "totals", "dedupe"),
]


@pytest.mark.parametrize(("model", "keeps", "policy"), FEEDS)
@pytest.mark.parametrize("seconds", [0.05, 2.5])
def test_measured_and_modelled_runs_write_the_same_at_the_same_times(
    model: str, keeps: str, policy: str, seconds: float, oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real engine that takes no time at all, and a model of one, there is no difference left to see.

    Messages come before the poll that has them too, or long after it.
    """
    monkeypatch.setattr(services, "perf_counter", lambda: 0.0)
    history, before = trace(oracle), tuple(PAYROLL.columns) if keeps == "totals" and policy != "revision" else ()
    frame = history.drop("event")
    published = Published.of({"employee": with_before(frame, before).sort("position") if before else frame})
    channel = {
        "delay": {"kind": "exponential", "mean": seconds},
        "duplicate": 0.3,
        "lose": 0.1,
        "reorder": {"share": 0.3, "extra": {"mean": 1.0}},
    }
    sent = transmit(
        published.committed_at, published.record, ChannelTable.model_validate(channel), stream(1, "channel")
    )
    pace = Pace(batch=10, linger=0.1, every=0.5, polls=True, capacity=ALL)
    found = []
    for name in ("measured", "modelled"):
        one = Projector(store_class("memory")(FolderPlace(tmp_path / name), staff(keeps, policy)), policy, ALL)
        journal, truth = (
            Journal(),
            open_truth("sqlite", model, FolderPlace(tmp_path / f"{name}-truth"), EMPLOYEES, "normal"),
        )
        service: Measured | Modelled
        if name == "measured":
            replay = Replay(truth, {"employee": history})
            service = Measured(published, ("employee",), ChangeReader(truth, before), replay.advance)
        else:
            feeds = {"employee": FeedArrays(published.frames["employee"], truth.publishes_every_revision)}
            service = Modelled(published, feeds, ServiceModel(per_batch=0.0, per_row=0.0))
        inbox = Arrivals(sent.message, sent.arrives_at, ALL, journal.overflow)
        worker = Worker(one, service, inbox, journal, 40, pace.batch)
        drive([Lane(pace, inbox, float(published.committed_at[-1]), worker)])
        worker.carry_out()
        truth.close()
        found.append(
            {
                "polls": journal.polls,
                "checkpoints": journal.checkpoints,
                "handed": journal.all("handed").tolist(),
                "written": journal.all("positions").tolist(),
                "visible_at": journal.written_at.tolist(),
                # A group that nothing is left of is there in one and not in the other; no reader sees it.
                "content": [row for row in dump(one.store, "employee").rows() if keeps != "totals" or row[1]],
            }
        )
    for name, measured in found[0].items():
        assert measured == found[1][name], name
    if (keeps, policy) in RIGHT:
        must = oracle.expected(keeps, "employee", PAYROLL if keeps == "totals" else None)
        assert found[0]["content"] == must.rows()


@settings(max_examples=examples(30))
@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), min_size=70, max_size=200),
    cut=st.integers(0, 200),
    text=st.booleans(),
)
def test_many_rows_at_once_are_admitted_as_one_after_the_other(
    rows: list[tuple[int, int]], cut: int, text: bool
) -> None:
    # A whole frame goes another way than a few rows do: the same is taken, refused and remembered.
    keys = pl.Series([f"k{key}" if text else key for key, _ in rows])
    revisions, positions = pl.Series([revision for _, revision in rows]), pl.Series(range(1, len(rows) + 1))
    empty = store_class("memory")(FolderPlace(Path("unused")), NUMBERED)
    empty.open()
    singly, together = HighestRevision(NUMBERED, empty), HighestRevision(NUMBERED, empty)
    taken, found = list[int](), list[int]()
    for row in range(len(rows)):
        admission = singly.admit("item", keys[[row]], revisions[[row]], positions[[row]])
        singly.landed("item", admission, None, None)
        taken += [row] * len(admission.take)
    for first, end in ((0, min(cut, len(rows))), (min(cut, len(rows)), len(rows))):
        if first < end:
            admission = together.admit("item", keys[first:end], revisions[first:end], positions[first:end])
            together.landed("item", admission, None, None)
            found += [first + int(row) for row in admission.take]
            assert sorted([*map(int, admission.take), *map(int, admission.refused)]) == list(range(end - first))
    assert found == taken
    distinct = keys.unique().to_list()
    for revision in range(1, 8):
        asked = (distinct, np.full(len(distinct), revision), np.zeros(len(distinct), np.int64))
        assert together.known("item", *asked).tolist() == singly.known("item", *asked).tolist()


def test_what_a_rebuild_keeps_in_memory_does_not_grow_with_the_feed() -> None:
    def kept(pages: int) -> int:
        pile: list[pl.DataFrame] = []
        for page in range(pages):
            # One record of each page is never changed again: what it keeps alive is the point.
            keys = [page, *range(1_000, 1_100)]
            rows = pl.DataFrame({"key": keys, "text": [f"{key} of {page} " * 20 for key in keys]})
            pile = [rebuilding._reduced([*pile, rows])]
        column = pile[0].rechunk()["text"].to_arrow(compat_level=pl.CompatLevel.newest())
        return sum(part.size for part in column.buffers() if part is not None)

    few, many = kept(5), kept(50)
    assert many < 2 * few
