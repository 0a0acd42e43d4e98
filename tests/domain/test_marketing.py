"""The marketing company: its rules, its workload, and a write model that changes while readers notice nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import SHIPPED, failed, run_text, shipped, verdicts, witness

import lab.feed.reader
from lab.base import BEFORE, BadInput, Unsound, stream
from lab.domain.employees import EMPLOYEES
from lab.domain.marketing import MARKETING, Marketing
from lab.domain.marketing.entities import joined, publish_agent, split
from lab.domain.marketing.rules import RULES
from lab.domain.marketing.words import WORDS
from lab.domain.marketing.workload import MarketingWorkload
from lab.domain.model import Command, Event, Options, Record, Rejection, published
from lab.feed.reader import ChangeReader, with_before
from lab.place import FolderPlace
from lab.scenario import Source
from lab.truth import Truth, open_truth
from lab.verdict.oracle import Oracle
from lab.wiring import plan

ALL = 2**62
# Small, with messages that go wrong and with readers. The change is to be set: `change_at` and `change_takes`.
TEXT = """
schema = 1
name = "mine"
seed = 1087

[domain]
name = "marketing"
records = 80
change_at = 1.0
change_takes = 0.5

[workload]
commands = 1_500
rate = 600.0
skew = 0.8
deletes = 0.03
invalid = 0.03

[truth]
model = "history"

[catch_up]
every = 0.25
page = 200

[channel]
delay = { kind = "lognormal", mean = 0.02, sigma = 1.0 }
duplicate = 0.05
lose = 0.02
reorder = { share = 0.1, extra = { kind = "exponential", mean = 0.2 } }

[readers]
sessions = 300

[[projection]]
name = "everything"
store = "sqlite.table"
batch = 200
linger = 0.05

[[projection]]
name = "recruiting"
store = "duckdb.columnar"
entities = ["agent"]
subscribe = "catch-up"
batch = 1_000

[[projection]]
name = "regions"
store = "sqlite.table"
keeps = "totals"
totals = "agents_by_region"
batch = 200

