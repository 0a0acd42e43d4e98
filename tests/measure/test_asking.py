"""How queries are timed, in rounds of single calls (cold) and in blocks (hot): made-up stores, a made-up clock."""

from __future__ import annotations

import gc
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import NotAnswered, stream
from lab.domain.employees import EMPLOYEES
from lab.measure import asked, asking, queries
from lab.measure.asked import Asked
from lab.measure.asking import CallLimits, in_blocks, in_rounds
from lab.measure.temperatures import COLD, HOT, of
from lab.queries.answers import Row
from lab.queries.model import Query

EMPLOYEE = EMPLOYEES.entities["employee"]
QUERIES = [Query(f"q{number}", "get", EMPLOYEE) for number in range(3)]
DRAWN = {query.name: [(key,) for key in range(7)] for query in QUERIES}
LIMITS = CallLimits(warm_up=3, samples=100, budget_seconds=1.0)


@dataclass
class Machine:
    """A clock that only stores move, which query ran last on it, and every call: store, query, parameters."""

    now: int = 0
    last: str = ""
    calls: list[tuple[str, str, Row]] = field(default_factory=list)


@dataclass
class Fake:
    """Takes so many microseconds for a call, and more after a call of another store: what that one leaves behind."""

    name: str
    machine: Machine
    microseconds: float = 5.0
    # What it costs the next call of another store: it has filled the caches with data of its own.
    leaves: float = 0.0
    neighbours: dict[str, float] = field(default_factory=dict)
    # Answers by the number of the call, where they are not the usual ones.
    odd: dict[int, list[Row]] = field(default_factory=dict)
    asked: int = 0

    def query(self, query: Query, parameters: Row) -> list[Row]:
        """The parameters."""
        cold = self.neighbours.get(self.machine.last, 0.0) if self.machine.last != self.name else 0.0
        self.machine.now += round((self.microseconds + cold) * 1_000)
        self.machine.last = self.name
        self.machine.calls.append((self.name, query.name, parameters))
        self.asked += 1
        return self.odd.get(self.asked, [parameters])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    for module in (asked, asking):
        monkeypatch.setattr(module, "perf_counter_ns", lambda: made.now)
    return made


def answering(*stores: Fake, patient: bool = True) -> list[Asked]:
    """Every query of every store."""
    return [Asked(store.name, store, query, patient) for store in stores for query in QUERIES]


def runs_of(calls: list[tuple[str, str, Row]]) -> list[tuple[str, str]]:
    """Store and query of each stretch of calls that belong together."""
    found: list[tuple[str, str]] = []
    for store, query, _ in calls:
        if not found or found[-1] != (store, query):
            found.append((store, query))
    return found


# Blocks


