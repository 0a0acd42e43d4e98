"""Crashes, refused applies, poison and slowness: what a right projection survives, and what is told of the rest."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from effort import examples
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from running import failed, run_text, shipped
from texts import BASE

from lab.base import Batch, CannotTake
from lab.place import FolderPlace
from lab.projection.projector import BEHIND, Projector
from lab.running.trouble import Crashed, StoreFaults, faulty
from lab.stores import dump, store_class
from lab.testing.sample import items, layout

RIGHT = (
    ("records", "revision"), ("records", "ordered"), ("totals", "dedupe"),
    ("totals", "revision"), ("totals", "ordered"), ("revisions", "dedupe"),
)  # fmt: skip
PROJECTIONS = "".join(
    f'[[projection]]\nname = "{keeps}-{guard}"\nstore = "memory"\nkeeps = "{keeps}"\nguard = "{guard}"\nbatch = 30\n'
    for keeps, guard in RIGHT
)


faults = st.fixed_dictionaries(
    {
        "crash": st.sampled_from([0.0, 0.1, 0.3]),
        "refuse": st.sampled_from([0.0, 0.2]),
        "poison": st.sampled_from([0.0, 0.1]),
        "heals_at": st.sampled_from([0.5, 1.5, 5.0]),
        "subscribe": st.sampled_from(["both", "catch-up"]),
        "model": st.sampled_from(["history", "events"]),
    }
)


@settings(max_examples=examples(4), suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
@given(drawn=faults, seed=st.integers(0, 1_000))
# A copy of a change that is in is parked with its record; after a restart only the ids tell that it is in.
@example(
    drawn={"crash": 0.1, "refuse": 0.2, "poison": 0.1, "heals_at": 1.5, "subscribe": "both", "model": "history"},
    seed=26,
)
def test_right_projections_survive_whatever_happens_to_them(
    drawn: dict[str, Any], seed: int, new_folder: Any, quick: None
) -> None:
    finished = run_text(
        new_folder(),
        BASE + PROJECTIONS,
        f"truth.model={drawn['model']}",
        *(f"faults.{name}={drawn[name]}" for name in ("crash", "refuse", "poison", "heals_at")),
        "faults.down=0.05",
        "faults.retry_parked=0.1",
        *(f"projection.{keeps}-{guard}.subscribe={drawn['subscribe']}" for keeps, guard in RIGHT),
        seed=seed,
    )
    assert failed(finished) == set(), [row for row in finished.table("verdicts").to_dicts() if row["verdict"] == "fail"]
    kinds = set(finished.table("faults")["kind"]) if (finished.path / "faults.parquet").exists() else set()
    assert ("crash" in kinds) == bool(drawn["crash"])


def test_the_same_seed_brings_the_same_faults(tmp_path: Path, quick: None) -> None:
    settings = ("faults.crash=0.1", "faults.refuse=0.1")
    once, again = (run_text(tmp_path, BASE + PROJECTIONS, *settings) for _ in range(2))
    assert once.table("faults").equals(again.table("faults"))
    assert once.table("lag").equals(again.table("lag"))
    other = run_text(tmp_path, BASE + PROJECTIONS, *settings, seed=8)
    assert not once.table("faults").equals(other.table("faults"))


def test_without_faults_there_is_nothing_to_tell(tmp_path: Path, quick: None) -> None:
    finished = run_text(tmp_path, BASE + PROJECTIONS)
    for name in ("faults", "parked", "gaps", "rebuilds", "witnesses"):
        assert not (finished.path / f"{name}.parquet").exists()


class Poison(StoreFaults):
    """Positions that the store can't take."""

    def __init__(self, bad: set[int]) -> None:
        super().__init__()
        self.bad = bad

    def inspect(self, batch: Batch) -> None:
        if found := self.bad & set(batch.positions.tolist()):
            raise CannotTake(f"position {min(found)}")


# --- crashes at each step, with the checkpoint where it belongs and where it doesn't ---------------------------------