[measure]
samples = 5
warm_up = 0
"""
AGENT = published(MARKETING)["agent"]


class World:
    """The simplest write model: records in a dictionary, and every event that happened."""

    def __init__(self, *commands: Command) -> None:
        self.records: dict[tuple[str, Any], Record] = {}
        self.events: list[tuple[Command, Event]] = []
        for command in commands:
            assert not isinstance(self.execute(command), Rejection), command

    def get(self, entity: str, key: Any) -> Record | None:
        return self.records.get((entity, key))

    def execute(self, command: Command) -> tuple[Event, ...] | Rejection:
        found = MARKETING.decide(self, command)
        for event in () if isinstance(found, Rejection) else found:
            former = self.get(command.entity, command.key)
            state = MARKETING.evolve(former.state if former else None, event)
            deleted = MARKETING.events[command.entity][event.name].deletes
            revision = former.revision + 1 if former else 1
            self.records[command.entity, command.key] = Record(state, revision, deleted)
            self.events.append((command, event))
        return found

    def states(self, entity: str) -> dict[Any, Record]:
        return {key: record for (name, key), record in self.records.items() if name == entity}


def do(entity: str, name: str, key: Any, /, **fields: Any) -> Command:
    return Command(entity, name, key, fields)


def book(campaign: int, day: int, amount: int, revenue: int = 0, key: str | None = None) -> Command:
    fields = {"campaign": campaign, "day": day, "amount": amount, "revenue": revenue}
    return do("spend", "book", key or f"{campaign}-{day}", **fields)


# A small company: product 2 and agent 9 are gone, campaign 2 is paused, campaign 3 closed; 1 recruited 2 recruited 3.
BEGUN = (
    do("product", "launch", 1, name="Tea", category="kitchen", price=300),
    do("product", "launch", 2, name="Kite", category="toys", price=900),
    do("strategy", "adopt", 1, name="Letters", channel="letters", audience="readers"),
    do("creative", "write", 1, product=1, headline="Good tea", body="A cup of good tea"),
    do("campaign", "start", 1, name="One", description="the first", product=1, strategy=1, daily_budget=1_000),
    do("campaign", "start", 2, name="Two", description="the second", product=2, strategy=1, daily_budget=1_000),
    do("campaign", "start", 3, name="Three", description="the third", product=1, strategy=1, daily_budget=1_000),
    do("campaign", "pause", 2),
    do("campaign", "close", 3),
    do("product", "discontinue", 2),
    do("agent", "recruit", 1, name="Alice Archer", region="north"),
    do("agent", "recruit", 2, name="Bruno Baker", region="south", recruiter=1),
    do("agent", "recruit", 3, name="Clara Carter", region="south", recruiter=2),
    do("agent", "recruit", 4, first_name="David", last_name="Dyer", region="east", recruiter=1),
    do("agent", "recruit", 9, name="Irene Joiner", region="west", recruiter=1),
    do("lead", "capture", 1, campaign=1, value=500),
    do("lead", "capture", 2, campaign=1, value=500),
    do("lead", "capture", 3, campaign=1, value=500),
    do("lead", "capture", 4, campaign=1, value=500),
    do("lead", "assign", 2, agent=2),
    do("lead", "assign", 3, agent=2),
    do("lead", "contact", 3),
    do("lead", "win", 3, value=700),
    do("lead", "assign", 4, agent=9),
    do("lead", "contact", 4),
    do("agent", "dismiss", 9),
    book(1, 0, 600, 900),
    book(1, 1, 100),
    do("spend", "void", "1-1"),
)
START = {"name": "New", "description": "a new one", "product": 1, "strategy": 1, "daily_budget": 10}
REFUSED: dict[str, tuple[Command, str]] = {
    "an unknown entity": (do("campain", "start", 8), "did you mean `campaign`?"),
    "an unknown command": (do("agent", "recrut", 8), "did you mean `recruit`?"),
    "a field that is missing": (do("product", "launch", 8, name="Pen", category="books"), "`price` is needed"),
    "a field that is not there": (do("lead", "contact", 2, agents=1), "no field `agents`"),
    "a field of another kind": (do("product", "reprice", 1, price="dear"), "`price` is int"),
    "a key that is taken": (do("lead", "capture", 1, campaign=1, value=5), "there is already a lead 1"),
    "an agent's key that is taken": (do("agent", "recruit", 1, name="A", region="east"), "already an agent 1"),
    "a record that is not there": (do("lead", "contact", 77), "there is no lead 77"),
    "a record that is gone": (do("agent", "rename", 9, name="X"), "agent 9 has been dismissed"),
    "a closed campaign": (do("campaign", "pause", 3), "campaign 3 has been closed"),
    "nothing of a void day": (book(1, 1, 5), "spend 1-1 has been voided"),
    "a product without a name": (do("product", "launch", 8, name=" ", category="books", price=1), "a name is needed"),
    "an unknown category": (do("product", "launch", 8, name="Pen", category="book", price=1), "`books`"),
    "a price of nothing": (do("product", "reprice", 1, price=0), "a price is a positive amount"),
    "an unknown channel": (do("strategy", "adopt", 8, name="S", channel="emails", audience="all"), "no channel"),
    "nobody to speak to": (do("strategy", "refocus", 1, audience=""), "an audience is needed"),
    "an empty creative": (do("creative", "revise", 1, headline="", body="b"), "a headline is needed"),
    "a creative of nothing": (do("creative", "write", 8, product=5, headline="h", body="b"), "there is no product 5"),
    "a campaign for what is gone": (do("campaign", "start", 8, **START | {"product": 2}), "has been discontinued"),
    "a campaign without a strategy": (do("campaign", "start", 8, **START | {"strategy": 4}), "there is no strategy 4"),
    "a campaign for nothing": (do("campaign", "start", 8, **START | {"daily_budget": 0}), "a daily budget is"),
    "a campaign without a text": (do("campaign", "describe", 1, name="n", description=""), "a description is"),
    "a budget below nothing": (do("campaign", "set_budget", 1, daily_budget=-1), "a positive amount"),
    "a second pause": (do("campaign", "pause", 2), "campaign 2 is paused"),
    "a campaign that goes on anyway": (do("campaign", "resume", 1), "is running already"),
    "going on for what is gone": (do("campaign", "resume", 2), "product 2 has been discontinued"),
    "a lead of a paused campaign": (do("lead", "capture", 8, campaign=2, value=1), "campaign 2 is paused"),
    "a lead of no campaign": (do("lead", "capture", 8, campaign=8, value=1), "there is no campaign 8"),
    "a worthless lead": (do("lead", "capture", 8, campaign=1, value=0), "a value is a positive amount"),
    "a lead for nobody": (do("lead", "assign", 1, agent=5), "there is no agent 5"),
    "a lead for who is gone": (do("lead", "assign", 1, agent=9), "agent 9 has been dismissed"),
    "a lead that is won, assigned": (do("lead", "assign", 3, agent=1), "lead 3 has been won"),
    "a contact of nobody": (do("lead", "contact", 1), "has no agent yet"),
    "a contact of a lead that is won": (do("lead", "contact", 3), "lead 3 has been won"),
    "a second win": (do("lead", "win", 3, value=5), "lead 3 has been won"),
    "a loss after a win": (do("lead", "lose", 3), "lead 3 has been won"),
    "a win without contact": (do("lead", "win", 2, value=5), "nobody has been in contact"),
    "a win for nothing": (do("lead", "win", 4, value=0), "a value is a positive amount"),
    "a win by who is gone": (do("lead", "win", 4, value=5), "agent 9 has been dismissed"),
    "a win that is discarded": (do("lead", "discard", 3), "lead 3 has been won"),
    "more than the budget": (book(1, 2, 1_001), "1001 is more than the daily budget"),
    "more than the day's rest": (book(1, 0, 401), "1001 is more than the daily budget"),
    "spend in a pause": (book(2, 0, 1), "campaign 2 is paused"),
    "spend of nothing": (book(1, 2, 0), "an amount is a positive amount"),
    "a loss as revenue": (book(1, 2, 1, -1), "no negative amount"),
    "a day before the first": (book(1, -1, 1), "counted from 0"),
    "another key": (book(1, 2, 1, key="1-3"), "the key of this spend is 1-2"),
    "no name": (do("agent", "recruit", 8, region="east"), "either `name` or `first_name`"),
    "two names": (do("agent", "recruit", 8, name="A", first_name="A", region="east"), "either `name` or"),
    "half a name": (do("agent", "recruit", 8, name="A", last_name="B", region="east"), "`last_name` goes with"),
    "an untidy name": (do("agent", "rename", 1, name="Alice "), "ends with a space"),
    "an unknown region": (do("agent", "recruit", 8, name="A", region="nord"), "no region is called nord"),
    "the old way after the split": (do("agent", "rename", 4, name="Dave Dyer"), "the name has been split"),
    "a second split": (do("agent", "split_name", 4), "has been split"),
    "oneself as recruiter": (do("agent", "hand_over", 1, recruiter=1), "nobody recruits themselves"),
    "a short cycle": (do("agent", "hand_over", 1, recruiter=2), "the line would be a cycle"),
    "a long cycle": (do("agent", "hand_over", 1, recruiter=3), "the line would be a cycle"),
    "a recruiter who is gone": (do("agent", "hand_over", 2, recruiter=9), "agent 9 has been dismissed"),
}


@pytest.mark.parametrize(("command", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_command_against_the_rules_is_refused_with_its_reason(command: Command, reason: str) -> None:
    world = World(*BEGUN)
    before = dict(world.records)
    found = world.execute(command)
    assert isinstance(found, Rejection)
    assert any(reason in said for said in found.reasons), found.reasons
    assert world.records == before


def test_every_reason_is_told_at_once() -> None:
    found = World().execute(do("campaign", "start", 1, **START | {"name": "", "daily_budget": 0}))
    assert isinstance(found, Rejection)
    assert len(found.reasons) == 4


def test_every_command_of_the_business_can_be_carried_out() -> None:
    world = World(*BEGUN)
    for command in (
        do("product", "reprice", 1, price=1), do("product", "discontinue", 1),
        do("strategy", "refocus", 1, audience="all"), do("strategy", "drop", 1),
        do("creative", "revise", 1, headline="a", body="b"), do("creative", "withdraw", 1),
        do("campaign", "describe", 1, name="a", description="b"), do("campaign", "set_budget", 1, daily_budget=1),
        do("campaign", "pause", 1), do("agent", "rename", 1, name="Anna Archer"),
        do("agent", "hand_over", 3, recruiter=4), do("agent", "hand_over", 2), do("agent", "split_name", 3),
        do("lead", "contact", 2), do("lead", "lose", 2), do("lead", "discard", 1),
    ):  # fmt: skip
        assert not isinstance(world.execute(command), Rejection), command
    done = {(command.entity, command.name) for command, _ in world.events}
    rest = {(entity, name) for entity, names in RULES.items() for name in names} - done
    assert rest == {("campaign", "resume")}, "it needs a live product"
    # And each event sets the columns that it says, no more and no fewer.
    for command, event in world.events:
        assert set(event.fields) == set(MARKETING.events[command.entity][event.name].sets), event


def test_a_day_s_spend_adds_up() -> None:
    world = World(*BEGUN, book(1, 0, 400, 50))
    assert world.states("spend")["1-0"].state == {
        "campaign": 1, "day": 0, "amount": 1_000, "revenue": 950, "profit": -50
    }  # fmt: skip


# The workload

workloads = st.builds(
    Options,
    records=st.integers(1, 120),
    commands=st.integers(1, 1_500),
    rate=st.sampled_from([50.0, 400.0]),
    arrivals=st.sampled_from(["poisson", "uniform", "bursty"]),
    skew=st.sampled_from([0.0, 0.8, 1.5]),
    deletes=st.sampled_from([0.0, 0.05, 0.4]),
    invalid=st.sampled_from([0.0, 0.1]),
    change_at=st.sampled_from([None, 0.0, 1.0, 2.5, 1e6]),
    change_takes=st.sampled_from([0.0, 1.0, 50.0]),
)


@given(workloads, st.integers(0, 10_000))
def test_what_is_refused_is_what_is_marked_and_the_rules_of_the_business_hold(options: Options, seed: int) -> None:
    world = World()
    last, count = 0.0, 0
    for command, bad in MarketingWorkload(options, stream(seed, "workload")).marked():
        assert command.at >= last
        last, count = command.at, count + 1
        found = world.execute(command)
        assert isinstance(found, Rejection) == bad, (command, found)
    assert count == options.commands
    # Looked at from outside: no cycle, no lead decided twice, no profit that is not the difference.
    agents = world.states("agent")
    for key in agents:
        seen, above = set(), key
        while above is not None:
            assert above not in seen, "a cycle"
            seen.add(above)
            above = agents[above].state["recruiter"]
    decided = [command.key for command, event in world.events if event.name in ("won", "lost")]
    assert len(decided) == len(set(decided))
    for key, record in world.states("spend").items():
        state = record.state
        assert state["profit"] == state["revenue"] - state["amount"]
        assert key == f"{state['campaign']}-{state['day']}"


@given(st.integers(0, 1_000))
@settings(max_examples=10)
def test_no_campaign_spends_more_in_a_day_than_its_budget_then_was(seed: int) -> None:
    budget: dict[Any, int] = {}
    world = World()
    for command in MARKETING.workload(Options(records=40, commands=1_500, rate=500.0), stream(seed, "workload")):
        world.execute(command)
        if "daily_budget" in command.fields:
            budget[command.key] = command.fields["daily_budget"]
        if command.entity == "spend":
            assert world.states("spend")[command.key].state["amount"] <= budget[command.fields["campaign"]]


def test_most_commands_are_about_leads_and_spend_and_masters_come_first() -> None:
    work = work_of(commands=6_000, records=200)
    first = [command.entity for command in work[:200]]
    assert first == sorted(first, key=["product", "strategy", "agent", "campaign", "creative"].index)
    about = pl.Series([command.entity for command in work[200:]]).value_counts(normalize=True)
    share = dict(about.iter_rows())
    assert share["lead"] > 0.5
    assert share["spend"] > 0.2
    assert set(share) == set(MARKETING.entities)


def test_texts_are_made_of_plain_words() -> None:
    assert 300 <= len(WORDS) <= 600
    bodies = [command.fields["body"] for command in work_of() if "body" in command.fields]
    assert {word for body in bodies for word in body.lower().split()} <= set(WORDS)
    assert len(set(bodies)) == len(bodies)


def work_of(seed: int = 7, **options: Any) -> list[Command]:
    wanted = {"records": 60, "commands": 1_500, "rate": 500.0, "skew": 0.8, "deletes": 0.03, "invalid": 0.03}
    return list(MARKETING.workload(Options(**wanted | options), stream(seed, "workload")))


DIGESTS = {
    "poisson": "436b6a912d7079fff4abf51e6387bd366f800f9f4fdc5c20f4efe77d0d128983",
    "uniform": "cd3cf0fadde2e7277341b148ec45cf83576bca6e2ca9dae6606bf38c59e50f99",
    "bursty": "cc3450fbf4af32865ae7a76da1e41652d887835f04c8c4487886ca3c4d5600de",
}


@pytest.mark.parametrize("arrivals", DIGESTS)
def test_the_employees_work_is_what_it_has_always_been(arrivals: Any) -> None:
    options = Options(50, commands=3_000, rate=100.0, arrivals=arrivals, skew=0.8, deletes=0.05, invalid=0.05)
    total = hashlib.sha256()
    for item in EMPLOYEES.workload(options, stream(1087, "workload")):
        row = [item.entity, item.name, item.key, dict(item.fields), item.expected, item.at]
        total.update(json.dumps(row).encode())
    assert total.hexdigest() == DIGESTS[arrivals]


# The change of the write model

names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1).filter(lambda text: text == text.strip())


@given(names)
def test_a_name_that_is_split_and_joined_is_the_same_name(name: str) -> None:
    assert joined(*split(name)) == name


@given(st.lists(st.tuples(*[st.none() | names] * 3), min_size=1))
def test_the_contract_says_the_same_to_rows_and_to_frames(rows: list[tuple[str | None, ...]]) -> None:
    states = [dict(zip(("name", "first_name", "last_name"), row, strict=True)) for row in rows]
    whole = [state | {"recruiter": 1, "region": "east"} for state in states]
    frame = pl.DataFrame(whole, schema=MARKETING.entities["agent"].schema, strict=False)
    contract = MARKETING.contracts["agent"]
    found = frame.select(contract.expressions["name"])["name"].to_list()
    assert found == [publish_agent(state)["name"] for state in whole]


def test_old_and_new_rows_live_side_by_side_and_in_the_end_all_are_new() -> None:
    work = work_of(change_at=1.0, change_takes=1.0)
    kinds = []
    for until in (0.9, 1.5, 2.1):
        world = World()
        for command in work:
            if command.at <= until:
                world.execute(command)
        live = [record.state for record in world.states("agent").values() if not record.deleted]
        kinds.append({"old" if state["name"] else "new" for state in live})
        assert all((state["name"] is None) != (state["first_name"] is None) for state in live)
    assert kinds == [{"old"}, {"old", "new"}, {"new"}]
    times = [command.at for command in work if command.name == "split_name"]
    assert min(times) == 1.0
    assert max(times) < 2.0


@given(st.integers(0, 1_000))
@settings(max_examples=10)
def test_what_happens_is_the_same_with_and_without_the_change(seed: int) -> None:
    shown = []
    with_change = work_of(seed, change_at=0.6, change_takes=1.0)
    kept = [command for command in with_change if command.name != "split_name"]
    assert len(kept) < len(with_change)
    for work in (with_change, work_of(seed)[: len(kept)]):
        world = World()
        for command in work:
            world.execute(command)
        agents = world.states("agent")
        shown.append({key: (publish_agent(record.state), record.deleted) for key, record in agents.items()})
        rest = [record for (entity, _), record in world.records.items() if entity != "agent"]
        shown[-1] |= {"rest": rest}
    assert shown[0] == shown[1]


@contextmanager
def opened(model: str, path: Path, work: Sequence[Command] = ()) -> Iterator[Truth]:
    """A source of truth in which this has happened."""
    truth = open_truth("sqlite", model, FolderPlace(path), MARKETING, "normal")
    try:
        for command in work:
            truth.execute(command)
        yield truth
    finally:
        truth.close()


def read(subscription: ChangeReader, entity: str, limit: int) -> pl.DataFrame:
    """All pages, one after the other."""
    pages, position = [], 0
    while True:
        page = subscription.changes_since(entity, position, limit)
        pages.append(page)
        if page.height < limit:
            return pl.concat(pages)
        position = int(page["position"][-1])


@given(seed=st.integers(0, 100), limit=st.integers(7, 90), takes=st.sampled_from([0.0, 0.3, 5.0]))
@settings(max_examples=6)
def test_all_three_write_models_publish_the_same(
    seed: int, limit: int, takes: float, new_folder: Callable[[], Path]
) -> None:
    work = work_of(seed, commands=400, change_at=0.2, change_takes=takes)
    oracle = Oracle.of_commands(MARKETING, work)
    for model in ("snapshot", "history", "events"):
        with opened(model, new_folder(), work) as truth:
            for entity in MARKETING.entities:
                must = oracle.revisions[entity]
                if model == "snapshot":
                    must = oracle.states[entity].sort("position")
                assert read(ChangeReader(truth), entity, limit).equals(must), (model, entity)
                assert pl.concat([must.clear(), *ChangeReader(truth).pages(entity, limit)]).equals(must), (
                    model,
                    entity,
                )
            few = read(ChangeReader(truth, columns=("name",)), "agent", limit)
            must = oracle.revisions["agent"] if model != "snapshot" else oracle.states["agent"].sort("position")
            assert few.equals(must.drop("recruiter", "region")), model
            if model != "snapshot":
                before = ChangeReader(truth, ("name", "region"), ("name", "region"))
                wanted = with_before(oracle.revisions["agent"].drop("recruiter"), ("name", "region"))
                assert read(before, "agent", limit).equals(wanted), model


def test_a_first_revision_has_no_before_image_whatever_the_contract_makes_of_nulls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = MARKETING.contracts["agent"]
    filled = replace(contract, expressions={"name": contract.expressions["name"].fill_null("nobody")})
    monkeypatch.setattr(Marketing, "contracts", {"agent": filled})
    with opened("history", tmp_path, BEGUN) as truth:
        page = ChangeReader(truth, ("name",)).changes_since("agent", 0, ALL)
    firsts = page.filter(pl.col("revision") == 1)
    assert firsts[f"{BEFORE}name"].null_count() == firsts.height
    assert page.filter(pl.col("revision") > 1)[f"{BEFORE}name"].null_count() == 0


def test_queries_and_layouts_speak_of_what_is_published() -> None:
    made = plan(Source(SHIPPED / "marketing.toml"))
    layouts = [item.layout.entities["agent"] for item in made.projections if "agent" in item.layout.entities]
    assert layouts
    assert all(entity == AGENT for entity in layouts)
    assert all(query.entity == AGENT for query in made.queries if query.entity.name == "agent")


def test_the_oracle_confirms_the_write_model_and_what_is_published_of_it(tmp_path: Path) -> None:
    work = work_of(commands=300, change_at=0.2, change_takes=0.2)
    oracle = Oracle.of_commands(MARKETING, work)
    with opened("history", tmp_path, work) as truth:
        wrote = {name: truth.changes_since(name, 0, ALL) for name in MARKETING.entities}
        found = {name: ChangeReader(truth).changes_since(name, 0, ALL) for name in MARKETING.entities}
    oracle.confirm(wrote)
    oracle.confirm_published(found)
    with pytest.raises(Unsound, match="`agent`"):
        oracle.confirm(wrote | {"agent": wrote["agent"].with_columns(first_name=pl.lit("X"))})
    with pytest.raises(Unsound, match="`agent`"):
        oracle.confirm_published(found | {"agent": found["agent"].with_columns(name=pl.lit("X"))})


def test_a_change_that_a_domain_does_not_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace('"marketing"', '"employees"'))
    with pytest.raises(BadInput, match=r"domain\.change_at: the write model of `employees` doesn't change"):
        plan(Source(path))


# Whole runs


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
@pytest.mark.parametrize(("at", "takes"), [(1e6, 1.0), (1.5, 50.0), (0.8, 0.8)], ids=["before", "during", "after"])
def test_verdicts_pass_before_during_and_after_the_change(model: str, at: float, takes: float, tmp_path: Path) -> None:
    # The store's work is real here, so that polls read the feed itself while the change goes on.
    changed = (f"domain.change_at={at}", f"domain.change_takes={takes}")
    finished = run_text(tmp_path, TEXT, f"truth.model={model}", *changed)
    assert set(verdicts(finished).values()) == {"pass"}
    readers = finished.table("readers")
    assert readers["unread"].sum() == readers["backward"].sum() == 0
    assert readers["answered"].sum() > 0
    assert any("is another one" in note for note in finished.manifest["notes"])
    # The run is where it is said to be: nobody, some or all of those who were there have been migrated.
    made = plan(Source(tmp_path / "mine.toml", changed))
    world = World()
    for command in made.domain.workload(made.options, stream(1087, "workload")):
        world.execute(command)
    live = [record.state for record in world.states("agent").values() if not record.deleted]
    kinds = {"old" if state["name"] else "new" for state in live}
    assert kinds == ({"old"} if at == 1e6 else {"old", "new"} if takes == 50.0 else {"new"})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("model", "guard"), [("history", "ordered"), ("events", "dedupe")])
def test_what_adds_changes_up_is_sent_before_images_of_what_is_published(
    model: str, guard: str, tmp_path: Path
) -> None:
    finished = run_text(tmp_path, TEXT, f"truth.model={model}", f"projection.regions.guard={guard}")
    assert set(verdicts(finished).values()) == {"pass"}


@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_the_scenario_that_ships_passes_on_every_write_model_that_it_can_have(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Stores and report don't know the write model: they are tried and written with the one that ships.
    if model != "history":
        request.getfixturevalue("quick")
    small = ("workload.commands=5000", "domain.records=300", "domain.change_at=0.8", "domain.change_takes=0.8")
    to_records = ("store=duckdb.columnar", "keeps=records", "guard=revision")
    past = tuple(f"projection.lead_book.{word}" for word in to_records) if model == "snapshot" else ()
    finished = shipped("marketing", tmp_path, f"truth.model={model}", *small, *past)
    assert set(verdicts(finished).values()) == {"pass"}
    asked = finished.table("queries")
    assert asked["answer_ok"].all()
    assert set(asked["query"]) >= {"work_list", "recruited_below", "profit_by_campaign", "campaigns_with_product"}


@pytest.mark.usefixtures("quick")
def test_a_contract_that_reads_only_the_old_column_is_caught_with_a_witness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translated(monkeypatch, pl.col("name"))
    finished = run_text(tmp_path, TEXT)
    assert verdicts(finished) == {"everything": "fail", "recruiting": "fail", "regions": "pass"}
    assert failed(finished, "recruiting") >= {"converged", "no_phantom"}
    told = witness(finished, "recruiting", "converged")
    assert "shows  : name=None" in told
    rows = finished.table("verdicts").filter(pl.col("projection") == "recruiting", pl.col("check") == "converged")
    assert rows["deliveries"].to_list() == [1]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "expression",
    [
        pl.coalesce("name", pl.concat_str("last_name", "first_name", separator=" ")),
        pl.coalesce("name", pl.concat_str("first_name", "last_name")),
        pl.coalesce("name", "first_name"),
    ],
    ids=["the wrong way round", "no space", "the first name alone"],
)
def test_a_contract_that_joins_names_wrongly_is_caught(
    expression: pl.Expr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translated(monkeypatch, expression)
    finished = run_text(tmp_path, TEXT, "domain.change_takes=50.0")
    assert "converged" in failed(finished, "everything")
    assert "answers_right" in failed(finished, "everything")


@pytest.mark.usefixtures("quick")
def test_a_feed_that_does_not_translate_is_caught_where_messages_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(frame: pl.DataFrame, contract: Any, columns: Sequence[str] | None = None) -> pl.DataFrame:
        return frame if contract is None else frame.select(n for n in contract.entity.schema if n in frame.columns)

    monkeypatch.setattr(lab.feed.reader, "published", old)
    finished = run_text(tmp_path, TEXT)
    assert "converged" in failed(finished, "recruiting")
    assert "rebuild_equals_live" in failed(finished, "everything")


def translated(monkeypatch: pytest.MonkeyPatch, expression: pl.Expr) -> None:
    """From now on names are made by this expression."""
    contract = replace(MARKETING.contracts["agent"], expressions={"name": expression})
    monkeypatch.setattr(Marketing, "contracts", {"agent": contract})
