"""What a store promises of look-ups by key, of pages and of parked changes."""

from __future__ import annotations

from math import copysign

import polars as pl
import pytest

from lab.base import REASON, Batch, CannotTake
from lab.stores import dump
from lab.testing.promises import Trial, promise
from lab.testing.sample import IDS, ITEM, NASTY, SHELF, ask, content, item, items, nasty, parked, sums


@promise("records", "revisions")
def the_highest_revision_of_each_key_is_found_tombstones_included(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1, 2), item(2, 7, True), item(3, 1))))
    store.apply(Batch("item", items(item(1, 3), item(4, 1))))
    assert store.revisions("item", [1, 2, 4, 9, 1]) == {1: 3, 2: 7, 4: 1}
    assert store.revisions("item", []) == {}


@promise("revisions")
def an_older_revision_that_comes_late_does_not_lower_the_highest(trial: Trial) -> None:
    store = trial.open()
    store.apply(Batch("item", items(item(1, 5))))
    store.apply(Batch("item", items(item(1, 2))))
    assert store.revisions("item", [1]) == {1: 5}


@promise("totals")
def a_running_aggregate_finds_revisions_in_the_guards_memory(trial: Trial) -> None:
    memory = {"id": pl.Int64(), "revision": pl.Int64()}
    store = trial.open(memory)
    kept = pl.DataFrame({"id": [1, 2], "revision": [4, 5]})
    store.apply(Batch("item", sums(("a", True, 1, 1)), None, kept))
    assert store.revisions("item", [2, 3]) == {2: 5}


@promise("totals")
def a_running_aggregate_without_such_a_memory_knows_no_revision(trial: Trial) -> None:
    store = trial.open(IDS)
    store.apply(Batch("item", sums(("a", True, 1, 1)), None, pl.DataFrame({"id": [4]})))
    assert store.revisions("item", [4]) == {}


@promise()
def keys_of_text_are_looked_up_like_numbers(trial: Trial) -> None:
    store = trial.open()
    texts = nasty(trial.store)
    rows = [(at, key, at, False, 0.5, "A", 1.5) for at, key in enumerate(texts, 1)]
    store.apply(Batch("shelf", pl.DataFrame(rows, schema=SHELF.schema, orient="row")))
    assert store.revisions("shelf", [*NASTY, "none"]) == {key: at for at, key in enumerate(texts, 1)}


@promise()
def many_keys_are_looked_up_at_once(trial: Trial) -> None:
    store = trial.open(IDS)
    count = 10_000
    frame = items(*(item(key, key % 7 + 1) for key in range(0, 2 * count, 2)))
    store.bulk("item", [Batch("item", frame, count, pl.DataFrame({"id": range(0, 2 * count, 2)}))])
    asked = range(count)
    assert store.revisions("item", asked) == {key: key % 7 + 1 for key in asked if key % 2 == 0}
    assert sorted(store.memory("item", asked)["id"]) == [key for key in asked if key % 2 == 0]


@promise()
def the_guards_memory_is_read_by_its_ids(trial: Trial) -> None:
    store = trial.open({"id": pl.Int64(), "revision": pl.Int64(), "live": pl.Boolean()})
    kept = pl.DataFrame({"id": [4, 5, 6], "revision": [1, 2, 3], "live": [True, False, True]})
    store.apply(Batch("item", items(item(4)), None, kept))
    found = store.memory("item", [5, 6, 9, 5])
    assert sorted(found.rows()) == [(5, 2, False), (6, 3, True)]
    assert dict(found.schema) == store.layout.memory
    assert store.memory("item", []).rows() == []


@promise("records", "revisions")
def pages_are_bounded_and_together_are_everything_in_order(trial: Trial) -> None:
    store = trial.open()
    store.page_rows = 2_048
    frame = items(*(item(key, key % 3 + 1, label=f"{key}") for key in (*range(5_000, 9_096), *range(5_000))))
    store.bulk("item", [Batch("item", frame, frame.height)])
    pages = list(store.pages("item"))
    assert max(page.height for page in pages) <= 2_048
    assert pl.concat(pages).equals(frame.sort("key", "revision"))


@promise("records", "revisions", "totals")
def parked_changes_are_found_by_position_with_their_reason(trial: Trial) -> None:
    store = trial.open()
    assert dict(store.parked("item").schema) == {**ITEM.schema, REASON: pl.String()}
    one = parked(ITEM, "bad", (7, 1, 2, False, 0.5, "nul\x00", None, None, 2**62, float("nan"), True))
    two = parked(ITEM, "behind", (5, 1, 3, True, 0.5))
    empty = pl.DataFrame(schema=store.layout.schema("item"))
    store.apply(Batch("item", empty, 7, park=one))
    store.apply(Batch("item", empty, park=two))
    assert store.parked("item").equals(pl.concat([two, one]), null_equal=True)
    assert store.checkpoint("item") == 7
    store.close()
    if trial.store.capabilities.durability != "memory":
        assert trial.open().parked("item").height == 2


@promise()
def a_change_that_is_parked_again_stays_as_it_was(trial: Trial) -> None:
    store = trial.open()
    for reason in ("first", "second"):
        store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, reason, (3, 1, 2, False, 0.5))))
    assert store.parked("item").select("position", REASON).rows() == [(3, "first")]


