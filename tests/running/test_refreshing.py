"""A store that is refreshed now and then: when its changes are visible, and what is judged right meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("tantivy", reason="pip install 'polyglot-lab[search]'")

from hypothesis import given
from hypothesis import strategies as st
from running import run_text

from lab.base import BadInput
from lab.running.refreshing import Refreshes
from lab.runs import Run
from lab.scenario import Source
from lab.stores.tantivy_search import TantivySearch
from lab.wiring import plan

REFRESHED = """schema = 1
name = "refreshed"
seed = 7

[domain]
name = "employees"
records = 40

[workload]
commands = 250
rate = 100.0
deletes = 0.05

[truth]
model = "history"

[channel]
delay = { kind = "exponential", mean = 0.05 }
duplicate = 0.1

[readers]
sessions = 300

[time]
service = "modelled"
model = { per_batch = 0.002, per_row = 0.000_1 }

[measure]
samples = 1
blocks = 0
rebuild = false
trials = false

[[projection]]
name = "index"
store = "tantivy.search"
refresh = 0.8

[[projection]]
name = "at-once"
store = "tantivy.search"
"""


class Watched:
    """Stands for a worker, its projector, its store and its journal."""

    def __init__(self) -> None:
        self.projector = self.store = self.journal = self
        self.refreshed = 0
        self.seen: list[float] = []

    def refresh(self) -> None:
        self.refreshed += 1

    def note(
        self, entity: str, applied: Any, handed: Any, source: int, began_at: float, seen_at: float, *_: Any
    ) -> None:
        self.seen.append(seen_at)

    def shown(self, at: float, since: float) -> float:
        self.seen = [at if one > since else one for one in self.seen]
        return at


def refreshes(every: float) -> tuple[Any, Refreshes]:
    watched: Any = Watched()
    return watched, Refreshes(watched, every)


@given(st.floats(0, 1e6), st.floats(1e-3, 1e3))
def test_a_refresh_is_due_within_an_interval_of_each_write(landed: float, every: float) -> None:
    due = refreshes(every)[1].after(landed)
    assert landed < due <= landed + every * (1 + 1e-9)


def test_a_refresh_is_made_once_and_only_for_what_was_written() -> None:
    watched, made = refreshes(1.0)
    made.look(5.0)
    assert watched.refreshed == 0
    made.note("item", None, None, 0, 5.2, 5.4)  # type: ignore[arg-type]
    for at, refreshed in ((5.9, 0), (6.0, 1), (8.0, 1)):
        made.look(at)
        assert watched.refreshed == refreshed
    assert watched.seen == [6.0]


def test_a_refresh_that_is_due_while_a_batch_is_written_shows_that_too_and_nothing_before() -> None:
    watched, made = refreshes(1.0)
    for began, landed in ((0.2, 0.4), (0.9, 1.3), (1.4, 1.5)):
        made.look(began)
        made.note("item", None, None, 0, began, landed)  # type: ignore[arg-type]
    assert (watched.refreshed, watched.seen) == (1, [1.3, 1.3, 2.0])


def test_without_an_interval_nothing_is_refreshed_and_all_is_seen_at_once() -> None:
    watched, made = refreshes(0.0)
    made.look(0.1)
    made.note("item", None, None, 0, 0.2, 0.4)  # type: ignore[arg-type]
    made.end()
    assert (made.show(0.5), made.seen(0.6), watched.refreshed, watched.seen) == (0.5, 0.6, 0, [0.4])


def parts(run: Run, projection: str) -> pl.DataFrame:
    return run.table("lag_parts").filter(projection=projection)


def verdicts(run: Run) -> dict[str, str]:
    return {entry["name"]: entry["verdict"] for entry in run.manifest["projections"]}


@pytest.mark.parametrize("service", ["modelled", "measured"])
def test_what_waits_for_a_refresh_is_late_and_not_wrong(service: str, tmp_path: Path) -> None:
    run = run_text(tmp_path, REFRESHED, f"time.service={service}")
    assert verdicts(run) == {"index": "pass", "at-once": "pass"}
    late, once = parts(run, "index"), parts(run, "at-once")
    assert (once["refresh_seconds"] == 0.0).all()
    # On average half an interval; a batch that is being written when the refresh is due is seen as soon as it is.
    assert 0.1 < late["refresh_seconds"].mean() < 0.7  # type: ignore[operator]
    assert late["refresh_seconds"].max() <= 0.9 or service == "measured"  # type: ignore[operator]
    lag = run.table("lag").filter(projection="index")
    assert lag["lag_seconds"].null_count() == 0
    readers = {row["projection"]: row for row in run.table("readers").iter_rows(named=True)}
    # A writer who waits by a token waits for the refresh, too.
    assert readers["index"]["unread"] == readers["at-once"]["unread"] == 0
    assert readers["index"]["wait_p50_seconds"] > readers["at-once"]["wait_p50_seconds"]
    looks = run.table("midrun").filter(projection="index").row(0, named=True)
    assert looks["records"] > 0
    assert looks["contents_wrong"] == looks["records_wrong"] == looks["queries_wrong"] == 0


class Hasty(TantivySearch):
    """Shows each batch at once, whatever is said."""

    def _commit(self) -> None:
        super()._commit()
        self.refresh()


class Stuck(TantivySearch):
    """Is refreshed when it is opened, and never again."""

    def refresh(self) -> None:
        if self._shown is None:
            super().refresh()


class Boasting(TantivySearch):
    """Says that queries see everything that is written."""

    def shown_to(self, entity: str) -> int:
        return self.checkpoint(entity)


@pytest.mark.parametrize("broken", [Hasty, Stuck, Boasting])
def test_a_store_that_shows_something_else_than_it_says_is_caught(
    broken: type[TantivySearch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.stores.tantivy_search.TantivySearch", broken)
    run = run_text(tmp_path, REFRESHED)
    assert verdicts(run)["index"] == "fail"


CRASHES = "[{at = 0.9, step = 'between', lasts = 0.2}, {at = 1.7, step = 'after-checkpoint', lasts = 0.1}]"


@pytest.mark.parametrize(
    "more",
    [
        (f"faults.crashes={CRASHES}", "faults.poison=0.05", "faults.heals_at=2.2"),
        ("projection.index.rebuild={at = 1.5, mode = 'in-place'}",),
        ("projection.index.rebuild={at = 1.5, mode = 'blue-green'}",),
    ],
    ids=["crashes and poison", "in place", "blue/green"],
)
def test_faults_and_rebuilds_between_refreshes_are_judged_right(more: tuple[str, ...], tmp_path: Path) -> None:
    run = run_text(tmp_path, REFRESHED, *more)
    found = run.table("verdicts").filter(projection="index").filter(pl.col("verdict") == "fail")
    expected = {"monotonic_reads"} if "in-place" in more[0] else set()
    assert set(found["check"]) == expected, found


def test_a_guard_that_lets_old_revisions_through_fails_as_without_refreshes(tmp_path: Path) -> None:
    more = ("projection.index.guard=none", "projection.at-once.guard=none", "channel.reorder={share = 0.5}")
    run = run_text(tmp_path, REFRESHED, *more, "channel.reorder.extra={kind = 'exponential', mean = 0.3}")
    assert verdicts(run) == {"index": "fail", "at-once": "fail"}


def test_a_store_that_has_no_refresh_is_refused_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        REFRESHED.replace('name = "index"\nstore = "tantivy.search"', 'name = "index"\nstore = "sqlite.search"')
    )
    with pytest.raises(BadInput, match="shows a write at once"):
        plan(Source(file))