@settings(max_examples=examples(40), deadline=None)
@given(
    stores=st.integers(1, 4),
    blocks=st.integers(0, 4).map(lambda half: 2 * half),
    samples=st.integers(1, 120),
    warm_up=st.integers(0, 15),
    seed=st.integers(0, 1_000),
)
def test_blocks_are_whole_balanced_and_drawn_by_the_seed(
    stores: int, blocks: int, samples: int, warm_up: int, seed: int
) -> None:
    made = []
    for _ in range(2):
        machine = Machine()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asking, "perf_counter_ns", lambda machine=machine: machine.now)
            every = answering(*(Fake(f"s{number}", machine) for number in range(stores)))
            in_blocks(every, DRAWN, blocks, CallLimits(warm_up, samples, 10.0), stream(seed, "blocks"))
        made.append((machine, every))
    (machine, every), (again, _) = made
    assert again.calls == machine.calls
    # ABBA: whoever comes early in one round comes as late in the next.
    for pair in range(blocks // 2):
        sums = {one.blocks[2 * pair].number + one.blocks[2 * pair + 1].number for one in every}
        assert len(sums) == 1
    cut = max(warm_up, math.ceil(samples * asking.WARM_UP_SHARE))
    called = defaultdict(list)
    for store, query, parameters in machine.calls:
        called[store, query].append(parameters)
    by_number = {}
    for one in every:
        assert [block.warm_up for block in one.blocks] == [cut] * blocks
        assert all(len(block.nanoseconds) >= samples for block in one.blocks)
        by_number |= {block.number: (one.projection, one.query.name) for block in one.blocks}
        # Every contestant is asked the same, in the same order.
        drawn = DRAWN[one.query.name]
        own = called[one.projection, one.query.name]
        assert own == [drawn[place % len(drawn)] for place in range(len(own))]
    # One block of a query and store is one stretch of calls, in the order of the blocks' numbers.
    inorder = [by_number[number] for number in sorted(by_number)]
    assert runs_of(machine.calls) == [
        one for place, one in enumerate(inorder) if not place or inorder[place - 1] != one
    ]


def test_another_seed_has_another_order(machine: Machine) -> None:
    orders = set()
    for seed in range(5):
        machine.calls.clear()
        every = answering(*(Fake(f"s{number}", machine) for number in range(4)))
        in_blocks(every, DRAWN, 2, LIMITS, stream(seed, "blocks"))
        orders.add(tuple(runs_of(machine.calls)))
    assert len(orders) == 5


def figures(*stores: Fake) -> pl.DataFrame:
    """The table `queries` of these stores, asked in rounds and in blocks."""
    every = answering(*stores)
    in_rounds(every, DRAWN, LIMITS, stream(1, "rounds"))
    in_blocks(every, DRAWN, 4, LIMITS, stream(1, "blocks"))
    return queries.table(every)


def test_a_neighbour_that_fills_the_caches_moves_the_cold_figure_and_not_the_hot_one(machine: Machine) -> None:
    found = {}
    for name, leaves in (("light", 0.5), ("heavy", 45.0)):
        mine = Fake("mine", machine, neighbours={"other": leaves})
        other = Fake("other", machine, microseconds=900.0, neighbours={"mine": 0.5})
        found[name] = figures(mine, other).filter(projection="mine")
    light, heavy = found["light"], found["heavy"]
    assert light["p50_us"].to_list() == heavy["p50_us"].to_list() == [5.0] * len(QUERIES)
    # The first calls of a block are dear, and cut: they don't reach the p99 either.
    assert heavy["p99_us"].to_list() == [5.0] * len(QUERIES)
    assert (light["cold_p50_us"] <= 5.5).all()
    assert (heavy["cold_p99_us"] >= 45.0).all()
    assert of(heavy, COLD)["p50_us"].to_list() == heavy["cold_p50_us"].to_list()
    assert of(heavy, HOT)["p50_us"].to_list() == [5.0] * len(QUERIES)


def test_quick_calls_are_timed_more_often_and_slow_ones_within_their_budget(machine: Machine) -> None:
    slow, quick = Fake("slow", machine, microseconds=40_000.0), Fake("quick", machine, microseconds=1.0)
    middling = Fake("middling", machine, microseconds=1_000.0)
    every = answering(slow, quick, middling)
    in_rounds(every, DRAWN, CallLimits(0, 1, 1.0), stream(1, "rounds"))
    in_blocks(every, DRAWN, 4, LIMITS, stream(1, "blocks"))
    for one in every:
        counted = [len(block.nanoseconds) for block in one.blocks]
        if one.store is quick:
            assert counted == [1_000] * 4
        elif one.store is middling:
            assert counted == [100] * 4
        else:
            # A quarter of a second for each block, and no call of it is cut.
            assert counted == [7] * 4
            assert {block.warm_up for block in one.blocks} == {0}
        assert one.spent_hot <= 1.2e9


@pytest.mark.parametrize(("patient", "samples"), [(True, 6), (False, 2)])
def test_what_takes_longer_than_its_budget_is_timed_a_few_times(patient: bool, samples: int, machine: Machine) -> None:
    every = answering(Fake("slow", machine, microseconds=3e6), patient=patient)
    in_rounds(every, DRAWN, CallLimits(0, 1, 1.0), stream(1, "rounds"))
    machine.calls.clear()
    in_blocks(every, DRAWN, 4, LIMITS, stream(1, "blocks"))
    assert [len(one.hot) for one in every] == [samples] * len(QUERIES)
    assert len(machine.calls) == samples * len(QUERIES)


@pytest.mark.parametrize(
    ("patient", "seconds", "asks", "samples"),
    [
        # One call takes longer than the limit: there is no other, and it stands for a block.
        (True, 4.0, 1, (1, 1)),
        (False, 4.0, 1, (1, 1)),
        # Warm-up has used up the limit: one call counts, and in blocks as many as the limit has room for.
        (True, 1.6, 5, (1, 2)),
        (False, 1.6, 4, (1, 2)),
        # Warm-up and five calls are within the limit: all of the least number are made.
        (True, 0.35, 14, (5, 6)),
    ],
)
def test_the_limit_ends_the_least_number_of_calls(
    patient: bool, seconds: float, asks: int, samples: tuple[int, int], machine: Machine
) -> None:
    limits = CallLimits(3, 100, 0.5, limit_seconds=3.0)
    every = answering(Fake("slow", machine, microseconds=seconds * 1e6), Fake("quick", machine), patient=patient)
    in_rounds(every, DRAWN, limits, stream(1, "rounds"))
    in_blocks(every, DRAWN, 4, limits, stream(1, "blocks"))
    table, kept = queries.table(every), queries.samples(every)
    for one in every[: len(QUERIES)]:
        assert sum(call[:2] == ("slow", one.query.name) for call in machine.calls) == asks
        assert (len(one.nanoseconds), len(one.hot)) == samples
        assert one.cut(3.0) == (min(samples) < one.few)
        assert len(one.places) == samples[0]
        row = table.row(by_predicate=(pl.col("projection") == "slow") & (pl.col("query") == one.query.name), named=True)
        assert (row["cold_samples"], row["samples"]) == samples
        assert row["p50_us"] == row["cold_p50_us"] == pytest.approx(seconds * 1e6)
        assert row["p99_interval_reason"]
        assert kept.filter(projection="slow", query=one.query.name).height == sum(samples)
    for one in every[len(QUERIES) :]:
        assert (len(one.nanoseconds), one.cut(3.0)) == (100, False)


def test_a_block_ends_before_its_answers_fill_the_memory(machine: Machine) -> None:
    store = Fake("wide", machine)
    rows: list[Row] = [(number,) for number in range(20_000)]
    store.odd = dict.fromkeys(range(1, 10_000), rows)
    every = answering(store)
    in_blocks(every, DRAWN, 2, LIMITS, stream(1, "blocks"))
    held = [(block.warm_up + len(block.nanoseconds)) * len(rows) for one in every for block in one.blocks]
    assert max(held) <= asking.ROWS_MAX + len(rows)


def test_the_garbage_collector_rests_in_a_block_and_works_again_after_an_error(machine: Machine) -> None:
    seen = []

    class Failing(Fake):
        def query(self, query: Query, parameters: Row) -> list[Row]:
            seen.append(gc.isenabled())
            raise RuntimeError("a store that fails")

    with pytest.raises(RuntimeError, match="a store that fails"):
        in_blocks(answering(Failing("failing", machine)), DRAWN, 2, LIMITS, stream(1, "blocks"))
    assert seen == [False]
    assert gc.isenabled()


# Answers


def right(query: Query, parameters: Row) -> list[Row]:
    return [parameters]


def test_an_answer_that_is_wrong_in_a_block_alone_is_found_and_has_no_time(machine: Machine) -> None:
    every = answering(Fake("sound", machine), Fake("forgetful", machine, odd={400: []}))
    in_rounds(every, DRAWN, CallLimits(1, 5, 1.0), stream(1, "rounds"))
    in_blocks(every, DRAWN, 4, LIMITS, stream(1, "blocks"))
    queries.check(every, right)
    (wrong,) = (each for one in every for each in one.wrong)
    # How many calls there are in a block depends on the time they take.
    assert (wrong.found, wrong.always) == ([], False)
    found = queries.table(every).filter(projection="forgetful", answer_ok=False)
    assert found["query"].to_list() == [wrong.query.name]
    told = [name for name in found.columns if name.endswith("_us")]
    assert found.select(told).null_count().row(0) == (1,) * len(told)
    kept = queries.samples(every)
    assert kept.filter(projection="forgetful", query=wrong.query.name).is_empty()
    assert kept["projection"].n_unique() == 2


def test_thousands_of_equal_answers_are_kept_once(machine: Machine) -> None:
    every = answering(Fake("sound", machine))
    in_rounds(every, DRAWN, CallLimits(0, 3, 1.0), stream(1, "rounds"))
    in_blocks(every, DRAWN, 4, LIMITS, stream(1, "blocks"))
    for one in every:
        assert len(one.hot) > 1_000
        assert len(one.others) == len(DRAWN[one.query.name]) - 3


def test_a_question_that_comes_to_no_answer_is_not_asked_in_blocks(machine: Machine) -> None:
    class Refusing(Fake):
        def query(self, query: Query, parameters: Row) -> list[Row]:
            super().query(query, parameters)
            raise NotAnswered("too large a sum")

    every = answering(Refusing("refusing", machine), Fake("sound", machine))
    in_rounds(every, DRAWN, CallLimits(0, 3, 1.0), stream(1, "rounds"))
    before = sum(store == "refusing" for store, _, _ in machine.calls)
    in_blocks(every, DRAWN, 2, LIMITS, stream(1, "blocks"))
    assert sum(store == "refusing" for store, _, _ in machine.calls) == before
    row = queries.table(every).row(0, named=True)
    assert (row["projection"], row["samples"], row["p50_us"], row["temperature"]) == ("refusing", 0, None, HOT)


# Tables


def test_every_sample_behind_a_figure_is_kept_with_its_place(machine: Machine) -> None:
    every = answering(Fake("a", machine, neighbours={"b": 3.0}), Fake("b", machine, neighbours={"a": 7.0}))
    in_rounds(every, DRAWN, LIMITS, stream(1, "rounds"))
    in_blocks(every, DRAWN, 4, LIMITS, stream(1, "blocks"))
    table, kept = queries.table(every), queries.samples(every)
    for row in table.iter_rows(named=True):
        for temperature, prefix in ((HOT, ""), (COLD, "cold_")):
            own = kept.filter(projection=row["projection"], query=row["query"], temperature=temperature)
            assert own.height == row[f"{prefix}samples"]
            assert row[f"{prefix}p50_us"] == pytest.approx(float(np.median(own["nanoseconds"])) / 1e3, rel=0.2)
    # A place is taken once: in a round by one call, in a block by one.
    assert not kept.select("temperature", "block", "call").is_duplicated().any()
    # The time of a single call follows from who came before it in its round.
    single = kept.filter(temperature=COLD, block=50).sort("call")
    assert single["call"].to_list() == list(range(len(every)))
    before = single.with_columns(before=pl.col("projection").shift(1)).drop_nulls()
    own = {"a": {"a": 5_000, "b": 8_000}, "b": {"b": 5_000, "a": 12_000}}
    assert before["nanoseconds"].to_list() == [own[row["projection"]][row["before"]] for row in before.to_dicts()]


def test_without_blocks_the_first_figures_are_those_of_single_calls(machine: Machine) -> None:
    every = answering(Fake("a", machine))
    in_rounds(every, DRAWN, LIMITS, stream(1, "rounds"))
    in_blocks(every, DRAWN, 0, LIMITS, stream(1, "blocks"))
    table = queries.table(every)
    assert set(table["temperature"]) == {COLD}
    plain: list[Any] = table["p50_us"].to_list()
    assert plain == table["cold_p50_us"].to_list() == of(table, COLD)["p50_us"].to_list()
    assert of(table, HOT)["p50_us"].is_null().all()
