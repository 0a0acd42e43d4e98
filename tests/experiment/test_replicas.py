"""Reads of replicas with quorums: by hand, by properties, in a whole run, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from documents import ROOT
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.validity.wars import LNKD_DISK, consistent
from lab.base import BadInput, stream
from lab.experiment import run
from lab.measure.replicas import QuorumReads, quorum_reads, summary, visibility
from lab.scenario import Delay, ReadersTable, ReplicasTable, Source
from lab.wiring import effort, plan

SCENARIO = ROOT / "scenarios" / "quorums.toml"


def read_of(after: list[list[float]], read: int, write: int, **ways: Delay) -> QuorumReads:
    """Reads of one write each; `after` has a row for each write, with a time for each replica."""
    replicas = ReplicasTable(read=read, write=write, acknowledgement=ways.pop("acknowledgement", Delay()))
    return quorum_reads(list(np.array(after).T), replicas, ReadersTable(**ways), stream(1, "replicas"))


def test_a_read_of_one_replica_by_hand() -> None:
    # Acknowledged by the first at 1 s. All replicas answer at once, so any of them may be the one that counts.
    found = read_of([[1.0, 3.0, 2.0]] * 3_000, read=1, write=1)
    assert set(found.write_seconds) == {1.0}
    assert set(found.fresh_after) == {0.0, 1.0, 2.0}
    # Four standard errors of a third of 3,000.
    assert found.consistent(0.0) == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 3_000))
    assert found.consistent(1.0) == pytest.approx(2 / 3, abs=4 * np.sqrt(2 / 9 / 3_000))
    assert found.consistent(2.0) == 1.0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_the_replicas_decides_nothing(order: tuple[int, ...]) -> None:
    drawn = stream(1, "order").exponential([5.0, 0.1, 0.1], (4_000, 3))[:, order]
    found = read_of(drawn.tolist(), read=1, write=1)
    # Acknowledged by the first that shows it; a read is consistent if the one of three that it hears does too.
    assert found.consistent(0.0) == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 4_000))


def test_nothing_is_shown_of_writes_that_were_never_acknowledged() -> None:
    found = read_of([[np.inf, np.inf]], read=1, write=1)
    assert visibility(found).is_empty()
    assert summary(ReplicasTable(), 2, found)["consistent_at_once"] is None


def test_ways_of_reads_and_acknowledgements_by_hand() -> None:
    ways = {"delay": Delay(mean=0.25), "answer": Delay(mean=0.5), "acknowledgement": Delay(mean=1.0)}
    found = read_of([[1.0, 3.0]], read=2, write=2, **ways)
    assert found.write_seconds.tolist() == [4.0]
    assert found.read_seconds.tolist() == [0.75]
    # The first replica has had it since 3 s before, and the read comes by a quarter of a second after it began.
    assert found.fresh_after.tolist() == [-3.25]


def test_a_write_that_too_few_replicas_ever_show_is_not_acknowledged() -> None:
    found = read_of([[1.0, np.inf, np.inf], [1.0, 2.0, np.inf]], read=3, write=2)
    assert found.unacknowledged == 1
    assert found.write_seconds.tolist() == [2.0]
    row = summary(ReplicasTable(read=3, write=2), 3, found)
    assert (row["reads"], row["unacknowledged"], row["never"]) == (1, 1, 0)


def test_a_read_that_is_never_consistent_has_no_time() -> None:
    found = read_of([[np.inf, 1.0]], read=1, write=1)
    row = summary(ReplicasTable(), 2, found)
    assert (row["never"], row["consistent_at_once"], row["fresh_p99_seconds"]) == (1, 0.0, None)
    assert visibility(found)["probability"].max() == 0.0


times = st.lists(st.lists(st.floats(0.0, 9.0), min_size=3, max_size=3), min_size=1, max_size=20)


@given(times, st.integers(1, 3), st.integers(1, 3))
def test_quorums_that_overlap_are_never_stale(after: list[list[float]], read: int, write: int) -> None:
    ways = {"delay": Delay(kind="exponential", mean=1.0), "answer": Delay(kind="exponential", mean=1.0)}
    found = read_of(after, read, write, **ways)
    if read + write > 3:
        assert (found.fresh_after <= 0).all()
    assert (np.diff(visibility(found)["probability"].to_numpy()) >= 0).all()


@given(times, st.integers(1, 2))
def test_a_larger_quorum_is_no_staler_and_no_quicker(after: list[list[float]], quorum: int) -> None:
    ways = {"delay": Delay(kind="exponential", mean=1.0), "answer": Delay(kind="exponential", mean=1.0)}
    one, more = (read_of(after, number, 1, **ways) for number in (quorum, quorum + 1))
    assert (more.fresh_after <= one.fresh_after).all()
    assert (more.read_seconds >= one.read_seconds).all()
    later = read_of(after, quorum, 2, **ways)
    assert (later.fresh_after <= read_of(after, quorum, 1, **ways).fresh_after).all()


@pytest.mark.usefixtures("quick")
def test_the_shipped_scenario_shows_what_the_paper_says(tmp_path: Path) -> None:
    finished = run(plan(Source(SCENARIO, ("repeat=1", "measure.rebuild=false", "measure.trials=false"))), tmp_path)
    assert finished.manifest["verdict"] == "pass"
    (row,) = finished.table("replicas").to_dicts()
    assert (row["replicas"], row["read"], row["write"], row["reads"]) == (3, 1, 1, 5_000)
    # Of 5,000 reads: four standard errors. The paper says 43.9 %.
    theory = consistent(LNKD_DISK, 3, 1, 1, 0.0)
    assert row["consistent_at_once"] == pytest.approx(theory, abs=4 * np.sqrt(theory * (1 - theory) / 5_000))
    curve = finished.table("replica_visibility")
    assert curve["probability"][0] == row["consistent_at_once"]
    # The draws of a replica are its own.
    lags = finished.table("lag").pivot(on="projection", index="position", values="lag_seconds")
    assert (lags["replica-1"] != lags["replica-2"]).all()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["replicas.read=4"], "quorums.toml: replicas.read: a quorum of 4 needs as many replicas, and there are 3"),
        (['replicas.projections=["replica-1"]', "replicas.write=2"], "replicas.write: a quorum of 2 needs"),
        (['replicas.projections=["replica-9"]'], "no projection is called `replica-9`"),
        (["projection.replica-2.keeps=totals", "truth.model=history"], "they differ in `keeps`"),
        # What a store keeps unless it is told otherwise, and what a declared query wants, count as what is written.
        (
            ["projection.replica-2.store=sqlite.log", "truth.model=history"],
            "(`replica-2` has revisions, `replica-1` rec",
        ),
        (
            [
                "truth.model=history",
                "writers={}",
                "projection.replica-2.gaps=hold",
                "catch_up.gap_limit=1.0",
                "projection.replica-1.gaps=hold",
                "projection.replica-1.gap_limit=2.0",
            ],
            "they differ in `gap_limit`",
        ),
        (
            ["projection.replica-2.rebuild={at=1.0}", "projection.replica-2.subscribe=both"],
            "it is incomplete while it is rebuilt",
        ),
        (["readers.sessions=0"], "quorums.toml: replicas: replicas are read by sessions, and there are none"),
        (["replicas.acknowledgement={shape=2.0}"], "replicas.acknowledgement: a delay of kind `constant`"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        plan(Source(SCENARIO, overrides))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "override",
    ["keeps=records", 'entities=["employee"]', "gaps=naive", "gap_limit=9.0", "subscribe=both", "store=sqlite.table"],
)
def test_replicas_that_keep_the_same_are_taken_however_it_is_written(override: str) -> None:
    found = plan(Source(SCENARIO, (f"projection.replica-2.{override}",)))
    assert found.scenario.replicas is not None


def test_more_requests_than_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "READS_MAX", 14_999)
    with pytest.raises(BadInput, match=r"readers\.sessions: 15,000 requests to replicas"):
        plan(Source(SCENARIO, ("readers.reads=1",)))
