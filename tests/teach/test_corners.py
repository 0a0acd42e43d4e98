"""The corners and the office, in which time is part of the business: each answer against a plain account."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from lab.base import BadInput
from lab.domain.model import Command
from lab.teach import corners, figures, people, streams


@pytest.fixture(scope="module")
def three() -> list[corners.Corner]:
    """The three write models with the same 200 commands."""
    return [corners.corner(model, commands=200, records=30) for model in corners.NAMES]


def test_every_corner_answers_as_the_states_add_up(three: list[corners.Corner]) -> None:
    every = three[1].states()
    for at in (None, 0.05, 0.15):
        seen = every if at is None else every.filter(pl.col("committed_at") <= at)
        sums: dict[str, tuple[int, int]] = {}
        last = {row["key"]: row for row in seen.sort("position").iter_rows(named=True)}
        for row in last.values():
            if not row["deleted"]:
                count, total = sums.get(row["department"], (0, 0))
                sums[row["department"]] = (count + 1, total + row["salary"])
        plain = [(name, *sums[name]) for name in sorted(sums)]
        assert [tuple(row) for row in three[1].payroll(at)] == plain
        assert [tuple(row) for row in three[2].payroll(at)] == plain
    for each in three:
        assert each.payroll() == each.now.ask("payroll") == each.sums.ask("payroll") == three[1].payroll()


def test_last_states_know_no_past_and_say_so(three: list[corners.Corner]) -> None:
    with pytest.raises(BadInput, match="overwritten"):
        three[0].payroll(at=0.1)
    assert corners.refused("snapshot")
    assert corners.refused("history") == corners.refused("events") == ""


def test_a_table_has_a_row_for_each_record_and_totals_one_for_each_department(three: list[corners.Corner]) -> None:
    departments = len(three[0].payroll())
    for each in three:
        assert corners.scanned(each, "table") == three[0].states().height
        assert corners.scanned(each, "totals") == departments
        assert corners.kept(each, "table") > corners.kept(each, "itself")


def test_every_corner_is_timed_in_every_round() -> None:
    found = corners.rounds(commands=40, records=10, times=1)
    assert found.height == 3 * 3
    assert found["apply_seconds"].null_count() == found.filter(answered="itself").height == 3
    assert found["read_one_seconds"].null_count() == found.filter(answered="totals").height
    told = corners.summary(found)
    assert told["write_seconds_low"].null_count() == told.height  # one round has no interval


def test_what_a_write_costs_has_its_apply_and_its_reads_and_intervals_that_meet_are_a_tie() -> None:
    def rounds(name: str, apply: float | None, times: list[float]) -> list[dict[str, Any]]:
        more = {"model": name, "answered": "itself", "corner": name, "store": None, "write_seconds": 1.0}
        return [
            more | {"round": n, "apply_seconds": apply, "apply_ten_seconds": apply, "read_sum_seconds": time}
            for n, time in enumerate(times)
        ]

    near, same, far = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], [1.2, 1.1, 1.3, 1.4, 1.5, 1.6], [9.0, 9.1, 9.2, 9.3, 9.4, 9.5]
    frame = pl.DataFrame(
        [*rounds("a", None, near), *rounds("b", None, same), *rounds("c", 5.0, far)], infer_schema_length=None
    )
    free = corners.cost(frame, 0.0)
    assert dict(free.select("corner", "seconds").iter_rows()) == {"a": 1.0, "b": 1.0, "c": 6.0}
    read = corners.cost(frame, 10.0)
    assert corners.cheapest(read) == ["a", "b"]
    assert read.filter(corner="c")["seconds"][0] == pytest.approx(1 + 5 + 10 * 9.2)


def test_a_dot_stands_at_its_value_and_its_line_at_its_interval() -> None:
    frame = pl.DataFrame(
        {"name": ["a", "b"], "seconds": [0.002, None], "seconds_low": [0.001, None], "seconds_high": [0.004, None]}
    )
    (axes,) = figures.dots(frame, "name", {"seconds": ("time", "seconds")}).axes
    interval, dot = (line.get_xdata() for line in axes.get_lines())
    assert list(interval) == [0.001, 0.004]
    assert list(dot) == [0.002]
    assert [text.get_text() for text in axes.texts] == ["2.00 ms", "none"]
    assert axes.get_xscale() == "log"


@pytest.fixture(scope="module")
def offices() -> tuple[dict[str, Any], dict[Any, int]]:
    """An office in each write model after the same year, and the day of each one's last raise."""
    found = {name: people.office(name) for name in corners.NAMES}
    return found, people.year(list(found.values()), people=20, days=200)


