"""Polls that find nothing are skipped in one step, and nothing else differs: no time, no fault, no figure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manual import Story, simulated
from test_two_clocks import TICK, stories, told

from lab.measure import gaps
from lab.running.journal import Journal
from lab.running.lane import INFINITY, Lane, Pace
from lab.running.services import Modelled
from lab.running.worker import Worker
from lab.scenario import FaultsTable, ServiceModel


class OneByOne(Modelled):
    """Executes each poll: until when the feed has nothing is not known."""

    def quiet_until(self, entity: str, position: int) -> float:
        return -np.inf


def stretched(story: Story, factor: int, every: float) -> Story:
    """The same story with long pauses: all that happens is so many times as far apart, and polls keep their beat."""
    timeline = story.timeline
    if timeline is not None:
        timeline = replace(timeline, taken_at=timeline.taken_at * factor, ended_at=timeline.ended_at * factor)
    later = {name: value * factor for name, value in story.faults if name == "heals_at" and value is not None}
    crashes = tuple(crash.model_copy(update={"at": crash.at * factor}) for crash in story.faults.crashes)
    return replace(
        story,
        committed_at=story.committed_at * factor,
        deliveries=tuple((change, at * factor) for change, at in story.deliveries),
        timeline=timeline,
        pace=replace(story.pace, every=every),
        faults=story.faults.model_copy(update=later | {"crashes": crashes}),
        rebuild=None if story.rebuild is None else (story.rebuild[0], story.rebuild[1] * factor),
    )


# Intervals of whole ticks, and such whose sums are rounded.
EVERY = st.sampled_from([4 * TICK, 0.1, 0.7, 1.0])


@st.composite
def far_apart(draw: st.DrawFn) -> Story:
    return stretched(draw(stories()), draw(st.sampled_from([1, 5])), draw(EVERY))


def differences(story: Story) -> list[str]:
    """What is told differently of both journals; only polls that found nothing may be missing in the second."""
    must, found = simulated(story, OneByOne), simulated(story)
    told_of = told(story, found, batches=True)
    wrong = [name for name, value in told(story, must, batches=True).items() if told_of[name] != value]
    wrong += [] if set(found.polled_at) <= set(must.polled_at) else ["polled_at"]
    return wrong + ([] if _stall(story, found) == _stall(story, must) else ["stall"])


def _stall(story: Story, journal: Journal) -> dict[str, Any]:
    gate = story.gate()
    if gate is None or story.timeline is None:
        return {}
    visible = np.full(len(story.changes), np.inf)
    row = gaps.simulated("p", gate, story.published(), journal, np.arange(visible.size), visible, story.timeline)
    return {name: value for name, value in row.items() if name.startswith("stall")}


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(story=far_apart())
def test_only_the_work_of_polling_is_skipped(story: Story) -> None:
    assert differences(story) == []


def planted(patch: pytest.MonkeyPatch, what: str) -> None:
    """Break one of the reasons for which a poll must not be skipped."""
    if what == "rebuild":
        patch.setattr(Lane, "__setattr__", lambda self, name, value: object.__setattr__(
            self, name, INFINITY if name == "skips_until" else value))  # fmt: skip
    else:
        patch.setattr(Worker, "skip", lambda self, beats: self.journal.skipped(beats.size))


def story_for(what: str) -> Story:
    """One in which a poll that is skipped wrongly is missed."""
    usual = quiet(1.0)
    if what == "rebuild":
        return replace(usual, rebuild=("in-place", 1_000.5))
    faults = FaultsTable(poison=1.0, heals_at=21.0, retry_parked=3.0)
    return replace(usual, faults=faults, committed_at=np.array([0.5, 100.0]))


@pytest.mark.parametrize("what", ["rebuild", "parked"])
def test_a_poll_that_must_not_be_skipped_is_missed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    story = story_for(what)
    assert differences(story) == []
    planted(monkeypatch, what)
    assert differences(story)


def quiet(every: float, **more: Any) -> Story:
    """Two changes that are half a day apart."""
    pace = Pace(1, more.pop("linger", 0.0), every, True, 10)
    return Story(
        (("item", 1), ("shelf", 1)), np.array([1.0, 50_000.0]), more.pop("deliveries", ()), None, "", 1.0, pace, 4,
        True, "revision", 10, ServiceModel(per_batch=TICK, per_row=0.0), FaultsTable(), None, 1,
    )  # fmt: skip


@pytest.mark.parametrize("story", [
    quiet(0.001),
    quiet(0.001, deliveries=((0, 2.0), (1, 90_000.0))),
    quiet(0.001, deliveries=((0, 2.0), (1, 50_001.0)), linger=40_000.0),
])  # fmt: skip
def test_a_long_pause_is_a_handful_of_polls(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[float] = []
    usual = Worker.poll

    def poll(worker: Worker, start: float) -> tuple[float, bool]:
        executed.append(start)
        return usual(worker, start)

    monkeypatch.setattr(Worker, "poll", poll)
    journal = simulated(story)
    assert len(executed) < 20
    assert journal.polls > 49_900_000
    assert journal.all("positions").tolist()