STEPS = ("before-apply", "between", "after-checkpoint")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("order", ["with-data", "after-data", "before-data"])
@pytest.mark.parametrize("keeps", ["records", "totals"])
def test_what_a_crash_leaves_behind(step: str, order: str, keeps: str, tmp_path: Path) -> None:
    """Data and checkpoint after a crash, for each step and each order of writing the two."""
    rows = items((1, 1, False, "a", None, "x", 5, 1.0, False), (2, 1, False, "b", None, "x", 7, 1.0, False))
    memory = {"id": pl.Int64()} if keeps == "totals" else {}
    frame = rows.with_columns(
        before_live=pl.lit(False),
        **{f"before_{name}": pl.lit(None, rows.schema[name]) for name in ("shelf", "fragile", "amount")},
    )
    store, faults = store_class("sqlite.table")(FolderPlace(tmp_path), layout(keeps, memory)), StoreFaults()
    projector = Projector(faulty(store, faults, order), "dedupe" if keeps == "totals" else "revision", 10)
    faults.arm(step)
    with pytest.raises(Crashed) as crashed:
        projector.apply("item", frame, 2)
    faults.arm(None)
    data = {
        ("after-data", "between"): True, ("before-data", "between"): False,
    }.get((order, step), step == "after-checkpoint")  # fmt: skip
    moved = {
        ("after-data", "between"): False, ("before-data", "between"): True,
    }.get((order, step), step == "after-checkpoint")  # fmt: skip
    assert (crashed.value.landed, crashed.value.moved) == (data, moved)
    assert projector.checkpoint("item") == (2 if moved else 0)
    assert bool(dump(store, "item").height) == data
    assert projector.attempt.applied(crashed.value.landed).positions.tolist() == ([1, 2] if data else [])
    # A new start, and the same again: nothing is there twice.
    projector = projector.reopened()
    projector.apply("item", frame, 2)
    if not (moved and not data):
        if keeps == "totals":
            assert dump(store, "item").rows() == [("x", False, 2, 12)]
        else:
            assert dump(store, "item")["key"].to_list() == [1, 2]
    store.close()


def test_a_process_dies_over_a_batch_that_needs_no_write(tmp_path: Path) -> None:
    store, faults = store_class("memory")(FolderPlace(tmp_path), layout("records")), StoreFaults()
    projector = Projector(faulty(store, faults), "revision", 10)
    frame = items((1, 1, False, "a", None, "x", 5, 1.0, False))
    projector.apply("item", frame)
    faults.arm("between")
    projector.apply("item", frame)
    with pytest.raises(Crashed) as crashed:
        faults.end()
    assert (crashed.value.landed, crashed.value.moved) == (True, False)
    assert projector.attempt.applied(with_in_flight=True).refused.tolist() == [1]


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_dies_over_a_divided_batch_dies_at_its_end(step: str, tmp_path: Path) -> None:
    """What the store could take has landed by then, in pieces, and what it couldn't is parked."""
    frame = items(*((key, 1, False, "a", None, "x", 5, 1.0, False) for key in (1, 2, 3)))
    store, faults = store_class("sqlite.table")(FolderPlace(tmp_path), layout("records")), Poison({2})
    projector = Projector(faulty(store, faults), "revision", 10)
    faults.arm(step)
    with pytest.raises(Crashed) as crashed:
        projector.apply("item", frame, 3)
    assert crashed.value.moved == (step == "after-checkpoint")
    found = projector.attempt.applied(crashed.value.landed)
    assert (found.positions.tolist(), found.parked.tolist()) == ([1, 3], [2])
    again = projector.reopened()
    assert again.checkpoint("item") == (3 if crashed.value.moved else 0)
    assert again.parked("item").tolist() == [2]
    store.close()


class Cut(Exception):
    """A connection that is lost while the store writes."""


