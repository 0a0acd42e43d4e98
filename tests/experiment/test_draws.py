"""Deliveries are drawn for each projection by its name, or once for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from documents import ROOT
from pieces import SCENARIO

from lab.base import stream
from lab.channel.simulated import Deliveries
from lab.experiment import run
from lab.experiment.strands import Messages
from lab.feed.published import Published
from lab.scenario import Source
from lab.verdict.oracle import Oracle
from lab.wiring import plan


def messages(*overrides: str) -> Messages:
    """The messages of a shipped scenario, made smaller."""
    few = ("workload.commands=2000", "domain.records=200")
    made = plan(Source(ROOT / "scenarios" / "employees.toml", (*few, *overrides)))
    commands = made.domain.workload(made.options, stream(made.scenario.seed, "workload"))
    return Messages(made, Published.of(Oracle.of_commands(made.domain, commands).revisions))


def same(one: Deliveries, other: Deliveries) -> bool:
    return np.array_equal(one.message, other.message) and np.array_equal(one.arrives_at, other.arrives_at)


def test_each_projection_has_draws_of_its_own_whoever_was_drawn_before() -> None:
    first, second = messages(), messages()
    directory = first.to("directory")
    analytics = second.to("analytics")
    assert same(second.to("directory"), directory)
    assert same(first.to("analytics"), analytics)
    assert not same(directory, analytics)


def test_what_two_projections_miss_is_independent() -> None:
    found = messages("channel.lose=0.3", "channel.duplicate=0.0")
    count = found.published.committed_at.size
    heard = np.zeros((2, count), bool)
    for row, name in enumerate(("directory", "analytics")):
        heard[row, found.to(name).message] = True
    # 0.3 by 0.3 miss both; four standard errors.
    both = (~heard).all(axis=0).mean()
    assert both == pytest.approx(0.09, abs=4 * np.sqrt(0.09 * 0.91 / count))


def test_a_shared_draw_serves_all_as_it_was_drawn_before_there_was_a_choice() -> None:
    found = messages("channel.draws=shared")
    assert found.to("directory") is found.to("analytics")
    assert not same(found.to("directory"), messages().to("directory"))


@pytest.mark.usefixtures("quick")
def test_the_table_of_deliveries_says_to_whom(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SCENARIO)
    few = ("workload.commands=300", "domain.records=30", "measure={samples=1, rebuild=false, trials=false}")
    listening = ("projection.payroll.subscribe=catch-up",)
    each = run(plan(Source(tmp_path / "mine.toml", (*few, *listening))), tmp_path / "runs")
    sent = each.table("deliveries")
    assert sent["projection"].unique().sort().to_list() == ["analytics", "directory"]
    assert each.table("channel").filter(fate="delivered")["messages"].sum() == sent.filter(fate="delivered").height
    shared = run(plan(Source(tmp_path / "mine.toml", (*few, *listening, "channel.draws=shared"))), tmp_path / "runs")
    assert set(shared.table("deliveries")["projection"]) == {""}
