"""What a process notes of its work, and the times that a simulation draws from it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import stream
from lab.live.foretelling import worked
from lab.running.records import BUFFERED, BUFFERED_SECONDS
from lab.running.service_times import NEAREST, MeasuredTimes, RecordedWork
from lab.running.spans import TAKE, read_spans
from lab.running.worklog import (
    ANSWERED,
    CAUGHT_UP,
    READ,
    TAKEN,
    WORK,
    WORK_SUFFIX,
    WorkLog,
    lateness,
    read_work,
)


def test_records_are_read_back_as_times_since_the_load_began(tmp_path: Path) -> None:
    ticks = itertools.count(1_000.0, 1e-6)
    log = WorkLog(lambda: next(ticks), tmp_path / "one.work")
    log.starts(1_004.0)
    for number in range(BUFFERED + 10):
        log.note(TAKEN, number, 1_005.0 + number, 0.5)
    log.close()
    log.note(TAKEN, 1, 1.0, 1.0)
    all_of_it = read_work(tmp_path / "one.work", 0.0)
    assert all_of_it["rows"].tolist() == list(range(BUFFERED + 10))
    began = float(all_of_it["began"][100])
    later = read_work(tmp_path / "one.work", began)
    assert later.size == BUFFERED - 90
    assert later["began"][1] == pytest.approx(1.0, abs=0.01)
    assert later["due"][0] == pytest.approx(-101.0, abs=0.01)


def test_what_a_kill_takes_is_a_tenth_of_a_second_and_a_torn_record_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "one.work"
    log = WorkLog(time.monotonic, file)
    log.note(TAKEN, 1, time.monotonic(), 0.5)
    time.sleep(BUFFERED_SECONDS)
    log.note(TAKEN, 2, time.monotonic(), 0.5)
    log.spans.note(TAKE, 1.0, 2.0, 3.0)
    time.sleep(BUFFERED_SECONDS)
    log.spans.note(TAKE, 4.0, 5.0, 6.0)
    # Killed now, it would close nothing.
    assert read_work(file, 0.0)["rows"].tolist() == [1, 2]
    assert len(read_spans(file.with_suffix(".spans"), 0.0)) == 2
    log.close()
    for torn in (file, file.with_suffix(".spans")):
        with torn.open("ab") as opened:
            opened.write(b"torn")
    again = WorkLog(time.monotonic, file)
    again.note(TAKEN, 3, time.monotonic(), 0.5)
    again.spans.note(TAKE, 7.0, 8.0, 9.0)
    again.close()
    assert read_work(file, 0.0)["rows"].tolist() == [1, 2, 3]
    assert [end - start for _, start, end in read_spans(file.with_suffix(".spans"), 0.0).times.tolist()] == [1.0] * 3


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    log = WorkLog(lambda: 0.0)
    log.note(TAKEN, 1, 1.0, 1.0)
    log.close()
    assert not list(tmp_path.iterdir())
    assert read_work(tmp_path / "one.work", 0.0).size == 0


def test_a_step_is_late_from_when_it_was_due_and_the_process_free() -> None:
    records = np.array(
        [
            (READ, 5, 1.0, 1.25, 0.5),  # a quarter of a second late
            (READ, 5, 1.0, 1.75, 0.5),  # the same step
            (ANSWERED, 0, 0.0, 3.0, 2.0),
            (TAKEN, 5, 4.0, 5.5, 0.5),  # due while a request was answered, until 5.0
            (TAKEN, 5, 7.0, 7.0, 0.5),  # on time
        ],
        WORK,
    )
    assert lateness(records).tolist() == [0.25, 0.5, 0.0]
    assert lateness(records[:0]).size == 0


@settings(max_examples=examples(100))
@given(st.lists(st.integers(0, 300), min_size=1, max_size=200), st.integers(0, 1_000), st.integers(0, 9))
def test_a_time_is_drawn_among_those_of_about_as_many_rows(rows: list[int], wanted: int, seed: int) -> None:
    numbers = np.array(rows)
    times = MeasuredTimes(RecordedWork(numbers, 1.0 + 0.01 * numbers), stream(seed, "times"))
    # Where each row costs the same, the correction makes every neighbour's time right.
    expected = 1.0 + 0.01 * (max(wanted, numbers.min()) if np.ptp(numbers) else rows[0])
    assert times.draw(wanted) == pytest.approx(expected)


def test_only_times_of_this_number_of_rows_are_drawn_where_there_are_many() -> None:
    rows = np.repeat([1, 2, 3], 2 * NEAREST)
    seconds = np.concatenate([np.linspace(low, low + 0.5, 2 * NEAREST) for low in (1.0, 5.0, 3.0)])
    times = MeasuredTimes(RecordedWork(rows, seconds), stream(1, "times"))
    drawn = [times.draw(2) for _ in range(2_000)]
    assert 5.0 <= min(drawn) < 5.01 < 5.49 < max(drawn) <= 5.5
    assert np.mean(drawn) == pytest.approx(5.25, abs=0.02)


def test_nothing_measured_takes_no_time() -> None:
    assert MeasuredTimes(RecordedWork(np.empty(0, np.int64), np.empty(0)), stream(1, "times")).draw(5) == 0.0


def test_the_work_of_a_load_is_a_table_that_a_scenario_can_draw_from(tmp_path: Path) -> None:
    log = WorkLog(time.time, tmp_path / f"p{WORK_SUFFIX}")
    began = time.time()
    for kind, rows, seconds in ((READ, 9, 9.0), (CAUGHT_UP, 7, 0.7), (TAKEN, 3, 0.3), (CAUGHT_UP, 0, 0.1)):
        log.note(kind, rows, time.time(), seconds)
    log.close()
    items = [SimpleNamespace(name=name, layout=SimpleNamespace(partitions=0)) for name in ("p", "never-worked")]
    made: Any = SimpleNamespace(projections=items)
    found = worked(made, tmp_path, began - 1.0)
    assert found.rows() == [("p", "catch-up", 7, 0.7), ("p", "channel", 3, 0.3)]