def test_events_decide_a_rule_over_history_as_the_plain_list_does(offices: Any) -> None:
    found, raised = offices
    for apart in (10, 90, 1_000):
        for key in range(1, 21):
            allowed = key not in raised or 200 - raised[key] >= apart
            assert people.may_have_raise(found["events"], key, 200, apart) is allowed
            assert people.may_have_raise(found["snapshot"], key, 200, apart) is None
            # A guess from salaries takes a correction for a raise, and never a raise for none.
            if people.may_have_raise(found["history"], key, 200, apart):
                assert allowed


def test_a_correction_changes_what_was_and_not_what_was_thought() -> None:
    for kept in ("history", "events"):
        office = people.office(kept)
        people.write(office, 0, "hired", 1, name="Danel", manager=510, salary=1)
        people.write(office, 20, "moved", 1, manager=305)
        people.write(office, 40, "name_corrected", 1, name="Daniel", since=0)
        thought = {"name": "Danel", "manager": 305, "salary": 1}
        assert people.as_known(office, 1, 39) == thought
        assert people.as_known(office, 1, 40) == thought | {"name": "Daniel"}
        was = people.as_was_by_differences(office, 1, 10) if kept == "history" else people.as_was(office, 1, 10)
        assert was == {"name": "Daniel", "manager": 510, "salary": 1}
        assert people.write(office, 41, "hired", 1, name="", manager=1, salary=1).status == "rejected"
        assert people.write(office, 41, "moved", 2, manager=1).status == "rejected"


def test_an_upcast_stream_and_its_copy_fold_into_the_same_states(offices: Any) -> None:
    old = offices[0]["events"]
    new = people.copied(old)
    for key in range(1, 21):
        state, split = (one.state for one in (office.get("employee", key) for office in (old, new)) if one is not None)
        assert f"{split['first_name']} {split['last_name']}" == state["name"]
        assert {name: split[name] for name in ("manager", "salary", "since")} == {
            name: state[name] for name in ("manager", "salary", "since")
        }
    assert new.head("employee") == old.head("employee")


def test_snapshots_of_an_aggregate_change_no_state_and_no_event() -> None:
    plain, mended = streams.opened("events"), streams.opened("events and snapshots")
    assert isinstance(mended, streams.SnapshottingEvents)
    mended.every = 7
    commands = [Command("employee", "hire", 1, {"name": "A", "manager": None, "department": "Sales", "salary": 1})]
    commands += [Command("employee", "give_raise", 1, {"salary": salary}) for salary in range(2, 25)]
    commands += [Command("employee", "rename", 1, {"name": "B"})]
    for command in commands:
        assert plain.execute(command) == mended.execute(command)
        assert plain.get("employee", 1) == mended.get("employee", 1)
    assert plain.changes_since("employee", 0, 100).equals(mended.changes_since("employee", 0, 100))


def test_a_command_is_timed_at_each_length_of_the_stream() -> None:
    found = streams.by_length([1, 8], ["snapshot", "events"], rounds=2, commands=1)
    assert found.select("length", "model").rows() == [(1, "snapshot"), (1, "events"), (8, "snapshot"), (8, "events")]
    assert all(len(times) == 2 for times in found["rounds"])


def test_what_was_sealed_is_read_with_its_key_alone() -> None:
    vault = streams.Shredder()
    long = "Ada Allen of the long name, " * 5
    one, other, again = vault.seal(1, 1, long), vault.seal(2, 1, long), vault.seal(1, 2, long)
    assert len({one, other, again}) == 3
    assert vault.unseal(1, 1, one) == vault.unseal(1, 2, again) == long
    vault.forget(1)
    assert vault.unseal(1, 1, one) is None
    assert vault.unseal(2, 1, other) == long
