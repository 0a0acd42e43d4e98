"""A projection is asked while it is fed: stores that are right in the end and wrong until then don't get by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from running import failed, run_text, verdicts, witness
from texts import BASE

from lab.base import Batch
from lab.running.worker import Worker
from lab.stores.memory import Memory
from lab.stores.sqlite_table import SqliteTable

Patch = pytest.MonkeyPatch
STORES: dict[str, Any] = {"memory": Memory, "sqlite.table": SqliteTable}


class Lying:
    """A store class that is wrong until the run is over: what `healed` is called with does what was left undone."""

    def __init__(self, patch: Patch, store: Any) -> None:
        self.patch, self.store, self.over = patch, store, False
        self.right = {name: getattr(store, name) for name in ("apply", "query", "pages", "checkpoint", "close")}
        finish = Worker.finish
        self.healed: Callable[[Any], None] = lambda _: None

        def end(worker: Worker, at: float) -> None:
            worker.carry_out()
            self.over = True
            self.healed(worker.projector.store)
            finish(worker, at)

        patch.setattr(Worker, "finish", end)

    def put(self, name: str, wrong: Callable[..., Any]) -> None:
        """Answer with `wrong` until the run is over."""
        right = self.right[name]

        def verb(store: Any, *given: Any) -> Any:
            return right(store, *given) if self.over else wrong(store, *given)

        self.patch.setattr(self.store, name, verb)


def of(store: Any) -> dict[str, Any]:
    """What a broken store remembers."""
    return store.__dict__.setdefault("broken", {})  # type: ignore[no-any-return]


def cache(lie: Lying, dropped: str) -> None:
    """Answers are kept: for seven more questions, until the checkpoint moves, or for ever."""

    def query(store: Any, query: Any, parameters: Any) -> Any:
        known, place = of(store).setdefault("known", {}), (query, tuple(parameters))
        if place not in known or (dropped == "asks" and known[place][1] == 7):
            known[place] = [lie.right["query"](store, query, parameters), 0]
        known[place][1] += 1
        return known[place][0]

    def apply(store: Any, batch: Batch) -> None:
        lie.right["apply"](store, batch)
        if dropped == "checkpoint" and batch.checkpoint is not None:
            of(store)["known"] = {}

    lie.put("query", query)
    lie.put("apply", apply)


def late(lie: Lying, held: Callable[[pl.DataFrame], pl.DataFrame], rows: int = 0) -> None:
    """Rows that `held` chooses are written with a later batch: the next one, or when there are so many of them."""

    def apply(store: Any, batch: Batch) -> None:
        kept = of(store).setdefault("late", [])
        if kept and sum(one.rows.height for one in kept) >= rows:
            flush(store)
        mine = held(batch.rows)
        if mine.height:
            of(store)["late"].append(replace(batch, rows=mine, memory=None, checkpoint=None))
            batch = replace(batch, rows=batch.rows.join(mine, on="key", how="anti"))
        lie.right["apply"](store, batch)

    def flush(store: Any) -> None:
        for one in of(store).get("late", []):
            # What has been written since is newer.
            known = lie.store.revisions(store, one.entity, one.rows["key"].to_list())
            newest = [
                row for row in range(one.rows.height) if one.rows["revision"][row] > known.get(one.rows["key"][row], 0)
            ]
            lie.right["apply"](store, replace(one, rows=one.rows[newest]))
        of(store)["late"] = []

    lie.put("apply", apply)
    lie.healed = flush


def write_behind(lie: Lying) -> None:
    late(lie, lambda rows: rows, 60)


def half_a_batch(lie: Lying) -> None:
    late(lie, lambda rows: rows.tail(rows.height // 2))


def late_deletes(lie: Lying) -> None:
    late(lie, lambda rows: rows.filter(pl.col("deleted")), 4)


def checkpoint_ahead(lie: Lying) -> None:
    def checkpoint(store: Any, entity: str) -> int:
        found: int = lie.right["checkpoint"](store, entity)
        return found + 9 if found else 0

    lie.put("checkpoint", checkpoint)


def zombie(lie: Lying) -> None:
    """An old writer wakes up and writes an old batch again, and the right rows come back later."""

    def apply(store: Any, batch: Batch) -> None:
        mine = of(store)
        seen = mine.setdefault("seen", [])
        seen.append(batch)
        lie.right["apply"](store, batch)
        if len(seen) % 12 == 6:
            old = seen[-6]
            now = {name: pl.concat(list(lie.right["pages"](store, name))) for name in (old.entity,)}[old.entity]
            mine["right"] = replace(old, rows=now.join(old.rows, on="key", how="semi"), memory=None, checkpoint=None)
            lie.right["apply"](store, replace(old, memory=None, checkpoint=None))
        elif len(seen) % 12 == 0:
            heal(store)

    def heal(store: Any) -> None:
        right = of(store).pop("right", None)
        if right is not None:
            known = dict.fromkeys(right.rows["key"], 0)
            for one in of(store)["seen"][-7:]:
                known.update(zip(one.rows["key"], one.rows["revision"], strict=True))
            stale = [
                row for row in range(right.rows.height) if right.rows["revision"][row] >= known[right.rows["key"][row]]
            ]
            lie.right["apply"](store, replace(right, rows=right.rows[stale]))

    lie.put("apply", apply)
    lie.healed = heal


def replicas(lie: Lying) -> None:
    """Readers are sent to two replicas in turn, and one of them is a few questions behind."""

    def query(store: Any, query: Any, parameters: Any) -> Any:
        mine = of(store)
        mine["turn"] = mine.get("turn", 0) + 1
        found = lie.right["query"](store, query, parameters)
        former = mine.setdefault("former", {}).setdefault((query, tuple(parameters)), [])
        former.append(found)
        return former[-4:][0] if mine["turn"] % 2 else found

    lie.put("query", query)


def uncommitted(lie: Lying) -> None:
    """A row that is being written by a transaction that is rolled back in the end."""

    def pages(store: Any, entity: str) -> Iterator[pl.DataFrame]:
        for page in lie.right["pages"](store, entity):
            made_up = page.tail(1).with_columns(key=pl.col("key") + 1_000_000, revision=pl.lit(1, pl.Int64))
            yield pl.concat([page, made_up])

    lie.put("pages", pages)


def ghost(lie: Lying) -> None:
    """A key without a record finds the record beside it."""

    def query(store: Any, query: Any, parameters: Any) -> Any:
        found = lie.right["query"](store, query, parameters)
        if query.kind != "get" or found:
            return found
        rows = [
            row
            for page in lie.right["pages"](store, query.entity.name)
            for row in page.filter(~pl.col("deleted")).head(1).select(query.entity.row).rows()
        ]
        return rows[:1]

    lie.put("query", query)


def no_tombstones(lie: Lying) -> None:
    """What has been deleted is found by its key until the store is compacted."""

    def query(store: Any, query: Any, parameters: Any) -> Any:
        found = lie.right["query"](store, query, parameters)
        if query.kind != "get" or found:
            return found
        pages = [page.filter(pl.col("key") == parameters[0]) for page in lie.right["pages"](store, query.entity.name)]
        return [
            row
            for page in pages
            for row in page.with_columns(revision=pl.col("revision") - 1).select(query.entity.row).rows()
        ]

    lie.put("query", query)


def only_by_filter(lie: Lying, kinds: tuple[str, ...], wrong: bool) -> None:
    """Of these classes of query, or of the others, answers are never worked out again."""

    def query(store: Any, query: Any, parameters: Any) -> Any:
        found = lie.right["query"](store, query, parameters)
        if (query.kind in kinds) is not wrong:
            return found
        return of(store).setdefault("known", {}).setdefault((query, tuple(parameters)), found)

    lie.put("query", query)


BROKEN: dict[str, tuple[Callable[[Lying], None], set[str]]] = {
    "answers kept for seven questions": (lambda lie: cache(lie, "asks"), {"midrun_reads"}),
    "answers kept until the checkpoint moves": (lambda lie: cache(lie, "checkpoint"), {"midrun_reads"}),
    "answers kept for ever": (lambda lie: cache(lie, "never"), {"midrun_reads", "read_your_writes"}),
    "writes behind": (write_behind, {"midrun_reads", "read_your_writes"}),
    "half a batch": (half_a_batch, {"midrun_reads"}),
    "deletes come late": (late_deletes, {"midrun_reads", "no_resurrection"}),
    "a checkpoint that runs ahead": (checkpoint_ahead, {"checkpoint_sound", "read_your_writes"}),
    "a zombie writer": (zombie, {"midrun_reads", "monotonic_reads"}),
    "two replicas in turn": (replicas, {"midrun_reads", "monotonic_reads"}),
    "uncommitted rows": (uncommitted, {"midrun_reads", "no_phantom"}),
    "a key that finds another record": (ghost, {"midrun_reads", "no_phantom"}),
    "tombstones ignored": (no_tombstones, {"midrun_reads", "no_resurrection"}),
    "get right, all else outdated": (lambda lie: only_by_filter(lie, ("get",), False), {"midrun_reads"}),
    "all else right, get outdated": (
        lambda lie: only_by_filter(lie, ("get",), True),
        {"midrun_reads", "read_your_writes"},
    ),
}
TEXT = (
    BASE + '[[projection]]\nname = "reference"\nstore = "STORE"\nbatch = 20\nguard = "revision"\nsubscribe = "both"\n'
)


# Lies about what a transaction wrote, which are told in a real engine too.
WRITTEN = ("writes behind", "a zombie writer", "uncommitted rows")


@pytest.mark.parametrize(
    ("name", "store"), [*((name, "memory") for name in BROKEN), *((name, "sqlite.table") for name in WRITTEN)]
)
def test_a_store_that_is_right_in_the_end_and_wrong_until_then_is_caught(
    name: str, store: str, tmp_path: Path, quick: None, monkeypatch: Patch
) -> None:
    breaking, caught = BROKEN[name]
    breaking(Lying(monkeypatch, STORES[store]))
    # One draw of the channel for all: its story has the disorder in which each lie does harm.
    finished = run_text(tmp_path, TEXT.replace("STORE", store), "channel.draws=shared", accounted=False)
    found = failed(finished)
    # In the end all is right: without questions in mid-run, nothing is found.
    assert not found & {"converged", "rebuild_equals_live", "answers_right", "no_loss", "accounting"}, found
    assert found >= caught, found
    for check in caught:
        told = witness(finished, "reference", check)
        assert re.search(r"\b\d[\d,]*\.\d+ s\b", told.splitlines()[0]), told


@pytest.mark.parametrize("store", STORES)
def test_without_a_broken_piece_nothing_fails(store: str, tmp_path: Path, quick: None) -> None:
    finished = run_text(tmp_path, TEXT.replace("STORE", store), accounted=False)
    assert failed(finished) == set()
    assert verdicts(finished) == {"reference": "pass"}
