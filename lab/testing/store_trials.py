"""What a store promises of awkward values and of crashes: the trials that every run begins with."""

from __future__ import annotations

from dataclasses import replace
from unittest import SkipTest

from lab.conformance.faithful import ValueTrial
from lab.conformance.listing import listing
from lab.conformance.trying import job_of, tried
from lab.place import FolderPlace
from lab.projection.guards import guarded_layout
from lab.testing.promises import EXAMPLES, Trial, promise
from lab.testing.sample import BY_SHELF, ENTITIES, ask

GUARD, HOLD, SEED = "revision", 1_000, 7
QUERIES = (
    ask(name="item", kind="get"),
    ask(name="shelf", kind="get", entity="shelf"),
    ask(name="on", kind="filter", where={"shelf": "?"}),
    ask(name="sorted", kind="filter", order_by="amount", limit=10),
    ask(name="named", kind="filter", order_by="label"),
    ask(name="heavy", kind="filter", where={"weight": {"at_least": "?"}}, order_by="weight", limit=20),
    ask(name="words", kind="search"),
    ask(name="below", kind="traverse"),
    ask(name="titled", kind="join", on="shelf", to="shelf", take=["title"]),
    ask(name="sums", kind="aggregate", group_by=["shelf", "fragile"], sum=["amount"]),
    ask(name="past", kind="history"),
    ask(name="then", kind="as_of"),
)


def trial_of_values(trial: Trial, guard: str = GUARD) -> ValueTrial:
    """A store on trial, with a projection of items and shelves, or of the totals of items."""
    totals = BY_SHELF if trial.keeps == "totals" else None
    entities = {"item": ENTITIES["item"]} if totals else ENTITIES
    store = listing(trial.store)(
        FolderPlace(trial.folder / "tried"), guarded_layout(guard, trial.keeps, entities, totals)
    )
    return ValueTrial(store, guard, HOLD, QUERIES, SEED)


@promise("records", "revisions", "totals")
def awkward_values_are_held_and_answered_as_they_were_written(trial: Trial) -> None:
    if trial.store.name != "null":
        assert trial_of_values(trial).faults() == []


@promise(durable=True)
def a_process_that_is_killed_loses_and_tears_nothing(trial: Trial) -> None:
    made = trial_of_values(trial)
    job = job_of(trial.store, made.store.layout, GUARD, HOLD, (), SEED)
    if isinstance(job, str):
        # A class that another process can't import, such as one in a function, is tried by no run either.
        raise SkipTest(job)
    (found,) = tried([replace(job, thorough=trial.examples > EXAMPLES)], trial.folder / "killed")
    assert list(found.crashes.faults) == []
    assert not found.crashes.unknown