def test_after_an_exception_the_projector_tells_what_landed_and_what_was_in_flight(tmp_path: Path) -> None:
    frame = items(*((key, 1, False, "a", None, "x", 5, 1.0, False) for key in (1, 2, 3, 4)))

    class Cutting(Poison):
        def inspect(self, batch: Batch) -> None:
            super().inspect(batch)
            if 4 in batch.positions:
                raise Cut

    store = store_class("memory")(FolderPlace(tmp_path), layout("records"))
    projector = Projector(faulty(store, Cutting({2})), "revision", 10)
    with pytest.raises(Cut):
        projector.apply("item", frame, 4)
    attempt = projector.attempt
    assert attempt.applied().positions.tolist() == [1]
    assert attempt.applied().parked.tolist() == [2]
    assert attempt.in_flight is not None
    assert attempt.in_flight.positions.tolist() == [3, 4]
    assert attempt.applied(with_in_flight=True).positions.tolist() == [1, 3, 4]


def test_a_torn_checkpoint_is_caught_with_its_witness(tmp_path: Path, quick: None) -> None:
    finished = shipped("torn-checkpoint", tmp_path)
    assert finished.manifest["verdict"] == "pass"
    assert {"checkpoint_sound", "no_loss", "converged", "read_your_writes"} <= failed(finished, "checkpoint-first")
    assert {"no_double_effect", "converged"} <= failed(finished, "sums-data-first")
    rows = finished.table("verdicts").filter(projection="checkpoint-first", check="checkpoint_sound")
    assert rows["witness"][0].startswith("torn checkpoint: ")
    assert rows["deliveries"][0] == 1
    drawn = finished.table("witnesses").filter(projection="checkpoint-first", check="checkpoint_sound")
    assert "crash" in drawn["label"].to_list()
    assert set(drawn["mark"]) >= {"fault", "wrong"}
    crashes = finished.table("faults").filter(projection="one-transaction")
    assert crashes["step"].to_list() == [
        "before apply", "between data and checkpoint", "after checkpoint", "between data and checkpoint",
        "between data and checkpoint",
    ]  # fmt: skip
    assert (crashes["until_seconds"] - crashes["at_seconds"]).to_list() == pytest.approx([0.1] * 5)


# --- poison ----------------------------------------------------------------------------------------------------------


def test_poison_is_parked_with_what_follows_and_everything_else_goes_on(tmp_path: Path, quick: None) -> None:
    finished = shipped("poison", tmp_path, "workload.commands=2000")
    assert finished.manifest["verdict"] == "pass"
    assert failed(finished, "poisoned") == {"converged", "rebuild_equals_live", "answers_right"} & failed(finished)
    parked = finished.table("parked")
    assert set(parked["projection"]) == {"poisoned"}
    for _, rows in parked.group_by("key"):
        ordered = rows.sort("revision")
        # Each record is parked from one revision on, without a hole.
        assert ordered["revision"].to_list() == list(range(ordered["revision"][0], ordered["revision"][-1] + 1))
        assert (rows["reason"] != BEHIND).any()
    account = {row["projection"]: row for row in finished.table("accounting").to_dicts()}
    assert account["poisoned"]["parked"] == parked.height
    assert account["mended"]["parked"] == account["sums-mended"]["parked"] == 0
    lag = finished.table("lag_summary").filter(projection="poisoned")
    assert lag["never_visible"][0] == parked.height


