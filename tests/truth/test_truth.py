"""The contract of the source of truth: three write models in each engine, one behaviour; and its feed at any moment."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import adbc_driver_manager
import duckdb
import numpy as np
import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import TRUTHS, commands

from lab.base import BEFORE, CannotTake, stream
from lab.domain import DOMAINS, OWN_DATA, domain
from lab.domain.employees import DEPARTMENTS, EMPLOYEES
from lab.domain.model import Command, Event, Options, Outcome, Record, Rejection
from lab.engines import sqlite
from lab.experiment.write import Replay
from lab.feed.arrays import FeedArrays
from lab.feed.fold import fold
from lab.feed.reader import ChangeReader, with_before
from lab.place import FolderPlace
from lab.truth import Change, Truth, open_truth
from lab.truth.sqlite import Sqlite

MODELS = ("snapshot", "history", "events")
each_model = pytest.mark.parametrize("model", MODELS)
OpenTruth = Callable[..., Truth]
ENTITY = EMPLOYEES.entities["employee"]
ALL = 10**9
# What engines raise for a revision that is there already.
TWICE = (sqlite3.IntegrityError, adbc_driver_manager.Error, duckdb.ConstraintException, CannotTake)


# A command takes DuckDB milliseconds, and a server some round trips: there the same is shown with fewer of them.
COMMANDS = {"sqlite": 400, "duckdb": 60, "postgres": 100, "mariadb": 100}


@pytest.fixture(params=TRUTHS, scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine: the contract is the same."""
    return str(request.param)


@pytest.fixture
def opened(engine: str, tmp_path: Path) -> Iterator[OpenTruth]:
    """Opens a source of truth of each model that is asked for, in a folder of its own."""
    truths: list[Truth] = []

    def opening(model: str, durability: str = "normal") -> Truth:
        truth = open_truth(engine, model, FolderPlace(tmp_path / f"{model}-{len(truths)}"), EMPLOYEES, durability)
        truths.append(truth)
        return truth

    yield opening
    for truth in truths:
        truth.drop()


def hire(key: int, manager: int | None = None, salary: int = 3_000, **more: Any) -> Command:
    fields = {"name": f"Number {key}", "manager": manager, "department": "Sales", "salary": salary}
    return Command("employee", "hire", key, fields, **more)


def give_raise(key: int, salary: int, **more: Any) -> Command:
    return Command("employee", "give_raise", key, {"salary": salary}, **more)


def dismiss(key: int) -> Command:
    return Command("employee", "dismiss", key)


def move(key: int, manager: int | None, department: str = "Legal") -> Command:
    return Command("employee", "move", key, {"manager": manager, "department": department})


def executed(truth: Truth, work: list[Command]) -> list[Change]:
    """What the commands come to, as it is published."""
    changes: list[Change] = []
    truth.publish = changes.append
    for command in work:
        truth.execute(command)
    return changes


def framed(changes: list[Change]) -> pl.DataFrame:
    """Changes as a trace: a change frame with states and `event` last."""
    rows = [
        (c.position, c.key, c.revision, c.deleted, c.committed_at, *(c.state[n] for n in ENTITY.columns), c.event)
        for c in changes
    ]
    return pl.DataFrame(rows, schema=ENTITY.schema | {"event": pl.String()}, orient="row")


@cache
def trace(count: int = 400, seed: int = 7) -> pl.DataFrame:
    """The whole history of a workload, made by hand: decide, evolve, count."""
    view = Shelf()
    changes = []
    for command in commands(count, seed):
        found = EMPLOYEES.decide(view, command)
        if isinstance(found, Rejection):
            continue
        former = view.records.get(command.key)
        (event,) = found
        state = EMPLOYEES.evolve(former.state if former else None, event)
        deletes = EMPLOYEES.events["employee"][event.name].deletes
        record = Record(state, former.revision + 1 if former else 1, deletes)
        view.records[command.key] = record
        meta = (len(changes) + 1, command.key, record.revision, deletes, command.at)
        changes.append(Change("employee", *meta, event.name, state))
    return framed(changes)


