"""Rows that waiting readers share: asked once for each state, and never kept beyond it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.service.problems import problem
from lab.service.querying import KEPT_MAX, Latest
from lab.service.wire import Reply


@given(st.lists(st.tuples(st.sampled_from(["write", "read"]), st.integers(0, 3)), max_size=60))
def test_many_readers_ask_once_for_each_batch_and_get_what_is_there(steps: list[tuple[str, int]]) -> None:
    latest, store, state, asked = Latest(), dict.fromkeys(range(4), 0), 0, list[tuple[int, int]]()

    for what, key in steps:
        if what == "write":
            store[key] += 1
            state += 1
            continue

        def ask(key: int = key, state: int = state) -> list[tuple[int, ...]]:
            asked.append((state, key))
            return [(store[key],)]

        assert latest.read(state, key, ask) == [(store[key],)]
    assert len(asked) == len(set(asked))


def test_a_refusal_is_not_kept() -> None:
    latest, busy = Latest(), problem(503, "busy")
    assert latest.read(1, "key", lambda: busy) is busy
    assert latest.read(1, "key", lambda: [(1,)]) == [(1,)]
    assert not isinstance(latest.read(1, "key", lambda: busy), Reply)


def test_no_more_answers_are_kept_than_there_is_room_for() -> None:
    latest, asked = Latest(), list[int]()

    def ask(number: int) -> list[tuple[int]]:
        asked.append(number)
        return [(number,)]

    for number in (*range(KEPT_MAX + 1), 0, KEPT_MAX):
        assert latest.read("state", number, lambda number=number: ask(number)) == [(number,)]
    assert asked == [*range(KEPT_MAX + 1), 0]
