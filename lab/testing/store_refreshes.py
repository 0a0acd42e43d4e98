"""What a store promises of refreshes: queries see what is written after the next one, and projectors at once."""

from __future__ import annotations

import pytest

from lab.base import Batch
from lab.stores import dump
from lab.testing.promises import Trial, promise
from lab.testing.sample import IDS, ITEM, ask, item, items, parked

# Longer than any of these takes.
SELDOM = 3_600.0
GET, WORDS = ask(name="item", kind="get"), ask(name="words", kind="search")


@promise("records", refreshes=True)
def what_is_written_is_in_every_answer_after_a_refresh(trial: Trial) -> None:
    store = trial.open(refresh=SELDOM)
    for revision in (1, 2):
        store.apply(Batch("item", items(item(1, revision, label=f"word {revision}"), first=revision), revision))
        store.refresh()
        assert store.query(GET, (1,))[0][1] == revision
        found = [store.query(WORDS, (str(one),)) for one in (1, 2)]
        assert found == [[(1,)] if one == revision else [] for one in (1, 2)]
        assert store.shown_to("item") == store.checkpoint("item") == revision
        assert dump(store, "item")["revision"].to_list() == [revision]


@promise("records", refreshes=True)
def answers_and_what_they_are_said_to_show_are_of_one_moment(trial: Trial) -> None:
    # Before a refresh, an engine may show what is written, or what was; but no answer is older than `shown_to` says.
    store = trial.open(refresh=SELDOM)
    store.apply(Batch("item", items(item(1, label="a")), 1))
    store.refresh()
    store.apply(Batch("item", items(item(1, 2, label="b"), first=2), 2))
    shown = store.shown_to("item")
    assert shown in (1, 2)
    assert store.query(GET, (1,))[0][1] >= shown
    assert dump(store, "item")["revision"].to_list()[0] >= shown
    found = [store.query(WORDS, (word,)) for word in ("a", "b")]
    assert found == ([[(1,)], []] if shown == 1 else [[], [(1,)]])


@promise("records", refreshes=True)
def what_a_projector_reads_waits_for_no_refresh(trial: Trial) -> None:
    store = trial.open(IDS, refresh=SELDOM)
    memory = ITEM.empty().select(id="key").vstack(items(item(4)).select(id="key"))
    store.apply(Batch("item", items(item(1, 3), item(2, 1, True)), 2, memory))
    store.apply(Batch("item", ITEM.empty(), park=parked(ITEM, "bad", (3, 2, 2, False, 0.5))))
    assert store.checkpoint("item") == 2
    assert store.revisions("item", [1, 2, 9]) == {1: 3, 2: 1}
    assert store.memory("item")["id"].to_list() == store.memory("item", [4])["id"].to_list() == [4]
    assert store.parked("item")["position"].to_list() == [3]


@promise("records", refreshes=True)
def a_batch_that_is_refused_is_in_no_answer_after_a_refresh(trial: Trial) -> None:
    store = trial.open(refresh=SELDOM)
    store.apply(Batch("item", items(item(1, label="a")), 1))
    store.refresh()
    with pytest.raises(Exception):  # noqa: B017, PT011 (each engine has an error of its own)
        store.apply(Batch("item", items(item(2, label="a")), 2**70))
    store.refresh()
    assert store.query(WORDS, ("a",)) == [(1,)]
    assert store.shown_to("item") == 1


@promise("records", refreshes=True)
def what_was_reset_filled_or_opened_is_shown_at_once(trial: Trial) -> None:
    store = trial.open(refresh=SELDOM)
    store.bulk("item", [Batch("item", items(item(1, label="a")), 1)])
    assert store.query(WORDS, ("a",)) == [(1,)]
    store.apply(Batch("item", items(item(2, label="a"), first=2), 2))
    store.close()
    store.open()
    assert sorted(store.query(WORDS, ("a",))) == [(1,), (2,)]
    assert store.shown_to("item") == 2
    store.reset()
    assert store.query(WORDS, ("a",)) == []
    assert (store.shown_to("item"), dump(store, "item").height) == (0, 0)