class Shelf:
    """The simplest view of records that there is."""

    def __init__(self) -> None:
        self.records: dict[Any, Record] = {}

    def get(self, entity: str, key: Any) -> Record | None:
        return self.records.get(key) if entity == "employee" else None


def last_states(frame: pl.DataFrame) -> pl.DataFrame:
    """What a snapshot shows of a history."""
    return frame.filter(pl.col("revision") == pl.col("revision").max().over("key")).sort("position")


# Outcomes


@each_model
def test_an_accepted_command_returns_its_state_and_the_position_to_wait_for(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    first = truth.execute(hire(1))
    assert first == Outcome(
        "accepted",
        1,
        event="hired",
        position=1,
        revision=1,
        state={"name": "Number 1", "manager": None, "department": "Sales", "salary": 3_000},
    )
    second = truth.execute(give_raise(1, 4_000))
    assert (second.position, second.revision, second.event) == (2, 2, "raise_given")
    assert second.state == (first.state or {}) | {"salary": 4_000}
    truth.execute(hire(2, 1))
    gone = truth.execute(dismiss(2))
    assert (gone.status, gone.deleted, gone.position) == ("accepted", True, 4)


@each_model
def test_a_rejected_command_tells_every_reason_and_leaves_nothing(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    truth.execute(hire(1))
    outcome = truth.execute(
        Command("employee", "hire", 1, {"name": " ", "manager": 77, "department": "Piracy", "salary": 0})
    )
    assert outcome.status == "rejected"
    assert len(outcome.reasons) == 5
    assert truth.head("employee") == 1
    assert truth.execute(hire(2)).position == 2
    assert truth.changes_since("employee", 0, ALL).height == 2


@each_model
def test_a_command_that_was_decided_on_another_revision_is_a_conflict(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    assert truth.execute(hire(1, expected=3)).status == "conflict"
    assert truth.execute(hire(1, expected=0)).status == "accepted"
    assert truth.execute(give_raise(1, 4_000, expected=1)).status == "accepted"
    late = truth.execute(give_raise(1, 5_000, expected=1))
    assert (late.status, late.revision) == ("conflict", 2)
    assert late.reasons == ("expected revision 1, found 2",)
    assert late.position is None
    assert truth.head("employee") == 2


@each_model
def test_an_error_in_a_decision_leaves_nothing_and_the_next_command_works(
    model: str, opened: OpenTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = opened(model)
    truth.execute(hire(1))

    def fault(*_: object) -> None:
        raise KeyError("a fault of the decider")

    with monkeypatch.context() as broken:
        broken.setattr(truth.domain, "decide", fault)
        with pytest.raises(KeyError, match="a fault of the decider"):
            truth.execute(give_raise(1, 3_500))
    # A command without what it needs is no fault: it is rejected.
    assert truth.execute(Command("employee", "rename", 1, {})).status == "rejected"
    assert truth.execute(give_raise(1, 4_000)).position == 2


@each_model
def test_every_commit_is_published_and_nothing_else_is(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    changes = executed(truth, [hire(1), hire(1), give_raise(1, 9_000), give_raise(1, 10)])
    assert [(change.position, change.event, change.state["salary"]) for change in changes] == [
        (1, "hired", 3_000),
        (2, "raise_given", 9_000),
    ]


@each_model
def test_positions_run_from_1_without_a_gap_and_published_is_what_the_oracles_way_gives(
    model: str, engine: str, opened: OpenTruth
) -> None:
    truth = opened(model)
    changes = framed(executed(truth, commands(COMMANDS[engine])))
    assert changes["position"].to_list() == list(range(1, changes.height + 1))
    assert changes.equals(trace(COMMANDS[engine]))
    assert truth.head("employee") == changes.height


@each_model
def test_a_record_reads_back_as_it_was_committed(model: str, engine: str, opened: OpenTruth) -> None:
    truth = opened(model)
    executed(truth, commands(COMMANDS[engine]))
    for row in last_states(trace(COMMANDS[engine])).rows(named=True):
        state = {name: row[name] for name in ENTITY.columns}
        assert truth.get("employee", row["key"]) == Record(state, row["revision"], row["deleted"])
    assert truth.get("employee", 10**6) is None


@each_model
def test_a_delete_is_logical_the_record_stays_and_takes_no_more_commands(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    executed(truth, [hire(1), hire(2, 1), dismiss(2)])
    record = truth.get("employee", 2)
    assert record is not None
    assert record.deleted
    assert record.state["name"] == "Number 2"
    assert truth.execute(give_raise(2, 9_000)).reasons == ("the employee has been dismissed",)
    assert truth.execute(hire(2, 1)).status == "rejected"
    assert truth.changes_since("employee", 0, ALL)["deleted"].to_list()[-1]


@each_model
def test_a_write_model_opened_again_goes_on_where_it_was(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    executed(truth, [hire(1), hire(2, 1)])
    truth.close()
    truth.open()
    assert truth.head("employee") == 2
    assert truth.execute(give_raise(1, 9_000)).position == 3


@each_model
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_durability_is_read_back_from_the_engine(model: str, durability: str, engine: str, opened: OpenTruth) -> None:
    found = opened(model, durability).settings()
    if engine == "duckdb":
        # It always syncs, and there is nothing to be set.
        assert found["durability"] == "full"
        return
    if engine == "mariadb":
        # A setting of the whole server: full is refused where it isn't, and normal asks for less.
        assert found["durability"] in {"full": ("full",), "normal": ("full", "normal")}[durability]
        return
    assert found["durability"] == durability
    if engine == "postgres":
        assert found["synchronous_commit"] == {"full": "on", "normal": "off"}[durability]
        return
    assert found["synchronous"] == durability
    assert found["journal_mode"] == "wal"


@each_model
def test_size_is_more_than_nothing(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    executed(truth, commands(30))
    assert truth.size_bytes() > 1_000


def test_every_engine_holds_every_model(engine: str, tmp_path: Path) -> None:
    for model in MODELS:
        truth = open_truth(engine, model, FolderPlace(tmp_path / model), EMPLOYEES, "normal")
        assert (truth.model, truth.name) == (model, f"{engine}.{model}")
        assert truth.publishes_every_revision == (model != "snapshot")
        truth.close()


# The feed


def feed(truth: Truth, limit: int, **subscription: Any) -> pl.DataFrame:
    """Everything, page by page."""
    subscribed, position = ChangeReader(truth, **subscription), 0
    pages = []
    while True:
        page = subscribed.changes_since("employee", position, limit)
        assert page.height <= limit
        if not page.height:
            return pl.concat(pages) if pages else page
        pages.append(page)
        position = int(page["position"][-1])


def test_history_and_events_show_every_revision_and_a_snapshot_only_the_last(engine: str, opened: OpenTruth) -> None:
    whole = trace(COMMANDS[engine]).drop("event")
    for model, must in (("snapshot", last_states(whole)), ("history", whole), ("events", whole)):
        truth = opened(model)
        executed(truth, commands(COMMANDS[engine]))
        found = feed(truth, ALL)
        assert found.equals(must), model
        assert dict(found.schema) == ENTITY.schema


def test_pages_from_the_first_on_are_those_of_changes_since(engine: str, opened: OpenTruth) -> None:
    # Pages of one change are read of a short history.
    for count, limits in ((60, (1,)), (COMMANDS[engine], (7, 60, ALL))):
        for model in ("snapshot", "history", "events"):
            truth = opened(model)
            executed(truth, commands(count))
            before = {} if model == "snapshot" else {"before": ("salary", "department")}
            for asked in ({}, {"columns": ("salary",)}, {**before, "columns": ("salary", "department")}):
                must = feed(truth, ALL, **asked)
                for limit in limits:
                    pages = list(ChangeReader(truth, **asked).pages("employee", limit))
                    assert pl.concat(pages).equals(must), (model, asked, limit)
                    assert [page.height for page in pages[:-1]] == [limit] * (len(pages) - 1)


def test_a_snapshot_never_shows_a_revision_that_was_overwritten(engine: str, opened: OpenTruth) -> None:
    truth = opened("snapshot")
    for command in commands(COMMANDS[engine] * 3 // 8):
        truth.execute(command)
        seen = truth.changes_since("employee", 0, ALL)
        assert seen["key"].is_unique().all()
        assert seen["position"].is_sorted()


def test_the_feed_of_events_holds_what_happened_and_nothing_more(opened: OpenTruth) -> None:
    truth = opened("events")
    executed(truth, [hire(1), hire(2, 1), give_raise(2, 4_000), dismiss(2)])
    page = truth.changes_since("employee", 0, ALL)
    assert page.columns[-1] == "event"
    assert page["event"].to_list() == ["hired", "hired", "raise_given", "dismissed"]
    assert page["salary"].to_list() == [3_000, 3_000, 4_000, None]
    assert page["name"].to_list() == ["Number 1", "Number 2", None, None]
    assert page["deleted"].to_list() == [False, False, False, True]


@pytest.fixture(scope="module", params=TRUTHS)
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Truth]]:
    """Each model with the same history of some 3,000 changes: large pages of it are read through Arrow."""
    truths = {}
    for model in MODELS:
        path = tmp_path_factory.mktemp("truth") / model
        truths[model] = open_truth(request.param, model, FolderPlace(path), EMPLOYEES, "normal")
        truths[model].load("employee", trace(3_000, 11))
    yield truths
    for truth in truths.values():
        truth.drop()


@each_model
@settings(max_examples=examples(7))
@given(limit=st.one_of(st.integers(100, 400), st.sampled_from([1_999, 2_000, 2_001, 2_500, ALL])))
def test_every_size_of_page_gives_the_same_changes(model: str, limit: int, full: dict[str, Truth]) -> None:
    whole = trace(3_000, 11).drop("event")
    assert whole.height > 2_600
    assert feed(full[model], limit).equals(last_states(whole) if model == "snapshot" else whole)


@each_model
def test_the_smallest_pages_give_the_same_changes(model: str, engine: str, opened: OpenTruth) -> None:
    truth = opened(model)
    executed(truth, commands(COMMANDS[engine] // 2))
    for limit in (1, 7):
        assert feed(truth, limit).equals(feed(truth, ALL)), limit


@each_model
def test_a_reader_may_ask_for_some_columns_only(model: str, full: dict[str, Truth]) -> None:
    found = feed(full[model], 700, columns=["salary"])
    assert found.columns == ["position", "key", "revision", "deleted", "committed_at", "salary"]
    assert found.equals(feed(full[model], ALL).select(found.columns))


@pytest.mark.parametrize("model", ["history", "events"])
@pytest.mark.parametrize("limit", [450, 2_200, ALL])
def test_a_before_image_is_the_revision_before(model: str, limit: int, full: dict[str, Truth]) -> None:
    found = feed(full[model], limit, before=("department", "salary"))
    former: dict[int, dict[str, Any]] = {}
    for row in found.rows(named=True):
        before = former.get(row["key"])
        assert row[f"{BEFORE}live"] == (before is not None and not before["deleted"])
        assert row[f"{BEFORE}salary"] == (before["salary"] if before else None)
        assert row[f"{BEFORE}department"] == (before["department"] if before else None)
        former[row["key"]] = row


def test_before_images_from_the_frame_itself_are_the_same(full: dict[str, Truth]) -> None:
    made = with_before(trace(3_000, 11).drop("event"), ("salary",)).sort("position")
    assert made.equals(feed(full["history"], ALL, before=("salary",)))


# Folding, loading, and the feed in time


@settings(max_examples=examples(8))
@given(seed=st.integers(0, 10**6), deletes=st.sampled_from([0.0, 0.2]), records=st.integers(1, 12))
def test_events_folded_column_by_column_are_events_folded_one_by_one(seed: int, deletes: float, records: int) -> None:
    view, rows, must = Shelf(), [], []
    for command in commands(60, seed, deletes=deletes, records=records):
        found = EMPLOYEES.decide(view, command)
        if isinstance(found, Rejection):
            continue
        former = view.records.get(command.key)
        state = EMPLOYEES.evolve(former.state if former else None, found[0])
        event: Event = found[0]
        record = Record(state, former.revision + 1 if former else 1, event.name == "dismissed")
        view.records[command.key] = record
        meta = (len(rows) + 1, command.key, record.revision, record.deleted, command.at)
        rows.append((*meta, *(event.fields.get(name) for name in ENTITY.columns), event.name))
        must.append((*meta, *(state[name] for name in ENTITY.columns), event.name))
    schema = ENTITY.schema | {"event": pl.String()}
    events = pl.DataFrame(rows, schema=schema, orient="row").sample(fraction=1, shuffle=True, seed=seed)
    folded = fold(events, ENTITY, EMPLOYEES.events["employee"])
    assert folded.equals(pl.DataFrame(must, schema=schema, orient="row").sort("key", "revision"))


def test_a_fold_of_nothing_is_nothing() -> None:
    empty = pl.DataFrame(schema=ENTITY.schema | {"event": pl.String()})
    assert fold(empty, ENTITY, EMPLOYEES.events["employee"]).height == 0


@pytest.fixture(scope="module")
def of_commands(new_folder: Callable[[], Path]) -> Callable[[str, str], tuple[pl.DataFrame, int, object]]:
    """The feed and the head of a source of truth after its commands, and what comes of one more: made once for each."""

    @cache
    def made(engine: str, model: str) -> tuple[pl.DataFrame, int, object]:
        truth = open_truth(engine, model, FolderPlace(new_folder()), EMPLOYEES, "normal")
        executed(truth, commands(COMMANDS[engine]))
        found = truth.changes_since("employee", 0, ALL), truth.head("employee"), truth.execute(hire(10**6))
        truth.drop()
        return found

    return made


@each_model
@settings(max_examples=examples(6))
@given(cuts=st.lists(st.integers(0, 370), max_size=4))
def test_a_trace_loaded_in_slices_gives_the_feed_of_its_commands(
    model: str,
    engine: str,
    cuts: list[int],
    new_folder: Callable[[], Path],
    of_commands: Callable[[str, str], tuple[pl.DataFrame, int, object]],
) -> None:
    loaded = open_truth(engine, model, FolderPlace(new_folder()), EMPLOYEES, "normal")
    whole = trace(COMMANDS[engine])
    edges = sorted({0, *(min(cut, whole.height) for cut in cuts), whole.height})
    for first, last in itertools.pairwise(edges):
        loaded.load("employee", whole[first:last])
    changes, head, outcome = of_commands(engine, model)
    assert loaded.changes_since("employee", 0, ALL).equals(changes)
    assert loaded.head("employee") == head
    assert loaded.execute(hire(10**6)) == outcome
    loaded.drop()


@each_model
@pytest.mark.parametrize("rows", [1, 10_000], ids=["straight from Arrow", "row by row"])
def test_a_history_that_is_filled_in_at_once_is_as_one_loaded_in_slices(
    model: str, rows: int, opened: OpenTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ROWS_FOR_INGEST", rows)
    filled, loaded, whole = opened(model), opened(model), trace()
    loaded.load("employee", whole)
    filled.fill("employee", whole.iter_slices(90))
    assert filled.changes_since("employee", 0, ALL).equals(loaded.changes_since("employee", 0, ALL))
    assert filled.execute(hire(10**6)) == loaded.execute(hire(10**6))
    if model != "snapshot":
        # No record has a revision twice, although it was looked for last.
        with pytest.raises(TWICE):
            filled.load("employee", whole[:3].with_columns(pl.col("position") + 10**6))
        with pytest.raises(TWICE):
            opened(model).fill("employee", [whole[:90], whole[:3].with_columns(pl.col("position") + 10**6)])


@pytest.mark.parametrize("model", ["history", "events"])
def test_a_copy_is_the_history_without_what_is_left_out(
    model: str, engine: str, new_folder: Callable[[], Path]
) -> None:
    places = [FolderPlace(new_folder()) for _ in "abc"]
    full, part, copied = (open_truth(engine, model, place, EMPLOYEES, "normal") for place in places)
    whole = trace(COMMANDS[engine])
    full.load("employee", whole)
    part.load("employee", whole[:-5])
    if copied.copy(full, {"employee": whole["position"][-5:].to_list()}):
        # It has a timeline of its own, so its place knows it again.
        own = copied.timeline()
        assert own[0].id != full.timeline()[0].id
        assert copied.changes_since("employee", 0, ALL).equals(part.changes_since("employee", 0, ALL))
        copied.load("employee", whole[-5:])
        copied.close()
        copied = open_truth(engine, model, places[2], EMPLOYEES, "normal")
        assert copied.timeline()[: len(own)] == own
        assert copied.changes_since("employee", 0, ALL).equals(full.changes_since("employee", 0, ALL))
    else:
        assert engine != "sqlite"
        assert copied.head("employee") == 0
    for truth in (full, part, copied):
        truth.drop()


@pytest.mark.parametrize("model", ["history", "events"])
def test_a_file_of_an_earlier_version_has_no_second_index_of_revisions(
    model: str, new_folder: Callable[[], Path]
) -> None:
    place = FolderPlace(new_folder())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Sqlite, "_unique", ", UNIQUE (key, revision)")
        open_truth("sqlite", model, place, EMPLOYEES, "normal").close()
    truth = open_truth("sqlite", model, place, EMPLOYEES, "normal")
    assert isinstance(truth, Sqlite)
    assert len(truth._ask("SELECT name FROM pragma_index_list('employee')", ())) == 1
    truth.fill("employee", trace().iter_slices(90))
    assert len(truth._ask("SELECT name FROM pragma_index_list('employee')", ())) == 1
    truth.close()


@pytest.mark.parametrize("model", ["history", "events"])
def test_a_load_straight_from_arrow_is_as_one_row_by_row(
    model: str, new_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly, quickly = (open_truth("sqlite", model, FolderPlace(new_folder()), EMPLOYEES, "normal") for _ in "ab")
    whole = trace().with_columns(
        name=pl.when(pl.col("position") == 5).then(pl.lit("naïve\n'\"")).otherwise("name"),
        salary=pl.when(pl.col("position") == 6)
        .then(2**63 - 1)
        .when(pl.col("position") == 7)
        .then(None)
        .otherwise("salary"),
    )
    slowly.load("employee", whole)
    monkeypatch.setattr(sqlite, "ROWS_FOR_INGEST", 1)
    quickly.execute(hire(10**7))
    later = whole.with_columns(pl.col("position") + 1)
    quickly.load("employee", later[:100])
    with pytest.raises(adbc_driver_manager.Error):
        quickly.load("employee", later[50:200])
    assert quickly.head("employee") == 101, "all of a slice or nothing"
    quickly.load("employee", later[100:])
    found = quickly.changes_since("employee", 1, ALL).with_columns(pl.col("position") - 1)
    assert found.equals(slowly.changes_since("employee", 0, ALL))
    assert quickly.settings() == slowly.settings()
    outcomes = [truth.execute(hire(10**6)) for truth in (slowly, quickly)]
    assert outcomes[1].position == (outcomes[0].position or 0) + 1
    slowly.close()
    quickly.close()


@each_model
def test_a_load_that_fails_leaves_nothing(model: str, opened: OpenTruth) -> None:
    truth = opened(model)
    truth.load("employee", trace()[:10])
    before = truth.changes_since("employee", 0, ALL)
    # No integer of the engine's is as large as the last rows' salary; the first ones have gone in by then.
    salary = pl.col("salary").cast(pl.UInt64())
    bad = trace()[10:30].with_columns(salary=pl.when(pl.col("position") < 25).then(salary).otherwise(2**64 - 1))
    with pytest.raises((OverflowError, duckdb.ConversionException, CannotTake)):
        truth.load("employee", bad)
    assert truth.changes_since("employee", 0, ALL).equals(before)
    truth.load("employee", trace()[10:])
    assert truth.head("employee") == trace().height


@each_model
def test_arrays_show_what_the_feed_shows_at_every_moment(model: str, opened: OpenTruth) -> None:
    truth, history = opened(model), trace()
    arrays = FeedArrays(history.drop("event"), truth.publishes_every_revision)
    replay, subscription = Replay(truth, {"employee": history}), ChangeReader(truth)
    rng = stream(3, "moments")
    exact = history["committed_at"].gather(rng.integers(history.height, size=6)).to_list()
    end = history["committed_at"][-1]
    for at in sorted([0.0, *exact, *rng.uniform(0, end, 15), end, end + 1]):
        replay.advance(at)
        for position, limit in ((0, ALL), (0, 13), (int(rng.integers(history.height)), 25), (history.height, 5)):
            page = subscription.changes_since("employee", position, limit)
            rows = arrays.page(position, limit, at)
            assert history.drop("event")[rows].equals(page), (at, position, limit)
    assert truth.head("employee") == history.height


def test_a_replay_never_goes_back(opened: OpenTruth) -> None:
    truth = opened("history")
    replay = Replay(truth, {"employee": trace()})
    replay.advance(2.0)
    head = truth.head("employee")
    replay.advance(1.0)
    assert truth.head("employee") == head
    assert trace()["committed_at"][head - 1] <= 2.0 < trace()["committed_at"][head]
    replay.finish()
    assert truth.head("employee") == trace().height


def test_the_positions_of_several_entities_are_one_sequence(engine: str, tmp_path: Path) -> None:
    flights = domain("flights")
    frames = flights.trace(Options(days=1)).frames
    truth = open_truth(engine, "snapshot", FolderPlace(tmp_path), flights, "normal")
    replay = Replay(truth, frames)
    replay.finish()
    heads = {name: truth.head(name) for name in flights.entities}
    assert heads == {name: frame["position"].max() for name, frame in frames.items()}
    positions = np.concatenate([frame["position"].to_numpy() for frame in frames.values()])
    assert np.array_equal(np.sort(positions), np.arange(1, positions.size + 1))
    for name, frame in frames.items():
        arrays = FeedArrays(frame, every_revision=False)
        page = truth.changes_since(name, 5, 50)
        assert frame.drop("event")[arrays.page(5, 50, float("inf"))].equals(page)
    truth.close()


# The employees' decider


REFUSED: dict[str, tuple[list[Command], Command, str]] = {
    "an unknown manager": ([hire(1)], hire(2, 77), "there is no employee 77 to be the manager"),
    "a dismissed manager": ([hire(1), hire(2, 1), dismiss(2)], hire(3, 2), "the manager 2 has been dismissed"),
    "oneself as manager": ([hire(1), hire(2, 1)], move(2, 2), "cycle"),
    "a cycle of managers": ([hire(1), hire(2, 1), hire(3, 2), hire(4, 3)], move(2, 4), "4 works below 2"),
    "a second hire": ([hire(1)], hire(1), "there is already an employee"),
    "a hire of one dismissed": ([hire(1), hire(2, 1), dismiss(2)], hire(2, 1), "there is already an employee"),
    "nobody there": ([], give_raise(5, 100), "there is no employee with this number"),
    "one dismissed": ([hire(1), hire(2, 1), dismiss(2)], dismiss(2), "has been dismissed"),
    "the head dismissed": ([hire(1)], dismiss(1), "the head of the company can't be dismissed"),
    "a raise that lowers": ([hire(1)], give_raise(1, 2_999), "a raise raises"),
    "a raise of nothing": ([hire(1)], give_raise(1, 3_000), "a raise raises"),
    "a salary below zero": ([], hire(1, salary=-5), "a salary is a positive amount"),
    "an unknown department": ([hire(1)], move(1, None, "Piracy"), "there is no department 'Piracy'"),
    "a name of spaces": ([hire(1)], Command("employee", "rename", 1, {"name": "  "}), "a name is needed"),
    "an unknown command": ([hire(1)], Command("employee", "promote", 1), "no such command: promote"),
}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", REFUSED)
def test_the_decider_refuses(name: str, opened: OpenTruth) -> None:
    before, command, reason = REFUSED[name]
    truth = opened("snapshot")
    for each in before:
        assert truth.execute(each).status == "accepted"
    outcome = truth.execute(command)
    assert outcome.status == "rejected"
    assert any(reason in text for text in outcome.reasons), outcome.reasons


def test_a_decision_changes_nothing_by_itself() -> None:
    view = Shelf()
    state = {"name": "A", "manager": None, "department": "Sales", "salary": 10}
    view.records[1] = Record(dict(state), 1)
    found = EMPLOYEES.decide(view, give_raise(1, 20))
    assert found == (Event("raise_given", {"salary": 20}),)
    assert EMPLOYEES.evolve(view.records[1].state, found[0])["salary"] == 20
    assert view.records[1] == Record(state, 1)


@pytest.mark.parametrize("name", [name for name in DOMAINS if name != OWN_DATA])
def test_a_first_event_sets_every_column(name: str) -> None:
    business = domain(name)
    for entity, types in business.events.items():
        assert set(next(iter(types.values())).sets) == set(business.entities[entity].columns)


# The workload


def test_the_same_seed_is_the_same_workload_and_another_is_not() -> None:
    assert commands(500, 5) == commands(500, 5)
    assert commands(500, 5) != commands(500, 6)


@settings(max_examples=examples(8))
@given(seed=st.integers(0, 10**6), records=st.integers(1, 40), deletes=st.sampled_from([0.0, 0.3, 1.0]))
def test_without_invalid_commands_every_command_is_accepted(seed: int, records: int, deletes: float) -> None:
    view = Shelf()
    for command in commands(150, seed, records=records, deletes=deletes, invalid=0.0):
        found = EMPLOYEES.decide(view, command)
        assert not isinstance(found, Rejection), (command, found)
        former = view.records.get(command.key)
        state = EMPLOYEES.evolve(former.state if former else None, found[0])
        view.records[command.key] = Record(state, 1, found[0].name == "dismissed")


def test_there_are_as_many_commands_and_records_as_asked_for() -> None:
    work = commands(2_000, records=50, deletes=0.0, invalid=0.0)
    assert len(work) == 2_000
    assert len({command.key for command in work}) == 50
    assert [command.name for command in work[:50]] == ["hire"] * 50


def test_deletes_and_invalid_commands_have_their_shares(opened: OpenTruth) -> None:
    work = commands(6_000, records=100, deletes=0.10, invalid=0.20)
    names = Counter(command.name for command in work)
    # Some of the deletes fall on invalid commands, on a hire or on the head: a tenth of four fifths, and a bit less.
    assert 0.06 < names["dismiss"] / 6_000 < 0.085
    view, rejected = Shelf(), 0
    for command in work:
        found = EMPLOYEES.decide(view, command)
        if isinstance(found, Rejection):
            rejected += 1
        else:
            former = view.records.get(command.key)
            state = EMPLOYEES.evolve(former.state if former else None, found[0])
            view.records[command.key] = Record(state, 1, found[0].name == "dismissed")
    # Four standard deviations of a binomial share around a fifth.
    assert abs(rejected / 5_900 - 0.20) < 4 * np.sqrt(0.2 * 0.8 / 5_900)


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_commands_fall_on_records_by_a_zipf_law(skew: float) -> None:
    work = commands(40_050, records=50, deletes=0.0, invalid=0.0, skew=skew)[50:]
    shares = np.array(sorted(Counter(command.key for command in work).values(), reverse=True)) / 40_000
    law = 1.0 / np.arange(1, 51) ** skew
    assert np.abs(shares - law / law.sum()).max() < 0.006


@pytest.mark.parametrize("arrivals", ["uniform", "poisson", "bursty"])
def test_commands_arrive_at_the_rate_asked_for_and_in_order(arrivals: str) -> None:
    times = np.array([command.at for command in commands(20_000, arrivals=arrivals, rate=500.0)])
    assert (np.diff(times) >= 0).all()
    # Bursts of twenty: the mean of a thousand of them is known to a few percent.
    assert times[-1] == pytest.approx(40.0, rel=0.15 if arrivals == "bursty" else 0.03)
    gaps = np.diff(times) * 500.0
    spread = {"uniform": 0.0, "poisson": 1.0, "bursty": 6.2}[arrivals]
    assert gaps.std() == pytest.approx(spread, abs=1e-9 if arrivals == "uniform" else 0.1 * spread)


def test_managers_and_departments_are_there() -> None:
    hires = [command for command in commands(300, invalid=0.0) if command.name == "hire"]
    assert {command.fields["department"] for command in hires} <= set(DEPARTMENTS)
    assert [command.key for command in hires if command.fields["manager"] is None] == [1]