@promise()
def released_keys_leave_the_parked_changes_with_the_rows_that_come(trial: Trial) -> None:
    store = trial.open()
    rows = ((3, 1, 2, False, 0.5), (4, 2, 1, False, 0.5), (5, 1, 3, False, 0.5))
    store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, "bad", *rows)))
    store.apply(Batch("item", items(item(1, 3)), release=[1]))
    assert store.parked("item").select("position", "key").rows() == [(4, 2)]
    assert store.revisions("item", [1]) == {1: 3}
    store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, "again", (9, 2, 2, False, 0.5)), release=[2]))
    assert store.parked("item")["position"].to_list() == [9]


@promise()
def parked_keys_of_text_are_released_and_each_entity_has_its_own(trial: Trial) -> None:
    store = trial.open()
    store.apply(
        Batch(
            "shelf",
            SHELF.empty(),
            park=parked(SHELF, "bad", *((at, key, 1, False, 0.5) for at, key in enumerate(NASTY))),
        )
    )
    store.apply(Batch("shelf", SHELF.empty(), release=NASTY[1:]))
    assert store.parked("shelf")["key"].to_list() == [NASTY[0]]
    assert store.parked("item").height == 0


@promise(durable=True)
def what_is_parked_is_taken_back_with_a_transaction_that_fails(trial: Trial) -> None:
    store = trial.open(IDS)
    store.apply(Batch("item", items(item(1)), 4, park=parked(ITEM, "bad", (3, 2, 2, False, 0.5))))
    before = content(store)
    bad = Batch("item", items(item(3)), 2**70, park=parked(ITEM, "bad", (5, 3, 2, False, 0.5)), release=[2])
    with pytest.raises(Exception):  # noqa: B017, PT011 (each engine has an error of its own)
        store.apply(bad)
    assert content(store) == before


@promise("totals")
def parked_changes_keep_their_before_images(trial: Trial) -> None:
    store = trial.open()
    change = parked(ITEM, "bad", (3, 1, 2, False, 0.5)).select(
        "position", "key", "revision", "deleted", "committed_at", "amount",
        before_live=pl.lit(True), before_amount=pl.lit(7, pl.Int64), lab_reason=pl.lit("bad"),
    )  # fmt: skip
    store.apply(Batch("item", pl.DataFrame(schema=store.layout.schema("item")), park=change))
    assert store.parked("item").equals(change)


@promise("records", "revisions")
def a_dump_is_canonical(trial: Trial) -> None:
    store = trial.open()
    frame = items(item(3, fragile=True), item(1, weight=0.1), item(2, amount=-(2**63)), item(10, amount=2**63 - 1))
    store.apply(Batch("item", frame))
    found = dump(store, "item")
    assert dict(found.schema) == store.layout.schema("item")
    assert found.equals(frame.sort("key", "revision"))


@promise("totals")
def a_dump_of_totals_is_sorted_by_group_with_nulls_last(trial: Trial) -> None:
    store = trial.open()
    frame = sums((None, True, 1, 1), ("b", None, 1, 1), ("b", False, 1, 1), ("a", True, 1, 1))
    store.apply(Batch("item", frame))
    assert dict(dump(store, "item").schema) == store.layout.schema("item")
    assert [row[:2] for row in dump(store, "item").rows()] == [("a", True), ("b", False), ("b", None), (None, True)]


@promise()
def null_bytes_quotes_and_unicode_survive(trial: Trial) -> None:
    store = trial.open()
    # From 2,000 rows on, an engine may be read through another library.
    taken = nasty(trial.store)
    for count in (len(taken), 2_500):
        texts = [taken[at % len(taken)] for at in range(count)]
        frame = items(*(item(at, label=text, shelf=text) for at, text in enumerate(texts)))
        store.apply(Batch("item", frame))
        assert dump(store, "item")["label"].to_list() == texts
        if store.answers_query(ask(kind="get")):
            assert store.query(ask(kind="get"), (3,))[0][2] == taken[3]
        query = ask(kind="filter", where={"shelf": "?"})
        for text in NASTY if store.answers_query(query) else ():
            found = store.query(query, (text,))
            assert {row[2] for row in found} == {text} & set(taken)


@promise("records", "revisions")
def a_text_with_a_nul_is_kept_or_refused_with_its_whole_batch(trial: Trial) -> None:
    store = trial.open(IDS)
    store.apply(Batch("item", items(item(1, label="a")), 1, pl.DataFrame({"id": [1]})))
    before = content(store)
    for many in (1, 2_500):
        rows = items(*(item(at, 2, label="nul\x00" if at == many else "b") for at in range(1, many + 1)))
        batch = Batch("item", rows, 9, pl.DataFrame({"id": [9]}))
        if trial.store.capabilities.nul:
            store.apply(batch)
            assert dump(store, "item").filter(key=many)["label"].to_list()[-1] == "nul\x00"
        else:
            with pytest.raises(CannotTake):
                store.apply(batch)
            assert content(store) == before


@promise("records", "revisions")
def a_negative_zero_keeps_its_sign_or_is_said_to_lose_it(trial: Trial) -> None:
    for many in (1, 2_500):
        store = trial.fresh()
        store.apply(Batch("item", items(*(item(at, weight=-0.0) for at in range(1, many + 1)))))
        (sign,) = {copysign(1, weight) for weight in dump(store, "item")["weight"]}
        assert sign == (-1 if trial.store.capabilities.signed_zero else 1)
        store.close()


@promise()
def a_column_that_is_null_at_first_and_real_far_on_is_read_right(trial: Trial) -> None:
    store = trial.open()
    frame = items(*(item(at, weight=1.5 if at == 2_400 else None) for at in range(2_500)))
    store.apply(Batch("item", frame))
    assert dump(store, "item").equals(frame)