@settings(max_examples=examples(15))
@given(
    bad=st.sets(st.integers(1, 12), max_size=4),
    cuts=st.lists(st.integers(1, 12), max_size=4),
    policy=st.sampled_from(["revision", "dedupe", "ordered"]),
)
def test_only_the_records_that_cannot_be_taken_are_parked_and_retried_in_order(
    bad: set[int], cuts: list[int], policy: str, new_folder: Any
) -> None:
    rows = items(*((key, revision, False, f"{key}-{revision}", None, "x", 1, 1.0, False)
                   for revision in (1, 2, 3) for key in (1, 2, 3, 4)))  # fmt: skip
    memory = {"id": pl.Int64()} if policy == "dedupe" else {}
    path = new_folder()
    store, faults = store_class("sqlite.table")(FolderPlace(path), layout("records", memory)), Poison(bad)
    projector = Projector(faulty(store, faults), policy, 100)
    edges = sorted({0, *cuts, 12})
    seen: list[int] = []
    for first, last in itertools.pairwise(edges):
        applied = projector.apply("item", rows[first:last], last)
        seen += [*applied.positions.tolist(), *applied.parked.tolist()]
        # A crash at any time finds the same again.
        projector = projector.reopened()
    key_of = dict(rows.select("position", "key").iter_rows())
    first_bad = {key: min(p for p in bad if key_of[p] == key) for key in {key_of[p] for p in bad}}
    must_park = {p for p, key in key_of.items() if p >= first_bad.get(key, 99)}
    parked = set(projector.parked("item").tolist())
    # A bad revision that was never written for a later one of the same batch is looked at all the same.
    assert parked == must_park or parked >= must_park
    assert {key_of[p] for p in parked} == {key_of[p] for p in must_park}
    assert sorted(seen) == list(range(1, 13))
    assert projector.checkpoint("item") == 12
    bad.clear()
    projector.retry("item")
    assert projector.parked("item").size == 0
    assert dump(store, "item").select("key", "revision").rows() == [(key, 3) for key in (1, 2, 3, 4)]
    store.close()


def test_a_store_says_itself_what_it_cannot_take_and_goes_on(tmp_path: Path) -> None:
    """A sum that runs over its column: no retry will ever help."""
    store = store_class("duckdb.columnar")(FolderPlace(tmp_path), layout("totals"))
    store.open()
    schema = layout("totals").totals_schema()
    huge, small = (pl.DataFrame([("x", False, 1, size)], schema=schema, orient="row") for size in (2**62, 1))
    store.apply(Batch("item", huge, 1))
    with pytest.raises(CannotTake, match=r"duckdb\.columnar"):
        store.apply(Batch("item", huge, 2))
    assert store.checkpoint("item") == 1
    store.apply(Batch("item", small, 3))
    assert dump(store, "item").rows() == [("x", False, 2, 2**62 + 1)]
    store.close()


# --- slow consumers and refused batches ------------------------------------------------------------------------------


def test_a_slow_store_builds_up_a_backlog_and_works_it_off(tmp_path: Path, quick: None) -> None:
    text = BASE + '[[projection]]\nname = "one"\nstore = "memory"\nbatch = 10\n'
    model = "time.model={ per_batch = 0.0, per_row = 0.001 }"
    slow = "faults.slow=[{ at = 0.5, lasts = 0.5, factor = 20.0 }]"
    usual, slowed = (run_text(tmp_path, text, model, *more) for more in ((), (slow,)))
    behind = [
        finished.table("staleness").filter(pl.col("at_seconds").is_between(0.8, 1.2))["versions_behind"].max()
        for finished in (usual, slowed)
    ]
    assert behind[1] > 2 * behind[0]
    assert failed(slowed) == set()
    rows = slowed.table("faults").rows(named=True)
    assert [(row["kind"], row["at_seconds"], row["until_seconds"]) for row in rows] == [("slow", 0.5, 1.0)]
    ends = [finished.table("lag_summary")["max_seconds"][0] for finished in (usual, slowed)]
    assert ends[1] > ends[0]


def test_a_refused_batch_is_tried_again_after_the_time_that_is_set(tmp_path: Path, quick: None) -> None:
    text = BASE + '[[projection]]\nname = "one"\nstore = "memory"\n'
    finished = run_text(tmp_path, text, "faults.refuse=0.5", "faults.retry=0.07")
    rows = finished.table("faults")
    assert set(rows["kind"]) == {"refused_apply"}
    assert np.allclose(rows["until_seconds"] - rows["at_seconds"], 0.07)
    assert failed(finished) == set()
