"""Deaths between two steps, the ladder, and a source of truth that moves, each against a plain account."""

from __future__ import annotations

import itertools

import polars as pl
import pytest

from lab.teach import desk, dying, ladder, moving


@pytest.fixture(scope="module")
def wanted() -> list[dying.Command]:
    """Sixty commands on six employees."""
    return dying.commands(60, records=6)


def test_without_a_death_every_way_sends_what_was_committed(wanted: list[dying.Command]) -> None:
    ways = [dying.dual_write(wanted, ()), dying.dual_write(wanted, (), "send"), dying.outbox(wanted, ())]
    for delivery in ways:
        assert delivery.sent == delivery.committed
        assert delivery.counts() == {"committed": len(delivery.sent), "lost": 0, "twice": 0, "phantoms": 0}


def test_who_commits_first_loses_the_change_of_each_death(wanted: list[dying.Command]) -> None:
    whole, dead = dying.dual_write(wanted, ()), dying.dual_write(wanted, {20, 59})
    assert dead.committed == whole.committed
    lost = [whole.committed[20], whole.committed[59]]
    assert dead.sent == [one for one in whole.committed if one not in lost]


def test_who_sends_first_tells_of_what_was_rolled_back(wanted: list[dying.Command]) -> None:
    dead = dying.dual_write(wanted, {59}, "send")
    assert dead.sent[:-1] == dead.committed
    assert dead.counts()["phantoms"] == 1


def test_a_relay_repeats_the_page_of_each_death_and_loses_nothing(wanted: list[dying.Command]) -> None:
    dead = dying.outbox(wanted, {1, 3}, page=10)
    there = dead.committed
    pages = [there[at : at + 10] for at in (0, 10, 10, 20, 20, 30, 40, 50)]
    assert dead.sent == list(itertools.chain.from_iterable(pages))
    assert dead.counts()["twice"] == 20


def test_a_mail_is_sent_twice_or_never_for_each_death() -> None:
    changes = pl.DataFrame({"position": [1, 2, 3, 4]})
    assert dying.mails(changes, (), "send first") == ([1, 2, 3, 4], 0)
    assert dying.mails(changes, {2, 4}, "send first") == ([1, 2, 2, 3, 4, 4], 0)
    assert dying.mails(changes, {2, 4}, "note first") == ([1, 3], 2)


@pytest.mark.parametrize("name", ladder.RUNGS)
def test_each_rung_answers_as_the_sales_add_up_once_it_has_caught_up(name: str) -> None:
    rung = ladder.Rung(name, 200)
    assert rung.ask() == rung.truth()
    for key in (1, 1, 150):
        rung.write(key, 7_777)
    assert (rung.ask() == rung.truth()) is (name not in ("cache", "projection"))
    assert rung.catch_up() == (3 if name == "projection" else 0)
    assert rung.ask() == rung.truth()
    assert rung.catch_up() == 0
    if name == "projection":
        rung.rebuild()
        assert rung.ask() == rung.truth()
    rung.close()


def test_the_ladder_is_climbed_in_rounds_and_its_medians_have_intervals() -> None:
    found = ladder.climbed(rows=100, rounds=6, writes=2)
    assert found.group_by("rung").len()["len"].to_list() == [6] * len(ladder.RUNGS)
    assert found["right"].all()
    told = ladder.summed(found)
    assert told["rung"].to_list() == list(ladder.RUNGS)
    assert (told["read_seconds_low"] <= told["read_seconds"]).all()
    assert (told["read_seconds"] <= told["read_seconds_high"]).all()


def hired(count: int) -> moving.Truth:
    """A company of so many employees, each with a raise."""
    truth = moving.opened("sqlite")
    for key in range(1, count + 1):
        desk.do(truth, "hire", key, name="A", manager=None, department="Sales", salary=1)
        desk.do(truth, "give_raise", key, salary=2)
    return truth


def test_a_source_of_truth_moves_with_its_positions_and_readers_read_what_is_new() -> None:
    old = hired(5)
    reader = desk.Reader(old, "sqlite.table")
    reader.catch_up()
    new = moving.copied(old, "duckdb")
    assert new.changes_since("employee", 0, 100).equals(old.changes_since("employee", 0, 100))
    moving.follow(reader, new)
    desk.do(new, "give_raise", 3, salary=3)
    assert sum(reader.catch_up()) == 1
    assert reader.rows().filter(key=3)["salary"][0] == 3


def test_new_numbers_make_a_reader_miss_what_comes() -> None:
    old = hired(5)
    reader = desk.Reader(old, "sqlite.table")
    reader.catch_up()
    wrong = moving.copied(old, "duckdb", renumbered=True)
    assert wrong.head("employee") == 5
    moving.follow(reader, wrong)
    desk.do(wrong, "give_raise", 3, salary=3)
    assert sum(reader.catch_up()) == 0


def test_the_card_says_what_engines_refuse_and_how_they_enumerate() -> None:
    card = moving.card(["sqlite", "duckdb"], rounds=1, commands=2)
    assert card["engine"].to_list() == ["sqlite", "duckdb"]
    assert card["conflict"].all()
    assert card["in_order"].all()
    assert [len(times) for times in card["rounds"]] == [1, 1]
