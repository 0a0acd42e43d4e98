"""Tombstones that expire: what a late message brings back, against theory; restarts; and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from running import failed, shipped

from lab.base import BadInput, Entity, stream
from lab.experiment.progress import Quiet
from lab.experiment.write import write
from lab.place import FolderPlace
from lab.projection.projector import Projector
from lab.projection.tombstones import ForgetfulRevision, Retention
from lab.running.theory import comes_back
from lab.scenario import Source
from lab.spill import Spill
from lab.stores import Layout, store_class
from lab.wiring import plan

pytestmark = pytest.mark.usefixtures("quick")

BARE = Entity("bare", "int", {})
SCENARIO = Path(__file__).parents[2] / "scenarios" / "tombstones.toml"
QUICK = ("measure.trials=false", "measure.truth=false", "measure.samples=1", "measure.blocks=0")


def changes(*rows: tuple[int, int, bool, float]) -> pl.DataFrame:
    """Changes by key, revision, whether it is a delete, and when it was committed."""
    named = [dict(zip(("key", "revision", "deleted", "committed_at"), row, strict=True)) for row in rows]
    return pl.DataFrame([{"position": place, **row} for place, row in enumerate(named, 1)], schema=BARE.schema)


def projector(place: Path, retention: Retention, store: str = "memory") -> Projector:
    made = store_class(store)(FolderPlace(place), Layout("records", {"bare": BARE}))
    return Projector(made, "revision", 0, retention)


def taken(of: Projector, *rows: tuple[int, int, bool, float]) -> list[int]:
    return of.apply("bare", changes(*rows)).positions.tolist()


def test_a_tombstone_refuses_until_it_has_expired(tmp_path: Path) -> None:
    of = projector(tmp_path, Retention(seconds=2.0))
    assert taken(of, (1, 2, True, 1.0)) == [1]
    assert taken(of, (1, 1, False, 0.9), (2, 1, False, 2.9)) == [2]
    # A commit of 3.1 s has been seen: the delete was at 1 s.
    assert taken(of, (2, 2, False, 3.1)) == [1]
    assert taken(of, (1, 1, False, 0.9)) == [1]
    # What is shown again is known again.
    assert taken(of, (1, 1, False, 0.9)) == []


def test_of_so_many_rows_the_oldest_delete_goes_first(tmp_path: Path) -> None:
    of = projector(tmp_path, Retention(rows=2))
    taken(of, (1, 2, True, 3.0), (2, 2, True, 1.0), (3, 2, True, 2.0))
    assert isinstance(of.guard, ForgetfulRevision)
    assert set(of.guard.kept["bare"]) == {1, 3}
    assert taken(of, (1, 1, False, 0.1), (2, 1, False, 0.1), (3, 1, False, 0.1)) == [2]


def test_a_restart_forgets_nothing_that_was_kept_and_knows_nothing_that_had_expired(tmp_path: Path) -> None:
    of = projector(tmp_path, Retention(seconds=2.0), "sqlite.table")
    taken(of, (1, 2, True, 1.0), (2, 2, True, 5.0), (3, 1, False, 5.5))
    again = of.reopened()
    assert taken(again, (1, 1, False, 0.1), (2, 1, False, 0.1)) == [1]
    again.store.close()


def test_without_a_limit_it_is_the_guard_that_it_was(tmp_path: Path) -> None:
    of = projector(tmp_path, Retention())
    taken(of, (1, 2, True, 1.0), (2, 1, False, 1e6))
    assert taken(of, (1, 1, False, 0.9)) == []


def test_as_much_comes_back_as_theory_says(tmp_path: Path) -> None:
    keys = ("workload.commands=8_000", *QUICK)
    done = shipped("tombstones", tmp_path, *keys)
    made = plan(Source(SCENARIO, keys))
    frame = write(made, tmp_path, Quiet(), Spill()).published.frames["employee"]
    deletes = frame.filter("deleted").select("key", gone_at="committed_at")
    gaps = frame.filter(~pl.col("deleted")).join(deletes, on="key").select(pl.col("gone_at") - pl.col("committed_at"))
    found = {row["projection"]: row for row in done.table("tombstones").to_dicts()}
    for name, retention in (("for-half-a-second", 0.5), ("for-2-s", 2.0), ("for-6-s", 6.0)):
        expected = sum(comes_back(0.2, 2.0, gap, retention) for gap in gaps.to_series())
        # Of several late changes of one record the older ones may be refused, so a little less than expected.
        assert found[name]["resurrected"] == pytest.approx(expected, abs=4 * expected**0.5 + 0.1 * expected), name
    assert found["for-ever"]["resurrected"] == 0
    kept = [found[name]["kept"] for name in ("for-half-a-second", "for-2-s", "for-6-s", "for-ever")]
    assert kept == sorted(kept)
    assert found["last-twenty"]["kept"] <= 21
    assert failed(done, "for-ever") == set()
    assert "no_resurrection" in failed(done, "for-2-s")


def test_theory_by_drawing() -> None:
    rng = stream(1, "theory")
    detours = (rng.exponential(2.0, (400_000, 2)) * (rng.random((400_000, 2)) < 0.2)).T
    arrives, deleted = detours[0], 0.3 + detours[1]
    drawn = (arrives > 0.3 + 1.0) & (arrives > deleted)
    assert comes_back(0.2, 2.0, 0.3, 1.0) == pytest.approx(drawn.mean(), abs=4 * (drawn.mean() / drawn.size) ** 0.5)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("projection.for-2-s.tombstones={}", "says no limit"),
        ("projection.for-2-s.guard=none", "only the guard `revision`"),
        ("projection.for-2-s.rebuild={ at = 1.0 }", "a rebuild knows nothing"),
        ("time.mode=live", "on the simulated clock only"),
    ],
)
def test_where_no_guard_goes_by_tombstones_it_is_refused(key: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        plan(Source(SCENARIO, [key]))
